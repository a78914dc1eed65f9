package layout_test

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/c73062ad/oras"
	"github.com/c73062ad/oras/memory"
)

// What a layout lost of an artifact that it has, or has only a part of, a copy brings
// back, whatever it is. Nothing else moves, and what no copy brings is not missed.
func TestCopyLost(t *testing.T) {
	src := memory.New()
	config := push(t, src, oras.MediaTypeEmpty, []byte("{}"))
	layer := push(t, src, "a/layer", []byte("layer"))
	elsewhere := oras.DescriptorOf("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", []byte("elsewhere"))
	m := oras.Manifest{MediaType: oras.MediaTypeImageManifest, Config: &config, Layers: []oras.Descriptor{layer, elsewhere}}
	m.SchemaVersion = 2
	img := push(t, src, m.MediaType, marshal(m))
	other := pushImage(t, src, "other")
	inner := push(t, src, oras.MediaTypeImageIndex, list(img))
	root := push(t, src, oras.MediaTypeImageIndex, list(inner, other), "v1")

	for _, referrers := range []bool{false, true} {
		dir := t.TempDir()
		s := open(t, dir)
		copies := func() (copied []oras.Descriptor) {
			t.Helper()
			_, err := oras.Copy(t.Context(), src, "v1", s, &oras.CopyOptions{Tags: []string{"v1"}, Referrers: referrers, Event: func(e oras.Event) {
				if e.Kind == oras.Copied {
					copied = append(copied, e.Descriptor)
				}
			}})
			must(t, err)
			return copied
		}
		if n := len(copies()); n != 6 {
			t.Fatalf("%d contents copied", n)
		}
		for name, desc := range map[string]oras.Descriptor{"config": config, "layer": layer, "image": img, "other image": other, "inner index": inner, "root": root} {
			for _, how := range []string{"lost", "cut"} {
				must(t, os.Remove(filepath.Join(dir, path(desc))))
				if how == "cut" {
					write(t, dir, path(desc), "l")
				}
				copied := copies()
				if _, err := oras.FetchAll(t.Context(), s, desc); err != nil {
					t.Errorf("%s, %s: %v", name, how, err)
				}
				for _, c := range copied {
					if !oras.IsManifest(c.MediaType) && c.Digest != desc.Digest {
						t.Errorf("%s, %s: %v was copied", name, how, c)
					}
				}
			}
		}
		if copied := copies(); len(copied) > 0 {
			t.Errorf("copied again: %v", copied)
		}
	}
}

// However many ways lead to a manifest, and however far it is below, it is looked at once.
func TestLostFar(t *testing.T) {
	s := open(t, t.TempDir())
	desc := pushImage(t, s, "innermost")
	push(t, s, oras.MediaTypeEmpty, []byte("{}"))
	for range 1000 {
		desc = push(t, s, oras.MediaTypeImageIndex, list(desc, desc))
	}
	asked := 0
	lost, err := s.Lost(t.Context(), desc, func(_ oras.Descriptor, m *oras.Manifest) []oras.Descriptor {
		asked++
		return m.Children()
	})
	if lost || err != nil || asked != 1001 {
		t.Errorf("lost: %v, %v, %d manifests read", lost, err, asked)
	}
}
