package file_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/c73062ad/oras"
	"github.com/c73062ad/oras/archive"
	"github.com/c73062ad/oras/file"
	"github.com/c73062ad/oras/layout"
)

// visible is list without what is hidden.
func visible(t testing.TB, dir string) string {
	t.Helper()
	var b strings.Builder
	for line := range strings.Lines(list(t, dir)) {
		if !strings.Contains(line, archive.TempPrefix) {
			b.WriteString(line)
		}
	}
	return b.String()
}

// makeArtifact returns a layout with an artifact called v1, and what pulling it makes:
// two names of one file, small files, a large one, and directories.
func makeArtifact(t testing.TB) (src *layout.Store, dir, want string) {
	t.Helper()
	files := t.TempDir()
	write(t, files, map[string]string{
		"a": "one content", "deep/b": "one content", "big": string(random(2_000_000, 1)), "big too": string(random(2_000_000, 1)),
		"docs/readme.md": "read me", "docs/deep/a": "a", "docs/empty/": "", "deep/large/x": string(random(1_500_000, 2)),
	})
	from := newStore(t, files, nil)
	var layers []oras.Descriptor
	for _, title := range []string{"a", "big", "deep/b", "docs", "big too", "deep/large"} {
		desc, err := from.Add(t.Context(), title, "", "")
		if err != nil {
			t.Fatal(err)
		}
		layers = append(layers, desc)
	}
	root, err := oras.Pack(t.Context(), from, &oras.PackOptions{Layers: layers})
	if err != nil {
		t.Fatal(err)
	}
	dir = t.TempDir()
	if src, err = layout.Open(dir); err != nil {
		t.Fatal(err)
	}
	if _, err := oras.Copy(t.Context(), from, string(root.Digest), src, &oras.CopyOptions{Tags: []string{"v1"}}); err != nil {
		t.Fatal(err)
	}
	return src, dir, list(t, files)
}

// Row F9: nothing has its name before Commit, and then all has.
func TestStage(t *testing.T) {
	needUnix(t)
	src, _, want := makeArtifact(t)
	for _, there := range []map[string]string{{}, {"a": "old", "mine": "mine", "docs/mine": "mine", "docs/readme.md": "old"}} {
		dir := filepath.Join(t.TempDir(), "out")
		if len(there) > 0 {
			write(t, dir, there)
			if err := os.Chmod(filepath.Join(dir, "a"), 0o750); err != nil {
				t.Fatal(err)
			}
		}
		before := "drwxr-xr-x .\n"
		if len(there) > 0 {
			before = list(t, dir)
		}
		s := newStore(t, dir, &file.Options{Stage: true})
		if _, err := oras.Copy(t.Context(), src, "v1", s, nil); err != nil {
			t.Fatal(err)
		}
		equal(t, visible(t, dir), before)
		// It is content all the same, as is what waits.
		for _, title := range []string{"a", "deep/b", "big", "big too", "docs"} {
			checkThere(t, s, src, title)
		}
		if err := s.Commit(t.Context()); err != nil {
			t.Fatal(err)
		}
		for _, title := range []string{"a", "deep/b", "big", "big too", "docs"} {
			checkThere(t, s, src, title)
		}
		if err := s.Commit(t.Context()); err != nil {
			t.Error(err) // of nothing more
		}
		if len(there) > 0 {
			if info, err := os.Stat(filepath.Join(dir, "a")); err != nil || info.Mode() != 0o750 {
				t.Errorf("%v, %v", info, err)
			}
			for _, mine := range []string{"mine", "docs/mine"} {
				if err := os.Remove(filepath.Join(dir, mine)); err != nil {
					t.Error(err)
				}
			}
			os.Chmod(filepath.Join(dir, "a"), 0o644)
		}
		equal(t, list(t, dir), want)
		// What is right is not read again.
		again := newStore(t, dir, &file.Options{Stage: true})
		count := map[oras.EventKind]int{}
		_, err := oras.Copy(t.Context(), src, "v1", again, &oras.CopyOptions{Event: func(e oras.Event) {
			if e.Descriptor.Annotations[ocispec.AnnotationTitle] != "" {
				count[e.Kind]++
			}
		}})
		if err != nil || count[oras.Copying] != 0 || count[oras.Exists]+count[oras.Skipped] != 6 {
			t.Errorf("again: %v, %v", count, err)
		}
		equal(t, list(t, dir), want)
	}
}

