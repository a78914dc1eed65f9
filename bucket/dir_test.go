package bucket_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"time"

	"pgregory.net/rapid"

	"github.com/c73062ad/oras"
	"github.com/c73062ad/oras/bucket"
)

func put(tb testing.TB, b bucket.Bucket, key, content string) {
	tb.Helper()
	if err := b.Put(tb.Context(), key, strings.NewReader(content), int64(len(content))); err != nil {
		tb.Fatal(err)
	}
}

func get(tb testing.TB, b bucket.Bucket, key string) string {
	tb.Helper()
	r, err := b.Get(tb.Context(), key)
	if err != nil {
		tb.Fatal(err)
	}
	defer r.Close()
	data, err := io.ReadAll(r)
	if err != nil {
		tb.Fatal(err)
	}
	return string(data)
}

func list(tb testing.TB, b bucket.Bucket, prefix, last string) []string {
	tb.Helper()
	var all []string
	err := b.List(tb.Context(), prefix, last, func(keys []string) error {
		all = append(all, keys...)
		return nil
	})
	if err != nil {
		tb.Fatal(err)
	}
	return all
}

// files returns the names of all files below folder.
// files returns the files below folder, but for the journal of a Dir.
func files(tb testing.TB, folder string) []string {
	tb.Helper()
	var names []string
	err := filepath.WalkDir(folder, func(path string, d os.DirEntry, err error) error {
		journal := filepath.Dir(path) == folder && strings.HasPrefix(d.Name(), ".") // or the lock beside it
		if err == nil && !d.IsDir() && !journal {
			names = append(names, path)
		}
		return err
	})
	if err != nil {
		tb.Fatal(err)
	}
	return names
}

func want(tb testing.TB, kind, err error) {
	tb.Helper()
	if !errors.Is(err, kind) {
		tb.Errorf("error is %v; it must be %v", err, kind)
	}
}

