package remote

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"

	"github.com/c73062ad/oras"
	"github.com/c73062ad/oras/internal/wire"
)

// A source is a blob at the registry.
type source struct {
	name string // for errors
	// get requests the content from first to last, -1 for the end. The answer
	// has a status of 200 or, unless it is the whole that is asked for, of 206.
	get   func(ctx context.Context, first, last int64) (*http.Response, error)
	size  int64 // -1 as long as it is not known
	whole bool  // the registry does not give parts
}

// A stream is content that comes over one connection.
type stream struct {
	body   io.ReadCloser
	pos    int64 // of the next byte
	end    int64 // as far as known, else -1
	cancel context.CancelFunc
}

var (
	errRange = errors.New("wrong part of the content")
	errWhole = errors.New("the registry gives no parts of the content")
)

// open opens a stream of what begins at from. A registry that gives no parts, or
// wrong ones, is asked for the whole, of which the beginning is skipped.
func (s *source) open(ctx context.Context, from int64) (*stream, error) {
	first := from
	if s.whole {
		first = 0
	}
	st, partial, err := s.request(ctx, first, -1)
	if errors.Is(err, errRange) {
		s.whole = true
	}
	if err != nil || partial {
		return st, err
	}
	st.pos, err = io.CopyN(io.Discard, st.body, from)
	if err != nil {
		st.close()
		return nil, err
	}
	return st, nil
}

// part opens a stream from from to end. A registry that gives no parts is errWhole.
func (s *source) part(ctx context.Context, from, end int64) (*stream, error) {
	st, partial, err := s.request(ctx, from, end-1)
	if err == nil && !partial {
		st.close()
		return nil, errWhole
	}
	return st, err
}

// request makes a request, and believes no more of the answer than what cannot be
// meant otherwise.
func (s *source) request(ctx context.Context, first, last int64) (st *stream, partial bool, err error) {
	ctx, cancel := context.WithCancel(ctx)
	resp, err := s.get(ctx, first, last)
	if err != nil {
		cancel()
		return nil, false, err
	}
	st = &stream{body: resp.Body, cancel: cancel}
	if resp.StatusCode == http.StatusPartialContent {
		begin, end, size, err := contentRange(resp.Header)
		wrong := err != nil || begin != first || last >= 0 && end > last+1
		if wrong || s.size >= 0 && (size >= 0 && size != s.size || end > s.size) {
			st.close()
			return nil, true, fmt.Errorf("%q is not the range from %d on: %w", resp.Header.Get("Content-Range"), first, errRange)
		}
		if s.size < 0 {
			s.size = size
		}
		st.pos, st.end = first, end
		return st, true, nil
	}
	if s.size < 0 {
		s.size = resp.ContentLength
	} else if resp.ContentLength >= 0 && resp.ContentLength != s.size {
		st.close()
		return nil, false, fmt.Errorf("%s: %w: the registry has %d bytes, not %d", s.name, oras.ErrInvalid, resp.ContentLength, s.size)
	}
	st.end = s.size
	return st, false, nil
}

// Read reads what is left of the stream. One that has less than it was said to have
// is an error.
func (st *stream) Read(p []byte) (int, error) {
	if st.end >= 0 {
		p = p[:min(int64(len(p)), st.end-st.pos)]
		if len(p) == 0 { // the registry gave less than it was asked for
			return 0, errRange
		}
	}
	n, err := st.body.Read(p)
	st.pos += int64(n)
	return n, err
}

func (st *stream) close() {
	if st != nil {
		st.body.Close()
		st.cancel()
	}
}

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
