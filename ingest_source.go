package oras

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash"
	"io"
	"sync"
)

// newIngestSource returns the source of content for in.
func newIngestSource(ctx context.Context, in *ingest, content io.Reader) (ingestSource, error) {
	if s, ok := content.(io.ReadSeeker); ok {
		if src, err := newSeekSource(in, s); src != nil {
			return src, err
		}
	}
	if in.opts.known() || in.opts.Digest != nil {
		return nil, fmt.Errorf("the digest of content that is no io.Seeker can only be found by reading it: %w", ErrUnsupported)
	}
	s := &streamSource{
		in:     in,
		hash:   in.algorithm.New(),
		pieces: make(chan streamPiece),
		free:   make(chan []byte, 2),
	}
	s.free <- nil // made when they are needed
	s.free <- nil
	s.reader.Go(func() { s.readAll(ctx, content) })
	return s, nil
}

// A seekSource is of content that is an io.Seeker.
type seekSource struct {
	in     *ingest
	s      io.ReadSeeker
	start  int64      // where the content begins in s
	hash   *asideHash // nil where it is not hashed here, and as long as nothing is
	hashed int64
}

// newSeekSource returns nil if s cannot seek, as a pipe, or not to its end.
func newSeekSource(in *ingest, s io.ReadSeeker) (*seekSource, error) {
	start, err := s.Seek(0, io.SeekCurrent)
	if err != nil {
		return nil, nil
	}
	src := &seekSource{in: in, s: s, start: start}
	if in.opts.known() {
		in.size = in.opts.Expected.Size
		return src, nil
	}
	end, err := s.Seek(0, io.SeekEnd)
	if err != nil {
		return nil, nil
	}
	in.size = max(end-start, 0)
	_, err = s.Seek(start, io.SeekStart)
	return src, err
}

func (s *seekSource) whole(context.Context) ([]byte, error) {
	if s.in.size > ingestPiece {
		return nil, nil
	}
	data := make([]byte, s.in.size) // which is not nil
	_, err := io.ReadFull(s.s, data)
	return data, err
}

func (s *seekSource) from(ctx context.Context, offset, _ int64) (*sending, error) {
	switch {
	case offset == s.in.size:
		return nil, nil
	case offset > s.in.size:
		return nil, fmt.Errorf("upload: %w: %d bytes have arrived of %d", ErrInvalid, offset, s.in.size)
	}
	if err := s.hashUntil(ctx, offset); err != nil {
		return nil, contentError{err}
	}
	next, err := newSending(s.s, s.start+offset, s.in.size-offset, func(at int64) { s.in.event(Progress, offset+at-s.in.there) })
	if err != nil {
		return nil, contentError{err}
	}
	if s.hash != nil {
		next.read = func(p []byte, at int64) {
			at += offset
			if at <= s.hashed && s.hashed < at+int64(len(p)) {
				s.hash.Write(p[s.hashed-at:])
				s.hashed = at + int64(len(p))
			}
		}
	}
	return next, nil
}

// hashUntil hashes what lies before offset and was not sent by this Ingest.
func (s *seekSource) hashUntil(ctx context.Context, offset int64) error {
	if s.hash == nil && s.in.hashes() {
		s.hash = newAsideHash(s.in.algorithm.New())
	}
	if s.hash == nil || s.hashed >= offset {
		return nil
	}
	if _, err := s.s.Seek(s.start+s.hashed, io.SeekStart); err != nil {
		return err
	}
	n, err := io.CopyBuffer(s.hash, io.LimitReader(doneReader{ctx, s.s}, offset-s.hashed), make([]byte, continueBuffer))
	if s.hashed += n; err == nil && s.hashed < offset {
		err = io.ErrUnexpectedEOF
	}
	return err
}

func (s *seekSource) digest(ctx context.Context) (Digest, error) {
	if s.in.opts.known() {
		return s.in.expected, nil
	}
	err := s.hashUntil(ctx, s.in.size)
	return s.in.algorithm.Sum(s.hash.end()), err
}

