package storetest

import (
	"bytes"
	"encoding/json"
	"sync"

	"github.com/opencontainers/image-spec/specs-go"

	"github.com/c73062ad/oras"
)

// A content is bytes and what describes them.
type content struct {
	oras.Descriptor
	data []byte
}

func (c content) reader() *bytes.Reader { return bytes.NewReader(c.data) }

// sha512 returns the same bytes under their SHA-512 digest.
func (c content) sha512() content {
	c.Digest = oras.SHA512.Digest(c.data).OCI()
	return c
}

// garbled returns other bytes, as many, for the same descriptor: those of a
// manifest are one still, with the last letter of its name another.
func (c content) garbled() content {
	c.data = bytes.Clone(c.data)
	c.data[len(c.data)-len(`x"}}`)] ^= 1
	return c
}

// bare returns a descriptor with nothing but the digest.
func (c content) bare() oras.Descriptor { return oras.Descriptor{Digest: c.Digest} }

func newContent(mediaType string, data []byte) content {
	return content{oras.DescriptorOf(mediaType, data), data}
}

func blob(text string) content { return newContent("application/vnd.example.blob", []byte(text)) }

// large is a blob too large to pass through anybody's buffers at once, whose
// bytes tell where they are from.
var large = sync.OnceValue(func() content {
	data := make([]byte, 3<<20+17)
	for i := range data {
		data[i] = byte(i) ^ byte(i>>8)*31 ^ byte(i>>16)*57
	}
	return newContent("application/vnd.example.large", data)
})

// document returns the manifest m. Annotations make one differ from another.
func document(mediaType, name string, m oras.Manifest) content {
	m.Versioned = specs.Versioned{SchemaVersion: 2}
	m.MediaType = mediaType
	m.Annotations = map[string]string{"org.example.name": name}
	data, err := json.Marshal(m)
	if err != nil {
		panic(err)
	}
	return newContent(mediaType, data)
}

// config is what the images here have for a config.
var config = newContent(oras.MediaTypeEmpty, []byte("{}"))

func image(name string, layers ...oras.Descriptor) content {
	return document(oras.MediaTypeImageManifest, name, oras.Manifest{Config: &config.Descriptor, Layers: layers})
}

// referrer returns an image whose subject is given.
func referrer(name, artifactType string, subject content) content {
	return document(oras.MediaTypeImageManifest, name, oras.Manifest{
		ArtifactType: artifactType,
		Config:       &config.Descriptor,
		Layers:       []oras.Descriptor{config.Descriptor},
		Subject:      &subject.Descriptor,
	})
}

func index(name string, manifests ...oras.Descriptor) content {
	return document(oras.MediaTypeImageIndex, name, oras.Manifest{Manifests: manifests})
}
