// Package index keeps in RAM what a store must find fast: its manifests, which of
// them refer to what, and its tags.
//
// It holds descriptors only, never content, and trusts its caller: whoever adds
// a manifest has parsed it, whoever sets a tag has decided that it may be set.
// Manifests and tags are independent, so a store can load either first; only
// [Index.Remove] ties them, since the tags of a manifest go with it.
package index

import (
	"slices"
	"strings"
	"sync"

	"github.com/opencontainers/go-digest"

	"github.com/c73062ad/oras"
)

// An Index is a set of manifests and a set of tags. The zero Index is empty and
// ready. Its methods are safe for concurrent use; each is one step that others
// see whole or not at all, but for Tags, which is one step a page.
type Index struct {
	mu        sync.RWMutex
	manifests map[digest.Digest]manifest
	parents   map[digest.Digest]set[digest.Digest] // what is referred to → the manifests that do

	tags   map[string]oras.Descriptor
	names  []string                      // the keys of tags in byte order
	tagsOf map[digest.Digest]set[string] // the other direction
}

type manifest struct {
	desc     oras.Descriptor
	children []digest.Digest
}

type set[T comparable] map[T]struct{}

// Add records the manifest m, described by desc. One that is recorded already
// stays as it is: a digest has one meaning.
func (x *Index) Add(desc oras.Descriptor, m *oras.Manifest) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if _, ok := x.manifests[desc.Digest]; ok {
		return
	}
	added := manifest{desc: desc}
	for _, child := range m.Children() {
		added.children = append(added.children, child.Digest)
		insert(&x.parents, child.Digest, desc.Digest)
	}
	if x.manifests == nil {
		x.manifests = map[digest.Digest]manifest{}
	}
	x.manifests[desc.Digest] = added
}

// Remove forgets the manifest d and every tag that names d, be d recorded as a
// manifest or not. Which manifests refer to d stays known. It reports whether
// there was anything to forget.
func (x *Index) Remove(d digest.Digest) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	m, isManifest := x.manifests[d]
	for _, child := range m.children {
		remove(x.parents, child, d)
	}
	delete(x.manifests, d)

	gone, isTagged := x.tagsOf[d]
	if isTagged {
		for tag := range gone {
			delete(x.tags, tag)
		}
		x.names = slices.DeleteFunc(x.names, func(tag string) bool { _, ok := gone[tag]; return ok })
		delete(x.tagsOf, d)
	}
	return isManifest || isTagged
}

// Manifest returns the descriptor that the manifest d was added with.
func (x *Index) Manifest(d digest.Digest) (oras.Descriptor, bool) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	m, ok := x.manifests[d]
	return m.desc, ok
}

// Predecessors returns the descriptors of the manifests that refer to d, as
// their subject or otherwise, in the order of their digests. Neither d nor what
// else they refer to need be recorded.
func (x *Index) Predecessors(d digest.Digest) []oras.Descriptor {
	x.mu.RLock()
	defer x.mu.RUnlock()
	var descs []oras.Descriptor
	for parent := range x.parents[d] {
		descs = append(descs, x.manifests[parent].desc)
	}
	slices.SortFunc(descs, func(a, b oras.Descriptor) int { return strings.Compare(string(a.Digest), string(b.Digest)) })
	return descs
}

// Clear forgets everything, for a store that is about to read its truth again.
func (x *Index) Clear() {
	x.mu.Lock()
	defer x.mu.Unlock()
	x.manifests, x.parents = nil, nil
	x.tags, x.names, x.tagsOf = nil, nil, nil
}

// insert adds value to the set of key; *m may be nil.
func insert[K, V comparable](m *map[K]set[V], key K, value V) {
	if *m == nil {
		*m = map[K]set[V]{}
	}
	if (*m)[key] == nil {
		(*m)[key] = set[V]{}
	}
	(*m)[key][value] = struct{}{}
}

// remove takes value from the set of key, and the set with its last value.
func remove[K, V comparable](m map[K]set[V], key K, value V) {
	delete(m[key], value)
	if len(m[key]) == 0 {
		delete(m, key)
	}
}
