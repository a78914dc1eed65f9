package main

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// TestTraceKeepsSecrets: what --debug shows holds no password, token or signature,
// wherever in a request or an answer it stands; and the answer stays what it is.
func TestTraceKeepsSecrets(t *testing.T) {
	const secret = "very-secret"
	long := strings.Repeat("x", maxTracedBody) + "the end"
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Set-Cookie", "session="+secret)
		w.Header().Set("Location", "https://storage.example/blob?X-Amz-Signature="+secret+"&digest=sha256:00")
		switch r.URL.Path {
		case "/token":
			w.Header().Set("Content-Type", "application/json")
			fmt.Fprintf(w, `{"token":%q,"expires_in":60}`, secret)
		case "/blob":
			w.Header().Set("Content-Type", "application/octet-stream")
			io.WriteString(w, secret)
		default:
			w.Header().Set("Content-Type", "text/plain")
			io.WriteString(w, "\x1b[2J"+long)
		}
	}))
	defer server.Close()
	for path, want := range map[string]string{
		"/token": `{"token":"` + secret + `","expires_in":60}`,
		"/blob":  secret,
		"/text":  "\x1b[2J" + long,
	} {
		var log bytes.Buffer
		client := http.Client{Transport: &traced{&tracer{w: &log}, http.DefaultTransport}}
		req, err := http.NewRequest(http.MethodGet, strings.Replace(server.URL, "://", "://hello:"+secret+"@", 1)+path+"?last=a&se="+secret, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Authorization", "Bearer "+secret)
		req.Header.Set("Cookie", "session="+secret)
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || string(got) != want {
			t.Errorf("%s: the body is %d bytes, %v", path, len(got), err)
		}
		for _, word := range []string{secret, "\x1b", "the end"} {
			if strings.Contains(log.String(), word) {
				t.Errorf("%s: %q is shown:\n%.2000s", path, word, &log)
			}
		}
		for _, word := range []string{"Request #0", "Response #0", "last=a", "digest=sha256", "storage.example"} {
			if !strings.Contains(log.String(), word) {
				t.Errorf("%s: %q is not shown:\n%.2000s", path, word, &log)
			}
		}
	}
}

// TestTraceErrors: a body that breaks off breaks off, and a request that fails is
// shown to.
func TestTraceErrors(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Content-Length", "100")
		io.WriteString(w, "{")
		w.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	}))
	var log bytes.Buffer
	client := http.Client{Transport: &traced{&tracer{w: &log}, http.DefaultTransport}}
	resp, err := client.Get(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(resp.Body)
	resp.Body.Close()
	if string(got) != "{" || err == nil {
		t.Errorf("the body is %q, %v", got, err)
	}
	server.Close()
	if resp, err := client.Get(server.URL); err == nil {
		resp.Body.Close()
		t.Error("nobody listens, and it is no error")
	}
	if !strings.Contains(log.String(), "<-- Response #1\n< Error: dial tcp ") {
		t.Errorf("the error is not shown:\n%s", &log)
	}
}
