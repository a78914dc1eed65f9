package server_test

import (
	"bufio"
	"encoding/base64"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"testing"
	"testing/synctest"
	"time"

	"github.com/c73062ad/oras/memory"
	"github.com/c73062ad/oras/server"
)

// TestLimit: requests above the limits are refused with 429 and Retry-After, those
// below are answered, and those that have ended count no more.
func TestLimit(t *testing.T) {
	held, release := make(chan struct{}), make(chan struct{})
	registry := server.New(memory.NewRegistry(), &server.Options{Authorize: func(r *http.Request, a server.Access) error {
		if a.Repository == "hold" {
			held <- struct{}{}
			<-release
		}
		return nil
	}})
	f, _ := wrap(t, server.Limit(&server.LimitOptions{Requests: 5, PerClient: 3, TrustedProxies: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("10.0.0.0/8")}})(registry))
	answers := make(chan *answer)
	// An answer may arrive a moment before its request counts no more.
	allowed := func(path, from string) *answer {
		for {
			if a := f.do("GET", path, nil, "X-Forwarded-For: "+from); a.StatusCode != 429 {
				return a
			}
		}
	}
	hold := func(n int, from string) {
		for range n {
			go func() { answers <- allowed("/v2/hold/tags/list", from) }()
			<-held
		}
	}
	refused := func(from string) {
		t.Helper()
		a := f.want("429 TOOMANYREQUESTS", "GET", "/v2/", nil, "X-Forwarded-For: "+from)
		a.header(t, "Retry-After", "1")
	}
	const one, two, six = "192.0.2.1", "192.0.2.2", "2001:db8::1"

	hold(3, one)
	refused(one)
	refused("1.2.3.4, " + one)                // anybody can say that it comes from elsewhere,
	refused("1.2.3.4, " + one + ", 10.1.1.1") // but not a proxy that is trusted.
	refused(one + ":4711")
	f.want("200", "GET", "/v2/", nil, "X-Forwarded-For: "+two)
	f.want("200", "GET", "/v2/", nil, "X-Forwarded-For: rubbish") // the proxy itself
	hold(2, six)
	refused(two) // all together are too many
	refused(six)
	release <- struct{}{}
	if a := <-answers; a.StatusCode != 404 {
		t.Errorf("status %d", a.StatusCode)
	}
	for _, from := range []string{one, two} {
		if a := allowed("/v2/", from); a.StatusCode != 200 {
			t.Errorf("from %s: status %d", from, a.StatusCode)
		}
	}
	for range 4 {
		release <- struct{}{}
		<-answers
	}
	hold(3, six)
	refused("2001:db8:0:0:ffff::2") // who has one address of IPv6 has many
	f.want("200", "GET", "/v2/", nil, "X-Forwarded-For: 2001:db8:0:1::2")
	for range 3 {
		release <- struct{}{}
		<-answers
	}
}

// TestLimitForged: a client whose proxy is not trusted is the connection's.
func TestLimitForged(t *testing.T) {
	held, release := make(chan struct{}), make(chan struct{})
	f, _ := wrap(t, server.Limit(&server.LimitOptions{PerClient: 1})(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		held <- struct{}{}
		<-release
	})))
	go http.Get(f.url)
	<-held
	f.want("429", "GET", "/v2/", nil, "X-Forwarded-For: 192.0.2.1")
	close(release)
}

