package file_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/c73062ad/oras"
	"github.com/c73062ad/oras/file"
)

// mount mounts a file system in memory.
func mount(t *testing.T, dir, options string) {
	t.Helper()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, options); err != nil {
		t.Skip("not allowed to mount: ", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
}

// A full disk does not stay full.
func TestDiskFull(t *testing.T) {
	volume := t.TempDir()
	mount(t, volume, "size=2m,mode=755")
	write(t, volume, map[string]string{"mine": "mine"})
	before := list(t, volume)
	for name, big := range bigs(t) {
		for _, stage := range []bool{false, true} {
			s := newStore(t, volume, &file.Options{Stage: stage})
			err := oras.Push(t.Context(), s, big.desc, bytes.NewReader(big.data))
			if !errors.Is(err, syscall.ENOSPC) {
				t.Errorf("%s: %v", name, err)
			}
			equal(t, list(t, volume), before)
		}
	}
}

// What goes to another file system is made there: nothing can be renamed to it.
func TestMounted(t *testing.T) {
	base := t.TempDir()
	volume := filepath.Join(base, "out/deep/volume")
	if err := os.MkdirAll(volume, 0o755); err != nil {
		t.Fatal(err)
	}
	mount(t, volume, "")
	for _, opts := range []*file.Options{nil, {Stage: true}} {
		dir := filepath.Join(base, "out")
		s := newStore(t, dir, opts)
		mustPush(t, s, "here", "x")
		mustPush(t, s, "deep/volume/new/there", "x")
		for title, name := range map[string]string{"deep/volume/docs": "x", "deep/volume": "y"} {
			docs := pack(t, title+"/"+name)
			if err := s.Push(t.Context(), titled(title, docs, file.AnnotationUnpack, "true"), bytes.NewReader(docs)); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.Commit(t.Context()); err != nil {
			t.Fatal(err)
		}
		equal(t, list(t, dir), "drwxr-xr-x .\ndrwxr-xr-x deep\ndtrwxrwxrwx deep/volume\ndrwxr-xr-x deep/volume/docs\n-rw-r--r-- deep/volume/docs/x \"x\"\ndrwxr-xr-x deep/volume/new\n-rw-r--r-- deep/volume/new/there \"x\"\n-rw-r--r-- deep/volume/y \"x\"\n-rw-r--r-- here \"x\"\n")
		if err := errors.Join(os.Remove(filepath.Join(dir, "here")), os.RemoveAll(filepath.Join(volume, "new")), os.Remove(filepath.Join(volume, "y")), os.RemoveAll(filepath.Join(volume, "docs"))); err != nil {
			t.Fatal(err)
		}
	}
}
