// Package bucket is a registry kept as objects, one small object a fact: content,
// what is known of a manifest, a tag, a referrer. No write depends on how many
// others there are, a restart reads nothing, and a lost update is impossible
// because no two facts share an object. [New] makes a registry of any [Bucket];
// [OpenDir] is the bucket that a directory is.
//
// These are the keys, and this is the only place where they are drawn:
//
//	_schema                                                 {"version":1}: that these are the keys
//	_repositories/<name>                                    empty: the repository is there
//	_content/<algorithm>/<he>/<x>                           another name of content, by which repositories share it
//	_damaged/<algorithm>.<hex>.<random>                     what was kept as that content and is not
//	<name>/_blobs/<algorithm>/<hex>                         content, that of manifests too
//	<name>/_manifests/<algorithm>/<hex>                     the content is a manifest: its descriptor and subject
//	<name>/_referrers/<algorithm>/<hex>/<algorithm>.<hex>   subject, then a manifest that has it: its descriptor
//	<name>/_tags/<tag>                                      descriptor of the manifest
//	<name>/_tagged/<algorithm>/<he>/<x>~<tag>               the manifest may have this tag; only the key counts
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
// Content comes before names: a repository's mark, then content and the
// referrer, then the manifest and _tagged, then the tag; deletion goes
// backwards. Each step is durable before the next begins, so a process that is
// killed, or a machine that loses power, leaves at worst objects that nothing
// names; a referrer counts once there is the manifest, and _tagged only while the
// tag says the same. What no longer counts is left for a collection.
//
// Any number of processes can use one bucket; each fact is one atomic object to
// all of them, and reading waits for nobody. Instead of waiting for each other,
// who names something looks again afterwards whether it is still there, and who
// deletes something whether it was named meanwhile: one of them always sees the
// other.
//
// Content is kept by repository, so that deleting it in one says nothing about
// another. Where the bucket can give an object two names, the bytes are kept once:
// who pushes what another repository has gets a name of what is there, found under
// _content, once what arrived was verified and compared. A key of _content is a
// hint: it may be lost, and is garbage when it is the last name of its object.
//
// Garbage is found by age ([Registry.Collect]). Who relies on something that is
// there, by asking for it or by pushing what refers to it, makes it young; nothing
// young is deleted, and that it is old is looked at in one step with deleting it.
package bucket

import (
	"context"
	"fmt"
	"io"
	"io/fs"
	"time"

	"github.com/c73062ad/oras"
)

// A Bucket is a set of objects, each a key and bytes. Keys are components of
// letters, digits, "-", "_", "." and "~", which do not begin with ".", joined by
// "/"; no key is another with "/" and more behind it. What is not there is
// [oras.ErrNotFound]. Buckets are safe for concurrent use, and what a method has
// done is durable when it returns.
//
// A bucket may be able to do more, each by optional methods:
//
//	PutAll(ctx context.Context, steps ...[]Object) error
//
// puts several objects, step by step; see [Object].
//
//	Sync(ctx context.Context, key string) error
//
// makes sure that an object seen under key is durable, which it may not be while
// whoever put it has not returned.
//
//	Create(ctx context.Context, key string) error
//	Open(ctx context.Context, key string) (File, error)
//	Rename(ctx context.Context, from, to, twin string) error
//
// let objects grow, and are what uploads in pieces need. Create makes an empty
// object; only what is written to it and synced is durable. Open fails while
// another [File] for the object is open, here or in another process. Rename gives
// an object, and the File that is open for it, another key; twin is that of
// [Object].
//
//	Stat(ctx context.Context, key string) (Status, error)
//	Touch(ctx context.Context, key string) error
//	DeleteOlder(ctx context.Context, key string, than time.Time) (bool, error)
//	Leftovers(ctx context.Context, than time.Time, fn func(Leftover) error) error
//
// are what collecting garbage needs. Touch makes an object as young as if it were
// put now. DeleteOlder deletes one that was last put or touched before a time, and
// reports whether it did; both are one step to whoever puts, touches or deletes
// the object. That it is gone need not be durable before the next Sync of the key.
// Leftovers gives what work that broke off before that time left outside of all
// keys.
//
//	Prune(ctx context.Context, prefix string, than time.Time) error
//
// removes what a bucket keeps for keys that begin with prefix, which ends with "/",
// and are gone since that time.
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

