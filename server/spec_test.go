package server_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/c73062ad/oras"
)

var algorithms = []oras.Algorithm{oras.SHA256, oras.SHA512}

// pulls checks that a blob can be read, at where it is said to be.
func (f *front) pulls(location, digest string, data []byte) {
	f.t.Helper()
	for _, method := range []string{"HEAD", "GET"} {
		a := f.want("200", method, location, nil)
		a.header(f.t, "Docker-Content-Digest", digest)
		a.header(f.t, "Content-Length", fmt.Sprint(len(data)))
		a.header(f.t, "Content-Type", "application/octet-stream")
		a.header(f.t, "X-Content-Type-Options", "nosniff")
		a.header(f.t, "ETag", `"`+digest+`"`)
		if method == "GET" && !bytes.Equal(a.data, data) {
			f.t.Errorf("GET %s: other bytes", location)
		}
	}
	f.want("304", "GET", location, nil, `If-None-Match: "`+digest+`"`)
}

// chunks uploads data in three chunks, the last with the PUT if inPut, and
// returns the answer to that.
func (f *front) chunks(data []byte, digest string, inPut, outOfOrder bool) *answer {
	f.t.Helper()
	location, third := f.begin("team/hello"), len(data)/3
	offset := 0
	for i := range 3 {
		end := offset + third
		if i == 2 {
			end = len(data)
		}
		method, target := "PATCH", location
		if i == 2 && inPut {
			method, target = "PUT", location+"?digest="+digest
		}
		if outOfOrder {
			a := f.want("416 BLOB_UPLOAD_INVALID", method, target, data[offset:end], fmt.Sprintf("Content-Range: %d-%d", offset+1, end))
			a.header(f.t, "Range", fmt.Sprintf("0-%d", max(offset-1, 0)))
			location = a.Header.Get("Location")
			a = f.want("204", "GET", location, nil)
			a.header(f.t, "Range", fmt.Sprintf("0-%d", max(offset-1, 0)))
			location = a.Header.Get("Location")
			if target = location; method == "PUT" {
				target += "?digest=" + digest
			}
		}
		a := f.do(method, target, data[offset:end], fmt.Sprintf("Content-Range: %d-%d", offset, end-1), "Content-Type: application/octet-stream")
		if method == "PUT" {
			return a
		}
		if a.StatusCode != 202 {
			f.t.Fatalf("PATCH %s: status %d: %s", target, a.StatusCode, a.data)
		}
		a.header(f.t, "Range", fmt.Sprintf("0-%d", end-1))
		location, offset = a.Header.Get("Location"), end
	}
	return f.do("PUT", location+"?digest="+digest, nil)
}

// blobPushes are the ways to push a blob.
var blobPushes = map[string]func(f *front, data []byte, digest string) *answer{
	"POST": func(f *front, data []byte, digest string) *answer {
		return f.do("POST", "/v2/team/hello/blobs/uploads/?digest="+digest, data)
	},
	"POST of unknown length": func(f *front, data []byte, digest string) *answer {
		return f.do("POST", "/v2/team/hello/blobs/uploads/?digest="+digest, bytes.NewReader(data))
	},
	"POST and PUT": func(f *front, data []byte, digest string) *answer {
		return f.do("PUT", f.begin("team/hello")+"?digest="+digest, data)
	},
	"POST and PUT of unknown length": func(f *front, data []byte, digest string) *answer {
		return f.do("PUT", f.begin("team/hello")+"?digest="+digest, bytes.NewReader(data))
	},
	"POST with the algorithm and PUT": func(f *front, data []byte, digest string) *answer {
		algorithm, _, _ := strings.Cut(digest, ":")
		a := f.want("202", "POST", "/v2/team/hello/blobs/uploads/?digest-algorithm="+algorithm, nil)
		return f.do("PUT", a.Header.Get("Location")+"?digest="+digest, data)
	},
	"stream": func(f *front, data []byte, digest string) *answer {
		a := f.want("202", "PATCH", f.begin("team/hello"), bytes.NewReader(data))
		return f.do("PUT", a.Header.Get("Location")+"?digest="+digest, nil)
	},
	"stream to the first Location": func(f *front, data []byte, digest string) *answer {
		location := f.begin("team/hello")
		f.want("202", "PATCH", location, bytes.NewReader(data))
		return f.do("PUT", location+"?digest="+digest, nil)
	},
	"chunks":              func(f *front, data []byte, digest string) *answer { return f.chunks(data, digest, false, false) },
	"chunks, last in PUT": func(f *front, data []byte, digest string) *answer { return f.chunks(data, digest, true, false) },
	"chunks, disordered":  func(f *front, data []byte, digest string) *answer { return f.chunks(data, digest, false, true) },
	"chunks, disordered, last in PUT": func(f *front, data []byte, digest string) *answer {
		return f.chunks(data, digest, true, true)
	},
}

