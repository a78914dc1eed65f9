package server_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/c73062ad/oras"
	"github.com/c73062ad/oras/bucket"
	"github.com/c73062ad/oras/memory"
	"github.com/c73062ad/oras/remote"
	"github.com/c73062ad/oras/server"
	"github.com/c73062ad/oras/storetest"
)

// A front is a server as its clients see it.
type front struct {
	t    testing.TB
	url  string
	http *http.Client
	user string // to log in as
	base string // before the paths in Locations and Links
}

// serve serves reg until the test ends.
func serve(t testing.TB, reg oras.Registry, opts *server.Options) *front {
	t.Helper()
	s := listen(t, server.New(reg, opts))
	s.Start()
	client := s.Client()
	client.CheckRedirect = func(*http.Request, []*http.Request) error {
		t.Error("the server redirects")
		return http.ErrUseLastResponse
	}
	return &front{t: t, url: s.URL, http: client}
}

// listen returns a server of h as it is to be used, not started.
func listen(t testing.TB, h http.Handler) *httptest.Server {
	t.Helper()
	s := httptest.NewUnstartedServer(nil)
	s.Config, s.Listener = server.NewHTTPServer("", h), server.Gather(s.Listener)
	t.Cleanup(s.Close)
	return s
}

// registries are the kinds of registries behind the servers that are tested.
var registries = map[string]func(t testing.TB) oras.Registry{
	"memory": func(testing.TB) oras.Registry { return memory.NewRegistry() },
	"bucket": func(t testing.TB) oras.Registry {
		dir, err := bucket.OpenDir(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { dir.Close() })
		return bucket.New(dir)
	},
	"foreign": func(testing.TB) oras.Registry {
		return wrapped{memory.NewRegistry(), func(s oras.Store) oras.Store { return foreign{s} }}
	},
	"remote": func(t testing.TB) oras.Registry {
		reg, err := remote.NewRegistry(strings.TrimPrefix(serve(t, memory.NewRegistry(), nil).url, "http://"), &remote.Options{PlainHTTP: true})
		if err != nil {
			t.Fatal(err)
		}
		return reg
	},
}

// eachRegistry runs test against a server over each kind of registry.
func eachRegistry(t *testing.T, test func(t *testing.T, f *front)) {
	for _, name := range slices.Sorted(maps.Keys(registries)) {
		t.Run(name, func(t *testing.T) {
			test(t, serve(t, registries[name](t), &server.Options{TempDir: t.TempDir(), ErrorLog: strict(t)}))
		})
	}
}

// strict is a log in which an error fails the test.
func strict(t testing.TB) *slog.Logger {
	return slog.New(slog.NewTextHandler(logWriter{t}, &slog.HandlerOptions{Level: slog.LevelError}))
}

type logWriter struct{ t testing.TB }

func (w logWriter) Write(p []byte) (int, error) {
	w.t.Errorf("log: %s", p)
	return len(p), nil
}

// A wrapped registry gives each store to wrap.
type wrapped struct {
	oras.Registry
	wrap func(oras.Store) oras.Store
}

func (r wrapped) Repository(ctx context.Context, name string) (oras.Store, error) {
	s, err := r.Registry.Repository(ctx, name)
	if err != nil {
		return nil, err
	}
	return r.wrap(s), nil
}

// foreign is a store of another library: its errors are of kinds that nobody
// knows, and its readers cannot be seeked.
type foreign struct{ oras.Store }

var errForeign = errors.New("ENOENT or so")

func (s foreign) Fetch(ctx context.Context, target oras.Descriptor) (io.ReadCloser, error) {
	r, err := s.Store.Fetch(ctx, target)
	if err != nil {
		return nil, errForeign
	}
	return struct{ io.ReadCloser }{r}, nil
}

func (s foreign) Resolve(ctx context.Context, reference string) (oras.Descriptor, error) {
	desc, err := s.Store.Resolve(ctx, reference)
	if err != nil && strings.Contains(reference, ":") {
		err = errForeign
	}
	return desc, err
}

func (s foreign) Push(ctx context.Context, expected oras.Descriptor, content io.Reader) error {
	if exists, _ := s.Exists(ctx, expected); exists {
		return errors.New("already exists")
	}
	return s.Store.Push(ctx, expected, content)
}

// TestStore covers stores that the tests of package remote do not.
func TestStore(t *testing.T) {
	for _, name := range []string{"bucket", "foreign"} {
		t.Run(name, func(t *testing.T) {
			if name == "bucket" && testing.Short() {
				t.Skip("many writes to disk")
			}
			t.Parallel()
			storetest.Test(t, func(t *testing.T) oras.Store {
				f := serve(t, registries[name](t), &server.Options{TempDir: t.TempDir(), ErrorLog: strict(t)})
				s, err := remote.Open(strings.TrimPrefix(f.url, "http://")+"/team/hello", &remote.Options{PlainHTTP: true})
				if err != nil {
					t.Fatal(err)
				}
				return s
			})
		})
	}
}

// An answer is a response that was read.
type answer struct {
	*http.Response
	data []byte
}

