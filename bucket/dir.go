package bucket

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/c73062ad/oras"
)

// A Dir is the bucket that a directory is: an object is a file, "/" in a key is a
// folder. It can do all that a bucket can. Get one from [OpenDir].
//
// An object is written to a temporary file below ".tmp" and renamed. One of up to
// 64 KiB is durable by then because it was written to ".journal", which those who
// write at the same moment sync together; see dirJournal. Of a larger one the file is
// synced before it is renamed, and its folder, with those above it, afterwards. Other
// names of an object are hard links. The time of the last write of a file is its age.
// The file system must be able to rename atomically and to lock files and folders:
// any local one is. The journal is locked while something is written to it and done,
// a folder for microseconds while the age of something in it is looked at or changed.
//
// Any number of processes may use the directory at once. Nothing else should
// write to it; what begins with "." in it is no object.
type Dir struct {
	path string
	root *os.Root
	fold bool // the file system takes "A" and "a" for the same name

	mu      sync.Mutex
	durable map[string]struct{} // folders known to survive a loss of power, their own entry too

	journal *dirJournal
	users   *os.File // tells others that somebody has the directory open; may be nil
	syncs   syncs
	folders openFolders
	names   nameCache

	before func(op string, names ...string) error // in tests, may let fail what is about to be done to the disk
}

func (d *Dir) doing(op string, names ...string) error {
	if d.before == nil {
		return nil
	}
	return d.before(op, names...)
}

const (
	temporary    = ".tmp"
	temporaryAge = 24 * time.Hour // what is older was left behind
	maxDurable   = 1 << 16        // folders in Dir.durable
)

// OpenDir opens the directory path, which it makes if it is not there, readable
// for its owner only. It reads nothing of what is in it, but for what the journal says
// if nobody closed it, which is done again, and for its schema, which
// must not be of a later version of this package, and temporary files that a process
// left behind a day ago, which it removes. A directory that cannot be written is an
// error.
func OpenDir(path string) (*Dir, error) {
	d, err := openDir(path)
	if err != nil {
		return nil, fmt.Errorf("data folder %s: %w", path, cause(err))
	}
	return d, nil
}

// OpenExistingDir is OpenDir for a directory that holds a registry already; any other
// is [oras.ErrNotFound].
func OpenExistingDir(path string) (*Dir, error) {
	for _, key := range []string{schemaKey, repositories} {
		if _, err := os.Stat(filepath.Join(path, key)); err == nil {
			return OpenDir(path)
		} else if !missing(err) {
			return nil, fmt.Errorf("data folder %s: %w", path, cause(err))
		}
	}
	return nil, fmt.Errorf("data folder %s: registry %w", path, oras.ErrNotFound)
}

func openDir(path string) (*Dir, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	if err := makeDir(path); err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(path)
	if err != nil {
		return nil, err
	}
	d := &Dir{path: path, root: root, durable: map[string]struct{}{".": {}}}
	d.journal = &dirJournal{dir: d}
	if err := d.prepare(); err != nil {
		d.Close()
		return nil, err
	}
	return d, nil
}

// makeDir makes the directory path durably, with those above it.
func makeDir(path string) error {
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		return nil
	}
	parent := filepath.Dir(path)
	if parent != path {
		if err := makeDir(parent); err != nil {
			return err
		}
	}
	if err := os.Mkdir(path, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	if info, err := os.Stat(path); err != nil {
		return err
	} else if !info.IsDir() {
		return errors.New("is not a directory")
	}
	f, err := os.Open(parent)
	if err != nil {
		return err
	}
	defer f.Close()
	return syncDir(f)
}

// prepare finds out whether and how files can be written, and whether those that
// are there can be read. A full disk is no error: much can still be done.
func (d *Dir) prepare() error {
	if err := d.mkdir(temporary); err != nil {
		return err
	}
	probe := temporaryName()
	f, err := d.create(probe)
	if err == nil {
		err = f.Close()
		if left := d.discard(probe); err == nil {
			err = left
		}
	}
	if err != nil && !full(err) {
		return err
	}
	_, err = d.root.Stat(strings.ToUpper(temporary))
	d.fold = err == nil
	if d.users, err = d.journal.open(); err != nil && !full(err) {
		return err
	}
	ctx := context.Background()
	if err := checkSchema(ctx, d); err != nil {
		return err
	}
	long := time.Now().Add(-temporaryAge)
	return d.Leftovers(ctx, long, func(l Leftover) error { return l.Remove() })
}

// Close lets go of the directory. Files that are open stay so.
func (d *Dir) Close() error {
	err := d.journal.close()
	if d.users != nil {
		err = errors.Join(err, d.users.Close())
	}
	d.folders.clear()
	return errors.Join(err, d.root.Close())
}

// Get is [Bucket.Get]. The reader is an [os.File].
func (d *Dir) Get(ctx context.Context, key string) (io.ReadCloser, error) {
	name, err := d.file(key)
	if err != nil {
		return nil, err
	}
	var f *os.File
	err = d.within(name, func(folder *folder, base string) error {
		f, err = openAt(folder, base, os.O_RDONLY)
		return err
	})
	if err != nil {
		return nil, failed(key, err)
	}
	if err := checkObject(f); err != nil {
		f.Close()
		return nil, failed(key, err)
	}
	return f, nil
}

// Size is [Bucket.Size].
func (d *Dir) Size(ctx context.Context, key string) (int64, error) {
	name, err := d.file(key)
	if err != nil {
		return 0, err
	}
	info, err := object(d.stat(name))
	if err != nil {
		return 0, failed(key, err)
	}
	return info.Size(), nil
}

// object returns what is given, or fs.ErrNotExist for what is no object.
func object(info fs.FileInfo, err error) (fs.FileInfo, error) {
	if err == nil && !info.Mode().IsRegular() {
		err = fs.ErrNotExist
	}
	return info, err
}

// missing reports whether err says that a file is not there. One below another
// file is not either.
func missing(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR)
}

// failed says of which object err is an error.
func failed(key string, err error) error {
	if missing(err) {
		return fmt.Errorf("%s: %w", key, oras.ErrNotFound)
	}
	return fmt.Errorf("%s: %w", key, cause(err))
}

// cause is err without the name of a file, which the key says better.
func cause(err error) error {
	switch e := err.(type) {
	case *fs.PathError:
		return fmt.Errorf("%s: %w", e.Op, e.Err)
	case *os.LinkError:
		return fmt.Errorf("%s: %w", e.Op, e.Err)
	}
	return err
}
