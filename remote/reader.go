package remote

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"net/http"

	"github.com/c73062ad/oras"
)

// progress is how many bytes must have come for earlier failures to be forgotten.
const progress = 64 << 10

// A reader is a blob being downloaded. After a Seek, or when the connection
// breaks, it asks for the rest; it gives up after several failures in a row. Large
// content that is read in order is read ahead, see [ahead]. Who verifies the whole
// notices if the pieces do not belong together.
type reader struct {
	source
	ctx    context.Context // Fetch's: the download is one operation of its
	budget *budget         // for reading ahead; nil for never

	offset int64   // of the next byte to be given
	began  int64   // where reading in order began
	stream *stream // nil if none is open
	ahead  *ahead  // nil if it does not read ahead; else there is no stream here
	closed bool
	tries  tries
}

var _ io.ReadSeekCloser = (*reader)(nil)

// newReader opens content of the given size, -1 if that is not known.
func newReader(ctx context.Context, name string, size int64, b *budget, get func(ctx context.Context, first, last int64) (*http.Response, error)) (*reader, error) {
	r := &reader{source: source{name: name, size: size, get: get}, ctx: ctx, budget: b}
	var err error
	r.stream, err = r.open(ctx, 0)
	return r, err
}

func (r *reader) Read(p []byte) (int, error) {
	if r.closed {
		return 0, fs.ErrClosed
	}
	if len(p) == 0 {
		return 0, nil
	}
	for {
		if r.size >= 0 && r.offset >= r.size {
			r.drop()
			return 0, io.EOF
		}
		if r.ahead == nil && r.worthAhead() {
			r.ahead, r.stream = newAhead(r.ctx, r.source, r.stream, r.budget), nil
		}
		if r.ahead != nil {
			n, err := r.ahead.read(p)
			r.offset += int64(n)
			return n, err
		}
		n, err := r.read(p)
		if n > 0 {
			return n, nil
		}
		if err == nil {
			continue
		}
		if err == io.EOF && r.size < 0 && r.stream != nil { // as long as it turned out to be
			r.size = r.offset
			continue
		}
		r.drop()
		if err := r.tries.failed(r.ctx, r.name, r.offset, err); err != nil {
			return 0, err
		}
	}
}

// read reads at r.offset, once.
func (r *reader) read(p []byte) (int, error) {
	if r.stream != nil && r.stream.pos != r.offset {
		r.drop()
	}
	if r.stream == nil {
		var err error
		if r.stream, err = r.open(r.ctx, r.offset); err != nil {
			return 0, err
		}
	}
	n, err := r.stream.Read(p)
	r.offset += int64(n)
	return n, err
}

// worthAhead reports whether reading ahead is worth its memory: enough was read in
// order, so that more will be, and enough is left.
func (r *reader) worthAhead() bool {
	return r.budget != nil && r.size-r.offset >= aheadLeast && r.offset-r.began >= aheadAfter &&
		r.stream != nil && r.stream.pos == r.offset && r.stream.end == r.size && r.budget.take(ringSize(1))
}

// Seek sets where the next Read begins. It makes no request.
func (r *reader) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekStart:
	case io.SeekCurrent:
		offset += r.offset
	case io.SeekEnd:
		if r.size < 0 {
			return 0, fmt.Errorf("%s: the registry does not say where the end is: %w", r.name, oras.ErrUnsupported)
		}
		offset += r.size
	default:
		return 0, fmt.Errorf("%s: seek from nowhere (%d): %w", r.name, whence, fs.ErrInvalid)
	}
	if offset < 0 {
		return 0, fmt.Errorf("%s: seek to %d: %w", r.name, offset, fs.ErrInvalid)
	}
	if r.closed {
		return 0, fs.ErrClosed
	}
	if offset != r.offset {
		if r.ahead != nil {
			r.drop()
		}
		r.offset, r.began, r.tries = offset, offset, tries{mark: offset}
	}
	return offset, nil
}

// drop ends all requests.
func (r *reader) drop() {
	r.stream.close()
	r.stream = nil
	if r.ahead != nil {
		r.ahead.stop()
		r.ahead = nil
	}
}

func (r *reader) Close() error {
	r.drop()
	r.closed = true
	return nil
}

// tries counts the failures of a download.
type tries struct {
	failures int
	mark     int64 // how far it had come at the last
}

// failed decides whether to go on after err, which came at offset, and waits
// before that.
func (t *tries) failed(ctx context.Context, name string, offset int64, err error) error {
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	if offset-t.mark >= progress {
		t.failures = 0
	}
	t.mark = offset
	if t.failures += weight(err, maxBreaks); t.failures > maxBreaks || !temporary(ctx, err) {
		return fmt.Errorf("%s: at byte %d: %w", name, offset, err)
	}
	return pause(ctx, t.failures)
}
