package oras_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/iotest"
	"testing/synctest"

	"github.com/c73062ad/oras"
	"github.com/c73062ad/oras/memory"
)

var errBroken = errors.New("broken")

func TestCopyErrorSide(t *testing.T) {
	a := blob("some content")
	img := image("img", a.Descriptor)
	root := index("root", img.Descriptor)
	src := newStore(t, emptyConfig, a, img, root)
	reader := func(c content, r io.Reader) *hooked {
		return &hooked{Store: src, fetch: func(ctx context.Context, d oras.Descriptor) (io.ReadCloser, error) {
			if d.Digest == c.Digest {
				return io.NopCloser(r), nil
			}
			return src.Fetch(ctx, d)
		}}
	}
	failing := func(kind string, c content) *hooked {
		s := memory.New()
		fails := func(d oras.Descriptor) error {
			if d.Digest == c.Digest {
				return fmt.Errorf("%s: %w", kind, errBroken)
			}
			return nil
		}
		h := &hooked{Store: s}
		switch kind {
		case "exists":
			h.exists = func(ctx context.Context, d oras.Descriptor) (bool, error) {
				exists, err := s.Exists(ctx, d)
				return exists, errors.Join(err, fails(d))
			}
		case "push":
			h.push = func(ctx context.Context, d oras.Descriptor, r io.Reader) error {
				if err := fails(d); err != nil {
					return err
				}
				return s.Push(ctx, d, r)
			}
		case "push after reading":
			h.push = func(ctx context.Context, d oras.Descriptor, r io.Reader) error {
				if err := fails(d); err != nil {
					_, readErr := io.Copy(io.Discard, r)
					return errors.Join(err, readErr)
				}
				return s.Push(ctx, d, r)
			}
		case "tag":
			h.tag = func(_ context.Context, d oras.Descriptor, _ string) error { return fails(d) }
		}
		return h
	}
	short := a.data[:5]
	for name, test := range map[string]struct {
		src       oras.Source
		dst       oras.Target
		reference string
		target    bool
		want      error
	}{
		"no such tag":                  {src, memory.New(), "absent", false, oras.ErrNotFound},
		"no such digest":               {src, memory.New(), blob("absent").Digest.String(), false, oras.ErrNotFound},
		"blob cannot be opened":        {newStore(t, emptyConfig, img, root), memory.New(), "root", false, oras.ErrNotFound},
		"manifest cannot be opened":    {newStore(t, emptyConfig, a, root), memory.New(), "root", false, oras.ErrNotFound},
		"blob cannot be read":          {reader(a, io.MultiReader(bytes.NewReader(short), iotest.ErrReader(errBroken))), memory.New(), "root", false, errBroken},
		"blob is cut off":              {reader(a, bytes.NewReader(short)), memory.New(), "root", false, oras.ErrInvalid},
		"blob is too long":             {reader(a, strings.NewReader("some content and more")), memory.New(), "root", false, oras.ErrInvalid},
		"blob is another":              {reader(a, strings.NewReader("same content")), memory.New(), "root", false, oras.ErrInvalid},
		"manifest cannot be read":      {reader(img, iotest.ErrReader(errBroken)), memory.New(), "root", false, errBroken},
		"manifest is another":          {reader(img, bytes.NewReader(image("image").data)), memory.New(), "root", false, oras.ErrInvalid},
		"root is another":              {reader(root, bytes.NewReader(image("image").data)), memory.New(), "root", false, oras.ErrInvalid},
		"no answer about a blob":       {src, failing("exists", a), "root", true, errBroken},
		"no answer about a manifest":   {src, failing("exists", img), "root", true, errBroken},
		"blob is not taken":            {src, failing("push", a), "root", true, errBroken},
		"blob is not taken in the end": {src, failing("push after reading", a), "root", true, errBroken},
		"manifest is not taken":        {src, failing("push", img), "root", true, errBroken},
		"root is not taken":            {src, failing("push", root), "root", true, errBroken},
		"tag is not taken":             {src, failing("tag", root), "root", true, errBroken},
		"referrers are not told":       {listing{src, func(context.Context, oras.Descriptor, string, func([]oras.Descriptor) error) error { return errBroken }}, memory.New(), "root", false, errBroken},
		"source has no referrers":      {source{src}, memory.New(), "root", false, oras.ErrUnsupported},
		"content while mounting":       {newStore(t, emptyConfig, img, root), mounter{Store: memory.New()}, "root", false, oras.ErrNotFound},
		"mounting":                     {src, mounter{Store: failing("push", a)}, "root", true, errBroken},
	} {
		for _, concurrency := range []int{1, 3} {
			opts := &oras.CopyOptions{Tags: []string{"v1"}, Concurrency: concurrency, MountFrom: "other"}
			opts.Referrers = strings.Contains(name, "referrers")
			_, err := oras.Copy(t.Context(), test.src, test.reference, test.dst, opts)
			if !errors.Is(err, test.want) {
				t.Errorf("%s: %v, want %v", name, err, test.want)
				continue
			}
			if atTarget(t, err) != test.target {
				t.Errorf("%s: at target %v, %v", name, !test.target, err)
			}
			if errors.Is(err, context.Canceled) {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
}

// A manifest that names what cannot be a digest does not get as far as a store.
func TestCopyBadDescriptor(t *testing.T) {
	for name, digest := range map[string]string{
		"unknown algorithm": "multihash+base58:QmRZxt2b1FVZPNqd8hsiykDL3TdBDeTSPX9Kv46HmX4Gx8",
		"path":              "sha256:../../etc/passwd",
	} {
		root := []byte(`{"schemaVersion":2,"config":` + desc("{}") + `,"layers":[{"mediaType":"a/b","digest":"` + digest + `","size":1}]}`)
		d := oras.DescriptorOf(oras.MediaTypeImageManifest, root)
		src := &hooked{Store: memory.New()}
		src.fetch = func(_ context.Context, got oras.Descriptor) (io.ReadCloser, error) {
			if string(got.Digest) == digest {
				t.Errorf("%s: fetched", name)
			}
			if got.Digest == d.Digest {
				return io.NopCloser(bytes.NewReader(root)), nil
			}
			return io.NopCloser(strings.NewReader("{}")), nil
		}
		_, err := oras.Copy(t.Context(), lyingSource{src, d}, "root", memory.New(), nil)
		if !errors.Is(err, oras.ErrInvalid) || atTarget(t, err) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// So does a root.
	_, err := oras.Copy(t.Context(), lyingSource{memory.New(), oras.Descriptor{Digest: "../x"}}, "root", memory.New(), nil)
	if !errors.Is(err, oras.ErrInvalid) {
		t.Errorf("root: %v", err)
	}
}

// The error is the one that ended the copy, not that it was ended; also for those
// who wait for the content that failed.
func TestCopyFirstError(t *testing.T) {
	shared, others := blob("shared"), []content{blob("1"), blob("2"), blob("3"), blob("4")}
	var images []content
	var children []oras.Descriptor
	for i, other := range others {
		img := image(fmt.Sprint(i), shared.titled(fmt.Sprint(i)), other.Descriptor)
		images = append(images, img)
		children = append(children, img.Descriptor)
	}
	root := index("root", children...)
	src := newStore(t, slices.Concat([]content{emptyConfig, shared}, others, images, []content{root})...)
	for range 20 {
		synctest.Test(t, func(t *testing.T) {
			waiting := make(chan struct{})
			var n atomic.Int32
			broken := &hooked{Store: src}
			broken.fetch = func(ctx context.Context, d oras.Descriptor) (io.ReadCloser, error) {
				switch {
				case d.Digest == shared.Digest:
					<-waiting // until all others wait, too
					return nil, errBroken
				case !oras.IsManifest(d.MediaType) && d.Digest != emptyConfig.Digest:
					if n.Add(1) == int32(len(others)) {
						close(waiting)
					}
					<-ctx.Done()
					return nil, ctx.Err()
				}
				return src.Fetch(ctx, d)
			}
			_, err := oras.Copy(t.Context(), broken, "root", memory.New(), &oras.CopyOptions{Concurrency: 50})
			if !errors.Is(err, errBroken) || errors.Is(err, context.Canceled) || atTarget(t, err) {
				t.Errorf("got %v", err)
			}
		})
	}
}

// After an error nothing new begins, wherever it comes from.
func TestCopyStopsAtError(t *testing.T) {
	var layers []oras.Descriptor
	contents := []content{emptyConfig}
	for i := range 100 {
		layer := blob(fmt.Sprint("layer ", i))
		contents = append(contents, layer)
		layers = append(layers, layer.Descriptor)
	}
	twice := blob("twice")
	root := image("root", append([]oras.Descriptor{twice.Descriptor, twice.titled("again")}, layers...)...)
	contents = append(contents, twice, root)
	src := newStore(t, contents...)

	s := memory.New()
	var pushed atomic.Int32
	dst := &hooked{Store: s}
	dst.push = func(ctx context.Context, d oras.Descriptor, r io.Reader) error {
		pushed.Add(1)
		return s.Push(ctx, d, r)
	}
	dst.exists = func(ctx context.Context, d oras.Descriptor) (bool, error) {
		if d.Annotations != nil {
			return false, errBroken // asked about the second name
		}
		return s.Exists(ctx, d)
	}
	_, err := oras.Copy(t.Context(), src, "root", dst, &oras.CopyOptions{Concurrency: 1})
	if !errors.Is(err, errBroken) || !atTarget(t, err) {
		t.Errorf("got %v", err)
	}
	if n := pushed.Load(); n > 5 {
		t.Errorf("%d pushes though the first blob failed", n)
	}

	// The listing of referrers of the first of many.
	var children []oras.Descriptor
	contents = []content{emptyConfig}
	for i := range 100 {
		img := image(fmt.Sprint(i))
		contents, children = append(contents, img), append(children, img.Descriptor)
	}
	src = newStore(t, append(contents, index("root", children...))...)
	var asked atomic.Int32
	_, err = oras.Copy(t.Context(), listing{src, func(context.Context, oras.Descriptor, string, func([]oras.Descriptor) error) error {
		asked.Add(1)
		return errBroken
	}}, "root", memory.New(), &oras.CopyOptions{Referrers: true})
	if !errors.Is(err, errBroken) || atTarget(t, err) {
		t.Errorf("got %v", err)
	}
	if n := asked.Load(); n > 5 {
		t.Errorf("asked %d times though the first answer was an error", n)
	}
}

// In a bubble of synctest a goroutine that stays behind is a failure, as is one
// that waits for another for ever.
func TestCopyCancel(t *testing.T) {
	a, b := blob("a"), blob("b")
	img := image("img", a.Descriptor, b.titled("1"), b.titled("2"))
	other := image("other", a.titled("3"), b.Descriptor)
	ref := referrer("ref", img.Descriptor, b.Descriptor)
	root := index("root", img.Descriptor, other.Descriptor)
	src := newStore(t, emptyConfig, a, b, img, other, ref, root)
	cause := errors.New("the user has had enough")

	for name, hang := range map[string]content{"config": emptyConfig, "blob": a, "manifest": img, "root": root, "referrer": ref} {
		for side := range 3 {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancelCause(t.Context())
				reached := make(chan struct{}, 100)
				wait := func(ctx context.Context, d oras.Descriptor) error {
					if d.Digest != hang.Digest {
						return nil
					}
					reached <- struct{}{}
					<-ctx.Done()
					return ctx.Err()
				}
				from, to := &hooked{Store: src}, &hooked{Store: memory.New()}
				store := to.Store
				switch side {
				case 0:
					from.fetch = func(ctx context.Context, d oras.Descriptor) (io.ReadCloser, error) {
						if err := wait(ctx, d); err != nil {
							return nil, err
						}
						return src.Fetch(ctx, d)
					}
				case 1:
					to.exists = func(ctx context.Context, d oras.Descriptor) (bool, error) {
						if err := wait(ctx, d); err != nil {
							return false, err
						}
						return store.Exists(ctx, d)
					}
				case 2:
					to.push = func(ctx context.Context, d oras.Descriptor, r io.Reader) error {
						if err := wait(ctx, d); err != nil {
							return err
						}
						return store.Push(ctx, d, r)
					}
				}
				done := make(chan error, 1)
				go func() {
					_, err := oras.Copy(ctx, from, "root", to, &oras.CopyOptions{Referrers: true, Tags: []string{"v1"}})
					done <- err
				}()
				<-reached
				synctest.Wait() // all others wait, too
				select {
				case err := <-done:
					t.Errorf("%s, %d: ended before: %v", name, side, err)
				default:
				}
				cancel(cause)
				if err := <-done; err != cause {
					t.Errorf("%s, %d: %v", name, side, err)
				}
				if got := tags(t, store.(*memory.Store)); len(got) != 0 {
					t.Errorf("%s, %d: tags %q", name, side, got)
				}
			})
		}
	}

	// Too late to begin.
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	dst := memory.New()
	if _, err := oras.Copy(ctx, src, "root", dst, &oras.CopyOptions{Tags: []string{"v1"}}); err != context.Canceled {
		t.Errorf("got %v", err)
	}
	wantExactly(t, dst, []content{emptyConfig, a, b, img, other, ref, root})
}

// A target may answer before it has read everything, while somebody still reads
// for it, as HTTP transports do. Such a reader gets an error, and nobody hears of
// it.
func TestCopyLateReader(t *testing.T) {
	large := content{data: bytes.Repeat([]byte("large"), 100_000)}
	large.Descriptor = oras.DescriptorOf("a/b", large.data)
	for _, answer := range []error{nil, errBroken} {
		for _, afterwards := range []bool{false, true} {
			var late sync.WaitGroup
			over := make(chan struct{})
			dst := &hooked{Store: memory.New()}
			dst.push = func(ctx context.Context, d oras.Descriptor, r io.Reader) error {
				begun := make(chan struct{})
				late.Go(func() {
					r.Read(make([]byte, 10))
					close(begun)
					if !afterwards {
						io.Copy(io.Discard, r) // at the same time
						return
					}
					<-over
					if n, err := r.Read(make([]byte, 10)); n != 0 || err == nil || err == io.EOF {
						t.Errorf("read %d bytes afterwards, %v", n, err)
					}
					if s, ok := r.(io.Seeker); ok {
						s.Seek(0, io.SeekStart)
						if n, err := r.Read(make([]byte, 10)); n != 0 || err == nil || err == io.EOF {
							t.Errorf("read %d bytes after rewinding, %v", n, err)
						}
					}
				})
				<-begun
				return answer
			}
			var ended bool
			_, err := oras.Copy(t.Context(), newStore(t, large), large.Digest.String(), dst, &oras.CopyOptions{Event: func(e oras.Event) {
				if ended {
					t.Errorf("event %v behind the last", e.Kind)
				}
				ended = e.Kind == oras.Copied
			}})
			if !errors.Is(err, answer) || err != nil && !atTarget(t, err) {
				t.Errorf("got %v", err)
			}
			close(over)
			late.Wait()
		}
	}
}

// What a source could make endless ends with an error.
func TestCopyEndless(t *testing.T) {
	chain := func(n int, next func(i int, below oras.Descriptor) content) []content {
		all := []content{emptyConfig, image("0")}
		for i := range n {
			all = append(all, next(i, all[len(all)-1].Descriptor))
		}
		return all
	}
	indexes := func(i int, d oras.Descriptor) content { return index(fmt.Sprint(i), d) }
	subjects := func(i int, d oras.Descriptor) content { return referrer(fmt.Sprint(i), d) }
	for name, test := range map[string]struct {
		contents  []content
		referrers bool
		ok        bool
	}{
		"indexes":                       {chain(100, indexes), false, true},
		"too many indexes":              {chain(101, indexes), false, false},
		"subjects":                      {chain(100, subjects), false, true},
		"too many subjects":             {chain(101, subjects), false, false},
		"referrers":                     {chain(99, subjects), true, true},
		"too many referrers in a chain": {chain(101, subjects), true, false},
	} {
		src, dst := newStore(t, test.contents...), memory.New()
		reference := "root"
		if test.referrers {
			reference = test.contents[1].Digest.String()
		}
		_, err := oras.Copy(t.Context(), src, reference, dst, &oras.CopyOptions{Referrers: test.referrers})
		switch {
		case test.ok && err != nil:
			t.Errorf("%s: %v", name, err)
		case test.ok:
			wantExactly(t, dst, test.contents, test.contents...)
		case !errors.Is(err, oras.ErrInvalid) || atTarget(t, err):
			t.Errorf("%s: %v", name, err)
		}
	}

	// Listings that never end, or go round in circles.
	root := image("root")
	other := referrer("other", root.Descriptor)
	src := newStore(t, emptyConfig, other, root)
	page := make([]oras.Descriptor, 10_000)
	for i := range page {
		page[i] = other.Descriptor
	}
	endless := listing{src, func(_ context.Context, node oras.Descriptor, _ string, fn func([]oras.Descriptor) error) error {
		for {
			if err := fn(page); err != nil {
				return err
			}
		}
	}}
	_, err := oras.Copy(t.Context(), endless, "root", memory.New(), &oras.CopyOptions{Referrers: true})
	if !errors.Is(err, oras.ErrInvalid) || atTarget(t, err) {
		t.Errorf("endless: %v", err)
	}
	asked := 0
	circle := listing{src, func(_ context.Context, node oras.Descriptor, _ string, fn func([]oras.Descriptor) error) error {
		asked++
		if node.Digest == root.Digest {
			return fn([]oras.Descriptor{other.Descriptor, root.Descriptor})
		}
		return fn([]oras.Descriptor{root.Descriptor, other.Descriptor})
	}}
	dst := memory.New()
	_, err = oras.Copy(t.Context(), circle, "root", dst, &oras.CopyOptions{Referrers: true, Concurrency: 1})
	must(t, err)
	wantExactly(t, dst, []content{emptyConfig, root, other}, emptyConfig, root, other)
	if asked != 2 {
		t.Errorf("asked %d times", asked)
	}
}

// However large a graph is, and however many ways there are through it, the
// number of goroutines is bounded.
func TestCopyGoroutines(t *testing.T) {
	wide := func() []content {
		all := []content{emptyConfig}
		var layers []oras.Descriptor
		for i := range 10_000 {
			layer := blob(fmt.Sprint(i))
			all, layers = append(all, layer), append(layers, layer.Descriptor)
		}
		return append(all, image("wide", layers...))
	}
	children := func() []content {
		all := []content{emptyConfig}
		var images []oras.Descriptor
		for i := range 10_000 {
			img := image(fmt.Sprint(i))
			all, images = append(all, img), append(images, img.Descriptor)
		}
		return append(all, index("children", images...))
	}
	tree := func(width, depth int) []content {
		all := []content{emptyConfig}
		var grow func(name string, depth int) content
		grow = func(name string, depth int) content {
			if depth == 0 {
				all = append(all, image(name))
				return all[len(all)-1]
			}
			var below []oras.Descriptor
			for i := range width {
				below = append(below, grow(fmt.Sprint(name, i), depth-1).Descriptor)
			}
			all = append(all, index(name, below...))
			return all[len(all)-1]
		}
		grow("tree", depth)
		return all
	}
	ladder := func(height int) []content { // 2^height ways, 2×height indexes
		all := []content{emptyConfig, image("left"), image("right")}
		for i := range height {
			left, right := all[len(all)-2], all[len(all)-1]
			all = append(all, index(fmt.Sprint("left", i), left.Descriptor, right.Descriptor), index(fmt.Sprint("right", i), right.Descriptor, left.Descriptor))
		}
		return all
	}
	// The limits leave room for goroutines that are done and not yet gone; what
	// they tell apart is a number that grows with the content.
	for name, test := range map[string]struct {
		contents    []content
		concurrency int
		limit       int
	}{
		"10,000 layers, 20 at once": {wide(), 20, 200},
		"10,000 children":           {children(), 0, 200},
		"tree of width 3, height 6": {tree(3, 6), 0, 150},
		"tree of width 2, height 8": {tree(2, 8), 4, 150},
		"ladder of height 90":       {ladder(90), 0, 100},
	} {
		src := newStore(t, test.contents...)
		before := runtime.NumGoroutine()
		var most atomic.Int64
		s := memory.New()
		dst := &hooked{Store: s, exists: func(ctx context.Context, d oras.Descriptor) (bool, error) {
			for {
				n, old := int64(runtime.NumGoroutine()-before), most.Load()
				if n <= old || most.CompareAndSwap(old, n) {
					break
				}
			}
			runtime.Gosched() // or hardly anything happens at once
			return s.Exists(ctx, d)
		}}
		_, err := oras.Copy(t.Context(), src, "root", dst, &oras.CopyOptions{Concurrency: test.concurrency})
		must(t, err)
		if exists, _ := s.Exists(t.Context(), test.contents[1].Descriptor); !exists {
			t.Errorf("%s: not copied", name)
		}
		if n := most.Load(); n > int64(test.limit) {
			t.Errorf("%s: %d goroutines", name, n)
		}
		t.Logf("%s: %d contents, %d goroutines", name, len(test.contents), most.Load())
	}
}
