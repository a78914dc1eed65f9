package server_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/c73062ad/oras"
	"github.com/c73062ad/oras/memory"
	"github.com/c73062ad/oras/server"
)

// TestGather: a small answer comes in one piece by HTTP, which on loopback is one read,
// and each of several on one connection is whole, whatever comes between.
func TestGather(t *testing.T) {
	for _, scheme := range []string{"http", "https"} {
		t.Run(scheme, func(t *testing.T) {
			s := listen(t, server.New(memory.NewRegistry(), &server.Options{ErrorLog: strict(t)}))
			start, dial := s.Start, net.Dial
			if scheme == "https" {
				start = s.StartTLS
				dial = func(network, addr string) (net.Conn, error) {
					return tls.Dial(network, addr, s.Client().Transport.(*http.Transport).TLSClientConfig)
				}
			}
			start()
			f := &front{t: t, url: s.URL, http: s.Client()}
			small, large := random(12_000), random(1<<20)
			smallDigest, largeDigest := f.pushBlob("team/hello", small), f.pushBlob("team/hello", large)
			c, err := dial("tcp", s.Listener.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			pieces := &pieces{Reader: c}
			r := bufio.NewReaderSize(pieces, 64<<10)
			ask := func(method, path, header, body string) ([]byte, int) {
				t.Helper()
				pieces.n = 0
				fmt.Fprintf(c, "%s /v2/team/hello/%s HTTP/1.1\r\nHost: x\r\n%s\r\n%s", method, path, header, body)
				resp, err := http.ReadResponse(r, &http.Request{Method: method})
				if err != nil {
					t.Fatal(err)
				}
				data, err := io.ReadAll(resp.Body)
				if err != nil {
					t.Fatal(err)
				}
				return data, resp.StatusCode
			}
			for range 3 {
				if data, status := ask("GET", "blobs/"+smallDigest, "", ""); status != 200 || !bytes.Equal(data, small) {
					t.Errorf("small: status %d, %d bytes", status, len(data))
				}
				if scheme == "http" && pieces.n != 1 {
					t.Errorf("it came in %d pieces", pieces.n)
				}
				if data, status := ask("GET", "blobs/"+largeDigest, "", ""); status != 200 || !bytes.Equal(data, large) {
					t.Errorf("large: status %d, %d bytes", status, len(data))
				}
				if data, status := ask("HEAD", "blobs/"+smallDigest, "", ""); status != 200 || len(data) != 0 {
					t.Errorf("HEAD: status %d, %d bytes", status, len(data))
				}
				if data, status := ask("GET", "blobs/"+smallDigest, "Range: bytes=1-2,5-6\r\n", ""); status != 206 || !bytes.Contains(data, small[5:7]) {
					t.Errorf("ranges: status %d, %d bytes", status, len(data))
				}
				if data, status := ask("GET", "manifests/v1", "", ""); status != 404 || !strings.Contains(string(data), "MANIFEST_UNKNOWN") {
					t.Errorf("nothing: status %d: %s", status, data)
				}
				// 100 Continue must not wait for the answer behind it.
				if _, status := ask("POST", "blobs/uploads/?digest="+smallDigest, fmt.Sprintf("Expect: 100-continue\r\nContent-Length: %d\r\n", len(small)), ""); status != 100 {
					t.Fatalf("POST: status %d", status)
				}
				c.Write(small)
				if resp, err := http.ReadResponse(r, nil); err != nil || resp.StatusCode != 201 {
					t.Fatal(resp, err)
				}
			}
		})
	}
}

// TestGatherBroken: an answer that could not be sent whole, or was broken off, is the
// last on its connection, and what there is of it arrives.
func TestGatherBroken(t *testing.T) {
	t.Run("slow client", func(t *testing.T) {
		closed := make(chan bool, 10)
		s := listen(t, server.New(memory.NewRegistry(), &server.Options{IdleTimeout: 100 * time.Millisecond}))
		s.Config.ConnState = func(c net.Conn, state http.ConnState) {
			if state == http.StateClosed {
				closed <- true
			}
		}
		s.Start()
		f := &front{t: t, url: s.URL, http: s.Client()}
		data := random(32 << 10)
		digest := f.pushBlob("team/hello", data)
		c, err := net.Dial("tcp", s.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		const requests = 1000 // more than all buffers hold the answers of
		go func() {
			for range requests {
				if _, err := fmt.Fprintf(c, "GET /v2/team/hello/blobs/%s HTTP/1.1\r\nHost: x\r\n\r\n", digest); err != nil {
					return
				}
			}
		}()
		r, whole := bufio.NewReader(c), 0
		read := func() bool {
			resp, err := http.ReadResponse(r, nil)
			if err != nil {
				return false
			}
			got, err := io.ReadAll(resp.Body)
			if err != nil {
				return false
			}
			if !bytes.Equal(got, data) {
				t.Fatalf("answer %d has other bytes", whole)
			}
			whole++
			return true
		}
		read()
		select { // nothing is read
		case <-closed:
		case <-time.After(10 * time.Second):
			t.Error("the connection is not closed")
		}
		for read() {
		}
		if whole == 0 || whole == requests {
			t.Errorf("%d answers were whole", whole)
		}
	})
	t.Run("panic", func(t *testing.T) {
		reg := wrapped{memory.NewRegistry(), func(s oras.Store) oras.Store { return panicking{s} }}
		h := server.New(reg, &server.Options{ErrorLog: slog.New(slog.DiscardHandler)})
		s := listen(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			defer func() { recover() }()
			h.ServeHTTP(w, r)
		}))
		s.Start()
		f := &front{t: t, url: s.URL, http: s.Client()}
		digest := f.pushBlob("team/hello", random(9000))
		c, err := net.Dial("tcp", s.Listener.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		fmt.Fprintf(c, "GET /v2/team/hello/blobs/%s HTTP/1.1\r\nHost: x\r\n\r\n", digest)
		c.SetReadDeadline(time.Now().Add(10 * time.Second))
		if got, err := io.ReadAll(c); err != nil || !strings.HasPrefix(string(got), "HTTP/1.1 200 OK\r\n") {
			t.Errorf("got %q, %v", got, err)
		}
	})
}

// A panicking store has blobs that cannot be read, so that an answer that has begun is
// broken off with a panic.
type panicking struct{ oras.Store }

func (panicking) Fetch(context.Context, oras.Descriptor) (io.ReadCloser, error) {
	return struct {
		io.ReadSeeker
		io.Closer
	}{struct {
		io.Reader
		io.Seeker
	}{iotest.ErrReader(errors.New("disk")), bytes.NewReader(make([]byte, 9000))}, io.NopCloser(nil)}, nil
}

// pieces counts how often there was something to read.
type pieces struct {
	io.Reader
	n int
}

func (p *pieces) Read(b []byte) (int, error) {
	n, err := p.Reader.Read(b)
	p.n++
	return n, err
}
