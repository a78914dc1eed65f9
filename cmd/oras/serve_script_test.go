package main

import (
	"bufio"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
	"github.com/spf13/pflag"

	"github.com/c73062ad/oras"
)

// fetch STATUS URL [METHOD] [NAME:VALUE]...: makes a request and prints header and
// body of the answer, whose status must be STATUS. A certificate is not checked.
func fetch(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: fetch STATUS URL [METHOD] [NAME:VALUE]...")
	}
	text, status := answerOf(ts, args[1], args[2:])
	io.WriteString(ts.Stdout(), text)
	if fmt.Sprint(status) != args[0] {
		ts.Fatalf("status %d, not %s", status, args[0])
	}
}

// becomes REGEXP URL [METHOD] [NAME:VALUE]...: is fetch, again and again until what it
// prints matches REGEXP.
func becomes(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: becomes REGEXP URL [METHOD] [NAME:VALUE]...")
	}
	var text string
	pattern := regexp.MustCompile("(?m)" + args[0])
	eventually(ts, func() bool {
		text, _ = answerOf(ts, args[1], args[2:])
		return pattern.MatchString(text)
	}, "no match for %q", args[0])
	io.WriteString(ts.Stdout(), text)
}

// answerOf returns the answer to a request, as text, and its status.
func answerOf(ts *testscript.TestScript, url string, headers []string) (text string, status int) {
	method := http.MethodGet
	if len(headers) > 0 && !strings.Contains(headers[0], ":") {
		method, headers = headers[0], headers[1:]
	}
	req, err := http.NewRequest(method, url, nil)
	ts.Check(err)
	for _, header := range headers {
		name, value, _ := strings.Cut(header, ":")
		req.Header.Add(name, value)
	}
	client := http.Client{
		Timeout:       20 * time.Second,
		Transport:     &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}, DisableKeepAlives: true, ForceAttemptHTTP2: true},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	resp, err := client.Do(req)
	ts.Check(err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	ts.Check(err)
	var header strings.Builder
	resp.Header.Write(&header)
	return fmt.Sprintf("%s %s\n%s\n%s", resp.Proto, resp.Status, strings.ReplaceAll(header.String(), "\r\n", "\n"), body), resp.StatusCode
}

// serveEnvironment returns the environment of "oras serve", with the variables that
// the script sets for its flags.
func serveEnvironment(ts *testscript.TestScript) []string {
	env := os.Environ()
	newServeCommand(console{}).Flags().VisitAll(func(f *pflag.Flag) {
		if value := ts.Getenv(flagVariable(f.Name)); value != "" {
			env = append(env, flagVariable(f.Name)+"="+value)
		}
	})
	return env
}

// certificate DIR: makes the folder DIR with a new cert.pem and key.pem.
func certificate(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: certificate DIR")
	}
	dir := ts.MkAbs(args[0])
	ts.Check(os.MkdirAll(dir, 0o755))
	ts.Check(writeCertificate(dir))
}

// presents FILE PORT: checks that what listens at PORT has the certificate FILE.
func presents(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: presents FILE PORT")
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM([]byte(ts.ReadFile(args[0])))
	c, err := tls.Dial("tcp", "127.0.0.1:"+args[1], &tls.Config{RootCAs: pool, ServerName: "localhost"})
	ts.Check(err)
	ts.Check(c.Close())
}

// logs FILE REGEXP: waits until FILE, which a program writes, holds a match.
func logs(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: logs FILE REGEXP")
	}
	pattern := regexp.MustCompile("(?m)" + args[1])
	eventually(ts, func() bool { return pattern.MatchString(ts.ReadFile(args[0])) }, "%s: no match for %q", args[0], args[1])
}

// eventually waits until done reports true.
func eventually(ts *testscript.TestScript, done func() bool, format string, args ...any) {
	end := time.Now().Add(20 * time.Second)
	for poll := time.NewTicker(10 * time.Millisecond); !done(); <-poll.C {
		if time.Now().After(end) {
			ts.Fatalf(format, args...)
		}
	}
}

// held are the uploads of all scripts that are under way, by work folder and name.
var held sync.Map

type heldUpload struct {
	conn net.Conn
	r    *bufio.Reader
}

const heldContent = "held content"

// hold NAME PORT: begins an upload of a blob to repository held and goes on when the
// registry has begun to read it.
func hold(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: hold NAME PORT")
	}
	c, err := net.Dial("tcp", "127.0.0.1:"+args[1])
	ts.Check(err)
	ts.Defer(func() { c.Close() })
	c.SetDeadline(time.Now().Add(time.Minute))
	u := heldUpload{c, bufio.NewReader(c)}
	fmt.Fprintf(c, "POST /v2/held/blobs/uploads/?digest=%s HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\nExpect: 100-continue\r\n\r\n",
		oras.SHA256.Digest([]byte(heldContent)), len(heldContent))
	line, err := u.r.ReadString('\n')
	ts.Check(err)
	if !strings.HasPrefix(line, "HTTP/1.1 100 ") {
		ts.Fatalf("it answers %q", line)
	}
	_, err = u.r.ReadString('\n')
	ts.Check(err)
	held.Store(ts.MkAbs(args[0]), u)
}

// release NAME: sends what the upload was held for, and checks that it ends well, or,
// negated, that it was cut off.
func release(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 1 {
		ts.Fatalf("usage: release NAME")
	}
	value, ok := held.Load(ts.MkAbs(args[0]))
	if !ok {
		ts.Fatalf("no upload %s is held", args[0])
	}
	u := value.(heldUpload)
	io.WriteString(u.conn, heldContent) // it may have been cut off
	resp, err := http.ReadResponse(u.r, nil)
	if neg {
		if err == nil {
			ts.Fatalf("it was not cut off: %s", resp.Status)
		}
		return
	}
	ts.Check(err)
	if resp.StatusCode != http.StatusCreated {
		ts.Fatalf("status %s", resp.Status)
	}
}

// terminate NAME: tells the registry to terminate, and does not wait.
func terminate(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: terminate NAME")
	}
	value, ok := running.Load(ts.MkAbs(args[0]))
	if !ok {
		ts.Fatalf("no registry %s", args[0])
	}
	ts.Check(value.(process).cmd.Process.Signal(syscall.SIGTERM))
}

// ended NAME: waits until the registry has ended, with status 0.
func hasEnded(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: ended NAME")
	}
	value, _ := running.Load(ts.MkAbs(args[0]))
	select {
	case err := <-value.(process).ended:
		ts.Check(err)
	case <-time.After(20 * time.Second):
		ts.Fatalf("it goes on")
	}
}

// closed PORT: waits until nobody listens at PORT.
func closed(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: closed PORT")
	}
	eventually(ts, func() bool {
		c, err := net.Dial("tcp", "127.0.0.1:"+args[0])
		if err == nil {
			c.Close()
		}
		return err != nil
	}, "port %s is open", args[0])
}
