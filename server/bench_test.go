package server_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"testing"

	"github.com/c73062ad/oras"
)

const benchSize = 256 << 20

// BenchmarkBlob moves a blob to a registry on disk and back, in the ways there are.
func BenchmarkBlob(b *testing.B) {
	data := random(benchSize)
	digest := oras.SHA256.Digest(data).String()
	for _, name := range []string{"POST", "POST and PUT", "stream", "chunks"} {
		b.Run(name, func(b *testing.B) {
			f := serve(b, registries["bucket"](b), nil)
			b.SetBytes(benchSize)
			for b.Loop() {
				if a := blobPushes[name](f, data, digest); a.StatusCode != 201 {
					b.Fatalf("status %d: %s", a.StatusCode, a.data)
				}
				b.StopTimer()
				f.want("202", "DELETE", "/v2/team/hello/blobs/"+digest, nil)
				b.StartTimer()
			}
		})
	}
	b.Run("GET", func(b *testing.B) {
		f := serve(b, registries["bucket"](b), nil)
		f.pushBlob("team/hello", data)
		b.SetBytes(benchSize)
		for b.Loop() {
			resp, err := f.http.Get(f.url + "/v2/team/hello/blobs/" + digest)
			if err != nil {
				b.Fatal(err)
			}
			if n, err := io.Copy(io.Discard, resp.Body); n != benchSize || err != nil {
				b.Fatal(n, err)
			}
			resp.Body.Close()
		}
	})
}

// BenchmarkSmall pushes blobs and manifests of some bytes, and reads them.
func BenchmarkSmall(b *testing.B) {
	f := serve(b, registries["bucket"](b), nil)
	f.http.Transport.(*http.Transport).MaxIdleConnsPerHost = 16
	d := f.pushBlob("team/hello", bytes.Repeat([]byte("x"), 4096))
	f.pushManifest("team/hello", "v1", image("x"))
	b.Run("POST and PUT", func(b *testing.B) {
		for b.Loop() {
			data := random(4096)
			f.want("201", "PUT", f.begin("team/hello")+"?digest="+oras.SHA256.Digest(data).String(), data)
		}
	})
	b.Run("PUT manifest by tag", func(b *testing.B) {
		n := 0
		for b.Loop() {
			n++
			f.pushManifest("team/hello", fmt.Sprint("v", n), image(fmt.Sprint(n)))
		}
	})
	b.Run("GET blob", func(b *testing.B) {
		for b.Loop() {
			f.want("200", "GET", "/v2/team/hello/blobs/"+d, nil)
		}
	})
	b.Run("GET manifest by tag", func(b *testing.B) {
		for b.Loop() {
			f.want("200", "GET", "/v2/team/hello/manifests/v1", nil)
		}
	})
}
