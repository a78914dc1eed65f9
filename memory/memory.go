// Package memory is a registry in RAM. It is the smallest complete
// [oras.Store] and the one to read first: everything the contract asks for is
// here, and nothing else.
package memory

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"sync"

	"github.com/c73062ad/oras"
	"github.com/c73062ad/oras/internal/index"
)

// A Store is one repository in RAM: content by its digest, and an index of its
// manifests and tags. It holds all content that was pushed and not deleted. Get
// one from [New] or from [Registry.Repository].
type Store struct {
	mu      sync.RWMutex // held for writing while content and index change together
	content map[oras.Digest][]byte
	index   index.Index
	keep    func() // called after each push; lets the registry know
}

var _ oras.Store = (*Store)(nil)

// New returns an empty store that belongs to no registry.
func New() *Store {
	return &Store{content: map[oras.Digest][]byte{}, keep: func() {}}
}

// Fetch is [oras.Fetcher.Fetch]. The reader is an [io.Seeker].
func (s *Store) Fetch(ctx context.Context, target oras.Descriptor) (io.ReadCloser, error) {
	d, err := oras.ParseDigest(target.Digest)
	if err != nil {
		return nil, err
	}
	data, ok := s.get(d)
	if !ok {
		return nil, fmt.Errorf("%s: %w", d, oras.ErrNotFound)
	}
	return reader{bytes.NewReader(data)}, nil
}

type reader struct{ *bytes.Reader }

func (reader) Close() error { return nil }

func (s *Store) get(d oras.Digest) ([]byte, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	data, ok := s.content[d]
	return data, ok
}

// Exists is [oras.Source.Exists].
func (s *Store) Exists(ctx context.Context, target oras.Descriptor) (bool, error) {
	d, err := oras.ParseDigest(target.Digest)
	if err != nil {
		return false, err
	}
	_, ok := s.get(d)
	return ok, nil
}

// Resolve is [oras.Source.Resolve]. Manifests and tags resolve to the descriptor
// of the first push, without annotations and the like; a blob's media type is
// not remembered.
func (s *Store) Resolve(ctx context.Context, reference string) (oras.Descriptor, error) {
	if oras.CheckTag(reference) == nil {
		desc, ok := s.index.Resolve(reference)
		if !ok {
			return desc, fmt.Errorf("%s: %w", reference, oras.ErrNotFound)
		}
		return desc, nil
	}
	d, err := oras.ParseDigest(reference)
	if err != nil {
		return oras.Descriptor{}, fmt.Errorf("%w: %w", oras.ErrReference, err)
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	data, ok := s.content[d]
	if !ok {
		return oras.Descriptor{}, fmt.Errorf("%s: %w", d, oras.ErrNotFound)
	}
	if desc, ok := s.index.Manifest(d.OCI()); ok {
		return desc, nil
	}
	return oras.Descriptor{MediaType: oras.MediaTypeBlob, Digest: d.OCI(), Size: int64(len(data))}, nil
}

// Push is [oras.Target.Push]. The content is read into memory as it arrives, so
// what a descriptor claims its size to be allocates nothing.
func (s *Store) Push(ctx context.Context, expected oras.Descriptor, content io.Reader) error {
	d, err := oras.ParseDigest(expected.Digest)
	if err != nil {
		return err
	}
	data, m, err := read(expected, content)
	if err != nil {
		return err
	}
	s.mu.Lock()
	s.content[d] = data
	if m != nil {
		s.index.Add(oras.Descriptor{MediaType: expected.MediaType, Digest: d.OCI(), Size: expected.Size}, m)
	}
	s.mu.Unlock()
	s.keep()
	return nil
}

// read returns the content, verified, and the manifest it is, if it is one.
func read(expected oras.Descriptor, content io.Reader) ([]byte, *oras.Manifest, error) {
	if !oras.IsManifest(expected.MediaType) {
		data, err := io.ReadAll(oras.NewVerifier(content, expected))
		return data, nil, err
	}
	data, err := oras.ReadAll(content, expected)
	if err != nil {
		return nil, nil, err
	}
	m, err := oras.ParseManifest(expected.MediaType, data)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", expected.Digest, err)
	}
	return data, m, nil
}

// Tag is [oras.Target.Tag]. A tag outside the grammar is [oras.ErrReference].
func (s *Store) Tag(ctx context.Context, desc oras.Descriptor, reference string) error {
	if err := oras.CheckTag(reference); err != nil {
		return err
	}
	s.mu.Lock() // or a Delete in between would leave a tag that names nothing
	defer s.mu.Unlock()
	manifest, ok := s.index.Manifest(desc.Digest)
	if !ok {
		return fmt.Errorf("manifest %s: %w", desc.Digest, oras.ErrNotFound)
	}
	s.index.Tag(reference, manifest)
	return nil
}

// TagIf is the optional method of [oras.TagIf].
func (s *Store) TagIf(ctx context.Context, desc oras.Descriptor, reference string, old oras.Descriptor) error {
	if err := oras.CheckTag(reference); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if now, _ := s.index.Resolve(reference); now.Digest != old.Digest {
		return fmt.Errorf("%s: %w: it names %q, not %q", reference, oras.ErrConflict, now.Digest, old.Digest)
	}
	if desc.Digest == "" {
		s.index.Untag(reference)
		return nil
	}
	manifest, ok := s.index.Manifest(desc.Digest)
	if !ok {
		return fmt.Errorf("manifest %s: %w", desc.Digest, oras.ErrNotFound)
	}
	s.index.Tag(reference, manifest)
	return nil
}

// Predecessors is [oras.Store.Predecessors]: all manifests that refer to node, in
// the order of their digests.
func (s *Store) Predecessors(ctx context.Context, node oras.Descriptor) ([]oras.Descriptor, error) {
	return s.index.Predecessors(node.Digest), nil
}

// Delete is [oras.Store.Delete]. Readers of the content that are open stay good.
func (s *Store) Delete(ctx context.Context, target oras.Descriptor) error {
	d, err := oras.ParseDigest(target.Digest)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.content[d]; !ok {
		return fmt.Errorf("%s: %w", d, oras.ErrNotFound)
	}
	delete(s.content, d)
	s.index.Remove(d.OCI())
	return nil
}

// Untag is [oras.Store.Untag].
func (s *Store) Untag(ctx context.Context, reference string) error {
	s.mu.Lock() // or a TagIf would not see that it goes
	defer s.mu.Unlock()
	if !s.index.Untag(reference) {
		return fmt.Errorf("%s: %w", reference, oras.ErrNotFound)
	}
	return nil
}

// Tags is [oras.Store.Tags]. A tag that is set or removed meanwhile may or may
// not be among them.
func (s *Store) Tags(ctx context.Context, last string, fn func(tags []string) error) error {
	return s.index.Tags(last, fn)
}
