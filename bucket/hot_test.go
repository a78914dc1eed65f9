package bucket_test

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/c73062ad/oras"
	"github.com/c73062ad/oras/bucket"
)

func fetch(tb testing.TB, s oras.Store, desc oras.Descriptor) []byte {
	tb.Helper()
	r, err := s.Fetch(tb.Context(), desc)
	must(tb, err)
	defer r.Close()
	data, err := io.ReadAll(r)
	must(tb, err)
	return data
}

// TestHot: a blob in memory is the one on the disk, whatever becomes of that, here or
// in another process.
func TestHot(t *testing.T) {
	dir := openDir(t)
	s := repository(t, bucket.New(dir), "a")
	desc := push(t, s, []byte("hello"), "a/b")
	for range 2 {
		if got := fetch(t, s, desc); string(got) != "hello" {
			t.Fatalf("got %q", got)
		}
	}
	if n := s.Registry().Hot(); n == 0 {
		t.Error("nothing is in memory")
	}

	path := filepath.Join(dir.Path(), "a", "_blobs", "sha256", desc.Digest.Encoded())
	then := time.Now().Add(-time.Hour)
	for _, data := range []string{"HELLO", "hello"} { // damaged, and mended with the same time
		must(t, os.WriteFile(path, []byte(data), 0o600))
		must(t, os.Chtimes(path, then, then))
		if got := fetch(t, s, desc); string(got) != data {
			t.Errorf("got %q, want %q", got, data)
		}
	}

	must(t, s.Delete(t.Context(), desc))
	if _, err := s.Fetch(t.Context(), desc); !errors.Is(err, oras.ErrNotFound) {
		t.Errorf("deleted: %v", err)
	}
	push(t, s, []byte("hello"), "a/b")
	if got := fetch(t, s, desc); string(got) != "hello" {
		t.Errorf("pushed again: got %q", got)
	}
	if _, err := repository(t, s.Registry(), "b").Fetch(t.Context(), desc); !errors.Is(err, oras.ErrNotFound) {
		t.Errorf("of a repository that does not have it: %v", err)
	}
}

// TestHotBounded: what is in memory does not grow with what is read.
func TestHotBounded(t *testing.T) {
	s := repository(t, bucket.New(openDir(t)), "a")
	data := make([]byte, 16<<10)
	for n := range 600 {
		copy(data, []byte{byte(n), byte(n >> 8)})
		desc := push(t, s, data, "a/b")
		if got := fetch(t, s, desc); !bytes.Equal(got, data) {
			t.Fatal("other bytes")
		}
	}
	if n := s.Registry().Hot(); n < 7<<20 || n > 8<<20 {
		t.Errorf("%d bytes are in memory", n)
	}
	large := push(t, s, make([]byte, 16<<10+1), "a/b")
	r, err := s.Fetch(t.Context(), large)
	must(t, err)
	defer r.Close()
	if _, ok := r.(*os.File); !ok {
		t.Errorf("a larger one is a %T", r)
	}
}
