package server_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"mime"
	"mime/multipart"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/c73062ad/oras"
	"github.com/c73062ad/oras/bucket"
	"github.com/c73062ad/oras/memory"
	"github.com/c73062ad/oras/server"
)

func TestRange(t *testing.T) {
	eachRegistry(t, func(t *testing.T, f *front) {
		data := random(2048)
		digest := f.pushBlob("team/hello", data)
		path := "/v2/team/hello/blobs/" + digest
		if strings.HasSuffix(t.Name(), "/foreign") { // cannot seek
			a := f.want("200", "GET", path, nil, "Range: bytes=500-1499")
			if !bytes.Equal(a.data, data) {
				t.Error("other bytes")
			}
			return
		}
		for text, want := range map[string][2]int{
			"500-1499": {500, 1500}, "500-": {500, 2048}, "-500": {1548, 2048}, "2000-5000": {2000, 2048},
			"0-0": {0, 1}, "-5000": {0, 2048}, "0-": {0, 2048},
		} {
			a := f.want("206", "GET", path, nil, "Range: bytes="+text)
			a.header(t, "Content-Range", fmt.Sprintf("bytes %d-%d/2048", want[0], want[1]-1))
			a.header(t, "Content-Length", fmt.Sprint(want[1]-want[0]))
			a.header(t, "Docker-Content-Digest", digest)
			if !bytes.Equal(a.data, data[want[0]:want[1]]) {
				t.Errorf("range %s: other bytes", text)
			}
		}
		for _, text := range []string{"bytes=500-0", "bytes=5000-10000", "bytes=x", "bytes=2048-", "bytes=" + strings.Repeat("0-0,", 1500) + "1-1"} {
			a := f.want("416 SIZE_INVALID", "GET", path, nil, "Range: "+text)
			a.header(t, "ETag", "")
			a.header(t, "Docker-Content-Digest", "")
		}
		f.want("200", "GET", path, nil, "Range: lines=1-2").header(t, "Content-Length", "2048")
		f.want("200", "HEAD", path, nil, "Range: bytes=500-1499").header(t, "Content-Length", "2048")
		f.want("206", "GET", path, nil, "Range: bytes=1-2", `If-Range: "`+digest+`"`)
		f.want("200", "GET", path, nil, "Range: bytes=1-2", `If-Range: "other"`)

		a := f.want("206", "GET", path, nil, "Range: bytes=0-9,100-199,-1")
		_, params, err := mime.ParseMediaType(a.Header.Get("Content-Type"))
		if err != nil {
			t.Fatal(err)
		}
		parts := multipart.NewReader(bytes.NewReader(a.data), params["boundary"])
		for _, want := range [][]byte{data[:10], data[100:200], data[2047:]} {
			part, err := parts.NextPart()
			if err != nil {
				t.Fatal(err)
			}
			got, err := io.ReadAll(part)
			if err != nil || !bytes.Equal(got, want) || part.Header.Get("Content-Type") != "application/octet-stream" {
				t.Errorf("part %v: %v, %d bytes", part.Header, err, len(got))
			}
		}
	})
}

// padded returns a manifest of n bytes.
func padded(n int) []byte {
	data := image("")
	return bytes.Replace(data, []byte(`"name":""`), []byte(`"name":"`+strings.Repeat("x", n-len(data))+`"`), 1)
}

func TestManifestLimit(t *testing.T) {
	if testing.Short() {
		t.Skip("much to parse")
	}
	f := serve(t, memory.NewRegistry(), &server.Options{ErrorLog: strict(t)})
	fits, tooLarge := padded(oras.MaxManifestSize), padded(oras.MaxManifestSize+1)
	path := "/v2/team/hello/manifests/v1"
	f.want("201", "PUT", path, fits, imageType)
	f.want("201", "PUT", path, bytes.NewReader(fits), imageType)
	if a := f.want("200", "GET", path, nil); !bytes.Equal(a.data, fits) {
		t.Error("other bytes")
	}
	f.want("413 SIZE_INVALID", "PUT", path, tooLarge, imageType)
	f.want("413 SIZE_INVALID", "PUT", path, bytes.NewReader(tooLarge), imageType)
	endless := &counter{r: io.MultiReader(bytes.NewReader(tooLarge), zeros{})}
	f.want("413 SIZE_INVALID", "PUT", path, endless, imageType)
	if n := endless.bytes(); n > oras.MaxManifestSize+16<<20 {
		t.Errorf("%d bytes of an endless manifest were taken", n)
	}
	var packed bytes.Buffer
	zip := gzip.NewWriter(&packed)
	zip.Write(image("gzip"))
	zip.Close()
	f.want("400 MANIFEST_INVALID", "PUT", path, packed.Bytes(), imageType, "Content-Encoding: gzip")
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

type counter struct {
	mu sync.Mutex
	r  io.Reader
	n  int
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.n += n
	return n, err
}

func (c *counter) bytes() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.n
}

