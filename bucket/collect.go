package bucket

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/c73062ad/oras"
)

// CollectOptions say what is garbage. The zero value works.
type CollectOptions struct {
	// Grace is how long content is kept that no manifest of its repository
	// refers to, since it was last pushed, mounted, asked for by its digest, or
	// referred to by a push. 0 means an hour, and less than five minutes means
	// five minutes.
	Grace time.Duration

	// Untagged, if it is not 0, lets manifests be garbage that no tag leads to:
	// that have none, are not in an index that is kept, and are neither subject
	// nor referrer of what is kept. They are kept for so long, as content is for
	// Grace, and no shorter than that. By default they stay, for whoever pulls
	// by digest.
	Untagged time.Duration

	// Uploads is how long an upload is kept to which nothing was appended; 0
	// means a day.
	Uploads time.Duration

	// DryRun deletes nothing, and tells what would be.
	DryRun bool

	// Event, if not nil, is called for each thing that was deleted.
	Event func(Garbage)
}

// Garbage is a thing that was deleted because nothing needs it.
type Garbage struct {
	Repository string // empty for what belongs to none
	Kind       GarbageKind
	Name       string // a digest, the id of an upload, a key or a file
	Bytes      int64  // its size; see Collected.Bytes for what that gives the disk
}

// A GarbageKind says what a thing was.
type GarbageKind string

// The kinds of garbage.
const (
	GarbageBlob      GarbageKind = "blob"      // content that no manifest refers to
	GarbageManifest  GarbageKind = "manifest"  // manifest that no tag leads to
	GarbageReferrer  GarbageKind = "referrer"  // entry in a list of referrers of a manifest that is not there
	GarbageTagged    GarbageKind = "tagged"    // entry of a tag that names something else
	GarbageUpload    GarbageKind = "upload"    // upload that was given up
	GarbageShared    GarbageKind = "shared"    // content that no repository has any longer
	GarbageTemporary GarbageKind = "temporary" // what broken work left
)

// Collected says what a collection did.
type Collected struct {
	Repositories int   // that were looked at
	Objects      int   // that were deleted
	Bytes        int64 // that the disk has more of: content that is kept elsewhere does not count
}

// Collect deletes what nothing needs: in one repository after the other, and then
// what belongs to none. It can be run at any time, by any number of processes at
// once, while others read and write: nobody waits for it longer than it takes to
// delete one file, and what somebody relies on meanwhile stays (see ages). It keeps
// no state: broken off or killed, it has done a part of its work, and the next
// begins anew. In memory it has eight bytes or so for each thing that manifests of one
// repository refer to.
//
// A repository with a manifest that cannot be read loses nothing, because what that
// refers to is not known, and content that no repository has is kept then, for a
// repair; the others are collected all the same, and the error is returned in the end,
// with what was done. A bucket that does not know the age of objects is
// [oras.ErrUnsupported].
func (r *Registry) Collect(ctx context.Context, opts *CollectOptions) (Collected, error) {
	c, err := r.collector(opts)
	if err != nil {
		return Collected{}, err
	}
	var failed []error
	err = r.Repositories(ctx, "", func(names []string) error {
		for _, name := range names {
			s, err := r.store(name)
			if err == nil {
				err = c.repository(ctx, s)
			}
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if err != nil {
				failed = append(failed, fmt.Errorf("repository %s: %w", name, err))
			}
		}
		return nil
	})
	if err == nil && failed == nil { // else it may be what a repair restores
		err = c.shared(ctx)
	}
	if err == nil {
		err = c.leftovers(ctx)
	}
	return c.done, errors.Join(append(failed, err)...)
}

// A collector is a collection under way.
type collector struct {
	registry  *Registry
	bucket    ager
	opts      CollectOptions
	done      Collected
	condemned map[string]int // in a dry run, how many names of content would be gone, by its shared key
}

func (r *Registry) collector(opts *CollectOptions) (*collector, error) {
	b, err := aging(r.bucket)
	if err != nil {
		return nil, err
	}
	c := &collector{registry: r, bucket: b, condemned: map[string]int{}}
	if opts != nil {
		c.opts = *opts
	}
	if c.opts.Grace == 0 {
		c.opts.Grace = time.Hour
	}
	c.opts.Grace = max(c.opts.Grace, r.ages.grace)
	if c.opts.Untagged > 0 {
		c.opts.Untagged = max(c.opts.Untagged, c.opts.Grace)
	}
	if c.opts.Uploads == 0 {
		c.opts.Uploads = uploadAge
	}
	return c, nil
}

// repository collects one repository. Everything is judged by the time at which
// that began.
func (c *collector) repository(ctx context.Context, s *Store) error {
	c.done.Repositories++
	begin := time.Now()
	if err := c.uploads(ctx, s); err != nil {
		return err
	}
	gone, err := c.manifests(ctx, s, begin)
	var needed digests
	if err == nil {
		needed, err = c.mark(ctx, s, gone)
	}
	if err != nil {
		return fmt.Errorf("%w; nothing of it was collected, because what the manifest refers to is not known", err)
	}
	if err := c.blobs(ctx, s, begin, needed); err != nil {
		return err
	}
	if err := c.referrers(ctx, s, begin, gone); err != nil {
		return err
	}
	return c.tagged(ctx, s, begin)
}

