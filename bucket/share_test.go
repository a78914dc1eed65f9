package bucket_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/c73062ad/oras"
	"github.com/c73062ad/oras/bucket"
)

// fileOf returns what the system knows of the file that desc is in s.
func fileOf(tb testing.TB, s *bucket.Store, desc oras.Descriptor) os.FileInfo {
	tb.Helper()
	d, err := oras.ParseDigest(desc.Digest)
	must(tb, err)
	info, err := os.Stat(filepath.Join(s.Dir().Path(), s.BlobKey(d)))
	must(tb, err)
	return info
}

// pushes are the ways in which content comes into a repository.
var pushes = map[string]func(tb testing.TB, s *bucket.Store, desc oras.Descriptor, data []byte){
	"push": func(tb testing.TB, s *bucket.Store, desc oras.Descriptor, data []byte) {
		must(tb, oras.Push(tb.Context(), s, desc, bytes.NewReader(data)))
	},
	"upload": func(tb testing.TB, s *bucket.Store, desc oras.Descriptor, data []byte) {
		u := openUpload(tb, s, "")
		appendTo(tb, u, data)
		d, err := oras.ParseDigest(desc.Digest)
		must(tb, err)
		must(tb, u.Commit(tb.Context(), d))
	},
}

// However many repositories have the same content, and however it came there, it is
// on disk once.
func TestShare(t *testing.T) {
	for name, push := range pushes {
		dir := openDir(t)
		manifest, manifestDesc := image("one", oras.Manifest{})
		empty := []byte{}
		contents := map[string]struct {
			desc oras.Descriptor
			data []byte
		}{
			"blob":     {oras.DescriptorOf("a/b", newLayer), newLayer},
			"sha512":   {oras.Descriptor{MediaType: "a/b", Digest: oras.SHA512.Digest(newLayer).OCI(), Size: int64(len(newLayer))}, newLayer},
			"manifest": {manifestDesc, manifest},
			"empty":    {oras.DescriptorOf("a/b", empty), empty},
		}
		for i, repo := range []string{"a", "b", "c/d"} {
			r := bucket.New(dir)
			if i == 2 { // another process has them
				other, err := bucket.OpenDir(dir.Path())
				must(t, err)
				defer other.Close()
				r = bucket.New(other)
			}
			s := repository(t, r, repo)
			for what, c := range contents {
				if what == "manifest" && name == "upload" {
					continue
				}
				push(t, s, c.desc, c.data)
				whole(t, s, c.desc)
				if !os.SameFile(fileOf(t, s, c.desc), fileOf(t, repository(t, r, "a"), c.desc)) {
					t.Errorf("%s by %s is there twice", what, name)
				}
			}
		}
	}
}

// Content that is wrong on disk does not become that of another repository; what
// arrived does, and is what others share from then on.
func TestShareDamaged(t *testing.T) {
	for name, push := range pushes {
		for harm, do := range map[string]func(file string) error{
			"cut":     func(file string) error { return os.Truncate(file, 100) },
			"longer":  func(file string) error { return os.Truncate(file, int64(len(newLayer))+1) },
			"changed": func(file string) error { return overwrite(file, int64(len(newLayer))-1, '!') },
			"removed": os.Remove,
		} {
			dir := openDir(t)
			r := bucket.New(dir)
			a, b, c := repository(t, r, "a"), repository(t, r, "b"), repository(t, r, "c")
			push(t, a, newLayerDesc, newLayer)
			hex := newLayerDesc.Digest.Encoded()
			shared := filepath.Join(dir.Path(), "_content", "sha256", hex[:2], hex[2:])
			must(t, do(shared))
			push(t, b, newLayerDesc, newLayer)
			whole(t, b, newLayerDesc)
			push(t, c, newLayerDesc, newLayer)
			whole(t, c, newLayerDesc)
			if !os.SameFile(fileOf(t, b, newLayerDesc), fileOf(t, c, newLayerDesc)) {
				t.Errorf("%s, shared content %s: what came then is there twice", name, harm)
			}
			if got := files(t, filepath.Join(dir.Path(), ".tmp")); len(got) > 0 {
				t.Errorf("%s, shared content %s: temporary files: %q", name, harm, got)
			}
		}
	}
}

// What cannot be linked is there all the same.
func TestShareUnlinkable(t *testing.T) {
	for name, push := range pushes {
		dir := openDir(t)
		r := bucket.New(dir)
		push(t, repository(t, r, "a"), newLayerDesc, newLayer)
		dir.Before(func(op string, _ ...string) error {
			if op == "link" {
				return syscall.EMLINK
			}
			return nil
		})
		b := repository(t, r, "b")
		push(t, b, newLayerDesc, newLayer)
		whole(t, b, newLayerDesc)
		must(t, oras.Mount(t.Context(), repository(t, r, "c"), newLayerDesc, "a", nil))
		whole(t, repository(t, r, "c"), newLayerDesc)
		data, desc := image("one", oras.Manifest{})
		must(t, oras.PushTagged(t.Context(), b, desc, bytes.NewReader(data), "v1", "v2"))
		must(t, b.Tag(t.Context(), desc, "v3"))
		for _, tag := range []string{"v1", "v2", "v3"} {
			resolves(tag, desc)(t, b)
		}
		must(t, b.Delete(t.Context(), desc))
		if got := list(t, dir, "b/_tags/", ""); len(got) > 0 {
			t.Errorf("%s: left: %q", name, got)
		}
		if got := files(t, filepath.Join(dir.Path(), ".tmp")); len(got) > 0 {
			t.Errorf("%s: temporary files: %q", name, got)
		}
	}
}

// What is deleted in one repository is gone there, and there only, whatever is read
// or pushed elsewhere, collected or restarted.
func TestShareDelete(t *testing.T) {
	dir := openDir(t)
	r := bucket.New(dir)
	for _, name := range []string{"a", "b"} {
		push(t, repository(t, r, name), newLayer, "a/b")
	}
	must(t, repository(t, r, "a").Delete(t.Context(), newLayerDesc))
	for i := range 3 {
		b := repository(t, r, "b")
		whole(t, b, newLayerDesc)
		push(t, b, newLayer, "a/b")
		a := repository(t, r, "a")
		for _, desc := range []oras.Descriptor{newLayerDesc, {Digest: newLayerDesc.Digest}} {
			if exists, err := a.Exists(t.Context(), desc); err != nil || exists {
				t.Errorf("Exists: %v, %v; it must be false", exists, err)
			}
			_, err := a.Fetch(t.Context(), desc)
			want(t, oras.ErrNotFound, err)
			want(t, oras.ErrNotFound, oras.Mount(t.Context(), repository(t, r, fmt.Sprint("c", i)), desc, "a", nil))
		}
		_, err := r.Collect(t.Context(), nil)
		must(t, err)
		r = bucket.New(dir)
	}
	must(t, oras.Mount(t.Context(), repository(t, r, "a"), newLayerDesc, "b", nil))
	must(t, repository(t, r, "b").Delete(t.Context(), newLayerDesc))
	whole(t, repository(t, r, "a"), newLayerDesc)
	if got := strings.Join(list(t, dir, "b/", ""), " "); got != "" {
		t.Errorf("left: %q", got)
	}
}