// An Object is one to be put by PutAll, as [Bucket.Put] does. The objects of a
// step are put in their order, and all are durable before the next step begins.
// With an error nothing of later steps was put.
type Object struct {
	Key string

	// Content is read to its end. It may only be nil if Size is 0.
	Content io.Reader
	Size    int64 // of Content, in bytes

	// From is the key of an object of which Key becomes another name, instead
	// of having Content. Names of an object share no fate, but for their age.
	From string

	// Twin is the key of an object that may have the same content. If it has,
	// byte by byte, Key becomes another name of it; if not, Twin becomes another
	// name of Key, durable or not, or nothing if that cannot be. Either way Key
	// is what it was to be.
	Twin string

	// Seen says that the object is there, put by somebody else perhaps, and only
	// has to be durable. Size is then what it has, 0 if that is not known.
	Seen bool
}

// A File is an object that grows. An [os.File] is one.
//
//	Share(ctx context.Context, to, twin string) (bool, error)
//
// is the optional method of one that lets to be another name of the object twin,
// and reports that it did, if there is such an object and its content is what is
// in the file.
type File interface {
	io.ReaderAt
	io.WriterAt
	io.Closer
	Stat() (fs.FileInfo, error) // of which the size and the time of the last write are asked
	Sync() error                // returns when what was written is durable
}

// A Status is what is known of an object without reading it.
type Status struct {
	Size    int64     // in bytes
	Touched time.Time // when it was last put or touched, under any of its names
	Names   int       // how many keys it has
}

// A Leftover is something that broken work left.
type Leftover struct {
	Name   string
	Size   int64 // in bytes
	Remove func() error
}

// putAll is a bucket's PutAll. In one without it no two keys are one object.
func putAll(ctx context.Context, b Bucket, steps ...[]Object) error {
	if p, ok := b.(interface {
		PutAll(context.Context, ...[]Object) error
	}); ok {
		return p.PutAll(ctx, steps...)
	}
	for _, step := range steps {
		for _, o := range step {
			if err := putOne(ctx, b, o); err != nil {
				return err
			}
		}
	}
	return nil
}

func putOne(ctx context.Context, b Bucket, o Object) error {
	switch {
	case o.Seen:
		return settle(ctx, b, o.Key)
	case o.From != "":
		return copyObject(ctx, b, o.From, o.Key)
	}
	return b.Put(ctx, o.Key, o.content(), o.Size)
}

func (o Object) content() io.Reader {
	if o.Content == nil {
		return eof{}
	}
	return o.Content
}

type eof struct{}

func (eof) Read([]byte) (int, error) { return 0, io.EOF }

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
	Create(ctx context.Context, key string) error
	Open(ctx context.Context, key string) (File, error)
	Rename(ctx context.Context, from, to, twin string) error
}

// growing returns b as a grower, or [oras.ErrUnsupported].
func growing(b Bucket) (grower, error) {
	g, ok := b.(grower)
	if !ok {
		return nil, fmt.Errorf("uploads in pieces: %w", oras.ErrUnsupported)
	}
	return g, nil
}

// An ager is a bucket that knows how old objects are.
type ager interface {
	Stat(ctx context.Context, key string) (Status, error)
	Touch(ctx context.Context, key string) error
	DeleteOlder(ctx context.Context, key string, than time.Time) (bool, error)
	Leftovers(ctx context.Context, than time.Time, fn func(Leftover) error) error
}

// aging returns b as an ager, or [oras.ErrUnsupported].
func aging(b Bucket) (ager, error) {
	a, ok := b.(ager)
	if !ok {
		return nil, fmt.Errorf("collecting garbage: %w", oras.ErrUnsupported)
	}
	return a, nil
}

// prune is a bucket's Prune. One without it keeps nothing for keys that are gone.
func prune(ctx context.Context, b Bucket, prefix string, than time.Time) error {
	if p, ok := b.(interface {
		Prune(context.Context, string, time.Time) error
	}); ok {
		return p.Prune(ctx, prefix, than)
	}
	return nil
}
