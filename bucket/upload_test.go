package bucket_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	"github.com/c73062ad/oras"
	"github.com/c73062ad/oras/bucket"
)

func openUpload(tb testing.TB, s oras.Target, id string) oras.Upload {
	tb.Helper()
	u, err := oras.OpenUpload(tb.Context(), s, id)
	must(tb, err)
	return u
}

func appendTo(tb testing.TB, u oras.Upload, data []byte) {
	tb.Helper()
	n, err := u.Append(tb.Context(), u.Size(), bytes.NewReader(data))
	must(tb, err)
	if n != int64(len(data)) {
		tb.Fatalf("Append: %d bytes of %d", n, len(data))
	}
}

// random returns n bytes that differ from place to place.
func random(n int) []byte {
	data := make([]byte, n)
	rand.NewChaCha8([32]byte{1}).Read(data)
	return data
}

// An upload goes on after any restart, whatever became of the saved hash.
func TestUploadRestart(t *testing.T) {
	data := random(8 << 20)
	for name, harm := range map[string]func(hash string) error{
		"nothing":   func(string) error { return nil },
		"lost":      os.Remove,
		"empty":     func(hash string) error { return os.Truncate(hash, 0) },
		"cut":       func(hash string) error { return os.Truncate(hash, 50) },
		"too young": func(hash string) error { return overwrite(hash, 0, 0x7f) },
		"negative":  func(hash string) error { return overwrite(hash, 0, 0xff) },
		"no state":  func(hash string) error { return overwrite(hash, 8, 'x') },
	} {
		path := t.TempDir()
		var id string
		for offset := 0; offset < len(data); offset += 2 << 20 { // each by a process of its own
			d, err := bucket.OpenDir(path)
			must(t, err)
			u := openUpload(t, repository(t, bucket.New(d).HashEvery(3<<20), "a"), id)
			id = u.ID()
			if u.Size() != int64(offset) {
				t.Fatalf("%s: size is %d; it must be %d", name, u.Size(), offset)
			}
			appendTo(t, u, data[offset:offset+2<<20])
			must(t, u.Close())
			if offset == 4<<20 {
				must(t, harm(filepath.Join(path, "a", "_uploads", id+".hash")))
			}
			must(t, d.Close())
		}
		d, err := bucket.OpenDir(path)
		must(t, err)
		s := repository(t, bucket.New(d).HashEvery(3<<20), "a")
		must(t, openUpload(t, s, id).Commit(t.Context(), oras.SHA256.Digest(data)))
		whole(t, s, oras.DescriptorOf("", data))
		if got := files(t, filepath.Join(path, "a", "_uploads")); len(got) > 0 {
			t.Errorf("%s: files left: %q", name, got)
		}
		must(t, d.Close())
	}
}

