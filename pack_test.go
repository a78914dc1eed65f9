package oras_test

import (
	"context"
	"errors"
	"io"
	"reflect"
	"testing"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/c73062ad/oras"
	"github.com/c73062ad/oras/memory"
)

const (
	emptyDataJSON = `{"mediaType":"application/vnd.oci.empty.v1+json","digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a","size":2,"data":"e30="}`
	createdJSON   = `"org.opencontainers.image.created":"2023-01-18T08:37:42Z"`
)

// The bytes of a manifest are its name, so that of equal options must not change.
func TestPack(t *testing.T) {
	hello := oras.DescriptorOf(oras.MediaTypeLayer, []byte("hello world"))
	hello.Annotations = map[string]string{ocispec.AnnotationTitle: "artifact.txt"}
	helloJSON := `{"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":"sha256:b94d27b9934d3e08a52e52d7da7dabfac484efe37a5380ee9088f7ace2efcde9","size":11,"annotations":{"org.opencontainers.image.title":"artifact.txt"}}`
	config := oras.DescriptorOf("application/vnd.acme.rocket.config.v1+json", []byte(`{"a":1}`))
	configJSON := `{"mediaType":"application/vnd.acme.rocket.config.v1+json","digest":"sha256:015abd7f5cc57a2dd94b7590f04ad8084273905ee33ec5cebeae62276a97f862","size":7}`
	subject := oras.DescriptorOf(oras.MediaTypeImageIndex, []byte("index"))
	subjectJSON := `{"mediaType":"application/vnd.oci.image.index.v1+json","digest":"sha256:` + digestOf("index").Hex() + `","size":5}`
	emptyWithName := `{"mediaType":"application/vnd.oci.empty.v1+json","digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a","size":2,"annotations":{"a":"b"},"data":"e30="}`

	for name, test := range map[string]struct {
		opts         oras.PackOptions
		want         string // without what all have at the front and end
		annotations  string
		artifactType string
		stored       []string // blobs Pack pushes itself, by media type
	}{
		"nothing": {
			opts:         oras.PackOptions{},
			want:         `"artifactType":"application/vnd.unknown.artifact.v1","config":` + emptyDataJSON + `,"layers":[` + emptyDataJSON + `]`,
			artifactType: oras.MediaTypeUnknownArtifact,
			stored:       []string{oras.MediaTypeEmpty},
		},
		"a file": {
			opts:         oras.PackOptions{ArtifactType: "application/vnd.acme.rocket.config", Layers: []oras.Descriptor{hello}},
			want:         `"artifactType":"application/vnd.acme.rocket.config","config":` + emptyDataJSON + `,"layers":[` + helloJSON + `]`,
			artifactType: "application/vnd.acme.rocket.config",
			stored:       []string{oras.MediaTypeEmpty},
		},
		"order of the layers": {
			opts:         oras.PackOptions{ArtifactType: "a/b", Layers: []oras.Descriptor{hello, oras.Empty(), hello}},
			want:         `"artifactType":"a/b","config":` + emptyDataJSON + `,"layers":[` + helloJSON + `,` + emptyDataJSON + `,` + helloJSON + `]`,
			artifactType: "a/b",
			stored:       []string{oras.MediaTypeEmpty},
		},
		"a config": {
			opts:         oras.PackOptions{Config: &config, Layers: []oras.Descriptor{hello}},
			want:         `"config":` + configJSON + `,"layers":[` + helloJSON + `]`,
			artifactType: config.MediaType,
		},
		"a config and a type": {
			opts:         oras.PackOptions{ArtifactType: "a/b", Config: &config, Layers: []oras.Descriptor{hello}},
			want:         `"artifactType":"a/b","config":` + configJSON + `,"layers":[` + helloJSON + `]`,
			artifactType: "a/b",
		},
		"a config and nothing else": {
			opts:         oras.PackOptions{ArtifactType: "a/b", Config: &config},
			want:         `"artifactType":"a/b","config":` + configJSON + `,"layers":[` + emptyDataJSON + `]`,
			artifactType: "a/b",
			stored:       []string{oras.MediaTypeEmpty},
		},
		"annotated default config": {
			opts:         oras.PackOptions{ArtifactType: "a/b", ConfigAnnotations: map[string]string{"a": "b"}, Layers: []oras.Descriptor{hello}},
			want:         `"artifactType":"a/b","config":` + emptyWithName + `,"layers":[` + helloJSON + `]`,
			artifactType: "a/b",
			stored:       []string{oras.MediaTypeEmpty},
		},
		"subject": {
			opts:         oras.PackOptions{ArtifactType: "a/b", Subject: &subject},
			want:         `"artifactType":"a/b","config":` + emptyDataJSON + `,"layers":[` + emptyDataJSON + `],"subject":` + subjectJSON,
			artifactType: "a/b",
			stored:       []string{oras.MediaTypeEmpty},
		},
		"annotations": {
			opts:         oras.PackOptions{ArtifactType: "a/b", Annotations: map[string]string{"z": "<&>", "a": "ä"}},
			want:         `"artifactType":"a/b","config":` + emptyDataJSON + `,"layers":[` + emptyDataJSON + `]`,
			annotations:  `"a":"ä",` + createdJSON + `,"z":"\u003c\u0026\u003e"`,
			artifactType: "a/b",
			stored:       []string{oras.MediaTypeEmpty},
		},
		"own time of creation": {
			opts:         oras.PackOptions{ArtifactType: "a/b", Annotations: map[string]string{ocispec.AnnotationCreated: "2000-01-02T03:04:05.678+09:00"}},
			want:         `"artifactType":"a/b","config":` + emptyDataJSON + `,"layers":[` + emptyDataJSON + `]`,
			annotations:  `"org.opencontainers.image.created":"2000-01-02T03:04:05.678+09:00"`,
			artifactType: "a/b",
			stored:       []string{oras.MediaTypeEmpty},
		},
		"1.0, nothing": {
			opts:         oras.PackOptions{ImageSpec10: true},
			want:         `"config":{"mediaType":"application/vnd.unknown.config.v1+json","digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a","size":2},"layers":[]`,
			artifactType: oras.MediaTypeUnknownConfig,
			stored:       []string{oras.MediaTypeUnknownConfig},
		},
		"1.0, a type": {
			opts:         oras.PackOptions{ImageSpec10: true, ArtifactType: "a/b", Layers: []oras.Descriptor{hello}, ConfigAnnotations: map[string]string{"a": "b"}},
			want:         `"config":{"mediaType":"a/b","digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a","size":2,"annotations":{"a":"b"}},"layers":[` + helloJSON + `]`,
			artifactType: "a/b",
			stored:       []string{"a/b"},
		},
		"1.0, a config": {
			opts:         oras.PackOptions{ImageSpec10: true, Config: &config, Layers: []oras.Descriptor{hello}, Subject: &subject},
			want:         `"config":` + configJSON + `,"layers":[` + helloJSON + `],"subject":` + subjectJSON,
			artifactType: config.MediaType,
		},
		"1.0, a config and nothing else": {
			opts:         oras.PackOptions{ImageSpec10: true, Config: &config},
			want:         `"config":` + configJSON + `,"layers":[]`,
			artifactType: config.MediaType,
		},
	} {
		t.Run(name, func(t *testing.T) {
			annotations := test.annotations
			if annotations == "" {
				annotations = createdJSON
			}
			want := `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json",` + test.want + `,"annotations":{` + annotations + `}}`

			var pushed []string
			s := memory.New()
			target := &hooked{Store: s, push: func(ctx context.Context, desc oras.Descriptor, r io.Reader) error {
				pushed = append(pushed, desc.MediaType)
				return s.Push(ctx, desc, r)
			}}
			opts := test.opts
			// A time of another place and with a fraction, which the annotation has not.
			opts.Created = time.Date(2023, 1, 18, 9, 37, 42, 999, time.FixedZone("", 3600))
			got, err := oras.Pack(t.Context(), target, &opts)
			must(t, err)
			data, err := oras.FetchAll(t.Context(), s, got)
			must(t, err)
			if string(data) != want {
				t.Errorf("packed\n%s, want\n%s", data, want)
			}
			m, err := oras.ParseManifest(got.MediaType, data)
			must(t, err)
			desc := oras.DescriptorOf(oras.MediaTypeImageManifest, []byte(want))
			desc.ArtifactType, desc.Annotations = test.artifactType, m.Annotations
			if !reflect.DeepEqual(got, desc) {
				t.Errorf("descriptor\n%v, want\n%v", got, desc)
			}
			if want := append(test.stored, oras.MediaTypeImageManifest); !reflect.DeepEqual(pushed, want) {
				t.Errorf("pushed %q, want %q", pushed, want)
			}

			// Again: the same, and nothing is pushed that is there.
			pushed = nil
			again, err := oras.Pack(t.Context(), target, &opts)
			if err != nil || again.Digest != got.Digest || pushed != nil {
				t.Errorf("again: %s, %v, pushed %q", again.Digest, err, pushed)
			}
		})
	}
}

