package bucket_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/c73062ad/oras"
	"github.com/c73062ad/oras/bucket"
)

func init() { processes["die"] = dieBeforeDone }

// dieBeforeDone puts an object below the folder args[0], and is killed when that is
// written to the journal and not done.
func dieBeforeDone(args []string) error {
	dir, err := bucket.OpenDir(args[0])
	if err != nil {
		return err
	}
	self, err := os.FindProcess(os.Getpid())
	if err != nil {
		return err
	}
	dir.Before(func(op string, names ...string) error {
		if op == "rename" {
			self.Kill()
			select {}
		}
		return nil
	})
	return dir.Put(context.Background(), "x", strings.NewReader("content"), 7)
}

// What a process wrote to the journal before it was killed is done by whoever writes
// next, or opens the directory next.
func TestJournalKilled(t *testing.T) {
	for _, there := range []bool{true, false} {
		path := t.TempDir()
		dir, err := bucket.OpenDir(path)
		must(t, err)
		put(t, dir, "before", "")
		if !there {
			must(t, dir.Close())
		}
		if err := process(t, "die", path).Run(); err == nil {
			t.Fatal("it was not killed")
		}
		if there {
			put(t, dir, "after", "")
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
		time.Sleep(time.Millisecond)
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
