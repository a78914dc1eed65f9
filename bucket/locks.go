package bucket

import (
	"context"
	"sync"

	"golang.org/x/sync/semaphore"
)

// locks are the locks of a process, one for each key that somebody holds or
// waits for. Reads take none.
type locks struct {
	mu   sync.Mutex
	held map[string]*lock
}

type lock struct {
	*semaphore.Weighted
	users int // who hold it or wait for it
}

const exclusive = 1 << 30 // the weight of one who shares with nobody

// share waits until nobody has key alone. The returned function lets go of it.
func (l *locks) share(ctx context.Context, key string) (func(), error) {
	return l.acquire(ctx, key, 1)
}

// alone waits until nobody has key. The returned function lets go of it.
func (l *locks) alone(ctx context.Context, key string) (func(), error) {
	return l.acquire(ctx, key, exclusive)
}

// try is alone that does not wait: it returns nil if somebody has key.
func (l *locks) try(key string) func() {
	k := l.enter(key)
	if !k.TryAcquire(exclusive) {
		l.leave(key, k)
		return nil
	}
	return func() { l.release(key, k, exclusive) }
}

func (l *locks) acquire(ctx context.Context, key string, weight int64) (func(), error) {
	k := l.enter(key)
	if err := k.Acquire(ctx, weight); err != nil {
		l.leave(key, k)
		return nil, err
	}
	return func() { l.release(key, k, weight) }, nil
}

func (l *locks) release(key string, k *lock, weight int64) {
	k.Release(weight)
	l.leave(key, k)
}

func (l *locks) enter(key string) *lock {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.held == nil {
		l.held = map[string]*lock{}
	}
	k := l.held[key]
	if k == nil {
		k = &lock{Weighted: semaphore.NewWeighted(exclusive)}
		l.held[key] = k
	}
	k.users++
	return k
}

func (l *locks) leave(key string, k *lock) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if k.users--; k.users == 0 {
		delete(l.held, key)
	}
}
