package remote

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

var (
	errIdle    = errors.New("the connection moved nothing for too long")
	errStopped = errors.New("the request is over")
)

// A body is content on its way out. The request may be sent more than once, by
// redirects and retries; net/http may still read a body when the answer is
// there; and an answer may come before the content's own reader finds that it is
// not what it was said to be. So each sending has a reader of its own, only the
// last of which reads, none after stop; and what content itself failed with is
// kept.
type body struct {
	size int64

	mu      sync.Mutex
	content io.Reader // an io.Seeker too
	sending int       // which may read
	err     error     // of content, but io.EOF

	copying *net.TCPConn  // to which the content is copied without mu, or nil
	copied  chan struct{} // closed when that ends

	ctx     context.Context // of the request
	idle    *time.Timer     // runs while the connection takes no bytes, and then ends the request
	timeout time.Duration
	limit   *limiter

	data []byte // or nil: content that goes together with the request's header
}

// newBody returns content, of size bytes, as a body. It must be an io.Seeker.
func newBody(content io.Reader, size int64) *body { return &body{content: content, size: size} }

// withHeader is the size in bytes of content that goes together with the header of its
// request, which net/http sees to if it knows that it is in memory: so the registry need
// not be woken twice. A connection that has nothing else on its way takes so much at once,
// so nothing is to be watched.
const withHeader = 16 << 10

// newDataBody returns data, which must not change, as a body.
func newDataBody(data []byte) *body {
	b := newBody(bytes.NewReader(data), int64(len(data)))
	if len(data) <= withHeader {
		b.data = data
	}
	return b
}

// watch prepares b for a request of ctx, which idle ends.
func (b *body) watch(ctx context.Context, idle *time.Timer, timeout time.Duration, limit *limiter) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.ctx, b.idle, b.timeout, b.limit = ctx, idle, timeout, limit
}

// next ends the sending there was and begins one from the start.
func (b *body) next() (io.ReadCloser, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.err != nil {
		return nil, b.err
	}
	b.sending++
	b.interrupt()
	if b.sending > 1 {
		if _, err := b.content.(io.Seeker).Seek(0, io.SeekStart); err != nil {
			return nil, err
		}
	}
	if b.data != nil && b.limit == nil {
		return io.NopCloser(bytes.NewReader(b.data)), nil
	}
	return &sending{body: b, number: b.sending}, nil
}

// stop ends the last sending and returns what content failed with, if it did.
func (b *body) stop() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.sending++
	b.interrupt()
	b.idle.Stop()
	return b.err
}

// failed returns what content failed with, if it did.
func (b *body) failed() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.err
}

type sending struct {
	*body
	number int
	closed atomic.Bool
}

func (s *sending) Read(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.number != s.sending {
		return 0, errStopped
	}
	s.idle.Stop()
	n, err := s.content.Read(s.limit.portion(p))
	if err != nil && err != io.EOF {
		s.err = err
	}
	if e := s.limit.wait(s.ctx, n); e != nil && err == nil {
		return n, e
	}
	if err == nil {
		s.idle.Reset(s.timeout)
		if s.closed.Load() {
			s.idle.Stop()
		}
	}
	return n, err
}

// Close does not wait for a Read, which may be waiting for its source.
func (s *sending) Close() error {
	s.closed.Store(true)
	s.idle.Stop()
	return nil
}

// A watched body is that of an answer; reading fails if nothing comes in time.
type watched struct {
	io.ReadCloser
	ctx     context.Context
	cancel  context.CancelCauseFunc
	idle    *time.Timer
	timeout time.Duration
	limit   *limiter
}

func (w *watched) Read(p []byte) (int, error) {
	w.idle.Reset(w.timeout)
	n, err := w.ReadCloser.Read(w.limit.portion(p))
	w.idle.Stop()
	if e := w.limit.wait(w.ctx, n); e != nil && err == nil {
		return n, e
	}
	if err != nil && err != io.EOF && context.Cause(w.ctx) == errIdle {
		err = errIdle
	}
	return n, err
}

func (w *watched) Close() error {
	w.idle.Stop()
	err := w.ReadCloser.Close()
	w.cancel(nil)
	return err
}
