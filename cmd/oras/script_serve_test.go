package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/c73062ad/oras"
	"github.com/c73062ad/oras/remote"
)

// A registryProcess is an "oras serve" of its own.
type registryProcess struct {
	cmd    *exec.Cmd
	host   string
	out    *bufio.Reader
	stderr bytes.Buffer // to be read when it has ended
}

func startRegistry(t *testing.T, data string, flags ...string) *registryProcess {
	t.Helper()
	path, err := exec.LookPath("oras") // this test's own, see TestMain
	if err != nil {
		t.Fatal(err)
	}
	p := &registryProcess{cmd: exec.Command(path, append([]string{"serve", "--addr", "127.0.0.1:0", "--data", data}, flags...)...)}
	p.cmd.Stderr = &p.stderr
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	watchdog := time.AfterFunc(5*time.Minute, func() { p.cmd.Process.Kill() })
	t.Cleanup(func() {
		watchdog.Stop()
		p.cmd.Process.Kill()
	})
	p.out = bufio.NewReader(stdout)
	line, err := p.out.ReadString('\n')
	found := readyLine.FindStringSubmatch(line)
	if found == nil {
		t.Fatalf("the ready line is %q: %v", line, err)
	}
	p.host = "127.0.0.1:" + found[2]
	return p
}

// wait waits until the process has ended and checks that it printed nothing but
// the ready line.
func (p *registryProcess) wait(t *testing.T) error {
	t.Helper()
	rest, err := io.ReadAll(p.out)
	if len(rest) > 0 || err != nil {
		t.Errorf("standard output goes on with %q, %v", rest, err)
	}
	return p.cmd.Wait()
}

func (p *registryProcess) repository(t *testing.T, name string) *remote.Repository {
	t.Helper()
	r, err := remote.Open(p.host+"/"+name, &remote.Options{PlainHTTP: true})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// refused waits until nobody listens at the registry's address any more.
func (p *registryProcess) refused(t *testing.T) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); time.Now().Before(end); {
		conn, err := net.Dial("tcp", p.host)
		if err != nil {
			return
		}
		conn.Close()
	}
	t.Fatal("it goes on listening")
}

const half = 16 << 20 // bytes, more than the connection's buffers hold

// download returns twice half, which it pushes to the repository r, and a download of
// that under way.
func (p *registryProcess) download(t *testing.T) ([]byte, io.ReadCloser) {
	t.Helper()
	content := make([]byte, 2*half)
	rand.Read(content)
	desc, err := oras.PushBytes(t.Context(), p.repository(t, "r"), oras.MediaTypeBlob, content)
	if err != nil {
		t.Fatal(err)
	}
	download, err := p.repository(t, "r").Fetch(t.Context(), desc)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { download.Close() })
	return content, download
}

// TestServeStops: told to terminate, the registry takes no more connections, lets the
// upload and the download under way end, and ends with status 0.
func TestServeStops(t *testing.T) {
	data := t.TempDir()
	p := startRegistry(t, data)
	content, download := p.download(t)
	ctx := t.Context()
	more := bytes.Clone(content)
	more[0]++
	desc := oras.DescriptorOf(oras.MediaTypeBlob, more)
	body, upload := io.Pipe()
	answer := putBlob(t, p.host, desc, body)
	if _, err := upload.Write(more[:half]); err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	p.refused(t)
	if _, err := upload.Write(more[half:]); err != nil {
		t.Fatal(err)
	}
	upload.Close()
	if err := <-answer; err != nil {
		t.Errorf("the upload: %v", err)
	}
	if got, err := io.ReadAll(download); err != nil || !bytes.Equal(got, content) {
		t.Errorf("the download: %d of %d bytes, %v", len(got), len(content), err)
	}
	if err := p.wait(t); err != nil {
		t.Errorf("it ended with %v: %s", err, &p.stderr)
	}

	p = startRegistry(t, data)
	if ok, err := p.repository(t, "r").Exists(ctx, desc); err != nil || !ok {
		t.Errorf("after the restart: %v, %v", ok, err)
	}
}

