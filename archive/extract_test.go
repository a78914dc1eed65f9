package archive

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// What was extracted is nowhere until it is committed, and leaves nothing when it
// is discarded instead.
func TestExtract(t *testing.T) {
	needUnix(t)
	data := makeTar(t, file("docs/a"), file("docs/d/f"), tar.Header{Name: "docs/ro", Typeflag: tar.TypeDir, Mode: 0o500})
	for _, dir := range []string{"docs", "real/docs", "in/docs", "."} {
		for _, temp := range []string{"", ".", "work/here"} {
			for _, there := range []bool{false, true} {
				if there && dir == "." {
					continue // it always is
				}
				a := newArena(t)
				write(t, a.out, map[string]string{"work/here/": "", "real/": "", "in": "->real"})
				if there {
					write(t, a.out, map[string]string{dir + "/a": "old", dir + "/mine": "mine"})
				}
				before := list(t, a.base)
				root := openRoot(t, a.out)
				extract := func() *Tree {
					t.Helper()
					tree, err := Extract(t.Context(), root, bytes.NewReader(data), &UnpackOptions{Dir: dir, Prefix: "docs", Temp: temp})
					if err != nil {
						t.Fatal(err)
					}
					made := names(t, filepath.Join(a.out, temp))
					if !strings.HasPrefix(made[0], TempPrefix) {
						t.Errorf("in %q: %q", temp, made)
					}
					if err := tree.Check(); err != nil {
						t.Error(err)
					}
					return tree
				}
				discarded := extract()
				if err := discarded.Discard(); err != nil {
					t.Error(err)
				}
				equal(t, list(t, a.base), before)
				tree := extract()
				if err := errors.Join(tree.Commit(), tree.Discard()); err != nil {
					t.Fatal(err)
				}
				got := list(t, a.out)
				at := strings.Replace(dir, "in/", "real/", 1)
				for _, want := range []string{"-rw-r--r-- " + filepath.Join(at, "d/f") + " \"content of docs/d/f\"", "dr-x------ " + filepath.Join(at, "ro")} {
					if !strings.Contains(got, want) {
						t.Errorf("%s in %q: no %s in\n%s", dir, temp, want, got)
					}
				}
				if strings.Contains(got, TempPrefix) || there && !strings.Contains(got, "mine") {
					t.Errorf("%s in %q:\n%s", dir, temp, got)
				}
				os.Chmod(filepath.Join(a.out, dir, "ro"), 0o755)
			}
		}
	}
}

// What comes to be in the way meanwhile is found out before anything is moved.
func TestExtractInTheWay(t *testing.T) {
	needUnix(t)
	a := newArena(t)
	root := openRoot(t, a.out)
	data := makeTar(t, file("docs/a"), file("docs/d/f"))
	tree, err := Extract(t.Context(), root, bytes.NewReader(data), &UnpackOptions{Dir: "new/docs", Prefix: "docs"})
	if err != nil {
		t.Fatal(err)
	}
	if err := tree.Check(); err != nil {
		t.Error(err)
	}
	if err := tree.Commit(); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("without the directory it is in: %v", err)
	}
	write(t, a.out, map[string]string{"new/docs/d": "a file"})
	before := list(t, filepath.Join(a.out, "new"))
	for _, err := range []error{tree.Check(), tree.Commit()} {
		wantErr(t, err, fs.ErrExist, "docs/d: a file")
	}
	equal(t, list(t, filepath.Join(a.out, "new")), before)
	if err := os.Remove(filepath.Join(a.out, "new/docs/d")); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(tree.Commit(), tree.Discard()); err != nil {
		t.Error(err)
	}
	equal(t, fmt.Sprint(names(t, filepath.Join(a.out, "new/docs"))), "[a d]")
	for _, temp := range []string{"missing", "existing", "../outside", "/tmp"} {
		if _, err := Extract(t.Context(), root, bytes.NewReader(data), &UnpackOptions{Dir: "x", Prefix: "docs", Temp: temp}); err == nil {
			t.Errorf("made in %s", temp)
		}
	}
}

// Many that unpack the same to the same place at once all succeed.
func TestExtractTogether(t *testing.T) {
	needUnix(t)
	var entries []tar.Header
	for i := range 30 {
		entries = append(entries, file(fmt.Sprintf("docs/d%d/e%d/f%d", i%3, i%5, i)), tar.Header{Name: fmt.Sprintf("docs/ro%d", i), Typeflag: tar.TypeDir, Mode: 0o500})
	}
	data := makeTar(t, entries...)
	for range 20 {
		dir := t.TempDir()
		root := openRoot(t, dir)
		var all sync.WaitGroup
		start := make(chan struct{})
		for range 4 {
			tree, err := Extract(t.Context(), root, bytes.NewReader(data), &UnpackOptions{Dir: "docs", Prefix: "docs"})
			if err != nil {
				t.Fatal(err)
			}
			all.Go(func() {
				<-start
				if err := errors.Join(tree.Commit(), tree.Discard()); err != nil {
					t.Error(err)
				}
			})
		}
		close(start)
		all.Wait()
		alone := t.TempDir()
		if err := unpack(t, alone, data, &UnpackOptions{Dir: "docs", Prefix: "docs"}); err != nil {
			t.Fatal(err)
		}
		equal(t, list(t, dir), list(t, alone))
	}
}

// PackRoot names what it packs, and leaves the root open.
func TestPackRoot(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, map[string]string{"docs/a": "a", "docs/d/b": "b"})
	root := openRoot(t, filepath.Join(dir, "docs"))
	var b bytes.Buffer
	for range 2 {
		b.Reset()
		if err := PackRoot(t.Context(), &b, root, &PackOptions{Prefix: "docs"}); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(b.Bytes(), pack(t, filepath.Join(dir, "docs"), &PackOptions{Prefix: "docs"})) {
			t.Error("other bytes than by name")
		}
	}
}

// Many files, small and large, of which some cannot be packed: the first in order
// is told of, and nothing is left open or running.
func TestPackMany(t *testing.T) {
	needUnix(t)
	dir := t.TempDir()
	files := map[string]string{}
	for i := range 300 {
		files[fmt.Sprintf("d%d/f%03d", i%7, i)] = strings.Repeat(fmt.Sprint(i), i*i%999)
	}
	files["d3/large"] = strings.Repeat("large", smallFile)
	files["d3/small"] = strings.Repeat("s", smallFile)
	files["d3/zero"] = ""
	write(t, dir, files)
	data := pack(t, dir, nil)
	out := t.TempDir()
	if err := unpack(t, out, data, nil); err != nil {
		t.Fatal(err)
	}
	equal(t, list(t, out), list(t, dir))
	write(t, dir, map[string]string{"d2/f002.link": "->d3"})
	full := errors.New("disk full")
	for n := range 40 {
		left := n * len(data) / 40
		err := Pack(t.Context(), writerFunc(func(p []byte) (int, error) {
			if left -= len(p); left < 0 {
				return 0, full
			}
			return len(p), nil
		}), dir, nil)
		wantErr(t, err, full, dir)
	}
}
