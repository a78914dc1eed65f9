package layout_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/c73062ad/oras"
)

// Entries with and without tags, as oras-go keeps them.
func TestEntries(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	one := pushImage(t, s, "one")
	two := pushImage(t, s, "two")
	wantList(t, dir, entry(one, ""), entry(two, ""))
	must(t, s.Tag(t.Context(), one, "v1")) // the entry gets the tag
	wantList(t, dir, entry(one, "v1"), entry(two, ""))
	must(t, s.Tag(t.Context(), one, "v2")) // a second entry
	must(t, s.Tag(t.Context(), one, "v2"))
	pushImage(t, s, "one")
	wantList(t, dir, entry(one, "v1"), entry(two, ""), entry(one, "v2"))
	must(t, s.Tag(t.Context(), two, "v2")) // moves, and leaves no entry without one
	wantList(t, dir, entry(one, "v1"), entry(two, "v2"))
	must(t, s.Tag(t.Context(), two, "v1")) // moves, and leaves one
	wantList(t, dir, entry(one, ""), entry(two, "v2"), entry(two, "v1"))
	must(t, s.Untag(t.Context(), "v2"))
	wantList(t, dir, entry(one, ""), entry(two, "v1"))
	must(t, s.Untag(t.Context(), "v1"))
	wantList(t, dir, entry(one, ""), entry(two, ""))
	must(t, s.Tag(t.Context(), two, "v3"))
	must(t, s.Tag(t.Context(), two, "v4"))
	must(t, s.Delete(t.Context(), two))
	wantList(t, dir, entry(one, ""))
	if _, err := os.Stat(filepath.Join(dir, path(two))); !os.IsNotExist(err) {
		t.Errorf("the deleted manifest's file: %v", err)
	}
}

// Annotations of a descriptor from elsewhere name nothing here.
func TestPushDropsAnnotations(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	data := image("one", nil)
	desc := oras.DescriptorOf(oras.MediaTypeImageManifest, data)
	desc.ArtifactType = "application/x"
	desc.Platform = &oras.Platform{OS: "linux", Architecture: "arm64"}
	desc.Data = data
	desc.Annotations = map[string]string{ocispec.AnnotationRefName: "evil", "io.containerd.image.name": "docker.io/library/evil:latest"}
	must(t, s.Push(t.Context(), desc, bytes.NewReader(data)))
	want := desc
	want.Annotations, want.Data = nil, nil
	var x ocispec.Index
	must(t, json.Unmarshal([]byte(read(t, dir, "index.json")), &x))
	if diff := cmp.Diff([]oras.Descriptor{want}, x.Manifests); diff != "" {
		t.Errorf("index.json (-want +got):\n%s", diff)
	}
	if got := tags(t, s); len(got) != 0 {
		t.Errorf("tags are %q", got)
	}
	must(t, s.Tag(t.Context(), desc, "good"))
	if got := tags(t, s); !slices.Equal(got, []string{"good"}) {
		t.Errorf("tags are %q", got)
	}
}

// Blobs leave index.json alone, and so does what changes nothing.
func TestIndexIsNotRewritten(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	desc := pushImage(t, s, "one", "v1")
	before, err := os.Stat(filepath.Join(dir, "index.json"))
	must(t, err)
	blob := push(t, s, "a/b", []byte("blob"))
	pushImage(t, s, "one", "v1")
	must(t, oras.PushTagged(t.Context(), s, desc, bytes.NewReader(image("one", nil)), "v1"))
	must(t, s.Delete(t.Context(), blob))
	after, err := os.Stat(filepath.Join(dir, "index.json"))
	must(t, err)
	if !os.SameFile(before, after) || !before.ModTime().Equal(after.ModTime()) {
		t.Error("index.json was rewritten")
	}
}

