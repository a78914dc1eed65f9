package bucket_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/c73062ad/oras"
	"github.com/c73062ad/oras/bucket"
)

// counting is a Dir that counts what is done to it, and the keys that are listed.
type counting struct {
	*bucket.Dir
	mu    sync.Mutex
	count map[string]int
}

func (c *counting) add(what string, n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.count[what] += n
}

func (c *counting) Get(ctx context.Context, key string) (io.ReadCloser, error) {
	c.add("get", 1)
	return c.Dir.Get(ctx, key)
}

func (c *counting) Size(ctx context.Context, key string) (int64, error) {
	c.add("size", 1)
	return c.Dir.Size(ctx, key)
}

func (c *counting) Stat(ctx context.Context, key string) (bucket.Status, error) {
	c.add("stat", 1)
	return c.Dir.Stat(ctx, key)
}

func (c *counting) Touch(ctx context.Context, key string) error {
	c.add("touch", 1)
	return c.Dir.Touch(ctx, key)
}

func (c *counting) Put(ctx context.Context, key string, content io.Reader, size int64) error {
	c.add("put", 1)
	return c.Dir.Put(ctx, key, content, size)
}

func (c *counting) PutAll(ctx context.Context, steps ...[]bucket.Object) error {
	for _, step := range steps {
		c.add("put", len(step))
	}
	return c.Dir.PutAll(ctx, steps...)
}

func (c *counting) Delete(ctx context.Context, key string) error {
	c.add("delete", 1)
	return c.Dir.Delete(ctx, key)
}

func (c *counting) DeleteOlder(ctx context.Context, key string, than time.Time) (bool, error) {
	c.add("delete", 1)
	return c.Dir.DeleteOlder(ctx, key, than)
}

func (c *counting) List(ctx context.Context, prefix, last string, fn func(keys []string) error) error {
	c.add("list", 1)
	return c.Dir.List(ctx, prefix, last, func(keys []string) error {
		c.add("listed", len(keys))
		return fn(keys)
	})
}

// during returns what was done to c during do, and how often files and folders were
// synced.
func (c *counting) during(do func()) map[string]int {
	c.mu.Lock()
	c.count = map[string]int{}
	c.mu.Unlock()
	c.Before(func(op string, _ ...string) error {
		if op == "fsync" || op == "sync" || op == "mkdir" {
			c.add(op, 1)
		}
		return nil
	})
	defer c.Before(nil)
	do()
	return maps.Clone(c.count)
}

// costs does something to a store for each kind of write and read, as the i-th of
// its kind, and returns what that cost.
func costs(t *testing.T, c *counting, i int) map[string]map[string]int {
	ctx := t.Context()
	s := repository(t, bucket.New(c), "a")
	push(t, s, fmt.Append(nil, "first ", i), "a/b") // so that this process knows the repository
	costs := map[string]map[string]int{}
	cost := func(name string, do func() error) {
		costs[name] = c.during(func() { must(t, do()) })
	}
	data := fmt.Append(nil, "blob ", i)
	blob := oras.DescriptorOf("a/b", data)
	cost("push blob", func() error { return oras.Push(ctx, s, blob, bytes.NewReader(data)) })
	cost("push blob again", func() error { return oras.Push(ctx, s, blob, bytes.NewReader(data)) })
	cost("upload blob", func() error {
		data := fmt.Append(nil, "upload ", i)
		u := openUpload(t, s, "")
		appendTo(t, u, data)
		return u.Commit(ctx, oras.SHA256.Digest(data))
	})
	one, oneDesc := image(fmt.Sprint("one ", i), oras.Manifest{Layers: []oras.Descriptor{blob}})
	two, twoDesc := image(fmt.Sprint("two ", i), oras.Manifest{Layers: []oras.Descriptor{blob}})
	three, threeDesc := image(fmt.Sprint("three ", i), oras.Manifest{Subject: &subjectDesc})
	tag := func(name string) string { return fmt.Sprintf("%s-%d", name, i) }
	cost("push manifest", func() error { return oras.Push(ctx, s, oneDesc, bytes.NewReader(one)) })
	cost("push manifest and tag", func() error { return oras.PushTagged(ctx, s, twoDesc, bytes.NewReader(two), tag("v1")) })
	cost("attach", func() error { return oras.Push(ctx, s, threeDesc, bytes.NewReader(three)) })
	cost("tag", func() error { return s.Tag(ctx, oneDesc, tag("v2")) })
	cost("move tag", func() error { return s.Tag(ctx, oneDesc, tag("v1")) })
	cost("tag again", func() error { return s.Tag(ctx, oneDesc, tag("v1")) })
	cost("resolve tag", func() error { _, err := s.Resolve(ctx, tag("v1")); return err })
	cost("resolve digest", func() error { _, err := s.Resolve(ctx, oneDesc.Digest.String()); return err })
	cost("exists", func() error { _, err := s.Exists(ctx, blob); return err })
	cost("fetch", func() error { _, err := oras.FetchAll(ctx, s, blob); return err })
	cost("untag", func() error { return s.Untag(ctx, tag("v2")) })
	cost("delete manifest", func() error { return s.Delete(ctx, oneDesc) })
	cost("delete referrer", func() error { return s.Delete(ctx, threeDesc) })
	cost("delete blob", func() error { return s.Delete(ctx, blob) })
	var u oras.Upload
	cost("begin upload", func() (err error) { u, err = oras.OpenUpload(ctx, s, ""); return err })
	cost("abort upload", func() error { return u.Abort(ctx) })
	return costs
}

