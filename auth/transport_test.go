package auth

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/c73062ad/oras"
	"github.com/c73062ad/oras/internal/wire"
)

const (
	registryURL = "https://registry.example.com"
	tokenURL    = "https://auth.example.com/token"
	manifest    = registryURL + "/v2/hello/manifests/v1"
	blobs       = registryURL + "/v2/hello/blobs/uploads/"
)

var user = Credential{Username: "me", Password: password}

func TestBasic(t *testing.T) {
	w := newWorld(t)
	registry := w.serve(registryURL, basicGuard("me", password, ok))
	_, client := w.client(registryURL, user, nil)
	want(t, client, 200, "GET", manifest, nil)
	if n := registry.count(); n != 2 {
		t.Errorf("%d requests, want one to learn and one to log in", n)
	}
	want(t, client, 200, "PUT", manifest, bodyOnce("content")) // only possible unasked
	want(t, client, 200, "GET", registryURL+"/v2/other/tags/list", nil)
	if n := registry.count(); n != 4 {
		t.Errorf("%d requests, want 4: the registry is known by now", n)
	}
}

func TestBasicRefused(t *testing.T) {
	for _, test := range []struct {
		name string
		cred Credential
		want error
		text string
	}{
		{"nobody", Credential{}, ErrNoCredential, "basic credential not found"},
		{"refresh token", Credential{RefreshToken: refreshToken}, ErrNoPassword, "missing username or password for basic auth"},
		{"access token", Credential{AccessToken: accessToken}, ErrNoPassword, "missing username or password for basic auth"},
		{"user only", Credential{Username: "me", RefreshToken: refreshToken}, ErrNoPassword, "missing username or password for basic auth"},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t)
			registry := w.serve(registryURL, basicGuard("me", password, ok))
			_, client := w.client(registryURL, test.cred, nil)
			for range 2 {
				_, _, err := do(t, client, "GET", manifest, nil)
				wantErr(t, err, test.want, test.text)
				wantErr(t, err, oras.ErrUnauthorized, "")
			}
			if test.want.Error() != test.text {
				t.Errorf("text is %q, want exactly %q", test.want, test.text)
			}
			for _, a := range registry.all() {
				if a.header.Get("Authorization") != "" {
					t.Error("something was sent")
				}
			}
		})
	}
}

func TestBasicWrongPassword(t *testing.T) {
	w := newWorld(t)
	registry := w.serve(registryURL, basicGuard("me", "another", ok))
	_, client := w.client(registryURL, user, nil)
	for i, requests := range []int{2, 3} { // the second time it is sent unasked, and not again
		status, body, err := do(t, client, "GET", manifest, nil)
		if status != 401 || body != "no" || err != nil {
			t.Errorf("got %d, %q, %v; want the registry's own 401", status, body, err)
		}
		if n := registry.count(); n != requests {
			t.Errorf("after request %d: %d sent, want %d", i+1, n, requests)
		}
	}
}

// A login that changes while the Transport lives is found.
func TestBasicChanged(t *testing.T) {
	w := newWorld(t)
	secret := "first-secret"
	var mu sync.Mutex
	get := func() string { mu.Lock(); defer mu.Unlock(); return secret }
	w.serve(registryURL, http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		basicGuard("me", get(), ok)(rw, r)
	}))
	source := sourceFunc(func(context.Context, string, string) (Credential, error) {
		return Credential{Username: "me", Password: get()}, nil
	})
	client := &http.Client{Transport: NewTransport(parseURL(t, registryURL), source, &Options{Base: w.transport})}
	want(t, client, 200, "GET", manifest, nil)
	mu.Lock()
	secret = "second-secret"
	mu.Unlock()
	want(t, client, 200, "GET", manifest, nil)
}

type sourceFunc func(ctx context.Context, registry, repository string) (Credential, error)

func (f sourceFunc) Credential(ctx context.Context, registry, repository string) (Credential, error) {
	return f(ctx, registry, repository)
}

