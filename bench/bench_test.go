package bench

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/c73062ad/oras"
	"github.com/c73062ad/oras/bucket"
	"github.com/c73062ad/oras/remote"
)

// program is the oras that is measured, built once.
var program string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "oras-bench-*")
	if err == nil {
		program = filepath.Join(dir, "oras")
		build := exec.Command("go", "build", "-o", program, "./cmd/oras")
		build.Dir = ".."
		var out []byte
		if out, err = build.CombinedOutput(); err != nil {
			err = fmt.Errorf("%w: %s", err, out)
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	os.RemoveAll(dir)
	os.Exit(code)
}

// dataFolder returns a new folder for the data of a registry. It is removed only when
// all is measured: some file systems make new files slowly for minutes after many
// were deleted.
func dataFolder(b *testing.B) string {
	b.Helper()
	dir, err := os.MkdirTemp(filepath.Dir(program), "data-*")
	if err != nil {
		b.Fatal(err)
	}
	return dir
}

// large returns the size of large content.
func large() int64 {
	if testing.Short() {
		return 8 << 20
	}
	return 1 << 30
}

// A registry is one as a process.
type registry struct {
	host string
	data string // its directory
	cmd  *exec.Cmd
}

var ready = regexp.MustCompile(`http://(127\.0\.0\.1:[0-9]+)`)

func serve(b *testing.B) *registry {
	b.Helper()
	return peers[0].start(b)
}

// start starts a registry that prints where it can be reached.
func start(b *testing.B, program string, args ...string) *registry {
	b.Helper()
	cmd := exec.Command(program, args...)
	cmd.Stderr = os.Stderr
	cmd.Env = append(os.Environ(), "ORAS_ACCESS_LOG=none")
	out, err := cmd.StdoutPipe()
	if err != nil {
		b.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	r := &registry{cmd: cmd}
	b.Cleanup(func() { r.stop() })
	line := make([]byte, 256)
	n, err := out.Read(line)
	found := ready.FindSubmatch(line[:n])
	if found == nil {
		b.Fatalf("%s printed %q, %v", program, line[:n], err)
	}
	r.host = strings.Replace(string(found[1]), "127.0.0.1", "localhost", 1)
	return r
}

// stop ends the registry and returns its largest resident size in MiB.
func (r *registry) stop() float64 {
	if r.cmd.ProcessState == nil {
		r.cmd.Process.Signal(syscall.SIGTERM)
		r.cmd.Wait()
	}
	return maxRSS(r.cmd)
}

// remove ends the registry and removes what it has.
func (r *registry) remove() {
	r.stop()
	os.RemoveAll(r.data)
}

// drop ends the registry and removes what it has if that is large. Many small files are
// removed only when all is measured, by TestMain: see dataFolder.
func (r *registry) drop(c content) {
	r.stop()
	if c.large.Size > 0 {
		os.RemoveAll(r.data)
	}
}

// maxRSS returns the largest resident size of a process that has ended, in MiB. It is
// no less than that of this process was when it began the other: Linux counts so.
func maxRSS(cmd *exec.Cmd) float64 {
	return float64(cmd.ProcessState.SysUsage().(*syscall.Rusage).Maxrss) / 1024
}

func (r *registry) repository(b *testing.B, name string) *remote.Repository {
	b.Helper()
	repo, err := remote.Open(r.host+"/"+name, &remote.Options{PlainHTTP: true})
	if err != nil {
		b.Fatal(err)
	}
	return repo
}

// random is content of n bytes that no compression shortens, made anew each time
// it is read, and different for each seed.
func random(n int64, seed byte) io.Reader {
	block := make([]byte, 1<<20)
	state := sha256.Sum256([]byte{seed})
	for i := 0; i < len(block); i += len(state) {
		copy(block[i:], state[:])
		state = sha256.Sum256(state[:])
	}
	return io.LimitReader(&repeated{block: block}, n)
}

// repeated gives a block again and again, numbered so that no two are equal.
type repeated struct {
	block []byte
	n     uint64
	left  []byte
}

func (r *repeated) Read(p []byte) (int, error) {
	if len(r.left) == 0 {
		copy(r.block, fmt.Sprintf("%16d", r.n))
		r.n++
		r.left = r.block
	}
	n := copy(p, r.left)
	r.left = r.left[n:]
	return n, nil
}

// writeRandom writes a file of random content and returns its descriptor.
func writeRandom(b *testing.B, path string, n int64, seed byte) oras.Descriptor {
	b.Helper()
	f, err := os.Create(path)
	if err != nil {
		b.Fatal(err)
	}
	h := sha256.New()
	_, err = io.Copy(io.MultiWriter(f, h), random(n, seed))
	if err := errors.Join(err, f.Close()); err != nil {
		b.Fatal(err)
	}
	d, err := oras.ParseDigest("sha256:" + hex.EncodeToString(h.Sum(nil)))
	if err != nil {
		b.Fatal(err)
	}
	return oras.Descriptor{MediaType: oras.MediaTypeBlob, Digest: d.OCI(), Size: n}
}

// BenchmarkChunks sends the same content as one PUT and in PATCHes of 16 MiB, to
// "oras serve", in turn. PATCH/PUT is what chunks cost.
func BenchmarkChunks(b *testing.B) {
	srv := serve(b)
	var put, patch time.Duration
	seed := byte(0)
	for b.Loop() {
		for _, chunked := range []bool{false, true} {
			seed++
			path := filepath.Join(b.TempDir(), "content")
			desc := writeRandom(b, path, large(), seed)
			start := time.Now()
			send(b, srv.host, fmt.Sprintf("chunks%d", seed), path, desc, chunked)
			if chunked {
				patch += time.Since(start)
			} else {
				put += time.Since(start)
			}
			os.Remove(path)
		}
	}
	b.ReportMetric(patch.Seconds()/put.Seconds(), "PATCH/PUT")
	b.ReportMetric(put.Seconds()/float64(b.N), "PUT-s/op")
	b.ReportMetric(patch.Seconds()/float64(b.N), "PATCH-s/op")
}

// send uploads a blob with nothing but net/http, in one piece or in chunks.
func send(b *testing.B, host, repo, path string, desc oras.Descriptor, chunked bool) {
	b.Helper()
	f, err := os.Open(path)
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	location := do(b, http.MethodPost, "http://"+host+"/v2/"+repo+"/blobs/uploads/", nil, 0, "", http.StatusAccepted)
	body, size := io.Reader(f), desc.Size
	if chunked {
		const chunk = 16 << 20
		for at := int64(0); at < desc.Size; at += chunk {
			n := min(chunk, desc.Size-at)
			location = do(b, http.MethodPatch, location, io.NewSectionReader(f, at, n), n, fmt.Sprintf("%d-%d", at, at+n-1), http.StatusAccepted)
		}
		body, size = nil, 0
	}
	separator := "?"
	if strings.Contains(location, "?") {
		separator = "&"
	}
	do(b, http.MethodPut, location+separator+"digest="+string(desc.Digest), body, size, "", http.StatusCreated)
}

// do makes one request and returns the answer's Location, if it has one.
func do(b *testing.B, method, url string, body io.Reader, size int64, contentRange string, want int) (location string) {
	b.Helper()
	req, err := http.NewRequest(method, url, body)
	if err != nil {
		b.Fatal(err)
	}
	req.ContentLength = size
	if size > 0 {
		req.Header.Set("Content-Type", "application/octet-stream")
	}
	if contentRange != "" {
		req.Header.Set("Content-Range", contentRange)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		b.Fatal(err)
	}
	defer resp.Body.Close()
	text, _ := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	if resp.StatusCode != want {
		b.Fatalf("%s %s: %s %s", method, url, resp.Status, text)
	}
	if resp.Header.Get("Location") == "" {
		return ""
	}
	u, err := resp.Location()
	if err != nil {
		b.Fatal(err)
	}
	return u.String()
}

// BenchmarkMemory pushes and pulls one large file with the program and reports the
// largest resident sizes, in MiB.
func BenchmarkMemory(b *testing.B) {
	for b.Loop() {
		srv := serve(b)
		dir := b.TempDir()
		desc := writeRandom(b, filepath.Join(dir, "big"), large(), 0)
		run := func(dir string, args ...string) float64 {
			cmd := exec.Command(program, args...)
			cmd.Dir = dir
			if out, err := cmd.CombinedOutput(); err != nil {
				b.Fatalf("%v: %v\n%s", args, err, out)
			}
			return maxRSS(cmd)
		}
		b.ReportMetric(run(dir, "push", srv.host+"/memory:v1", "big"), "push-MiB")
		out := b.TempDir()
		b.ReportMetric(run(out, "pull", srv.host+"/memory:v1"), "pull-MiB")
		b.ReportMetric(srv.stop(), "serve-MiB")
		f, err := os.Open(filepath.Join(out, "big"))
		if err != nil {
			b.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, oras.NewVerifier(f, desc)); err != nil {
			b.Fatal(err)
		}
		f.Close()
	}
}

// BenchmarkTagCurve tags one manifest 10,000 times in one repository of the store
// that "oras serve" has, and reports what the first, the middle and the last
// hundred cost each.
func BenchmarkTagCurve(b *testing.B) {
	ctx := context.Background()
	for b.Loop() {
		dir, err := bucket.OpenDir(b.TempDir())
		if err != nil {
			b.Fatal(err)
		}
		repo, err := bucket.New(dir).Repository(ctx, "tags")
		if err != nil {
			b.Fatal(err)
		}
		curve(b, repo)
		dir.Close()
	}
}

// BenchmarkPushCurve is BenchmarkTagCurve over HTTP: each step pushes a manifest
// of its own under a tag of its own.
func BenchmarkPushCurve(b *testing.B) {
	for b.Loop() {
		srv := serve(b)
		curve(b, srv.repository(b, "tags"))
		srv.stop()
	}
}

func curve(b *testing.B, s oras.Store) {
	b.Helper()
	ctx := context.Background()
	steps, window := 10_000, 100
	if testing.Short() {
		steps, window = 100, 10
	}
	desc := oras.Empty()
	if err := oras.Push(ctx, s, desc, strings.NewReader("{}")); err != nil {
		b.Fatal(err)
	}
	var first, middle, last time.Duration
	for i := range steps {
		manifest := fmt.Appendf(nil, `{"schemaVersion":2,"mediaType":%q,"config":{"mediaType":%q,"digest":%q,"size":2},"layers":[],"annotations":{"n":"%d"}}`,
			ocispec.MediaTypeImageManifest, desc.MediaType, desc.Digest, i)
		start := time.Now()
		if err := oras.PushTagged(ctx, s, oras.DescriptorOf(ocispec.MediaTypeImageManifest, manifest), bytes.NewReader(manifest), fmt.Sprintf("v%d", i)); err != nil {
			b.Fatal(err)
		}
		switch took := time.Since(start); {
		case i < window:
			first += took
		case i >= steps/2 && i < steps/2+window:
			middle += took
		case i >= steps-window:
			last += took
		}
	}
	micro := func(d time.Duration) float64 { return float64(d.Microseconds()) / float64(window) }
	b.ReportMetric(micro(first), "first-µs")
	b.ReportMetric(micro(middle), "middle-µs")
	b.ReportMetric(micro(last), "last-µs")
	b.ReportMetric(last.Seconds()/first.Seconds(), "last/first")
}
