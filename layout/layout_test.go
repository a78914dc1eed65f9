package layout_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/c73062ad/oras"
	"github.com/c73062ad/oras/layout"
	"github.com/c73062ad/oras/storetest"
)

func TestStore(t *testing.T) {
	storetest.Test(t, func(t *testing.T) oras.Store { return open(t, t.TempDir()) })
}

func open(t *testing.T, dir string) *layout.Store {
	t.Helper()
	s, err := layout.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func openReadOnly(t *testing.T, path string) *layout.Store {
	t.Helper()
	s, err := layout.OpenReadOnly(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// fails checks that err is of a kind and says all of words.
func fails(t *testing.T, err, kind error, words ...string) {
	t.Helper()
	if !errors.Is(err, kind) {
		t.Fatalf("error %v, want one that is %q", err, kind)
	}
	for _, word := range words {
		if !strings.Contains(err.Error(), word) {
			t.Errorf("error %q does not say %q", err, word)
		}
	}
}

// image returns a manifest that has no layers, so that it is complete with the
// empty config.
func image(name string, subject *oras.Descriptor) []byte {
	m := ocispec.Manifest{
		MediaType:   oras.MediaTypeImageManifest,
		Config:      ocispec.DescriptorEmptyJSON,
		Layers:      []oras.Descriptor{},
		Subject:     subject,
		Annotations: map[string]string{"name": name},
	}
	m.SchemaVersion = 2
	return marshal(m)
}

func list(manifests ...oras.Descriptor) []byte {
	x := ocispec.Index{MediaType: oras.MediaTypeImageIndex, Manifests: manifests}
	x.SchemaVersion = 2
	return marshal(x)
}

func marshal(v any) []byte {
	data, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return data
}

func push(t *testing.T, s oras.Store, mediaType string, data []byte, tags ...string) oras.Descriptor {
	t.Helper()
	desc, err := oras.PushBytes(t.Context(), s, mediaType, data)
	must(t, err)
	for _, tag := range tags {
		must(t, s.Tag(t.Context(), desc, tag))
	}
	return desc
}

func pushImage(t *testing.T, s oras.Store, name string, tags ...string) oras.Descriptor {
	t.Helper()
	return push(t, s, oras.MediaTypeImageManifest, image(name, nil), tags...)
}

func resolve(t *testing.T, s oras.Store, reference string) oras.Descriptor {
	t.Helper()
	desc, err := s.Resolve(t.Context(), reference)
	must(t, err)
	return desc
}

func tags(t *testing.T, s oras.Store) []string {
	t.Helper()
	var all []string
	must(t, s.Tags(t.Context(), "", func(tags []string) error { all = append(all, tags...); return nil }))
	return all
}

func read(t *testing.T, dir, name string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(dir, name))
	must(t, err)
	return string(data)
}

func write(t *testing.T, dir, name, text string) {
	t.Helper()
	path := filepath.Join(dir, name)
	must(t, os.MkdirAll(filepath.Dir(path), 0o777))
	must(t, os.WriteFile(path, []byte(text), 0o666))
}

// files returns what is in dir, but for directories.
func files(t *testing.T, dir string) []string {
	t.Helper()
	var names []string
	must(t, fs.WalkDir(os.DirFS(dir), ".", func(name string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			names = append(names, name)
		}
		return err
	}))
	return names
}

// listed returns "tag short-digest" of each entry of index.json.
func listed(t *testing.T, dir string) []string {
	t.Helper()
	var x ocispec.Index
	must(t, json.Unmarshal([]byte(read(t, dir, "index.json")), &x))
	var entries []string
	for _, e := range x.Manifests {
		entries = append(entries, entry(e, e.Annotations[ocispec.AnnotationRefName]))
	}
	return entries
}

func entry(desc oras.Descriptor, tag string) string {
	return fmt.Sprintf("%s %s", tag, desc.Digest.Encoded()[:8])
}

func path(desc oras.Descriptor) string {
	return "blobs/" + desc.Digest.Algorithm().String() + "/" + desc.Digest.Encoded()
}

func wantList(t *testing.T, dir string, want ...string) {
	t.Helper()
	if got := listed(t, dir); !slices.Equal(got, want) {
		t.Errorf("index.json lists %q, want %q", got, want)
	}
}

func TestOpenCreates(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new", "layout")
	open(t, dir)
	if got, want := files(t, dir), []string{".oras.lock", "index.json", "oci-layout"}; !slices.Equal(got, want) {
		t.Errorf("a new layout has %q, want %q", got, want)
	}
	if got, want := read(t, dir, "oci-layout"), `{"imageLayoutVersion":"1.0.0"}`; got != want {
		t.Errorf("oci-layout is %s, want %s", got, want)
	}
	if got, want := read(t, dir, "index.json"), `{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}`; got != want {
		t.Errorf("index.json is %s, want %s", got, want)
	}
	openReadOnly(t, dir)
}

func TestOpenCompletes(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "README", "not of a layout")
	write(t, dir, "index.json", `{"schemaVersion":2,"manifests":[],"x":1}`)
	open(t, dir)
	if got := read(t, dir, "index.json"); got != `{"schemaVersion":2,"manifests":[],"x":1}` {
		t.Errorf("index.json became %s", got)
	}
	openReadOnly(t, dir)
}

