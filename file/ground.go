package file

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/c73062ad/oras"
	"github.com/c73062ad/oras/archive"
	"github.com/c73062ad/oras/internal/claim"
)

// A ground is a directory below which files get their names: that of the store, or,
// where titles may lead out of that, the one that a file is in. What is not finished
// lies in it:
//
//	.oras-sha256-<hex>-<size>.part       the beginning of that content, or all of it
//	.oras-<random>.work/                 what one store alone works on
//	    lock                             is locked as long as it does
//	    <n>.oras-sha256-<hex>-<size>.part  as above, waiting for Commit, or where another process has the other
//	    .oras-<random>/                  an archive being unpacked, or waiting for Commit
//
// It all is there, and not where the titles lead, since that may not be there yet.
type ground struct {
	dir   string // absolute
	root  *os.Root
	info  fs.FileInfo // of it
	users int         // places taken, and what waits for Commit; under grounds.mu

	mu   sync.Mutex
	work string   // the name of the work directory, or empty if there is none yet
	lock *os.File // in it
	n    int      // of names given in it
}

// A place is where a title's file or directory goes.
type place struct {
	*ground
	name string // below the ground, separated by slashes; "." is that itself
	path string // absolute
}

// grounds are those of a store. They make the directories that titles name, and
// remove those that nothing came to be in.
type grounds struct {
	mu     sync.Mutex
	open   map[string]*ground // by dir
	swept  map[string]bool    // by dir: leftovers were looked for
	made   []madeDirectory    // each after what it is in
	active int                // places in use, but not those that wait
	failed bool               // one of them came to nothing
}

type madeDirectory struct{ root, name string } // name in root; of root itself, "."

// unwritable returns err, of writing a file whose name means nothing to anybody, as one
// that says where that was.
func (at *ground) unwritable(err error) error {
	var p *fs.PathError
	if !errors.As(err, &p) {
		return err
	}
	return fmt.Errorf("cannot be written in %s: %w", at.dir, p.Err)
}

// take opens the ground for a title's file, making it if need be. give must be
// called with the place.
func (g *grounds) take(dir, abs, rel string) (_ *place, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.active++
	defer func() {
		if err != nil {
			g.done(err)
		}
	}()
	if rel == "" {
		dir, rel = filepath.Dir(abs), filepath.Base(abs)
	}
	at, err := g.enter(dir, func() (*os.Root, error) {
		if err := g.makeAll(dir); err != nil {
			return nil, err
		}
		return os.OpenRoot(dir)
	})
	if err != nil {
		return nil, err
	}
	// A name can only be given on the same file system.
	if mounted := at.mounted(rel); mounted != "" {
		top := at
		at, err = g.enter(filepath.Join(dir, filepath.FromSlash(mounted)), func() (*os.Root, error) { return top.root.OpenRoot(mounted) })
		if err = errors.Join(err, g.leave(top)); err != nil {
			return nil, err
		}
		rel = path.Clean("./" + strings.TrimPrefix(strings.TrimPrefix(rel, mounted), "/"))
	}
	return &place{at, rel, abs}, nil
}

// enter returns the ground dir, which open opens if nobody has it open.
func (g *grounds) enter(dir string, open func() (*os.Root, error)) (*ground, error) {
	at := g.open[dir]
	if at == nil {
		root, err := open()
		if err != nil {
			return nil, err
		}
		info, err := root.Stat(".")
		if err != nil {
			return nil, errors.Join(err, root.Close())
		}
		at = &ground{dir: dir, root: root, info: info}
		g.open[dir] = at
	}
	g.sweep(dir, at.root)
	at.users++
	return at, nil
}

// sweep removes what was left in dir, once.
func (g *grounds) sweep(dir string, root *os.Root) {
	if !g.swept[dir] {
		g.swept[dir] = true
		sweep(root)
	}
}

// clean removes what was left where content turned out to be there, and so nothing is
// written: the part of that, too.
func (g *grounds) clean(root *os.Root, d oras.Digest, size int64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.sweep(root.Name(), root)
	removePart(root, partName(d, size))
}

// mounted returns the directory that is name, or nearest to it, if it is on another
// file system than the ground, else the empty string.
func (at *ground) mounted(name string) string {
	look := at.root.Lstat // a link of this name is replaced
	for dir := name; dir != "."; dir = path.Dir(dir) {
		info, err := look(dir)
		look = at.root.Stat
		if err != nil || !info.IsDir() {
			continue
		}
		if sameDevice(at.info, info) {
			break
		}
		return dir
	}
	return ""
}

