package remote_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/c73062ad/oras"
	"github.com/c73062ad/oras/remote"
)

// cutBodies breaks the connection after n bytes of each PATCH that is the first
// of its offset.
func cutBodies(next http.Handler, n int64) (http.Handler, *atomic.Int64) {
	var received atomic.Int64
	seen := map[string]bool{}
	return before(next, func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method != http.MethodPatch {
			return false
		}
		at := r.Header.Get("Content-Range")
		if seen[at] {
			r.Body = &countedBody{r.Body, &received}
			return false
		}
		seen[at] = true
		r.Body = struct {
			io.Reader
			io.Closer
		}{io.MultiReader(&countedBody{io.NopCloser(io.LimitReader(r.Body, n)), &received}, brokenReader{}), r.Body}
		return false
	}), &received
}

type brokenReader struct{}

func (brokenReader) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }

type countedBody struct {
	io.ReadCloser
	n *atomic.Int64
}

func (c *countedBody) Read(p []byte) (int, error) {
	n, err := c.ReadCloser.Read(p)
	c.n.Add(int64(n))
	return n, err
}

// What a chunk that broke off did all the same is not sent again, when the
// registry says that trying again may help.
func TestUploadResumes(t *testing.T) {
	t.Parallel()
	data, desc := content(t, 17<<20)
	cut, received := cutBodies(inMemory(), 3<<20)
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		cut.ServeHTTP(&tellBusy{ResponseWriter: w}, r)
	})
	repo := open(t, serve(t, handler), remote.Options{})
	if err := oras.Push(t.Context(), repo, desc, onlyReader(data)); err != nil {
		t.Fatal(err)
	}
	if got, err := fetch(t.Context(), repo, desc); err != nil || !bytes.Equal(got, data) {
		t.Fatalf("%d bytes, %v", len(got), err)
	}
	if n := received.Load(); n != 17<<20 {
		t.Errorf("%d bytes received for %d", n, 17<<20)
	}
}

// tellBusy answers 503 where its server would say that the body broke off.
type tellBusy struct{ http.ResponseWriter }

func (b *tellBusy) WriteHeader(status int) {
	if status == http.StatusBadRequest || status == http.StatusInternalServerError {
		status = http.StatusServiceUnavailable
	}
	b.ResponseWriter.WriteHeader(status)
}

// Chunks of what can be read again grow with what the registry has, so that there are
// few, and little moves again where it keeps nothing of one that is broken off.
func TestUploadGrows(t *testing.T) {
	t.Parallel()
	const size = 160 << 20
	var kept, lost, chunks int64
	mux := http.NewServeMux()
	place := func(w http.ResponseWriter, status int) {
		w.Header().Set("Location", "/v2/team/hello/blobs/uploads/x")
		w.Header().Set("Range", fmt.Sprintf("0-%d", max(kept, 1)-1))
		w.WriteHeader(status)
	}
	mux.HandleFunc("POST /v2/team/hello/blobs/uploads/", func(w http.ResponseWriter, r *http.Request) { place(w, http.StatusAccepted) })
	mux.HandleFunc("GET /v2/team/hello/blobs/uploads/x", func(w http.ResponseWriter, r *http.Request) { place(w, http.StatusNoContent) })
	mux.HandleFunc("PATCH /v2/team/hello/blobs/uploads/x", func(w http.ResponseWriter, r *http.Request) {
		chunks++
		if n := r.ContentLength; n > max(8<<20, kept/2) || !strings.HasPrefix(r.Header.Get("Content-Range"), fmt.Sprintf("%d-", kept)) {
			t.Errorf("a chunk of %d bytes, %s, behind %d", n, r.Header.Get("Content-Range"), kept)
		}
		if lost == 0 && kept > size/2 {
			lost, _ = io.CopyN(io.Discard, r.Body, r.ContentLength/2)
			panic(http.ErrAbortHandler)
		}
		n, err := io.Copy(io.Discard, r.Body)
		if err != nil {
			t.Error(err)
		}
		kept += n
		place(w, http.StatusAccepted)
	})
	u, err := oras.OpenUpload(t.Context(), open(t, serve(t, mux), remote.Options{}), "")
	if err != nil {
		t.Fatal(err)
	}
	n, err := u.Append(t.Context(), 0, io.NewSectionReader(zeros{}, 0, size))
	if err != nil || n != size || kept != size {
		t.Errorf("%d bytes appended, %d kept, %v", n, kept, err)
	}
	if lost == 0 || chunks >= size>>23 {
		t.Errorf("%d bytes lost; %d chunks", lost, chunks)
	}
}

