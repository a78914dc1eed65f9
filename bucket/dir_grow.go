package bucket

import (
	"context"
	"fmt"
	"io"
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
	create := func() error {
		f, err := d.create(name)
		if err != nil {
			return err
		}
		return f.Close()
	}
	err = d.journal.do(&entry{
		records: []record{{kind: recordKeep, name: name}}, // it may have been deleted before
		lazy:    true,
		apply:   func() error { return d.into(name, false, create) },
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
	if err := d.move(source, p); err != nil {
		return failed(to, err)
	}
	if p.twin != "" {
		d.offer(p.name, p.twin)
	}
	return nil
}

// move gives the file called source the name of p.
func (d *Dir) move(source string, p *put) error {
	info, err := object(d.stat(source))
	if err != nil {
		return err
	}
	rename := func() error { return d.into(p.name, true, func() error { return d.rename(source, p.name) }) }
	gone := record{kind: recordGone, name: source}
	if info.Size() <= maxJournaled {
		data, err := d.readFile(source)
		if err != nil {
			return err
		}
		return d.journal.do(&entry{records: []record{{recordPut, p.name, data, p.twin}, gone}, apply: rename})
	}
	p.large = true
	err = d.journal.do(&entry{
		records: []record{{kind: recordKeep, name: p.name}},
		check:   func() (bool, error) { return false, d.settleSmall([]*put{p}) },
		apply:   rename,
	})
	if err != nil {
		return err
	}
	folder := path.Dir(p.name)
	if err := d.makeFolder(folder); err != nil {
		return err
	}
	if err := d.sync(folder); err != nil {
		return err
	}
	return d.journal.do(&entry{records: []record{gone}, lazy: true})
}

func (d *Dir) readFile(name string) ([]byte, error) {
	f, err := d.openFile(name, os.O_RDONLY)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return io.ReadAll(f)
}
