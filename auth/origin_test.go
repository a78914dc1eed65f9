package auth

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
)

// redirect answers every request with a redirect to target.
func redirect(status int, target string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Location", target)
		w.WriteHeader(status)
	}
}

// TestRedirects: what the registry is shown is shown to nobody it redirects to,
// and not to the registry either when the way there led elsewhere.
func TestRedirects(t *testing.T) {
	for _, test := range []struct {
		name, first, other string
	}{
		{"other host", "https://a.example", "https://b.example"},
		{"other port", "https://a.example", "https://a.example:8443"},
		{"port of http", "http://a.example", "http://a.example:8080"},
		{"subdomain", "https://a.example", "https://cdn.a.example"},
		{"parent", "https://cdn.a.example", "https://a.example"},
		{"downgrade", "https://a.example", "http://a.example"},
		{"upgrade", "http://a.example", "https://a.example"},
		{"trailing dot", "https://a.example", "https://a.example."},
		{"suffix", "https://docker.example", "https://evildocker.example"},
		{"prefix", "https://docker.example", "https://docker.example.evil.example"},
		{"userinfo", "https://a.example", "https://x:y@b.example"},
	} {
		for _, status := range []int{301, 302, 303, 307, 308} {
			t.Run(fmt.Sprint(test.name, status), func(t *testing.T) {
				w := newWorld(t)
				otherURL := parseURL(t, test.other)
				plain := (&url.URL{Scheme: otherURL.Scheme, Host: otherURL.Host}).String()
				first := w.serve(test.first, http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
					switch r.URL.Path {
					case "/v2/hello/manifests/away", "/v2/hello/manifests/back":
						basicGuard("me", password, redirect(status, test.other+r.URL.Path+"?signed=1"))(rw, r)
					case "/v2/hello/manifests/home":
						ok(rw, r)
					default:
						basicGuard("me", password, ok)(rw, r)
					}
				}))
				other := w.serve(plain, http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
					if strings.HasSuffix(r.URL.Path, "/back") {
						redirect(status, test.first+"/v2/hello/manifests/home")(rw, r)
						return
					}
					basicGuard("nobody", "", ok)(rw, r) // asks for a login
				}))
				_, client := w.client(test.first, user, nil)
				get := func(path string) (int, error) {
					req, err := http.NewRequestWithContext(t.Context(), "GET", test.first+"/v2/hello/manifests/"+path, nil)
					if err != nil {
						t.Fatal(err)
					}
					req.Header.Set("X-Custom", password)
					req.Header.Set("Cookie", "session="+password)
					req.Header.Set("Accept", "application/json")
					got, _, err := roundTrip(t, client, req)
					return got, err
				}
				if got, err := get("away"); got != 401 || err != nil {
					t.Errorf("away: %d, %v; want the other's 401 as it is", got, err)
				}
				if n := other.count(); n != 1 {
					t.Errorf("the other was asked %d times", n)
				}
				if got, err := get("back"); got != 200 || err != nil {
					t.Errorf("back: %d, %v", got, err)
				}
				if first.last().path != "/v2/hello/manifests/home" {
					t.Errorf("last: %s", first.last().path)
				}
				for _, a := range append(other.all(), first.last()) {
					given := a.header.Get("Authorization")
					if given != "" && !(otherURL.User != nil && given == "Basic eDp5") || a.header.Get("X-Custom")+a.header.Get("Cookie") != "" {
						t.Errorf("%s was shown %v", a.path, a.header)
					}
					if a.header.Get("Accept") == "" {
						t.Error("Accept is lost")
					}
				}
				if a := first.all()[1]; a.header.Get("Authorization") == "" || a.header.Get("X-Custom") == "" {
					t.Error("the registry itself was not shown what is meant for it")
				}
			})
		}
	}
}

// A redirect that stays is followed with a login.
func TestRedirectWithin(t *testing.T) {
	w := newWorld(t)
	w.serve(registryURL, basicGuard("me", password, func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/old") {
			redirect(307, registryURL+":443/v2/hello/manifests/new")(w, r)
		}
	}))
	_, client := w.client("HTTPS://Registry.example.com", user, nil)
	if _, _, err := do(t, client, "GET", manifest[:len(manifest)-2]+"old", nil); err != nil {
		t.Error(err)
	}
	want(t, client, 200, "GET", manifest[:len(manifest)-2]+"old", nil)
}

