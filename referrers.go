package oras

import (
	"context"
	"fmt"
)

// Referrers calls fn with the manifests in s whose subject is node, in one or
// more pages, until fn returns an error, which Referrers returns. Their
// descriptors carry the artifact type and the annotations of the manifest
// (distribution-spec, "Listing Referrers"). With an artifactType only those of
// that type are given. The order is the store's.
//
// A source that can list them has one of the optional methods
//
//	Referrers(ctx context.Context, node Descriptor, artifactType string, fn func([]Descriptor) error) error
//	Predecessors(ctx context.Context, node Descriptor) ([]Descriptor, error)
//
// One that has neither is [ErrUnsupported].
func Referrers(ctx context.Context, s Source, node Descriptor, artifactType string, fn func(referrers []Descriptor) error) error {
	switch s := s.(type) {
	case interface {
		Referrers(context.Context, Descriptor, string, func([]Descriptor) error) error
	}:
		return s.Referrers(ctx, node, artifactType, fn)
	case predecessorSource:
		return referrersAmongPredecessors(ctx, s, node, artifactType, fn)
	}
	return fmt.Errorf("listing referrers: %w", ErrUnsupported)
}

// ReferrersAfter is [Referrers] for those whose digests come after last, as texts in
// byte order. The zero Digest comes before all.
//
// A source that finds them without looking at the others has the optional method
//
//	ReferrersAfter(ctx context.Context, node Descriptor, artifactType string, last Digest, fn func([]Descriptor) error) error
func ReferrersAfter(ctx context.Context, s Source, node Descriptor, artifactType string, last Digest, fn func(referrers []Descriptor) error) error {
	if s, ok := s.(interface {
		ReferrersAfter(context.Context, Descriptor, string, Digest, func([]Descriptor) error) error
	}); ok {
		return s.ReferrersAfter(ctx, node, artifactType, last, fn)
	}
	return Referrers(ctx, s, node, artifactType, func(referrers []Descriptor) error {
		var after []Descriptor
		for _, desc := range referrers {
			if desc.Digest.String() > last.String() {
				after = append(after, desc)
			}
		}
		if len(after) == 0 {
			return nil
		}
		return fn(after)
	})
}

type predecessorSource interface {
	Fetcher
	Predecessors(ctx context.Context, node Descriptor) ([]Descriptor, error)
}

func referrersAmongPredecessors(ctx context.Context, s predecessorSource, node Descriptor, artifactType string, fn func([]Descriptor) error) error {
	predecessors, err := s.Predecessors(ctx, node)
	if err != nil {
		return err
	}
	var referrers []Descriptor
	for _, p := range predecessors {
		if !IsManifest(p.MediaType) {
			continue // of a kind that only the store knows
		}
		m, err := ReadManifest(ctx, s, p)
		if Kind(err) == ErrNotFound {
			continue // deleted since
		}
		if err != nil {
			return err
		}
		if m.Subject == nil || m.Subject.Digest != node.Digest || artifactType != "" && artifactType != m.Type() {
			continue
		}
		referrers = append(referrers, Descriptor{
			MediaType:    p.MediaType,
			Digest:       p.Digest,
			Size:         p.Size,
			ArtifactType: m.Type(),
			Annotations:  m.Annotations,
		})
	}
	if len(referrers) == 0 {
		return nil
	}
	return fn(referrers)
}
