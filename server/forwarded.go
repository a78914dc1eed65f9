package server

import (
	"net/http"
	"strings"

	"github.com/c73062ad/oras"
	"github.com/c73062ad/oras/internal/wire"
)

// base returns what stands before the paths in Locations and Links: nothing, as
// long as it was not a proxy to be trusted that said where its client believes to
// be. The name in a request's Host, which anybody can choose, is never told to
// anybody else's client through a cache.
func (s *server) base(r *http.Request) string {
	if len(s.opts.TrustedProxies) == 0 || !s.trusts(r.RemoteAddr) {
		return ""
	}
	scheme, host := forwarded(r.Header, wire.HeaderForwardedProto), forwarded(r.Header, wire.HeaderForwardedHost)
	if host == "" {
		host = r.Host
	}
	if scheme != "https" && scheme != "http" || oras.CheckRegistry(host) != nil {
		return ""
	}
	return scheme + "://" + host
}

// forwarded returns what the nearest proxy says: the last element of the list, since
// those before it may have come from anybody.
func forwarded(h http.Header, name string) string {
	values := h.Values(name)
	if len(values) == 0 {
		return ""
	}
	elements := strings.Split(values[len(values)-1], ",")
	return strings.TrimSpace(elements[len(elements)-1])
}

// trusts reports whether the connection comes from a trusted proxy.
func (s *server) trusts(remote string) bool {
	return contains(s.opts.TrustedProxies, parseAddr(remote))
}

// place returns the URL of req for the client of r: a path, or the whole.
func (r *request) place(req *wire.Request) string { return r.base + req.String() }
