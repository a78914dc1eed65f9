package server_test

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/c73062ad/oras"
	"github.com/c73062ad/oras/memory"
	"github.com/c73062ad/oras/server"
)

// TestExtensions: the registry says what it does beyond the specification.
func TestExtensions(t *testing.T) {
	list := func(f *front, path string) (names []string) {
		t.Helper()
		a := f.want("200", "GET", path, nil)
		a.header(t, "Content-Type", "application/json")
		var body struct {
			Extensions []struct {
				Name, URL, Description string
				Endpoints              []string
			}
		}
		if err := json.Unmarshal(a.data, &body); err != nil {
			t.Fatalf("%v: %s", err, a.data)
		}
		for _, e := range body.Extensions {
			if !strings.HasPrefix(e.URL, "https://") || e.Description == "" || len(e.Endpoints) == 0 {
				t.Errorf("%s: %+v", path, e)
			}
			names = append(names, e.Name+" "+strings.Join(e.Endpoints, " "))
		}
		return names
	}
	f := serve(t, memory.NewRegistry(), &server.Options{ErrorLog: strict(t)})
	if got := list(f, "/v2/_oci/ext/discover"); !slices.Equal(got, []string{"_oci _oci/ext/discover", "_catalog _catalog"}) {
		t.Errorf("the registry's: %q", got)
	}
	want := []string{"_oci _oci/ext/discover", "_conditional manifests/", "_oras _oras/artifacts/referrers", "cncf.oras.referrers _oras/artifacts/referrers"}
	if got := list(f, "/v2/team/hello/_oci/ext/discover"); !slices.Equal(got, want) {
		t.Errorf("the repository's: %q", got)
	}
	f.want("405 UNSUPPORTED", "POST", "/v2/_oci/ext/discover", nil).header(t, "Allow", "GET, HEAD")
	for _, path := range []string{"/v2/_oci/ext/other", "/v2/team/hello/_oci/ext", "/v2/_oci", "/v2/_oras/artifacts/referrers"} {
		f.want("404 UNSUPPORTED", "GET", path, nil)
	}
	without := serve(t, memory.NewRegistry(), &server.Options{ErrorLog: strict(t), DisableReferrers: true})
	if got := list(without, "/v2/team/hello/_oci/ext/discover"); !slices.Equal(got, want[:2]) {
		t.Errorf("without referrers: %q", got)
	}
	locked := serve(t, memory.NewRegistry(), &server.Options{ErrorLog: strict(t), Authorize: policy})
	locked.want("401 UNAUTHORIZED", "GET", "/v2/_oci/ext/discover", nil)
	locked.user = "reader"
	locked.want("200", "GET", "/v2/_oci/ext/discover", nil)
	locked.want("403 DENIED", "GET", "/v2/private/x/_oci/ext/discover", nil)
	locked.want("200", "GET", "/v2/team/hello/_oci/ext/discover", nil)
}

// orasArtifact returns an ORAS artifact manifest.
func orasArtifact(artifactType, created, subject string) []byte {
	m := map[string]any{
		"mediaType":    oras.MediaTypeORASArtifact,
		"artifactType": artifactType,
		"blobs":        []any{map[string]any{"mediaType": "application/json", "digest": oras.SHA256.Digest([]byte("{}")).String(), "size": 2}},
		"subject":      map[string]any{"mediaType": oras.MediaTypeDockerManifest, "digest": subject, "size": 123},
	}
	if created != "" {
		m["annotations"] = map[string]string{"io.cncf.oras.artifact.created": created}
	}
	data, err := json.Marshal(m)
	if err != nil {
		panic(err)
	}
	return data
}

