package auth

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/c73062ad/oras/internal/wire"
)

func TestMain(m *testing.M) {
	if registry := os.Getenv("AUTH_TEST_LOGIN"); registry != "" {
		os.Exit(loginProcess(registry))
	}
	os.Exit(m.Run())
}

// The secrets that nothing may show: each test that plants one uses these.
const (
	password     = "planted-pa55word"
	refreshToken = "planted-r3fresh"
	accessToken  = "planted-acce55"
)

var secrets = []string{password, refreshToken, accessToken, "cGxhbnRlZ", "planted-"}

// clean fails the test if err shows a secret in any way of printing it.
func clean(t *testing.T, err error) {
	t.Helper()
	for e := err; e != nil; e = errors.Unwrap(e) {
		for _, format := range []string{"%v", "%+v", "%#v", "%q"} {
			text := fmt.Sprintf(format, e)
			for _, secret := range secrets {
				if strings.Contains(text, secret) {
					t.Errorf("%s of an error shows %q: %s", format, secret, text)
				}
			}
		}
	}
}

// wantErr fails the test unless err holds text, is kind (if not nil), and is clean.
func wantErr(t *testing.T, err error, kind error, text string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), text) || kind != nil && !errors.Is(err, kind) {
		t.Errorf("got error %v, want %q of kind %v", err, text, kind)
	}
	clean(t, err)
}

// A world is hosts by name, each a server of its own on loopback.
type world struct {
	t         *testing.T
	transport *http.Transport
	mu        sync.Mutex
	addresses map[string]string // of "host:port"
}

func newWorld(t *testing.T) *world {
	w := &world{t: t, addresses: map[string]string{}}
	w.transport = &http.Transport{
		TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, // names are the world's, certificates are not the matter here
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			w.mu.Lock()
			real, ok := w.addresses[address]
			w.mu.Unlock()
			if !ok {
				return nil, fmt.Errorf("no host %s in this test", address)
			}
			return (&net.Dialer{}).DialContext(ctx, network, real)
		},
	}
	t.Cleanup(w.transport.CloseIdleConnections)
	return w
}

// serve lets handler answer at origin, such as "https://a.example".
func (w *world) serve(origin string, handler http.Handler) *recorder {
	w.t.Helper()
	r := &recorder{handler: handler}
	u, err := url.Parse(origin)
	if err != nil {
		w.t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(r)
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	if u.Scheme == "https" {
		server.StartTLS()
	} else {
		server.Start()
	}
	w.t.Cleanup(server.Close)
	full, _ := url.Parse(wire.Origin(u))
	w.mu.Lock()
	defer w.mu.Unlock()
	w.addresses[full.Host] = server.Listener.Addr().String()
	return r
}

// A recorder keeps what was asked of a host.
type recorder struct {
	handler http.Handler
	mu      sync.Mutex
	asked   []asked
}

type asked struct {
	method, path, query, body string
	header                    http.Header
}

func (r *recorder) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	body, err := io.ReadAll(req.Body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	req.Body = io.NopCloser(strings.NewReader(string(body)))
	r.mu.Lock()
	r.asked = append(r.asked, asked{req.Method, req.URL.Path, req.URL.RawQuery, string(body), req.Header.Clone()})
	r.mu.Unlock()
	r.handler.ServeHTTP(w, req)
}

func (r *recorder) all() []asked {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.asked)
}

func (r *recorder) count() int { return len(r.all()) }

func (r *recorder) last() asked {
	all := r.all()
	return all[len(all)-1]
}

// A tokenService issues tokens for scopes, as distribution's specifications of
// token authentication and of its OAuth2 variant have it. What it issued is what
// guards a registry.
type tokenService struct {
	now      func() time.Time
	lifetime int               // seconds; zero says nothing about it
	users    map[string]string // passwords; anybody may pull
	rotate   bool              // a refresh token can be used once
	before   func()            // called before each answer

	mu        sync.Mutex
	refresh   map[string]string // users of refresh tokens
	issued    map[string]issuedToken
	exchanges int
}

type issuedToken struct {
	user    string
	scopes  []string
	expires time.Time
}

