package bucket

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/c73062ad/oras"
)

// A put is an object on its way to its file.
type put struct {
	Object
	name    string      // of the file
	source  string      // the file of Object.From
	from    fs.FileInfo // what that was when data was read; nil if it is being put, too
	twin    string      // the file of Object.Twin, if that may be one
	large   bool        // the journal does not have it
	data    []byte      // the content, unless it is large
	temp    string      // the temporary file with the content, until it is placed
	written time.Time   // when temp was; zero for one that is another name of something
	same    bool        // the twin has the same content
	young   bool        // the source was placed only now
}

// Put is [Bucket.Put]. A size below 0 is one that is not known.
func (d *Dir) Put(ctx context.Context, key string, content io.Reader, size int64) error {
	return d.PutAll(ctx, []Object{{Key: key, Content: content, Size: size}})
}

// PutAll is what the comment of [Bucket] says. All contents are written before the
// first file gets its name. Steps of small objects go through the journal as one;
// of a large one the file, and then its folder, is synced.
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
	var together []*put
	for i, step := range planned {
		together = append(together, step...)
		if i < len(planned)-1 && !slices.ContainsFunc(step, func(p *put) bool { return p.large }) {
			continue
		}
		if err := d.placeAll(ctx, together); err != nil {
			return err
		}
		together = nil
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
	if o.From != "" {
		if p.source, err = d.file(o.From); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// writeAll writes the contents of puts to temporary files, large ones side by side.
func (d *Dir) writeAll(ctx context.Context, puts []*put) error {
	errs := make([]error, len(puts))
	written := map[string]*put{} // by name
	var group sync.WaitGroup
	for i, p := range puts {
		switch {
		case p.Seen:
			errs[i] = d.seen(p)
			continue
		case p.From != "":
			if _, ok := written[p.source]; !ok {
				errs[i] = d.writeFrom(ctx, p)
			}
		case 0 <= p.Size && p.Size <= maxJournaled:
			errs[i] = d.writeSmall(ctx, p, p.content())
		case i == len(puts)-1:
			errs[i] = d.write(ctx, p, p.content())
		default:
			group.Go(func() { errs[i] = d.write(ctx, p, p.content()) })
		}
		written[p.name] = p
	}
	group.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	for _, p := range puts {
		if source := written[p.source]; source != nil && !p.Seen && p.data == nil && p.temp == "" {
			if err := d.writeLike(ctx, p, source); err != nil {
				return err
			}
		}
	}
	return nil
}

// seen finds out whether p, which is there, is durable: what is small enough for the
// journal was so before it could be seen.
func (d *Dir) seen(p *put) error {
	if p.Size > 0 {
		p.large = p.Size > maxJournaled
		return nil
	}
	info, err := object(d.stat(p.name))
	if err != nil {
		return failed(p.Key, err)
	}
	p.large = info.Size() > maxJournaled
	return nil
}

// writeSmall reads content, which is of p.Size bytes, and puts it into a new temporary
// file, unless the twin has the same. An error of content is returned as it is.
func (d *Dir) writeSmall(ctx context.Context, p *put, content io.Reader) (err error) {
	p.data = make([]byte, p.Size+1) // one more, to see that there is none
	n, err := fill(ctx, content, p.data)
	if err = ended(err); err != nil {
		return err
	}
	if int64(n) != p.Size {
		return sizeError(p, int64(n))
	}
	p.data = p.data[:n]
	if p.same, err = d.matches(ctx, bytes.NewReader(p.data), p.Size, p.twin); err != nil {
		return failed(p.Key, err)
	}
	if p.same {
		return nil
	}
	return d.writeData(p)
}

func sizeError(p *put, n int64) error {
	return fmt.Errorf("%s: %w: %d bytes, not %d", p.Key, oras.ErrInvalid, n, p.Size)
}

// writeData puts p.data into a new temporary file, p.temp.
func (d *Dir) writeData(p *put) (err error) {
	f, err := d.createTemp(p)
	if err != nil {
		return err
	}
	if len(p.data) > 0 {
		_, err = f.WriteAt(p.data, 0)
	}
	if closeErr := f.Close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return failed(p.Key, err)
	}
	p.written = time.Now()
	return nil
}

func (d *Dir) createTemp(p *put) (*dirFile, error) {
	temp := temporaryName()
	f, err := d.create(temp)
	if err != nil {
		return nil, failed(p.Key, err)
	}
	p.temp = temp
	return f, nil
}

// write puts content durably into a new temporary file, p.temp, which becomes another
// name of the twin if that has the same. An error of content is returned as it is.
func (d *Dir) write(ctx context.Context, p *put, content io.Reader) (err error) {
	p.large = true
	f, err := d.createTemp(p)
	if err != nil {
		return err
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
		return sizeError(p, n)
	}
	if n <= maxJournaled { // nobody knew
		p.large, p.data = false, make([]byte, n)
		if _, err := f.ReadAt(p.data, 0); err != nil && err != io.EOF {
			return failed(p.Key, err)
		}
		return nil
	}
	if p.same, err = d.matches(ctx, f, n, p.twin); err != nil {
		return failed(p.Key, err)
	}
	if p.same && d.link(p.twin, p.temp) == nil {
		p.written = time.Time{}
		return nil
	}
	p.same = false // it went, or can have no more names
	if err := f.Sync(); err != nil {
		return failed(p.Key, err)
	}
	return nil
}

// writeLike is writeFrom for an object that is being put, too, before p.
func (d *Dir) writeLike(ctx context.Context, p, source *put) error {
	if !source.large {
		p.data = source.data
		return nil
	}
	p.large = true
	temp := temporaryName()
	if d.link(source.temp, temp) == nil {
		p.temp = temp
		return nil
	}
	content, err := d.openFile(source.temp, os.O_RDONLY)
	if err != nil {
		return failed(p.Key, err)
	}
	defer content.Close()
	p.Size = -1
	return d.write(ctx, p, content)
}

// writeFrom reads the object p.From if it is small; else it gives it a temporary
// name, or copies it if it can have none.
func (d *Dir) writeFrom(ctx context.Context, p *put) error {
	content, err := d.Get(ctx, p.From)
	if err != nil {
		return err
	}
	defer content.Close()
	info, err := content.(fs.File).Stat()
	if err != nil {
		return failed(p.From, err)
	}
	if p.Size = info.Size(); p.Size <= maxJournaled {
		p.data, p.from = make([]byte, p.Size), info
		_, err := io.ReadFull(content, p.data)
		return err
	}
	p.large = true
	temp := temporaryName()
	if err = d.link(p.source, temp); err == nil {
		p.temp = temp
		return nil
	}
	if _, err := d.stat(p.source); missing(err) {
		return failed(p.From, err)
	}
	return d.write(ctx, p, content)
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

const fileMode = 0o600

func (d *Dir) openFile(name string, flag int) (file *os.File, err error) {
	err = d.within(name, func(f *folder, base string) error {
		file, err = openAt(f, base, flag)
		return err
	})
	return file, err
}

func (d *Dir) remove(name string) error {
	return d.within(name, func(f *folder, base string) error { return f.Remove(base) })
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

// placeAll gives the files of puts their names, durably.
func (d *Dir) placeAll(ctx context.Context, puts []*put) error {
	e := &entry{}
	var place []*put
	folders := map[string]string{} // that have something large, and the key of it
	for _, p := range puts {
		if p.large {
			folders[path.Dir(p.name)] = p.Key
		}
		if p.Seen {
			continue
		}
		place = append(place, p)
		if p.large {
			e.records = append(e.records, record{kind: recordKeep, name: p.name})
			continue
		}
		e.records = append(e.records, record{recordPut, p.name, p.data, p.twin})
		if p.source != "" {
			e.reads = append(e.reads, p.source)
		}
	}
	if len(place) > 0 {
		e.check = func() (bool, error) { return false, d.settleSmall(place) }
		var placeErr error
		e.apply = func() error {
			placed := map[string]bool{}
			for _, p := range place {
				p.young = placed[p.source]
				if placeErr = d.place(p); placeErr != nil {
					return placeErr
				}
				placed[p.name] = true
			}
			return nil
		}
		if err := d.journal.do(e); placeErr != nil {
			return placeErr
		} else if err != nil {
			return failed(place[0].Key, err)
		}
	}
	for folder, key := range folders {
		if err := d.makeFolder(folder); err != nil {
			return failed(key, err)
		}
	}
	return d.syncedAll(folders)
}

// settleSmall empties the journal if a large one of puts is to replace something that
// only the journal keeps: what that says of it will be hidden by then, but not be
// on the disk. The caller leads.
func (d *Dir) settleSmall(puts []*put) error {
	for _, p := range puts {
		if !p.large {
			continue
		}
		info, err := object(d.stat(p.name))
		if err == nil && info.Size() <= maxJournaled {
			return d.journal.empty()
		}
	}
	return nil
}

// syncedAll makes the names in folders durable, on behalf of the object that each
// has.
func (d *Dir) syncedAll(folders map[string]string) error {
	errs := make(chan error, len(folders))
	for folder, key := range folders {
		if len(folders) == 1 {
			return d.synced(folder, key)
		}
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
func (d *Dir) place(p *put) error {
	if p.temp == "" {
		source := p.source
		if p.same {
			source = p.twin
		}
		if d.mayLink(p) && d.into(p.name, p.same || !p.young, func() error { return d.link(source, p.name) }) == nil {
			return nil
		}
		p.same = false // it went, or can have no more names
		if err := d.writeData(p); err != nil {
			return err
		}
	}
	// Whoever looks for garbage must take for young what is placed only now.
	touch := time.Since(p.written) > touchAfter
	if err := d.into(p.name, touch, func() error { return d.rename(p.temp, p.name) }); err != nil {
		return failed(p.Key, err)
	}
	if p.written.IsZero() {
		return nil // if it was another name of the same before, temp is still there
	}
	p.temp = ""
	return nil
}

const touchAfter = 5 * time.Second

// mayLink reports whether there is a file with the content of p, as the journal has
// it. What From names may be another one by now.
func (d *Dir) mayLink(p *put) bool {
	if p.from == nil {
		return p.same || p.source != ""
	}
	info, err := d.stat(p.source)
	return err == nil && os.SameFile(info, p.from)
}

// into lets do, which may be called twice, put the file called name into its
// folder, and makes it young if it is to be touched. The caller has the journal, or
// nobody knows the file yet.
func (d *Dir) into(name string, touch bool, do func() error) error {
	err := do()
	if missing(err) {
		folder := path.Dir(name)
		if _, err := d.stat(folder); err != nil {
			d.forgetFolders() // it is new, or somebody removed it
		}
		if err := d.mkdirAll(folder); err != nil {
			return err
		}
		err = do()
	}
	if err == nil && touch {
		err = d.touch(name)
	}
	return err
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
	if err := d.journal.sync(); err != nil {
		return failed(key, err)
	}
	info, err := d.stat(name)
	if err != nil || info.Size() <= maxJournaled {
		return nil // it was durable before it could be seen
	}
	return d.synced(path.Dir(name), key)
}

// Delete is [Bucket.Delete].
func (d *Dir) Delete(ctx context.Context, key string) error {
	name, err := d.file(key)
	if err != nil {
		return err
	}
	f, err := d.openFile(name, os.O_RDONLY) // see deleteOlder
	if err != nil {
		return failed(key, err)
	}
	defer f.Close() // was only held
	var gone error
	err = d.journal.do(&entry{
		records: []record{{kind: recordGone, name: name}},
		apply: func() error {
			if gone = d.erase(name); missing(gone) {
				return nil
			}
			return gone
		},
	})
	if err == nil {
		err = gone
	}
	if err != nil {
		return failed(key, err)
	}
	return nil
}

// erase removes the file called name.
func (d *Dir) erase(name string) error {
	if err := d.doing("remove", name); err != nil {
		return err
	}
	return d.remove(name)
}
