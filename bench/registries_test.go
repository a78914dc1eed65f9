package bench

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/c73062ad/oras"
)

// A peer is a registry that is measured: a program, and what comes before the data
// folder on its command line.
type peer struct {
	name string
	path func(b *testing.B) string
	args []string
}

// None of them keeps a log of requests here.
var peers = []peer{
	{"ours", func(*testing.B) string { return program }, []string{"serve", "--addr", "127.0.0.1:0", "--access-log", "none", "--data"}},
	{"distribution", peerProgram("distribution"), []string{"--data"}},
	{"ggcr", peerProgram("ggcr"), []string{"--data"}},
}

// peerProgram builds a peer's registry, which module compat has.
func peerProgram(name string) func(*testing.B) string {
	return func(b *testing.B) string { return buildProgram(b, filepath.Join("..", "compat"), "./cmd/"+name) }
}

// buildProgram builds a program of the module in dir, once, and returns its path.
func buildProgram(b *testing.B, dir, pkg string) string {
	b.Helper()
	path := filepath.Join(filepath.Dir(program), filepath.Base(pkg))
	if _, err := os.Stat(path); err == nil {
		return path
	}
	cmd := exec.Command("go", "build", "-o", path, pkg)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		b.Fatalf("%v: %s", err, out)
	}
	return path
}

func (p peer) start(b *testing.B) *registry {
	b.Helper()
	data := dataFolder(b)
	r := start(b, p.path(b), append(slices.Clone(p.args), data)...)
	r.data = data
	return r
}

// work is something clients do to a registry over and over. prepare is called once
// for each registry and returns what the n-th repetition does; n differs between
// all repetitions.
type work struct {
	name    string
	clients int
	prepare func(l *loader) func(n int)
}

var works = []work{
	{"PushBlob4K", 1, pushBlobs},
	{"PushBlob4K", 16, pushBlobs},
	{"PushManifestTag", 1, pushManifests},
	{"PushManifestTag", 16, pushManifests},
	{"GetManifestByTag", 1, getManifests},
	{"GetManifestByTag", 16, getManifests},
	{"GetBlob4K", 1, getBlobs},
	{"GetBlob4K", 16, getBlobs},
}

// BenchmarkRegistries lets plain HTTP clients work on our registry
// and on those of others, in turn, a few rounds each, and reports the operations a
// second of each and how many times distribution's ours are.
func BenchmarkRegistries(b *testing.B) {
	rounds, round := 5, 2*time.Second
	if testing.Short() {
		rounds, round = 1, 100*time.Millisecond
	}
	for _, w := range works {
		b.Run(fmt.Sprintf("%s/%d", w.name, w.clients), func(b *testing.B) {
			for b.Loop() {
				compare(b, w, rounds, round)
			}
		})
	}
}

func compare(b *testing.B, w work, rounds int, round time.Duration) {
	// Threads of the loader that look for work would take the cores from the registry.
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
	do := map[string]func(int){}
	var counter atomic.Int64
	for _, p := range peers {
		do[p.name] = w.prepare(newLoader(b, p.start(b).host, w.clients))
	}
	rates := map[string][]float64{}
	for n := range rounds {
		for i := range peers {
			p := peers[(n+i)%len(peers)] // whoever is next suffers from what is left to be done
			rates[p.name] = append(rates[p.name], rate(w.clients, round, func() { do[p.name](int(counter.Add(1))) }))
		}
	}
	for _, p := range peers {
		b.ReportMetric(median(rates[p.name]), p.name+"-ops/s")
	}
	b.ReportMetric(median(rates["ours"])/median(rates["distribution"]), "ours/distribution")
	b.ReportMetric(median(rates["ours"])/median(rates["ggcr"]), "ours/ggcr")
	b.ReportMetric(0, "ns/op") // means nothing here
}

// rate lets clients do something for a while and returns how often a second.
func rate(clients int, round time.Duration, do func()) float64 {
	var done atomic.Int64
	var group sync.WaitGroup
	begin := time.Now()
	for range clients {
		group.Go(func() {
			for time.Since(begin) < round {
				do()
				done.Add(1)
			}
		})
	}
	group.Wait()
	return float64(done.Load()) / time.Since(begin).Seconds()
}

