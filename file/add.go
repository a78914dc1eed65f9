package file

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/c73062ad/oras"
	"github.com/c73062ad/oras/archive"
)

// Add makes the file or directory at path content of the store and returns its
// descriptor, with title as its title annotation. A path that is relative is below
// the directory of the store; if it is empty it is the title. Symbolic links to
// what is added are followed, those in a directory are kept.
//
// A file is read once, here, for its digest, and again by who fetches it. Its media
// type is mediaType or else [MediaTypeFile]. A directory is packed here into a
// temporary file, a tar.gz whose entries have the title before their names, so that
// the same directory under the same title is always the same content; its media
// type is mediaType or else [MediaTypeDirectory], and it has [AnnotationUnpack] and
// [AnnotationDigest].
//
// A path that is not there is an [*io/fs.PathError] with the absolute path; a title
// that was added before, or that no file could have, [oras.ErrInvalid].
func (s *Store) Add(ctx context.Context, title, path, mediaType string) (oras.Descriptor, error) {
	if err := checkTitle(title); err != nil {
		return oras.Descriptor{}, err
	}
	n, err := s.name(title)
	if err != nil {
		return oras.Descriptor{}, err
	}
	n.writing.Lock()
	defer n.writing.Unlock()
	if !s.digestOf(n).IsZero() {
		return oras.Descriptor{}, fmt.Errorf("%s: %w: duplicate name", title, oras.ErrInvalid)
	}
	if path == "" {
		path = title
	}
	path = s.abs(path)
	info, err := os.Stat(path)
	if err != nil {
		return oras.Descriptor{}, err
	}
	var c content
	switch {
	case info.IsDir():
		c, err = s.describeDirectory(ctx, title, path)
	case info.Mode().IsRegular():
		c, err = describeFile(ctx, path)
	default:
		err = fmt.Errorf("%s: neither a file nor a directory (%s)", path, info.Mode())
	}
	if err != nil {
		return oras.Descriptor{}, err
	}
	c.desc.Annotations[ocispec.AnnotationTitle] = title
	if mediaType != "" {
		c.desc.MediaType = mediaType
	}
	d, err := oras.ParseDigest(c.desc.Digest)
	if err != nil {
		return oras.Descriptor{}, err
	}
	return c.desc, s.add(d, c, n)
}

// abs returns the path that a title or path means.
func (s *Store) abs(path string) string {
	path = filepath.FromSlash(path)
	if filepath.IsAbs(path) {
		return filepath.Clean(path)
	}
	return filepath.Join(s.dir, path)
}

func describeFile(ctx context.Context, path string) (content, error) {
	f, err := os.Open(path)
	if err != nil {
		return content{}, err
	}
	defer f.Close()
	h := oras.SHA256.New()
	n, err := copyTo(ctx, h, f)
	if err != nil {
		return content{}, fmt.Errorf("%s: %w", path, err)
	}
	return content{path: path, desc: oras.Descriptor{
		MediaType:   MediaTypeFile,
		Digest:      oras.SHA256.Sum(h).OCI(),
		Size:        n,
		Annotations: map[string]string{},
	}}, nil
}

func (s *Store) describeDirectory(ctx context.Context, title, path string) (content, error) {
	f, err := s.tempFile()
	if err != nil {
		return content{}, err
	}
	packed, tar := oras.SHA256.New(), oras.SHA256.New()
	err = func() error {
		z, err := archive.Compress(io.MultiWriter(f, packed), archive.Gzip)
		if err != nil {
			return err
		}
		err = archive.Pack(ctx, io.MultiWriter(z, tar), path, &archive.PackOptions{Prefix: clean(title), ModTime: s.opts.ModTime})
		return errors.Join(err, z.Close())
	}()
	var size int64
	if err == nil {
		size, err = f.Seek(0, io.SeekCurrent)
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err != nil {
		os.Remove(f.Name()) // or Close does
		return content{}, err
	}
	return content{path: f.Name(), desc: oras.Descriptor{
		MediaType: MediaTypeDirectory,
		Digest:    oras.SHA256.Sum(packed).OCI(),
		Size:      size,
		Annotations: map[string]string{
			AnnotationUnpack: "true",
			AnnotationDigest: oras.SHA256.Sum(tar).String(),
		},
	}}, nil
}
