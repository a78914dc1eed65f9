package remote_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/c73062ad/oras"
	"github.com/c73062ad/oras/remote"
)

const size = 1 << 20 // of blobs large enough to break off

// A download goes on where the connection broke, and moves little twice.
func TestFetchResumes(t *testing.T) {
	t.Parallel()
	data, desc := content(t, size)
	s := &blobServer{data: data, give: cutAfter(200_000, whole)}
	got, err := fetch(t.Context(), open(t, serve(t, s), remote.Options{}), desc)
	if err != nil || !bytes.Equal(got, data) {
		t.Fatalf("%d bytes, %v", len(got), err)
	}
	if n := s.requests.Load(); n != 6 {
		t.Errorf("%d requests; want 11", n)
	}
	if n := s.sent.Load(); n > size+size/10 {
		t.Errorf("%d bytes sent for %d", n, size)
	}
}

// Whatever else a registry does with a Range, what arrives is right.
func TestFetchRangeLies(t *testing.T) {
	t.Parallel()
	ranged := func(contentRange string, from int) func(w http.ResponseWriter, r *http.Request, data []byte) {
		return func(w http.ResponseWriter, r *http.Request, data []byte) {
			if r.Header.Get("Range") == "" {
				whole(w, r, data)
				return
			}
			w.Header().Set("Content-Range", contentRange)
			w.WriteHeader(http.StatusPartialContent)
			w.Write(data[from:])
		}
	}
	data, desc := content(t, size)
	for name, again := range map[string]func(http.ResponseWriter, *http.Request, []byte){
		"200 to a Range":      func(w http.ResponseWriter, r *http.Request, data []byte) { w.Write(data) },
		"other first byte":    ranged(fmt.Sprintf("bytes 0-%d/%d", size-1, size), 0),
		"other size":          ranged(fmt.Sprintf("bytes 700000-%d/%d", size, size+1), 699_999),
		"beyond the end":      ranged(fmt.Sprintf("bytes 700000-%d/%d", size, size), 699_999),
		"no range":            ranged("", 0),
		"nonsense":            ranged("bytes x-y/z", 0),
		"part with size of *": ranged(fmt.Sprintf("bytes 700000-%d/*", size-1), 700_000),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			first := true
			s := &blobServer{data: data, give: func(w http.ResponseWriter, r *http.Request, data []byte) {
				if first {
					first = false
					cutAfter(700_000, whole)(w, r, data)
				}
				again(w, r, data)
			}}
			got, err := fetch(t.Context(), open(t, serve(t, s), remote.Options{}), desc)
			if err != nil || !bytes.Equal(got, data) {
				t.Fatalf("%d bytes, %v", len(got), err)
			}
		})
	}
}

// Who gives up says what is missing.
func TestFetchGivesUp(t *testing.T) {
	t.Parallel()
	data, desc := content(t, 100)
	for name, give := range map[string]func(http.ResponseWriter, *http.Request, []byte){
		"cut": cutAfter(0, whole),
		"ends early": func(w http.ResponseWriter, r *http.Request, data []byte) {
			http.NewResponseController(w).Flush() // no Content-Length
			w.Write(data[:50])
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := &blobServer{data: data, give: give}
			host := serve(t, s)
			_, err := fetch(t.Context(), open(t, host, remote.Options{}), desc)
			if err == nil || !strings.Contains(err.Error(), host+"/team/hello@"+desc.Digest.String()) || oras.Kind(err) != nil {
				t.Fatalf("error %v", err)
			}
			if n := s.requests.Load(); n != 11 {
				t.Errorf("%d requests; want 11", n)
			}
		})
	}

	t.Run("cancelled", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		s := &blobServer{data: data, give: func(w http.ResponseWriter, r *http.Request, data []byte) {
			w.Header().Set("Content-Length", "100")
			w.Write(data[:50])
			http.NewResponseController(w).Flush()
			<-r.Context().Done()
		}}
		r, err := open(t, serve(t, s), remote.Options{}).Fetch(ctx, desc)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		if _, err := io.ReadFull(r, make([]byte, 50)); err != nil {
			t.Fatal(err)
		}
		cancel()
		if _, err := r.Read(make([]byte, 50)); !errors.Is(err, context.Canceled) {
			t.Fatalf("error %v", err)
		}
	})
}

