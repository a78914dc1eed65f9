package remote

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// What reading ahead does, in bytes.
const (
	aheadAfter = 2 << 20  // must have been read in order before
	aheadLeast = 14 << 20 // must be left
	pieceSize  = 2 << 20  // at most
	leastPiece = 512 << 10
	alonePiece = 256 << 10 // of one connection, where pieces cost nothing: what is small stays in a core's cache
	enough     = 128 << 10 // is worth waking who reads
	maxPieces  = 16        // of all downloads from a registry together
)

// ringSize is how many pieces are in memory for a number of connections: one on its
// way, one to follow at once for each, and one being read.
func ringSize(connections int) int { return min(2*connections+1, maxPieces) }

// pieces holds memory not in use.
var pieces = sync.Pool{New: func() any { return new([pieceSize]byte) }}

// A budget is what the downloads from one registry may use to read ahead.
type budget struct {
	connections int // for each
	used        atomic.Int64
}

// take reserves memory for n pieces, if there is some left.
func (b *budget) take(n int) bool {
	if b.used.Add(int64(n)) <= maxPieces {
		return true
	}
	b.used.Add(int64(-n))
	return false
}

func (b *budget) giveBack(n int) { b.used.Add(int64(-n)) }

// An ahead reads content ahead of who reads it, over one connection or several.
//
// It cuts the content into pieces, a few of which are in memory, in order. Workers,
// one for each connection, fill them; read takes from the first as it is filled. The
// first worker has the connection that there was before. As long as it is alone it
// lets that go on; when there are more each asks for one piece at a time, with a
// range. The first keeps its connection until another has got a range, so that where
// there are none nothing was lost. What the others fail at is left to the first, and
// its failure is that of the whole.
//
// How many there should be is found out: all that are allowed if who reads has to wait
// and they bring more than the one, which is tried now and then. So is how large pieces
// should be: what is in memory is lost with the process, so they are small, unless
// connections then spend their time waiting for answers.
type ahead struct {
	source source
	ctx    context.Context
	cancel context.CancelFunc
	budget *budget
	group  sync.WaitGroup

	mu      sync.Mutex
	changed *sync.Cond // of mu
	ring    []*piece   // from the one being read
	next    int64      // the offset up to which there are pieces
	pos     int64      // of the next byte to be read
	err     error      // of the first worker
	over    bool

	taken   int        // of the budget
	workers int        // there are
	width   int        // there should be
	ranges  rangeState // whether the registry gives parts
	live    map[*stream]bool
	pace    pace
	size    int64         // of the next piece of several connections, in bytes
	waited  time.Duration // that who reads had to, in all
}

type rangeState int

const (
	rangesUnknown rangeState = iota
	rangesGiven
	rangesRefused
)

type piece struct {
	start, end int64
	buf        *[pieceSize]byte
	filled     int // bytes, from the start
	told       int // of which who reads was woken
	free       bool
}

func (p *piece) full() bool { return p.start+int64(p.filled) == p.end }

// newAhead reads on where st is. The first ring's size must have been taken from
// the budget.
func newAhead(ctx context.Context, src source, st *stream, b *budget) *ahead {
	a := &ahead{source: src, budget: b, taken: ringSize(1), width: 1, workers: 1, next: st.pos, pos: st.pos, size: leastPiece, live: map[*stream]bool{st: true}}
	a.ctx, a.cancel = context.WithCancel(ctx)
	a.changed = sync.NewCond(&a.mu)
	a.pace.start = time.Now()
	if src.whole {
		a.ranges = rangesRefused
	}
	a.group.Go(func() { a.work(0, st) })
	return a
}

// read reads what is there of the next piece, and waits if that is nothing.
func (a *ahead) read(p []byte) (int, error) {
	a.mu.Lock()
	for !(len(a.ring) > 0 && a.pos < a.ring[0].start+int64(a.ring[0].filled)) {
		if a.err != nil {
			defer a.mu.Unlock()
			return 0, a.err
		}
		began := time.Now()
		a.changed.Wait()
		waited := time.Since(began)
		a.waited += waited
		a.pace.waited += waited
	}
	first := a.ring[0]
	from := int(a.pos - first.start)
	data := first.buf[from:first.filled]
	a.mu.Unlock()

	n := copy(p, data) // what is filled does not change

	a.mu.Lock()
	defer a.mu.Unlock()
	if a.pos += int64(n); a.pos == first.end {
		pieces.Put(first.buf)
		a.ring = slices.Delete(a.ring, 0, 1)
		a.changed.Broadcast()
	}
	return n, nil
}

// stop ends all requests and waits until nobody works any more.
func (a *ahead) stop() {
	a.mu.Lock()
	a.over = true
	a.cancel()
	for st := range a.live {
		st.cancel()
	}
	a.changed.Broadcast()
	a.mu.Unlock()
	a.group.Wait()
	for _, p := range a.ring {
		pieces.Put(p.buf)
	}
	a.ring = nil
	a.budget.giveBack(a.taken)
}

