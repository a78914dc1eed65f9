package server_test

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/crypto/bcrypt"

	"github.com/c73062ad/oras"
	"github.com/c73062ad/oras/memory"
	"github.com/c73062ad/oras/server"
)

var loopback = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}

// wrap serves a handler until the test, or what is returned beside the front, ends.
func wrap(t testing.TB, h http.Handler) (*front, func()) {
	t.Helper()
	s := listen(t, h)
	s.Start()
	return &front{t: t, url: s.URL, http: s.Client()}, s.Close
}

// htpasswd lets the users in, each with the password of that user.
func htpasswd(t testing.TB, users ...string) server.Authorizer {
	t.Helper()
	path, text := filepath.Join(t.TempDir(), "htpasswd"), ""
	for _, user := range users {
		text += line(t, user, bcrypt.MinCost)
	}
	write(t, path, text)
	authorize, err := server.Htpasswd(path)
	if err != nil {
		t.Fatal(err)
	}
	return authorize
}

// A record is one of the log, by its attributes.
type record map[string]any

func (l *log) records(t testing.TB) (all []record) {
	t.Helper()
	d := json.NewDecoder(strings.NewReader(l.String()))
	for {
		r := record{}
		if err := d.Decode(&r); err == io.EOF {
			return all
		} else if err != nil {
			t.Fatalf("%v in the log:\n%s", err, l)
		}
		all = append(all, r)
	}
}

// check checks a record: wants are "name=value", or "name" for one that is not to be
// there.
func (r record) check(t testing.TB, wants string) {
	t.Helper()
	for _, want := range strings.Fields(wants) {
		name, value, ok := strings.Cut(want, "=")
		got, there := r[name]
		if there != ok || ok && fmt.Sprint(got) != value {
			t.Errorf("%v: %s is %v; it must be %q", r, name, got, value)
		}
	}
}

// TestLog: each request has one record, which says who did what to what, with which
// result; what changes something and who tries to get in are audited; no secret is in
// it.
func TestLog(t *testing.T) {
	var told log
	logger := slog.New(server.LogHandler(slog.NewJSONHandler(&told, nil)))
	registry := server.New(memory.NewRegistry(), &server.Options{Authorize: htpasswd(t, "ann", "bob"), ErrorLog: strict(t)})
	f, end := wrap(t, server.Observe(&server.ObserveOptions{Log: logger, TrustedProxies: loopback})(registry))

	data := []byte("some content")
	blob := oras.SHA256.Digest(data).String()
	manifest := image("x")
	digest := oras.SHA256.Digest(manifest).String()
	const secret = "s3cr3t"
	wrong := func(user string) string {
		return "Authorization: Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+secret))
	}
	var wants []string
	want := func(status, method, path string, body any, record string, headers ...string) *answer {
		t.Helper()
		a := f.want(status, method, path, body, append(headers, "X-Forwarded-For: 192.0.2.7")...)
		wants = append(wants, "request="+a.Header.Get("X-Request-ID")+" client=192.0.2.7 method="+method+" status="+status+" "+record)
		return a
	}

	want("401", "GET", "/v2/", nil, "msg=access user login action=ping result=challenge repository")
	want("401", "POST", "/v2/team/hello/blobs/uploads/", nil, "msg=access action=push result=challenge")
	want("401", "GET", "/v2/team/hello/manifests/v1", nil, "msg=audit user login=ann result=denied repository=team/hello tag=v1", wrong("ann"))
	want("401", "GET", "/v2/", nil, "msg=audit user login result=denied", wrong(secret)) // a password in the wrong place
	want("401", "GET", "/v2/", nil, "msg=audit user login result=denied", "Authorization: Bearer "+secret)
	f.user = "ann"
	want("201", "POST", "/v2/team/hello/blobs/uploads/?digest="+blob, data, "msg=audit user=ann action=push result=ok repository=team/hello in=12 out=0 path digest="+blob)
	want("201", "PUT", "/v2/team/hello/manifests/v1", manifest, "msg=audit user=ann action=push result=ok tag=v1 digest="+digest, imageType)
	want("201", "PUT", "/v2/team/hello/manifests/"+digest+"?tag=v2&tag=v3", manifest, "msg=audit tag tags=v2,v3 digest="+digest, imageType)
	want("201", "POST", "/v2/team/other/blobs/uploads/?mount="+blob+"&from=team/hello", nil, "msg=audit user=ann repository=team/other from=team/hello digest="+blob)
	f.user = "bob"
	want("200", "GET", "/v2/team/hello/manifests/v1", nil, fmt.Sprintf("msg=access user=bob action=pull in=0 out=%d tag=v1 digest=%s", len(manifest), digest))
	want("200", "GET", "/v2/team/hello/blobs/"+blob, nil, "msg=access user=bob action=pull in=0 out=12 digest="+blob)
	want("404", "GET", "/v2/team/hello/blobs/"+digest[:70]+"0", nil, "msg=access result=refused digest="+digest[:70]+"0")
	want("200", "HEAD", "/v2/team/hello/blobs/"+blob, nil, "msg=access result=ok out=0")
	want("404", "HEAD", "/v2/team/hello/manifests/none", nil, "msg=access result=refused out=0 tag=none")
	want("202", "DELETE", "/v2/team/hello/manifests/v2", nil, "msg=audit user=bob action=delete tag=v2")
	want("405", "DELETE", "/v2/team/hello/tags/list", nil, "msg=access action result=refused")
	want("404", "GET", "/token/?password="+secret, nil, "msg=access path=/token/ repository result=refused")
	want("200", "GET", "/v2/team/hello/manifests/v1?sig="+secret+"&n=1", nil, "msg=access tag=v1", "Cookie: session="+secret)
	end()

	records := told.records(t)
	if len(records) != len(wants) {
		t.Fatalf("%d records of %d requests:\n%s", len(records), len(wants), &told)
	}
	for i, want := range wants {
		records[i].check(t, want)
	}
	for _, word := range []string{secret, "password", "Basic", "Bearer", base64.StdEncoding.EncodeToString([]byte("ann:"))[:4], base64.StdEncoding.EncodeToString([]byte("bob:"))[:4], "sig", "?"} {
		if strings.Contains(told.String(), word) {
			t.Errorf("the log holds %q:\n%s", word, &told)
		}
	}
}

