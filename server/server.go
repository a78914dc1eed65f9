// Package server is the HTTP face of a registry: distribution-spec 1.1 over any
// [oras.Registry], and what the specification's main branch adds (cancelling an
// upload, tags with a push by digest, the algorithm of an upload). [New] returns an
// [http.Handler]; who wants logs, metrics or limits wraps it ([Observe], [Limit]).
//
// A request takes one way through the package: internal/wire reads its path, the
// table of routes says which handler answers it and which [Action] it is, Authorize
// is asked once, and the handler calls the store. A handler writes no error
// itself; it returns it, and fail makes an answer of it.
//
// An upload is hashed as it arrives, by SHA-256 or what the parameter
// digest-algorithm of its beginning says. One that is committed under a digest of
// another algorithm is read once more, since it can be known only then.
//
// What the specification leaves open: manifests are served as they were pushed,
// whatever Accept says. A manifest can be read as a blob too, but a blob cannot be
// read as a manifest. What a manifest refers to need not be there, unless
// [Options].Sparse says so. Of a document that does not say itself which of two
// media types it has, the first push decides: that it comes again under the other is
// an error, since a digest must not have two meanings, and those who know it by the
// first would not be asked (distribution-spec GHSA-mc8v-mgrf-8f4m). Locations and
// Links are paths without a host, unless a trusted proxy says which.
//
// Ahead of the specification: a manifest's ETag is its digest in quotation marks, by
// whichever name it is asked for, and its PUT and DELETE heed If-Match and
// If-None-Match (RFC 9110, section 13.1): 412 if they do not hold for what the path
// names. So of two who change a tag from the same state, one gets 412. What is asked
// and what is written are one step where the store has [oras.TagIf], for other
// stores among the requests that one server handles. Parameters tag= are not what
// the path names, so no condition is about them. Extensions are listed
// (_oci/ext/discover), and referrers under their route of the time of the ORAS
// artifact manifest (_oras/artifacts/referrers), the youngest first.
package server

import (
	"log/slog"
	"net/http"
	"net/netip"
	"os"
	"slices"
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

	// Sparse says which repositories take a manifest though something it refers to
	// is not there (distribution-spec, "Push"). Of the rules whose pattern matches,
	// the first counts; where none does, such manifests are taken: mirrors of some
	// platforms of an image are, and pushes in any order work. A subject need
	// never be there, nor layers that are to be had elsewhere.
	Sparse []SparseRule

	// TrustedProxies are the addresses of proxies whose X-Forwarded-Proto and
	// X-Forwarded-Host are believed: Locations and Links then have scheme and host
	// from there, the host from Host if there is no X-Forwarded-Host. Of a list in
	// one of them the last element counts.
	TrustedProxies []netip.Prefix

	// DisableReferrers lets the registry have no referrers API, as those of
	// distribution-spec 1.0: clients then keep tags for it ("Referrers Tag
	// Schema").
	DisableReferrers bool

	// MinChunk is how many bytes clients are told that a chunk of an upload should
	// have at least, but for the last (OCI-Chunk-Min-Length); 0 is none. Smaller
	// ones are taken all the same.
	MinChunk int64

	// Warnings are what clients are to show to their users, with each answer
	// (distribution-spec, "Warnings"). Together they may have about 4,000 bytes;
	// those that are more are left out.
	Warnings []string

	// ErrorLog is told the causes of answers with status 500 or 507, and of
	// answers that broke off; nil means [slog.Default].
	ErrorLog *slog.Logger
}

type server struct {
	registry oras.Registry
	opts     Options
	uploads  *sessions
	tags     locks    // of tags that are being written, for stores without oras.TagIf
	warnings []string // headers
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
	room := wire.MaxWarnings
	for _, text := range s.opts.Warnings {
		warning := wire.FormatWarning(text)
		if room -= len(warning); room < 0 {
			break
		}
		s.warnings = append(s.warnings, warning)
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
	base  string     // what stands before paths that the client is told
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
	{http.MethodHead, wire.Upload, ActionPush, (*server).getUpload},
	{http.MethodPatch, wire.Upload, ActionPush, (*server).patchUpload},
	{http.MethodPut, wire.Upload, ActionPush, (*server).putUpload},
	{http.MethodDelete, wire.Upload, ActionPush, (*server).deleteUpload},

	{http.MethodGet, wire.Tags, ActionPull, (*server).listTags},
	{http.MethodHead, wire.Tags, ActionPull, (*server).listTags},
	{http.MethodGet, wire.Referrers, ActionPull, (*server).listReferrers},
	{http.MethodHead, wire.Referrers, ActionPull, (*server).listReferrers},
	{http.MethodGet, wire.Repositories, ActionCatalog, (*server).listRepositories},
	{http.MethodHead, wire.Repositories, ActionCatalog, (*server).listRepositories},

	{http.MethodGet, wire.Extensions, ActionPing, (*server).listExtensions},
	{http.MethodHead, wire.Extensions, ActionPing, (*server).listExtensions},
	{http.MethodGet, wire.RepositoryExtensions, ActionPull, (*server).listExtensions},
	{http.MethodHead, wire.RepositoryExtensions, ActionPull, (*server).listExtensions},
	{http.MethodGet, wire.ORASReferrers, ActionPull, (*server).listORASReferrers},
	{http.MethodHead, wire.ORASReferrers, ActionPull, (*server).listORASReferrers},
}

// ServeHTTP answers one request.
func (s *server) ServeHTTP(hw http.ResponseWriter, hr *http.Request) {
	w, b := watch(hw, hr, s.opts.IdleTimeout)
	defer w.conn.release() // also of an answer that is broken off by a panic
	r := &request{http: hr, body: b, base: s.base(hr)}
	w.Header().Set(wire.HeaderAPIVersion, "registry/2.0")
	if s.warnings != nil {
		w.Header()[wire.HeaderWarning] = slices.Clone(s.warnings)
	}
	if err := s.serve(w, r); err != nil {
		s.fail(w, r, err)
	}
	w.end()
}

func (s *server) serve(w http.ResponseWriter, r *request) (err error) {
	r.Request, err = parse(r.http)
	if s.opts.DisableReferrers && (r.Route == wire.Referrers || r.Route == wire.ORASReferrers) {
		r.Route, err = wire.Unknown, oras.ErrNotFound
	}
	if r.Route == wire.Unknown {
		return err
	}
	action, handle := find(r.http.Method, r.Route)
	if handle == nil {
		return errMethod
	}
	if err := s.does(action); err != nil {
		return err
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

// find returns what method on route is and what is done for it, or nil for nothing,
// whatever the options leave room for.
func find(method string, route wire.Route) (Action, handler) {
	for _, row := range routes {
		if row.route == route && row.method == method {
			return row.action, row.handle
		}
	}
	return "", nil
}

// does returns why the options leave no room for a, or nil.
func (s *server) does(a Action) error {
	switch {
	case s.opts.ReadOnly && (a == ActionPush || a == ActionDelete):
		return errReadOnly
	case s.opts.DisableDelete && a == ActionDelete:
		return errNoDelete
	}
	return nil
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