func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[len(sorted)/2]
}

// A loader makes requests to one registry. Client and server share the cores here, so
// it does no more than it takes: with net/http the client would be half of what is
// measured.
type loader struct {
	b     *testing.B
	host  string
	conns chan *bufio.ReadWriter // as many as there are clients; nil stands for one to be made
}

func newLoader(b *testing.B, host string, clients int) *loader {
	l := &loader{b, host, make(chan *bufio.ReadWriter, clients)}
	for range clients {
		l.conns <- nil
	}
	return l
}

// do makes a request, which is answered with the status want, reads the answer to its
// end and returns the Location that it says.
func (l *loader) do(method, path, mediaType string, body []byte, want int) (location string) {
	conn := <-l.conns
	defer func() { l.conns <- conn }()
	if conn == nil {
		c, err := net.Dial("tcp", l.host)
		if err != nil {
			l.b.Error(err)
			return ""
		}
		l.b.Cleanup(func() { c.Close() })
		conn = bufio.NewReadWriter(bufio.NewReaderSize(c, 16<<10), bufio.NewWriterSize(c, 16<<10))
	}
	fmt.Fprintf(conn, "%s %s HTTP/1.1\r\nHost: %s\r\nAccept: %s\r\n", method, path, l.host, oras.MediaTypeImageManifest)
	if method != http.MethodGet {
		fmt.Fprintf(conn, "Content-Type: %s\r\nContent-Length: %d\r\n", mediaType, len(body))
	}
	conn.WriteString("\r\n")
	conn.Write(body)
	err := conn.Flush()
	if err == nil {
		location, err = readAnswer(conn.Reader, want)
	}
	if err != nil {
		l.b.Errorf("%s %s: %v", method, path, err)
		conn = nil
	}
	return location
}

func readAnswer(r *bufio.Reader, want int) (location string, err error) {
	size := -1
	for first := true; ; first = false {
		line, err := r.ReadSlice('\n')
		if err != nil {
			return "", err
		}
		line = bytes.TrimRight(line, "\r\n")
		if first {
			if !bytes.HasPrefix(line, fmt.Appendf(nil, "HTTP/1.1 %d ", want)) {
				return "", errors.New(string(line))
			}
			continue
		}
		name, value, _ := bytes.Cut(line, []byte(": "))
		switch {
		case len(line) == 0:
			if size < 0 {
				return "", errors.New("it does not say how long it is")
			}
			_, err := r.Discard(size)
			return location, err
		case bytes.EqualFold(name, []byte("Content-Length")):
			if size, err = strconv.Atoi(string(value)); err != nil {
				return "", err
			}
		case bytes.EqualFold(name, []byte("Location")):
			location = string(value)
		}
	}
}