func TestOpenLeavesWhatIsThere(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "oci-layout", `{"imageLayoutVersion":"1.0.0"}`)
	write(t, dir, "index.json", `{"schemaVersion":2}`)
	open(t, dir)
	if got := files(t, dir); len(got) != 2 {
		t.Errorf("opening a layout left %q", got)
	}
}

func TestOpenMalformed(t *testing.T) {
	const version = `{"imageLayoutVersion":"1.0.0"}`
	entry := func(members string) string {
		return `{"schemaVersion":2,"manifests":[{"mediaType":"a/b","digest":"sha256:x"` + members + `}]}`
	}
	for name, test := range map[string]struct {
		version, index string
		kind           error
		word           string
	}{
		"version 2":        {`{"imageLayoutVersion":"2.0.0"}`, `{"schemaVersion":2}`, oras.ErrUnsupported, "oci-layout"},
		"no version":       {`{}`, `{"schemaVersion":2}`, oras.ErrUnsupported, "oci-layout"},
		"version no JSON":  {`1.0.0`, `{"schemaVersion":2}`, oras.ErrInvalid, "oci-layout"},
		"version large":    {version + strings.Repeat(" ", 1<<20), `{"schemaVersion":2}`, oras.ErrInvalid, "oci-layout"},
		"index empty":      {version, ``, oras.ErrInvalid, "index.json"},
		"index half":       {version, `{"schemaVersion":2,"manifests":[`, oras.ErrInvalid, "index.json"},
		"index null":       {version, `null`, oras.ErrInvalid, "index.json"},
		"index array":      {version, `[]`, oras.ErrInvalid, "index.json"},
		"schema 1":         {version, `{"schemaVersion":1}`, oras.ErrInvalid, "schemaVersion 1"},
		"an image":         {version, `{"schemaVersion":2,"mediaType":"` + oras.MediaTypeImageManifest + `"}`, oras.ErrInvalid, "media type"},
		"a name twice":     {version, `{"schemaVersion":2,"schemaVersion":2}`, oras.ErrInvalid, "twice"},
		"another case":     {version, `{"schemaVersion":2,"Manifests":[]}`, oras.ErrInvalid, "Manifests"},
		"deep":             {version, strings.Repeat("[", 1<<20), oras.ErrInvalid, "index.json"},
		"deep and closed":  {version, `{"x":` + strings.Repeat("[", 1<<20) + strings.Repeat("]", 1<<20) + `}`, oras.ErrInvalid, "index.json"},
		"entry null":       {version, `{"schemaVersion":2,"manifests":[null]}`, oras.ErrInvalid, "manifest 0"},
		"entry number":     {version, `{"schemaVersion":2,"manifests":[1]}`, oras.ErrInvalid, "manifest 0"},
		"entry negative":   {version, entry(`,"size":-1`), oras.ErrInvalid, "size -1"},
		"entry annotation": {version, entry(`,"annotations":{"a":1}`), oras.ErrInvalid, "manifest 0"},
		"manifests object": {version, `{"schemaVersion":2,"manifests":{}}`, oras.ErrInvalid, "index.json"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			write(t, dir, "oci-layout", test.version)
			write(t, dir, "index.json", test.index)
			_, err := layout.Open(dir)
			fails(t, err, test.kind, dir, "invalid OCI Image Layout", test.word)
			_, err = layout.OpenReadOnly(dir)
			fails(t, err, test.kind, dir, "invalid OCI Image Layout", test.word)
			if got := files(t, dir); len(got) != 2 {
				t.Errorf("opening left %q", got)
			}
		})
	}
}