func TestSource(t *testing.T) {
	w := newWorld(t)
	w.serve("http://registry.example.com:5000", basicGuard("me", password, ok))
	broken := errors.New("the source is broken")
	source := sourceFunc(func(_ context.Context, registry, repository string) (Credential, error) {
		if registry != "registry.example.com:5000" {
			t.Errorf("asked for registry %q", registry)
		}
		switch repository {
		case "hello":
			return user, nil
		case "broken":
			return Credential{}, broken
		}
		return Credential{}, nil
	})
	base := "http://registry.example.com:5000/v2/"
	client := &http.Client{Transport: NewTransport(parseURL(t, base), source, &Options{Base: w.transport})}
	want(t, client, 200, "GET", base+"hello/manifests/v1", nil)
	_, _, err := do(t, client, "GET", base+"other/manifests/v1", nil)
	wantErr(t, err, ErrNoCredential, "")
	_, _, err = do(t, client, "GET", base+"broken/manifests/v1", nil)
	wantErr(t, err, broken, "")
}

// bearerWorld has a registry with a token service of its own.
func bearerWorld(t *testing.T, s *tokenService) (*world, *recorder, *recorder) {
	if s.now == nil {
		s.now = time.Now
	}
	w := newWorld(t)
	registry := w.serve(registryURL, s.guard(tokenURL, ok))
	service := w.serve(tokenURL, s)
	return w, registry, service
}

func TestBearerPassword(t *testing.T) {
	s := &tokenService{users: map[string]string{"me": password}}
	w, registry, service := bearerWorld(t, s)
	_, client := w.client(registryURL, user, nil)
	want(t, client, 200, "PUT", manifest, strings.NewReader("x"))
	want(t, client, 200, "PUT", manifest, bodyOnce("x"))
	want(t, client, 200, "GET", manifest, nil) // what may be pushed may be pulled
	if n := registry.count(); n != 4 {
		t.Errorf("%d requests to the registry, want 4", n)
	}
	if n := s.count(); n != 1 {
		t.Errorf("%d exchanges, want 1", n)
	}
	a := service.last()
	if a.method != "GET" || a.query != "scope=repository%3Ahello%3Apull%2Cpush&service=the+registry" {
		t.Errorf("asked %s ?%s", a.method, a.query)
	}
	want(t, client, 200, "POST", blobs+"?mount=sha256:"+strings.Repeat("0", 64)+"&from=elsewhere", nil)
	if a := service.last(); a.query != "scope=repository%3Aelsewhere%3Apull&scope=repository%3Ahello%3Apull%2Cpush&service=the+registry" {
		t.Errorf("mount: asked ?%s", a.query)
	}
	want(t, client, 200, "GET", registryURL+"/v2/", nil)
	want(t, client, 200, "GET", registryURL+"/v2/_catalog", nil)
	if a := service.last(); a.query != "scope=registry%3Acatalog%3A%2A&service=the+registry" {
		t.Errorf("catalog: asked ?%s", a.query)
	}
}

func TestBearerAnonymous(t *testing.T) {
	s := &tokenService{}
	w, registry, service := bearerWorld(t, s)
	_, client := w.client(registryURL, Credential{}, nil)
	want(t, client, 200, "GET", manifest, nil)
	if service.last().header.Get("Authorization") != "" {
		t.Error("an anonymous exchange has an Authorization")
	}
	before := registry.count()
	want(t, client, 401, "PUT", manifest, strings.NewReader("x"))
	if n := registry.count() - before; n != 2 { // with the token known to be wanted, and one re-login
		t.Errorf("%d requests, want 2", n)
	}
}

func TestBearerRefreshToken(t *testing.T) {
	for _, rotate := range []bool{false, true} {
		t.Run(fmt.Sprint(rotate), func(t *testing.T) {
			s := &tokenService{refresh: map[string]string{refreshToken: "me"}, rotate: rotate}
			w, _, service := bearerWorld(t, s)
			_, client := w.client(registryURL, Credential{Username: "me", Password: password, RefreshToken: refreshToken}, nil)
			for _, name := range []string{"a", "b", "c"} {
				want(t, client, 200, "PUT", registryURL+"/v2/"+name+"/manifests/v1", strings.NewReader("x"))
			}
			for _, a := range service.all() {
				if a.method != "POST" || a.query != "" || a.header.Get("Authorization") != "" || strings.Contains(a.body, password) {
					t.Errorf("asked %s ?%s", a.method, a.query)
				}
			}
			if a := service.all()[0]; !strings.Contains(a.body, "client_id=oras&") {
				t.Errorf("form: %s", a.body)
			}
		})
	}
}

