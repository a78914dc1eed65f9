package oras_test

import (
	"testing"

	"github.com/c73062ad/oras"
)

// TestPlatformConfig: of an image's config the members with the exact names count, in a
// document without ambiguities; what else there is, is up to its author.
func TestPlatformConfig(t *testing.T) {
	p, err := oras.ParsePlatform("linux/arm/v7:1.2")
	must(t, err)
	for text, want := range map[string]error{
		`{"os":"linux","architecture":"arm","variant":"v7","os.version":"1.2"}`:                                           nil,
		`{"os":"linux","architecture":"arm","variant":"v7","os.version":"1.2","os.features":["x"],"rootfs":{"Size":1}}`:   nil,
		`{"os":"linux","architecture":"arm","variant":"v7","os.version":"1.2","config":{"Labels":{"OS":"a","Size":"b"}}}`: nil,
		`{"OS":"windows","os":"linux","architecture":"arm","Architecture":"amd64","variant":"v7","os.version":"1.2"}`:     nil,
		`{"OS":"linux","Architecture":"arm","Variant":"v7","os.version":"1.2"}`:                                           oras.ErrNotFound,
		`{"os":"linux","os":"windows","architecture":"arm","variant":"v7","os.version":"1.2"}`:                            oras.ErrInvalid,
		`{"os":"linux","architecture":"arm","variant":"v7","os.version":"1.2"}{}`:                                         oras.ErrInvalid,
		`{"os":"linux","architecture":"arm","variant":7,"os.version":"1.2"}`:                                              oras.ErrInvalid,
		`["linux"]`: oras.ErrInvalid,
		`{}`:        oras.ErrNotFound,
		`null`:      oras.ErrNotFound,
	} {
		config := content{oras.DescriptorOf(oras.MediaTypeImageConfig, []byte(text)), []byte(text)}
		image := document(oras.MediaTypeImageManifest, "image", oras.Manifest{Config: &config.Descriptor})
		got, err := oras.SelectPlatform(t.Context(), newStore(t, config, image), image.Descriptor, p)
		if oras.Kind(err) != want || err == nil && got.Digest != image.Digest {
			t.Errorf("%s: %v, %v; it must be %v", text, got.Digest, err, want)
		}
	}
}
