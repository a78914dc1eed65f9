package bucket_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/c73062ad/oras"
	"github.com/c73062ad/oras/bucket"
)

// The operations that goroutines do to two repositories.
const (
	opPush = iota
	opPushTagged
	opAttach
	opTag
	opUntag
	opDelete
	opMount
	opCollect
	opKinds
)

// An op is an operation, with what it is about.
type op struct{ kind, repo, image, tag, layer int }

var (
	modelRepos  = []string{"a", "b/c"}
	modelLayers = [][]byte{[]byte("zero"), []byte("one"), bytes.Repeat([]byte("two"), 5000), {}}
	anOp        = rapid.Custom(func(t *rapid.T) op {
		return op{
			rapid.IntRange(0, opKinds-1).Draw(t, "kind"), rapid.IntRange(0, len(modelRepos)-1).Draw(t, "repo"), rapid.IntRange(0, 3).Draw(t, "image"),
			rapid.IntRange(0, 2).Draw(t, "tag"), rapid.IntRange(0, len(modelLayers)-1).Draw(t, "layer"),
		}
	})
)

// A worker does operations in a goroutine of its own, on images and tags of its own,
// whose layers others have, too.
type worker struct {
	number   int
	untagged time.Duration // of collections
	failed   func(format string, args ...any)
	registry *bucket.Registry
	stores   []*bucket.Store
	data     map[oras.Digest][]byte
	there    []map[oras.Digest]bool       // by repository: manifests that are there
	tags     []map[string]oras.Descriptor // by repository
}

// image returns the i-th image of w.
func (w *worker) image(i int) ([]byte, oras.Descriptor) {
	m := oras.Manifest{Layers: []oras.Descriptor{oras.DescriptorOf("a/b", modelLayers[i]), oras.DescriptorOf("a/b", modelLayers[(i+w.number)%len(modelLayers)])}}
	data, desc := image(fmt.Sprint(w.number, i), m)
	w.data[oras.SHA256.Digest(data)] = data
	return data, desc
}

func (w *worker) do(ctx context.Context, o op) {
	if err := w.try(ctx, o); err != nil {
		w.failed("%+v: %v", o, err)
	}
}

func (w *worker) try(ctx context.Context, o op) error {
	s, tag := w.stores[o.repo], fmt.Sprintf("t%d-%d", w.number, o.tag)
	data, desc := w.image(o.image)
	d, err := oras.ParseDigest(desc.Digest)
	if err != nil {
		return err
	}
	there, tags := w.there[o.repo], w.tags[o.repo]
	mayBeGone := !there[d] || w.untagged > 0 // unless it has a tag
	for _, named := range tags {
		if named.Digest == desc.Digest {
			mayBeGone = false
		}
	}
	switch o.kind {
	case opPush:
		_, err := oras.PushBytes(ctx, s, "a/b", modelLayers[o.layer])
		return err
	case opMount:
		layer := oras.DescriptorOf("a/b", modelLayers[o.layer])
		return gone(oras.Mount(ctx, s, layer, modelRepos[1-o.repo], nil))
	case opCollect:
		_, err := w.registry.Collect(ctx, &bucket.CollectOptions{Grace: time.Nanosecond, Untagged: w.untagged})
		return err
	case opPushTagged:
		there[d], tags[tag] = true, desc
		return w.push(ctx, s, desc, data, tag)
	case opAttach:
		data, signature := image(fmt.Sprint("of", w.number, o.image), oras.Manifest{Subject: &desc})
		return w.push(ctx, s, signature, data)
	case opTag:
		if err := s.Tag(ctx, desc, tag); mayBeGone && errors.Is(err, oras.ErrNotFound) {
			return nil
		} else if err != nil {
			return err
		}
		there[d], tags[tag] = true, desc
	case opUntag:
		_, ok := tags[tag]
		delete(tags, tag)
		err := s.Untag(ctx, tag)
		if !ok && errors.Is(err, oras.ErrNotFound) {
			return nil
		}
		return err
	case opDelete:
		delete(there, d)
		for tag, named := range tags {
			if named.Digest == desc.Digest {
				delete(tags, tag)
			}
		}
		if err := s.Delete(ctx, desc); !errors.Is(err, oras.ErrNotFound) || !mayBeGone {
			return err
		}
	}
	return nil
}

// push pushes a manifest with all it holds: twice, for what may have been collected
// before the manifest came.
func (w *worker) push(ctx context.Context, s *bucket.Store, desc oras.Descriptor, data []byte, tags ...string) error {
	for range 2 {
		if err := w.pushLayers(ctx, s, data, desc); err != nil {
			return err
		}
		if err := oras.PushTagged(ctx, s, desc, bytes.NewReader(data), tags...); err != nil {
			return err
		}
	}
	return nil
}