// checkThere checks that s has what src has under the title.
func checkThere(t testing.TB, s *file.Store, src oras.Source, title string) {
	t.Helper()
	data, err := src.Resolve(t.Context(), "v1")
	if err != nil {
		t.Fatal(err)
	}
	m, err := oras.ReadManifest(t.Context(), src, data)
	if err != nil {
		t.Fatal(err)
	}
	for _, desc := range m.Layers {
		if desc.Annotations[ocispec.AnnotationTitle] != title {
			continue
		}
		if exists, err := s.Exists(t.Context(), desc); err != nil || !exists {
			t.Errorf("%s exists: %v, %v", title, exists, err)
		}
		if desc.Annotations[file.AnnotationUnpack] == "true" {
			continue
		}
		if r, err := s.Fetch(t.Context(), desc); err != nil {
			t.Error(err)
		} else {
			if _, err := oras.ReadAll(r, desc); err != nil {
				t.Errorf("%s: %v", title, err)
			}
			r.Close()
		}
	}
}

// Without Commit there is nothing but what the next goes on with; then nothing moves.
func TestStageWithoutCommit(t *testing.T) {
	src, _, want := makeArtifact(t)
	dir := filepath.Join(t.TempDir(), "out")
	s, err := file.New(dir, &file.Options{Stage: true})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := oras.Copy(t.Context(), src, "v1", s, nil); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	equal(t, visible(t, dir), "drwxr-xr-x .\n")
	if names := hidden(t, dir); len(names) != 2 { // big, and what large was packed in
		t.Errorf("left are %q", names)
	}
	if err := s.Commit(t.Context()); !errors.Is(err, fs.ErrClosed) {
		t.Errorf("Commit of what is closed: %v", err)
	}
	if moved := pullAll(t, src, dir); moved > 100_000 {
		t.Errorf("%d bytes moved", moved)
	}
	equal(t, list(t, dir), want)
}

// Where nothing is worth keeping, not even the directory stays.
func TestStageNothing(t *testing.T) {
	base := t.TempDir()
	for _, dir := range []string{"new", "deep/er/new"} {
		s, err := file.New(filepath.Join(base, dir), &file.Options{Stage: true})
		if err != nil {
			t.Fatal(err)
		}
		mustPush(t, s, "a", "a")
		mustPush(t, s, "b/c", "c")
		docs := pack(t, "docs/x")
		if err := s.Push(t.Context(), titled("docs", docs, file.AnnotationUnpack, "true"), bytes.NewReader(docs)); err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		equal(t, list(t, base), "drwxr-xr-x .\n")
	}
}

// pullAll pulls v1 and returns how many bytes moved.
func pullAll(t testing.TB, src oras.Source, dir string) (moved int64) {
	t.Helper()
	s := newStore(t, dir, &file.Options{Stage: true})
	bytes := map[string]int64{}
	_, err := oras.Copy(t.Context(), src, "v1", s, &oras.CopyOptions{Event: func(e oras.Event) {
		if e.Kind == oras.Progress && e.Descriptor.Annotations[ocispec.AnnotationTitle] != "" {
			bytes[string(e.Descriptor.Digest)] = e.Bytes
		}
	}})
	if err := errors.Join(err, s.Commit(t.Context())); err != nil {
		t.Fatal(err)
	}
	for _, n := range bytes {
		moved += n
	}
	return moved
}

// childStage pulls v1 to a directory, tells when all but Commit is done, and commits
// if it is asked to.
func childStage(ctx context.Context, args []string) error {
	src, err := layout.Open(args[0])
	if err != nil {
		return err
	}
	s, err := file.New(args[1], &file.Options{Stage: true})
	if err != nil {
		return err
	}
	if _, err := oras.Copy(ctx, src, "v1", s, nil); err != nil {
		return err
	}
	fmt.Println(1)
	if args[2] == "wait" {
		waitForKill()
	}
	return errors.Join(s.Commit(ctx), s.Close())
}

// Killed before Commit: what was whole is found by the next.
func TestStageKilled(t *testing.T) {
	src, from, want := makeArtifact(t)
	dir := filepath.Join(t.TempDir(), "out")
	startChild(t, "stage", from, dir, "wait").killAt(t, 1)
	equal(t, visible(t, dir), "drwxr-xr-x .\n")
	if moved := pullAll(t, src, dir); moved > 100_000 {
		t.Errorf("%d bytes moved", moved)
	}
	equal(t, list(t, dir), want)
}