func TestBlobPush(t *testing.T) {
	eachRegistry(t, func(t *testing.T, f *front) {
		for _, algorithm := range algorithms {
			for name, push := range blobPushes {
				f.t = t
				data := random(3000)
				digest := algorithm.Digest(data).String()
				path := "/v2/team/hello/blobs/" + digest
				f.want("404 BLOB_UNKNOWN", "GET", path, nil)
				f.want("404", "HEAD", path, nil)

				a := push(f, append([]byte("oh no"), data...), digest)
				if a.StatusCode != 400 || a.code() != "DIGEST_INVALID" {
					t.Errorf("%s, %s, other bytes: status %d: %s", name, algorithm, a.StatusCode, a.data)
				}
				f.want("404 BLOB_UNKNOWN", "GET", path, nil)

				for range 2 { // a second time is no error
					a = push(f, data, digest)
					if a.StatusCode != 201 {
						t.Fatalf("%s, %s: status %d: %s", name, algorithm, a.StatusCode, a.data)
					}
					a.header(t, "Docker-Content-Digest", digest)
					a.header(t, "Location", path)
				}
				f.pulls(path, digest, data)
				f.want("404 MANIFEST_UNKNOWN", "GET", "/v2/team/hello/manifests/"+digest, nil)
				f.want("404 MANIFEST_UNKNOWN", "DELETE", "/v2/team/hello/manifests/"+digest, nil)
				f.want("202", "DELETE", path, nil)
				f.want("404 BLOB_UNKNOWN", "DELETE", path, nil)
				f.want("404", "HEAD", path, nil)
			}
		}
	})
}

func TestBlobEmpty(t *testing.T) {
	eachRegistry(t, func(t *testing.T, f *front) {
		for _, algorithm := range algorithms {
			for _, data := range [][]byte{{}, []byte("{}")} {
				digest := algorithm.Digest(data).String()
				path := "/v2/team/hello/blobs/" + digest
				f.want("201", "POST", "/v2/team/hello/blobs/uploads/?digest="+digest, data)
				f.pulls(path, digest, data)
				f.want("201", "PUT", f.begin("team/hello")+"?digest="+digest, data)
				f.want("202", "DELETE", path, nil)
				location := f.begin("team/hello")
				if len(data) > 0 {
					f.want("202", "PATCH", location, data)
				}
				f.want("201", "PUT", location+"?digest="+digest, nil)
				f.pulls(path, digest, data)
			}
		}
	})
}

