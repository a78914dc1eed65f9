package bucket

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"

	"github.com/c73062ad/oras"
)

// matches reports whether the file twin, if there is one, has the content, which is
// of size bytes. Comparing costs less than making content durable.
func (d *Dir) matches(ctx context.Context, content io.ReaderAt, size int64, twin string) (bool, error) {
	if twin == "" {
		return false, nil
	}
	other, err := d.openFile(twin, os.O_RDONLY)
	if missing(err) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	defer other.Close()
	info, err := other.Stat()
	if err != nil {
		return false, err
	}
	if !info.Mode().IsRegular() || info.Size() != size {
		return false, nil
	}
	return equal(ctx, content, other, size)
}

// equal reports whether the first size bytes of a and b are the same.
func equal(ctx context.Context, a, b io.ReaderAt, size int64) (bool, error) {
	buf := buffers.Get().(*[bufferSize]byte)
	defer buffers.Put(buf)
	const half = bufferSize / 2
	for offset := int64(0); offset < size; offset += half {
		if err := ctx.Err(); err != nil {
			return false, err
		}
		n := min(half, size-offset)
		one, other := buf[:n], buf[half:half+n]
		if _, err := a.ReadAt(one, offset); err != nil && err != io.EOF {
			return false, err
		}
		if _, err := b.ReadAt(other, offset); err != nil {
			return false, nil // nothing to share, then
		}
		if !bytes.Equal(one, other) {
			return false, nil
		}
	}
	return true, nil
}

// offer lets twin be another name of the file called name, for others to find. It
// is a hint, and no error that it cannot be given: the disk may be full, the file
// may have all the names it can have, or the system may know no links. What twin
// was before was not the same, so it was damaged or has all the names it can have.
func (d *Dir) offer(name, twin string) {
	err := d.between(name, twin, linkAt)
	if errors.Is(err, fs.ErrNotExist) && d.root.MkdirAll(path.Dir(twin), 0o700) == nil {
		err = d.between(name, twin, linkAt)
	}
	if errors.Is(err, fs.ErrExist) {
		d.link(name, twin)
	}
}

// Share is what the comment of [File] says.
func (f *dirFile) Share(ctx context.Context, to, twin string) (bool, error) {
	name, err := f.dir.file(twin)
	if err != nil {
		return false, err
	}
	info, err := f.Stat()
	if err != nil {
		return false, failed(to, err)
	}
	if same, err := f.dir.matches(ctx, f.File, info.Size(), name); err != nil || !same {
		return false, err
	}
	err = f.dir.PutAll(ctx, []Object{{Key: to, From: twin}})
	if errors.Is(err, oras.ErrNotFound) {
		return false, nil // it went
	}
	return err == nil, err
}