// TestLogForged: what a client sends cannot make records, nor large ones, nor be
// taken for another client.
func TestLogForged(t *testing.T) {
	var told log
	f, end := wrap(t, server.Observe(&server.ObserveOptions{Log: slog.New(slog.NewJSONHandler(&told, nil))})(server.New(memory.NewRegistry(), nil)))
	a := f.do("GET", "/x%0a%22level%22:"+strings.Repeat("x", 8000), nil, "User-Agent: "+strings.Repeat("y", 8000),
		"X-Forwarded-For: 192.0.2.7", "X-Request-ID: mine", "Authorization: Basic "+base64.StdEncoding.EncodeToString([]byte("root:x")))
	f.do("GET", "/v2/"+strings.Repeat("z", 8000)+"/manifests/"+strings.Repeat("t", 8000), nil)
	end()
	records := told.records(t)
	if len(records) != 2 || len(told.String()) > 3000 {
		t.Fatalf("%d records, %d bytes", len(records), len(told.String()))
	}
	records[0].check(t, "client=127.0.0.1 user login level=INFO")
	if id := records[0]["request"]; id == "mine" || id != a.Header.Get("X-Request-ID") {
		t.Errorf("request %v", id)
	}
}

// TestLogErrors: the cause of an answer is found by its request's id, be it that of
// a proxy.
func TestLogErrors(t *testing.T) {
	var told log
	logger := slog.New(server.LogHandler(slog.NewJSONHandler(&told, nil)))
	h := server.New(memory.NewRegistry(), &server.Options{ErrorLog: logger.With("part", "registry"), Authorize: func(r *http.Request, a server.Access) error {
		server.Identify(r, "carl")
		return io.ErrNoProgress
	}})
	f, end := wrap(t, server.Observe(&server.ObserveOptions{Log: logger, TrustedProxies: loopback, AuditOnly: true})(h))
	f.want("500", "POST", "/v2/a/blobs/uploads/", nil, "X-Request-ID: of-the-proxy.1")
	f.want("500", "GET", "/v2/", nil)
	f.want("500", "POST", "/v2/a/blobs/uploads/", nil, "X-Request-ID: "+strings.Repeat("x", 65))
	end()
	records := told.records(t)
	if len(records) != 5 { // an access less
		t.Fatalf("%d records:\n%s", len(records), &told)
	}
	records[0].check(t, "level=ERROR part=registry request=of-the-proxy.1")
	records[1].check(t, "level=ERROR part msg=audit request=of-the-proxy.1 result=failed user=carl")
	if id := fmt.Sprint(records[4]["request"]); len(id) != 16 || id != records[3]["request"] {
		t.Errorf("request %q", id)
	}
	if n := strings.Count(told.String(), `"request"`); n != 5 {
		t.Errorf("%d ids in 5 records", n)
	}
}

