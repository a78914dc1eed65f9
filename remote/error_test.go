package remote_test

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/c73062ad/oras"
	"github.com/c73062ad/oras/remote"
)

func TestErrors(t *testing.T) {
	t.Parallel()
	name := `{"errors":[{"code":"NAME_UNKNOWN","message":"repository name not known to registry","detail":{"name":"none"}}]}`
	code := func(code string) string { return `{"errors":[{"code":"` + code + `","message":"m"}]}` }
	for _, test := range []struct {
		status int
		body   string
		kind   error
		text   string // behind the status code
	}{
		{401, "", oras.ErrUnauthorized, "401: Unauthorized"},
		{401, code("UNAUTHORIZED"), oras.ErrUnauthorized, "401: unauthorized: m"},
		{403, code("DENIED"), oras.ErrDenied, "403: denied: m"},
		{404, name, oras.ErrNotFound, "404: name unknown: repository name not known to registry: map[name:none]"},
		{404, "<html>", oras.ErrNotFound, "404: Not Found"},
		{400, code("DIGEST_INVALID"), oras.ErrInvalid, "400: digest invalid: m"},
		{400, code("MANIFEST_INVALID"), oras.ErrInvalid, "400: manifest invalid: m"},
		{400, code("NAME_INVALID"), oras.ErrReference, "400: name invalid: m"},
		{404, code("TAG_INVALID"), oras.ErrReference, "404: tag invalid: m"},
		{400, code("UNSUPPORTED"), oras.ErrUnsupported, "400: unsupported: m"},
		{405, "", oras.ErrUnsupported, "405: Method Not Allowed"},
		{413, "", oras.ErrInvalid, "413: Request Entity Too Large"},
		{400, `{"errors":[{"code":"A"},{"code":"B","message":"b"}]}`, nil, "400: a; b: b"},
		{429, code("TOOMANYREQUESTS"), nil, "429: toomanyrequests: m"},
		{500, code("DIGEST_INVALID"), nil, "500: digest invalid: m"},
		{302, "", nil, "302: Found"}, // nowhere
		{599, "", nil, "599: "},
	} {
		host := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(test.status)
			io.WriteString(w, test.body)
		}))
		err := open(t, host, remote.Options{}).Tags(t.Context(), "a b", func([]string) error { return nil })
		want := `GET "http://` + host + `/v2/team/hello/tags/list?last=a+b": response status code ` + test.text
		if test.status == 302 {
			if err == nil {
				t.Errorf("%d: no error", test.status)
			}
			continue
		}
		var answer *remote.Error
		if err == nil || err.Error() != want || !errors.As(err, &answer) || answer.StatusCode != test.status || oras.Kind(err) != test.kind {
			t.Errorf("%d %s: error %v of kind %v; want %s of kind %v", test.status, test.body, err, oras.Kind(err), want, test.kind)
		}
	}
}

// What is not there is named as the user names it, and the answer kept.
func TestNotFound(t *testing.T) {
	t.Parallel()
	host := serve(t, inMemory())
	r := open(t, host, remote.Options{})
	_, desc := image("one")
	_, blob := content(t, 10)
	ref := host + "/team/hello"
	for name, test := range map[string]struct {
		ask  func() error
		want string
	}{
		"Resolve tag":    {func() error { _, err := r.Resolve(t.Context(), "nope"); return err }, ref + ":nope: not found"},
		"Resolve digest": {func() error { _, err := r.Resolve(t.Context(), desc.Digest.String()); return err }, ref + "@" + desc.Digest.String() + ": not found"},
		"FetchReference": {func() error { _, _, err := r.FetchReference(t.Context(), "nope"); return err }, ref + ":nope: not found"},
		"Fetch manifest": {func() error { _, err := r.Fetch(t.Context(), desc); return err }, ref + "@" + desc.Digest.String() + ": not found"},
		"Fetch blob":     {func() error { _, err := r.Fetch(t.Context(), blob); return err }, ref + "@" + blob.Digest.String() + ": not found"},
		"Delete":         {func() error { return r.Delete(t.Context(), blob) }, ref + "@" + blob.Digest.String() + ": not found"},
		"Untag":          {func() error { return r.Untag(t.Context(), "nope") }, ref + ":nope: not found"},
		"Tag":            {func() error { return r.Tag(t.Context(), desc, "v1") }, ref + "@" + desc.Digest.String() + ": not found"},
	} {
		err := test.ask()
		var answer *remote.Error
		if err == nil || err.Error() != test.want || !errors.Is(err, oras.ErrNotFound) || !errors.As(err, &answer) || answer.StatusCode != 404 {
			t.Errorf("%s: error %v; want %s", name, err, test.want)
		}
	}
}

// Names that cannot be are refused before anybody is asked.
func TestReferences(t *testing.T) {
	t.Parallel()
	network := &hosts{}
	opts := &remote.Options{Transport: network}
	for _, host := range []string{"", "a b", "a/b", "user@host", "host:", "-"} {
		if _, err := remote.NewRegistry(host, opts); !errors.Is(err, oras.ErrReference) {
			t.Errorf("NewRegistry %q: error %v", host, err)
		}
	}
	for _, name := range []string{"", "registry.example", "registry.example/", "registry.example/A", "registry.example/../x", "registry.example/a:v1", "registry.example/a@sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"} {
		if _, err := remote.Open(name, opts); !errors.Is(err, oras.ErrReference) {
			t.Errorf("Open %q: error %v", name, err)
		}
	}
	reg, err := remote.NewRegistry("registry.example", opts)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := reg.Repository(t.Context(), "a/../b"); !errors.Is(err, oras.ErrReference) {
		t.Errorf("Repository: error %v", err)
	}
	r, err := remote.Open("registry.example/a", opts)
	if err != nil {
		t.Fatal(err)
	}
	data, desc := image("one")
	for _, bad := range []string{"", "a/b", "../x", "-", "a b", "x?y", "sha256:x", strings.Repeat("a", 129)} {
		if _, err := r.Resolve(t.Context(), bad); !errors.Is(err, oras.ErrReference) {
			t.Errorf("Resolve %q: error %v", bad, err)
		}
		if _, _, err := r.FetchReference(t.Context(), bad); !errors.Is(err, oras.ErrReference) {
			t.Errorf("FetchReference %q: error %v", bad, err)
		}
		for _, err := range []error{r.Untag(t.Context(), bad), r.Tag(t.Context(), desc, bad), r.PushReference(t.Context(), desc, bytes.NewReader(data), bad)} {
			if !errors.Is(err, oras.ErrReference) {
				t.Errorf("%q: error %v", bad, err)
			}
		}
	}
	if len(network.seen) != 0 {
		t.Errorf("%d requests", len(network.seen))
	}
}

// A secret in a URL is in no error.
func TestErrorsKeepSecrets(t *testing.T) {
	t.Parallel()
	_, desc := content(t, 10)
	for name, handler := range map[string]http.Handler{
		"refused":     nil,
		"forbidden":   http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(403) }),
		"bad gateway": http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(502) }),
		"onwards":     redirectTo("ftp://x:planted@storage.example/?token=planted"),
		"no URL":      redirectTo("https://storage.example/%zz?token=planted"),
	} {
		network := &hosts{handlers: map[string]http.Handler{
			"https://registry.example": redirectTo("https://u:planted@storage.example/x?X-Amz-Signature=planted&digest=sha256:public#planted"),
			"https://storage.example":  handler,
		}}
		trip := tripper(func(r *http.Request) (*http.Response, error) {
			if r.URL.Host == "storage.example" && handler == nil {
				return nil, errors.New("connection refused")
			}
			return network.RoundTrip(r)
		})
		r, err := remote.Open("registry.example/team/hello", &remote.Options{Transport: trip})
		if err != nil {
			t.Fatal(err)
		}
		_, err = r.Fetch(t.Context(), desc)
		if err == nil || strings.Contains(err.Error(), "planted") {
			t.Errorf("%s: error %v", name, err)
		}
	}
}