func TestBearerAccessToken(t *testing.T) {
	s := &tokenService{}
	w, registry, service := bearerWorld(t, s)
	s.issued = map[string]issuedToken{accessToken: {"me", []string{"repository:hello:pull"}, time.Now().Add(time.Hour)}}
	_, client := w.client(registryURL, Credential{AccessToken: accessToken}, nil)
	want(t, client, 200, "GET", manifest, nil)
	want(t, client, 401, "GET", registryURL+"/v2/other/manifests/v1", nil)
	if service.count() != 0 || registry.count() != 3 {
		t.Errorf("%d exchanges, %d requests; want 0, 3", service.count(), registry.count())
	}
}

func TestBearerWrongPassword(t *testing.T) {
	s := &tokenService{users: map[string]string{"me": "another"}}
	w, _, _ := bearerWorld(t, s)
	_, client := w.client(registryURL, user, nil)
	_, _, err := do(t, client, "GET", manifest, nil)
	wantErr(t, err, oras.ErrUnauthorized, `GET "https://auth.example.com/token": response status code 401: unauthorized: wrong: ***`)
	var response *ResponseError
	if !errors.As(err, &response) || response.StatusCode != 401 {
		t.Errorf("got %v, want a ResponseError", err)
	}
	_, client = w.client(registryURL, Credential{RefreshToken: refreshToken}, nil)
	_, _, err = do(t, client, "GET", manifest, nil)
	wantErr(t, err, oras.ErrUnauthorized, "no such token: ***")
}

func TestTokenExpires(t *testing.T) {
	var mu sync.Mutex
	now := time.Now()
	clock := func() time.Time { mu.Lock(); defer mu.Unlock(); return now }
	s := &tokenService{lifetime: 100, now: clock}
	w, registry, _ := bearerWorld(t, s)
	transport, client := w.client(registryURL, Credential{}, nil)
	transport.now = clock
	for _, step := range []struct {
		after               time.Duration
		exchanges, requests int
	}{{0, 1, 2}, {80 * time.Second, 1, 3}, {15 * time.Second, 2, 4}, {200 * time.Second, 3, 5}} {
		mu.Lock()
		now = now.Add(step.after)
		mu.Unlock()
		want(t, client, 200, "GET", manifest, nil)
		if s.count() != step.exchanges || registry.count() != step.requests {
			t.Errorf("after %v: %d exchanges, %d requests; want %+v", step.after, s.count(), registry.count(), step)
		}
	}
	s.revokeAll() // before their time
	want(t, client, 200, "GET", manifest, nil)
	if s.count() != 4 || registry.count() != 7 {
		t.Errorf("revoked: %d exchanges, %d requests; want 4, 7", s.count(), registry.count())
	}
}

// A registry that is never content is asked twice, then believed.
func TestReloginOnce(t *testing.T) {
	s := &tokenService{now: time.Now}
	w := newWorld(t)
	w.serve(tokenURL, s)
	registry := w.serve(registryURL, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("WWW-Authenticate", `Bearer realm="`+tokenURL+`",service="the registry"`)
		w.WriteHeader(401)
	}))
	_, client := w.client(registryURL, user, nil)
	s.users = map[string]string{"me": password}
	for i := range 3 {
		before, exchanges := registry.count(), s.count()
		want(t, client, 401, "GET", manifest, nil)
		if n, e := registry.count()-before, s.count()-exchanges; n != 2 || e > 1 {
			t.Errorf("request %d: sent %d times with %d exchanges", i, n, e)
		}
	}
}

func TestOneExchange(t *testing.T) {
	s := &tokenService{users: map[string]string{"me": password}}
	w, _, _ := bearerWorld(t, s)
	w.transport.MaxConnsPerHost = 8
	_, client := w.client(registryURL, user, nil)
	var group sync.WaitGroup
	for range 50 {
		group.Go(func() { want(t, client, 200, "GET", manifest, nil) })
	}
	group.Wait()
	if n := s.count(); n != 1 {
		t.Errorf("%d exchanges, want 1", n)
	}
	s.revokeAll()
	for range 20 {
		group.Go(func() { want(t, client, 200, "GET", manifest, nil) })
	}
	group.Wait()
	if n := s.count(); n != 2 {
		t.Errorf("%d exchanges after all were revoked, want 2", n)
	}
}

