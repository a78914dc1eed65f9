//go:build unix

package layout_test

import (
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/c73062ad/oras"
	"github.com/c73062ad/oras/layout"
)

// Content must be regular files in the layout (rows F3 and F7).
func TestLinks(t *testing.T) {
	outside := t.TempDir()
	secret := oras.DescriptorOf("a/b", []byte("secret"))
	write(t, outside, secret.Digest.Encoded(), "secret")
	target := filepath.Join(outside, secret.Digest.Encoded())
	for name, prepare := range map[string]func(dir string){
		"absolute link": func(dir string) { must(t, os.Symlink(target, filepath.Join(dir, path(secret)))) },
		"relative link": func(dir string) {
			back, err := filepath.Rel(filepath.Join(dir, "blobs", "sha256"), target)
			must(t, err)
			must(t, os.Symlink(back, filepath.Join(dir, path(secret))))
		},
		"link inside": func(dir string) {
			write(t, dir, "secret", "secret")
			must(t, os.Symlink("../../secret", filepath.Join(dir, path(secret))))
		},
		"directory": func(dir string) { must(t, os.Mkdir(filepath.Join(dir, path(secret)), 0o777)) },
		"linked algorithm": func(dir string) {
			must(t, os.Remove(filepath.Join(dir, "blobs", "sha256")))
			must(t, os.Symlink(outside, filepath.Join(dir, "blobs", "sha256")))
		},
		"linked blobs": func(dir string) {
			must(t, os.Mkdir(filepath.Join(outside, "sha256"), 0o777))
			must(t, os.Link(target, filepath.Join(outside, "sha256", secret.Digest.Encoded())))
			must(t, os.RemoveAll(filepath.Join(dir, "blobs")))
			must(t, os.Symlink(outside, filepath.Join(dir, "blobs")))
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			s := open(t, dir)
			prepare(dir)
			before := files(t, outside)
			if r, err := s.Fetch(t.Context(), secret); err == nil {
				r.Close()
				t.Error("Fetch opened it")
			}
			if exists, err := s.Exists(t.Context(), secret); exists || err == nil {
				t.Errorf("Exists: %v, %v", exists, err)
			}
			if desc, err := s.Resolve(t.Context(), secret.Digest.String()); err == nil {
				t.Errorf("Resolve: %v", desc)
			}
			if err := s.Push(t.Context(), secret, strings.NewReader("secret")); err == nil {
				t.Error("Push wrote something")
			}
			if after := files(t, outside); !slices.Equal(before, after) {
				t.Errorf("outside there is now %q", after)
			}
		})
	}
}

// Nor can a link take the place of a file between a look at it and its opening.
func TestLinkSwapped(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	desc := push(t, s, "a/b", []byte("blob"))
	name := filepath.Join(dir, path(desc))
	write(t, dir, "secret", "secret")

	stop, stopped := make(chan struct{}), make(chan error, 1)
	go func() { stopped <- swap(name, stop) }()
	for range 2000 {
		r, err := s.Fetch(t.Context(), oras.Descriptor{Digest: desc.Digest})
		if err != nil {
			continue // it was a link, or is replaced all the time
		}
		data, err := io.ReadAll(r)
		r.Close()
		if err != nil || string(data) != "blob" {
			t.Errorf("fetched %q, %v", data, err)
			break
		}
	}
	close(stop)
	must(t, <-stopped)
}

// swap makes name a link and a file again, until it is stopped.
func swap(name string, stop <-chan struct{}) error {
	for {
		select {
		case <-stop:
			return nil
		default:
		}
		err := os.Symlink("../../secret", name+".new")
		if err == nil {
			err = os.Rename(name+".new", name)
		}
		if err == nil {
			err = os.WriteFile(name+".new", []byte("blob"), 0o666)
		}
		if err == nil {
			err = os.Rename(name+".new", name)
		}
		if err != nil {
			return err
		}
	}
}

// No file of the layout is written, or read, through a link, and the lock is not
// taken on one.
func TestLinkedFiles(t *testing.T) {
	for _, name := range []string{"oci-layout", "index.json", ".oras.lock"} {
		for _, existing := range []bool{true, false} {
			dir, outside := t.TempDir(), t.TempDir()
			data := image("one", nil)
			one := oras.DescriptorOf(oras.MediaTypeImageManifest, data)
			pushImage(t, open(t, dir), "zero")
			if existing {
				write(t, outside, name, read(t, dir, name))
			}
			before := files(t, outside)
			must(t, os.Remove(filepath.Join(dir, name)))
			must(t, os.Symlink(filepath.Join(outside, name), filepath.Join(dir, name)))
			s, err := layout.Open(dir)
			if err == nil {
				err = s.Push(t.Context(), one, strings.NewReader(string(data)))
				s.Close()
			}
			if err == nil || !strings.Contains(err.Error(), name) {
				t.Errorf("%s is a link: %v", name, err)
			}
			if after := files(t, outside); !slices.Equal(before, after) {
				t.Errorf("outside there is now %q", after)
			}
		}
	}
}
