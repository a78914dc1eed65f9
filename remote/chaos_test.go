package remote_test

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/c73062ad/oras"
	"github.com/c73062ad/oras/auth"
	"github.com/c73062ad/oras/remote"
)

// A breaker is a network on which connections to a server break: each is reset when it
// has carried so many bytes, in both directions together.
type breaker struct {
	after      atomic.Int64
	up, down   atomic.Int64 // bytes that were carried
	broken     atomic.Int64
	server     string
	listener   net.Listener
	group      sync.WaitGroup
	mu         sync.Mutex
	open       map[net.Conn]bool
	overAndOut bool
}

// breaking returns the host at which the server for handler is reached by way of b.
func (b *breaker) breaking(t testing.TB, handler http.Handler) string {
	t.Helper()
	b.server = serve(t, handler)
	var err error
	if b.listener, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	b.open = map[net.Conn]bool{}
	b.group.Go(func() {
		for {
			client, err := b.listener.Accept()
			if err != nil {
				return
			}
			client.(*net.TCPConn).SetWriteBuffer(128 << 10) // what is in there is lost: as little as the content is
			b.group.Go(func() { b.carry(client) })
		}
	})
	t.Cleanup(func() {
		b.listener.Close()
		b.mu.Lock()
		b.overAndOut = true
		for c := range b.open {
			c.Close()
		}
		b.mu.Unlock()
		b.group.Wait()
	})
	return b.listener.Addr().String()
}

// carry carries what client sends to the server, and back.
func (b *breaker) carry(client net.Conn) {
	server, err := net.Dial("tcp", b.server)
	if err != nil {
		client.Close()
		return
	}
	b.mu.Lock()
	b.open[client], b.open[server] = true, true
	over := b.overAndOut
	b.mu.Unlock()
	var left atomic.Int64
	left.Store(b.after.Load())
	var once sync.Once
	end := func(reset bool) {
		once.Do(func() {
			if reset {
				client.(*net.TCPConn).SetLinger(0) // the server gets what there was
				b.broken.Add(1)
			}
			client.Close()
			server.Close()
			b.mu.Lock()
			defer b.mu.Unlock()
			delete(b.open, client)
			delete(b.open, server)
		})
	}
	if over {
		end(false)
	}
	move := func(to, from net.Conn, count *atomic.Int64) {
		buf := make([]byte, 32<<10)
		for {
			n, err := from.Read(buf)
			count.Add(int64(n))
			reset := left.Add(int64(-n)) < 0
			if n > 0 {
				if _, e := to.Write(buf[:n]); e != nil {
					err = e
				}
			}
			if err != nil || reset {
				end(reset)
				return
			}
		}
	}
	b.group.Go(func() { move(server, client, &b.up) })
	move(client, server, &b.down)
}

// A transfer whose connections are reset, each after a part of the bytes, succeeds
// and moves little twice, in both directions and with any kind of content.
func TestResets(t *testing.T) {
	t.Parallel()
	const n = 40 << 20
	data, desc := content(t, n)
	handler := inMemory()
	b := &breaker{}
	b.after.Store(n / 4)
	host := b.breaking(t, handler)
	repo := func() *remote.Repository {
		transport := remote.NewTransport()
		t.Cleanup(transport.CloseIdleConnections)
		return open(t, host, remote.Options{Transport: &auth.Retry{Base: transport}})
	}
	moved := func(what string, count *atomic.Int64, fn func() error) {
		count.Store(0)
		b.broken.Store(0)
		if err := fn(); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		if got := count.Load(); got > n*13/10 || b.broken.Load() < 2 {
			t.Errorf("%s: %d bytes for %d, %d connections broke", what, got, n, b.broken.Load())
		}
	}
	for what, source := range map[string]io.Reader{
		"up":            bytes.NewReader(data),
		"up, in chunks": onlyReader(data),
	} {
		moved(what, &b.up, func() error { return oras.Push(t.Context(), repo(), desc, source) })
		if err := repo().Delete(t.Context(), desc); err != nil {
			t.Fatal(err)
		}
	}
	moved("up, unknown", &b.up, func() error {
		got, err := oras.Ingest(t.Context(), repo(), desc.MediaType, bytes.NewReader(data), nil)
		if err == nil && got.Digest != desc.Digest {
			err = fmt.Errorf("stored as %s", got.Digest)
		}
		return err
	})
	if err := repo().Delete(t.Context(), desc); err != nil {
		t.Fatal(err)
	}
	push(t, open(t, b.server, remote.Options{}), desc, data)
	b.after.Store(n / 10) // there are several, each of which carries less
	moved("down", &b.down, func() error { return check(t.Context(), repo(), desc) })
}

