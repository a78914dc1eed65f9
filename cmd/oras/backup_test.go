package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/c73062ad/oras"
	"github.com/c73062ad/oras/layout"
	"github.com/c73062ad/oras/memory"
	"github.com/c73062ad/oras/server"
)

// A slowRegistry is a registry with the image r:v1 of two layers. While it stalls,
// it begins to send or to take the second one, and goes no further.
type slowRegistry struct {
	host   string
	store  oras.Store
	layers []oras.Descriptor
	stalls atomic.Bool
	begun  chan struct{} // gets a value when it stalls
}

func newSlowRegistry(t *testing.T) *slowRegistry {
	t.Helper()
	reg := memory.NewRegistry()
	s := &slowRegistry{begun: make(chan struct{}, 10)}
	s.store = fillSlow(t, s, reg)
	next := server.New(reg, nil)
	done := make(chan struct{})
	large := s.layers[1]
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		download := r.Method == http.MethodGet && strings.HasSuffix(r.URL.Path, string(large.Digest))
		upload := r.Method != http.MethodGet && r.ContentLength >= large.Size
		if !s.stalls.Load() || !download && !upload {
			next.ServeHTTP(w, r)
			return
		}
		if download {
			w.Header().Set("Content-Length", fmt.Sprint(large.Size))
			w.Write(make([]byte, large.Size/2))
			w.(http.Flusher).Flush()
		}
		s.begun <- struct{}{}
		select {
		case <-r.Context().Done():
		case <-done:
		}
		panic(http.ErrAbortHandler)
	}))
	t.Cleanup(func() { close(done); front.Close() })
	_, port, _ := strings.Cut(strings.TrimPrefix(front.URL, "http://"), ":")
	s.host = "localhost:" + port
	return s
}

func fillSlow(t *testing.T, s *slowRegistry, reg oras.Registry) oras.Store {
	t.Helper()
	store, err := reg.Repository(t.Context(), "r")
	if err != nil {
		t.Fatal(err)
	}
	for _, content := range [][]byte{[]byte("{}"), bytes.Repeat([]byte("large"), 200_000)} {
		desc, err := oras.PushBytes(t.Context(), store, oras.MediaTypeLayer, content)
		if err != nil {
			t.Fatal(err)
		}
		s.layers = append(s.layers, desc)
	}
	desc, err := oras.Pack(t.Context(), store, &oras.PackOptions{ArtifactType: "test/slow", Layers: s.layers})
	if err := errors.Join(err, store.Tag(t.Context(), desc, "v1")); err != nil {
		t.Fatal(err)
	}
	return store
}

// start starts "oras" with the given arguments, and returns when the registry has
// stalled.
func (s *slowRegistry) start(t *testing.T, args ...string) (cmd *exec.Cmd, stderr *bytes.Buffer) {
	t.Helper()
	path, err := exec.LookPath("oras") // this test's own, see TestMain
	if err != nil {
		t.Fatal(err)
	}
	s.stalls.Store(true)
	cmd, stderr = exec.Command(path, args...), new(bytes.Buffer)
	cmd.Stderr = stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	watchdog := time.AfterFunc(time.Minute, func() { cmd.Process.Kill() })
	t.Cleanup(func() {
		watchdog.Stop()
		cmd.Process.Kill()
	})
	begun := make(chan struct{}, 1)
	go func() { // wait for the other layer, too
		lines := bufio.NewScanner(stdout)
		for lines.Scan() {
			if line := lines.Text(); strings.HasPrefix(line, "Pulled ") || strings.HasPrefix(line, "Pushed ") {
				begun <- struct{}{}
				break
			}
		}
		io.Copy(io.Discard, stdout)
	}()
	for range 2 {
		select {
		case <-begun:
		case <-s.begun:
		case <-time.After(30 * time.Second):
			t.Fatalf("it did not come so far: %s", stderr)
		}
	}
	return cmd, stderr
}

// oras runs one command line in this process.
func (s *slowRegistry) oras(t *testing.T, args ...string) string {
	t.Helper()
	s.stalls.Store(false)
	var out, errs bytes.Buffer
	if status := run(t.Context(), args, console{nil, &out, &errs}); status != 0 {
		t.Fatalf("%q: %s", args, &errs)
	}
	return out.String()
}

// wantWhole checks that the layout at path has all of r:v1.
func wantWhole(t *testing.T, path string) {
	t.Helper()
	src, err := layout.OpenReadOnly(path)
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	if _, err := oras.Copy(t.Context(), src, "v1", memory.New(), nil); err != nil { // which verifies
		t.Error(err)
	}
}

// wantNames checks what is in dir.
func wantNames(t *testing.T, dir string, want ...string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range entries {
		got = append(got, e.Name())
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%s has %q, want %q", dir, got, want)
	}
}