// What the registry has is not what the descriptor says.
func TestFetchLies(t *testing.T) {
	t.Parallel()
	data, desc := content(t, 1000)
	other, wrong := content(t, 1000)
	for name, give := range map[string]func(http.ResponseWriter, *http.Request, []byte){
		"short":       func(w http.ResponseWriter, r *http.Request, data []byte) { whole(w, r, data[:999]) },
		"long":        func(w http.ResponseWriter, r *http.Request, data []byte) { whole(w, r, append(data[:1000:1000], 0)) },
		"other bytes": func(w http.ResponseWriter, r *http.Request, data []byte) { whole(w, r, other) },
		"other digest": func(w http.ResponseWriter, r *http.Request, data []byte) {
			w.Header().Set("Docker-Content-Digest", wrong.Digest.String())
			whole(w, r, data)
		},
		"no digest": func(w http.ResponseWriter, r *http.Request, data []byte) {
			w.Header().Set("Docker-Content-Digest", "sha256:../../x")
			whole(w, r, data)
		},
		"gzip": func(w http.ResponseWriter, r *http.Request, data []byte) {
			w.Header().Set("Content-Encoding", "gzip")
			whole(w, r, append([]byte("\x1f\x8b"), data[2:]...))
		},
		"endless": func(w http.ResponseWriter, r *http.Request, data []byte) {
			for {
				if _, err := w.Write(other); err != nil {
					return
				}
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := &blobServer{data: data, give: give}
			got, err := fetch(t.Context(), open(t, serve(t, s), remote.Options{}), desc)
			if !errors.Is(err, oras.ErrInvalid) || len(got) > 1000 {
				t.Fatalf("%d bytes, error %v", len(got), err)
			}
		})
	}
}

// What is asked of the reader is asked of the registry, and only that.
func TestFetchSeek(t *testing.T) {
	t.Parallel()
	data, desc := content(t, size)
	s := &blobServer{data: data, give: whole}
	r, err := open(t, serve(t, s), remote.Options{}).Fetch(t.Context(), desc)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	seeker := r.(io.ReadSeeker)
	if n, err := seeker.Seek(0, io.SeekEnd); n != size || err != nil {
		t.Fatal(n, err)
	}
	if _, err := seeker.Seek(-10, io.SeekEnd); err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(r)
	if err != nil || !bytes.Equal(got, data[size-10:]) {
		t.Fatal(len(got), err)
	}
	if n := s.requests.Load(); n != 2 {
		t.Errorf("%d requests; want 2", n)
	}
}

// A connection on which nothing moves is as good as broken.
func TestFetchIdle(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		data, desc := content(t, 1000)
		stalled := 0
		network := tripper(func(r *http.Request) (*http.Response, error) {
			w := httptest.NewRecorder()
			whole(w, r, data)
			resp := w.Result()
			resp.Request = r
			if stalled++; stalled < 3 {
				resp.Body = &stalling{head: bytes.NewReader(data[500*(stalled-1):][:500]), done: r.Context().Done()}
			}
			return resp, nil
		})
		r, err := remote.Open("registry.example/team/hello", &remote.Options{Transport: network})
		if err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		got, err := fetch(t.Context(), r, desc)
		if err != nil || !bytes.Equal(got, data) {
			t.Fatalf("%d bytes, %v", len(got), err)
		}
		if took := time.Since(start); took < time.Minute || took > 3*time.Minute {
			t.Errorf("took %v", took)
		}
	})
}