// A layout in the style of buildkit: an entry names a nested index and has members
// and annotations that are none of ours.
const foreign = `{
  "schemaVersion": 2,
  "mediaType": "application/vnd.oci.image.index.v1+json",
  "x-before": [1.0, 1e2, {"b": 1, "a": "<&>"}],
  "manifests": [
    {"x-first": null, "mediaType": "application/vnd.oci.image.index.v1+json", "digest": "DIGEST", "size": SIZE,
     "annotations": {"io.containerd.image.name": "docker.io/library/hello:latest", "org.opencontainers.image.ref.name": "latest", "z": "<&>"},
     "platform": {"os": "linux", "architecture": "amd64", "x-cpu": 7}},
    {"mediaType": "application/xml", "digest": "XML", "size": 5, "annotations": {"org.opencontainers.image.ref.name": "xml"}},
    {"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": "blake3:0123456789abcdef", "size": 1, "annotations": {"org.opencontainers.image.ref.name": "future"}},
    {"mediaType": "application/vnd.oci.image.manifest.v1+json", "digest": "sha256:../../../etc/passwd", "size": 1}
  ],
  "annotations": {"whole": "layout"},
  "x-after": {}
}
`

// writeForeign makes the foreign layout in a new directory and returns what it
// holds: the nested index, the image in it, and the image's referrer.
func writeForeign(t *testing.T) (dir string, top, child, signature oras.Descriptor) {
	dir = t.TempDir()
	blob := func(mediaType string, data []byte) oras.Descriptor {
		desc := oras.DescriptorOf(mediaType, data)
		write(t, dir, path(desc), string(data))
		return desc
	}
	child = blob(oras.MediaTypeImageManifest, image("child", nil))
	signature = blob(oras.MediaTypeImageManifest, image("signature", &child))
	absent := oras.DescriptorOf(oras.MediaTypeImageManifest, image("absent", nil))
	top = blob(oras.MediaTypeImageIndex, list(child, absent, signature))
	xml := blob("application/xml", []byte("<xml>"))
	write(t, dir, "oci-layout", ` { "imageLayoutVersion" : "1.0.0" , "x" : 1 } `)
	write(t, dir, "index.json", strings.NewReplacer("DIGEST", top.Digest.String(), "SIZE", string(marshal(top.Size)), "XML", xml.Digest.String()).Replace(foreign))
	return dir, top, child, signature
}

func TestForeign(t *testing.T) {
	dir, top, child, signature := writeForeign(t)
	s := open(t, dir)
	if got, want := tags(t, s), []string{"future", "latest", "xml"}; !slices.Equal(got, want) {
		t.Errorf("tags are %q, want %q", got, want)
	}
	if got := resolve(t, s, "latest"); got.Digest != top.Digest || got.Annotations["io.containerd.image.name"] == "" || got.Platform == nil {
		t.Errorf("latest is %v", got)
	}
	for _, desc := range []oras.Descriptor{top, child, signature} {
		if got := resolve(t, s, desc.Digest.String()); !reflect.DeepEqual(got, desc) {
			t.Errorf("%s resolves to %v, want %v", desc.Digest, got, desc)
		}
	}
	_, err := s.Resolve(t.Context(), "future")
	fails(t, err, oras.ErrInvalid, "blake3")
	_, err = s.Resolve(t.Context(), "sha256:../../../etc/passwd")
	fails(t, err, oras.ErrNotFound)

	got, err := s.Predecessors(t.Context(), child)
	must(t, err)
	slices.SortFunc(got, func(a, b oras.Descriptor) int { return strings.Compare(a.MediaType, b.MediaType) })
	if diff := cmp.Diff([]oras.Descriptor{top, signature}, got); diff != "" {
		t.Errorf("predecessors (-want +got):\n%s", diff)
	}
}

