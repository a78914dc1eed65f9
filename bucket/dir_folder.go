package bucket

import (
	"io"
	"os"
	"path"
	"strings"
	"sync"
	"sync/atomic"
)

// A folder is one that is kept open, so that getting at a file walks no path: an
// os.Root opens each folder on the way.
type folder struct {
	*os.Root
	dir  *os.File // the same, to be synced, and for what an os.Root cannot do
	top  *os.Root // of the Dir
	name string   // below top

	users   atomic.Int32 // who have it; it is not closed before they let go
	dropped atomic.Bool
	closing sync.Once
}

// release lets go of f.
func (f *folder) release() {
	if f.users.Add(-1) == 0 && f.dropped.Load() {
		f.close()
	}
}

// close closes f, which was only read, so that there is no error to have.
func (f *folder) close() {
	f.closing.Do(func() {
		f.dir.Close()
		f.Root.Close()
	})
}

func openFolder(top *os.Root, name string) (*folder, error) {
	root, err := top.OpenRoot(name)
	if err != nil {
		return nil, err
	}
	dir, err := root.Open(".")
	if err != nil {
		root.Close()
		return nil, err
	}
	return &folder{Root: root, dir: dir, top: top, name: name}, nil
}

// openFolders are the folders that are open.
type openFolders struct {
	mu     sync.RWMutex
	opened map[string]*folder
}

const maxOpenFolders = 128 // each two file descriptors

// get returns the folder called name, to be released.
func (o *openFolders) get(top *os.Root, name string) (*folder, error) {
	o.mu.RLock()
	f := o.opened[name]
	if f != nil {
		f.users.Add(1)
	}
	o.mu.RUnlock()
	if f != nil {
		return f, nil
	}
	f, err := openFolder(top, name)
	if err != nil {
		return nil, err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if first := o.opened[name]; first != nil {
		f.close()
		first.users.Add(1)
		return first, nil
	}
	for _, other := range o.opened {
		if len(o.opened) < maxOpenFolders {
			break
		}
		if other.users.Load() == 0 {
			o.remove(other)
		}
	}
	if o.opened == nil {
		o.opened = map[string]*folder{}
	}
	o.opened[name] = f
	f.users.Add(1)
	return f, nil
}

// drop lets f be opened anew by who wants it next.
func (o *openFolders) drop(f *folder) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.opened[f.name] == f {
		o.remove(f)
	}
}

// clear drops all folders.
func (o *openFolders) clear() {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, f := range o.opened {
		o.remove(f)
	}
}

func (o *openFolders) remove(f *folder) {
	delete(o.opened, f.name)
	f.dropped.Store(true)
	if f.users.Load() == 0 {
		f.close()
	}
}

// split cuts name into that of a folder to be kept open and the rest. Folders of
// two letters are one of 256, too many to be.
func split(name string) (folder, base string) {
	folder, base = path.Dir(name), path.Base(name)
	if above, last := path.Split(folder); len(last) == 2 && strings.Count(above, "/") > 1 {
		return path.Clean(above), last + "/" + base
	}
	return folder, base
}

// within calls do with an open folder and the name in it of the file called name. Do
// may be called twice, the second time because the folder had been removed.
func (d *Dir) within(name string, do func(f *folder, base string) error) error {
	folder, base := split(name)
	for again := false; ; again = true {
		f, err := d.folders.get(d.root, folder)
		if err != nil {
			return err
		}
		err = do(f, base)
		retry := !again && missing(err) && f.removed()
		if retry {
			d.folders.drop(f) // somebody removed it, and may have made it again
		}
		f.release()
		if !retry {
			return err
		}
	}
}

// inFolder is within for a folder itself, of which the name in what is open may be
// ".".
func (d *Dir) inFolder(name string, do func(f *folder, rel string) error) error {
	return d.within(name+"/.", func(f *folder, base string) error {
		return do(f, path.Dir(base))
	})
}

// between is within for two files.
func (d *Dir) between(from, to string, do func(f *folder, from string, t *folder, to string) error) error {
	return d.within(from, func(f *folder, from string) error {
		return d.within(to, func(t *folder, to string) error { return do(f, from, t, to) })
	})
}

// lock locks the folder called name until what it returns is closed: shared, or for
// the caller alone.
func (d *Dir) lock(name string, alone bool) (lock io.Closer, err error) {
	err = d.inFolder(name, func(f *folder, rel string) error {
		lock, err = lockFolder(f, rel, alone)
		return err
	})
	return lock, err
}

// sync makes the names in the folder called name durable.
func (d *Dir) sync(name string) error {
	return d.syncs.do(name, func() error {
		if err := d.doing("sync", name); err != nil {
			return err
		}
		return d.inFolder(name, syncFolder)
	})
}

func syncFolder(f *folder, rel string) error {
	if rel == "." {
		return syncDir(f.dir)
	}
	dir, err := f.Open(rel)
	if err != nil {
		return err
	}
	defer dir.Close()
	return syncDir(dir)
}