// troubles are what can go wrong with a request for content, or with a chunk.
var troubles = map[string]func(rng *rand.Rand, next http.Handler, w http.ResponseWriter, r *http.Request){
	"cut": func(rng *rand.Rand, next http.Handler, w http.ResponseWriter, r *http.Request) {
		next.ServeHTTP(&cutting{ResponseWriter: w, left: rng.IntN(3 << 20)}, r)
	},
	"cut before the answer": func(rng *rand.Rand, next http.Handler, w http.ResponseWriter, r *http.Request) {
		panic(http.ErrAbortHandler)
	},
	"answer lost": func(rng *rand.Rand, next http.Handler, w http.ResponseWriter, r *http.Request) {
		next.ServeHTTP(&cutting{ResponseWriter: w, left: 0}, r)
		panic(http.ErrAbortHandler)
	},
	"content cut": func(rng *rand.Rand, next http.Handler, w http.ResponseWriter, r *http.Request) {
		r.Body = struct {
			io.Reader
			io.Closer
		}{io.MultiReader(io.LimitReader(r.Body, rng.Int64N(3<<20)), brokenReader{}), r.Body}
		next.ServeHTTP(&tellBusy{ResponseWriter: w}, r)
	},
	"stalled": func(rng *rand.Rand, next http.Handler, w http.ResponseWriter, r *http.Request) {
		next.ServeHTTP(&stopping{cutting{ResponseWriter: w, left: rng.IntN(1 << 20)}, r.Context().Done()}, r)
	},
	"slow": func(rng *rand.Rand, next http.Handler, w http.ResponseWriter, r *http.Request) {
		next.ServeHTTP(&slowWriter{ResponseWriter: w, rate: 30e6, start: time.Now()}, r)
	},
	"the whole": func(rng *rand.Rand, next http.Handler, w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			r.Header.Del("Range")
		}
		next.ServeHTTP(w, r)
	},
	"another part": func(rng *rand.Rand, next http.Handler, w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Range") != "" {
			r.Header.Set("Range", fmt.Sprintf("bytes=%d-", rng.IntN(1000)))
		}
		next.ServeHTTP(w, r)
	},
	"less": func(rng *rand.Rand, next http.Handler, w http.ResponseWriter, r *http.Request) {
		var from, last int
		if n, _ := fmt.Sscanf(r.Header.Get("Range"), "bytes=%d-%d", &from, &last); n > 0 {
			r.Header.Set("Range", fmt.Sprintf("bytes=%d-%d", from, from+rng.IntN(200_000)))
		}
		next.ServeHTTP(w, r)
	},
	"500": answers(http.StatusInternalServerError),
	"502": answers(http.StatusBadGateway),
	"503": answers(http.StatusServiceUnavailable),
	"429": answers(http.StatusTooManyRequests),
	"408": answers(http.StatusRequestTimeout),
}

func answers(status int) func(*rand.Rand, http.Handler, http.ResponseWriter, *http.Request) {
	return func(_ *rand.Rand, _ http.Handler, w http.ResponseWriter, r *http.Request) {
		io.CopyN(io.Discard, r.Body, 100_000)
		w.WriteHeader(status)
	}
}

// A stopping answer gives its head and then nothing until done.
type stopping struct {
	cutting
	done <-chan struct{}
}

