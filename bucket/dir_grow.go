package bucket

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path"
)

// Create is what the comment of [Bucket] says.
func (d *Dir) Create(ctx context.Context, key string) error {
	name, err := d.file(key)
	if err != nil {
		return err
	}
	err = d.into(name, false, func() error {
		f, err := d.create(name)
		if err != nil {
			return err
		}
		return f.Close()
	})
	if err != nil {
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
	f, err := d.openFile(name, os.O_RDWR)
	if err != nil {
		return nil, failed(key, err)
	}
	if err := d.claim(f, name); err != nil {
		f.Close()
		return nil, failed(key, err)
	}
	return &dirFile{f, d, name}, nil
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
	there, err := d.stat(name)
	if err != nil {
		return err
	}
	if !os.SameFile(claimed, there) {
		return fs.ErrNotExist
	}
	return nil
}

// Rename is what the comment of [Bucket] says.
func (d *Dir) Rename(ctx context.Context, from, to, twin string) error {
	source, err := d.file(from)
	if err != nil {
		return err
	}
	p, err := d.plan(Object{Key: to, Twin: twin})
	if err != nil {
		return err
	}
	if err := d.into(p.name, true, func() error { return d.rename(source, p.name) }); err != nil {
		return failed(to, err)
	}
	if err := d.synced(path.Dir(p.name), to); err != nil {
		return err
	}
	if p.twin != "" {
		d.offer(p.name, p.twin)
	}
	return nil
}
