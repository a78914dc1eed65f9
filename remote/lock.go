package remote

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/gofrs/flock"
)

// locks are mutual exclusion by name: within the process and, if there is a
// directory, among the processes that use it.
type locks struct {
	dir string // empty for none

	mu   sync.Mutex
	held map[string]*held
}

type held struct {
	token   chan struct{}
	waiting int
}

// lockRetry is how often a lock that another process has is tried.
const lockRetry = 10 * time.Millisecond

// lock waits until nobody else has the lock called name.
func (l *locks) lock(ctx context.Context, name string) (unlock func(), err error) {
	leave, err := l.lockHere(ctx, name)
	if err != nil || l.dir == "" {
		return leave, err
	}
	// Names have text of others in them, so they are hashed. The file stays: who
	// removes it takes it from somebody who waits.
	sum := sha256.Sum256([]byte(name))
	if err := os.MkdirAll(l.dir, 0o700); err != nil {
		leave()
		return nil, err
	}
	file := flock.New(filepath.Join(l.dir, hex.EncodeToString(sum[:])+".lock"), flock.SetPermissions(0o600))
	if _, err := file.TryLockContext(ctx, lockRetry); err != nil {
		leave()
		if cause := context.Cause(ctx); cause != nil && errors.Is(err, ctx.Err()) {
			return nil, cause
		}
		return nil, fmt.Errorf("lock of %s: %w", name, err)
	}
	return func() {
		file.Close() // nothing was written
		leave()
	}, nil
}

// lockHere is lock within the process.
func (l *locks) lockHere(ctx context.Context, name string) (unlock func(), err error) {
	l.mu.Lock()
	if l.held == nil {
		l.held = map[string]*held{}
	}
	h := l.held[name]
	if h == nil {
		h = &held{token: make(chan struct{}, 1)}
		l.held[name] = h
	}
	h.waiting++
	l.mu.Unlock()

	leave := func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if h.waiting--; h.waiting == 0 {
			delete(l.held, name)
		}
	}
	select {
	case h.token <- struct{}{}:
		return func() { <-h.token; leave() }, nil
	case <-ctx.Done():
		leave()
		return nil, context.Cause(ctx)
	}
}
