package main

import (
	"bytes"

	"crypto/rand"
	"errors"
	"fmt"

	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/c73062ad/oras"
)

// A session is a command on a pseudo-terminal, with the screen of that terminal.
type session struct {
	t      *testing.T
	cmd    *exec.Cmd
	pty    *os.File
	output chan []byte
	raw    bytes.Buffer // all that came
	screen *screen
	before []string // lines
}

// A command is what is run, in a folder and with more in its environment.
type command struct {
	dir  string
	env  []string
	args []string
}

func (c command) prepare(t *testing.T) *exec.Cmd {
	t.Helper()
	path, err := exec.LookPath(c.args[0]) // "oras" is this test's own, see TestMain
	if err != nil {
		t.Fatal(err)
	}
	env := append(os.Environ(), "TERM=xterm", "NO_COLOR=", "DOCKER_CONFIG="+t.TempDir())
	return &exec.Cmd{Path: path, Args: c.args, Dir: c.dir, Env: append(env, c.env...)}
}

// startSession starts a command on a terminal on which something was done before:
// lines fill its screen.
func startSession(t *testing.T, width, height int, c command) *session {
	t.Helper()
	pty, tty := openPTY(t)
	s := &session{t: t, pty: pty, output: make(chan []byte, 16), screen: newScreen(t, width, height)}
	for i := range height {
		s.before = append(s.before, fmt.Sprint("before ", i))
		s.screen.write([]byte(s.before[i] + "\r\n"))
	}
	s.setSize(width, height)
	s.cmd = c.prepare(t)
	s.cmd.Stdin, s.cmd.Stdout, s.cmd.Stderr = tty, tty, tty
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	tty.Close()
	watchdog := time.AfterFunc(time.Minute, func() { s.cmd.Process.Kill() })
	t.Cleanup(func() {
		watchdog.Stop()
		s.cmd.Process.Kill()
		pty.Close()
		for range s.output {
		}
	})
	go func() {
		defer close(s.output)
		for {
			p := make([]byte, 32<<10)
			n, err := pty.Read(p)
			if err != nil {
				return // nobody has the terminal open any more
			}
			s.output <- p[:n]
		}
	}()
	return s
}

