package oras

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// PackIndexOptions say what [PackIndex] packs. The zero value is an index of
// nothing.
type PackIndexOptions struct {
	// ArtifactType is the media type that says what the whole is; empty for
	// none.
	ArtifactType string

	// Manifests are what the index lists, in order, as [IndexEntry] returns
	// them. They need not be in the target.
	Manifests []Descriptor

	// Subject is the manifest that the index refers to.
	Subject *Descriptor

	// Annotations of the index. None are added.
	Annotations map[string]string
}

// PackIndex writes an index of manifests (image-spec, image-index.md) to t and
// returns its descriptor, with artifact type and annotations. Equal options give
// an equal digest. An artifact type that is no media type, and an index larger
// than [MaxManifestSize], are [ErrInvalid].
func PackIndex(ctx context.Context, t Target, opts *PackIndexOptions) (Descriptor, error) {
	if opts == nil {
		opts = &PackIndexOptions{}
	}
	if opts.ArtifactType != "" {
		if err := CheckMediaType(opts.ArtifactType); err != nil {
			return Descriptor{}, err
		}
	}
	index := &ocispec.Index{
		Versioned:    specs.Versioned{SchemaVersion: 2},
		MediaType:    MediaTypeImageIndex,
		ArtifactType: opts.ArtifactType,
		Manifests:    opts.Manifests,
		Subject:      opts.Subject,
		Annotations:  opts.Annotations,
	}
	if index.Manifests == nil {
		index.Manifests = []Descriptor{} // the member is required
	}
	data, err := json.Marshal(index)
	if err != nil {
		return Descriptor{}, err
	}
	desc := DescriptorOf(index.MediaType, data)
	if _, err := ParseManifest(desc.MediaType, data); err != nil {
		return Descriptor{}, fmt.Errorf("index of %d manifests: %w", len(index.Manifests), err)
	}
	if err := pushMissing(ctx, t, desc, data); err != nil {
		return Descriptor{}, err
	}
	desc.ArtifactType, desc.Annotations = index.ArtifactType, index.Annotations
	return desc, nil
}

// IndexEntry returns the manifest desc as an index lists it: media type, digest
// and size, the platform that the config of an image says, and the artifact type
// that the manifest says. What else desc holds, such as the annotations of a tag
// in a layout, is left out. A config that says nothing of platforms, is no
// JSON, or is larger than [MaxManifestSize], gives none, whatever its media type; one that is not there is
// [ErrNotFound], since an image without its config is none.
func IndexEntry(ctx context.Context, f Fetcher, desc Descriptor) (Descriptor, error) {
	m, err := ReadManifest(ctx, f, desc)
	if err != nil {
		return Descriptor{}, err
	}
	entry := Descriptor{MediaType: desc.MediaType, Digest: desc.Digest, Size: desc.Size, ArtifactType: m.ArtifactType}
	if m.Config == nil {
		return entry, nil
	}
	if m.Config.Size > MaxManifestSize {
		return entry, nil // it says nothing that would be read
	}
	config, err := FetchAll(ctx, f, *m.Config)
	if err != nil {
		return Descriptor{}, fmt.Errorf("config of %s: %w", desc.Digest, err)
	}
	if p, err := parsePlatform(config); err == nil && (p.OS != "" || p.Architecture != "") {
		entry.Platform = p
	}
	return entry, nil
}
