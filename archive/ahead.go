package archive

import (
	"io"
	"io/fs"
	"sync"
)

const (
	// aheadBuffer is in bytes, as many as stay in a core's cache together.
	aheadBuffer = 64 << 10

	// aheadBuffers is how many are filled, being filled or being read.
	aheadBuffers = 8
)

// Ahead returns a reader of what r has that reads r in a goroutine of its own, up
// to half a megabyte ahead: so decompressing goes on while what came out of it is
// made into files. Close must be called; it waits for a Read of r under way, and
// does not close r.
func Ahead(r io.Reader) io.ReadCloser {
	a := &ahead{
		free:   make(chan *[aheadBuffer]byte, aheadBuffers),
		filled: make(chan filled, aheadBuffers),
		quit:   make(chan struct{}),
	}
	for range aheadBuffers {
		a.free <- aheadPool.Get().(*[aheadBuffer]byte)
	}
	a.reader.Go(func() { a.readAll(r) })
	return a
}

var aheadPool = sync.Pool{New: func() any { return new([aheadBuffer]byte) }}

type ahead struct {
	free   chan *[aheadBuffer]byte
	filled chan filled
	quit   chan struct{}
	once   sync.Once
	reader sync.WaitGroup

	now filled // what is given next
	pos int
}

type filled struct {
	buf *[aheadBuffer]byte
	n   int
	err error // behind the n bytes
}

func (a *ahead) readAll(r io.Reader) {
	for {
		select {
		case <-a.quit:
			return
		case buf := <-a.free:
			f := filled{buf: buf}
			for empty := 0; f.n < len(buf) && f.err == nil; empty++ {
				var n int
				n, f.err = r.Read(buf[f.n:])
				f.n += n
				switch {
				case n > 0:
					empty = 0
				case f.err == nil && empty == 100:
					f.err = io.ErrNoProgress
				}
			}
			a.filled <- f // there is a place for each buffer
			if f.err != nil {
				return
			}
		}
	}
}

func (a *ahead) Read(p []byte) (int, error) {
	select {
	case <-a.quit:
		return 0, fs.ErrClosed
	default:
	}
	for a.pos == a.now.n {
		if a.now.err != nil {
			return 0, a.now.err
		}
		if a.now.buf != nil {
			a.free <- a.now.buf
		}
		a.now, a.pos = <-a.filled, 0
	}
	n := copy(p, a.now.buf[a.pos:a.now.n])
	a.pos += n
	return n, nil
}

func (a *ahead) Close() error {
	a.once.Do(func() {
		close(a.quit)
		a.reader.Wait()
		for range len(a.free) {
			aheadPool.Put(<-a.free)
		}
	})
	return nil
}