// openPTY opens a pseudo-terminal: its outer and its inner end (pts(4)).
func openPTY(t *testing.T) (pty, tty *os.File) {
	t.Helper()
	pty, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skipf("there are no pseudo-terminals: %v", err)
	}
	if err := unix.IoctlSetPointerInt(int(pty.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	number, err := unix.IoctlGetInt(int(pty.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	tty, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	return pty, tty
}

func (s *session) setSize(width, height int) {
	s.t.Helper()
	size := &unix.Winsize{Col: uint16(width), Row: uint16(height)}
	if err := unix.IoctlSetWinsize(int(s.pty.Fd()), unix.TIOCSWINSZ, size); err != nil {
		s.t.Fatal(err)
	}
}

// resize gives the terminal another size.
func (s *session) resize(width, height int) {
	s.t.Helper()
	s.screen.resize(width, height)
	s.setSize(width, height)
}

// until waits for what is on the screen when no frame is half there.
func (s *session) until(what string, ok func(lines []string) bool) {
	s.t.Helper()
	end := time.After(30 * time.Second)
	for !s.screen.wraps || s.screen.x > 0 || !ok(s.screen.lines()) {
		select {
		case p, more := <-s.output:
			if !more {
				s.t.Fatalf("it ended before %s:\n%s", what, s.screen)
			}
			s.raw.Write(p)
			s.screen.write(p)
		case <-end:
			s.t.Fatalf("no %s:\n%s", what, s.screen)
		}
	}
}

// drain waits for the command's end and returns all that it printed.
func (s *session) drain() string {
	s.t.Helper()
	for p := range s.output {
		s.raw.Write(p)
		s.screen.write(p)
	}
	var exit *exec.ExitError
	if err := s.cmd.Wait(); err != nil && !errors.As(err, &exit) {
		s.t.Fatal(err)
	}
	return strings.ReplaceAll(s.raw.String(), "\r\n", "\n")
}

// end waits for the command's end and returns what it left on the screen and above,
// and its exit status.
func (s *session) end() (transcript []string, status int) {
	s.t.Helper()
	s.drain()
	transcript = s.screen.transcript()
	for _, want := range s.before {
		if len(transcript) == 0 || transcript[0] != want {
			s.t.Fatalf("of what was there before %q is gone:\n%s", want, s.screen)
		}
		transcript = transcript[1:]
	}
	if s.screen.x != 0 || !s.screen.wraps {
		s.t.Errorf("the cursor is left in column %d; the terminal wraps lines: %v", s.screen.x, s.screen.wraps)
	}
	return transcript, s.cmd.ProcessState.ExitCode()
}

// plain runs a command without a terminal and returns the lines that a terminal is
// to have in the end: those of its output, but for what only says that something
// begins, behind those of standard error, which are there first.
func (c command) plain(t *testing.T) (lines []string, output []byte) {
	t.Helper()
	cmd := c.prepare(t)
	var errs bytes.Buffer
	cmd.Stderr = &errs
	output, err := cmd.Output()
	if err != nil {
		t.Fatalf("%q: %v\n%s", c.args, err, &errs)
	}
	for line := range strings.Lines(errs.String() + string(output)) {
		switch word, _, _ := strings.Cut(line, " "); word {
		case "Preparing", "Uploading", "Downloading", "Processing", "Copying", "Pulling", "Pushing":
		default:
			lines = append(lines, strings.TrimSuffix(line, "\n"))
		}
	}
	return lines, output
}

// sameTranscript checks that what a terminal has in the end is what a plain run
// printed. The order in which content comes to its end is another each time.
func sameTranscript(t *testing.T, got, want []string) {
	t.Helper()
	if diff := cmp.Diff(inOrder(want), inOrder(got)); diff != "" {
		t.Errorf("-plain +terminal:\n%s", diff)
	}
}

var took = regexp.MustCompile(` in [0-9.]+m?s\.?$`)

// inOrder returns lines with neighbouring status lines sorted, and without times.
func inOrder(lines []string) []string {
	lines = append([]string{}, lines...)
	for i := 0; i < len(lines); i++ {
		end := i
		for end < len(lines) && statusLine.MatchString(lines[end]) {
			end++
		}
		slices.Sort(lines[i:end])
		lines[i] = took.ReplaceAllString(lines[i], "")
		i = max(i, end-1)
	}
	return lines
}

// A brake stands before a registry and lets bytes through slowly, those of all
// connections together, until it is released.
type brake struct {
	host string

	mu       sync.Mutex
	changed  *sync.Cond
	left     int // bytes that may pass
	released bool
}

// newBrake returns a brake that lets about that many bytes a second through.
func newBrake(t *testing.T, target string, perSecond int) *brake {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b := &brake{host: localhost(listener.Addr().String())}
	b.changed = sync.NewCond(&b.mu)
	go func() {
		for {
			in, err := listener.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", target)
			if err != nil {
				in.Close()
				continue
			}
			in.(*net.TCPConn).SetReadBuffer(64 << 10) // what it holds has moved, for the client
			go b.pass(out, in)
			go b.pass(in, out)
		}
	}()
	const times = 200 // a second
	ticker := time.NewTicker(time.Second / times)
	done := make(chan bool)
	go func() {
		for {
			select {
			case <-ticker.C:
				b.mu.Lock()
				b.left = perSecond / times
				b.changed.Broadcast()
				b.mu.Unlock()
			case <-done:
				return
			}
		}
	}()
	t.Cleanup(func() {
		listener.Close()
		ticker.Stop()
		close(done)
		b.release()
	})
	return b
}

// pass moves bytes until one end is gone.
func (b *brake) pass(w, r net.Conn) {
	defer w.Close()
	defer r.Close()
	p := make([]byte, 16<<10)
	for {
		n, err := r.Read(p)
		b.wait(n)
		if _, e := w.Write(p[:n]); err != nil || e != nil {
			return
		}
	}
}

// wait waits until n bytes may pass.
func (b *brake) wait(n int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for n > 0 && !b.released {
		b.changed.Wait()
		now := min(n, b.left)
		n, b.left = n-now, b.left-now
	}
}

// release lets all bytes through at once.
func (b *brake) release() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.released = true
	b.changed.Broadcast()
}

// lookOut is what a registry says in the middle of everything.
const lookOut = "look out, this line is for standard error and must be whole"

// newWarner returns the address of a registry that is the one at target, and that
// warns when it was given content, or is asked for it.
func newWarner(t *testing.T, target string) string {
	t.Helper()
	proxy := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: target})
	proxy.ModifyResponse = func(resp *http.Response) error {
		if resp.StatusCode < 300 && (resp.Request.Method == http.MethodPut || resp.Request.Method == http.MethodGet) && strings.Contains(resp.Request.URL.Path, "/blobs/") {
			resp.Header.Set("Warning", fmt.Sprintf("299 - %q", lookOut))
		}
		return nil
	}
	server := httptest.NewServer(proxy)
	t.Cleanup(server.Close)
	return server.Listener.Addr().String()
}

