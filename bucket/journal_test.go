package bucket_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/c73062ad/oras"
	"github.com/c73062ad/oras/bucket"
)

func init() { processes["die"] = dieBefore }

// dieBefore puts an object below the folder args[0], and is killed before it does
// args[1] to the disk: "fsync", when the object is written to the journal, or "rename",
// when it only has to be done.
func dieBefore(args []string) error {
	dir, err := bucket.OpenDir(args[0])
	if err != nil {
		return err
	}
	self, err := os.FindProcess(os.Getpid())
	if err != nil {
		return err
	}
	dir.Before(func(op string, names ...string) error {
		if op == args[1] {
			self.Kill()
			select {}
		}
		return nil
	})
	return dir.Put(context.Background(), "x", strings.NewReader("content"), 7)
}

// What a process wrote to the journal before it was killed is done by whoever writes
// next, or opens the directory next, and is durable before it can be seen.
func TestJournalKilled(t *testing.T) {
	for _, at := range []string{"fsync", "rename"} {
		for _, there := range []bool{true, false} {
			path := t.TempDir()
			dir, err := bucket.OpenDir(path)
			must(t, err)
			put(t, dir, "before", "")
			if !there {
				must(t, dir.Close())
			}
			if err := process(t, "die", path, at).Run(); err == nil {
				t.Fatal("it was not killed")
			}
			if there {
				synced := false
				dir.Before(func(op string, names ...string) error {
					synced = synced || op == "fsync" && names[0] == ".journal"
					if op == "rename" && !synced {
						t.Error("it can be seen before it is durable")
					}
					return nil
				})
				put(t, dir, "after", "")
				dir.Before(nil)
				must(t, dir.Close())
			}
			dir, err = bucket.OpenDir(path)
			must(t, err)
			if got := get(t, dir, "x"); got != "content" {
				t.Errorf("x is %q", got)
			}
			must(t, dir.Close())
		}
	}
}

// What cannot be done again on a full disk keeps nobody from deleting, and is done when
// there is room.
func TestJournalKilledAndFull(t *testing.T) {
	path := t.TempDir()
	dir, err := bucket.OpenDir(path)
	must(t, err)
	put(t, dir, "large", "content")
	if err := process(t, "die", path, "rename").Run(); err == nil {
		t.Fatal("it was not killed")
	}
	dir.Before(func(op string, names ...string) error {
		if op == "create" {
			return syscall.ENOSPC
		}
		return nil
	})
	want(t, syscall.ENOSPC, dir.PutAll(t.Context(), []bucket.Object{{Key: "other", From: "large"}}))
	want(t, syscall.ENOSPC, dir.Settle())
	must(t, dir.Delete(t.Context(), "large"))
	dir.Before(nil)
	put(t, dir, "other", "content")
	if got := get(t, dir, "x"); got != "content" {
		t.Errorf("x is %q", got)
	}
	if _, err := dir.Get(t.Context(), "large"); !errors.Is(err, oras.ErrNotFound) {
		t.Errorf("large: %v", err)
	}
	must(t, dir.Close())
}

// A journal that says what cannot be done is kept, and done when it can be.
func TestJournalKept(t *testing.T) {
	path := t.TempDir()
	dir, err := bucket.OpenDir(path)
	must(t, err)
	put(t, dir, "a/x", "content")
	journal, err := os.ReadFile(filepath.Join(path, ".journal"))
	must(t, err)
	must(t, dir.Close())
	must(t, os.WriteFile(filepath.Join(path, ".journal"), journal, 0o600)) // as after a loss of power
	must(t, os.RemoveAll(filepath.Join(path, "a")))
	must(t, os.WriteFile(filepath.Join(path, "a"), nil, 0o600))
	if _, err := bucket.OpenDir(path); err == nil {
		t.Fatal("no error")
	}
	must(t, os.Remove(filepath.Join(path, "a")))
	dir, err = bucket.OpenDir(path)
	must(t, err)
	if got := get(t, dir, "a/x"); got != "content" {
		t.Errorf("a/x is %q", got)
	}
	must(t, dir.Close())
}

// A sync that failed may have lost what it was for, though the next one succeeds: it is
// written anew before the journal forgets it.
func TestJournalSyncFailed(t *testing.T) {
	broke := errors.New("the disk broke")
	for _, test := range []struct {
		fails string
		do    func(dir *bucket.Dir)
	}{
		{"syncfs", func(dir *bucket.Dir) { want(t, broke, dir.Settle()) }},
		{"syncfs", (*bucket.Dir).SettleAhead},
		{"fsync", func(dir *bucket.Dir) { want(t, broke, dir.Put(t.Context(), "y", strings.NewReader("y"), 1)) }},
	} {
		path := t.TempDir()
		dir, err := bucket.OpenDir(path)
		must(t, err)
		put(t, dir, "x", "content")
		dir.Before(func(op string, names ...string) error {
			if op == test.fails {
				return broke
			}
			return nil
		})
		test.do(dir)
		var anew, settled bool
		dir.Before(func(op string, names ...string) error {
			anew = anew || op == "fsync" && strings.HasPrefix(names[0], ".tmp/")
			if op == "syncfs" && !anew {
				t.Error("x is not written anew")
			}
			settled = settled || op == "truncate"
			return nil
		})
		put(t, dir, "z", "z")
		if !settled {
			t.Error("the journal goes on behind what may be lost")
		}
		dir.Before(nil)
		if got := get(t, dir, "x"); got != "content" {
			t.Errorf("x is %q", got)
		}
		if _, err := dir.Get(t.Context(), "y"); !errors.Is(err, oras.ErrNotFound) {
			t.Errorf("y: %v", err)
		}
		must(t, dir.Close())
	}
}