// A request that somebody sends straight to another origin, as to an upload's
// Location, is nobody's.
func TestOtherOrigin(t *testing.T) {
	w := newWorld(t)
	other := w.serve("https://other.example", basicGuard("me", password, ok))
	_, client := w.client(registryURL, user, nil)
	req, _ := http.NewRequestWithContext(t.Context(), "PUT", "https://other.example/v2/hello/blobs/uploads/1", strings.NewReader("x"))
	req.Header.Set("Authorization", "Basic caller's")
	status, _, err := roundTrip(t, client, req)
	if status != 401 || err != nil || other.count() != 1 || other.last().header.Get("Authorization") != "" {
		t.Errorf("got %d, %v, %v", status, err, other.all())
	}
	if req.Header.Get("Authorization") == "" {
		t.Error("the caller's request was changed")
	}
}

func TestCheckRealm(t *testing.T) {
	const (
		never  = iota // not even for an anonymous token
		nobody        // anonymous tokens only
		anyone        // credentials too
	)
	for _, test := range []struct {
		registry, realm string
		want            int
	}{
		{"https://registry.example.com", "https://registry.example.com/token", anyone},
		{"https://registry.example.com", "https://REGISTRY.example.com:8443/token", anyone},
		{"https://registry.example.com", "https://auth.example.com/token", anyone},
		{"https://registry-1.docker.io", "https://auth.docker.io/token", anyone},
		{"https://registry.gitlab.com", "https://gitlab.com/jwt/auth", anyone},
		{"https://example.com", "https://auth.example.com/token", anyone},
		{"https://ghcr.io", "https://ghcr.io/token", anyone},
		{"http://registry.example.com", "http://auth.example.com/token", anyone},
		{"http://registry.example.com", "https://auth.example.com/token", anyone},
		{"http://localhost:5000", "http://localhost:5001/token", anyone},
		{"http://localhost:5000", "http://127.0.0.1:5001/token", anyone},
		{"http://10.1.2.3:5000", "http://10.1.2.3:5001/token", anyone},
		{"http://[fd00::1]:5000", "http://[fd00::1]:5001/token", anyone},
		{"http://registry:5000", "http://registry/token", anyone},

		{"https://registry.example.com", "https://auth.example.org/token", nobody},
		{"https://registry.example.com", "https://auth.evilexample.com/token", nobody},
		{"https://registry.example.com", "https://registry.example.com.evil.org/token", nobody},
		{"https://registry.example.com", "https://com/token", nobody},
		{"https://example.com", "https://evil.com/token", nobody},
		{"https://example.co.uk", "https://evil.co.uk/token", nobody},
		{"https://registry.example.co.uk", "https://auth.example.co.uk/token", anyone},
		{"https://mine.azurecr.io", "https://yours.azurecr.io/token", nobody},
		{"https://1.dkr.ecr.eu-west-1.amazonaws.com", "https://2.dkr.ecr.eu-west-1.amazonaws.com/token", nobody},
		{"https://me.github.io", "https://github.io/token", nobody},
		{"https://a.b.example.com", "https://c.d.example.com/token", nobody},
		{"http://registry:5000", "http://auth:5001/token", nobody},
		{"https://1.2.3.4", "https://5.2.3.4/token", nobody},
		{"https://docker.io.evil.org", "https://auth.docker.io/token", nobody},

		{"https://registry.example.com", "http://registry.example.com/token", never},
		{"https://registry.example.com", "http://auth.example.com/token", never},
		{"https://registry.example.com", "https://127.0.0.1/token", never},
		{"https://registry.example.com", "https://localhost/token", never},
		{"https://registry.example.com", "https://localhost./token", never},
		{"https://registry.example.com", "https://x.localhost/token", never},
		{"http://registry.example.com", "http://169.254.169.254/latest", never},
		{"http://registry.example.com", "http://[fd00:ec2::254]/latest", never},
		{"http://registry.example.com", "http://[::1]/", never},
		{"http://registry.example.com", "http://[::ffff:127.0.0.1]/", never},
		{"http://registry.example.com", "http://[::ffff:a9fe:a9fe]/", never},
		{"http://registry.example.com", "http://[64:ff9b::a9fe:a9fe]/", never},
		{"http://registry.example.com", "http://[fe80::1%25eth0]/", never},
		{"http://registry.example.com", "http://100.100.100.200/", never},
		{"http://registry.example.com", "http://0.0.0.0/", never},
		{"http://registry.example.com", "http://2130706433/", never},
		{"http://registry.example.com", "http://127.1/", never},
		{"http://registry.example.com", "http://0x7f000001/", never},
		{"http://registry.example.com", "http://017700000001./", never},
		{"http://registry.example.com", "http://192.168.1.1/", never},
		{"http://10.0.0.1", "http://10.0.0.2/", never},
		{"http://registry.example.com", "http://\uff11\uff12\uff17.0.0.1/", never},
		{"https://registry.example.com", "https://user:planted-x@registry.example.com/token", never},
		{"https://registry.example.com", "ftp://registry.example.com/token", never},
		{"https://registry.example.com", "file:///etc/passwd", never},
		{"https://registry.example.com", "/token", never},
		{"https://registry.example.com", "//registry.example.com/token", never},
		{"https://registry.example.com", "https:token", never},
		{"https://registry.example.com", "https:///token", never},
	} {
		transport := NewTransport(parseURL(t, test.registry), nil, nil)
		realm := parseURL(t, test.realm)
		anonymous, secret := transport.checkRealm(realm, false), transport.checkRealm(realm, true)
		got := never
		if anonymous == nil {
			got = nobody
		}
		if secret == nil {
			got = anyone
		}
		if got != test.want || secret == nil && anonymous != nil {
			t.Errorf("%s names %s: %d (%v; %v), want %d", test.registry, test.realm, got, anonymous, secret, test.want)
		}
		clean(t, anonymous)
		clean(t, secret)
	}
}

