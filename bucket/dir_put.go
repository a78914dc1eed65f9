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
	"sync"
	"time"

	"github.com/c73062ad/oras"
)

// A put is an object on its way to its file.
type put struct {
	Object
	name    string    // of the file
	temp    string    // the temporary file with the content, until it is placed
	written time.Time // when temp was
	twin    string    // the file of Object.Twin, if that may be one
	same    bool      // it has the same content, and temp is not durable
}

// Put is [Bucket.Put]. A size below 0 is one that is not known.
func (d *Dir) Put(ctx context.Context, key string, content io.Reader, size int64) error {
	return d.PutAll(ctx, []Object{{Key: key, Content: content, Size: size}})
}

// PutAll is what the comment of [Bucket] says. All contents are written, and
// synced side by side, before the first file gets its name; a step then costs one
// sync of each folder it concerns, those of one moment being shared.
func (d *Dir) PutAll(ctx context.Context, steps ...[]Object) (err error) {
	var all []*put
	planned := make([][]*put, len(steps))
	for i, step := range steps {
		for _, o := range step {
			p, err := d.plan(o)
			if err != nil {
				return err
			}
			planned[i] = append(planned[i], p)
			all = append(all, p)
		}
	}
	defer func() {
		for _, p := range all {
			if left := d.discard(p.temp); left != nil {
				err = errors.Join(err, left)
			}
		}
	}()
	if err := d.writeAll(ctx, all); err != nil {
		return err
	}
	for _, step := range planned {
		if err := d.placeAll(ctx, step); err != nil {
			return err
		}
	}
	for _, p := range all {
		if p.twin != "" && !p.same {
			d.offer(p.name, p.twin)
		}
	}
	return nil
}

