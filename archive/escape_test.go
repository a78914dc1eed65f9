package archive

import (
	"archive/tar"
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"pgregory.net/rapid"
)

// Row F2: whatever links an archive makes and goes through, and whatever links are
// there already, nothing outside changes, and what appears does not lead outside.
func TestUnpackRandomLinks(t *testing.T) {
	needUnix(t)
	elem := rapid.SampledFrom([]string{"a", "b", "c", "d", "..", ".", ""})
	name := rapid.Custom(func(t *rapid.T) string {
		return strings.Join(rapid.SliceOfN(elem, 1, 4).Draw(t, "elements"), "/")
	})
	target := rapid.Custom(func(t *rapid.T) string {
		up := rapid.IntRange(0, 3).Draw(t, "up")
		to := strings.Repeat("../", up) + name.Draw(t, "to")
		return rapid.SampledFrom([]string{to, to, to, "../outside", "../../outside/victim", "/" + to}).Draw(t, "target")
	})
	entry := rapid.Custom(func(t *rapid.T) tar.Header {
		n := strings.TrimSuffix(name.Draw(t, "name"), "/")
		switch rapid.IntRange(0, 5).Draw(t, "kind") {
		case 0, 1:
			return symlink(n, target.Draw(t, "target"))
		case 2:
			return hardlink(n, target.Draw(t, "link"))
		case 3:
			return directory(n)
		}
		return file(n)
	})
	base := t.TempDir()
	round := 0
	unpacked := 0
	rapid.Check(t, func(t *rapid.T) {
		round++
		dir := filepath.Join(base, fmt.Sprint(round))
		out := filepath.Join(dir, "out")
		defer os.RemoveAll(dir)
		write(t, dir, map[string]string{"outside/victim": "victim", "outside/a/victim": "victim", "out/to/": "", "victim": "v"})
		if rapid.Bool().Draw(t, "links there") {
			write(t, out, map[string]string{"to/c": "->../../outside", "to/d": "->../../outside/victim"})
		}
		before := list(t, filepath.Join(dir, "outside"))
		// One entry an archive finds the most: what is wrong with one does
		// not hide what the next does.
		for _, h := range rapid.SliceOfN(entry, 1, 12).Draw(t, "entries") {
			h.Name = strings.TrimPrefix(h.Name, "/")
			var b bytes.Buffer
			w := tar.NewWriter(&b)
			h.Mode = 0o755
			if w.WriteHeader(&h) != nil || w.Close() != nil {
				continue
			}
			if unpack(t, out, b.Bytes(), &UnpackOptions{Dir: "to"}) == nil {
				unpacked++
			}
		}
		all := rapid.SliceOfN(entry, 1, 12).Draw(t, "one archive")
		var b bytes.Buffer
		w := tar.NewWriter(&b)
		for _, h := range all {
			h.Mode = 0o755
			if err := w.WriteHeader(&h); err != nil {
				t.Skip("cannot be written")
			}
		}
		w.Close()
		if unpack(t, out, b.Bytes(), &UnpackOptions{Dir: "fresh"}) == nil {
			unpacked++
			checkInside(t, filepath.Join(out, "fresh"))
		}
		equal(t, list(t, filepath.Join(dir, "outside")), before)
		equal(t, fmt.Sprint(names(t, dir)), "[out outside victim]")
		for _, n := range names(t, out) {
			if strings.HasPrefix(n, TempPrefix) {
				t.Errorf("%s is left", n)
			}
		}
	})
	if unpacked == 0 {
		t.Error("nothing was ever unpacked: the test shows nothing")
	}
}

// checkInside checks that every link below dir leads to something below dir, or
// nowhere.
func checkInside(t tb, dir string) {
	t.Helper()
	real, err := filepath.EvalSymlinks(dir)
	if err != nil {
		t.Fatal(err)
	}
	err = filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.Type() != fs.ModeSymlink {
			return err
		}
		if to, err := filepath.EvalSymlinks(p); err == nil && to != real && !strings.HasPrefix(to, real+"/") {
			t.Errorf("%s leads to %s", p, to)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// Somebody exchanges directories of the destination for links to the outside while
// an archive is moved into it.
func TestUnpackWhileSwapped(t *testing.T) {
	needUnix(t)
	a := newArena(t)
	write(t, a.out, map[string]string{"docs/d/old": "old"})
	before := list(t, a.outside)
	var entries []tar.Header
	for i := range 15 {
		entries = append(entries, file(fmt.Sprintf("docs/d/%d", i)), tar.Header{Name: fmt.Sprintf("docs/d/sub%d", i), Typeflag: tar.TypeDir, Mode: 0o500})
	}
	data := makeTar(t, entries...)
	done := make(chan struct{})
	var swapper sync.WaitGroup
	swapper.Go(func() {
		d, hidden := filepath.Join(a.out, "docs/d"), filepath.Join(a.out, "hidden")
		for {
			select {
			case <-done:
				return
			default:
			}
			if os.Rename(d, hidden) == nil {
				os.Symlink("../../outside/dir", d)
				os.Remove(d)
				os.Symlink("../../outside", d)
				os.Remove(d)
				os.Rename(hidden, d)
			}
		}
	})
	moved := 0
	for range 25 {
		if unpack(t, a.out, data, &UnpackOptions{Dir: "docs", Prefix: "docs"}) == nil {
			moved++
		}
	}
	close(done)
	swapper.Wait()
	equal(t, list(t, a.outside), before)
	t.Logf("%d of 25 were unpacked all the same", moved)
}

func FuzzUnpack(f *testing.F) {
	f.Add(makeTar(f, directory("d"), file("d/a"), symlink("l", "d/a"), hardlink("h", "d/a")))
	f.Add(makeTar(f, symlink("l", ".."), file("l/a")))
	f.Add(makeTar(f, file(strings.Repeat("long/", 60)+"ü")))
	f.Fuzz(func(t *testing.T, data []byte) {
		dir := t.TempDir()
		write(t, dir, map[string]string{"outside/victim": "victim", "out/a": "a", "out/d/": ""})
		r, err := Decompress(bytes.NewReader(data), nil)
		if err != nil {
			return
		}
		defer r.Close()
		root := openRoot(t, filepath.Join(dir, "out"))
		err = Unpack(t.Context(), root, io.LimitReader(r, 16<<20), &UnpackOptions{MaxEntries: 1000})
		if err != nil {
			equal(t, list(t, filepath.Join(dir, "out")), "drwxr-xr-x .\n-rw-r--r-- a \"a\"\ndrwxr-xr-x d\n")
		}
		equal(t, list(t, filepath.Join(dir, "outside")), "drwxr-xr-x .\n-rw-r--r-- victim \"victim\"\n")
		equal(t, fmt.Sprint(names(t, dir)), "[out outside]")
	})
}
