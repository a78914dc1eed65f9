package remote

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/netip"
	"net/url"
	"strings"
	"sync"
	"syscall"
	"time"
	"unicode/utf8"

	"github.com/c73062ad/oras/internal/wire"
)

var sharedTransport = sync.OnceValue(NewTransport)

// NewTransport returns the transport that requests go through if [Options] have
// none: connections enough for parallel transfers, TLS 1.2 or later, HTTP/2
// where offered, the proxy of the environment, and limits on how long
// connecting and the first byte of an answer may take. The whole of a transfer
// has none. Callers may change it before it is used; a DialContext that replaces
// this one should call it, for it keeps redirects away from private addresses.
func NewTransport() *http.Transport {
	return &http.Transport{
		Proxy:                 http.ProxyFromEnvironment,
		DialContext:           dial,
		TLSClientConfig:       &tls.Config{MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout:   15 * time.Second,
		ResponseHeaderTimeout: 5 * time.Minute, // registries assemble large blobs before they answer
		ExpectContinueTimeout: time.Second,
		IdleConnTimeout:       90 * time.Second,
		MaxIdleConns:          128,
		MaxIdleConnsPerHost:   32,
		ForceAttemptHTTP2:     true,
		DisableCompression:    true, // content is named by the digest of its bytes
		ReadBufferSize:        64 << 10,
		WriteBufferSize:       64 << 10,
	}
}

var errRefused = errors.New("refused")

// A trip is what is known of the way of one request. It travels in the
// request's context, so that redirects and connections share it.
type trip struct {
	proxied         bool   // connections lead to a proxy, whose address says nothing
	asked, answered func() // are called, if they are not nil, when there is a connection, each time, and when the answer begins

	mu      sync.Mutex
	private bool   // the registry itself is at a private address
	target  string // host:port of the last redirect, empty before the first
}

type tripKey struct{}

// newTrip returns the trip of a request to u.
func newTrip(u *url.URL) *trip {
	proxy, err := http.ProxyFromEnvironment(&http.Request{URL: u})
	return &trip{proxied: proxy != nil && err == nil, private: privateHost(u.Hostname())}
}

// begin returns the context for the request.
func (t *trip) begin(ctx context.Context) context.Context {
	ctx = context.WithValue(ctx, tripKey{}, t)
	trace := &httptrace.ClientTrace{GotConn: t.connected}
	if t.answered != nil {
		trace.GotFirstResponseByte = t.answered
	}
	return httptrace.WithClientTrace(ctx, trace)
}

// connected notes whether the registry turned out to be at a private address,
// whatever its name.
func (t *trip) connected(info httptrace.GotConnInfo) {
	if t.asked != nil {
		t.asked()
	}
	address, ok := info.Conn.RemoteAddr().(*net.TCPAddr)
	t.mu.Lock()
	defer t.mu.Unlock()
	if ok && t.target == "" && !t.proxied {
		t.private = wire.IsPrivate(address.AddrPort().Addr())
	}
}

// redirect notes that the trip goes on at u, and refuses that if the registry is
// public and u private.
func (t *trip) redirect(u *url.URL) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.target = hostPort(u)
	if t.private {
		return nil
	}
	if strings.ContainsFunc(u.Hostname(), func(r rune) bool { return r >= utf8.RuneSelf }) { // dialed in other letters, so not told by guards
		return fmt.Errorf("redirect to a host name that is not ASCII: %w", errRefused)
	}
	if privateHost(u.Hostname()) {
		return fmt.Errorf("redirect from a public registry to the private address %s: %w", u.Host, errRefused)
	}
	return nil
}

// guards reports whether address is where a public registry redirected to.
func (t *trip) guards(address string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return !t.private && t.target == address
}

// dial connects to address. Where a public registry redirected to it connects to
// public addresses only, whatever the name resolves to. (A proxy on the way
// there is not what the registry chose.)
func dial(ctx context.Context, network, address string) (net.Conn, error) {
	dialer := &net.Dialer{Timeout: 15 * time.Second, KeepAlive: 15 * time.Second}
	if t, ok := ctx.Value(tripKey{}).(*trip); ok && t.guards(address) {
		dialer.ControlContext = func(_ context.Context, _, resolved string, _ syscall.RawConn) error {
			if ap, err := netip.ParseAddrPort(resolved); err != nil || wire.IsPrivate(ap.Addr()) {
				return fmt.Errorf("redirect from a public registry to the private address %s: %w", resolved, errRefused)
			}
			return nil
		}
	}
	c, err := dialer.DialContext(ctx, network, address)
	if tcp, ok := c.(*net.TCPConn); ok {
		return conn{tcp}, nil
	}
	return c, err
}

// A conn takes the bodies of requests from the file they are in, if they are in one, and
// else in larger pieces than a net.TCPConn, which has 32 KiB at a time.
type conn struct{ *net.TCPConn }

const writeSize = 256 << 10

var writeBuffers = sync.Pool{New: func() any { return new([writeSize]byte) }}

// ReadFrom is for net/http, which calls it with each body that has a length.
func (c conn) ReadFrom(r io.Reader) (int64, error) {
	sent := c.sendFile(r)
	buf := writeBuffers.Get().(*[writeSize]byte)
	defer writeBuffers.Put(buf)
	n, err := io.CopyBuffer(struct{ io.Writer }{c.TCPConn}, struct{ io.Reader }{r}, buf[:])
	return sent + n, err
}

func hostPort(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	return net.JoinHostPort(u.Hostname(), port)
}

// privateHost reports whether host, a name or an address as in a URL, says by
// itself that it is private.
func privateHost(host string) bool {
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	if host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return true
	}
	address, err := netip.ParseAddr(host)
	return err == nil && wire.IsPrivate(address)
}
