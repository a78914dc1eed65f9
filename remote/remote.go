// Package remote is a registry reached over HTTP: the client's half of
// distribution-spec. A [Registry] is an oras.Registry and a [Repository] an
// oras.Store, so whatever works on stores works over the network.
//
// Credentials and retries are an http.RoundTripper in [Options]; this package
// has none of its own. What it does by itself: a download whose connection
// breaks goes on at the byte it had come to, every request body can be sent
// again, every answer has a limit in size, and a silent peer a limit in time.
//
// A registry is trusted for its own origin (scheme, host and port) and no other:
// it may redirect a download elsewhere, but custom headers do not go there, an
// https registry cannot send anybody to http, and a public one nobody to a
// private address. Pages of lists and places of uploads are at the registry's
// origin or refused.
package remote

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/c73062ad/oras"
	"github.com/c73062ad/oras/internal/wire"
)

// Options say how a registry is reached. The zero value works: HTTPS, nobody
// logged in.
type Options struct {
	// Transport sends the requests; nil is one [NewTransport] that all share.
	// Package auth has transports that log in and that try again.
	Transport http.RoundTripper

	// PlainHTTP says that the registry speaks HTTP without TLS. See
	// [IsLocalhost] for when that is customary.
	PlainHTTP bool

	// Header is added to each request to the registry's own origin, and
	// replaces what this package would have sent under the same name.
	Header http.Header

	// UserAgent is the User-Agent header; empty is "oras".
	UserAgent string

	// Accept lists the media types asked for when a manifest is resolved;
	// nil are those of [oras.ManifestMediaTypes].
	Accept []string

	// Referrers says how referrers are found and kept.
	Referrers ReferrersMode

	// LockDir is a directory in which clients take turns at changing a list
	// of referrers that clients keep, by locks on files, which is created if
	// need be; all on one machine should have the same. Where a registry does
	// not heed conditions such clients lose no referrer, whatever holds them
	// up; without, or among machines, a change of one that is held up for long
	// can undo another's. Empty is none: only those of one Registry take turns.
	LockDir string

	// AllowUpload reports whether blobs may be sent to u, which is on another
	// origin than the registry, when the registry says so. Nil allows none.
	// From https to http is refused in any case.
	AllowUpload func(u *url.URL) bool

	// Warn is told what the registry wants its users to read, as it came and
	// as often as it came (distribution-spec, "Warnings"). It may be called
	// by several goroutines at once.
	Warn func(text string)

	// OnRetry is told why a chunk of an upload is sent again, or the rest of it,
	// before that is done; where Transport makes requests again it tells of it
	// itself. It may be called by several goroutines at once.
	OnRetry func(err error)

	// IdleTimeout is how long a connection may move no byte of a body before
	// it counts as broken, and how long the answer to a GET or HEAD may take
	// to begin, but for that of a list; zero is a minute.
	IdleTimeout time.Duration

	// Connections is how many connections a large blob may come over at once,
	// each of which gets parts of it; zero is 6, and 1 is none but the one.
	// They are used where they bring more than one does, which one of HTTP/2,
	// that carries all requests, hardly ever allows. Up to 32 MiB of memory
	// are shared by all downloads from the registry for that.
	Connections int

	// LimitRate is how many bytes of bodies a second may move, over all
	// connections to the registry together, in either direction; zero is any.
	LimitRate int64
}

const (
	defaultConnections = 6
	maxConnections     = 16
)

// URL returns scheme and host at which the registry called host is reached: its
// own or, for docker.io, registry-1.docker.io, as is the custom.
func (o *Options) URL(host string) *url.URL {
	u := &url.URL{Scheme: "https", Host: host}
	if host == "docker.io" {
		u.Host = "registry-1.docker.io"
	}
	if o != nil && o.PlainHTTP {
		u.Scheme = "http"
	}
	return u
}

// A ReferrersMode is a way to find and keep referrers.
type ReferrersMode int