func TestOpenDir(t *testing.T) {
	folder := t.TempDir()
	if err := os.WriteFile(filepath.Join(folder, "file"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"file", "file/below"} {
		path := filepath.Join(folder, name)
		d, err := bucket.OpenDir(path)
		if err == nil {
			d.Close()
			t.Fatalf("OpenDir %s: no error", path)
		}
		if !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "directory") {
			t.Errorf("OpenDir %s: %v: does not name the folder and the cause", path, err)
		}
	}

	path := filepath.Join(folder, "a", "b")
	d, err := bucket.OpenDir(path)
	if err != nil {
		t.Fatal(err)
	}
	put(t, d, "x/y", "content")
	d.Close()

	old, young := filepath.Join(path, ".tmp", "old"), filepath.Join(path, ".tmp", "young")
	for _, name := range []string{old, young} {
		if err := os.WriteFile(name, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	then := time.Now().Add(-25 * time.Hour)
	if err := os.Chtimes(old, then, then); err != nil {
		t.Fatal(err)
	}
	d, err = bucket.OpenDir(path)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if got := get(t, d, "x/y"); got != "content" {
		t.Errorf("x/y is %q", got)
	}
	if got := files(t, filepath.Join(path, ".tmp")); !slices.Equal(got, []string{young}) {
		t.Errorf("temporary files: %q; only what may be in use must stay", got)
	}
	if got := list(t, d, "", ""); !slices.Equal(got, []string{"_schema", "x/y"}) {
		t.Errorf("List: %q", got)
	}
}

func TestDirKeys(t *testing.T) {
	d, ctx := openDir(t), t.Context()
	put(t, d, "a/b", "content")
	for _, key := range []string{
		"", "/", "/a", "a/", "a//b", ".", "..", "../x", "a/../b", "a/..", "./a/b", ".tmp/x", "a/.b", "a\\b", "a:b", "a b", "a\x00", "a/b\n", "ä", "=a", "a=b",
	} {
		want(t, oras.ErrInvalid, d.Put(ctx, key, strings.NewReader(""), 0))
		_, err := d.Get(ctx, key)
		want(t, oras.ErrInvalid, err)
		_, err = d.Size(ctx, key)
		want(t, oras.ErrInvalid, err)
		_, err = d.Open(ctx, key)
		want(t, oras.ErrInvalid, err)
		want(t, oras.ErrInvalid, d.Delete(ctx, key))
		want(t, oras.ErrInvalid, d.Sync(ctx, key))
		_, err = d.Stat(ctx, key)
		want(t, oras.ErrInvalid, err)
		want(t, oras.ErrInvalid, d.Touch(ctx, key))
		_, err = d.DeleteOlder(ctx, key, time.Now())
		want(t, oras.ErrInvalid, err)
		want(t, oras.ErrInvalid, d.Create(ctx, key))
		for _, op := range []func(from, to string) error{
			func(from, to string) error { return alias(ctx, d, from, to) },
			func(from, to string) error { return d.Rename(ctx, from, to, "") },
		} {
			want(t, oras.ErrInvalid, op("a/b", key))
			if key != "" {
				want(t, oras.ErrInvalid, op(key, "c"))
			}
		}
	}
	for _, key := range []string{"x", "x/y", "a", "a/c"} { // "a" is a folder
		_, err := d.Get(ctx, key)
		want(t, oras.ErrNotFound, err)
		_, err = d.Size(ctx, key)
		want(t, oras.ErrNotFound, err)
		_, err = d.Stat(ctx, key)
		want(t, oras.ErrNotFound, err)
		_, err = d.DeleteOlder(ctx, key, time.Now())
		want(t, oras.ErrNotFound, err)
		want(t, oras.ErrNotFound, alias(ctx, d, key, "z"))
	}
	want(t, oras.ErrNotFound, d.Delete(ctx, "x"))
	want(t, oras.ErrNotFound, d.Rename(ctx, "x", "z", ""))
	if got := list(t, d, "", ""); !slices.Equal(got, []string{"_schema", "a/b"}) {
		t.Errorf("List: %q", got)
	}
}

func TestDirPut(t *testing.T) {
	path := t.TempDir()
	d, err := bucket.OpenDir(path)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	put(t, d, "x", "before")
	open, err := d.Get(t.Context(), "x")
	if err != nil {
		t.Fatal(err)
	}
	defer open.Close()
	large := strings.Repeat("0123456789abcdef", 1<<16)
	broke := errors.New("the source broke")
	canceled, cancel := context.WithCancel(t.Context())
	cancel()
	for _, test := range []struct {
		ctx     context.Context
		content io.Reader
		size    int64
		err     error
	}{
		{t.Context(), strings.NewReader("short"), 6, oras.ErrInvalid},
		{t.Context(), strings.NewReader("long"), 3, oras.ErrInvalid},
		{t.Context(), strings.NewReader(large), int64(len(large)) + 1, oras.ErrInvalid},
		{t.Context(), iotest.ErrReader(broke), 0, broke},
		{t.Context(), io.MultiReader(strings.NewReader(large), iotest.ErrReader(broke)), int64(len(large)), broke},
		{t.Context(), io.MultiReader(strings.NewReader(large), iotest.ErrReader(io.ErrUnexpectedEOF)), int64(len(large)), io.ErrUnexpectedEOF},
		{canceled, strings.NewReader("x"), 1, context.Canceled},
	} {
		want(t, test.err, d.Put(test.ctx, "x", test.content, test.size))
	}
	if got := get(t, d, "x"); got != "before" {
		t.Errorf("after failures, x is %q", got)
	}
	put(t, d, "x", large)
	if get(t, d, "x") != large {
		t.Error("x is not what was put")
	}
	if data, err := io.ReadAll(open); err != nil || string(data) != "before" {
		t.Errorf("what was open before: %q, %v", data, err)
	}
	if got := files(t, path); len(got) != 2 { // one is the schema
		t.Errorf("files: %q; it must be one", got)
	}
}

// A folder that somebody removed comes again, whoever makes it.
func TestDirFolderRemoved(t *testing.T) {
	path := t.TempDir()
	for _, maker := range []int{0, 1} {
		var dirs [2]*bucket.Dir
		for i := range dirs {
			d, err := bucket.OpenDir(path)
			if err != nil {
				t.Fatal(err)
			}
			defer d.Close()
			dirs[i] = d
		}
		put(t, dirs[0], "a/b/c", "1")
		for _, d := range dirs {
			get(t, d, "a/b/c")
		}
		if err := os.RemoveAll(filepath.Join(path, "a")); err != nil {
			t.Fatal(err)
		}
		_, err := dirs[0].Get(t.Context(), "a/b/c")
		want(t, oras.ErrNotFound, err)
		put(t, dirs[maker], "a/b/c", "2")
		for _, d := range dirs {
			if got := get(t, d, "a/b/c"); got != "2" {
				t.Errorf("a/b/c is %q", got)
			}
			if size, err := d.Size(t.Context(), "a/b/c"); err != nil || size != 1 {
				t.Errorf("size of a/b/c: %d, %v", size, err)
			}
		}
	}
}

// Objects of more folders than are kept open are read at once, and from open files
// whatever becomes of the folders.
func TestDirManyFolders(t *testing.T) {
	path := t.TempDir()
	d, err := bucket.OpenDir(path)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	const folders = 300
	for i := range folders {
		folder := filepath.Join(path, fmt.Sprint("f", i))
		if err := errors.Join(os.Mkdir(folder, 0o700), os.WriteFile(filepath.Join(folder, "x"), fmt.Append(nil, i), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	var group sync.WaitGroup
	for g := range 8 {
		group.Go(func() {
			for i := range folders {
				i = (i*7 + g*31) % folders
				r, err := d.Get(t.Context(), fmt.Sprintf("f%d/x", i))
				if err != nil {
					t.Error(err)
					return
				}
				data, err := io.ReadAll(r)
				if err != nil || string(data) != fmt.Sprint(i) {
					t.Errorf("f%d/x is %q, %v", i, data, err)
				}
				r.Close()
			}
		})
	}
	group.Wait()
	if n := descriptorCount(t); n > 300 {
		t.Errorf("%d files are open", n)
	}
}

// alias lets to be another name of from.
func alias(ctx context.Context, d *bucket.Dir, from, to string) error {
	return d.PutAll(ctx, []bucket.Object{{Key: to, From: from}})
}

func TestDirAlias(t *testing.T) {
	d, ctx := openDir(t), t.Context()
	put(t, d, "a", "content")
	put(t, d, "b/c", "replaced")
	for range 2 {
		must(t, alias(ctx, d, "a", "b/c"))
	}
	if status, err := d.Stat(ctx, "a"); err != nil || status.Names != 2 {
		t.Errorf("Stat: %+v, %v; it must have two names", status, err)
	}
	must(t, d.Delete(ctx, "a"))
	if got := get(t, d, "b/c"); got != "content" {
		t.Errorf("b/c is %q", got)
	}
}

func TestDirOpen(t *testing.T) {
	path := t.TempDir()
	var dirs [2]*bucket.Dir // as two processes have
	for i := range dirs {
		d, err := bucket.OpenDir(path)
		if err != nil {
			t.Fatal(err)
		}
		defer d.Close()
		dirs[i] = d
	}
	d, ctx := dirs[0], t.Context()
	_, err := d.Open(ctx, "x")
	want(t, oras.ErrNotFound, err)
	put(t, d, "x", "")
	f, err := d.Open(ctx, "x")
	if err != nil {
		t.Fatal(err)
	}
	for _, other := range dirs {
		if g, err := other.Open(ctx, "x"); err == nil {
			g.Close()
			t.Error("Open: no error while it is open")
		}
	}
	if _, err := f.WriteAt([]byte("content"), 0); err != nil {
		t.Fatal(err)
	}
	if err := d.Rename(ctx, "x", "y/z", ""); err != nil {
		t.Fatal(err)
	}
	_, err = dirs[1].Open(ctx, "x")
	want(t, oras.ErrNotFound, err)
	if g, err := dirs[1].Open(ctx, "y/z"); err == nil {
		g.Close()
		t.Error("Open of the new key: no error while it is open")
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	f, err = dirs[1].Open(ctx, "y/z")
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
	if got := get(t, d, "y/z"); got != "content" {
		t.Errorf("y/z is %q", got)
	}
}

// A Dir lists what a sorted list of keys does, however prefix and last lie.
func TestDirList(t *testing.T) {
	part := rapid.StringMatching(`[aAbB][-.~_0a]{0,2}`)
	name := rapid.Custom(func(t *rapid.T) string {
		return strings.Join(rapid.SliceOfN(part, 1, 3).Draw(t, "parts"), "/")
	})
	n, dirs := 0, []*bucket.Dir{openDir(t), openDir(t).Fold()}
	rapid.Check(t, func(t *rapid.T) {
		n++
		dir := rapid.SampledFrom(dirs).Draw(t, "dir")
		top := fmt.Sprintf("t%d/", n)
		var keys []string
		for _, name := range rapid.SliceOfN(name, 0, 8).Draw(t, "names") {
			key := top + name
			clash := func(other string) bool {
				return strings.HasPrefix(other+"/", key+"/") || strings.HasPrefix(key+"/", other+"/")
			}
			if slices.ContainsFunc(keys, clash) {
				continue
			}
			if err := dir.Put(t.Context(), key, strings.NewReader(""), 0); err != nil {
				t.Fatal(err)
			}
			keys = append(keys, key)
		}
		slices.Sort(keys)
		for range 20 {
			prefix := top + rapid.OneOf(name, rapid.Just("")).Draw(t, "prefix")
			if cut := rapid.IntRange(len(top), len(prefix)).Draw(t, "cut"); len(prefix) > cut {
				prefix = prefix[:cut]
			}
			last := rapid.OneOf(rapid.Just(""), rapid.Map(name, func(s string) string { return top + s }), rapid.String()).Draw(t, "last")
			want := slices.DeleteFunc(slices.Clone(keys), func(key string) bool { return key <= last || !strings.HasPrefix(key, prefix) })
			var got []string
			err := dir.List(t.Context(), prefix, last, func(keys []string) error {
				got = append(got, keys...)
				return nil
			})
			if err != nil || !slices.Equal(got, want) {
				t.Fatalf("List(%q, %q) of %q: %q, %v; it must be %q", prefix, last, keys, got, err, want)
			}
		}
	})
}

// Names that are kept in memory are given up when the folder changes.
func TestDirListLarge(t *testing.T) {
	path := t.TempDir()
	d, err := bucket.OpenDir(path)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	folder := filepath.Join(path, "many")
	if err := os.Mkdir(folder, 0o700); err != nil {
		t.Fatal(err)
	}
	var want []string
	for i := range 1200 {
		name := fmt.Sprintf("k%05d", i)
		want = append(want, "many/"+name)
		if err := os.WriteFile(filepath.Join(folder, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	check := func(last string, want []string) {
		t.Helper()
		if got := list(t, d, "many/", last); !slices.Equal(got, want) {
			t.Fatalf("List after %q: %d keys; it must be %d, or they differ", last, len(got), len(want))
		}
	}
	check("", want)
	then := time.Now().Add(-time.Hour) // as if nothing had happened for long
	if err := os.Chtimes(folder, then, then); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		check("", want)
		check(want[1100], want[1101:])
	}
	put(t, d, "many/a", "")
	want = append([]string{"many/a"}, want...)
	check("", want)
	if err := d.Delete(t.Context(), want[7]); err != nil {
		t.Fatal(err)
	}
	want = slices.Delete(want, 7, 8)
	check("", want)

	enough, calls := errors.New("enough"), 0
	err = d.List(t.Context(), "many/", "", func(keys []string) error { calls++; return enough })
	if err != enough || calls != 1 {
		t.Errorf("List: %v after %d calls of fn, which returned an error", err, calls)
	}
}
