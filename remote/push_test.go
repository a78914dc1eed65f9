package remote_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/iotest"

	"github.com/c73062ad/oras"
	"github.com/c73062ad/oras/memory"
	"github.com/c73062ad/oras/remote"
	"github.com/c73062ad/oras/server"
)

// before runs fn for each request; if fn returns true it has answered.
func before(next http.Handler, fn func(w http.ResponseWriter, r *http.Request) bool) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !fn(w, r) {
			next.ServeHTTP(w, r)
		}
	})
}

// onlyReader hides what else a reader can do.
func onlyReader(data []byte) io.Reader { return io.MultiReader(bytes.NewReader(data)) }

// Content of any size and kind of reader arrives, large content that cannot be
// rewound in chunks, and each request could be sent again.
func TestPushSizes(t *testing.T) {
	t.Parallel()
	file, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	sizes := []int{0, 1, 64 << 10, 64<<10 + 1, 4 << 20, 4<<20 + 1, 9 << 20}
	if testing.Short() {
		sizes = []int{0, 64<<10 + 1, 9 << 20}
	}
	for _, n := range sizes {
		data, desc := content(t, n)
		long := oras.Descriptor{MediaType: desc.MediaType, Digest: oras.SHA512.Digest(data).OCI(), Size: desc.Size}
		if _, err := file.WriteAt(data, 0); err != nil {
			t.Fatal(err)
		}
		if err := file.Truncate(int64(n)); err != nil {
			t.Fatal(err)
		}
		pipe, in, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		defer pipe.Close()
		go func() {
			in.Write(data)
			in.Close()
		}()
		for name, test := range map[string]struct {
			desc    oras.Descriptor
			content io.Reader
		}{
			"seeker":          {desc, bytes.NewReader(data)},
			"file":            {desc, file},
			"reader":          {desc, onlyReader(data)},
			"reader, SHA-512": {long, onlyReader(data)},
			"pipe":            {desc, pipe},
		} {
			var patches atomic.Int64
			host := serve(t, before(inMemory(), func(w http.ResponseWriter, r *http.Request) bool {
				if r.Method == http.MethodPatch {
					patches.Add(1)
				}
				return false
			}))
			var fixed atomic.Bool
			repo := open(t, host, remote.Options{Transport: tripper(func(r *http.Request) (*http.Response, error) {
				if r.Body != nil && r.Body != http.NoBody && (r.GetBody == nil || r.ContentLength <= 0) {
					fixed.Store(true)
				}
				return http.DefaultTransport.RoundTrip(r)
			})})
			if err := oras.Push(t.Context(), repo, test.desc, test.content); err != nil {
				t.Fatalf("%d bytes, %s: %v", n, name, err)
			}
			if got, err := fetch(t.Context(), repo, test.desc); err != nil || !bytes.Equal(got, data) {
				t.Fatalf("%d bytes, %s: %d bytes, %v", n, name, len(got), err)
			}
			if fixed.Load() {
				t.Errorf("%d bytes, %s: a body that could not be sent again", n, name)
			}
			chunked := n > oras.MaxManifestSize && name != "seeker" && name != "file"
			if want := map[bool]int64{true: int64(n+8<<20-1) / (8 << 20)}[chunked]; patches.Load() != want {
				t.Errorf("%d bytes, %s: %d chunks; want %d", n, name, patches.Load(), want)
			}
		}
	}
}

// What the content's own verification says is the error, whoever is faster: the
// registry's answer, sent before the body was read, or the verifier.
func TestPushVerifierWins(t *testing.T) {
	t.Parallel()
	data, desc := content(t, 8<<20)
	garbled := bytes.Clone(data)
	garbled[len(garbled)-1]++
	broke := errors.New("the source broke")
	answers := map[string]func(w http.ResponseWriter, r *http.Request) bool{
		"registry": func(http.ResponseWriter, *http.Request) bool { return false },
		"hasty refusal": func(w http.ResponseWriter, r *http.Request) bool {
			if r.Method != http.MethodPut {
				return false
			}
			io.CopyN(io.Discard, r.Body, int64(len(data)))
			w.WriteHeader(http.StatusInternalServerError)
			return true
		},
		"hasty success": func(w http.ResponseWriter, r *http.Request) bool {
			if r.Method != http.MethodPut {
				return false
			}
			io.CopyN(io.Discard, r.Body, int64(len(data)))
			w.WriteHeader(http.StatusCreated)
			return true
		},
	}
	for name, answer := range answers {
		repo := open(t, serve(t, before(inMemory(), answer)), remote.Options{})
		for range 2 {
			if err := repo.Push(t.Context(), desc, bytes.NewReader(garbled)); !errors.Is(err, oras.ErrInvalid) {
				t.Errorf("%s: other bytes: error %v", name, err)
			}
			if err := repo.Push(t.Context(), desc, onlyReader(garbled)); !errors.Is(err, oras.ErrInvalid) {
				t.Errorf("%s: other bytes in chunks: error %v", name, err)
			}
			err := repo.Push(t.Context(), desc, seeker{iotest.TimeoutReader(bytes.NewReader(data)), bytes.NewReader(data)})
			if !errors.Is(err, iotest.ErrTimeout) {
				t.Errorf("%s: broken source: error %v", name, err)
			}
			err = repo.Push(t.Context(), desc, io.MultiReader(bytes.NewReader(data[:5<<20]), iotest.ErrReader(broke)))
			if !errors.Is(err, broke) {
				t.Errorf("%s: broken source in chunks: error %v", name, err)
			}
		}
	}
}

