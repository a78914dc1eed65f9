package bucket

import (
	"time"

	"github.com/c73062ad/oras"
)

// Fold lets d behave as on a file system to which "A" and "a" are one name.
func (d *Dir) Fold() *Dir {
	d.fold = true
	return d
}

// HashEvery lets r keep the hash of an upload in the bucket after so many bytes.
func (r *Registry) HashEvery(bytes int64) *Registry {
	r.hashes.interval = bytes
	return r
}

// Ages lets r take objects for young, pushes for under way and garbage for needed
// for other times; see ages.
func (r *Registry) Ages(renew, push, grace time.Duration) *Registry {
	r.ages = ages{renew, push, grace}
	return r
}

// Before lets before be called before anything is done to the disk: "create",
// "write", "fsync" or "remove" of a file, "rename" or "link" of one to another,
// "mkdir" or "sync" of a folder, "syncfs" of all, "truncate" of the journal. Its error is that of what was to be done.
func (d *Dir) Before(before func(op string, names ...string) error) *Dir {
	d.before = before
	return d
}

// Path returns where d is.
func (d *Dir) Path() string { return d.path }

// Registry returns that of s.
func (s *Store) Registry() *Registry { return s.registry }

// BlobKey returns the key of the blob d in s.
func (s *Store) BlobKey(d oras.Digest) string { return s.blobKey(d) }

// Dir returns that of s.
func (s *Store) Dir() *Dir { return s.bucket.(*Dir) }

// Syncs is how writers share syncs.
type Syncs = syncs

// Do calls sync, or lets another's be for the caller too.
func (s *Syncs) Do(folder string, sync func() error) error { return s.do(folder, sync) }

// Settle empties the journal of d.
func (d *Dir) Settle() error { return d.journal.do(&entry{settle: true}) }

// Waiting returns how many wait for the journal of d.
func (d *Dir) Waiting() int {
	d.journal.mu.Lock()
	defer d.journal.mu.Unlock()
	return len(d.journal.waiting)
}

// SettleAhead is Settle as it is done from time to time.
func (d *Dir) SettleAhead() { d.journal.settle() }

// Hot returns how many bytes the blobs take that r has in memory.
func (r *Registry) Hot() int {
	r.hot.mu.RLock()
	defer r.hot.mu.RUnlock()
	n := 0
	for _, blob := range r.hot.blobs {
		n += len(blob.data) + hotCost
	}
	if n != r.hot.size {
		panic("size is wrong")
	}
	return n
}