// Who gives up leaves; the exchange goes on for those who wait, and ends when
// nobody does.
func TestExchangeCancelled(t *testing.T) {
	release, started := make(chan struct{}), make(chan struct{}, 10)
	s := &tokenService{before: func() { started <- struct{}{}; <-release }}
	w, _, _ := bearerWorld(t, s)
	transport, _ := w.client(registryURL, Credential{}, nil)
	send := func(ctx context.Context) chan error {
		result := make(chan error, 1)
		req, err := http.NewRequestWithContext(ctx, "GET", manifest, nil)
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			resp, err := transport.RoundTrip(req)
			if err == nil {
				resp.Body.Close()
			}
			result <- err
		}()
		return result
	}
	ctx, cancel := context.WithCancel(t.Context())
	leaver := send(ctx)
	<-started
	stayer := send(t.Context())
	waiting := func(n int) bool {
		transport.tokenLogins.mu.Lock()
		defer transport.tokenLogins.mu.Unlock()
		for _, f := range transport.tokenLogins.flights {
			return f.waiting == n
		}
		return n == 0
	}
	for !waiting(2) {
		runtime.Gosched()
	}
	cancel()
	if err := <-leaver; !errors.Is(err, context.Canceled) {
		t.Errorf("leaver got %v", err)
	}
	close(release)
	if err := <-stayer; err != nil {
		t.Errorf("stayer got %v", err)
	}
	if n := s.count(); n != 1 {
		t.Errorf("%d exchanges, want 1", n)
	}
}

func TestSlowTokenService(t *testing.T) {
	release := make(chan struct{})
	s := &tokenService{before: func() { <-release }}
	w, _, _ := bearerWorld(t, s)
	t.Cleanup(func() { close(release) })
	transport, client := w.client(registryURL, user, nil)
	transport.limit = 20 * time.Millisecond
	_, _, err := do(t, client, "GET", manifest, nil)
	wantErr(t, err, context.DeadlineExceeded, "token service https://auth.example.com/token")
}

func TestTokenAnswers(t *testing.T) {
	for _, test := range []struct {
		name, body string
		status     int
		text       string
	}{
		{"huge", `{"token":"` + strings.Repeat("planted-", wire.MaxTokenBody/8) + `"}`, 200, "larger than 65536 bytes"},
		{"empty", ``, 200, "not the JSON"},
		{"junk", `planted-token`, 200, "not the JSON"},
		{"type", `{"token":12345678,"access_token":"planted-"}`, 200, "not the JSON"},
		{"two documents", `{"token":"planted-1"}{}`, 200, "not the JSON"},
		{"none", `{"refresh_token":"planted-x"}`, 200, "no token"},
		{"header", `{"token":"planted-\r\nX-Evil: 1"}`, 200, "cannot be one"},
		{"created", `{"token":"planted-1"}`, 201, "response status code 201"},
		{"error", `planted-pa55word is wrong`, 500, `GET "https://auth.example.com/token": response status code 500: Internal Server Error`},
		{"denied", string(wire.ErrorBody(wire.Error{Code: wire.CodeDenied, Message: "not " + password})), 403, "denied: not ***"},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t)
			w.serve(registryURL, (&tokenService{now: time.Now}).guard(tokenURL, ok))
			w.serve(tokenURL, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.WriteHeader(test.status)
				io.WriteString(w, test.body)
			}))
			_, client := w.client(registryURL, user, nil)
			_, _, err := do(t, client, "GET", manifest, nil)
			wantErr(t, err, nil, test.text)
			if test.status == 403 {
				wantErr(t, err, oras.ErrDenied, "")
			}
		})
	}
}