func (s *stopping) Write(p []byte) (int, error) {
	if len(p) <= s.left {
		s.left -= len(p)
		return s.ResponseWriter.Write(p)
	}
	http.NewResponseController(s.ResponseWriter).Flush()
	<-s.done
	return 0, io.ErrClosedPipe
}

// Between a real client and a real server anything may go wrong, now and then, in any
// order: content arrives as it is, or not at all.
func TestChaos(t *testing.T) {
	t.Parallel()
	rounds := 4
	if testing.Short() {
		rounds = 2
	}
	seeds := rand.New(rand.NewPCG(rand.Uint64(), 0))
	for range rounds {
		seed := seeds.Uint64()
		t.Run(fmt.Sprintf("%x", seed), func(t *testing.T) {
			t.Parallel()
			chaos(t, seed)
		})
	}
}

func chaos(t *testing.T, seed uint64) {
	rng := rand.New(rand.NewPCG(seed, 1))
	names := slices.Sorted(maps.Keys(troubles))
	var mu sync.Mutex
	var had []string
	quiet := 0 // requests in a row without trouble still to come
	draw := func() (name string, own *rand.Rand) {
		mu.Lock()
		defer mu.Unlock()
		own = rand.New(rand.NewPCG(rng.Uint64(), 2))
		if quiet--; quiet >= 0 {
			return "", own
		}
		quiet = 1 + rng.IntN(3)
		name = names[rng.IntN(len(names))]
		had = append(had, name)
		return name, own
	}
	handler := inMemory()
	host := serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		blob := r.Method == http.MethodGet && strings.Contains(r.URL.Path, "/blobs/sha256:")
		if !blob && r.Method != http.MethodPatch {
			handler.ServeHTTP(w, r)
			return
		}
		name, own := draw()
		first := blob && r.Header.Get("Range") == "" // to be tried again by the transport
		if name != "" && !(first && (name[0] == '4' || name[0] == '5' || name == "cut before the answer")) {
			troubles[name](own, handler, w, r)
			return
		}
		handler.ServeHTTP(w, r)
	}))
	opts := remote.Options{PlainHTTP: true, IdleTimeout: 300 * time.Millisecond, Connections: 1 + rng.IntN(4)}
	repo := open(t, host, opts)
	source, err := remote.Open(host+"/team/source", &opts)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range []int{3<<20 + rng.IntN(1000), 19<<20 + rng.IntN(1000)} {
		data, desc := content(t, n)
		ingest := func(source io.Reader, opts *oras.IngestOptions) error {
			got, err := oras.Ingest(t.Context(), repo, desc.MediaType, source, opts)
			if err == nil && (got.Digest != desc.Digest || got.Size != desc.Size) {
				err = fmt.Errorf("stored as %s of %d bytes", got.Digest, got.Size)
			}
			return err
		}
		for how, send := range map[string]func() error{
			"push":                    func() error { return oras.Push(t.Context(), repo, desc, bytes.NewReader(data)) },
			"push of a stream":        func() error { return oras.Push(t.Context(), repo, desc, onlyReader(data)) },
			"ingest":                  func() error { return ingest(bytes.NewReader(data), nil) },
			"ingest of what is known": func() error { return ingest(bytes.NewReader(data), &oras.IngestOptions{Expected: desc}) },
			"ingest of a file":        func() error { return ingest(fileOf(t, data), &oras.IngestOptions{Expected: desc}) },
			"copy": func() error {
				if err := oras.Push(t.Context(), source, desc, bytes.NewReader(data)); err != nil {
					return err
				}
				r, err := source.Fetch(t.Context(), desc)
				if err != nil {
					return err
				}
				defer r.Close()
				return ingest(r, &oras.IngestOptions{Expected: desc})
			},
		} {
			if err := send(); err != nil {
				t.Errorf("%s: %v\nafter %q", how, err, had)
			}
			if err := check(t.Context(), repo, desc); err != nil {
				t.Errorf("pull: %v\nafter %q", err, had)
			}
			if err := repo.Delete(t.Context(), desc); err != nil {
				t.Errorf("delete: %v\nafter %q", err, had)
			}
		}
	}
}