func TestUploadSession(t *testing.T) {
	eachRegistry(t, func(t *testing.T, f *front) {
		data := random(1000)
		digest := oras.SHA256.Digest(data).String()

		location := f.begin("team/hello")
		f.want("204", "GET", location, nil).header(t, "Range", "0-0")
		a := f.want("204", "DELETE", location, nil)
		a.header(t, "Content-Length", "")
		for _, method := range []string{"GET", "PATCH", "DELETE"} {
			f.want("404 BLOB_UPLOAD_UNKNOWN", method, location, nil)
		}
		f.want("404 BLOB_UPLOAD_UNKNOWN", "PUT", location+"?digest="+digest, nil)

		location = f.begin("team/hello")
		location = f.want("202", "PATCH", location, data[:400]).Header.Get("Location")
		f.want("400", "PUT", location, data[400:])
		f.want("400", "PUT", location+"?digest=sha256:abc", data[400:])
		f.want("400", "PUT", location+"?digest=md5:d41d8cd98f00b204e9800998ecf8427e", data[400:])
		f.want("204", "GET", location, nil).header(t, "Range", "0-399")
		for _, text := range []string{"0-599", "399-998", "401-1000", "x", "600-400", "-1", "0-18446744073709551616", "bytes 0-1/*", "400"} {
			a := f.want("416 BLOB_UPLOAD_INVALID", "PATCH", location, data[400:], "Content-Range: "+text)
			a.header(t, "Range", "0-399")
			a.header(t, "Location", location)
			f.want("416 BLOB_UPLOAD_INVALID", "PUT", location+"?digest="+digest, data[400:], "Content-Range: "+text)
		}
		f.want("400 SIZE_INVALID", "PATCH", location, data[400:], "Content-Range: 400-500")
		other := strings.Replace(location, "team/hello", "team/other", 1)
		f.want("404 BLOB_UPLOAD_UNKNOWN", "GET", other, nil)
		f.want("404 BLOB_UPLOAD_UNKNOWN", "DELETE", other, nil)
		f.want("202", "PATCH", location, data[400:], "Content-Range: bytes 400-999/1000")
		f.want("201", "PUT", location+"?digest="+digest, nil)
		f.want("404 BLOB_UPLOAD_UNKNOWN", "PATCH", location, data)
		f.want("404 BLOB_UPLOAD_UNKNOWN", "PUT", location+"?digest="+digest, nil)
		f.pulls("/v2/team/hello/blobs/"+digest, digest, data)

		location = f.begin("team/hello")
		f.want("202", "PATCH", location, data)
		a = f.want("400 DIGEST_INVALID", "PUT", location+"?digest="+oras.SHA256.Digest(nil).String(), nil)
		a.header(t, "Location", "")
		a.header(t, "Range", "")
		f.want("404 BLOB_UPLOAD_UNKNOWN", "PUT", location+"?digest="+digest, nil) // a wrong digest ends it

		location = f.begin("team/hello")
		f.want("202", "PATCH", location, data)
		f.want("204", "DELETE", location, nil)
		f.want("404 BLOB_UPLOAD_UNKNOWN", "PATCH", location, data)

		for _, id := range []string{"0123456789abcdef", "x", "uploads", strings.Repeat("a", 200), "..", "%2e%2e"} {
			f.want("404", "GET", "/v2/team/hello/blobs/uploads/"+id, nil)
		}
		f.want("400", "POST", "/v2/team/hello/blobs/uploads/?digest-algorithm=md5", nil)
	})
}

func TestMount(t *testing.T) {
	eachRegistry(t, func(t *testing.T, f *front) {
		for _, algorithm := range algorithms {
			for _, from := range []string{"&from=team/source", ""} {
				data := random(500)
				digest := algorithm.Digest(data).String()
				path := "/v2/team/hello/blobs/uploads/?mount=" + digest + from
				a := f.want("202", "POST", path, nil)
				f.want("204", "GET", a.Header.Get("Location"), nil)
				f.want("404", "HEAD", "/v2/team/hello/blobs/"+digest, nil)

				f.want("201", "POST", "/v2/team/source/blobs/uploads/?digest="+digest, data)
				for range 2 {
					a = f.want("201", "POST", path, nil)
					a.header(t, "Location", "/v2/team/hello/blobs/"+digest)
					a.header(t, "Docker-Content-Digest", digest)
				}
				f.want("202", "DELETE", "/v2/team/source/blobs/"+digest, nil)
				f.pulls("/v2/team/hello/blobs/"+digest, digest, data)
				// That it was deleted there is not undone by what is here (S2).
				f.want("404", "GET", "/v2/team/source/blobs/"+digest, nil)
				f.want("404", "GET", "/v2/team/source/blobs/"+digest, nil, "Range: bytes=0-1")
				f.want("202", "POST", "/v2/team/third/blobs/uploads/?from=team/source&mount="+digest, nil)
			}
		}
		f.want("400", "POST", "/v2/team/hello/blobs/uploads/?mount=sha256:../../etc/passwd&from=team/source", nil)
		f.want("400 NAME_INVALID", "POST", "/v2/team/hello/blobs/uploads/?from=../x&mount="+oras.SHA256.Digest(nil).String(), nil)
	})
}