// work fills pieces until there are none left for worker number id, which has a
// stream to begin with, or nil.
func (a *ahead) work(id int, st *stream) {
	defer func() { a.drop(st) }()
	for {
		p := a.claim(id, st)
		if p == nil {
			return
		}
		err := a.fill(id, p, &st)
		if err == nil {
			continue
		}
		a.mu.Lock()
		defer a.mu.Unlock()
		defer a.changed.Broadcast()
		if id == 0 {
			a.err = err
			return
		}
		p.free = true
		a.workers--
		a.width = 1
		a.pace.failed(time.Now())
		if errors.Is(err, errWhole) || errors.Is(err, errRange) || !temporary(a.ctx, err) {
			a.ranges = rangesRefused
		}
		return
	}
}

// claim returns the next piece for worker number id, nil if it is to end.
func (a *ahead) claim(id int, st *stream) *piece {
	a.mu.Lock()
	defer a.mu.Unlock()
	for {
		if a.over || a.err != nil {
			return nil
		}
		if id > 0 && (id >= a.width || a.ranges == rangesRefused) {
			a.workers--
			a.changed.Broadcast()
			return nil
		}
		if p := a.free(); p != nil && a.mayTake(id, st, p.start) {
			p.free = false
			return p
		}
		if a.next == a.source.size && (id > 0 || !slices.ContainsFunc(a.ring, func(p *piece) bool { return !p.full() })) {
			if id > 0 {
				a.workers--
			}
			return nil
		}
		if a.next < a.source.size && len(a.ring) < ringSize(a.width) && a.free() == nil && a.mayTake(id, st, a.next) {
			size := a.size
			if a.width == 1 {
				size = alonePiece
			}
			p := &piece{start: a.next, end: min(a.next+size, a.source.size), buf: pieces.Get().(*[pieceSize]byte)}
			a.ring = append(a.ring, p)
			a.next = p.end
			return p
		}
		a.changed.Wait()
	}
}

// free returns the first piece that was given back, nil for none.
func (a *ahead) free() *piece {
	for _, p := range a.ring {
		if p.free {
			return p
		}
	}
	return nil
}

// mayTake reports whether a worker may go on at offset. The first keeps its stream
// until it is known whether the registry gives ranges; and meanwhile one tries.
func (a *ahead) mayTake(id int, st *stream, offset int64) bool {
	if a.ranges != rangesUnknown {
		return true
	}
	return id == 0 && (st == nil || st.pos == offset) || id == 1
}

// fill reads the rest of p from *st if that is where p goes on, else from a stream
// that it opens and leaves in *st.
func (a *ahead) fill(id int, p *piece, st **stream) error {
	tries := tries{mark: p.start + int64(p.filled)}
	timing := a.begin()
	for {
		at := p.start + int64(p.filled)
		if at == p.end {
			a.filled(timing)
			return nil
		}
		opened, err := a.seek(id, st, at, p.end)
		if opened && err == nil && timing.answered.IsZero() {
			timing.answered = time.Now()
		}
		if err == nil {
			var n int
			n, err = (*st).Read(p.buf[p.filled:][:p.end-at])
			a.arrived(p, n)
			if err == nil || n > 0 && (*st).pos == p.end {
				continue
			}
		}
		a.drop(*st)
		*st = nil
		if id > 0 && (tries.failures >= 2 || errors.Is(err, errWhole) || errors.Is(err, errRange)) {
			return err // the first worker can do better
		}
		if err := tries.failed(a.ctx, a.source.name, p.start+int64(p.filled), err); err != nil {
			return err
		}
	}
}

// A timing is of one piece.
type timing struct {
	began, answered time.Time     // answered, the first time, is zero where there was no request for it
	waited          time.Duration // ahead.waited when it began
}

func (a *ahead) begin() timing {
	a.mu.Lock()
	defer a.mu.Unlock()
	return timing{began: time.Now(), waited: a.waited}
}

// Shares of the time that a piece takes, from its request on.
const (
	muchAnswer   = 1.0 / 8  // waiting for the answer, so that larger pieces are worth it
	littleAnswer = 1.0 / 32 // so that smaller ones cost nothing
)

// soon is an answer for which no piece is worth being larger: with the least ones, and
// six connections, 750 MB/s come. A machine that is busy takes as long.
const soon = 4 * time.Millisecond

// resize makes the next pieces larger if much of the time that one took, until now, went
// into waiting for the answer, while who reads had to wait, and smaller if little did.
func (a *ahead) resize(t timing, now time.Time) {
	if t.answered.IsZero() {
		return
	}
	took, answer := now.Sub(t.began).Seconds(), t.answered.Sub(t.began).Seconds()
	quick := answer < soon.Seconds()
	switch {
	case !quick && answer > muchAnswer*took && (a.waited-t.waited).Seconds() >= idleShare*took:
		a.size = min(2*a.size, pieceSize)
	case quick || answer < littleAnswer*took:
		a.size = max(a.size/2, leastPiece)
	}
}

