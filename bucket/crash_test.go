package bucket_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/c73062ad/oras"
	"github.com/c73062ad/oras/bucket"
)

var kills = flag.Int("kills", 300, "how many processes TestKill kills")

const (
	crashWriters = 3 // goroutines of a process
	crashGrace   = 2 * time.Second
	crashRepos   = 12 // shared by rounds
)

// crashRegistry is what the processes have: garbage is collected after seconds.
func crashRegistry(dir *bucket.Dir) *bucket.Registry {
	return bucket.New(dir).Ages(100*time.Millisecond, time.Second, crashGrace)
}

func init() { processes["collect"] = collectUntilKilled }

// collectUntilKilled collects garbage below the folder args[0], again and again.
func collectUntilKilled(args []string) error {
	dir, err := bucket.OpenDir(args[0])
	if err != nil {
		return err
	}
	for {
		say("collecting")
		done, err := crashRegistry(dir).Collect(context.Background(), &bucket.CollectOptions{
			Grace: time.Nanosecond, Untagged: time.Nanosecond, Uploads: crashGrace,
		})
		if err != nil {
			return err
		}
		say("collected", done.Objects)
	}
}

// writeUntilKilled writes to the repository args[1] below the folder args[0], and
// says on standard output, a line each, what it is about to do and what it has
// done. args[2] keeps its work apart from other processes', and is where its dice
// begin.
func writeUntilKilled(args []string) error {
	dir, err := bucket.OpenDir(args[0])
	if err != nil {
		return err
	}
	ctx := context.Background()
	store, err := crashRegistry(dir).Repository(ctx, args[1])
	if err != nil {
		return err
	}
	other, err := crashRegistry(dir).Repository(ctx, "other")
	if err != nil {
		return err
	}
	seed, err := strconv.ParseUint(args[2], 10, 64)
	if err != nil {
		return err
	}
	errs := make(chan error)
	for g := range crashWriters {
		go func() {
			w := &crashWriter{
				Store: store.(*bucket.Store), other: other.(*bucket.Store),
				name: fmt.Sprintf("%s-%d", args[2], g), dice: rand.New(rand.NewPCG(seed, uint64(g))),
			}
			for i := 0; ; i++ {
				if err := w.step(ctx, i); err != nil {
					errs <- err
					return
				}
			}
		}()
	}
	return <-errs
}

type crashWriter struct {
	*bucket.Store
	other  *bucket.Store
	name   string
	dice   *rand.Rand
	tagged []oras.Descriptor
	tags   []string
}

// say writes one line at once: it is whole, or the process was killed before.
func say(words ...any) { os.Stdout.WriteString(fmt.Sprintln(words...)) }

// step pushes an image and tags it, and then does something with what it did before.
func (w *crashWriter) step(ctx context.Context, i int) error {
	if err := w.image(ctx, i); err != nil {
		return err
	}
	for range w.dice.IntN(3) {
		one := w.dice.IntN(len(w.tagged))
		var err error
		switch w.dice.IntN(4) {
		case 0:
			err = w.attach(ctx, w.tagged[one], i)
		case 1:
			err = w.tag(ctx, w.tagged[one], fmt.Sprintf("latest-%s", w.name), w.Tag)
		case 2:
			err = w.untag(ctx)
		case 3:
			err = w.delete(ctx, one)
		}
		if errors.Is(err, oras.ErrNotFound) { // it was untagged, and collected
			err = nil
		}
		if err != nil || len(w.tagged) == 0 {
			return err
		}
	}
	return nil
}

func (w *crashWriter) image(ctx context.Context, i int) error {
	layer := []byte(strings.Repeat(fmt.Sprint(w.name, i), 1+w.dice.IntN(3000)))
	common := fmt.Appendf(nil, "common %d", w.dice.IntN(5)) // what others have, too
	layerDesc, commonDesc := oras.DescriptorOf("a/b", layer), oras.DescriptorOf("a/b", common)
	if err := w.pushLayer(ctx, i, layer, layerDesc); err != nil {
		return err
	}
	say("pushed", layerDesc.Digest, layerDesc.Size)
	if err := oras.Push(ctx, w.other, commonDesc, bytes.NewReader(common)); err != nil {
		return err
	}
	mount := func() error {
		return oras.Mount(ctx, w, commonDesc, "other", nil)
	}
	push := func() error {
		return errors.Join(
			oras.Push(ctx, w, commonDesc, bytes.NewReader(common)),
			oras.Push(ctx, w, configDesc, strings.NewReader("{}")))
	}
	if w.dice.IntN(2) == 0 {
		if err := mount(); err != nil && !errors.Is(err, oras.ErrNotFound) {
			return err
		}
	}
	if err := push(); err != nil {
		return err
	}
	data, desc := image(fmt.Sprint(w.name, i), oras.Manifest{Layers: []oras.Descriptor{layerDesc, commonDesc}})
	tag := fmt.Sprintf("%s-%d", w.name, i)
	err := w.tag(ctx, desc, tag, func(ctx context.Context, desc oras.Descriptor, tag string) error {
		return oras.PushTagged(ctx, w, desc, bytes.NewReader(data), tag)
	})
	w.tagged = append(w.tagged, desc)
	w.tags = append(w.tags, tag)
	return err
}