func TestManifest(t *testing.T) {
	eachRegistry(t, func(t *testing.T, f *front) {
		f.want("404 MANIFEST_UNKNOWN", "GET", "/v2/team/hello/manifests/v1", nil)
		f.want("404 MANIFEST_UNKNOWN", "GET", "/v2/team/hello/manifests/.INVALID_MANIFEST_NAME", nil)
		f.want("404", "HEAD", "/v2/team/hello/manifests/.INVALID_MANIFEST_NAME", nil)
		f.want("404 MANIFEST_UNKNOWN", "DELETE", "/v2/team/hello/manifests/v1", nil)
		for _, algorithm := range algorithms {
			data := image("by " + algorithm.String())
			digest := algorithm.Digest(data).String()
			path := "/v2/team/hello/manifests/"
			f.want("404 MANIFEST_UNKNOWN", "GET", path+digest, nil)
			f.want("404 MANIFEST_UNKNOWN", "DELETE", path+digest, nil)
			f.want("400 DIGEST_INVALID", "PUT", path+digest, append(data, "  "...), imageType)
			f.want("400 DIGEST_INVALID", "PUT", path+"sha256:baddigeststring", data, imageType)
			f.want("400 DIGEST_INVALID", "GET", path+"sha256:baddigeststring", nil)
			a := f.want("201", "PUT", path+digest+"?tag=v1&tag=v2", data, imageType)
			a.header(t, "Location", path+digest)
			a.header(t, "Docker-Content-Digest", digest)
			if tags := a.Header.Values("OCI-Tag"); !slices.Equal(tags, []string{"v1", "v2"}) {
				t.Errorf("OCI-Tag is %q", tags)
			}
			for _, reference := range []string{digest, "v1", "v2"} {
				for _, method := range []string{"HEAD", "GET"} {
					a := f.want("200", method, path+reference, nil, "Accept: "+oras.MediaTypeImageIndex)
					a.header(t, "Content-Type", oras.MediaTypeImageManifest)
					a.header(t, "Content-Length", fmt.Sprint(len(data)))
					a.header(t, "Docker-Content-Digest", digest)
					a.header(t, "ETag", `"`+digest+`"`)
					a.header(t, "X-Content-Type-Options", "nosniff")
					if method == "GET" && !bytes.Equal(a.data, data) {
						t.Errorf("GET %s: other bytes", reference)
					}
				}
			}
			f.pulls("/v2/team/hello/blobs/"+digest, digest, data)
			a = f.want("405 UNSUPPORTED", "DELETE", "/v2/team/hello/blobs/"+digest, nil)
			a.header(t, "Allow", "GET, HEAD")
			f.want("202", "DELETE", path+"v1", nil)
			f.want("404", "HEAD", path+"v1", nil)
			f.want("404 MANIFEST_UNKNOWN", "DELETE", path+"v1", nil)
			f.want("200", "GET", path+"v2", nil)
			f.want("202", "DELETE", path+digest, nil)
			f.want("404 MANIFEST_UNKNOWN", "GET", path+digest, nil)
			f.want("404 MANIFEST_UNKNOWN", "GET", path+"v2", nil)
			f.want("404 BLOB_UNKNOWN", "GET", "/v2/team/hello/blobs/"+digest, nil)
		}
	})
}