// seek makes *st a stream that is at offset: of all that follows if the worker is
// alone, else up to end. It reports whether that took a request.
func (a *ahead) seek(id int, st **stream, offset, end int64) (requested bool, err error) {
	if *st != nil && (*st).pos == offset && offset < (*st).end {
		return false, nil
	}
	a.drop(*st)
	*st = nil
	a.mu.Lock()
	alone := id == 0 && (a.width == 1 || a.ranges != rangesGiven)
	a.mu.Unlock()
	var opened *stream
	if alone {
		opened, err = a.source.open(a.ctx, offset)
	} else {
		src := source{name: a.source.name, get: a.source.get, size: a.source.size}
		opened, err = src.part(a.ctx, offset, end)
		if id == 0 && errors.Is(err, errWhole) {
			opened, err = a.source.open(a.ctx, offset)
		}
	}
	if err != nil {
		return true, err
	}
	*st = opened
	a.mu.Lock()
	defer a.mu.Unlock()
	a.live[opened] = true
	if a.over {
		opened.cancel()
	}
	if !alone && a.ranges == rangesUnknown {
		a.ranges = rangesGiven
		a.changed.Broadcast()
	}
	return true, nil
}

func (a *ahead) drop(st *stream) {
	if st == nil {
		return
	}
	st.close()
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.live, st)
}

// arrived notes that n more bytes of p are there.
func (a *ahead) arrived(p *piece, n int) {
	if n == 0 {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	p.filled += n
	a.pace.bytes += int64(n)
	if a.ring[0] == p && (p.full() || p.filled-p.told >= enough) {
		p.told = p.filled
		a.changed.Broadcast()
	}
}

// filled decides, now that a piece is full, how many workers there should be.
func (a *ahead) filled(t timing) {
	a.mu.Lock()
	defer a.mu.Unlock()
	now := time.Now()
	a.resize(t, now)
	most := a.budget.connections
	if a.ranges == rangesRefused {
		most = 1
	}
	width := a.pace.decide(now, a.width, most)
	if more := ringSize(width) - a.taken; more > 0 {
		if !a.budget.take(more) { // which others have, for now
			a.pace.later(now, firstProbe)
			return
		}
		a.taken += more
	}
	if width != a.width {
		a.width = width
		a.changed.Broadcast()
	}
	// Workers end from the last, so those there are have the lowest numbers.
	for a.workers < a.width && a.next < a.source.size && !a.over && a.err == nil {
		id := a.workers
		a.workers++
		a.group.Go(func() { a.work(id, nil) })
	}
}

// A pace is how fast content comes.
type pace struct {
	start   time.Time // of the time that is measured
	bytes   int64     // that came since
	waited  time.Duration
	skip    int           // pieces until measuring begins
	before  float64       // bytes a second over the one connection
	probe   time.Time     // when more connections may be tried again
	pause   time.Duration // after the next trial that brings nothing
	settled bool          // as it is it stays, unless a connection fails
}

const (
	leastTime  = 100 * time.Millisecond // to be measured
	firstProbe = time.Second            // after a trial that brought nothing, or could not be made; it doubles
	gain       = 1.2                    // that is worth more connections
	idleShare  = 0.6                    // of the time that who reads must have waited for more connections or larger pieces
)

// decide returns how many connections there should be, where there are width: one, or
// as many as may be. In between is nothing to be learnt: one request for each piece
// costs time in which nothing comes, so that two may be no better than one, and six be.
func (p *pace) decide(now time.Time, width, most int) int {
	if p.skip > 0 {
		if p.skip--; p.skip == 0 {
			p.start, p.bytes, p.waited = now, 0, 0
		}
		return width
	}
	took := now.Sub(p.start)
	if p.settled || took < leastTime || p.bytes < int64(width)*2*pieceSize {
		return width
	}
	rate, starved := float64(p.bytes)/took.Seconds(), p.waited.Seconds() >= idleShare*took.Seconds()
	p.start, p.bytes, p.waited = now, 0, 0
	switch {
	case width > 1 && rate < gain*p.before:
		p.failed(now)
		return 1
	case width > 1:
		p.settled = true
	case starved && most > 1 && !now.Before(p.probe):
		p.before, p.skip = rate, most
		return most
	}
	return width
}

// failed notes that more connections brought nothing, or that one of them failed: they
// are tried again, each time later than the time before.
func (p *pace) failed(now time.Time) {
	p.settled = false
	p.pause = max(firstProbe, 2*p.pause)
	p.later(now, p.pause)
}

// later lets more connections be tried again after pause.
func (p *pace) later(now time.Time, pause time.Duration) {
	p.probe, p.skip = now.Add(pause), 1
}
