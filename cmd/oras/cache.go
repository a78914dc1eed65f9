package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/c73062ad/oras"
	"github.com/c73062ad/oras/layout"
)

// cacheVariable is the environment variable that names the cache: an OCI image
// layout, made if it is not there, in which commands that fetch content keep what
// they fetched, and look first the next time. What a tag names is always asked of
// the target.
const cacheVariable = "ORAS_CACHE"

// openCached is openRead through the cache, if there is one.
func (t *target) openCached(ctx context.Context, env *environment) (store, error) {
	src, err := t.openRead(ctx, env)
	dir := os.Getenv(cacheVariable)
	if err != nil || dir == "" {
		return src, err
	}
	cache, err := openLayout(ctx, dir, layout.Open)
	if err != nil {
		return nil, fmt.Errorf("%s: %s: %w", cacheVariable, dir, err)
	}
	return &cachedStore{src, cache, dir, env.warn}, nil
}

// A cachedStore is a store whose content is taken from a cache where it is there.
type cachedStore struct {
	store
	cache *layout.Store
	dir   string
	warn  func(text string)
}

// Fetch implements oras.Fetcher.
func (c *cachedStore) Fetch(ctx context.Context, target oras.Descriptor) (io.ReadCloser, error) {
	content, err := c.cache.Fetch(ctx, target)
	if err == nil {
		return &fromCache{oras.NewVerifier(content, target), content, c}, nil
	}
	if errors.Is(err, oras.ErrInvalid) {
		return nil, c.broken(err)
	}
	if !errors.Is(err, oras.ErrNotFound) {
		c.warn(fmt.Sprintf("%s: %s: %v", cacheVariable, c.dir, err))
	}
	content, err = c.store.Fetch(ctx, target)
	if err != nil {
		return nil, err
	}
	return c.keep(ctx, target, content), nil
}

// FetchReference is for oras.FetchTagged.
func (c *cachedStore) FetchReference(ctx context.Context, reference string) (oras.Descriptor, io.ReadCloser, error) {
	desc, content, err := oras.FetchTagged(ctx, c.store, reference)
	if err != nil {
		return desc, nil, err
	}
	if known, err := c.cache.Exists(ctx, desc); err == nil && known {
		return desc, content, nil
	}
	return desc, c.keep(ctx, desc, content), nil
}

// broken is err, of what the cache has.
func (c *cachedStore) broken(err error) error {
	return hint(fmt.Errorf("%s: %s: %w", cacheVariable, c.dir, err), "Remove that folder to fetch its content again")
}

// fromCache is content of the cache.
type fromCache struct {
	r io.Reader
	io.Closer
	cache *cachedStore
}

func (f *fromCache) Read(p []byte) (int, error) {
	n, err := f.r.Read(p)
	if errors.Is(err, oras.ErrInvalid) {
		err = f.cache.broken(err)
	}
	return n, err
}

// keep returns content, which goes into the cache while it is read. Only what was
// read to its end, and is what target says, stays there. A cache that fails is a
// warning.
func (c *cachedStore) keep(ctx context.Context, target oras.Descriptor, content io.ReadCloser) io.ReadCloser {
	r, w := io.Pipe()
	k := &keeping{content: content, copy: w, left: target.Size, done: make(chan struct{})}
	go func() {
		defer close(k.done)
		err := oras.Push(ctx, c.cache, target, r)
		r.CloseWithError(errNotKept) // what is still to come is not wanted
		if err != nil && !errors.Is(err, oras.ErrInvalid) && !errors.Is(err, errNotKept) && ctx.Err() == nil {
			c.warn(fmt.Sprintf("%s: %s: %v", cacheVariable, c.dir, err))
		}
	}()
	if seeker, ok := content.(io.Seeker); ok {
		return &seekKeeping{k, seeker}
	}
	return k
}

var errNotKept = errors.New("not all of it was read")

// keeping is content on its way to who reads it and to the cache.
type keeping struct {
	content io.ReadCloser
	copy    *io.PipeWriter
	left    int64         // bytes that were not read
	done    chan struct{} // closed when the cache is done
}

func (k *keeping) Read(p []byte) (int, error) {
	n, err := k.content.Read(p)
	if n > 0 {
		k.left -= int64(n)
		_, _ = k.copy.Write(p[:n]) // an error of the cache is told where it is
	}
	return n, err
}

// seekKeeping is such content that can go on elsewhere, as a transfer does that was
// broken off. Then the cache does not get it.
type seekKeeping struct {
	*keeping
	seeker io.Seeker
}

func (k *seekKeeping) Seek(offset int64, whence int) (int64, error) {
	k.left = -1
	k.copy.CloseWithError(errNotKept)
	return k.seeker.Seek(offset, whence)
}

func (k *keeping) Close() error {
	if k.left == 0 {
		k.copy.Close()
	} else {
		k.copy.CloseWithError(errNotKept)
	}
	<-k.done
	return k.content.Close()
}
