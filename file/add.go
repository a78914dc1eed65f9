package file

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
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
// temporary file, a tar that is compressed as [Options.Compression] says, whose
// entries have the title before their names, so that the same directory under the
// same title is always the same content; its media type is mediaType or else
// [MediaTypeDirectory], or that of the other compression, and it has
// [AnnotationUnpack] and [AnnotationDigest].
//
// [os.DevNull] is an empty file.
//
// A path that is not there is an [*io/fs.PathError] with the absolute path; a title
// that was added before, or that no file could have, [oras.ErrInvalid].
func (s *Store) Add(ctx context.Context, title, path, mediaType string) (oras.Descriptor, error) {
	a, err := s.prepare(title, path, mediaType)
	if err != nil {
		return oras.Descriptor{}, err
	}
	defer a.done()
	return s.addPrepared(ctx, a)
}

// An adding is something that is being added.
type adding struct {
	name      *name // done lets go of it
	title     string
	path      string // absolute
	info      fs.FileInfo
	mediaType string // asked for
}

func (s *Store) prepare(title, path, mediaType string) (_ *adding, err error) {
	if err := checkTitle(title); err != nil {
		return nil, err
	}
	n, err := s.name(title)
	if err != nil {
		return nil, err
	}
	n.writing.Lock()
	defer func() {
		if err != nil {
			n.writing.Unlock()
		}
	}()
	if !s.digestOf(n).IsZero() {
		return nil, fmt.Errorf("%s: %w: duplicate name", title, oras.ErrInvalid)
	}
	if path == "" {
		path = title
	}
	path = s.abs(path)
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if path != os.DevNull && !info.IsDir() && !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s: neither a file nor a directory (%s)", path, info.Mode())
	}
	return &adding{n, title, path, info, mediaType}, nil
}

func (a *adding) done() { a.name.writing.Unlock() }

// addPrepared adds what was prepared.
func (s *Store) addPrepared(ctx context.Context, a *adding) (oras.Descriptor, error) {
	var c content
	var err error
	switch {
	case a.path == os.DevNull:
		c.desc = oras.DescriptorOf(MediaTypeFile, nil)
	case a.info.IsDir():
		c, err = s.describeDirectory(ctx, a)
	default:
		c.path = a.path
		c.desc, err = describeFile(ctx, a.path)
	}
	if err != nil {
		return oras.Descriptor{}, err
	}
	d, err := oras.ParseDigest(c.desc.Digest)
	if err != nil {
		return oras.Descriptor{}, err
	}
	c.desc = a.describe(c.desc)
	return c.desc, s.add(d, c, a.name)
}

// describe returns desc with what was asked for.
func (a *adding) describe(desc oras.Descriptor) oras.Descriptor {
	if desc.Annotations == nil {
		desc.Annotations = map[string]string{}
	}
	desc.Annotations[ocispec.AnnotationTitle] = a.title
	if a.mediaType != "" {
		desc.MediaType = a.mediaType
	}
	return desc
}

// abs returns the path that a title or path means.
func (s *Store) abs(path string) string {
	path = filepath.FromSlash(path)
	if filepath.IsAbs(path) {
		return filepath.Clean(path)
	}
	return filepath.Join(s.dir, path)
}

func describeFile(ctx context.Context, path string) (oras.Descriptor, error) {
	f, err := os.Open(path)
	if err != nil {
		return oras.Descriptor{}, err
	}
	defer f.Close()
	h := oras.SHA256.New()
	n, err := copyTo(ctx, h, f)
	if err != nil {
		return oras.Descriptor{}, fmt.Errorf("%s: %w", path, err)
	}
	return oras.Descriptor{MediaType: MediaTypeFile, Digest: oras.SHA256.Sum(h).OCI(), Size: n}, nil
}

func (s *Store) describeDirectory(ctx context.Context, a *adding) (content, error) {
	f, err := s.tempFile()
	if err != nil {
		return content{}, err
	}
	desc, err := s.packAndHash(ctx, f, a)
	if e := f.Close(); err == nil {
		err = e
	}
	if err != nil {
		os.Remove(f.Name()) // or Close does
		return content{}, err
	}
	return content{path: f.Name(), desc: desc}, nil
}

// packAndHash packs the directory to w and describes what it wrote.
func (s *Store) packAndHash(ctx context.Context, w io.Writer, a *adding) (oras.Descriptor, error) {
	h := &counter{Hash: oras.SHA256.New()}
	desc, err := s.pack(ctx, io.MultiWriter(w, h), a)
	desc.Digest, desc.Size = oras.SHA256.Sum(h).OCI(), h.n
	return desc, err
}

// pack packs the directory to w and describes that, but for digest and size.
func (s *Store) pack(ctx context.Context, w io.Writer, a *adding) (oras.Descriptor, error) {
	z, err := archive.Compress(w, s.opts.Compression, &archive.CompressOptions{Level: s.opts.Level})
	if err != nil {
		return oras.Descriptor{}, err
	}
	tar := oras.SHA256.New()
	opts := &archive.PackOptions{Prefix: clean(a.title), ModTime: s.opts.ModTime}
	if s.opts.Outward != nil {
		opts.Outward = func(name, target string) { s.opts.Outward(path.Join(a.title, name), target) }
	}
	err = archive.Pack(ctx, io.MultiWriter(z, tar), a.path, opts)
	if err := errors.Join(err, z.Close()); err != nil {
		return oras.Descriptor{}, err
	}
	return oras.Descriptor{
		MediaType: s.directoryType(),
		Annotations: map[string]string{
			AnnotationUnpack: "true",
			AnnotationDigest: oras.SHA256.Sum(tar).String(),
		},
	}, nil
}

// directoryType returns the media type of directories that are added without one.
func (s *Store) directoryType() string {
	switch s.opts.Compression {
	case archive.Zstd:
		return ocispec.MediaTypeImageLayerZstd
	case archive.None:
		return ocispec.MediaTypeImageLayer
	}
	return MediaTypeDirectory
}
