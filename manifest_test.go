package oras_test

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/c73062ad/oras"
)

// desc returns a descriptor in JSON; each text gives another digest.
func desc(text string) string {
	return fmt.Sprintf(`{"mediaType":"application/x","digest":"%s","size":%d}`, digestOf(text), len(text))
}

func TestParseManifest(t *testing.T) {
	for name, test := range map[string]struct {
		mediaType, text string
		children        []string // texts
		artifactType    string
	}{
		"image": {
			oras.MediaTypeImageManifest,
			`{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":` + desc("c") + `,"layers":[` + desc("l1") + `,` + desc("l2") + `]}`,
			[]string{"c", "l1", "l2"}, "application/x",
		},
		"image that does not say so": {
			oras.MediaTypeImageManifest, `{"schemaVersion":2,"config":` + desc("c") + `,"layers":[]}`, []string{"c"}, "application/x",
		},
		"image with a subject": {
			oras.MediaTypeImageManifest, `{"schemaVersion":2,"artifactType":"a/b","config":` + desc("c") + `,"layers":[` + desc("l") + `],"subject":` + desc("s") + `}`,
			[]string{"s", "c", "l"}, "a/b",
		},
		"image of a newer time": {
			oras.MediaTypeImageManifest, `{"schemaVersion":2,"config":` + desc("c") + `,"layers":[],"new":{"Old":[1]},"manifest":{}}`, []string{"c"}, "application/x",
		},
		"docker image": {
			oras.MediaTypeDockerManifest,
			`{"schemaVersion":2,"mediaType":"application/vnd.docker.distribution.manifest.v2+json","config":` + desc("c") + `,"layers":[` + desc("l") + `]}`,
			[]string{"c", "l"}, "application/x",
		},
		"index": {
			oras.MediaTypeImageIndex, `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[` + desc("m") + `,` + desc("m") + `],"subject":` + desc("s") + `}`,
			[]string{"s", "m", "m"}, "",
		},
		"empty index": {
			oras.MediaTypeImageIndex, `{"schemaVersion":2,"artifactType":"a/b","manifests":[]}`, nil, "a/b",
		},
		"docker list": {
			oras.MediaTypeDockerList,
			`{"schemaVersion":2,"mediaType":"application/vnd.docker.distribution.manifest.list.v2+json","manifests":[` + desc("m") + `]}`,
			[]string{"m"}, "",
		},
		"artifact": {
			oras.MediaTypeArtifact,
			`{"mediaType":"application/vnd.oci.artifact.manifest.v1+json","artifactType":"a/b","blobs":[` + desc("b") + `],"subject":` + desc("s") + `}`,
			[]string{"s", "b"}, "a/b",
		},
		"older artifact": {
			oras.MediaTypeORASArtifact,
			`{"mediaType":"application/vnd.cncf.oras.artifact.manifest.v1+json","artifactType":"a/b","blobs":[` + desc("b") + `]}`,
			[]string{"b"}, "a/b",
		},
		"digest nobody here can compute": {
			oras.MediaTypeImageIndex, `{"schemaVersion":2,"manifests":[{"mediaType":"a/b","digest":"multihash+base58:QmRZxt2b1FVZPNqd8hsiykDL3TdBDeTSPX9Kv46HmX4Gx8","size":1}]}`,
			[]string{""}, "",
		},
	} {
		m, err := oras.ParseManifest(test.mediaType, []byte(test.text))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		children := m.Children()
		if len(children) != len(test.children) {
			t.Errorf("%s: children %v, want %v", name, children, test.children)
			continue
		}
		for i, text := range test.children {
			if text != "" && children[i].Digest != digestOf(text).OCI() {
				t.Errorf("%s: child %d is %s, want that of %q", name, i, children[i].Digest, text)
			}
		}
		if m.Type() != test.artifactType {
			t.Errorf("%s: type %q, want %q", name, m.Type(), test.artifactType)
		}
	}
}