// TestBackupKilled: whenever a backup is killed, a directory is a layout, without a
// tag of what is not whole, and goes on from there the next time; an archive is the
// old one or none.
func TestBackupKilled(t *testing.T) {
	t.Setenv("DOCKER_CONFIG", t.TempDir())
	s := newSlowRegistry(t)
	out := filepath.Join(t.TempDir(), "backup")
	cmd, _ := s.start(t, "backup", "-o", out, s.host+"/r:v1")
	cmd.Process.Kill()
	cmd.Wait()
	killed, err := layout.OpenReadOnly(out)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := killed.Resolve(t.Context(), "v1"); !errors.Is(err, oras.ErrNotFound) {
		t.Errorf("v1: %v", err)
	}
	killed.Close()
	if told := s.oras(t, "backup", "-o", out, s.host+"/r:v1"); !strings.Contains(told, "\nExists  44136fa355b3 ") {
		t.Errorf("it pulls again what it has:\n%s", told)
	}
	wantWhole(t, out)

	out = filepath.Join(t.TempDir(), "backup.tar")
	for _, old := range []bool{false, true} {
		cmd, _ := s.start(t, "backup", "-o", out, s.host+"/r:v1")
		cmd.Process.Kill()
		cmd.Wait()
		if _, err := os.Stat(out); (err == nil) != old {
			t.Errorf("there is an archive: %v", err)
		}
		if old {
			wantWhole(t, out)
		}
		s.oras(t, "backup", "-o", out, s.host+"/r:v1")
		wantWhole(t, out)
	}
}

// interrupted interrupts cmd and checks how it ends: last, behind the error, comes hint.
func interrupted(t *testing.T, cmd *exec.Cmd, stderr *bytes.Buffer, hint string) {
	t.Helper()
	start := time.Now()
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	cmd.Wait()
	if took := time.Since(start); took > 5*time.Second {
		t.Errorf("it ended after %v", took)
	}
	if text := stderr.String(); cmd.ProcessState.ExitCode() != 1 || !strings.HasPrefix(text, "Error: ") || !strings.HasSuffix(text, "interrupt signal received\n"+hint) || strings.Count(text, "\n") != 1+strings.Count(hint, "\n") {
		t.Errorf("status %d, %q", cmd.ProcessState.ExitCode(), text)
	}
}

// wait waits for the part of a blob that pattern is about to be worth keeping.
func wait(t *testing.T, pattern string) {
	t.Helper()
	for begin := time.Now(); time.Since(begin) < 30*time.Second; {
		for _, name := range glob(t, pattern) {
			if info, err := os.Stat(name); err == nil && info.Size() >= 64<<10 {
				return
			}
		}
	}
	t.Fatalf("there is no %s", pattern)
}

