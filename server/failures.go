package server

import (
	"errors"
	"math"
	"net/netip"
	"strconv"
	"sync"
	"time"
)

const (
	failuresAtOnce = 20              // wrong passwords that a client may send in a row
	failureEvery   = 6 * time.Second // after which it may send one more
	maxFailing     = 4096            // clients that are remembered
)

// failures limit how often a client may send wrong passwords: comparing one is slow
// on purpose, and guessing them has to be.
type failures struct {
	mu sync.Mutex

	// paid is, for each client, when as much time will have passed as all its
	// failures take, one after the other.
	paid map[netip.Addr]time.Time
}

// wait returns how long client has to wait before it may try again, or 0.
func (f *failures) wait(client netip.Addr) time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	paid, ok := f.paid[household(client)]
	if !ok {
		return 0
	}
	return max(0, time.Until(paid)-(failuresAtOnce-1)*failureEvery)
}

// add notes a failure.
func (f *failures) add(client netip.Addr) {
	f.mu.Lock()
	defer f.mu.Unlock()
	now, client := time.Now(), household(client)
	if f.paid == nil {
		f.paid = map[netip.Addr]time.Time{}
	}
	if _, known := f.paid[client]; !known && len(f.paid) >= maxFailing {
		f.forget(now)
	}
	from := f.paid[client]
	if from.Before(now) {
		from = now
	}
	f.paid[client] = from.Add(failureEvery)
}

// forget makes room: first for those whose failures are long ago.
func (f *failures) forget(now time.Time) {
	for client, paid := range f.paid {
		if paid.Before(now) {
			delete(f.paid, client)
		}
	}
	if len(f.paid) >= maxFailing {
		clear(f.paid)
	}
}

// A waitError refuses a login because of others that failed. It is errLogins.
type waitError struct{ wait time.Duration }

func (e *waitError) Error() string { return errLogins.Error() }
func (e *waitError) Unwrap() error { return errLogins }

// retryAfter returns after how many seconds what failed with err may be tried again.
func retryAfter(err error) string {
	seconds := 1.0
	if e := (*waitError)(nil); errors.As(err, &e) {
		seconds = max(seconds, math.Ceil(e.wait.Seconds()))
	}
	return strconv.FormatFloat(seconds, 'f', 0, 64)
}
