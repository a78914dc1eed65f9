package bench

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/c73062ad/oras"
	"github.com/c73062ad/oras/bucket"
)

// quick is a Dir that makes nothing durable: it fills a data folder in a fraction of
// the time.
type quick struct {
	*bucket.Dir
	path string
}

func (q *quick) Sync(context.Context, string) error { return nil }

func (q *quick) Put(ctx context.Context, key string, content io.Reader, size int64) error {
	return q.PutAll(ctx, []bucket.Object{{Key: key, Content: content, Size: size}})
}

func (q *quick) PutAll(_ context.Context, steps ...[]bucket.Object) error {
	for _, step := range steps {
		for _, o := range step {
			if o.Seen {
				continue
			}
			if err := q.put(o); err != nil {
				return err
			}
		}
	}
	return nil
}

func (q *quick) put(o bucket.Object) error {
	name := filepath.Join(q.path, filepath.FromSlash(o.Key))
	err := q.write(o, name)
	if errors.Is(err, fs.ErrNotExist) {
		if err := os.MkdirAll(filepath.Dir(name), 0o700); err != nil {
			return err
		}
		err = q.write(o, name)
	}
	return err
}

func (q *quick) write(o bucket.Object, name string) error {
	if o.From != "" {
		return os.Link(filepath.Join(q.path, filepath.FromSlash(o.From)), name)
	}
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	if o.Content != nil {
		_, err = io.Copy(f, o.Content)
	}
	return errors.Join(err, f.Close())
}

// scale is how much there is of what is listed.
type scale struct {
	tags, repositories, referrers int
}

// BenchmarkScale reports what lists cost of which pages are asked for, at the median
// of all pages, and a push with a tag, in a data folder with 100,000 tags of as many
// manifests in one repository, 10,000 repositories, and 10,000 referrers of one
// subject; and how long "oras serve" takes to start on it, and its memory then.
func BenchmarkScale(b *testing.B) {
	s := scale{100_000, 10_000, 10_000}
	if testing.Short() {
		s = scale{200, 50, 50}
	}
	for b.Loop() {
		folder := dataFolder(b)
		first := pushCost(b, folder)
		subject := s.fill(b, folder)
		var started []time.Duration
		for range 5 {
			begin := time.Now()
			srv := start(b, program, "serve", "--addr", "127.0.0.1:0", "--data", folder)
			started = append(started, time.Since(begin))
			srv.stop()
		}
		b.ReportMetric(median(milliseconds(started)), "start-ms")

		srv := start(b, program, "serve", "--addr", "127.0.0.1:0", "--data", folder)
		b.ReportMetric(resident(b, srv), "idle-MiB")
		b.ReportMetric(pages(b, srv, "scale/many/tags/list?n=1000", s.tags, 3), "tags-page-ms")
		b.ReportMetric(pages(b, srv, "_catalog?n=1000", s.repositories, 10), "catalog-page-ms")
		b.ReportMetric(pages(b, srv, "scale/many/referrers/"+string(subject.Digest), 0, 20), "referrers-page-ms")
		srv.stop()
		last := pushCost(b, folder)
		b.ReportMetric(first, "first-push-ms")
		b.ReportMetric(last, "last-push-ms")
		b.ReportMetric(last/first, "last/first")
		b.ReportMetric(0, "ns/op") // means nothing here
	}
}