// TestServeInterrupted: interrupted, the registry ends though an upload and a download
// stand still that it would wait for for ever, with status 0, and leaves nothing that
// is not whole, and no lock. The upload goes on afterwards.
func TestServeInterrupted(t *testing.T) {
	data := t.TempDir()
	p := startRegistry(t, data, "--drain-delay", "1h", "--drain-timeout", "0", "--idle-timeout", "1h")
	content, _ := p.download(t) // which nobody reads
	ctx := t.Context()
	more := bytes.Clone(content)
	more[0]++
	begun, err := oras.BeginUpload(ctx, p.repository(t, "r"), oras.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	body, upload := io.Pipe()
	appended := make(chan error, 1)
	go func() {
		_, err := begun.Append(ctx, 0, io.NopCloser(body))
		appended <- err
	}()
	if _, err := upload.Write(more[:half]); err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- p.wait(t) }()
	select {
	case err := <-ended:
		if err != nil {
			t.Errorf("it ended with %v: %s", err, &p.stderr)
		}
	case <-time.After(20 * time.Second):
		t.Fatal("it waits for transfers")
	}
	upload.CloseWithError(io.ErrUnexpectedEOF)
	if err := <-appended; err == nil {
		t.Error("half an upload ended well")
	}

	if out, err := exec.Command(p.cmd.Path, "serve", "check", "--data", data).CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
	id := begun.ID()
	begun.Close() // of a registry that is gone
	r := startRegistry(t, data).repository(t, "r")
	again, err := oras.OpenUpload(ctx, r, id)
	if err != nil {
		t.Fatal(err)
	}
	if again.Size() == 0 || again.Size() > half {
		t.Errorf("of the upload %d bytes are there", again.Size())
	}
	if _, err := again.Append(ctx, again.Size(), bytes.NewReader(more[again.Size():])); err != nil {
		t.Fatal(err)
	}
	if err := again.Commit(ctx, oras.SHA256.Digest(more)); err != nil {
		t.Error(err)
	}
}

// putBlob begins an upload of desc whose one request has the given body, and
// returns where its outcome will be.
func putBlob(t *testing.T, host string, desc oras.Descriptor, body io.Reader) <-chan error {
	t.Helper()
	resp, err := http.Post("http://"+host+"/v2/r/blobs/uploads/", "", nil)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	location, err := resp.Location()
	if err != nil {
		t.Fatal(err)
	}
	query := location.Query()
	query.Set("digest", string(desc.Digest))
	location.RawQuery = query.Encode()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPut, location.String(), body)
	if err != nil {
		t.Fatal(err)
	}
	req.ContentLength = desc.Size
	ended := make(chan error, 1)
	go func() {
		resp, err := http.DefaultClient.Do(req)
		if err == nil {
			resp.Body.Close()
			if resp.StatusCode != http.StatusCreated {
				err = fmt.Errorf("status %s", resp.Status)
			}
		}
		ended <- err
	}()
	return ended
}

// TestServeTwoSignals: a second signal ends the registry, whatever is under way, and
// leaves nothing that is not whole, and no lock.
func TestServeTwoSignals(t *testing.T) {
	data := t.TempDir()
	p := startRegistry(t, data)
	body, upload := io.Pipe()
	const size = 16 << 20
	answer := putBlob(t, p.host, oras.Descriptor{Digest: oras.SHA256.Digest(nil).OCI(), Size: size + 1}, body)
	if _, err := upload.Write(make([]byte, size)); err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	p.refused(t)
	ended := make(chan error, 1)
	go func() { ended <- p.wait(t) }()
	// Again until it has ended: a signal right behind the first may count as the
	// first.
	again := time.NewTicker(10 * time.Millisecond)
	defer again.Stop()
	for err := error(nil); err == nil; {
		select {
		case <-again.C:
			p.cmd.Process.Signal(syscall.SIGTERM)
		case err = <-ended:
			if err == nil {
				t.Fatal("it ended with status 0")
			}
		}
	}
	upload.CloseWithError(io.ErrUnexpectedEOF) // the client waits for more of it
	if err := <-answer; err == nil {
		t.Error("the upload ended well")
	}
	if out, err := exec.Command(p.cmd.Path, "serve", "check", "--data", data).CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
	r := startRegistry(t, data).repository(t, "r")
	if _, err := oras.PushBytes(t.Context(), r, oras.MediaTypeBlob, []byte("more")); err != nil {
		t.Error(err)
	}
}

