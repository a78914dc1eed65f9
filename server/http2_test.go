package server_test

import (
	"bytes"
	"io"
	"sync"
	"testing"

	"github.com/c73062ad/oras"
	"github.com/c73062ad/oras/memory"
	"github.com/c73062ad/oras/server"
)

// TestHTTP2: it is the same registry.
func TestHTTP2(t *testing.T) {
	s := listen(t, server.New(memory.NewRegistry(), &server.Options{TempDir: t.TempDir(), ErrorLog: strict(t)}))
	s.EnableHTTP2 = true
	s.StartTLS()
	f := &front{t: t, url: s.URL, http: s.Client()}
	if a := f.want("200", "GET", "/v2/", nil); a.ProtoMajor != 2 {
		t.Fatalf("protocol %s", a.Proto)
	}
	data := random(1 << 20)
	digest := oras.SHA256.Digest(data).String()
	for name, push := range blobPushes {
		if a := push(f, data, digest); a.StatusCode != 201 {
			t.Errorf("%s: status %d: %s", name, a.StatusCode, a.data)
		}
	}
	f.pulls("/v2/team/hello/blobs/"+digest, digest, data)
	if a := f.want("206", "GET", "/v2/team/hello/blobs/"+digest, nil, "Range: bytes=1000-"); !bytes.Equal(a.data, data[1000:]) {
		t.Error("other bytes")
	}
	f.pushManifest("team/hello", "v1", image("x"))
	f.want("200", "HEAD", "/v2/team/hello/manifests/v1", nil)
	f.want("404 MANIFEST_UNKNOWN", "GET", "/v2/team/hello/manifests/v2", nil)
	f.want("413", "PUT", "/v2/team/hello/manifests/v1", padded(oras.MaxManifestSize+1), imageType)
}

// TestHTTP2Concurrent: small answers that go over one connection at the same moment.
func TestHTTP2Concurrent(t *testing.T) {
	s := listen(t, server.New(memory.NewRegistry(), &server.Options{TempDir: t.TempDir(), ErrorLog: strict(t)}))
	s.EnableHTTP2 = true
	s.StartTLS()
	f := &front{t: t, url: s.URL, http: s.Client()}
	data := random(5000)
	digest := f.pushBlob("team/hello", data)
	var clients sync.WaitGroup
	for range 32 {
		clients.Go(func() {
			resp, err := f.http.Get(f.url + "/v2/team/hello/blobs/" + digest)
			if err != nil {
				t.Error(err)
				return
			}
			defer resp.Body.Close()
			if got, err := io.ReadAll(resp.Body); err != nil || !bytes.Equal(got, data) {
				t.Errorf("%d bytes, %v", len(got), err)
			}
		})
	}
	clients.Wait()
}