// glob returns the names of the files that pattern is about.
func glob(t *testing.T, pattern string) []string {
	t.Helper()
	names, err := filepath.Glob(pattern)
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// one returns the name of the one file that pattern is about.
func one(t *testing.T, pattern string) string {
	t.Helper()
	names := glob(t, pattern)
	if len(names) != 1 {
		t.Fatalf("%s: there are %q", pattern, names)
	}
	return names[0]
}

// TestBackupInterrupted: a backup that is interrupted ends at once and leaves nothing
// half-written: a directory is a layout, of an archive there is nothing. What has come
// is kept out of the way for the next, which leaves none of it.
func TestBackupInterrupted(t *testing.T) {
	s := newSlowRegistry(t)
	dir := t.TempDir()
	archive := filepath.Join(dir, "backup.tar")
	cmd, stderr := s.start(t, "backup", "-o", archive, s.host+"/r")
	wait(t, filepath.Join(dir, ".oras-backup-*", ".oras-*.part"))
	interrupted(t, cmd, stderr, resumesInContent+"\n")
	wantNames(t, dir, filepath.Base(one(t, filepath.Join(dir, ".oras-backup-*"))))
	s.oras(t, "backup", "-o", archive, s.host+"/r")
	wantNames(t, dir, "backup.tar")

	out := filepath.Join(dir, "backup")
	cmd, stderr = s.start(t, "backup", "-o", out, s.host+"/r")
	wait(t, filepath.Join(out, ".oras-*.part"))
	interrupted(t, cmd, stderr, resumesInContent+"\n")
	wantNames(t, out, filepath.Base(one(t, filepath.Join(out, ".oras-*.part"))), ".oras.lock", "blobs", "index.json", "oci-layout")
	wantNames(t, filepath.Join(out, "blobs", "sha256"), s.layers[0].Digest.Encoded())
	s.oras(t, "backup", "-o", out, s.host+"/r")
	wantNames(t, out, ".oras.lock", "blobs", "index.json", "oci-layout")
}

// A trigger is standard output that calls do once, when it is told text.
type trigger struct {
	text string
	do   func()
	once sync.Once
}

func (w *trigger) Write(p []byte) (int, error) {
	if strings.Contains(string(p), w.text) {
		w.once.Do(w.do)
	}
	return len(p), nil
}

// TestExportInterrupted: a backup that is interrupted when it makes the archive leaves
// the one that was there as it was, and what it has for the next, which removes that.
func TestExportInterrupted(t *testing.T) {
	t.Setenv("DOCKER_CONFIG", t.TempDir())
	s := newSlowRegistry(t)
	dir := t.TempDir()
	out := filepath.Join(dir, "backup.tar")
	if err := os.WriteFile(out, []byte("old"), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	stdout := &trigger{text: "Exporting", do: func() { cancel(errors.New("the interrupt")) }}
	var errs bytes.Buffer
	status := run(ctx, []string{"backup", "-o", out, s.host + "/r"}, console{nil, stdout, &errs})
	if status != 1 || errs.String() != "Error: the interrupt\n"+resumesBehind+"\n" {
		t.Errorf("status %d, %q", status, &errs)
	}
	wantNames(t, dir, filepath.Base(one(t, filepath.Join(dir, ".oras-backup-*"))), "backup.tar")
	if data, err := os.ReadFile(out); err != nil || string(data) != "old" {
		t.Errorf("the archive that was there is %q, %v", data, err)
	}
	s.oras(t, "backup", "-o", out, s.host+"/r")
	wantNames(t, dir, "backup.tar")
}

// TestRestoreInterrupted: a restore that is interrupted ends at once, and the
// registry has no tag of what is not whole.
func TestRestoreInterrupted(t *testing.T) {
	t.Setenv("DOCKER_CONFIG", t.TempDir())
	s := newSlowRegistry(t)
	in := filepath.Join(t.TempDir(), "backup.tar")
	s.oras(t, "backup", "-o", in, s.host+"/r:v1")
	cmd, stderr := s.start(t, "restore", "--input", in, s.host+"/restored")
	interrupted(t, cmd, stderr, "")
	s.stalls.Store(false)
	for _, status := range []int{1, 0} {
		if got := run(t.Context(), []string{"resolve", s.host + "/restored:v1"}, console{nil, io.Discard, io.Discard}); got != status {
			t.Errorf("resolving it: status %d, want %d", got, status)
		}
		s.oras(t, "restore", "--input", in, s.host+"/restored")
	}
}

func TestByteSize(t *testing.T) {
	for n, want := range map[int64]string{
		0: "0 B", 1: "1 B", 1023: "1023 B", 1024: "1 KB", 8704: "8.5 KB", 1234567: "1.18 MB", 10 << 20: "10 MB",
		12345678: "11.8 MB", 987654321: "942 MB", 1 << 40: "1 TB", 1<<63 - 1: "8 EB",
	} {
		if got := byteSize(n); got != want {
			t.Errorf("%d bytes are %q, want %q", n, got, want)
		}
	}
}

// killBackup kills a backup to an archive in dir in the middle, and returns the archive
// that it was to be and the directory that is left.
func killBackup(t *testing.T, s *slowRegistry, dir string) (archive, left string) {
	t.Helper()
	archive = filepath.Join(dir, "backup.tar")
	cmd, _ := s.start(t, "backup", "-o", archive, s.host+"/r")
	cmd.Process.Kill()
	cmd.Wait()
	return archive, one(t, filepath.Join(dir, ".oras-backup-*"))
}

// TestBackupBeside: directories beside an archive that only have a name like those in
// which archives come to be are somebody's own, however old they are; what a killed run
// left long ago is removed.
func TestBackupBeside(t *testing.T) {
	s := newSlowRegistry(t)
	dir := t.TempDir()
	_, left := killBackup(t, s, dir)
	old := time.Now().Add(-8 * 24 * time.Hour)
	const like = ".oras-backup-0123456789abcdef0123456789abcdef"
	for _, name := range []string{".oras-backup-prod", like} {
		if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name, "mine"), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, path := range append([]string{left}, filepath.Join(dir, ".oras-backup-prod"), filepath.Join(dir, like)) {
		if err := os.Chtimes(path, old, old); err != nil {
			t.Fatal(err)
		}
	}
	s.oras(t, "backup", "-o", filepath.Join(dir, "other.tar"), s.host+"/r:v1")
	wantNames(t, dir, like, ".oras-backup-prod", "other.tar")
}

// TestBackupElsewhere: a link in the place of the directory in which an archive comes to
// be, or a directory that others can enter, is not used.
func TestBackupElsewhere(t *testing.T) {
	s := newSlowRegistry(t)
	dir, elsewhere := t.TempDir(), t.TempDir()
	archive, left := killBackup(t, s, dir)
	if err := errors.Join(os.RemoveAll(left), os.Symlink(elsewhere, left)); err != nil {
		t.Fatal(err)
	}
	s.oras(t, "backup", "-o", archive, s.host+"/r")
	wantWhole(t, archive)
	wantNames(t, elsewhere)
	if err := errors.Join(os.Remove(left), os.Mkdir(left, 0o700), os.Chmod(left, 0o777)); err != nil {
		t.Fatal(err)
	}
	s.oras(t, "backup", "-o", archive, s.host+"/r")
	wantNames(t, left)
}
