package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"syscall"
	"testing"
)

// TestUnwritten: a layout that cannot be written is named, and not what would have been
// written; what cannot be read keeps its name.
func TestUnwritten(t *testing.T) {
	for _, test := range []struct {
		err      error
		line, to string // how the way out begins
	}{
		{&fs.PathError{Op: "openat", Path: ".oras-X.tmp", Err: syscall.EACCES}, "dir: permission denied", "Name a directory"},
		{&fs.PathError{Op: "write", Path: "/dir/.oras-sha256-0.part", Err: syscall.ENOSPC}, "dir: no space left on device", "Make room"},
		{&fs.PathError{Op: "mkdirat", Path: "blobs/sha512", Err: syscall.EACCES}, "dir: permission denied", "Name a directory"},
		{&os.LinkError{Op: "renameat", Old: ".oras-X.tmp", New: "blobs/sha256/0", Err: syscall.EACCES}, "dir: permission denied", "Name a directory"},
		{&fs.PathError{Op: "openat", Path: "blobs/sha256/0", Err: syscall.EROFS}, "dir: read-only file system", "Name a directory"},
		{&fs.PathError{Op: "openat", Path: "blobs/sha256/0", Err: syscall.EACCES}, "pushing: openat blobs/sha256/0: permission denied", ""},
		{&fs.PathError{Op: "write", Path: os.Stdout.Name(), Err: syscall.ENOSPC}, "pushing: write /dev/stdout: no space left on device", ""},
	} {
		layout := &target{layout: true, name: "dir"}
		err := layout.explain(nil, fmt.Errorf("pushing: %w", test.err))
		var usage *usageError
		way := ""
		if errors.As(err, &usage) {
			way = usage.hint
		}
		if err.Error() != test.line || !strings.HasPrefix(way, test.to) || way == "" != (test.to == "") {
			t.Errorf("%v: %q, %q", test.err, err, way)
		}
	}
}

// TestAnswers: answers of what is no registry, or not a whole one, have a way out, once.
func TestAnswers(t *testing.T) {
	t.Setenv("HOME", t.TempDir())
	send := func(status int, mediaType, length, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", mediaType)
			if length != "" {
				w.Header().Set("Content-Length", length)
			}
			w.WriteHeader(status)
			io.WriteString(w, body)
		}
	}
	malformed := func(w http.ResponseWriter, r *http.Request) {
		conn, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		io.WriteString(conn, "SSH-2.0\r\n\r\n")
	}
	for name, test := range map[string]struct {
		answer    http.HandlerFunc
		line, way string // parts
	}{
		"page":    {send(200, "text/html; charset=utf-8", "", "<html>"), "a page is what answers", "What answers there is no registry, perhaps a proxy"},
		"no JSON": {send(200, "application/json", "", "hello"), "HOST/a: list of tags: invalid content: ", "What answers there may be no registry"},
		"cut off": {send(200, "application/json", "100", `{"name"`), "unexpected EOF", brokeOff},
		"failed": {send(505, "text/html", "", "<html>"), "response status code 505", // which is not tried again
			"The registry has failed: "},
		"malformed": {malformed, "malformed HTTP response", "What answers there is no registry, or speaks TLS"},
	} {
		t.Run(name, func(t *testing.T) {
			s := httptest.NewServer(test.answer)
			defer s.Close()
			host := s.Listener.Addr().(*net.TCPAddr).String()
			var out, errs bytes.Buffer
			status := run(t.Context(), []string{"repo", "tags", "--plain-http", host + "/a"}, console{nil, &out, &errs})
			lines := strings.Split(strings.TrimSpace(errs.String()), "\n")
			if status != 1 || len(lines) != 2 || !strings.Contains(lines[0], strings.Replace(test.line, "HOST", host, 1)) || !strings.HasPrefix(lines[1], test.way) {
				t.Errorf("status %d, %q", status, lines)
			}
		})
	}
}
