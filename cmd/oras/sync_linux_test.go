package main

import (
	"bytes"
	"crypto/rand"
	"io"
	"math"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/c73062ad/oras"
)

// A syncTrace is what the program asks of the system so that files are durable and have
// their names. Other tests have a hook beside these calls; here they are the real ones.
type syncTrace struct {
	file string // what strace writes: a call is there before the program goes on behind it
	root string // where the files are that it is about
}

// A syncCall is one that succeeded. Of another call it is known to have come later if it
// began when the other had ended.
type syncCall struct {
	name         string
	path         string // what was synced, or named, from root
	from         string // the name that it had
	began, ended int    // lines
}

// traceSyncs returns the command "oras" with args, to be run under strace as a process
// of its own, and what will be known of its calls about files below root.
func traceSyncs(t *testing.T, root string, args ...string) (*exec.Cmd, syncTrace) {
	t.Helper()
	cmd, file := trace(t, "fsync,fdatasync,syncfs,linkat,?renameat,?renameat2", args...)
	return cmd, syncTrace{file, root}
}

// trace returns the command "oras" with args, to be run under strace as a process of its
// own, and the file that will have its calls of the system.
func trace(t *testing.T, calls string, args ...string) (*exec.Cmd, string) {
	t.Helper()
	strace, err := exec.LookPath("strace")
	if err != nil {
		t.Skip("there is no strace")
	}
	file := filepath.Join(t.TempDir(), "trace")
	options := []string{"-D", "-f", "-y", "-qq", "-s", "4096", "--seccomp-bpf", "-o", file, "-e", "signal=none", "-e", "trace=" + calls}
	if out, err := exec.Command(strace, append(options, "true")...).CombinedOutput(); err != nil {
		t.Skipf("strace may not trace here: %v: %s", err, out)
	}
	program, err := exec.LookPath("oras") // this test's own, see TestMain
	if err != nil {
		t.Fatal(err)
	}
	return exec.Command(strace, slices.Concat(options, []string{program}, args)...), file
}

var (
	traceLine = regexp.MustCompile(`^(\d+) +(?:<\.\.\. \w+ resumed>)?(.*?)( <unfinished \.\.\.>)?$`)
	traceCall = regexp.MustCompile(`^(\w+)\((.*)\) += 0$`)
	tracePath = regexp.MustCompile(`<([^>]+)>(?:, "([^"]+)")?`) // of a descriptor, and a name below it
)

// calls returns those until now, in the order in which they ended.
func (s syncTrace) calls(t *testing.T) (calls []syncCall) {
	t.Helper()
	text, err := os.ReadFile(s.file)
	if err != nil {
		t.Fatal(err)
	}
	type half struct {
		text  string
		began int
	}
	unfinished := map[string]half{} // by thread
	for n, line := range strings.Split(string(text), "\n") {
		part := traceLine.FindStringSubmatch(line)
		if part == nil {
			continue
		}
		whole := half{part[2], n}
		if begun, ok := unfinished[part[1]]; ok {
			whole = half{begun.text + part[2], begun.began}
			delete(unfinished, part[1])
		}
		if part[3] != "" {
			unfinished[part[1]] = whole
			continue
		}
		found := traceCall.FindStringSubmatch(whole.text)
		if found == nil { // it failed
			continue
		}
		call := syncCall{name: strings.TrimRight(found[1], "2"), began: whole.began, ended: n}
		for _, p := range tracePath.FindAllStringSubmatch(found[2], 2) {
			path, err := filepath.Rel(s.root, filepath.Join(p[1], p[2]))
			if err != nil {
				t.Fatal(err)
			}
			call.from, call.path = call.path, path
		}
		calls = append(calls, call)
	}
	return calls
}

// naming returns the call that gave a file the name path.
func naming(t *testing.T, calls []syncCall, path string) syncCall {
	t.Helper()
	i := slices.IndexFunc(calls, func(c syncCall) bool { return c.from != "" && c.path == path })
	if i < 0 {
		t.Fatalf("nothing becomes %s: %v", path, calls)
	}
	return calls[i]
}

// synced reports whether path was synced between two lines.
func synced(calls []syncCall, path string, after, before int) bool {
	return slices.ContainsFunc(calls, func(c syncCall) bool {
		return c.name == "fsync" && c.path == path && after < c.began && c.ended < before
	})
}

const (
	traceStart = -1
	traceEnd   = math.MaxInt
)

// checkNamed checks that a file was durable when it got its name, and the name before
// another one came into the folder; and if that is new, that it is durable as well.
func checkNamed(t *testing.T, calls []syncCall, named syncCall, newFolder bool) {
	t.Helper()
	if !synced(calls, named.from, traceStart, named.began) {
		t.Errorf("%s is not synced before it becomes %s: %v", named.from, named.path, calls)
	}
	folder, next := filepath.Dir(named.path), traceEnd
	for _, c := range calls {
		if c.from != "" && filepath.Dir(c.path) == folder && c.began > named.ended {
			next = min(next, c.began)
		}
	}
	if !synced(calls, folder, named.ended, next) {
		t.Errorf("%s is not synced after %s is in it: %v", folder, named.path, calls)
	}
	for newFolder && folder != "." {
		folder = filepath.Dir(folder)
		if !synced(calls, folder, traceStart, traceEnd) {
			t.Errorf("%s is not synced, though a folder in it is new: %v", folder, calls)
		}
	}
}

