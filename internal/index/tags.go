package index

import (
	"maps"
	"slices"

	"github.com/opencontainers/go-digest"

	"github.com/c73062ad/oras"
)

// page is how many tags Tags gives at once, and so how long a page can make a
// writer wait.
const page = 1000

// Tag lets tag name desc and nothing else. Whether desc is recorded as a
// manifest makes no difference.
func (x *Index) Tag(tag string, desc oras.Descriptor) {
	x.mu.Lock()
	defer x.mu.Unlock()
	if old, ok := x.tags[tag]; ok {
		remove(x.tagsOf, old.Digest, tag)
	} else {
		// Keeping the names in order costs a move of memory, tens of µs at
		// 100,000 tags; sorting them for each listing costs tens of ms.
		i, _ := slices.BinarySearch(x.names, tag)
		x.names = slices.Insert(x.names, i, tag)
	}
	if x.tags == nil {
		x.tags = map[string]oras.Descriptor{}
	}
	x.tags[tag] = desc
	insert(&x.tagsOf, desc.Digest, tag)
}

// Untag forgets tag, and reports whether it was there.
func (x *Index) Untag(tag string) bool {
	x.mu.Lock()
	defer x.mu.Unlock()
	desc, ok := x.tags[tag]
	if !ok {
		return false
	}
	delete(x.tags, tag)
	remove(x.tagsOf, desc.Digest, tag)
	i, _ := slices.BinarySearch(x.names, tag)
	x.names = slices.Delete(x.names, i, i+1)
	return true
}

// Resolve returns what tag names.
func (x *Index) Resolve(tag string) (oras.Descriptor, bool) {
	x.mu.RLock()
	defer x.mu.RUnlock()
	desc, ok := x.tags[tag]
	return desc, ok
}

// Tags is what a store's Tags must be: it calls fn with the tags after last, in
// byte order, page by page, until fn returns an error, which it returns. fn is
// called without a lock and may keep what it gets; it is not called if there are
// no tags. A tag that comes or goes meanwhile may or may not be among them, any
// other is there once.
func (x *Index) Tags(last string, fn func(tags []string) error) error {
	for {
		tags := x.after(last)
		if len(tags) == 0 {
			return nil
		}
		if err := fn(tags); err != nil {
			return err
		}
		last = tags[len(tags)-1]
	}
}

func (x *Index) after(last string) []string {
	x.mu.RLock()
	defer x.mu.RUnlock()
	i, found := slices.BinarySearch(x.names, last)
	if found {
		i++
	}
	return slices.Clone(x.names[i:min(i+page, len(x.names))])
}

// TagsOf returns the tags that name d, in byte order; none if nothing does.
func (x *Index) TagsOf(d digest.Digest) []string {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return slices.Sorted(maps.Keys(x.tagsOf[d]))
}

// Tagged returns every tag and what it names. The map is the caller's own.
func (x *Index) Tagged() map[string]oras.Descriptor {
	x.mu.RLock()
	defer x.mu.RUnlock()
	return maps.Clone(x.tags)
}

// SetTags forgets all tags and sets these, in one step: for a store that read
// them from somewhere. The manifests stay. The map stays the caller's.
func (x *Index) SetTags(tags map[string]oras.Descriptor) {
	names := slices.Sorted(maps.Keys(tags))
	tagsOf := map[digest.Digest]set[string]{}
	for tag, desc := range tags {
		insert(&tagsOf, desc.Digest, tag)
	}
	tags = maps.Clone(tags)

	x.mu.Lock()
	defer x.mu.Unlock()
	x.tags, x.names, x.tagsOf = tags, names, tagsOf
}