type seeker struct {
	io.Reader
	io.Seeker
}

// Nobody reads the content once Push has returned, though the registry answered
// before it had read.
func TestPushLeavesContent(t *testing.T) {
	t.Parallel()
	data, desc := content(t, 8<<20)
	repo := open(t, serve(t, before(inMemory(), func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method != http.MethodPut {
			return false
		}
		w.WriteHeader(http.StatusServiceUnavailable)
		return true
	})), remote.Options{})
	for range 4 {
		over := &guarded{Reader: bytes.NewReader(data)}
		if err := repo.Push(t.Context(), desc, over); err == nil {
			t.Fatal("no error")
		}
		over.n++ // a race if anybody reads
	}
}

type guarded struct {
	*bytes.Reader
	n int
}

func (g *guarded) Read(p []byte) (int, error) {
	g.n++
	return g.Reader.Read(p)
}

// A push that fails tells the registry to forget what came.
func TestPushCancels(t *testing.T) {
	t.Parallel()
	var began, ended atomic.Int64
	repo := open(t, serve(t, before(inMemory(), func(w http.ResponseWriter, r *http.Request) bool {
		switch {
		case r.Method == http.MethodPost:
			began.Add(1)
		case r.Method == http.MethodDelete && isUpload(r.URL):
			ended.Add(1)
		case r.Method == http.MethodPut, r.Method == http.MethodPatch:
			io.Copy(io.Discard, r.Body)
			w.WriteHeader(http.StatusForbidden)
			return true
		}
		return false
	})), remote.Options{})
	for _, n := range []int{100_000, 5 << 20} {
		data, desc := content(t, n)
		if err := oras.Push(t.Context(), repo, desc, onlyReader(data)); !errors.Is(err, oras.ErrDenied) {
			t.Errorf("error %v", err)
		}
	}
	if began.Load() != 2 || ended.Load() != 2 {
		t.Errorf("%d uploads began, %d were cancelled", began.Load(), ended.Load())
	}
}

// A blob of another repository is mounted without its bytes moving; or moves.
func TestMount(t *testing.T) {
	t.Parallel()
	memory := memory.NewRegistry()
	var puts atomic.Int64
	mounts := true
	host := serve(t, before(server.New(memory, nil), func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method == http.MethodPut {
			puts.Add(1)
		}
		if !mounts && r.Method == http.MethodPost {
			r.URL.RawQuery = ""
		}
		return false
	}))
	reg := registry(t, host)
	from, err := reg.Repository(t.Context(), "from")
	if err != nil {
		t.Fatal(err)
	}
	to := open(t, host, remote.Options{})
	give := func(data []byte) func() (io.ReadCloser, error) {
		return func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(data)), nil }
	}
	refuse := func() (io.ReadCloser, error) { return nil, errors.New("content asked for") }
	for _, test := range []struct {
		mounts, there bool
		from          string
		get           func([]byte) func() (io.ReadCloser, error)
		err           error
		puts          int64
	}{
		{true, true, "from", func([]byte) func() (io.ReadCloser, error) { return refuse }, nil, 0},
		{true, true, "from", func([]byte) func() (io.ReadCloser, error) { return nil }, nil, 0},
		{true, true, "", func([]byte) func() (io.ReadCloser, error) { return refuse }, nil, 0},
		{true, false, "from", give, nil, 1},
		{true, false, "from", func([]byte) func() (io.ReadCloser, error) { return nil }, oras.ErrNotFound, 0},
		{false, true, "from", give, nil, 1},
		{false, true, "from", func([]byte) func() (io.ReadCloser, error) { return nil }, oras.ErrUnsupported, 0},
		{true, true, "../from", give, oras.ErrReference, 0},
	} {
		data, desc := content(t, 1000)
		if test.there {
			push(t, from, desc, data)
		}
		mounts = test.mounts
		puts.Store(0)
		err := oras.Mount(t.Context(), to, desc, test.from, test.get(data))
		if !errors.Is(err, test.err) || err != nil && test.err == nil {
			t.Errorf("%+v: error %v", test, err)
		}
		if n := puts.Load(); n != test.puts {
			t.Errorf("%+v: %d PUTs", test, n)
		}
		if exists, e := to.Exists(t.Context(), desc); e != nil || exists != (err == nil) {
			t.Errorf("%+v: exists is %v, %v", test, exists, e)
		}
	}

	data, desc := content(t, 1000)
	_, other := content(t, 1000)
	if err := to.Mount(t.Context(), other, "from", give(data)); !errors.Is(err, oras.ErrInvalid) {
		t.Errorf("other bytes: error %v", err)
	}
	if err := to.Mount(t.Context(), desc, "from", refuse); err == nil || !strings.Contains(err.Error(), "asked for") {
		t.Errorf("error %v", err)
	}
}

