package server_test

import (
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"net/http/httputil"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/c73062ad/oras"
	"github.com/c73062ad/oras/memory"
	"github.com/c73062ad/oras/remote"
	"github.com/c73062ad/oras/server"
)

func pattern(t testing.TB, text string) server.Pattern {
	t.Helper()
	p, err := server.ParsePattern(text)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestPattern(t *testing.T) {
	for text, want := range map[string]struct{ yes, no string }{
		"team":         {"team", "teams a/team team/a"},
		"*":            {"a team", "a/b"},
		"**":           {"a a/b a/b/c", ""},
		"team/*":       {"team/a team/a-b", "team a/team team/a/b"},
		"team/**":      {"team team/a team/a/b", "teams a a/team teams/a"},
		"**/team":      {"team a/team a/b/team team/team", "team/a ateam"},
		"a/**/b":       {"a/b a/x/b a/x/y/b a/b/b", "a b a/b/c x/a/b"},
		"**/a/**/b/**": {"a/b a/x/b x/a/b/y", "b/a a"},
		"*-dev/*":      {"x-dev/a a-b-dev/c", "dev/a x-dev xdev/a"},
		"a*c/**":       {"ac abc a-c/d", "ab a/c"},
	} {
		p := pattern(t, text)
		for _, name := range strings.Fields(want.yes) {
			if !p.Match(name) {
				t.Errorf("%s does not match %s", p, name)
			}
		}
		for _, name := range strings.Fields(want.no) {
			if p.Match(name) {
				t.Errorf("%s matches %s", p, name)
			}
		}
		if p.String() != text {
			t.Errorf("%s is told as %s", text, p)
		}
	}
	for _, text := range []string{"", "/", "a/", "Team", "a b", "a**", "**b/c", "***", "a?", "[a]", "../*", "*/../a", `a\*`, "_x", "a/_x/**"} {
		if p, err := server.ParsePattern(text); err == nil {
			t.Errorf("%q is the pattern %s", text, p)
		}
	}
	if zero := (server.Pattern{}); !zero.Match("a/b") || zero.String() != "**" {
		t.Errorf("the zero pattern is %s", zero)
	}
	// What is matched takes no time that grows as a power of it.
	name := strings.Repeat("a/", 126) + "b"
	if pattern(t, strings.TrimSuffix(strings.Repeat("**/a/", 50), "/")).Match(name) {
		t.Errorf("%s matches", name)
	}
}

// TestSparse: a repository takes manifests that are not complete, or does not, as the
// first rule says that is about it.
func TestSparse(t *testing.T) {
	for name, open := range registries {
		t.Run(name, func(t *testing.T) {
			f := serve(t, open(t), &server.Options{TempDir: t.TempDir(), ErrorLog: strict(t), Sparse: []server.SparseRule{
				{Repositories: pattern(t, "team/mirror/**"), Allow: true},
				{Repositories: pattern(t, "team/**")},
			}})
			data := image("x") // its config is nowhere
			for repo, want := range map[string]string{
				"other": "201", "team/mirror": "201", "team/mirror/a": "201", "team": "400 MANIFEST_BLOB_UNKNOWN", "team/hello": "400 MANIFEST_BLOB_UNKNOWN",
			} {
				f.want(want, "PUT", "/v2/"+repo+"/manifests/v1", data, imageType)
			}
			f.want("404", "HEAD", "/v2/team/hello/manifests/v1", nil)
			f.pushBlob("team/hello", []byte("{}"))
			digest := f.pushManifest("team/hello", "v1", data)

			// A subject may come later.
			f.pushManifest("team/hello", "", referrer("sbom", "text/a", oras.SHA256.Digest([]byte("later")).String()))

			layer := func(members string) []byte {
				return fmt.Appendf(nil, `{"schemaVersion":2,"mediaType":%q,"config":{"mediaType":%q,"digest":%q,"size":2},"layers":[%s]}`,
					oras.MediaTypeImageManifest, oras.MediaTypeEmpty, oras.SHA256.Digest([]byte("{}")), members)
			}
			gone, other := oras.SHA256.Digest([]byte("gone")), oras.SHA512.Digest([]byte("other"))
			for members, want := range map[string]int{
				`{"mediaType":"a/b","digest":"` + digest + `","size":2}`:                                                                       0, // a manifest is a blob, too
				`{"mediaType":"a/b","digest":"` + gone.String() + `","size":4,"urls":["https://example.com/gone"]}`:                            0,
				`{"mediaType":"application/vnd.oci.image.layer.nondistributable.v1.tar+gzip","digest":"` + gone.String() + `","size":4}`:       0,
				`{"mediaType":"application/vnd.docker.image.rootfs.foreign.diff.tar.gzip","digest":"` + gone.String() + `","size":4}`:          0,
				`{"mediaType":"a/b","digest":"` + gone.String() + `","size":4},{"mediaType":"a/c","digest":"` + gone.String() + `","size":4}`:  1,
				`{"mediaType":"a/b","digest":"` + gone.String() + `","size":4},{"mediaType":"a/c","digest":"` + other.String() + `","size":5}`: 2,
				`{"mediaType":"a/b","digest":"blake3:` + strings.Repeat("0", 64) + `","size":4}`:                                               1,
				strings.TrimSuffix(strings.Repeat(`{"mediaType":"a/b","digest":"`+gone.String()+`","size":4},`, 1000), ","):                    1,
				func() (all string) {
					for i := range 1000 {
						all += fmt.Sprintf(`{"mediaType":"a/b","digest":%q,"size":4},`, oras.SHA256.Digest(fmt.Append(nil, i)))
					}
					return strings.TrimSuffix(all, ",")
				}(): 20,
			} {
				if want == 0 {
					f.pushManifest("team/hello", "v2", layer(members))
					continue
				}
				a := f.want("400 MANIFEST_BLOB_UNKNOWN", "PUT", "/v2/team/hello/manifests/v2", layer(members), imageType)
				var body struct{ Errors []struct{ Code string } }
				if err := json.Unmarshal(a.data, &body); err != nil || len(body.Errors) != want {
					t.Errorf("%.100s: %d errors, %v; it must be %d", members, len(body.Errors), err, want)
				}
			}

			// An index lists manifests, not blobs that look like them.
			index := func(d string) []byte {
				return fmt.Appendf(nil, `{"schemaVersion":2,"mediaType":%q,"manifests":[{"mediaType":%q,"digest":%q,"size":%d}]}`, oras.MediaTypeImageIndex, oras.MediaTypeImageManifest, d, len(data))
			}
			indexType := "Content-Type: " + oras.MediaTypeImageIndex
			f.want("201", "PUT", "/v2/team/hello/manifests/list", index(digest), indexType)
			f.want("400 MANIFEST_BLOB_UNKNOWN", "PUT", "/v2/team/hello/manifests/list", index(gone.String()), indexType)
		})
	}
}

// TestForwarded: a proxy that is trusted says what clients reach the registry by, and
// nobody else does.
func TestForwarded(t *testing.T) {
	prefixes := func(texts ...string) (all []netip.Prefix) {
		for _, text := range texts {
			all = append(all, netip.MustParsePrefix(text))
		}
		return all
	}
	for name, test := range map[string]struct {
		trusted []netip.Prefix
		headers []string
		want    string
	}{
		"nobody trusted":  {nil, []string{"X-Forwarded-Proto: https", "X-Forwarded-Host: example.com"}, ""},
		"another trusted": {prefixes("10.0.0.0/8", "2001:db8::/32"), []string{"X-Forwarded-Proto: https", "X-Forwarded-Host: example.com"}, ""},
		"trusted":         {prefixes("10.0.0.0/8", "127.0.0.0/8", "::1/128"), []string{"X-Forwarded-Proto: https", "X-Forwarded-Host: example.com"}, "https://example.com"},
		"with a port":     {prefixes("127.0.0.0/8", "::1/128"), []string{"X-Forwarded-Proto: http", "X-Forwarded-Host: [2001:db8::1]:5000"}, "http://[2001:db8::1]:5000"},
		"the last counts": {prefixes("127.0.0.0/8", "::1/128"), []string{"X-Forwarded-Proto: http, https", "X-Forwarded-Host: evil.example", "X-Forwarded-Host: evil.example, example.com"}, "https://example.com"},
		"no proto":        {prefixes("127.0.0.0/8", "::1/128"), []string{"X-Forwarded-Host: example.com"}, ""},
		"another proto":   {prefixes("127.0.0.0/8", "::1/128"), []string{"X-Forwarded-Proto: javascript", "X-Forwarded-Host: example.com"}, ""},
		"no host at all":  {prefixes("127.0.0.0/8", "::1/128"), []string{"X-Forwarded-Proto: https", "X-Forwarded-Host: a b"}, ""},
		"user in host":    {prefixes("127.0.0.0/8", "::1/128"), []string{"X-Forwarded-Proto: https", "X-Forwarded-Host: me@example.com"}, ""},
		"path in host":    {prefixes("127.0.0.0/8", "::1/128"), []string{"X-Forwarded-Proto: https", "X-Forwarded-Host: example.com/x"}, ""},
		"nothing said":    {prefixes("127.0.0.0/8", "::1/128"), nil, ""},
	} {
		t.Run(name, func(t *testing.T) {
			f := serve(t, memory.NewRegistry(), &server.Options{TempDir: t.TempDir(), ErrorLog: strict(t), TrustedProxies: test.trusted})
			f.base = test.want
			for _, tag := range []string{"v1", "v2"} {
				f.want("201", "PUT", "/v2/team/hello/manifests/"+tag, image("x"), append(test.headers, imageType)...)
			}
			a := f.want("200", "GET", "/v2/team/hello/tags/list?n=1", nil, test.headers...)
			a.header(t, "Link", "<"+test.want+`/v2/team/hello/tags/list?last=v1&n=1>; rel="next"`)
			a = f.want("202", "POST", "/v2/team/hello/blobs/uploads/", nil, test.headers...)
			location := a.Header.Get("Location")
			if !strings.HasPrefix(location, test.want+"/v2/team/hello/blobs/uploads/") {
				t.Errorf("Location %s", location)
			}
			a = f.want("202", "PATCH", strings.TrimPrefix(location, test.want), []byte("x"), test.headers...)
			path := strings.TrimPrefix(a.Header.Get("Location"), test.want)
			digest := oras.SHA256.Digest([]byte("x")).String()
			f.want("201", "PUT", path+"?digest="+digest, nil, test.headers...).header(t, "Location", test.want+"/v2/team/hello/blobs/"+digest)
		})
	}
	f := serve(t, memory.NewRegistry(), &server.Options{TrustedProxies: prefixes("127.0.0.0/8", "::1/128")})
	u, err := url.Parse(f.url)
	if err != nil {
		t.Fatal(err)
	}
	f.base = "https://" + u.Host // Host is the client's own word for where it is
	f.want("201", "PUT", "/v2/team/hello/manifests/v1", image("x"), imageType, "X-Forwarded-Proto: https")
}

// TestProxy: a client that reaches the registry by a proxy goes on to reach it so.
func TestProxy(t *testing.T) {
	behind := serve(t, memory.NewRegistry(), &server.Options{TempDir: t.TempDir(), ErrorLog: strict(t), TrustedProxies: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}})
	u, err := url.Parse(behind.url)
	if err != nil {
		t.Fatal(err)
	}
	proxy := httptest.NewServer(&httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(u)
		r.SetXForwarded()
	}})
	t.Cleanup(proxy.Close)
	repo, err := remote.Open(strings.TrimPrefix(proxy.URL, "http://")+"/team/hello", &remote.Options{PlainHTTP: true})
	if err != nil {
		t.Fatal(err)
	}
	upload, err := oras.BeginUpload(t.Context(), repo, oras.SHA512)
	if err != nil {
		t.Fatal(err)
	}
	data := random(3 << 20)
	if _, err := upload.Append(t.Context(), 0, strings.NewReader(string(data))); err != nil {
		t.Fatal(err)
	}
	if err := upload.Commit(t.Context(), oras.SHA512.Digest(data)); err != nil {
		t.Fatal(err)
	}
	f := &front{t: t, url: proxy.URL, http: proxy.Client(), base: proxy.URL}
	if location := f.begin("team/hello"); !strings.HasPrefix(location, proxy.URL+"/v2/") {
		t.Errorf("Location %s", location)
	}
	for i := range 30 {
		f.pushManifest("team/hello", fmt.Sprintf("v%02d", i), image("x"))
	}
	var tags []string
	if err := repo.Tags(t.Context(), "", func(page []string) error { tags = append(tags, page...); return nil }); err != nil || len(tags) != 30 || !slices.IsSorted(tags) {
		t.Errorf("%d tags, %v", len(tags), err)
	}
}
