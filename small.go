package oras

import (
	"context"
	"sync"
	"time"
)

const (
	// smallPiece is the size in bytes up to which content takes its time in waiting
	// for answers, not in moving.
	smallPiece = 64 << 10

	// smallForEach is how many such pieces move at least for each place of others.
	smallForEach = 4

	// smallAtOnce is how many are tried at most, if that is not more: each may need a
	// connection of its own.
	smallAtOnce = 32

	// smallGain is how many times as fast the double number must be to be kept.
	smallGain = 1.2
)

// smallSlots are places for small pieces of content, and for questions. How many there
// should be depends on how long answers take, and on who is busy: so it is found out. As
// long as all are taken their number is doubled, to the most there may be, until that
// brings little; then it is what it was before, and stays.
type smallSlots struct {
	free chan struct{} // one for each place that is not taken
	now  func() time.Time

	mu      sync.Mutex
	width   int // places
	most    int
	tried   int     // places before the last doubling, 0 for none
	before  float64 // pieces a second then
	settled bool
	owed    int // places to be given up
	skip    int // pieces to end before measuring begins: they began with other places
	done    int // pieces that ended since
	start   time.Time
}

func newSmallSlots(width, most int) *smallSlots {
	s := &smallSlots{free: make(chan struct{}, most), now: time.Now, width: width, most: most, settled: width >= most}
	for range width {
		s.free <- struct{}{}
	}
	s.start = s.now()
	return s
}

// do runs f when there is a place for it.
func (s *smallSlots) do(ctx context.Context, f func() error) error {
	select {
	case <-s.free:
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	defer s.leave()
	return f()
}

// leave gives back a place.
func (s *smallSlots) leave() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.settled {
		s.count(len(s.free) == 0)
	}
	if s.owed > 0 {
		s.owed--
		return
	}
	s.free <- struct{}{}
}

// count counts a piece that ended, and decides how many places there should be when it is
// known how fast they are. That is not known as long as some are free.
func (s *smallSlots) count(allTaken bool) {
	switch {
	case !allTaken:
		s.done, s.start = 0, s.now()
		return
	case s.skip > 0:
		if s.skip--; s.skip == 0 {
			s.done, s.start = 0, s.now()
		}
		return
	}
	if s.done++; s.done < 2*s.width {
		return
	}
	now := s.now()
	rate := float64(s.done) / max(now.Sub(s.start), 1).Seconds()
	if s.tried > 0 && rate < smallGain*s.before {
		s.owed, s.width, s.settled = s.width-s.tried, s.tried, true
		return
	}
	if s.width == s.most {
		s.settled = true
		return
	}
	s.tried, s.before = s.width, rate
	s.width = min(2*s.width, s.most)
	for range s.width - s.tried {
		s.free <- struct{}{}
	}
	s.skip = s.width
}
