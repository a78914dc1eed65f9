package layout_test

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/c73062ad/oras"
	"github.com/c73062ad/oras/layout"
)

var errReset = errors.New("connection reset")

// A source is content that is read, and sometimes breaks.
type source struct {
	*bytes.Reader
	left int // bytes until it breaks; -1 for never
	n    int // bytes that were read
	tell func(n int)
}

func (s *source) Read(p []byte) (int, error) {
	if s.left == 0 {
		return 0, errReset
	}
	p = p[:min(len(p), 10_000)]
	if s.left > 0 {
		p = p[:min(len(p), s.left)]
	}
	n, err := s.Reader.Read(p)
	if s.left > 0 {
		s.left -= n
	}
	if s.n += n; s.tell != nil && n > 0 {
		s.tell(s.n)
	}
	return n, err
}

// large returns content that does not repeat, and its descriptor.
func large(seed byte) ([]byte, oras.Descriptor) {
	data := make([]byte, 1_000_000)
	rand.NewChaCha8([32]byte{seed}).Read(data)
	return data, oras.DescriptorOf("a/b", data)
}

func partName(desc oras.Descriptor) string {
	return ".oras-" + strings.Replace(string(desc.Digest), ":", "-", 1) + ".part"
}

// leave pushes the first n bytes of data.
func leave(t *testing.T, dir string, desc oras.Descriptor, data []byte, n int) {
	t.Helper()
	fails(t, open(t, dir).Push(t.Context(), desc, &source{Reader: bytes.NewReader(data), left: n}), errReset)
}

// wantWhole checks that the content is in the layout, and nothing else is that is
// hidden.
func wantWhole(t *testing.T, dir string, desc oras.Descriptor) {
	t.Helper()
	if _, err := oras.FetchAll(t.Context(), openReadOnly(t, dir), desc); err != nil {
		t.Error(err)
	}
	info, err := os.Stat(filepath.Join(dir, path(desc)))
	must(t, err)
	if info.Mode().Perm()&0o222 != 0 {
		t.Errorf("content has the mode %v", info.Mode())
	}
	for _, name := range files(t, dir) {
		if strings.HasPrefix(name, ".oras-") {
			t.Errorf("%s is left", name)
		}
	}
}

// What a push received before it broke moves no more, however often it breaks.
func TestPushGoesOn(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	data, desc := large(1)
	for range 5 {
		dir, moved := t.TempDir(), 0
		for {
			src := &source{Reader: bytes.NewReader(data), left: 70_000 + r.IntN(400_000)}
			err := open(t, dir).Push(t.Context(), desc, src)
			moved += src.n
			if err == nil {
				break
			}
			fails(t, err, errReset)
			if exists, err := open(t, dir).Exists(t.Context(), desc); err != nil || exists {
				t.Fatal("content is there that is not whole: ", err)
			}
		}
		if moved != len(data) {
			t.Errorf("%d bytes moved of %d", moved, len(data))
		}
		wantWhole(t, dir, desc)
	}
}

// A part that is not the beginning of its content does no harm.
func TestPartWrong(t *testing.T) {
	data, desc := large(1)
	other, _ := large(2)
	for what, change := range map[string]func(name string) error{
		"other bytes": func(name string) error { return os.WriteFile(name, other[:500_000], 0o666) },
		"one bit":     func(name string) error { return os.WriteFile(name, append([]byte{data[0] ^ 1}, data[1:]...), 0o666) },
		"more":        func(name string) error { return os.WriteFile(name, append(data, 'x'), 0o666) },
		"nothing":     func(name string) error { return os.WriteFile(name, nil, 0o666) },
	} {
		dir := t.TempDir()
		leave(t, dir, desc, data, 500_000)
		must(t, change(filepath.Join(dir, partName(desc))))
		if err := open(t, dir).Push(t.Context(), desc, bytes.NewReader(data)); err != nil {
			t.Errorf("%s: %v", what, err)
		}
		wantWhole(t, dir, desc)
	}
	// Wrong content leaves nothing to go on with, whatever is wrong of it.
	dir := t.TempDir()
	leave(t, dir, desc, data, 500_000)
	fails(t, open(t, dir).Push(t.Context(), desc, bytes.NewReader(other)), oras.ErrInvalid)
	if name := partName(desc); exists(dir, name) {
		t.Errorf("%s is left", name)
	}
	// Neither does what is not worth it.
	leave(t, dir, desc, data, 1000)
	if name := partName(desc); exists(dir, name) {
		t.Errorf("%s is left", name)
	}
}

func exists(dir, name string) bool {
	_, err := os.Lstat(filepath.Join(dir, name))
	return err == nil
}

