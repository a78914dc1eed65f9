package bucket_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/c73062ad/oras"
	"github.com/c73062ad/oras/bucket"
)

// A power is what a Dir did to the disk, until it failed.
type power struct {
	root  string // the folder of the Dir
	spare string // a folder for what was there before
	left  int    // what will still be done before power fails; below 0, it does not

	mu     sync.Mutex
	n      int
	dirty  map[string]bool // files of which what was written may be lost
	synced []byte          // what is in the journal after a loss of power, if not what was written since
	names  []*unsure       // names that may come, go, or be another file's after a loss of power
}

// unsure is a name that the system may not have written to the disk.
type unsure struct {
	name, was string // was is a file with what had the name before, or empty
	dirty     bool   // what was written to that may be lost, too
}

var errPower = errors.New("power failed")

func newPower(t *testing.T, d *bucket.Dir, left int) *power {
	p := &power{root: d.Path(), spare: t.TempDir(), left: left, dirty: map[string]bool{}}
	p.synced = p.journal()
	d.Before(p.before)
	return p
}

// before notes what is about to be done.
func (p *power) before(op string, names ...string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.n == p.left {
		return errPower
	}
	p.n++
	last := names[len(names)-1]
	switch op {
	case "truncate": // of the journal
	case "write":
		p.dirty[last] = true
	case "fsync":
		delete(p.dirty, last)
		if last == ".journal" {
			p.synced = p.journal()
		}
	case "syncfs":
		clear(p.dirty)
		p.names = nil
		p.synced = p.journal()
	case "sync":
		p.names = slices.DeleteFunc(p.names, func(u *unsure) bool { return filepath.Dir(u.name) == filepath.Clean(last) })
	case "rename":
		p.doubt(last)
		p.dirty[last] = p.dirty[names[0]]
		delete(p.dirty, names[0])
	case "link":
		p.doubt(last)
		p.dirty[last] = p.dirty[names[0]]
	default: // create, mkdir, remove
		p.doubt(last)
		delete(p.dirty, last)
	}
	return nil
}

// doubt notes what has the name before that may be changed.
func (p *power) doubt(name string) {
	if strings.HasPrefix(name, ".tmp/") {
		return
	}
	u := &unsure{name: name, dirty: p.dirty[name]}
	if info, err := os.Stat(filepath.Join(p.root, name)); err == nil {
		if info.IsDir() {
			return // and stays
		}
		u.was = filepath.Join(p.spare, fmt.Sprint(p.n))
		if err := os.Link(filepath.Join(p.root, name), u.was); err != nil {
			panic(err)
		}
	}
	p.names = append(p.names, u)
}

func (p *power) journal() []byte {
	b, err := os.ReadFile(filepath.Join(p.root, ".journal"))
	if err != nil {
		panic(err)
	}
	return b
}

// after calls check with a copy of the folder as it may be after power failed: for
// many choices of names that were lost.
func (p *power) after(t *testing.T, random *rand.Rand, check func(d *bucket.Dir)) {
	var choices [][]bool
	choose := func(lost func(i int) bool) {
		choice := make([]bool, len(p.names))
		for i := range choice {
			choice[i] = lost(i)
		}
		choices = append(choices, choice)
	}
	if len(p.names) <= 3 {
		for mask := range 1 << len(p.names) {
			choose(func(i int) bool { return mask>>i&1 == 1 })
		}
	} else {
		choose(func(int) bool { return false })
		choose(func(int) bool { return true })
		one := random.IntN(len(p.names))
		choose(func(i int) bool { return i == one })
		choose(func(i int) bool { return i != one })
		choose(func(int) bool { return random.IntN(2) == 1 })
	}
	journals := [][]byte{p.synced}
	if now := p.journal(); !bytes.Equal(now, p.synced) {
		journals = append(journals, now)
	}
	for _, lost := range choices {
		for _, journal := range journals {
			p.afterLoss(t, lost, journal, check)
		}
	}
}

