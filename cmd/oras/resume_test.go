package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/c73062ad/oras"
)

// A meter proxy in front of a registry counts the bytes of content that pass, and lets
// no more pass than it is told to.
type meterProxy struct {
	host string // as the command line has it

	mu      sync.Mutex
	changed *sync.Cond
	moved   int64
	most    int64
	rate    int64 // bytes a second, 0 for any
	due     time.Time
	reached chan struct{} // is closed when most have passed
	epoch   int           // of counting; what moves since one before ends
}

func newMeterProxy(t *testing.T, registry string) *meterProxy {
	p := &meterProxy{}
	p.changed = sync.NewCond(&p.mu)
	p.reset(1 << 62)
	reverse := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: registry})
	reverse.FlushInterval = -1
	reverse.ErrorHandler = func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) }
	isContent := func(r *http.Request) bool {
		return strings.Contains(r.URL.Path, "/blobs/") || strings.Contains(r.URL.Path, "/manifests/")
	}
	reverse.ModifyResponse = func(resp *http.Response) error {
		if isContent(resp.Request) && resp.Request.Method == http.MethodGet && resp.StatusCode < 300 {
			resp.Body = p.meter(resp.Body)
		}
		return nil
	}
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if isContent(r) && r.ContentLength != 0 {
			r.Body = p.meter(r.Body)
		}
		reverse.ServeHTTP(w, r)
	}))
	server.Config.ConnContext = func(ctx context.Context, c net.Conn) context.Context {
		if err := c.(*net.TCPConn).SetWriteBuffer(64 << 10); err != nil { // what waits in it has not moved
			t.Error(err)
		}
		return ctx
	}
	server.Start()
	t.Cleanup(func() {
		p.reset(1 << 62)
		server.CloseClientConnections()
		server.Close()
	})
	p.host = localhost(server.Listener.Addr().String())
	return p
}

// reset counts from 0, and lets most bytes pass.
func (p *meterProxy) reset(most int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.moved, p.most, p.reached = 0, most, make(chan struct{})
	p.epoch++
	p.changed.Broadcast()
}

func (p *meterProxy) count() int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.moved
}

// pass returns how many of n bytes may pass, when that is.
func (p *meterProxy) pass(n, epoch int) (int, time.Time, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.moved == p.most && p.epoch == epoch {
		p.changed.Wait()
	}
	if p.epoch != epoch {
		return 0, time.Time{}, io.ErrUnexpectedEOF
	}
	n = int(min(int64(n), p.most-p.moved))
	if p.moved += int64(n); p.moved == p.most {
		close(p.reached)
	}
	if p.rate == 0 {
		return n, time.Time{}, nil
	}
	if now := time.Now(); p.due.Before(now) {
		p.due = now
	}
	p.due = p.due.Add(time.Duration(n) * time.Second / time.Duration(p.rate))
	return n, p.due, nil
}

func (p *meterProxy) meter(r io.ReadCloser) io.ReadCloser {
	p.mu.Lock()
	defer p.mu.Unlock()
	return &metered{r, p, p.epoch}
}

type metered struct {
	io.ReadCloser
	proxy *meterProxy
	epoch int
}

func (m *metered) Read(b []byte) (int, error) {
	n, err := m.ReadCloser.Read(b[:min(len(b), 16<<10)])
	for left := n; left > 0; {
		passed, due, err := m.proxy.pass(left, m.epoch)
		if err != nil {
			return 0, err
		}
		if wait := time.Until(due); wait > 5*time.Millisecond {
			<-time.After(wait)
		}
		left -= passed
	}
	return n, err
}

// A runner runs the command line in a folder of its own.
type runner struct {
	t   *testing.T
	dir string
	env []string
}

func newRunner(t *testing.T) *runner {
	dir := t.TempDir()
	return &runner{t, dir, append(os.Environ(), "HOME="+dir, "XDG_CACHE_HOME="+filepath.Join(dir, "caches"), "DOCKER_CONFIG="+dir)}
}