func TestManifestInvalid(t *testing.T) {
	f := serve(t, memory.NewRegistry(), &server.Options{ErrorLog: strict(t)})
	path := "/v2/team/hello/manifests/v1"
	good := string(image("x"))
	untyped := strings.Replace(good, `"mediaType":"`+oras.MediaTypeImageManifest+`",`, "", 1)
	if untyped == good {
		t.Fatal("the manifest's mediaType is not where it was")
	}
	index := `{"schemaVersion":2,"mediaType":"` + oras.MediaTypeImageIndex + `","manifests":[]}`
	for name, test := range map[string]struct{ contentType, data, want string }{
		"good":                  {oras.MediaTypeImageManifest, good, "201"},
		"parameter":             {oras.MediaTypeImageManifest + "; charset=utf-8", good, "201"},
		"no Content-Type":       {"", good, "201"},
		"no mediaType":          {oras.MediaTypeImageManifest, untyped, "201"},
		"index":                 {oras.MediaTypeImageIndex, index, "201"},
		"neither":               {"", untyped, "400"},
		"other Content-Type":    {oras.MediaTypeImageIndex, good, "400"},
		"html":                  {"text/html", good, "400"},
		"html in both":          {"text/html", `{"schemaVersion":2,"mediaType":"text/html"}`, "400"},
		"form":                  {"application/x-www-form-urlencoded", good, "400"},
		"injected":              {"text/html; x=\"", good, "400"},
		"shape of another":      {oras.MediaTypeImageIndex, untyped, "400"},
		"both kinds":            {oras.MediaTypeImageManifest, strings.Replace(good, "{", `{"manifests":[],`, 1), "400"},
		"index with layers":     {oras.MediaTypeImageIndex, strings.Replace(index, "{", `{"layers":[],`, 1), "400"},
		"twice":                 {oras.MediaTypeImageManifest, strings.Replace(good, "{", `{"layers":[],`, 1), "400"},
		"upper case":            {oras.MediaTypeImageManifest, strings.Replace(good, `"layers"`, `"Layers"`, 1), "400"},
		"more behind":           {oras.MediaTypeImageManifest, good + "{}", "400"},
		"no UTF-8":              {oras.MediaTypeImageManifest, strings.Replace(good, `"x"`, "\"\xff\"", 1), "400"},
		"negative size":         {oras.MediaTypeImageManifest, strings.Replace(good, `"size":2`, `"size":-2`, 1), "400"},
		"huge size":             {oras.MediaTypeImageManifest, strings.Replace(good, `"size":2`, `"size":9223372036854775808`, 1), "400"},
		"traversal":             {oras.MediaTypeImageManifest, strings.Replace(good, `"sha256:`, `"sha256:../../`, 1), "400"},
		"header in the subject": {oras.MediaTypeImageManifest, strings.Replace(good, "{", `{"subject":{"mediaType":"a/b","size":1,"digest":"sha256:a\r\nX: y"},`, 1), "400"},
		"nested":                {oras.MediaTypeImageManifest, strings.Repeat("[", 1_000_000), "400"},
		"schema 1":              {"application/vnd.docker.distribution.manifest.v1+json", `{"schemaVersion":1}`, "400"},
		"nothing":               {oras.MediaTypeImageManifest, "", "400"},
		"null":                  {oras.MediaTypeImageManifest, "null", "400"},
	} {
		headers := []string{"Content-Type: " + test.contentType}
		if test.contentType == "" {
			headers = nil
		}
		want := test.want
		if want == "400" {
			want = "400 MANIFEST_INVALID"
		}
		t.Run(name, func(t *testing.T) {
			f.t = t
			f.want(want, "PUT", path, []byte(test.data), headers...)
		})
	}
}