// afterLoss is after for one choice of names and what is in the journal.
func (p *power) afterLoss(t *testing.T, lost []bool, journal []byte, check func(d *bucket.Dir)) {
	empty := func(name string) {
		must(t, os.Remove(name))
		must(t, os.WriteFile(name, nil, 0o600))
	}
	folder := t.TempDir()
	must(t, linkTree(p.root, folder))
	for name, dirty := range p.dirty {
		name = filepath.Join(folder, name)
		if _, err := os.Stat(name); dirty && err == nil && !strings.Contains(name, "/_uploads/") && !strings.Contains(name, "/.tmp/") {
			empty(name)
		}
	}
	for i, u := range slices.Backward(p.names) {
		if !lost[i] {
			continue
		}
		name := filepath.Join(folder, u.name)
		must(t, os.RemoveAll(name))
		if u.was != "" {
			must(t, os.MkdirAll(filepath.Dir(name), 0o700))
			must(t, os.Link(u.was, name))
			if u.dirty {
				empty(name)
			}
		}
	}
	must(t, os.Remove(filepath.Join(folder, ".users"))) // which is locked
	must(t, os.Remove(filepath.Join(folder, ".journal")))
	must(t, os.WriteFile(filepath.Join(folder, ".journal"), journal, 0o600))
	d, err := bucket.OpenDir(folder)
	must(t, err)
	check(d)
	if t.Failed() {
		for i, u := range p.names {
			t.Logf("%s, lost: %v", u.name, lost[i])
		}
		t.FailNow()
	}
	must(t, d.Close())
	must(t, os.RemoveAll(folder))
}

// linkTree lets the files below to be those below from.
func linkTree(from, to string) error {
	return filepath.WalkDir(from, func(path string, entry os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := filepath.Join(to, strings.TrimPrefix(path, from))
		if entry.IsDir() {
			return os.MkdirAll(name, 0o700)
		}
		return os.Link(path, name)
	})
}

