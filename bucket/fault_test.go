package bucket_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/c73062ad/oras"
	"github.com/c73062ad/oras/bucket"
)

// faulty is a bucket of which one operation fails, as on a full disk: nothing was
// done then or, if late, all was, and only not known to be durable.
type faulty struct {
	bucket.Bucket
	left int // operations until the one that fails; below 0, none does
	late bool
}

func (f *faulty) do(op func() error) error {
	f.left--
	if f.left != 0 {
		return op()
	}
	if f.late {
		if err := op(); err != nil {
			return err
		}
	}
	return syscall.ENOSPC
}

func (f *faulty) Get(ctx context.Context, key string) (r io.ReadCloser, err error) {
	err = f.do(func() error { r, err = f.Bucket.Get(ctx, key); return err })
	if err != nil && r != nil {
		r.Close()
	}
	return r, err
}

func (f *faulty) Size(ctx context.Context, key string) (size int64, err error) {
	err = f.do(func() error { size, err = f.Bucket.Size(ctx, key); return err })
	return size, err
}

func (f *faulty) Put(ctx context.Context, key string, content io.Reader, size int64) error {
	return f.do(func() error { return f.Bucket.Put(ctx, key, content, size) })
}

func (f *faulty) Delete(ctx context.Context, key string) error {
	return f.do(func() error { return f.Bucket.Delete(ctx, key) })
}

func (f *faulty) List(ctx context.Context, prefix, last string, fn func(keys []string) error) error {
	if err := f.do(func() error { return nil }); err != nil {
		return err
	}
	return f.Bucket.List(ctx, prefix, last, fn)
}

// faultyDir is a faulty bucket that can do all that a Dir can.
type faultyDir struct {
	faulty
	dir *bucket.Dir
}

func (f *faultyDir) PutAll(ctx context.Context, steps ...[]bucket.Object) error {
	return f.do(func() error { return f.dir.PutAll(ctx, steps...) })
}

func (f *faultyDir) Sync(ctx context.Context, key string) error {
	return f.do(func() error { return f.dir.Sync(ctx, key) })
}

func (f *faultyDir) Stat(ctx context.Context, key string) (status bucket.Status, err error) {
	err = f.do(func() error { status, err = f.dir.Stat(ctx, key); return err })
	return status, err
}

func (f *faultyDir) Touch(ctx context.Context, key string) error {
	return f.do(func() error { return f.dir.Touch(ctx, key) })
}

func (f *faultyDir) DeleteOlder(ctx context.Context, key string, than time.Time) (deleted bool, err error) {
	err = f.do(func() error { deleted, err = f.dir.DeleteOlder(ctx, key, than); return err })
	return deleted, err
}

func (f *faultyDir) Leftovers(ctx context.Context, than time.Time, fn func(bucket.Leftover) error) error {
	return f.do(func() error { return f.dir.Leftovers(ctx, than, fn) })
}

func (f *faultyDir) Create(ctx context.Context, key string) error {
	return f.do(func() error { return f.dir.Create(ctx, key) })
}

func (f *faultyDir) Rename(ctx context.Context, from, to, twin string) error {
	return f.do(func() error { return f.dir.Rename(ctx, from, to, twin) })
}

func (f *faultyDir) Open(ctx context.Context, key string) (bucket.File, error) {
	var file bucket.File
	err := f.do(func() (err error) { file, err = f.dir.Open(ctx, key); return err })
	if err != nil && file != nil {
		file.Close()
	}
	return &faultyFile{file, f}, err
}

type faultyFile struct {
	bucket.File
	bucket *faultyDir
}

// WriteAt fails with half of p written, or with all of it.
func (f *faultyFile) WriteAt(p []byte, offset int64) (n int, err error) {
	err = f.bucket.do(func() error { n, err = f.File.WriteAt(p, offset); return err })
	if err == syscall.ENOSPC && n == 0 {
		n, _ = f.File.WriteAt(p[:len(p)/2], offset)
	}
	return n, err
}

func (f *faultyFile) Sync() error { return f.bucket.do(f.File.Sync) }

func (f *faultyFile) Share(ctx context.Context, to, twin string) (shared bool, err error) {
	s := f.File.(interface {
		Share(context.Context, string, string) (bool, error)
	})
	err = f.bucket.do(func() error { shared, err = s.Share(ctx, to, twin); return err })
	return shared, err
}

// A change is something done to a store, and what must be there then.
type change struct {
	do   func(ctx context.Context, s oras.Store) error
	done func(tb testing.TB, s oras.Store)
}

