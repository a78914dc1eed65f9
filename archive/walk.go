package archive

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
)

const (
	// loaders is how many files are opened and read at a time: each costs
	// some calls to the system, which is more than most files do to pack.
	loaders = 4

	// loadedAhead is how many entries are loaded before their turn.
	loadedAhead = 32

	// smallFile is the size in bytes up to which a file is read as a whole,
	// before its turn.
	smallFile = 64 << 10
)

var smallBuffers = sync.Pool{New: func() any { return new([smallFile + 1]byte) }}

// An entry is something in the tree that is packed. It is loaded in a goroutine of
// its own and has the rest when that is done.
type entry struct {
	dir  *sharedRoot // that it is in
	base string      // its name there
	disk string      // its path, for messages
	name string      // in the archive

	done chan struct{}
	err  error
	info fs.FileInfo
	link string               // of a symbolic link
	file *os.File             // of a file that is not small
	data []byte               // of one that is
	buf  *[smallFile + 1]byte // which data is in
}

// A sharedRoot is closed when the last who holds it lets go.
type sharedRoot struct {
	*os.Root
	holders atomic.Int32
}

func newSharedRoot(root *os.Root) *sharedRoot {
	s := &sharedRoot{Root: root}
	s.holders.Store(1)
	return s
}

func (s *sharedRoot) release() {
	if s.holders.Add(-1) == 0 {
		s.Close()
	}
}

// A walker finds the entries of a tree, in the order in which they are packed, and
// has them loaded.
type walker struct {
	ctx     context.Context
	entries chan *entry
	places  chan struct{} // of loaders
	loading sync.WaitGroup
}

// walk sends the entries below root, and root itself, until they or the context
// end.
func walk(ctx context.Context, root *os.Root, disk, name string, info fs.FileInfo) *walker {
	w := &walker{ctx: ctx, entries: make(chan *entry, loadedAhead), places: make(chan struct{}, loaders)}
	go func() {
		defer close(w.entries)
		dir := newSharedRoot(root)
		dir.holders.Add(1) // root is not ours to close
		w.directory(dir, disk, name, info)
		w.loading.Wait()
	}()
	return w
}

// send reports whether more can be sent.
func (w *walker) send(e *entry) bool {
	select {
	case w.entries <- e:
		return true
	case <-w.ctx.Done():
		e.discard()
		return false
	}
}

// ready sends what needs not be loaded, and reports whether more can be.
func (w *walker) ready(disk, name string, info fs.FileInfo, err error) bool {
	e := &entry{disk: disk, name: name, info: info, err: err, done: make(chan struct{})}
	close(e.done)
	return w.send(e) && err == nil
}

func (w *walker) directory(dir *sharedRoot, disk, name string, info fs.FileInfo) bool {
	defer dir.release()
	if !w.ready(disk, name, info, nil) {
		return false
	}
	entries, err := readDir(dir.Root)
	if err != nil {
		return w.ready(disk, name, nil, err)
	}
	for _, e := range entries {
		if !w.entry(dir, e, filepath.Join(disk, e.Name()), path.Join(name, e.Name())) {
			return false
		}
	}
	return true
}

func (w *walker) entry(dir *sharedRoot, found fs.DirEntry, disk, name string) bool {
	if found.IsDir() {
		sub, info, err := openDir(dir.Root, found.Name())
		if err != nil {
			return w.ready(disk, name, nil, err)
		}
		return w.directory(newSharedRoot(sub), disk, name, info)
	}
	select {
	case w.places <- struct{}{}:
	case <-w.ctx.Done():
		return false
	}
	e := &entry{dir: dir, base: found.Name(), disk: disk, name: name, done: make(chan struct{})}
	dir.holders.Add(1)
	w.loading.Go(func() {
		defer func() { <-w.places }()
		defer close(e.done)
		defer dir.release()
		e.err = e.load()
	})
	return w.send(e)
}

func openDir(root *os.Root, base string) (*os.Root, fs.FileInfo, error) {
	info, err := root.Lstat(base)
	if err != nil {
		return nil, nil, err
	}
	sub, err := root.OpenRoot(base)
	if err != nil {
		return nil, nil, err
	}
	opened, err := sub.Stat(".")
	if err == nil && !os.SameFile(info, opened) {
		err = errChanged
	}
	if err != nil {
		sub.Close()
		return nil, nil, err
	}
	return sub, opened, nil
}

func readDir(root *os.Root) ([]fs.DirEntry, error) {
	d, err := root.Open(".")
	if err != nil {
		return nil, err
	}
	defer d.Close()
	entries, err := d.ReadDir(-1)
	slices.SortFunc(entries, func(a, b fs.DirEntry) int { return cmp.Compare(a.Name(), b.Name()) })
	return entries, err
}

// load finds out what the entry, which is no directory, is.
func (e *entry) load() (err error) {
	if e.info, err = e.dir.Lstat(e.base); err != nil {
		return err
	}
	switch e.info.Mode().Type() {
	case 0:
		return e.loadFile()
	case fs.ModeSymlink:
		e.link, err = e.dir.Readlink(e.base)
		return err
	case fs.ModeDir:
		return errChanged
	}
	return fmt.Errorf("neither a file, a directory nor a link (%s): cannot be packed", e.info.Mode())
}

func (e *entry) loadFile() error {
	f, err := e.dir.Open(e.base)
	if err != nil {
		return err
	}
	opened, err := f.Stat()
	if err == nil && !os.SameFile(e.info, opened) {
		err = errChanged
	}
	if err != nil {
		f.Close()
		return err
	}
	e.info = opened
	if opened.Size() > smallFile {
		e.file = f
		return nil
	}
	defer f.Close()
	e.buf = smallBuffers.Get().(*[smallFile + 1]byte)
	n, err := io.ReadFull(f, e.buf[:opened.Size()+1])
	switch {
	case err != io.EOF && err != io.ErrUnexpectedEOF && err != nil:
		return err
	case int64(n) != opened.Size():
		return errChanged
	}
	e.data = e.buf[:n]
	return nil
}

// discard lets go of what was loaded.
func (e *entry) discard() {
	<-e.done
	if e.file != nil {
		e.file.Close()
	}
	if e.buf != nil {
		smallBuffers.Put(e.buf)
	}
}
