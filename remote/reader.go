package remote

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"strconv"
	"strings"

	"github.com/c73062ad/oras"
	"github.com/c73062ad/oras/internal/wire"
)

// progress is how many bytes must have come for earlier failures to be forgotten.
const progress = 64 << 10

// A reader is a blob being downloaded. After a Seek, or when the connection
// breaks, it asks for the rest; it gives up after several failures in a row.
// Who verifies the whole notices if the pieces do not belong together.
type reader struct {
	ctx  context.Context // Fetch's: the download is one operation of its
	name string          // for errors
	// open requests the content from offset on. The answer has a status of
	// 200 or, unless the offset is 0, of 206.
	open func(ctx context.Context, offset int64) (*http.Response, error)

	size     int64 // -1 as long as it is not known
	offset   int64 // of the next byte to be given
	body     io.ReadCloser
	pos      int64 // of the next byte in body
	end      int64 // of body, as far as known; else size
	whole    bool  // the registry does not give parts
	closed   bool
	failures int
	mark     int64 // pos at the last failure
}

var _ io.ReadSeekCloser = (*reader)(nil)

// newReader opens content of the given size, -1 if that is not known.
func newReader(ctx context.Context, name string, size int64, open func(context.Context, int64) (*http.Response, error)) (*reader, error) {
	r := &reader{ctx: ctx, name: name, size: size, open: open}
	return r, r.reopen()
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
			return 0, io.EOF
		}
		n, err := r.read(p)
		if n > 0 {
			return n, nil
		}
		if err == nil {
			continue
		}
		if err == io.EOF && r.size < 0 && r.body != nil { // as long as it turned out to be
			r.size = r.pos
			continue
		}
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		if err := r.failed(err); err != nil {
			return 0, err
		}
	}
}

// read reads at r.offset, once.
func (r *reader) read(p []byte) (int, error) {
	if r.body != nil && r.pos != r.offset {
		r.drop()
	}
	if r.body == nil {
		if err := r.reopen(); err != nil {
			return 0, err
		}
	}
	if r.end >= 0 {
		p = p[:min(int64(len(p)), r.end-r.pos)]
		if len(p) == 0 { // the registry gave less than it was asked for
			return 0, errRange
		}
	}
	n, err := r.body.Read(p)
	r.pos += int64(n)
	r.offset += int64(n)
	return n, err
}

// failed decides whether to go on after err, and waits before that.
func (r *reader) failed(err error) error {
	r.drop()
	if r.offset-r.mark >= progress {
		r.failures = 0
	}
	r.mark = r.offset
	if r.failures += weight(err); r.failures > maxFailures || !temporary(r.ctx, err) {
		return fmt.Errorf("%s: at byte %d: %w", r.name, r.offset, err)
	}
	return pause(r.ctx, r.failures)
}

// reopen opens the body at r.offset.
func (r *reader) reopen() error {
	from := r.offset
	if r.whole {
		from = 0
	}
	resp, err := r.open(r.ctx, from)
	if err != nil {
		return err
	}
	if resp.StatusCode == http.StatusPartialContent {
		first, end, size, err := contentRange(resp.Header)
		if err != nil || first != from || r.size >= 0 && size >= 0 && size != r.size || r.size >= 0 && end > r.size {
			resp.Body.Close()
			r.whole = true
			return fmt.Errorf("%q is not the range from %d on: %w", resp.Header.Get("Content-Range"), from, errRange)
		}
		if r.size < 0 {
			r.size = size
		}
		r.body, r.pos, r.end = resp.Body, from, end
		return nil
	}
	if r.size < 0 {
		r.size = resp.ContentLength
	} else if resp.ContentLength >= 0 && resp.ContentLength != r.size {
		resp.Body.Close()
		return fmt.Errorf("%s: %w: the registry has %d bytes, not %d", r.name, oras.ErrInvalid, resp.ContentLength, r.size)
	}
	r.body, r.pos, r.end = resp.Body, 0, r.size
	n, err := io.CopyN(io.Discard, r.body, r.offset)
	r.pos = n
	return err
}

var errRange = errors.New("wrong part of the content")

// contentRange returns what a Content-Range header says: the first byte, the one
// after the last, and the size of the whole or -1.
func contentRange(h http.Header) (first, end, size int64, err error) {
	text := h.Get("Content-Range")
	first, last, err := wire.ParseRange(text)
	if err != nil {
		return 0, 0, 0, err
	}
	_, total, _ := strings.Cut(text, "/")
	if total == "*" {
		return first, last + 1, -1, nil
	}
	size, err = strconv.ParseInt(total, 10, 64)
	return first, last + 1, size, err
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
	}
	if offset < 0 {
		return 0, fmt.Errorf("%s: seek to %d: %w", r.name, offset, fs.ErrInvalid)
	}
	if r.closed {
		return 0, fs.ErrClosed
	}
	if offset != r.offset {
		r.offset, r.mark, r.failures = offset, offset, 0
	}
	return offset, nil
}

func (r *reader) drop() {
	if r.body != nil {
		r.body.Close()
		r.body = nil
	}
}

func (r *reader) Close() error {
	r.drop()
	r.closed = true
	return nil
}
