package server

import (
	"net/http"
	"net/netip"
	"strings"
)

const (
	headerForwardedFor = "X-Forwarded-For"
	maxForwarded       = 32 // proxies in a row that are believed
)

// clientOf returns the address that r comes from: that of the connection or, as
// long as it is one of the trusted proxies', the one before it in X-Forwarded-For.
// What stands there before the first address that is not trusted may have come from
// anybody. It is the zero Addr if the connection has none.
func clientOf(r *http.Request, trusted []netip.Prefix) netip.Addr {
	client := parseAddr(r.RemoteAddr)
	if !contains(trusted, client) {
		return client
	}
	rest := strings.Join(r.Header.Values(headerForwardedFor), ",")
	for range maxForwarded {
		i := strings.LastIndexByte(rest, ',')
		before := parseAddr(strings.TrimSpace(rest[i+1:]))
		if !before.IsValid() {
			break
		}
		client = before
		if i < 0 || !contains(trusted, client) {
			break
		}
		rest = rest[:i]
	}
	return client
}

// parseAddr reads an address with or without a port.
func parseAddr(text string) netip.Addr {
	if a, err := netip.ParseAddrPort(text); err == nil {
		return a.Addr().Unmap().WithZone("")
	}
	a, err := netip.ParseAddr(strings.Trim(text, "[]"))
	if err != nil {
		return netip.Addr{}
	}
	return a.Unmap().WithZone("")
}

func contains(prefixes []netip.Prefix, a netip.Addr) bool {
	for _, p := range prefixes {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

// household returns what limits by address count as one client: an address of IPv4,
// or the network of 64 bits that one customer of IPv6 has at the least.
func household(a netip.Addr) netip.Addr {
	if !a.Is6() {
		return a
	}
	p, err := a.Prefix(64)
	if err != nil {
		return a
	}
	return p.Addr()
}
