package storetest

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/c73062ad/oras"
)

// testManifest: a manifest that is malformed is not stored.
func testManifest(s *suite) {
	desc := fmt.Sprintf(`{"mediaType":%q,"digest":%q,"size":2}`, config.MediaType, config.Digest)
	whole := func(members string) string { return `{"schemaVersion":2,"config":` + desc + members + `}` }
	for name, test := range map[string]struct{ mediaType, text string }{
		"nothing":               {oras.MediaTypeImageManifest, ""},
		"no JSON":               {oras.MediaTypeImageManifest, "manifest"},
		"half a document":       {oras.MediaTypeImageManifest, whole("")[:40]},
		"an array":              {oras.MediaTypeImageManifest, "[]"},
		"two documents":         {oras.MediaTypeImageManifest, whole("") + whole("")},
		"not UTF-8":             {oras.MediaTypeImageManifest, whole(`,"annotations":{"a":"` + "\xff" + `"}`)},
		"a name twice":          {oras.MediaTypeImageManifest, whole(`,"layers":[],"layers":[]`)},
		"a name twice, deep":    {oras.MediaTypeImageManifest, whole(`,"annotations":{"a":"b","a":"c"}`)},
		"a name in other case":  {oras.MediaTypeImageManifest, whole(`,"Subject":` + desc)},
		"another media type":    {oras.MediaTypeImageManifest, whole(`,"mediaType":"` + oras.MediaTypeImageIndex + `"`)},
		"an index as an image":  {oras.MediaTypeImageManifest, `{"schemaVersion":2,"manifests":[` + desc + `]}`},
		"an image as an index":  {oras.MediaTypeImageIndex, whole(`,"layers":[` + desc + `]`)},
		"manifests and layers":  {oras.MediaTypeImageIndex, `{"schemaVersion":2,"manifests":[` + desc + `],"layers":[` + desc + `]}`},
		"both in a docker list": {oras.MediaTypeDockerList, `{"schemaVersion":2,"manifests":[` + desc + `],"layers":[` + desc + `]}`},
		"both in an image":      {oras.MediaTypeImageManifest, whole(`,"layers":[` + desc + `],"manifests":[` + desc + `]`)},
		"a digest that is none": {oras.MediaTypeImageManifest, whole(`,"layers":[{"mediaType":"a/b","digest":"../../etc","size":2}]`)},
		"a negative size":       {oras.MediaTypeImageManifest, whole(`,"layers":[{"mediaType":"a/b","digest":"` + config.Digest.String() + `","size":-2}]`)},
		"a size without end":    {oras.MediaTypeImageManifest, whole(`,"layers":[{"mediaType":"a/b","digest":"` + config.Digest.String() + `","size":1e99}]`)},
	} {
		c := newContent(test.mediaType, []byte(test.text))
		err := oras.Push(s.Context(), s.Store, c.Descriptor, c.reader())
		s.want(oras.ErrInvalid, err, "Push of a manifest with "+name, c.Digest)
		s.lacks(c)
		err = oras.PushTagged(s.Context(), s.Store, c.Descriptor, c.reader(), "malformed")
		s.want(oras.ErrInvalid, err, "PushTagged of a manifest with "+name, c.Digest)
		s.lacks(c)
		s.unresolved("malformed")
	}
}

// testManifestPush: manifests of every kind are stored byte for byte, whether
// their children are there or not, and found by their digest.
func testManifestPush(s *suite) {
	subject := image("subject", blob("a layer").Descriptor)
	text := func(mediaType, text string) content { return newContent(mediaType, []byte(text)) }
	config := fmt.Sprintf(`{"mediaType":%q,"digest":%q,"size":2}`, config.MediaType, config.Digest)
	for _, c := range []content{
		subject,
		subject.sha512(),
		referrer("referrer", "application/vnd.example.sbom", subject),
		index("index", subject.Descriptor),
		index("empty index"),
		document(oras.MediaTypeDockerManifest, "docker", oras.Manifest{Config: &subject.Descriptor}),
		document(oras.MediaTypeDockerList, "docker list", oras.Manifest{Manifests: []oras.Descriptor{subject.Descriptor}}),
		text(oras.MediaTypeImageManifest, " {\n\t\"config\": "+config+",\r\n \"schemaVersion\": 2 }\n"), // no mediaType, layout of its own
		text(oras.MediaTypeImageManifest, `{"schemaVersion":2,"config":`+config+`,"org.example.unknown":{"a":[1,{}]}}`),
	} {
		s.lacks(c)
		s.push(c)
		s.has(c)
		s.push(c) // is no error
		s.has(c)
	}

	wrong := image("other bytes").garbled()
	err := oras.Push(s.Context(), s.Store, wrong.Descriptor, wrong.reader())
	s.want(oras.ErrInvalid, err, "Push of other bytes", wrong.Digest)
	s.lacks(wrong)
	err = s.Push(s.Context(), wrong.Descriptor, wrong.reader())
	s.want(oras.ErrInvalid, err, "method Push of other bytes", wrong.Digest)
	s.lacks(wrong)
}

// testManifestSize: manifests of up to oras.MaxManifestSize bytes are accepted.
func testManifestSize(s *suite) {
	if testing.Short() {
		s.Skip("much to parse")
	}
	padded := func(size int) content {
		c := image("padded")
		head, tail, _ := bytes.Cut(c.data, []byte("padded"))
		data := append(bytes.Clone(head), strings.Repeat("x", size-len(head)-len(tail))...)
		return newContent(c.MediaType, append(data, tail...))
	}
	c := padded(oras.MaxManifestSize)
	s.push(c)
	s.has(c)

	c = padded(oras.MaxManifestSize + 1)
	s.want(oras.ErrInvalid, oras.Push(s.Context(), s.Store, c.Descriptor, c.reader()), "Push of a manifest too large", c.Digest)
	s.lacks(c)
}