// do sends a request. Headers are "Name: value"; a body that is not nil is sent
// with its length if it is a []byte, else in pieces.
func (f *front) do(method, path string, body any, headers ...string) *answer {
	f.t.Helper()
	var reader io.Reader
	switch body := body.(type) {
	case nil:
	case []byte:
		reader = bytes.NewReader(body)
	case io.Reader:
		reader = struct{ io.Reader }{body}
	}
	req, err := http.NewRequestWithContext(context.Background(), method, f.url+path, reader)
	if err != nil {
		f.t.Fatal(err)
	}
	for _, header := range headers {
		name, value, _ := strings.Cut(header, ": ")
		req.Header.Add(name, value)
	}
	if f.user != "" {
		req.SetBasicAuth(f.user, "password of "+f.user)
	}
	resp, err := f.http.Do(req)
	if err != nil {
		f.t.Fatalf("%s %s: %v", method, path, err)
	}
	defer resp.Body.Close()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		f.t.Fatalf("%s %s: %v", method, path, err)
	}
	a := &answer{resp, data}
	f.check(a)
	return a
}

// check checks what is true of all answers.
func (f *front) check(a *answer) {
	f.t.Helper()
	h, what := a.Header, a.Request.Method+" "+a.Request.URL.String()
	if h.Get("Docker-Distribution-API-Version") != "registry/2.0" {
		f.t.Errorf("%s: no version header", what)
	}
	for _, name := range []string{"Location", "Link"} {
		v, ok := strings.CutPrefix(strings.TrimPrefix(h.Get(name), "<"), f.base)
		if h.Get(name) != "" && (!ok || !strings.HasPrefix(v, "/v2/") || strings.Contains(v, "//")) {
			f.t.Errorf("%s: %s is %q", what, name, v)
		}
	}
	if a.StatusCode < 400 {
		return
	}
	if a.Request.Method == http.MethodHead {
		if len(a.data) > 0 {
			f.t.Errorf("%s: a body", what)
		}
		return
	}
	var body struct {
		Errors []struct{ Code, Message string }
	}
	if err := json.Unmarshal(a.data, &body); err != nil || len(body.Errors) == 0 || body.Errors[0].Code == "" || body.Errors[0].Message == "" {
		f.t.Errorf("%s: status %d with body %q", what, a.StatusCode, a.data)
	}
	if ct := h.Get("Content-Type"); ct != "application/json" {
		f.t.Errorf("%s: error of type %q", what, ct)
	}
	if a.StatusCode == http.StatusMethodNotAllowed && h["Allow"] == nil {
		f.t.Errorf("%s: 405 without Allow", what)
	}
	if a.StatusCode == http.StatusUnauthorized && h.Get("WWW-Authenticate") == "" {
		f.t.Errorf("%s: 401 without a challenge", what)
	}
}

// code returns the code of an error.
func (a *answer) code() string {
	var body struct {
		Errors []struct{ Code string }
	}
	if json.Unmarshal(a.data, &body) != nil || len(body.Errors) == 0 {
		return ""
	}
	return body.Errors[0].Code
}

// want sends a request and checks the status, and the code if there is one
// ("404 BLOB_UNKNOWN").
func (f *front) want(answer, method, path string, body any, headers ...string) *answer {
	f.t.Helper()
	a := f.do(method, path, body, headers...)
	status, code, _ := strings.Cut(answer, " ")
	if got := strconv.Itoa(a.StatusCode); got != status || code != "" && a.code() != code {
		f.t.Fatalf("%s %.200s: status %s, %.300s; it must be %s", method, path, got, a.data, answer)
	}
	return a
}

// header checks a header.
func (a *answer) header(t testing.TB, name, want string) {
	t.Helper()
	if got := a.Header.Get(name); got != want {
		t.Errorf("%s %s: header %s is %q; it must be %q", a.Request.Method, a.Request.URL, name, got, want)
	}
}

// random returns n bytes.
func random(n int) []byte {
	data := make([]byte, n)
	rand.Read(data)
	return data
}

// pushBlob pushes data in one request and returns its digest.
func (f *front) pushBlob(repo string, data []byte) string {
	f.t.Helper()
	d := oras.SHA256.Digest(data).String()
	f.want("201", "POST", "/v2/"+repo+"/blobs/uploads/?digest="+d, data)
	return d
}

// image returns a manifest that has annotations.
func image(name string) []byte { return referrer(name, "", "") }

// referrer returns a manifest of an artifact type about a subject, if not empty.
func referrer(name, artifactType, subject string) []byte {
	m := map[string]any{
		"schemaVersion": 2,
		"mediaType":     oras.MediaTypeImageManifest,
		"config":        map[string]any{"mediaType": oras.MediaTypeEmpty, "digest": oras.SHA256.Digest([]byte("{}")).String(), "size": 2},
		"layers":        []any{},
		"annotations":   map[string]string{"name": name},
	}
	if artifactType != "" {
		m["artifactType"] = artifactType
	}
	if subject != "" {
		m["subject"] = map[string]any{"mediaType": oras.MediaTypeImageManifest, "digest": subject, "size": 123}
	}
	data, err := json.Marshal(m)
	if err != nil {
		panic(err)
	}
	return data
}

const imageType = "Content-Type: " + oras.MediaTypeImageManifest

// pushManifest pushes data by reference, or by digest if that is empty, and
// returns its digest.
func (f *front) pushManifest(repo, reference string, data []byte) string {
	f.t.Helper()
	d := oras.SHA256.Digest(data).String()
	if reference == "" {
		reference = d
	}
	f.want("201", "PUT", "/v2/"+repo+"/manifests/"+reference, data, imageType).header(f.t, "Docker-Content-Digest", d)
	return d
}

// begin begins an upload and returns its Location.
func (f *front) begin(repo string) string {
	f.t.Helper()
	a := f.want("202", "POST", "/v2/"+repo+"/blobs/uploads/", nil)
	a.header(f.t, "Range", "0-0")
	return a.Header.Get("Location")
}

// log is a log to look into.
type log struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

func (l *log) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(l, &slog.HandlerOptions{Level: slog.LevelError}))
}