func TestTagParameters(t *testing.T) {
	eachRegistry(t, func(t *testing.T, f *front) {
		data := image("x")
		path := "/v2/team/hello/manifests/" + oras.SHA256.Digest(data).String() + "?tag=first"
		for _, bad := range []string{"&tag=.x", "&tag=a%2fb", "&tag=", "&tag=x%0d%0aY:z"} {
			f.want("400 TAG_INVALID", "PUT", path+bad, data, imageType)
		}
		f.want("414", "PUT", path+strings.Repeat("&tag=x", 100), data, imageType)
		f.want("404", "HEAD", "/v2/team/hello/manifests/first", nil)
		query := ""
		for i := range 19 {
			query += fmt.Sprintf("&tag=v%d", i)
		}
		a := f.want("201", "PUT", path+query, data, imageType)
		if n := len(a.Header.Values("OCI-Tag")); n != 20 {
			t.Errorf("%d tags are told", n)
		}
		f.want("200", "GET", "/v2/team/hello/manifests/v18", nil)
	})
}

// raw sends text over a connection of its own and returns the answer.
func (f *front) raw(text string) *http.Response {
	f.t.Helper()
	c, err := net.Dial("tcp", strings.TrimPrefix(f.url, "http://"))
	if err != nil {
		f.t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(time.Minute))
	if _, err := io.WriteString(c, text); err != nil {
		f.t.Fatal(err)
	}
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		f.t.Fatalf("%.200q: %v", text, err)
	}
	return resp
}

