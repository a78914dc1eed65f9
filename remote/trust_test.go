package remote_test

import (
	"bytes"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/c73062ad/oras"
	"github.com/c73062ad/oras/remote"
)

// A download may be redirected, with nothing that is between user and registry.
func TestRedirects(t *testing.T) {
	t.Parallel()
	data, desc := content(t, 1000)
	blob := &blobServer{data: data, give: whole}
	const path = "/v2/team/hello/blobs/"
	for name, test := range map[string]struct {
		to      string // where registry.example redirects to
		handler http.Handler
		refused string
		header  bool // custom headers arrive at the end
	}{
		"same origin":             {"https://registry.example/elsewhere", nil, "", true},
		"same origin, port named": {"https://registry.example:443/elsewhere", nil, "", true},
		"another host":            {"https://storage.example/x?signature=secret", blob, "", false},
		"a subdomain":             {"https://cdn.registry.example/x", blob, "", false},
		"another port":            {"https://registry.example:8443/x", blob, "", false},
		"with a user":             {"https://me:secret@storage.example/x", blob, "", false},
		"downgrade":               {"http://registry.example/x", blob, "redirect from https to http", false},
		"no HTTP":                 {"file:///etc/passwd", blob, "redirect from https to file", false},
		"and back":                {"https://storage.example/x", redirectTo("https://registry.example/elsewhere"), "back to the registry", false},
		"loop":                    {"https://storage.example/x", redirectTo("https://storage.example/x"), "stopped after 10 redirects", false},
		"metadata service":        {"https://169.254.169.254/latest", blob, "private address", false},
		"private network":         {"https://10.0.0.1/x", blob, "private address", false},
		"this machine":            {"https://127.0.0.1/x", blob, "private address", false},
		"this machine by name":    {"https://localhost:5000/x", blob, "private address", false},
		"this machine, IPv6":      {"https://[::1]/x", blob, "private address", false},
		"mapped address":          {"https://[::ffff:10.0.0.1]/x", blob, "private address", false},
		"zero address":            {"https://0.0.0.0/x", blob, "private address", false},
		"other letters":           {"https://lo%C3%A7al.example/x", blob, "not ASCII", false},
	} {
		t.Run(name, func(t *testing.T) {
			target, err := url.Parse(test.to)
			if err != nil {
				t.Fatal(err)
			}
			network := &hosts{handlers: map[string]http.Handler{}}
			network.handlers[target.Scheme+"://"+target.Host] = test.handler
			registry := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if strings.HasPrefix(r.URL.Path, path) {
					redirectTo(test.to).ServeHTTP(w, r)
				} else {
					blob.ServeHTTP(w, r)
				}
			})
			network.handlers["https://registry.example"] = registry
			if test.handler == nil {
				network.handlers["https://"+target.Host] = registry
			}
			r, err := remote.Open("registry.example/team/hello", &remote.Options{
				Transport: network,
				Header:    http.Header{"X-Secret": {"s"}, "authorization": {"Bearer s"}, "Cookie": {"s=s"}},
			})
			if err != nil {
				t.Fatal(err)
			}
			got, err := fetch(t.Context(), r, desc)
			if test.refused == "" && (err != nil || !bytes.Equal(got, data)) {
				t.Fatalf("%d bytes, %v", len(got), err)
			}
			if test.refused != "" && (err == nil || !strings.Contains(err.Error(), test.refused)) {
				t.Fatalf("error %v; want %q", err, test.refused)
			}
			if err != nil && strings.Contains(err.Error(), "secret") {
				t.Errorf("secret in %v", err)
			}
			for _, r := range network.seen {
				home := r.URL.Hostname() == "registry.example" && (r.URL.Port() == "" || r.URL.Port() == "443")
				for _, name := range []string{"X-Secret", "Authorization", "Cookie"} {
					if has := r.Header.Get(name) != ""; has != home {
						t.Errorf("%s has %s: %v", r.URL, name, has)
					}
				}
				if r.Header.Get("Referer") != "" {
					t.Errorf("%s has a Referer", r.URL)
				}
			}
			if test.refused != "" && test.handler == blob && len(network.seen) != 1 {
				t.Errorf("%d requests; want 1", len(network.seen))
			}
			if n := len(network.seen); n > 10 {
				t.Errorf("%d requests", n)
			}
		})
	}
}

// A registry that is private itself may redirect to its like.
func TestRedirectPrivate(t *testing.T) {
	t.Parallel()
	data, desc := content(t, 1000)
	storage := serve(t, &blobServer{data: data, give: whole})
	host := serve(t, redirectTo("http://"+storage+"/x"))
	for _, transport := range []http.RoundTripper{nil, remote.NewTransport()} {
		if got, err := fetch(t.Context(), open(t, host, remote.Options{Transport: transport}), desc); err != nil || !bytes.Equal(got, data) {
			t.Errorf("%d bytes, %v", len(got), err)
		}
	}
}

