package layout

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"time"

	"github.com/c73062ad/oras"
	"github.com/c73062ad/oras/internal/partial"
)

// WriteTar writes the layout to w as a tar archive that [OpenReadOnly] opens:
// oci-layout, index.json, then all content in the order of algorithms and
// digests, verified. Layouts that hold the same make equal archives: nothing in
// them tells when, where, by whom or in which order they were made. What is pushed
// meanwhile may or may not be in the archive; index.json names nothing that is not.
func (s *Store) WriteTar(ctx context.Context, w io.Writer) error {
	version, _, err := readRegular(s.fsys, versionFile, maxVersionFile)
	if err != nil {
		return s.invalid(err)
	}
	x, err := s.load() // before the content, of which there is never less than this says
	if err != nil {
		return s.invalid(err)
	}
	if x, err = x.with(x.sorted()); err != nil {
		return err
	}
	t := tar.NewWriter(w)
	for _, file := range []struct {
		name    string
		content []byte
	}{{versionFile, version}, {indexFile, x.raw}} {
		if err := writeTarFile(t, file.name, int64(len(file.content)), bytes.NewReader(file.content)); err != nil {
			return err
		}
	}
	if err := writeTarDir(t, blobsDir); err != nil {
		return err
	}
	algorithms, err := s.readDir(blobsDir)
	if err != nil {
		return err
	}
	for _, a := range algorithms {
		if _, err := oras.ParseAlgorithm(a.Name()); err != nil || !a.IsDir() {
			continue
		}
		if err := s.writeTarBlobs(ctx, t, a.Name()); err != nil {
			return err
		}
	}
	return t.Close()
}

// writeTarBlobs writes the content of one algorithm.
func (s *Store) writeTarBlobs(ctx context.Context, t *tar.Writer, algorithm string) error {
	dir := path.Join(blobsDir, algorithm)
	if err := writeTarDir(t, dir); err != nil {
		return err
	}
	files, err := s.readDir(dir)
	if err != nil {
		return err
	}
	for _, file := range files {
		d, err := oras.ParseDigest(algorithm + ":" + file.Name())
		if err != nil {
			continue // no content
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		f, info, err := openRegular(s.fsys, blobPath(d))
		if err != nil {
			return missing(d, err)
		}
		content := oras.NewVerifier(partial.Reader(ctx, f), oras.Descriptor{Digest: d.OCI(), Size: info.Size()})
		err = errors.Join(writeTarFile(t, blobPath(d), info.Size(), content), f.Close())
		if err != nil {
			return err
		}
	}
	return nil
}

// readDir lists a directory in order; one that is not there is empty.
func (s *Store) readDir(name string) ([]fs.DirEntry, error) {
	entries, err := fs.ReadDir(s.fsys, name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return entries, err
}

func writeTarFile(t *tar.Writer, name string, size int64, content io.Reader) error {
	err := t.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: name, Size: size, Mode: 0o644, ModTime: time.Unix(0, 0)})
	if err == nil {
		_, err = io.Copy(t, content)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

func writeTarDir(t *tar.Writer, name string) error {
	return t.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: name + "/", Mode: 0o755, ModTime: time.Unix(0, 0)})
}
