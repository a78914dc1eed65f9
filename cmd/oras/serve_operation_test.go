package main

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"

	"github.com/c73062ad/oras"
	"github.com/c73062ad/oras/remote"
)

// startServe starts "oras serve" with args, and returns it with the URL that it prints
// and with what it goes on to log.
func startServe(t *testing.T, args ...string) (*exec.Cmd, string, *syncedBuffer) {
	t.Helper()
	path, err := exec.LookPath("oras") // this test's own, see TestMain
	if err != nil {
		t.Fatal(err)
	}
	return startServing(t, exec.Command(path, append([]string{"serve", "--addr", "127.0.0.1:0"}, args...)...))
}

// startServing is startServe for a command.
func startServing(t *testing.T, cmd *exec.Cmd) (*exec.Cmd, string, *syncedBuffer) {
	t.Helper()
	log := &syncedBuffer{}
	cmd.Stderr = log
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	watchdog := time.AfterFunc(time.Minute, func() { cmd.Process.Kill() })
	t.Cleanup(func() {
		watchdog.Stop()
		cmd.Process.Kill()
		cmd.Wait()
	})
	line, _ := bufio.NewReader(stdout).ReadString('\n')
	found := regexp.MustCompile(`^Serving (\S+) from `).FindStringSubmatch(line)
	if found == nil {
		t.Fatalf("it prints %q and logs %s", line, log)
	}
	return cmd, found[1], log
}

// A syncedBuffer can be read while it is written to.
type syncedBuffer struct {
	mu   sync.Mutex
	data bytes.Buffer
}

func (b *syncedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.data.Write(p)
}

func (b *syncedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.data.String()
}

// getText returns what is at url, or fails the test.
func getText(t *testing.T, url string) string {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestServeCollects: garbage that is old goes while the registry serves, is counted,
// and nothing else goes.
func TestServeCollects(t *testing.T) {
	data := t.TempDir()
	ctx := t.Context()
	_, url, _ := startServe(t, "--data", data, "--gc-interval", "0")
	open := func(url string) *remote.Repository {
		r, err := remote.Open(strings.TrimPrefix(url, "http://")+"/r", &remote.Options{PlainHTTP: true})
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	r := open(url)
	image, manifest := numbered(1)
	if err := oras.Push(ctx, r, image.Layers[0], strings.NewReader("1")); err != nil {
		t.Fatal(err)
	}
	kept := oras.DescriptorOf(oras.MediaTypeImageManifest, manifest)
	if err := oras.PushTagged(ctx, r, kept, bytes.NewReader(manifest), "v1"); err != nil {
		t.Fatal(err)
	}
	_, manifest = numbered(2)
	untagged := oras.DescriptorOf(oras.MediaTypeImageManifest, manifest)
	if err := oras.Push(ctx, r, untagged, bytes.NewReader(manifest)); err != nil {
		t.Fatal(err)
	}
	garbage := make([]byte, 1<<20)
	rand.Read(garbage)
	blob, err := oras.PushBytes(ctx, r, oras.MediaTypeBlob, garbage)
	if err != nil {
		t.Fatal(err)
	}
	if text := getText(t, url+"/metrics"); strings.Contains(text, "oras_gc_") {
		t.Error("it counts what it does not collect")
	}
	old := time.Now().Add(-24 * time.Hour)
	if err := filepath.WalkDir(data, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		return os.Chtimes(path, old, old)
	}); err != nil {
		t.Fatal(err)
	}

	_, url, log := startServe(t, "--data", data, "--gc-interval", "1ms", "--gc-grace", "1h", "--gc-untagged", "2h")
	var text string
	for end := time.Now().Add(20 * time.Second); !regexp.MustCompile(`(?m)^oras_gc_objects_total [1-9]`).MatchString(text); {
		if text = getText(t, url+"/metrics"); time.Now().After(end) {
			t.Fatalf("nothing is collected: %s\n%s", text, log)
		}
	}
	r = open(url)
	for _, desc := range []oras.Descriptor{blob, untagged} {
		if there, err := r.Exists(ctx, desc); err != nil || there {
			t.Errorf("%s is there: %v, %v", desc.MediaType, there, err)
		}
	}
	if _, got, err := fetchManifest(ctx, r, "v1", nil); err != nil || oras.SHA256.Digest(got).OCI() != kept.Digest {
		t.Error(err)
	}
	if layer, err := oras.FetchAll(ctx, r, image.Layers[0]); err != nil || string(layer) != "1" {
		t.Errorf("%q, %v", layer, err)
	}
	for _, pattern := range []string{`oras_gc_failures_total 0\n`, `oras_gc_freed_bytes_total [1-9]`, `oras_gc_last_success_timestamp_seconds [1-9]`, `oras_storage_bytes [1-9]`, `oras_storage_files [1-9]`} {
		if !regexp.MustCompile(pattern).MatchString(text) {
			t.Errorf("no match for %s in %s", pattern, text)
		}
	}
	if !strings.Contains(log.String(), "action=collect repository=r digest="+string(untagged.Digest)) || strings.Contains(log.String(), string(kept.Digest)+" result") {
		t.Errorf("log: %s", log)
	}
}

// TestServeNotify: the service manager is told when the registry can be reached, and
// when it ends.
func TestServeNotify(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("there is no systemd")
	}
	dir, err := os.MkdirTemp("", "") // short, as a socket's name has to be
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	for _, name := range []string{filepath.Join(dir, "s"), fmt.Sprintf("@oras-test-%d", os.Getpid())} {
		c, err := net.ListenPacket("unixgram", name)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		c.SetReadDeadline(time.Now().Add(20 * time.Second))
		t.Setenv("NOTIFY_SOCKET", name)
		cmd, url, _ := startServe(t, "--data", t.TempDir())
		state := func() string {
			data := make([]byte, 100)
			n, _, err := c.ReadFrom(data)
			if err != nil {
				t.Fatal(err)
			}
			return string(data[:n])
		}
		if s := state(); s != "READY=1" {
			t.Errorf("it says %q", s)
		}
		getText(t, url+"/readyz")
		if err := cmd.Process.Signal(os.Interrupt); err != nil {
			t.Fatal(err)
		}
		if s := state(); s != "STOPPING=1" {
			t.Errorf("it says %q", s)
		}
	}
}