func TestLifetime(t *testing.T) {
	for _, test := range []struct {
		json string
		want time.Duration
	}{
		{`{"token":"x"}`, 54 * time.Second},
		{`{"token":"x","expires_in":100}`, 90 * time.Second},
		{`{"token":"x","expires_in":"100"}`, 90 * time.Second},
		{`{"token":"x","expires_in":100.0}`, 90 * time.Second},
		{`{"token":"x","expires_in":3600}`, 3570 * time.Second},
		{`{"token":"x","expires_in":1e300}`, 24*time.Hour - 30*time.Second},
		{`{"token":"x","expires_in":"NaN"}`, 54 * time.Second},
		{`{"token":"x","expires_in":-5}`, 54 * time.Second},
		{`{"token":"x","expires_in":null}`, 54 * time.Second},
		{`{"token":"x","expires_in":{}}`, 54 * time.Second},
	} {
		answer, err := parseToken([]byte(test.json))
		if err != nil {
			t.Fatal(err)
		}
		if got := answer.lifetime(); got != test.want {
			t.Errorf("%s: %v, want %v", test.json, got, test.want)
		}
	}
}

func TestBodies(t *testing.T) {
	s := &tokenService{users: map[string]string{"me": password}}
	w, registry, _ := bearerWorld(t, s)
	_, client := w.client(registryURL, user, nil)
	want(t, client, 401, "PUT", manifest, bodyOnce("gone")) // the body is gone, the login is not
	want(t, client, 200, "PUT", manifest, bodyOnce("sent"))
	if n := registry.count(); n != 2 {
		t.Errorf("%d requests, want 2", n)
	}
	s.revokeAll()
	_, body, err := do(t, client, "PUT", manifest, strings.NewReader("rewound"))
	if err != nil || body != "rewound" {
		t.Errorf("got %q, %v", body, err)
	}
	s.revokeAll()
	req, _ := http.NewRequestWithContext(t.Context(), "PUT", manifest, strings.NewReader("x"))
	broken := errors.New("cannot go back")
	req.GetBody = func() (io.ReadCloser, error) { return nil, broken }
	_, _, err = roundTrip(t, client, req)
	wantErr(t, err, broken, "")
}

// An upload's Location may be anything. Its body is sent once, with a login.
func TestUploadElsewhere(t *testing.T) {
	s := &tokenService{users: map[string]string{"me": password}, now: time.Now}
	w := newWorld(t)
	w.serve(tokenURL, s)
	registry := w.serve(registryURL, s.guard(tokenURL, func(w http.ResponseWriter, r *http.Request) {
		if r.Method == "POST" {
			w.Header().Set("Location", "/artifacts-uploads/namespaces/x/uploads/Ab%2Fc?state=1")
			w.WriteHeader(202)
			return
		}
		w.WriteHeader(201)
	}))
	_, client := w.client(registryURL, user, nil)
	want(t, client, 202, "POST", blobs, nil)
	want(t, client, 201, "PUT", registryURL+"/artifacts-uploads/namespaces/x/uploads/Ab%2Fc?state=1&digest=x", bodyOnce("blob"))
	if n := registry.count(); n != 3 {
		t.Errorf("%d requests, want 3", n)
	}
}

func TestCallersAuthorization(t *testing.T) {
	w := newWorld(t)
	registry := w.serve(registryURL, basicGuard("me", password, ok))
	_, client := w.client(registryURL, user, nil)
	req, _ := http.NewRequestWithContext(t.Context(), "GET", manifest, nil)
	req.Header.Set("Authorization", "Bearer the caller's")
	status, _, err := roundTrip(t, client, req)
	if status != 401 || err != nil || registry.count() != 1 || registry.last().header.Get("Authorization") != "Bearer the caller's" {
		t.Errorf("got %d, %v after %d requests with %q", status, err, registry.count(), registry.last().header.Get("Authorization"))
	}
}

func TestChallenges(t *testing.T) {
	for _, test := range []struct {
		name      string
		challenge []string
		want      int
		requests  int
	}{
		{"none", nil, 401, 1},
		{"unknown", []string{"Negotiate"}, 401, 1},
		{"no realm", []string{"Bearer service=x"}, 401, 1},
		{"too long", []string{`Basic realm="` + strings.Repeat("x", maxAsked) + `"`}, 401, 1},
		{"basic among others", []string{"Negotiate", `Digest realm="x", Basic realm="y"`}, 200, 2},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t)
			registry := w.serve(registryURL, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if _, given, _ := r.BasicAuth(); given == password {
					return
				}
				w.Header()["Www-Authenticate"] = test.challenge
				w.WriteHeader(401)
			}))
			_, client := w.client(registryURL, user, nil)
			want(t, client, test.want, "GET", manifest, nil)
			if n := registry.count(); n != test.requests {
				t.Errorf("%d requests, want %d", n, test.requests)
			}
		})
	}
}

