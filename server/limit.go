package server

import (
	"errors"
	"net/http"
	"net/netip"
	"sync"

	"github.com/c73062ad/oras/internal/wire"
)

// LimitOptions say how many requests are answered at once. The zero value is no
// limit.
type LimitOptions struct {
	// Requests is how many of all clients; 0 is no limit.
	Requests int

	// PerClient is how many of one client: an address of IPv4, a network of 64
	// bits of IPv6. 0 is no limit.
	PerClient int

	// TrustedProxies are those whose X-Forwarded-For says which client it is. All
	// who come by any other proxy are one client.
	TrustedProxies []netip.Prefix
}

var (
	errRequests  = errors.New("the registry is answering as many requests as it may; try again later")
	errPerClient = errors.New("too many requests at once from this address; try again later")
)

// Limit returns what wraps a handler so that requests above the limits are answered
// with 429 and Retry-After, before anything is read of them or asked about them.
func Limit(opts *LimitOptions) func(http.Handler) http.Handler {
	l := &limiter{clients: map[netip.Addr]int{}}
	if opts != nil {
		l.LimitOptions = *opts
	}
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			client := household(clientOf(r, l.TrustedProxies))
			if err := l.enter(client); err != nil {
				w.Header().Set("Retry-After", "1")
				w.Header().Set(wire.HeaderAPIVersion, "registry/2.0")
				reply(w, http.StatusTooManyRequests, "application/json", wire.ErrorBody(wire.Error{Code: wire.CodeTooManyRequests, Message: err.Error()})) // who has gone need not know
				return
			}
			defer l.leave(client)
			next.ServeHTTP(w, r)
		})
	}
}

type limiter struct {
	LimitOptions

	mu       sync.Mutex
	requests int
	clients  map[netip.Addr]int // of those that have any
}

func (l *limiter) enter(client netip.Addr) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	switch {
	case l.PerClient > 0 && l.clients[client] >= l.PerClient:
		return errPerClient
	case l.Requests > 0 && l.requests >= l.Requests:
		return errRequests
	}
	l.requests++
	l.clients[client]++
	return nil
}

func (l *limiter) leave(client netip.Addr) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.requests--
	if l.clients[client]--; l.clients[client] == 0 {
		delete(l.clients, client)
	}
}
