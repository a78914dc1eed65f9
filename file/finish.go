package file

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/c73062ad/oras"
	"github.com/c73062ad/oras/archive"
)

// finished is content that is whole and verified, and has not its final name yet.
type finished struct {
	at     *place
	title  string // cleaned
	digest oras.Digest
	tree   *archive.Tree // of a directory
	part   *part         // of a file; of a directory what it was packed in, or nil
}

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

// finish gives f its final name, or lets it wait for Commit.
//
// The file is closed before, which is when some file systems tell that they could not
// write it, but not synced: that would take as long as all the rest, what is pulled can
// be pulled again, and the next pull reads what is there. So a loss of power may leave
// a file incomplete that was pulled in the last seconds.
func (s *Store) finish(f *finished) (waits bool, err error) {
	if f.part != nil {
		err = f.part.hold()
		if err == nil {
			err = f.part.close()
		}
		if err != nil {
			return false, errors.Join(err, f.discard())
		}
	}
	if !s.opts.Stage {
		err := s.place(f)
		return false, errors.Join(err, f.discard())
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.check(); err != nil {
		return false, errors.Join(err, f.discard())
	}
	s.waiting = append(s.waiting, f)
	return true, nil
}

// discard lets go of f, and removes what has not got its name.
func (f *finished) discard() error {
	var err error
	if f.tree != nil {
		err = f.tree.Discard()
	}
	if f.part != nil {
		err = errors.Join(err, f.part.remove())
	}
	return err
}

// place gives f its final name.
func (s *Store) place(f *finished) error {
	s.placing.Lock()
	defer s.placing.Unlock()
	if err := s.grounds.makeParents(f.at); err != nil {
		return err
	}
	if f.tree != nil {
		return s.kind(f.tree.Commit())
	}
	return s.rename(f)
}

// checkOld returns what has the name that a file is to get, or nil, or why it
// cannot get it.
func (s *Store) checkOld(at *place) (fs.FileInfo, error) {
	old, err := at.root.Lstat(at.name)
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

// rename gives a file its final name. s.placing is held.
func (s *Store) rename(f *finished) error {
	info, err := f.part.check()
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.check(); err != nil {
		return err
	}
	old, err := s.checkOld(f.at)
	if err != nil {
		return err
	}
	if old != nil {
		// Names that are different here may be one for the file system.
		for _, w := range s.written[keyOf(old)] {
			if w.name != f.title && w.digest != f.digest && os.SameFile(w.info, old) {
				return fmt.Errorf("%w: it is the same file as %s here", oras.ErrInvalid, w.name)
			}
		}
	}
	if old != nil && old.Mode().IsRegular() {
		if err := f.at.root.Chmod(f.part.name, old.Mode().Perm()); err != nil {
			return err
		}
	}
	if err := s.give(f.at, f.part.name); err != nil {
		return err
	}
	f.part.name = ""
	s.wrote(f.title, f.digest, info)
	return nil
}

// wrote remembers the file that a title became. s.mu is held.
func (s *Store) wrote(title string, d oras.Digest, info fs.FileInfo) {
	key := keyOf(info)
	s.written[key] = append(s.written[key], writtenFile{title, d, info})
}

// give renames temp. Where old files are kept it does so only if there is none.
func (s *Store) give(at *place, temp string) error {
	if !s.opts.KeepOldFiles {
		return at.root.Rename(temp, at.name)
	}
	err := at.root.Link(temp, at.name)
	switch {
	case err == nil:
		return at.root.Remove(temp)
	case errors.Is(err, fs.ErrExist):
		return fmt.Errorf("%s: %w", at.path, ErrOverwrite)
	}
	return at.root.Rename(temp, at.name) // no hard links on this file system
}

// Commit gives everything that was pushed to a store with [Options.Stage] its final
// name. What could be in the way is looked for first: as long as that finds something
// nothing has changed, and Commit can be called again. Then all is renamed, in the order
// in which it was pushed, so that there is no long time in which only some of it is
// there. The error of a rename ends Commit, as does that of ctx; what has its name by
// then keeps it. Nothing may be pushed meanwhile.
func (s *Store) Commit(ctx context.Context) error {
	s.mu.Lock()
	waiting, err := s.waiting, s.check()
	s.mu.Unlock()
	if err != nil {
		return err
	}
	for _, f := range waiting {
		if err := s.checkWay(f.at, f.tree); err != nil {
			return fmt.Errorf("%s: %w", f.title, err)
		}
	}
	for len(waiting) > 0 {
		if err := context.Cause(ctx); err != nil {
			return err
		}
		f := waiting[0]
		path := f.path()
		if err := s.place(f); err != nil {
			return fmt.Errorf("%s: %w", f.title, s.grounds.gave(f.at, true, err))
		}
		waiting = waiting[1:]
		s.placed(f, path, waiting)
		if err := errors.Join(f.discard(), s.grounds.gave(f.at, false, nil)); err != nil {
			return fmt.Errorf("%s: %w", f.title, err)
		}
	}
	return nil
}

// checkWay finds out that a title cannot get its file, or the directory that is to
// be the tree.
func (s *Store) checkWay(at *place, tree *archive.Tree) error {
	if err := at.checkParents(); err != nil {
		return err
	}
	if tree != nil {
		return s.kind(tree.Check())
	}
	_, err := s.checkOld(at)
	return err
}

// placed notes that f, which was at path, has its name, and what still waits.
func (s *Store) placed(f *finished, path string, waiting []*finished) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.waiting = waiting
	if c, ok := s.content[f.digest]; ok && f.tree == nil && c.path == path {
		c.path = f.at.path
		s.content[f.digest] = c
	}
}

// path returns where a file is before it has its name.
func (f *finished) path() string {
	if f.tree != nil {
		return ""
	}
	return filepath.Join(f.at.dir, filepath.FromSlash(f.part.name))
}
