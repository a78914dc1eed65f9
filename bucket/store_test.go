package bucket_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/opencontainers/image-spec/specs-go"

	"github.com/c73062ad/oras"
	"github.com/c73062ad/oras/bucket"
)

const sbom = "application/vnd.example.sbom"

// image returns a manifest of its own for each name, and its descriptor.
func image(name string, m oras.Manifest) ([]byte, oras.Descriptor) {
	config := oras.DescriptorOf(oras.MediaTypeEmpty, []byte("{}"))
	m.Versioned = specs.Versioned{SchemaVersion: 2}
	m.Config, m.Annotations = &config, map[string]string{"name": name}
	data, err := json.Marshal(m)
	if err != nil {
		panic(err)
	}
	return data, oras.DescriptorOf(oras.MediaTypeImageManifest, data)
}

func push(tb testing.TB, s oras.Target, data []byte, mediaType string) oras.Descriptor {
	tb.Helper()
	desc, err := oras.PushBytes(tb.Context(), s, mediaType, data)
	if err != nil {
		tb.Fatal(err)
	}
	return desc
}

func must(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

// whole checks that s has the content of desc.
func whole(tb testing.TB, s oras.Store, desc oras.Descriptor) {
	tb.Helper()
	r, err := s.Fetch(tb.Context(), desc)
	must(tb, err)
	defer r.Close()
	_, err = io.Copy(io.Discard, oras.NewVerifier(r, desc))
	must(tb, err)
}

// What is there is not replaced, by whatever is said to be it.
func TestPushAgain(t *testing.T) {
	s := repository(t, bucket.New(openDir(t)), "a")
	blob := push(t, s, []byte("content"), oras.MediaTypeBlob)
	must(t, s.Push(t.Context(), blob, strings.NewReader("another")))
	must(t, s.Push(t.Context(), blob, iotest.ErrReader(errors.New("is not read"))))
	whole(t, s, blob)
	longer := blob
	longer.Size++
	want(t, oras.ErrInvalid, s.Push(t.Context(), longer, strings.NewReader("content!")))

	data, desc := image("one", oras.Manifest{})
	must(t, oras.Push(t.Context(), s, desc, strings.NewReader(string(data))))
	want(t, oras.ErrInvalid, s.Push(t.Context(), desc, strings.NewReader(strings.ToUpper(string(data)))))
	whole(t, s, desc)
	docker := desc
	docker.MediaType = oras.MediaTypeDockerManifest
	must(t, oras.PushTagged(t.Context(), s, docker, strings.NewReader(string(data)), "v1"))
	for _, reference := range []string{"v1", desc.Digest.String()} {
		if got, err := s.Resolve(t.Context(), reference); err != nil || got.MediaType != desc.MediaType {
			t.Errorf("Resolve %s: %s, %v; what was stored first must stay", reference, got.MediaType, err)
		}
	}
}

// A manifest that came as a blob is not one yet.
func TestPushManifestAsBlob(t *testing.T) {
	s := repository(t, bucket.New(openDir(t)), "a")
	data, desc := image("one", oras.Manifest{})
	push(t, s, data, oras.MediaTypeBlob)
	if exists, err := s.Exists(t.Context(), desc); err != nil || exists {
		t.Errorf("Exists: %v, %v; it must be false", exists, err)
	}
	want(t, oras.ErrNotFound, s.Tag(t.Context(), desc, "v1"))
	push(t, s, data, desc.MediaType)
	must(t, s.Tag(t.Context(), desc, "v1"))
	must(t, s.Delete(t.Context(), oras.Descriptor{Digest: desc.Digest}))
	for _, d := range []oras.Descriptor{desc, {Digest: desc.Digest}} {
		if exists, err := s.Exists(t.Context(), d); err != nil || exists {
			t.Errorf("Exists after Delete: %v, %v; it must be false", exists, err)
		}
	}
}

// Of tags and manifests that are gone, no object stays that a collection does not
// find.
func TestDeleteLeavesNothing(t *testing.T) {
	d := openDir(t)
	r := bucket.New(d)
	s := repository(t, r, "a")
	one, oneDesc := image("one", oras.Manifest{})
	two, twoDesc := image("two", oras.Manifest{Subject: &oneDesc})
	for range 2 {
		push(t, s, one, oneDesc.MediaType)
		push(t, s, two, twoDesc.MediaType)
		for _, desc := range []oras.Descriptor{oneDesc, oneDesc, twoDesc} {
			must(t, s.Tag(t.Context(), desc, "moved"))
			must(t, s.Tag(t.Context(), desc, "untagged"))
		}
		must(t, s.Tag(t.Context(), oneDesc, "stays"))
		must(t, s.Untag(t.Context(), "untagged"))
		age(t, d, 2*time.Hour)
		collect(t, r, bucket.CollectOptions{})
		tagged := list(t, d, "a/_tagged/", "")
		slices.SortFunc(tagged, func(a, b string) int { return strings.Compare(a[len(a)-5:], b[len(b)-5:]) })
		if len(tagged) != 2 || !strings.HasSuffix(tagged[0], "~moved") || !strings.HasSuffix(tagged[1], "~stays") {
			t.Errorf("tags by manifest: %q", tagged)
		}
		must(t, s.Delete(t.Context(), twoDesc))
		if got := list(t, d, "a/_tags/", ""); !slices.Equal(got, []string{"a/_tags/stays"}) {
			t.Errorf("tags: %q", got)
		}
		must(t, s.Delete(t.Context(), oneDesc))
		age(t, d, 2*time.Hour)
		collect(t, r, bucket.CollectOptions{})
		if got := append(list(t, d, "a/", ""), list(t, d, "_content/", "")...); len(got) > 0 {
			t.Errorf("objects left: %q", got)
		}
	}
}

func TestTagGrammar(t *testing.T) {
	s := repository(t, bucket.New(openDir(t)), "a")
	data, desc := image("one", oras.Manifest{})
	push(t, s, data, desc.MediaType)
	for _, tag := range []string{"", ".", "..", "-a", "a/b", "../x", "a b", "ä", "a:b", "a\x00", strings.Repeat("t", 129), desc.Digest.String()} {
		want(t, oras.ErrReference, s.Tag(t.Context(), desc, tag))
		want(t, oras.ErrReference, s.Untag(t.Context(), tag))
		want(t, oras.ErrReference, oras.PushTagged(t.Context(), s, desc, strings.NewReader(string(data)), tag))
	}
	long := strings.Repeat("T", 128)
	desc.Digest = oras.SHA512.Digest(data).OCI()
	must(t, oras.PushTagged(t.Context(), s, desc, strings.NewReader(string(data)), long))
	if got, err := s.Resolve(t.Context(), long); err != nil || got.Digest != desc.Digest {
		t.Errorf("Resolve %s: %s, %v", long, got.Digest, err)
	}
}

// Tags that differ in case are two, on any file system.
func TestTagCase(t *testing.T) {
	s := repository(t, bucket.New(openDir(t).Fold()), "a")
	one, oneDesc := image("one", oras.Manifest{})
	two, twoDesc := image("two", oras.Manifest{})
	must(t, oras.PushTagged(t.Context(), s, oneDesc, strings.NewReader(string(one)), "RC"))
	must(t, oras.PushTagged(t.Context(), s, twoDesc, strings.NewReader(string(two)), "rc"))
	if got, err := s.Resolve(t.Context(), "RC"); err != nil || got.Digest != oneDesc.Digest {
		t.Errorf("Resolve RC: %s, %v", got.Digest, err)
	}
	must(t, s.Delete(t.Context(), oneDesc))
	var tags []string
	must(t, s.Tags(t.Context(), "", func(page []string) error { tags = append(tags, page...); return nil }))
	if !slices.Equal(tags, []string{"rc"}) {
		t.Errorf("Tags: %q", tags)
	}
}

func TestReferrers(t *testing.T) {
	for _, b := range []bucket.Bucket{openDir(t), &plain{}} {
		s := repository(t, bucket.New(b), "a")
		_, subject := image("subject", oras.Manifest{})
		var all []oras.Descriptor
		for i := range 123 {
			m := oras.Manifest{Subject: &subject, ArtifactType: sbom}
			if i%2 == 0 {
				m.ArtifactType = "" // that of the config
			}
			data, desc := image(fmt.Sprint(i), m)
			push(t, s, data, desc.MediaType)
			all = append(all, desc)
		}
		must(t, s.Delete(t.Context(), all[0]))
		all = all[1:]
		slices.SortFunc(all, func(a, b oras.Descriptor) int { return strings.Compare(string(a.Digest), string(b.Digest)) })
		for artifactType, want := range map[string]int{"": 122, sbom: 61, oras.MediaTypeEmpty: 61, "none": 0} {
			pages, rest, found := 0, all, 0
			err := oras.Referrers(t.Context(), s, oras.Descriptor{Digest: subject.Digest}, artifactType, func(page []oras.Descriptor) error {
				pages++
				for _, got := range page {
					found++
					i := slices.IndexFunc(rest, func(d oras.Descriptor) bool { return d.Digest == got.Digest })
					if i < 0 || got.Size != rest[i].Size || got.MediaType != oras.MediaTypeImageManifest || got.Annotations["name"] == "" ||
						artifactType != "" && got.ArtifactType != artifactType {
						t.Fatalf("Referrers of type %q: %+v is no such, or out of order", artifactType, got)
					}
					rest = rest[i+1:]
				}
				return nil
			})
			must(t, err)
			if found != want || pages != (want+99)/100 {
				t.Errorf("Referrers of type %q: %d on %d pages; it must be %d on pages of 100", artifactType, found, pages, want)
			}
		}
		enough := errors.New("enough")
		want(t, enough, s.Referrers(t.Context(), subject, "", func([]oras.Descriptor) error { return enough }))
		want(t, oras.ErrInvalid, s.Referrers(t.Context(), oras.Descriptor{Digest: "sha256:../.."}, "", func([]oras.Descriptor) error { return nil }))
	}
}

// A subject by a digest that nobody can ask for does no harm.
func TestReferrerOfUnknownAlgorithm(t *testing.T) {
	d := openDir(t)
	s := repository(t, bucket.New(d), "a")
	data, desc := image("one", oras.Manifest{Subject: &oras.Descriptor{MediaType: "a/b", Digest: "blake3:" + "0123", Size: 1}})
	push(t, s, data, desc.MediaType)
	if got := list(t, d, "a/_referrers/", ""); len(got) > 0 {
		t.Errorf("referrers: %q", got)
	}
	must(t, s.Delete(t.Context(), desc))
}

func TestMount(t *testing.T) {
	dir := openDir(t)
	r := bucket.New(dir)
	a, b := repository(t, r, "a"), repository(t, r, "b")
	blob := push(t, a, []byte("content"), oras.MediaTypeBlob)
	bare := oras.Descriptor{Digest: blob.Digest}
	unwanted := func() (io.ReadCloser, error) { return nil, errors.New("must not be asked for") }

	_, absent := image("absent", oras.Manifest{})
	for _, from := range []string{"a", "b", "c", ""} {
		want(t, oras.ErrNotFound, oras.Mount(t.Context(), b, absent, from, nil))
		want(t, oras.ErrNotFound, oras.Mount(t.Context(), b, oras.Descriptor{Digest: absent.Digest}, from, nil))
	}
	want(t, oras.ErrReference, oras.Mount(t.Context(), b, bare, "../a", nil))
	want(t, oras.ErrInvalid, oras.Mount(t.Context(), b, oras.Descriptor{Digest: "sha256:../x"}, "a", nil))
	want(t, oras.ErrNotFound, b.Tags(t.Context(), "", nil)) // is not there by having been asked

	for range 2 {
		must(t, oras.Mount(t.Context(), b, bare, "a", unwanted))
	}
	if !os.SameFile(fileOf(t, a, blob), fileOf(t, b, blob)) {
		t.Error("a mounted blob is there twice")
	}

	// What is deleted in one repository is gone there, and there only.
	must(t, a.Delete(t.Context(), blob))
	whole(t, b, blob)
	for _, r := range []*bucket.Registry{r, bucket.New(dir)} {
		a := repository(t, r, "a")
		if exists, err := a.Exists(t.Context(), blob); err != nil || exists {
			t.Errorf("Exists: %v, %v; it must be false", exists, err)
		}
		want(t, oras.ErrNotFound, oras.Mount(t.Context(), repository(t, r, "c"), blob, "a", nil))
	}

	must(t, oras.Mount(t.Context(), a, blob, "nowhere", func() (io.ReadCloser, error) {
		return io.NopCloser(strings.NewReader("content")), nil
	}))
	whole(t, a, blob)
	wrong := oras.DescriptorOf(oras.MediaTypeBlob, []byte("another"))
	want(t, oras.ErrInvalid, oras.Mount(t.Context(), a, wrong, "nowhere", func() (io.ReadCloser, error) {
		return io.NopCloser(strings.NewReader("content")), nil
	}))

	// Of a manifest more is mounted than its bytes.
	data, desc := image("one", oras.Manifest{Subject: &absent})
	push(t, a, data, desc.MediaType)
	must(t, oras.Mount(t.Context(), b, desc, "a", unwanted))
	must(t, b.Tag(t.Context(), desc, "v1"))
	if got, err := b.Predecessors(t.Context(), absent); err != nil || len(got) != 1 {
		t.Errorf("Predecessors: %v, %v", got, err)
	}
}

func marshal(v any) []byte {
	data, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return data
}
