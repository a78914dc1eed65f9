package oras

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"time"

	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// Empty returns the descriptor of the empty JSON object, its two bytes inline:
// what stands where a config or a layer must be and there is none (image-spec,
// manifest.md#guidance-for-an-empty-descriptor).
func Empty() Descriptor {
	d := DescriptorOf(MediaTypeEmpty, []byte("{}"))
	d.Data = []byte("{}")
	return d
}

// PackOptions say what [Pack] packs. The zero value is an artifact of unknown
// type with nothing in it.
type PackOptions struct {
	// ArtifactType is the media type that says what the artifact is;
	// MediaTypeUnknownArtifact if it is empty.
	ArtifactType string

	// Layers are the artifact's content, in order. None means one layer,
	// which is Empty, or none at all if ImageSpec10 is set.
	Layers []Descriptor

	// Config, which must be in the target or be copied there by the caller,
	// is by default Empty. ConfigAnnotations are for the default.
	Config            *Descriptor
	ConfigAnnotations map[string]string

	// Subject is the manifest that the artifact refers to.
	Subject *Descriptor

	// Annotations of the manifest. The annotation of the time of creation
	// is added unless it is there.
	Annotations map[string]string

	// Created is the time of creation; zero means now.
	Created time.Time

	// ImageSpec10 packs a manifest as image-spec 1.0 has them: without
	// artifactType, which becomes the media type of the default config
	// (MediaTypeUnknownConfig if it is empty too). With a Config it is not
	// kept anywhere.
	ImageSpec10 bool
}

// Pack writes an image manifest that makes one artifact of the layers, and with
// it the config and the layer it adds itself, to t. It returns the manifest's
// descriptor, with artifact type and annotations. Equal options with a time of
// creation give an equal digest. An artifact type that is no media type, and a
// time of creation that is no time, are [ErrInvalid].
func Pack(ctx context.Context, t Target, opts *PackOptions) (Descriptor, error) {
	if opts == nil {
		opts = &PackOptions{}
	}
	m, err := opts.manifest()
	if err != nil {
		return Descriptor{}, err
	}
	empty := opts.Config == nil || len(opts.Layers) == 0 && !opts.ImageSpec10
	if empty {
		stored := m.Config
		if opts.Config != nil {
			stored = m.Layers[0]
		}
		if err := pushMissing(ctx, t, stored, []byte("{}")); err != nil {
			return Descriptor{}, err
		}
	}
	data, err := json.Marshal(m)
	if err != nil {
		return Descriptor{}, err
	}
	desc := DescriptorOf(m.MediaType, data)
	if err := pushMissing(ctx, t, desc, data); err != nil {
		return Descriptor{}, err
	}
	desc.ArtifactType, desc.Annotations = m.ArtifactType, m.Annotations
	if desc.ArtifactType == "" {
		desc.ArtifactType = m.Config.MediaType
	}
	return desc, nil
}

func (opts *PackOptions) manifest() (*ocispec.Manifest, error) {
	if opts.ArtifactType != "" {
		if err := CheckMediaType(opts.ArtifactType); err != nil {
			return nil, err
		}
	}
	annotations := maps.Clone(opts.Annotations)
	if annotations == nil {
		annotations = map[string]string{}
	}
	if created, ok := annotations[ocispec.AnnotationCreated]; !ok {
		at := opts.Created
		if at.IsZero() {
			at = time.Now()
		}
		annotations[ocispec.AnnotationCreated] = at.UTC().Format(time.RFC3339)
	} else if _, err := time.Parse(time.RFC3339, created); err != nil {
		return nil, fmt.Errorf("%w: annotation %s is %q, not a time as in RFC 3339", ErrInvalid, ocispec.AnnotationCreated, created)
	}
	m := &ocispec.Manifest{
		Versioned:    specs.Versioned{SchemaVersion: 2},
		MediaType:    MediaTypeImageManifest,
		ArtifactType: opts.ArtifactType,
		Layers:       opts.Layers,
		Subject:      opts.Subject,
		Annotations:  annotations,
	}
	switch {
	case opts.Config != nil:
		m.Config = *opts.Config
	case opts.ImageSpec10:
		mediaType := opts.ArtifactType
		if mediaType == "" {
			mediaType = MediaTypeUnknownConfig
		}
		m.Config = DescriptorOf(mediaType, []byte("{}"))
		m.Config.Annotations = opts.ConfigAnnotations
	default:
		m.Config = Empty()
		m.Config.Annotations = opts.ConfigAnnotations
	}
	switch {
	case opts.ImageSpec10:
		m.ArtifactType = ""
		if m.Layers == nil {
			m.Layers = []Descriptor{}
		}
	default:
		if m.ArtifactType == "" && m.Config.MediaType == MediaTypeEmpty {
			m.ArtifactType = MediaTypeUnknownArtifact
		}
		if len(m.Layers) == 0 {
			m.Layers = []Descriptor{Empty()}
		}
	}
	return m, nil
}

func pushMissing(ctx context.Context, t Target, desc Descriptor, data []byte) error {
	exists, err := t.Exists(ctx, desc)
	if err != nil || exists {
		return err
	}
	_, err = PushBytes(ctx, t, desc.MediaType, data)
	return err
}

// RFC 6838, section 4.2.
var mediaTypeGrammar = grammar(`^[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}/[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,126}(;.*)?$`)

// CheckMediaType reports text that is no media type, as [ErrInvalid].
func CheckMediaType(text string) error {
	if !mediaTypeGrammar().MatchString(text) {
		return kindError{text + ": invalid media type", ErrInvalid}
	}
	return nil
}