// TestServeURL: the line printed says where the registry can be reached.
func TestServeURL(t *testing.T) {
	dir := t.TempDir()
	hash, err := bcrypt.GenerateFromPassword([]byte("x"), bcrypt.MinCost)
	if err != nil {
		t.Fatal(err)
	}
	users := filepath.Join(dir, "users")
	if err := os.WriteFile(users, append([]byte("x:"), hash...), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := writeCertificate(dir); err != nil {
		t.Fatal(err)
	}
	cert, key := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for addr, want := range map[string]string{
		":0":          `^http://localhost:[1-9][0-9]*$`,
		"0.0.0.0:0":   `^http://localhost:[1-9][0-9]*$`,
		"127.0.0.1:0": `^http://127\.0\.0\.1:[1-9][0-9]*$`,
		"localhost:0": `^http://127\.0\.0\.1:[1-9][0-9]*$`,
	} {
		_, url, _ := startServe(t, "--data", filepath.Join(dir, "data"), "--htpasswd", users, "--addr", addr)
		if !regexp.MustCompile(want).MatchString(url) {
			t.Errorf("%s: %s", addr, url)
		}
		if text := getText(t, url+"/healthz"); text != "ok\n" {
			t.Errorf("%s: %q", addr, text)
		}
	}
	_, url, _ := startServe(t, "--data", filepath.Join(dir, "data"), "--htpasswd", users, "--addr", ":0", "--tls-cert", cert, "--tls-key", key)
	if !strings.HasPrefix(url, "https://localhost:") {
		t.Errorf("with TLS: %s", url)
	}
}

// TestServeStalls: who does not send a header, or a body, or take an answer, is cut
// off; how slow one may be that goes on is tested in package server.
func TestServeStalls(t *testing.T) {
	_, url, _ := startServe(t, "--data", t.TempDir(), "--header-timeout", "100ms", "--idle-timeout", "100ms")
	content := make([]byte, 32<<20) // more than connections buffer
	r, err := remote.Open(strings.TrimPrefix(url, "http://")+"/r", &remote.Options{PlainHTTP: true})
	if err != nil {
		t.Fatal(err)
	}
	desc, err := oras.PushBytes(t.Context(), r, oras.MediaTypeBlob, content)
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"half a header": "GET /v2/ HTTP/1.1\r\nHost:",
		"half a body":   "POST /v2/r/blobs/uploads/?digest=" + string(desc.Digest) + " HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nabc",
		"an answer":     "GET /v2/r/blobs/" + string(desc.Digest) + " HTTP/1.1\r\nHost: x\r\n\r\n",
	} {
		c, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		c.SetDeadline(time.Now().Add(20 * time.Second))
		if _, err := io.WriteString(c, text); err != nil {
			t.Fatal(err)
		}
		if name == "an answer" {
			for !strings.Contains(getText(t, url+"/metrics"), `oras_http_requests_total{route="blob",method="GET",status="200"} 1`) {
				// It is not taken.
			}
		}
		n, err := io.Copy(io.Discard, c)
		if ne, ok := err.(net.Error); ok && ne.Timeout() || n >= int64(len(content)) {
			t.Errorf("%s: it is not cut off: %d bytes, %v", name, n, err)
		}
		c.Close()
	}
}