// TestPower: whenever power fails, and whichever of the names that were not synced
// are lost then, what was acknowledged is there, and nothing is wrong.
func TestPower(t *testing.T) {
	uploaded := bytes.Repeat([]byte("uploaded"), 10_000) // too large for the journal
	uploadedDesc := oras.DescriptorOf("a/b", uploaded)
	third, thirdDesc := image("third", oras.Manifest{Layers: []oras.Descriptor{newLayerDesc, uploadedDesc}})
	type state struct {
		tags  map[string]oras.Descriptor
		blobs []oras.Descriptor
		gone  []oras.Descriptor
	}
	upload := func(s *bucket.Store, content []byte) error {
		u, err := oras.OpenUpload(t.Context(), s, "")
		if err == nil {
			_, err = u.Append(t.Context(), 0, bytes.NewReader(content))
		}
		if err == nil {
			err = u.Commit(t.Context(), oras.SHA256.Digest(content))
		}
		return err
	}
	steps := []struct {
		name string
		do   func(s *bucket.Store, other *bucket.Store) error
		then func(st *state)
	}{
		{"push", func(s, other *bucket.Store) error {
			return errors.Join(oras.Push(t.Context(), s, configDesc, strings.NewReader("{}")), oras.Push(t.Context(), s, layerDesc, bytes.NewReader(layer)))
		}, nil},
		{"push and tag", func(s, other *bucket.Store) error {
			return oras.PushTagged(t.Context(), s, subjectDesc, bytes.NewReader(subject), "v1", "v2")
		}, func(st *state) { st.tags["v1"], st.tags["v2"] = subjectDesc, subjectDesc }},
		{"attach", func(s, other *bucket.Store) error {
			return oras.PushTagged(t.Context(), s, signedDesc, bytes.NewReader(signed), "signature")
		}, func(st *state) { st.tags["signature"] = signedDesc }},
		{"push elsewhere", func(s, other *bucket.Store) error {
			return errors.Join(oras.Push(t.Context(), other, configDesc, strings.NewReader("{}")), oras.Push(t.Context(), other, newLayerDesc, bytes.NewReader(newLayer)))
		}, nil},
		{"upload what is elsewhere", func(s, other *bucket.Store) error { return upload(s, newLayer) }, func(st *state) { st.blobs = append(st.blobs, newLayerDesc) }},
		{"upload what is new", func(s, other *bucket.Store) error { return upload(s, uploaded) }, func(st *state) { st.blobs = append(st.blobs, uploadedDesc) }},
		{"move tag", func(s, other *bucket.Store) error {
			return oras.PushTagged(t.Context(), s, thirdDesc, bytes.NewReader(third), "v1")
		}, func(st *state) { st.tags["v1"] = thirdDesc }},
		{"tag", func(s, other *bucket.Store) error { return s.Tag(t.Context(), thirdDesc, "v3") }, func(st *state) { st.tags["v3"] = thirdDesc }},
		{"mount", func(s, other *bucket.Store) error { return oras.Mount(t.Context(), other, layerDesc, "a", nil) }, nil},
		{"push elsewhere what is here", func(s, other *bucket.Store) error {
			return oras.PushTagged(t.Context(), other, subjectDesc, bytes.NewReader(subject), "v1")
		}, nil},
		{"settle", func(s, other *bucket.Store) error { return s.Dir().Settle() }, nil},
		{"untag", func(s, other *bucket.Store) error { return s.Untag(t.Context(), "v3") }, func(st *state) { st.tags["v3"] = oras.Descriptor{} }},
		{"delete", func(s, other *bucket.Store) error { return s.Delete(t.Context(), signedDesc) },
			func(st *state) { st.tags["signature"] = oras.Descriptor{}; st.gone = append(st.gone, signedDesc) }},
		{"delete again", func(s, other *bucket.Store) error { return s.Delete(t.Context(), subjectDesc) },
			func(st *state) { st.tags["v2"] = oras.Descriptor{}; st.gone = append(st.gone, subjectDesc) }},
		{"collect", func(s, other *bucket.Store) error {
			if err := other.Untag(t.Context(), "v1"); err != nil {
				return err
			}
			age(t, s.Dir(), 10*time.Hour)
			_, err := s.Registry().Collect(t.Context(), &bucket.CollectOptions{Untagged: 2 * time.Hour})
			return err
		}, nil},
	}
	random := rand.New(rand.NewPCG(1, 2))
	every := 2 // the others are for other runs
	if testing.Short() {
		every = 7
	}
	total := 0
	for left := rand.IntN(every); ; left += every {
		dir := openDir(t)
		p := newPower(t, dir, left)
		s, other := repository(t, bucket.New(dir), "a"), repository(t, bucket.New(dir), "b")
		now := state{tags: map[string]oras.Descriptor{}}
		failed := -1
		for i, step := range steps {
			if err := step.do(s, other); errors.Is(err, errPower) {
				failed = i
				break
			} else if err != nil {
				t.Fatal(err)
			}
			if step.then != nil {
				step.then(&now)
			}
		}
		if failed < 0 {
			break
		}
		then := state{tags: map[string]oras.Descriptor{}}
		if steps[failed].then != nil {
			steps[failed].then(&then) // as much of it as was done
		}
		p.after(t, random, func(d *bucket.Dir) {
			total++
			clean(t, d)
			s := repository(t, bucket.New(d), "a")
			for tag, desc := range now.tags {
				if _, may := then.tags[tag]; may {
					continue
				}
				resolves(tag, desc)(t, s)
			}
			for _, desc := range now.blobs {
				if _, err := oras.FetchAll(t.Context(), s, desc); err != nil {
					t.Error(err)
				}
			}
			for _, desc := range now.gone {
				resolves(desc.Digest.String(), oras.Descriptor{})(t, s)
			}
			if t.Failed() {
				t.Logf("power failed after %d, during %q", left, steps[failed].name)
			}
		})
	}
	t.Logf("%d states", total)
	if total < 100 && !testing.Short() {
		t.Errorf("there were only %d states", total)
	}
}