func (s *seekSource) close() {
	if s.hash != nil {
		s.hash.end()
	}
}

// An asideHash hashes in a goroutine of its own, so that what gives it bytes need not
// wait for that.
type asideHash struct {
	hash hash.Hash
	next []byte // not given yet
	full chan []byte
	free chan []byte
	done sync.WaitGroup
	over bool
}

// asidePiece is how many bytes are hashed at a time. There are three.
const asidePiece = 256 << 10

func newAsideHash(h hash.Hash) *asideHash {
	a := &asideHash{hash: h, full: make(chan []byte, 1), free: make(chan []byte, 2)}
	a.next = make([]byte, 0, asidePiece)
	a.free <- make([]byte, 0, asidePiece)
	a.free <- make([]byte, 0, asidePiece)
	a.done.Go(func() {
		for p := range a.full {
			a.hash.Write(p)
			a.free <- p[:0]
		}
	})
	return a
}

func (a *asideHash) Write(p []byte) (int, error) {
	for rest := p; len(rest) > 0; {
		n := min(len(rest), asidePiece-len(a.next))
		a.next, rest = append(a.next, rest[:n]...), rest[n:]
		if len(a.next) == asidePiece {
			a.full <- a.next
			a.next = <-a.free
		}
	}
	return len(p), nil
}

// end returns the hash of all that was written. Nothing may be written any more.
func (a *asideHash) end() hash.Hash {
	if !a.over {
		a.over = true
		close(a.full)
		a.done.Wait()
		a.hash.Write(a.next)
	}
	return a.hash
}

// A doneReader ends when its context does.
type doneReader struct {
	ctx context.Context
	r   io.Reader
}

func (d doneReader) Read(p []byte) (int, error) {
	if d.ctx.Err() != nil {
		return 0, context.Cause(d.ctx)
	}
	return d.r.Read(p)
}

// A streamSource is of content that can be read only once: a goroutine reads and
// hashes the next piece while the last one is sent.
type streamSource struct {
	in     *ingest
	hash   hash.Hash
	reader sync.WaitGroup
	pieces chan streamPiece
	free   chan []byte

	offset   int64  // of data in the content
	data     []byte // what was received last
	borrowed bool   // from free
	err      error  // what came behind data
}

type streamPiece struct {
	data []byte
	err  error // io.EOF of the last one
}

// readAll reads pieces until the content or the context ends.
func (s *streamSource) readAll(ctx context.Context, content io.Reader) {
	defer close(s.pieces)
	for err := error(nil); err == nil; {
		var buf []byte
		select {
		case buf = <-s.free:
		case <-ctx.Done():
			return
		}
		if buf == nil {
			buf = make([]byte, ingestPiece)
		}
		n := 0
		n, err = fill(buf, doneReader{ctx, content})
		s.hash.Write(buf[:n])
		select {
		case s.pieces <- streamPiece{buf[:n], err}:
		case <-ctx.Done():
			return
		}
	}
}

// fill reads until p is full or there is an error, be it io.EOF.
func fill(p []byte, r io.Reader) (n int, err error) {
	for empty := 0; n < len(p) && err == nil; {
		var more int
		more, err = r.Read(p[n:])
		n += more
		if empty++; more > 0 {
			empty = 0
		} else if err == nil && empty == 100 {
			err = io.ErrNoProgress
		}
	}
	return n, err
}

// next receives a piece, and puts it behind the last keep bytes of the one before.
func (s *streamSource) next(ctx context.Context, keep int) error {
	piece, ok := <-s.pieces
	if !ok {
		return context.Cause(ctx)
	}
	last := s.data[len(s.data)-keep:]
	s.offset += int64(len(s.data) - keep)
	s.err = piece.err
	if keep == 0 {
		s.release()
		s.data, s.borrowed = piece.data, true
		return nil
	}
	if s.borrowed {
		last = last[:keep:keep]
	}
	last = append(last, piece.data...)
	s.release()
	s.free <- piece.data[:ingestPiece]
	s.data, s.borrowed = last, false
	return nil
}