// TestServeCertificateChanges: a transfer under way goes on when the certificate
// changes, and so does its connection.
func TestServeCertificateChanges(t *testing.T) {
	dir, next := t.TempDir(), t.TempDir()
	for _, dir := range []string{dir, next} {
		if err := writeCertificate(dir); err != nil {
			t.Fatal(err)
		}
	}
	cert, key := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	_, url, _ := startServe(t, "--data", filepath.Join(dir, "data"), "--tls-cert", cert, "--tls-key", key)
	transport := func(dir string) *http.Transport {
		text, err := os.ReadFile(filepath.Join(dir, "cert.pem"))
		if err != nil {
			t.Fatal(err)
		}
		pool := x509.NewCertPool()
		pool.AppendCertsFromPEM(text)
		return &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}, ForceAttemptHTTP2: true}
	}
	before := transport(dir)
	client := &http.Client{Transport: before}
	r, err := remote.Open(strings.TrimPrefix(url, "https://")+"/r", &remote.Options{Transport: before})
	if err != nil {
		t.Fatal(err)
	}
	content := make([]byte, 32<<20)
	rand.Read(content)
	desc, err := oras.PushBytes(t.Context(), r, oras.MediaTypeBlob, content)
	if err != nil {
		t.Fatal(err)
	}
	download, err := client.Get(url + "/v2/r/blobs/" + string(desc.Digest))
	if err != nil {
		t.Fatal(err)
	}
	defer download.Body.Close()
	for _, name := range []string{"cert.pem", "key.pem"} {
		if err := os.Rename(filepath.Join(next, name), filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	resp, err := (&http.Client{Transport: transport(dir)}).Get(url + "/v2/")
	if err != nil {
		t.Fatalf("with the new certificate: %v", err)
	}
	resp.Body.Close()
	got, err := io.ReadAll(download.Body)
	if err != nil || !bytes.Equal(got, content) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	if resp, err = client.Get(url + "/v2/"); err != nil || resp.ProtoMajor != 2 {
		t.Fatalf("on the old connection: %v, %v", resp, err)
	}
	resp.Body.Close()
	before.CloseIdleConnections()
	if _, err := client.Get(url + "/v2/"); err == nil {
		t.Error("the old certificate is still good for new connections")
	}
}

// TestReadiness: a disk that does not answer, or that cannot be written, is asked
// once at a time, however many ask.
func TestReadiness(t *testing.T) {
	asked, answer := make(chan struct{}), make(chan error)
	r := &readiness{log: slog.New(slog.DiscardHandler), probe: func() error {
		asked <- struct{}{}
		return <-answer
	}}
	var clients sync.WaitGroup
	for range 10 {
		clients.Go(func() {
			if err := r.check(); err != errFull {
				t.Errorf("it says %v", err)
			}
		})
	}
	<-asked
	answer <- errFull
	clients.Wait()
	r.drain()
	if err := r.check(); err != errDraining {
		t.Errorf("it says %v", err)
	}
}

// TestCollectUploads: an upload to which nothing is added stays for a day, unless
// "oras serve gc" is told to keep none.
func TestCollectUploads(t *testing.T) {
	data := t.TempDir()
	_, url, _ := startServe(t, "--data", data)
	send := func(method, location, body string) string {
		t.Helper()
		req, err := http.NewRequest(method, url+location, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != http.StatusAccepted {
			t.Fatalf("%s %s: %s", method, location, resp.Status)
		}
		return resp.Header.Get("Location")
	}
	send(http.MethodPatch, send(http.MethodPost, "/v2/app/blobs/uploads/", ""), "bytes")
	collect := func(age string) string {
		var out, log bytes.Buffer
		if status := run(t.Context(), []string{"serve", "gc", "--data", data, "--uploads", age}, console{nil, &out, &log}); status != 0 {
			t.Fatalf("status %d: %s", status, &log)
		}
		return out.String()
	}
	if got := collect("24h"); !strings.HasPrefix(got, "Deleted 0 objects of 1 repository;") {
		t.Errorf("--uploads 24h: %s", got)
	}
	if got := collect("0"); !regexp.MustCompile(`^app: upload [0-9a-f]{32}: 5 bytes\n`).MatchString(got) {
		t.Errorf("--uploads 0: %s", got)
	}
}