const (
	ReferrersAuto ReferrersMode = iota // the API where the registry has it, else the tag schema
	ReferrersAPI                       // the API only (distribution-spec, "Listing Referrers")
	ReferrersTag                       // the tag schema only (distribution-spec, "Referrers Tag Schema")
)

// A Registry is a registry at one address. It is safe for concurrent use.
type Registry struct {
	host   string // as the user writes it
	client *client
	accept string
	mode   ReferrersMode
	locks  locks   // of referrers tags being changed
	budget *budget // for reading ahead; nil for never

	noTags     atomic.Bool  // tags that come with a push by digest are not set
	conditions atomic.Int32 // whether conditions are heeded: apiUnknown, apiThere, apiAbsent
	single     atomic.Int32 // whether a POST takes a whole blob
	noPatch    atomic.Bool  // uploads in chunks are refused
	chunk      atomic.Int64 // as much as it may have, 0 if nothing was refused
}

var _ oras.Registry = (*Registry)(nil)

// NewRegistry returns the registry at host[:port]; text that is not that is
// oras.ErrReference. No request is made.
func NewRegistry(host string, opts *Options) (*Registry, error) {
	if err := oras.CheckRegistry(host); err != nil {
		return nil, err
	}
	if opts == nil {
		opts = &Options{}
	}
	accept := opts.Accept
	if accept == nil {
		accept = oras.ManifestMediaTypes()
	}
	r := &Registry{
		host:   host,
		client: newClient(host, opts),
		accept: strings.Join(accept, ", "),
		mode:   opts.Referrers,
		locks:  locks{dir: opts.LockDir},
	}
	if n := opts.Connections; n != 1 {
		r.budget = &budget{connections: min(max(n, 0), maxConnections)}
		if n <= 0 {
			r.budget.connections = defaultConnections
		}
	}
	return r, nil
}

// Open returns the repository that name, host[:port]/repository, means. Text that
// is not that, as when a tag follows, is oras.ErrReference. No request is made.
func Open(name string, opts *Options) (*Repository, error) {
	ref, err := oras.ParseReference(name)
	if err != nil {
		return nil, err
	}
	if ref.Target() != "" {
		return nil, fmt.Errorf("%q: %w: a repository has no tag or digest", name, oras.ErrReference)
	}
	r, err := NewRegistry(ref.Registry, opts)
	if err != nil {
		return nil, err
	}
	return &Repository{registry: r, name: ref.Repository}, nil
}

// IsLocalhost reports whether host[:port] is the name localhost, a registry at
// which is customarily reached by plain HTTP.
func IsLocalhost(host string) bool {
	return (&url.URL{Host: host}).Hostname() == "localhost"
}

// Ping asks whether there is a registry that can be used (distribution-spec,
// "Determining Support").
func (r *Registry) Ping(ctx context.Context) error {
	resp, err := r.client.do(ctx, call{method: http.MethodGet, url: r.client.url(wire.Request{Route: wire.Ping}), want: []int{http.StatusOK}})
	if err != nil {
		return err
	}
	drain(resp)
	return nil
}

// Repository returns the repository called name, a *[Repository]. No request is
// made; a name that none can have is oras.ErrReference.
func (r *Registry) Repository(_ context.Context, name string) (oras.Store, error) {
	if err := oras.CheckRepository(name); err != nil {
		return nil, err
	}
	return &Repository{registry: r, name: name}, nil
}

// Repositories implements [oras.Registry]. Pages and their order are the
// registry's; names that no repository can have are left out, since nothing can
// refer to them. Many registries do not tell: oras.ErrUnsupported,
// oras.ErrNotFound, oras.ErrUnauthorized or oras.ErrDenied.
func (r *Registry) Repositories(ctx context.Context, last string, fn func(names []string) error) error {
	first := r.client.url(wire.Request{Route: wire.Repositories, Last: last})
	return r.client.names(ctx, first, "repositories", oras.CheckRepository, fn)
}
