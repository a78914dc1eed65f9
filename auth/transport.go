package auth

import (
	"context"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/c73062ad/oras"
	"github.com/c73062ad/oras/internal/wire"
)

// Options of a [Transport]. Nil and the zero value are the defaults.
type Options struct {
	// Base sends requests, to the registry and to its token service; nil is
	// http.DefaultTransport. A [Retry] stands here.
	Base http.RoundTripper

	// AllowRealms are token services that may be shown the registry's
	// credentials besides those that are its own by their name: on its own
	// host, one label below its host, or below the domain its host is one
	// label below; for a registry at a loopback address, at any such. Each
	// is host[:port], or scheme://host[:port]. What is allowed here may also
	// be at a private address. A token service on plain HTTP for a registry
	// on HTTPS is never allowed.
	AllowRealms []string

	// ClientID names this client to token services that speak OAuth2; empty
	// is "oras".
	ClientID string
}

// A Transport sends requests to one registry, logging in as the registry asks:
// Basic (RFC 7617), or Bearer with tokens from its token service (distribution's
// "Token Authentication Specification" and "OAuth2 Token Authentication"). Once
// it knows what the registry asks for, it sends that along unasked.
//
// Credentials go with requests to the registry's origin: its scheme, host and
// port. A request to another origin, or one that redirects led out of the origin
// and perhaps back, goes without Authorization, Cookie, and any other header
// that HTTP itself does not need, and a 401 that answers it is left alone. So is
// a request that holds an Authorization of the caller's own.
//
// A request is sent a second time at most, with its body from
// http.Request.GetBody. The answer to that, or to a request whose body is gone,
// may be a 401: it is returned as it is. RoundTrip fails with [ErrNoCredential]
// or [ErrNoPassword] if there is nothing to log in with, [ResponseError] if the
// token service refuses, [RealmError] if it is not to be asked, or the error of
// the [Source].
//
// A Transport is safe for concurrent use; requests that need the same token
// share one exchange.
type Transport struct {
	base     http.RoundTripper
	registry *url.URL // scheme and host
	origin   string
	source   Source
	allow    []string
	clientID string
	now      func() time.Time
	limit    time.Duration // for one login

	credentialLogins group[Credential]
	tokenLogins      group[string]

	mu           sync.Mutex
	challenge    wire.Challenge // the registry's last, without what is particular to one request
	credentials  map[string]Credential
	tokens       map[string][]token
	uploads      map[string]need   // of paths that are not the protocol's
	rotated      map[string]string // refresh tokens that took another's place
	refreshRealm string            // origin that refresh tokens were shown to
}

const (
	loginLimit = time.Minute
	maxKept    = 1024     // entries of each map; what is over it is forgotten, and found out again
	maxAsked   = 16 << 10 // bytes of a challenge
	maxDrained = 64 << 10
)

// NewTransport returns a Transport for the registry at the scheme and host of
// registry. A nil source knows nothing: the Transport still fetches anonymous
// tokens.
func NewTransport(registry *url.URL, source Source, opts *Options) *Transport {
	if opts == nil {
		opts = &Options{}
	}
	t := &Transport{
		base:        opts.Base,
		registry:    &url.URL{Scheme: strings.ToLower(registry.Scheme), Host: registry.Host},
		source:      source,
		allow:       slices.Clone(opts.AllowRealms),
		clientID:    opts.ClientID,
		now:         time.Now,
		limit:       loginLimit,
		credentials: map[string]Credential{},
		tokens:      map[string][]token{},
		uploads:     map[string]need{},
		rotated:     map[string]string{},
	}
	t.origin = wire.Origin(t.registry)
	if t.base == nil {
		t.base = http.DefaultTransport
	}
	if t.clientID == "" {
		t.clientID = "oras"
	}
	return t
}

