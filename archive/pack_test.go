package archive

import (
	"archive/tar"
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// The bytes of an archive are a promise: digests that were published depend on it.
func TestPackBytes(t *testing.T) {
	needUnix(t)
	dir := t.TempDir()
	write(t, dir, map[string]string{
		"b/x": "x", "b.txt": "b", "a": "a", "link": "->a", "empty/": "",
		"ünï": "pax", strings.Repeat("n", 120): "pax too",
	})
	if err := os.Link(filepath.Join(dir, "a"), filepath.Join(dir, "z")); err != nil {
		t.Fatal(err)
	}
	data := pack(t, dir, &PackOptions{Prefix: "docs"})
	var got strings.Builder
	r := tar.NewReader(bytes.NewReader(data))
	for {
		h, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&got, "%c %s %o %d %d %d %q %q %s %s\n", h.Typeflag, h.Name, h.Mode, h.Size, h.Uid, h.Gid, h.Uname, h.Linkname, h.ModTime.UTC().Format(time.DateTime), h.Format)
	}
	equal(t, got.String(), `5 docs/ 755 0 0 0 "" "" 1970-01-01 00:00:00 USTAR
0 docs/a 644 1 0 0 "" "" 1970-01-01 00:00:00 USTAR
5 docs/b/ 755 0 0 0 "" "" 1970-01-01 00:00:00 USTAR
0 docs/b/x 644 1 0 0 "" "" 1970-01-01 00:00:00 USTAR
0 docs/b.txt 644 1 0 0 "" "" 1970-01-01 00:00:00 USTAR
5 docs/empty/ 755 0 0 0 "" "" 1970-01-01 00:00:00 USTAR
2 docs/link 777 0 0 0 "" "a" 1970-01-01 00:00:00 USTAR
0 docs/`+strings.Repeat("n", 120)+` 644 7 0 0 "" "" 1970-01-01 00:00:00 PAX
1 docs/z 644 0 0 0 "" "docs/a" 1970-01-01 00:00:00 USTAR
0 docs/ünï 644 3 0 0 "" "" 1970-01-01 00:00:00 PAX
`)
	const want = "6c4713b69ff5577bf097144ea7fa999d9145c90d14d26bd113a899df6d5012ea"
	if got := fmt.Sprintf("%x", sha256.Sum256(data)); got != want {
		t.Errorf("digest %s, want %s", got, want)
	}
}

func TestPackIgnores(t *testing.T) {
	needUnix(t)
	first, second := t.TempDir(), t.TempDir()
	for _, dir := range []string{first, second} {
		write(t, dir, map[string]string{"a": "a", "d/b": "b"})
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chtimes(filepath.Join(second, "a"), epoch, epoch); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(second, "a"), 0o644|os.ModeSetuid|os.ModeSticky); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(second, "d"), 0o755|os.ModeSetgid); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(second, filepath.Join(first, "..", "by-link")); err != nil {
		t.Fatal(err)
	}
	want := pack(t, first, nil)
	for _, dir := range []string{second, filepath.Join(first, "..", "by-link")} {
		if !bytes.Equal(pack(t, dir, nil), want) {
			t.Errorf("%s packs to other bytes", dir)
		}
	}
	if bytes.Equal(pack(t, first, &PackOptions{ModTime: epoch}), want) {
		t.Error("ModTime makes no difference")
	}
	if !bytes.Equal(pack(t, first, &PackOptions{ModTime: epoch.Add(time.Millisecond)}), pack(t, first, &PackOptions{ModTime: epoch.In(time.UTC)})) {
		t.Error("ModTime is not taken in seconds")
	}
}

func TestPackErrors(t *testing.T) {
	needUnix(t)
	dir := t.TempDir()
	write(t, dir, map[string]string{"file": "x"})
	for _, missing := range []string{filepath.Join(dir, "missing"), filepath.Join(dir, "file")} {
		if err := Pack(t.Context(), io.Discard, missing, nil); err == nil || !strings.Contains(err.Error(), missing) {
			t.Errorf("%s: error %v", missing, err)
		}
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	stop := errors.New("stop")
	cancel(stop)
	wantErr(t, Pack(ctx, io.Discard, dir, nil), stop, "")

	full := errors.New("disk full")
	wantErr(t, Pack(t.Context(), failingWriter{full}, dir, nil), full, "")

	// Names of sockets must be short.
	t.Chdir(dir)
	l, err := net.Listen("unix", "socket")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	err = Pack(t.Context(), io.Discard, dir, nil)
	if err == nil || !strings.Contains(err.Error(), filepath.Join(dir, "socket")) {
		t.Errorf("socket: error %v", err)
	}
}

type failingWriter struct{ err error }

func (w failingWriter) Write([]byte) (int, error) { return 0, w.err }

func TestPackFileThatChanges(t *testing.T) {
	for name, size := range map[string]int64{"shrinks": 1, "grows": 2 << 20} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			p := filepath.Join(dir, "file")
			if err := os.WriteFile(p, make([]byte, 1<<20), 0o644); err != nil {
				t.Fatal(err)
			}
			// The second block is the file's header, made after its size was taken.
			n := 0
			err := Pack(t.Context(), writerFunc(func(b []byte) (int, error) {
				if n += len(b); n == 1024 {
					if err := os.Truncate(p, size); err != nil {
						return 0, err
					}
				}
				return len(b), nil
			}), dir, nil)
			wantErr(t, err, errChanged, p)
		})
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }
