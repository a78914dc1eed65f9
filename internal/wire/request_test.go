package wire

import (
	"errors"
	"net/http"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/c73062ad/oras"
)

var (
	digest256 = oras.SHA256.Digest(nil)
	digest512 = oras.SHA512.Digest(nil)
)

func number(n int) *int { return &n }

// requests are requests and how they are written.
var requests = []struct {
	request Request
	text    string
}{
	{Request{Route: Ping}, "/v2/"},
	{Request{Route: Repositories}, "/v2/_catalog"},
	{Request{Route: Repositories, N: number(0), Last: "a/b"}, "/v2/_catalog?last=a%2Fb&n=0"},
	{Request{Route: Blob, Repository: "a", Digest: digest256}, "/v2/a/blobs/" + digest256.String()},
	{Request{Route: Blob, Repository: "a/b-c/d__e/f.g", Digest: digest512}, "/v2/a/b-c/d__e/f.g/blobs/" + digest512.String()},
	{Request{Route: Blob, Repository: "a", Digest: digest256}, "/v2/a/blobs/" + digest256.String()},
	{Request{Route: Manifest, Repository: "a", Tag: "v1.0_x-y"}, "/v2/a/manifests/v1.0_x-y"},
	{Request{Route: Manifest, Repository: "a", Digest: digest256}, "/v2/a/manifests/" + digest256.String()},
	{Request{Route: Manifest, Repository: "a", Digest: digest256, Tags: []string{"v1", "v2"}}, "/v2/a/manifests/" + digest256.String() + "?tag=v1&tag=v2"},
	{Request{Route: Uploads, Repository: "a"}, "/v2/a/blobs/uploads/"},
	{Request{Route: Uploads, Repository: "a", Digest: digest512, Algorithm: oras.SHA512}, "/v2/a/blobs/uploads/?digest=" + url.QueryEscape(digest512.String()) + "&digest-algorithm=sha512"},
	{Request{Route: Uploads, Repository: "a", Mount: digest256, From: "b/c"}, "/v2/a/blobs/uploads/?from=b%2Fc&mount=" + url.QueryEscape(digest256.String())},
	{Request{Route: Upload, Repository: "a/uploads", UploadID: "0aZ_=-"}, "/v2/a/uploads/blobs/uploads/0aZ_=-"},
	{Request{Route: Tags, Repository: "a", N: number(7), Last: "v1"}, "/v2/a/tags/list?last=v1&n=7"},
	{Request{Route: Referrers, Repository: "a", Digest: digest256, ArtifactType: "a/b+c; d"}, "/v2/a/referrers/" + digest256.String() + "?artifactType=a%2Fb%2Bc%3B+d"},
	{Request{Route: Extensions}, "/v2/_oci/ext/discover"},
	{Request{Route: RepositoryExtensions, Repository: "a/b"}, "/v2/a/b/_oci/ext/discover"},
	{Request{Route: ORASReferrers, Repository: "a", Digest: digest256, ArtifactType: "a/b", N: number(3), Last: "x"}, "/v2/a/_oras/artifacts/referrers?artifactType=a%2Fb&digest=" + url.QueryEscape(digest256.String()) + "&last=x&n=3"},
	// Names may hold any of the words.
	{Request{Route: RepositoryExtensions, Repository: "ext/discover"}, "/v2/ext/discover/_oci/ext/discover"},
	{Request{Route: ORASReferrers, Repository: "artifacts/referrers", Digest: digest512}, "/v2/artifacts/referrers/_oras/artifacts/referrers?digest=" + url.QueryEscape(digest512.String())},
	{Request{Route: Tags, Repository: "blobs/uploads/manifests"}, "/v2/blobs/uploads/manifests/tags/list"},
	{Request{Route: Manifest, Repository: "tags/list", Tag: "list"}, "/v2/tags/list/manifests/list"},
	{Request{Route: Manifest, Repository: "a/blobs/uploads", Tag: "uploads"}, "/v2/a/blobs/uploads/manifests/uploads"},
	{Request{Route: Uploads, Repository: "blobs"}, "/v2/blobs/blobs/uploads/"},
	{Request{Route: Uploads, Repository: "manifests/blobs/uploads"}, "/v2/manifests/blobs/uploads/blobs/uploads/"},
	{Request{Route: Referrers, Repository: "referrers", Digest: digest256}, "/v2/referrers/referrers/" + digest256.String()},
}

func parse(t testing.TB, text string) (*Request, error) {
	t.Helper()
	u, err := url.ParseRequestURI(text)
	if err != nil {
		t.Fatal(err)
	}
	return Parse(u)
}