// TestCost: what a write costs does not depend on how many tags, manifests, referrers
// and blobs there are, here or in other repositories; nor does a read.
func TestCost(t *testing.T) {
	c := &counting{Dir: openDir(t), count: map[string]int{}}
	costs(t, c, 0) // makes the folders
	few := costs(t, c, 1)
	for _, name := range []string{"a", "b"} {
		s := repository(t, bucket.New(c), name)
		for i := range 600 {
			data, desc := image(fmt.Sprint("there ", i), oras.Manifest{Subject: &subjectDesc})
			must(t, oras.PushTagged(t.Context(), s, desc, bytes.NewReader(data), fmt.Sprint("there-", i)))
		}
	}
	many := costs(t, c, 2)
	for name := range many { // a folder of 256 may be there or not
		delete(few[name], "mkdir")
		delete(many[name], "mkdir")
	}
	if diff := cmp.Diff(few, many); diff != "" {
		t.Errorf("-with few, +with many:\n%s", diff)
	}
}

// TestSyncs: a write that is acknowledged was synced as often as it takes, and no
// more: small ones with the journal alone, however many objects they concern.
func TestSyncs(t *testing.T) {
	c := &counting{Dir: openDir(t), count: map[string]int{}}
	costs(t, c, 0) // makes folders
	got := map[string][2]int{}
	for name, cost := range costs(t, c, 1) {
		got[name] = [2]int{cost["fsync"], cost["sync"]}
	}
	s := repository(t, bucket.New(c), "a")
	count := func(name string, do func() error) {
		cost := c.during(func() { must(t, do()) })
		got[name] = [2]int{cost["fsync"], cost["sync"]}
	}
	data := random(1 << 20)
	blob := oras.DescriptorOf("a/b", data)
	again := func() error { return oras.Push(t.Context(), s, blob, bytes.NewReader(data)) }
	count("push large blob", again)
	count("push large blob again", again)
	count("mount large blob", func() error {
		other := repository(t, bucket.New(c), "b")
		push(t, other, layer, "a/b")
		return oras.Mount(t.Context(), other, blob, "a", nil)
	})
	// Files, the journal among them; folders.
	want := map[string][2]int{
		"push blob":             {1, 0},
		"push blob again":       {0, 0},
		"upload blob":           {2, 0}, // the upload and the journal
		"push manifest":         {1, 0},
		"push manifest and tag": {1, 0},
		"attach":                {1, 0},
		"tag":                   {1, 0},
		"move tag":              {1, 0},
		"tag again":             {0, 0},
		"untag":                 {1, 0},
		"delete manifest":       {3, 0}, // tags, manifest, content
		"delete referrer":       {2, 0},
		"delete blob":           {1, 0},
		"abort upload":          {1, 0},
		"begin upload":          {0, 0}, // what is lost with power is begun anew
		"resolve tag":           {0, 0},
		"resolve digest":        {0, 0},
		"exists":                {0, 0},
		"fetch":                 {0, 0},
		"push large blob":       {2, 4}, // content and the journal; its name, and once the folders above it
		"push large blob again": {0, 1}, // its name, which may not be durable yet
		"mount large blob":      {3, 4}, // the journal for the repository, the small blob and this; the folders of a repository
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}