func TestReferrers(t *testing.T) {
	eachRegistry(t, func(t *testing.T, f *front) {
		list := func(query string) (*answer, []oras.Descriptor) {
			a := f.want("200", "GET", "/v2/team/hello/referrers/"+query, nil)
			a.header(t, "Content-Type", oras.MediaTypeImageIndex)
			var index struct {
				SchemaVersion int
				MediaType     string
				Manifests     []oras.Descriptor
			}
			if err := json.Unmarshal(a.data, &index); err != nil || index.SchemaVersion != 2 || index.MediaType != oras.MediaTypeImageIndex || index.Manifests == nil {
				t.Fatalf("referrers: %v: %s", err, a.data)
			}
			return a, index.Manifests
		}
		subject := oras.SHA256.Digest([]byte("not there yet")).String()
		if _, none := list(subject); len(none) != 0 {
			t.Errorf("referrers of nothing: %v", none)
		}
		f.want("400 DIGEST_INVALID", "GET", "/v2/team/hello/referrers/sha256:abc", nil)
		f.want("400", "GET", "/v2/team/hello/referrers/"+subject+"?last=x", nil)

		var digests []string
		for i := range 7 {
			data := referrer(fmt.Sprint(i), []string{"text/a", "text/b"}[i%2], subject)
			digest := oras.SHA256.Digest(data).String()
			a := f.want("201", "PUT", "/v2/team/hello/manifests/"+digest, data, imageType)
			a.header(t, "OCI-Subject", subject)
			digests = append(digests, digest)
		}
		slices.Sort(digests)
		a, all := list(subject)
		a.header(t, "OCI-Filters-Applied", "")
		a.header(t, "Link", "")
		for i, desc := range all {
			if desc.Digest.String() != digests[i] || desc.MediaType != oras.MediaTypeImageManifest || desc.Size == 0 ||
				desc.ArtifactType == "" || desc.Annotations["name"] == "" {
				t.Errorf("referrer %d is %v; its digest must be %s", i, desc, digests[i])
			}
		}
		if len(all) != 7 {
			t.Errorf("%d referrers", len(all))
		}
		for artifactType, want := range map[string]int{"text/a": 4, "text/b": 3, "text/c": 0} {
			a, some := list(subject + "?artifactType=" + artifactType)
			a.header(t, "OCI-Filters-Applied", "artifactType")
			if len(some) != want {
				t.Errorf("%d referrers of type %s", len(some), artifactType)
			}
			for _, desc := range some {
				if desc.ArtifactType != artifactType {
					t.Errorf("referrer %v is not of type %s", desc, artifactType)
				}
			}
		}
		var paged []string
		pages := 0
		for query := subject + "?n=2&artifactType=text%2Fa"; query != ""; pages++ {
			a, some := list(query)
			for _, desc := range some {
				paged = append(paged, desc.Digest.String())
			}
			query = strings.TrimSuffix(strings.TrimPrefix(a.Header.Get("Link"), "</v2/team/hello/referrers/"), `>; rel="next"`)
		}
		if len(paged) != 4 || pages != 2 || !slices.IsSorted(paged) {
			t.Errorf("%d pages with %q", pages, paged)
		}
		if a, none := list(subject + "?n=0"); len(none) != 0 || a.Header.Get("Link") != "" {
			t.Errorf("n=0 gives %v", none)
		}
		f.want("202", "DELETE", "/v2/team/hello/manifests/"+digests[0], nil)
		if _, rest := list(subject); len(rest) != 6 || rest[0].Digest.String() != digests[1] {
			t.Errorf("after a deletion: %v", rest)
		}
	})
}

func TestLists(t *testing.T) {
	eachRegistry(t, func(t *testing.T, f *front) {
		type lists struct {
			Name               string
			Tags, Repositories []string
		}
		list := func(path string) (names []string, next string) {
			a := f.want("200", "GET", path, nil)
			a.header(t, "Content-Type", "application/json")
			var l lists
			if err := json.Unmarshal(a.data, &l); err != nil || l.Tags == nil && l.Repositories == nil {
				t.Fatalf("GET %s: %v: %s", path, err, a.data)
			}
			return append(l.Tags, l.Repositories...), strings.TrimSuffix(strings.TrimPrefix(a.Header.Get("Link"), "<"), `>; rel="next"`)
		}
		if names, _ := list("/v2/_catalog"); len(names) != 0 {
			t.Errorf("repositories of an empty registry: %q", names)
		}
		f.want("404 NAME_UNKNOWN", "GET", "/v2/team/hello/tags/list", nil)
		f.want("404 NAME_UNKNOWN", "GET", "/v2/team/hello/tags/list?n=0", nil)
		f.want("404 NAME_UNKNOWN", "GET", "/v2/t/tags/list", nil)

		tags := []string{"B", "_", "a", "a-1", "a.b", "latest", "v1", "v10", "v2"} // in byte order
		data := image("")
		for _, i := range []int{3, 1, 4, 0, 5, 2, 6, 8, 7} {
			f.pushManifest("team/hello", tags[i], data)
		}
		repositories := []string{"a", "a-b", "a/b", "team", "team/hello", "z"}
		for _, i := range []int{5, 3, 1, 2, 0} {
			f.pushManifest(repositories[i], "v1", data)
		}
		for path, want := range map[string][]string{"/v2/team/hello/tags/list": tags, "/v2/_catalog": repositories} {
			if names, next := list(path); !slices.Equal(names, want) || next != "" {
				t.Errorf("GET %s: %q, then %q", path, names, next)
			}
			for _, n := range []int{1, 2, 3, len(want) - 1, len(want), len(want) + 1, 1_000_000_000} {
				var all []string
				for page := fmt.Sprintf("%s?n=%d", path, n); page != ""; {
					var names []string
					if names, page = list(page); len(names) > n || len(names) == 0 {
						t.Fatalf("GET %s: %d names", page, len(names))
					}
					all = append(all, names...)
				}
				if !slices.Equal(all, want) {
					t.Errorf("GET %s with n=%d: %q", path, n, all)
				}
			}
			if names, next := list(path + "?n=0"); len(names) != 0 || next != "" {
				t.Errorf("GET %s with n=0: %q, then %q", path, names, next)
			}
			for i, last := range want {
				if names, _ := list(path + "?last=" + last); !slices.Equal(names, want[i+1:]) {
					t.Errorf("GET %s after %s: %q", path, last, names)
				}
			}
			for _, n := range []string{"-1", "x", "1.5", "99999999999999999999", "1&n=2"} {
				f.want("400", "GET", path+"?n="+n, nil)
			}
		}
		if names, _ := list("/v2/team/hello/tags/list?last=a0"); names[0] != "latest" { // need not be there
			t.Errorf("after a0: %q", names)
		}
		f.want("400 TAG_INVALID", "GET", "/v2/team/hello/tags/list?last=%0d%0aX:", nil)
		d := oras.SHA256.Digest(data).String()
		f.want("202", "DELETE", "/v2/a/manifests/"+d, nil)
		if names, _ := list("/v2/a/tags/list"); len(names) != 0 { // it is still known
			t.Errorf("tags after the deletion: %q", names)
		}
	})
}