func TestRequest(t *testing.T) {
	for _, test := range requests {
		if got := test.request.String(); got != test.text {
			t.Errorf("String: %s; it must be %s", got, test.text)
		}
		got, err := parse(t, test.text)
		if err != nil || !reflect.DeepEqual(got, &test.request) {
			t.Errorf("Parse %s: %+v, %v; it must be %+v", test.text, got, err, test.request)
		}
	}
}

// TestParseForms: what else is a request.
func TestParseForms(t *testing.T) {
	for text, want := range map[string]Request{
		"/v2":                           {Route: Ping},
		"/v2/?x=y":                      {Route: Ping},
		"/v2/a/blobs/uploads":           {Route: Uploads, Repository: "a"},
		"/v2/a/manifests/v%31":          {Route: Manifest, Repository: "a", Tag: "v1"},
		"/v2/a/tags/list?n=99999":       {Route: Tags, Repository: "a", N: number(MaxPage)},
		"/v2/a/tags/list?n=&last=":      {Route: Tags, Repository: "a"},
		"/v2/a/tags/list?unknown=%2F":   {Route: Tags, Repository: "a"},
		"/v2/a/tags/list?mount=x&tag=.": {Route: Tags, Repository: "a"}, // a parameter of other routes
		"/v2/" + strings.Repeat("a", 255) + "/tags/list":                    {Route: Tags, Repository: strings.Repeat("a", 255)},
		"/v2/a/blobs/" + strings.Replace(digest256.String(), ":", "%3a", 1): {Route: Blob, Repository: "a", Digest: digest256},
	} {
		got, err := parse(t, text)
		if err != nil || !reflect.DeepEqual(got, &want) {
			t.Errorf("Parse %s: %+v, %v; it must be %+v", text, got, err, want)
		}
	}
}