func (s *tokenService) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if s.before != nil {
		s.before()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.exchanges++
	if err := r.ParseForm(); err != nil {
		http.Error(w, "form", http.StatusBadRequest)
		return
	}
	user, rest := "", map[string]any{}
	var scopes []string
	if r.Method == http.MethodPost {
		old := r.PostForm.Get("refresh_token")
		if user = s.refresh[old]; user == "" || r.PostForm.Get("grant_type") != "refresh_token" || r.PostForm.Get("client_id") == "" {
			w.WriteHeader(http.StatusUnauthorized)
			w.Write(wire.ErrorBody(wire.Error{Code: wire.CodeUnauthorized, Message: "no such token: " + old}))
			return
		}
		if s.rotate {
			newer := fmt.Sprintf("planted-rotated-%d", s.exchanges)
			delete(s.refresh, old)
			s.refresh[newer] = user
			rest["refresh_token"] = newer
		}
		scopes = strings.Fields(r.PostForm.Get("scope"))
	} else {
		name, secret, ok := r.BasicAuth()
		if ok && (s.users[name] == "" || s.users[name] != secret) {
			w.WriteHeader(http.StatusUnauthorized)
			w.Write(wire.ErrorBody(wire.Error{Code: wire.CodeUnauthorized, Message: "wrong: " + secret}))
			return
		}
		user, scopes = name, r.Form["scope"]
	}
	if r.Form.Get("service") != "the registry" {
		http.Error(w, "service", http.StatusBadRequest)
		return
	}
	value := fmt.Sprintf("planted-token-%d", s.exchanges)
	if s.issued == nil {
		s.issued = map[string]issuedToken{}
	}
	valid := time.Minute
	if s.lifetime > 0 {
		rest["expires_in"] = s.lifetime
		valid = time.Duration(s.lifetime) * time.Second
	}
	s.issued[value] = issuedToken{user, mergeScopes(scopes), s.now().Add(valid)}
	name := "token"
	if r.Method == http.MethodPost {
		name = "access_token"
	}
	rest[name] = value
	json.NewEncoder(w).Encode(rest)
}

func (s *tokenService) revokeAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.issued)
}

func (s *tokenService) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.exchanges
}

// guard answers a request that has a token for what it wants with next, and
// others with a challenge that names realm.
func (s *tokenService) guard(realm string, next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var scopes []string
		if parsed, err := wire.Parse(r.URL); err == nil {
			scopes = mergeScopes(parsed.Scopes(r.Method))
		} else {
			scopes = []string{"repository:hello:pull,push"}
		}
		value, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
		s.mu.Lock()
		token, ok := s.issued[value]
		now := s.now()
		s.mu.Unlock()
		needsUser := slices.ContainsFunc(scopes, func(scope string) bool { return !strings.HasSuffix(scope, ":pull") })
		if ok && now.Before(token.expires) && coversScopes(token.scopes, scopes) && (token.user != "" || !needsUser) {
			next(w, r)
			return
		}
		challenge := fmt.Sprintf(`Bearer realm=%q,service="the registry"`, realm)
		if len(scopes) > 0 {
			challenge += fmt.Sprintf(`,scope=%q`, strings.Join(scopes, " "))
		}
		w.Header().Set("WWW-Authenticate", challenge)
		w.WriteHeader(http.StatusUnauthorized)
	}
}

// basicGuard answers requests of user with next.
func basicGuard(user, secret string, next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if name, given, ok := r.BasicAuth(); ok && name == user && given == secret {
			next(w, r)
			return
		}
		w.Header().Set("WWW-Authenticate", `Basic realm="Authorization Required"`)
		w.WriteHeader(http.StatusUnauthorized)
		w.Write([]byte("no"))
	}
}

// ok answers with the body of the request.
func ok(w http.ResponseWriter, r *http.Request) {
	_, _ = io.Copy(w, r.Body)
}

func parseURL(t *testing.T, s string) *url.URL {
	t.Helper()
	u, err := url.Parse(s)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// client returns a Transport for origin in the world, and an http.Client over it.
func (w *world) client(origin string, cred Credential, opts *Options) (*Transport, *http.Client) {
	if opts == nil {
		opts = &Options{}
	}
	opts.Base = w.transport
	u := parseURL(w.t, origin)
	transport := NewTransport(u, Static(u.Host, cred), opts)
	return transport, &http.Client{Transport: transport}
}

// do sends a request and returns its status and body.
func do(t *testing.T, client *http.Client, method, target string, body io.Reader) (int, string, error) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, target, body)
	if err != nil {
		t.Fatal(err)
	}
	return roundTrip(t, client, req)
}

func roundTrip(t *testing.T, client *http.Client, req *http.Request) (int, string, error) {
	t.Helper()
	resp, err := client.Do(req)
	if err != nil {
		clean(t, err)
		return 0, "", err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	return resp.StatusCode, string(answer), err
}

// want sends a request that must be answered with status.
func want(t *testing.T, client *http.Client, status int, method, target string, body io.Reader) {
	t.Helper()
	got, _, err := do(t, client, method, target, body)
	if err != nil || got != status {
		t.Errorf("%s %s: status %d, error %v, want %d", method, target, got, err, status)
	}
}

// bodyOnce is a body that cannot be read twice.
func bodyOnce(s string) io.Reader { return io.MultiReader(strings.NewReader(s)) }
