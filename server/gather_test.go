package server_test

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/c73062ad/oras/memory"
	"github.com/c73062ad/oras/server"
)

// TestGather: a small answer comes in one piece, by HTTP and HTTPS, and each of several
// on one connection is whole, whatever comes between.
func TestGather(t *testing.T) {
	for _, scheme := range []string{"http", "https"} {
		t.Run(scheme, func(t *testing.T) {
			s := listen(t, server.New(memory.NewRegistry(), &server.Options{ErrorLog: strict(t)}))
			start, dial := s.Start, net.Dial
			if scheme == "https" {
				start = s.StartTLS
				dial = func(network, addr string) (net.Conn, error) {
					return tls.Dial(network, addr, s.Client().Transport.(*http.Transport).TLSClientConfig)
				}
			}
			start()
			f := &front{t: t, url: s.URL, http: s.Client()}
			small, large := random(12_000), random(1<<20)
			smallDigest, largeDigest := f.pushBlob("team/hello", small), f.pushBlob("team/hello", large)
			c, err := dial("tcp", s.Listener.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			pieces := &pieces{Reader: c}
			r := bufio.NewReaderSize(pieces, 64<<10)
			ask := func(method, path, header, body string) ([]byte, int) {
				t.Helper()
				pieces.n = 0
				fmt.Fprintf(c, "%s /v2/team/hello/%s HTTP/1.1\r\nHost: x\r\n%s\r\n%s", method, path, header, body)
				resp, err := http.ReadResponse(r, &http.Request{Method: method})
				if err != nil {
					t.Fatal(err)
				}
				data, err := io.ReadAll(resp.Body)
				if err != nil {
					t.Fatal(err)
				}
				return data, resp.StatusCode
			}
			for range 3 {
				if data, status := ask("GET", "blobs/"+smallDigest, "", ""); status != 200 || !bytes.Equal(data, small) {
					t.Errorf("small: status %d, %d bytes", status, len(data))
				}
				if scheme == "http" && pieces.n != 1 {
					t.Errorf("it came in %d pieces", pieces.n)
				}
				if data, status := ask("GET", "blobs/"+largeDigest, "", ""); status != 200 || !bytes.Equal(data, large) {
					t.Errorf("large: status %d, %d bytes", status, len(data))
				}
				if data, status := ask("HEAD", "blobs/"+smallDigest, "", ""); status != 200 || len(data) != 0 {
					t.Errorf("HEAD: status %d, %d bytes", status, len(data))
				}
				if data, status := ask("GET", "blobs/"+smallDigest, "Range: bytes=1-2,5-6\r\n", ""); status != 206 || !bytes.Contains(data, small[5:7]) {
					t.Errorf("ranges: status %d, %d bytes", status, len(data))
				}
				if data, status := ask("GET", "manifests/v1", "", ""); status != 404 || !strings.Contains(string(data), "MANIFEST_UNKNOWN") {
					t.Errorf("nothing: status %d: %s", status, data)
				}
				// 100 Continue must not wait for the answer behind it.
				if _, status := ask("POST", "blobs/uploads/?digest="+smallDigest, fmt.Sprintf("Expect: 100-continue\r\nContent-Length: %d\r\n", len(small)), ""); status == 100 {
					c.Write(small)
					if resp, err := http.ReadResponse(r, nil); err != nil || resp.StatusCode != 201 {
						t.Fatal(resp, err)
					}
				} else if status != 201 {
					t.Errorf("POST: status %d", status)
				}
			}
		})
	}
}

// pieces counts how often there was something to read.
type pieces struct {
	io.Reader
	n int
}

func (p *pieces) Read(b []byte) (int, error) {
	n, err := p.Reader.Read(b)
	p.n++
	return n, err
}
