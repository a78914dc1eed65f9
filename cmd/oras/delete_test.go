package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	"github.com/c73062ad/oras"
	"github.com/c73062ad/oras/layout"
	"github.com/c73062ad/oras/memory"
	"github.com/c73062ad/oras/server"
)

// watched calls seen once what was written to it ends with a question.
type watched struct {
	bytes.Buffer
	seen func()
}

func (w *watched) Write(p []byte) (int, error) {
	n, err := w.Buffer.Write(p)
	if bytes.HasSuffix(w.Bytes(), []byte("[y/N] ")) {
		w.seen()
	}
	return n, err
}

// TestDeleteInterrupted: a question that is interrupted ends the command at once,
// and nothing is deleted.
func TestDeleteInterrupted(t *testing.T) {
	dir := t.TempDir()
	s, err := layout.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	index, err := oras.PackIndex(t.Context(), s, nil)
	if err != nil {
		t.Fatal(err)
	}
	blob, err := oras.PushBytes(t.Context(), s, oras.MediaTypeBlob, []byte("blob"))
	if err != nil {
		t.Fatal(err)
	}
	for noun, desc := range map[string]oras.Descriptor{"manifest": index, "blob": blob} {
		t.Run(noun, func(t *testing.T) {
			ctx, cancel := context.WithCancelCause(t.Context())
			in, typed := io.Pipe()
			defer typed.Close()
			out := &watched{seen: func() { cancel(fmt.Errorf("the interrupt")) }}
			var errs bytes.Buffer
			status := run(ctx, []string{noun, "delete", "--oci-layout", dir + "@" + desc.Digest.String()}, console{in, out, &errs})
			if status != 1 || errs.String() != "Error: the interrupt\n" || !strings.HasSuffix(out.String(), "[y/N] ") {
				t.Errorf("status %d, %q, %q", status, out, &errs)
			}
			if ok, err := s.Exists(t.Context(), desc); !ok || err != nil {
				t.Errorf("it was deleted: %v", err)
			}
		})
	}
}

// TestConfirm: only a yes is one, and input that fails is none.
func TestConfirm(t *testing.T) {
	for answer, want := range map[string]bool{
		"y": true, "Y\n": true, "yes\n": true, " YES \r\n": true, "y\nn\n": true,
		"": false, "\n": false, "n\ny\n": false, "ye": false, "yy\n": false, "no": false,
	} {
		var out bytes.Buffer
		got, err := confirm(t.Context(), console{strings.NewReader(answer), &out, nil}, "Sure?")
		wantOut := "Sure? [y/N] "
		if !want {
			wantOut += "Operation cancelled.\n"
		}
		if got != want || err != nil || out.String() != wantOut {
			t.Errorf("%q: %v, %v, %q", answer, got, err, &out)
		}
	}
	broken := errors.New("broken")
	in, typed := io.Pipe()
	typed.CloseWithError(broken)
	if yes, err := confirm(t.Context(), console{in, io.Discard, nil}, "Sure?"); yes || !errors.Is(err, broken) {
		t.Errorf("%v, %v", yes, err)
	}
}

// TestDeleteUnknownKind: a registry that has manifests of a kind that is not known,
// as of old docker, lets them be deleted by tag and by digest, and its blobs not as
// manifests.
func TestDeleteUnknownKind(t *testing.T) {
	registry := memory.NewRegistry()
	store, err := registry.Repository(t.Context(), "r")
	if err != nil {
		t.Fatal(err)
	}
	blob, err := oras.PushBytes(t.Context(), store, oras.MediaTypeBlob, []byte("blob"))
	if err != nil {
		t.Fatal(err)
	}
	handler := server.New(registry, nil)
	ts := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		handler.ServeHTTP(oldManifests{w}, r)
	}))
	defer ts.Close()
	name := strings.Replace(strings.TrimPrefix(ts.URL, "http://"), "127.0.0.1", "localhost", 1) + "/r"
	remove := func(reference, want string) {
		var out, errs bytes.Buffer
		status := run(t.Context(), []string{"manifest", "delete", "-f", name + reference, "--registry-config", filepath.Join(t.TempDir(), "auth.json")},
			console{strings.NewReader(""), &out, &errs})
		if want += name + reference + "\n"; status != 0 || out.String() != want || errs.Len() > 0 {
			t.Errorf("%q, want %q; %q", &out, want, &errs)
		}
	}
	for _, by := range []string{"tag", "digest"} {
		desc, err := oras.PackIndex(t.Context(), store, nil)
		if err == nil {
			err = store.Tag(t.Context(), desc, "v1")
		}
		if err != nil {
			t.Fatal(err)
		}
		reference := ":v1"
		if by == "digest" {
			reference = "@" + desc.Digest.String()
		}
		remove(reference, "Deleted [registry] ")
		if ok, err := store.Exists(t.Context(), desc); ok || err != nil {
			t.Errorf("by %s: it is there: %v, %v", by, ok, err)
		}
	}
	remove("@"+blob.Digest.String(), "Missing ")
	if ok, err := store.Exists(t.Context(), blob); !ok || err != nil {
		t.Errorf("the blob is there: %v, %v", ok, err)
	}
}

// oldManifests says that manifests are of docker's first kind.
type oldManifests struct{ http.ResponseWriter }

func (w oldManifests) WriteHeader(status int) {
	if w.Header().Get("Content-Type") == oras.MediaTypeImageIndex {
		w.Header().Set("Content-Type", "application/vnd.docker.distribution.manifest.v1+prettyjws")
	}
	w.ResponseWriter.WriteHeader(status)
}
