package file_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/c73062ad/oras"
	"github.com/c73062ad/oras/archive"
	"github.com/c73062ad/oras/file"
)

// A source is content that is read, and sometimes breaks.
type source struct {
	*bytes.Reader
	left int // bytes until it breaks; -1 for never
	n    int // bytes that were read
	tell func(n int)
}

var errBroken = errors.New("connection reset")

func newSource(data []byte, left int) *source {
	return &source{Reader: bytes.NewReader(data), left: left}
}

func (s *source) Read(p []byte) (int, error) {
	if s.left == 0 {
		return 0, errBroken
	}
	if s.left > 0 {
		p = p[:min(len(p), s.left)]
	}
	n, err := s.Reader.Read(p[:min(len(p), 10_000)])
	if s.left > 0 {
		s.left -= n
	}
	if s.n += n; s.tell != nil && n > 0 {
		s.tell(s.n)
	}
	return n, err
}

// random returns n bytes that do not repeat.
func random(n int, seed byte) []byte {
	data := make([]byte, n)
	rand.NewChaCha8([32]byte{seed}).Read(data)
	return data
}

// packBig returns an archive of more than a megabyte.
func packBig(t testing.TB, title string) []byte {
	t.Helper()
	dir := t.TempDir()
	for i := range 40 {
		write(t, dir, map[string]string{fmt.Sprintf("d%d/f%d", i%3, i): string(random(50_000, byte(i)))})
	}
	var b bytes.Buffer
	z, err := archive.Compress(&b, archive.Gzip, nil)
	if err != nil {
		t.Fatal(err)
	}
	err = archive.Pack(t.Context(), z, dir, &archive.PackOptions{Prefix: title})
	if err := errors.Join(err, z.Close()); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// bigs are things whose beginning is worth keeping: a file, and a directory.
func bigs(t testing.TB) map[string]struct {
	desc oras.Descriptor
	data []byte
} {
	blob, docs := random(3_000_000, 1), packBig(t, "deep/docs")
	return map[string]struct {
		desc oras.Descriptor
		data []byte
	}{
		"file":      {titled("deep/file", blob), blob},
		"directory": {titled("deep/docs", docs, file.AnnotationUnpack, "true"), docs},
	}
}

// fresh pushes to a directory with a new store.
func fresh(t testing.TB, dir string, desc oras.Descriptor, r io.Reader) error {
	t.Helper()
	return oras.Push(t.Context(), newStore(t, dir, nil), desc, r)
}

// hidden returns the names in dir that begin as those of this package do.
func hidden(t testing.TB, dir string) (names []string) {
	t.Helper()
	for line := range strings.Lines(list(t, dir)) {
		for word := range strings.FieldsSeq(line) {
			if strings.Contains(word, archive.TempPrefix) {
				names = append(names, word)
			}
		}
	}
	return names
}

// What a push received before it broke moves no more; what cannot be gone on with, or
// turns out to be wrong, moves as a whole.
func TestPushGoesOn(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for name, big := range bigs(t) {
		want := t.TempDir()
		if err := fresh(t, want, big.desc, bytes.NewReader(big.data)); err != nil {
			t.Fatal(err)
		}
		for range 5 {
			dir := t.TempDir()
			moved := 0
			for tries := 1; ; tries++ {
				left := 200_000 + r.IntN(900_000)
				s := newSource(big.data, left)
				err := fresh(t, dir, big.desc, s)
				moved += s.n
				if err == nil {
					break
				}
				wantErr(t, err, errBroken, "")
				if got := hidden(t, dir); len(got) != 1 || len(strings.Split(list(t, dir), "\n")) != 3 {
					t.Fatalf("%s: left is\n%s", name, list(t, dir))
				}
			}
			if moved != len(big.data) {
				t.Errorf("%s: %d bytes moved of %d", name, moved, len(big.data))
			}
			equal(t, list(t, dir), list(t, want))
		}
		// A source that cannot go on.
		dir := t.TempDir()
		wantErr(t, fresh(t, dir, big.desc, newSource(big.data, 1_000_000)), errBroken, "")
		s := newSource(big.data, -1)
		if err := fresh(t, dir, big.desc, struct{ io.Reader }{s}); err != nil || s.n != len(big.data) {
			t.Errorf("%s, no seeker: %v, %d bytes moved", name, err, s.n)
		}
		equal(t, list(t, dir), list(t, want))
	}
}

func TestPushGoesOnWrong(t *testing.T) {
	for name, big := range bigs(t) {
		part := fmt.Sprintf(".oras-%s-%d.part", strings.Replace(string(big.desc.Digest), ":", "-", 1), big.desc.Size)
		want := t.TempDir()
		if err := fresh(t, want, big.desc, bytes.NewReader(big.data)); err != nil {
			t.Fatal(err)
		}
		other := bytes.Clone(big.data)
		other[500_000] ^= 1
		for what, there := range map[string][]byte{
			"other bytes": other[:1_000_000], "all, but other": other, "zeros": make([]byte, 1_000_000),
			"more": append(bytes.Clone(big.data), "more"...), "nothing": {}, "all": big.data,
		} {
			dir := t.TempDir()
			write(t, dir, map[string]string{part: string(there)})
			s := newSource(big.data, -1)
			if err := fresh(t, dir, big.desc, s); err != nil {
				t.Errorf("%s, %s: %v", name, what, err)
			}
			equal(t, list(t, dir), list(t, want))
			if what == "all" && s.n != 0 {
				t.Errorf("%s: %d bytes moved", name, s.n)
			}
			// From a source that is not right either, nothing is left.
			dir = t.TempDir()
			write(t, dir, map[string]string{part: string(there)})
			bad := bytes.Clone(big.data)
			bad[len(bad)-20] ^= 1
			if err := fresh(t, dir, big.desc, newSource(bad, -1)); what != "all" {
				wantErr(t, err, oras.ErrInvalid, "")
				equal(t, list(t, dir), "drwxr-xr-x .\n")
			}
		}
	}
}

// Names are not believed: what bears that of a part, and is something else, is left
// alone.
func TestPartIsNoPart(t *testing.T) {
	needUnix(t)
	for name, big := range bigs(t) {
		part := fmt.Sprintf(".oras-%s-%d.part", strings.Replace(string(big.desc.Digest), ":", "-", 1), big.desc.Size)
		for what, plant := range map[string]func(path, victim string) error{
			"link":          func(path, victim string) error { return os.Symlink("victim", path) },
			"link outside":  func(path, victim string) error { return os.Symlink("../victim", path) },
			"dangling link": func(path, victim string) error { return os.Symlink("nowhere", path) },
			"hard link":     func(path, victim string) error { return os.Link(victim, path) },
			"directory":     func(path, victim string) error { return os.Mkdir(path, 0o755) },
		} {
			base := t.TempDir()
			dir := filepath.Join(base, "out")
			victim := string(random(100_000, 9))
			write(t, base, map[string]string{"victim": victim, "out/victim": victim})
			path := filepath.Join(dir, part)
			if err := plant(path, filepath.Join(dir, "victim")); err != nil {
				t.Fatal(err)
			}
			before, err := os.Lstat(path)
			if err != nil {
				t.Fatal(err)
			}
			wantErr(t, fresh(t, dir, big.desc, newSource(big.data, 1_000_000)), errBroken, "")
			if err := fresh(t, dir, big.desc, newSource(big.data, -1)); err != nil {
				t.Errorf("%s, %s: %v", name, what, err)
			}
			after, err := os.Lstat(path)
			if err != nil || !os.SameFile(before, after) {
				t.Errorf("%s, %s: %v, %v", name, what, after, err)
			}
			for _, victimPath := range []string{filepath.Join(base, "victim"), filepath.Join(dir, "victim")} {
				if got, err := os.ReadFile(victimPath); err != nil || string(got) != victim {
					t.Errorf("%s, %s: %s was written to", name, what, victimPath)
				}
			}
			if _, err := os.Lstat(filepath.Join(dir, "nowhere")); err == nil {
				t.Errorf("%s: the link was followed", what)
			}
			if names := hidden(t, dir); len(names) != 1 {
				t.Errorf("%s, %s: left are %q", name, what, names)
			}
		}
	}
}

// While one is at it another does not wait: it has its own.
func TestPartTaken(t *testing.T) {
	for name, big := range bigs(t) {
		dir := t.TempDir()
		started, done := make(chan struct{}), make(chan error)
		slow := newSource(big.data, -1)
		finish := make(chan struct{})
		slow.tell = func(n int) {
			if n > 1_000_000 && started != nil {
				close(started)
				started = nil
				<-finish
			}
		}
		begun := started
		go func() { done <- fresh(t, dir, big.desc, slow) }()
		<-begun
		if err := fresh(t, dir, big.desc, newSource(big.data, -1)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		// A third breaks, and leaves nothing that the first could fall over.
		err := fresh(t, filepath.Join(dir, "."), oras.Descriptor{
			Digest: big.desc.Digest, Size: big.desc.Size, Annotations: map[string]string{"org.opencontainers.image.title": "third"},
		}, newSource(big.data, 700_000))
		wantErr(t, err, errBroken, "third")
		close(finish)
		if err := <-done; err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if names := hidden(t, dir); len(names) != 0 {
			t.Errorf("%s: left are %q", name, names)
		}
		want := t.TempDir()
		if err := fresh(t, want, big.desc, newSource(big.data, -1)); err != nil {
			t.Fatal(err)
		}
		equal(t, list(t, dir), list(t, want))
	}
}

// A title that is the name of a part does not put its content in the place of what
// that is of.
func TestPartIsTitle(t *testing.T) {
	big := bigs(t)["file"]
	part := fmt.Sprintf(".oras-%s-%d.part", strings.Replace(string(big.desc.Digest), ":", "-", 1), big.desc.Size)
	evil := pack(t, "./"+part)
	for _, stage := range []bool{false, true} {
		for name, desc := range map[string]oras.Descriptor{
			"file": titled(part, []byte("evil")), "directory": titled(".", evil, file.AnnotationUnpack, "true"),
		} {
			dir := t.TempDir()
			s := newStore(t, dir, &file.Options{Stage: stage})
			src := newSource(big.data, -1)
			src.tell = func(n int) {
				if n < len(big.data) {
					return
				}
				other := newStore(t, dir, nil)
				content := []byte("evil")
				if name == "directory" {
					content = evil
				}
				if err := other.Push(t.Context(), desc, bytes.NewReader(content)); err != nil {
					t.Error(err)
				}
			}
			err := errors.Join(oras.Push(t.Context(), s, big.desc, src), s.Commit(t.Context()))
			wantErr(t, err, oras.ErrInvalid, "replaced")
			if data, err := os.ReadFile(filepath.Join(dir, "deep/file")); err == nil {
				t.Errorf("%s: it is %.20q", name, data)
			}
		}
	}
}

// childPull pushes what is in a file to a directory, and tells how much it has read. At
// some point it waits to be killed.
func childPull(ctx context.Context, args []string) error {
	dir, from, title, unpack := args[0], args[1], args[2], args[3]
	data, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	s, err := file.New(dir, nil)
	if err != nil {
		return err
	}
	src := newSource(data, -1)
	end, err := strconv.Atoi(args[4])
	if err != nil {
		return err
	}
	src.tell = func(n int) {
		fmt.Println(n)
		if n >= end {
			waitForKill()
		}
	}
	return errors.Join(oras.Push(ctx, s, titled(title, data, file.AnnotationUnpack, unpack), src), s.Close())
}

// However often a process is killed, the next goes on: what moves again is no more
// than what was on its way to the disk.
func TestKilledGoesOn(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	const onTheWay = 3 << 20
	blob, docs := random(9_000_000, 1), append(packBig(t, "deep/docs"), random(0, 0)...)
	for name, big := range map[string]struct {
		desc oras.Descriptor
		data []byte
	}{"file": {titled("deep/file", blob), blob}, "directory": {titled("deep/docs", docs, file.AnnotationUnpack, "true"), docs}} {
		dir, from := t.TempDir(), filepath.Join(t.TempDir(), "content")
		if err := os.WriteFile(from, big.data, 0o644); err != nil {
			t.Fatal(err)
		}
		title := big.desc.Annotations["org.opencontainers.image.title"]
		kept := int64(0)
		for range 4 {
			end := 1 + r.Int64N((big.desc.Size-kept)/2)
			read := startChild(t, "pull", dir, from, title, fmt.Sprint(name == "directory"), fmt.Sprint(end)).killAt(t, end)
			var size int64
			for _, path := range hidden(t, dir) {
				info, err := os.Stat(filepath.Join(dir, path))
				if err == nil && strings.HasSuffix(path, ".part") {
					size = info.Size()
				}
			}
			if size < kept+read-onTheWay || size > kept+read+onTheWay {
				t.Errorf("%s: %d bytes are kept of %d and %d that were read", name, size, kept, read)
			}
			kept = size
		}
		s := newSource(big.data, -1)
		if err := fresh(t, dir, big.desc, s); err != nil || int64(s.n) != big.desc.Size-kept {
			t.Errorf("%s: %d bytes moved of %d, of which %d were there, %v", name, s.n, big.desc.Size, kept, err)
		}
		if names := hidden(t, dir); len(names) != 0 {
			t.Errorf("%s: left are %q", name, names)
		}
	}
}
