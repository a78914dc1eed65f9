package main

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
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

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/crypto/bcrypt"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){
		"oras": main,
	})
}

// TestScripts runs testdata/script/*.txtar: the behaviour of the command line.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(env *testscript.Env) error {
			env.Setenv("HOME", filepath.Join(env.WorkDir, "home"))
			env.Setenv("GORACE", os.Getenv("GORACE")) // the program is the test's, with its race detector
			env.Setenv("DOCKER_CONFIG", filepath.Join(env.WorkDir, "home", ".docker"))
			return errors.Join(writeCertificate(env.WorkDir), writeFiles(env.WorkDir),
				os.MkdirAll(filepath.Join(env.WorkDir, "home"), 0o755))
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"registry": registry,
			"halt":     halt,
			"ends":     ends,
			"get":      get,
			"proxy":    proxy,
			"nobody":   nobody,
			"bearer":   bearer,

			"fetch":       fetch,
			"becomes":     becomes,
			"certificate": certificate,
			"presents":    presents,
			"logs":        logs,
			"hold":        hold,
			"release":     release,
			"terminate":   terminate,
			"ended":       hasEnded,
			"closed":      closed,
		},
		Condition: func(name string) (bool, error) {
			if name != "distribution" {
				return false, fmt.Errorf("unknown condition %q", name)
			}
			return otherRegistry != "", nil
		},
		RequireExplicitExec: true,
	})
}

// writeFiles writes what most scripts push: contents without a line end, which
// files in scripts cannot be; a script that makes an index of them; and the file of
// a registry's one user, hello with the password oras-test.
func writeFiles(dir string) error {
	script, err := os.ReadFile("testdata/index.sh")
	if err != nil {
		return err
	}
	hash, err := bcrypt.GenerateFromPassword([]byte("oras-test"), bcrypt.MinCost)
	if err != nil {
		return err
	}
	if err := errors.Join(os.WriteFile(filepath.Join(dir, "index.sh"), script, 0o644),
		os.WriteFile(filepath.Join(dir, "htpasswd"), append([]byte("hello:"), hash...), 0o644)); err != nil {
		return err
	}
	dir = filepath.Join(dir, "foobar")
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	for name, content := range map[string]string{
		"foo1":        "foo", // 2c26b46b68ff
		"foo2":        "foo",
		"bar":         "bar", // fcde2b2edba5
		"config.json": "{}",  // 44136fa355b3
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
			return err
		}
	}
	return nil
}

// readyLine is what "oras serve" prints once it can be reached.
var readyLine = regexp.MustCompile(`^Serving (https?)://127\.0\.0\.1:([0-9]+) `)

// otherRegistry is a program to run instead of "oras serve", which takes the flags of
// it that scripts use: compat/ sets it to CNCF's distribution. In scripts, the
// condition [distribution] says so.
var otherRegistry = os.Getenv("ORAS_TEST_REGISTRY")

// registry NAME [flags]: starts "oras serve" with data in the folder NAME and sets
// $NAME to its localhost:port and $NAME_PORT to the port. It ends with the script.
func registry(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: registry NAME [flags]")
	}
	name := args[0]
	program := []string{"oras", "serve", "--addr", "127.0.0.1:0"}
	if otherRegistry != "" {
		program = []string{otherRegistry}
	}
	path, err := exec.LookPath(program[0])
	ts.Check(err)
	cmd := exec.Command(path, slices.Concat(program[1:], []string{"--data", ts.MkAbs(name)}, args[1:])...)
	cmd.Dir = ts.MkAbs(".")
	cmd.Env = serveEnvironment(ts)
	log, err := os.Create(ts.MkAbs(name + ".log"))
	ts.Check(err)
	cmd.Stderr = log
	out, err := cmd.StdoutPipe()
	ts.Check(err)
	ts.Check(cmd.Start())
	ended := make(chan error, 1)
	lines := make(chan string, 1)
	go func() {
		r := bufio.NewReader(out)
		line, _ := r.ReadString('\n')
		lines <- line
		io.Copy(io.Discard, r)
		ended <- cmd.Wait()
	}()
	ts.Defer(func() {
		cmd.Process.Kill()
		log.Close()
	})
	var line string
	select {
	case line = <-lines:
	case <-time.After(20 * time.Second):
		ts.Fatalf("oras serve printed nothing")
	}
	found := readyLine.FindStringSubmatch(line)
	if found == nil {
		text, _ := os.ReadFile(log.Name())
		ts.Fatalf("oras serve printed %q\n%s", line, text)
	}
	ts.Setenv(name, "localhost:"+found[2])
	ts.Setenv(name+"_PORT", found[2])
	running.Store(ts.MkAbs(name), process{cmd, ended})
}

