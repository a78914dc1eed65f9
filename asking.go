package oras

import "sync"

// smallBlob is the size in bytes up to which sending a blob costs no more than
// asking for it.
const smallBlob = 1 << 20

const (
	absentInARow = 4   // answers that let the next blobs go unasked
	mostUnasked  = 256 // blobs between two questions
)

// An asking decides whether a target that is far away is asked if it has a small
// blob before that is sent. Where the last blobs all were absent the next ones will
// be, too, and asking would double the number of requests; pushing what is there
// does no harm. Every now and then one is asked for all the same, less and less
// often, and as soon as one is there all are again.
//
// That a target has uploads tells that it is far away, or stores what is far away:
// what is at hand is asked at no cost.
type asking struct {
	never bool // leave out a question

	mu      sync.Mutex
	absent  int // answers in a row that were no
	unasked int // blobs that may go unasked until the next question
	stride  int // what unasked was set to last
}

// needless reports whether the next blob can go unasked.
func (a *asking) needless() bool {
	if a.never {
		return false
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.unasked == 0 {
		return false
	}
	a.unasked--
	return true
}

func (a *asking) answered(exists bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if exists {
		a.absent, a.unasked, a.stride = 0, 0, 0
		return
	}
	if a.absent++; a.absent < absentInARow {
		return
	}
	a.stride = min(max(16, 2*a.stride), mostUnasked)
	a.unasked = a.stride
}
