package main

import (
	"cmp"
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
	w     io.Writer
	names map[string]string // of headers the user adds, as the user writes them, by the canonical ones

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
		n, scrubURL(req.URL), req.Method, headers(req.Header, t.tracer.names)))
	resp, err := t.base.RoundTrip(req)
	if err != nil {
		t.tracer.write(fmt.Sprintf("<-- Response #%d\n< Error: %v", n, err))
		return nil, err
	}
	t.tracer.write(fmt.Sprintf("<-- Response #%d\n< Response Status: %q\n< Response headers:\n%s",
		n, resp.Status, headers(resp.Header, nil)))
	if showsBody(resp) {
		resp.Body = &tracedBody{ReadCloser: resp.Body, tracer: t.tracer, number: n}
	}
	return resp, nil
}

func (t *tracer) write(text string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	fmt.Fprintf(t.w, "[%s][DEBUG]: %s\n\n\n", time.Now().UTC().Format(time.RFC3339Nano), strings.TrimRight(printable(text), "\n"))
}

// showsBody reports whether the body of an answer is shown: text, not content.
func showsBody(resp *http.Response) bool {
	mediaType := resp.Header.Get("Content-Type")
	return resp.ContentLength != 0 && (resp.Request == nil || resp.Request.Method != http.MethodHead) &&
		(strings.Contains(mediaType, "json") || strings.HasPrefix(mediaType, "text/"))
}

// A tracedBody shows the beginning of a body when it was read or is closed. It
// reads nothing itself, so whoever waits for the body waits as long as before.
type tracedBody struct {
	io.ReadCloser
	tracer *tracer
	number uint64
	head   []byte
	shown  bool
}

func (b *tracedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.head = append(b.head, p[:min(n, maxTracedBody-len(b.head))]...)
	if err != nil {
		b.show()
	}
	return n, err
}

func (b *tracedBody) Close() error {
	b.show()
	return b.ReadCloser.Close()
}

func (b *tracedBody) show() {
	if b.shown || len(b.head) == 0 {
		return
	}
	b.shown = true
	text := string(b.head)
	if strings.Contains(text, `"token"`) || strings.Contains(text, `"access_token"`) || strings.Contains(text, `"refresh_token"`) {
		text = "(body holds a token)"
	}
	b.tracer.write(fmt.Sprintf("<-- Body of response %d\n< Response body:\n%s", b.number, text))
}

var secretHeaders = []string{"Authorization", "Set-Cookie", "Cookie", "Proxy-Authorization"}

// headers returns a line for each header, which is called what names has for it.
func headers(h http.Header, names map[string]string) string {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(h)) {
		shown := cmp.Or(names[name], name)
		for _, value := range h[name] {
			switch {
			case slices.Contains(secretHeaders, name):
				value = "*****"
			case name == "Location":
				if u, err := url.Parse(value); err == nil {
					value = scrubURL(u)
				}
			}
			fmt.Fprintf(&b, "   %q: %q\n", shown, value)
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