// Where something on the way resets connections that carry more than it likes, chunks
// become smaller, though nobody said that they should.
func TestUploadShrinks(t *testing.T) {
	t.Parallel()
	const size = 200 << 20
	var received, resets atomic.Int64
	refuse := before(inMemory(), func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method != http.MethodPatch {
			return false
		}
		if r.ContentLength > 10<<20 {
			resets.Add(1)
			panic(http.ErrAbortHandler)
		}
		r.Body = &countedBody{r.Body, &received}
		return false
	})
	u, err := oras.OpenUpload(t.Context(), open(t, serve(t, refuse), remote.Options{}), "")
	if err != nil {
		t.Fatal(err)
	}
	if n, err := u.Append(t.Context(), 0, io.NewSectionReader(zeros{}, 0, size)); err != nil || n != size {
		t.Errorf("%d bytes, %v", n, err)
	}
	if received.Load() != size || resets.Load() == 0 || resets.Load() > 5 {
		t.Errorf("%d bytes received, %d resets", received.Load(), resets.Load())
	}
}

// That is found out in time also where the upload has so much that chunks are large.
func TestUploadShrinksFar(t *testing.T) {
	t.Parallel()
	const begin = 1 << 30
	var size, kept int64 = 600 << 20, begin
	if testing.Short() {
		size = 150 << 20
	}
	place := func(w http.ResponseWriter, status int) {
		w.Header().Set("Range", fmt.Sprintf("0-%d", kept-1))
		w.WriteHeader(status)
	}
	u, err := oras.OpenUpload(t.Context(), open(t, serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.Method != http.MethodPatch:
			place(w, http.StatusNoContent)
		case r.ContentLength > 10<<20:
			panic(http.ErrAbortHandler)
		default:
			n, _ := io.Copy(io.Discard, r.Body)
			kept += n
			place(w, http.StatusAccepted)
		}
	})), remote.Options{}), "x")
	if err != nil {
		t.Fatal(err)
	}
	if n, err := u.Append(t.Context(), begin, io.NewSectionReader(zeros{}, 0, size)); err != nil || n != size {
		t.Errorf("%d bytes, %v", n, err)
	}
}

// Chunks that grew are no measure for what cannot be read again, and so is in memory.
func TestUploadGrowsAndStreams(t *testing.T) {
	t.Parallel()
	const first, second = 24 << 20, 14 << 20
	data, desc := content(t, first+second)
	repo := open(t, serve(t, inMemory()), remote.Options{})
	u, err := oras.OpenUpload(t.Context(), repo, "")
	if err != nil {
		t.Fatal(err)
	}
	if n, err := u.Append(t.Context(), 0, bytes.NewReader(data[:first])); err != nil || n != first {
		t.Fatal(n, err)
	}
	if n, err := u.Append(t.Context(), first, onlyReader(data[first:])); err != nil || n != second {
		t.Fatal(n, err)
	}
	d, err := oras.ParseDigest(desc.Digest)
	if err != nil {
		t.Fatal(err)
	}
	if err := u.Commit(t.Context(), d); err != nil {
		t.Fatal(err)
	}
}

type zeros struct{}

func (zeros) ReadAt(p []byte, _ int64) (int, error) {
	clear(p)
	return len(p), nil
}

