package bench

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/c73062ad/oras"
	"github.com/c73062ad/oras/remote"
)

const (
	loadClients = 64
	maxLoadRSS  = 150 // MiB
)

// BenchmarkLoad lets 64 clients push and pull artifacts of 4 KiB to 16 MiB, and list,
// tag and delete them, for a minute (a second with -short), all at once in a few
// repositories of one "oras serve". Any error fails it, and so does more than 150 MiB
// of memory. Whatever is pulled is verified.
func BenchmarkLoad(b *testing.B) {
	length := time.Minute
	if testing.Short() {
		length = time.Second
	}
	b.Setenv("ORAS_ACCESS_LOG", "none") // it would come between what is printed here
	for b.Loop() {
		srv := serve(b)
		l := &load{b: b, host: srv.host, until: time.Now().Add(length),
			transport: &http.Transport{MaxIdleConnsPerHost: loadClients, MaxConnsPerHost: 2 * loadClients}}
		rand.NewChaCha8([32]byte{}).Read(l.block[:])
		var clients sync.WaitGroup
		for id := range loadClients {
			clients.Go(func() { l.client(id) })
		}
		clients.Wait()
		l.transport.CloseIdleConnections()
		rss := srv.stop()
		b.ReportMetric(float64(l.pushed.Load())/length.Seconds(), "pushes/s")
		b.ReportMetric(float64(l.pulled.Load())/length.Seconds(), "pulls/s")
		b.ReportMetric(float64(l.moved.Load())/length.Seconds()/(1<<20), "MiB/s")
		b.ReportMetric(float64(l.failed.Load()), "errors")
		b.ReportMetric(rss, "serve-MiB")
		b.ReportMetric(0, "ns/op") // means nothing here
		if rss > maxLoadRSS {
			b.Errorf("the registry took %.0f MiB of memory, more than %d", rss, maxLoadRSS)
		}
	}
}

type load struct {
	b         *testing.B
	host      string
	until     time.Time
	transport *http.Transport
	block     [16 << 20]byte

	pushed, pulled, moved, failed atomic.Int64
}

// client does what one client does until time is up: it pulls what it pushed, and
// keeps its last few artifacts.
func (l *load) client(id int) {
	ctx := context.Background()
	r, err := remote.Open(fmt.Sprintf("%s/load/%d", l.host, id%8), &remote.Options{PlainHTTP: true, Transport: l.transport})
	if err != nil {
		l.fail(err)
		return
	}
	chance := rand.New(rand.NewPCG(1, uint64(id)))
	var tags []string
	for n := 0; time.Now().Before(l.until); n++ {
		tag := fmt.Sprintf("c%d-%d", id, n)
		if err := l.push(ctx, r, tag, l.size(chance)); err != nil {
			l.fail(fmt.Errorf("push %s: %w", tag, err))
			return
		}
		tags = append(tags, tag)
		for range 3 {
			if err := l.pull(ctx, r, tags[chance.IntN(len(tags))]); err != nil {
				l.fail(fmt.Errorf("pull: %w", err))
				return
			}
		}
		if n%16 == 0 {
			stop := fmt.Errorf("a page is enough")
			if err := r.Tags(ctx, "", func([]string) error { return stop }); err != stop {
				l.fail(fmt.Errorf("tags: %w", err))
				return
			}
		}
		if len(tags) > 8 {
			if err := r.Untag(ctx, tags[0]); err != nil {
				l.fail(fmt.Errorf("untag %s: %w", tags[0], err))
				return
			}
			tags = tags[1:]
		}
	}
}

// size returns how large the next layer is: most are small, few are large.
func (l *load) size(chance *rand.Rand) int {
	switch n := chance.IntN(100); {
	case n < 70:
		return 4 << 10
	case n < 97:
		return 256 << 10
	}
	return len(l.block)
}

// layer is content of size bytes that no other name has.
type layer struct {
	name string
	rest []byte
}

func (c layer) reader() io.Reader {
	return io.MultiReader(bytes.NewReader([]byte(c.name)), bytes.NewReader(c.rest))
}

func (l *load) push(ctx context.Context, r *remote.Repository, tag string, size int) error {
	content := layer{tag, l.block[len(tag):size]}
	h := oras.SHA256.New()
	io.Copy(h, content.reader())
	desc := oras.Descriptor{MediaType: oras.MediaTypeLayer, Digest: oras.SHA256.Sum(h).OCI(), Size: int64(size)}
	if err := oras.Push(ctx, r, desc, content.reader()); err != nil {
		return err
	}
	config := oras.Empty()
	if err := oras.Push(ctx, r, config, bytes.NewReader([]byte("{}"))); err != nil {
		return err
	}
	manifest := fmt.Appendf(nil, `{"schemaVersion":2,"mediaType":%q,"config":{"mediaType":%q,"digest":%q,"size":2},"layers":[{"mediaType":%q,"digest":%q,"size":%d}]}`,
		oras.MediaTypeImageManifest, config.MediaType, config.Digest, desc.MediaType, desc.Digest, desc.Size)
	if err := oras.PushTagged(ctx, r, oras.DescriptorOf(oras.MediaTypeImageManifest, manifest), bytes.NewReader(manifest), tag); err != nil {
		return err
	}
	l.pushed.Add(1)
	l.moved.Add(int64(size))
	return nil
}

func (l *load) pull(ctx context.Context, r *remote.Repository, tag string) error {
	desc, err := r.Resolve(ctx, tag)
	if err != nil {
		return err
	}
	m, err := oras.ReadManifest(ctx, r, desc)
	if err != nil {
		return err
	}
	for _, child := range m.Layers {
		body, err := r.Fetch(ctx, child)
		if err != nil {
			return err
		}
		v := oras.NewVerifier(body, child)
		n, err := io.Copy(io.Discard, v)
		body.Close()
		if err != nil {
			return err
		}
		l.moved.Add(n)
	}
	l.pulled.Add(1)
	return nil
}

func (l *load) fail(err error) {
	l.failed.Add(1)
	l.b.Error(err)
}
