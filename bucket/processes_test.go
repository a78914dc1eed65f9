package bucket_test

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"sync"
	"testing"

	"github.com/c73062ad/oras"
	"github.com/c73062ad/oras/bucket"
)

// TestProcesses: what one process pushes, tags, untags or deletes at the moment when
// another does is whole or not there; nothing that has a name is missing.
func TestProcesses(t *testing.T) {
	path := t.TempDir()
	var stores []*bucket.Store
	var dirs []*bucket.Dir
	for range 3 {
		d, err := bucket.OpenDir(path)
		must(t, err)
		defer d.Close()
		dirs = append(dirs, d)
		stores = append(stores, repository(t, bucket.New(d), "a"))
	}
	s := stores[0]
	push(t, s, []byte("{}"), oras.MediaTypeEmpty)
	push(t, s, layer, "a/b")
	push(t, s, subject, subjectDesc.MediaType)
	other, otherDesc := image("other", oras.Manifest{})
	push(t, s, other, otherDesc.MediaType)
	// What is done to one manifest and the tags it may have.
	ops := map[string]func(s *bucket.Store) error{
		"push": func(s *bucket.Store) error { return oras.Push(t.Context(), s, signedDesc, bytes.NewReader(signed)) },
		"push and tag": func(s *bucket.Store) error {
			return oras.PushTagged(t.Context(), s, signedDesc, bytes.NewReader(signed), "v1")
		},
		"push and tags": func(s *bucket.Store) error {
			return oras.PushTagged(t.Context(), s, signedDesc, bytes.NewReader(signed), "v1", "v2")
		},
		"tag":            func(s *bucket.Store) error { return s.Tag(t.Context(), signedDesc, "v1") },
		"tag another":    func(s *bucket.Store) error { return s.Tag(t.Context(), otherDesc, "v1") },
		"untag":          func(s *bucket.Store) error { return s.Untag(t.Context(), "v1") },
		"delete":         func(s *bucket.Store) error { return s.Delete(t.Context(), signedDesc) },
		"delete, too":    func(s *bucket.Store) error { return s.Delete(t.Context(), signedDesc) },
		"delete as blob": func(s *bucket.Store) error { return s.Delete(t.Context(), oras.Descriptor{Digest: signedDesc.Digest}) },
		"push as blob": func(s *bucket.Store) error {
			return oras.Push(t.Context(), s, oras.Descriptor{MediaType: "a/b", Digest: signedDesc.Digest, Size: signedDesc.Size}, bytes.NewReader(signed))
		},
		"tag if v1 is it": func(s *bucket.Store) error { return s.TagIf(t.Context(), otherDesc, "v1", signedDesc) },
	}
	var names []string
	for name := range ops {
		names = append(names, name)
	}
	rounds := 300
	if testing.Short() {
		rounds = 100
	}
	for range rounds {
		var did []string
		var group sync.WaitGroup
		for _, s := range stores {
			name := names[rand.N(len(names))]
			did = append(did, name)
			group.Go(func() {
				if err := ops[name](s); err != nil && !errors.Is(err, oras.ErrNotFound) && !errors.Is(err, oras.ErrConflict) {
					t.Errorf("%s: %v", name, err)
				}
			})
		}
		group.Wait()
		clean(t, dirs[0])
		if t.Failed() {
			t.Fatalf("after %q at once", did)
		}
	}
}
