package layout_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gofrs/flock"

	"github.com/c73062ad/oras"
	"github.com/c73062ad/oras/layout"
)

// A process that is given this variable is not a test but a writer: it pushes
// and tags as many images as writerCount says, named after writerName, in the
// layout of that path, and says each tag when it is there.
const (
	writerDir   = "LAYOUT_TEST_WRITER_DIR"
	writerName  = "LAYOUT_TEST_WRITER_NAME"
	writerCount = "LAYOUT_TEST_WRITER_COUNT"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv(writerDir); dir != "" {
		if err := writer(dir, os.Getenv(writerName), os.Getenv(writerCount)); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

func writer(dir, name, count string) error {
	var n int
	if _, err := fmt.Sscan(count, &n); err != nil {
		return err
	}
	s, err := layout.Open(dir)
	if err != nil {
		return err
	}
	for i := range n {
		tag := fmt.Sprintf("%s-%d", name, i)
		if _, err := oras.PushBytes(context.Background(), s, "a/b", []byte("blob of "+tag)); err != nil {
			return err
		}
		desc, err := oras.PushBytes(context.Background(), s, oras.MediaTypeImageManifest, image(tag, nil))
		if err != nil {
			return err
		}
		if err := s.Tag(context.Background(), desc, tag); err != nil {
			return err
		}
		fmt.Println(tag)
	}
	return s.Close()
}

// startWriter starts a writer process. It is killed when the test ends.
func startWriter(t *testing.T, dir, name string, count int) (cmd *exec.Cmd, stdout io.Reader) {
	t.Helper()
	program, err := os.Executable()
	must(t, err)
	cmd = exec.CommandContext(t.Context(), program)
	cmd.Env = append(os.Environ(), writerDir+"="+dir, writerName+"="+name, fmt.Sprintf("%s=%d", writerCount, count))
	cmd.Stderr = os.Stderr
	stdout, err = cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	return cmd, stdout
}

// wantComplete checks that everything in the layout is what it is said to be,
// and that the tags are there and name the images of those names.
func wantComplete(t *testing.T, dir string, want []string) {
	t.Helper()
	s := openReadOnly(t, dir)
	must(t, s.WriteTar(t.Context(), io.Discard))
	for _, e := range listed(t, dir) {
		if e[0] == ' ' {
			continue // pushed, and not yet tagged
		}
		desc := resolve(t, s, strings.Fields(e)[0])
		if _, err := oras.ReadManifest(t.Context(), s, desc); err != nil {
			t.Error(err)
		}
	}
	for _, tag := range want {
		if got := resolve(t, s, tag).Digest; got != oras.SHA256.Digest(image(tag, nil)).OCI() {
			t.Errorf("%s is %s", tag, got)
		}
	}
}

func TestManyStores(t *testing.T) {
	const stores = 40
	dir := filepath.Join(t.TempDir(), "layout") // the first to come creates it
	start := make(chan struct{})
	var group sync.WaitGroup
	var want []string
	for i := range stores {
		tag := fmt.Sprintf("tag%02d", i)
		want = append(want, tag)
		group.Go(func() {
			<-start
			s, err := layout.Open(dir)
			if err != nil {
				t.Error(err)
				return
			}
			defer s.Close()
			if _, err := oras.PushBytes(t.Context(), s, oras.MediaTypeImageManifest, image(tag, nil)); err != nil {
				t.Error(err)
			}
			if err := s.Tag(t.Context(), oras.DescriptorOf(oras.MediaTypeImageManifest, image(tag, nil)), tag); err != nil {
				t.Error(err)
			}
			if _, err := s.Resolve(t.Context(), tag); err != nil {
				t.Error(err)
			}
		})
	}
	close(start)
	group.Wait()
	if got := tags(t, openReadOnly(t, dir)); !slices.Equal(got, want) {
		t.Errorf("tags are %q", got)
	}
	wantComplete(t, dir, want)
}

func TestManyProcesses(t *testing.T) {
	const processes, each = 6, 4
	dir := filepath.Join(t.TempDir(), "layout")
	var want []string
	var commands []*exec.Cmd
	for i := range processes {
		name := fmt.Sprint("process", i)
		cmd, stdout := startWriter(t, dir, name, each)
		go io.Copy(io.Discard, stdout)
		commands = append(commands, cmd)
		for j := range each {
			want = append(want, fmt.Sprintf("%s-%d", name, j))
		}
	}
	for _, cmd := range commands {
		must(t, cmd.Wait())
	}
	if got := tags(t, openReadOnly(t, dir)); !slices.Equal(got, want) {
		t.Errorf("tags are %q", got)
	}
	wantComplete(t, dir, want)
}

// A writer that is killed at any moment leaves a valid layout with all that it
// said was there.
func TestKill(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "layout")
	var said []string
	for round := range 8 {
		cmd, stdout := startWriter(t, dir, fmt.Sprint("round", round), 1<<20)
		lines := bufio.NewScanner(stdout)
		for range round%3 + 1 {
			if !lines.Scan() {
				t.Fatal("the writer ended by itself")
			}
			said = append(said, lines.Text())
		}
		must(t, cmd.Process.Kill())
		for lines.Scan() { // what it said while it was killed counts too
			said = append(said, lines.Text())
		}
		if err := cmd.Wait(); err == nil {
			t.Fatal("the writer ended by itself")
		}
		wantComplete(t, dir, said)
	}
	// Nor does it hold up who comes next.
	pushImage(t, open(t, dir), "next", "next")
}

// A store sees what others do to the layout, at once.
func TestOthers(t *testing.T) {
	dir := t.TempDir()
	s, other := open(t, dir), open(t, dir)
	one, two := pushImage(t, other, "one"), pushImage(t, other, "two")
	for i := range 50 {
		desc := one
		if i%2 > 0 {
			desc = two
		}
		must(t, other.Tag(t.Context(), desc, "moving")) // index.json keeps its size
		if got := resolve(t, s, "moving"); got.Digest != desc.Digest {
			t.Fatalf("after %d moves the tag is %v, want %v", i, got, desc)
		}
	}
	signature := push(t, other, oras.MediaTypeImageManifest, image("signature", &one))
	predecessors := func() (digests []string) {
		t.Helper()
		descs, err := s.Predecessors(t.Context(), one)
		must(t, err)
		for _, desc := range descs {
			digests = append(digests, desc.Digest.String())
		}
		slices.Sort(digests)
		return digests
	}
	if got := predecessors(); !slices.Equal(got, []string{signature.Digest.String()}) {
		t.Errorf("predecessors are %q, want %s", got, signature.Digest)
	}
	sbom := push(t, other, oras.MediaTypeImageManifest, image("sbom", &one))
	if got := predecessors(); len(got) != 2 {
		t.Errorf("predecessors are %q, want two", got)
	}
	must(t, other.Delete(t.Context(), signature))
	if got := predecessors(); !slices.Equal(got, []string{sbom.Digest.String()}) {
		t.Errorf("predecessors are %q, want %s", got, sbom.Digest)
	}
	// By a program that only forgets the entry, and writes in place.
	write(t, dir, "index.json", `{"schemaVersion":2,"manifests":[]}`)
	if got := predecessors(); len(got) != 0 {
		t.Errorf("predecessors are %q, want none", got)
	}
	if got := tags(t, s); len(got) != 0 {
		t.Errorf("tags are %q, want none", got)
	}
}

// A program that writes index.json in place may leave its size, time and identity
// as they were.
func TestOthersInPlace(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	pushImage(t, s, "one", "old")
	now := time.Now().Add(time.Hour) // whatever the clock does, the file is new
	touch := func() {
		must(t, os.Chtimes(filepath.Join(dir, "index.json"), now, now))
	}
	touch()
	for range 2 {
		if got := tags(t, s); !slices.Equal(got, []string{"old"}) {
			t.Errorf("tags are %q", got)
		}
	}
	write(t, dir, "index.json", strings.Replace(read(t, dir, "index.json"), "old", "new", 1))
	touch()
	if got := tags(t, s); !slices.Equal(got, []string{"new"}) {
		t.Errorf("tags are %q", got)
	}
}

// Who waits for the lock can give up, and gets it when it is free.
func TestLockWaits(t *testing.T) {
	dir := t.TempDir()
	s := open(t, dir)
	lock := flock.New(filepath.Join(dir, ".oras.lock"))
	must(t, lock.Lock())
	defer lock.Unlock()

	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	data := image("one", nil)
	err := s.Push(ctx, oras.DescriptorOf(oras.MediaTypeImageManifest, data), strings.NewReader(string(data)))
	fails(t, err, context.DeadlineExceeded)
	push(t, s, "a/b", []byte("blobs need no lock"))
	if got := tags(t, s); len(got) != 0 { // nor do readers
		t.Errorf("tags are %q", got)
	}

	done := make(chan error)
	go func() {
		_, err := oras.PushBytes(context.Background(), s, oras.MediaTypeImageManifest, data)
		done <- err
	}()
	must(t, lock.Unlock())
	must(t, <-done)
}

// The lock may be deleted, and the directory be replaced by another.
func TestLockReplaced(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "layout")
	s := open(t, dir)
	pushImage(t, s, "one", "v1")
	must(t, os.Remove(filepath.Join(dir, ".oras.lock")))
	pushImage(t, s, "two", "v2")

	must(t, os.Rename(dir, dir+"-moved"))
	open(t, dir)
	data := image("three", nil)
	err := s.Push(t.Context(), oras.DescriptorOf(oras.MediaTypeImageManifest, data), strings.NewReader(string(data)))
	if err == nil || !strings.Contains(err.Error(), "lock") {
		t.Errorf("Push while the lock is out of reach: %v", err)
	}
	wantComplete(t, dir+"-moved", []string{})
}

// Open clears away what dead writers left, and only that.
func TestStale(t *testing.T) {
	dir := t.TempDir()
	open(t, dir)
	old := time.Now().Add(-25 * time.Hour)
	for _, name := range []string{".oras-OLD.tmp", ".oras-NEW.tmp", ".oras-OLD", "OLD.tmp"} {
		write(t, dir, name, "half")
		if strings.Contains(name, "OLD") {
			must(t, os.Chtimes(filepath.Join(dir, name), old, old))
		}
	}
	openReadOnly(t, dir)
	if len(files(t, dir)) != 7 {
		t.Errorf("reading removed something: %q", files(t, dir))
	}
	open(t, dir)
	want := []string{".oras-NEW.tmp", ".oras-OLD", ".oras.lock", "OLD.tmp", "index.json", "oci-layout"}
	if got := files(t, dir); !slices.Equal(got, want) {
		t.Errorf("there is %q, want %q", got, want)
	}
}