// An upload whose answer is lost goes on, one that another moved does not.
func TestUploadLostAnswer(t *testing.T) {
	t.Parallel()
	data, desc := content(t, 100)
	lost := false
	repo := open(t, serve(t, before(inMemory(), func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method != http.MethodPatch || lost {
			return false
		}
		lost = true
		return false
	})), remote.Options{Transport: loseAnswer(&lost)})
	u, err := oras.OpenUpload(t.Context(), repo, "")
	if err != nil {
		t.Fatal(err)
	}
	if n, err := u.Append(t.Context(), 0, bytes.NewReader(data[:50])); err != nil || n != 50 || u.Size() != 50 {
		t.Fatal(n, u.Size(), err)
	}
	if n, err := u.Append(t.Context(), 50, bytes.NewReader(data[50:])); err != nil || n != 50 || u.Size() != 100 {
		t.Fatal(n, u.Size(), err)
	}
	d, err := oras.ParseDigest(desc.Digest)
	if err != nil {
		t.Fatal(err)
	}
	if err := u.Commit(t.Context(), d); err != nil {
		t.Fatal(err)
	}
	if err := u.Commit(t.Context(), d); !errors.Is(err, oras.ErrNotFound) {
		t.Errorf("Commit again: error %v", err)
	}
	if got, err := fetch(t.Context(), repo, desc); err != nil || !bytes.Equal(got, data) {
		t.Fatalf("%d bytes, %v", len(got), err)
	}
}

// The last request of an upload is made again where its connection breaks, and not where
// it has done all the same.
func TestUploadCommitLost(t *testing.T) {
	t.Parallel()
	data, desc := content(t, 100)
	for name, cut := range map[string]func(next http.Handler, w http.ResponseWriter, r *http.Request){
		"the request": func(http.Handler, http.ResponseWriter, *http.Request) {},
		"the answer": func(next http.Handler, _ http.ResponseWriter, r *http.Request) {
			next.ServeHTTP(httptest.NewRecorder(), r)
		},
	} {
		next, puts, told := inMemory(), 0, 0
		repo := open(t, serve(t, before(next, func(w http.ResponseWriter, r *http.Request) bool {
			if r.Method != http.MethodPut {
				return false
			}
			if puts++; puts == 1 {
				cut(next, w, r)
				panic(http.ErrAbortHandler)
			}
			return false
		})), remote.Options{OnRetry: func(error) { told++ }})
		u, err := oras.OpenUpload(t.Context(), repo, "")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := u.Append(t.Context(), 0, bytes.NewReader(data)); err != nil {
			t.Fatal(err)
		}
		d, err := oras.ParseDigest(desc.Digest)
		if err != nil {
			t.Fatal(err)
		}
		want := map[string]int{"the request": 2, "the answer": 1}[name]
		if err := u.Commit(t.Context(), d); err != nil || puts != want || told != 1 {
			t.Errorf("%s is lost: error %v, %d requests, %d told", name, err, puts, told)
		}
		if err := u.Commit(t.Context(), d); !errors.Is(err, oras.ErrNotFound) {
			t.Errorf("%s is lost: Commit again: error %v", name, err)
		}
		if err := check(t.Context(), repo, desc); err != nil {
			t.Error(err)
		}
	}
}

// loseAnswer loses the first answer to a PATCH, each time.
func loseAnswer(lost *bool) http.RoundTripper {
	n := 0
	return tripper(func(r *http.Request) (*http.Response, error) {
		resp, err := http.DefaultTransport.RoundTrip(r)
		if err == nil && r.Method == http.MethodPatch && *lost {
			if n++; n%2 == 1 {
				resp.Body.Close()
				return nil, errors.New("connection reset")
			}
		}
		return resp, err
	})
}

// A registry may still be busy with what broke off when it is asked what arrived, so
// that it says less than it has a moment later.
func TestUploadToldLate(t *testing.T) {
	t.Parallel()
	data, desc := content(t, 17<<20)
	cut, received := cutBodies(inMemory(), 3<<20)
	asked := false
	handler := before(cut, func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method != http.MethodGet || !isUpload(r.URL) || asked {
			return false
		}
		asked = true
		w.Header().Set("Range", "0-1000000")
		w.WriteHeader(http.StatusNoContent)
		return true
	})
	repo := open(t, serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		handler.ServeHTTP(&tellBusy{ResponseWriter: w}, r)
	})), remote.Options{})
	got, err := oras.Ingest(t.Context(), repo, desc.MediaType, bytes.NewReader(data), nil)
	if err != nil || got.Digest != desc.Digest {
		t.Fatal(got, err)
	}
	if n := received.Load(); n != 17<<20 || !asked {
		t.Errorf("%d bytes received for %d; asked: %t", n, 17<<20, asked)
	}
}

