package bucket

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/c73062ad/oras"
)

// resolveTag returns the descriptor that tag names, or [oras.ErrNotFound].
func (s *Store) resolveTag(ctx context.Context, tag string) (oras.Descriptor, error) {
	var desc oras.Descriptor
	_, err := readFact(ctx, s.bucket, s.tagKey(tag), &desc)
	if errors.Is(err, oras.ErrNotFound) {
		return oras.Descriptor{}, fmt.Errorf("%s: %w", tag, oras.ErrNotFound)
	}
	if err != nil {
		return oras.Descriptor{}, err
	}
	if _, err := oras.ParseDigest(desc.Digest); err != nil {
		return oras.Descriptor{}, fmt.Errorf("%s: %w: it is about %q", s.tagKey(tag), errFact, desc.Digest)
	}
	return desc, nil
}

// named is resolveTag that returns the zero Descriptor if tag names nothing, or
// nothing one can read.
func (s *Store) named(ctx context.Context, tag string) (oras.Descriptor, error) {
	desc, err := s.resolveTag(ctx, tag)
	if errors.Is(err, oras.ErrNotFound) || errors.Is(err, errFact) {
		return oras.Descriptor{}, nil
	}
	return desc, err
}

// Tag is [oras.Target.Tag]. A tag outside the grammar is [oras.ErrReference].
func (s *Store) Tag(ctx context.Context, desc oras.Descriptor, reference string) error {
	return s.tag(ctx, desc, reference, func(oras.Descriptor) error { return nil })
}

// TagIf is the optional method of [oras.TagIf]. It is one step to all stores of one
// Registry, but not to other processes.
func (s *Store) TagIf(ctx context.Context, desc oras.Descriptor, reference string, old oras.Descriptor) error {
	check := func(now oras.Descriptor) error {
		if now.Digest != old.Digest {
			return fmt.Errorf("%s: %w: it names %q, not %q", reference, oras.ErrConflict, now.Digest, old.Digest)
		}
		return nil
	}
	if desc.Digest != "" {
		return s.tag(ctx, desc, reference, check)
	}
	err := s.untag(ctx, reference, check)
	if old.Digest == "" && errors.Is(err, oras.ErrNotFound) {
		return nil
	}
	return err
}

// tag lets the tag reference name desc, if check of what it names returns nil.
func (s *Store) tag(ctx context.Context, desc oras.Descriptor, reference string, check func(oras.Descriptor) error) error {
	if err := oras.CheckTag(reference); err != nil {
		return err
	}
	d, err := oras.ParseDigest(desc.Digest)
	if err != nil {
		return err
	}
	done, err := s.registry.locks.share(ctx, s.manifestKey(d))
	if err != nil {
		return err
	}
	defer done()
	unlock, err := s.lockTags(ctx, []string{reference})
	if err != nil {
		return err
	}
	defer unlock()
	now, err := s.named(ctx, reference)
	if err != nil {
		return err
	}
	if err := check(now); err != nil {
		return err
	}
	return s.registry.untilWhole(ctx, d, func(ctx context.Context) (bool, error) { return s.tagOnce(ctx, d, reference) })
}

// tagOnce lets tag name the manifest d, which must be there, and reports whether it
// still is then.
func (s *Store) tagOnce(ctx context.Context, d oras.Digest, tag string) (bool, error) {
	_, err := s.manifest(ctx, d)
	if err == nil {
		_, err = s.registry.renew(ctx, s.manifestKey(d))
	}
	if err != nil {
		return false, fmt.Errorf("manifest %w", lacking(d, err))
	}
	tagged, tags, err := s.tagObjects(ctx, d, []string{tag})
	if err != nil {
		return false, err
	}
	err = putAll(ctx, s.bucket, append(tagged, Object{Key: s.manifestKey(d), Seen: true}), tags)
	if errors.Is(err, oras.ErrNotFound) {
		return false, nil // it was deleted, which is seen then
	}
	if err != nil {
		return false, err
	}
	there, err := s.has(ctx, Object{Key: s.manifestKey(d), Seen: true})
	if err != nil || there {
		return there, err
	}
	// Another process deleted it, perhaps before it could see the tag.
	if _, err := s.untagIf(ctx, d, tag); err != nil {
		return false, err
	}
	return false, settle(ctx, s.bucket, s.tagKey(tag))
}

// lockTags waits until nobody else has one of tags. The returned function lets go
// of them.
func (s *Store) lockTags(ctx context.Context, tags []string) (func(), error) {
	var held []func()
	letGo := func() {
		for _, done := range held {
			done()
		}
	}
	for _, tag := range slices.Compact(slices.Sorted(slices.Values(tags))) {
		done, err := s.registry.locks.alone(ctx, s.tagKey(tag))
		if err != nil {
			letGo()
			return nil, err
		}
		held = append(held, done)
	}
	return letGo, nil
}

