package oras_test

import (
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"github.com/c73062ad/oras"
	"github.com/c73062ad/oras/memory"
)

const (
	indexFront = `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json",`
	// Of {"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]},
	// as sha256sum has it.
	emptyIndexDigest = "sha256:dff9de10919148711140d349bf03f1a99eb06f94b03e51715ccebfa7cdc518e2"
)

// The bytes of an index are its name, so that of equal options must not change.
func TestPackIndex(t *testing.T) {
	amd64 := oras.Descriptor{
		MediaType: oras.MediaTypeImageManifest, Digest: "sha256:9d84a5716c66a1d1b9c13f8ed157ba7d1edfe7f9b8766728b8a1f25c0d9c14c1", Size: 458,
		Platform: &oras.Platform{OS: "linux", Architecture: "amd64"},
	}
	armv7 := oras.Descriptor{
		MediaType: oras.MediaTypeImageManifest, Digest: "sha256:58efe73e78fe043ca31b89007a025c594ce12aa7e6da27d21c7b14b50112e255", Size: 458,
		Platform: &oras.Platform{OS: "linux", Architecture: "arm", Variant: "v7"}, ArtifactType: "test/child",
		Annotations: map[string]string{"k": "v"},
	}
	const amd64JSON = `{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"sha256:9d84a5716c66a1d1b9c13f8ed157ba7d1edfe7f9b8766728b8a1f25c0d9c14c1","size":458,"platform":{"architecture":"amd64","os":"linux"}}`
	const armv7JSON = `{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"sha256:58efe73e78fe043ca31b89007a025c594ce12aa7e6da27d21c7b14b50112e255","size":458,"annotations":{"k":"v"},"platform":{"architecture":"arm","os":"linux","variant":"v7"},"artifactType":"test/child"}`
	for name, test := range map[string]struct {
		opts   *oras.PackIndexOptions
		want   string // behind indexFront
		digest string // if it is known from elsewhere
	}{
		"nothing":      {nil, `"manifests":[]}`, emptyIndexDigest},
		"no manifests": {&oras.PackIndexOptions{Manifests: []oras.Descriptor{}}, `"manifests":[]}`, emptyIndexDigest},
		"one": {
			&oras.PackIndexOptions{Manifests: []oras.Descriptor{amd64}},
			`"manifests":[` + amd64JSON + `]}`,
			"sha256:c543059818cb70e6442597a33454ec1e3d3a2bdb526c17875578d33c2ddcf72e",
		},
		"order, and one twice": {
			opts: &oras.PackIndexOptions{Manifests: []oras.Descriptor{armv7, amd64, armv7}},
			want: `"manifests":[` + armv7JSON + `,` + amd64JSON + `,` + armv7JSON + `]}`,
		},
		"all": {
			opts: &oras.PackIndexOptions{
				ArtifactType: "test/index", Manifests: []oras.Descriptor{amd64}, Subject: &oras.Descriptor{MediaType: amd64.MediaType, Digest: amd64.Digest, Size: 458},
				Annotations: map[string]string{"z": "<", "a": "ä"},
			},
			want: `"artifactType":"test/index","manifests":[` + amd64JSON + `],"subject":` + amd64JSON[:len(amd64JSON)-len(`,"platform":{"architecture":"amd64","os":"linux"}}`)] + `},"annotations":{"a":"ä","z":"\u003c"}}`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := memory.New()
			got, err := oras.PackIndex(t.Context(), s, test.opts)
			must(t, err)
			data, err := oras.FetchAll(t.Context(), s, got)
			must(t, err)
			if want := indexFront + test.want; string(data) != want {
				t.Errorf("packed\n%s, want\n%s", data, want)
			}
			if test.digest != "" && got.Digest.String() != test.digest {
				t.Errorf("digest %s, want %s", got.Digest, test.digest)
			}
			want := oras.DescriptorOf(oras.MediaTypeImageIndex, data)
			if test.opts != nil {
				want.ArtifactType, want.Annotations = test.opts.ArtifactType, test.opts.Annotations
			}
			if !reflect.DeepEqual(got, want) {
				t.Errorf("descriptor\n%v, want\n%v", got, want)
			}
			again, err := oras.PackIndex(t.Context(), s, test.opts)
			if err != nil || again.Digest != got.Digest {
				t.Errorf("again: %s, %v", again.Digest, err)
			}
		})
	}
}

func TestPackIndexErrors(t *testing.T) {
	s := memory.New()
	many := make([]oras.Descriptor, 40_000)
	for i := range many {
		many[i] = oras.DescriptorOf(oras.MediaTypeImageManifest, fmt.Append(nil, i))
	}
	for want, opts := range map[string]*oras.PackIndexOptions{
		"invalid: invalid media type": {ArtifactType: "invalid"},
		`index of 1 manifests: invalid content: manifest has a descriptor with the digest "sha256:../x"`: {Manifests: []oras.Descriptor{{Digest: "sha256:../x"}}},
		"index of 40000 manifests: invalid content: manifest of ":                                        {Manifests: many},
	} {
		_, err := oras.PackIndex(t.Context(), s, opts)
		if !errors.Is(err, oras.ErrInvalid) || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%v, want %s", err, want)
		}
	}
}

