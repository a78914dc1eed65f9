package bucket

import (
	"errors"
	"os"
	"path"
	"sync"
)

// openFolders are folders kept open, so that reading an object walks no path: an
// os.Root opens each folder on the way.
type openFolders struct {
	mu     sync.RWMutex
	opened map[string]*os.Root
}

const maxOpenFolders = 128 // each a file descriptor

// within calls do with an open folder and the name in it of the file called name,
// or with the root and that name: do may be called twice, the second time because
// the file was not there the first time, which is only believed of a path.
func (d *Dir) within(name string, do func(folder *os.Root, base string) error) error {
	folder, base := path.Split(name)
	if folder == "" {
		return do(d.root, name)
	}
	root, err := d.folders.get(d.root, folder)
	if err == nil {
		err = do(root, base)
	}
	if err == nil || !missing(err) && !errors.Is(err, os.ErrClosed) {
		return err
	}
	if err := do(d.root, name); err != nil {
		return err
	}
	d.folders.drop(folder) // somebody removed it, and made it again
	return nil
}

// get returns folder, opened below root. Another goroutine may close it.
func (f *openFolders) get(root *os.Root, folder string) (*os.Root, error) {
	f.mu.RLock()
	opened := f.opened[folder]
	f.mu.RUnlock()
	if opened != nil {
		return opened, nil
	}
	opened, err := root.OpenRoot(folder)
	if err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if first := f.opened[folder]; first != nil {
		opened.Close()
		return first, nil
	}
	for other := range f.opened {
		if len(f.opened) < maxOpenFolders {
			break
		}
		f.close(other)
	}
	if f.opened == nil {
		f.opened = map[string]*os.Root{}
	}
	f.opened[folder] = opened
	return opened, nil
}

// drop closes folder.
func (f *openFolders) drop(folder string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.opened[folder] != nil {
		f.close(folder)
	}
}

// clear closes all folders.
func (f *openFolders) clear() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for folder := range f.opened {
		f.close(folder)
	}
}

// close closes folder. A folder was only read, so there is no error to have.
func (f *openFolders) close(folder string) {
	f.opened[folder].Close()
	delete(f.opened, folder)
}
