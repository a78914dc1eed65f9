package bucket_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"

	"github.com/c73062ad/oras"
	"github.com/c73062ad/oras/bucket"
)

const crashWriters = 3 // goroutines of a process

// writeUntilKilled writes to the repository args[1] below the folder args[0], and
// says on standard output, a line each, what it is about to do and what it has
// done. args[2] keeps its work apart from other processes'.
func writeUntilKilled(args []string) error {
	dir, err := bucket.OpenDir(args[0])
	if err != nil {
		return err
	}
	store, err := bucket.New(dir).Repository(context.Background(), args[1])
	if err != nil {
		return err
	}
	errs := make(chan error)
	for g := range crashWriters {
		go func() {
			w := crashWriter{store.(*bucket.Store), fmt.Sprintf("%s-%d", args[2], g), nil}
			for i := 0; ; i++ {
				if err := w.step(context.Background(), i); err != nil {
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
	name   string
	tagged []oras.Descriptor
}

// say writes one line at once: it is whole, or the process was killed before.
func say(words ...any) { os.Stdout.WriteString(fmt.Sprintln(words...)) }

func (w *crashWriter) step(ctx context.Context, i int) error {
	layer := []byte(strings.Repeat(fmt.Sprint(w.name, i), 1+i*997%20_000))
	layerDesc := oras.DescriptorOf("a/b", layer)
	if err := w.pushLayer(ctx, i, layer, layerDesc); err != nil {
		return err
	}
	say("pushed", layerDesc.Digest, layerDesc.Size)

	data, desc := image(fmt.Sprint(w.name, i), oras.Manifest{Layers: []oras.Descriptor{layerDesc}})
	for _, tag := range []string{fmt.Sprintf("%s-%d", w.name, i), "latest-" + w.name} {
		say("tagging", tag, desc.Digest)
		if err := oras.PushTagged(ctx, w, desc, bytes.NewReader(data), tag); err != nil {
			return err
		}
		say("tagged", tag, desc.Digest)
	}
	w.tagged = append(w.tagged, desc)

	data, signature := image(fmt.Sprint("of", w.name, i), oras.Manifest{Subject: &desc})
	if err := oras.Push(ctx, w, signature, bytes.NewReader(data)); err != nil {
		return err
	}
	say("attached", desc.Digest, signature.Digest)

	if i%3 == 2 {
		victim := w.tagged[0]
		w.tagged = w.tagged[1:]
		say("deleting", victim.Digest)
		if err := w.Delete(ctx, victim); err != nil {
			return err
		}
		say("deleted", victim.Digest)
	}
	return nil
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
	pushed            map[string]int64  // layer → size
	tagged, tagging   map[string]string // tag → manifest; the latter without an answer yet
	attached          map[string]string // signature → manifest
	deleting, deleted map[string]bool   // manifest
}

func newDiary() *diary {
	return &diary{map[string]int64{}, map[string]string{}, map[string]string{}, map[string]string{}, map[string]bool{}, map[string]bool{}}
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
	case "attached":
		d.attached[value] = name
	case "deleting":
		d.deleting[name] = true
	case "deleted":
		d.deleted[name] = true
	}
}

// TestKill kills processes that write, with no warning and at any instant. What
// they had said to be done is done, and nothing there is half done.
func TestKill(t *testing.T) {
	rounds := 20
	if testing.Short() {
		rounds = 4
	}
	path := t.TempDir()
	diaries := make([]*diary, rounds)
	done := 0
	for round := range rounds {
		diaries[round] = writeAndKill(t, path, fmt.Sprintf("round/%d", round))
		done += len(diaries[round].tagged)
		verifyDiary(t, path, fmt.Sprintf("round/%d", round), diaries[round])
	}
	for round, d := range diaries {
		verifyDiary(t, path, fmt.Sprintf("round/%d", round), d)
	}
	t.Logf("%d tags", done)
	if done == 0 {
		t.Error("no process had done anything when it was killed")
	}
}

// writeAndKill lets two processes write to one repository, kills them and returns
// what they said.
func writeAndKill(t *testing.T, path, repository string) *diary {
	d := newDiary()
	var mu sync.Mutex
	var group sync.WaitGroup
	for _, name := range []string{"x", "y"} {
		cmd := process(t, "write", path, repository, name)
		out, err := cmd.StdoutPipe()
		must(t, err)
		must(t, cmd.Start())
		group.Go(func() {
			lines := bufio.NewReader(out)
			last := rand.N(60)
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
				mu.Unlock()
			}
			cmd.Wait()
			if cmd.ProcessState.Exited() {
				t.Errorf("the process ended by itself: %v", cmd.ProcessState)
			}
		})
	}
	group.Wait()
	return d
}

func verifyDiary(t *testing.T, path, name string, d *diary) {
	t.Helper()
	dir, err := bucket.OpenDir(path)
	must(t, err)
	defer dir.Close()
	s := repository(t, bucket.New(dir), name)
	for layer, size := range d.pushed {
		whole(t, s, oras.Descriptor{Digest: digest.Digest(layer), Size: size})
	}
	for tag, manifest := range d.tagged {
		got, err := s.Resolve(t.Context(), tag)
		switch {
		case err == nil && string(got.Digest) != manifest && d.tagging[tag] != string(got.Digest):
			t.Errorf("%s: tag %s is %s; it was acknowledged to be %s", name, tag, got.Digest, manifest)
		case err == nil && d.deleted[manifest]:
			t.Errorf("%s: tag %s of the deleted %s is there", name, tag, manifest)
		case err != nil && !(errors.Is(err, oras.ErrNotFound) && d.deleting[manifest]):
			t.Errorf("%s: tag %s: %v", name, tag, err)
		}
	}
	for manifest := range d.deleted {
		exists, err := s.Exists(t.Context(), oras.Descriptor{Digest: digest.Digest(manifest)})
		if err != nil || exists {
			t.Errorf("%s: deleted manifest %s: exists: %v, %v", name, manifest, exists, err)
		}
	}
	for signature, subject := range d.attached {
		found := false
		must(t, oras.Referrers(t.Context(), s, oras.Descriptor{Digest: digest.Digest(subject)}, "", func(page []oras.Descriptor) error {
			for _, desc := range page {
				found = found || string(desc.Digest) == signature
			}
			return nil
		}))
		if !found {
			t.Errorf("%s: %s lacks its referrer %s", name, subject, signature)
		}
	}
	verifyAll(t, s, dir, name)
}

// verifyAll checks whatever is there, acknowledged or not.
func verifyAll(t *testing.T, s oras.Store, dir *bucket.Dir, name string) {
	t.Helper()
	err := s.Tags(t.Context(), "", func(page []string) error {
		for _, tag := range page {
			desc, err := s.Resolve(t.Context(), tag)
			must(t, err)
			complete(t, s, desc)
		}
		return nil
	})
	if err != nil && !errors.Is(err, oras.ErrNotFound) {
		t.Error(err)
	}
	for _, key := range list(t, dir, name+"/_blobs/", "") {
		algorithm, hex, _ := strings.Cut(strings.TrimPrefix(key, name+"/_blobs/"), "/")
		desc, err := s.Resolve(t.Context(), algorithm+":"+hex)
		must(t, err)
		whole(t, s, desc)
	}
	for _, key := range list(t, dir, name+"/_manifests/", "") {
		algorithm, hex, _ := strings.Cut(strings.TrimPrefix(key, name+"/_manifests/"), "/")
		desc, err := s.Resolve(t.Context(), algorithm+":"+hex)
		must(t, err)
		complete(t, s, desc)
	}
}