// writeRandom writes files of the given size, and returns the folder they are in.
func writeRandom(t *testing.T, size int, names ...string) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range names {
		data := make([]byte, size)
		rand.Read(data)
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// created makes what is pushed twice the same.
const created = "--annotation=org.opencontainers.image.created=2000-01-01T00:00:00Z"

// renamed returns lines with the name of a repository made that of another.
func renamed(lines []string, from, to string) []string {
	lines = slices.Clone(lines)
	for i := range lines {
		lines[i] = strings.ReplaceAll(lines[i], from, to)
	}
	return lines
}

var summaryLine = regexp.MustCompile(`^ \d+ of \d+ done, .*?([0-9.]+)/[0-9.]+ MiB`)

// movedMiB returns how much has moved, as the last line of the frame says that is
// the last on the screen. If there is none it is empty.
func movedMiB(lines []string) string {
	for _, line := range slices.Backward(lines) {
		if found := summaryLine.FindStringSubmatch(line); found != nil {
			return found[1]
		}
		if line != "" {
			break
		}
	}
	return ""
}

// TestTerminal pushes and pulls large files on a terminal whose size changes
// meanwhile. Frames tell of all of them; in the end there is what a plain run
// prints, and nothing else.
func TestTerminal(t *testing.T) {
	r := startRegistry(t, t.TempDir())
	host := localhost(r.host)
	names := []string{"a.bin", "b.bin", "c\u202e.bin"}
	shown := []string{"a.bin", "b.bin", `c\u202e.bin`}
	dir := writeRandom(t, 24<<20, names...)
	for _, step := range []struct {
		verb string
		args []string // behind the reference
	}{
		{"push", append([]string{created}, names...)},
		{"pull", []string{"-o", "pulled"}},
	} {
		run := func(reference string) command {
			return command{dir: dir, args: append([]string{"oras", step.verb, reference}, step.args...)}
		}
		plain, _ := run(host + "/plain:v1").plain(t)
		if err := os.RemoveAll(filepath.Join(dir, "pulled")); err != nil {
			t.Fatal(err)
		}
		b := newBrake(t, newWarner(t, r.host), 4<<20)
		repository := b.host + "/shown"
		if step.verb == "pull" {
			repository = b.host + "/plain"
		}
		s := startSession(t, 80, 24, run(repository+":v1"))
		s.until("a line for each file", func(lines []string) bool {
			for _, name := range shown {
				row := regexp.MustCompile(`^ (Upload|Download)ing +` + regexp.QuoteMeta(name) + ` +[0-9.]+/24\.0 MiB  +[0-9.]+ .?i?B/s`)
				if !slices.ContainsFunc(lines, row.MatchString) {
					return false
				}
			}
			return movedMiB(lines) != ""
		})
		narrow, wide := regexp.MustCompile(`^ (Upload|Download)ing .* +\d+%( +\d+s)?$`), regexp.MustCompile(`^ (Upload|Download)ing .*/24\.0 MiB  .*/s( +\d+s)?$`)
		for _, change := range []struct {
			width, height int
			row           *regexp.Regexp
		}{{44, 24, narrow}, {110, 40, wide}, {50, 12, narrow}, {80, 24, wide}} {
			s.resize(change.width, change.height)
			if _, err := s.pty.WriteString("typed"); err != nil { // by somebody who is bored
				t.Fatal(err)
			}
			s.until("a frame of that size", func(lines []string) bool {
				return movedMiB(lines) != "" && slices.ContainsFunc(lines, change.row.MatchString)
			})
		}
		b.release()
		got, status := s.end()
		if status != 0 {
			t.Errorf("status %d", status)
		}
		const warning = "WARNING: " + lookOut
		at := slices.Index(got, warning)
		if at < 0 {
			t.Fatalf("no line is %q:\n%s", warning, s.screen)
		}
		got = slices.Delete(got, at, at+1)
		sameTranscript(t, renamed(got, repository, host+"/plain"), plain)
		if !bytes.Contains(s.raw.Bytes(), []byte(cyan)) {
			t.Error("there was no colour")
		}
	}
	for _, name := range names {
		want, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(filepath.Join(dir, "pulled", name)); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%q is not what was pushed: %v", name, err)
		}
	}
}