// fill fills the data folder and returns the subject of the referrers.
func (s scale) fill(b *testing.B, folder string) oras.Descriptor {
	b.Helper()
	dir, err := bucket.OpenDir(folder)
	if err != nil {
		b.Fatal(err)
	}
	defer dir.Close()
	registry := bucket.New(&quick{dir, folder})
	push := func(name, tag string, n int, subject *oras.Descriptor) oras.Descriptor {
		repo, err := registry.Repository(b.Context(), name)
		if err != nil {
			b.Fatal(err)
		}
		empty := oras.Empty()
		if err := oras.Push(b.Context(), repo, empty, strings.NewReader("{}")); err != nil {
			b.Fatal(err)
		}
		refers := ""
		if subject != nil {
			refers = fmt.Sprintf(`,"subject":{"mediaType":%q,"digest":%q,"size":%d}`, subject.MediaType, subject.Digest, subject.Size)
		}
		data := fmt.Appendf(nil, `{"schemaVersion":2,"mediaType":%q,"artifactType":"application/vnd.example.scan","config":{"mediaType":%q,"digest":%q,"size":2},"layers":[]%s,"annotations":{"n":"%d"}}`,
			ocispec.MediaTypeImageManifest, empty.MediaType, empty.Digest, refers, n)
		desc := oras.DescriptorOf(ocispec.MediaTypeImageManifest, data)
		if tag != "" {
			err = oras.PushTagged(b.Context(), repo, desc, bytes.NewReader(data), tag)
		} else {
			err = oras.Push(b.Context(), repo, desc, bytes.NewReader(data))
		}
		if err != nil {
			b.Fatal(err)
		}
		return desc
	}
	var subject oras.Descriptor
	for n := range s.tags {
		subject = push("scale/many", fmt.Sprintf("t%06d", n), n, nil)
	}
	for n := range s.referrers {
		push("scale/many", "", n, &subject)
	}
	for n := range s.repositories {
		push(fmt.Sprintf("scale/one/r%05d", n), "v1", 0, nil)
	}
	return subject
}

// pushCost returns the milliseconds, at the median, that a push of a manifest with a
// tag takes in the repository scale/many of a data folder.
func pushCost(b *testing.B, folder string) float64 {
	b.Helper()
	srv := start(b, program, "serve", "--addr", "127.0.0.1:0", "--data", folder)
	defer srv.stop()
	l := newLoader(b, srv.host, 1)
	config := l.pushBlob("scale/many", []byte("{}"))
	var took []time.Duration
	for n := range 200 {
		begin := time.Now()
		l.pushManifest("scale/many", fmt.Sprintf("push-%d-%d", srv.cmd.Process.Pid, n), -srv.cmd.Process.Pid*1000-n, config)
		took = append(took, time.Since(begin))
	}
	return median(milliseconds(took))
}

// pages reads a list, page by page, several times, and returns the milliseconds that
// a page takes at the median. In all there must be at least so many entries; 0 is for
// a list of which the first page only is read.
func pages(b *testing.B, srv *registry, path string, entries, times int) float64 {
	b.Helper()
	var took []time.Duration
	for range times {
		found := 0
		next := "http://" + srv.host + "/v2/" + path
		for next != "" {
			begin := time.Now()
			resp, err := http.Get(next)
			if err != nil {
				b.Fatal(err)
			}
			data, err := io.ReadAll(resp.Body)
			resp.Body.Close()
			took = append(took, time.Since(begin))
			if err != nil || resp.StatusCode != http.StatusOK {
				b.Fatalf("%s: %s, %v", next, resp.Status, err)
			}
			found += bytes.Count(data, []byte(`,"`)) + 1 // more or less
			link, _, more := strings.Cut(strings.TrimPrefix(resp.Header.Get("Link"), "<"), ">")
			if !more || entries == 0 {
				break
			}
			u, err := resp.Request.URL.Parse(link)
			if err != nil {
				b.Fatal(err)
			}
			next = u.String()
		}
		if found < max(entries, 2) {
			b.Fatalf("%s: %d entries, not %d", path, found, entries)
		}
	}
	return median(milliseconds(took))
}

func milliseconds(took []time.Duration) []float64 {
	var values []float64
	for _, d := range took {
		values = append(values, float64(d.Microseconds())/1000)
	}
	return values
}

// resident returns how much memory the registry has, in MiB.
func resident(b *testing.B, srv *registry) float64 {
	b.Helper()
	f, err := os.Open(fmt.Sprintf("/proc/%d/status", srv.cmd.Process.Pid))
	if err != nil {
		b.Skip("the memory of another process is only known on Linux")
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); lines.Scan(); {
		if value, found := strings.CutPrefix(lines.Text(), "VmRSS:"); found {
			kib, err := strconv.ParseFloat(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 64)
			if err != nil {
				b.Fatal(err)
			}
			return kib / 1024
		}
	}
	b.Fatal("no VmRSS")
	return 0
}
