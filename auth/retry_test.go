package auth

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// quick is a Retry whose waits are noted and not waited.
func quick(base http.RoundTripper, events *[]RetryEvent) *Retry {
	return &Retry{
		Base:    base,
		OnRetry: func(e RetryEvent) { *events = append(*events, e) },
		sleep:   func(ctx context.Context, _ time.Duration) error { return ctx.Err() },
	}
}

// failing is a server that fails n times, as fail does, then echoes.
func failing(t *testing.T, n int32, fail http.HandlerFunc) (*httptest.Server, *atomic.Int32) {
	var count atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		if count.Add(1) <= n {
			fail(w, r)
			return
		}
		w.Write(body)
	}))
	t.Cleanup(server.Close)
	return server, &count
}

func answer(status int, header ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		for i := 0; i < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.WriteHeader(status)
		io.WriteString(w, "failed")
	}
}

// reset breaks the connection without an answer.
func reset(w http.ResponseWriter, _ *http.Request) {
	conn, _, err := w.(http.Hijacker).Hijack()
	if err == nil {
		conn.(*net.TCPConn).SetLinger(0)
		conn.Close()
	}
}

func hangUp(w http.ResponseWriter, _ *http.Request) {
	conn, _, err := w.(http.Hijacker).Hijack()
	if err == nil {
		conn.Close()
	}
}

func TestRetry(t *testing.T) {
	once := func() io.Reader { return bodyOnce("body") }
	again := func() io.Reader { return strings.NewReader("body") }
	none := func() io.Reader { return nil }
	date := time.Now().Add(20 * time.Second).UTC().Format(http.TimeFormat)
	for _, test := range []struct {
		name   string
		method string
		body   func() io.Reader
		fail   http.HandlerFunc
		times  int32
		status int // zero: an error
		sent   int32
		wait   time.Duration // at least, the first
	}{
		{"503", "GET", none, answer(503), 2, 200, 3, 0},
		{"408", "GET", none, answer(408), 1, 200, 2, 0},
		{"500", "GET", none, answer(500), 1, 200, 2, 0},
		{"502", "GET", none, answer(502), 1, 200, 2, 0},
		{"504", "HEAD", none, answer(504), 1, 200, 2, 0},
		{"501", "GET", none, answer(501), 1, 501, 1, 0},
		{"404", "GET", none, answer(404), 1, 404, 1, 0},
		{"401", "GET", none, answer(401), 1, 401, 1, 0},
		{"for ever", "GET", none, answer(503), 99, 503, 5, 0},
		{"put", "PUT", again, answer(503), 1, 200, 2, 0},
		{"put once", "PUT", once, answer(503), 1, 503, 1, 0},
		{"post", "POST", none, answer(503), 1, 200, 2, 0},
		{"delete", "DELETE", none, answer(503), 1, 200, 2, 0},
		{"patch", "PATCH", again, answer(503), 1, 503, 1, 0},
		{"patch 429", "PATCH", again, answer(429), 1, 200, 2, 0},
		{"429 seconds", "GET", none, answer(429, "Retry-After", "7"), 1, 200, 2, 7 * time.Second},
		{"429 date", "GET", none, answer(429, "Retry-After", date), 1, 200, 2, 15 * time.Second},
		{"429 junk", "GET", none, answer(429, "Retry-After", "-5"), 1, 200, 2, 0},
		{"429 too long", "GET", none, answer(429, "Retry-After", "61"), 1, 429, 1, 0},
		{"429 much too long", "GET", none, answer(429, "Retry-After", "1000000000"), 1, 429, 1, 0},
		{"429 absurd", "GET", none, answer(429, "Retry-After", strings.Repeat("9", 40)), 1, 429, 1, 0},
		{"429 in total", "GET", none, answer(429, "Retry-After", "25"), 99, 429, 3, 25 * time.Second},
		{"reset", "GET", none, reset, 2, 200, 3, 0},
		{"reset for ever", "PUT", again, reset, 99, 0, 5, 0},
		{"reset put", "PUT", again, reset, 1, 200, 2, 0},
		{"reset put once", "PUT", once, reset, 1, 0, 1, 0},
		{"reset patch", "PATCH", again, reset, 1, 0, 1, 0},
		{"hang up", "POST", again, hangUp, 1, 200, 2, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			server, count := failing(t, test.times, test.fail)
			var events []RetryEvent
			base := &http.Transport{DisableKeepAlives: true} // net/http itself tries again on a connection it kept
			client := &http.Client{Transport: quick(base, &events)}
			status, body, err := do(t, client, test.method, server.URL+"/x?signed=1", test.body())
			if status != test.status || (err != nil) != (test.status == 0) {
				t.Fatalf("got %d, %q, %v; want %d", status, body, err, test.status)
			}
			if status == 200 && test.body() != nil && body != "body" {
				t.Errorf("body %q", body)
			}
			if status != 200 && status != 0 && test.method != "HEAD" && body != "failed" {
				t.Errorf("the last answer's body is lost: %q", body)
			}
			if got := count.Load(); got != test.sent || len(events) != int(test.sent)-1 {
				t.Errorf("sent %d times with %d events, want %d", got, len(events), test.sent)
			}
			total := time.Duration(0)
			for i, e := range events {
				total += e.Wait
				if e.Method != test.method || e.URL != server.URL+"/x" || e.Attempt != i+1 || (e.Err == nil) == (e.Status == 0) {
					t.Errorf("event %+v", e)
				}
			}
			if total > time.Minute || len(events) > 0 && events[0].Wait < max(test.wait, firstWait/2) {
				t.Errorf("waits %v, in total %v", events, total)
			}
		})
	}
}