// Documents that would be one thing to one reader and another to the next.
var badManifests = map[string]struct{ mediaType, text string }{
	"both kinds, as index":        {oras.MediaTypeImageIndex, `{"schemaVersion":2,"config":` + desc("c") + `,"layers":[],"manifests":[]}`},
	"both kinds, as image":        {oras.MediaTypeImageManifest, `{"schemaVersion":2,"config":` + desc("c") + `,"layers":[],"manifests":[]}`},
	"index with layers":           {oras.MediaTypeImageIndex, `{"schemaVersion":2,"manifests":[],"layers":[]}`},
	"index with a config":         {oras.MediaTypeImageIndex, `{"schemaVersion":2,"manifests":[],"config":{}}`},
	"index with blobs":            {oras.MediaTypeImageIndex, `{"schemaVersion":2,"manifests":[],"blobs":[]}`},
	"image with blobs":            {oras.MediaTypeImageManifest, `{"schemaVersion":2,"config":` + desc("c") + `,"blobs":[]}`},
	"artifact with layers":        {oras.MediaTypeArtifact, `{"mediaType":"application/vnd.oci.artifact.manifest.v1+json","layers":[]}`},
	"artifact with a config":      {oras.MediaTypeArtifact, `{"mediaType":"application/vnd.oci.artifact.manifest.v1+json","config":` + desc("c") + `}`},
	"artifact with manifests":     {oras.MediaTypeORASArtifact, `{"mediaType":"application/vnd.cncf.oras.artifact.manifest.v1+json","manifests":[]}`},
	"artifact that does not say":  {oras.MediaTypeArtifact, `{"artifactType":"a/b","blobs":[]}`},
	"nothing, as artifact":        {oras.MediaTypeArtifact, `{}`},
	"null, as artifact":           {oras.MediaTypeArtifact, `null`},
	"null, as index":              {oras.MediaTypeImageIndex, `null`},
	"array":                       {oras.MediaTypeImageIndex, `[]`},
	"other media type":            {oras.MediaTypeImageManifest, `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","config":` + desc("c") + `,"layers":[]}`},
	"docker's media type":         {oras.MediaTypeImageManifest, `{"schemaVersion":2,"mediaType":"application/vnd.docker.distribution.manifest.v2+json","config":` + desc("c") + `,"layers":[]}`},
	"media type in another case":  {oras.MediaTypeImageManifest, `{"schemaVersion":2,"mediaType":"Application/vnd.oci.image.manifest.v1+json","config":` + desc("c") + `,"layers":[]}`},
	"media type and a parameter":  {oras.MediaTypeImageManifest, `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json; a=b","config":` + desc("c") + `,"layers":[]}`},
	"index without media type":    {oras.MediaTypeImageManifest, `{"schemaVersion":2,"manifests":[]}`},
	"image without media type":    {oras.MediaTypeImageIndex, `{"schemaVersion":2,"config":` + desc("c") + `,"layers":[]}`},
	"no config":                   {oras.MediaTypeImageManifest, `{"schemaVersion":2,"layers":[]}`},
	"no schemaVersion":            {oras.MediaTypeImageManifest, `{"config":` + desc("c") + `,"layers":[]}`},
	"schemaVersion 1":             {oras.MediaTypeDockerManifest, `{"schemaVersion":1,"name":"a","fsLayers":[],"history":[]}`},
	"schemaVersion as text":       {oras.MediaTypeImageIndex, `{"schemaVersion":"2","manifests":[]}`},
	"config without a digest":     {oras.MediaTypeImageManifest, `{"schemaVersion":2,"config":{},"layers":[]}`},
	"digest that is a path":       {oras.MediaTypeImageManifest, `{"schemaVersion":2,"config":{"mediaType":"a/b","digest":"sha256:../../etc/passwd","size":1},"layers":[]}`},
	"digest that is too short":    {oras.MediaTypeImageIndex, `{"schemaVersion":2,"manifests":[{"mediaType":"a/b","digest":"sha256:0","size":1}]}`},
	"path as a subject":           {oras.MediaTypeImageIndex, `{"schemaVersion":2,"manifests":[],"subject":{"mediaType":"a/b","digest":"../a","size":1}}`},
	"negative size":               {oras.MediaTypeImageIndex, `{"schemaVersion":2,"manifests":[{"mediaType":"a/b","digest":"` + digestOf("").String() + `","size":-1}]}`},
	"size beyond 63 bits":         {oras.MediaTypeImageIndex, `{"schemaVersion":2,"manifests":[{"mediaType":"a/b","digest":"` + digestOf("").String() + `","size":9223372036854775808}]}`},
	"size with a fraction":        {oras.MediaTypeImageIndex, `{"schemaVersion":2,"manifests":[{"mediaType":"a/b","digest":"` + digestOf("").String() + `","size":1.5}]}`},
	"two subjects":                {oras.MediaTypeImageIndex, `{"schemaVersion":2,"manifests":[],"subject":` + desc("a") + `,"subject":` + desc("b") + `}`},
	"subject in another spelling": {oras.MediaTypeImageIndex, `{"schemaVersion":2,"manifests":[],"Subject":` + desc("a") + `}`},
	"more behind":                 {oras.MediaTypeImageIndex, `{"schemaVersion":2,"manifests":[]}{}`},
	"annotation that is no text":  {oras.MediaTypeImageIndex, `{"schemaVersion":2,"manifests":[],"annotations":{"a":1}}`},
	"not a manifest's type":       {"application/json", `{"schemaVersion":2,"manifests":[]}`},
	"no type":                     {"", `{"schemaVersion":2,"manifests":[]}`},
	"signed docker manifest":      {"application/vnd.docker.distribution.manifest.v1+prettyjws", `{"schemaVersion":1}`},
}

