// Package oras stores artifacts in OCI registries and gets them back.
//
// The package has the nouns of the problem, as interfaces, and the verbs over
// them. A [Store] holds content and tags; a [Registry] is named stores. What a
// store can be lives in folders beside this one: memory, layout, bucket, file
// and remote; package server is the HTTP face of any [Registry] and package
// remote the far end of that face, so that a remote store over a server over a
// store cannot be told from the store. The verbs are [Push], [Pack], [Copy],
// [Referrers] and what they are made of.
//
// The methods of the interfaces equal those of oras-go v2's content.Fetcher,
// ReadOnlyTarget, Target and GraphTarget, so a store of either library is a
// value of the other's types.
package oras

import (
	"context"
	"io"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// A Descriptor names content: its media type, digest and size in bytes, and
// what else is known of it (image-spec, descriptor.md).
type Descriptor = ocispec.Descriptor

// A Platform says what an image runs on (image-spec, image-index.md).
type Platform = ocispec.Platform

// A Fetcher reads content.
type Fetcher interface {
	// Fetch opens the content that target describes. Only target.Digest
	// must be set; target.MediaType tells a store that keeps manifests
	// apart from blobs where to look. Content that is not there is
	// [ErrNotFound].
	//
	// A reader that is also an [io.Seeker] may be seeked: that is all the
	// range support there is. The bytes are as stored; who must be sure of
	// them reads through [NewVerifier].
	Fetch(ctx context.Context, target Descriptor) (io.ReadCloser, error)
}

// A Source is where content is copied from.
type Source interface {
	Fetcher

	// Exists reports whether the content is there. As for Fetch, only
	// target.Digest must be set.
	Exists(ctx context.Context, target Descriptor) (bool, error)

	// Resolve returns the descriptor of what reference names: a tag, or
	// the digest of any content, manifest or blob. It is [ErrNotFound] if
	// there is no such thing. The descriptor of a blob may have the media
	// type application/octet-stream: a store need not remember more.
	Resolve(ctx context.Context, reference string) (Descriptor, error)
}

// A Target is where content is copied to.
type Target interface {
	Source

	// Push stores content under expected, whole or not at all. What is
	// stored always matches expected.Digest and expected.Size; content
	// that does not is [ErrInvalid], and nothing is stored. Pushing what
	// is there already is no error. Manifests, told by expected.MediaType
	// (see [IsManifest]), are parsed: one that is malformed is ErrInvalid.
	// Their children need not be there.
	//
	// Call the function [Push] rather than this method.
	Push(ctx context.Context, expected Descriptor, content io.Reader) error

	// Tag lets the tag reference name the manifest desc, which must be in
	// the store (else [ErrNotFound]): Resolve then returns desc.Digest,
	// whatever its algorithm. A tag that exists is moved. Text that the
	// store has no tag for is [ErrReference]; registries have those of
	// [CheckTag].
	Tag(ctx context.Context, desc Descriptor, reference string) error
}

// A Store is one repository, complete enough to be served. Stores are safe for
// concurrent use, and package storetest holds the contract as a test.
type Store interface {
	Target

	// Predecessors returns manifests in the store that refer to node: at
	// least those whose subject is node.
	Predecessors(ctx context.Context, node Descriptor) ([]Descriptor, error)

	// Delete removes content, or is [ErrNotFound]. With a manifest go the
	// tags that name it; what it refers to stays.
	Delete(ctx context.Context, target Descriptor) error

	// Untag removes a tag, or is [ErrNotFound]. What it named stays.
	Untag(ctx context.Context, reference string) error

	// Tags calls fn with the tags after last, in byte order, in pages of
	// the store's choosing, until fn returns an error, which Tags returns.
	// fn may use the store. A store that nothing was ever pushed to may be
	// ErrNotFound instead of empty.
	Tags(ctx context.Context, last string, fn func(tags []string) error) error
}

// A Registry is a set of named stores. Registries are safe for concurrent use.
type Registry interface {
	// Repository returns the store called name. A name that no repository
	// can have is [ErrReference]; one that no repository has yet is no
	// error: the repository comes to be with the first push.
	Repository(ctx context.Context, name string) (Store, error)

	// Repositories calls fn with the names after last, as [Store.Tags]
	// does with tags.
	Repositories(ctx context.Context, last string, fn func(names []string) error) error
}
