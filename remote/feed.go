package remote

import (
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/c73062ad/oras"
)

// A feed is content on its way into an upload. One goroutine reads it ahead of who
// sends it, so that reading and sending overlap, and what was sent last stays in
// memory for when it did not arrive. What is not in memory any more is read again
// from the start, if the content is an io.Seeker.
type feed struct {
	content io.Reader
	group   sync.WaitGroup

	mu      sync.Mutex
	changed *sync.Cond // of mu
	ring    []byte     // the byte at an offset is at that, from base, modulo the length
	size    int        // to which the ring may grow
	base    int64      // offset of the content's first byte
	behind  int64      // bytes to keep of what was sent
	hold    int64      // offset from which on to keep all, -1 for none
	low     int64      // offset of the first byte in the ring
	have    int64      // and of the one after the last
	at      int64      // of the next to be sent
	again   bool       // the content is to be read from its start
	err     error      // of content, io.EOF at its end
	over    bool
}

var errGone = errors.New("what was sent cannot be read again")

// feedRead is how many bytes are read at a time. Less than that is not worth waking
// somebody for.
const feedRead = 256 << 10

// newFeed reads content, which begins at offset. It keeps as many bytes of what was
// sent as behind says, and reads as many as ahead says of what is to be. It must be
// stopped.
func newFeed(content io.Reader, offset, behind, ahead int64) *feed {
	f := &feed{content: content, behind: behind, hold: -1, base: offset, low: offset, have: offset, at: offset}
	f.changed = sync.NewCond(&f.mu)
	f.size = int(behind + ahead + feedRead)
	if ring, ok := rings.Get().(*[]byte); ok && len(*ring) >= f.size {
		f.ring, f.size = *ring, len(*ring)
	} else {
		f.ring = make([]byte, min(f.size, firstRing))
	}
	f.group.Go(f.run)
	return f
}

// firstRing is how large a ring is at first, in bytes. It grows with what comes.
const firstRing = 64 << 10

// rings holds memory not in use.
var rings sync.Pool

// grow makes room behind the last byte as long as the ring was never full.
func (f *feed) grow() {
	if used := f.have - f.base; used == int64(len(f.ring)) && len(f.ring) < f.size {
		f.ring = append(f.ring, make([]byte, min(len(f.ring), f.size-len(f.ring)))...)
		f.ring = f.ring[:min(cap(f.ring), f.size)]
	}
}

// stop ends reading, and waits for the Read under way.
func (f *feed) stop() {
	f.mu.Lock()
	f.over = true
	f.changed.Broadcast()
	f.mu.Unlock()
	f.group.Wait()
	if len(f.ring) == f.size {
		rings.Put(&f.ring)
	}
}

// run reads the content.
func (f *feed) run() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for !f.over {
		if f.again {
			f.rewind()
		}
		hold := f.hold
		if hold < 0 {
			hold = f.at - f.behind
		}
		room := hold + int64(f.size) - f.have
		if room < feedRead || f.err != nil {
			f.changed.Wait()
			continue
		}
		f.grow()
		from := int((f.have - f.base) % int64(len(f.ring)))
		part := f.ring[from:min(int64(len(f.ring)), int64(from)+feedRead)]
		f.low = max(f.low, f.have+int64(len(part))-int64(len(f.ring)))
		f.mu.Unlock()
		n, err := f.content.Read(part)
		f.mu.Lock()
		f.have += int64(n)
		f.err = err
		f.changed.Broadcast()
	}
}

// rewind lets reading begin anew.
func (f *feed) rewind() {
	f.again = false
	defer f.changed.Broadcast()
	seeker, ok := f.content.(io.Seeker)
	if !ok {
		f.err = errGone
		return
	}
	f.mu.Unlock()
	_, err := seeker.Seek(0, io.SeekStart)
	f.mu.Lock()
	f.low, f.have, f.err = f.base, f.base, err
}

// fill waits until n bytes from offset on are in memory, or all there are, and
// returns their number. There they stay until it is called again; n must be no more
// than was to be kept. An error comes with what was read before it; that of the end
// is io.EOF; read then returns none.
func (f *feed) fill(offset, n int64) (int64, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.move(offset)
	f.hold = offset
	for f.again || f.have < offset+n && f.err == nil {
		f.changed.Wait()
	}
	if f.have >= offset+n {
		return n, nil
	}
	return max(0, f.have-offset), f.err
}

// move lets the next byte to be sent be that at offset.
func (f *feed) move(offset int64) {
	if offset < f.low {
		f.again = true
	}
	f.at = offset
	f.changed.Broadcast()
}

// kept reports whether the byte at offset is in memory.
func (f *feed) kept(offset int64) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.low <= offset
}

// read reads what is there at offset, and waits if that is nothing. What was before, and
// cannot be read again, is errGone.
func (f *feed) read(p []byte, offset int64) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if offset != f.at {
		f.move(offset)
	}
	for f.again || f.have <= offset && f.err == nil {
		f.changed.Wait()
	}
	switch {
	case f.have <= offset:
		return 0, f.err
	case offset < f.low:
		return 0, errGone
	}
	from := (offset - f.base) % int64(len(f.ring))
	n := copy(p[:min(int64(len(p)), f.have-offset)], f.ring[from:])
	f.at += int64(n)
	f.changed.Broadcast()
	if f.at == f.have && f.err != nil && f.err != io.EOF && f.hold < 0 { // that of the whole, at its end
		return n, f.err
	}
	return n, nil
}

// part returns n bytes from offset on, of which there is one at a time.
func (f *feed) part(offset, n int64) io.ReadSeeker {
	return &section{from: f, start: offset, end: offset + n, offset: offset}
}

// A section is some of content, as that of one request.
type section struct {
	from interface {
		read(p []byte, offset int64) (int, error)
		kept(offset int64) bool // and so can be read
	}
	start, end int64
	offset     int64 // of the next byte
}

func (s *section) Read(p []byte) (int, error) {
	if s.offset >= s.end {
		return 0, io.EOF
	}
	n, err := s.from.read(p[:min(int64(len(p)), s.end-s.offset)], s.offset)
	s.offset += int64(n)
	if err == io.EOF {
		err = fmt.Errorf("%w: content ended at byte %d and not at %d", oras.ErrInvalid, s.offset, s.end)
	}
	return n, err
}

// CopyN is [copier.CopyN].
func (s *section) CopyN(w io.ReaderFrom, n int64) (int64, error) {
	r, ok := s.from.(*rest)
	if !ok {
		return 0, fmt.Errorf("taking content that is read ahead: %w", oras.ErrUnsupported)
	}
	n, err := r.copyN(w, min(n, s.end-s.offset), s.offset)
	s.offset += n
	return n, err
}

// Seek goes back to the start, as long as that can be read. It is not worth more: what
// arrived need not be sent again.
func (s *section) Seek(int64, int) (int64, error) {
	if !s.from.kept(s.start) {
		return 0, errGone
	}
	s.offset = s.start
	return 0, nil
}
