// Package file makes plain files and directories the content of artifacts, and
// artifacts files and directories again.
//
// A [Store] is where push takes its content from: Add describes files, [oras.Pack]
// writes the manifest over them into the same store, and [oras.Copy] copies it
// away. And it is where pull puts its content: a descriptor's title annotation is
// the name of the file that its content becomes. A directory travels as a
// compressed tar with annotations that say so, the same as oras-go's file store
// makes and reads.
//
// Big transfers survive. A pull that is broken off, be it by the end of the process,
// leaves hidden files with what it received, and the next goes on behind them; with
// [Options.Stage] nothing else is to be seen of it. [Store.Send] pushes in one pass,
// and a [Journal] lets the next process go on with its upload.
package file

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/c73062ad/oras"
	"github.com/c73062ad/oras/archive"
	"github.com/c73062ad/oras/internal/partial"
)

// The annotations of a layer that is a packed directory, as oras has them.
const (
	AnnotationUnpack = "io.deis.oras.content.unpack" // "true": the content is an archive, to be unpacked
	AnnotationDigest = "io.deis.oras.content.digest" // of the archive before it was compressed
)

// Media types of what is added without one.
const (
	MediaTypeFile      = oras.MediaTypeLayer
	MediaTypeDirectory = ocispec.MediaTypeImageLayerGzip
)

var (
	// ErrPathTraversal is a title that leads out of the directory of the
	// store, by its name or by a symbolic link that is there.
	ErrPathTraversal = errors.New("failed to resolve path for writing: path traversal disallowed")

	// ErrOverwrite is a file that is there already and is to be kept.
	ErrOverwrite = errors.New("overwrite disallowed")
)

// Options say how a store reads and writes files. The zero value works.
type Options struct {
	// KeepOldFiles makes a file that is there already an ErrOverwrite. By
	// default it is replaced.
	KeepOldFiles bool

	// AllowPathTraversal allows titles that lead out of the directory of
	// the store. By default they are ErrPathTraversal.
	AllowPathTraversal bool

	// Stage lets files and directories that are pushed wait for Commit
	// before they get their names, all at once. Without Commit the directory
	// is as it was before, but for hidden files with what was received, which
	// the next who wants that goes on with.
	Stage bool

	// ModTime is the modification time in archives of directories; see
	// archive.PackOptions.
	ModTime time.Time

	// Outward, if it is not nil, is told of symbolic links in directories that
	// are packed and that no pull will make, since they lead out: of the link, below
	// the title of its directory, and where it leads, perhaps more than once. It may
	// be called by several goroutines at a time.
	Outward func(link, target string)

	// Compression is how archives of directories are compressed, and Level
	// how much is done for it; see archive.Compress. The default is gzip,
	// which is what other clients unpack: none but this takes zstd or no
	// compression.
	Compression archive.Compression
	Level       int

	// MaxUnpackedSize is how many bytes an archive of a directory may have;
	// zero is no limit.
	MaxUnpackedSize int64

	// MaxUnpackedEntries and MaxUnpackedRatio are limits of archives as in
	// archive.UnpackOptions and archive.DecompressOptions; zero means the
	// defaults there.
	MaxUnpackedEntries int
	MaxUnpackedRatio   int64
}

// A Store is an [oras.Target] of the files below a directory. It knows the content
// it was given itself, with Add or Push; of what the directory holds besides only
// what Exists was asked for by its title. It is safe for concurrent use.
type Store struct {
	dir  string // absolute
	opts Options

	mu       sync.Mutex
	closed   bool
	content  map[oras.Digest]content
	names    map[string]*name // by title, cleaned
	tags     map[string]oras.Descriptor
	written  map[fileKey][]writtenFile
	waiting  []*finished // for Commit
	inMemory int64
	temp     string // private directory, or empty if there is none yet

	grounds grounds
	placing sync.Mutex // held while something gets its final name
}

// A name is a title that was added or pushed, or is just being.
type name struct {
	writing sync.Mutex  // held by who writes the file
	digest  oras.Digest // what it became, if it did; under Store.mu
}

// content says where some is.
type content struct {
	desc  oras.Descriptor
	data  []byte // in memory, if path is empty
	path  string // of the file
	below bool   // path is below the directory of the store, and must not lead out
}

// memoryBudget is how much untitled content is kept in memory; what goes beyond is
// in temporary files.
const memoryBudget = 16 << 20

// New returns a store of the directory dir, which is made when it is first written
// to. Empty is the working directory. Close must be called in the end.
func New(dir string, opts *Options) (*Store, error) {
	if opts == nil {
		opts = &Options{}
	}
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	return &Store{
		dir:     abs,
		opts:    *opts,
		content: map[oras.Digest]content{},
		names:   map[string]*name{},
		tags:    map[string]oras.Descriptor{},
		written: map[fileKey][]writtenFile{},
		grounds: grounds{open: map[string]*ground{}, swept: map[string]bool{}},
	}, nil
}

// Close removes temporary files, and what still waits for Commit. What is called
// afterwards fails with [fs.ErrClosed]; readers that are open must be closed before.
func (s *Store) Close() error {
	s.mu.Lock()
	s.closed = true
	s.content = map[oras.Digest]content{}
	temp, waiting := s.temp, s.waiting
	s.temp, s.waiting = "", nil
	s.mu.Unlock()
	var errs []error
	for _, f := range waiting {
		if f.tree != nil {
			errs = append(errs, f.tree.Discard())
		}
		// The part stays, and the ground keeps it where the next will look.
		errs = append(errs, s.grounds.gave(f.at, false, nil))
	}
	if len(waiting) > 0 {
		s.grounds.failAll()
	}
	if temp != "" {
		errs = append(errs, os.RemoveAll(temp))
	}
	return errors.Join(errs...)
}

