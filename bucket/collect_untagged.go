package bucket

import (
	"context"
	"errors"
	"time"

	"github.com/c73062ad/oras"
)

// A forest is how the manifests of a repository hang together. Manifests are known
// by the beginning of their digest, as in digests.
type forest struct {
	keeps  map[uint64][]uint64    // what is kept for the sake of a manifest
	orders map[uint64][]uint64    // of those, what may only go when the manifest has
	old    map[uint64]oras.Digest // manifests that are not young
	kept   map[uint64]bool
}

// manifests deletes those that no tag leads to, and returns them.
//
// An index goes before what it lists, and a subject before its referrers: if
// somebody lets a tag name it meanwhile, it is found to be young, stays, and all that
// is kept for its sake stays with it.
func (c *collector) manifests(ctx context.Context, s *Store, begin time.Time) (gone map[oras.Digest]bool, err error) {
	gone = map[oras.Digest]bool{}
	if c.opts.Untagged == 0 {
		return gone, nil
	}
	than := begin.Add(-c.opts.Untagged)
	f, err := c.forest(ctx, s, than)
	if err != nil {
		return nil, err
	}
	waits := map[uint64]int{} // how many must go before
	for id := range f.old {
		for _, next := range f.orders[id] {
			waits[next]++
		}
	}
	var ready []uint64
	for id := range f.old {
		if waits[id] == 0 {
			ready = append(ready, id)
		}
	}
	last := ""
	for len(ready) > 0 {
		id := ready[len(ready)-1]
		ready = ready[:len(ready)-1]
		if f.kept[id] {
			continue
		}
		d := f.old[id]
		deleted, err := c.delete(ctx, s.manifestKey(d), than, Garbage{s.name, GarbageManifest, d.String(), 0})
		if err != nil {
			return nil, err
		}
		if !deleted {
			f.keep(id)
			continue
		}
		last = s.manifestKey(d)
		gone[d] = true
		for _, next := range f.orders[id] {
			if waits[next]--; waits[next] == 0 {
				ready = append(ready, next)
			}
		}
	}
	if last != "" && !c.opts.DryRun {
		err = settle(ctx, s.bucket, last) // before what they refer to goes
	}
	return gone, err
}

// forest returns how the manifests of s hang together, and which of those older
// than the time than are kept.
func (c *collector) forest(ctx context.Context, s *Store, than time.Time) (*forest, error) {
	f := &forest{map[uint64][]uint64{}, map[uint64][]uint64{}, map[uint64]oras.Digest{}, map[uint64]bool{}}
	var roots []uint64
	err := s.eachManifest(ctx, func(d oras.Digest, parsed *oras.Manifest) error {
		status, err := c.bucket.Stat(ctx, s.manifestKey(d))
		if errors.Is(err, oras.ErrNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		if status.Touched.Before(than) {
			f.old[begins(d)] = d
		} else {
			roots = append(roots, begins(d))
		}
		f.add(d, parsed)
		return nil
	})
	if err != nil {
		return nil, err
	}
	err = s.Tags(ctx, "", func(tags []string) error {
		for _, tag := range tags {
			desc, err := s.resolveTag(ctx, tag)
			if errors.Is(err, oras.ErrNotFound) {
				continue
			}
			if err != nil {
				return err
			}
			d, err := oras.ParseDigest(desc.Digest)
			if err != nil {
				return err
			}
			roots = append(roots, begins(d))
		}
		return nil
	})
	if err != nil && !errors.Is(err, oras.ErrNotFound) {
		return nil, err
	}
	for _, root := range roots {
		f.keep(root)
	}
	for id := range f.kept {
		delete(f.old, id)
	}
	return f, nil
}

// add adds the manifest d.
func (f *forest) add(d oras.Digest, parsed *oras.Manifest) {
	id := begins(d)
	for _, child := range parsed.Manifests {
		if listed, err := oras.ParseDigest(child.Digest); err == nil {
			f.keeps[id] = append(f.keeps[id], begins(listed))
			f.orders[id] = append(f.orders[id], begins(listed))
		}
	}
	if parsed.Subject == nil {
		return
	}
	if subject, err := oras.ParseDigest(parsed.Subject.Digest); err == nil {
		f.keeps[id] = append(f.keeps[id], begins(subject))
		f.keeps[begins(subject)] = append(f.keeps[begins(subject)], id)
		f.orders[begins(subject)] = append(f.orders[begins(subject)], id)
	}
}

// keep keeps the manifest id and what is kept for its sake.
func (f *forest) keep(id uint64) {
	todo := []uint64{id}
	for len(todo) > 0 {
		next := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if f.kept[next] {
			continue
		}
		f.kept[next] = true
		todo = append(todo, f.keeps[next]...)
	}
}
