package bucket

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"

	"github.com/c73062ad/oras"
)

// Put is [Bucket.Put]. A size below 0 is one that is not known.
func (d *Dir) Put(ctx context.Context, key string, content io.Reader, size int64) error {
	name, err := d.file(key)
	if err != nil {
		return err
	}
	temp, n, err := d.write(ctx, content)
	if source, ok := err.(sourceError); ok {
		return source.error
	}
	if err != nil {
		return failed(key, err)
	}
	if size >= 0 && n != size {
		err = fmt.Errorf("%s: %w: %d bytes, not %d", key, oras.ErrInvalid, n, size)
	} else {
		err = d.place(key, name, func() error { return d.root.Rename(temp, name) })
	}
	if err != nil {
		return errors.Join(err, d.discard(temp))
	}
	return nil
}

// A sourceError is one of whatever content came from.
type sourceError struct{ error }

func (e sourceError) Unwrap() error { return e.error }

// write puts content durably into a new temporary file and returns its name and
// size in bytes. No file is left after an error, which is a sourceError if reading
// content failed.
func (d *Dir) write(ctx context.Context, content io.Reader) (name string, n int64, err error) {
	name = path.Join(temporary, strings.ToLower(rand.Text()))
	f, err := d.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return "", 0, err
	}
	n, readErr, err := pump(ctx, io.NewOffsetWriter(dirFile{f}, 0), content)
	if err == nil && readErr != nil {
		err = sourceError{readErr}
	}
	if err == nil && n > 0 { // of an empty file only the name can be lost
		err = f.Sync()
	}
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		if left := d.discard(name); left != nil {
			err = errors.Join(err, left)
		}
		return "", 0, err
	}
	return name, n, nil
}

// discard removes a temporary file, which may have got another name.
func (d *Dir) discard(name string) error {
	if err := d.root.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("temporary file is left: %w", err)
	}
	return nil
}

// place lets do, which may be called twice, put the file called name into its
// folder, durably.
func (d *Dir) place(key, name string, do func() error) error {
	folder := path.Dir(name)
	if err := d.makeFolder(folder); err != nil {
		return failed(key, err)
	}
	err := do()
	if errors.Is(err, fs.ErrNotExist) && d.gone(folder) {
		if err := d.makeFolder(folder); err != nil {
			return failed(key, err)
		}
		err = do()
	}
	if err == nil {
		err = d.sync(folder)
	}
	if err != nil {
		return failed(key, err)
	}
	return nil
}

// gone reports whether somebody removed folder, after which no folder is taken to
// be there.
func (d *Dir) gone(folder string) bool {
	if _, err := d.root.Stat(folder); err == nil {
		return false
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	clear(d.durable)
	d.durable["."] = struct{}{}
	d.folders.clear()
	return true
}

// makeFolder makes folder and those above it. One that is there already may be of
// a moment ago, by another goroutine or process: it is synced all the same the
// first time.
func (d *Dir) makeFolder(folder string) error {
	d.mu.Lock()
	_, durable := d.durable[folder]
	d.mu.Unlock()
	if durable {
		return nil
	}
	parent := path.Dir(folder)
	if err := d.makeFolder(parent); err != nil {
		return err
	}
	if err := d.root.Mkdir(folder, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	if err := d.sync(parent); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.durable) >= maxDurable {
		clear(d.durable)
		d.durable["."] = struct{}{}
	}
	d.durable[folder] = struct{}{}
	return nil
}

// sync makes the names in folder durable.
func (d *Dir) sync(folder string) error {
	f, err := d.root.Open(folder)
	if err != nil {
		return err
	}
	defer f.Close()
	return syncFolder(f)
}

// Delete is [Bucket.Delete].
func (d *Dir) Delete(ctx context.Context, key string) error {
	name, err := d.file(key)
	if err != nil {
		return err
	}
	if err := d.root.Remove(name); err != nil {
		return failed(key, err)
	}
	if err := d.sync(path.Dir(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return failed(key, err)
	}
	return nil
}