func TestIndexEntry(t *testing.T) {
	s := memory.New()
	push := func(mediaType, content string) oras.Descriptor {
		t.Helper()
		desc, err := oras.PushBytes(t.Context(), s, mediaType, []byte(content))
		must(t, err)
		return desc
	}
	image := func(mediaType, configType, config, members string) oras.Descriptor {
		t.Helper()
		c := push(configType, config)
		return push(mediaType, fmt.Sprintf(`{"schemaVersion":2,"mediaType":%q,"config":{"mediaType":%q,"digest":%q,"size":%d},"layers":[]%s}`,
			mediaType, c.MediaType, c.Digest, c.Size, members))
	}
	const oci, config = oras.MediaTypeImageManifest, oras.MediaTypeImageConfig
	for name, test := range map[string]struct {
		desc         oras.Descriptor
		platform     *oras.Platform
		artifactType string
	}{
		"image": {
			desc:     image(oci, config, `{"architecture":"arm","os":"linux","variant":"v7","rootfs":{}}`, ""),
			platform: &oras.Platform{OS: "linux", Architecture: "arm", Variant: "v7"},
		},
		"version and features": {
			desc:     image(oci, config, `{"architecture":"amd64","os":"windows","os.version":"10.0.1","os.features":["win32k"]}`, ""),
			platform: &oras.Platform{OS: "windows", Architecture: "amd64", OSVersion: "10.0.1", OSFeatures: []string{"win32k"}},
		},
		"docker's": {
			desc:     image(oras.MediaTypeDockerManifest, "application/vnd.docker.container.image.v1+json", `{"architecture":"amd64","os":"linux"}`, ""),
			platform: &oras.Platform{OS: "linux", Architecture: "amd64"},
		},
		"a config of another type": {
			desc:         image(oci, "test/config", `{"architecture":"amd64","os":"linux"}`, `,"artifactType":"test/child"`),
			platform:     &oras.Platform{OS: "linux", Architecture: "amd64"},
			artifactType: "test/child",
		},
		"a config without a platform":  {desc: image(oci, oras.MediaTypeEmpty, `{}`, `,"artifactType":"test/child"`), artifactType: "test/child"},
		"a config that is no JSON":     {desc: image(oci, "test/config", "not JSON", "")},
		"a config that is no object":   {desc: image(oci, config, `["linux"]`, "")},
		"a platform that is no string": {desc: image(oci, config, `{"architecture":1,"os":"linux"}`, "")},
		"index":                        {desc: push(oras.MediaTypeImageIndex, `{"schemaVersion":2,"artifactType":"test/index","manifests":[]}`), artifactType: "test/index"},
		"artifact manifest": {
			desc:         push(oras.MediaTypeArtifact, `{"mediaType":"`+oras.MediaTypeArtifact+`","artifactType":"test/old","blobs":[]}`),
			artifactType: "test/old",
		},
	} {
		t.Run(name, func(t *testing.T) {
			desc := test.desc
			desc.Annotations, desc.ArtifactType = map[string]string{"org.opencontainers.image.ref.name": "v1"}, "test/other"
			desc.Platform = &oras.Platform{OS: "other", Architecture: "other"}
			want := test.desc
			want.Platform, want.ArtifactType = test.platform, test.artifactType
			got, err := oras.IndexEntry(t.Context(), s, desc)
			must(t, err)
			if !reflect.DeepEqual(got, want) {
				t.Errorf("got %+v, want %+v", got, want)
			}
		})
	}
}

func TestIndexEntryErrors(t *testing.T) {
	s := memory.New()
	const missing = "sha256:0000000000000000000000000000000000000000000000000000000000000000"
	image, err := oras.PushBytes(t.Context(), s, oras.MediaTypeImageManifest,
		[]byte(`{"schemaVersion":2,"config":{"mediaType":"a/b","digest":"`+missing+`","size":2},"layers":[]}`))
	must(t, err)
	large, err := oras.PushBytes(t.Context(), s, oras.MediaTypeImageManifest,
		[]byte(`{"schemaVersion":2,"config":{"mediaType":"a/b","digest":"`+missing+`","size":4611686018427387904},"layers":[]}`))
	must(t, err)
	blob, err := oras.PushBytes(t.Context(), s, oras.MediaTypeBlob, []byte("blob"))
	must(t, err)
	if entry, err := oras.IndexEntry(t.Context(), s, large); err != nil || entry.Platform != nil { // which is not read
		t.Errorf("a huge config: %+v, %v", entry, err)
	}
	for name, test := range map[string]struct {
		desc oras.Descriptor
		want error
		text string
	}{
		"no manifest":     {oras.Descriptor{MediaType: oras.MediaTypeImageManifest, Digest: missing, Size: 2}, oras.ErrNotFound, missing},
		"no config":       {image, oras.ErrNotFound, "config of " + image.Digest.String() + ": "},
		"not a manifest":  {blob, oras.ErrInvalid, `"application/octet-stream" is not the media type of a manifest`},
		"no such content": {oras.Descriptor{MediaType: oras.MediaTypeImageManifest, Digest: image.Digest, Size: image.Size - 1}, oras.ErrInvalid, image.Digest.String()},
	} {
		_, err := oras.IndexEntry(t.Context(), s, test.desc)
		if !errors.Is(err, test.want) || !strings.Contains(err.Error(), test.text) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
