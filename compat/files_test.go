package compat

import (
	"archive/tar"
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	orasgo "oras.land/oras-go/v2"
	orasgofile "oras.land/oras-go/v2/content/file"
	orasgomemory "oras.land/oras-go/v2/content/memory"

	"github.com/c73062ad/oras"
	"github.com/c73062ad/oras/file"
	"github.com/c73062ad/oras/layout"
)

// fileStores are both libraries' stores of the files in a directory, and how something
// there is added to one.
var fileStores = map[string]func(t *testing.T, dir string) (oras.Target, func(name string) (oras.Descriptor, error)){
	"ours": func(t *testing.T, dir string) (oras.Target, func(string) (oras.Descriptor, error)) {
		s, err := file.New(dir, nil)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { s.Close() })
		return s, func(name string) (oras.Descriptor, error) { return s.Add(t.Context(), name, "", "") }
	},
	"theirs": func(t *testing.T, dir string) (oras.Target, func(string) (oras.Descriptor, error)) {
		s, err := orasgofile.New(dir)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { s.Close() })
		return s, func(name string) (oras.Descriptor, error) { return s.Add(t.Context(), name, "", "") }
	},
}

// copies are both libraries' Copy of what is tagged v1.
var copies = map[string]func(ctx context.Context, src oras.Source, dst oras.Target) error{
	"ours": func(ctx context.Context, src oras.Source, dst oras.Target) error {
		_, err := oras.Copy(ctx, src, "v1", dst, &oras.CopyOptions{Tags: []string{"v1"}})
		return err
	},
	"theirs": func(ctx context.Context, src oras.Source, dst oras.Target) error {
		_, err := orasgo.Copy(ctx, src, "v1", dst, "v1", orasgo.DefaultCopyOptions)
		return err
	},
}

// TestFiles copies a file and a directory with all that directories have, with either
// library, from and to the file store of either.
func TestFiles(t *testing.T) {
	contents := map[string]string{"file.txt": "a file", "dir/sub/inner.txt": "in a directory"}
	for from, newSource := range fileStores {
		for to, newTarget := range fileStores {
			for who, copy := range copies {
				t.Run(from+" to "+to+" by "+who, func(t *testing.T) {
					ctx, in, out := t.Context(), t.TempDir(), t.TempDir()
					for name, text := range contents {
						name = filepath.Join(in, name)
						if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
							t.Fatal(err)
						}
						if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
							t.Fatal(err)
						}
					}
					err := errors.Join(
						os.Link(filepath.Join(in, "dir/sub/inner.txt"), filepath.Join(in, "dir/again")),
						os.Symlink("sub/inner.txt", filepath.Join(in, "dir/link")),
						os.Symlink("nothing", filepath.Join(in, "dir/dangling")),
						os.Mkdir(filepath.Join(in, "dir/empty"), 0o700),
						os.WriteFile(filepath.Join(in, "dir/run"), nil, 0o755),
						os.WriteFile(filepath.Join(in, "dir/read"), nil, 0o400),
					)
					if err != nil {
						t.Fatal(err)
					}
					src, add := newSource(t, in)
					var layers []oras.Descriptor
					for _, name := range []string{"file.txt", "dir"} {
						desc, err := add(name)
						if err != nil {
							t.Fatal(err)
						}
						layers = append(layers, desc)
					}
					root, err := oras.Pack(ctx, src, &oras.PackOptions{ArtifactType: "example/files", Layers: layers})
					if err != nil {
						t.Fatal(err)
					}
					if err := src.Tag(ctx, root, "v1"); err != nil {
						t.Fatal(err)
					}
					dst, _ := newTarget(t, out)
					if err := copy(ctx, src, dst); err != nil {
						t.Fatal(err)
					}
					if got, err := dst.Resolve(ctx, "v1"); err != nil || got.Digest != root.Digest {
						t.Errorf("v1 is %v, %v, not %s", got.Digest, err, root.Digest)
					}
					for name, text := range contents {
						if got, err := os.ReadFile(filepath.Join(out, name)); err != nil || string(got) != text {
							t.Errorf("%s is %q, %v", name, got, err)
						}
					}
					if got, err := os.ReadFile(filepath.Join(out, "dir/again")); err != nil || string(got) != contents["dir/sub/inner.txt"] {
						t.Errorf("the hard link is %q, %v", got, err)
					}
					for name, target := range map[string]string{"dir/link": "sub/inner.txt", "dir/dangling": "nothing"} {
						if got, err := os.Readlink(filepath.Join(out, name)); err != nil || got != target {
							t.Errorf("%s leads to %q, %v", name, got, err)
						}
					}
					for name, mode := range map[string]fs.FileMode{"dir/empty": fs.ModeDir | 0o700, "dir/run": 0o755, "dir/read": 0o400} {
						if info, err := os.Lstat(filepath.Join(out, name)); err != nil || info.Mode() != mode {
							t.Errorf("%s is %v, %v", name, info, err)
						}
					}
				})
			}
		}
	}
}

// TestTarLayout copies, with either library, from a layout of ours in a tar archive.
func TestTarLayout(t *testing.T) {
	dir, name := t.TempDir(), filepath.Join(t.TempDir(), "layout.tar")
	s, err := layout.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	g := newGraph(t, s)
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	w := tar.NewWriter(f)
	if err := w.AddFS(os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	src, err := layout.OpenReadOnly(name)
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	for who, copy := range copies {
		t.Run(who, func(t *testing.T) {
			dst := orasgomemory.New()
			if err := copy(t.Context(), src, dst); err != nil {
				t.Fatal(err)
			}
			g.check(t, dst, "v1", false)
		})
	}
	dst := orasgomemory.New()
	if _, err := orasgo.ExtendedCopy(t.Context(), src, "v1", dst, "v1", orasgo.DefaultExtendedCopyOptions); err != nil {
		t.Fatal(err)
	}
	g.check(t, dst, "v1", true)
}