// syncFolder returns a new folder by the name that the system has for it.
func syncFolder(t *testing.T) string {
	t.Helper()
	folder, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return folder
}

// syncContents returns contents that differ in what makes them durable: a small one and
// a large one.
func syncContents() (small, large []byte) {
	small, large = make([]byte, 100), make([]byte, 1<<20)
	rand.Read(small)
	rand.Read(large)
	return small, large
}

func hexOf(content []byte) string { return oras.SHA256.Digest(content).Hex() }

// TestSyncLayout: whatever gets a name in a layout is on the disk before, and the name
// after, each on its own.
func TestSyncLayout(t *testing.T) {
	folder := syncFolder(t)
	small, large := syncContents()
	for name, content := range map[string][]byte{"small": small, "large": large} {
		if err := os.WriteFile(filepath.Join(folder, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cmd, trace := traceSyncs(t, filepath.Join(folder, "layout"), "push", "--concurrency", "1", "--oci-layout", "layout:v1", "small", "large")
	cmd.Dir = folder
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	calls := trace.calls(t)
	var names []string
	for _, c := range calls {
		if c.from != "" {
			checkNamed(t, calls, c, true)
			names = append(names, c.path)
		}
	}
	for _, name := range []string{"oci-layout", "index.json", "blobs/sha256/" + hexOf(small), "blobs/sha256/" + hexOf(large)} {
		if !slices.Contains(names, name) {
			t.Errorf("nothing becomes %s: %v", name, calls)
		}
	}
	above := syncTrace{trace.file, folder}.calls(t)
	if !slices.ContainsFunc(above, func(c syncCall) bool { return c.name == "fsync" && c.path == "." }) {
		t.Errorf("the name of the layout itself is not on the disk: %v", above)
	}
}

// TestSyncServe: before the registry answers that it has something, that is on the disk:
// itself and its name, or what the journal says of it. At its end the journal is empty.
func TestSyncServe(t *testing.T) {
	data := syncFolder(t)
	cmd, trace := traceSyncs(t, data, "serve", "--addr", "127.0.0.1:0", "--data", data)
	cmd, url, log := startServing(t, cmd)
	url += "/v2/r/"
	ask := func(method, to string, content []byte, status int) (location string) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), method, to, bytes.NewReader(content))
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Content-Type", "application/octet-stream")
		if strings.Contains(to, "/manifests/") {
			req.Header.Set("Content-Type", oras.MediaTypeImageIndex)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		text, _ := io.ReadAll(resp.Body)
		if resp.StatusCode != status {
			t.Fatalf("%s %s: %s: %s; %s", method, to, resp.Status, text, log)
		}
		next, err := req.URL.Parse(resp.Header.Get("Location"))
		if err != nil {
			t.Fatal(err)
		}
		return next.String()
	}
	// during returns the calls that end between when do begins and when it returns.
	during := func(do func()) []syncCall {
		t.Helper()
		before := len(trace.calls(t))
		do()
		return trace.calls(t)[before:]
	}
	post := func(content []byte) func() {
		return func() { ask("POST", url+"blobs/uploads/?digest=sha256:"+hexOf(content), content, 201) }
	}
	checkJournal := func(calls []syncCall, name string) {
		t.Helper()
		if named := naming(t, calls, name); !synced(calls, ".journal", traceStart, named.began) {
			t.Errorf("the journal is not synced before %s becomes %s: %v", named.from, name, calls)
		}
	}

	initial, large := syncContents()
	small, patched := syncContents()
	post(initial)() // which makes the repository, and that goes through the journal, too
	checkJournal(during(post(small)), "r/_blobs/sha256/"+hexOf(small))

	calls := during(post(large))
	checkNamed(t, calls, naming(t, calls, "r/_blobs/sha256/"+hexOf(large)), true)

	calls = during(func() {
		upload := ask("POST", url+"blobs/uploads/", nil, 202)
		upload = ask("PATCH", upload, patched, 202)
		ask("PUT", upload+"?digest=sha256:"+hexOf(patched), nil, 201)
	})
	checkNamed(t, calls, naming(t, calls, "r/_blobs/sha256/"+hexOf(patched)), false)

	index := []byte(`{"schemaVersion":2,"mediaType":"` + oras.MediaTypeImageIndex + `","manifests":[]}`)
	calls = during(func() { ask("PUT", url+"manifests/v1", index, 201) })
	for _, name := range []string{"r/_blobs/sha256/" + hexOf(index), "r/_manifests/sha256/" + hexOf(index), "r/_tags/v1"} {
		checkJournal(calls, name)
	}

	calls = during(func() {
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		if err := cmd.Wait(); err != nil {
			t.Errorf("it ended with %v: %s", err, log)
		}
	})
	all := slices.IndexFunc(calls, func(c syncCall) bool { return c.name == "syncfs" && c.path == ".journal" })
	if all < 0 || !synced(calls, ".journal", calls[all].ended, traceEnd) {
		t.Errorf("the file system is not synced at the end, or the empty journal not after it: %v", calls)
	}
}