// What changes something goes to the registry's origin, or where it is allowed
// to go.
func TestUploadElsewhere(t *testing.T) {
	t.Parallel()
	data, desc := content(t, 1000)
	for name, test := range map[string]struct {
		location string
		redirect bool // instead of a Location
		scheme   string
		allow    bool
		err      bool
	}{
		"relative":               {"/somewhere?state=1", false, "https", false, false},
		"absolute":               {"https://registry.example/somewhere", false, "https", false, false},
		"port named":             {"https://registry.example:443/somewhere", false, "https", false, false},
		"another host":           {"https://storage.example/somewhere", false, "https", false, true},
		"another host, allowed":  {"https://storage.example/somewhere", false, "https", true, false},
		"another port":           {"https://registry.example:444/somewhere", false, "https", false, true},
		"downgrade":              {"http://registry.example/somewhere", false, "https", false, true},
		"downgrade, allowed":     {"http://registry.example/somewhere", false, "https", true, true},
		"with a user":            {"https://a:secret@registry.example/somewhere", false, "https", true, true},
		"upgrade, allowed":       {"https://registry.example/somewhere", false, "http", true, false},
		"upgrade":                {"https://registry.example/somewhere", false, "http", false, true},
		"no URL":                 {"https://[registry.example/", false, "https", true, true},
		"opaque":                 {"mailto:a@b.example", false, "https", true, true},
		"redirect":               {"https://storage.example/somewhere", true, "https", false, true},
		"redirect, allowed":      {"https://storage.example/somewhere", true, "https", true, false},
		"redirect within":        {"https://registry.example/somewhere", true, "https", false, false},
		"redirect to a private":  {"https://10.0.0.1/somewhere", true, "https", true, true},
		"redirect and downgrade": {"http://storage.example/somewhere", true, "https", true, true},
	} {
		t.Run(name, func(t *testing.T) {
			var stored []byte
			accept := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				switch {
				case r.Method == http.MethodPost && !test.redirect:
					w.Header().Set("Location", test.location)
					w.WriteHeader(http.StatusAccepted)
				case r.Method == http.MethodPost:
					w.Header().Set("Location", "/v2/team/hello/blobs/uploads/1")
					w.WriteHeader(http.StatusAccepted)
				case r.Method == http.MethodPut && isUpload(r.URL):
					redirectTo(test.location).ServeHTTP(w, r)
				case r.Method == http.MethodPut:
					var b bytes.Buffer
					b.ReadFrom(r.Body)
					stored = b.Bytes()
					w.WriteHeader(http.StatusCreated)
				default:
					w.WriteHeader(http.StatusNoContent)
				}
			})
			network := &hosts{handlers: map[string]http.Handler{}}
			for _, host := range []string{"registry.example", "registry.example:443", "registry.example:444", "storage.example", "10.0.0.1"} {
				network.handlers["http://"+host], network.handlers["https://"+host] = accept, accept
			}
			opts := &remote.Options{Transport: network, PlainHTTP: test.scheme == "http", Header: http.Header{"X-Secret": {"s"}}}
			if test.allow {
				opts.AllowUpload = func(*url.URL) bool { return true }
			}
			r, err := remote.Open("registry.example/team/hello", opts)
			if err != nil {
				t.Fatal(err)
			}
			err = r.Push(t.Context(), desc, bytes.NewReader(data))
			if (err != nil) != test.err || !test.err && !bytes.Equal(stored, data) {
				t.Fatalf("%d bytes stored, error %v", len(stored), err)
			}
			if err != nil && (stored != nil || strings.Contains(err.Error(), "secret")) {
				t.Errorf("%d bytes stored, error %v", len(stored), err)
			}
			for _, r := range network.seen {
				if r.URL.Scheme+"://"+strings.TrimSuffix(r.URL.Host, ":443") != test.scheme+"://registry.example" && r.Header.Get("X-Secret") != "" {
					t.Errorf("%s has a custom header", r.URL)
				}
			}
		})
	}

	// A POST that a redirect would make a GET.
	network := &hosts{handlers: map[string]http.Handler{"https://registry.example": http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "/v2/", http.StatusFound)
	})}}
	r, err := remote.Open("registry.example/team/hello", &remote.Options{Transport: network})
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Push(t.Context(), desc, bytes.NewReader(data)); err == nil || !strings.Contains(err.Error(), "makes GET of POST") {
		t.Errorf("error %v", err)
	}
}

