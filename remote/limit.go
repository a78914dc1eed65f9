package remote

import (
	"context"
	"sync"
	"time"
)

// A limiter keeps all who move bytes to so many a second together. A nil one lets
// everything pass.
type limiter struct {
	rate float64 // bytes a second

	mu   sync.Mutex
	next time.Time // when all that moved so far was due
}

// newLimiter returns a limiter to rate bytes a second, nil if that is 0.
func newLimiter(rate int64) *limiter {
	if rate <= 0 {
		return nil
	}
	return &limiter{rate: float64(rate)}
}

// limitStep is how long one portion should take.
const limitStep = 50 * time.Millisecond

// portion returns as much of p as may be moved at a time, so that nobody has to wait
// for long.
func (l *limiter) portion(p []byte) []byte {
	if l == nil {
		return p
	}
	return p[:min(len(p), max(1, int(min(l.rate*limitStep.Seconds(), 1<<30))))]
}

// wait waits until the n bytes that moved are due.
func (l *limiter) wait(ctx context.Context, n int) error {
	if l == nil || n == 0 {
		return nil
	}
	l.mu.Lock()
	now := time.Now()
	if l.next.Before(now) {
		l.next = now // what was not used is gone
	}
	l.next = l.next.Add(time.Duration(float64(n) / l.rate * float64(time.Second)))
	d := l.next.Sub(now)
	l.mu.Unlock()
	return sleep(ctx, d)
}
