package main

import (
	"bytes"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/c73062ad/oras"
)

// A stalling proxy in front of a registry passes requests until there is one of a
// method to a path that holds part: of that, if it is a download, it gives the first
// half, of an upload it takes the first byte, and then nothing happens any more, not
// even to what is asked for later.
type stallingProxy struct {
	method, part string
	registry     *httputil.ReverseProxy
	stalled      atomic.Bool
	reached      chan struct{} // is sent to when such a request came
	ended        chan struct{} // is closed when they may end
}

func (p *stallingProxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.Method == p.method && strings.Contains(r.URL.Path, p.part):
		p.stalled.Store(true)
	case p.stalled.Load():
		<-p.ended
		return
	default:
		p.registry.ServeHTTP(w, r)
		return
	}
	if r.Method == http.MethodGet {
		answer := httptest.NewRecorder()
		p.registry.ServeHTTP(answer, r)
		for name, values := range answer.Header() {
			w.Header()[name] = values
		}
		w.WriteHeader(answer.Code)
		w.Write(answer.Body.Bytes()[:answer.Body.Len()/2])
		w.(http.Flusher).Flush()
	} else {
		io.CopyN(io.Discard, r.Body, 1)
	}
	select {
	case p.reached <- struct{}{}:
	default:
	}
	<-p.ended
}

// An interruption is that of a command when it came to a request. A pull may leave
// the part of a file that it has, for the next to go on with.
type interruption struct {
	args         string // $REG is the proxy, $DIRECT the registry
	method, part string
	left         []string // what the names may begin with of files that are there afterwards and were not before
	again        string   // a command that must go well afterwards
	goesOn       string   // what it may say in the end; it must if it left a part of a file
	must         bool     // it must in any case
}

