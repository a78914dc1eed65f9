package oras

import (
	"context"
	"fmt"

	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Media types of manifests and of what they hold by default.
const (
	MediaTypeImageManifest   = ocispec.MediaTypeImageManifest
	MediaTypeImageIndex      = ocispec.MediaTypeImageIndex
	MediaTypeImageConfig     = ocispec.MediaTypeImageConfig
	MediaTypeEmpty           = ocispec.MediaTypeEmptyJSON
	MediaTypeDockerManifest  = "application/vnd.docker.distribution.manifest.v2+json"
	MediaTypeDockerList      = "application/vnd.docker.distribution.manifest.list.v2+json"
	MediaTypeArtifact        = "application/vnd.oci.artifact.manifest.v1+json"       // image-spec 1.1.0-rc.2, withdrawn
	MediaTypeORASArtifact    = "application/vnd.cncf.oras.artifact.manifest.v1+json" // its predecessor
	MediaTypeBlob            = "application/octet-stream"                            // of content of which nothing more is known
	MediaTypeUnknownArtifact = "application/vnd.unknown.artifact.v1"                 // artifact type if none is given
	MediaTypeUnknownConfig   = "application/vnd.unknown.config.v1+json"              // config media type if none is given
	MediaTypeLayer           = ocispec.MediaTypeImageLayer                           // layer media type if none is given
)

// MaxManifestSize is the size in bytes up to which manifests are read into
// memory, and so accepted (distribution-spec, "Pushing manifests", asks for at
// least 4 MiB).
const MaxManifestSize = 4 << 20

// A Manifest is what the kinds of manifests have in common: image manifests and
// indexes, OCI's or docker's, and the withdrawn artifact manifests.
type Manifest struct {
	specs.Versioned
	MediaType    string            `json:"mediaType,omitempty"`
	ArtifactType string            `json:"artifactType,omitempty"`
	Config       *Descriptor       `json:"config,omitempty"`    // image manifests
	Layers       []Descriptor      `json:"layers,omitempty"`    // image manifests
	Blobs        []Descriptor      `json:"blobs,omitempty"`     // artifact manifests
	Manifests    []Descriptor      `json:"manifests,omitempty"` // indexes
	Subject      *Descriptor       `json:"subject,omitempty"`
	Annotations  map[string]string `json:"annotations,omitempty"`
}

// shapes says of each media type of a manifest which shape the document has.
var shapes = map[string]string{
	MediaTypeImageManifest:  "image",
	MediaTypeDockerManifest: "image",
	MediaTypeImageIndex:     "index",
	MediaTypeDockerList:     "index",
	MediaTypeArtifact:       "artifact",
	MediaTypeORASArtifact:   "artifact",
}

// IsManifest reports whether mediaType is that of a manifest this package knows:
// content that stores keep by its references and registries serve apart from
// blobs.
func IsManifest(mediaType string) bool { return shapes[mediaType] != "" }

// IsIndex reports whether mediaType is that of a manifest that lists manifests.
func IsIndex(mediaType string) bool { return shapes[mediaType] == "index" }

// ManifestMediaTypes returns the media types for which IsManifest is true, most
// wanted first.
func ManifestMediaTypes() []string {
	return []string{
		MediaTypeImageManifest, MediaTypeImageIndex, MediaTypeDockerManifest, MediaTypeDockerList,
		MediaTypeArtifact, MediaTypeORASArtifact,
	}
}

// ParseManifest parses the manifest data of the given media type. A document
// that is malformed, that says it has another media type, or whose members are
// those of another kind of manifest, is [ErrInvalid]: a digest must not have two
// meanings (distribution-spec GHSA-mc8v-mgrf-8f4m).
func ParseManifest(mediaType string, data []byte) (*Manifest, error) {
	shape := shapes[mediaType]
	if shape == "" {
		return nil, fmt.Errorf("%w: %q is not the media type of a manifest", ErrInvalid, mediaType)
	}
	if len(data) > MaxManifestSize {
		return nil, fmt.Errorf("%w: manifest of %d bytes is larger than %d", ErrInvalid, len(data), MaxManifestSize)
	}
	var m Manifest
	if err := DecodeJSON(data, &m); err != nil {
		return nil, fmt.Errorf("manifest: %w", err)
	}
	if err := m.check(mediaType, shape); err != nil {
		return nil, fmt.Errorf("%w: manifest %w", ErrInvalid, err)
	}
	return &m, nil
}

func (m *Manifest) check(mediaType, shape string) error {
	if m.MediaType != "" && m.MediaType != mediaType {
		return fmt.Errorf("says its media type is %q, not %q", m.MediaType, mediaType)
	}
	if shape == "artifact" && m.MediaType == "" {
		return fmt.Errorf("does not say that its media type is %q", mediaType) // nothing else tells it
	}
	if shape != "artifact" && m.SchemaVersion != 2 {
		return fmt.Errorf("has schemaVersion %d, not 2", m.SchemaVersion)
	}
	if shape == "image" && m.Config == nil {
		return fmt.Errorf("has no config")
	}
	if shape != "image" && (m.Config != nil || m.Layers != nil) ||
		shape != "index" && m.Manifests != nil ||
		shape != "artifact" && m.Blobs != nil {
		return fmt.Errorf("has members of another kind than %q", mediaType)
	}
	for _, d := range m.Children() {
		if d.Size < 0 {
			return fmt.Errorf("has a descriptor of size %d", d.Size)
		}
		if !isDigest(string(d.Digest)) {
			return fmt.Errorf("has a descriptor with the digest %q", d.Digest)
		}
	}
	return nil
}

// Children returns the descriptors the manifest holds, in the document's order:
// what must be at a place for the manifest to be complete there. The subject
// comes first.
func (m *Manifest) Children() []Descriptor {
	var children []Descriptor
	if m.Subject != nil {
		children = append(children, *m.Subject)
	}
	if m.Config != nil {
		children = append(children, *m.Config)
	}
	children = append(children, m.Layers...)
	children = append(children, m.Blobs...)
	return append(children, m.Manifests...)
}

// Type returns what kind of artifact the manifest is: its artifactType or else
// the media type of its config (distribution-spec, "Listing Referrers").
func (m *Manifest) Type() string {
	if m.ArtifactType == "" && m.Config != nil {
		return m.Config.MediaType
	}
	return m.ArtifactType
}

// ReadManifest fetches desc, a manifest, verifies and parses it.
func ReadManifest(ctx context.Context, f Fetcher, desc Descriptor) (*Manifest, error) {
	data, err := FetchAll(ctx, f, desc)
	if err != nil {
		return nil, err
	}
	m, err := ParseManifest(desc.MediaType, data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", desc.Digest, err)
	}
	return m, nil
}
