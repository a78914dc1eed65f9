package server

import (
	"cmp"
	"math"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"

	"github.com/c73062ad/oras/internal/wire"
)

// Metrics are numbers about a registry, in the text form that Prometheus reads. The
// zero Metrics can be used, by any number of goroutines; a nil one counts nothing.
//
// Those of requests are labelled with the route, a method of HTTP and the status,
// all of which are few: no client can make more of them, and none is named in them,
// nor any repository. Bytes are counted as they move, requests when they end.
type Metrics struct {
	routes   [len(routeNames)]routeMetrics
	inFlight atomic.Int64

	loginFailures atomic.Int64

	mu    sync.Mutex
	added []Metric
}

// A Metric is a number that is asked for whenever [Metrics] are read.
type Metric struct {
	Name    string         // such as oras_uploads_open; several may share one, one after the other
	Help    string         // a line
	Counter bool           // it only grows; else it is a gauge
	Labels  []string       // names and values in turn
	Value   func() float64 // NaN leaves it out
}

// Add adds metrics to those there are.
func (m *Metrics) Add(metrics ...Metric) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.added = append(m.added, metrics...)
}

// ServeHTTP writes all metrics (text format 0.0.4).
func (m *Metrics) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
		return
	}
	var x exposition
	m.writeRequests(&x)
	m.mu.Lock()
	added := slices.Clone(m.added)
	m.mu.Unlock()
	for _, a := range added {
		if v := a.Value(); !math.IsNaN(v) {
			x.family(a.Name, a.Help, kind(a.Counter))
			x.sample(a.Name, v, a.Labels...)
		}
	}
	reply(w, http.StatusOK, "text/plain; version=0.0.4; charset=utf-8", x.text()) // who went away does not miss it
}

func kind(counter bool) string {
	if counter {
		return "counter"
	}
	return "gauge"
}

// routeNames are the labels of routes.
var routeNames = [...]string{
	wire.Unknown:              "other",
	wire.Ping:                 "ping",
	wire.Blob:                 "blob",
	wire.Manifest:             "manifest",
	wire.Uploads:              "uploads",
	wire.Upload:               "upload",
	wire.Tags:                 "tags",
	wire.Referrers:            "referrers",
	wire.Repositories:         "catalog",
	wire.Extensions:           "extensions",
	wire.RepositoryExtensions: "extensions_repository",
	wire.ORASReferrers:        "referrers_oras",
}

// bounds are those of the histogram, in seconds: from a HEAD to a large blob on a
// slow line.
var bounds = [...]float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 300}

type routeMetrics struct {
	received, sent atomic.Int64 // bytes

	mu    sync.Mutex
	kinds map[requestKind]*requests
}

type requestKind struct {
	method string
	status int // 0: the connection was cut off before there was any
}

// requests are those of a kind that have ended.
type requests struct {
	buckets [len(bounds) + 1]uint64 // how many took so long
	seconds float64
}

// An observed is a request that is counted.
type observed struct {
	metrics *Metrics
	route   *routeMetrics
}

// begin counts a request in.
func (m *Metrics) begin(route wire.Route) observed {
	if m == nil {
		return observed{route: new(routeMetrics)}
	}
	m.inFlight.Add(1)
	return observed{m, &m.routes[route]}
}

func (o observed) in() *atomic.Int64  { return &o.route.received }
func (o observed) out() *atomic.Int64 { return &o.route.sent }

// end counts a request out.
func (o observed) end(e *exchange) {
	if o.metrics == nil {
		return
	}
	o.metrics.inFlight.Add(-1)
	if e.loginFailed {
		o.metrics.loginFailures.Add(1)
	}
	method, took := e.method, e.took.Seconds()
	if !slices.Contains(methods, method) {
		method = "other"
	}
	o.route.mu.Lock()
	defer o.route.mu.Unlock()
	k := requestKind{method, e.status}
	n := o.route.kinds[k]
	if n == nil {
		if o.route.kinds == nil {
			o.route.kinds = map[requestKind]*requests{}
		}
		n = &requests{}
		o.route.kinds[k] = n
	}
	i, _ := slices.BinarySearch(bounds[:], took)
	n.buckets[i]++
	n.seconds += took
}