// TestLogBroken: a download whose client goes has a record that says so, and is
// counted as far as it went.
func TestLogBroken(t *testing.T) {
	for name, newRegistry := range registries {
		if name == "remote" || name == "foreign" {
			continue
		}
		t.Run(name, func(t *testing.T) {
			var told log
			metrics := &server.Metrics{}
			reg := newRegistry(t)
			data := random(16 << 20) // more than connections buffer
			store, err := reg.Repository(t.Context(), "a")
			if err != nil {
				t.Fatal(err)
			}
			desc, err := oras.PushBytes(t.Context(), store, oras.MediaTypeBlob, data)
			if err != nil {
				t.Fatal(err)
			}
			opts := &server.ObserveOptions{Log: slog.New(slog.NewJSONHandler(&told, nil)), Metrics: metrics}
			f, end := wrap(t, server.Observe(opts)(server.New(reg, &server.Options{ErrorLog: strict(t)})))
			f.do("GET", "/v2/a/blobs/"+string(desc.Digest), nil)
			c, err := net.Dial("tcp", strings.TrimPrefix(f.url, "http://"))
			if err != nil {
				t.Fatal(err)
			}
			fmt.Fprintf(c, "GET /v2/a/blobs/%s HTTP/1.1\r\nHost: x\r\n\r\n", desc.Digest)
			if _, err := http.ReadResponse(bufio.NewReader(c), nil); err != nil {
				t.Fatal(err)
			}
			c.(*net.TCPConn).SetLinger(0)
			c.Close()
			end()
			records := told.records(t)
			if len(records) != 2 {
				t.Fatalf("%d records", len(records))
			}
			records[0].check(t, fmt.Sprintf("result=ok out=%v status=200", float64(len(data))))
			records[1].check(t, "result=broken status=200")
			out := records[1]["out"].(float64)
			if out >= float64(len(data)) {
				t.Errorf("%v bytes went", out)
			}
			values := read(t, metrics)
			if got := values[`oras_http_response_bytes_total{route="blob"}`]; got != out+float64(len(data)) {
				t.Errorf("%v bytes are counted", got)
			}
			if got := values["oras_http_requests_in_flight"]; got != 0 {
				t.Errorf("%v requests in flight", got)
			}
		})
	}
}

// fromReader is a ResponseWriter like net/http's own, which can send a file without
// reading it.
type fromReader struct {
	*httptest.ResponseRecorder
	pieces int
}

func (w *fromReader) ReadFrom(src io.Reader) (int64, error) {
	w.pieces++
	return io.Copy(struct{ io.Writer }{w.ResponseRecorder}, src)
}

// TestObserveFiles: files still go to the connection as files.
func TestObserveFiles(t *testing.T) {
	reg := registries["bucket"](t)
	h := server.Observe(&server.ObserveOptions{Metrics: &server.Metrics{}})(server.New(reg, nil))
	data := random(1 << 20)
	store, err := reg.Repository(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	desc, err := oras.PushBytes(t.Context(), store, oras.MediaTypeBlob, data)
	if err != nil {
		t.Fatal(err)
	}
	w := &fromReader{ResponseRecorder: httptest.NewRecorder()}
	h.ServeHTTP(w, httptest.NewRequest("GET", "/v2/a/blobs/"+string(desc.Digest), nil))
	if w.pieces == 0 || !bytes.Equal(w.Body.Bytes(), data) {
		t.Errorf("%d pieces, %d bytes", w.pieces, w.Body.Len())
	}
}

// TestObservePath: what a handler between changes of the path, be it in place, counts.
func TestObservePath(t *testing.T) {
	h := server.New(memory.NewRegistry(), nil)
	f, _ := wrap(t, server.Observe(nil)(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.URL.Path = strings.TrimPrefix(r.URL.Path, "/prefix")
		h.ServeHTTP(w, r)
	})))
	f.want("200", "GET", "/prefix/v2/", nil)
	f.want("404", "GET", "/other/v2/", nil)
}