func (r *runner) command(args ...string) *exec.Cmd {
	r.t.Helper()
	path, err := exec.LookPath("oras") // this test's own, see TestMain
	if err != nil {
		r.t.Fatal(err)
	}
	cmd := exec.Command(path, args...)
	cmd.Dir, cmd.Env = r.dir, r.env
	return cmd
}

// run runs a command that must go well, and returns what it prints.
func (r *runner) run(args ...string) string {
	r.t.Helper()
	cmd := r.command(args...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		r.t.Fatalf("oras %s: %v\n%s%s", strings.Join(args, " "), err, &out, &errs)
	}
	return out.String()
}

// breakOff runs a command and sends it the signal when most bytes have passed p. It
// returns what it printed on standard error.
func (r *runner) breakOff(p *meterProxy, most int64, signal os.Signal, args ...string) string {
	r.t.Helper()
	p.reset(most)
	p.mu.Lock()
	reached := p.reached
	p.mu.Unlock()
	cmd := r.command(args...)
	var errs bytes.Buffer
	cmd.Stderr = &errs
	if err := cmd.Start(); err != nil {
		r.t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	select {
	case <-reached:
	case err := <-ended:
		r.t.Fatalf("it ended after %d bytes: %v\n%s", p.count(), err, &errs)
	case <-time.After(time.Minute):
		r.t.Error("it did not come so far")
	}
	cmd.Process.Signal(signal)
	if err := <-ended; err == nil {
		r.t.Fatal("it went well")
	}
	return errs.String()
}

// random writes a file, or the files of a directory, of size bytes in all.
func (r *runner) random(name string, size int) {
	r.t.Helper()
	data := make([]byte, size)
	rand.Read(data)
	mustWrite(r.t, filepath.Join(r.dir, name), data)
}

const resumedSize = 64 << 20

// TestResume breaks commands off at 90 % of their transfers. Run again they move what
// was missing and less than 11 % of all bytes, and what comes out is right. A command
// that can says so.
func TestResume(t *testing.T) {
	registry := startRegistry(t, t.TempDir())
	for _, signal := range []os.Signal{os.Kill, os.Interrupt, syscall.SIGTERM} {
		for _, test := range []struct{ name, file string }{{"file", "large"}, {"directory", "tree/large"}} {
			if signal == syscall.SIGTERM && test.name != "file" {
				continue // one way to end is enough
			}
			t.Run(fmt.Sprint(test.name, " ", signal), func(t *testing.T) {
				p := newMeterProxy(t, registry.host)
				p.rate = 2 * resumedSize // or else much is in buffers of the system
				r := newRunner(t)
				if signal == os.Interrupt {
					r.env = append(r.env, "ORAS_CACHE="+filepath.Join(r.dir, "cache")) // is in no way
				}
				r.random(test.file, resumedSize)
				file, _, _ := strings.Cut(test.file, "/")
				reference := p.host + "/" + strings.ReplaceAll(t.Name(), " ", "-")
				reference = strings.ToLower(strings.ReplaceAll(reference, "#", "")) + ":v1"
				for _, args := range [][]string{{"push", reference, file}, {"pull", reference, "-o", "out", "--connections=1"}} {
					start := time.Now()
					errs := r.breakOff(p, resumedSize*9/10, signal, args...)
					if want := ": " + signal.String() + " signal received\n" + resumesInContent + "\n"; signal != os.Kill && !strings.HasSuffix(errs, want) {
						t.Errorf("%s says %q", args[0], errs)
					}
					broken := time.Now()
					p.reset(1 << 62)
					r.run(args...)
					again := p.count() - resumedSize/10
					t.Logf("%s: %.1f %% of the bytes moved again; %v, %v", args[0], float64(again)*100/resumedSize, broken.Sub(start), time.Since(broken))
					if again > resumedSize*11/100 {
						t.Errorf("%s: %d bytes moved again", args[0], again)
					}
				}
				want, err := os.ReadFile(filepath.Join(r.dir, test.file))
				if err != nil {
					t.Fatal(err)
				}
				if got, err := os.ReadFile(filepath.Join(r.dir, "out", test.file)); err != nil || !bytes.Equal(got, want) {
					t.Errorf("what was pulled is another file: %v", err)
				}
				// What is there and right is left alone.
				p.reset(1 << 62)
				r.run("pull", reference, "-o", "out")
				if n := p.count(); n > 4<<10 {
					t.Errorf("another pull moves %d bytes", n)
				}
				r.run("push", reference, file)
				if n := p.count(); n > 16<<10 {
					t.Errorf("another push moves %d bytes", n)
				}
			})
		}
	}
}

// printed is a line of --format ndjson.
type printed struct {
	Event, Digest, Name, MediaType, Outcome string
	Reference, Source, Repository           string
	Size, Bytes, There                      *int64
	Tags                                    []copiedTag
	Totals                                  *totals
}

func readLines(t *testing.T, out string) (lines []printed) {
	t.Helper()
	for line := range strings.Lines(out) {
		var p printed
		if err := json.Unmarshal([]byte(line), &p); err != nil {
			t.Fatalf("%q: %v", line, err)
		}
		lines = append(lines, p)
	}
	if len(lines) == 0 {
		t.Fatal("there are no lines")
	}
	return lines
}

// checkLines checks that each content was finished once, that its bytes only grow,
// and that the totals are the sums; it returns the last line.
func checkLines(t *testing.T, lines []printed) printed {
	t.Helper()
	var sums totals
	last := map[string]int64{}
	started, finished := map[string]bool{}, map[string]bool{}
	for _, line := range lines[:len(lines)-1] {
		key := line.Digest + " " + line.Name
		switch line.Event {
		case "started":
			started[key] = true
		case "finished":
			if line.Outcome == "copied" && !started[key] && !started[" "+line.Name] { // the digest of what is sent while it is read is found out
				t.Errorf("%s was not started", key)
			}
			if line.Digest == "" || line.Size == nil || !slices.Contains([]string{"copied", "exists", "mounted", "skipped", "restored"}, line.Outcome) {
				t.Errorf("a line is %+v", line)
			}
			if finished[key] {
				t.Errorf("%s is finished twice", key)
			}
			finished[key] = true
			sums.Bytes += *line.Bytes
			sums.There += *line.There
			sums.Contents++
			if line.Outcome == "copied" && *line.Bytes+*line.There != *line.Size {
				t.Errorf("of %s moved %d bytes, and %d were there", key, *line.Bytes, *line.There)
			}
		case "progress":
			if *line.Bytes < last[key] {
				t.Errorf("%s goes back from %d to %d bytes", key, last[key], *line.Bytes)
			}
			last[key] = *line.Bytes
		}
	}
	end := lines[len(lines)-1]
	if end.Event != "result" || end.Totals == nil || *end.Totals != sums {
		t.Errorf("the last line is %+v; the sums are %+v", end, sums)
	}
	return end
}

// TestEventLines: the totals of --format ndjson are the bytes that the registry got
// or gave. (Over several connections it gives some in vain.)
func TestEventLines(t *testing.T) {
	registry := startRegistry(t, t.TempDir())
	p := newMeterProxy(t, registry.host)
	direct := localhost(registry.host)
	r := newRunner(t)
	r.random("large", 20<<20)
	r.random("small", 1000)
	r.random("tree/a", 12<<20)
	r.random("tree/b", 10)
	for _, args := range [][]string{
		{"push", p.host + "/a:v1", "large", "small", "tree"},
		{"push", p.host + "/a:v2", "large", "small", "tree"},
		{"push", p.host + "/b:v1", "large", "small", "tree", "--compression=zstd:1"},
		{"attach", p.host + "/a:v1", "--artifact-type=t/a", "small"},
		{"pull", p.host + "/a:v1", "-o", "out", "--connections=1"},
		{"pull", p.host + "/a:v1", "-o", "out"},
		{"cp", "-r", p.host + "/a:v1", "--to-oci-layout", "layout:v1", "--connections=1"},
		{"cp", "-r", "--from-oci-layout", "layout:v1", p.host + "/c:v1,v2"},
		{"cp", p.host + "/a:v1", direct + "/d:v1", "--from-username=x", "--from-password=y", "--connections=1"},
		{"backup", p.host + "/a", "-o", "saved", "--include-referrers", "--connections=1"},
		{"backup", p.host + "/a:v1", "-o", "saved.tar", "--connections=1"},
		{"restore", p.host + "/e", "--input", "saved"},
		{"restore", p.host + "/e", "--input", "saved"},
	} {
		p.reset(1 << 62)
		out := r.run(append(args, "--format=ndjson")...)
		end := checkLines(t, readLines(t, out))
		t.Logf("%s: %d bytes, %+v", strings.Join(args, " "), p.count(), *end.Totals)
		// Beyond what is moved, manifests are read to know what there is to be
		// moved; and the empty config may come with its descriptor.
		if more := p.count() - end.Totals.Bytes; more < -oras.Empty().Size || more > 20<<10 {
			t.Errorf("%s: %d bytes passed, %d were told", args, p.count(), end.Totals.Bytes)
		}
		if len(end.Tags) == 0 && end.Reference == "" {
			t.Errorf("the result is %+v", end)
		}
	}
}

// TestEventLinesRate: of a content no more than ten lines a second tell how it moves,
// and all that moved counts, once more where it moved again.
func TestEventLinesRate(t *testing.T) {
	var out bytes.Buffer
	l := newEventLines(&out)
	now := time.Unix(0, 0)
	l.now = func() time.Time { return now }
	unknown := oras.Descriptor{Annotations: map[string]string{"org.opencontainers.image.title": "a"}}
	known := unknown
	known.Digest, known.Size = oras.SHA256.Digest([]byte("a")).OCI(), 1000
	l.event(oras.Event{Kind: oras.Copying, Descriptor: unknown})
	for n := range int64(1000) {
		now = now.Add(time.Millisecond)
		l.event(oras.Event{Kind: oras.Progress, Descriptor: unknown, Bytes: n + 1})
		if n == 500 {
			l.event(oras.Event{Kind: oras.Progress, Descriptor: unknown, Bytes: 400})
		}
	}
	l.event(oras.Event{Kind: oras.Copying, Descriptor: known})
	for range 2 {
		l.event(oras.Event{Kind: oras.Copied, Descriptor: known})
	}
	if err := l.result(&copyResult{Reference: "r"}); err != nil {
		t.Fatal(err)
	}
	count := map[string]int{}
	lines := readLines(t, out.String())
	for _, line := range lines {
		count[line.Event]++
	}
	if count["started"] != 1 || count["finished"] != 1 || count["result"] != 1 || count["progress"] < 9 || count["progress"] > 11 {
		t.Errorf("%v lines:\n%s", count, &out)
	}
	if end := lines[len(lines)-1]; *end.Totals != (totals{Bytes: 1101, Contents: 1}) || end.Reference != "r" {
		t.Errorf("the last line is %+v, %+v", end, end.Totals)
	}
}

// TestLimitRate: with a limit transfers take as long as they should.
func TestLimitRate(t *testing.T) {
	registry := startRegistry(t, t.TempDir())
	host := localhost(registry.host)
	r := newRunner(t)
	r.random("large", 2<<20)
	for _, args := range [][]string{
		{"push", host + "/a:v1", "large", "--limit-rate=4M"},
		{"pull", host + "/a:v1", "-o", "out", "--limit-rate=4096K", "--connections=4"},
	} {
		start := time.Now()
		r.run(args...)
		if took := time.Since(start); took < 350*time.Millisecond {
			t.Errorf("%s took %v", args, took)
		}
	}
	for _, flag := range []string{"--limit-rate=fast", "--limit-rate=-1", "--limit-rate=1T", "--compression=lz4", "--compression=gzip:10", "--compression=none:1", "--compression=zstd:x"} {
		if out, err := r.command("push", host+"/a:v1", "large", flag).CombinedOutput(); err == nil || !bytes.HasPrefix(out, []byte("Error: invalid argument ")) {
			t.Errorf("%s: %s", flag, out)
		}
	}
}
