package file

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/c73062ad/oras"
	"github.com/c73062ad/oras/archive"
)

// existsNamed reports whether title has the content d: because the store was given
// it, or because it is there.
func (s *Store) existsNamed(ctx context.Context, d oras.Digest, desc oras.Descriptor, title string) (bool, error) {
	s.mu.Lock()
	n, err := s.names[clean(title)], s.check()
	var was oras.Digest
	if n != nil {
		was = n.digest
	}
	s.mu.Unlock()
	if err != nil || !was.IsZero() || s.opts.KeepOldFiles {
		return was == d, err
	}
	abs, rel, err := s.locate(title, isPacked(desc))
	if err != nil {
		return false, nil // Push says why it cannot be
	}
	root, name, err := s.openThere(abs, rel)
	if err != nil {
		return false, nil // so there is nothing
	}
	defer root.Close()
	if n, err = s.name(title); err != nil {
		return false, err
	}
	n.writing.Lock()
	defer n.writing.Unlock()
	if was := s.digestOf(n); !was.IsZero() {
		return was == d, nil
	}
	if isPacked(desc) {
		same, err := s.sameTree(ctx, root, name, clean(title), desc)
		if err != nil || !same {
			return false, err
		}
		s.grounds.clean(root, d, desc.Size)
		return true, s.remember(d, n)
	}
	info, err := sameFile(ctx, root, name, desc)
	if err != nil || info == nil {
		return false, err
	}
	s.grounds.clean(root, d, desc.Size)
	if err := s.add(d, content{desc: desc, path: abs, below: rel != ""}, n); err != nil {
		return false, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.wrote(clean(title), d, info)
	return true, nil
}

// openThere opens the directory that a title's file is looked for in, and returns its
// name there.
func (s *Store) openThere(abs, rel string) (*os.Root, string, error) {
	if rel == "" {
		root, err := os.OpenRoot(filepath.Dir(abs))
		return root, filepath.Base(abs), err
	}
	root, err := os.OpenRoot(s.dir)
	return root, rel, err
}

// sameFile returns what is known of the file name if it has the content of desc. That
// something cannot be read is no error: it is not the content then.
func sameFile(ctx context.Context, root *os.Root, name string, desc oras.Descriptor) (fs.FileInfo, error) {
	info, err := root.Lstat(name)
	if err != nil || !info.Mode().IsRegular() || info.Size() != desc.Size {
		return nil, nil
	}
	f, err := root.Open(name)
	if err != nil {
		return nil, nil
	}
	defer f.Close()
	opened, err := f.Stat()
	if err != nil || !os.SameFile(info, opened) {
		return nil, nil
	}
	if _, err := copyTo(ctx, io.Discard, oras.NewVerifier(f, desc)); err != nil {
		return nil, context.Cause(ctx)
	}
	return opened, nil
}

// sameTree reports whether the directory name, packed as Add does, has the digest that
// desc says. The archive says of its entries' time, if it is one that counts, only by
// the files that came out of it: their times are whole seconds then.
func (s *Store) sameTree(ctx context.Context, root *os.Root, name, title string, desc oras.Descriptor) (bool, error) {
	want, err := unpackedDigest(desc)
	if err != nil || want.IsZero() {
		return false, nil
	}
	info, err := root.Lstat(name)
	if err != nil || !info.IsDir() {
		return false, nil
	}
	dir, err := root.OpenRoot(name)
	if err != nil {
		return false, nil
	}
	defer dir.Close()
	h := want.Algorithm().New()
	if err := archive.PackRoot(ctx, h, dir, &archive.PackOptions{Prefix: title, ModTime: packedTime(dir)}); err != nil {
		return false, context.Cause(ctx)
	}
	return want.Algorithm().Sum(h) == want, nil
}

var errFound = errors.New("found")

// packedTime returns the time that the entries of the archive had that became the
// directory, if it was one: that of the first file.
func packedTime(dir *os.Root) (t time.Time) {
	fs.WalkDir(dir.FS(), ".", func(_ string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		if info, err := d.Info(); err == nil && info.ModTime().Nanosecond() == 0 {
			t = info.ModTime()
		}
		return errFound
	})
	return t
}
