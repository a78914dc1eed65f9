package file

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/c73062ad/oras"
	"github.com/c73062ad/oras/archive"
)

// A fileKey is what tells that an existing file might be one that was written.
type fileKey struct {
	size    int64
	modTime time.Time
}

func keyOf(info fs.FileInfo) fileKey { return fileKey{info.Size(), info.ModTime().UTC()} }

type writtenFile struct {
	name   string
	digest oras.Digest
	info   fs.FileInfo
}

// write makes r, which verifies itself, the file at the place.
func (s *Store) write(ctx context.Context, at *place, d oras.Digest, name string, r io.Reader) (err error) {
	old, err := s.checkOld(at)
	if err != nil {
		return err
	}
	// The name says whose beginning it is if the process is killed.
	temp := archive.TempPrefix + strings.Replace(d.String(), ":", "-", 1) + "-" + rand.Text()[:8]
	f, err := at.dir.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			f.Close()
			at.dir.Remove(temp) // what cannot be removed has not the final name
		}
	}()
	if _, err := copyTo(ctx, f, r); err != nil {
		return err
	}
	if old != nil && old.Mode().IsRegular() {
		if err := f.Chmod(old.Mode().Perm()); err != nil {
			return err
		}
	}
	if err := f.Sync(); err != nil {
		return err
	}
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	return s.rename(at, temp, writtenFile{name, d, info})
}

// checkOld returns what has the name that a file is to get, or nil, or why it
// cannot get it.
func (s *Store) checkOld(at *place) (fs.FileInfo, error) {
	old, err := at.dir.Lstat(at.base)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case err != nil:
		return nil, err
	case s.opts.KeepOldFiles:
		return nil, fmt.Errorf("%s: %w", at.path, ErrOverwrite)
	case old.IsDir():
		return nil, fmt.Errorf("%s: a directory of this name is in the way: %w", at.path, fs.ErrExist)
	}
	return old, nil
}

// rename gives the file that is called temp its final name.
func (s *Store) rename(at *place, temp string, file writtenFile) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.check(); err != nil {
		return err
	}
	old, err := s.checkOld(at)
	if err != nil {
		return err
	}
	if old != nil {
		// Names that are different here may be one for the file system.
		for _, w := range s.written[keyOf(old)] {
			if w.name != file.name && w.digest != file.digest && os.SameFile(w.info, old) {
				return fmt.Errorf("%w: it is the same file as %s here", oras.ErrInvalid, w.name)
			}
		}
	}
	if err := s.give(at, temp); err != nil {
		return err
	}
	key := keyOf(file.info)
	s.written[key] = append(s.written[key], file)
	return nil
}

// give renames temp. Where old files are kept it does so only if there is none.
func (s *Store) give(at *place, temp string) error {
	if !s.opts.KeepOldFiles {
		return at.dir.Rename(temp, at.base)
	}
	err := at.dir.Link(temp, at.base)
	switch {
	case err == nil:
		return at.dir.Remove(temp)
	case errors.Is(err, fs.ErrExist):
		return fmt.Errorf("%s: %w", at.path, ErrOverwrite)
	}
	return at.dir.Rename(temp, at.base) // no hard links on this file system
}