// Pages of lists are at the registry's origin, and end.
func TestLinks(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		link  func(n int) string
		pages int
		err   string
	}{
		"none":         {func(int) string { return "" }, 1, ""},
		"relative":     {func(n int) string { return map[int]string{1: `</v2/x?n=2>; rel="next"`}[n] }, 2, ""},
		"absolute":     {func(n int) string { return map[int]string{1: `<https://registry.example:443/v2/x?n=2>; rel="next"`}[n] }, 2, ""},
		"another host": {func(int) string { return `<https://evil.example/v2/>; rel="next"` }, 1, "another origin"},
		"metadata":     {func(int) string { return `<http://169.254.169.254/>; rel="next"` }, 1, "another origin"},
		"another port": {func(int) string { return `<https://registry.example:444/v2/>; rel="next"` }, 1, "another origin"},
		"downgrade":    {func(int) string { return `<http://registry.example/v2/>; rel="next"` }, 1, "another origin"},
		"with a user":  {func(int) string { return `<https://a:secret@registry.example/v2/>; rel="next"` }, 1, "another origin"},
		"no URL":       {func(int) string { return `<https://[x>; rel="next"` }, 1, "no URL"},
		"itself":       {func(int) string { return `</v2/x>; rel="next"` }, 2, "no end"},
		"endless": {func(n int) string {
			return `</v2/x?n=` + strings.Repeat("1", n%1000+1) + strings.Repeat("2", n/1000) + `>; rel="next"`
		}, 10_000, "no end"},
		"endless empty": {func(n int) string { return `</v2/x?n=` + strings.Repeat("1", n) + `>; rel="next"` }, 100, "no end"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := 0
			network := tripper(func(r *http.Request) (*http.Response, error) {
				if r.URL.Hostname() != "registry.example" {
					t.Errorf("request to %s", r.URL)
				}
				n++
				w := httptest.NewRecorder()
				w.Header().Set("Content-Type", oras.MediaTypeImageIndex)
				if link := test.link(n); link != "" {
					w.Header().Set("Link", link)
				}
				body := `{"schemaVersion":2,"manifests":[{"mediaType":"a/b","size":1,"digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"}],"tags":["a","not a tag!"],"repositories":["a","../b"]}`
				if name == "endless empty" {
					body = `{"schemaVersion":2,"manifests":[],"tags":[],"repositories":null}`
				}
				w.WriteString(body)
				resp := w.Result()
				resp.Request = r
				return resp, nil
			})
			opts := &remote.Options{Transport: network}
			reg, err := remote.NewRegistry("registry.example", opts)
			if err != nil {
				t.Fatal(err)
			}
			repo, err := remote.Open("registry.example/team/hello", opts)
			if err != nil {
				t.Fatal(err)
			}
			_, desc := image("one")
			check := func(what string, pages int, err error) {
				t.Helper()
				if n != test.pages || test.err == "" && err != nil || test.err != "" && (err == nil || !strings.Contains(err.Error(), test.err)) {
					t.Errorf("%s: %d requests, error %v", what, n, err)
				}
				if err != nil && strings.Contains(err.Error(), "secret") {
					t.Errorf("secret in %v", err)
				}
				if name != "endless empty" && pages != n {
					t.Errorf("%s: %d calls of fn for %d pages", what, pages, n)
				}
				n = 0
			}
			pages := 0
			count := func(names []string) error {
				if pages++; len(names) != 1 || names[0] != "a" {
					t.Errorf("names %q", names)
				}
				return nil
			}
			err = repo.Tags(t.Context(), "", count)
			check("Tags", pages, err)
			if test.pages > 1000 {
				return // once is enough
			}
			pages = 0
			err = reg.Repositories(t.Context(), "", count)
			check("Repositories", pages, err)
			pages = 0
			err = repo.Referrers(t.Context(), desc, "", func([]oras.Descriptor) error { pages++; return nil })
			check("Referrers", pages, err)
		})
	}
}

// No body is read without end.
func TestBodyLimits(t *testing.T) {
	t.Parallel()
	junk := bytes.Repeat([]byte("[1],"), 16<<10)
	for name, test := range map[string]struct {
		status int
		most   int64
		ask    func(r *remote.Repository) error
	}{
		"tags": {200, 5 << 20, func(r *remote.Repository) error { return r.Tags(t.Context(), "", func([]string) error { return nil }) }},
		"referrers": {200, 5 << 20, func(r *remote.Repository) error {
			_, d := image("x")
			_, err := r.Predecessors(t.Context(), d)
			return err
		}},
		"manifest": {200, 5 << 20, func(r *remote.Repository) error { _, _, err := r.FetchReference(t.Context(), "v1"); return err }},
		"error":    {500, 1 << 20, func(r *remote.Repository) error { _, _, err := r.FetchReference(t.Context(), "v1"); return err }},
	} {
		t.Run(name, func(t *testing.T) {
			body := &endless{junk: junk}
			network := tripper(func(r *http.Request) (*http.Response, error) {
				return &http.Response{StatusCode: test.status, Header: http.Header{"Content-Type": {oras.MediaTypeImageIndex}}, Body: body, ContentLength: -1, Request: r}, nil
			})
			r, err := remote.Open("registry.example/team/hello", &remote.Options{Transport: network})
			if err != nil {
				t.Fatal(err)
			}
			err = test.ask(r)
			if err == nil || test.status == 200 && !errors.Is(err, oras.ErrInvalid) {
				t.Errorf("error %v", err)
			}
			if body.n > test.most || !body.closed {
				t.Errorf("%d bytes read; want at most %d; closed: %v", body.n, test.most, body.closed)
			}
		})
	}
}

type endless struct {
	junk   []byte
	n      int64
	closed bool
}

func (e *endless) Read(p []byte) (int, error) {
	n := copy(p, e.junk)
	e.n += int64(n)
	return n, nil
}

func (e *endless) Close() error {
	e.closed = true
	return nil
}
