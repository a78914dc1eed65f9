package bucket

import (
	"context"
	"errors"
	"fmt"
	"strings"

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
		return oras.Descriptor{}, fmt.Errorf("%s: object is about %q", s.tagKey(tag), desc.Digest)
	}
	return desc, nil
}

// Tag is [oras.Target.Tag]. A tag outside the grammar is [oras.ErrReference].
func (s *Store) Tag(ctx context.Context, desc oras.Descriptor, reference string) error {
	if err := oras.CheckTag(reference); err != nil {
		return err
	}
	d, err := oras.ParseDigest(desc.Digest)
	if err != nil {
		return err
	}
	done, err := s.registry.locks.share(ctx, s.name)
	if err != nil {
		return err
	}
	defer done()
	m, err := s.manifest(ctx, d)
	if err != nil {
		return fmt.Errorf("manifest %w", err)
	}
	return s.setTag(ctx, d, m.Descriptor, reference)
}

// setTag lets tag name the manifest d, described by desc. The caller shares the
// repository's lock.
func (s *Store) setTag(ctx context.Context, d oras.Digest, desc oras.Descriptor, tag string) error {
	done, err := s.registry.locks.alone(ctx, s.tagKey(tag))
	if err != nil {
		return err
	}
	defer done()
	was, err := s.resolveTag(ctx, tag)
	if err != nil && !errors.Is(err, oras.ErrNotFound) {
		return err
	}
	if err := keep(ctx, s.bucket, s.taggedKey(d, tag), nil); err != nil {
		return err
	}
	if was.Digest == desc.Digest {
		return settle(ctx, s.bucket, s.tagKey(tag))
	}
	if err := writeFact(ctx, s.bucket, s.tagKey(tag), desc); err != nil {
		return err
	}
	return s.forgetTagged(ctx, was, tag)
}

// forgetTagged removes what says that tag may name desc, if that is anything: it
// does not any longer.
func (s *Store) forgetTagged(ctx context.Context, desc oras.Descriptor, tag string) error {
	d, err := oras.ParseDigest(desc.Digest)
	if err != nil {
		return nil // tag named nothing
	}
	return remove(ctx, s.bucket, s.taggedKey(d, tag))
}

// Untag is [oras.Store.Untag].
func (s *Store) Untag(ctx context.Context, reference string) error {
	if err := oras.CheckTag(reference); err != nil {
		return err
	}
	doneStore, err := s.registry.locks.share(ctx, s.name)
	if err != nil {
		return err
	}
	defer doneStore()
	done, err := s.registry.locks.alone(ctx, s.tagKey(reference))
	if err != nil {
		return err
	}
	defer done()
	was, err := s.resolveTag(ctx, reference)
	if err != nil {
		return err
	}
	if err := remove(ctx, s.bucket, s.tagKey(reference)); err != nil {
		return err
	}
	return s.forgetTagged(ctx, was, reference)
}

// untagAll removes the tags that name d. The caller has the repository's lock
// alone.
func (s *Store) untagAll(ctx context.Context, d oras.Digest) error {
	prefix := s.taggedKey(d, "")
	return s.bucket.List(ctx, prefix, "", func(keys []string) error {
		for _, key := range keys {
			tag := strings.TrimPrefix(key, prefix)
			desc, err := s.resolveTag(ctx, tag)
			if err != nil && !errors.Is(err, oras.ErrNotFound) {
				return err
			}
			if desc.Digest == d.OCI() {
				if err := remove(ctx, s.bucket, s.tagKey(tag)); err != nil {
					return err
				}
			}
			if err := remove(ctx, s.bucket, key); err != nil {
				return err
			}
		}
		return nil
	})
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
