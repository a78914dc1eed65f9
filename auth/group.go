package auth

import (
	"context"
	"sync"
	"time"
)

// A group lets callers that want the same thing at the same moment share the
// work. Unlike a plain single flight, the work outlives the caller that began it
// as long as another waits, and ends when none does.
type group[T any] struct {
	mu      sync.Mutex
	flights map[string]*flight[T]
}

type flight[T any] struct {
	cancel  context.CancelFunc
	waiting int           // callers; guarded by group.mu
	done    chan struct{} // closed when value and err are set
	value   T
	err     error
}

// do returns what work returns, or ctx's error if that comes first. Work is given
// a context with ctx's values that ends after limit.
func (g *group[T]) do(ctx context.Context, key string, limit time.Duration, work func(context.Context) (T, error)) (T, error) {
	g.mu.Lock()
	f := g.flights[key]
	if f == nil {
		f = g.start(ctx, key, limit, work)
	}
	f.waiting++
	g.mu.Unlock()

	select {
	case <-f.done:
		return f.value, f.err
	case <-ctx.Done():
		g.mu.Lock()
		defer g.mu.Unlock()
		if f.waiting--; f.waiting == 0 {
			f.cancel()
			g.forget(key, f)
		}
		var zero T
		return zero, ctx.Err()
	}
}

func (g *group[T]) start(ctx context.Context, key string, limit time.Duration, work func(context.Context) (T, error)) *flight[T] {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), limit)
	f := &flight[T]{cancel: cancel, done: make(chan struct{})}
	if g.flights == nil {
		g.flights = map[string]*flight[T]{}
	}
	g.flights[key] = f
	go func() {
		defer cancel()
		f.value, f.err = work(ctx)
		g.mu.Lock()
		g.forget(key, f)
		g.mu.Unlock()
		close(f.done)
	}()
	return f
}

func (g *group[T]) forget(key string, f *flight[T]) {
	if g.flights[key] == f {
		delete(g.flights, key)
	}
}