// TestServeKilled: what the registry said was stored is there when it was killed
// and started again, from two writers of the same tags and of their own.
func TestServeKilled(t *testing.T) {
	data := t.TempDir()
	p := startRegistry(t, data)
	const enough = 30
	var mu sync.Mutex
	var writers sync.WaitGroup
	stored := map[string]bool{} // tags
	kill := sync.OnceFunc(func() { p.cmd.Process.Kill() })
	for writer := range 2 {
		r := p.repository(t, "r")
		writers.Go(func() {
			for i := 0; ; i++ {
				desc, manifest := numbered(i)
				err := oras.Push(t.Context(), r, desc.Layers[0], strings.NewReader(fmt.Sprint(i)))
				for _, tag := range []string{fmt.Sprint("both-", i), fmt.Sprint(writer, "-", i)} {
					if err == nil {
						err = oras.PushTagged(t.Context(), r, oras.DescriptorOf(oras.MediaTypeImageManifest, manifest), bytes.NewReader(manifest), tag)
					}
					if err == nil {
						mu.Lock()
						stored[tag] = true
						mu.Unlock()
					}
				}
				if err != nil {
					return // it was killed
				}
				if i == enough {
					kill()
				}
			}
		})
	}
	writers.Wait()
	if err := p.cmd.Wait(); err == nil {
		t.Fatal("it was not killed")
	}
	if len(stored) < 2*enough {
		t.Fatalf("only %d tags were stored", len(stored))
	}

	p = startRegistry(t, data)
	r := p.repository(t, "r")
	for tag := range stored {
		var i int
		if _, err := fmt.Sscanf(tag[strings.LastIndex(tag, "-")+1:], "%d", &i); err != nil {
			t.Fatal(err)
		}
		want, manifest := numbered(i)
		desc, got, err := fetchManifest(t.Context(), r, tag, nil)
		if err != nil || !bytes.Equal(got, manifest) || desc.MediaType != oras.MediaTypeImageManifest {
			t.Errorf("%s: %s, %v", tag, got, err)
		}
		if layer, err := oras.FetchAll(t.Context(), r, want.Layers[0]); err != nil || string(layer) != fmt.Sprint(i) {
			t.Errorf("layer of %s: %s, %v", tag, layer, err)
		}
	}
}

// numbered returns an image whose layer holds the number i.
func numbered(i int) (*oras.Manifest, []byte) {
	layer := oras.DescriptorOf(oras.MediaTypeLayer, fmt.Append(nil, i))
	data := fmt.Appendf(nil, `{"schemaVersion":2,"mediaType":%q,"config":{"mediaType":%q,"digest":%q,"size":%d},"layers":[{"mediaType":%[2]q,"digest":%[3]q,"size":%[4]d}]}`,
		oras.MediaTypeImageManifest, layer.MediaType, layer.Digest, layer.Size)
	m, err := oras.ParseManifest(oras.MediaTypeImageManifest, data)
	if err != nil {
		panic(err)
	}
	return m, data
}

// TestServeCertificate: a certificate and the key of another.
func TestServeCertificate(t *testing.T) {
	dir, other := t.TempDir(), t.TempDir()
	for _, dir := range []string{dir, other} {
		if err := writeCertificate(dir); err != nil {
			t.Fatal(err)
		}
	}
	data := filepath.Join(dir, "data")
	var out, errs bytes.Buffer
	status := run(t.Context(), []string{"serve", "--addr", "127.0.0.1:0", "--data", data,
		"--tls-cert", filepath.Join(dir, "cert.pem"), "--tls-key", filepath.Join(other, "key.pem")}, console{nil, &out, &errs})
	lines := strings.Split(strings.TrimSuffix(errs.String(), "\n"), "\n")
	if status != 1 || out.Len() > 0 || len(lines) != 2 || !strings.Contains(lines[0], "private key does not match public key") || !strings.Contains(lines[1], "--tls-key") {
		t.Errorf("status %d, %q, %q", status, &out, lines)
	}
	if _, err := os.Stat(data); err == nil {
		t.Error("it made the data folder")
	}
}

// TestPromptInterrupted: a command that waits for somebody to type ends when it is
// interrupted.
func TestPromptInterrupted(t *testing.T) {
	for _, args := range [][]string{
		{"login", "localhost:1"},
		{"login", "localhost:1", "-u", "hello"},
		{"manifest", "push", "localhost:1/r", "-"},
		{"blob", "push", "--oci-layout", filepath.Join(t.TempDir(), "layout@sha256:fcde2b2edba56bf408601fb721fe9b5c338d10ee429ea04fae5511b68fbf8fb9"), "-", "--size", "3"},
	} {
		ctx, cancel := context.WithCancelCause(t.Context())
		in, typed := io.Pipe()
		defer typed.Close()
		var out, errs bytes.Buffer
		time.AfterFunc(10*time.Millisecond, func() { cancel(fmt.Errorf("the interrupt")) })
		status := run(ctx, append(args, "--registry-config", filepath.Join(t.TempDir(), "auth.json")), console{in, &out, &errs})
		if status != 1 || errs.String() != "Error: the interrupt\n" {
			t.Errorf("%s: status %d, %q", url.QueryEscape(strings.Join(args, " ")), status, &errs)
		}
	}
}