type process struct {
	cmd   *exec.Cmd
	ended chan error
}

// running holds the registries of all scripts by their folders.
var running sync.Map

// halt NAME [kill]: ends the registry, gracefully or not.
func halt(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: halt NAME [kill]")
	}
	value, ok := running.Load(ts.MkAbs(args[0]))
	if !ok {
		ts.Fatalf("no registry %s", args[0])
	}
	p := value.(process)
	if len(args) > 1 && args[1] == "kill" {
		ts.Check(p.cmd.Process.Kill())
		<-p.ended
		return
	}
	ts.Check(p.cmd.Process.Signal(syscall.SIGTERM))
	select {
	case err := <-p.ended:
		ts.Check(err)
	case <-time.After(20 * time.Second):
		ts.Fatalf("oras serve did not stop")
	}
}

// get NAME REGEXP: sets $NAME to what the group of REGEXP matches in the last
// command's output.
func get(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: get NAME REGEXP")
	}
	found := regexp.MustCompile("(?m)" + args[1]).FindStringSubmatch(ts.ReadFile("stdout"))
	if len(found) != 2 {
		ts.Fatalf("no match for %q in the output", args[1])
	}
	ts.Setenv(args[0], found[1])
}

// paths are the ways that status lines of each command may take, by the words.
var paths = map[string][]string{
	"push":    {"Uploading Uploaded", "Exists", "Skipped"},
	"pull":    {"Downloading Downloaded", "Downloading Processing Downloaded", "Skipped", "Restored"},
	"cp":      {"Copying Copied", "Skipped", "Exists", "Mounted"},
	"backup":  {"Pulling Pulled", "Skipped", "Exists"},
	"restore": {"Pushing Pushed", "Skipped", "Exists"},
}

var statusLine = regexp.MustCompile(`^([A-Z][a-z]+)\s+([0-9a-f]{12})\s+(\S+)$`)

// ends COMMAND [DIGEST NAME]...: checks that the last output's status lines bring
// each (digest, name) to an end once and only once, on a way that COMMAND has, and
// that those pairs are among them. A DIGEST may be cut short.
func ends(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args)%2 != 1 {
		ts.Fatalf("usage: ends COMMAND [DIGEST NAME]...")
	}
	words := map[string][]string{}
	for line := range strings.Lines(ts.ReadFile("stdout")) {
		if found := statusLine.FindStringSubmatch(strings.TrimSuffix(line, "\n")); found != nil {
			key := found[2] + " " + found[3]
			words[key] = append(words[key], found[1])
		}
	}
	for key, way := range words {
		if !slices.Contains(paths[args[0]], strings.Join(way, " ")) {
			ts.Fatalf("%s went through %q", key, way)
		}
	}
	for pair := range slices.Chunk(args[1:], 2) {
		if len(pair[0]) > 12 {
			pair[0] = strings.TrimPrefix(pair[0], "sha256:")[:12]
		}
		if words[pair[0]+" "+pair[1]] == nil {
			ts.Fatalf("no status of %s %s", pair[0], pair[1])
		}
	}
}

// writeCertificate writes cert.pem and key.pem, for the names that scripts use.
func writeCertificate(dir string) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	template := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		NotBefore:             time.Now().Add(-time.Hour),
		NotAfter:              time.Now().Add(time.Hour),
		KeyUsage:              x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		IsCA:                  true,
		BasicConstraintsValid: true,
		DNSNames:              []string{"localhost", "harbor.centre.com"},
		IPAddresses:           []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	certificate, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return err
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	for name, block := range map[string]*pem.Block{
		"cert.pem": {Type: "CERTIFICATE", Bytes: certificate},
		"key.pem":  {Type: "PRIVATE KEY", Bytes: private},
	} {
		if err := os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(block), 0o600); err != nil {
			return err
		}
	}
	return nil
}
