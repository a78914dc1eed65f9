package oras

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// As many small pieces move at a time as bring something. The time is not the clock's: it
// passes as pieces end.
func TestSmallSlots(t *testing.T) {
	for name, test := range map[string]struct {
		rate func(places int) float64 // pieces a second
		want int
	}{
		"far away":         {func(places int) float64 { return float64(places) / 0.1 }, 32},
		"busy":             {func(int) float64 { return 1000 }, 12},
		"slower with more": {func(places int) float64 { return 10000 / float64(places) }, 12},
		"busy with 24":     {func(places int) float64 { return float64(min(places, 24)) }, 24},
	} {
		t.Run(name, func(t *testing.T) {
			var passed time.Duration
			s := newSmallSlots(12, 32)
			s.now = func() time.Time { return time.Unix(0, 0).Add(passed) }
			s.start = s.now()
			taken := 0
			for range 1000 {
				for len(s.free) > 0 {
					<-s.free
					taken++
				}
				passed += time.Duration(float64(time.Second) / test.rate(taken))
				s.leave()
				taken--
			}
			for len(s.free) > 0 {
				<-s.free
				taken++
			}
			if taken != test.want || !s.settled {
				t.Errorf("%d places, not %d", taken, test.want)
			}
		})
	}
}

// Where places are free nothing is tried.
func TestSmallSlotsIdle(t *testing.T) {
	s := newSmallSlots(4, 32)
	for range 1000 {
		if err := s.do(t.Context(), func() error { return nil }); err != nil {
			t.Fatal(err)
		}
	}
	if s.width != 4 || len(s.free) != 4 {
		t.Errorf("%d places, %d free", s.width, len(s.free))
	}
}

// Whatever is tried, no more happen at a time than may, and no place is lost.
func TestSmallSlotsTogether(t *testing.T) {
	s := newSmallSlots(3, 9)
	var at, most atomic.Int64
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() {
			for range 100 {
				s.do(t.Context(), func() error {
					n := at.Add(1)
					for old := most.Load(); n > old && !most.CompareAndSwap(old, n); old = most.Load() {
					}
					at.Add(-1)
					return nil
				})
			}
		})
	}
	all.Wait()
	if most.Load() > 9 || len(s.free) != s.width-s.owed || s.owed != 0 {
		t.Errorf("%d at a time, %d places, %d free, %d owed", most.Load(), s.width, len(s.free), s.owed)
	}
	ended := errors.New("ended")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(ended)
	for range s.width {
		<-s.free
	}
	if err := s.do(ctx, nil); err != ended {
		t.Errorf("error %v", err)
	}
}