func TestLogin(t *testing.T) {
	w := newWorld(t)
	w.serve("http://localhost:7000", basicGuard("me", password, ok))
	at := parseURL(t, "http://localhost:7000")
	opts := &Options{Base: w.transport}
	if err := Login(t.Context(), at, user, opts); err != nil {
		t.Error(err)
	}
	err := Login(t.Context(), at, Credential{Username: "me", Password: "planted-wrong"}, opts)
	wantErr(t, err, oras.ErrUnauthorized, `GET "http://localhost:7000/v2/": response status code 401: Unauthorized`)
	err = Login(t.Context(), at, Credential{RefreshToken: refreshToken}, opts)
	if err == nil || err.Error() != `GET "http://localhost:7000/v2/": missing username or password for basic auth` {
		t.Errorf("got %v", err)
	}
	err = Login(t.Context(), parseURL(t, "http://nowhere.example"), user, opts)
	wantErr(t, err, nil, `GET "http://nowhere.example/v2/": no host nowhere.example:80`)

	s := &tokenService{now: time.Now, users: map[string]string{"me": password}}
	w.serve(registryURL, s.guard(tokenURL, ok))
	w.serve(tokenURL, s)
	if err := Login(t.Context(), parseURL(t, registryURL), user, opts); err != nil {
		t.Error(err)
	}
	err = Login(t.Context(), parseURL(t, registryURL), Credential{Username: "me", Password: "planted-wrong"}, opts)
	wantErr(t, err, oras.ErrUnauthorized, `wrong: ***`)
}

func TestMemoryIsBounded(t *testing.T) {
	transport := NewTransport(parseURL(t, registryURL), Static("registry.example.com", user), nil)
	for i := range 3 * maxKept {
		name := fmt.Sprint("r", i)
		if _, err := transport.credential(t.Context(), name, false); err != nil {
			t.Fatal(err)
		}
		transport.find(need{repository: name}, "")
		transport.mu.Lock()
		put(transport.uploads, name, need{})
		transport.mu.Unlock()
	}
	if len(transport.credentials) > maxKept || len(transport.tokens) > maxKept || len(transport.uploads) > maxKept {
		t.Errorf("%d credentials, %d tokens, %d uploads", len(transport.credentials), len(transport.tokens), len(transport.uploads))
	}
}

func TestCredentialPrints(t *testing.T) {
	all := Credential{"me", password, refreshToken, accessToken}
	for _, format := range []string{"%v", "%+v", "%#v", "%s", "%q", "%d", "%x"} {
		for _, value := range []any{all, &all, []Credential{all}, struct{ C Credential }{all}} {
			clean(t, errors.New(fmt.Sprintf(format, value)))
		}
	}
	clean(t, errors.New(all.LogValue().String()))
	if text := fmt.Sprint(all, Credential{}); text != `credential of "me" (password, refresh token, access token) no credential` {
		t.Error(text)
	}
}

func TestScopes(t *testing.T) {
	got := mergeScopes([]string{"repository:b:push", "repository:a/c:pull"}, []string{"repository:b:pull,push", "odd", "", "registry:catalog:*"})
	if want := "odd registry:catalog:* repository:a/c:pull repository:b:pull,push"; strings.Join(got, " ") != want {
		t.Errorf("got %q, want %q", got, want)
	}
	for _, test := range []struct {
		have, want string
		covers     bool
	}{
		{"repository:a:pull,push", "repository:a:pull", true},
		{"repository:a:pull", "repository:a:pull,push", false},
		{"repository:a:pull", "repository:a/b:pull", false},
		{"repository:a/b:pull", "repository:a:pull", false},
		{"repository:a:*", "repository:a:pull", false},
		{"repository:a:pull", "", true},
	} {
		if got := coversScopes(mergeScopes([]string{test.have}), mergeScopes([]string{test.want})); got != test.covers {
			t.Errorf("%s covers %s: %v", test.have, test.want, got)
		}
	}
}