// What others wrote stays when we change something.
func TestForeignSurvives(t *testing.T) {
	dir, top, child, signature := writeForeign(t)
	original := read(t, dir, "index.json")
	s := open(t, dir)
	must(t, s.Tag(t.Context(), top, "second"))
	must(t, s.Tag(t.Context(), child, "child"))
	must(t, s.Untag(t.Context(), "xml"))
	sbom := push(t, s, oras.MediaTypeImageManifest, image("sbom", &signature))
	must(t, s.Untag(t.Context(), "second"))
	must(t, s.Untag(t.Context(), "latest"))
	must(t, s.Tag(t.Context(), top, "latest"))
	must(t, s.Tag(t.Context(), resolve(t, s, "child"), "xml")) // moved from nothing

	var want, got map[string]any
	must(t, json.Unmarshal([]byte(original), &want))
	must(t, json.Unmarshal([]byte(read(t, dir, "index.json")), &got))
	entries := want["manifests"].([]any)
	delete(entries[1].(map[string]any), "annotations")
	add := func(desc oras.Descriptor, tag string) {
		if tag != "" {
			desc.Annotations = map[string]string{ocispec.AnnotationRefName: tag}
		}
		var e any
		must(t, json.Unmarshal(marshal(desc), &e))
		entries = append(entries, e)
	}
	add(child, "child")
	add(sbom, "")
	add(child, "xml")
	want["manifests"] = entries
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("index.json (-want +got):\n%s", diff)
	}
	// Numbers and the order of members too.
	if text := read(t, dir, "index.json"); !strings.Contains(text, `"x-before":[1.0,1e2,{"b":1,"a":"<&>"}],"manifests":[{"x-first":null,`) ||
		!strings.HasSuffix(text, `],"annotations":{"whole":"layout"},"x-after":{}}`) {
		t.Errorf("index.json is %s", text)
	}
}

// Of two entries with one tag the last one counts, as for oras-go; both lose it.
func TestForeignTagTwice(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	one, two := pushImage(t, s, "one", "x"), pushImage(t, s, "two", "y")
	write(t, dir, "index.json", strings.ReplaceAll(read(t, dir, "index.json"), `"y"`, `"x"`))
	if got := resolve(t, s, "x"); got.Digest != two.Digest {
		t.Errorf("x is %v, want %v", got, two)
	}
	must(t, s.Tag(t.Context(), one, "x"))
	wantList(t, dir, entry(one, "x"), entry(two, ""))
}

// oras-go writes null for an index that became empty.
func TestForeignNull(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "oci-layout", `{"imageLayoutVersion":"1.0.0"}`)
	write(t, dir, "index.json", `{"schemaVersion":2,"manifests":null}`)
	s := open(t, dir)
	if got := tags(t, s); len(got) != 0 {
		t.Errorf("tags are %q", got)
	}
	one := pushImage(t, s, "one", "x")
	wantList(t, dir, entry(one, "x"))
}

// A manifest that cannot be read makes the answer to who refers to what
// incomplete, which is an error, but hinders nothing else.
func TestBrokenManifest(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	one := pushImage(t, s, "one", "v1")
	signature := push(t, s, oras.MediaTypeImageManifest, image("signature", &one))
	file := filepath.Join(dir, path(signature))
	whole := read(t, dir, path(signature))
	must(t, os.Remove(file))
	write(t, dir, path(signature), strings.Replace(whole, "signature", "SIGNATURE", 1))

	_, err := s.Predecessors(t.Context(), one)
	fails(t, err, oras.ErrInvalid, signature.Digest.String())
	blob := push(t, s, oras.MediaTypeBlob, []byte("blob"))
	if got := resolve(t, s, blob.Digest.String()); !reflect.DeepEqual(got, blob) {
		t.Errorf("the blob is %v", got)
	}
	must(t, os.Remove(file)) // index.json stays as it is, and the next answer is right
	push(t, s, oras.MediaTypeImageManifest, image("signature", &one))
	got, err := s.Predecessors(t.Context(), one)
	must(t, err)
	if len(got) != 1 || got[0].Digest != signature.Digest {
		t.Errorf("predecessors are %v", got)
	}
}

// What is tagged must be a manifest: content of another kind is none, whatever
// its descriptor says.
func TestTagBlob(t *testing.T) {
	s := open(t, t.TempDir())
	blob := push(t, s, oras.MediaTypeBlob, []byte("blob"))
	fails(t, s.Tag(t.Context(), blob, "x"), oras.ErrNotFound, blob.Digest.String())
	blob.MediaType = oras.MediaTypeImageManifest
	fails(t, s.Tag(t.Context(), blob, "x"), oras.ErrInvalid, blob.Digest.String())
	if got := tags(t, s); len(got) != 0 {
		t.Errorf("tags are %q", got)
	}
}