func digestOf(data []byte) string {
	sum := sha256.Sum256(data)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// small is 4 KiB that no other n has.
func small(n int) []byte {
	data := bytes.Repeat([]byte("0123456789abcde\n"), 256)
	copy(data, fmt.Sprintf("%15d", n))
	return data
}

func (l *loader) pushBlob(repository string, data []byte) string {
	digest := digestOf(data)
	location := l.do(http.MethodPost, "/v2/"+repository+"/blobs/uploads/", "", nil, http.StatusAccepted)
	separator := "?"
	if strings.Contains(location, "?") {
		separator = "&"
	}
	location = strings.TrimPrefix(location, "http://"+l.host)
	l.do(http.MethodPut, location+separator+"digest="+digest, "application/octet-stream", data, http.StatusCreated)
	return digest
}

func (l *loader) pushManifest(repository, tag string, n int, config string) {
	data := fmt.Appendf(nil, `{"schemaVersion":2,"mediaType":%q,"config":{"mediaType":"application/vnd.oci.empty.v1+json","digest":%q,"size":2},"layers":[],"annotations":{"n":"%d"}}`, oras.MediaTypeImageManifest, config, n)
	l.do(http.MethodPut, "/v2/"+repository+"/manifests/"+tag, oras.MediaTypeImageManifest, data, http.StatusCreated)
}

func (l *loader) get(path string) { l.do(http.MethodGet, "/v2/"+path, "", nil, http.StatusOK) }

func pushBlobs(l *loader) func(int) {
	return func(n int) { l.pushBlob("load/blobs", small(n)) }
}

func pushManifests(l *loader) func(int) {
	config := l.pushBlob("load/manifests", []byte("{}"))
	return func(n int) { l.pushManifest("load/manifests", fmt.Sprint("v", n), n, config) }
}

func getManifests(l *loader) func(int) {
	config := l.pushBlob("load/tags", []byte("{}"))
	for n := range 100 {
		l.pushManifest("load/tags", fmt.Sprint("v", n), n, config)
	}
	return func(n int) { l.get(fmt.Sprint("load/tags/manifests/v", n%100)) }
}

func getBlobs(l *loader) func(int) {
	var digests []string
	for n := range 100 {
		digests = append(digests, l.pushBlob("load/blobs", small(n)))
	}
	return func(n int) { l.get("load/blobs/blobs/" + digests[n%100]) }
}

// BenchmarkLarge pushes one large blob to each of the registries, and then pulls it in
// turn, a few rounds of which the median counts, with one client and with four at once;
// beside it, the same bytes are hashed and written to a file, and come from a plain
// file server.
func BenchmarkLarge(b *testing.B) {
	rounds := 5
	if testing.Short() {
		rounds = 1
	}
	for b.Loop() {
		dir := b.TempDir()
		path := filepath.Join(dir, "content")
		desc := writeRandom(b, path, large(), 7)
		files := httptest.NewServer(http.FileServer(http.Dir(dir)))
		urls := map[string]string{"local": files.URL + "/content"}
		took := map[string][]float64{}
		timed := func(name string, do func()) {
			exec.Command("sync").Run() // what others left to be written is not this one's
			begin := time.Now()
			do()
			took[name] = append(took[name], time.Since(begin).Seconds())
		}
		timed("local", func() { hashToFile(b, path, filepath.Join(dir, "copy")) })
		for _, p := range peers {
			reg := p.start(b)
			defer reg.stop()
			timed(p.name, func() { send(b, reg.host, "load/large", path, desc, false) })
			urls[p.name] = "http://" + reg.host + "/v2/load/large/blobs/" + string(desc.Digest)
		}
		for range rounds {
			for _, clients := range []int{1, 4} {
				for name, url := range urls {
					timed(fmt.Sprint(name, clients), func() { pullTogether(b, url, clients) })
				}
			}
		}
		files.Close()
		over := func(name, other string) float64 { return median(took[name]) / median(took[other]) }
		b.ReportMetric(median(took["ours"]), "ours-push-s")
		b.ReportMetric(over("distribution", "ours"), "push-ours/distribution")
		b.ReportMetric(over("ours", "local"), "push-time/local")
		for _, clients := range []string{"1", "4"} {
			b.ReportMetric(over("distribution"+clients, "ours"+clients), "pull"+clients+"-ours/distribution")
			b.ReportMetric(over("ours"+clients, "local"+clients), "pull"+clients+"-time/file-server")
		}
	}
}

// hashToFile is what a registry cannot do without: hash, write, and sync.
func hashToFile(b *testing.B, from, to string) {
	b.Helper()
	in, err := os.Open(from)
	if err != nil {
		b.Fatal(err)
	}
	defer in.Close()
	out, err := os.Create(to)
	if err != nil {
		b.Fatal(err)
	}
	defer out.Close()
	if _, err := io.CopyBuffer(struct{ io.Writer }{io.MultiWriter(out, sha256.New())}, struct{ io.Reader }{in}, make([]byte, 1<<20)); err != nil {
		b.Fatal(err)
	}
	if err := out.Sync(); err != nil {
		b.Fatal(err)
	}
}

// pullTogether reads url with several clients at once.
func pullTogether(b *testing.B, url string, clients int) {
	b.Helper()
	var group sync.WaitGroup
	for range clients {
		group.Go(func() {
			resp, err := http.Get(url)
			if err != nil {
				b.Error(err)
				return
			}
			defer resp.Body.Close()
			// io.Discard alone reads 8 KiB at a time, and would be what is measured.
			if n, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, resp.Body, make([]byte, 1<<20)); err != nil || n != large() {
				b.Errorf("%s: %d bytes, %v", url, n, err)
			}
		})
	}
	group.Wait()
}