func TestParseErrors(t *testing.T) {
	long := strings.Repeat("a", 256)
	for text, want := range map[string]struct {
		route Route
		kind  error
	}{
		"/":                                       {Unknown, oras.ErrNotFound},
		"/v1/a/tags/list":                         {Unknown, oras.ErrNotFound},
		"/v2x":                                    {Unknown, oras.ErrNotFound},
		"/v2/a":                                   {Unknown, oras.ErrNotFound},
		"/v2/a/tags":                              {Unknown, oras.ErrNotFound},
		"/v2/a/tags/list/":                        {Unknown, oras.ErrNotFound},
		"/v2/_catalog/":                           {Unknown, oras.ErrNotFound},
		"/v2/blobs/uploads/":                      {Unknown, oras.ErrNotFound},
		"/v2/a/uploads/0123":                      {Unknown, oras.ErrNotFound},
		"/v2/a%2Fb/tags/list":                     {Unknown, oras.ErrNotFound},
		"/v2/a%2fb/tags/list":                     {Unknown, oras.ErrNotFound},
		"/v2/a%5Cb/tags/list":                     {Tags, oras.ErrReference},
		"/v2/a/manifests/..%2f..%2fetc":           {Unknown, oras.ErrNotFound},
		"//v2/a/tags/list":                        {Unknown, oras.ErrNotFound},
		"/v2//tags/list":                          {Tags, oras.ErrReference},
		"/v2/tags/list":                           {Tags, oras.ErrReference},
		"/v2/a//tags/list":                        {Tags, oras.ErrReference},
		"/v2//a/tags/list":                        {Tags, oras.ErrReference},
		"/v2/../a/tags/list":                      {Tags, oras.ErrReference},
		"/v2/a/%2e%2e/b/tags/list":                {Tags, oras.ErrReference},
		"/v2/a/./b/tags/list":                     {Tags, oras.ErrReference},
		"/v2/a%252fb/tags/list":                   {Tags, oras.ErrReference},
		"/v2/a%00/tags/list":                      {Tags, oras.ErrReference},
		"/v2/a%0d%0a/tags/list":                   {Tags, oras.ErrReference},
		"/v2/A/tags/list":                         {Tags, oras.ErrReference},
		"/v2/_uploads/tags/list":                  {Tags, oras.ErrReference},
		"/v2/a/_blobs/tags/list":                  {Tags, oras.ErrReference},
		"/v2/" + long + "/tags/list":              {Tags, oras.ErrReference},
		"/v2/a/manifests/":                        {Manifest, oras.ErrReference},
		"/v2/a/manifests/..":                      {Manifest, oras.ErrReference},
		"/v2/a/manifests/.x":                      {Manifest, oras.ErrReference},
		"/v2/a/manifests/" + long[:129]:           {Manifest, oras.ErrReference},
		"/v2/a/manifests/sha256:abc":              {Manifest, oras.ErrInvalid},
		"/v2/a/manifests/v1?tag=v2&tag=a/b":       {Manifest, oras.ErrReference},
		"/v2/a/manifests/v1?tag=":                 {Manifest, oras.ErrReference},
		"/v2/a/manifests/v1?%zz":                  {Manifest, oras.ErrReference},
		"/v2/a/manifests/v1?x;y":                  {Manifest, oras.ErrReference},
		"/v2/a/blobs/":                            {Blob, oras.ErrInvalid},
		"/v2/a/blobs/..":                          {Blob, oras.ErrInvalid},
		"/v2/a/blobs/sha256:..":                   {Blob, oras.ErrInvalid},
		"/v2/a/blobs/md5:" + long[:32]:            {Blob, oras.ErrInvalid},
		"/v2/a/blobs/sha512:" + digest256.Hex():   {Blob, oras.ErrInvalid},
		"/v2/a/blobs/" + digest256.String() + "0": {Blob, oras.ErrInvalid},
		"/v2/a/blobs/" + strings.ToUpper(digest256.String()): {Blob, oras.ErrInvalid},
		"/v2/a/referrers/x":                         {Referrers, oras.ErrInvalid},
		"/v2/a/blobs/uploads/..":                    {Upload, oras.ErrNotFound},
		"/v2/a/blobs/uploads/a.b":                   {Upload, oras.ErrNotFound},
		"/v2/a/blobs/uploads/" + long[:129]:         {Upload, oras.ErrNotFound},
		"/v2/a/blobs/uploads/?digest=x":             {Uploads, oras.ErrInvalid},
		"/v2/a/blobs/uploads/?mount=x":              {Uploads, oras.ErrInvalid},
		"/v2/a/blobs/uploads/?from=../b":            {Uploads, oras.ErrReference},
		"/v2/a/blobs/uploads/?digest-algorithm=md5": {Uploads, oras.ErrInvalid},
		"/v2/a/blobs/uploads/0?digest=" + digest256.String() + "&digest=" + digest512.String(): {Upload, oras.ErrReference},
		"/v2/_oras/artifacts/referrers":                    {Unknown, oras.ErrNotFound},
		"/v2/a/_oras/artifacts/referrers":                  {ORASReferrers, oras.ErrInvalid},
		"/v2/a/_oras/artifacts/referrers?digest=sha256:..": {ORASReferrers, oras.ErrInvalid},
		"/v2/A/_oras/artifacts/referrers":                  {ORASReferrers, oras.ErrReference},
		"/v2/_x/_oci/ext/discover":                         {RepositoryExtensions, oras.ErrReference},
		"/v2//_oci/ext/discover":                           {RepositoryExtensions, oras.ErrReference},
		"/v2/_oci/ext/discover/x":                          {Unknown, oras.ErrNotFound},
		"/v2/a/_oci/ext/other":                             {Unknown, oras.ErrNotFound},
		"/v2/a/tags/list?n=-1":                             {Tags, oras.ErrReference},
		"/v2/a/tags/list?n=x":                              {Tags, oras.ErrReference},
		"/v2/a/tags/list?n=1&n=2":                          {Tags, oras.ErrReference},
		"/v2/a/tags/list?n=99999999999999999999":           {Tags, oras.ErrReference},
	} {
		u := &url.URL{}
		path, query, _ := strings.Cut(text, "?")
		u.RawQuery = query
		if unescaped, err := url.PathUnescape(path); err != nil {
			t.Fatal(err)
		} else if u.Path = unescaped; u.EscapedPath() != path {
			u.RawPath = path
		}
		got, err := Parse(u)
		if !errors.Is(err, want.kind) || got.Route != want.route {
			t.Errorf("Parse %s: route %d, %v; it must be route %d, %v", text, got.Route, err, want.route, want.kind)
		}
	}
}

