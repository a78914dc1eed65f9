package bucket

import (
	"context"
	"errors"
	"fmt"

	"github.com/c73062ad/oras"
)

// A page of referrers ends with as many descriptors, or so many bytes of them.
const (
	referrersPage      = 100
	referrersPageBytes = 1 << 20
)

// Referrers is the optional method of [oras.Referrers]. No manifest is read. The
// order is that of the digests.
func (s *Store) Referrers(ctx context.Context, node oras.Descriptor, artifactType string, fn func(referrers []oras.Descriptor) error) error {
	return s.ReferrersAfter(ctx, node, artifactType, oras.Digest{}, fn)
}

// ReferrersAfter is the optional method of [oras.ReferrersAfter].
func (s *Store) ReferrersAfter(ctx context.Context, node oras.Descriptor, artifactType string, last oras.Digest, fn func(referrers []oras.Descriptor) error) error {
	subject, err := oras.ParseDigest(node.Digest)
	if err != nil {
		return err
	}
	var page []oras.Descriptor
	size := 0
	flush := func() error {
		if len(page) == 0 {
			return nil
		}
		full := page
		page, size = nil, 0
		return fn(full)
	}
	after := ""
	if !last.IsZero() {
		after = s.referrerKey(subject, last)
	}
	err = s.bucket.List(ctx, s.referrerKey(subject, oras.Digest{}), after, func(keys []string) error {
		for _, key := range keys {
			desc, n, err := s.referrer(ctx, key)
			if errors.Is(err, oras.ErrNotFound) {
				continue
			}
			if err != nil {
				return err
			}
			if artifactType != "" && artifactType != desc.ArtifactType {
				continue
			}
			page = append(page, desc)
			if size += n; len(page) < referrersPage && size < referrersPageBytes {
				continue
			}
			if err := flush(); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	return flush()
}

// referrer returns the descriptor that the object key holds, and the size of the
// object. It is [oras.ErrNotFound] if the manifest is not there: not yet, or not
// any longer, or whoever pushed or deleted it was interrupted.
func (s *Store) referrer(ctx context.Context, key string) (oras.Descriptor, int, error) {
	var desc oras.Descriptor
	n, err := readFact(ctx, s.bucket, key, &desc)
	if err != nil {
		return desc, 0, err
	}
	d, err := oras.ParseDigest(desc.Digest)
	if err != nil {
		return desc, 0, fmt.Errorf("%s: object is about %q", key, desc.Digest)
	}
	_, err = s.bucket.Size(ctx, s.manifestKey(d))
	return desc, n, err
}

// Predecessors is [oras.Store.Predecessors]: the manifests whose subject is node.
func (s *Store) Predecessors(ctx context.Context, node oras.Descriptor) ([]oras.Descriptor, error) {
	var all []oras.Descriptor
	err := s.Referrers(ctx, node, "", func(referrers []oras.Descriptor) error {
		all = append(all, referrers...)
		return nil
	})
	return all, err
}
