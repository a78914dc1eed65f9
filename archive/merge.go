package archive

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"slices"
)

// A Tree is an archive that [Extract] unpacked and that waits to be moved to where
// it belongs. It is for one goroutine at a time.
type Tree struct{ u *unpacker }

// Check reports what is in the way of Commit, and changes nothing.
func (t *Tree) Check() error {
	m, err := t.u.merge()
	if m == nil || err != nil {
		return err
	}
	return m.stage.Close()
}

// Commit moves the tree into place, as [Unpack] says. Discard must be called in any
// case.
func (t *Tree) Commit() error {
	m, err := t.u.merge()
	if m == nil && err == nil {
		err = t.u.rename()
		if !errors.Is(err, fs.ErrExist) {
			return err
		}
		m, err = t.u.merge() // with what somebody put there meanwhile
	}
	if err != nil {
		return err
	}
	if m == nil {
		return fmt.Errorf("%s: comes and goes: %w", t.u.dir, fs.ErrExist)
	}
	defer m.stage.Close()
	if err := m.move("."); err != nil {
		return err
	}
	return t.u.applyModes(t.u.dir, m.kept)
}

// Discard removes what was not moved into place.
func (t *Tree) Discard() error { return t.u.remove() }

// merge returns how the tree can be moved into a directory that is there, or nil if
// there is none.
func (u *unpacker) merge() (*merge, error) {
	if u.dir != "." {
		if _, err := u.root.Lstat(u.dir); errors.Is(err, fs.ErrNotExist) {
			return nil, nil
		}
	}
	stage, err := u.root.OpenRoot(u.stageName)
	if err != nil {
		return nil, err
	}
	m := &merge{unpacker: u, stage: stage, kept: map[string]bool{}}
	if err := m.check("."); err != nil {
		stage.Close()
		return nil, err
	}
	return m, nil
}

// rename makes the tree the destination, with all modes, in one step.
func (u *unpacker) rename() error {
	err := u.applyModes(u.stageName, nil)
	if err == nil {
		err = u.root.Rename(u.stageName, u.dir)
	}
	if err != nil {
		// So that the tree can be removed, from the top.
		for _, name := range slices.Sorted(maps.Keys(u.modes)) {
			u.root.Chmod(path.Join(u.stageName, name), 0o700)
		}
	}
	return err
}

// applyModes gives the directories of the tree, which is now at dir, the modes that
// had to wait, except those in kept.
func (u *unpacker) applyModes(dir string, kept map[string]bool) error {
	names := slices.Sorted(maps.Keys(u.modes))
	slices.Reverse(names) // a directory after what it holds
	for _, name := range names {
		if kept[name] {
			continue
		}
		at := path.Join(dir, name)
		info, err := u.root.Lstat(at)
		if err != nil {
			return err
		}
		if !info.IsDir() {
			return fmt.Errorf("%s: %w", u.path(name), inTheWay(info))
		}
		if err := u.root.Chmod(at, u.modes[name]); err != nil {
			return err
		}
	}
	return nil
}

// A merge moves the tree into a directory that is there.
type merge struct {
	*unpacker
	stage *os.Root
	kept  map[string]bool // directories of the tree that are there
}

// batch is how many entries of a directory are looked at in one go.
const batch = 256

// check finds out that the entries of dir can be moved, and where directories are
// there.
func (m *merge) check(dir string) error {
	m.kept[dir] = true
	d, err := m.stage.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	for {
		entries, err := d.ReadDir(batch)
		for _, e := range entries {
			if err := m.checkEntry(path.Join(dir, e.Name()), e.IsDir()); err != nil {
				return err
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func (m *merge) checkEntry(name string, isDir bool) error {
	info, err := m.root.Lstat(path.Join(m.dir, name))
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case isDir && info.IsDir():
		return m.check(name)
	case isDir || info.IsDir() || m.keepOld:
		return fmt.Errorf("%s: %w", m.path(name), inTheWay(info))
	}
	return nil
}

// move moves the entries of dir, which is there, one by one.
func (m *merge) move(dir string) (err error) {
	lock, err := m.unlock(dir)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, lock()) }()
	for {
		// From the start each time: what was moved is not there any more.
		entries, err := readSome(m.stage, dir)
		if err != nil || len(entries) == 0 {
			return err
		}
		for _, e := range entries {
			name := path.Join(dir, e.Name())
			if err := m.moveEntry(name, e.IsDir()); err != nil {
				var link *os.LinkError
				if errors.As(err, &link) { // whose paths nobody knows
					err = fmt.Errorf("%s: %w", m.path(name), link.Err)
				}
				return err
			}
		}
	}
}

// unlock lets something be moved into dir, which is there, if the archive too has it as
// one that its owner cannot write to: so it became that when the archive, or one like it,
// was unpacked before. What it returns gives dir its mode back.
func (m *merge) unlock(dir string) (lock func() error, err error) {
	const write = 0o200
	at := path.Join(m.dir, dir)
	lock = func() error { return nil }
	mode, ok := m.modes[dir]
	if !ok || mode&write != 0 {
		return lock, nil
	}
	info, err := m.root.Lstat(at)
	if err != nil || !info.IsDir() || info.Mode()&write != 0 {
		return lock, err
	}
	if m.root.Chmod(at, info.Mode().Perm()|0o700) != nil {
		return lock, nil // it is somebody else's: moving says what is wrong
	}
	return func() error { return m.root.Chmod(at, info.Mode().Perm()) }, nil
}

func (m *merge) moveEntry(name string, isDir bool) error {
	if !m.kept[name] {
		err := m.root.Rename(path.Join(m.stageName, name), path.Join(m.dir, name))
		if !isDir || !errors.Is(err, fs.ErrExist) {
			return err
		}
		// Somebody made it meanwhile, another who unpacks the same perhaps.
		if err := m.check(name); err != nil {
			return err
		}
	}
	if err := m.move(name); err != nil {
		return err
	}
	return m.stage.Remove(name)
}

func readSome(root *os.Root, dir string) ([]fs.DirEntry, error) {
	d, err := root.Open(dir)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	entries, err := d.ReadDir(batch)
	if err == io.EOF {
		err = nil
	}
	return entries, err
}

// inTheWay says that something else is where an entry goes.
func inTheWay(info fs.FileInfo) error {
	return fmt.Errorf("%s of this name is in the way: %w", kindOf(info), fs.ErrExist)
}

func kindOf(info fs.FileInfo) string {
	switch info.Mode().Type() {
	case 0:
		return "a file"
	case fs.ModeDir:
		return "a directory"
	case fs.ModeSymlink:
		return "a symbolic link"
	}
	return "something special"
}