func TestOptions(t *testing.T) {
	t.Parallel()
	var warnings []string
	network := &hosts{handlers: map[string]http.Handler{"https://registry.example": http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for _, text := range []string{`299 - "end of life"`, `299 - "say \"x\\y\""`, `110 - "stale"`, `299 other "x"`, `299 - bare`, ``} {
			w.Header().Add("Warning", text)
		}
		w.Header().Set("Docker-Content-Digest", "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a")
		w.Header().Set("Content-Type", oras.MediaTypeImageIndex)
		w.Header().Set("Content-Length", "2")
	})}}
	reg, err := remote.NewRegistry("registry.example", &remote.Options{
		Transport: network,
		UserAgent: "test/1",
		Header:    http.Header{"x-test": {"a", "b"}},
		Accept:    []string{"a/b", "c/d"},
		Warn:      func(text string) { warnings = append(warnings, text) },
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := reg.Ping(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(warnings, "|"); got != `end of life|say "x\y"` {
		t.Errorf("warnings %s", got)
	}
	r, err := reg.Repository(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Resolve(t.Context(), "v1"); err != nil {
		t.Fatal(err)
	}
	h := network.seen[1].Header
	if h.Get("User-Agent") != "test/1" || strings.Join(h["X-Test"], ",") != "a,b" || h.Get("Accept") != "a/b, c/d" || h.Get("Accept-Encoding") != "identity" {
		t.Errorf("headers %v", h)
	}
}

func TestHosts(t *testing.T) {
	t.Parallel()
	for host, url := range map[string]string{
		"docker.io":        "https://registry-1.docker.io/v2/",
		"docker.io.evil":   "https://docker.io.evil/v2/",
		"[::1]:5000":       "https://[::1]:5000/v2/",
		"Registry.Example": "https://Registry.Example/v2/",
	} {
		network := &hosts{}
		reg, err := remote.NewRegistry(host, &remote.Options{Transport: network})
		if err != nil {
			t.Fatal(err)
		}
		if err := reg.Ping(t.Context()); !errors.Is(err, oras.ErrNotFound) {
			t.Errorf("%s: error %v", host, err)
		}
		if got := network.seen[0].URL.String(); got != url {
			t.Errorf("%s: %s; want %s", host, got, url)
		}
	}
	for host, want := range map[string]bool{
		"localhost": true, "localhost:5000": true, "127.0.0.1:5000": false, "localhost.example": false, "notlocalhost": false, "[::1]:80": false,
	} {
		if got := remote.IsLocalhost(host); got != want {
			t.Errorf("IsLocalhost(%q) = %v", host, got)
		}
	}
}

func TestCatalog(t *testing.T) {
	t.Parallel()
	host := serve(t, inMemory())
	reg := registry(t, host)
	for _, name := range []string{"b", "a", "c/d"} {
		r, err := reg.Repository(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		data, desc := image(name)
		push(t, r, desc, data)
	}
	for last, want := range map[string]string{"": "a,b,c/d", "a": "b,c/d", "c/d": ""} {
		var all []string
		err := reg.Repositories(t.Context(), last, func(names []string) error {
			all = append(all, names...)
			return nil
		})
		if got := strings.Join(all, ","); err != nil || got != want {
			t.Errorf("after %q: %s, %v; want %s", last, got, err, want)
		}
	}
}

// Registries that untag nothing say so in several ways.
func TestUntagUnsupported(t *testing.T) {
	t.Parallel()
	for _, status := range []int{400, 405, 501} {
		r := open(t, serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(status) })), remote.Options{})
		if err := r.Untag(t.Context(), "v1"); !errors.Is(err, oras.ErrUnsupported) {
			t.Errorf("%d: error %v", status, err)
		}
	}
}