// TestORASArtifact: what clients did before OCI had referrers: an image by docker, an
// SBOM for it and a signature for that as ORAS artifact manifests, found by the route
// of the time.
func TestORASArtifact(t *testing.T) {
	eachRegistry(t, func(t *testing.T, f *front) {
		type entry struct {
			MediaType, Digest, ArtifactType string
			Size                            int
			Annotations                     map[string]string
		}
		list := func(query string) (entries []entry, next string) {
			t.Helper()
			a := f.want("200", "GET", query, nil)
			a.header(t, "Content-Type", "application/json")
			a.header(t, "ORAS-Api-Version", "oras/1.0")
			var body struct{ Referrers []entry }
			if err := json.Unmarshal(a.data, &body); err != nil || body.Referrers == nil {
				t.Fatalf("%v: %s", err, a.data)
			}
			return body.Referrers, strings.TrimSuffix(strings.TrimPrefix(a.Header.Get("Link"), "<"), `>; rel="next"`)
		}
		route := "/v2/team/hello/_oras/artifacts/referrers?digest="

		layer, config := random(100), []byte(`{"os":"linux","architecture":"amd64"}`)
		image := fmt.Appendf(nil, `{"schemaVersion":2,"mediaType":%q,"config":{"mediaType":"application/vnd.docker.container.image.v1+json","digest":%q,"size":%d},"layers":[{"mediaType":"application/vnd.docker.image.rootfs.diff.tar.gzip","digest":%q,"size":%d}]}`,
			oras.MediaTypeDockerManifest, f.pushBlob("team/hello", config), len(config), f.pushBlob("team/hello", layer), len(layer))
		subject := oras.SHA256.Digest(image).String()
		f.want("201", "PUT", "/v2/team/hello/manifests/v1", image, "Content-Type: "+oras.MediaTypeDockerManifest)
		f.want("200", "GET", "/v2/team/hello/manifests/v1", nil).header(t, "Content-Type", oras.MediaTypeDockerManifest)
		index := fmt.Appendf(nil, `{"schemaVersion":2,"mediaType":%q,"manifests":[{"mediaType":%q,"digest":%q,"size":%d,"platform":{"os":"linux","architecture":"amd64"}}]}`,
			oras.MediaTypeDockerList, oras.MediaTypeDockerManifest, subject, len(image))
		f.want("201", "PUT", "/v2/team/hello/manifests/list", index, "Content-Type: "+oras.MediaTypeDockerList)
		f.want("200", "GET", "/v2/team/hello/manifests/list", nil).header(t, "Content-Type", oras.MediaTypeDockerList)

		if none, next := list(route + subject); len(none) != 0 || next != "" {
			t.Errorf("referrers of an image without any: %v, then %q", none, next)
		}
		f.pushBlob("team/hello", []byte("{}"))
		artifactType := "Content-Type: " + oras.MediaTypeORASArtifact
		var sboms []string // the youngest first
		for _, created := range []string{"2023-08-12T10:00:00Z", "2022-01-01T00:00:00Z", "2021-06-01T12:00:00+02:00", "2021-06-01T09:00:00Z", ""} {
			data := orasArtifact("sbom/example", created, subject)
			digest := oras.SHA256.Digest(data).String()
			a := f.want("201", "PUT", "/v2/team/hello/manifests/"+digest, data, artifactType)
			a.header(t, "OCI-Subject", subject)
			sboms = append(sboms, digest)
		}
		signature := orasArtifact("signature/example", "2020-01-01T00:00:00Z", sboms[0])
		f.want("201", "PUT", "/v2/team/hello/manifests/"+oras.SHA256.Digest(signature).String(), signature, artifactType)
		modern := referrer("modern", "sbom/modern", subject)
		sboms = append(sboms, f.pushManifest("team/hello", "", modern))
		slices.Sort(sboms[4:]) // which have no age

		all, next := list(route + subject)
		var digests []string
		for _, e := range all {
			digests = append(digests, e.Digest)
			if e.Size == 0 || e.MediaType == "" || e.ArtifactType == "" {
				t.Errorf("referrer %+v", e)
			}
		}
		if !slices.Equal(digests, sboms) || next != "" {
			t.Errorf("referrers %q, then %q; they must be %q", digests, next, sboms)
		}
		if all[0].MediaType != oras.MediaTypeORASArtifact || all[0].ArtifactType != "sbom/example" || all[0].Annotations["io.cncf.oras.artifact.created"] == "" {
			t.Errorf("referrer %+v", all[0])
		}
		digests = nil
		for page := route + subject + "&n=2&artifactType=sbom%2Fexample"; page != ""; {
			var part []entry
			if part, page = list(page); len(part) > 2 {
				t.Fatalf("%d referrers on a page", len(part))
			}
			for _, e := range part {
				digests = append(digests, e.Digest)
			}
		}
		if want := slices.DeleteFunc(slices.Clone(sboms), func(d string) bool { return d == oras.SHA256.Digest(modern).String() }); !slices.Equal(digests, want) {
			t.Errorf("referrers by pages %q; they must be %q", digests, want)
		}
		if of, _ := list(route + sboms[0] + "&artifactType=signature/example"); len(of) != 1 {
			t.Errorf("signatures: %v", of)
		}
		if of, next := list(route + subject + "&n=0"); len(of) != 0 || next != "" {
			t.Errorf("n=0: %v, then %q", of, next)
		}
		for _, query := range []string{"", "?digest=", "?digest=sha256:abc", "?digest=" + subject + "&digest=" + subject, "?digest=" + subject + "&n=x"} {
			f.want("400", "GET", "/v2/team/hello/_oras/artifacts/referrers"+query, nil)
		}
		// The route of today lists the same.
		var today struct{ Manifests []entry }
		if err := json.Unmarshal(f.want("200", "GET", "/v2/team/hello/referrers/"+subject, nil).data, &today); err != nil || len(today.Manifests) != len(sboms) {
			t.Errorf("%d referrers, %v", len(today.Manifests), err)
		}
		f.want("202", "DELETE", "/v2/team/hello/manifests/"+sboms[0], nil)
		if left, _ := list(route + subject); len(left) != len(sboms)-1 {
			t.Errorf("%d referrers after a deletion", len(left))
		}
	})
}

