package bucket

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"

	"github.com/c73062ad/oras"
)

// Link is what the comment of [Bucket] says. An object that can have no more
// links, or not from there, is copied.
func (d *Dir) Link(ctx context.Context, from, to string) error {
	source, err := d.file(from)
	if err != nil {
		return err
	}
	name, err := d.file(to)
	if err != nil {
		return err
	}
	if _, err := d.Size(ctx, from); err != nil {
		return err
	}
	err = d.place(to, name, func() error {
		err := d.root.Link(source, name)
		if errors.Is(err, fs.ErrExist) {
			err = nil
		}
		return err
	})
	if err != nil && !errors.Is(err, oras.ErrNotFound) && ctx.Err() == nil {
		return copyObject(ctx, d, from, to)
	}
	return err
}

// Sync is what the comment of [Bucket] says.
func (d *Dir) Sync(ctx context.Context, key string) error {
	name, err := d.file(key)
	if err != nil {
		return err
	}
	if err := d.sync(path.Dir(name)); err != nil {
		return failed(key, err)
	}
	return nil
}

// Open is what the comment of [Bucket] says.
func (d *Dir) Open(ctx context.Context, key string) (File, error) {
	name, err := d.file(key)
	if err != nil {
		return nil, err
	}
	f, err := d.root.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		return nil, failed(key, err)
	}
	if err := d.claim(f, name); err != nil {
		f.Close()
		return nil, failed(key, err)
	}
	return dirFile{f}, nil
}

// claim locks f, which was opened as name: but it may have been renamed before it
// was locked.
func (d *Dir) claim(f *os.File, name string) error {
	if err := lockFile(f); err != nil {
		return fmt.Errorf("somebody else has it open: %w", err)
	}
	claimed, err := object(f.Stat())
	if err != nil {
		return err
	}
	there, err := d.root.Stat(name)
	if err != nil {
		return err
	}
	if !os.SameFile(claimed, there) {
		return fs.ErrNotExist
	}
	return nil
}

// Rename is what the comment of [Bucket] says.
func (d *Dir) Rename(ctx context.Context, from, to string) error {
	source, err := d.file(from)
	if err != nil {
		return err
	}
	name, err := d.file(to)
	if err != nil {
		return err
	}
	return d.place(to, name, func() error { return d.root.Rename(source, name) })
}
