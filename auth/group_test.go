package auth

import (
	"context"
	"errors"
	"testing"
	"time"
)

// Work that nobody waits for any more ends, and the next caller starts anew.
func TestGroupAbandoned(t *testing.T) {
	var g group[int]
	ended := make(chan error)
	ctx, cancel := context.WithCancel(t.Context())
	_, err := g.do(ctx, "key", time.Minute, func(ctx context.Context) (int, error) {
		cancel()
		<-ctx.Done()
		ended <- ctx.Err()
		return 1, nil
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	two, err := g.do(t.Context(), "key", time.Minute, func(context.Context) (int, error) { return 2, nil })
	if two != 2 || err != nil {
		t.Errorf("got %d, %v", two, err)
	}
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("work got %v", err)
	}
}
