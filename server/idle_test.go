package server_test

import (
	"bufio"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/c73062ad/oras"
	"github.com/c73062ad/oras/memory"
	"github.com/c73062ad/oras/server"
)

// A listener hands the server one end of a pipe: time then need not pass.
type listener struct {
	conns chan net.Conn
	done  chan struct{}
}

func (l *listener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

func (l *listener) Close() error   { close(l.done); return nil }
func (l *listener) Addr() net.Addr { return &net.UnixAddr{} }

// piped serves reg in a bubble of time and returns what opens a connection.
func piped(t *testing.T, reg oras.Registry, opts *server.Options) func() net.Conn {
	l := &listener{conns: make(chan net.Conn), done: make(chan struct{})}
	s := server.NewHTTPServer("", server.New(reg, opts))
	go s.Serve(l)
	t.Cleanup(func() { s.Close() })
	return func() net.Conn {
		client, end := net.Pipe()
		l.conns <- end
		t.Cleanup(func() { client.Close() })
		return client
	}
}

// TestIdle: a body that stands still is cut off, one that moves is not, however
// slowly.
func TestIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reg := memory.NewRegistry()
		dial := piped(t, reg, &server.Options{IdleTimeout: time.Minute, ErrorLog: strict(t)})
		data := random(80)
		digest := oras.SHA256.Digest(data).String()
		post := fmt.Sprintf("POST /v2/team/hello/blobs/uploads/?digest=%s HTTP/1.1\r\nHost: x\r\nContent-Length: 80\r\n\r\n", digest)

		c, start := dial(), time.Now()
		io.WriteString(c, post+"abc")
		resp, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil || resp.StatusCode != 408 || !resp.Close {
			t.Errorf("a body that stands still: %v, %v", resp, err)
		}
		if d := time.Since(start); d < 50*time.Second || d > 70*time.Second {
			t.Errorf("it was cut off after %v", d)
		}

		c, start = dial(), time.Now()
		io.WriteString(c, post)
		for _, b := range data { // for an hour
			time.Sleep(45 * time.Second)
			c.Write([]byte{b})
		}
		r := bufio.NewReader(c)
		if resp, err = http.ReadResponse(r, nil); err != nil || resp.StatusCode != 201 {
			t.Fatalf("a slow body: %v, %v", resp, err)
		}
		if d := time.Since(start); d < time.Hour {
			t.Errorf("it took %v", d)
		}
		// The connection goes on, without a deadline from the last request.
		time.Sleep(90 * time.Second)
		io.WriteString(c, "GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n")
		if resp, err = http.ReadResponse(r, nil); err != nil || resp.StatusCode != 200 {
			t.Fatalf("the next request: %v, %v", resp, err)
		}
	})
}

// TestIdleDownload: the same for who reads.
func TestIdleDownload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reg := memory.NewRegistry()
		data := random(8 << 20)
		store, err := reg.Repository(t.Context(), "team/hello")
		if err != nil {
			t.Fatal(err)
		}
		desc, err := oras.PushBytes(t.Context(), store, oras.MediaTypeBlob, data)
		if err != nil {
			t.Fatal(err)
		}
		get := "GET /v2/team/hello/blobs/" + desc.Digest.String() + " HTTP/1.1\r\nHost: x\r\n\r\n"
		dial := piped(t, reg, &server.Options{IdleTimeout: time.Minute, ErrorLog: strict(t)})

		c := dial()
		io.WriteString(c, get)
		r := bufio.NewReader(c)
		resp, err := http.ReadResponse(r, nil)
		if err != nil || resp.StatusCode != 200 {
			t.Fatal(resp, err)
		}
		time.Sleep(2 * time.Minute)
		if n, err := io.Copy(io.Discard, resp.Body); err == nil {
			t.Errorf("%d bytes came after standing still", n)
		}

		c = dial()
		io.WriteString(c, get)
		resp, err = http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil || resp.StatusCode != 200 {
			t.Fatal(resp, err)
		}
		start := time.Now()
		for n := 0; n < len(data); n += 64 << 10 {
			time.Sleep(10 * time.Second) // a piece of an answer in 40 s
			if _, err := io.CopyN(io.Discard, resp.Body, 64<<10); err != nil {
				t.Fatalf("after %v: %v", time.Since(start), err)
			}
		}
	})
}