// TestPaths: no path leads anywhere but to an error, whichever way it is written.
func TestPaths(t *testing.T) {
	var told log
	f := serve(t, registries["bucket"](t), &server.Options{ErrorLog: told.logger()})
	f.pushManifest("team/hello", "v1", image("x"))
	digest := f.pushBlob("team/hello", []byte("x"))
	component := func(n int) string { return strings.Repeat("a", n) }
	paths := []string{
		"/v2/team/../team/hello/manifests/v1", "/v2/team/%2e%2e/team/hello/manifests/v1", "/v2/../v2/team/hello/manifests/v1",
		"/v2/team%2fhello/manifests/v1", "/v2/team%2Fhello/manifests/v1", "/v2/team%5chello/manifests/v1", `/v2/team\hello/manifests/v1`,
		"/v2/team%252fhello/manifests/v1", "/v2/%252e%252e/hello/manifests/v1", "/v2/team//hello/manifests/v1", "//v2/team/hello/manifests/v1",
		"/v2//team/hello/manifests/v1", "/v2/team/hello//manifests/v1", "/v2/team/hello/manifests//v1", "/v2/team/hello/manifests/v1/",
		"/v2/./team/hello/manifests/v1", "/v2/team/hello/manifests/..", "/v2/team/hello/manifests/.", "/v2/team/hello/manifests/v1%00", "/v2/team%00/hello/manifests/v1",
		"/v2/team/hello/manifests/%2e%2e%2f%2e%2e%2fetc", "/v2/team/hello/manifests/", "/v2/manifests/v1", "/v2/_repositories/manifests/v1",
		"/v2/team/hello/_blobs/manifests/v1", "/v2/_uploads/tags/list", "/v2/team/hello/_uploads/tags/list", "/v2/blobs/uploads/", "/v2/team/hello/blobs/../manifests/v1",
		"/v2/team/hello/blobs/uploads/../../manifests/v1", "/v2/team/hello/blobs/" + digest + "/../" + digest, "/v2/team/hello/blobs/" + strings.ToUpper(digest),
		"/v2/team/hello/blobs/sha256:../../../../etc/passwd", "/v2/team/hello/blobs/sha256:" + component(64)[:63], "/v2/team/hello/blobs/" + digest + "0",
		"/v2/team/hello/blobs/sha512:" + strings.TrimPrefix(digest, "sha256:"), "/v2/team/hello/blobs/md5:d41d8cd98f00b204e9800998ecf8427e", "/v2/team/hello/blobs/",
		"/v2/TEAM/hello/manifests/v1", "/v2/team/hello:x/manifests/v1", "/v2/team/héllo/manifests/v1", "/v2/.team/hello/tags/list",
		"/v2/" + component(256) + "/manifests/v1", "/v2/" + component(4096) + "/manifests/v1", "/v2/" + component(255) + "/manifests/v1",
		"/v2/team/hello/manifests/" + component(129), "/v2/team/hello/referrers/..", "/v2/team/hello/referrers/sha256:..%2f..", "/v2/..", "/v2/%2e%2e/_catalog", "/v2", "/v2/",
	}
	for _, path := range paths {
		resp := f.raw("GET " + path + " HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
		resp.Body.Close()
		allowed := resp.StatusCode == 400 || resp.StatusCode == 404 || strings.TrimSuffix(path, "/") == "/v2" && resp.StatusCode == 200
		if !allowed {
			t.Errorf("GET %.100s: status %d, Location %q", path, resp.StatusCode, resp.Header.Get("Location"))
		}
	}
	if resp := f.raw("GET /v2/ HTTP/1.1\r\nHost: evil.example\r\nX-Forwarded-Host: evil.example\r\nConnection: close\r\n\r\n"); resp.StatusCode != 200 {
		t.Errorf("status %d", resp.StatusCode)
	}
	resp := f.raw("POST /v2/team/hello/blobs/uploads/ HTTP/1.1\r\nHost: evil.example\r\nX-Forwarded-Host: evil.example\r\nX-Forwarded-Proto: https\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
	if l := resp.Header.Get("Location"); !strings.HasPrefix(l, "/v2/team/hello/blobs/uploads/") {
		t.Errorf("Location %q", l)
	}
	if text := told.String(); text != "" {
		t.Errorf("log: %s", text)
	}
}

// TestHead: a request that is too large is refused by the server with the limits
// of this package, one whose header does not come is cut off.
func TestHead(t *testing.T) {
	s := server.NewHTTPServer("127.0.0.1:0", server.New(memory.NewRegistry(), nil))
	l, err := net.Listen("tcp", s.Addr)
	if err != nil {
		t.Fatal(err)
	}
	go s.Serve(l)
	defer s.Close()
	f := &front{t: t, url: "http://" + l.Addr().String()}
	// Not all of it is taken, so sending it may fail.
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	go io.WriteString(c, "GET /v2/ HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer "+strings.Repeat(".", 1<<20))
	if resp, err := http.ReadResponse(bufio.NewReader(c), nil); err == nil && resp.StatusCode != 431 {
		t.Errorf("a header of a megabyte: status %d", resp.StatusCode)
	}
	if resp := f.raw("GET /v2/ HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + strings.Repeat(".", 60<<10) + "\r\nConnection: close\r\n\r\n"); resp.StatusCode != 200 {
		t.Errorf("a header of 60 KiB: status %d", resp.StatusCode)
	}
	if s.ReadHeaderTimeout == 0 || s.IdleTimeout == 0 || s.ReadTimeout != 0 || s.WriteTimeout != 0 {
		t.Errorf("timeouts: %+v", s)
	}
}

// TestUploadConcurrent: of many that append, commit or cancel at once, the bytes
// that count are those of one order of them.
func TestUploadConcurrent(t *testing.T) {
	eachRegistry(t, func(t *testing.T, f *front) {
		data := random(60_000)
		digest := oras.SHA256.Digest(data).String()
		location := f.begin("team/hello")
		var clients sync.WaitGroup
		for range 4 {
			clients.Go(func() {
				for offset := 0; offset < len(data); {
					end := min(offset+10_000, len(data))
					a := f.do("PATCH", location, data[offset:end], fmt.Sprintf("Content-Range: %d-%d", offset, end-1))
					if a.StatusCode != 202 && a.StatusCode != 416 {
						t.Errorf("PATCH: status %d: %s", a.StatusCode, a.data)
						return
					}
					var last int
					if _, err := fmt.Sscanf(a.Header.Get("Range"), "0-%d", &last); err != nil {
						t.Errorf("Range %q", a.Header.Get("Range"))
						return
					}
					if last > 0 {
						offset = last + 1
					}
				}
			})
		}
		clients.Wait()
		f.want("204", "GET", location, nil).header(t, "Range", fmt.Sprintf("0-%d", len(data)-1))
		counts := map[int]int{}
		var mu sync.Mutex
		for i := range 6 {
			clients.Go(func() {
				method, path := "PUT", location+"?digest="+digest
				if i%3 == 2 {
					method, path = "DELETE", location
				}
				a := f.do(method, path, nil)
				mu.Lock()
				defer mu.Unlock()
				counts[a.StatusCode]++
			})
		}
		clients.Wait()
		if counts[201]+counts[204] != 1 || counts[404] != 5 {
			t.Errorf("answers to 4 PUTs and 2 DELETEs: %v", counts)
		}
		if counts[201] == 1 {
			f.pulls("/v2/team/hello/blobs/"+digest, digest, data)
		} else {
			f.want("404", "GET", "/v2/team/hello/blobs/"+digest, nil)
		}
	})
}

// descriptors returns how many files the process has open.
func descriptors(t *testing.T) int {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Skip("cannot count open files here")
	}
	return len(entries)
}

// files returns how many files there are in folder and below.
func files(t *testing.T, folder string) (n int) {
	t.Helper()
	err := filepath.WalkDir(folder, func(_ string, entry fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) { // gone since it was listed
			return nil
		}
		if err == nil && !entry.IsDir() {
			n++
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// TestBroken: clients that go away in the middle leave no goroutine, descriptor or
// file behind, but for what uploads they can go on with have received.
func TestBroken(t *testing.T) {
	t.Run("memory", func(t *testing.T) { testBroken(t, memory.NewRegistry(), t.TempDir()) })
	t.Run("bucket", func(t *testing.T) {
		folder := t.TempDir()
		dir, err := bucket.OpenDir(folder)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { dir.Close() })
		testBroken(t, bucket.New(dir), folder)
	})
}

// testBroken serves reg, which keeps files in folder, as the server does for it.
func testBroken(t *testing.T, reg oras.Registry, folder string) {
	var told log
	f := serve(t, reg, &server.Options{TempDir: folder, MaxUploads: 20, ErrorLog: told.logger()})
	blob := random(1 << 20)
	digest := f.pushBlob("team/hello", blob)
	f.pushManifest("team/hello", "v1", image("x"))
	var goroutines, open, kept int
	count := func() {
		f.http.CloseIdleConnections()
		goroutines, open, kept = runtime.NumGoroutine(), descriptors(t), files(t, folder)
	}
	f.want("204", "DELETE", f.begin("team/hello"), nil)
	count()
	goroutines0, kept0 := goroutines, kept
	f.breakOff(80, digest) // which opens what a store opens once
	count()
	open0 := open
	n := 1000
	if testing.Short() {
		n = 80
	}
	uploads := f.breakOff(n, digest)
	deadline := time.Now().Add(30 * time.Second)
	for count(); goroutines > goroutines0 || open > open0 || kept > kept0; count() {
		f.cancel(uploads)
		if time.Now().After(deadline) {
			t.Fatalf("%d goroutines of %d, %d open files of %d, %d files of %d", goroutines, goroutines0, open, open0, kept, kept0)
		}
		runtime.Gosched()
	}
	if text := told.String(); text != "" {
		t.Errorf("log: %.1000s", text)
	}
	if a := f.want("200", "GET", "/v2/team/hello/blobs/"+digest, nil); !bytes.Equal(a.data, blob) {
		t.Error("other bytes")
	}
	f.want("200", "GET", "/v2/team/hello/manifests/v1", nil).header(t, "ETag", etag(image("x")))
}

// breakOff makes n requests, of which digest is a blob, over connections that are
// broken before they end, cancels the uploads they began, and returns these.
func (f *front) breakOff(n int, digest string) (uploads []string) {
	address := strings.TrimPrefix(f.url, "http://")
	var mu sync.Mutex
	var clients sync.WaitGroup
	for i := range 8 {
		clients.Go(func() {
			for j := range n / 8 {
				c, err := net.Dial("tcp", address)
				if err != nil {
					f.t.Error(err)
					return
				}
				location := ""
				if i >= 4 {
					fmt.Fprint(c, "POST /v2/team/hello/blobs/uploads/ HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
					resp, err := http.ReadResponse(bufio.NewReader(c), nil)
					if err != nil {
						f.t.Error(err)
						return
					}
					location = resp.Header.Get("Location")
					mu.Lock()
					uploads = append(uploads, location)
					mu.Unlock()
				}
				other := oras.SHA256.Digest(fmt.Append(nil, i, j))
				switch i {
				case 0:
					fmt.Fprintf(c, "POST /v2/team/hello/blobs/uploads/?digest=%s HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\nabc", other)
				case 1:
					fmt.Fprintf(c, "GET /v2/team/hello/blobs/%s HTTP/1.1\r\nHost: x\r\nRange: bytes=0-9,20-99999\r\n\r\n", digest)
				case 2:
					fmt.Fprintf(c, "PUT /v2/team/hello/manifests/v1 HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{")
				case 3:
					fmt.Fprintf(c, "POST /v2/team/hello/blobs/uploads/?digest=%s HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n", other)
				case 4, 5:
					fmt.Fprintf(c, "PATCH %s HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n", location)
				case 6:
					fmt.Fprintf(c, "PATCH %s HTTP/1.1\r\nHost: x\r\nContent-Range: 0-99999\r\nContent-Length: 100000\r\n\r\nabc", location)
				case 7:
					fmt.Fprintf(c, "PUT %s?digest=%s HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\nabc", location, other)
				}
				c.(*net.TCPConn).SetLinger(0)
				c.Close()
			}
		})
	}
	clients.Wait()
	f.cancel(uploads)
	return uploads
}

// cancel cancels uploads, which the server may have forgotten.
func (f *front) cancel(uploads []string) {
	for _, location := range uploads {
		if a := f.do("DELETE", location, nil); a.StatusCode != 204 && a.StatusCode != 404 {
			f.t.Fatalf("DELETE: status %d: %s", a.StatusCode, a.data)
		}
	}
}

// TestBrokenPatch: what arrived before the connection broke is kept.
func TestBrokenPatch(t *testing.T) {
	for _, name := range []string{"memory", "bucket"} {
		f := serve(t, registries[name](t), &server.Options{TempDir: t.TempDir(), ErrorLog: strict(t)})
		data := random(100_000)
		digest := oras.SHA256.Digest(data).String()
		location := f.begin("team/hello")
		resp := f.half("PATCH "+location+" HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n", data[:50_000])
		if resp.StatusCode != 400 {
			t.Errorf("%s: status %d", name, resp.StatusCode)
		}
		a := f.want("204", "GET", location, nil)
		a.header(t, "Range", "0-49999")
		f.want("201", "PUT", a.Header.Get("Location")+"?digest="+digest, data[50_000:], "Content-Range: 50000-99999")
		f.pulls("/v2/team/hello/blobs/"+digest, digest, data)
	}
}

// half sends a request whose body ends too early, and returns the answer.
func (f *front) half(head string, data []byte) *http.Response {
	f.t.Helper()
	c, err := net.Dial("tcp", strings.TrimPrefix(f.url, "http://"))
	if err != nil {
		f.t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(time.Minute))
	io.WriteString(c, head)
	c.Write(data)
	c.(*net.TCPConn).CloseWrite()
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		f.t.Fatal(err)
	}
	return resp
}

// broken is a store whose content cannot be read to the end, and in which nothing
// can be written.
type broken struct{ oras.Store }

var errDisk = errors.New("/secret/path: input/output error")

func (s broken) Fetch(ctx context.Context, target oras.Descriptor) (io.ReadCloser, error) {
	r, err := s.Store.Fetch(ctx, target)
	if err != nil {
		return nil, err
	}
	return struct {
		io.Reader
		io.Closer
	}{io.MultiReader(io.LimitReader(r, 1000), failing{}), r}, nil
}

func (s broken) Push(context.Context, oras.Descriptor, io.Reader) error { return errDisk }

type fullDisk struct{ oras.Store }

func (s fullDisk) Push(context.Context, oras.Descriptor, io.Reader) error {
	return &fs.PathError{Op: "write", Path: "/secret/path", Err: syscall.ENOSPC}
}

type failing struct{}

func (failing) Read([]byte) (int, error) { return 0, errDisk }

// TestStoreFails: the cause is for the log, and no answer looks whole that is not.
func TestStoreFails(t *testing.T) {
	reg := memory.NewRegistry()
	data := random(100_000)
	digest := serve(t, reg, nil).pushBlob("team/hello", data)
	var told log
	f := serve(t, wrapped{reg, func(s oras.Store) oras.Store { return broken{s} }}, &server.Options{ErrorLog: told.logger()})
	a := f.want("500 UNKNOWN", "POST", "/v2/team/hello/blobs/uploads/?digest="+oras.SHA256.Digest([]byte("y")).String(), []byte("y"))
	if strings.Contains(string(a.data), "secret") {
		t.Errorf("body: %s", a.data)
	}
	if text := told.String(); !strings.Contains(text, "/secret/path") || !strings.Contains(text, "POST") {
		t.Errorf("log: %s", text)
	}
	resp, err := f.http.Get(f.url + "/v2/team/hello/blobs/" + digest)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if got, err := io.ReadAll(resp.Body); err == nil {
		t.Errorf("%d bytes and no error", len(got))
	}
	if text := told.String(); !strings.Contains(text, "answer broke off") {
		t.Errorf("log: %s", text)
	}

	full := serve(t, wrapped{reg, func(s oras.Store) oras.Store { return fullDisk{s} }}, &server.Options{ErrorLog: told.logger()})
	full.want("507 UNKNOWN", "PUT", "/v2/team/hello/manifests/v1", image("x"), imageType)

	missing := serve(t, memory.NewRegistry(), &server.Options{TempDir: t.TempDir() + "/gone", ErrorLog: told.logger()})
	missing.want("500", "PATCH", missing.begin("team/hello"), []byte("x"))
}
