package main

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// A tracer writes requests and answers for --debug, numbered over the whole
// command, without what is secret in them.
type tracer struct {
	w io.Writer

	count atomic.Uint64
	mu    sync.Mutex
}

// traced is a RoundTripper that is watched.
type traced struct {
	tracer *tracer
	base   http.RoundTripper
}

const maxTracedBody = 16 << 10 // bytes of an answer that are shown

func (t *traced) RoundTrip(req *http.Request) (*http.Response, error) {
	n := t.tracer.count.Add(1) - 1
	t.tracer.write(fmt.Sprintf("--> Request #%d\n> Request URL: %q\n> Request method: %q\n> Request headers:\n%s",
		n, scrubURL(req.URL), req.Method, headers(req.Header)))
	resp, err := t.base.RoundTrip(req)
	if err != nil {
		t.tracer.write(fmt.Sprintf("<-- Response #%d\n< Error: %v", n, err))
		return nil, err
	}
	t.tracer.write(fmt.Sprintf("<-- Response #%d\n< Response Status: %q\n< Response headers:\n%s%s",
		n, resp.Status, headers(resp.Header), t.body(resp)))
	return resp, nil
}

func (t *tracer) write(text string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	fmt.Fprintf(t.w, "[%s][DEBUG]: %s\n\n\n", time.Now().UTC().Format(time.RFC3339Nano), printable(text))
}

// body returns what is shown of an answer's body: text that holds no token. What
// is read for it is put back.
func (t *traced) body(resp *http.Response) string {
	mediaType := resp.Header.Get("Content-Type")
	if resp.ContentLength == 0 || resp.Request != nil && resp.Request.Method == http.MethodHead ||
		!strings.Contains(mediaType, "json") && !strings.HasPrefix(mediaType, "text/") {
		return ""
	}
	head, err := io.ReadAll(io.LimitReader(resp.Body, maxTracedBody))
	rest := io.Reader(resp.Body)
	if err != nil {
		rest = errorReader{err}
	}
	resp.Body = struct {
		io.Reader
		io.Closer
	}{io.MultiReader(bytes.NewReader(head), rest), resp.Body}
	text := string(head)
	if strings.Contains(text, `"token"`) || strings.Contains(text, `"access_token"`) || strings.Contains(text, `"refresh_token"`) {
		text = "(body holds a token)"
	}
	return "< Response body:\n" + text
}

type errorReader struct{ err error }

func (r errorReader) Read([]byte) (int, error) { return 0, r.err }

var secretHeaders = []string{"Authorization", "Set-Cookie", "Cookie", "Proxy-Authorization"}

func headers(h http.Header) string {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(h)) {
		for _, value := range h[name] {
			switch {
			case slices.Contains(secretHeaders, name):
				value = "*****"
			case name == "Location":
				if u, err := url.Parse(value); err == nil {
					value = scrubURL(u)
				}
			}
			fmt.Fprintf(&b, "   %q: %q\n", name, value)
		}
	}
	return b.String()
}

// scrubURL returns u without passwords and signatures. The protocol's own
// parameters are kept, whatever else is in the query may be a secret.
func scrubURL(u *url.URL) string {
	shown := *u
	if shown.User != nil {
		shown.User = url.User("*****")
	}
	query := shown.Query()
	for name := range query {
		switch name {
		case "n", "last", "digest", "mount", "from", "artifactType", "ns", "tag", "digest-algorithm", "service", "scope":
		default:
			query[name] = []string{"*****"}
		}
	}
	shown.RawQuery = query.Encode()
	return shown.String()
}
