package remote_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/x509"
	"io"
	mathrand "math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/c73062ad/oras"
	"github.com/c73062ad/oras/auth"
	"github.com/c73062ad/oras/memory"
	"github.com/c73062ad/oras/remote"
	"github.com/c73062ad/oras/server"
	"github.com/c73062ad/oras/storetest"
)

// closing are servers whose tests are over. A server that answered before it had read
// all waits for half a second before it closes the connection; tests need not.
var closing sync.WaitGroup

func TestMain(m *testing.M) {
	code := m.Run()
	closing.Wait()
	os.Exit(code)
}

// serve returns the host of a server for handler.
func serve(t testing.TB, handler http.Handler) string {
	t.Helper()
	s := httptest.NewServer(handler)
	t.Cleanup(func() { closing.Go(s.Close) })
	return strings.TrimPrefix(s.URL, "http://")
}

// open returns the repository team/hello at host, by plain HTTP.
func open(t testing.TB, host string, opts remote.Options) *remote.Repository {
	t.Helper()
	opts.PlainHTTP = true
	r, err := remote.Open(host+"/team/hello", &opts)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func registry(t testing.TB, host string) *remote.Registry {
	t.Helper()
	r, err := remote.NewRegistry(host, &remote.Options{PlainHTTP: true})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// inMemory returns a registry's handler, with nothing in it.
func inMemory() http.Handler { return newServer(memory.NewRegistry()) }

// newServer returns a server that soon forgets uploads which are left open, and what
// is behind them with them: tests are run many times.
func newServer(reg oras.Registry) http.Handler {
	return server.New(reg, &server.Options{UploadExpiry: 30 * time.Second})
}

func TestStore(t *testing.T) {
	t.Parallel()
	storetest.Test(t, func(t *testing.T) oras.Store { return open(t, serve(t, inMemory()), remote.Options{}) })
}

func TestStoreOfStore(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("every part of it is in another store's test")
	}
	storetest.Test(t, func(t *testing.T) oras.Store {
		behind := registry(t, serve(t, inMemory()))
		return open(t, serve(t, newServer(behind)), remote.Options{})
	})
}

func TestStoreHTTP2(t *testing.T) {
	t.Parallel()
	storetest.Test(t, func(t *testing.T) oras.Store {
		s := httptest.NewUnstartedServer(inMemory())
		s.EnableHTTP2 = true
		s.StartTLS()
		t.Cleanup(s.Close)
		transport := remote.NewTransport()
		transport.TLSClientConfig.RootCAs = x509.NewCertPool()
		transport.TLSClientConfig.RootCAs.AddCert(s.Certificate())
		t.Cleanup(transport.CloseIdleConnections)
		r, err := remote.Open(strings.TrimPrefix(s.URL, "https://")+"/team/hello", &remote.Options{Transport: transport})
		if err != nil {
			t.Fatal(err)
		}
		return r
	})
}

// A store behind a login, and a registry that now and then is too busy, is a store
// all the same, with what package auth has.
func TestStoreBehindLogin(t *testing.T) {
	t.Parallel()
	authorize := func(r *http.Request, _ server.Access) error {
		if user, password, _ := r.BasicAuth(); user != "me" || password != "secret" {
			return oras.ErrUnauthorized
		}
		return nil
	}
	var requests atomic.Int64
	storetest.Test(t, func(t *testing.T) oras.Store {
		host := serve(t, before(server.New(memory.NewRegistry(), &server.Options{Authorize: authorize}), func(w http.ResponseWriter, r *http.Request) bool {
			if requests.Add(1)%500 != 7 {
				return false
			}
			io.CopyN(io.Discard, r.Body, 10)
			w.WriteHeader(http.StatusTooManyRequests)
			return true
		}))
		opts := remote.Options{PlainHTTP: true}
		source := auth.Static(host, auth.Credential{Username: "me", Password: "secret"})
		opts.Transport = auth.NewTransport(opts.URL(host), source, &auth.Options{Base: &auth.Retry{Base: remote.NewTransport()}})
		return open(t, host, opts)
	})
}

// content returns n random bytes and their descriptor as a blob.
func content(t testing.TB, n int) ([]byte, oras.Descriptor) {
	t.Helper()
	data := make([]byte, n)
	var seed [32]byte
	rand.Read(seed[:])
	mathrand.NewChaCha8(seed).Read(data)
	return data, oras.DescriptorOf("application/vnd.example.blob", data)
}

func push(t testing.TB, to oras.Target, desc oras.Descriptor, data []byte) {
	t.Helper()
	if err := oras.Push(t.Context(), to, desc, bytes.NewReader(data)); err != nil {
		t.Fatal(err)
	}
}

// fetch reads desc whole, verified.
func fetch(ctx context.Context, from oras.Fetcher, desc oras.Descriptor) ([]byte, error) {
	r, err := from.Fetch(ctx, desc)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(oras.NewVerifier(r, desc))
}

// check reads desc whole, verified, and keeps nothing of it.
func check(ctx context.Context, from oras.Fetcher, desc oras.Descriptor) error {
	r, err := from.Fetch(ctx, desc)
	if err != nil {
		return err
	}
	defer r.Close()
	_, err = io.Copy(io.Discard, struct{ io.Reader }{oras.NewVerifier(r, desc)})
	return err
}

func image(name string) (data []byte, desc oras.Descriptor) {
	data = []byte(`{"schemaVersion":2,"mediaType":"` + oras.MediaTypeImageManifest + `","config":{"mediaType":"application/vnd.oci.empty.v1+json",` +
		`"digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a","size":2},"layers":[],"annotations":{"name":"` + name + `"}}`)
	return data, oras.DescriptorOf(oras.MediaTypeImageManifest, data)
}