func TestScopes(t *testing.T) {
	for _, test := range []struct {
		method  string
		request Request
		want    []string
	}{
		{"GET", Request{Route: Ping}, nil},
		{"GET", Request{Route: Repositories}, []string{"registry:catalog:*"}},
		{"GET", Request{Route: Blob, Repository: "a/b", Digest: digest256}, []string{"repository:a/b:pull"}},
		{"HEAD", Request{Route: Manifest, Repository: "a", Tag: "v1"}, []string{"repository:a:pull"}},
		{"GET", Request{Route: Upload, Repository: "a", UploadID: "0"}, []string{"repository:a:pull,push"}},
		{"HEAD", Request{Route: Upload, Repository: "a", UploadID: "0"}, []string{"repository:a:pull,push"}},
		{"GET", Request{Route: Extensions}, nil},
		{"GET", Request{Route: RepositoryExtensions, Repository: "a"}, []string{"repository:a:pull"}},
		{"GET", Request{Route: ORASReferrers, Repository: "a", Digest: digest256}, []string{"repository:a:pull"}},
		{"PUT", Request{Route: Manifest, Repository: "a", Tag: "v1"}, []string{"repository:a:pull,push"}},
		{"DELETE", Request{Route: Manifest, Repository: "a", Tag: "v1"}, []string{"repository:a:delete"}},
		{"DELETE", Request{Route: Upload, Repository: "a", UploadID: "0"}, []string{"repository:a:pull,push"}},
		{"POST", Request{Route: Uploads, Repository: "a", Mount: digest256, From: "b"}, []string{"repository:a:pull,push", "repository:b:pull"}},
		{"POST", Request{Route: Uploads, Repository: "a", Mount: digest256, From: "a"}, []string{"repository:a:pull,push"}},
	} {
		if got := test.request.Scopes(test.method); !slices.Equal(got, test.want) {
			t.Errorf("scopes of %s %s: %q; they must be %q", test.method, test.request.String(), got, test.want)
		}
	}
}

func TestOrigin(t *testing.T) {
	for text, want := range map[string]string{
		"https://a.example/x":        "https://a.example:443",
		"https://a.example:443":      "https://a.example:443",
		"HTTPS://A.Example:5000/y":   "https://a.example:5000",
		"http://a.example":           "http://a.example:80",
		"http://[::1]:5000/":         "http://::1:5000",
		"https://user:pw@a.example/": "https://a.example:443",
	} {
		u, err := url.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		if got := Origin(u); got != want {
			t.Errorf("Origin %s: %s; it must be %s", text, got, want)
		}
	}
}

// FuzzParse: whatever is accepted is safe in a path and means the same when it is
// written down again.
func FuzzParse(f *testing.F) {
	for _, test := range requests {
		path, query, _ := strings.Cut(test.text, "?")
		f.Add(path, query)
	}
	for _, path := range []string{"/v2/%2e%2e/tags/list", "/v2/a%2fb/tags/list", "/v2/a/manifests/..", "/v2/a/blobs/sha256:../..", "/v2//", "/v2/a/blobs/uploads/\x00"} {
		f.Add(path, "n=1&last=%2e&digest=sha256:x&mount=&from=..&tag=a&tag=b&_state=%")
	}
	f.Fuzz(func(t *testing.T, path, query string) {
		u := &url.URL{Path: path, RawQuery: query}
		if unescaped, err := url.PathUnescape(path); err == nil && unescaped != path {
			u.Path, u.RawPath = unescaped, path
		}
		r, err := Parse(u)
		if err != nil {
			if oras.Kind(err) == nil {
				t.Errorf("Parse %q: %v is of no kind", path, err)
			}
			return
		}
		if r.Route == Unknown {
			t.Fatalf("Parse %q: no route and no error", path)
		}
		if r.Repository != "" && oras.CheckRepository(r.Repository) != nil || r.From != "" && oras.CheckRepository(r.From) != nil {
			t.Errorf("Parse %q: repositories %q and %q", path, r.Repository, r.From)
		}
		for _, tag := range append(slices.Clone(r.Tags), r.Tag) {
			if tag != "" && oras.CheckTag(tag) != nil {
				t.Errorf("Parse %q: tag %q", path, tag)
			}
		}
		text := r.String()
		if strings.ContainsAny(text, "\r\n \x00<>\"") || strings.Contains(text, "..") && strings.Contains(r.path(), "/..") || !strings.HasPrefix(text, "/v2/") {
			t.Errorf("Parse %q, String: %q", path, text)
		}
		again, err := parse(t, text)
		if err != nil || !reflect.DeepEqual(again, r) {
			t.Errorf("Parse %q: %+v; after String, %q: %+v, %v", path, r, text, again, err)
		}
		for _, method := range []string{http.MethodGet, http.MethodPut, http.MethodDelete} {
			for _, scope := range r.Scopes(method) {
				if strings.ContainsAny(scope, " \"\r\n") {
					t.Errorf("scope %q", scope)
				}
			}
		}
	})
}
