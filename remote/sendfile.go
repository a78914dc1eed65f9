package remote

import (
	"fmt"
	"io"
	"net"
	"os"
	"time"

	"github.com/c73062ad/oras"
)

// A copier is content that a connection may take from where it is, as [oras.Ingest] gives
// it to an upload: CopyN is [io.CopyN] to a connection, or [oras.ErrUnsupported], with
// nothing done, where the content must be read.
type copier interface {
	CopyN(w io.ReaderFrom, n int64) (int64, error)
}

// A fileTaker is a connection that takes files alone, which the kernel then sends: they
// pass through no memory of ours.
type fileTaker struct{ *net.TCPConn }

func (c fileTaker) ReadFrom(r io.Reader) (int64, error) {
	if l, ok := r.(*io.LimitedReader); ok {
		if _, ok := l.R.(*os.File); ok {
			return c.TCPConn.ReadFrom(r)
		}
	}
	return 0, fmt.Errorf("sending what is no file: %w", oras.ErrUnsupported)
}

// copyN is [copier.CopyN] of content that may be none.
func copyN(content io.Reader, w io.ReaderFrom, n int64) (int64, error) {
	switch content := content.(type) {
	case copier:
		return content.CopyN(w, n)
	case *os.File:
		return w.ReadFrom(io.LimitReader(content, n))
	}
	return 0, fmt.Errorf("taking content that is read: %w", oras.ErrUnsupported)
}

// sendFile sends of a request's body what the kernel can, and returns how much. What is
// left is to be read and written, if only to learn which of the two fails.
func (c conn) sendFile(r io.Reader) (sent int64) {
	limited, ok := r.(*io.LimitedReader)
	if !ok {
		return 0
	}
	body, ok := limited.R.(*sending)
	if !ok {
		return 0
	}
	for limited.N > 0 {
		n, err := body.copyN(c.TCPConn, min(limited.N, writeSize))
		sent += n
		limited.N -= n
		if err != nil || n == 0 {
			break
		}
	}
	return sent
}

// copyN is [copier.CopyN] of the content to c. Who ends the sending meanwhile ends the
// writing, too: it may be waiting for a registry that does not read any more.
func (s *sending) copyN(c *net.TCPConn, n int64) (int64, error) {
	s.mu.Lock()
	switch {
	case s.number != s.sending:
		defer s.mu.Unlock()
		return 0, errStopped
	case s.limit != nil:
		defer s.mu.Unlock()
		return 0, fmt.Errorf("sending slowly: %w", oras.ErrUnsupported)
	}
	s.copying, s.copied = c, make(chan struct{})
	if !s.closed.Load() {
		s.idle.Reset(s.timeout)
	}
	s.mu.Unlock()

	n, err := copyN(s.content, fileTaker{c}, n)

	s.mu.Lock()
	defer s.mu.Unlock()
	if s.number != s.sending { // interrupt was called
		c.SetWriteDeadline(time.Time{})
	}
	close(s.copied)
	s.copying = nil
	return n, err
}

// interrupt waits until nobody copies the content any more. The caller has b.mu, and has
// ended the sending.
func (b *body) interrupt() {
	for b.copying != nil {
		b.copying.SetWriteDeadline(time.Unix(1, 0))
		copied := b.copied
		b.mu.Unlock()
		<-copied
		b.mu.Lock()
	}
}
