package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/c73062ad/oras"
	"github.com/c73062ad/oras/remote"
)

// acknowledged is what a registry said it had done.
type acknowledged struct {
	mu       sync.Mutex
	tags     map[string]oras.Descriptor // zero: it must not be there
	doubtful map[string]bool            // tags that were being changed when it was killed
	signed   map[string]oras.Descriptor // signature → subject
	count    int
	enough   chan struct{} // closed when there are as many as were to be
	left     int
}

// done notes that change was made, unless err says that it may not have been.
func (a *acknowledged) done(err error, tag string, change func()) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if err != nil {
		a.doubtful[tag] = true
		return err
	}
	change()
	a.count++
	if a.left--; a.left == 0 {
		close(a.enough)
	}
	return nil
}

// imageOf returns a manifest of its own for each name, and its descriptor.
func imageOf(name string, subject *oras.Descriptor, layers ...oras.Descriptor) ([]byte, oras.Descriptor) {
	config := oras.DescriptorOf(oras.MediaTypeEmpty, []byte("{}"))
	m := oras.Manifest{Config: &config, Layers: layers, Subject: subject, Annotations: map[string]string{"name": name}}
	m.SchemaVersion = 2
	data, err := json.Marshal(m)
	if err != nil {
		panic(err)
	}
	return data, oras.DescriptorOf(oras.MediaTypeImageManifest, data)
}

// work pushes, tags, attaches, untags and deletes until something fails, as when the
// registry is killed.
func (a *acknowledged) work(ctx context.Context, r *remote.Repository, name string) {
	common := []byte("common to all")
	var mine []string
	for i := 0; ; i++ {
		tag := fmt.Sprintf("%s-%d", name, i)
		layer := []byte(strings.Repeat(tag, 1+rand.N(20_000)))
		layerDesc := oras.DescriptorOf("a/b", layer)
		data, desc := imageOf(tag, nil, layerDesc, oras.DescriptorOf("a/b", common))
		var err error
		for _, content := range [][]byte{layer, common, []byte("{}")} {
			if err == nil {
				_, err = oras.PushBytes(ctx, r, "a/b", content)
			}
		}
		if err != nil {
			return
		}
		if a.done(oras.PushTagged(ctx, r, desc, bytes.NewReader(data), tag), tag, func() { a.tags[tag] = desc }) != nil {
			return
		}
		mine = append(mine, tag)
		one := mine[rand.N(len(mine))]
		a.mu.Lock()
		target := a.tags[one]
		a.mu.Unlock()
		if target.Digest == "" {
			continue
		}
		switch rand.N(4) {
		case 0:
			data, signature := imageOf("signature of "+tag, &target)
			err = a.done(oras.Push(ctx, r, signature, bytes.NewReader(data)), "", func() { a.signed[string(signature.Digest)] = target })
		case 1:
			err = a.done(r.Tag(ctx, target, name+"-latest"), name+"-latest", func() { a.tags[name+"-latest"] = target })
		case 2:
			err = a.done(r.Untag(ctx, one), one, func() { a.tags[one] = oras.Descriptor{} })
		case 3:
			err = a.done(r.Delete(ctx, target), one, func() {
				for tag, desc := range a.tags {
					if desc.Digest == target.Digest {
						a.tags[tag] = oras.Descriptor{}
					}
				}
				maps.DeleteFunc(a.signed, func(_ string, subject oras.Descriptor) bool { return subject.Digest == target.Digest })
			})
			if err != nil { // tags of it may be gone
				a.mu.Lock()
				a.doubtful[name+"-latest"] = true
				a.mu.Unlock()
			}
		}
		if err != nil {
			return
		}
	}
}