// Content that is a Seeker begins where it is, also when it must be read again.
func TestAppendRest(t *testing.T) {
	t.Parallel()
	data, desc := content(t, 17<<20)
	cut, received := cutBodies(inMemory(), 3<<20)
	repo := open(t, serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		cut.ServeHTTP(&tellBusy{ResponseWriter: w}, r)
	})), remote.Options{})
	u, err := oras.OpenUpload(t.Context(), repo, "")
	if err != nil {
		t.Fatal(err)
	}
	r := bytes.NewReader(append([]byte("before"), data...))
	r.Seek(int64(len("before")), io.SeekStart)
	if n, err := u.Append(t.Context(), 0, r); n != desc.Size || err != nil {
		t.Fatal(n, err)
	}
	d, err := oras.ParseDigest(desc.Digest)
	if err == nil {
		err = u.Commit(t.Context(), d)
	}
	if n := received.Load(); err != nil || n != desc.Size {
		t.Errorf("%d bytes received for %d, %v", n, desc.Size, err)
	}
}

// One byte and none look the same in a Range.
func TestUploadOneByte(t *testing.T) {
	t.Parallel()
	repo := open(t, serve(t, inMemory()), remote.Options{})
	u, err := oras.OpenUpload(t.Context(), repo, "")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := u.Append(t.Context(), 0, strings.NewReader("a")); err != nil || u.Size() != 1 {
		t.Fatal(u.Size(), err)
	}
	again, err := oras.OpenUpload(t.Context(), repo, u.ID())
	if err != nil {
		t.Fatal(err)
	}
	if again.Size() == 0 {
		if n, err := again.Append(t.Context(), 0, strings.NewReader("ab")); n != 0 || !errors.Is(err, oras.ErrInvalid) {
			t.Errorf("%d, error %v", n, err)
		}
	}
	if n, err := again.Append(t.Context(), again.Size(), strings.NewReader("b")); n != 1 || err != nil || again.Size() != 2 {
		t.Errorf("%d, size %d, error %v", n, again.Size(), err)
	}
}