var interruptions = []interruption{
	{args: "pull $REG/r:v1 -o out", method: "GET", part: "/blobs/", left: []string{"out/.oras-"}, goesOn: resumesInContent, again: "pull $DIRECT/r:v1 -o out"},
	{args: "pull $REG/r:v1 -o old", method: "GET", part: "/blobs/", left: []string{"old/.oras-"}, goesOn: resumesInContent},
	{args: "pull $REG/r:v1 -o out", method: "GET", part: "/manifests/"},
	{args: "push $REG/new$N:v1 large --export-manifest exported.json", method: "PUT", part: "/uploads/"},
	{args: "push $REG/new$N:v1 large --export-manifest exported.json", method: "PUT", part: "/manifests/", goesOn: resumesBehind},
	{args: "push $REG/new$N:v1 large", method: "POST", part: "/uploads/"},
	{args: "attach $REG/r:v1 --artifact-type t/a other --export-manifest exported.json", method: "PUT", part: "/uploads/"},
	{args: "attach $REG/r:v1 --artifact-type t/a other", method: "PUT", part: "/manifests/", goesOn: resumesBehind},
	{args: "cp $REG/r:v1 $DIRECT/new$N:v1", method: "GET", part: "/blobs/"},
	{args: "cp $DIRECT/r:v1 $REG/new$N:v1", method: "PUT", part: "/uploads/"},
	{args: "cp -r $REG/r:v1 --to-oci-layout layout:v1", method: "GET", part: "/blobs/", left: []string{"layout/"}, goesOn: resumesInContent, again: "cp -r $DIRECT/r:v1 --to-oci-layout layout:v1"},
	{args: "cp -r $REG/r:v1 --to-oci-layout layout:v1", method: "GET", part: "/referrers/", left: []string{"layout/"}, again: "tag --oci-layout filled:v1 v2", goesOn: resumesBehind},
	{args: "cp $REG/r:v1 --to-oci-layout filled:v2", method: "GET", part: "/blobs/", left: []string{"filled/.oras-"}, goesOn: resumesInContent, again: "tag --oci-layout filled:v1 v2"},
	{args: "cp --from-oci-layout filled:v1 $REG/new$N:v1", method: "PUT", part: "/uploads/", again: "tag --oci-layout filled:v1 v2"},
	{args: "blob fetch $REG/r@$LARGE -o fetched", method: "GET", part: "/blobs/", left: []string{".oras-"}, goesOn: resumesInContent, again: "blob fetch $DIRECT/r@$LARGE -o fetched"},
	{args: "blob fetch $REG/r@$LARGE -o old/large", method: "GET", part: "/blobs/", left: []string{"old/.oras-"}, goesOn: resumesInContent},
	{args: "blob push $REG/new$N large", method: "PUT", part: "/uploads/"},
	{args: "manifest fetch $REG/r:v1 -o fetched", method: "GET", part: "/manifests/"},
	{args: "manifest fetch-config $REG/r:v1 -o fetched", method: "GET", part: "/blobs/"},
	{args: "manifest push $REG/new$N:v1 manifest.json", method: "PUT", part: "/manifests/"},
	{args: "discover $REG/r:v1", method: "GET", part: "/referrers/"},
	{args: "tag $REG/r:v1 v2", method: "PUT", part: "/manifests/"},
	{args: "resolve $REG/r:v1", method: "HEAD", part: "/manifests/"},
	{args: "repo ls $REG", method: "GET", part: "/_catalog"},
	{args: "repo tags $REG/r", method: "GET", part: "/tags/list"},
	{args: "login $REG -u hello --password-stdin --registry-config new.json", method: "GET", part: "/v2/", again: "login $DIRECT -u hello -p x --registry-config new.json"},
	{args: "backup $REG/r:v1 --include-referrers -o saved.tar", method: "GET", part: "/blobs/", left: []string{".oras-backup-"}, goesOn: resumesInContent, again: "backup $DIRECT/r:v1 --include-referrers -o saved.tar"},
	{args: "restore --input filled $REG/new$N:v1", method: "PUT", part: "/uploads/", again: "tag --oci-layout filled:v1 v2"},

	// Content that is moved in pieces.
	{args: "push $REG/new$N:v1 big", method: "POST", part: "/uploads/"},
	{args: "push $REG/new$N:v1 big", method: "PATCH", part: "/uploads/", goesOn: resumesInContent, must: true, again: "push $DIRECT/again$N:v1 big"},
	{args: "push $REG/new$N:v1 big --export-manifest exported.json", method: "PUT", part: "/uploads/", goesOn: resumesInContent, must: true},
	{args: "push $REG/new$N:v1 folder", method: "PATCH", part: "/uploads/", goesOn: resumesInContent, must: true},
	{args: "attach $REG/r:v1 --artifact-type t/a big", method: "PATCH", part: "/uploads/", goesOn: resumesInContent, must: true},
	{args: "blob push $REG/new$N big", method: "PATCH", part: "/uploads/", goesOn: resumesInContent, must: true, again: "blob push $DIRECT/again$N big"},
	{args: "pull $REG/big:v1 -o out", method: "GET", part: "/blobs/", left: []string{"out/.oras-"}, goesOn: resumesInContent, again: "pull $DIRECT/big:v1 -o out"},
	{args: "blob fetch $REG/big@$BIG -o fetched", method: "GET", part: "/blobs/", left: []string{".oras-"}, goesOn: resumesInContent, again: "blob fetch $DIRECT/big@$BIG -o fetched"},
	{args: "cp $REG/big:v1 $DIRECT/new$N:v1", method: "GET", part: "/blobs/", goesOn: resumesInContent, must: true},
	{args: "cp $DIRECT/big:v1 $REG/new$N:v1", method: "PATCH", part: "/uploads/", goesOn: resumesInContent, must: true},
	{args: "cp $DIRECT/big:v1 $REG/new$N:v1", method: "PUT", part: "/uploads/", goesOn: resumesInContent, must: true},
	{args: "cp $REG/big:v1 --to-oci-layout layout:v1", method: "GET", part: "/blobs/", left: []string{"layout/"}, goesOn: resumesInContent, again: "cp $DIRECT/big:v1 --to-oci-layout layout:v1"},
	{args: "cp --from-oci-layout $HEAVY/layout:v1 $REG/new$N:v1", method: "PATCH", part: "/uploads/", goesOn: resumesInContent, must: true},
	{args: "backup $REG/big:v1 -o saved.tar", method: "GET", part: "/blobs/", left: []string{".oras-backup-"}, goesOn: resumesInContent, again: "backup $DIRECT/big:v1 -o saved.tar"},
	{args: "restore --input $HEAVY/layout $REG/new$N:v1", method: "PATCH", part: "/uploads/", goesOn: resumesInContent, must: true},
}

