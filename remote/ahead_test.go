package remote_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/c73062ad/oras"
	"github.com/c73062ad/oras/remote"
)

// large is the size of blobs that are worth several connections.
const large = 24 << 20

// slowly gives what give does, rate bytes a second with each request.
func slowly(rate float64, give func(http.ResponseWriter, *http.Request, []byte)) func(http.ResponseWriter, *http.Request, []byte) {
	return func(w http.ResponseWriter, r *http.Request, data []byte) {
		give(&slowWriter{ResponseWriter: w, rate: rate, start: time.Now()}, r, data)
	}
}

type slowWriter struct {
	http.ResponseWriter
	rate  float64
	start time.Time
	n     int
}

func (s *slowWriter) Write(p []byte) (int, error) {
	n, err := s.ResponseWriter.Write(p)
	s.n += n
	if ahead := time.Duration(float64(s.n)/s.rate*float64(time.Second)) - time.Since(s.start); ahead > time.Millisecond {
		<-time.After(ahead)
	}
	return n, err
}

func (s *slowWriter) Unwrap() http.ResponseWriter { return s.ResponseWriter }

// A crowd counts how many requests there are at a time.
type crowd struct {
	now, most, ranges atomic.Int64
	give              func(http.ResponseWriter, *http.Request, []byte)
}

func (c *crowd) serve(w http.ResponseWriter, r *http.Request, data []byte) {
	n := c.now.Add(1)
	defer c.now.Add(-1)
	for most := c.most.Load(); n > most && !c.most.CompareAndSwap(most, n); most = c.most.Load() {
	}
	if r.Header.Get("Range") != "" {
		c.ranges.Add(1)
	}
	c.give(w, r, data)
}

// Where connections are slow a large blob comes over several, as many as are allowed,
// and little of it twice: what was on its way when the first connection was given up.
func TestFetchParallel(t *testing.T) {
	t.Parallel()
	data, desc := content(t, large)
	for connections, want := range map[int]int64{0: 6, 1: 1, 2: 2} {
		t.Run(fmt.Sprint(connections), func(t *testing.T) {
			t.Parallel()
			c := &crowd{give: slowly(25e6, whole)}
			s := &blobServer{data: data, give: c.serve}
			if err := check(t.Context(), open(t, serve(t, s), remote.Options{Connections: connections}), desc); err != nil {
				t.Fatal(err)
			}
			// The first connection, of the whole, may not have ended yet when
			// another takes its place.
			if most := c.most.Load(); most > want+1 || most < min(want, 2) || want == 1 && (most != 1 || c.ranges.Load() != 0) {
				t.Errorf("%d requests at a time; want %d", most, want)
			}
			if n := s.sent.Load(); n > large+large/2 {
				t.Errorf("%d bytes sent for %d", n, large)
			}
		})
	}
}

// Whatever a registry does when it is asked for a part, the one stream there was goes
// on, and is not asked for again.
func TestFetchParallelRefused(t *testing.T) {
	t.Parallel()
	data, desc := content(t, 20<<20)
	wrong := func(contentRange string) func(http.ResponseWriter, *http.Request, []byte) {
		return func(w http.ResponseWriter, r *http.Request, data []byte) {
			w.Header().Set("Content-Range", contentRange)
			w.WriteHeader(http.StatusPartialContent)
			w.Write(data)
		}
	}
	status := func(code int) func(http.ResponseWriter, *http.Request, []byte) {
		return func(w http.ResponseWriter, r *http.Request, data []byte) { w.WriteHeader(code) }
	}
	for name, part := range map[string]func(http.ResponseWriter, *http.Request, []byte){
		"200":                 func(w http.ResponseWriter, r *http.Request, data []byte) { w.Write(data) },
		"none":                wrong(""),
		"another":             wrong(fmt.Sprintf("bytes 0-99/%d", len(data))),
		"of something else":   wrong("bytes 0-99/100"),
		"refused":             status(http.StatusForbidden),
		"not satisfiable":     status(http.StatusRequestedRangeNotSatisfiable),
		"too many":            status(http.StatusTooManyRequests),
		"another is too much": status(http.StatusServiceUnavailable),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var wholes atomic.Int64
			s := &blobServer{data: data, give: func(w http.ResponseWriter, r *http.Request, data []byte) {
				if r.Header.Get("Range") != "" {
					part(w, r, data)
					return
				}
				wholes.Add(1)
				slowly(50e6, whole)(w, r, data)
			}}
			if err := check(t.Context(), open(t, serve(t, s), remote.Options{}), desc); err != nil {
				t.Fatal(err)
			}
			if n := wholes.Load(); n != 1 {
				t.Errorf("the whole was asked for %d times", n)
			}
			if n := s.requests.Load(); n > 5 {
				t.Errorf("%d requests", n)
			}
		})
	}
}

