package memory

import (
	"context"
	"maps"
	"runtime"
	"slices"
	"sync"
	"weak"

	"github.com/c73062ad/oras"
)

// A Registry is a set of stores in RAM. A repository comes to be with the first
// push and then stays, even when all its content is deleted. Get one from
// [NewRegistry].
type Registry struct {
	mu   sync.Mutex
	kept map[string]*Store

	// Stores that somebody asked for. Nothing was pushed to them yet, so when
	// nobody holds them any longer they go: asking for names costs nothing.
	lent map[string]weak.Pointer[Store]
}

var _ oras.Registry = (*Registry)(nil)

// NewRegistry returns a registry without repositories.
func NewRegistry() *Registry {
	return &Registry{kept: map[string]*Store{}, lent: map[string]weak.Pointer[Store]{}}
}

// Repository is [oras.Registry.Repository]. All who ask for a name get the same
// store.
func (r *Registry) Repository(ctx context.Context, name string) (oras.Store, error) {
	if err := oras.CheckRepository(name); err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if s := r.kept[name]; s != nil {
		return s, nil
	}
	if s := r.lent[name].Value(); s != nil {
		return s, nil
	}
	s := New()
	r.lent[name] = weak.Make(s)
	going := runtime.AddCleanup(s, r.forget, name) // it holds r, and so what r keeps
	s.keep = func() {
		r.keep(name, s)
		going.Stop()
	}
	return s, nil
}

func (r *Registry) keep(name string, s *Store) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.kept[name] = s
	delete(r.lent, name)
}

// forget is called some time after a store of that name went. Another may have
// taken its place.
func (r *Registry) forget(name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.lent[name].Value() == nil {
		delete(r.lent, name)
	}
}

// Repositories is [oras.Registry.Repositories]. There is one page.
func (r *Registry) Repositories(ctx context.Context, last string, fn func(names []string) error) error {
	names := slices.DeleteFunc(r.names(), func(name string) bool { return name <= last })
	if len(names) == 0 {
		return nil
	}
	return fn(names)
}

func (r *Registry) names() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Sorted(maps.Keys(r.kept))
}
