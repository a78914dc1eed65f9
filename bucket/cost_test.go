package bucket_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"strings"
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
		if strings.Contains(name, "tag") || name == "attach" {
			delete(few[name], "sync")
			delete(many[name], "sync")
		}
	}
	if diff := cmp.Diff(few, many); diff != "" {
		t.Errorf("-with few, +with many:\n%s", diff)
	}
}

// TestSyncs: a write that is acknowledged was synced as often as it takes, and no
// more.
func TestSyncs(t *testing.T) {
	c := &counting{Dir: openDir(t), count: map[string]int{}}
	costs(t, c, 0) // makes folders, which are synced too, once
	for i := range 256 {
		must(t, os.MkdirAll(filepath.Join(c.Path(), "a/_tagged/sha256", fmt.Sprintf("%02x", i)), 0o700))
	}
	costs(t, c, 1)
	got := map[string][2]int{}
	for name, cost := range costs(t, c, 2) {
		if name != "attach" {
			cost["sync"] -= cost["mkdir"] // one of 256 folders, which is synced once
		}
		got[name] = [2]int{cost["fsync"], cost["sync"]}
	}
	// Files, folders.
	want := map[string][2]int{
		"push blob":             {1, 1}, // content; its name
		"push blob again":       {0, 1}, // its name, which may not be durable yet
		"upload blob":           {1, 1},
		"push manifest":         {2, 2}, // content and what is known of it; two names
		"push manifest and tag": {2, 4}, // the same; what may have the tag, the tag
		"attach":                {3, 4}, // the same as a manifest, the referrer and its folder
		"tag":                   {0, 3}, // the manifest's name, what may have the tag, the tag
		"move tag":              {0, 3},
		"tag again":             {0, 3},
		"untag":                 {0, 1},
		"delete manifest":       {0, 3}, // tags, manifest, content
		"delete referrer":       {0, 2},
		"delete blob":           {0, 1},
		"abort upload":          {0, 1},
		"begin upload":          {0, 0}, // what is lost with power is begun anew
		"resolve tag":           {0, 0},
		"resolve digest":        {0, 0},
		"exists":                {0, 0},
		"fetch":                 {0, 0},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}