// A registry that takes a connection and says nothing is given up after a while, but has
// longer for a list, and where it does something.
func TestAnswerLate(t *testing.T) {
	t.Parallel()
	released := make(chan struct{})
	host := serve(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-r.Context().Done():
		case <-released:
		}
	}))
	t.Cleanup(func() { close(released) }) // before the server is closed, which waits
	_, desc := content(t, 100)
	repo := open(t, host, remote.Options{IdleTimeout: 50 * time.Millisecond})
	for what, ask := range map[string]func(context.Context) error{
		"HEAD":     func(ctx context.Context) error { _, err := repo.Exists(ctx, desc); return err },
		"manifest": func(ctx context.Context) error { _, err := repo.Resolve(ctx, "v1"); return err },
		"blob":     func(ctx context.Context) error { _, err := fetch(ctx, repo, desc); return err },
		"tags":     func(ctx context.Context) error { return repo.Tags(ctx, "", func([]string) error { return nil }) },
		"delete":   func(ctx context.Context) error { return repo.Delete(ctx, desc) },
	} {
		patient := what == "tags" || what == "delete"
		limit := time.Minute
		if patient {
			limit = 500 * time.Millisecond
		}
		ctx, cancel := context.WithTimeout(t.Context(), limit)
		err := ask(ctx)
		if patient != errors.Is(err, context.DeadlineExceeded) || !patient && !strings.Contains(err.Error(), "moved nothing for too long") {
			t.Errorf("%s: error %v", what, err)
		}
		cancel()
	}
}

// A registry whose every answer stalls is given up after the second.
func TestFetchStalls(t *testing.T) {
	t.Parallel()
	data, manifest := image("one")
	blob := manifest
	blob.MediaType = oras.MediaTypeBlob
	for name, desc := range map[string]oras.Descriptor{"blob": blob, "manifest": manifest} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				network := tripper(func(r *http.Request) (*http.Response, error) {
					return &http.Response{
						StatusCode: http.StatusOK, ContentLength: int64(len(data)), Request: r,
						Header: http.Header{"Content-Type": {desc.MediaType}},
						Body:   &stalling{bytes.NewReader(data[:8]), r.Context().Done()},
					}, nil
				})
				r, err := remote.Open("registry.example/team/hello", &remote.Options{Transport: network})
				if err != nil {
					t.Fatal(err)
				}
				start := time.Now()
				_, err = oras.FetchAll(t.Context(), r, desc)
				if err == nil || !strings.Contains(err.Error(), "moved nothing") {
					t.Errorf("error %v", err)
				}
				if took := time.Since(start); took > 3*time.Minute {
					t.Errorf("took %v", took)
				}
			})
		})
	}
}

// A body that stalls while it is sent ends the push.
func TestPushIdle(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		network := tripper(func(r *http.Request) (*http.Response, error) {
			w := httptest.NewRecorder()
			switch r.Method {
			case http.MethodPost:
				w.Header().Set("Location", "/v2/team/hello/blobs/uploads/1")
				w.WriteHeader(http.StatusAccepted)
			case http.MethodPut:
				defer r.Body.Close()
				r.Body.Read(make([]byte, 1000))
				<-r.Context().Done()
				return nil, r.Context().Err()
			default:
				w.WriteHeader(http.StatusNoContent)
			}
			resp := w.Result()
			resp.Request = r
			return resp, nil
		})
		r, err := remote.Open("registry.example/team/hello", &remote.Options{Transport: network, IdleTimeout: 10 * time.Second})
		if err != nil {
			t.Fatal(err)
		}
		data, desc := content(t, size)
		start := time.Now()
		err = r.Push(t.Context(), desc, bytes.NewReader(data))
		if err == nil || !strings.Contains(err.Error(), "moved nothing") {
			t.Errorf("error %v", err)
		}
		if took := time.Since(start); took != 10*time.Second {
			t.Errorf("took %v", took)
		}
	})
}

type tripper func(*http.Request) (*http.Response, error)