// TestDisableReferrers: the registry is then one that knows of no referrers, though it
// loses none.
func TestDisableReferrers(t *testing.T) {
	reg := memory.NewRegistry()
	f := serve(t, reg, &server.Options{ErrorLog: strict(t), DisableReferrers: true})
	subject := oras.SHA256.Digest([]byte("x")).String()
	data := referrer("sbom", "text/a", subject)
	f.want("201", "PUT", "/v2/team/hello/manifests/v1", data, imageType).header(t, "OCI-Subject", "")
	f.want("404 UNSUPPORTED", "GET", "/v2/team/hello/referrers/"+subject, nil)
	f.want("404 UNSUPPORTED", "GET", "/v2/team/hello/referrers/x", nil)
	f.want("404 UNSUPPORTED", "GET", "/v2/team/hello/_oras/artifacts/referrers?digest="+subject, nil)
	again := serve(t, reg, nil).want("200", "GET", "/v2/team/hello/referrers/"+subject, nil)
	if !strings.Contains(string(again.data), oras.SHA256.Digest(data).String()) {
		t.Errorf("enabled again: %s", again.data)
	}
}

// TestWarnings: what users shall read comes with every answer, within the limit.
func TestWarnings(t *testing.T) {
	f := serve(t, memory.NewRegistry(), &server.Options{ErrorLog: strict(t), Warnings: []string{
		`moves to "new.example"` + "\r\nX: y", strings.Repeat("a", 4040), "left out",
	}})
	for _, a := range []*answer{f.want("200", "GET", "/v2/", nil), f.want("404", "GET", "/v2/team/hello/manifests/v1", nil), f.want("404", "GET", "/x", nil), f.want("201", "PUT", "/v2/a/manifests/v1", image("x"), imageType)} {
		if got := a.Header.Values("Warning"); len(got) != 2 || got[0] != `299 - "moves to \"new.example\"X: y"` || len(got[1]) > 4096 {
			t.Errorf("Warning: %.100q", got)
		}
	}
	if got := serve(t, memory.NewRegistry(), nil).want("200", "GET", "/v2/", nil).Header.Values("Warning"); got != nil {
		t.Errorf("Warning: %q", got)
	}
}

