package bucket

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/c73062ad/oras"
)

// wholeFiles are files that were found to be what their digest says, so that content
// of several repositories is not read for each of them.
type wholeFiles struct {
	mu    sync.Mutex
	files map[oras.Digest]fs.FileInfo
}

const (
	worthKnowing = 1 << 20 // size in bytes of content that is not read again
	maxWhole     = 10_000  // files known
)

func (w *wholeFiles) has(d oras.Digest, info fs.FileInfo) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	known, ok := w.files[d]
	return ok && os.SameFile(known, info)
}

func (w *wholeFiles) add(d oras.Digest, info fs.FileInfo) {
	if info == nil || info.Size() < worthKnowing {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.files == nil {
		w.files = map[oras.Digest]fs.FileInfo{}
	}
	if len(w.files) < maxWhole {
		w.files[d] = info
	}
}

// blobs checks that content has the digest it is kept under, as many at once as
// there are processors.
func (c *checker) blobs(ctx context.Context, s *Store) error {
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(runtime.GOMAXPROCS(0))
	prefix := s.name + "/_blobs/"
	err := c.each(ctx, prefix, func(key string) error {
		d := unslashed(key, prefix)
		if d.IsZero() {
			c.strange(s, key)
			return nil
		}
		group.Go(func() error { return c.blob(ctx, s, d) })
		return nil
	})
	if failed := group.Wait(); failed != nil {
		return failed
	}
	return err
}

func (c *checker) blob(ctx context.Context, s *Store, d oras.Digest) error {
	key := s.blobKey(d)
	harm, err := c.verify(ctx, key, d)
	if errors.Is(err, oras.ErrNotFound) {
		return nil // it was deleted meanwhile
	}
	if err != nil {
		return err
	}
	c.mu.Lock()
	c.done.Blobs++
	c.mu.Unlock()
	if harm == "" {
		return nil
	}
	p := Problem{s.name, "blob " + d.String(), "is damaged, so it cannot be pulled: " + harm, false}
	if !c.opts.Repair {
		p.Text += "; a repair moves it aside, and takes it from another repository if that has it whole; else push it again"
		c.wrong(p)
		return nil
	}
	aside, from, err := c.replace(ctx, s, d)
	if err != nil {
		return fmt.Errorf("%s: repairing: %w", p.Name, err)
	}
	if aside != "" {
		p.Text += "; moved to " + aside
	}
	if p.Repaired = from != ""; p.Repaired {
		p.Text += "; restored from " + from
	} else {
		p.Text += "; nowhere is it whole: push it again"
	}
	c.wrong(p)
	return nil
}

// verify reads the object key and returns what is wrong with it as the content d,
// or nothing.
func (c *checker) verify(ctx context.Context, key string, d oras.Digest) (harm string, err error) {
	content, err := c.bucket.Get(ctx, key)
	if err != nil {
		return "", err
	}
	defer content.Close()
	var info fs.FileInfo
	if f, ok := content.(fs.File); ok {
		if info, err = f.Stat(); err != nil {
			return "", err
		}
		if c.whole.has(d, info) {
			return "", nil
		}
	}
	h := d.Algorithm().New()
	n, readErr, _ := pump(ctx, h, content)
	if err := ctx.Err(); err != nil {
		return "", err
	}
	c.mu.Lock()
	c.done.Bytes += n
	c.mu.Unlock()
	if readErr != nil {
		return fmt.Sprintf("reading it: %v", cause(readErr)), nil
	}
	if got := d.Algorithm().Sum(h); got != d {
		return fmt.Sprintf("the digest of its %d bytes is %s", n, got), nil
	}
	c.whole.add(d, info)
	return "", nil
}

// replace moves the damaged content d of s to a key of its own, and lets what
// another repository has take its place. It returns both keys; from is empty if
// nobody has it whole.
func (c *checker) replace(ctx context.Context, s *Store, d oras.Digest) (aside, from string, err error) {
	key := s.blobKey(d)
	from, err = c.elsewhere(ctx, d, key)
	if err != nil {
		return "", "", err
	}
	aside = damaged + d.Algorithm().String() + "." + d.Hex() + "." + strings.ToLower(rand.Text())
	if from != "" {
		return aside, from, putAll(ctx, c.bucket, []Object{{Key: aside, From: key}}, []Object{{Key: key, From: from}})
	}
	if err := c.move(ctx, key, aside); err != nil {
		return "", "", err
	}
	// Somebody may just have pushed it again.
	if harm, err := c.verify(ctx, aside, d); err != nil || harm != "" {
		return aside, "", err
	}
	if err := putAll(ctx, c.bucket, []Object{{Key: key, From: aside}}); err != nil {
		return "", "", err
	}
	return "", "a push just now", c.bucket.Delete(ctx, aside)
}

// move gives the object from the key to.
func (c *checker) move(ctx context.Context, from, to string) error {
	if b, err := growing(c.bucket); err == nil {
		return b.Rename(ctx, from, to, "")
	}
	if err := copyObject(ctx, c.bucket, from, to); err != nil {
		return err
	}
	return c.bucket.Delete(ctx, from)
}

// elsewhere returns the key of an object that is the content d, is whole, and is
// not key. A name by which others would find it that is not whole is removed.
func (c *checker) elsewhere(ctx context.Context, d oras.Digest, key string) (found string, err error) {
	whole := func(candidate string) (bool, error) {
		if candidate == key {
			return false, nil
		}
		harm, err := c.verify(ctx, candidate, d)
		if errors.Is(err, oras.ErrNotFound) {
			return false, nil
		}
		if err == nil && harm != "" && candidate == contentKey(d) {
			err = remove(ctx, c.bucket, candidate)
		}
		return err == nil && harm == "", err
	}
	if ok, err := whole(contentKey(d)); ok || err != nil {
		return contentKey(d), err
	}
	enough := errors.New("found")
	err = c.registry.Repositories(ctx, "", func(names []string) error {
		for _, name := range names {
			s, err := c.registry.store(name)
			if err != nil {
				continue
			}
			ok, err := whole(s.blobKey(d))
			if err != nil {
				return err
			}
			if ok {
				found = s.blobKey(d)
				return enough
			}
		}
		return nil
	})
	if err == enough {
		err = nil
	}
	return found, err
}