var configDesc = oras.DescriptorOf(oras.MediaTypeEmpty, []byte("{}"))

func (w *crashWriter) tag(ctx context.Context, desc oras.Descriptor, tag string, do func(context.Context, oras.Descriptor, string) error) error {
	say("tagging", tag, desc.Digest)
	if err := do(ctx, desc, tag); err != nil {
		return err
	}
	say("tagged", tag, desc.Digest)
	return nil
}

func (w *crashWriter) attach(ctx context.Context, desc oras.Descriptor, i int) error {
	data, signature := image(fmt.Sprint("of", w.name, i), oras.Manifest{Subject: &desc})
	if err := oras.Push(ctx, w, signature, bytes.NewReader(data)); err != nil {
		return err
	}
	say("attached", desc.Digest, signature.Digest)
	return nil
}

func (w *crashWriter) untag(ctx context.Context) error {
	if len(w.tags) == 0 {
		return nil
	}
	tag := w.tags[0]
	w.tags = w.tags[1:]
	say("untagging", tag)
	err := w.Untag(ctx, tag)
	if errors.Is(err, oras.ErrNotFound) { // it went with its manifest
		return nil
	}
	if err == nil {
		say("untagged", tag)
	}
	return err
}

func (w *crashWriter) delete(ctx context.Context, one int) error {
	victim := w.tagged[one]
	w.tagged = append(w.tagged[:one], w.tagged[one+1:]...)
	say("deleting", victim.Digest)
	err := w.Delete(ctx, victim)
	if errors.Is(err, oras.ErrNotFound) { // it was untagged, and collected
		err = nil
	}
	if err == nil {
		say("deleted", victim.Digest)
	}
	return err
}

// pushLayer does so in one piece or in two.
func (w *crashWriter) pushLayer(ctx context.Context, i int, data []byte, desc oras.Descriptor) error {
	if i%2 == 0 {
		return oras.Push(ctx, w, desc, bytes.NewReader(data))
	}
	u, err := oras.OpenUpload(ctx, w, "")
	if err != nil {
		return err
	}
	half := len(data) / 2
	for _, piece := range [][]byte{data[:half], data[half:]} {
		if _, err := u.Append(ctx, u.Size(), bytes.NewReader(piece)); err != nil {
			return err
		}
	}
	d, err := oras.ParseDigest(desc.Digest)
	if err != nil {
		return err
	}
	return u.Commit(ctx, d)
}

// A diary is what a process said.
type diary struct {
	repository        string
	collected         bool              // while others collected garbage
	pushed            map[string]int64  // layer → size
	tagged, tagging   map[string]string // tag → manifest; the latter without an answer yet
	untagging         map[string]bool   // tag
	attached          map[string]string // signature → manifest
	deleting, deleted map[string]bool   // manifest
}

func newDiary(repository string) *diary {
	return &diary{
		repository: repository,
		pushed:     map[string]int64{}, tagged: map[string]string{}, tagging: map[string]string{}, untagging: map[string]bool{},
		attached: map[string]string{}, deleting: map[string]bool{}, deleted: map[string]bool{},
	}
}

func (d *diary) note(line string) {
	var did, name, value string
	fmt.Sscan(line, &did, &name, &value)
	switch did {
	case "pushed":
		var size int64
		fmt.Sscan(value, &size)
		d.pushed[name] = size
	case "tagging":
		d.tagging[name] = value
	case "tagged":
		d.tagged[name] = value
		delete(d.tagging, name)
	case "untagging":
		d.untagging[name] = true
	case "untagged":
		delete(d.tagged, name)
	case "attached":
		d.attached[value] = name
	case "deleting":
		d.deleting[name] = true
	case "deleted":
		d.deleted[name] = true
	}
}

// TestKill kills processes that push, tag, attach, untag, delete and collect
// garbage, with no warning and at any instant. What they had said to be done is
// done, nothing there is half done, and a check finds nothing wrong. Every hundred
// have a folder of their own, or else the later ones did little but read what the
// earlier left.
func TestKill(t *testing.T) {
	n := *kills
	if testing.Short() {
		n = min(n, 30)
	}
	var sum crashes
	for sum.killed < n {
		killIn(t, t.TempDir(), min(n-sum.killed, 100), &sum)
	}
	t.Logf("%d processes were killed; %d tags, %d collections", sum.killed, sum.tags, sum.collections)
	if sum.tags == 0 {
		t.Error("no process had done anything when it was killed")
	}
}

