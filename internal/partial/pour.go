package partial

import (
	"context"
	"io"
	"os"
	"sync"
)

const (
	// pourBuffer is in bytes. Content of more than one is written by another
	// goroutine than reads and hashes it. The buffers together are no more
	// than stays in a core's cache: so 1 GiB took 0.9 s where one goroutine
	// took 1.4, and with buffers of 512 KiB longer than that.
	pourBuffer = 64 << 10

	// pourBuffers is how many are filled, waiting and being written.
	pourBuffers = 8

	// maxPours is how many contents may be written so at a time; others
	// have one buffer each.
	maxPours = 32
)

var (
	pourPool  = sync.Pool{New: func() any { return new([pourBuffer]byte) }}
	pourSlots = make(chan struct{}, maxPours)
)

// pour writes what r has to f, from offset on; size bytes of it
// are expected. Whether reading or writing failed, what was read before is written.
func pour(ctx context.Context, f *os.File, offset int64, r io.Reader, size int64) (readErr, writeErr error) {
	p := &pouring{f: f, offset: offset}
	r = reader{ctx, r}
	if size > pourBuffer {
		select {
		case pourSlots <- struct{}{}:
			defer func() { <-pourSlots }()
			return p.ahead(r)
		default:
		}
	}
	buf := pourPool.Get().(*[pourBuffer]byte)
	defer pourPool.Put(buf)
	for readErr == nil && p.err == nil {
		var n int
		n, readErr = fill(buf[:], r)
		p.write(buf[:n])
	}
	return notEOF(readErr), p.err
}

// A pouring writes to a file.
type pouring struct {
	f      *os.File
	offset int64 // of what is written next
	err    error
}

func (p *pouring) write(b []byte) {
	if p.err != nil || len(b) == 0 {
		return
	}
	var n int
	n, p.err = p.f.WriteAt(b, p.offset)
	p.offset += int64(n)
}

type poured struct {
	buf *[pourBuffer]byte
	n   int
}

// ahead reads while another goroutine writes.
func (p *pouring) ahead(r io.Reader) (readErr, writeErr error) {
	free := make(chan *[pourBuffer]byte, pourBuffers)
	for range pourBuffers {
		free <- pourPool.Get().(*[pourBuffer]byte)
	}
	filled := make(chan poured, pourBuffers)
	failed := make(chan struct{})
	var writer sync.WaitGroup
	writer.Go(func() {
		for b := range filled {
			if p.write(b.buf[:b.n]); p.err != nil {
				close(failed)
				return
			}
			free <- b.buf
		}
	})
	for readErr == nil {
		select {
		case buf := <-free:
			var n int
			n, readErr = fill(buf[:], r)
			filled <- poured{buf, n}
		case <-failed:
			readErr = io.EOF
		}
	}
	close(filled)
	writer.Wait()
	for range len(free) {
		pourPool.Put(<-free)
	}
	return notEOF(readErr), p.err
}

// fill reads until p is full or r has an error, which may be io.EOF.
func fill(p []byte, r io.Reader) (n int, err error) {
	for empty := 0; n < len(p) && err == nil; empty++ {
		var more int
		more, err = r.Read(p[n:])
		n += more
		switch {
		case more > 0:
			empty = 0
		case err == nil && empty == 100:
			err = io.ErrNoProgress
		}
	}
	return n, err
}

func notEOF(err error) error {
	if err == io.EOF {
		return nil
	}
	return err
}
