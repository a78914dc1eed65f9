package server

import (
	"log/slog"
	"net/http"
	"time"

	"github.com/c73062ad/oras/internal/wire"
)

// Guard returns what wraps a handler that is no registry's, so that it answers those
// who may do ActionPing; others get the answers that the registry would give them.
// With a nil Authorizer these are all. opts say where errors are logged, and nothing
// else.
func Guard(authorize Authorizer, opts *Options) func(http.Handler) http.Handler {
	s := &server{}
	if opts != nil {
		s.opts.ErrorLog = opts.ErrorLog
	}
	s.opts.Authorize = authorize
	if s.opts.ErrorLog == nil {
		s.opts.ErrorLog = slog.Default()
	}
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(hw http.ResponseWriter, hr *http.Request) {
			w, b := watch(hw, hr, time.Minute)
			r := &request{Request: &wire.Request{Route: wire.Ping}, http: hr, body: b}
			if err := s.authorize(r, Access{Action: ActionPing}); err != nil {
				s.fail(w, r, err)
			} else {
				next.ServeHTTP(w, hr)
			}
			w.end()
		})
	}
}
