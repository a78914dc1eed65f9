package bucket

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/c73062ad/oras"
)

// A Registry is a registry kept in a bucket. It keeps no more than what it is
// doing, some names, and up to 8 MiB of small blobs in memory. Get one from [New].
type Registry struct {
	bucket Bucket

	// Of a manifest: who pushes or tags it, shared; who deletes it, alone. Of a
	// tag or an upload: who changes it, alone. A manifest's comes first, tags'
	// in their order. They save goroutines from the work of looking again; what
	// must hold with other processes does not depend on them.
	locks locks

	hashes hashes
	hot    hotBlobs
	ages   ages

	mu    sync.Mutex
	known map[string]time.Time // marked repositories, and when their uploads were last swept
}

const maxKnown = 10_000 // names in Registry.known

var _ oras.Registry = (*Registry)(nil)

// New returns the registry kept in b. An empty bucket is a registry without
// repositories.
func New(b Bucket) *Registry {
	return &Registry{
		bucket: b,
		hashes: hashes{interval: hashInterval},
		ages:   ages{renew: renewAge, push: pushTime, grace: LeastGrace},
		known:  map[string]time.Time{},
	}
}

// Repository is [oras.Registry.Repository]. The store is a *[Store], costs
// nothing and needs no closing.
func (r *Registry) Repository(ctx context.Context, name string) (oras.Store, error) {
	s, err := r.store(name)
	if err != nil {
		return nil, err
	}
	return s, nil
}

func (r *Registry) store(name string) (*Store, error) {
	if err := oras.CheckRepository(name); err != nil {
		return nil, err
	}
	return &Store{registry: r, bucket: r.bucket, name: name}, nil
}

// Repositories is [oras.Registry.Repositories].
func (r *Registry) Repositories(ctx context.Context, last string, fn func(names []string) error) error {
	after := ""
	if oras.CheckRepository(last) == nil { // else it has no place among the keys
		after = repositoryKey(last)
	}
	return r.bucket.List(ctx, repositories, after, func(keys []string) error {
		names := make([]string, 0, len(keys))
		for _, key := range keys {
			if name := repositoryName(key); name > last {
				names = append(names, name)
			}
		}
		if len(names) == 0 {
			return nil
		}
		return fn(slices.Clip(names))
	})
}

// marked reports whether the repository called name is there.
func (r *Registry) marked(ctx context.Context, name string) (bool, error) {
	r.mu.Lock()
	_, known := r.known[name]
	r.mu.Unlock()
	if known {
		return true, nil
	}
	if _, err := r.bucket.Size(ctx, repositoryKey(name)); errors.Is(err, oras.ErrNotFound) {
		return false, nil
	} else if err != nil {
		return false, err
	}
	return true, nil
}

// mark lets the repository called name be there. It comes before all that the
// repository holds.
func (r *Registry) mark(ctx context.Context, name string) error {
	r.mu.Lock()
	_, known := r.known[name]
	r.mu.Unlock()
	if known {
		return nil
	}
	if err := keep(ctx, r.bucket, repositoryKey(name), nil); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.known) >= maxKnown {
		clear(r.known)
	}
	r.known[name] = time.Time{}
	return nil
}

// due reports whether the uploads of the repository called name, which is
// marked, were not swept within the last sweepInterval, and takes it that they are
// now.
func (r *Registry) due(name string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if time.Since(r.known[name]) < sweepInterval {
		return false
	}
	r.known[name] = time.Now()
	return true
}

// keep puts an object unless there is one under key.
func keep(ctx context.Context, b Bucket, key string, data []byte) error {
	_, err := b.Size(ctx, key)
	if err == nil {
		return settle(ctx, b, key)
	}
	if !errors.Is(err, oras.ErrNotFound) {
		return err
	}
	return b.Put(ctx, key, bytes.NewReader(data), int64(len(data)))
}

// remove deletes the object key, which may have gone already.
func remove(ctx context.Context, b Bucket, key string) error {
	if err := b.Delete(ctx, key); err != nil && !errors.Is(err, oras.ErrNotFound) {
		return err
	}
	return nil
}

// forget deletes the object key, which does no harm if it stays, durably or not,
// unless somebody put it since the time than.
func forget(ctx context.Context, b Bucket, key string, than time.Time) error {
	a, err := aging(b)
	if err != nil {
		return remove(ctx, b, key)
	}
	if _, err := a.DeleteOlder(ctx, key, than); err != nil && !errors.Is(err, oras.ErrNotFound) {
		return err
	}
	return nil
}