// These have stood in documents for years.
func TestEmpty(t *testing.T) {
	d := oras.Empty()
	if d.Digest != "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a" || d.Size != 2 || string(d.Data) != "{}" || d.MediaType != "application/vnd.oci.empty.v1+json" {
		t.Errorf("got %+v", d)
	}
	d.Data[0] = 'x'
	if string(oras.Empty().Data) != "{}" {
		t.Error("its data is shared")
	}
}

func TestPackNow(t *testing.T) {
	s := memory.New()
	before := time.Now().Truncate(time.Second)
	desc, err := oras.Pack(t.Context(), s, nil)
	must(t, err)
	at, err := time.Parse(time.RFC3339, desc.Annotations[ocispec.AnnotationCreated])
	if err != nil || at.Before(before) || at.After(time.Now()) || at.Location() != time.UTC {
		t.Errorf("created %v, %v", at, err)
	}
	if desc.ArtifactType != oras.MediaTypeUnknownArtifact {
		t.Errorf("type %q", desc.ArtifactType)
	}
}

func TestPackErrors(t *testing.T) {
	for name, test := range map[string]struct {
		opts oras.PackOptions
		want string
	}{
		"type":        {oras.PackOptions{ArtifactType: "invalid"}, "invalid: invalid media type"},
		"type in 1.0": {oras.PackOptions{ArtifactType: "invalid", ImageSpec10: true}, "invalid: invalid media type"},
		"date": {
			oras.PackOptions{Annotations: map[string]string{ocispec.AnnotationCreated: "2000/01/02"}},
			`invalid content: annotation org.opencontainers.image.created is "2000/01/02", not a time as in RFC 3339`,
		},
		"no date": {
			oras.PackOptions{Annotations: map[string]string{ocispec.AnnotationCreated: ""}},
			`invalid content: annotation org.opencontainers.image.created is "", not a time as in RFC 3339`,
		},
	} {
		s := memory.New()
		desc, err := oras.Pack(t.Context(), s, &test.opts)
		if !errors.Is(err, oras.ErrInvalid) || err.Error() != test.want || desc.Digest != "" {
			t.Errorf("%s: %v, %v", name, desc, err)
		}
		wantExactly(t, s, []content{emptyConfig})
	}

	broken := errors.New("broken")
	for name, s := range map[string]oras.Target{
		"exists": &hooked{Store: memory.New(), exists: func(context.Context, oras.Descriptor) (bool, error) { return false, broken }},
		"push":   &hooked{Store: memory.New(), push: func(context.Context, oras.Descriptor, io.Reader) error { return broken }},
		"manifest": func() oras.Target {
			s := memory.New()
			return &hooked{Store: s, push: func(ctx context.Context, desc oras.Descriptor, r io.Reader) error {
				if oras.IsManifest(desc.MediaType) {
					return broken
				}
				return s.Push(ctx, desc, r)
			}}
		}(),
	} {
		if desc, err := oras.Pack(t.Context(), s, nil); err != broken || desc.Digest != "" {
			t.Errorf("%s: %v, %v", name, desc, err)
		}
	}
}

// Pack leaves what it is given as it was.
func TestPackLeavesOptions(t *testing.T) {
	annotations := map[string]string{"a": "b"}
	opts := oras.PackOptions{Annotations: annotations}
	desc, err := oras.Pack(t.Context(), memory.New(), &opts)
	must(t, err)
	if len(annotations) != 1 || opts.Layers != nil || opts.Config != nil || opts.ArtifactType != "" {
		t.Errorf("now %+v", opts)
	}
	if desc.Annotations["a"] != "b" {
		t.Errorf("annotations %v", desc.Annotations)
	}
}