// Chunks are as large as the registry wants them.
func TestUploadChunkSizes(t *testing.T) {
	t.Parallel()
	data, desc := content(t, 20<<20)
	for name, test := range map[string]struct {
		least, most int64
		chunks      int64
	}{
		"as they come": {0, 1 << 40, 3},
		"at least":     {9 << 20, 1 << 40, 3},
		"at most":      {0, 3 << 20, 12},
		"both":         {3 << 20, 4 << 20, 7},
	} {
		if testing.Short() && name != "both" && name != "at least" {
			continue
		}
		var chunks atomic.Int64
		repo := open(t, serve(t, before(inMemory(), func(w http.ResponseWriter, r *http.Request) bool {
			if r.Method == http.MethodPost && test.least > 0 {
				w.Header().Set("OCI-Chunk-Min-Length", map[int64]string{9 << 20: "9437184", 3 << 20: "3145728"}[test.least])
			}
			if r.Method != http.MethodPatch {
				return false
			}
			if r.ContentLength > test.most {
				w.WriteHeader(http.StatusRequestEntityTooLarge)
				return true
			}
			if chunks.Add(1); r.ContentLength < test.least && !strings.HasSuffix(r.Header.Get("Content-Range"), "-20971519") {
				t.Errorf("%s: chunk of %d bytes", name, r.ContentLength)
			}
			return false
		})), remote.Options{})
		ingest := func(content io.Reader) error {
			_, err := oras.Ingest(t.Context(), repo, desc.MediaType, content, &oras.IngestOptions{Expected: desc})
			return err
		}
		rewound := test.chunks
		if test.most == 1<<40 { // one is enough of what can be rewound
			rewound = 1
		}
		for how, send := range map[string]struct {
			send func() error
			want int64
		}{
			"stream":       {func() error { return oras.Push(t.Context(), repo, desc, onlyReader(data)) }, test.chunks},
			"rewound":      {func() error { return oras.Push(t.Context(), repo, desc, bytes.NewReader(data)) }, rewound},
			"read as sent": {func() error { return ingest(bytes.NewReader(data)) }, test.chunks},
		} {
			chunks.Store(0)
			if err := send.send(); err != nil {
				t.Fatal(name, how, err)
			}
			if n := chunks.Load(); n == 0 || n > send.want {
				t.Errorf("%s: %d chunks of a %s; want at most %d", name, n, how, send.want)
			}
			if err := repo.Delete(t.Context(), desc); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// An id leads to an upload of the repository or nowhere.
func TestUploadIDs(t *testing.T) {
	t.Parallel()
	network := &hosts{handlers: map[string]http.Handler{"https://registry.example": http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Range", "0-9")
		w.WriteHeader(http.StatusNoContent)
	})}}
	r, err := remote.Open("registry.example/team/hello", &remote.Options{Transport: network})
	if err != nil {
		t.Fatal(err)
	}
	for id, want := range map[string]string{
		"abc-DEF_1=":                                "/v2/team/hello/blobs/uploads/abc-DEF_1=",
		"/v2/team/hello/blobs/uploads/abc":          "/v2/team/hello/blobs/uploads/abc",
		"/v2/team/hello/blobs/uploads/abc?_state=x": "/v2/team/hello/blobs/uploads/abc?_state=x",
		"/v2/team/hello/blobs/upload/1?a=%2F":       "/v2/team/hello/blobs/upload/1?a=%2F",
		"/artifacts-uploads/namespaces/x/1":         "/artifacts-uploads/namespaces/x/1",
	} {
		network.seen = nil
		u, err := oras.OpenUpload(t.Context(), r, id)
		if err != nil {
			t.Errorf("%s: %v", id, err)
			continue
		}
		if got := network.seen[0].URL.RequestURI(); got != want || u.Size() != 10 {
			t.Errorf("%s: %s, %d bytes", id, got, u.Size())
		}
		if again, err := oras.OpenUpload(t.Context(), r, u.ID()); err != nil || again.ID() != u.ID() {
			t.Errorf("%s: its own id %s: %v", id, u.ID(), err)
		}
	}
	network.seen = nil
	for _, id := range []string{
		"..", ".", "a/b", "a b", "../../manifests/v1", "%2e%2e", "a?digest=x", "a#b", "a\x00", "a\nb", ":", "::",
		"/v2/team/hello/manifests/v1", "/v2/team/other/blobs/uploads/abc", "/v2/", "/v2/_catalog", "/v2/team/hello/tags/list",
		"/v2/team/hello/blobs/uploads/../../manifests/v1", "/v2/team/hello/blobs/uploads/%2e%2e/x", "/x/..", "//evil.example/x", "/\\evil.example",
		"https://evil.example/v2/team/hello/blobs/uploads/abc", "http://registry.example/x", "https://a@registry.example/x", "mailto:x",
		"/v2/team/hello/blobs/uploads/", "/v2/team/hello/blobs/sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a",
		"/v2/team/hello%2Fblobs/uploads/x", "/" + strings.Repeat("a", 10_000),
	} {
		if _, err := oras.OpenUpload(t.Context(), r, id); !errors.Is(err, oras.ErrNotFound) {
			t.Errorf("%q: error %v", id, err)
		}
	}
	for _, r := range network.seen {
		t.Errorf("request to %s", r.URL)
	}
}

// A chunk that the transport sent twice, because the answer to the first was lost,
// is there once.
func TestPushChunkTwice(t *testing.T) {
	t.Parallel()
	data, desc := content(t, 9<<20)
	twice := 0
	repo := open(t, serve(t, inMemory()), remote.Options{Transport: tripper(func(r *http.Request) (*http.Response, error) {
		resp, err := http.DefaultTransport.RoundTrip(r)
		if err != nil || r.Method != http.MethodPatch {
			return resp, err
		}
		twice++
		resp.Body.Close()
		again := r.Clone(r.Context())
		if again.Body, err = r.GetBody(); err != nil {
			return nil, err
		}
		return http.DefaultTransport.RoundTrip(again)
	})})
	if err := oras.Push(t.Context(), repo, desc, onlyReader(data)); err != nil {
		t.Fatal(err)
	}
	if got, err := fetch(t.Context(), repo, desc); err != nil || !bytes.Equal(got, data) || twice != 2 {
		t.Fatalf("%d bytes, %d chunks, %v", len(got), twice, err)
	}
}

// Who takes no chunks gets large content as a whole, and is not asked again.
func TestPushWithoutPatch(t *testing.T) {
	t.Parallel()
	data, desc := content(t, 17<<20)
	for _, status := range []int{http.StatusMethodNotAllowed, http.StatusNotFound} {
		var patches, puts, aborts atomic.Int64
		repo := open(t, serve(t, before(inMemory(), func(w http.ResponseWriter, r *http.Request) bool {
			switch r.Method {
			case http.MethodPatch:
				patches.Add(1)
				w.WriteHeader(status)
				return true
			case http.MethodPut:
				puts.Add(1)
			case http.MethodDelete:
				aborts.Add(1)
			}
			return false
		})), remote.Options{})
		for range 2 {
			if err := oras.Push(t.Context(), repo, desc, bytes.NewReader(data)); err != nil {
				t.Fatal(status, err)
			}
		}
		if err := check(t.Context(), repo, desc); err != nil {
			t.Fatal(err)
		}
		if patches.Load() != 1 || puts.Load() != 2 || aborts.Load() != 1 {
			t.Errorf("%d: %d PATCH, %d PUT, %d DELETE", status, patches.Load(), puts.Load(), aborts.Load())
		}
	}
}

// Nor does it get an upload of content that is sent while it is hashed: that is told, so
// that the content can go another way, and nothing is left of the try.
func TestIngestWithoutPatch(t *testing.T) {
	t.Parallel()
	data, desc := content(t, 17<<20)
	for _, status := range []int{http.StatusMethodNotAllowed, http.StatusNotFound, http.StatusBadRequest} {
		var aborts atomic.Int64
		repo := open(t, serve(t, before(inMemory(), func(w http.ResponseWriter, r *http.Request) bool {
			switch r.Method {
			case http.MethodPatch:
				w.WriteHeader(status)
				return true
			case http.MethodDelete:
				aborts.Add(1)
			}
			return false
		})), remote.Options{})
		var remembered string
		for _, source := range []io.Reader{bytes.NewReader(data), onlyReader(data)} {
			_, err := oras.Ingest(t.Context(), repo, desc.MediaType, source, &oras.IngestOptions{Journal: func(id string) { remembered = id }})
			if !errors.Is(err, oras.ErrUnsupported) || remembered != "" {
				t.Errorf("%d: error %v, remembered is %q", status, err, remembered)
			}
		}
		if aborts.Load() != 2 {
			t.Errorf("%d: %d DELETE", status, aborts.Load())
		}
	}
}

// Small blobs are one request each where the registry takes that, and two where it
// does not, which is found out once.
func TestPushSinglePost(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		post     func(w http.ResponseWriter, r *http.Request) bool
		requests int64
	}{
		"taken": {func(http.ResponseWriter, *http.Request) bool { return false }, 20},
		"ignored": {func(_ http.ResponseWriter, r *http.Request) bool {
			io.Copy(io.Discard, r.Body)
			r.Body, r.ContentLength, r.URL.RawQuery = http.NoBody, 0, ""
			return false
		}, 40},
		"refused": {func(w http.ResponseWriter, r *http.Request) bool {
			if r.ContentLength > 0 {
				w.WriteHeader(http.StatusBadRequest)
			}
			return r.ContentLength > 0
		}, 41},
	} {
		var requests atomic.Int64
		repo := open(t, serve(t, before(inMemory(), func(w http.ResponseWriter, r *http.Request) bool {
			if r.Method != http.MethodGet {
				requests.Add(1)
			}
			return r.Method == http.MethodPost && test.post(w, r)
		})), remote.Options{})
		for i := range 20 {
			data, desc := content(t, 4<<10)
			if i%2 == 1 {
				desc.Digest = oras.SHA512.Digest(data).OCI()
			}
			if err := oras.Push(t.Context(), repo, desc, bytes.NewReader(data)); err != nil {
				t.Fatal(name, err)
			}
			if got, err := fetch(t.Context(), repo, desc); err != nil || !bytes.Equal(got, data) {
				t.Fatalf("%s: %d bytes, %v", name, len(got), err)
			}
		}
		if n := requests.Load(); n != test.requests {
			t.Errorf("%s: %d requests; want %d", name, n, test.requests)
		}
	}
}

