package main

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync"

	"github.com/rogpeppe/go-internal/testscript"
)

// A tokenService stands in front of a registry, which takes the tokens that it gives
// to hello with the password oras-test and to who has the identity token (distribution,
// "Token Authentication Specification").
type tokenService struct {
	registry http.Handler

	mu    sync.Mutex
	given map[string]string // scopes by token
}

const identityToken = "identity-of-hello"

func (s *tokenService) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/token" {
		s.give(w, r)
		return
	}
	scope := ""
	if name, _, ok := strings.Cut(strings.TrimPrefix(r.URL.Path, "/v2/"), "/manifests/"); ok {
		scope = "repository:" + name + ":pull"
	} else if name, _, ok := strings.Cut(strings.TrimPrefix(r.URL.Path, "/v2/"), "/blobs/"); ok {
		scope = "repository:" + name + ":pull"
	}
	if scope != "" && r.Method != http.MethodGet && r.Method != http.MethodHead {
		scope += ",push"
	}
	value, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	s.mu.Lock()
	given, known := s.given[value]
	s.mu.Unlock()
	if known && (strings.Contains(given, scope) || strings.Contains(given, scope+",push")) {
		r.Header.Del("Authorization")
		s.registry.ServeHTTP(w, r)
		return
	}
	w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer realm="http://%s/token",service="test",scope=%q`, r.Host, scope))
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusUnauthorized)
	fmt.Fprint(w, `{"errors":[{"code":"UNAUTHORIZED","message":"no token for it"}]}`)
}

// give answers a request for a token: with Basic, or with an identity token.
func (s *tokenService) give(w http.ResponseWriter, r *http.Request) {
	if err := r.ParseForm(); err != nil { // r.Form has nothing before
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	user, password, _ := r.BasicAuth()
	if (user != "hello" || password != "oras-test") && r.PostFormValue("refresh_token") != identityToken {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusUnauthorized)
		fmt.Fprint(w, `{"errors":[{"code":"UNAUTHORIZED","message":"wrong login"}]}`)
		return
	}
	value := rand.Text()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.given[value] = strings.Join(r.Form["scope"], " ")
	json.NewEncoder(w).Encode(map[string]any{"token": value, "access_token": value, "expires_in": 60})
}

// bearer NAME TARGET: starts a registry that is the one at TARGET, but for a token
// service that it sends its clients to, and sets $NAME to its localhost:port. It
// ends with the script.
func bearer(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: bearer NAME TARGET")
	}
	registry := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: args[1]})
	server := httptest.NewServer(&tokenService{registry: registry, given: map[string]string{}})
	ts.Defer(server.Close)
	_, port, _ := strings.Cut(server.Listener.Addr().String(), ":")
	ts.Setenv(args[0], "localhost:"+port)
}
