package layout_test

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/c73062ad/oras"
)

func TestResolve(t *testing.T) {
	s := open(t, t.TempDir())
	plain := pushImage(t, s, "one", "v1", "example.com/foo:latest")
	for _, tag := range []string{"v1", "example.com/foo:latest"} {
		want := plain
		want.Annotations = map[string]string{ocispec.AnnotationRefName: tag}
		got := resolve(t, s, tag)
		if !reflect.DeepEqual(got, want) {
			t.Errorf("Resolve(%q) is %v, want %v", tag, got, want)
		}
		got.Annotations[ocispec.AnnotationRefName] = "changed by the caller"
		if got := resolve(t, s, tag); !reflect.DeepEqual(got, want) {
			t.Errorf("Resolve(%q) is now %v", tag, got)
		}
	}
	if got := resolve(t, s, plain.Digest.String()); !reflect.DeepEqual(got, plain) {
		t.Errorf("Resolve of the digest is %v, want %v", got, plain)
	}
	blob := push(t, s, oras.MediaTypeBlob, []byte("blob"))
	if got := resolve(t, s, blob.Digest.String()); !reflect.DeepEqual(got, blob) {
		t.Errorf("Resolve of a blob is %v, want %v", got, blob)
	}
	for _, absent := range []string{"v2", "example.com/foo", "sha256:short", oras.SHA256.Digest([]byte("absent")).String(), "../v1"} {
		_, err := s.Resolve(t.Context(), absent)
		fails(t, err, oras.ErrNotFound, absent)
	}
}

func TestResolveEmpty(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	_, err := s.Resolve(t.Context(), "")
	fails(t, err, oras.ErrNotFound, dir)

	one := pushImage(t, s, "one")
	if got := resolve(t, s, ""); !reflect.DeepEqual(got, one) {
		t.Errorf("the only manifest is %v, want %v", got, one)
	}
	must(t, s.Tag(t.Context(), one, "v1"))
	must(t, s.Tag(t.Context(), one, "v2"))
	if got := resolve(t, s, ""); got.Digest != one.Digest {
		t.Errorf("the only manifest, tagged twice, is %v, want %v", got, one)
	}

	// What comes with another one does not count: an index of it, or a manifest that
	// has it for its subject, or is in that index.
	push(t, s, oras.MediaTypeImageManifest, image("referrer", &one))
	if got := resolve(t, s, ""); got.Digest != one.Digest {
		t.Errorf("the only image, with a referrer, is %v, want %v", got, one)
	}
	index := push(t, s, oras.MediaTypeImageIndex, list(one, pushImage(t, s, "other")))
	if got := resolve(t, s, ""); !reflect.DeepEqual(got, index) {
		t.Errorf("the only index is %v, want %v", got, index)
	}
	must(t, s.Delete(t.Context(), index))
	_, err = s.Resolve(t.Context(), "")
	fails(t, err, oras.ErrReference, dir, "2 manifests", "v1, v2")
	for i := range 20 {
		must(t, s.Tag(t.Context(), one, fmt.Sprint("more", i)))
	}
	_, err = s.Resolve(t.Context(), "")
	fails(t, err, oras.ErrReference, "v1, v2, more0, more1, more2, …")
}

func TestTagText(t *testing.T) {
	s := open(t, t.TempDir())
	desc := pushImage(t, s, "one")
	good := []string{"v1", "example.com/foo:latest", "a b", `"quoted" <&> \ back`, "é…世界", "@", ":", "../..", "sha256:x", strings.Repeat("long", 100)}
	for _, tag := range good {
		must(t, s.Tag(t.Context(), desc, tag))
		if got := resolve(t, s, tag); got.Digest != desc.Digest || got.Annotations[ocispec.AnnotationRefName] != tag {
			t.Errorf("%q resolves to %v", tag, got)
		}
	}
	want := slices.Sorted(slices.Values(good))
	if got := tags(t, s); !slices.Equal(got, want) {
		t.Errorf("tags are %q, want %q", got, want)
	}
	other := oras.SHA256.Digest([]byte("other")).String()
	for _, tag := range []string{"", "a\nb", "\x1b[31m", "nul\x00", "del\x7f", "\u0085", "\xff", other} {
		fails(t, s.Tag(t.Context(), desc, tag), oras.ErrReference)
		fails(t, oras.PushTagged(t.Context(), s, desc, strings.NewReader(string(image("one", nil))), tag), oras.ErrReference)
	}
	if got := tags(t, s); !slices.Equal(got, want) {
		t.Errorf("tags are %q, want %q", got, want)
	}
}

// The digest of what is tagged is a reference to it too: nothing is to be done.
func TestTagDigest(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	desc := pushImage(t, s, "one")
	must(t, s.Tag(t.Context(), desc, desc.Digest.String()))
	wantList(t, dir, entry(desc, ""))
}
