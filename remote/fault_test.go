package remote_test

import (
	"bytes"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// A blobServer gives one blob, in whatever way give chooses.
type blobServer struct {
	data []byte
	give func(w http.ResponseWriter, r *http.Request, data []byte)

	requests atomic.Int64
	sent     atomic.Int64
}

func (s *blobServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.requests.Add(1)
	s.give(&counted{w, &s.sent}, r, s.data)
}

type counted struct {
	http.ResponseWriter
	n *atomic.Int64
}

func (c *counted) Write(p []byte) (int, error) {
	n, err := c.ResponseWriter.Write(p)
	c.n.Add(int64(n))
	return n, err
}

func (c *counted) Unwrap() http.ResponseWriter { return c.ResponseWriter }

// whole is a server that does all it should.
func whole(w http.ResponseWriter, r *http.Request, data []byte) {
	w.Header().Set("Content-Type", "application/octet-stream")
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(data))
}

// cutAfter breaks the connection after n bytes of an answer.
func cutAfter(n int, give func(http.ResponseWriter, *http.Request, []byte)) func(http.ResponseWriter, *http.Request, []byte) {
	return func(w http.ResponseWriter, r *http.Request, data []byte) {
		give(&cutting{ResponseWriter: w, left: n}, r, data)
	}
}

type cutting struct {
	http.ResponseWriter
	left int
}

func (c *cutting) Write(p []byte) (int, error) {
	if len(p) < c.left {
		c.left -= len(p)
		return c.ResponseWriter.Write(p)
	}
	c.ResponseWriter.Write(p[:c.left])
	http.NewResponseController(c.ResponseWriter).Flush()
	panic(http.ErrAbortHandler)
}

func (c *cutting) Unwrap() http.ResponseWriter { return c.ResponseWriter }

// hosts is a network without a wire: it answers for the hosts in it and keeps
// what was asked.
type hosts struct {
	handlers map[string]http.Handler // by scheme://host

	mu   sync.Mutex
	seen []*http.Request
}

func (h *hosts) RoundTrip(r *http.Request) (*http.Response, error) {
	h.mu.Lock()
	h.seen = append(h.seen, r)
	h.mu.Unlock()
	handler := h.handlers[r.URL.Scheme+"://"+r.URL.Host]
	if handler == nil {
		handler = http.NotFoundHandler()
	}
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, r)
	if r.Body != nil {
		r.Body.Close()
	}
	resp := w.Result()
	resp.Request = r
	return resp, nil
}

// redirectTo answers everything with a redirect to url.
func redirectTo(url string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Location", url)
		w.WriteHeader(http.StatusTemporaryRedirect)
	})
}

func isUpload(u *url.URL) bool { return strings.Contains(u.Path, "/blobs/uploads/") }