// Seeking and closing in the middle of it leave nothing behind, and what is read after
// a Seek is what is there.
func TestFetchParallelSeek(t *testing.T) {
	t.Parallel()
	data, desc := content(t, large)
	c := &crowd{give: slowly(60e6, whole)}
	r, err := open(t, serve(t, &blobServer{data: data, give: c.serve}), remote.Options{}).Fetch(t.Context(), desc)
	if err != nil {
		t.Fatal(err)
	}
	seeker := r.(io.ReadSeeker)
	buf := make([]byte, 9<<20)
	for _, offset := range []int{0, 3 << 20, 1 << 20, 20 << 20, large - 1000} {
		if n, err := seeker.Seek(int64(offset), io.SeekStart); n != int64(offset) || err != nil {
			t.Fatal(n, err)
		}
		got := buf[:min(len(buf), large-offset)]
		if _, err := io.ReadFull(r, got); err != nil || !bytes.Equal(got, data[offset:][:len(got)]) {
			t.Fatalf("at %d: other bytes, %v", offset, err)
		}
	}
	if n, err := r.Read(make([]byte, 1)); n != 0 || err != io.EOF {
		t.Errorf("at the end: %d, %v", n, err)
	}
	if _, err := seeker.Seek(0, io.SeekStart); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(r, buf); err != nil {
		t.Fatal(err)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if n, err := r.Read(make([]byte, 1)); n != 0 || err == nil || err == io.EOF {
		t.Errorf("after Close: %d, %v", n, err)
	}
}

// Whoever gives up ends all requests, though nobody closes anything.
func TestFetchParallelCancelled(t *testing.T) {
	data, desc := content(t, large)
	c := &crowd{give: slowly(25e6, whole)}
	host := serve(t, &blobServer{data: data, give: c.serve})
	for _, cancels := range []bool{true, false} {
		ctx, cancel := context.WithCancel(t.Context())
		r, err := open(t, host, remote.Options{}).Fetch(ctx, desc)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.CopyN(io.Discard, r, 9<<20); err != nil {
			t.Fatal(err)
		}
		if cancels {
			cancel()
			if _, err := io.Copy(io.Discard, r); !errors.Is(err, ctx.Err()) || err == nil {
				t.Errorf("error %v", err)
			}
		}
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
		cancel()
		stacks := make([]byte, 1<<20)
		if text := string(stacks[:runtime.Stack(stacks, true)]); strings.Contains(text, "(*ahead).work") {
			t.Errorf("after Close, cancelled: %v: somebody still works:\n%s", cancels, text)
		}
	}
}

// What many downloads hold in memory together has a limit, and none waits for another.
func TestFetchParallelMany(t *testing.T) {
	t.Parallel()
	data, desc := content(t, 18<<20)
	repo := open(t, serve(t, &blobServer{data: data, give: whole}), remote.Options{Connections: 4})
	rest := oras.SHA256.Digest(data[3<<20:])
	var readers []io.ReadCloser
	for range 6 {
		r, err := repo.Fetch(t.Context(), desc)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		if _, err := io.CopyN(io.Discard, r, 3<<20); err != nil {
			t.Fatal(err)
		}
		readers = append(readers, r) // those that came first have all the memory
	}
	for i := range readers {
		r := readers[len(readers)-1-i]
		h := oras.SHA256.New()
		n, err := io.Copy(h, struct{ io.Reader }{r})
		if err != nil || oras.SHA256.Sum(h) != rest {
			t.Fatalf("%d: %d bytes, %v", i, n, err)
		}
	}
}

// A download that began while another had the memory gets its connections when that has
// ended, and one whose connection failed gets them again.
func TestFetchParallelLater(t *testing.T) {
	t.Parallel()
	data, desc := content(t, 96<<20)
	give := slowly(25e6, whole)
	var refuses atomic.Bool
	c := &crowd{give: func(w http.ResponseWriter, r *http.Request, data []byte) {
		if refuses.Load() && r.Header.Get("Range") != "" {
			panic(http.ErrAbortHandler)
		}
		give(w, r, data)
	}}
	repo := open(t, serve(t, &blobServer{data: data, give: c.serve}), remote.Options{})
	begin := func() io.ReadCloser {
		t.Helper()
		r, err := repo.Fetch(t.Context(), desc)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { r.Close() })
		return r
	}
	// widens reads on until there are several connections, or to the end.
	widens := func(r io.Reader) bool {
		t.Helper()
		for before := c.ranges.Load(); c.ranges.Load() < before+10; {
			if _, err := io.CopyN(io.Discard, r, 1<<20); err == io.EOF {
				return false
			} else if err != nil {
				t.Fatal(err)
			}
		}
		return true
	}
	first, second := begin(), begin()
	if !widens(first) {
		t.Fatal("the first download has one connection")
	}
	if _, err := io.CopyN(io.Discard, second, 12<<20); err != nil {
		t.Fatal(err)
	}
	first.Close()
	if !widens(second) {
		t.Error("the second download has one connection though the first has ended")
	}
	second.Close()

	third := begin()
	refuses.Store(true)
	for began := c.ranges.Load(); c.ranges.Load() == began; {
		if _, err := io.CopyN(io.Discard, third, 1<<20); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := io.CopyN(io.Discard, third, 4<<20); err != nil {
		t.Fatal(err)
	}
	refuses.Store(false)
	if !widens(third) {
		t.Error("the third download has one connection though ranges are given again")
	}
}

// Bodies in both directions move no faster than allowed.
func TestLimitRate(t *testing.T) {
	t.Parallel()
	const rate, n = 1 << 20, 256 << 10
	data, desc := content(t, n)
	repo := open(t, serve(t, inMemory()), remote.Options{LimitRate: rate})
	for _, move := range []func() error{
		func() error { return oras.Push(t.Context(), repo, desc, bytes.NewReader(data)) },
		func() error { _, err := fetch(t.Context(), repo, desc); return err },
	} {
		start := time.Now()
		if err := move(); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(start); took < n*time.Second/rate*9/10 {
			t.Errorf("%d bytes took %v at %d a second", n, took, rate)
		}
	}
}
