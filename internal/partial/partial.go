// Package partial fills files that outlive the process until they are whole: who tries
// next goes on behind what is there.
package partial

import (
	"context"
	"errors"
	"io"
	"os"

	"github.com/c73062ad/oras"
)

// Fill brings f to size bytes with what content has behind what f has. Content is a
// reader of [oras.NewVerifier], which vouches for the whole. What is returned first is
// the error of reading, after which all that was read before is in f. Where content is
// another file, and the file system can, f shares its blocks, which are hashed then as if
// they had been there.
func Fill(ctx context.Context, f *os.File, content io.Reader, size int64) (readErr, writeErr error) {
	clone(f, content, size)
	n, err := Resume(ctx, f, content, size)
	if err != nil {
		return err, nil
	}
	readErr, writeErr = pour(ctx, f, n, content, size-n)
	if n > 0 && writeErr == nil && errors.Is(readErr, oras.ErrInvalid) {
		// Perhaps it is what was there that is not right.
		if err := Restart(f, content); err != nil {
			return errors.Join(readErr, err), nil
		}
		return pour(ctx, f, 0, content, size)
	}
	return readErr, writeErr
}

// Resume lets content go on behind what f has of size bytes, and returns how much that
// is. Where content cannot, it is nothing, and f is empty then. The bytes of f are hashed
// again: see [oras.Continue].
func Resume(ctx context.Context, f *os.File, content io.Reader, size int64) (n int64, err error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	have := info.Size()
	if 0 < have && have <= size {
		n, err = oras.Continue(content, reader{ctx, io.NewSectionReader(f, 0, have)})
		if err != nil && !errors.Is(err, oras.ErrUnsupported) {
			return 0, err
		}
	}
	if n == have {
		return n, nil
	}
	return n, f.Truncate(n)
}

// Restart lets content, which went on behind what f had, begin again, and empties f.
func Restart(f *os.File, content io.Reader) error {
	if _, err := content.(io.Seeker).Seek(0, io.SeekStart); err != nil {
		return err
	}
	return f.Truncate(0)
}

// Reader returns r as long as ctx is not done, and then why it is.
func Reader(ctx context.Context, r io.Reader) io.Reader { return reader{ctx, r} }

type reader struct {
	ctx context.Context
	r   io.Reader
}

func (r reader) Read(p []byte) (int, error) {
	if err := context.Cause(r.ctx); err != nil {
		return 0, err
	}
	return r.r.Read(p)
}
