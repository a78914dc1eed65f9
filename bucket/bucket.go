// Package bucket is a registry kept as objects, one small object a fact: content,
// what is known of a manifest, a tag, a referrer. No write depends on how many
// others there are, a restart reads nothing, and a lost update is impossible
// because no two facts share an object. [New] makes a registry of any [Bucket];
// [OpenDir] is the bucket that a directory is.
//
// These are the keys, and this is the only place where they are drawn:
//
//	_repositories/<name>                                    empty: the repository is there
//	<name>/_blobs/<algorithm>/<hex>                         content, that of manifests too
//	<name>/_manifests/<algorithm>/<hex>                     the content is a manifest: its descriptor and subject
//	<name>/_referrers/<algorithm>/<hex>/<algorithm>.<hex>   subject, then a manifest that has it: its descriptor
//	<name>/_tags/<tag>                                      descriptor of the manifest
//	<name>/_tagged/<algorithm>/<he>/<x>~<tag>               empty: the manifest may have this tag
//	<name>/_uploads/<id>                                    content on its way in
//	<name>/_uploads/<id>.hash                               how far it was hashed, and the state of the hash
//
// Descriptors are JSON; those of referrers carry the artifact type and the
// annotations. In a key of _repositories each "/" of the name is ".~/", so that a
// repository and those below it are an object and a folder of different names,
// while the byte order of the keys stays that of the names. The digest in a key
// of _tagged is cut behind its first two digits: a folder for each manifest would
// cost a disk more than what is in it. No repository has a component that begins
// with "_", so nothing collides.
//
// Content comes before names: a repository's mark, then content, then the
// referrer, then the manifest, then _tagged, then the tag; deletion goes
// backwards. Each step is durable before the next begins, so a process that is
// killed, or a machine that loses power, leaves at worst objects that nothing
// names; a referrer counts once there is the manifest, and _tagged only while the
// tag says the same. Any number of processes can use one bucket; each fact is one atomic
// object to all of them. A manifest that one process deletes while another pushes
// or tags it can be left without its content: processes do not wait for each
// other, only goroutines do.
//
// Content is kept by repository, so that deleting it in one says nothing about
// another. [Store.Mount] shares it where the bucket can link.
package bucket

import (
	"context"
	"fmt"
	"io"
	"io/fs"

	"github.com/c73062ad/oras"
)

// A Bucket is a set of objects, each a key and bytes. Keys are components of
// letters, digits, "-", "_", "." and "~", which do not begin with ".", joined by
// "/"; no key is another with "/" and more behind it. What is not there is
// [oras.ErrNotFound]. Buckets are safe for concurrent use, and what a method has
// done is durable when it returns.
//
// A bucket may be able to do more. Each of these is one optional method:
//
//	Link(ctx context.Context, from, to string) error
//
// lets to be another name of the object from, which shares no fate with it; that
// to is there already is no error and changes nothing.
//
//	Sync(ctx context.Context, key string) error
//
// makes sure that an object seen under key is durable, which it may not be while
// whoever put it has not returned.
//
//	Open(ctx context.Context, key string) (File, error)
//	Rename(ctx context.Context, from, to string) error
//
// let objects grow, and are what uploads in pieces need. Open fails while another
// [File] for the object is open, here or in another process. Rename gives an
// object, and the File that is open for it, another key.
type Bucket interface {
	// Get opens an object. A reader that is also an [io.Seeker] may be seeked.
	Get(ctx context.Context, key string) (io.ReadCloser, error)

	// Size returns the size of an object in bytes.
	Size(ctx context.Context, key string) (int64, error)

	// Put stores content, which must be size bytes (else [oras.ErrInvalid]) and
	// is read to its end, whole or not at all. An object that is there is
	// replaced; whoever has it open goes on reading the old one. An error of
	// content is returned as it is.
	Put(ctx context.Context, key string, content io.Reader, size int64) error

	// Delete removes an object.
	Delete(ctx context.Context, key string) error

	// List calls fn with the keys that begin with prefix and come after last,
	// in byte order, in pages that are not empty, until fn returns an error,
	// which List returns. Last need not be a key. What is put or deleted
	// meanwhile may or may not be listed, and fn may do either.
	List(ctx context.Context, prefix, last string, fn func(keys []string) error) error
}

// A File is an object that grows. An [os.File] is one.
type File interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	Stat() (fs.FileInfo, error) // of which the size and the time of the last write are asked
	Sync() error                // returns when what was written is durable
}

// link is a bucket's Link. One without it moves the bytes.
func link(ctx context.Context, b Bucket, from, to string) error {
	if l, ok := b.(interface {
		Link(context.Context, string, string) error
	}); ok {
		return l.Link(ctx, from, to)
	}
	return copyObject(ctx, b, from, to)
}

func copyObject(ctx context.Context, b Bucket, from, to string) error {
	size, err := b.Size(ctx, from)
	if err != nil {
		return err
	}
	content, err := b.Get(ctx, from)
	if err != nil {
		return err
	}
	defer content.Close()
	return b.Put(ctx, to, content, size)
}

// settle is a bucket's Sync. One without it shows nothing that is not durable.
func settle(ctx context.Context, b Bucket, key string) error {
	if s, ok := b.(interface {
		Sync(context.Context, string) error
	}); ok {
		return s.Sync(ctx, key)
	}
	return nil
}

// A grower is a bucket whose objects can grow.
type grower interface {
	Open(ctx context.Context, key string) (File, error)
	Rename(ctx context.Context, from, to string) error
}

// growing returns b as a grower, or [oras.ErrUnsupported].
func growing(b Bucket) (grower, error) {
	g, ok := b.(grower)
	if !ok {
		return nil, fmt.Errorf("uploads in pieces: %w", oras.ErrUnsupported)
	}
	return g, nil
}