// crashes are what was killed, and what it had done.
type crashes struct{ rounds, killed, tags, collections int }

// killIn kills n processes that work in one folder.
func killIn(t *testing.T, path string, n int, sum *crashes) {
	var diaries []*diary
	for end := sum.killed + n; sum.killed < end; sum.rounds++ {
		d, collected := writeAndKill(t, path, fmt.Sprintf("round/%d", sum.rounds%crashRepos), sum.rounds)
		sum.killed += 2
		if d.collected {
			sum.killed++
		}
		sum.collections += collected
		sum.tags += len(d.tagged)
		diaries = append(diaries, d)
		verifyDiary(t, path, d)
		if len(diaries)%20 == 0 {
			checkFolder(t, path)
		}
		if t.Failed() {
			t.Fatalf("round %d", sum.rounds)
		}
	}
	for _, d := range diaries {
		d.collected = true // since
		verifyDiary(t, path, d)
	}
	checkFolder(t, path)
}

func checkFolder(t *testing.T, path string) {
	t.Helper()
	dir, err := bucket.OpenDir(path)
	must(t, err)
	defer dir.Close()
	clean(t, dir)
}

// writeAndKill lets two processes write to one repository, while a third may collect
// garbage, kills them and returns what they said, and how many collections ended.
func writeAndKill(t *testing.T, path, repository string, round int) (*diary, int) {
	d := newDiary(repository)
	d.collected = round%2 == 1
	var mu sync.Mutex
	var group sync.WaitGroup
	collections := 0
	run := func(last int, args ...string) {
		cmd := process(t, args...)
		out, err := cmd.StdoutPipe()
		must(t, err)
		must(t, cmd.Start())
		group.Go(func() {
			hangs := time.AfterFunc(time.Minute, func() {
				t.Errorf("the process %q hangs", args)
				cmd.Process.Signal(syscall.SIGQUIT) // so that it says where
			})
			defer hangs.Stop()
			lines := bufio.NewReader(out)
			for i := 0; ; i++ {
				line, err := lines.ReadString('\n')
				if err != nil {
					break
				}
				if i == last {
					time.AfterFunc(rand.N(5*time.Millisecond), func() { cmd.Process.Kill() })
				}
				mu.Lock()
				d.note(line)
				if strings.HasPrefix(line, "collected") {
					collections++
				}
				mu.Unlock()
			}
			cmd.Wait()
			if cmd.ProcessState.Exited() {
				t.Errorf("the process %q ended by itself: %v", args, cmd.ProcessState)
			}
		})
	}
	for i := range 2 {
		run(rand.N(60), "write", path, repository, fmt.Sprint(2*round+i))
	}
	if d.collected {
		run(rand.N(3), "collect", path)
	}
	group.Wait()
	return d, collections
}

func verifyDiary(t *testing.T, path string, d *diary) {
	t.Helper()
	dir, err := bucket.OpenDir(path)
	must(t, err)
	defer dir.Close()
	s := repository(t, bucket.New(dir), d.repository)
	for layer, size := range d.pushed {
		if !d.collected {
			whole(t, s, oras.Descriptor{Digest: digest.Digest(layer), Size: size})
		}
	}
	tags := map[string]bool{} // manifests that a tag names
	for tag, manifest := range d.tagged {
		got, err := s.Resolve(t.Context(), tag)
		switch {
		case err == nil && string(got.Digest) != manifest && d.tagging[tag] != string(got.Digest):
			t.Errorf("tag %s is %s; it was acknowledged to be %s", tag, got.Digest, manifest)
		case err == nil && d.deleted[manifest] && string(got.Digest) == manifest:
			t.Errorf("tag %s of the deleted %s is there", tag, manifest)
		case err == nil:
			tags[string(got.Digest)] = true
			complete(t, s, got)
		case !errors.Is(err, oras.ErrNotFound) || !d.deleting[manifest] && !d.deleting[d.tagging[tag]] && !d.untagging[tag]:
			t.Errorf("tag %s: %v", tag, err)
		}
	}
	for manifest := range d.deleted {
		exists, err := s.Exists(t.Context(), oras.Descriptor{Digest: digest.Digest(manifest)})
		if err != nil || exists {
			t.Errorf("deleted manifest %s: exists: %v, %v", manifest, exists, err)
		}
	}
	for signature, subject := range d.attached {
		if d.collected && !tags[subject] {
			continue // may have been collected
		}
		found := false
		must(t, oras.Referrers(t.Context(), s, oras.Descriptor{Digest: digest.Digest(subject)}, "", func(page []oras.Descriptor) error {
			for _, desc := range page {
				found = found || string(desc.Digest) == signature
			}
			return nil
		}))
		if !found {
			t.Errorf("%s lacks its referrer %s", subject, signature)
		}
	}
}