var methods = []string{
	http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions,
}

// snapshot returns the kinds of requests in their order, and what is known of each.
func (r *routeMetrics) snapshot() (kinds []requestKind, of map[requestKind]requests) {
	r.mu.Lock()
	defer r.mu.Unlock()
	of = map[requestKind]requests{}
	for k, n := range r.kinds {
		kinds = append(kinds, k)
		of[k] = *n
	}
	slices.SortFunc(kinds, func(a, b requestKind) int {
		return cmp.Or(cmp.Compare(a.method, b.method), cmp.Compare(a.status, b.status))
	})
	return kinds, of
}

// writeRequests writes what is known of requests.
func (m *Metrics) writeRequests(x *exposition) {
	var kinds [len(routeNames)][]requestKind
	var known [len(routeNames)]map[requestKind]requests
	for i := range m.routes {
		kinds[i], known[i] = m.routes[i].snapshot()
	}
	const total, seconds = "oras_http_requests_total", "oras_http_request_duration_seconds"
	x.family(total, "Requests that have ended. Status 0 is one whose connection was cut off before there was any.", "counter")
	for i, route := range routeNames {
		for _, k := range kinds[i] {
			n := uint64(0)
			for _, b := range known[i][k].buckets {
				n += b
			}
			x.sample(total, float64(n), "route", route, "method", k.method, "status", strconv.Itoa(k.status))
		}
	}
	x.family(seconds, "How long requests took, bodies included.", "histogram")
	for i, route := range routeNames {
		for method, sum := range byMethod(kinds[i], known[i]) {
			x.histogram(seconds, bounds[:], sum.buckets[:], sum.seconds, "route", route, "method", method)
		}
	}
	bytes := func(name, help string, of func(*routeMetrics) *atomic.Int64) {
		x.family(name, help, "counter")
		for i, route := range routeNames {
			if n := of(&m.routes[i]).Load(); n > 0 || len(kinds[i]) > 0 {
				x.sample(name, float64(n), "route", route)
			}
		}
	}
	bytes("oras_http_request_bytes_total", "Bytes of requests' bodies.", func(r *routeMetrics) *atomic.Int64 { return &r.received })
	bytes("oras_http_response_bytes_total", "Bytes of answers' bodies.", func(r *routeMetrics) *atomic.Int64 { return &r.sent })
	x.family("oras_http_requests_in_flight", "Requests that are being answered.", "gauge")
	x.sample("oras_http_requests_in_flight", float64(m.inFlight.Load()))
	x.family("oras_login_failures_total", "Requests with a wrong password.", "counter")
	x.sample("oras_login_failures_total", float64(m.loginFailures.Load()))
}

// byMethod yields the sum over all status of each method, in the order of kinds.
func byMethod(kinds []requestKind, known map[requestKind]requests) func(yield func(string, requests) bool) {
	return func(yield func(string, requests) bool) {
		for len(kinds) > 0 {
			method, sum := kinds[0].method, requests{}
			for len(kinds) > 0 && kinds[0].method == method {
				n := known[kinds[0]]
				for i, b := range n.buckets {
					sum.buckets[i] += b
				}
				sum.seconds += n.seconds
				kinds = kinds[1:]
			}
			if !yield(method, sum) {
				return
			}
		}
	}
}

// OpenUploads returns how many uploads the handler h of [New] has in mind; 0 for any
// other handler.
func OpenUploads(h http.Handler) int {
	s, ok := h.(*server)
	if !ok {
		return 0
	}
	s.uploads.mu.Lock()
	defer s.uploads.mu.Unlock()
	return len(s.uploads.all)
}