// A manifest pushed under a tag is one request, by SHA-512 too, and two where the
// registry does not know how.
func TestPushTagged(t *testing.T) {
	t.Parallel()
	data, desc := image("one")
	long := desc
	long.Digest = oras.SHA512.Digest(data).OCI()
	for name, test := range map[string]struct {
		desc oras.Descriptor
		old  bool
		puts int64
	}{
		"SHA-256":                      {desc, false, 1},
		"SHA-512":                      {long, false, 1},
		"SHA-512 at an older registry": {long, true, 2},
	} {
		var puts atomic.Int64
		repo := open(t, serve(t, before(inMemory(), func(w http.ResponseWriter, r *http.Request) bool {
			if r.Method == http.MethodPut {
				puts.Add(1)
				if test.old {
					r.URL.RawQuery = ""
				}
			}
			return false
		})), remote.Options{})
		if err := oras.PushTagged(t.Context(), repo, test.desc, bytes.NewReader(data), "v1"); err != nil {
			t.Fatal(name, err)
		}
		if puts.Load() != test.puts {
			t.Errorf("%s: %d PUTs; want %d", name, puts.Load(), test.puts)
		}
		_, r, err := repo.FetchReference(t.Context(), "v1")
		if err != nil {
			t.Fatal(name, err)
		}
		if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, data) {
			t.Errorf("%s: %q, %v", name, got, err)
		}
		r.Close()
	}
}

// A registry that says it put another manifest than was sent has not put that.
func TestPushLies(t *testing.T) {
	t.Parallel()
	data, desc := image("one")
	_, other := image("two")
	repo := open(t, serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Docker-Content-Digest", other.Digest.String())
		w.WriteHeader(http.StatusCreated)
	})), remote.Options{})
	if err := oras.Push(t.Context(), repo, desc, bytes.NewReader(data)); !errors.Is(err, oras.ErrInvalid) {
		t.Errorf("Push: error %v", err)
	}
	if err := oras.PushTagged(t.Context(), repo, desc, bytes.NewReader(data), "v1"); !errors.Is(err, oras.ErrInvalid) {
		t.Errorf("PushTagged: error %v", err)
	}
}

// dialing returns options whose connections are those that wrap makes of others.
func dialing(wrap func(net.Conn) net.Conn) remote.Options {
	transport := remote.NewTransport()
	dial := transport.DialContext
	transport.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		c, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		return wrap(c), nil
	}
	return remote.Options{Transport: transport}
}

type tellWrites struct {
	net.Conn
	wrote func([]byte)
}

func (c tellWrites) Write(p []byte) (int, error) {
	c.wrote(p)
	return c.Conn.Write(p)
}

// Small content goes with the header of its request, in one write.
func TestPushInOneWrite(t *testing.T) {
	t.Parallel()
	data, desc := content(t, 4<<10)
	var mu sync.Mutex
	var writes [][]byte
	repo := open(t, serve(t, inMemory()), dialing(func(c net.Conn) net.Conn {
		return tellWrites{c, func(p []byte) {
			mu.Lock()
			defer mu.Unlock()
			writes = append(writes, bytes.Clone(p))
		}}
	}))
	if err := oras.Push(t.Context(), repo, desc, onlyReader(data)); err != nil {
		t.Fatal(err)
	}
	if len(writes) != 1 || !bytes.HasPrefix(writes[0], []byte("POST ")) || !bytes.HasSuffix(writes[0], data) {
		t.Errorf("%d writes: %.100q", len(writes), writes)
	}
}
