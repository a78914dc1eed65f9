package memory

import (
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"
	"weak"

	"github.com/c73062ad/oras"
)

func names(t *testing.T, r *Registry, last string) []string {
	t.Helper()
	var all []string
	err := r.Repositories(t.Context(), last, func(names []string) error {
		all = append(all, names...)
		return nil
	})
	if err != nil {
		t.Fatalf("Repositories after %q: %v", last, err)
	}
	return all
}

func push(t *testing.T, r *Registry, name, text string) oras.Descriptor {
	t.Helper()
	s, err := r.Repository(t.Context(), name)
	if err != nil {
		t.Fatalf("Repository %s: %v", name, err)
	}
	desc, err := oras.PushBytes(t.Context(), s, oras.MediaTypeBlob, []byte(text))
	if err != nil {
		t.Fatalf("Push to %s: %v", name, err)
	}
	return desc
}

func TestRepositories(t *testing.T) {
	r := NewRegistry()
	for _, name := range []string{"b", "a/c", "a", "a-b"} {
		if _, err := r.Repository(t.Context(), "only-asked-for/"+name); err != nil {
			t.Fatal(err)
		}
		push(t, r, name, "a blob")
	}
	for last, want := range map[string][]string{
		"":    {"a", "a-b", "a/c", "b"},
		"a-b": {"a/c", "b"},
		"a0":  {"b"},
		"b":   nil,
	} {
		if got := names(t, r, last); !slices.Equal(got, want) {
			t.Errorf("repositories after %q are %q; want %q", last, got, want)
		}
	}
	enough := errors.New("enough")
	if err := r.Repositories(t.Context(), "", func([]string) error { return enough }); err != enough {
		t.Errorf("error is %v; want that of fn", err)
	}

	desc := push(t, r, "b", "a blob")
	s, err := r.Repository(t.Context(), "b")
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Delete(t.Context(), desc); err != nil {
		t.Fatal(err)
	}
	if got := names(t, r, "a/c"); !slices.Equal(got, []string{"b"}) {
		t.Errorf("a repository went with its last content: %q", got)
	}
	if s, err = r.Repository(t.Context(), "a"); err != nil {
		t.Fatal(err)
	}
	if exists, err := s.Exists(t.Context(), desc); err != nil || !exists {
		t.Errorf("deleted in b, %s is gone from a: %v", desc.Digest, err)
	}
}

func TestRepositoryName(t *testing.T) {
	for _, name := range []string{"", "A", "a//b", "/a", "../a", "a/..", "_a", "a b"} {
		if _, err := NewRegistry().Repository(t.Context(), name); !errors.Is(err, oras.ErrReference) {
			t.Errorf("Repository %q: error is %v; want %v", name, err, oras.ErrReference)
		}
	}
}

// Whoever comes first, all who ask for a name meet in one store.
func TestRepositoryConcurrent(t *testing.T) {
	r := NewRegistry()
	early, err := r.Repository(t.Context(), "shared")
	if err != nil {
		t.Fatal(err)
	}
	descs := make([]oras.Descriptor, 8)
	var group sync.WaitGroup
	for i := range descs {
		group.Go(func() {
			s, err := r.Repository(t.Context(), "shared")
			if err == nil {
				descs[i], err = oras.PushBytes(t.Context(), s, oras.MediaTypeBlob, fmt.Append(nil, i))
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	for i, desc := range descs {
		if exists, err := early.Exists(t.Context(), desc); err != nil || !exists {
			t.Errorf("what %d pushed, %s, is not there: %v", i, desc.Digest, err)
		}
	}
}

// Names that somebody asked for and nobody pushed to take no memory for long.
func TestRepositoryForgotten(t *testing.T) {
	r := NewRegistry()
	held, err := r.Repository(t.Context(), "held")
	if err != nil {
		t.Fatal(err)
	}
	for i := range 1000 {
		if _, err := r.Repository(t.Context(), fmt.Sprint("asked-for-", i)); err != nil {
			t.Fatal(err)
		}
	}
	lent := func() int {
		r.mu.Lock()
		defer r.mu.Unlock()
		return len(r.lent)
	}
	for start := time.Now(); lent() > 1; runtime.GC() {
		if time.Since(start) > 20*time.Second {
			t.Fatalf("%d names are still there; want 1", lent())
		}
	}
	again, err := r.Repository(t.Context(), "held")
	if err != nil || again != held {
		t.Errorf("a store that is held was forgotten: %v", err)
	}
}

// TestRegistryDropped: a registry that nobody has any longer goes, with what it keeps.
func TestRegistryDropped(t *testing.T) {
	r := NewRegistry()
	s, err := r.Repository(t.Context(), "kept")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := oras.PushBytes(t.Context(), s, "a/b", []byte("content")); err != nil {
		t.Fatal(err)
	}
	dropped := weak.Make(r)
	runtime.KeepAlive(s)
	r, s = nil, nil
	runtime.GC()
	if dropped.Value() != nil {
		t.Error("it is still there")
	}
}