func TestParseManifestRefuses(t *testing.T) {
	for name, test := range badManifests {
		m, err := oras.ParseManifest(test.mediaType, []byte(test.text))
		if !errors.Is(err, oras.ErrInvalid) || m != nil {
			t.Errorf("%s: %+v, %v", name, m, err)
		}
	}
}

func TestParseManifestSize(t *testing.T) {
	text := []byte(`{"schemaVersion":2,"manifests":[]}`)
	fits := append(text, bytes.Repeat([]byte(" "), oras.MaxManifestSize-len(text))...)
	if _, err := oras.ParseManifest(oras.MediaTypeImageIndex, fits); err != nil {
		t.Errorf("%d bytes: %v", len(fits), err)
	}
	if _, err := oras.ParseManifest(oras.MediaTypeImageIndex, append(fits, ' ')); !errors.Is(err, oras.ErrInvalid) {
		t.Errorf("%d bytes: %v", len(fits)+1, err)
	}
}

func TestManifestMediaTypes(t *testing.T) {
	var indexes []string
	for _, mediaType := range oras.ManifestMediaTypes() {
		if !oras.IsManifest(mediaType) {
			t.Errorf("%s is none", mediaType)
		}
		if oras.IsIndex(mediaType) {
			indexes = append(indexes, mediaType)
		}
	}
	if want := []string{oras.MediaTypeImageIndex, oras.MediaTypeDockerList}; !slices.Equal(indexes, want) {
		t.Errorf("indexes: %q, want %q", indexes, want)
	}
	for _, mediaType := range []string{"", oras.MediaTypeBlob, oras.MediaTypeImageConfig, oras.MediaTypeEmpty, "application/json"} {
		if oras.IsManifest(mediaType) || oras.IsIndex(mediaType) {
			t.Errorf("%q is a manifest", mediaType)
		}
	}
	oras.ManifestMediaTypes()[0] = "changed"
	if oras.ManifestMediaTypes()[0] != oras.MediaTypeImageManifest {
		t.Error("the list is not the caller's own")
	}
}

// A document is at most one of image, index and artifact, and what it holds can
// be believed.
func FuzzParseManifest(f *testing.F) {
	for _, test := range badManifests {
		f.Add([]byte(test.text))
	}
	f.Add([]byte(`{"schemaVersion":2,"config":` + desc("c") + `,"layers":[` + desc("l") + `]}`))
	f.Add([]byte(`{"mediaType":"application/vnd.oci.artifact.manifest.v1+json","blobs":[` + desc("b") + `],"subject":` + desc("s") + `}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		shapes := map[string]bool{}
		for _, mediaType := range oras.ManifestMediaTypes() {
			m, err := oras.ParseManifest(mediaType, data)
			if err != nil {
				if !errors.Is(err, oras.ErrInvalid) {
					t.Errorf("%s: %q: %v", mediaType, data, err)
				}
				continue
			}
			switch {
			case oras.IsIndex(mediaType):
				shapes["index"] = true
			case strings.Contains(mediaType, "artifact"):
				shapes["artifact"] = true
			default:
				shapes["image"] = true
			}
			if m.MediaType != "" && m.MediaType != mediaType {
				t.Errorf("%q: is %q and %q", data, mediaType, m.MediaType)
			}
			for _, child := range m.Children() {
				if err := child.Digest.Validate(); child.Size < 0 || err != nil && err != digest.ErrDigestUnsupported {
					t.Errorf("%q: child %+v", data, child)
				}
			}
			if again, err := oras.ParseManifest(mediaType, data); err != nil || !reflect.DeepEqual(m, again) {
				t.Errorf("%q: two meanings: %+v, %+v, %v", data, m, again, err)
			}
		}
		if len(shapes) > 1 {
			t.Errorf("%q: is of the shapes %v", data, shapes)
		}
	})
}

func TestReadManifest(t *testing.T) {
	img := image("a")
	s := newStore(t, emptyConfig, img)
	m, err := oras.ReadManifest(t.Context(), s, img.Descriptor)
	if err != nil || m.Config.Digest != emptyConfig.Digest {
		t.Errorf("got %+v, %v", m, err)
	}
	wrongType := img.Descriptor
	wrongType.MediaType = oras.MediaTypeImageIndex
	wrongSize := img.Descriptor
	wrongSize.Size++
	huge := img.Descriptor
	huge.Size = 1 << 62
	negative := img.Descriptor
	negative.Size = -1
	for name, d := range map[string]oras.Descriptor{"type": wrongType, "size": wrongSize, "huge": huge, "negative": negative} {
		if _, err := oras.ReadManifest(t.Context(), s, d); !errors.Is(err, oras.ErrInvalid) || !strings.Contains(err.Error(), string(img.Digest)) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := oras.ReadManifest(t.Context(), s, image("absent").Descriptor); !errors.Is(err, oras.ErrNotFound) {
		t.Errorf("absent: %v", err)
	}
}