func TestPing(t *testing.T) {
	eachRegistry(t, func(t *testing.T, f *front) {
		for _, path := range []string{"/v2/", "/v2"} {
			if a := f.want("200", "GET", path, nil); string(a.data) != "{}" {
				t.Errorf("GET %s: %q", path, a.data)
			}
			f.want("200", "HEAD", path, nil)
		}
		f.want("405 UNSUPPORTED", "POST", "/v2/", nil).header(t, "Allow", "GET, HEAD")
		for _, method := range []string{"OPTIONS", "TRACE", "PROPFIND", http.MethodPatch} {
			f.want("405 UNSUPPORTED", method, "/v2/team/hello/blobs/"+oras.SHA256.Digest(nil).String(), nil)
		}
		for _, path := range []string{"/", "/v1/", "/v2/x", "/v2/team/hello", "/v2/team/hello/tags", "/v2/team/hello/tags/list/", "/v2/_catalog/x"} {
			f.want("404 UNSUPPORTED", "GET", path, nil)
			f.want("404", "HEAD", path, nil)
			f.want("404", "DELETE", path, nil)
		}
	})
}

// TestUploadMoves: an upload goes on at another server of the same registry, as
// after a restart.
func TestUploadMoves(t *testing.T) {
	reg := registries["bucket"](t)
	one, two := serve(t, reg, nil), serve(t, reg, nil)
	data := random(30_000)
	digest := oras.SHA256.Digest(data).String()
	location := one.want("202", "PATCH", one.begin("team/hello"), data[:10_000]).Header.Get("Location")
	two.want("204", "GET", location, nil).header(t, "Range", "0-9999")
	location = two.want("202", "PATCH", location, data[10_000:20_000], "Content-Range: 10000-19999").Header.Get("Location")
	one.want("202", "PATCH", location, data[20_000:25_000], "Content-Range: 20000-24999")
	two.want("204", "GET", location, nil).header(t, "Range", "0-24999")
	a := two.want("416 BLOB_UPLOAD_INVALID", "PATCH", location, data[20_000:25_000], "Content-Range: 20000-24999")
	a.header(t, "Range", "0-24999")
	one.want("202", "PATCH", location, data[25_000:26_000])
	two.want("416", "PATCH", location, data[25_000:]) // it thought there were 25,000
	two.want("201", "PUT", location+"?digest="+digest, data[26_000:], "Content-Range: 26000-29999")
	one.want("404 BLOB_UPLOAD_UNKNOWN", "GET", location, nil)
	two.want("404 BLOB_UPLOAD_UNKNOWN", "PATCH", location, data)
	two.pulls("/v2/team/hello/blobs/"+digest, digest, data)
}