// TestTerminalMany pushes more files at a time than have room on the screen.
func TestTerminalMany(t *testing.T) {
	r := startRegistry(t, t.TempDir())
	var names []string
	for i := range 300 {
		names = append(names, fmt.Sprintf("layer-%03d", i))
	}
	dir := writeRandom(t, 30000, names...)
	run := func(reference string) command {
		return command{dir: dir, args: append([]string{"oras", "push", reference, created, "--concurrency=40"}, names...)}
	}
	plainName := localhost(r.host) + "/plain"
	plain, _ := run(plainName + ":v1").plain(t)
	for _, size := range [][2]int{{20, 10}, {80, 24}, {200, 50}} {
		b := newBrake(t, r.host, 1<<20)
		name := b.host + fmt.Sprint("/shown", size[0])
		s := startSession(t, size[0], size[1], run(name+":v1"))
		s.until("a frame of as many lines as it may have", func(lines []string) bool {
			frame := slices.DeleteFunc(slices.Clone(lines), func(line string) bool { return !strings.HasPrefix(line, " ") })
			if len(frame) != min(size[1]/2, maxRows) {
				return false
			}
			var done, of, more int
			last := frame[len(frame)-1]
			if size[0] < 80 {
				n, _ := fmt.Sscanf(last, " %d/%d,", &done, &of)
				return n == 2 && of == 302
			}
			n, _ := fmt.Sscanf(last, " %d of %d done, %d more under way,", &done, &of, &more)
			return n == 3 && of == 302 && len(frame)-1+more <= 40
		})
		if size[0] == 80 { // as when a window is split in two
			s.resize(40, 24)
			row := regexp.MustCompile(`^ Uploading +layer-\d+ +\d+%`)
			s.until("a narrower frame", func(lines []string) bool { return slices.ContainsFunc(lines, row.MatchString) })
		}
		b.release()
		got, status := s.end()
		if status != 0 {
			t.Errorf("status %d", status)
		}
		sameTranscript(t, renamed(got, name, plainName), plain)
	}
}

