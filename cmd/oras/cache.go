package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

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
	if err := c.wait(ctx, target); err != nil {
		return nil, err
	}
	content, err := c.cache.Fetch(ctx, target)
	if err == nil {
		return &fromCache{oras.NewVerifier(content, target), content, func(err error) error { return c.broken(ctx, target, err) }}, nil
	}
	if errors.Is(err, oras.ErrInvalid) { // it has another size
		if e := c.remove(ctx, target); e != nil {
			err = fmt.Errorf("%w; it stays: %w", err, e)
		}
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

// waitsAtMost is how long what another process brings may not get on before it is fetched
// here, too.
const waitsAtMost = 5 * time.Second

// wait waits as long as another process brings target into the cache: to fetch it once is
// faster than twice at a time, and takes the room of one.
func (c *cachedStore) wait(ctx context.Context, target oras.Descriptor) error {
	const look = 50 * time.Millisecond
	last, moved := int64(-1), time.Now()
	for {
		size, arriving := c.cache.Arriving(target)
		if size != last {
			last, moved = size, time.Now()
		}
		if !arriving || time.Since(moved) > waitsAtMost {
			return nil
		}
		timer := time.NewTimer(look)
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return context.Cause(ctx)
		}
	}
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

// remove removes what the cache has of target, which is damaged.
func (c *cachedStore) remove(ctx context.Context, target oras.Descriptor) error {
	err := c.cache.Delete(context.WithoutCancel(ctx), target)
	if errors.Is(err, oras.ErrNotFound) { // another process was first
		return nil
	}
	return err
}

// broken returns err, of reading what the cache has of target, as one that the next try
// does not meet.
func (c *cachedStore) broken(ctx context.Context, target oras.Descriptor, err error) error {
	err = fmt.Errorf("%s: %s: %w", cacheVariable, c.dir, err)
	if e := c.remove(ctx, target); e != nil {
		return hint(fmt.Errorf("%w; it stays: %w", err, e), "Remove that folder to fetch its content again")
	}
	return hint(err, "It is removed from there: run the same command again to fetch it anew")
}

// fromCache is content of the cache.
type fromCache struct {
	r io.Reader
	io.Closer
	broken func(error) error
}

func (f *fromCache) Read(p []byte) (int, error) {
	n, err := f.r.Read(p)
	if errors.Is(err, oras.ErrInvalid) {
		err = f.broken(err)
	}
	return n, err
}

// keep returns content, which goes into the cache while it is read. What was read to its
// end, and is what target says, stays there; of a large blob what was read in order does,
// too, and the next who keeps it reads that from there. A cache that fails is a warning.
func (c *cachedStore) keep(ctx context.Context, target oras.Descriptor, content io.ReadCloser) io.ReadCloser {
	r, w := io.Pipe()
	k := &keeping{content: content, cache: c, target: target, copy: w, done: make(chan struct{})}
	seeker, seeks := content.(io.ReadSeekCloser)
	push := func() error { return oras.Push(ctx, c.cache, target, r) }
	if seeks {
		if part, err := c.cache.OpenPart(ctx, target); err == nil {
			if k.part = part; part.Size() <= target.Size { // or else it begins anew
				k.there, k.kept = part.Size(), part.Size()
			}
			push = func() error { return part.Push(ctx, &keptRest{r, k.there}) }
		}
	}
	go func() {
		defer close(k.done)
		k.err = push()
		r.CloseWithError(errNotKept) // what is still to come is not wanted
		if k.err != nil && !errors.Is(k.err, oras.ErrInvalid) && !errors.Is(k.err, errNotKept) && ctx.Err() == nil {
			c.warn(fmt.Sprintf("%s: %s: %v", cacheVariable, c.dir, k.err))
		}
	}()
	if seeks {
		return &seekKeeping{k, seeker}
	}
	return k
}

var errNotKept = errors.New("not all of it was read")

// A keptRest is what comes of content behind the part that the cache has: it is not
// sought, but already there.
type keptRest struct {
	io.Reader
	there int64
}

func (r *keptRest) Seek(offset int64, whence int) (int64, error) {
	if offset != r.there || whence != io.SeekStart {
		return 0, errNotKept
	}
	return offset, nil
}

// keeping is content on its way to who reads it and to the cache.
type keeping struct {
	content io.ReadCloser
	cache   *cachedStore
	target  oras.Descriptor
	copy    *io.PipeWriter
	offset  int64         // of what is read next
	kept    int64         // bytes that the cache was given, or had
	part    *layout.Part  // which the cache has, or nil
	there   int64         // bytes of it
	done    chan struct{} // closed when the cache is done
	err     error         // of the cache, then
}

func (k *keeping) Read(p []byte) (int, error) {
	n, err := k.content.Read(p)
	k.keep(p[:n])
	return n, err
}

// keep gives the cache p, the next bytes, if that is how it goes on.
func (k *keeping) keep(p []byte) {
	at := k.offset
	k.offset += int64(len(p))
	if at <= k.kept && k.kept < k.offset {
		_, _ = k.copy.Write(p[k.kept-at:]) // an error of the cache is told where it is
		k.kept = k.offset
	}
}

// seekKeeping is such content that can go on elsewhere, as a transfer does that was
// broken off. The cache gets what it has not yet, as long as nothing is missing between.
type seekKeeping struct {
	*keeping
	seeker io.ReadSeekCloser
}

// maxKeptGap is how many bytes are read again, for the cache alone, where a transfer goes
// on behind what the cache has: the two are not written in step.
const maxKeptGap = 4 << 20

func (k *seekKeeping) Read(p []byte) (int, error) {
	if k.offset < k.there && len(p) > 0 {
		n, err := k.part.ReadAt(p[:min(int64(len(p)), k.there-k.offset)], k.offset)
		if n > 0 {
			k.offset += int64(n)
			return n, k.wrong(nil)
		}
		if !errors.Is(err, fs.ErrClosed) { // the cache has given it up
			return 0, fmt.Errorf("%s: %s: %w", cacheVariable, k.cache.dir, err)
		}
		k.there = 0
	}
	if k.offset > k.kept && k.offset-k.kept <= maxKeptGap {
		if err := k.fillGap(); err != nil {
			return 0, err
		}
	}
	if _, err := k.seeker.Seek(k.offset, io.SeekStart); err != nil {
		return 0, err
	}
	n, err := k.keeping.Read(p)
	return n, k.wrong(err)
}

// fillGap gives the cache what lies between what it has and what is read next.
func (k *seekKeeping) fillGap() error {
	end := k.offset
	if _, err := k.seeker.Seek(k.kept, io.SeekStart); err != nil {
		return err
	}
	k.offset = k.kept
	_, err := io.CopyN(io.Discard, struct{ io.Reader }{k.keeping}, end-k.kept)
	k.offset = end
	return err
}

// wrong returns err, or, at the end of content of which some was in the cache, that this
// was not right.
func (k *seekKeeping) wrong(err error) error {
	if k.there == 0 || k.offset < k.target.Size || err != nil && err != io.EOF || k.kept < k.target.Size {
		return err
	}
	k.copy.Close()
	<-k.done
	if !errors.Is(k.err, oras.ErrInvalid) {
		return err
	}
	k.there = 0
	return hint(fmt.Errorf("%s: %s: the part of it: %w", cacheVariable, k.cache.dir, k.err), "It is removed: run the same command again to fetch the whole")
}

func (k *seekKeeping) Seek(offset int64, whence int) (int64, error) {
	if whence == io.SeekCurrent {
		offset, whence = offset+k.offset, io.SeekStart
	}
	offset, err := k.seeker.Seek(offset, whence)
	if err == nil {
		k.offset = offset
	}
	return offset, err
}

func (k *keeping) Close() error {
	if k.kept == k.target.Size {
		k.copy.Close()
	} else {
		k.copy.CloseWithError(errNotKept)
	}
	<-k.done
	return k.content.Close()
}