func (f tripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// A stalling body gives its head, and then nothing until done.
type stalling struct {
	head io.Reader
	done <-chan struct{}
}

func (s *stalling) Read(p []byte) (int, error) {
	if n, err := s.head.Read(p); err == nil {
		return n, nil
	}
	<-s.done
	return 0, context.Canceled
}

func (s *stalling) Close() error { return nil }

// Manifests come whole or not at all.
func TestFetchManifest(t *testing.T) {
	t.Parallel()
	data, desc := image("one")
	other, wrong := image("two")
	for name, give := range map[string]func(http.ResponseWriter, *http.Request, []byte){
		"other bytes": func(w http.ResponseWriter, r *http.Request, data []byte) { whole(w, r, other) },
		"other digest": func(w http.ResponseWriter, r *http.Request, data []byte) {
			w.Header().Set("Docker-Content-Digest", wrong.Digest.String())
			whole(w, r, data)
		},
		"too large": func(w http.ResponseWriter, r *http.Request, data []byte) {
			whole(w, r, make([]byte, oras.MaxManifestSize+1))
		},
		"endless": func(w http.ResponseWriter, r *http.Request, data []byte) {
			for {
				if _, err := w.Write(other); err != nil {
					return
				}
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			repo := open(t, serve(t, &blobServer{data: data, give: give}), remote.Options{})
			if _, err := repo.Fetch(t.Context(), desc); !errors.Is(err, oras.ErrInvalid) {
				t.Errorf("Fetch: error %v", err)
			}
			if _, _, err := repo.FetchReference(t.Context(), desc.Digest.String()); !errors.Is(err, oras.ErrInvalid) {
				t.Errorf("FetchReference: error %v", err)
			}
			if name == "other bytes" {
				return // of a tag nobody knows what it should be
			}
			if _, _, err := repo.FetchReference(t.Context(), "v1"); !errors.Is(err, oras.ErrInvalid) {
				t.Errorf("FetchReference of a tag: error %v", err)
			}
		})
	}

	s := &blobServer{data: data}
	cuts := 3
	s.give = func(w http.ResponseWriter, r *http.Request, data []byte) {
		if cuts--; cuts >= 0 {
			cutAfter(20, whole)(w, r, data)
		}
		whole(w, r, data)
	}
	if got, err := fetch(t.Context(), open(t, serve(t, s), remote.Options{}), desc); err != nil || !bytes.Equal(got, data) {
		t.Errorf("through broken connections: %q, %v", got, err)
	}
}

// Resolve knows a tag from what the registry says or, if it does not, has.
func TestResolve(t *testing.T) {
	t.Parallel()
	data, desc := image("one")
	for name, header := range map[string]http.Header{
		"all headers":   {"Docker-Content-Digest": {desc.Digest.String()}, "Content-Type": {desc.MediaType}},
		"no digest":     {"Content-Type": {desc.MediaType}},
		"bad digest":    nil,
		"no media type": {"Docker-Content-Digest": {desc.Digest.String()}},
		"parameters":    {"Content-Type": {desc.MediaType + "; charset=utf-8"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := &blobServer{data: data, give: func(w http.ResponseWriter, r *http.Request, data []byte) {
				w.Header().Set("Content-Type", "application/json")
				for k, v := range header {
					w.Header()[k] = v
				}
				if header == nil && r.Method == http.MethodHead {
					w.Header().Set("Docker-Content-Digest", "sha256:zz")
				}
				http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(data))
			}}
			repo := open(t, serve(t, s), remote.Options{})
			for _, reference := range []string{"v1", desc.Digest.String(), oras.SHA512.Digest(data).String()} {
				got, err := repo.Resolve(t.Context(), reference)
				if header == nil && strings.Contains(reference, ":") {
					if !errors.Is(err, oras.ErrInvalid) {
						t.Errorf("%s: error %v", reference, err)
					}
					continue
				}
				if err != nil || got.MediaType != desc.MediaType || got.Size != desc.Size {
					t.Errorf("%s: %v, %v", reference, got, err)
				}
				if want := desc.Digest.String(); reference == "v1" && got.Digest.String() != want || reference != "v1" && got.Digest.String() != reference {
					t.Errorf("%s: %v", reference, got)
				}
			}
		})
	}

	_, wrong := image("two")
	s := &blobServer{data: data, give: func(w http.ResponseWriter, r *http.Request, data []byte) {
		w.Header().Set("Docker-Content-Digest", wrong.Digest.String())
		w.Header().Set("Content-Type", desc.MediaType)
		whole(w, r, data)
	}}
	if _, err := open(t, serve(t, s), remote.Options{}).Resolve(t.Context(), desc.Digest.String()); !errors.Is(err, oras.ErrInvalid) {
		t.Errorf("lying HEAD: error %v", err)
	}
}
