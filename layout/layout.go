// Package layout is a store in an OCI image layout (image-spec, image-layout.md):
// the form in which artifacts are exchanged as files.
//
//	oci-layout                    the version of the form, 1.0.0
//	index.json                    what is in the layout, and under which tags
//	blobs/<algorithm>/<hex>       content, manifests included
//	.oras.lock                    held while index.json changes
//	.oras-<random>.tmp            a file that is being written
//	.oras-<algorithm>-<hex>.part  the beginning of that content, or all of it
//
// index.json is the truth. A tag is the annotation
// org.opencontainers.image.ref.name of an entry, so it may hold what registries
// do not allow, such as "example.com/foo:latest"; a manifest with several tags
// has several entries, and one without any has one without the annotation.
// Every manifest that is pushed gets an entry. Entries and members that other
// tools put there stay as they are.
//
// A directory may be shared by any number of stores and processes. Who changes
// index.json holds the lock, reads the file again, makes that one change, and
// replaces the file; who reads it needs no lock and sees what others changed.
// Content is hashed and synced under a temporary name first. So whenever a
// process ends, what is there is a valid layout; its temporary files do no harm,
// and [Open] removes them after a day. A part is locked by who writes to it, and
// stays for the next push of its content, a week long. The names that are not
// image-spec's start with a dot and lie beside index.json, where no tool looks for
// content.
// Programs that know nothing of the lock can lose a change if they write at the
// same moment.
//
// What is read is checked: content must be a regular file inside the layout, and
// symbolic links are not followed.
package layout

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"github.com/opencontainers/go-digest"

	"github.com/c73062ad/oras"
)

// A Store is the repository that a layout is. Get one from [Open],
// [OpenReadOnly] or [OpenFS].
type Store struct {
	name  string        // of the layout, for errors
	fsys  fs.FS         // the layout
	root  *os.Root      // the same, for writing; nil if the store is read-only
	turn  chan struct{} // holds one while this store has the lock, or waits for it
	close func() error

	mu    sync.Mutex
	state state // of index.json when it was last read

	graphMu sync.Mutex
	graph   *graph
}

var _ oras.Store = (*Store)(nil)

// Open opens the layout in the directory dir for reading and writing. The
// directory, oci-layout and index.json are created if they are not there,
// whatever else the directory holds. A file of the layout that is malformed is
// [oras.ErrInvalid], one of another version [oras.ErrUnsupported]; then nothing
// was changed.
func Open(dir string) (*Store, error) {
	if dir == "" {
		return nil, fmt.Errorf("%w: the path of an OCI image layout is empty", oras.ErrReference)
	}
	path, err := filepath.Abs(dir) // the lock is taken by path, wherever the process goes
	if err != nil {
		return nil, err
	}
	if err := makeRoot(path); err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(path)
	if err != nil {
		return nil, err
	}
	s := newStore(dir, root.FS(), root.Close)
	s.root = root
	if err := s.prepare(); err != nil {
		root.Close()
		return nil, err
	}
	return s, nil
}

// OpenReadOnly opens a layout that is there, a directory or a tar archive, which
// of the two is told by what it is and not by its name. Nothing is written: a
// medium that cannot be will do. A path that does not exist and a directory that
// is no layout are [fs.ErrNotExist]. Archives that are compressed, or hold a name
// twice, devices or sparse files, are [oras.ErrInvalid].
func OpenReadOnly(path string) (*Store, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		archive, err := openTar(path)
		if err != nil {
			return nil, err
		}
		return openFS(path, archive, archive.file.Close)
	}
	root, err := os.OpenRoot(path)
	if err != nil {
		return nil, err
	}
	return openFS(path, root.FS(), root.Close)
}

// OpenFS opens the layout at the root of fsys, read-only: a [zip.Reader], an
// [embed.FS], an [os.Root]'s. The readers of its Fetch are seekers where those of
// fsys are.
//
// [zip.Reader]: https://pkg.go.dev/archive/zip#Reader
// [embed.FS]: https://pkg.go.dev/embed#FS
func OpenFS(fsys fs.FS) (*Store, error) {
	return openFS("", fsys, func() error { return nil })
}

