package server

import (
	"slices"
	"sync"
)

// locks are mutual exclusion by name. What is done under one is one call of a store,
// or a few, which end when their request does.
type locks struct {
	mu   sync.Mutex
	held map[string]*namedLock
}

type namedLock struct {
	sync.Mutex
	users int // who hold it or wait for it
}

// lock waits until nobody else has any of the names, and returns what lets go of
// them. They are taken in order, so that nobody waits for who waits for him.
func (l *locks) lock(names ...string) (unlock func()) {
	names = slices.Compact(slices.Sorted(slices.Values(names)))
	for _, name := range names {
		l.enter(name).Lock()
	}
	return func() {
		for _, name := range names {
			l.leave(name)
		}
	}
}

func (l *locks) enter(name string) *namedLock {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.held == nil {
		l.held = map[string]*namedLock{}
	}
	n := l.held[name]
	if n == nil {
		n = &namedLock{}
		l.held[name] = n
	}
	n.users++
	return n
}

func (l *locks) leave(name string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := l.held[name]
	if n.users--; n.users == 0 {
		delete(l.held, name)
	}
	n.Unlock()
}
