package layout

import (
	"context"
	"fmt"
	"maps"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/c73062ad/oras"
)

// Resolve is [oras.Source.Resolve]. A tag's descriptor is its entry in
// index.json, with the tag in the annotation org.opencontainers.image.ref.name; a
// digest's is plain. An empty reference names the one manifest that the layout
// is there for: manifests in an index of the layout, and those whose subject is
// in it, are so for another's sake. If there are several the error is
// [oras.ErrReference] and tells some of the tags.
func (s *Store) Resolve(ctx context.Context, reference string) (oras.Descriptor, error) {
	if err := ctx.Err(); err != nil {
		return oras.Descriptor{}, err
	}
	x, err := s.load()
	if err != nil {
		return oras.Descriptor{}, s.invalid(err)
	}
	if reference == "" {
		return s.only(ctx, x)
	}
	if desc, ok := x.tags.Resolve(reference); ok {
		if _, err := oras.ParseDigest(desc.Digest); err != nil {
			return oras.Descriptor{}, fmt.Errorf("%s: %w", reference, err)
		}
		return handOut(desc), nil
	}
	d, err := oras.ParseDigest(reference)
	if err != nil {
		return oras.Descriptor{}, fmt.Errorf("%s: %w", reference, oras.ErrNotFound)
	}
	if e, ok := x.entry(d); ok {
		return plain(e.desc), nil
	}
	return s.unlisted(ctx, d)
}

// only returns what the layout holds if that is one manifest, with what comes with
// it.
func (s *Store) only(ctx context.Context, x *indexJSON) (oras.Descriptor, error) {
	if len(x.first) == 0 {
		return oras.Descriptor{}, fmt.Errorf("%s holds no manifest: %w", s, oras.ErrNotFound)
	}
	roots, err := s.roots(ctx, x)
	if err != nil {
		return oras.Descriptor{}, err
	}
	if len(roots) == 1 {
		return handOut(roots[0].desc), nil
	}
	var tags []string
	for _, e := range x.entries {
		if tag := e.tag(); tag != "" {
			tags = append(tags, tag)
		}
	}
	const some = 5
	hint := "it has no tags, name one by its digest"
	if len(tags) > 0 {
		hint = "name one by its tag: " + strings.Join(tags[:min(some, len(tags))], ", ")
	}
	if len(tags) > some {
		hint += ", …"
	}
	return oras.Descriptor{}, fmt.Errorf("%w: %s holds %d manifests; %s", oras.ErrReference, s, len(roots), hint)
}

// roots returns the first entries of the manifests that are there for their own
// sake; where there is none, as subjects can make it, of all.
func (s *Store) roots(ctx context.Context, x *indexJSON) ([]entry, error) {
	var all, roots []entry
	for i, e := range x.entries {
		if x.first[e.desc.Digest] == i {
			all = append(all, e)
		}
	}
	if len(all) == 1 {
		return all, nil
	}
	g, err := s.relations(ctx)
	if err != nil {
		return nil, err
	}
	with := map[digest.Digest]bool{} // what comes with another
	for d, m := range g.manifests {
		for _, child := range m.Manifests {
			with[child.Digest] = true
		}
		if m.Subject != nil && g.manifests[m.Subject.Digest] != nil {
			with[d] = true
		}
	}
	for _, e := range all {
		if !with[e.desc.Digest] {
			roots = append(roots, e)
		}
	}
	if len(roots) == 0 {
		return all, nil
	}
	return roots, nil
}

// String returns the path that the store was opened by.
func (s *Store) String() string {
	if s.name == "" {
		return "the OCI image layout"
	}
	return s.name
}

// unlisted resolves content that index.json does not list: a manifest that
// another one refers to, or a blob.
func (s *Store) unlisted(ctx context.Context, d oras.Digest) (oras.Descriptor, error) {
	info, err := statRegular(s.fsys, blobPath(d))
	if err != nil {
		return oras.Descriptor{}, missing(d, err)
	}
	if info.Size() <= oras.MaxManifestSize {
		g, err := s.relations(ctx)
		if err != nil {
			return oras.Descriptor{}, err
		}
		if desc, ok := g.index.Manifest(d.OCI()); ok {
			return desc, nil
		}
	}
	return oras.Descriptor{MediaType: oras.MediaTypeBlob, Digest: d.OCI(), Size: info.Size()}, nil
}

// Tags is [oras.Store.Tags]: those of one state of index.json.
func (s *Store) Tags(ctx context.Context, last string, fn func(tags []string) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	x, err := s.load()
	if err != nil {
		return s.invalid(err)
	}
	return x.tags.Tags(last, fn)
}

// plain returns what of desc is about the content itself.
func plain(desc oras.Descriptor) oras.Descriptor {
	return oras.Descriptor{MediaType: desc.MediaType, Digest: desc.Digest, Size: desc.Size}
}

// handOut returns desc for a caller who may change its annotations.
func handOut(desc oras.Descriptor) oras.Descriptor {
	desc.Annotations = maps.Clone(desc.Annotations)
	return desc
}