// A chunk that says where it belongs cannot be appended twice, but it may have been
// appended in part: sent again it would be refused.
func TestRetryChunk(t *testing.T) {
	server, _ := failing(t, 1, answer(503))
	var events []RetryEvent
	client := &http.Client{Transport: quick(nil, &events)}
	req, _ := http.NewRequestWithContext(t.Context(), "PATCH", server.URL, strings.NewReader("body"))
	req.Header.Set("Content-Range", "0-3")
	if status, _, err := roundTrip(t, client, req); status != 503 || len(events) > 0 || err != nil {
		t.Errorf("%d, %v, %v", status, events, err)
	}
}

func TestRetryLasting(t *testing.T) {
	tlsServer := httptest.NewTLSServer(http.HandlerFunc(ok))
	t.Cleanup(tlsServer.Close)
	tlsServer.Config.ErrorLog = log.New(io.Discard, "", 0)
	gone := httptest.NewServer(http.HandlerFunc(ok))
	gone.Close()
	for _, test := range []struct {
		name, target string
		events       int
	}{
		{"certificate", tlsServer.URL, 0},
		{"scheme", "ftp://127.0.0.1/", 0},
		{"refused", gone.URL, 2},
	} {
		var events []RetryEvent
		_, _, err := do(t, &http.Client{Transport: quick(nil, &events)}, "GET", test.target, nil)
		total := time.Duration(0)
		for _, e := range events {
			total += e.Wait
		}
		if err == nil || len(events) != test.events || total > time.Second {
			t.Errorf("%s: %v after %d events, %v", test.name, err, len(events), total)
		}
	}
}

func TestClassify(t *testing.T) {
	dial := func(err error) error { return &net.OpError{Op: "dial", Net: "tcp", Err: err} }
	for _, test := range []struct {
		err  error
		want class
	}{
		{errors.New("something"), lasting},
		{context.Canceled, lasting},
		{x509.UnknownAuthorityError{}, lasting},
		{dial(&net.DNSError{IsNotFound: true, IsTemporary: true}), lasting},
		{dial(&net.DNSError{IsTimeout: true}), unreachable},
		{dial(os.ErrDeadlineExceeded), unreachable},
		{&net.OpError{Op: "read", Err: os.ErrDeadlineExceeded}, passing},
		{io.ErrUnexpectedEOF, passing},
		{errors.New("stream error: stream ID 1; INTERNAL_ERROR; received from peer"), passing},
		{errors.New("http2: server sent GOAWAY and closed the connection; LastStreamID=1"), passing},
	} {
		if got := classify(test.err); got != test.want {
			t.Errorf("%v: %d, want %d", test.err, got, test.want)
		}
	}
}