// check reports why nothing can be done now.
func (s *Store) check() error {
	if s.closed {
		return fmt.Errorf("file store %s: %w", s.dir, fs.ErrClosed)
	}
	return nil
}

// Fetch opens content that was added or pushed. A file is opened anew, so what is
// read may not be any more what it was: whoever must be sure reads through
// [oras.NewVerifier]; that its size changed is [oras.ErrInvalid] at once. The
// reader is an [io.Seeker]. A directory that was unpacked is not content any more
// but [oras.ErrNotFound].
func (s *Store) Fetch(ctx context.Context, target oras.Descriptor) (io.ReadCloser, error) {
	c, err := s.lookup(target)
	if err != nil {
		return nil, err
	}
	if c.path == "" {
		return memoryReader{bytes.NewReader(c.data)}, nil
	}
	f, err := s.open(c)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && (!info.Mode().IsRegular() || info.Size() != c.desc.Size) {
		err = fmt.Errorf("%s: %w: changed since it was read: not %d bytes any more", c.path, oras.ErrInvalid, c.desc.Size)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

type memoryReader struct{ *bytes.Reader }

func (memoryReader) Close() error { return nil }

func (s *Store) lookup(target oras.Descriptor) (content, error) {
	d, err := oras.ParseDigest(target.Digest)
	if err != nil {
		return content{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.check(); err != nil {
		return content{}, err
	}
	c, ok := s.content[d]
	if !ok {
		return content{}, fmt.Errorf("%s: %w", d, oras.ErrNotFound)
	}
	return c, nil
}

// open opens the file that has the content.
func (s *Store) open(c content) (*os.File, error) {
	if !c.below {
		return os.Open(c.path)
	}
	rel, err := filepath.Rel(s.dir, c.path)
	if err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(s.dir)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	return root.Open(rel)
}

// Exists reports whether the store was given the content. Of a target with a title
// it reports whether the content has that name: one content under two names is two
// files. A file of that name that is there already is read, if it has the right
// size, and is content of the store if it has the right digest; so is a directory
// whose files, packed, have the digest of [AnnotationDigest]. But where old files
// are to be kept, what is there does not count.
func (s *Store) Exists(ctx context.Context, target oras.Descriptor) (bool, error) {
	d, err := oras.ParseDigest(target.Digest)
	if err != nil {
		return false, err
	}
	if title := target.Annotations[ocispec.AnnotationTitle]; title != "" {
		return s.existsNamed(ctx, d, target, title)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	_, ok := s.content[d]
	return ok, s.check()
}

// Resolve returns the descriptor, as it was added or pushed, that reference, a tag
// or a digest, names.
func (s *Store) Resolve(ctx context.Context, reference string) (oras.Descriptor, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.check(); err != nil {
		return oras.Descriptor{}, err
	}
	if desc, ok := s.tags[reference]; ok {
		return desc, nil
	}
	if d, err := oras.ParseDigest(reference); err == nil {
		if c, ok := s.content[d]; ok {
			return c.desc, nil
		}
	}
	return oras.Descriptor{}, fmt.Errorf("%s: %w", reference, oras.ErrNotFound)
}

// Tag lets reference, any text but a digest, name content of the store.
func (s *Store) Tag(ctx context.Context, desc oras.Descriptor, reference string) error {
	if _, err := oras.ParseDigest(reference); err == nil || reference == "" {
		return fmt.Errorf("%w: %q cannot be a tag", oras.ErrReference, reference)
	}
	if _, err := s.lookup(desc); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tags[reference] = desc
	return nil
}

// tempFile makes a file in the private directory.
func (s *Store) tempFile() (*os.File, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.check(); err != nil {
		return nil, err
	}
	if s.temp == "" {
		dir, err := os.MkdirTemp("", "oras-")
		if err != nil {
			return nil, err
		}
		s.temp = dir
	}
	return os.CreateTemp(s.temp, "*")
}

// add makes the content known, and the name with it if there is one.
func (s *Store) add(d oras.Digest, c content, n *name) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.check(); err != nil {
		return err
	}
	if _, ok := s.content[d]; !ok {
		s.content[d] = c
	}
	if n != nil {
		n.digest = d
	}
	return nil
}

// name returns the name that the title stands for.
func (s *Store) name(title string) (*name, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.check(); err != nil {
		return nil, err
	}
	key := clean(title)
	n := s.names[key]
	if n == nil {
		n = &name{}
		s.names[key] = n
	}
	return n, nil
}

func (s *Store) digestOf(n *name) oras.Digest {
	s.mu.Lock()
	defer s.mu.Unlock()
	return n.digest
}

const bufferSize = 256 << 10

// buffers are for copying content.
var buffers = sync.Pool{New: func() any { return new([bufferSize]byte) }}

// copyTo copies r to w until r ends or the context does.
func copyTo(ctx context.Context, w io.Writer, r io.Reader) (int64, error) {
	buf := buffers.Get().(*[bufferSize]byte)
	defer buffers.Put(buf)
	// The types hide methods of files that would not use buf, nor stop.
	return io.CopyBuffer(struct{ io.Writer }{w}, partial.Reader(ctx, r), buf[:])
}
