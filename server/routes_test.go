package server

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/c73062ad/oras"
	"github.com/c73062ad/oras/internal/wire"
	"github.com/c73062ad/oras/memory"
)

// TestRoutes: every route with every method asks for access once, for what the
// table says and nothing else, before anything is looked at; what has no row is
// refused whoever asks.
func TestRoutes(t *testing.T) {
	d := oras.SHA256.Digest(nil)
	requests := map[wire.Route]wire.Request{
		wire.Ping:         {},
		wire.Blob:         {Repository: "team/hello", Digest: d},
		wire.Manifest:     {Repository: "team/hello", Tag: "v1"},
		wire.Uploads:      {Repository: "team/hello"},
		wire.Upload:       {Repository: "team/hello", UploadID: "0123", Digest: d},
		wire.Tags:         {Repository: "team/hello"},
		wire.Referrers:    {Repository: "team/hello", Digest: d},
		wire.Repositories: {},

		wire.Extensions:           {},
		wire.RepositoryExtensions: {Repository: "team/hello"},
		wire.ORASReferrers:        {Repository: "team/hello", Digest: d},
	}
	want := map[wire.Route]map[string]Action{
		wire.Ping:         {"GET": "ping", "HEAD": "ping"},
		wire.Blob:         {"GET": "pull", "HEAD": "pull", "DELETE": "delete"},
		wire.Manifest:     {"GET": "pull", "HEAD": "pull", "PUT": "push", "DELETE": "delete"},
		wire.Uploads:      {"POST": "push"},
		wire.Upload:       {"GET": "push", "HEAD": "push", "PATCH": "push", "PUT": "push", "DELETE": "push"},
		wire.Tags:         {"GET": "pull", "HEAD": "pull"},
		wire.Referrers:    {"GET": "pull", "HEAD": "pull"},
		wire.Repositories: {"GET": "catalog", "HEAD": "catalog"},

		wire.Extensions:           {"GET": "ping", "HEAD": "ping"},
		wire.RepositoryExtensions: {"GET": "pull", "HEAD": "pull"},
		wire.ORASReferrers:        {"GET": "pull", "HEAD": "pull"},
	}
	for _, row := range routes {
		if want[row.route][row.method] != row.action {
			t.Errorf("%s of route %d is %q; this test knows it as %q", row.method, row.route, row.action, want[row.route][row.method])
		}
	}
	for route, request := range requests {
		for _, method := range []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "MOVE"} {
			for user, status := range map[string]int{"": 401, "stranger": 403, "friend": 0} {
				var asked []Access
				handler := New(memory.NewRegistry(), &Options{Authorize: func(r *http.Request, a Access) error {
					asked = append(asked, a)
					switch user {
					case "":
						return oras.ErrUnauthorized
					case "stranger":
						return oras.ErrDenied
					}
					return nil
				}})
				request.Route = route
				w := httptest.NewRecorder()
				handler.ServeHTTP(w, httptest.NewRequest(method, request.String(), strings.NewReader("{}")))
				action := want[route][method]
				if action == "" {
					if w.Code != 405 || len(asked) != 0 {
						t.Errorf("%s %s for %q: status %d, asked for %v", method, request.String(), user, w.Code, asked)
					}
					continue
				}
				if len(asked) != 1 || asked[0].Action != action || asked[0].Repository != request.Repository || len(asked[0].Tags) == 1 != (request.Tag != "") {
					t.Errorf("%s %s for %q: asked for %v", method, request.String(), user, asked)
				}
				if status != 0 && w.Code != status || status == 0 && (w.Code == 401 || w.Code == 403 || w.Code >= 500) {
					t.Errorf("%s %s for %q: status %d", method, request.String(), user, w.Code)
				}
			}
		}
	}
}
