package oras_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/c73062ad/oras"
	"github.com/c73062ad/oras/auth"
	"github.com/c73062ad/oras/file"
	"github.com/c73062ad/oras/layout"
	"github.com/c73062ad/oras/memory"
	"github.com/c73062ad/oras/remote"
	"github.com/c73062ad/oras/server"
)

// A wire counts the bytes of blobs that requests and answers have. It breaks off the
// first request that has more than breaks bytes there, and answers that it may be
// sent again.
type wire struct {
	breaks int64

	broken         atomic.Bool
	sent, received atomic.Int64
}

func (w *wire) RoundTrip(req *http.Request) (*http.Response, error) {
	if !strings.Contains(req.URL.Path, "/blobs/") {
		return http.DefaultTransport.RoundTrip(req)
	}
	if req.ContentLength > w.breaks && w.broken.CompareAndSwap(false, true) {
		n, err := io.CopyN(io.Discard, req.Body, w.breaks)
		w.sent.Add(n)
		req.Body.Close()
		return &http.Response{StatusCode: http.StatusServiceUnavailable, Status: "503 Service Unavailable", Header: http.Header{}, Body: http.NoBody, Request: req}, err
	}
	if req.Body != nil {
		req = req.Clone(req.Context())
		req.Body = &counted{req.Body, &w.sent}
	}
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err == nil && req.Method == http.MethodGet {
		resp.Body = &counted{resp.Body, &w.received}
	}
	return resp, err
}

type counted struct {
	io.ReadCloser
	count *atomic.Int64
}

func (c *counted) Read(p []byte) (int, error) {
	n, err := c.ReadCloser.Read(p)
	c.count.Add(int64(n))
	return n, err
}

// TestEventBytes: what the events say moved is what moved over the wire, byte by
// byte, with an upload that was broken off and begun again; and all of each
// descriptor's bytes have moved before its end.
func TestEventBytes(t *testing.T) {
	dir := t.TempDir()
	sizes := []int{0, 1, 100, 64 << 10, 64<<10 + 1, 3 << 20}
	var want int64
	for i, size := range sizes {
		data := bytes.Repeat([]byte{byte('a' + i)}, size)
		must(t, os.WriteFile(filepath.Join(dir, fmt.Sprint("f", i)), data, 0o644))
		want += int64(size)
	}
	w := &wire{breaks: 1 << 20}
	srv := httptest.NewServer(server.New(memory.NewRegistry(), nil))
	defer srv.Close()
	registry, err := remote.Open(srv.Listener.Addr().String()+"/r", &remote.Options{PlainHTTP: true, Transport: &auth.Retry{Base: w}})
	must(t, err)

	files, err := file.New(dir, nil)
	must(t, err)
	defer files.Close()
	var layers []oras.Descriptor
	for i := range sizes {
		desc, err := files.Add(t.Context(), fmt.Sprint("f", i), "", "")
		must(t, err)
		layers = append(layers, desc)
	}
	root, err := oras.Pack(t.Context(), files, &oras.PackOptions{ArtifactType: "t/a", Layers: layers})
	must(t, err)
	want += oras.Empty().Size

	if moved := copyCounted(t, files, root, registry); moved != want+w.breaks || w.sent.Load() != moved {
		t.Errorf("a push moved %d bytes, say the events, and %d over the wire; want %d and what was broken off", moved, w.sent.Load(), want)
	}
	pulled, err := file.New(t.TempDir(), nil)
	must(t, err)
	defer pulled.Close()
	inline := oras.Empty().Size // its descriptor holds it
	if moved := copyCounted(t, registry, root, pulled); moved != want || w.received.Load() != want-inline {
		t.Errorf("a pull moved %d bytes, say the events, and %d over the wire; want %d", moved, w.received.Load(), want)
	}
	onDisk, err := layout.Open(t.TempDir())
	must(t, err)
	defer onDisk.Close()
	if moved := copyCounted(t, files, root, onDisk); moved != want {
		t.Errorf("a copy to a layout moved %d bytes, say the events; want %d", moved, want)
	}
}

// copyCounted copies root and returns how many bytes of blobs its events say moved.
func copyCounted(t *testing.T, src oras.Source, root oras.Descriptor, dst oras.Target) (moved int64) {
	t.Helper()
	last := map[string]int64{}
	_, err := oras.Copy(t.Context(), src, string(root.Digest), dst, &oras.CopyOptions{Event: func(e oras.Event) {
		switch e.Kind {
		case oras.Progress:
			if !oras.IsManifest(e.Descriptor.MediaType) {
				moved += e.Bytes - last[e.Name()]
				if e.Bytes < last[e.Name()] { // begun again
					moved += last[e.Name()]
				}
			}
			last[e.Name()] = e.Bytes
		case oras.Copied:
			if last[e.Name()] != e.Descriptor.Size {
				t.Errorf("%s has its end after %d bytes of %d", e.Name(), last[e.Name()], e.Descriptor.Size)
			}
		}
	}})
	must(t, err)
	return moved
}

// TestProgressVerifier: progress is told after each read, and from the start again
// when the content is rewound.
func TestProgressVerifier(t *testing.T) {
	b := blob("the content")
	var told []int64
	r := oras.NewProgressVerifier(bytes.NewReader(b.data), b.Descriptor, func(read, there int64) { told = append(told, read) })
	p := make([]byte, 4)
	for range 2 {
		if _, err := io.ReadFull(r, p); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := r.(io.Seeker).Seek(0, io.SeekStart); err != nil {
		t.Fatal(err)
	}
	if again := oras.NewVerifier(r, b.Descriptor); again != r {
		t.Error("a verifier of a verifier is another")
	}
	if data, err := io.ReadAll(r); err != nil || !bytes.Equal(data, b.data) {
		t.Errorf("%q, %v", data, err)
	}
	if want := []int64{4, 8, b.Size}; fmt.Sprint(told) != fmt.Sprint(want) {
		t.Errorf("told of %d bytes, want %d", told, want)
	}
}

// TestEventKind: each kind has a word of its own, and what is no kind has none.
func TestEventKind(t *testing.T) {
	seen := map[string]bool{}
	for k := oras.Found; k <= oras.Restored; k++ {
		word := k.String()
		if word == "" || seen[word] || strings.Contains(word, "EventKind") {
			t.Errorf("%d: %q", int(k), word)
		}
		seen[word] = true
	}
	if got := oras.Restored.String(); got != "restored" {
		t.Error(got)
	}
	if got := fmt.Sprint(oras.EventKind(-1), oras.Restored+1); got != "EventKind(-1) EventKind(10)" {
		t.Error(got)
	}
}