func overwrite(name string, offset int64, b byte) error {
	f, err := os.OpenFile(name, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteAt([]byte{b}, offset)
	return errors.Join(err, f.Close())
}

func TestUploadID(t *testing.T) {
	d := openDir(t)
	r := bucket.New(d)
	s := repository(t, r, "a")
	id := openUpload(t, s, "").ID()
	if len(id) != 32 {
		t.Errorf("id %s is not 128 bits", id)
	}
	for _, other := range []string{
		"x", id[1:], id + "0", strings.ToUpper(id[:31]) + "A", id + ".hash", "../_tags/" + id, "../../a/_uploads/" + id, "\x00", strings.Repeat("0", 32),
	} {
		_, err := oras.OpenUpload(t.Context(), s, other)
		want(t, oras.ErrNotFound, err)
	}
	_, err := oras.OpenUpload(t.Context(), repository(t, r, "b"), id)
	want(t, oras.ErrNotFound, err)
	_, err = oras.OpenUpload(t.Context(), repository(t, bucket.New(&plain{}), "a"), "")
	want(t, oras.ErrUnsupported, err)
}

// Of those who append at the same place one does; what is committed is what was
// hashed, whoever else appends, commits or aborts meanwhile, in this process or
// another.
func TestUploadConcurrent(t *testing.T) {
	path := t.TempDir()
	var stores []*bucket.Store
	for range 2 {
		d, err := bucket.OpenDir(path)
		must(t, err)
		defer d.Close()
		stores = append(stores, repository(t, bucket.New(d), "a"))
	}
	const writers = 8
	for round := range 6 {
		id := openUpload(t, stores[0], "").ID()
		pieces := make([][]byte, writers)
		kept := make([]bool, writers)
		var group sync.WaitGroup
		for i := range writers {
			pieces[i] = bytes.Repeat([]byte{byte('a' + i)}, 300_000+i)
			group.Go(func() {
				u, err := oras.OpenUpload(t.Context(), stores[i%2], id)
				if err != nil {
					t.Error(err)
					return
				}
				n, err := u.Append(t.Context(), 0, iotest.HalfReader(bytes.NewReader(pieces[i])))
				kept[i] = err == nil
				if err != nil && n != 0 {
					t.Errorf("Append: %d bytes, %v", n, err)
				}
			})
		}
		group.Wait()
		winner := -1
		for i := range writers {
			if kept[i] && winner >= 0 {
				t.Fatal("two appended at the same place")
			}
			if kept[i] {
				winner = i
			}
		}
		if winner < 0 {
			t.Fatal("nobody appended")
		}

		desc := oras.DescriptorOf("", pieces[winner])
		digest := oras.SHA256.Digest(pieces[winner])
		for i := range writers {
			group.Go(func() {
				u, err := oras.OpenUpload(t.Context(), stores[i%2], id)
				if err != nil {
					return // somebody was faster
				}
				switch {
				case i < 3:
					u.Append(t.Context(), u.Size(), strings.NewReader("more"))
				case i == 3 && round%2 == 0:
					u.Abort(t.Context())
				default:
					u.Commit(t.Context(), digest)
				}
			})
		}
		group.Wait()
		if exists, err := stores[0].Exists(t.Context(), desc); err != nil {
			t.Error(err)
		} else if exists {
			whole(t, stores[0], desc)
		}
		if u, err := oras.OpenUpload(t.Context(), stores[1], id); err == nil {
			must(t, u.Abort(t.Context()))
		}
		for _, s := range stores {
			err := s.Delete(t.Context(), desc)
			if err != nil && !errors.Is(err, oras.ErrNotFound) {
				t.Error(err)
			}
		}
	}
}

// Content so large that the disk gets it in parts is what it was, in one piece
// or in several.
func TestLarge(t *testing.T) {
	data := random(20<<20 + 1)
	desc := oras.DescriptorOf("a/b", data)
	s := repository(t, bucket.New(openDir(t)), "a")
	must(t, oras.Push(t.Context(), s, desc, bytes.NewReader(data)))
	whole(t, s, desc)
	must(t, s.Delete(t.Context(), desc))
	u := openUpload(t, s, "")
	appendTo(t, u, data[:11<<20])
	appendTo(t, u, data[11<<20:])
	must(t, u.Commit(t.Context(), oras.SHA256.Digest(data)))
	whole(t, s, desc)
}

// An upload that another has ended cannot be gone on with.
func TestUploadEnded(t *testing.T) {
	s := repository(t, bucket.New(openDir(t)), "a")
	data := []byte("content")
	for _, end := range []func(u oras.Upload) error{
		func(u oras.Upload) error { return u.Abort(t.Context()) },
		func(u oras.Upload) error { return u.Commit(t.Context(), oras.SHA256.Digest(data)) },
	} {
		one := openUpload(t, s, "")
		two := openUpload(t, s, one.ID())
		appendTo(t, one, data)
		must(t, end(one))
		for _, u := range []oras.Upload{one, two} {
			_, err := u.Append(t.Context(), int64(len(data)), strings.NewReader("more"))
			want(t, oras.ErrNotFound, err)
			_, err = u.Append(t.Context(), 0, strings.NewReader("more"))
			want(t, oras.ErrNotFound, err)
			want(t, oras.ErrNotFound, u.Commit(t.Context(), oras.SHA256.Digest(data)))
			want(t, oras.ErrNotFound, u.Abort(t.Context()))
		}
	}
	whole(t, s, oras.DescriptorOf("", data))
}

// Who waits for an upload that another writes to stops waiting when told to.
func TestUploadWait(t *testing.T) {
	s := repository(t, bucket.New(openDir(t)), "a")
	u := openUpload(t, s, "")
	r, w := io.Pipe()
	done := make(chan error)
	go func() {
		_, err := u.Append(t.Context(), 0, r)
		done <- err
	}()
	if _, err := w.Write([]byte("con")); err != nil { // so it is being written to
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	_, err := openUpload(t, s, u.ID()).Append(ctx, 0, strings.NewReader("other"))
	want(t, context.DeadlineExceeded, err)
	w.CloseWithError(io.ErrUnexpectedEOF)
	want(t, io.ErrUnexpectedEOF, <-done)
	if u.Size() != 3 {
		t.Errorf("size is %d; what arrived must be kept", u.Size())
	}
	appendTo(t, u, []byte("tent"))
	must(t, u.Commit(t.Context(), oras.SHA256.Digest([]byte("content"))))
}

// What is left of uploads that were given up goes when another begins.
func TestUploadExpiry(t *testing.T) {
	path := t.TempDir()
	d, err := bucket.OpenDir(path)
	must(t, err)
	defer d.Close()
	s := repository(t, bucket.New(d).HashEvery(1<<20), "a")
	old, young, open := openUpload(t, s, ""), openUpload(t, s, ""), openUpload(t, s, "")
	appendTo(t, old, random(1<<20))
	folder := filepath.Join(path, "a", "_uploads")
	orphan := filepath.Join(folder, strings.Repeat("0", 32)+".hash")
	must(t, os.WriteFile(orphan, nil, 0o600))
	held, err := d.Open(t.Context(), "a/_uploads/"+open.ID())
	must(t, err)
	then := time.Now().Add(-25 * time.Hour)
	for _, id := range []string{old.ID(), open.ID()} {
		must(t, os.Chtimes(filepath.Join(folder, id), then, then))
	}
	openUpload(t, s, "")
	openUpload(t, s, old.ID()) // for it was looked less than an hour ago

	openUpload(t, repository(t, bucket.New(d), "a"), "")
	_, err = oras.OpenUpload(t.Context(), s, old.ID())
	want(t, oras.ErrNotFound, err)
	openUpload(t, s, young.ID())
	openUpload(t, s, open.ID())
	if _, err := os.Stat(orphan); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%s: %v; it must be gone", orphan, err)
	}
	must(t, held.Close())
	openUpload(t, repository(t, bucket.New(d), "a"), "") // finds the hash of the one it removed before
	if got := files(t, folder); len(got) != 4 {
		t.Errorf("files: %q", got)
	}
}

// Whoever looks for uploads that were given up is in nobody's way.
func TestUploadSwept(t *testing.T) {
	path := t.TempDir()
	open := func() *bucket.Dir {
		d, err := bucket.OpenDir(path)
		must(t, err)
		t.Cleanup(func() { d.Close() })
		return d
	}
	u := openUpload(t, repository(t, bucket.New(open()), "a"), "")
	other, stop := open(), make(chan struct{})
	var group sync.WaitGroup
	group.Go(func() {
		for {
			select {
			case <-stop:
				return
			default:
				openUpload(t, repository(t, bucket.New(other), "a"), "").Abort(t.Context())
			}
		}
	})
	for range 300 {
		appendTo(t, u, []byte("x"))
	}
	close(stop)
	group.Wait()
}

// 1,000 uploads that break off leave nothing behind but what can be gone on with.
func TestUploadBroken(t *testing.T) {
	path := t.TempDir()
	d, err := bucket.OpenDir(path)
	must(t, err)
	defer d.Close()
	s := repository(t, bucket.New(d), "a")
	large, broke := random(600_000), errors.New("the sender went away")
	openUpload(t, s, "").Abort(t.Context()) // opens the folders that will be
	want(t, broke, oras.Push(t.Context(), s, oras.DescriptorOf("", large), iotest.ErrReader(broke)))
	goroutines, descriptors := runtime.NumGoroutine(), descriptorCount(t)
	var group sync.WaitGroup
	for i := range 8 {
		group.Go(func() {
			for j := range 125 {
				arrive := (i*125 + j) * 600
				if j%10 > 0 {
					arrive /= 100
				}
				content := func() io.Reader { return io.MultiReader(bytes.NewReader(large[:arrive]), iotest.ErrReader(broke)) }
				u, err := oras.OpenUpload(t.Context(), s, "")
				if err != nil {
					t.Error(err)
					return
				}
				if n, err := u.Append(t.Context(), 0, content()); !errors.Is(err, broke) || n != int64(arrive) {
					t.Errorf("Append: %d, %v", n, err)
				}
				desc := oras.DescriptorOf("", []byte(fmt.Sprint(i, j)))
				desc.Size = 600_000
				if err := oras.Push(t.Context(), s, desc, content()); err == nil {
					t.Error("Push: no error")
				}
				if err := u.Abort(t.Context()); err != nil {
					t.Error(err)
				}
			}
		})
	}
	group.Wait()
	if got := files(t, path); len(got) != 2 { // the schema and the repository's mark
		t.Errorf("%d files left", len(got))
	}
	for end := time.Now().Add(5 * time.Second); runtime.NumGoroutine() > goroutines; runtime.Gosched() { // ours are ending
		if time.Now().After(end) {
			t.Fatalf("%d goroutines, %d before", runtime.NumGoroutine(), goroutines)
		}
	}
	if n := descriptorCount(t); n > descriptors {
		t.Errorf("%d descriptors, %d before", n, descriptors)
	}
}

// descriptorCount returns how many files are open, where that can be known.
func descriptorCount(tb testing.TB) int {
	entries, err := os.ReadDir("/proc/self/fd")
	if errors.Is(err, os.ErrNotExist) {
		return 0
	}
	must(tb, err)
	return len(entries)
}