// What did not arrive is sent again though it is long gone from memory, by reading the
// content anew, as often as need be.
func TestPushRewinds(t *testing.T) {
	t.Parallel()
	const n = 17 << 20
	data, desc := content(t, n)
	var patches atomic.Int64
	repo := open(t, serve(t, before(inMemory(), func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodPatch && patches.Add(1) <= 3 { // all is read, and little kept
			whole := r.Body
			r.Body = struct {
				io.Reader
				io.Closer
			}{io.MultiReader(io.LimitReader(whole, 1<<20), after(func() { io.Copy(io.Discard, whole) }), brokenReader{}), whole}
		}
		return false
	})), remote.Options{Transport: tripper(func(r *http.Request) (*http.Response, error) {
		resp, err := http.DefaultTransport.RoundTrip(r)
		if err == nil && r.Method == http.MethodPatch && resp.StatusCode == http.StatusBadRequest {
			resp.StatusCode = http.StatusServiceUnavailable // as who is in between would say
		}
		return resp, err
	})})
	if err := oras.Push(t.Context(), repo, desc, bytes.NewReader(data)); err != nil {
		t.Fatal(err)
	}
	if err := check(t.Context(), repo, desc); err != nil {
		t.Fatal(err)
	}
	if patches.Load() != 4 {
		t.Errorf("%d requests", patches.Load())
	}
}