// verify checks that what was acknowledged is there, and complete.
func (a *acknowledged) verify(t *testing.T, r *remote.Repository) {
	t.Helper()
	for tag, want := range a.tags {
		got, err := r.Resolve(t.Context(), tag)
		if !a.doubtful[tag] {
			switch {
			case want.Digest == "" && !errors.Is(err, oras.ErrNotFound):
				t.Errorf("tag %s: %s, %v; it must not be there", tag, got.Digest, err)
			case want.Digest != "" && (err != nil || got.Digest != want.Digest):
				t.Errorf("tag %s: %s, %v; it must be %s", tag, got.Digest, err, want.Digest)
			}
		}
		if err == nil {
			whole(t, r, got)
		} else if !errors.Is(err, oras.ErrNotFound) {
			t.Error(err)
		}
		a.tags[tag] = got // so that what was doubtful is known
	}
	clear(a.doubtful)
	for signature, subject := range a.signed {
		found := false
		err := oras.Referrers(t.Context(), r, subject, "", func(page []oras.Descriptor) error {
			for _, desc := range page {
				found = found || string(desc.Digest) == signature
			}
			return nil
		})
		exists, existsErr := r.Exists(t.Context(), subject)
		if err != nil || existsErr != nil || exists && !found {
			t.Errorf("%s lacks its referrer %s: %v, %v", subject.Digest, signature, err, existsErr)
		}
	}
}

// whole checks that a manifest and its layers are there, to the byte.
func whole(t *testing.T, r *remote.Repository, desc oras.Descriptor) {
	t.Helper()
	m, err := oras.ReadManifest(t.Context(), r, desc)
	if err != nil {
		t.Error(err)
		return
	}
	for _, layer := range m.Layers {
		if _, err := oras.FetchAll(t.Context(), r, layer); err != nil {
			t.Errorf("of %s: %v", desc.Digest, err)
		}
	}
}

// TestServeKill kills a registry while clients work, and its garbage is collected,
// again and again. The next one has all that the last one said it had done, and in
// the end nothing is wrong with the folder.
func TestServeKill(t *testing.T) {
	rounds := 12
	if testing.Short() {
		rounds = 3
	}
	data := t.TempDir()
	program, err := exec.LookPath("oras") // this test's own, see TestMain
	if err != nil {
		t.Fatal(err)
	}
	a := newAcknowledged()
	for round := range rounds {
		p := startRegistry(t, data)
		a.verify(t, p.repository(t, "team/app"))
		if t.Failed() {
			t.Fatalf("after %d rounds", round)
		}
		a.enough, a.left = make(chan struct{}), 1+rand.N(25)
		ctx, cancel := context.WithCancel(t.Context())
		var group sync.WaitGroup
		for g := range 3 {
			group.Go(func() { a.work(ctx, p.repository(t, "team/app"), fmt.Sprintf("r%d-%d", round, g)) })
		}
		collect := exec.Command(program, "serve", "gc", "--data", data)
		if out, err := collect.CombinedOutput(); err != nil {
			t.Errorf("gc: %v\n%s", err, out)
		}
		select {
		case <-a.enough:
		case <-time.After(20 * time.Second):
			t.Error("the registry does not answer")
		}
		p.cmd.Process.Kill()
		cancel()
		group.Wait()
		p.cmd.Wait()
		ageFiles(t, data) // what nobody refers to is garbage in the next round
	}
	p := startRegistry(t, data)
	a.verify(t, p.repository(t, "team/app"))
	if out, err := exec.Command(program, "serve", "check", "--data", data).CombinedOutput(); err != nil {
		t.Errorf("check: %v\n%s", err, out)
	} else {
		t.Logf("%d things were acknowledged; %s", a.count, out)
	}
	if a.count < rounds {
		t.Errorf("only %d things were acknowledged", a.count)
	}
}

func newAcknowledged() *acknowledged {
	return &acknowledged{tags: map[string]oras.Descriptor{}, doubtful: map[string]bool{}, signed: map[string]oras.Descriptor{}}
}

// ageFiles lets all files below folder have been written two hours ago.
func ageFiles(t *testing.T, folder string) {
	t.Helper()
	then := time.Now().Add(-2 * time.Hour)
	err := filepath.WalkDir(folder, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		return os.Chtimes(path, then, then)
	})
	if err != nil {
		t.Fatal(err)
	}
}