var (
	layer                = []byte("a layer")
	layerDesc            = oras.DescriptorOf("a/b", layer)
	subject, subjectDesc = image("subject", oras.Manifest{Layers: []oras.Descriptor{layerDesc}})
	signed, signedDesc   = image("signature", oras.Manifest{Subject: &subjectDesc, ArtifactType: sbom})
	another, anotherDesc = image("another", oras.Manifest{Subject: &signedDesc})
	newLayer             = bytes.Repeat([]byte("a new layer"), 7000) // too large for the journal
	newLayerDesc         = oras.DescriptorOf("a/b", newLayer)
	newLayerDigest       = oras.SHA256.Digest(newLayer)
	resolves             = func(tag string, desc oras.Descriptor) func(testing.TB, oras.Store) {
		return func(tb testing.TB, s oras.Store) {
			tb.Helper()
			got, err := s.Resolve(tb.Context(), tag)
			if desc.Digest == "" {
				want(tb, oras.ErrNotFound, err)
			} else if err != nil || got.Digest != desc.Digest {
				tb.Errorf("Resolve %s: %s, %v; it must be %s", tag, got.Digest, err, desc.Digest)
			}
		}
	}
)

// gone is err, unless that says that there is nothing to do: as when all but the
// answer had been there before.
func gone(err error) error {
	if errors.Is(err, oras.ErrNotFound) {
		return nil
	}
	return err
}

var changes = map[string]change{
	"push": {
		func(ctx context.Context, s oras.Store) error {
			return oras.Push(ctx, s, newLayerDesc, bytes.NewReader(newLayer))
		},
		func(tb testing.TB, s oras.Store) { whole(tb, s, newLayerDesc) },
	},
	"push tagged": {
		func(ctx context.Context, s oras.Store) error {
			return oras.PushTagged(ctx, s, anotherDesc, bytes.NewReader(another), "new")
		},
		func(tb testing.TB, s oras.Store) {
			resolves("new", anotherDesc)(tb, s)
			if got, err := s.Predecessors(tb.Context(), signedDesc); err != nil || len(got) != 1 {
				tb.Errorf("Predecessors: %v, %v", got, err)
			}
		},
	},
	"tag":      {func(ctx context.Context, s oras.Store) error { return s.Tag(ctx, signedDesc, "new") }, resolves("new", signedDesc)},
	"move tag": {func(ctx context.Context, s oras.Store) error { return s.Tag(ctx, signedDesc, "moves") }, resolves("moves", signedDesc)},
	"untag":    {func(ctx context.Context, s oras.Store) error { return gone(s.Untag(ctx, "moves")) }, resolves("moves", oras.Descriptor{})},
	"delete": {
		func(ctx context.Context, s oras.Store) error { return gone(s.Delete(ctx, signedDesc)) },
		func(tb testing.TB, s oras.Store) {
			resolves("signature", oras.Descriptor{})(tb, s)
			resolves("also", oras.Descriptor{})(tb, s)
			resolves(signedDesc.Digest.String(), oras.Descriptor{})(tb, s)
			if got, err := s.Predecessors(tb.Context(), subjectDesc); err != nil || len(got) > 0 {
				tb.Errorf("Predecessors: %v, %v", got, err)
			}
		},
	},
}

var dirChanges = map[string]change{
	"mount": {
		func(ctx context.Context, s oras.Store) error { return oras.Mount(ctx, s, newLayerDesc, "other", nil) },
		changes["push"].done,
	},
	"upload": {
		func(ctx context.Context, s oras.Store) error {
			u, err := oras.OpenUpload(ctx, s, "")
			if err != nil {
				return err
			}
			var failure error // that was got over
			for u.Size() < newLayerDesc.Size {
				piece := newLayer[u.Size():min(u.Size()+20_000, newLayerDesc.Size)]
				before := u.Size()
				n, err := u.Append(ctx, before, bytes.NewReader(piece))
				if u.Size() != before+n {
					return fmt.Errorf("size is %d after %d and %d", u.Size(), before, n)
				}
				if err == nil {
					continue
				}
				if failure != nil || !errors.Is(err, syscall.ENOSPC) {
					return errors.Join(failure, err)
				}
				failure = err
			}
			return errors.Join(failure, u.Commit(ctx, newLayerDigest))
		},
		changes["push"].done,
	},
}

// Whichever operation of the bucket fails, the store is as it was or whole, and
// trying again does what there was to do.
func TestFaults(t *testing.T) {
	for name, c := range changes {
		t.Run(name, func(t *testing.T) {
			testFaults(t, c, func() (bucket.Bucket, *faulty) {
				f := &faulty{Bucket: &plain{}}
				return f, f
			})
		})
	}
	for name, c := range dirChanges {
		t.Run(name, func(t *testing.T) {
			dir := openDir(t)
			testFaults(t, c, func() (bucket.Bucket, *faulty) {
				s := repository(t, bucket.New(dir), "a")
				must(t, gone(s.Delete(t.Context(), newLayerDesc))) // what the last one did
				for _, key := range list(t, dir, "a/_uploads/", "") {
					must(t, dir.Delete(t.Context(), key))
				}
				f := &faultyDir{faulty{Bucket: dir}, dir}
				return f, &f.faulty
			})
		})
	}
}

