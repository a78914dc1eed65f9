package auth

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Retry sends a request again when the answer says that later may be better
// (408, 429, 500, 502, 503, 504), or when the connection broke or could not be
// made. The zero value works; the fields are not to be changed once it is used.
// It is safe for concurrent use.
//
// A request with a body is sent again only if it has a GetBody. A PATCH is sent
// again only after 429, since the registry may have appended some of its body:
// package remote asks for how much that is. When no attempt is left, the wait asked for is longer
// than what is left, or the body cannot be had again, the last answer or error is
// returned as it is.
type Retry struct {
	Base     http.RoundTripper // nil is http.DefaultTransport
	Attempts int               // in all, the first included; zero is 5
	MaxWait  time.Duration     // of all waits for one request together; zero is a minute

	// OnRetry, if not nil, is told of each wait before it begins. It may
	// be called by several goroutines at once.
	OnRetry func(RetryEvent)

	sleep func(context.Context, time.Duration) error
}

// A RetryEvent is a request that will be sent again.
type RetryEvent struct {
	Method  string
	URL     string        // without its query
	Attempt int           // that failed; the first is 1
	Status  int           // of its answer; zero if there was none
	Err     error         // why there was none
	Wait    time.Duration // until it is sent again
}

const (
	firstWait   = 250 * time.Millisecond
	longestWait = 10 * time.Second // that nobody asked for
	refusedWait = 100 * time.Millisecond
)

var retryable = []int{
	http.StatusRequestTimeout, http.StatusTooManyRequests, http.StatusInternalServerError, http.StatusBadGateway,
	http.StatusServiceUnavailable, http.StatusGatewayTimeout,
}

// RoundTrip implements http.RoundTripper.
func (r *Retry) RoundTrip(req *http.Request) (*http.Response, error) {
	base, sleep := r.Base, r.sleep
	if base == nil {
		base = http.DefaultTransport
	}
	if sleep == nil {
		sleep = sleepFor
	}
	ctx, try, waited := req.Context(), req, time.Duration(0)
	for attempt := 1; ; attempt++ {
		resp, err := base.RoundTrip(try)
		wait, again := r.plan(req, resp, err, attempt, waited)
		if !again {
			return resp, err
		}
		body, e := rewind(req)
		if e != nil {
			return resp, err
		}
		event := RetryEvent{Method: req.Method, URL: plainURL(req.URL), Attempt: attempt, Err: err, Wait: wait}
		if resp != nil {
			event.Status = resp.StatusCode
			discard(resp.Body)
		}
		if r.OnRetry != nil {
			r.OnRetry(event)
		}
		if err := sleep(ctx, wait); err != nil {
			if body != nil {
				body.Close()
			}
			return nil, err
		}
		waited += wait
		try = req.Clone(ctx)
		try.Body = body
	}
}

func sleepFor(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// plan returns whether to send req again, and after how long.
func (r *Retry) plan(req *http.Request, resp *http.Response, err error, attempt int, waited time.Duration) (time.Duration, bool) {
	attempts, most := r.Attempts, r.MaxWait
	if attempts == 0 {
		attempts = 5
	}
	if most == 0 {
		most = time.Minute
	}
	if req.Context().Err() != nil || !canRewind(req) || !repeatable(req, resp) {
		return 0, false
	}
	wait := backoff(firstWait, attempt)
	if err != nil {
		switch classify(err) {
		case lasting:
			return 0, false
		case refused: // nobody is there, which is rarely about to change
			attempts, wait = min(attempts, 3), backoff(refusedWait, attempt)
		case unreachable: // each attempt takes long by itself
			attempts = min(attempts, 2)
		}
	} else {
		if !slices.Contains(retryable, resp.StatusCode) {
			return 0, false
		}
		wait = max(wait, retryAfter(resp.Header, time.Now()))
	}
	if deadline, ok := req.Context().Deadline(); ok && time.Until(deadline) < wait {
		return 0, false
	}
	return wait, attempt < attempts && waited+wait <= most
}

// repeatable reports whether req may be sent twice.
func repeatable(req *http.Request, resp *http.Response) bool {
	return req.Method != http.MethodPatch || resp != nil && resp.StatusCode == http.StatusTooManyRequests
}

// backoff returns a random wait that doubles with each attempt.
func backoff(first time.Duration, attempt int) time.Duration {
	d := min(first<<min(attempt-1, 10), longestWait)
	return d/2 + rand.N(d/2+1)
}

// retryAfter returns how long the Retry-After header of h asks to wait (RFC 9110,
// section 10.2.3).
func retryAfter(h http.Header, now time.Time) time.Duration {
	text := strings.TrimSpace(h.Get("Retry-After"))
	if seconds, err := strconv.ParseUint(text, 10, 64); err == nil {
		return time.Duration(min(seconds, 1<<30)) * time.Second
	} else if errors.Is(err, strconv.ErrRange) {
		return 1 << 30 * time.Second
	}
	if at, err := http.ParseTime(text); err == nil {
		return max(at.Sub(now), 0)
	}
	return 0
}

// What can be hoped for after an error.
type class int

const (
	lasting     class = iota // nothing: bad certificates, no such host, what is not known
	passing                  // a connection that broke
	refused                  // nobody listens
	unreachable              // nobody answers
)

var broken = []error{
	io.EOF, io.ErrUnexpectedEOF, syscall.ECONNRESET, syscall.ECONNABORTED, syscall.EPIPE,
	syscall.Errno(10053), syscall.Errno(10054), // Windows: WSAECONNABORTED, WSAECONNRESET
}

const windowsRefused = syscall.Errno(10061) // WSAECONNREFUSED

func classify(err error) class {
	var (
		name    *net.DNSError
		dial    *net.OpError
		timeout interface{ Timeout() bool }
	)
	switch {
	case errors.Is(err, context.Canceled): // but timeouts of dials claim to be DeadlineExceeded
		return lasting
	case errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, windowsRefused):
		return refused
	case errors.As(err, &name):
		if name.IsTimeout || name.IsTemporary && !name.IsNotFound {
			return unreachable
		}
		return lasting
	case slices.ContainsFunc(broken, func(b error) bool { return errors.Is(err, b) }):
		return passing
	case errors.As(err, &timeout) && timeout.Timeout():
		if errors.As(err, &dial) && dial.Op == "dial" {
			return unreachable
		}
		return passing
	case isHTTP2(err.Error()), strings.Contains(err.Error(), "server closed idle connection"):
		return passing // net/http has no names for these
	}
	return lasting
}

func isHTTP2(text string) bool {
	return strings.Contains(text, "http2: server sent GOAWAY") || strings.Contains(text, "http2: client connection lost") ||
		strings.HasPrefix(text, "stream error: ")
}
