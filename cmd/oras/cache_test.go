package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/c73062ad/oras"
	"github.com/c73062ad/oras/layout"
)

// A countedStore gives content that counts what is read of it.
type countedStore struct {
	store
	data  []byte
	moved int
}

func (s *countedStore) Fetch(context.Context, oras.Descriptor) (io.ReadCloser, error) {
	return &countedContent{bytes.NewReader(s.data), s}, nil
}

type countedContent struct {
	*bytes.Reader
	s *countedStore
}

func (c *countedContent) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p[:min(len(p), 30_000)])
	c.s.moved += n
	return n, err
}

func (c *countedContent) Close() error { return nil }

// newCachedStore returns data behind a cache that has there for its beginning.
func newCachedStore(t *testing.T, data, there []byte) (*cachedStore, *countedStore, oras.Descriptor) {
	dir := t.TempDir()
	desc := oras.DescriptorOf(oras.MediaTypeBlob, data)
	if there != nil {
		mustWrite(t, filepath.Join(dir, ".oras-"+strings.Replace(string(desc.Digest), ":", "-", 1)+".part"), there)
	}
	cache, err := layout.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cache.Close() })
	src := &countedStore{data: data}
	return &cachedStore{src, cache, dir, func(text string) { t.Error(text) }}, src, desc
}

// Content goes on in the cache behind the part that is there, wherever who reads it goes on.
func TestCacheGoesOn(t *testing.T) {
	data := make([]byte, 1_000_000)
	rand.NewChaCha8([32]byte{}).Read(data)
	for _, there := range []int{0, 100_000, 600_000, 1_000_000} {
		for _, at := range []int{0, 90_000, 600_000, 700_000, 1_000_000} {
			c, src, desc := newCachedStore(t, data, data[:there])
			content, err := c.Fetch(t.Context(), desc)
			if err != nil {
				t.Fatal(err)
			}
			r := oras.NewVerifier(content, desc)
			if _, err := oras.Continue(r, bytes.NewReader(data[:at])); err != nil {
				t.Fatal(err)
			}
			rest, err := io.ReadAll(r)
			if err := errors.Join(err, content.Close()); err != nil || !bytes.Equal(rest, data[at:]) {
				t.Errorf("behind %d bytes, with %d there: %d bytes, %v", at, there, len(rest), err)
			}
			kept, err := oras.FetchAll(t.Context(), c.cache, desc)
			if whole := err == nil && bytes.Equal(kept, data); !whole {
				t.Errorf("behind %d bytes, with %d there: in the cache is %d bytes, %v", at, there, len(kept), err)
			}
			if src.moved > len(data)-there {
				t.Errorf("behind %d bytes, with %d there: %d moved", at, there, src.moved)
			}
		}
	}
}

// What breaks off stays, for the next; what is not right does not.
func TestCachePart(t *testing.T) {
	data := make([]byte, 1_000_000)
	rand.NewChaCha8([32]byte{}).Read(data)
	c, src, desc := newCachedStore(t, data, nil)
	content, err := c.Fetch(t.Context(), desc)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.CopyN(io.Discard, content, 500_000); err != nil {
		t.Fatal(err)
	}
	content.Close()
	first := src.moved
	if content, err = c.Fetch(t.Context(), desc); err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(oras.NewVerifier(content, desc))
	content.Close()
	if err != nil || !bytes.Equal(got, data) || src.moved != len(data) || first == len(data) {
		t.Errorf("%d bytes, %v; %d and %d moved", len(got), err, first, src.moved)
	}

	c, _, desc = newCachedStore(t, data, make([]byte, 500_000))
	if content, err = c.Fetch(t.Context(), desc); err != nil {
		t.Fatal(err)
	}
	_, err = io.ReadAll(content)
	content.Close()
	if !errors.Is(err, oras.ErrInvalid) || !strings.Contains(err.Error(), "the part of it") {
		t.Errorf("a wrong part: %v", err)
	}
	if left, err := filepath.Glob(filepath.Join(c.dir, ".oras-sha*")); err != nil || len(left) > 0 {
		t.Errorf("left is %q, %v", left, err)
	}
	if content, err = c.Fetch(t.Context(), desc); err != nil {
		t.Fatal(err)
	}
	defer content.Close()
	if got, err := io.ReadAll(content); err != nil || !bytes.Equal(got, data) {
		t.Errorf("again: %v", err)
	}
}

// Those who want the same at the same time fetch it once, and whoever waits for one that
// does not get on, or ends, goes on alone.
func TestCacheTogether(t *testing.T) {
	data := make([]byte, 1_000_000)
	rand.NewChaCha8([32]byte{}).Read(data)
	c, src, desc := newCachedStore(t, data, nil)
	first, err := c.Fetch(t.Context(), desc)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.CopyN(io.Discard, first, 200_000); err != nil {
		t.Fatal(err)
	}
	begun := make(chan struct{}, 4)
	var group sync.WaitGroup
	for range cap(begun) {
		group.Go(func() {
			begun <- struct{}{}
			if got, err := oras.FetchAll(t.Context(), c, desc); err != nil || !bytes.Equal(got, data) {
				t.Errorf("%d bytes, %v", len(got), err)
			}
		})
	}
	for range cap(begun) {
		<-begun
	}
	for { // slowly
		if _, err := io.CopyN(io.Discard, first, 50_000); err == io.EOF {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		time.Sleep(20 * time.Millisecond)
	}
	first.Close()
	group.Wait()
	if src.moved != len(data) {
		t.Errorf("%d bytes moved", src.moved)
	}

	synctest.Test(t, func(t *testing.T) {
		c, _, desc := newCachedStore(t, data, nil)
		first, err := c.Fetch(t.Context(), desc)
		if err != nil {
			t.Fatal(err)
		}
		defer first.Close()
		if _, err := io.CopyN(io.Discard, first, 200_000); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), waitsAtMost/2)
		defer cancel()
		if _, err := c.Fetch(ctx, desc); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("it does not end with its context: %v", err)
		}
		began := time.Now()
		if got, err := oras.FetchAll(t.Context(), c, desc); err != nil || !bytes.Equal(got, data) {
			t.Errorf("behind one that does not get on: %d bytes, %v", len(got), err)
		}
		if waited := time.Since(began); waited < waitsAtMost || waited > 2*waitsAtMost {
			t.Errorf("waited %v", waited)
		}
	})
}
