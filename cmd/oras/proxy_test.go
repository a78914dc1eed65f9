package main

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"syscall"

	"github.com/rogpeppe/go-internal/testscript"
)

// A fault is how a proxy in front of a registry answers a request, which goes to
// the registry with pass.
type fault func(req *http.Request) (*http.Response, error)

func (f fault) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

var pass = http.DefaultTransport.RoundTrip

var faults = map[string]fault{
	// Blobs have other bytes than their digest says.
	"wrong-blobs": on("/blobs/sha256:", func(resp *http.Response, body []byte) []byte {
		for i := range body {
			body[i] ^= 1
		}
		return body
	}),
	// Blobs are shorter than they should be, and so says the answer.
	"short-blobs": on("/blobs/sha256:", func(resp *http.Response, body []byte) []byte {
		body = body[:len(body)/2]
		resp.ContentLength = int64(len(body))
		resp.Header.Set("Content-Length", fmt.Sprint(len(body)))
		return body
	}),
	// The connection breaks behind the first byte of blobs, and whoever asks for
	// the rest gets nothing.
	"broken-blobs": on("/blobs/sha256:", func(resp *http.Response, body []byte) []byte {
		if resp.StatusCode == http.StatusPartialContent {
			return nil
		}
		return body[:1]
	}),
	// Manifests have other bytes than their digest says.
	"wrong-manifests": on("/manifests/", func(resp *http.Response, body []byte) []byte {
		return bytes.Replace(body, []byte(`"schemaVersion":2`), []byte(`"schemaVersion": `), 1)
	}),
	// There is no API for referrers, as in distribution-spec 1.0.
	"no-referrers": func(req *http.Request) (*http.Response, error) {
		if strings.Contains(req.URL.Path, "/referrers/") {
			return answer(req, http.StatusNotFound, ""), nil
		}
		resp, err := pass(req)
		if err == nil {
			resp.Header.Del("OCI-Subject")
		}
		return resp, err
	},
	// Nothing is ever answered.
	"silent": func(req *http.Request) (*http.Response, error) {
		<-req.Context().Done()
		return nil, req.Context().Err()
	},
	// Nothing may be written.
	"read-only": func(req *http.Request) (*http.Response, error) {
		if req.Method == http.MethodGet || req.Method == http.MethodHead {
			return pass(req)
		}
		return answer(req, http.StatusForbidden, `{"errors":[{"code":"DENIED","message":"the registry is being looked after\u001b[2J"}]}`), nil
	},
	// There is no room for more.
	"full": func(req *http.Request) (*http.Response, error) {
		if req.Method == http.MethodGet || req.Method == http.MethodHead {
			return pass(req)
		}
		return answer(req, http.StatusInsufficientStorage, `{"errors":[{"code":"UNKNOWN","message":"the registry's storage is full"}]}`), nil
	},
}

func answer(req *http.Request, status int, body string) *http.Response {
	return &http.Response{
		StatusCode: status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Request: req,
		Header:        http.Header{"Content-Length": {fmt.Sprint(len(body))}, "Content-Type": {"application/json"}},
		ContentLength: int64(len(body)),
		Body:          io.NopCloser(strings.NewReader(body)),
	}
}

// on changes the bodies of answers to GET requests whose paths hold part.
func on(part string, change func(resp *http.Response, body []byte) []byte) fault {
	return func(req *http.Request) (*http.Response, error) {
		resp, err := pass(req)
		if err != nil || req.Method != http.MethodGet || !strings.Contains(req.URL.Path, part) || resp.StatusCode >= 300 {
			return resp, err
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		resp.Body = io.NopCloser(bytes.NewReader(change(resp, body)))
		return resp, err
	}
}

// proxy NAME TARGET FAULT: starts a registry that is the one at TARGET, but for one
// of the faults, and sets $NAME to its localhost:port. It ends with the script.
func proxy(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 3 || faults[args[2]] == nil {
		ts.Fatalf("usage: proxy NAME TARGET FAULT")
	}
	handler := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: args[1]})
	handler.Transport = faults[args[2]]
	handler.ErrorHandler = func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) }
	server := httptest.NewServer(handler)
	ts.Defer(server.Close)
	_, port, _ := strings.Cut(server.Listener.Addr().String(), ":")
	ts.Setenv(args[0], "localhost:"+port)
}

// nobody NAME: sets $NAME to the host:port of an address at which nobody listens,
// nor will before the script ends.
func nobody(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: nobody NAME")
	}
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	ts.Check(err)
	ts.Defer(func() { syscall.Close(fd) })
	ts.Check(syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}))
	at, err := syscall.Getsockname(fd)
	ts.Check(err)
	ts.Setenv(args[0], fmt.Sprintf("127.0.0.1:%d", at.(*syscall.SockaddrInet4).Port))
}
