package bucket_test

import (
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/c73062ad/oras/bucket"
)

// Those who want a folder synced while it is being synced share the next sync, which
// begins after all of them asked for it, with its error. Other folders do not wait.
func TestSyncShared(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var s bucket.Syncs
		broke := errors.New("the disk broke")
		var begun atomic.Int32
		gates := make(chan error)
		wait := func() error { begun.Add(1); return <-gates }
		first, rest := make(chan error), make(chan error, 20)
		go func() { first <- s.Do("a", wait) }()
		synctest.Wait()
		for range 20 {
			go func() { rest <- s.Do("a", wait) }()
		}
		synctest.Wait()
		if n := begun.Load(); n != 1 {
			t.Fatalf("%d syncs at once", n)
		}
		if err := s.Do("b", func() error { return broke }); err != broke {
			t.Errorf("another folder: %v", err)
		}
		gates <- nil
		if err := <-first; err != nil {
			t.Error(err)
		}
		synctest.Wait()
		if n := begun.Load(); n != 2 || len(rest) > 0 {
			t.Fatalf("%d syncs began, %d who wait have an answer", n, len(rest))
		}
		late := make(chan error)
		go func() { late <- s.Do("a", wait) }()
		synctest.Wait()
		gates <- broke
		for range 20 {
			if err := <-rest; err != broke {
				t.Errorf("one of those who shared: %v", err)
			}
		}
		synctest.Wait()
		gates <- nil
		if err := <-late; err != nil {
			t.Error(err)
		}
		if n := begun.Load(); n != 3 {
			t.Errorf("%d syncs; it must be 3", n)
		}
	})
}

// Whoever asks gets a sync of its own or one that began after it asked.
func TestSyncBegins(t *testing.T) {
	var s bucket.Syncs
	var written, synced atomic.Int64
	done := make(chan error)
	for range 8 {
		go func() {
			for range 500 {
				mine := written.Add(1)
				err := s.Do("a", func() error { synced.Store(written.Load()); return nil })
				if n := synced.Load(); err == nil && n < mine {
					err = fmt.Errorf("%d was written, but %d synced", mine, n)
				}
				if err != nil {
					done <- err
					return
				}
			}
			done <- nil
		}()
	}
	for range 8 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}