// Whatever the system fails to do, as on a disk that is full or breaks, it is the same;
// and no temporary file is left.
func TestFaultsBelow(t *testing.T) {
	for _, some := range []map[string]change{changes, dirChanges} {
		for name, c := range some {
			t.Run(name, func(t *testing.T) {
				for n := 1; ; n++ {
					dir := openDir(t)
					before(t, dir)
					s := repository(t, bucket.New(dir).HashEvery(20_000), "a")
					left, failed := n, ""
					var mu sync.Mutex
					dir.Before(func(op string, names ...string) error {
						mu.Lock()
						defer mu.Unlock()
						if left--; left == 0 {
							failed = fmt.Sprint(op, names)
							return syscall.ENOSPC
						}
						return nil
					})
					err := c.do(t.Context(), s)
					dir.Before(nil)
					if left > 0 {
						must(t, err)
						c.done(t, s)
						if n < 2 {
							t.Fatalf("there is only %d thing to do", n)
						}
						return
					}
					if err == nil {
						c.done(t, s) // and nobody needed what failed
					} else {
						want(t, syscall.ENOSPC, err)
					}
					consistent(t, s)
					must(t, c.do(t.Context(), s))
					c.done(t, s)
					consistent(t, s)
					if got := files(t, filepath.Join(dir.Path(), ".tmp")); len(got) > 0 {
						t.Errorf("temporary files: %q", got)
					}
					if t.Failed() {
						t.Fatalf("it failed to do %d: %s", n, failed)
					}
				}
			})
		}
	}
}

func testFaults(t *testing.T, c change, open func() (bucket.Bucket, *faulty)) {
	for _, late := range []bool{false, true} {
		for n := 1; ; n++ {
			b, f := open()
			before(t, b)
			s := repository(t, bucket.New(b).HashEvery(20_000), "a")
			f.left, f.late = n, late
			err := c.do(t.Context(), s)
			over := f.left > 0
			f.left = -1
			if over {
				must(t, err)
				c.done(t, s)
				if n < 3 {
					t.Fatalf("there are only %d operations", n)
				}
				break
			}
			if err == nil {
				c.done(t, s) // and nobody needed what failed
			} else {
				want(t, syscall.ENOSPC, err)
			}
			consistent(t, s)
			must(t, c.do(t.Context(), s))
			c.done(t, s)
			consistent(t, s)
			if t.Failed() {
				t.Fatalf("operation %d failed, late: %v", n, late)
			}
		}
	}
}

// before fills b.
func before(tb testing.TB, b bucket.Bucket) {
	r := bucket.New(b)
	push(tb, repository(tb, r, "other"), newLayer, "a/b")
	s := repository(tb, r, "a")
	push(tb, s, layer, "a/b")
	for _, tag := range []string{"subject", "moves"} {
		must(tb, oras.PushTagged(tb.Context(), s, subjectDesc, bytes.NewReader(subject), tag))
	}
	for _, tag := range []string{"signature", "also"} {
		must(tb, oras.PushTagged(tb.Context(), s, signedDesc, bytes.NewReader(signed), tag))
	}
}

// consistent checks that what is there is whole, and what is not concerned by any
// change is there.
func consistent(tb testing.TB, s oras.Store) {
	tb.Helper()
	whole(tb, s, layerDesc)
	resolves("subject", subjectDesc)(tb, s)
	tags := map[string]bool{}
	must(tb, s.Tags(tb.Context(), "", func(page []string) error {
		for _, tag := range page {
			tags[tag] = true
			desc, err := s.Resolve(tb.Context(), tag)
			must(tb, err)
			complete(tb, s, desc)
		}
		return nil
	}))
	for _, node := range []oras.Descriptor{subjectDesc, signedDesc} {
		must(tb, oras.Referrers(tb.Context(), s, node, "", func(page []oras.Descriptor) error {
			for _, desc := range page {
				complete(tb, s, desc)
			}
			return nil
		}))
	}
}

// complete checks that the manifest desc is there, and all that it holds.
func complete(tb testing.TB, s oras.Store, desc oras.Descriptor) {
	tb.Helper()
	if exists, err := s.Exists(tb.Context(), desc); err != nil || !exists {
		tb.Errorf("Exists %s: %v, %v", desc.Digest, exists, err)
	}
	m, err := oras.ReadManifest(tb.Context(), s, desc)
	must(tb, err)
	for _, layer := range m.Layers {
		whole(tb, s, layer)
	}
}