// A part that is a link, or a directory, is not written to.
func TestPartLinked(t *testing.T) {
	data, desc := large(1)
	for what, make := range map[string]func(to, name string) error{
		"symbolic link": os.Symlink,
		"hard link":     os.Link,
		"directory":     func(_, name string) error { return os.Mkdir(name, 0o777) },
	} {
		dir, victim := t.TempDir(), filepath.Join(t.TempDir(), "victim")
		must(t, os.WriteFile(victim, data[:100_000], 0o666))
		open(t, dir)
		name := filepath.Join(dir, partName(desc))
		must(t, make(victim, name))
		if err := open(t, dir).Push(t.Context(), desc, bytes.NewReader(data)); err != nil {
			t.Errorf("%s: %v", what, err)
		}
		if got, err := os.ReadFile(victim); err != nil || len(got) != 100_000 {
			t.Errorf("%s: %d bytes are in another's file, %v", what, len(got), err)
		}
		must(t, os.Remove(name))
		wantWhole(t, dir, desc)
	}
}

// While one is at it another does not wait, nor write to the same file; of many all
// come to their end.
func TestPartTaken(t *testing.T) {
	data, desc := large(1)
	dir := t.TempDir()
	leave(t, dir, desc, data, 100_000)
	started, finish, done := make(chan struct{}), make(chan struct{}), make(chan error)
	var once sync.Once
	slow := &source{Reader: bytes.NewReader(data), left: -1, tell: func(n int) {
		once.Do(func() {
			close(started)
			<-finish
		})
	}}
	first := open(t, dir)
	go func() { done <- first.Push(t.Context(), desc, slow) }()
	<-started
	second := &source{Reader: bytes.NewReader(data), left: -1}
	must(t, open(t, dir).Push(t.Context(), desc, second))
	close(finish)
	must(t, <-done)
	if slow.n != len(data)-100_000 || second.n != len(data) {
		t.Errorf("%d and %d bytes moved", slow.n, second.n)
	}
	wantWhole(t, dir, desc)
}

// Many who push the same content, some of whom break off, leave it whole.
func TestPartTogether(t *testing.T) {
	data, desc := large(1)
	dir := t.TempDir()
	open(t, dir)
	var group sync.WaitGroup
	for i := range 12 {
		group.Go(func() {
			s, err := layout.Open(dir)
			if err != nil {
				t.Error(err)
				return
			}
			defer s.Close()
			left := -1
			if i%3 > 0 {
				left = 80_000 * i
			}
			err = oras.Push(t.Context(), s, desc, &source{Reader: bytes.NewReader(data), left: left})
			if err != nil && (left < 0 || !errors.Is(err, errReset)) {
				t.Error(err)
			}
		})
	}
	group.Wait()
	must(t, open(t, dir).Push(t.Context(), desc, bytes.NewReader(data)))
	if part := filepath.Join(dir, partName(desc)); exists(dir, partName(desc)) {
		must(t, os.Remove(part)) // of one who broke off after another was done
	}
	wantWhole(t, dir, desc)
}

// Open removes parts that nobody went on with for a week, and no others.
func TestPartOld(t *testing.T) {
	dir := t.TempDir()
	want := map[string]bool{}
	for i, age := range []time.Duration{6 * 24 * time.Hour, 8 * 24 * time.Hour} {
		data, desc := large(byte(i))
		leave(t, dir, desc, data, 500_000)
		then := time.Now().Add(-age)
		must(t, os.Chtimes(filepath.Join(dir, partName(desc)), then, then))
		want[partName(desc)] = i == 0
	}
	open(t, dir)
	for name, there := range want {
		if _, err := fs.Stat(os.DirFS(dir), name); (err == nil) != there {
			t.Errorf("%s: %v", name, err)
		}
	}
	must(t, openReadOnly(t, dir).WriteTar(t.Context(), io.Discard))
}

// A part of what came to be there another way is removed by the next Open, but not while
// somebody has it.
func TestPartNotNeeded(t *testing.T) {
	data, desc := large(1)
	dir := t.TempDir()
	leave(t, dir, desc, data, 500_000)
	p, err := open(t, dir).OpenPart(t.Context(), desc)
	must(t, err)
	if p.Size() != 500_000 {
		t.Errorf("%d bytes are there", p.Size())
	}
	must(t, open(t, dir).Push(t.Context(), desc, struct{ io.Reader }{bytes.NewReader(data)}))
	open(t, dir)
	if !exists(dir, partName(desc)) {
		t.Error("a part is removed that somebody has")
	}
	must(t, p.Push(t.Context(), &source{Reader: bytes.NewReader(data), left: 0})) // nothing is read any more
	otherData, other := large(2)
	leave(t, dir, other, otherData, 500_000)
	must(t, os.WriteFile(filepath.Join(dir, path(other)), otherData, 0o444))
	open(t, dir)
	wantWhole(t, dir, desc)
	_, err = open(t, dir).OpenPart(t.Context(), other)
	fails(t, err, oras.ErrUnsupported)
}