func TestOpenRefused(t *testing.T) {
	_, err := layout.Open("")
	fails(t, err, oras.ErrReference)
	file := filepath.Join(t.TempDir(), "file")
	write(t, filepath.Dir(file), "file", "text")
	if _, err := layout.Open(file); err == nil || !strings.Contains(err.Error(), file) {
		t.Errorf("opening a file: %v", err)
	}
}

func TestOpenReadOnly(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "missing")
	_, err := layout.OpenReadOnly(missing)
	fails(t, err, fs.ErrNotExist, missing, "no such file or directory")

	empty := t.TempDir()
	_, err = layout.OpenReadOnly(empty)
	fails(t, err, fs.ErrNotExist, empty, "oci-layout")
	if got := files(t, empty); len(got) != 0 {
		t.Errorf("opening left %q", got)
	}
	write(t, empty, "oci-layout", `{"imageLayoutVersion":"1.0.0"}`)
	_, err = layout.OpenReadOnly(empty)
	fails(t, err, fs.ErrNotExist, empty, "index.json")

	dir := t.TempDir()
	desc := pushImage(t, open(t, dir), "one", "v1")
	s := openReadOnly(t, dir)
	data, err := oras.FetchAll(t.Context(), s, resolve(t, s, "v1"))
	must(t, err)
	if !bytes.Equal(data, image("one", nil)) {
		t.Errorf("fetched %s", data)
	}
	wantReadOnly(t, s, desc)
}

// wantReadOnly checks that s, which has desc, refuses to change.
func wantReadOnly(t *testing.T, s *layout.Store, desc oras.Descriptor) {
	t.Helper()
	data := image("another", nil)
	other := oras.DescriptorOf(oras.MediaTypeImageManifest, data)
	fails(t, s.Push(t.Context(), other, bytes.NewReader(data)), oras.ErrUnsupported, "read-only")
	fails(t, s.PushReference(t.Context(), other, bytes.NewReader(data), "x"), oras.ErrUnsupported, "read-only")
	fails(t, s.Tag(t.Context(), desc, "x"), oras.ErrUnsupported, "read-only")
	fails(t, s.Untag(t.Context(), "v1"), oras.ErrUnsupported, "read-only")
	fails(t, s.Delete(t.Context(), desc), oras.ErrUnsupported, "read-only")
}

func TestFetchSize(t *testing.T) {
	s := open(t, t.TempDir())
	desc := push(t, s, "a/b", []byte("four"))
	desc.Size = 5
	_, err := s.Fetch(t.Context(), desc)
	fails(t, err, oras.ErrInvalid, desc.Digest.String(), "4 bytes, not 5")
	desc.Size = 0
	r, err := s.Fetch(t.Context(), desc)
	must(t, err)
	defer r.Close()
	if _, err := r.(io.Seeker).Seek(2, io.SeekStart); err != nil {
		t.Fatal(err)
	}
	if rest, err := io.ReadAll(r); err != nil || string(rest) != "ur" {
		t.Errorf("the rest is %q, %v", rest, err)
	}
}

// A file of another size than its content's, as a program that was stopped may
// have left, is replaced.
func TestPushMends(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	desc := pushImage(t, s, "one", "v1")
	must(t, os.Remove(filepath.Join(dir, path(desc))))
	write(t, dir, path(desc), "half")
	if exists, err := s.Exists(t.Context(), desc); err != nil || exists {
		t.Errorf("half the content exists: %v, %v", exists, err)
	}
	pushImage(t, s, "one")
	if _, err := oras.FetchAll(t.Context(), s, desc); err != nil {
		t.Error(err)
	}
}

// What ends before its end, or with its context, leaves nothing behind.
func TestPushBroken(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	before := files(t, dir)
	data := bytes.Repeat([]byte("x"), 1<<20)
	desc := oras.DescriptorOf("a/b", data)
	broken := errors.New("broken")
	err := s.Push(t.Context(), desc, io.MultiReader(bytes.NewReader(data[:1<<19]), failing{broken}))
	fails(t, err, broken)
	fails(t, s.Push(t.Context(), desc, bytes.NewReader(data[:1<<19])), oras.ErrInvalid)
	fails(t, s.Push(t.Context(), desc, io.MultiReader(bytes.NewReader(data), strings.NewReader("y"))), oras.ErrInvalid)
	if after := files(t, dir); !slices.Equal(before, after) {
		t.Errorf("broken pushes left %q", after)
	}
}

type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }
