package server

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/netip"
	"net/url"
	"regexp"
	"sync/atomic"
	"time"

	"github.com/c73062ad/oras/internal/wire"
)

// ObserveOptions say who learns of requests.
type ObserveOptions struct {
	// Metrics count each request; nil is none.
	Metrics *Metrics

	// Log gets a record of each request; nil is none. See [Observe].
	Log *slog.Logger

	// AuditOnly leaves out of Log what is no audit record.
	AuditOnly bool

	// TrustedProxies are those whose X-Forwarded-For and X-Request-ID are believed.
	TrustedProxies []netip.Prefix
}

// Observe returns what wraps the handler of [New], or one around it, so that each
// request is counted and logged when it has been answered or was broken off.
//
// A record of the log has the message "audit" if the request pushes or deletes, or
// if a login was refused or not enough; else "access". Its attributes, left out where
// there is nothing to say:
//
//	request      id of the request, which the answer has as X-Request-ID and each error
//	             of a [LogHandler]; that of a trusted proxy, or a new one
//	client       address
//	user         who logged in (see [Identify])
//	login        whose password was wrong
//	method       of HTTP
//	action       the [Action]
//	repository   and tag, tags, digest, upload, from: what it was about. The digest is
//	             also that of what was pushed, or of what a tag led to
//	path         instead, if it is none of the registry's; without the query
//	status       of HTTP
//	result       ok, challenge (to log in), denied, limited, refused, failed, or broken:
//	             the answer did not get to its end
//	in, out      bytes of the bodies
//	ms           how long it took, in milliseconds
//	agent        User-Agent
//
// No header but those named is in it, and no parameter of the query but those that
// name what is in the registry: no password, token or signature.
func Observe(opts *ObserveOptions) func(http.Handler) http.Handler {
	o := observer{}
	if opts != nil {
		o.ObserveOptions = *opts
	}
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { o.serve(next, w, r) })
	}
}

type observer struct{ ObserveOptions }

func (o *observer) serve(next http.Handler, w http.ResponseWriter, r *http.Request) {
	begin := time.Now()
	e := &exchange{url: *r.URL, method: r.Method, path: r.URL.Path, agent: r.UserAgent()}
	e.about, e.aboutErr = wire.Parse(r.URL)
	e.client = clientOf(r, o.TrustedProxies)
	e.id = o.requestID(r)
	e.authorization = r.Header.Get("Authorization") != ""
	e.action, _ = find(r.Method, e.about.Route)
	w.Header().Set(headerRequestID, e.id)
	ctx := context.WithoutCancel(r.Context()) // of no exchange: a LogHandler would add the id once more
	r = r.WithContext(context.WithValue(r.Context(), exchangeKey{}, e))
	route := o.Metrics.begin(e.about.Route)
	if r.Body != nil && r.Body != http.NoBody {
		r.Body = &countedBody{r.Body, &e.in, route.in()}
	}
	rec := &recorder{ResponseWriter: w, total: route.out(), head: r.Method == http.MethodHead}
	defer func() {
		e.status, e.out, e.took = rec.status, rec.out, time.Since(begin)
		e.digest = w.Header().Get(wire.HeaderDigest)
		route.end(e)
		if o.Log != nil {
			o.log(ctx, e)
		}
	}()
	e.broken = true // unless it returns
	next.ServeHTTP(rec, r)
	e.broken = false
	if rec.status == 0 {
		rec.status = http.StatusOK // as net/http has it
	}
}

// An exchange is a request and what became of it.
type exchange struct {
	id            string
	client        netip.Addr
	method        string
	path          string
	agent         string
	authorization bool // the request has a login, good or not
	url           url.URL
	about         *wire.Request // of url; what cannot be parsed has no route, or fields that are logged as they are
	aboutErr      error
	action        Action

	user        string // who logged in
	wrong       string // whose password was wrong, if there is such a user
	loginFailed bool

	status int // 0: none was sent
	digest string
	in     atomic.Int64
	out    int64
	took   time.Duration
	broken bool
}

type exchangeKey struct{}

// exchangeOf returns the exchange that ctx is of, or nil if nobody observes it.
func exchangeOf(ctx context.Context) *exchange {
	e, _ := ctx.Value(exchangeKey{}).(*exchange)
	return e
}

// parse is wire.Parse of what r asks for. Who observes r did that already.
func parse(r *http.Request) (*wire.Request, error) {
	e := exchangeOf(r.Context())
	if e == nil || e.url != *r.URL { // a handler between may have changed it
		return wire.Parse(r.URL)
	}
	about := *e.about
	return &about, e.aboutErr
}

// Identify says, for the log, who sent r. An [Authorizer] calls it once it knows.
func Identify(r *http.Request, user string) {
	if e := exchangeOf(r.Context()); e != nil {
		e.user = user
	}
}

// suspect says, for log and metrics, that r has a wrong password, and of which user
// if there is one of that name.
func suspect(r *http.Request, user string) {
	if e := exchangeOf(r.Context()); e != nil {
		e.wrong, e.loginFailed = user, true
	}
}

// observedClient returns the address r comes from, as Observe found it.
func observedClient(r *http.Request) netip.Addr {
	if e := exchangeOf(r.Context()); e != nil {
		return e.client
	}
	return clientOf(r, nil)
}

const headerRequestID = "X-Request-ID"

var requestID = regexp.MustCompile(`^[A-Za-z0-9._:/+=@-]{1,64}$`)

func (o *observer) requestID(r *http.Request) string {
	if id := r.Header.Get(headerRequestID); contains(o.TrustedProxies, parseAddr(r.RemoteAddr)) && requestID.MatchString(id) {
		return id
	}
	return fmt.Sprintf("%016x", rand.Uint64()) // no secret
}

// A countedBody counts what was read of a request.
type countedBody struct {
	io.ReadCloser
	n     *atomic.Int64
	total *atomic.Int64
}

func (b *countedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.n.Add(int64(n))
	b.total.Add(int64(n))
	return n, err
}

// A recorder learns the status of an answer, and counts its bytes.
type recorder struct {
	http.ResponseWriter
	status int
	out    int64
	total  *atomic.Int64
	head   bool // no body is sent, whatever is written
}

// Unwrap lets [http.ResponseController] reach what is below.
func (r *recorder) Unwrap() http.ResponseWriter { return r.ResponseWriter }

func (r *recorder) WriteHeader(status int) {
	if r.status == 0 && status >= 200 {
		r.status = status
	}
	r.ResponseWriter.WriteHeader(status)
}

func (r *recorder) Write(p []byte) (int, error) {
	n, err := r.ResponseWriter.Write(p)
	return n, r.wrote(int64(n), err)
}

// ReadFrom keeps the form that lets net/http hand a file to the kernel.
func (r *recorder) ReadFrom(src io.Reader) (int64, error) {
	n, err := io.Copy(r.ResponseWriter, src)
	return n, r.wrote(n, err)
}

func (r *recorder) wrote(n int64, err error) error {
	if r.status == 0 {
		r.status = http.StatusOK
	}
	if !r.head {
		r.out += n
		r.total.Add(n)
	}
	return err
}