// Whenever power fails while an object grows too large for the journal, it is what it
// was or what it is to be.
func TestJournalGrows(t *testing.T) {
	small, large := "small", strings.Repeat("large", 20_000)
	random := rand.New(rand.NewPCG(3, 4))
	for left := 0; ; left++ {
		dir := openDir(t)
		put(t, dir, "a/x", "before")
		must(t, dir.Settle())
		p := newPower(t, dir, left)
		first := dir.Put(t.Context(), "a/x", strings.NewReader(small), int64(len(small)))
		then := first
		if first == nil {
			then = dir.Put(t.Context(), "a/x", strings.NewReader(large), int64(len(large)))
		}
		p.after(t, random, func(d *bucket.Dir) {
			got := get(t, d, "a/x")
			if ok := got == large || got == small && then != nil || got == "before" && first != nil; !ok {
				t.Errorf("power failed after %d: x is %.10q", left, got)
			}
		})
		dir.Before(nil)
		if then == nil {
			return
		}
	}
}

// Those who write while the journal is being synced share the next sync.
func TestJournalShared(t *testing.T) {
	dir := openDir(t)
	var syncs atomic.Int32
	syncing, goOn := make(chan struct{}), make(chan struct{})
	dir.Before(func(op string, names ...string) error {
		if op == "fsync" && syncs.Add(1) == 1 {
			close(syncing)
			<-goOn
		}
		return nil
	})
	var group sync.WaitGroup
	group.Go(func() { put(t, dir, "first", "") })
	<-syncing
	for i := range 20 {
		group.Go(func() { put(t, dir, fmt.Sprint("other", i), "content") })
	}
	for dir.Waiting() < 20 {
		runtime.Gosched()
	}
	close(goOn)
	group.Wait()
	if n := syncs.Load(); n != 2 {
		t.Errorf("%d syncs of the journal; it must be 2", n)
	}
	if keys := list(t, dir, "other", ""); len(keys) != 20 {
		t.Errorf("%q", keys)
	}
}

// A journal that cannot be emptied is kept, and one that cannot be written lets
// nothing happen.
func TestJournalFails(t *testing.T) {
	path := t.TempDir()
	dir, err := bucket.OpenDir(path)
	must(t, err)
	put(t, dir, "x", "before")
	broke := errors.New("the disk broke")
	for _, fails := range []string{"syncfs", "truncate"} {
		dir.Before(func(op string, names ...string) error {
			if op == fails {
				return broke
			}
			return nil
		})
		want(t, broke, dir.Settle())
	}
	for _, fails := range []string{"write", "fsync"} {
		dir.Before(func(op string, names ...string) error {
			if op == fails && names[0] == ".journal" {
				return broke
			}
			return nil
		})
		want(t, broke, dir.Put(t.Context(), "x", strings.NewReader("after"), 5))
		want(t, broke, dir.Delete(t.Context(), "x"))
		if got := get(t, dir, "x"); got != "before" {
			t.Errorf("x is %q", got)
		}
	}
	dir.Before(nil)
	put(t, dir, "x", "before")
	must(t, os.Remove(filepath.Join(path, "x"))) // as if lost
	must(t, os.Remove(filepath.Join(path, ".users")))
	other, err := bucket.OpenDir(path) // which takes it for left by others
	must(t, err)
	if got := get(t, other, "x"); got != "before" {
		t.Errorf("x is %q", got)
	}
	must(t, other.Close())
	must(t, dir.Close())
}

// Whatever several goroutines and processes do at once to the same objects, the
// journal ends with what came of it: done again to what was there before, it gives
// what is there now.
func TestJournalOrder(t *testing.T) {
	for seed := range uint64(5) {
		path := t.TempDir()
		var dirs []*bucket.Dir
		for range 2 {
			dir, err := bucket.OpenDir(path)
			must(t, err)
			defer dir.Close()
			dirs = append(dirs, dir)
		}
		key := func(n int) string { return fmt.Sprintf("r/%d/%d", n%2, n) }
		for n := range 8 {
			put(t, dirs[0], key(n), "before")
		}
		must(t, dirs[0].Settle())
		before := t.TempDir()
		must(t, os.CopyFS(before, os.DirFS(path)))
		var group sync.WaitGroup
		for worker := range 8 {
			random := rand.New(rand.NewPCG(seed, uint64(worker)))
			dir := dirs[worker%2]
			group.Go(func() {
				for i := range 40 {
					one, other := key(random.IntN(8)), key(random.IntN(8))
					var err error
					switch random.IntN(5) {
					case 0:
						err = dir.Delete(t.Context(), one)
					case 1:
						_, err = dir.DeleteOlder(t.Context(), one, time.Now())
					case 2:
						err = dir.PutAll(t.Context(), []bucket.Object{{Key: one, From: other}})
					default:
						content := fmt.Sprint(worker, " ", i)
						err = dir.Put(t.Context(), one, strings.NewReader(content), int64(len(content)))
					}
					if err != nil && !errors.Is(err, oras.ErrNotFound) {
						t.Error(err)
					}
				}
			})
		}
		group.Wait()
		journal, err := os.ReadFile(filepath.Join(path, ".journal"))
		must(t, err)
		must(t, os.WriteFile(filepath.Join(before, ".journal"), journal, 0o600))
		again, err := bucket.OpenDir(before)
		must(t, err)
		if diff := cmp.Diff(objects(t, dirs[0]), objects(t, again)); diff != "" {
			t.Errorf("seed %d: -what is there +what the journal says\n%s", seed, diff)
		}
		must(t, again.Close())
	}
}

func objects(t *testing.T, dir *bucket.Dir) map[string]string {
	all := map[string]string{}
	for _, key := range list(t, dir, "r/", "") {
		all[key] = get(t, dir, key)
	}
	return all
}
