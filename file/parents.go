package file

import (
	"errors"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
)

// A place is where a title's file goes.
type place struct {
	dir  *os.Root // of the directory that holds it
	base string   // its name there; "." if it is that directory
	path string   // absolute
}

// parents makes the directories that titles name, and removes those that nothing
// came to be in.
type parents struct {
	mu     sync.Mutex
	made   []madeDirectory // each after what it is in
	active int             // places in use
	failed bool            // one of them came to nothing
}

type madeDirectory struct{ root, name string } // name in root; of root itself, "."

// take makes the directory for a title's file. give must be called with the place.
func (p *parents) take(dir, abs, rel string) (*place, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.active++
	at, err := p.open(dir, abs, rel)
	if err != nil {
		p.done(err)
		return nil, err
	}
	return at, nil
}

// give ends the use of a place, in which something is unless err.
func (p *parents) give(at *place, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	at.dir.Close()
	p.done(err)
}

// done removes directories when nobody is about to put something into one.
func (p *parents) done(err error) {
	p.active--
	p.failed = p.failed || err != nil
	if p.active > 0 || !p.failed {
		return
	}
	p.failed = false
	var left []madeDirectory
	for _, d := range slices.Backward(p.made) {
		if d.remove() != nil { // it holds something, or is not ours any more
			left = append(left, d)
		}
	}
	slices.Reverse(left)
	p.made = left
}

func (d madeDirectory) remove() error {
	if d.name == "." {
		return os.Remove(d.root)
	}
	root, err := os.OpenRoot(d.root)
	if err != nil {
		return err
	}
	defer root.Close()
	return root.Remove(d.name)
}

func (p *parents) open(dir, abs, rel string) (*place, error) {
	if rel == "" {
		parent := filepath.Dir(abs)
		if err := p.makeAll(parent); err != nil {
			return nil, err
		}
		root, err := os.OpenRoot(parent)
		return &place{root, filepath.Base(abs), abs}, err
	}
	if err := p.makeAll(dir); err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	if rel == "." {
		return &place{root, ".", abs}, nil
	}
	defer root.Close()
	parent := path.Dir(rel)
	err = p.makeBelow(root, parent)
	var sub *os.Root
	if err == nil {
		sub, err = root.OpenRoot(parent)
	}
	if err != nil && leadsOut(root, parent) {
		err = ErrPathTraversal
	}
	return &place{sub, path.Base(rel), abs}, err
}

// makeAll makes the directory abs and those it is in.
func (p *parents) makeAll(abs string) error {
	_, err := os.Stat(abs)
	if err == nil || !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if up := filepath.Dir(abs); up != abs {
		if err := p.makeAll(up); err != nil {
			return err
		}
	}
	err = os.Mkdir(abs, 0o777)
	if errors.Is(err, fs.ErrExist) {
		return nil // somebody else was first, or what is there will say what it is
	}
	if err == nil {
		p.made = append(p.made, madeDirectory{abs, "."})
	}
	return err
}

// makeBelow makes the directory name in root and those it is in.
func (p *parents) makeBelow(root *os.Root, name string) error {
	if name == "." {
		return nil
	}
	if _, err := root.Stat(name); err == nil || !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := p.makeBelow(root, path.Dir(name)); err != nil {
		return err
	}
	err := root.Mkdir(name, 0o777)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err == nil {
		p.made = append(p.made, madeDirectory{root.Name(), name})
	}
	return err
}

// leadsOut reports whether a symbolic link on the way to name leads out of root.
func leadsOut(root *os.Root, name string) bool {
	for i := range len(name) + 1 {
		if i < len(name) && name[i] != '/' {
			continue
		}
		info, err := root.Lstat(name[:i])
		if err != nil {
			return false
		}
		if info.Mode().Type() != fs.ModeSymlink {
			continue
		}
		// The one error of os.Root that has no value of its own.
		if _, err := root.Stat(name[:i]); err != nil && strings.Contains(err.Error(), "escapes") {
			return true
		}
	}
	return false
}