func TestAllowRealms(t *testing.T) {
	for _, test := range []struct {
		allow, realm string
		ok           bool
	}{
		{"tokens.other.org", "https://tokens.other.org/x", true},
		{"Tokens.other.org", "https://tokens.OTHER.org/x", true},
		{"https://tokens.other.org", "https://tokens.other.org:443/x", true},
		{"10.0.0.1:5001", "https://10.0.0.1:5001/x", true},
		{"tokens.other.org", "https://tokens.other.org:444/x", false},
		{"tokens.other.org", "https://x.tokens.other.org/x", false},
		{"tokens.other.org", "https://eviltokens.other.org/x", false},
		{"tokens.other.org", "http://tokens.other.org/x", false}, // never down
		{"", "https://tokens.other.org/x", false},
	} {
		transport := NewTransport(parseURL(t, registryURL), nil, &Options{AllowRealms: []string{test.allow}})
		if err := transport.checkRealm(parseURL(t, test.realm), true); (err == nil) != test.ok {
			t.Errorf("allowed %q, named %s: %v", test.allow, test.realm, err)
		}
	}
}

// A token service of another party is not even asked with credentials; the error
// says the way out, which works.
func TestForeignRealm(t *testing.T) {
	s := &tokenService{now: time.Now, users: map[string]string{"me": password}, refresh: map[string]string{refreshToken: "me"}}
	w := newWorld(t)
	w.serve(registryURL, s.guard("https://tokens.other.org/token?signed=planted-query", ok))
	service := w.serve("https://tokens.other.org", s)
	for _, cred := range []Credential{user, {RefreshToken: refreshToken}} {
		_, client := w.client(registryURL, cred, nil)
		_, _, err := do(t, client, "PUT", manifest, strings.NewReader("x"))
		wantErr(t, err, nil, "https://tokens.other.org/token")
		var refused *RealmError
		if !errors.As(err, &refused) || refused.Host != "tokens.other.org" {
			t.Fatalf("got %v", err)
		}
		if service.count() != 0 {
			t.Error("the other party was asked")
		}
		_, client = w.client(registryURL, cred, &Options{AllowRealms: []string{refused.Host}})
		want(t, client, 200, "PUT", manifest, strings.NewReader("x"))
		service.mu.Lock()
		service.asked = nil
		service.mu.Unlock()
	}
	_, client := w.client(registryURL, Credential{}, nil)
	want(t, client, 200, "GET", manifest, nil) // an anonymous token may be had anywhere
}