// TestSlowHeader: half a request is not waited for.
func TestSlowHeader(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := piped(t, memory.NewRegistry(), nil)()
		start := time.Now()
		io.WriteString(c, "GET /v2/ HTTP/1.1\r\nHost: ")
		if _, err := io.ReadAll(c); err != nil {
			t.Error(err)
		}
		if d := time.Since(start); d > time.Minute {
			t.Errorf("it was cut off after %v", d)
		}
	})
}

// TestUploadExpiry: uploads that are left alone go, with their bytes.
func TestUploadExpiry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		temp := t.TempDir()
		dial := piped(t, memory.NewRegistry(), &server.Options{TempDir: temp, UploadExpiry: time.Hour, MaxUploads: 3, ErrorLog: slog.New(slog.DiscardHandler)})
		c := dial()
		r := bufio.NewReader(c)
		do := func(method, path, body string) *http.Response {
			fmt.Fprintf(c, "%s %s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s", method, path, len(body), body)
			resp, err := http.ReadResponse(r, nil)
			if err != nil {
				t.Fatal(err)
			}
			io.Copy(io.Discard, resp.Body)
			return resp
		}
		begin := func() string { return do("POST", "/v2/team/hello/blobs/uploads/", "").Header.Get("Location") }

		first := begin()
		for range 5 {
			if resp := do("PATCH", first, "abc"); resp.StatusCode != 202 {
				t.Fatalf("PATCH: status %d", resp.StatusCode)
			}
			time.Sleep(40 * time.Minute)
			c.Close()
			c = dial()
			r = bufio.NewReader(c)
		}
		if resp := do("GET", first, ""); resp.Header.Get("Range") != "0-14" {
			t.Errorf("Range %q", resp.Header.Get("Range"))
		}
		time.Sleep(2 * time.Hour)
		c = dial()
		r = bufio.NewReader(c)
		if resp := do("GET", first, ""); resp.StatusCode != 404 {
			t.Errorf("after two hours: status %d", resp.StatusCode)
		}
		if left, _ := os.ReadDir(temp); len(left) != 0 {
			t.Errorf("%d temporary files are left", len(left))
		}

		// Of more than there may be, the one that was left alone longest goes.
		locations := []string{begin(), begin(), begin()}
		time.Sleep(time.Second)
		for _, i := range []int{0, 2} {
			do("PATCH", locations[i], "abc")
			time.Sleep(time.Second)
		}
		begin()
		for i, want := range []int{204, 404, 204} {
			if resp := do("GET", locations[i], ""); resp.StatusCode != want {
				t.Errorf("upload %d: status %d", i, resp.StatusCode)
			}
		}
	})
}

// TestUploadBusy: uploads that are being worked on do not go for others.
func TestUploadBusy(t *testing.T) {
	f := serve(t, memory.NewRegistry(), &server.Options{MaxUploads: 1, TempDir: t.TempDir(), ErrorLog: strict(t)})
	location := f.begin("team/hello")
	body, send := io.Pipe()
	answers := make(chan *answer)
	go func() { answers <- f.do("PATCH", location, body) }()
	send.Write([]byte("abc")) // is read once the server works on it, or soon after
	for {
		a := f.do("POST", "/v2/team/hello/blobs/uploads/", nil)
		if a.StatusCode == 429 {
			a.header(t, "Retry-After", "1")
			break
		}
		// The server had not yet looked at the PATCH, and its upload went.
		send.Close()
		if a := <-answers; a.StatusCode != 404 {
			t.Fatalf("PATCH: status %d", a.StatusCode)
		}
		location = a.Header.Get("Location")
		body, send = io.Pipe()
		go func() { answers <- f.do("PATCH", location, body) }()
		send.Write([]byte("abc"))
	}
	send.Close()
	if a := <-answers; a.StatusCode != 202 || !strings.HasPrefix(a.Header.Get("Range"), "0-2") {
		t.Errorf("PATCH: status %d", a.StatusCode)
	}
	f.begin("team/hello")
}
