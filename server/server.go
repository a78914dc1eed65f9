// Package server is the HTTP face of a registry: distribution-spec 1.1 over any
// [oras.Registry], and what the specification's main branch adds (cancelling an
// upload, tags with a push by digest). [New] returns an
// [http.Handler]; who wants logs, metrics or limits wraps it.
//
// A request takes one way through the package: internal/wire reads its path, the
// table of routes says which handler answers it and which [Action] it is, Authorize
// is asked once, and the handler calls the store. A handler writes no error
// itself; it returns it, and fail makes an answer of it.
//
// An upload is hashed by SHA-256 as it arrives; one that is committed under a
// SHA-512 digest in chunks is read once more, since it can be known only then. The
// parameter digest-algorithm is checked.
//
// What the specification leaves open: manifests are served as they were pushed,
// whatever Accept says. A manifest can be read as a blob too, but a blob cannot be
// read as a manifest. What a manifest refers to need not be there. Locations and
// Links are paths without a host.
package server

import (
	"log/slog"
	"net/http"
	"os"
	"strconv"
	"time"

	"github.com/c73062ad/oras"
	"github.com/c73062ad/oras/internal/wire"
)

// Options say how a registry is served. The zero value works.
type Options struct {
	// Authorize allows or refuses each request; nil allows all.
	Authorize Authorizer

	// ReadOnly refuses what writes: pushes, mounts, uploads and deletions.
	ReadOnly bool

	// DisableDelete refuses to delete tags, manifests and blobs.
	DisableDelete bool

	// TempDir is where the bytes of uploads wait if the store has no uploads of
	// its own (see [oras.OpenUpload]); empty means [os.TempDir].
	TempDir string

	// MaxUploads is how many uploads the server keeps in mind; 0 means 1000.
	// When there are more, the one that was left alone longest goes.
	MaxUploads int

	// UploadExpiry is how long an upload may be left alone before the server
	// forgets it; 0 means an hour. A store with uploads of its own may remember
	// it for longer.
	UploadExpiry time.Duration

	// IdleTimeout is how long a body may come or go without a byte being moved;
	// 0 means a minute. There is no limit to how long a transfer takes that
	// moves. It needs a ResponseWriter with deadlines, as that of [http.Server].
	IdleTimeout time.Duration

	// ErrorLog is told the causes of answers with status 500 or 507, and of
	// answers that broke off; nil means [slog.Default].
	ErrorLog *slog.Logger
}

type server struct {
	registry oras.Registry
	opts     Options
	uploads  *sessions
}

// New returns a handler that serves reg. It is safe for concurrent use, and holds
// nothing that must be closed: uploads left alone go by themselves.
func New(reg oras.Registry, opts *Options) http.Handler {
	s := &server{registry: reg}
	if opts != nil {
		s.opts = *opts
	}
	if s.opts.IdleTimeout <= 0 {
		s.opts.IdleTimeout = time.Minute
	}
	if s.opts.UploadExpiry <= 0 {
		s.opts.UploadExpiry = time.Hour
	}
	if s.opts.MaxUploads <= 0 {
		s.opts.MaxUploads = 1000
	}
	if s.opts.TempDir == "" {
		s.opts.TempDir = os.TempDir()
	}
	if s.opts.ErrorLog == nil {
		s.opts.ErrorLog = slog.Default()
	}
	s.uploads = newSessions(s.opts.MaxUploads, s.opts.UploadExpiry, s.opts.ErrorLog)
	return s
}

// A request is an HTTP request and what is known of it.
type request struct {
	*wire.Request
	http  *http.Request
	body  *body
	store oras.Store // the repository, if the route names one
}

// A handler answers one kind of request. It returns an error instead of writing
// one, and then has written nothing.
type handler func(s *server, w http.ResponseWriter, r *request) error

// routes is all that the server does. What has no row is refused.
var routes = []struct {
	method string
	route  wire.Route
	action Action
	handle handler
}{
	{http.MethodGet, wire.Ping, ActionPing, (*server).ping},
	{http.MethodHead, wire.Ping, ActionPing, (*server).ping},

	{http.MethodGet, wire.Blob, ActionPull, (*server).getBlob},
	{http.MethodHead, wire.Blob, ActionPull, (*server).headBlob},
	{http.MethodDelete, wire.Blob, ActionDelete, (*server).deleteBlob},

	{http.MethodGet, wire.Manifest, ActionPull, (*server).getManifest},
	{http.MethodHead, wire.Manifest, ActionPull, (*server).headManifest},
	{http.MethodPut, wire.Manifest, ActionPush, (*server).putManifest},
	{http.MethodDelete, wire.Manifest, ActionDelete, (*server).deleteManifest},

	{http.MethodPost, wire.Uploads, ActionPush, (*server).postUpload},
	{http.MethodGet, wire.Upload, ActionPush, (*server).getUpload},
	{http.MethodPatch, wire.Upload, ActionPush, (*server).patchUpload},
	{http.MethodPut, wire.Upload, ActionPush, (*server).putUpload},
	{http.MethodDelete, wire.Upload, ActionPush, (*server).deleteUpload},

	{http.MethodGet, wire.Tags, ActionPull, (*server).listTags},
	{http.MethodGet, wire.Referrers, ActionPull, (*server).listReferrers},
	{http.MethodGet, wire.Repositories, ActionCatalog, (*server).listRepositories},
}

// ServeHTTP answers one request.
func (s *server) ServeHTTP(hw http.ResponseWriter, hr *http.Request) {
	w, b := watch(hw, hr, s.opts.IdleTimeout)
	r := &request{http: hr, body: b}
	w.Header().Set(wire.HeaderAPIVersion, "registry/2.0")
	if err := s.serve(w, r); err != nil {
		s.fail(w, r, err)
	}
	w.end()
}

func (s *server) serve(w http.ResponseWriter, r *request) (err error) {
	r.Request, err = wire.Parse(r.http.URL)
	if r.Route == wire.Unknown {
		return err
	}
	action, handle := s.find(r.http.Method, r.Route)
	if handle == nil {
		return errMethod
	}
	if err != nil {
		return err
	}
	if err := s.authorize(r, Access{Action: action, Repository: r.Repository, Tags: r.tags()}); err != nil {
		return err
	}
	if r.Repository != "" {
		if r.store, err = s.registry.Repository(r.http.Context(), r.Repository); err != nil {
			return err
		}
	}
	return handle(s, w, r)
}

// find returns what is done for method on route, or nil for nothing.
func (s *server) find(method string, route wire.Route) (Action, handler) {
	for _, row := range routes {
		if row.route == route && row.method == method && s.does(row.action) {
			return row.action, row.handle
		}
	}
	return "", nil
}

// does reports whether the options leave room for a.
func (s *server) does(a Action) bool {
	switch a {
	case ActionPush:
		return !s.opts.ReadOnly
	case ActionDelete:
		return !s.opts.ReadOnly && !s.opts.DisableDelete
	}
	return true
}

func (s *server) ping(w http.ResponseWriter, r *request) error {
	return reply(w, http.StatusOK, "application/json", []byte("{}"))
}

// reply writes an answer with a body.
func reply(w http.ResponseWriter, status int, mediaType string, data []byte) error {
	h := w.Header()
	h.Set("Content-Type", mediaType)
	h.Set("Content-Length", strconv.Itoa(len(data)))
	h.Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	_, err := w.Write(data)
	return err
}

// done writes an answer without a body.
func done(w http.ResponseWriter, status int) error {
	if status != http.StatusNoContent {
		w.Header().Set("Content-Length", "0")
	}
	w.WriteHeader(status)
	return nil
}