func TestRealmRedirects(t *testing.T) {
	for _, test := range []struct {
		name, target string
		cred         Credential
		text         string // of the error; empty for none
	}{
		{"same origin", tokenURL + "/2", user, ""},
		{"same origin, refresh", tokenURL + "/2", Credential{RefreshToken: refreshToken}, ""},
		{"sibling", "https://auth2.example.com/token", user, "credentials do not follow"},
		{"other port", "https://auth.example.com:8443/token", user, "credentials do not follow"},
		{"registry itself", registryURL + "/token", user, "credentials do not follow"},
		{"refresh to a sibling", "https://auth2.example.com/token", Credential{RefreshToken: refreshToken}, "credentials do not follow"},
		{"other party", "https://evil.org/token?planted-query", user, "https://evil.org/token"},
		{"anonymous to another party", "https://evil.org/token", Credential{}, ""},
		{"anonymous, down", "http://auth.example.com/token", Credential{}, "plain HTTP"},
		{"anonymous, inside", "https://169.254.169.254/token", Credential{}, "inside a network"},
		{"anonymous, userinfo", "https://a:planted-b@evil.org/token", Credential{}, "login of its own"},
		{"loop", tokenURL, user, "stopped after 10 redirects"},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := &tokenService{now: time.Now, users: map[string]string{"me": password}, refresh: map[string]string{refreshToken: "me"}}
			w := newWorld(t)
			w.serve(registryURL, s.guard(tokenURL, ok))
			w.serve(tokenURL, http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
				if strings.HasSuffix(r.URL.Path, "/2") {
					s.ServeHTTP(rw, r)
					return
				}
				redirect(307, test.target+"?"+r.URL.RawQuery)(rw, r)
			}))
			var others []*recorder
			for _, origin := range []string{"https://auth2.example.com", "https://auth.example.com:8443", "https://evil.org", "http://auth.example.com", "https://169.254.169.254"} {
				others = append(others, w.serve(origin, s))
			}
			_, client := w.client(registryURL, test.cred, nil)
			status, _, err := do(t, client, "GET", manifest, nil)
			if test.text == "" && (err != nil || status != 200) {
				t.Errorf("got %d, %v", status, err)
			}
			if test.text != "" {
				wantErr(t, err, nil, test.text)
			}
			for _, other := range others {
				for _, a := range other.all() {
					if test.text != "" || a.header.Get("Authorization")+a.header.Get("Referer")+a.body != "" {
						t.Errorf("another origin was shown %+v", a)
					}
				}
			}
		})
	}
}

// Refresh tokens go to the token service that was named first, even if a second
// one would be the registry's own by its name.
func TestRefreshTokenNewRealm(t *testing.T) {
	s := &tokenService{now: time.Now, refresh: map[string]string{refreshToken: "me"}}
	w := newWorld(t)
	w.serve(registryURL, http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if strings.Contains(r.URL.Path, "second") { // content with no token
			rw.Header().Set("WWW-Authenticate", `Bearer realm="https://auth2.example.com/token",service="the registry"`)
			rw.WriteHeader(401)
			return
		}
		s.guard(tokenURL, ok)(rw, r)
	}))
	w.serve(tokenURL, s)
	second := w.serve("https://auth2.example.com", s)
	_, client := w.client(registryURL, Credential{RefreshToken: refreshToken}, nil)
	want(t, client, 200, "GET", manifest, nil)
	_, _, err := do(t, client, "GET", registryURL+"/v2/second/manifests/v1", nil)
	wantErr(t, err, nil, "https://auth2.example.com/token: it is not https://auth.example.com:443, which the registry named before")
	if second.count() != 0 {
		t.Error("the second was shown the refresh token")
	}
}

func TestStatic(t *testing.T) {
	for _, test := range []struct {
		given, asked string
		known        bool
	}{
		{"docker.io", "docker.io", true},
		{"docker.io", "registry-1.docker.io", true},
		{"index.docker.io", "docker.io", true},
		{"Registry.Example.com:5000", "registry.example.com:5000", true},
		{"[::1]:5000", "[::1]:5000", true},
		{"docker.io", "evildocker.io", false},
		{"docker.io", "docker.io.evil.org", false},
		{"docker.io", "docker.io.", false},
		{"docker.io", "docker.io:443", false},
		{"docker.io", "auth.docker.io", false},
		{"example.com", "example.com:5000", false},
		{"example.com:5000", "example.com", false},
		{"[::1]:5000", "[::1]:5001", false},
		{"xn--exmple-cua.com", "exämple.com", false},
	} {
		got, err := Static(test.given, user).Credential(t.Context(), test.asked, "hello")
		if err != nil || got.IsZero() == test.known {
			t.Errorf("given for %s, asked for %s: %v", test.given, test.asked, got)
		}
	}
}

// A base that says nothing of what a response answers is not trusted to have
// stayed.
func TestRedirectedByUnknown(t *testing.T) {
	w := newWorld(t)
	registry := w.serve(registryURL, basicGuard("me", password, ok))
	transport, _ := w.client(registryURL, user, nil)
	req, _ := http.NewRequestWithContext(t.Context(), "GET", manifest, nil)
	req.Response = &http.Response{StatusCode: 302, Body: io.NopCloser(strings.NewReader(""))}
	resp, err := transport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if resp.StatusCode != 401 || registry.count() != 1 {
		t.Errorf("got %d after %d requests", resp.StatusCode, registry.count())
	}
}