// TestTerminalPlain: what there is no live view of is printed as it is where there
// is no terminal.
func TestTerminalPlain(t *testing.T) {
	r := startRegistry(t, t.TempDir())
	repository := localhost(r.host) + "/r"
	dir := writeRandom(t, 10, "a.bin")
	push := func(more ...string) []string {
		return append([]string{"oras", "push", repository + ":v1", created, "a.bin"}, more...)
	}
	command{dir: dir, args: push()}.plain(t) // later everything is there
	for name, c := range map[string]command{
		"no-tty":       {dir: dir, args: push("--no-tty")},
		"environment":  {dir: dir, args: push(), env: []string{"ORAS_NO_TTY=true"}},
		"dumb":         {dir: dir, args: push(), env: []string{"TERM=dumb"}},
		"no TERM":      {dir: dir, args: push(), env: []string{"TERM="}},
		"json":         {dir: dir, args: push("--format=json")},
		"template":     {dir: dir, args: push("--format=go-template={{.digest}}")},
		"descriptor":   {dir: dir, args: []string{"oras", "blob", "push", repository, "a.bin", "--descriptor"}},
		"blob fetched": {dir: dir, args: []string{"oras", "blob", "fetch", repository + "@" + string(oras.Empty().Digest), "-o", "-"}},
		"nothing":      {dir: dir, args: []string{"oras", "resolve", repository + ":v1"}},
	} {
		_, want := c.plain(t)
		if got := startSession(t, 80, 24, c).drain(); got != string(want) {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	got := startSession(t, 80, 24, command{dir: dir, args: push("--debug")}).drain()
	if strings.Contains(got, "\x1b") || !strings.Contains(got, "Request #0") || !strings.Contains(got, "Preparing a.bin") {
		t.Errorf("debug: %q", got)
	}
}

// TestTerminalNoColour: there are frames without colours.
func TestTerminalNoColour(t *testing.T) {
	r := startRegistry(t, t.TempDir())
	b := newBrake(t, r.host, 4<<20)
	dir := writeRandom(t, 8<<20, "a.bin")
	s := startSession(t, 80, 24, command{
		dir: dir, env: []string{"NO_COLOR=1"},
		args: []string{"oras", "blob", "push", b.host + "/r", "a.bin"},
	})
	row := regexp.MustCompile(`^ Uploading ` + regexp.QuoteMeta(oras.MediaTypeLayer[:10]) + `.* [0-9.]+/8\.00 MiB`)
	s.until("a line", func(lines []string) bool { return slices.ContainsFunc(lines, row.MatchString) })
	b.release()
	if got, status := s.end(); status != 0 || len(got) != 3 {
		t.Errorf("status %d, %q", status, got)
	}
	if colourCodes.Match(s.raw.Bytes()) {
		t.Errorf("there are colours: %q", &s.raw)
	}
}

// TestTerminalCommands: all commands that transfer leave on a terminal what they
// print without one.
func TestTerminalCommands(t *testing.T) {
	r := startRegistry(t, t.TempDir())
	host := localhost(r.host)
	dir := writeRandom(t, 100<<10, "a.bin", "b.bin")
	manifest := []byte(`{"schemaVersion":2,"mediaType":"application/vnd.oci.image.index.v1+json","manifests":[]}`)
	if err := os.WriteFile(filepath.Join(dir, "index.json"), manifest, 0o644); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(filepath.Join(dir, "a.bin"))
	if err != nil {
		t.Fatal(err)
	}
	blob := oras.SHA256.Digest(data).String()
	for _, args := range []string{ // in an order in which each finds what it needs
		"push HOST/NAME:v1 a.bin b.bin " + created,
		"push HOST/NAME:v2 a.bin b.bin --verbose=false " + created,
		"attach HOST/NAME:v1 --artifact-type t/a b.bin " + created,
		"pull HOST/NAME:v1 -o NAME",
		"cp -r HOST/NAME:v1 HOST/NAME/copy:v1",
		"cp HOST/NAME:v1 --to-oci-layout NAME.layout:v1",
		"backup HOST/NAME:v1,v2 --include-referrers -o NAME.backup",
		"restore HOST/NAME/restored --input NAME.backup",
		"manifest push HOST/NAME:index index.json",
		"blob push HOST/NAME index.json",
		"blob fetch HOST/NAME@" + blob + " -o NAME.blob",
	} {
		run := func(name string) command {
			args := strings.NewReplacer("HOST", host, "NAME", name).Replace("oras " + args)
			return command{dir: dir, args: strings.Fields(args)}
		}
		want, _ := run("plain").plain(t)
		s := startSession(t, 80, 24, run("shown"))
		got, status := s.end()
		if status != 0 {
			t.Errorf("%s: status %d", args, status)
		}
		sameTranscript(t, renamed(got, "shown", "plain"), want)
	}
	if got, err := os.ReadFile(filepath.Join(dir, "shown.blob")); err != nil || !bytes.Equal(got, data) {
		t.Errorf("the blob that was fetched is another: %v", err)
	}
}

// TestTerminalInterrupted: ^C leaves what came to its end before and the error.
func TestTerminalInterrupted(t *testing.T) {
	r := startRegistry(t, t.TempDir())
	b := newBrake(t, r.host, 4<<20)
	dir := writeRandom(t, 24<<20, "a.bin", "b.bin")
	command{dir: dir, args: []string{"oras", "push", localhost(r.host) + "/r:v1", "a.bin", "b.bin"}}.plain(t)
	s := startSession(t, 80, 24, command{dir: dir, args: []string{"oras", "pull", b.host + "/r:v1", "-o", "pulled"}})
	s.until("a frame", func(lines []string) bool { return movedMiB(lines) != "" })
	if _, err := s.pty.WriteString("\x03"); err != nil {
		t.Fatal(err)
	}
	got, status := s.end()
	if status != 1 || len(got) == 0 || got[0] != "Error: interrupt signal received" || slices.ContainsFunc(got, func(line string) bool { return strings.HasPrefix(line, " ") }) {
		t.Errorf("status %d, %q", status, got)
	}
}

// TestTerminalSuspended: a command that was stopped with ^Z leaves its terminal to
// the shell, goes on when it may, and shows nothing but what it prints while it has
// to do so behind the shell.
func TestTerminalSuspended(t *testing.T) {
	r := startRegistry(t, t.TempDir())
	b := newBrake(t, r.host, 4<<20)
	dir := writeRandom(t, 24<<20, "a.bin", "b.bin")
	s := startSession(t, 80, 24, command{dir: dir, args: []string{"sh", "-c",
		`set -m; oras push ` + b.host + `/r:v1 a.bin b.bin; echo stopped; read line; echo $line; fg >/dev/null; oras pull ` + b.host + `/r:v1 -o behind & wait`}})
	frame := func(lines []string) bool { return movedMiB(lines) != "" }
	s.until("a frame", frame)
	if _, err := s.pty.WriteString("\x1a"); err != nil {
		t.Fatal(err)
	}
	s.until("the shell", func(lines []string) bool { return slices.Contains(lines, "stopped") })
	if frame(s.screen.lines()) {
		t.Errorf("the frame is still there:\n%s", s.screen)
	}
	if _, err := s.pty.WriteString("go on\n"); err != nil {
		t.Fatal(err)
	}
	s.until("a frame", frame)
	b.release()
	got, status := s.end()
	if status != 0 {
		t.Errorf("status %d", status)
	}
	behind := slices.IndexFunc(got, func(line string) bool { return strings.HasPrefix(line, "Digest: ") }) + 1
	for _, line := range got[behind:] {
		if !strings.HasPrefix(line, "Download") && !strings.HasPrefix(line, "Pulled ") && !strings.HasPrefix(line, "Digest: ") {
			t.Errorf("a line is %q", line)
		}
	}
	if len(got[behind:]) != 5 {
		t.Errorf("it ends with %q", got[behind:])
	}
	_, after, _ := strings.Cut(s.raw.String(), "Digest: ")
	if strings.Contains(after, "\x1b") {
		t.Errorf("there are frames behind the shell: %q", after)
	}
}

// TestTerminalColours: the tree of referrers has colours on a terminal, if nobody
// says that it should not.
func TestTerminalColours(t *testing.T) {
	r := startRegistry(t, t.TempDir())
	reference := localhost(r.host) + "/r:v1"
	dir := writeRandom(t, 10, "a.bin")
	command{dir: dir, args: []string{"oras", "push", reference, "a.bin"}}.plain(t)
	command{dir: dir, args: []string{"oras", "attach", reference, "--artifact-type", "t/a", "-a", "k=v"}}.plain(t)
	discover := func(more ...string) []string { return append([]string{"oras", "discover", reference}, more...) }
	_, plain := command{dir: dir, args: discover()}.plain(t)
	if bytes.Contains(plain, []byte("\x1b")) {
		t.Errorf("there are colours without a terminal: %q", plain)
	}
	for name, c := range map[string]command{
		"colours":  {args: discover()},
		"NO_COLOR": {args: discover(), env: []string{"NO_COLOR=1"}},
		"dumb":     {args: discover(), env: []string{"TERM=dumb"}},
		"no-tty":   {args: discover("--no-tty")},
		"json":     {args: discover("--format=json")},
	} {
		_, want := c.plain(t)
		got := startSession(t, 200, 24, c).drain()
		if bare := colourCodes.ReplaceAllString(got, ""); bare != string(want) {
			t.Errorf("%s: %q, want %q", name, bare, want)
		}
		if name != "colours" {
			if strings.Contains(got, "\x1b") {
				t.Errorf("%s: %q", name, got)
			}
			continue
		}
		for c, what := range map[colour]string{brightGreen: regexp.QuoteMeta(strings.TrimSuffix(reference, ":v1")) + "@sha256:[0-9a-f]{64}", brightYellow: "t/a", brightCyan: `\[annotations\]`} {
			if !regexp.MustCompile(regexp.QuoteMeta(string(c)) + what + regexp.QuoteMeta("\x1b[0m")).MatchString(got) {
				t.Errorf("%s is not in its colour: %q", what, got)
			}
		}
	}
}