// Processes that pull the same to the same directory at once do not disturb each
// other, and leave nothing.
func TestStageTogether(t *testing.T) {
	src, from, want := makeArtifact(t)
	for range 3 {
		dir := filepath.Join(t.TempDir(), "out")
		var all []*child
		for i := range 4 {
			all = append(all, startChild(t, "stage", from, dir, map[bool]string{true: "wait"}[i == 3]))
		}
		var wg sync.WaitGroup
		for i, c := range all {
			wg.Go(func() {
				if i == 3 {
					c.killAt(t, 1)
				} else {
					c.wait(t)
				}
			})
		}
		wg.Wait()
		equal(t, visible(t, dir), want)
		if moved := pullAll(t, src, dir); moved != 0 { // which removes what is left
			t.Errorf("%d bytes moved", moved)
		}
		if names := hidden(t, dir); len(names) > 0 {
			t.Errorf("left is %q", names)
		}
	}
}

// What is in the way at Commit is found out before anything has changed.
func TestStageInTheWay(t *testing.T) {
	dir := t.TempDir()
	for what, plant := range map[string]map[string]string{
		"a directory": {"b/x": "x"}, "a file for a directory": {"docs": "x"}, "a file in a directory": {"docs/x/y": "x"}, "no directory": {"deep": "x"},
	} {
		dir := filepath.Join(dir, what)
		write(t, dir, map[string]string{"mine": "mine"})
		s := newStore(t, dir, &file.Options{Stage: true})
		docs := pack(t, "docs/x")
		mustPush(t, s, "a", "a")
		mustPush(t, s, "b", "b")
		mustPush(t, s, "deep/c", "c")
		if err := s.Push(t.Context(), titled("docs", docs, file.AnnotationUnpack, "true"), bytes.NewReader(docs)); err != nil {
			t.Fatal(err)
		}
		write(t, dir, plant)
		before := visible(t, dir)
		if err := s.Commit(t.Context()); err == nil {
			t.Errorf("%s: no error", what)
		}
		equal(t, visible(t, dir), before)
		for name := range plant {
			top, _, _ := strings.Cut(name, "/")
			if err := os.RemoveAll(filepath.Join(dir, top)); err != nil {
				t.Fatal(err)
			}
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		wantErr(t, s.Commit(ctx), context.Canceled, "")
		if err := s.Commit(t.Context()); err != nil {
			t.Errorf("%s: %v", what, err)
		}
		equal(t, list(t, dir), "drwxr-xr-x .\n-rw-r--r-- a \"a\"\n-rw-r--r-- b \"b\"\ndrwxr-xr-x deep\n-rw-r--r-- deep/c \"c\"\ndrwxr-xr-x docs\n-rw-r--r-- docs/x \"x\"\n-rw-r--r-- mine \"mine\"\n")
	}
	// Old files that are to be kept, and come to be meanwhile.
	s := newStore(t, dir, &file.Options{Stage: true, KeepOldFiles: true})
	mustPush(t, s, "first", "a")
	mustPush(t, s, "kept", "a")
	write(t, dir, map[string]string{"kept": "mine"})
	wantErr(t, s.Commit(t.Context()), file.ErrOverwrite, "kept")
	if _, err := os.Stat(filepath.Join(dir, "first")); err == nil {
		t.Error("something has its name")
	}
}

// What is there is content if it is right.
func TestExistsOnDisk(t *testing.T) {
	needUnix(t)
	dir := t.TempDir()
	write(t, dir, map[string]string{
		"right": "content", "wrong": "CONTENT", "short": "conten", "link": "->right", "directory/x": "content", "deep/right": "content",
		"docs/a": "a", "docs/d/b": "b", "more/a": "a", "more/d/b": "b", "more/c": "c", "less/a": "a", "linked": "->docs",
	})
	s := newStore(t, dir, nil)
	for title, want := range map[string]bool{
		"right": true, "./right": true, "deep/right": true, "wrong": false, "short": false, "link": false, "directory": false, "nothing": false, "../x": false, "right/x": false, "deep": false,
	} {
		desc := titled(title, []byte("content"))
		if exists, err := s.Exists(t.Context(), desc); err != nil || exists != want {
			t.Errorf("%s: %v, %v", title, exists, err)
		}
		if want {
			if data, err := oras.FetchAll(t.Context(), s, desc); err != nil || string(data) != "content" {
				t.Errorf("%s: %q, %v", title, data, err)
			}
			// That is what this name is now.
			wantErr(t, push(t, s, title, "other"), oras.ErrInvalid, "")
		}
	}
	if exists, err := newStore(t, dir, &file.Options{KeepOldFiles: true}).Exists(t.Context(), titled("right", []byte("content"))); err != nil || exists {
		t.Errorf("where old files are kept: %v, %v", exists, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := newStore(t, dir, nil).Exists(ctx, titled("right", []byte("content"))); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}

	for _, modTime := range []time.Time{{}, time.Unix(1700000000, 0)} {
		from := newStore(t, dir, &file.Options{ModTime: modTime})
		docs, err := from.Add(t.Context(), "docs", "", "")
		if err != nil {
			t.Fatal(err)
		}
		r, err := from.Fetch(t.Context(), docs)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		out := t.TempDir()
		to := newStore(t, out, nil)
		if err := oras.Push(t.Context(), to, docs, r); err != nil {
			t.Fatal(err)
		}
		for title, want := range map[string]bool{"docs": true, "more": false, "less": false, "linked": false, "right": false} {
			at := dir
			if want {
				at = out
			}
			desc := docs
			desc.Annotations = map[string]string{ocispec.AnnotationTitle: title, file.AnnotationUnpack: "true", file.AnnotationDigest: docs.Annotations[file.AnnotationDigest]}
			if exists, err := newStore(t, at, nil).Exists(t.Context(), desc); err != nil || exists != want {
				t.Errorf("%s: %v, %v", title, exists, err)
			}
			delete(desc.Annotations, file.AnnotationDigest)
			if exists, err := newStore(t, at, nil).Exists(t.Context(), desc); err != nil || exists {
				t.Errorf("%s, of unknown digest: %v, %v", title, exists, err)
			}
		}
		write(t, out, map[string]string{"docs/mine": "mine"})
		if exists, err := newStore(t, out, nil).Exists(t.Context(), docs); err != nil || exists {
			t.Errorf("with a file more: %v, %v", exists, err)
		}
	}
}

// What killed processes left is removed, and nothing else.
func TestLeftovers(t *testing.T) {
	needUnix(t)
	dir := t.TempDir()
	const text = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
	part := func(c string) string { return ".oras-sha256-" + strings.Repeat(c, 64) + "-100000.part" }
	content := string(random(100_000, 1))
	long := time.Now().Add(-8 * 24 * time.Hour)
	write(t, dir, map[string]string{
		".oras-" + text + ".work/1" + part("a"):          content, // is kept, for some time
		".oras-" + text + ".work/2" + part("b"):          "little",
		".oras-" + text + ".work/.oras-" + text + "/d/x": "being unpacked",
		".oras-" + text[1:] + "2/x":                      "old",
		".oras-" + text[1:] + "3/x":                      "new",
		part("c"):                                        "old",
		part("d"):                                        "new",
		".oras-mine/x":                                   "not ours", ".oras-" + text + ".working/x": "not ours", ".oras-sha256-x-1.part": "not ours", ".oras.work": "not ours",
		"outside/x": "victim", ".oras-" + text[1:] + "4.work": "->outside", ".oras-" + text[1:] + "5": "->outside", part("e"): "->outside/x",
	})
	for _, name := range []string{".oras-" + text[1:] + "2", part("c"), ".oras-mine", ".oras-sha256-x-1.part", "outside/x"} {
		if err := os.Chtimes(filepath.Join(dir, name), long, long); err != nil {
			t.Fatal(err)
		}
	}
	mustPush(t, newStore(t, dir, nil), "new", "new")
	got := list(t, dir)
	want := t.TempDir()
	write(t, want, map[string]string{
		part("a"): content, ".oras-" + text[1:] + "3/x": "new", part("d"): "new",
		".oras-mine/x": "not ours", ".oras-" + text + ".working/x": "not ours", ".oras-sha256-x-1.part": "not ours", ".oras.work": "not ours",
		"outside/x": "victim", ".oras-" + text[1:] + "4.work": "->outside", ".oras-" + text[1:] + "5": "->outside", part("e"): "->outside/x", "new": "new",
	})
	equal(t, got, list(t, want))
}
