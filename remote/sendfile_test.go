package remote_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/c73062ad/oras"
	"github.com/c73062ad/oras/remote"
)

// fileOf returns a new file that has data, at its start.
func fileOf(t testing.TB, data []byte) *os.File {
	t.Helper()
	name := filepath.Join(t.TempDir(), "content")
	if err := os.WriteFile(name, data, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// What a connection takes from a file is what is behind the place where that is, to the
// end of what it is to be; and what is told of it is what moved.
func TestSendFile(t *testing.T) {
	t.Parallel()
	data, _ := content(t, 21<<20+5)
	const before = 1<<20 + 1
	desc := oras.DescriptorOf(oras.MediaTypeBlob, data[before:len(data)-100])
	repo := open(t, serve(t, inMemory()), remote.Options{})
	f := fileOf(t, data)
	if _, err := f.Seek(before, io.SeekStart); err != nil {
		t.Fatal(err)
	}
	var moved int64
	_, err := oras.Ingest(t.Context(), repo, desc.MediaType, f, &oras.IngestOptions{Expected: desc, Event: func(e oras.Event) {
		if e.Kind == oras.Progress {
			if e.Bytes < moved {
				t.Errorf("%d bytes after %d", e.Bytes, moved)
			}
			moved = e.Bytes
		}
	}})
	if err != nil || moved != desc.Size {
		t.Errorf("%v, %d bytes moved of %d", err, moved, desc.Size)
	}
	if err := check(t.Context(), repo, desc); err != nil {
		t.Error(err)
	}

	// Without Ingest in between, with what has arrived already.
	u, err := oras.OpenUpload(t.Context(), repo, "")
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range []io.Reader{bytes.NewReader(data[:100]), f} {
		if f, ok := part.(*os.File); ok {
			if _, err := f.Seek(100, io.SeekStart); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := u.Append(t.Context(), u.Size(), part); err != nil {
			t.Fatal(err)
		}
	}
	if err := u.Commit(t.Context(), oras.SHA256.Digest(data)); err != nil {
		t.Error(err)
	}
}

// A file that has become shorter is content that ends too early.
func TestSendFileShort(t *testing.T) {
	t.Parallel()
	data, desc := content(t, 24<<20)
	f := fileOf(t, data)
	repo := open(t, serve(t, before(inMemory(), func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodPost {
			if err := os.Truncate(f.Name(), 10<<20); err != nil {
				t.Error(err)
			}
		}
		return false
	})), remote.Options{})
	_, err := oras.Ingest(t.Context(), repo, desc.MediaType, f, &oras.IngestOptions{Expected: desc})
	if !errors.Is(err, oras.ErrInvalid) || !strings.Contains(err.Error(), "ended at byte 10485760") {
		t.Errorf("error %v", err)
	}
}

// A registry that answers before it has read all, and reads no more, is believed at once,
// though the system waits to send the rest of the file; and where it says that the chunk
// belongs elsewhere, that is where it goes, from its start.
func TestSendFileAnsweredEarly(t *testing.T) {
	t.Parallel()
	data, desc := content(t, 32<<20)
	for name, answer := range map[string]string{
		"refused":    "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n",
		"redirected": "HTTP/1.1 307 Temporary Redirect\r\nContent-Length: 0\r\nLocation: ?elsewhere\r\n\r\n",
		"taken":      "HTTP/1.1 202 Accepted\r\nContent-Length: 1000000\r\n\r\n" + strings.Repeat(" ", 1000000), // of which little is read
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			handler := inMemory()
			var early atomic.Int64
			host := rawServe(t, func(c net.Conn, r *http.Request) bool {
				if r.Method != http.MethodPatch || r.URL.RawQuery == "elsewhere" {
					return false
				}
				early.Add(1)
				io.WriteString(c, answer)
				return true
			}, handler)
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			repo := open(t, host, remote.Options{IdleTimeout: time.Hour})
			_, err := oras.Ingest(ctx, repo, desc.MediaType, fileOf(t, data), &oras.IngestOptions{Expected: desc})
			switch {
			case early.Load() == 0:
				t.Fatal("nothing was answered early")
			case ctx.Err() != nil:
				t.Errorf("it waits: %v", err)
			case name == "refused" && !errors.Is(err, oras.ErrDenied):
				t.Errorf("error %v", err)
			case name == "taken" && !errors.Is(err, oras.ErrInvalid): // it was not, as the end shows
				t.Errorf("error %v", err)
			case name == "redirected" && err != nil:
				t.Error(err)
			case name == "redirected":
				if err := check(ctx, repo, desc); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

// rawServe serves handler, but for requests that answer deals with when their header was
// read: from such a connection nothing more is read, and it stays open.
func rawServe(t *testing.T, answer func(net.Conn, *http.Request) bool, handler http.Handler) string {
	t.Helper()
	upstream := serve(t, handler)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			t.Cleanup(func() { c.Close() })
			go func() {
				r := bufio.NewReader(c)
				for {
					req, err := http.ReadRequest(r)
					if err != nil || answer(c, req) {
						return
					}
					req.URL.Scheme, req.URL.Host, req.RequestURI = "http", upstream, ""
					resp, err := http.DefaultTransport.RoundTrip(req)
					if err != nil {
						c.Close()
						return
					}
					if location := resp.Header.Get("Location"); location != "" {
						resp.Header.Set("Location", strings.Replace(location, upstream, l.Addr().String(), 1))
					}
					resp.Write(c)
					resp.Body.Close()
				}
			}()
		}
	}()
	return fmt.Sprint(l.Addr())
}