// TestInterrupt interrupts commands in the middle of a transfer. They end within a
// second, leave no file that is not whole, and no lock, and say that they go on when
// run again where they do.
func TestInterrupt(t *testing.T) {
	registry := startRegistry(t, t.TempDir())
	direct := "localhost" + strings.TrimPrefix(registry.host, "127.0.0.1")
	made := t.TempDir()
	large := bytes.Repeat([]byte("large"), 300_000) // more than goes with one POST
	mustWrite(t, filepath.Join(made, "large"), large)
	mustWrite(t, filepath.Join(made, "other"), large[1:])
	heavy := t.TempDir()
	big := make([]byte, 17<<20) // more than goes with one PUT
	rand.NewChaCha8([32]byte{}).Read(big)
	mustWrite(t, filepath.Join(heavy, "big"), big)
	mustWrite(t, filepath.Join(made, "folder", "file"), nil)
	mustWrite(t, filepath.Join(made, "manifest.json"), []byte(`{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}`))
	mustWrite(t, filepath.Join(made, "old", "large"), []byte("old"))
	env := append(os.Environ(), "HOME="+made, "DOCKER_CONFIG="+made, "ORAS_CACHE=cache")
	number := 0 // of the interruption
	command := func(dir, line, reg string) *exec.Cmd {
		path, err := exec.LookPath("oras") // this test's own, see TestMain
		if err != nil {
			t.Fatal(err)
		}
		line = strings.NewReplacer("$REG", reg, "$DIRECT", direct, "$HEAVY", heavy, "$LARGE", oras.SHA256.Digest(large).String(), "$BIG", oras.SHA256.Digest(big).String(), "$N", fmt.Sprint(number)).Replace(line)
		cmd := exec.Command(path, strings.Fields(line)...)
		cmd.Dir, cmd.Env = dir, env
		cmd.Stdin = strings.NewReader("secret")
		return cmd
	}
	succeed := func(dir, line string) {
		t.Helper()
		if out, err := command(dir, line, direct).CombinedOutput(); err != nil {
			t.Fatalf("oras %s: %v\n%s", line, err, out)
		}
	}
	succeed(made, "push $REG/r:v1 large --config manifest.json:application/json")
	succeed(made, "attach $REG/r:v1 --artifact-type t/a manifest.json")
	succeed(made, "push --oci-layout filled:v1 other")
	succeed(heavy, "push $REG/big:v1 big")
	succeed(heavy, "push --oci-layout layout:v1 big")

	for i, test := range interruptions {
		number = i
		t.Run(fmt.Sprint(test.args, " ", test.method, " ", test.part), func(t *testing.T) {
			dir := t.TempDir()
			if err := os.CopyFS(dir, os.DirFS(made)); err != nil {
				t.Fatal(err)
			}
			for _, name := range []string{"big", "folder/big"} {
				if err := os.Link(filepath.Join(heavy, "big"), filepath.Join(dir, name)); err != nil {
					t.Fatal(err)
				}
			}
			before := readTree(t, dir)
			took, says := interrupt(t, direct, test, func(reg string) *exec.Cmd { return command(dir, test.args, reg) })
			if took > time.Second {
				t.Errorf("it took %v to end", took)
			}
			must := test.must
			for name, content := range readTree(t, dir) {
				must = must || strings.Contains(name, "/.oras-")
				old, ok := before[name]
				may := slices.ContainsFunc(append(test.left, "cache/"), func(s string) bool { return strings.HasPrefix(name, s) })
				switch {
				case ok && old != content:
					t.Errorf("%s has other content", name)
				case !ok && !may && !strings.HasSuffix(name, ".lock"):
					t.Errorf("%s is left", name)
				}
				if _, hex, ok := strings.Cut(name, "blobs/sha256/"); ok && oras.SHA256.Digest([]byte(content)).Hex() != hex {
					t.Errorf("%s is not whole", name)
				}
			}
			if must && !says {
				t.Errorf("it does not say %q", test.goesOn)
			}
			if out, err := command(dir, "repo tags $DIRECT/new$N", direct).CombinedOutput(); err == nil && len(out) > 0 {
				t.Errorf("at the registry it has made the tag %s", out)
			}
			if test.again != "" {
				succeed(dir, test.again)
			}
		})
	}
}

// interrupt runs a command, interrupts it when it came to the request, and returns
// how long it took to end, the best of three, since other tests run on the machine;
// and whether it says that it goes on.
func interrupt(t *testing.T, direct string, test interruption, command func(reg string) *exec.Cmd) (best time.Duration, says bool) {
	t.Helper()
	best = time.Hour
	for range 3 {
		proxy := &stallingProxy{
			method: test.method, part: test.part, reached: make(chan struct{}, 1), ended: make(chan struct{}),
			registry: httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: direct}),
		}
		proxy.registry.ErrorHandler = func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) }
		server := httptest.NewServer(proxy)
		defer server.Close()
		defer close(proxy.ended)
		cmd := command("localhost" + strings.TrimPrefix(server.URL, "http://127.0.0.1"))
		var out, errs bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &errs
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		watchdog := time.AfterFunc(20*time.Second, func() { cmd.Process.Kill() })
		ended := make(chan error, 1)
		go func() { ended <- cmd.Wait() }()
		select {
		case <-proxy.reached:
		case err := <-ended:
			t.Fatalf("it ended before the request: %v\n%s%s", err, &out, &errs)
		}
		start := time.Now()
		if err := cmd.Process.Signal(os.Interrupt); err != nil {
			t.Fatal(err)
		}
		err := <-ended
		best = min(best, time.Since(start))
		watchdog.Stop()
		text := errs.String()
		if test.goesOn != "" {
			text, says = strings.CutSuffix(text, test.goesOn+"\n")
		}
		if cmd.ProcessState.ExitCode() != 1 || !strings.HasSuffix(text, ": interrupt signal received\n") {
			t.Errorf("it ended with %v and says %q", err, &errs)
		}
		if best < time.Second {
			break
		}
	}
	return best, says
}

// readTree returns the contents of all files below dir.
func readTree(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := fs.WalkDir(os.DirFS(dir), ".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		data, err := os.ReadFile(filepath.Join(dir, path))
		files[path] = string(data)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func mustWrite(t *testing.T, path string, data []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o666); err != nil {
		t.Fatal(err)
	}
}
