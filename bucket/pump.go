package bucket

import (
	"context"
	"io"
	"sync"
)

// bufferSize is in bytes. Large content has two buffers, so that it is written
// while more of it is read and hashed.
const bufferSize = 256 << 10

var buffers = sync.Pool{New: func() any { return new([bufferSize]byte) }}

// pump writes what is left of r to w and returns how many bytes were written.
// Whether reading or writing failed, the bytes before that are written.
func pump(ctx context.Context, w io.Writer, r io.Reader) (n int64, readErr, writeErr error) {
	buf := buffers.Get().(*[bufferSize]byte)
	filled, readErr := fill(ctx, r, buf[:])
	if filled == bufferSize && readErr == nil {
		return pumpAhead(ctx, w, r, buf)
	}
	defer buffers.Put(buf)
	if filled > 0 {
		var written int
		written, writeErr = w.Write(buf[:filled])
		n = int64(written)
	}
	return n, ended(readErr), writeErr
}

type chunk struct {
	buf *[bufferSize]byte
	n   int
}

// pumpAhead is pump with another goroutine that writes. The first buffer is full.
func pumpAhead(ctx context.Context, w io.Writer, r io.Reader, buf *[bufferSize]byte) (n int64, readErr, writeErr error) {
	chunks := make(chan chunk)
	failed := make(chan struct{})
	var writer sync.WaitGroup
	writer.Go(func() {
		for c := range chunks {
			if writeErr == nil {
				var written int
				written, writeErr = w.Write(c.buf[:c.n])
				n += int64(written)
				if writeErr != nil {
					close(failed)
				}
			}
			buffers.Put(c.buf)
		}
	})
	chunks <- chunk{buf, bufferSize}
	for readErr == nil {
		select {
		case <-failed:
			readErr = io.EOF
			continue
		default:
		}
		buf := buffers.Get().(*[bufferSize]byte)
		var filled int
		filled, readErr = fill(ctx, r, buf[:])
		chunks <- chunk{buf, filled}
	}
	close(chunks)
	writer.Wait()
	return n, ended(readErr), writeErr
}

// fill reads until buf is full or r has an error, which may be io.EOF.
func fill(ctx context.Context, r io.Reader, buf []byte) (n int, err error) {
	for n < len(buf) && err == nil {
		if err = ctx.Err(); err != nil {
			break
		}
		var read int
		read, err = r.Read(buf[n:])
		n += read
	}
	return n, err
}

func ended(err error) error {
	if err == io.EOF {
		return nil
	}
	return err
}