// RoundTrip implements http.RoundTripper.
func (t *Transport) RoundTrip(req *http.Request) (*http.Response, error) {
	if !t.ours(req) {
		return t.base.RoundTrip(bare(req))
	}
	if req.Header.Get("Authorization") != "" {
		return t.base.RoundTrip(req)
	}
	n := t.need(req)
	sent, err := t.known(req.Context(), n)
	if err != nil {
		closeBody(req)
		return nil, err
	}
	resp, err := t.send(req, req.Body, sent)
	if err != nil {
		return nil, err
	}
	if resp.StatusCode != http.StatusUnauthorized {
		t.noteUpload(resp, n)
		return resp, nil
	}
	challenge, ok := choose(resp.Header)
	if !ok {
		return resp, nil
	}
	t.keep(challenge)
	header, err := t.answer(req.Context(), n, challenge, sent)
	if err != nil {
		discard(resp.Body)
		return nil, err
	}
	if header == sent || !canRewind(req) {
		return resp, nil
	}
	discard(resp.Body)
	body, err := rewind(req)
	if err != nil {
		return nil, err
	}
	if resp, err = t.send(req, body, header); err == nil {
		t.noteUpload(resp, n)
	}
	return resp, err
}

// ours reports whether req and all that redirected to it are at the registry's
// origin.
func (t *Transport) ours(req *http.Request) bool {
	for ; req != nil; req = req.Response.Request {
		if wire.Origin(req.URL) != t.origin {
			return false
		}
		if req.Response == nil {
			return true
		}
	}
	return false // a response that does not say what it answers
}

// harmless are the headers that may follow a request anywhere.
var harmless = []string{
	"Accept", "Accept-Encoding", "Accept-Language", "Content-Length", "Content-Range", "Content-Type", "Expect", "If-Match",
	"If-Modified-Since", "If-None-Match", "If-Range", "If-Unmodified-Since", "Range", "User-Agent",
}

// bare returns req without the headers that are between the caller and the
// registry.
func bare(req *http.Request) *http.Request {
	stripped := req.Clone(req.Context())
	for name := range stripped.Header {
		if !slices.Contains(harmless, http.CanonicalHeaderKey(name)) {
			delete(stripped.Header, name)
		}
	}
	return stripped
}

// A need is what a request needs a login for.
type need struct {
	repository string
	scopes     []string // canonical
	userAgent  string
}