// after is a reader of nothing that calls it.
type after func()

func (a after) Read([]byte) (int, error) {
	a()
	return 0, io.EOF
}

// What a registry said is the error, not that what it lost cannot be sent again.
func TestUploadLosesChunks(t *testing.T) {
	t.Parallel()
	data, desc := content(t, 40<<20)
	for name, test := range map[string]struct {
		keeps int64 // chunks; the rest fails, and what there is is lost
		send  func(*remote.Repository) error
	}{
		"a stream": {2, func(repo *remote.Repository) error {
			return oras.Push(t.Context(), repo, desc, onlyReader(data))
		}},
		"a stream behind another": {1, func(repo *remote.Repository) error {
			return appendTwice(t, repo, data[:100], onlyReader(data[100:200]))
		}},
		"a file behind another": {1, func(repo *remote.Repository) error {
			return appendTwice(t, repo, data[:100], bytes.NewReader(data[100:200]))
		}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var chunks atomic.Int64
			err := test.send(open(t, serve(t, before(inMemory(), func(w http.ResponseWriter, r *http.Request) bool {
				switch {
				case r.Method == http.MethodPatch && chunks.Add(1) > test.keeps:
					io.Copy(io.Discard, r.Body)
					w.WriteHeader(http.StatusInternalServerError)
				case r.Method == http.MethodGet && isUpload(r.URL):
					w.WriteHeader(http.StatusNoContent) // and no Range: there is nothing
				default:
					return false
				}
				return true
			})), remote.Options{}))
			var answer *remote.Error
			if !errors.As(err, &answer) || answer.StatusCode != http.StatusInternalServerError {
				t.Errorf("error %v", err)
			}
		})
	}
}

// appendTwice returns what the second of two Appends failed with.
func appendTwice(t *testing.T, repo *remote.Repository, first []byte, second io.Reader) error {
	u, err := oras.OpenUpload(t.Context(), repo, "")
	if err != nil {
		return err
	}
	if _, err := u.Append(t.Context(), 0, bytes.NewReader(first)); err != nil {
		return fmt.Errorf("first: %s", err)
	}
	_, err = u.Append(t.Context(), int64(len(first)), second)
	return err
}

// What is in an upload after requests that cannot have arrived is somebody else's.
func TestUploadOfTwo(t *testing.T) {
	t.Parallel()
	data, _ := content(t, 100)
	for name, refused := range map[string]int{"before the answer": 1, "behind it": 2} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			handler, patches := inMemory(), 0
			other := open(t, serve(t, handler), remote.Options{})
			var id string
			repo := open(t, serve(t, before(handler, func(w http.ResponseWriter, r *http.Request) bool {
				if r.Method != http.MethodPatch {
					return false
				}
				if patches++; patches == refused {
					u, err := oras.OpenUpload(r.Context(), other, id)
					if err == nil {
						_, err = u.Append(r.Context(), 0, bytes.NewReader(data[:50]))
					}
					if err != nil {
						t.Error(err)
					}
				}
				if patches > 1 {
					return false
				}
				w.WriteHeader(http.StatusTooManyRequests)
				return true
			})), remote.Options{})
			u, err := oras.OpenUpload(t.Context(), repo, "")
			if err != nil {
				t.Fatal(err)
			}
			id = u.ID()
			if n, err := u.Append(t.Context(), 0, bytes.NewReader(data)); n != 0 || err == nil || patches != refused {
				t.Errorf("%d bytes, %v, after %d requests", n, err, patches)
			}
		})
	}
}

