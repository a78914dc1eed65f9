package bucket

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"time"
)

// sharing lets do touch files in folder while nobody deletes any for being old. It
// costs two calls of the system, and waits only while one file is deleted. A process
// that is killed lets go of its locks.
func (d *Dir) sharing(folder string, do func() error) error {
	lock, err := d.lock(folder, false)
	if err != nil {
		return err
	}
	err = do()
	if closeErr := lock.Close(); err == nil {
		err = closeErr
	}
	return err
}

// Stat is what the comment of [Bucket] says.
func (d *Dir) Stat(ctx context.Context, key string) (Status, error) {
	name, err := d.file(key)
	if err != nil {
		return Status{}, err
	}
	var status Status
	err = d.within(name, func(f *folder, base string) error {
		status, err = statAt(f, base)
		return err
	})
	if err != nil {
		return Status{}, failed(key, err)
	}
	return status, nil
}

func statIn(f *folder, name string) (Status, error) {
	info, err := object(f.Stat(name))
	if err != nil {
		return Status{}, err
	}
	names, err := countNames(f, name, info)
	return Status{info.Size(), info.ModTime(), names}, err
}

// Touch is what the comment of [Bucket] says.
func (d *Dir) Touch(ctx context.Context, key string) error {
	name, err := d.file(key)
	if err != nil {
		return err
	}
	if err := d.sharing(path.Dir(name), func() error { return d.touch(name) }); err != nil {
		return failed(key, err)
	}
	return nil
}

// DeleteOlder is what the comment of [Bucket] says.
func (d *Dir) DeleteOlder(ctx context.Context, key string, than time.Time) (bool, error) {
	name, err := d.file(key)
	if err != nil {
		return false, err
	}
	deleted, err := d.deleteOlder(name, than)
	if err != nil {
		return deleted, failed(key, err)
	}
	return deleted, nil
}

func (d *Dir) deleteOlder(name string, than time.Time) (deleted bool, err error) {
	// The disk may take long to free what a large file holds, and does so when it
	// is closed for the last time: after others can go on.
	f, err := d.openFile(name, os.O_RDONLY)
	if err != nil {
		return false, err
	}
	defer f.Close() // was only held
	folder := path.Dir(name)
	var lock io.Closer
	err = d.journal.do(&entry{
		records: []record{{kind: recordGone, name: name}},
		alone:   folder + "/",
		lazy:    true,
		check: func() (skip bool, err error) {
			if lock, err = d.lock(folder, true); err != nil {
				return false, err
			}
			info, err := object(d.stat(name))
			return err == nil && !info.ModTime().Before(than), err
		},
		apply: func() error {
			deleted = true
			return d.erase(name)
		},
	})
	if lock != nil {
		lock.Close() // has nothing to write
	}
	if err != nil {
		return false, err
	}
	return deleted, nil
}

// Leftovers is what the comment of [Bucket] says: temporary files.
func (d *Dir) Leftovers(ctx context.Context, than time.Time, fn func(Leftover) error) error {
	left, err := fs.ReadDir(d.root.FS(), temporary)
	if err != nil {
		return err
	}
	for _, entry := range left {
		info, err := entry.Info()
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		if !info.ModTime().Before(than) {
			continue // perhaps still being written
		}
		name := path.Join(temporary, entry.Name())
		if err := fn(Leftover{name, info.Size(), func() error { return d.discard(name) }}); err != nil {
			return err
		}
	}
	return nil
}