// blobs deletes the content that is not needed.
func (c *collector) blobs(ctx context.Context, s *Store, begin time.Time, needed digests) error {
	prefix := s.name + "/_blobs/"
	return s.bucket.List(ctx, prefix, "", func(keys []string) error {
		for _, key := range keys {
			d := unslashed(key, prefix)
			if d.IsZero() || needed.has(d) {
				continue
			}
			if _, err := c.delete(ctx, key, begin.Add(-c.opts.Grace), Garbage{s.name, GarbageBlob, d.String(), 0}); err != nil {
				return err
			}
		}
		return nil
	})
}

// referrers deletes what says of manifests that are not there, or in gone, that they
// have a subject.
func (c *collector) referrers(ctx context.Context, s *Store, begin time.Time, gone map[oras.Digest]bool) error {
	prefix := s.name + "/_referrers/"
	err := s.bucket.List(ctx, prefix, "", func(keys []string) error {
		for _, key := range keys {
			subject, d := parseReferrerKey(key, prefix)
			if subject.IsZero() || d.IsZero() {
				continue
			}
			_, err := s.bucket.Size(ctx, s.manifestKey(d))
			if gone[d] || errors.Is(err, oras.ErrNotFound) {
				_, err = c.delete(ctx, key, begin.Add(-c.opts.Grace), Garbage{s.name, GarbageReferrer, d.String(), 0})
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil || c.opts.DryRun {
		return err
	}
	for _, algorithm := range []oras.Algorithm{oras.SHA256, oras.SHA512} {
		if err := prune(ctx, s.bucket, prefix+algorithm.String()+"/", begin.Add(-c.opts.Grace)); err != nil {
			return err
		}
	}
	return nil
}

// tagged deletes what says of tags that they may name what they do not.
func (c *collector) tagged(ctx context.Context, s *Store, begin time.Time) error {
	prefix := s.name + "/_tagged/"
	return s.bucket.List(ctx, prefix, "", func(keys []string) error {
		for _, key := range keys {
			d, tag := parseTaggedKey(key, prefix)
			if d.IsZero() || oras.CheckTag(tag) != nil {
				continue
			}
			desc, err := s.resolveTag(ctx, tag)
			switch {
			case errors.Is(err, errFact) || err == nil && desc.Digest == d.OCI():
				continue // of a damaged tag, this is all there is
			case err != nil && !errors.Is(err, oras.ErrNotFound):
				return err
			}
			if _, err := c.delete(ctx, key, begin.Add(-c.opts.Grace), Garbage{s.name, GarbageTagged, tag, 0}); err != nil {
				return err
			}
		}
		return nil
	})
}

// uploads deletes those that were given up.
func (c *collector) uploads(ctx context.Context, s *Store) error {
	b, err := growing(s.bucket)
	if err != nil {
		return nil
	}
	return s.uploadsLeft(ctx, b, c.opts.Uploads, func(key string, size int64, remove func() error) error {
		if !c.opts.DryRun {
			if err := remove(); err != nil {
				return err
			}
		}
		c.told(Garbage{s.name, GarbageUpload, strings.TrimPrefix(key, s.uploadKey("")), size}, size)
		return nil
	})
}

// shared deletes the names by which repositories share content that none has.
func (c *collector) shared(ctx context.Context) error {
	return c.registry.bucket.List(ctx, contents, "", func(keys []string) error {
		for _, key := range keys {
			status, err := c.bucket.Stat(ctx, key)
			if errors.Is(err, oras.ErrNotFound) {
				continue
			}
			if err != nil {
				return err
			}
			if status.Names-c.condemned[key] > 1 {
				continue
			}
			// However young: it is a hint. Who is about to follow it either has
			// another name of the content already, or keeps what arrived.
			if _, err := c.delete(ctx, key, time.Now().Add(time.Hour), Garbage{"", GarbageShared, key, 0}); err != nil {
				return err
			}
		}
		return nil
	})
}

// leftovers deletes what broken work left.
func (c *collector) leftovers(ctx context.Context) error {
	return c.bucket.Leftovers(ctx, time.Now().Add(-temporaryAge), func(l Leftover) error {
		if !c.opts.DryRun {
			if err := l.Remove(); err != nil {
				return err
			}
		}
		c.told(Garbage{"", GarbageTemporary, l.Name, l.Size}, l.Size)
		return nil
	})
}

// delete deletes the object key if it is older than the time than, and reports
// whether it did, or would.
func (c *collector) delete(ctx context.Context, key string, than time.Time, g Garbage) (bool, error) {
	status, err := c.bucket.Stat(ctx, key)
	if errors.Is(err, oras.ErrNotFound) {
		return false, nil
	}
	if err != nil || !status.Touched.Before(than) {
		return false, err
	}
	if !c.opts.DryRun {
		deleted, err := c.bucket.DeleteOlder(ctx, key, than)
		if errors.Is(err, oras.ErrNotFound) {
			return false, nil
		}
		if err != nil || !deleted {
			return false, err
		}
	}
	g.Bytes = status.Size
	c.told(g, c.freed(g, status))
	return true, nil
}

// freed returns how many bytes the disk has more of when g, of the given status, is
// deleted: none while it has another name.
func (c *collector) freed(g Garbage, status Status) int64 {
	shared := g.Name
	if g.Kind == GarbageBlob {
		d, err := oras.ParseDigest(g.Name)
		if err != nil {
			return 0
		}
		shared = contentKey(d)
	}
	if c.opts.DryRun {
		status.Names -= c.condemned[shared]
		c.condemned[shared]++
	}
	if status.Names > 1 {
		return 0
	}
	return status.Size
}

func (c *collector) told(g Garbage, freed int64) {
	c.done.Objects++
	c.done.Bytes += freed
	if c.opts.Event != nil {
		c.opts.Event(g)
	}
}