// What a registry has of a chunk that broke off may be more than the next chunk, which is
// smaller, would have brought.
func TestUploadBehindSmaller(t *testing.T) {
	t.Parallel()
	data, desc := content(t, 60<<20)
	var kept atomic.Int64
	place := func(w http.ResponseWriter, status int) {
		if n := kept.Load(); n > 0 {
			w.Header().Set("Range", fmt.Sprintf("0-%d", n-1))
		}
		w.WriteHeader(status)
	}
	var lost, gone atomic.Bool
	repo := open(t, serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		first, _, _ := strings.Cut(r.Header.Get("Content-Range"), "-")
		switch {
		case r.Method == http.MethodPut:
			w.WriteHeader(http.StatusCreated)
		case r.Method == http.MethodGet && gone.Load(): // it starts anew
			panic(http.ErrAbortHandler)
		case r.Method == http.MethodPost:
			w.Header().Set("Location", r.URL.Path+"x")
			w.WriteHeader(http.StatusAccepted)
		case r.Method != http.MethodPatch:
			place(w, http.StatusNoContent)
		case first != fmt.Sprint(kept.Load()):
			gone.Store(false)
			place(w, http.StatusRequestedRangeNotSatisfiable)
		default:
			if r.ContentLength > 10<<20 && !lost.Swap(true) { // nearly all of it arrives
				n, _ := io.CopyN(io.Discard, r.Body, r.ContentLength-1<<10)
				kept.Add(n)
				gone.Store(true)
				panic(http.ErrAbortHandler)
			}
			n, _ := io.Copy(io.Discard, r.Body)
			kept.Add(n)
			place(w, http.StatusAccepted)
		}
	})), remote.Options{})
	if _, err := oras.Ingest(t.Context(), repo, desc.MediaType, bytes.NewReader(data), &oras.IngestOptions{Expected: desc}); err != nil {
		t.Fatal(err)
	}
	if kept.Load() != desc.Size || !lost.Load() || gone.Load() {
		t.Errorf("%d bytes of %d", kept.Load(), desc.Size)
	}
}

// Content that fails, or ends early, says so; what arrived before it counts, and the upload
// goes on behind that.
func TestUploadContentFails(t *testing.T) {
	t.Parallel()
	data, desc := content(t, 20<<20)
	for name, test := range map[string]struct {
		fails error
		want  string
	}{
		"fails":      {errors.New("bad disk"), "^bad disk$"},
		"ends early": {io.EOF, `/team/hello: upload: invalid content: its content ended at byte 3145728, not 20971520$`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			u, err := oras.OpenUpload(t.Context(), open(t, serve(t, inMemory()), remote.Options{}), "")
			if err != nil {
				t.Fatal(err)
			}
			n, err := u.Append(t.Context(), 0, &failing{bytes.NewReader(data), 3 << 20, test.fails})
			if err == nil || !regexp.MustCompile(test.want).MatchString(err.Error()) {
				t.Errorf("error %v", err)
			}
			if n != u.Size() || n > 3<<20 {
				t.Errorf("%d bytes, of %d there", n, u.Size())
			}
			if _, err := u.Append(t.Context(), n, bytes.NewReader(data[n:])); err != nil {
				t.Fatal(err)
			}
			d, err := oras.ParseDigest(desc.Digest)
			if err != nil {
				t.Fatal(err)
			}
			if err := u.Commit(t.Context(), d); err != nil {
				t.Error(err)
			}
		})
	}
}

// failing is content that cannot be read beyond a place.
type failing struct {
	*bytes.Reader
	at  int64
	err error
}

func (f *failing) Read(p []byte) (int, error) {
	left := f.at - (f.Size() - int64(f.Len()))
	if left <= 0 {
		time.Sleep(50 * time.Millisecond) // what was read before is on its way
		return 0, f.err
	}
	return f.Reader.Read(p[:min(int64(len(p)), left)])
}
