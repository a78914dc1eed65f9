package remote

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/c73062ad/oras"
	"github.com/c73062ad/oras/internal/wire"
)

const (
	defaultIdle  = time.Minute
	maxRedirects = 10
	maxFailures  = 5  // of a request, one after the other
	maxBreaks    = 10 // of a download, likewise: as long as a registry takes to start again
	cleanupTime  = 5 * time.Second

	hurriedCleanupTime = 250 * time.Millisecond // asking how far an upload is, and giving it up, have it each
)

// firstPause is about how long the pause before the first repetition is. Tests make
// it shorter.
var firstPause = 50 * time.Millisecond

// A client sends requests to one registry.
type client struct {
	http   *http.Client
	base   string // "https://registry.example"
	origin string
	header http.Header
	agent  string
	allow  func(*url.URL) bool
	warn   func(string)
	retry  func(error)
	idle   time.Duration
	limit  *limiter // nil for none
}

func newClient(host string, opts *Options) *client {
	base := opts.URL(host)
	c := &client{
		base:   base.String(),
		origin: wire.Origin(base),
		header: http.Header{},
		agent:  opts.UserAgent,
		allow:  opts.AllowUpload,
		warn:   opts.Warn,
		retry:  opts.OnRetry,
		idle:   opts.IdleTimeout,
		limit:  newLimiter(opts.LimitRate),
	}
	for name, values := range opts.Header {
		c.header[http.CanonicalHeaderKey(name)] = slices.Clone(values)
	}
	if c.agent == "" {
		c.agent = "oras"
	}
	if c.idle <= 0 {
		c.idle = defaultIdle
	}
	transport := opts.Transport
	if transport == nil {
		transport = sharedTransport()
	}
	c.http = &http.Client{Transport: transport, CheckRedirect: c.checkRedirect}
	return c
}

func (c *client) url(r wire.Request) string { return c.base + r.String() }

// A call is one request, and the statuses that are no error.
type call struct {
	method string
	url    string
	header http.Header // may be nil
	body   *body       // nil for none
	want   []int
	slow   bool // the answer to a GET may take long to begin, as some registries have lists
}

// do sends a request. The error of an answer with another status than those
// wanted is an [*Error]. A body that cannot be read to its end, as when it turns
// out not to be what it was said to be, is the error whatever the registry
// answered, and is not read any longer when do returns.
//
// Moving bodies in either direction fails once nothing moves for the idle time, and so
// does waiting for the answer to what asks and changes nothing.
func (c *client) do(ctx context.Context, call call) (*http.Response, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	idle := func() *time.Timer {
		t := time.AfterFunc(c.idle, func() { cancel(errIdle) })
		t.Stop()
		return t
	}
	if call.body != nil {
		call.body.watch(ctx, idle(), c.idle, c.limit)
	}
	answer := idle()
	resp, err := c.send(ctx, call, answer)
	answer.Stop()
	if resp != nil {
		resp.Body = &watched{ReadCloser: resp.Body, ctx: ctx, cancel: cancel, idle: answer, timeout: c.idle, limit: c.limit}
		c.warnings(resp.Header)
		if !slices.Contains(call.want, resp.StatusCode) {
			err = failure(resp)
		}
	} else if cause := context.Cause(ctx); cause == errIdle {
		err = &url.Error{Op: call.method, URL: scrubText(call.url), Err: cause}
	}
	if call.body != nil {
		if broken := call.body.stop(); broken != nil {
			err = broken
		}
	}
	if err == nil {
		return resp, nil
	}
	if resp != nil {
		resp.Body.Close()
	}
	cancel(nil)
	return nil, err
}

// send sends the request of a call. While it waits for the answer idle runs.
func (c *client) send(ctx context.Context, call call, idle *time.Timer) (*http.Response, error) {
	req, err := http.NewRequest(call.method, call.url, http.NoBody)
	if err != nil {
		return nil, err
	}
	t := newTrip(req.URL)
	if (call.method == http.MethodGet || call.method == http.MethodHead) && !call.slow {
		t.asked, t.answered = func() { idle.Reset(c.idle) }, func() { idle.Stop() }
	}
	req = req.WithContext(t.begin(ctx))
	for name, values := range call.header {
		req.Header[name] = values
	}
	req.Header.Set("User-Agent", c.agent)
	req.Header.Set("Accept-Encoding", "identity") // content is named by the digest of its bytes
	if wire.Origin(req.URL) == c.origin {
		for name, values := range c.header {
			req.Header[name] = values
		}
	}
	if b := call.body; b != nil && b.size > 0 {
		req.ContentLength = b.size
		req.GetBody = b.next
		if req.Body, err = b.next(); err != nil {
			return nil, err
		}
	}
	resp, err := c.http.Do(req)
	var transport *url.Error
	if errors.As(err, &transport) {
		transport.URL = scrubText(transport.URL)
		if strings.HasPrefix(transport.Err.Error(), "failed to parse Location header") {
			transport.Err = fmt.Errorf("redirect to no URL: %w", errRefused) // the text of which may be secret
		}
	}
	if err != nil {
		return nil, err // with a redirect that was refused comes an answer, closed
	}
	return resp, nil
}