// TestHeadOfLists: HEAD is GET without a body.
func TestHeadOfLists(t *testing.T) {
	eachRegistry(t, func(t *testing.T, f *front) {
		digest := f.pushManifest("team/hello", "v1", image("x"))
		f.pushManifest("team/hello", "v2", image("x"))
		upload := f.begin("team/hello")
		for _, path := range []string{
			"/v2/team/hello/tags/list?n=1", "/v2/_catalog", "/v2/team/hello/referrers/" + digest, "/v2/team/hello/_oras/artifacts/referrers?digest=" + digest,
			"/v2/_oci/ext/discover", "/v2/team/hello/_oci/ext/discover", upload,
		} {
			get, head := f.do("GET", path, nil), f.do("HEAD", path, nil)
			if head.StatusCode != get.StatusCode || get.StatusCode >= 300 || len(head.data) > 0 {
				t.Errorf("%s: status %d and %d, %d bytes", path, get.StatusCode, head.StatusCode, len(head.data))
			}
			for _, name := range []string{"Content-Type", "Content-Length", "Link", "Range", "ORAS-Api-Version"} {
				head.header(t, name, get.Header.Get(name))
			}
		}
	})
}

// TestTagsWithTag: tags that come with a push by tag are set, too.
func TestTagsWithTag(t *testing.T) {
	eachRegistry(t, func(t *testing.T, f *front) {
		data := image("x")
		a := f.want("201", "PUT", "/v2/team/hello/manifests/v1?tag=v2&tag=v3&tag=v1&tag=v2", data, imageType)
		if got := a.Header.Values("OCI-Tag"); !slices.Equal(got, []string{"v2", "v3", "v1", "v2"}) {
			t.Errorf("OCI-Tag is %q", got)
		}
		for _, tag := range []string{"v1", "v2", "v3"} {
			f.want("200", "GET", "/v2/team/hello/manifests/"+tag, nil).header(t, "ETag", etag(data))
		}
	})
}

// told is a store that notes how uploads are begun.
type told struct {
	oras.Store
	begun func(oras.Algorithm)
}

func (s told) BeginUpload(ctx context.Context, a oras.Algorithm) (oras.Upload, error) {
	s.begun(a)
	return oras.OpenUpload(ctx, s.Store, "")
}

// TestUploadAlgorithm: the store is told what the digest of an upload will be by, as
// early as that is known, and whatever was said, the digest at the end counts.
func TestUploadAlgorithm(t *testing.T) {
	var mu sync.Mutex
	var begun []oras.Algorithm
	reg := wrapped{registries["bucket"](t), func(s oras.Store) oras.Store {
		return told{s, func(a oras.Algorithm) { mu.Lock(); defer mu.Unlock(); begun = append(begun, a) }}
	}}
	f := serve(t, reg, &server.Options{ErrorLog: strict(t), MinChunk: 5 << 20})
	for query, want := range map[string]oras.Algorithm{"": {}, "?digest-algorithm=sha256": oras.SHA256, "?digest-algorithm=sha512": oras.SHA512} {
		for _, algorithm := range algorithms {
			data := random(1000)
			a := f.want("202", "POST", "/v2/team/hello/blobs/uploads/"+query, nil)
			a.header(t, "OCI-Chunk-Min-Length", "5242880")
			a = f.want("202", "PATCH", a.Header.Get("Location"), data[:400])
			a = f.want("202", "PATCH", a.Header.Get("Location"), data[400:600], "Content-Range: 400-599")
			digest := algorithm.Digest(data).String()
			f.want("201", "PUT", a.Header.Get("Location")+"?digest="+digest, data[600:])
			f.pulls("/v2/team/hello/blobs/"+digest, digest, data)
			if !slices.Equal(begun, []oras.Algorithm{want}) {
				t.Errorf("%q: uploads are begun by %v", query, begun)
			}
			begun = nil
		}
	}
	data := random(1000)
	digest := oras.SHA512.Digest(data).String()
	f.want("201", "POST", "/v2/team/hello/blobs/uploads/?digest="+digest, strings.NewReader(string(data)))
	f.pulls("/v2/team/hello/blobs/"+digest, digest, data)
	if !slices.Equal(begun, []oras.Algorithm{oras.SHA512}) {
		t.Errorf("POST of unknown length: uploads are begun by %v", begun)
	}
	for _, name := range []string{"md5", "SHA512", "sha512:", "sha512&digest-algorithm=sha256"} {
		f.want("400", "POST", "/v2/team/hello/blobs/uploads/?digest-algorithm="+name, nil)
	}
	serve(t, memory.NewRegistry(), nil).want("202", "POST", "/v2/team/hello/blobs/uploads/", nil).header(t, "OCI-Chunk-Min-Length", "")
}