// release lets data be filled again.
func (s *streamSource) release() {
	if s.borrowed {
		s.free <- s.data[:ingestPiece]
	}
}

func (s *streamSource) whole(ctx context.Context) ([]byte, error) {
	if err := s.next(ctx, 0); err != nil {
		return nil, err
	}
	switch s.err {
	case nil:
		return nil, nil
	case io.EOF:
		return s.data, nil
	}
	return nil, s.err
}

func (s *streamSource) from(ctx context.Context, offset, least int64) (*sending, error) {
	for {
		end := s.offset + int64(len(s.data))
		left := end - offset
		switch {
		case offset < s.offset:
			return nil, fmt.Errorf("upload: %w: bytes that had arrived are lost, from %d on", ErrInvalid, offset)
		case left > 0 && (s.err != nil || left >= least):
			return newSending(bytes.NewReader(s.data), offset-s.offset, left, func(at int64) { s.in.event(Progress, offset+at-s.in.there) })
		case s.err == io.EOF && left < 0:
			return nil, fmt.Errorf("upload: %w: %d bytes have arrived of %d", ErrInvalid, offset, end)
		case s.err == io.EOF:
			return nil, nil
		case s.err != nil:
			return nil, s.err
		}
		if err := s.next(ctx, int(max(left, 0))); err != nil {
			return nil, err
		}
	}
}

func (s *streamSource) digest(context.Context) (Digest, error) {
	return s.in.algorithm.Sum(s.hash), nil // readAll has ended
}

func (s *streamSource) close() { s.reader.Wait() }

// A sending is what one Append reads: a part of some content. It can be seeked,
// its start being 0, so that what cannot be sent at once can be sent again.
type sending struct {
	mu      sync.Mutex
	s       io.ReadSeeker
	start   int64
	size    int64
	pos     int64
	moved   func(at int64)           // is told up to where it was read
	read    func(p []byte, at int64) // is told what was; nil if nobody wants that
	err     error                    // of s
	stopped bool
}

func newSending(s io.ReadSeeker, start, size int64, moved func(at int64)) (*sending, error) {
	_, err := s.Seek(start, io.SeekStart)
	return &sending{s: s, start: start, size: size, moved: moved}, err
}

func (s *sending) Read(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch left := s.size - s.pos; {
	case s.stopped:
		return 0, errStopped
	case left <= 0:
		return 0, io.EOF
	case int64(len(p)) > left:
		p = p[:left]
	}
	n, err := s.s.Read(p)
	if n > 0 {
		if s.read != nil {
			s.read(p[:n], s.pos)
		}
		s.pos += int64(n)
		s.moved(s.pos)
	}
	if err != nil && err != io.EOF {
		s.err = err
	}
	return n, err
}

// CopyN lets w take the next n bytes, or those there are, from the content itself: what is
// a connection can have the kernel send them. Content that must be read, as it is hashed, is
// [ErrUnsupported].
func (s *sending) CopyN(w io.ReaderFrom, n int64) (int64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.stopped:
		return 0, errStopped
	case s.read != nil:
		return 0, fmt.Errorf("taking content that is read: %w", ErrUnsupported)
	}
	n, err := w.ReadFrom(io.LimitReader(s.s, min(n, s.size-s.pos)))
	if n > 0 {
		s.pos += n
		s.moved(s.pos)
	}
	return n, err
}

var errSeek = errors.New("seek to before the start")

func (s *sending) Seek(offset int64, whence int) (int64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch whence {
	case io.SeekCurrent:
		offset += s.pos
	case io.SeekEnd:
		offset += s.size
	}
	switch {
	case s.stopped:
		return 0, errStopped
	case offset < 0:
		return 0, errSeek
	}
	if _, err := s.s.Seek(s.start+offset, io.SeekStart); err != nil {
		return 0, err
	}
	s.pos = offset
	return offset, nil
}

// stop ends reading, by whoever still does, and returns why that failed.
func (s *sending) stop() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stopped = true
	return s.err
}