func openFS(name string, fsys fs.FS, closeFS func() error) (*Store, error) {
	s := newStore(name, fsys, closeFS)
	err := s.checkVersion()
	if err == nil {
		_, err = s.load()
	}
	if err != nil {
		closeFS()
		return nil, s.invalid(err)
	}
	return s, nil
}

func newStore(name string, fsys fs.FS, closeFS func() error) *Store {
	return &Store{name: name, fsys: fsys, turn: make(chan struct{}, 1), close: closeFS}
}

// invalid says of which layout err is.
func (s *Store) invalid(err error) error {
	if p, ok := err.(*fs.PathError); ok {
		err = fmt.Errorf("%s: %w", p.Path, p.Err) // its operation is that of a system call
	}
	err = fmt.Errorf("invalid OCI Image Layout: %w", err)
	if s.name == "" {
		return err
	}
	return fmt.Errorf("%s: %w", s.name, err)
}

// Close lets go of the directory or the archive. The store cannot be used
// afterwards, nor can readers of an archive's content.
func (s *Store) Close() error { return s.close() }

// Fetch is [oras.Fetcher.Fetch]. The reader is a seeker, but for what [OpenFS]
// says. Content of another size than target.Size, unless that is 0, is
// [oras.ErrInvalid].
func (s *Store) Fetch(ctx context.Context, target oras.Descriptor) (io.ReadCloser, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	d, err := oras.ParseDigest(target.Digest)
	if err != nil {
		return nil, err
	}
	f, info, err := openRegular(s.fsys, blobPath(d))
	if err != nil {
		return nil, missing(d, err)
	}
	if target.Size > 0 && info.Size() != target.Size {
		f.Close()
		return nil, fmt.Errorf("%s: %w: %d bytes, not %d", d, oras.ErrInvalid, info.Size(), target.Size)
	}
	return f, nil
}

// Exists is [oras.Source.Exists]. Content of another size than target.Size,
// unless that is 0, is not there: the next Push mends it.
func (s *Store) Exists(ctx context.Context, target oras.Descriptor) (bool, error) {
	if err := ctx.Err(); err != nil {
		return false, err
	}
	d, err := oras.ParseDigest(target.Digest)
	if err != nil {
		return false, err
	}
	info, err := statRegular(s.fsys, blobPath(d))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("%s: %w", d, err)
	}
	return target.Size == 0 || target.Size == info.Size(), nil
}

// Lost reports whether a child of the manifest target, or of a manifest among them, is not
// there or has another size; children chooses those that should be. It is for [oras.Copy],
// which then brings it.
func (s *Store) Lost(ctx context.Context, target oras.Descriptor, children func(oras.Descriptor, *oras.Manifest) []oras.Descriptor) (bool, error) {
	seen := map[digest.Digest]bool{target.Digest: true}
	for left := []oras.Descriptor{target}; len(left) > 0; {
		desc := left[0]
		left = left[1:]
		m, err := s.readManifest(ctx, desc)
		if errors.Is(err, oras.ErrInvalid) || errors.Is(err, oras.ErrNotFound) {
			return true, nil
		}
		if err != nil {
			return false, err
		}
		for _, child := range children(desc, m) {
			if seen[child.Digest] {
				continue
			}
			seen[child.Digest] = true
			if there, err := s.Exists(ctx, child); err != nil || !there {
				return err == nil, err
			}
			if oras.IsManifest(child.MediaType) {
				left = append(left, child)
			}
		}
	}
	return false, nil
}

func (s *Store) readManifest(ctx context.Context, desc oras.Descriptor) (*oras.Manifest, error) {
	data, err := oras.FetchAll(ctx, s, desc)
	if err != nil {
		return nil, err
	}
	return oras.ParseManifest(desc.MediaType, data)
}

// missing makes content that has no file [oras.ErrNotFound], and names it.
func missing(d oras.Digest, err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s: %w", d, oras.ErrNotFound)
	}
	return fmt.Errorf("%s: %w", d, err)
}
