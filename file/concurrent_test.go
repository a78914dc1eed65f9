package file_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/iotest"

	"github.com/c73062ad/oras"
	"github.com/c73062ad/oras/archive"
	"github.com/c73062ad/oras/file"
)

// Many at once, some of which fail, in directories that some of the others need
// too: each that succeeded is there, nothing else is.
func TestConcurrentPush(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "out")
	s := newStore(t, dir, nil)
	broken := errors.New("connection reset")
	var wg sync.WaitGroup
	for i := range 60 {
		content := []byte(fmt.Sprintf("content %d", i/2)) // each digest has two names
		desc := titled(fmt.Sprintf("d%d/e%d/f%d", i%3, i%4, i), content)
		wg.Go(func() {
			if i%5 == 0 {
				err := oras.Push(t.Context(), s, desc, io.MultiReader(bytes.NewReader(content[:3]), iotest.ErrReader(broken)))
				wantErr(t, err, broken, "")
				return
			}
			for range 2 {
				wg.Go(func() {
					if err := oras.Push(t.Context(), s, desc, bytes.NewReader(content)); err != nil {
						t.Error(err)
					}
				})
			}
		})
		wg.Go(func() {
			if i%10 > 0 {
				return
			}
			title := fmt.Sprintf("d%d/docs%d", i%3, i)
			data := pack(t, title+"/x")
			if err := oras.Push(t.Context(), s, titled(title, data, file.AnnotationUnpack, "true"), bytes.NewReader(data)); err != nil {
				t.Error(err)
			}
		})
		wg.Go(func() {
			failing := titled(fmt.Sprintf("only/failures/%d/x", i%7), content)
			if oras.Push(t.Context(), s, failing, strings.NewReader("other")) == nil {
				t.Error("other content was taken")
			}
		})
	}
	wg.Wait()
	var want, got []string
	for i := range 60 {
		if i%5 > 0 {
			want = append(want, fmt.Sprintf("d%d/e%d/f%d content %d", i%3, i%4, i, i/2))
		}
		if i%10 == 0 {
			want = append(want, fmt.Sprintf("d%d/docs%d/x x", i%3, i))
		}
	}
	for _, w := range want {
		name, content, _ := strings.Cut(w, " ")
		data, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil || string(data) != content {
			t.Errorf("%s is %q, %v", name, data, err)
		}
	}
	for line := range strings.Lines(list(t, dir)) {
		if strings.HasPrefix(line, "-") {
			got = append(got, line)
		}
		if strings.Contains(line, "only") || strings.Contains(line, archive.TempPrefix) {
			t.Errorf("left: %s", line)
		}
	}
	if len(got) != len(want) {
		t.Errorf("%d files, want %d", len(got), len(want))
	}
}

// A process that is killed leaves nothing under a final name.
func TestKilled(t *testing.T) {
	if dir := os.Getenv("FILE_TEST_KILLED"); dir != "" {
		s, err := file.New(dir, nil)
		if err != nil {
			t.Fatal(err)
		}
		half := make([]byte, 1<<20)
		whole := append(half, half...)
		stuck, _ := io.Pipe()
		// Once the first half was read the parent is told, and then it ends.
		told := false
		tell := readerFunc(func(p []byte) (int, error) {
			if !told {
				told = true
				fmt.Println("half")
			}
			return stuck.Read(p)
		})
		t.Fatal(s.Push(t.Context(), titled("new/file", whole), io.MultiReader(bytes.NewReader(half), tell)))
	}
	dir := t.TempDir()
	cmd := exec.Command(os.Args[0], "-test.run=^TestKilled$")
	cmd.Env = append(os.Environ(), "FILE_TEST_KILLED="+dir)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(out, make([]byte, len("half"))); err != nil {
		t.Error(err)
	}
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if cmd.Wait() == nil {
		t.Error("it was not killed")
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 {
		t.Fatalf("%v, %v", entries, err)
	}
	want := archive.TempPrefix + "sha256-" + oras.SHA256.Digest(make([]byte, 2<<20)).Hex() + "-2097152.part"
	if name := entries[0].Name(); name != want {
		t.Errorf("%s is left, want %s", name, want)
	}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// A big file goes through in pieces (row R9: 200 MB and more work, memory follows
// what is read).
func TestBigFile(t *testing.T) {
	src, dst := t.TempDir(), t.TempDir()
	const size = 200 << 20
	f, err := os.Create(filepath.Join(src, "big"))
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(f.Truncate(size), f.Close()); err != nil {
		t.Fatal(err)
	}
	from, to := newStore(t, src, nil), newStore(t, dst, nil)
	desc, err := from.Add(t.Context(), "big", "", "")
	if err != nil {
		t.Fatal(err)
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	r, err := from.Fetch(t.Context(), desc)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if err := oras.Push(t.Context(), to, desc, r); err != nil {
		t.Fatal(err)
	}
	runtime.ReadMemStats(&after)
	if n := after.TotalAlloc - before.TotalAlloc; n > 4<<20 {
		t.Errorf("%d bytes were allocated", n)
	}
	if info, err := os.Stat(filepath.Join(dst, "big")); err != nil || info.Size() != size {
		t.Errorf("%v, %v", info, err)
	}
}