func (w *worker) pushLayers(ctx context.Context, s *bucket.Store, data []byte, desc oras.Descriptor) error {
	m, err := oras.ParseManifest(desc.MediaType, data)
	if err != nil {
		return err
	}
	for _, layer := range append(m.Layers, configDesc) {
		for _, data := range append(modelLayers, []byte("{}")) {
			if oras.SHA256.Digest(data).OCI() == layer.Digest {
				if err := oras.Push(ctx, s, layer, bytes.NewReader(data)); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// compare checks that what has a tag is complete and, to the byte, what was pushed,
// and that what was deleted or untagged is not there.
func (w *worker) compare(ctx context.Context) {
	for i, s := range w.stores {
		for n := range 3 {
			tag := fmt.Sprintf("t%d-%d", w.number, n)
			desc, err := s.Resolve(ctx, tag)
			want, ok := w.tags[i][tag]
			if !ok {
				if !errors.Is(err, oras.ErrNotFound) {
					w.failed("%s: tag %s is %s, %v; it must not be there", modelRepos[i], tag, desc.Digest, err)
				}
				continue
			}
			if err != nil || desc.Digest != want.Digest {
				w.failed("%s: tag %s is %s, %v; it must be %s", modelRepos[i], tag, desc.Digest, err, want.Digest)
				continue
			}
			data, err := oras.FetchAll(ctx, s, desc)
			d, _ := oras.ParseDigest(desc.Digest)
			if err != nil || !bytes.Equal(data, w.data[d]) {
				w.failed("%s: manifest %s, tagged %s: %d bytes, %v", modelRepos[i], d, tag, len(data), err)
				continue
			}
			m, err := oras.ParseManifest(desc.MediaType, data)
			if err != nil {
				w.failed("%v", err)
				continue
			}
			for _, child := range m.Children() {
				if _, err := oras.FetchAll(ctx, s, child); err != nil {
					w.failed("%s: of manifest %s, tagged %s: %v", modelRepos[i], d, tag, err)
				}
			}
		}
		for n := range 4 {
			_, desc := w.image(n)
			d, _ := oras.ParseDigest(desc.Digest)
			exists, err := s.Exists(ctx, desc)
			if err != nil || exists && !w.there[i][d] || !exists && w.there[i][d] && w.untagged == 0 {
				w.failed("%s: manifest %s: exists: %v, %v; it must be %v", modelRepos[i], d, exists, err, w.there[i][d])
			}
		}
	}
}

// TestModel: whatever goroutines and processes push, mount, tag, untag, delete and
// collect, with restarts between, what has a tag is complete and what it was.
func TestModel(t *testing.T) {
	checks, failing := 0, false
	rapid.Check(t, func(rt *rapid.T) {
		checks++
		if checks%4 != 1 && !failing { // each costs more than most
			return
		}
		failing = true
		testModel(t, rt)
		failing = rt.Failed()
	})
}

func testModel(t *testing.T, rt *rapid.T) {
	path := t.TempDir()
	untagged := time.Duration(rapid.IntRange(0, 1).Draw(rt, "untagged"))
	rounds := rapid.IntRange(1, 3).Draw(rt, "rounds")
	var mu sync.Mutex
	var failures []string
	workers := make([]*worker, 3)
	for i := range workers {
		w := &worker{number: i, untagged: untagged, data: map[oras.Digest][]byte{}, failed: func(format string, args ...any) {
			mu.Lock()
			defer mu.Unlock()
			failures = append(failures, fmt.Sprintf("worker %d: "+format, append([]any{i}, args...)...))
		}}
		for range modelRepos {
			w.there = append(w.there, map[oras.Digest]bool{})
			w.tags = append(w.tags, map[string]oras.Descriptor{})
		}
		workers[i] = w
	}
	for round := range rounds {
		var ops [3][]op
		for i := range ops {
			ops[i] = rapid.SliceOfN(anOp, 5, 30).Draw(rt, fmt.Sprintf("round %d, worker %d", round, i))
		}
		var dirs []*bucket.Dir // two workers share one, as goroutines of a process do
		for range 2 {
			d, err := bucket.OpenDir(path)
			must(t, err)
			dirs = append(dirs, d)
		}
		shared := hasty(bucket.New(dirs[0]))
		var group sync.WaitGroup
		for i, w := range workers {
			w.registry = shared
			if i == 2 {
				w.registry = hasty(bucket.New(dirs[1]))
			}
			w.stores = nil
			for _, name := range modelRepos {
				w.stores = append(w.stores, repository(t, w.registry, name))
			}
			group.Go(func() {
				for _, o := range ops[i] {
					w.do(t.Context(), o)
				}
			})
		}
		group.Wait()
		for _, w := range workers {
			w.compare(t.Context())
		}
		_, err := bucket.New(dirs[0]).Check(t.Context(), &bucket.CheckOptions{Event: func(p bucket.Problem) {
			failures = append(failures, p.String())
		}})
		must(t, err)
		for _, d := range dirs {
			must(t, d.Close())
		}
		if len(failures) > 0 {
			rt.Fatalf("%q", failures)
		}
	}
}