// TestLoginFailures: who sends wrong passwords has to wait, who is known to have
// the right one has not.
func TestLoginFailures(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dial := piped(t, memory.NewRegistry(), &server.Options{Authorize: htpasswd(t, "ann", "bob"), ErrorLog: strict(t)})
		c := dial()
		r := bufio.NewReader(c)
		login := func(user, password string) *http.Response {
			t.Helper()
			fmt.Fprintf(c, "GET /v2/ HTTP/1.1\r\nHost: x\r\nAuthorization: Basic %s\r\n\r\n", base64.StdEncoding.EncodeToString([]byte(user+":"+password)))
			resp, err := http.ReadResponse(r, nil)
			if err != nil {
				t.Fatal(err)
			}
			io.Copy(io.Discard, resp.Body)
			return resp
		}
		want := func(status int, user, password string) {
			t.Helper()
			if resp := login(user, password); resp.StatusCode != status {
				t.Errorf("%s %s: status %d, not %d", user, password, resp.StatusCode, status)
			}
		}
		want(200, "ann", "password of ann")
		for i := range 20 {
			want(401, []string{"ann", "bob", "carl"}[i%3], "wrong")
		}
		for _, user := range []string{"ann", "bob", "carl"} {
			resp := login(user, "wrong")
			if after := resp.Header.Get("Retry-After"); resp.StatusCode != 429 || after != "6" {
				t.Errorf("%s: status %d, Retry-After %q", user, resp.StatusCode, after)
			}
		}
		want(429, "bob", "password of bob") // else guessing would go on
		want(200, "ann", "password of ann")
		time.Sleep(6 * time.Second)
		want(401, "bob", "wrong")
		want(429, "bob", "wrong")
		time.Sleep(6 * time.Second)
		want(200, "bob", "password of bob")
		time.Sleep(time.Hour)
		c = dial()
		r = bufio.NewReader(c)
		for range 20 {
			want(401, "carl", "wrong")
		}
		want(429, "carl", "wrong")
	})
}

// TestAnonymousPull: who has no login may read, and is asked for one for all else.
func TestAnonymousPull(t *testing.T) {
	f := serve(t, memory.NewRegistry(), &server.Options{Authorize: server.AnonymousPull(htpasswd(t, "ann"))})
	f.user = "ann"
	blob := f.pushBlob("team/hello", []byte("x"))
	digest := f.pushManifest("team/hello", "v1", image("x"))
	f.want("200", "GET", "/v2/", nil)
	f.want("200", "GET", "/v2/_catalog", nil)
	location := f.begin("team/hello")
	f.user = ""
	for _, path := range []string{"manifests/v1", "manifests/" + digest, "blobs/" + blob, "tags/list", "referrers/" + digest} {
		for _, method := range []string{"GET", "HEAD"} {
			f.want("200", method, "/v2/team/hello/"+path, nil)
			f.want("200", method, "/v2/team/hello/"+path, nil, "Authorization: Basic Og==")
			f.want("401", method, "/v2/team/hello/"+path, nil, "Authorization: Basic YW5uOng=")
			f.want("401", method, "/v2/team/hello/"+path, nil, "Authorization: Bearer x")
		}
	}
	for _, request := range [][2]string{
		{"GET", "/v2/"}, {"GET", "/v2/_catalog"}, {"POST", "/v2/team/hello/blobs/uploads/"}, {"POST", "/v2/team/other/blobs/uploads/?from=team/hello&mount=" + blob},
		{"GET", location}, {"PATCH", location}, {"PUT", location}, {"DELETE", location}, {"PUT", "/v2/team/hello/manifests/v2"},
		{"DELETE", "/v2/team/hello/manifests/v1"}, {"DELETE", "/v2/team/hello/manifests/" + digest}, {"DELETE", "/v2/team/hello/blobs/" + blob},
	} {
		f.want("401 UNAUTHORIZED", request[0], request[1], nil)
		f.want("401 UNAUTHORIZED", request[0], request[1], nil, "Authorization: Basic Og==")
	}
	f.want("200", "GET", "/v2/team/hello/manifests/v1", nil)
}

// TestSlowHeaderHTTP2: half a request is not waited for, nor a connection without
// any.
func TestSlowHeaderHTTP2(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := &listener{conns: make(chan net.Conn), done: make(chan struct{})}
		s := server.NewHTTPServer("", server.New(memory.NewRegistry(), nil))
		s.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
		s.Protocols = new(http.Protocols)
		s.Protocols.SetUnencryptedHTTP2(true)
		go s.Serve(l)
		defer s.Close()
		for name, after := range map[string]string{
			"nothing":          "",
			"settings":         "\x00\x00\x00\x04\x00\x00\x00\x00\x00",
			"half of a header": "\x00\x00\x00\x04\x00\x00\x00\x00\x00" + "\x00\x00\x01\x01\x00\x00\x00\x00\x01\x82",
		} {
			client, end := net.Pipe()
			l.conns <- end
			start := time.Now()
			go io.WriteString(client, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"+after)
			if _, err := io.Copy(io.Discard, client); err != nil {
				t.Error(err)
			}
			if d := time.Since(start); d > 3*time.Minute {
				t.Errorf("%s: it was cut off after %v", name, d)
			}
			client.Close()
		}
	})
}
