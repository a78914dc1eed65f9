package oras_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"slices"

	"github.com/opencontainers/image-spec/specs-go"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/c73062ad/oras"
	"github.com/c73062ad/oras/memory"
)

// A tb is a *testing.T, or the *rapid.T of a property.
type tb interface {
	Helper()
	Context() context.Context
	Errorf(format string, args ...any)
	Fatal(args ...any)
}

// A content is bytes and what describes them.
type content struct {
	oras.Descriptor
	data []byte
}

func (c content) titled(title string) oras.Descriptor {
	desc := c.Descriptor
	desc.Annotations = map[string]string{ocispec.AnnotationTitle: title}
	return desc
}

func blob(text string) content {
	return content{oras.DescriptorOf("application/vnd.example.blob", []byte(text)), []byte(text)}
}

var emptyConfig = content{oras.DescriptorOf(oras.MediaTypeEmpty, []byte("{}")), []byte("{}")}

// document returns the manifest m, whose annotation makes it differ from others.
func document(mediaType, name string, m oras.Manifest) content {
	m.Versioned = specs.Versioned{SchemaVersion: 2}
	m.MediaType = mediaType
	m.Annotations = map[string]string{"org.example.name": name}
	data, err := json.Marshal(m)
	if err != nil {
		panic(err)
	}
	return content{oras.DescriptorOf(mediaType, data), data}
}

func image(name string, layers ...oras.Descriptor) content {
	return document(oras.MediaTypeImageManifest, name, oras.Manifest{Config: &emptyConfig.Descriptor, Layers: layers})
}

// referrer returns an image whose subject is given.
func referrer(name string, subject oras.Descriptor, layers ...oras.Descriptor) content {
	return document(oras.MediaTypeImageManifest, name, oras.Manifest{
		ArtifactType: "application/vnd.example." + name,
		Config:       &emptyConfig.Descriptor,
		Layers:       layers,
		Subject:      &subject,
	})
}

func index(name string, manifests ...oras.Descriptor) content {
	return document(oras.MediaTypeImageIndex, name, oras.Manifest{Manifests: manifests})
}

// newStore returns a store that holds the contents and tags the last "root".
func newStore(t tb, contents ...content) *memory.Store {
	t.Helper()
	s := memory.New()
	for _, c := range contents {
		must(t, oras.Push(t.Context(), s, c.Descriptor, bytes.NewReader(c.data)))
	}
	if len(contents) > 0 {
		if last := contents[len(contents)-1]; oras.IsManifest(last.MediaType) {
			must(t, s.Tag(t.Context(), last.Descriptor, "root"))
		}
	}
	return s
}

// artifact returns a manifest of the kind that was withdrawn.
func artifact(name string, subject *oras.Descriptor, blobs ...oras.Descriptor) content {
	return document(oras.MediaTypeArtifact, name, oras.Manifest{ArtifactType: "application/vnd.example." + name, Blobs: blobs, Subject: subject})
}

// wantExactly checks that of all contents s holds these, byte by byte, and no
// others.
func wantExactly(t tb, s oras.Source, all []content, want ...content) {
	t.Helper()
	for _, c := range all {
		wanted := slices.ContainsFunc(want, func(w content) bool { return w.Digest == c.Digest })
		exists, err := s.Exists(t.Context(), c.Descriptor)
		must(t, err)
		if exists != wanted {
			t.Errorf("%s %s: exists = %v, want %v", c.Digest, bytes.TrimSpace(c.data[:min(len(c.data), 300)]), exists, wanted)
		}
		if exists && wanted {
			data, err := oras.FetchAll(t.Context(), s, c.Descriptor)
			if err != nil || !bytes.Equal(data, c.data) {
				t.Errorf("%s: got %q, %v", c.Digest, data, err)
			}
		}
	}
}

func tags(t tb, s oras.Store) (all []string) {
	t.Helper()
	must(t, s.Tags(t.Context(), "", func(page []string) error {
		all = append(all, page...)
		return nil
	}))
	return all
}

func must(t tb, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// A hooked store is a store whose methods can be watched, changed and made to
// fail. A hook that is nil leaves the store's own method.
type hooked struct {
	oras.Store
	fetch  func(ctx context.Context, target oras.Descriptor) (io.ReadCloser, error)
	exists func(ctx context.Context, target oras.Descriptor) (bool, error)
	push   func(ctx context.Context, expected oras.Descriptor, content io.Reader) error
	tag    func(ctx context.Context, desc oras.Descriptor, reference string) error
}

func (h *hooked) Fetch(ctx context.Context, target oras.Descriptor) (io.ReadCloser, error) {
	if h.fetch != nil {
		return h.fetch(ctx, target)
	}
	return h.Store.Fetch(ctx, target)
}

func (h *hooked) Exists(ctx context.Context, target oras.Descriptor) (bool, error) {
	if h.exists != nil {
		return h.exists(ctx, target)
	}
	return h.Store.Exists(ctx, target)
}

func (h *hooked) Push(ctx context.Context, expected oras.Descriptor, content io.Reader) error {
	if h.push != nil {
		return h.push(ctx, expected, content)
	}
	return h.Store.Push(ctx, expected, content)
}

func (h *hooked) Tag(ctx context.Context, desc oras.Descriptor, reference string) error {
	if h.tag != nil {
		return h.tag(ctx, desc, reference)
	}
	return h.Store.Tag(ctx, desc, reference)
}

// A source is a store of which only what Copy needs of a source can be seen.
type source struct{ oras.Source }