// tagObjects returns what it takes to let tags name the manifest d: that they may, to
// be put when the manifest is there, and that they do, to be put after that. The
// caller has the tags alone, here; other processes may change them.
func (s *Store) tagObjects(ctx context.Context, d oras.Digest, tags []string) (tagged, named []Object, err error) {
	for _, tag := range tags {
		may := Object{Key: s.taggedKey(d, tag), From: s.manifestKey(d)}
		if may.Seen, err = s.has(ctx, may); err != nil {
			return nil, nil, err
		}
		now, err := s.named(ctx, tag)
		if err != nil {
			return nil, nil, err
		}
		tagged = append(tagged, may)
		named = append(named, Object{Key: s.tagKey(tag), From: s.manifestKey(d), Seen: now.Digest == d.OCI()})
	}
	return tagged, named, nil
}

// Untag is [oras.Store.Untag].
func (s *Store) Untag(ctx context.Context, reference string) error {
	return s.untag(ctx, reference, func(oras.Descriptor) error { return nil })
}

// untag removes the tag reference, if check of what it names returns nil. That what
// it names may have it is left for a collection: another process may be about to let
// the tag name that again.
func (s *Store) untag(ctx context.Context, reference string, check func(oras.Descriptor) error) error {
	if err := oras.CheckTag(reference); err != nil {
		return err
	}
	done, err := s.registry.locks.alone(ctx, s.tagKey(reference))
	if err != nil {
		return err
	}
	defer done()
	now, err := s.named(ctx, reference)
	if err != nil {
		return err
	}
	if err := check(now); err != nil {
		return err
	}
	if err := s.bucket.Delete(ctx, s.tagKey(reference)); errors.Is(err, oras.ErrNotFound) {
		return fmt.Errorf("%s: %w", reference, oras.ErrNotFound)
	} else if err != nil {
		return err
	}
	return nil
}

// untagAll removes the tags that name d, durably.
func (s *Store) untagAll(ctx context.Context, d oras.Digest) error {
	prefix, last := s.taggedKey(d, ""), ""
	err := s.bucket.List(ctx, prefix, "", func(keys []string) error {
		for _, key := range keys {
			tag := strings.TrimPrefix(key, prefix)
			removed, err := s.untagFrom(ctx, d, tag)
			if err != nil {
				return err
			}
			if removed {
				last = tag
			}
		}
		return nil
	})
	if err != nil || last == "" {
		return err
	}
	return settle(ctx, s.bucket, s.tagKey(last))
}

// untagFrom is untagIf for who does not have the tag alone.
func (s *Store) untagFrom(ctx context.Context, d oras.Digest, tag string) (bool, error) {
	done, err := s.registry.locks.alone(ctx, s.tagKey(tag))
	if err != nil {
		return false, err
	}
	defer done()
	return s.untagIf(ctx, d, tag)
}

// untagIf removes tag if it names d, and reports whether it did; that need not be
// durable yet. Another process may move the tag to something else, which stays.
func (s *Store) untagIf(ctx context.Context, d oras.Digest, tag string) (bool, error) {
	for range mostTries {
		seen := time.Now()
		desc, err := s.named(ctx, tag)
		if err != nil || desc.Digest != d.OCI() {
			return false, err
		}
		a, err := aging(s.bucket)
		if err != nil {
			break // one process at a time, then
		}
		removed, err := a.DeleteOlder(ctx, s.tagKey(tag), seen)
		if removed {
			return true, nil
		}
		if err != nil && !errors.Is(err, oras.ErrNotFound) {
			return false, err
		}
	}
	return true, remove(ctx, s.bucket, s.tagKey(tag)) // its time is in the future
}

// Tags is [oras.Store.Tags]. A repository that is not there is
// [oras.ErrNotFound].
func (s *Store) Tags(ctx context.Context, last string, fn func(tags []string) error) error {
	prefix, some := s.tagKey(""), false
	err := s.bucket.List(ctx, prefix, prefix+last, func(keys []string) error {
		some = true
		tags := make([]string, len(keys))
		for i, key := range keys {
			tags[i] = strings.TrimPrefix(key, prefix)
		}
		return fn(tags)
	})
	if err != nil || some {
		return err
	}
	marked, err := s.registry.marked(ctx, s.name)
	if err == nil && !marked {
		err = fmt.Errorf("repository %s: %w", s.name, oras.ErrNotFound)
	}
	return err
}