// give ends the use of a place, in which something is unless err, or will be if it
// waits.
func (g *grounds) give(at *place, waits bool, err error) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !waits {
		err = errors.Join(err, g.leave(at.ground))
	}
	g.done(err)
	return err
}

// gave is give of a place for which something waited.
func (g *grounds) gave(at *place, waits bool, err error) error {
	g.mu.Lock()
	g.active++
	g.mu.Unlock()
	return g.give(at, waits, err)
}

// failAll removes the directories that nothing came to be in.
func (g *grounds) failAll() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.active++
	g.failed = true
	g.done(nil)
}

// leave closes a ground that has no more users.
func (g *grounds) leave(at *ground) error {
	if at.users--; at.users > 0 {
		return nil
	}
	delete(g.open, at.dir)
	return errors.Join(at.leaveWork(), at.root.Close())
}

// done removes directories when nobody is about to put something into one.
func (g *grounds) done(err error) {
	g.active--
	g.failed = g.failed || err != nil
	if g.active > 0 || !g.failed {
		return
	}
	g.failed = false
	var left []madeDirectory
	for _, d := range slices.Backward(g.made) {
		if d.remove() != nil { // it holds something, or is not ours any more
			left = append(left, d)
		}
	}
	slices.Reverse(left)
	g.made = left
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

// makeAll makes the directory abs and those it is in.
func (g *grounds) makeAll(abs string) error {
	_, err := os.Stat(abs)
	if err == nil || !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if up := filepath.Dir(abs); up != abs {
		if err := g.makeAll(up); err != nil {
			return err
		}
	}
	err = os.Mkdir(abs, 0o777)
	if errors.Is(err, fs.ErrExist) {
		return nil // somebody else was first, or what is there will say what it is
	}
	if err == nil {
		g.made = append(g.made, madeDirectory{abs, "."})
	}
	return err
}

// makeParents makes the directories that the place is in.
func (g *grounds) makeParents(at *place) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.makeBelow(at.root, path.Dir(at.name))
}

// makeBelow makes the directory name in root and those it is in.
func (g *grounds) makeBelow(root *os.Root, name string) error {
	if name == "." {
		return nil
	}
	if _, err := root.Stat(name); err == nil || !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := g.makeBelow(root, path.Dir(name)); err != nil {
		return err
	}
	err := root.Mkdir(name, 0o777)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	if err == nil {
		g.made = append(g.made, madeDirectory{root.Name(), name})
	}
	return err
}

// checkParents finds out early that a place cannot be one, since what it is in is
// none or leads out of the ground.
func (at *place) checkParents() error {
	parent := path.Dir(at.name)
	info, err := at.root.Stat(parent)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil && leadsOut(at.root, parent):
		return ErrPathTraversal
	case err == nil && !info.IsDir():
		return fmt.Errorf("%s: not a directory", filepath.Dir(at.path))
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

const (
	workSuffix = ".work"
	lockName   = "lock"
)

// workDir returns the work directory, which it makes if there is none. Until it is
// locked another process may take it for one that was left.
func (at *ground) workDir() (string, error) {
	at.mu.Lock()
	defer at.mu.Unlock()
	for at.work == "" {
		work := archive.TempPrefix + rand.Text() + workSuffix
		if err := at.root.Mkdir(work, 0o700); err != nil {
			return "", err
		}
		lock, err := claim.File(at.root, path.Join(work, lockName))
		switch {
		case err == nil, errors.Is(err, claim.ErrNoLocks):
			at.work, at.lock = work, lock
		case errors.Is(err, fs.ErrNotExist), errors.Is(err, claim.ErrTaken): // for one that was left
		default:
			return "", errors.Join(err, at.root.RemoveAll(work))
		}
	}
	return at.work, nil
}

// workName returns a new name in the work directory, of what is called base elsewhere.
func (at *ground) workName(base string) (string, error) {
	work, err := at.workDir()
	if err != nil {
		return "", err
	}
	at.mu.Lock()
	defer at.mu.Unlock()
	at.n++
	return path.Join(work, fmt.Sprint(at.n, base)), nil
}

// leaveWork removes the work directory. Content in it that can be of use to the next
// who wants it is kept.
func (at *ground) leaveWork() error {
	if at.work == "" {
		return nil
	}
	var err error
	if at.lock != nil { // else nobody could go on with them
		keepParts(at.root, at.work)
		err = at.lock.Close()
	}
	err = errors.Join(err, at.root.RemoveAll(at.work))
	at.work, at.lock = "", nil
	return err
}