func TestRetryCancelled(t *testing.T) {
	server, count := failing(t, 99, answer(503, "Retry-After", "30"))
	ctx, cancel := context.WithCancel(t.Context())
	client := &http.Client{Transport: &Retry{OnRetry: func(RetryEvent) { cancel() }}} // really waits
	req, _ := http.NewRequestWithContext(ctx, "GET", server.URL, nil)
	if _, _, err := roundTrip(t, client, req); !errors.Is(err, context.Canceled) || count.Load() != 1 {
		t.Errorf("got %v after %d requests", err, count.Load())
	}
	// What would end in the middle of a wait is not waited for.
	ctx, cancel = context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	req, _ = http.NewRequestWithContext(ctx, "GET", server.URL, nil)
	if status, _, err := roundTrip(t, &http.Client{Transport: &Retry{}}, req); status != 503 || err != nil {
		t.Errorf("got %d, %v", status, err)
	}
}

// Where the body cannot be had again, the answer is what there is.
func TestRetryBodyGone(t *testing.T) {
	server, count := failing(t, 1, answer(429))
	var events []RetryEvent
	req, _ := http.NewRequestWithContext(t.Context(), "PATCH", server.URL, strings.NewReader("chunk"))
	req.GetBody = func() (io.ReadCloser, error) { return nil, errors.New("gone") }
	if status, body, err := roundTrip(t, &http.Client{Transport: quick(nil, &events)}, req); status != 429 || string(body) != "failed" || err != nil || count.Load() != 1 || len(events) > 0 {
		t.Errorf("got %d %q, %v, after %d requests and %d waits", status, body, err, count.Load(), len(events))
	}
}

func TestRetryReallyWaits(t *testing.T) {
	server, count := failing(t, 1, answer(503))
	start := time.Now()
	want(t, &http.Client{Transport: &Retry{}}, 200, "GET", server.URL, nil)
	if passed := time.Since(start); count.Load() != 2 || passed < firstWait/2 {
		t.Errorf("%d requests in %v", count.Load(), passed)
	}
}

// A body that is endless or stalls does not hold up the next attempt.
func TestRetryDiscards(t *testing.T) {
	stop := make(chan struct{})
	server, _ := failing(t, 1, func(w http.ResponseWriter, r *http.Request) {
		w.WriteHeader(503)
		w.Write(bytes.Repeat([]byte("x"), 1000))
		w.(http.Flusher).Flush()
		<-stop
	})
	t.Cleanup(func() { close(stop) })
	var events []RetryEvent
	start := time.Now()
	want(t, &http.Client{Transport: quick(nil, &events)}, 200, "GET", server.URL, nil)
	if passed := time.Since(start); passed > 10*time.Second {
		t.Errorf("took %v", passed)
	}
}

// The chain as it is used: a login over retries.
func TestRetryUnderLogin(t *testing.T) {
	w := newWorld(t)
	s := &tokenService{now: time.Now, users: map[string]string{"me": password}}
	var n atomic.Int32
	flaky := func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if n.Add(1)%2 == 1 {
				answer(503)(w, r)
				return
			}
			next.ServeHTTP(w, r)
		})
	}
	w.serve(registryURL, flaky(s.guard(tokenURL, ok)))
	w.serve(tokenURL, flaky(s))
	var events []RetryEvent
	transport := NewTransport(parseURL(t, registryURL), Static("registry.example.com", user), &Options{Base: quick(w.transport, &events)})
	status, body, err := do(t, &http.Client{Transport: transport}, "PUT", manifest, strings.NewReader("content"))
	if status != 200 || body != "content" || err != nil || len(events) != 3 {
		t.Errorf("%d, %q, %v, %d events", status, body, err, len(events))
	}
}