// checkRedirect lets a request go on elsewhere: a download nearly anywhere, what
// changes something only within the registry's origin, or where uploads are
// allowed to go.
func (c *client) checkRedirect(req *http.Request, via []*http.Request) error {
	if len(via) >= maxRedirects {
		return fmt.Errorf("stopped after %d redirects: %w", maxRedirects, errRefused)
	}
	first, last := via[0], via[len(via)-1]
	req.URL.User = nil
	req.Header.Del("Referer")
	if last.URL.Scheme == "https" && req.URL.Scheme != "https" {
		return fmt.Errorf("redirect from https to %s: %w", req.URL.Scheme, errRefused)
	}
	home := wire.Origin(req.URL) == wire.Origin(first.URL)
	switch {
	case home && wire.Origin(last.URL) != wire.Origin(req.URL):
		// Whoever it is would have the registry asked in our name.
		return fmt.Errorf("redirect from %s back to the registry: %w", last.URL.Host, errRefused)
	case first.Method != req.Method:
		return fmt.Errorf("redirect that makes %s of %s: %w", req.Method, first.Method, errRefused)
	case home:
		return nil
	case first.Method != http.MethodGet && first.Method != http.MethodHead:
		if c.allow == nil || !c.allow(req.URL) {
			return fmt.Errorf("redirect of %s to another origin, %s: %w", first.Method, req.URL.Host, errRefused)
		}
	}
	for name := range c.header {
		req.Header.Del(name)
	}
	req.Header.Del("Authorization")
	req.Header.Del("Cookie")
	if t, ok := req.Context().Value(tripKey{}).(*trip); ok {
		return t.redirect(req.URL)
	}
	return nil
}

// failure returns the error that resp, an answer nobody hoped for, means.
func failure(resp *http.Response) error {
	e := &Error{Method: resp.Request.Method, URL: scrub(resp.Request.URL), StatusCode: resp.StatusCode}
	if resp.Request.Method != http.MethodHead {
		// What the body says is worth having; that it cannot be read is not news.
		text, _ := io.ReadAll(io.LimitReader(resp.Body, wire.MaxErrorBody))
		for _, r := range wire.ParseErrors(text) {
			e.Reasons = append(e.Reasons, Reason{r.Code, r.Message, r.Detail})
		}
	}
	return e
}

// warnings passes on what the registry wants its users to read.
func (c *client) warnings(h http.Header) {
	if c.warn == nil {
		return
	}
	for _, line := range h.Values(wire.HeaderWarning) {
		if text, ok := wire.ParseWarning(line); ok {
			c.warn(text)
		}
	}
}

// retries tells that something is tried again because of err.
func (c *client) retries(err error) {
	if c.retry != nil {
		c.retry(err)
	}
}

// read sends a request and reads the whole answer, of limit bytes at most, which
// is in memory then. If the connection breaks meanwhile it begins anew.
func (c *client) read(ctx context.Context, call call, limit int64) (*http.Response, []byte, error) {
	failures := 0
	for {
		resp, err := c.do(ctx, call)
		if err != nil {
			return nil, nil, err
		}
		data, err := readAll(resp, limit)
		if err == nil {
			return resp, data, nil
		}
		if failures += weight(err, maxFailures); failures > maxFailures || !temporary(ctx, err) {
			return nil, nil, fmt.Errorf("%s %q: %w", call.method, scrub(resp.Request.URL), err)
		}
		if err := pause(ctx, failures); err != nil {
			return nil, nil, err
		}
	}
}

func readAll(resp *http.Response, limit int64) ([]byte, error) {
	defer resp.Body.Close()
	if resp.ContentLength > limit {
		return nil, fmt.Errorf("%w: body of %d bytes, more than %d", oras.ErrInvalid, resp.ContentLength, limit)
	}
	data, err := io.ReadAll(io.LimitReader(resp.Body, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(data)) > limit {
		return nil, fmt.Errorf("%w: body of more than %d bytes", oras.ErrInvalid, limit)
	}
	return data, nil
}

// drain reads what little there is in a body nobody needs, so that its
// connection can be used again.
func drain(resp *http.Response) {
	io.CopyN(io.Discard, resp.Body, wire.MaxErrorBody)
	resp.Body.Close()
}

// weight is how many failures err counts for where most may come one after the other.
// A connection that stalls has had its minute, so the second such is one too many.
func weight(err error, most int) int {
	if errors.Is(err, errIdle) {
		return most/2 + 1
	}
	return 1
}

// temporary reports whether trying again may help after err.
func temporary(ctx context.Context, err error) bool {
	if ctx.Err() != nil || errors.Is(err, errRefused) || oras.Kind(err) != nil {
		return false
	}
	var answer *Error
	if errors.As(err, &answer) {
		switch answer.StatusCode {
		case http.StatusTooManyRequests, http.StatusRequestTimeout:
			return true
		case http.StatusInsufficientStorage: // which nobody mends so soon
			return false
		}
		return answer.StatusCode >= 500
	}
	return true
}

// pause waits before the next try: twice as long after each failure, and not for
// all clients the same.
func pause(ctx context.Context, failures int) error {
	d := min(firstPause<<min(failures, 10), 5*time.Second)
	return sleep(ctx, d/2+rand.N(d/2))
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// afterwards returns a context for what is still to be done when ctx may be over, in
// which case nobody wants to wait long for it.
func afterwards(ctx context.Context) (context.Context, context.CancelFunc) {
	limit := cleanupTime
	if ctx.Err() != nil {
		limit = hurriedCleanupTime
	}
	return context.WithTimeout(context.WithoutCancel(ctx), limit)
}