func (d *Dir) plan(o Object) (*put, error) {
	p := &put{Object: o}
	var err error
	if p.name, err = d.file(o.Key); err != nil {
		return nil, err
	}
	if o.Twin != "" {
		if p.twin, err = d.file(o.Twin); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// writeAll writes the contents of puts to temporary files.
func (d *Dir) writeAll(ctx context.Context, puts []*put) error {
	var contents []*put
	for _, p := range puts {
		if !p.Seen && p.From == "" {
			contents = append(contents, p)
		}
	}
	if len(contents) == 1 {
		return d.write(ctx, contents[0], contents[0].content())
	}
	errs := make([]error, len(contents))
	var group sync.WaitGroup
	for i, p := range contents {
		group.Go(func() { errs[i] = d.write(ctx, p, p.content()) })
	}
	group.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// write puts content durably into a new temporary file, p.temp, unless the twin
// has the same. An error of content is returned as it is.
func (d *Dir) write(ctx context.Context, p *put, content io.Reader) (err error) {
	p.temp = temporaryName()
	f, err := d.create(p.temp)
	if err != nil {
		p.temp = ""
		return failed(p.Key, err)
	}
	defer func() {
		if closeErr := f.Close(); err == nil && closeErr != nil {
			err = failed(p.Key, closeErr)
		}
	}()
	n, readErr, err := pump(ctx, io.NewOffsetWriter(f, 0), content)
	p.written = time.Now()
	switch {
	case err != nil:
		return failed(p.Key, err)
	case readErr != nil:
		return readErr
	case p.Size >= 0 && n != p.Size:
		return fmt.Errorf("%s: %w: %d bytes, not %d", p.Key, oras.ErrInvalid, n, p.Size)
	}
	if p.same, err = d.matches(ctx, f.File, n, p.twin); err != nil {
		return failed(p.Key, err)
	}
	if p.same || n == 0 { // of an empty file only the name can be lost
		return nil
	}
	if err := f.Sync(); err != nil {
		return failed(p.Key, err)
	}
	return nil
}

func temporaryName() string { return path.Join(temporary, strings.ToLower(rand.Text())) }

// create makes the file called name, in a folder that is there.
func (d *Dir) create(name string) (*dirFile, error) {
	if err := d.doing("create", name); err != nil {
		return nil, err
	}
	f, err := d.openFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL)
	if err != nil {
		return nil, err
	}
	return &dirFile{f, d, name}, nil
}

func (d *Dir) openFile(name string, flag int) (file *os.File, err error) {
	err = d.within(name, func(f *folder, base string) error {
		file, err = f.OpenFile(base, flag, 0o600)
		return err
	})
	return file, err
}

func (d *Dir) remove(name string) error {
	return d.within(name, func(f *folder, base string) error { return f.Remove(base) })
}

// syncFile makes what is in the file called name durable.
func (d *Dir) syncFile(name string) error {
	f, err := d.openFile(name, os.O_RDWR)
	if err != nil {
		return err
	}
	err = (&dirFile{f, d, name}).Sync()
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	return err
}

// discard removes a temporary file, if there is one.
func (d *Dir) discard(name string) error {
	if name == "" {
		return nil
	}
	if err := d.remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("temporary file is left: %w", err)
	}
	return nil
}

// placeAll gives the files of a step their names, durably.
func (d *Dir) placeAll(ctx context.Context, step []*put) error {
	folders := map[string]string{} // and the key of an object in each
	for _, p := range step {
		if !p.Seen {
			if err := d.place(ctx, p); err != nil {
				return err
			}
		}
		folder := path.Dir(p.name)
		folders[folder] = p.Key
		if transient(folder) {
			folders[path.Dir(folder)] = p.Key
		}
	}
	if len(folders) == 1 {
		for folder, key := range folders {
			return d.synced(folder, key)
		}
	}
	errs := make(chan error, len(folders))
	for folder, key := range folders {
		go func() { errs <- d.synced(folder, key) }()
	}
	var first error
	for range folders {
		if err := <-errs; first == nil {
			first = err
		}
	}
	return first
}

// synced makes the names in folder durable, on behalf of an object in it.
func (d *Dir) synced(folder, key string) error {
	if err := d.sync(folder); err != nil {
		return failed(key, err)
	}
	return nil
}

// place gives p its name.
func (d *Dir) place(ctx context.Context, p *put) error {
	switch {
	case p.From != "":
		if linked, err := d.placeFrom(p); linked || err != nil {
			return err
		}
		if err := d.copyFrom(ctx, p); err != nil {
			return err
		}
	case p.same:
		if d.into(p.name, true, func() error { return d.link(p.twin, p.name) }) == nil {
			return nil
		}
		p.same = false // it went, or can have no more names
		if err := d.syncFile(p.temp); err != nil {
			return failed(p.Key, err)
		}
	}
	// Whoever looks for garbage must take for young what is placed only now.
	touch := p.From != "" || time.Since(p.written) > touchAfter
	if err := d.into(p.name, touch, func() error { return d.rename(p.temp, p.name) }); err != nil {
		return failed(p.Key, err)
	}
	p.temp = ""
	return nil
}

const touchAfter = 5 * time.Second

// placeFrom gives the file of p.From the name of p, and reports whether it can
// have it.
func (d *Dir) placeFrom(p *put) (bool, error) {
	source, err := d.file(p.From)
	if err != nil {
		return false, err
	}
	if _, err := object(d.stat(source)); err != nil {
		return false, failed(p.From, err)
	}
	err = d.into(p.name, true, func() error { return d.link(source, p.name) })
	if err == nil {
		return true, nil
	}
	if _, err := d.stat(source); missing(err) {
		return false, failed(p.From, err)
	}
	return false, nil
}

// copyFrom writes to a temporary file what p.From is.
func (d *Dir) copyFrom(ctx context.Context, p *put) error {
	content, err := d.Get(ctx, p.From)
	if err != nil {
		return err
	}
	defer content.Close()
	p.Size = -1
	return d.write(ctx, p, content)
}

// into lets do, which may be called twice, put the file called name into its
// folder, and makes it young if it is to be touched.
func (d *Dir) into(name string, touch bool, do func() error) error {
	folder := path.Dir(name)
	for again := false; ; again = true {
		if err := d.makeFolder(folder); err != nil {
			return err
		}
		err := d.sharing(folder, func() error {
			if err := do(); err != nil || !touch {
				return err
			}
			if err := d.touch(name); !missing(err) {
				return err
			}
			return nil // somebody deleted it
		})
		if again || !missing(err) {
			return err
		}
		if _, err := d.stat(folder); err != nil {
			d.forgetFolders() // somebody removed it
		}
	}
}

// forgetFolders lets no folder be taken to be there.
func (d *Dir) forgetFolders() {
	d.mu.Lock()
	defer d.mu.Unlock()
	clear(d.durable)
	d.durable["."] = struct{}{}
	d.folders.clear()
}

func (d *Dir) touch(name string) error {
	now := time.Now()
	return d.within(name, func(f *folder, base string) error { return f.Chtimes(base, now, now) })
}

func (d *Dir) rename(from, to string) error {
	if err := d.doing("rename", from, to); err != nil {
		return err
	}
	return d.between(from, to, renameAt)
}

// link lets name be another name of the file source, instead of what it was.
func (d *Dir) link(source, name string) error {
	if err := d.doing("link", source, name); err != nil {
		return err
	}
	err := d.between(source, name, linkAt)
	if !errors.Is(err, fs.ErrExist) {
		return err
	}
	temp := temporaryName()
	if err := d.between(source, temp, linkAt); err != nil {
		return err
	}
	err = d.between(temp, name, renameAt)
	if left := d.discard(temp); err == nil { // if both were one file it is there still
		err = left
	}
	return err
}

// stat is about the file called name, which may be any.
func (d *Dir) stat(name string) (info fs.FileInfo, err error) {
	err = d.within(name, func(f *folder, base string) error {
		info, err = f.Stat(base)
		return err
	})
	return info, err
}

// Sync is what the comment of [Bucket] says.
func (d *Dir) Sync(ctx context.Context, key string) error {
	name, err := d.file(key)
	if err != nil {
		return err
	}
	return d.synced(path.Dir(name), key)
}

// Delete is [Bucket.Delete].
func (d *Dir) Delete(ctx context.Context, key string) error {
	name, err := d.file(key)
	if err != nil {
		return err
	}
	err = d.doing("remove", name)
	if err == nil {
		err = d.remove(name)
	}
	if err != nil {
		return failed(key, err)
	}
	if err := d.sync(path.Dir(name)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return failed(key, err)
	}
	return nil
}