func (t *Transport) need(req *http.Request) need {
	agent := req.Header.Get("User-Agent")
	r, err := wire.Parse(req.URL)
	if err == nil || r.Repository != "" && oras.CheckRepository(r.Repository) == nil {
		return need{r.Repository, mergeScopes(r.Scopes(req.Method)), agent}
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	n := t.uploads[req.URL.Path]
	n.userAgent = agent
	return n
}

// noteUpload remembers what an upload is for whose Location is none of the
// protocol's paths, as is the registry's right: its body, once sent, may be gone
// when a 401 tells.
func (t *Transport) noteUpload(resp *http.Response, n need) {
	location := resp.Header.Get("Location")
	if location == "" || n.repository == "" || resp.StatusCode/100 != 2 {
		return
	}
	u, err := resp.Request.URL.Parse(location)
	if err != nil || wire.Origin(u) != t.origin {
		return
	}
	if _, err := wire.Parse(u); err != nil {
		t.mu.Lock()
		put(t.uploads, u.Path, n)
		t.mu.Unlock()
	}
}

// known returns the Authorization header that the registry will ask for as far
// as is known, empty if nothing is.
func (t *Transport) known(ctx context.Context, n need) (string, error) {
	t.mu.Lock()
	challenge := t.challenge
	t.mu.Unlock()
	if challenge.Scheme == "bearer" {
		return t.bearer(ctx, n, challenge, "")
	}
	if challenge.Scheme == "" {
		return "", nil
	}
	cred, err := t.credential(ctx, n.repository, false)
	if err != nil || cred.Username == "" || cred.Password == "" {
		return "", err
	}
	return basic(cred), nil
}

// answer returns the Authorization header that challenge asks for, after one
// (or none) was sent and not taken. It is the one sent if nothing better is
// known.
func (t *Transport) answer(ctx context.Context, n need, challenge wire.Challenge, sent string) (string, error) {
	if challenge.Scheme == "bearer" {
		return t.bearer(ctx, n, challenge, strings.TrimPrefix(sent, "Bearer "))
	}
	cred, err := t.credential(ctx, n.repository, true)
	switch {
	case err != nil:
		return "", err
	case cred.IsZero():
		return "", ErrNoCredential
	case cred.Username == "" || cred.Password == "":
		return "", ErrNoPassword
	}
	return basic(cred), nil
}

func basic(cred Credential) string {
	r := http.Request{Header: http.Header{}}
	r.SetBasicAuth(cred.Username, cred.Password)
	return r.Header.Get("Authorization")
}

// credential asks the source, unless an answer is kept that need not be fresh.
func (t *Transport) credential(ctx context.Context, repository string, fresh bool) (Credential, error) {
	if t.source == nil {
		return Credential{}, nil
	}
	t.mu.Lock()
	cred, ok := t.credentials[repository]
	t.mu.Unlock()
	if ok && !fresh {
		return cred, nil
	}
	return t.credentialLogins.do(ctx, repository, t.limit, func(ctx context.Context) (Credential, error) {
		cred, err := t.source.Credential(ctx, t.registry.Host, repository)
		if err == nil {
			t.mu.Lock()
			put(t.credentials, repository, cred)
			t.mu.Unlock()
		}
		return cred, err
	})
}

// choose returns the challenge to answer: Bearer if there is one, since it shows
// the registry less, else Basic.
func choose(h http.Header) (wire.Challenge, bool) {
	all := wire.ParseChallenges(h)
	for _, scheme := range []string{"bearer", "basic"} {
		i := slices.IndexFunc(all, func(c wire.Challenge) bool { return c.Scheme == scheme })
		if i >= 0 && (scheme == "basic" || all[i].Parameters["realm"] != "") && sizeOf(all[i]) <= maxAsked {
			return all[i], true
		}
	}
	return wire.Challenge{}, false
}

func sizeOf(c wire.Challenge) (n int) {
	for name, value := range c.Parameters {
		n += len(name) + len(value)
	}
	return n
}

// keep remembers how the registry wants to be shown credentials.
func (t *Transport) keep(c wire.Challenge) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.challenge = wire.Challenge{Scheme: c.Scheme, Parameters: map[string]string{
		"realm": c.Parameters["realm"], "service": c.Parameters["service"],
	}}
}

// send sends req with body and, unless it is empty, an Authorization header.
func (t *Transport) send(req *http.Request, body io.ReadCloser, authorization string) (*http.Response, error) {
	sent := req.Clone(req.Context())
	sent.Body = body
	if authorization != "" {
		sent.Header.Set("Authorization", authorization)
	}
	resp, err := t.base.RoundTrip(sent)
	if resp != nil {
		resp.Request = req // the caller's, which holds no credentials
	}
	return resp, err
}

// put sets m[key] in a map that is no more than a memory.
func put[V any](m map[string]V, key string, value V) {
	if _, ok := m[key]; !ok && len(m) >= maxKept {
		clear(m)
	}
	m[key] = value
}

func closeBody(req *http.Request) {
	if req.Body != nil {
		req.Body.Close()
	}
}

func canRewind(req *http.Request) bool {
	return req.Body == nil || req.Body == http.NoBody || req.GetBody != nil
}

// rewind returns the body of a request that canRewind.
func rewind(req *http.Request) (io.ReadCloser, error) {
	if req.Body == nil || req.Body == http.NoBody {
		return req.Body, nil
	}
	return req.GetBody()
}

// discard ends a response that nobody reads so that its connection can be used
// again, if the little that should be left of it comes soon.
func discard(body io.ReadCloser) {
	patience := time.AfterFunc(time.Second, func() { body.Close() })
	defer patience.Stop()
	_, _ = io.CopyN(io.Discard, body, maxDrained) // an error here says only that the connection is lost
	body.Close()
}
