package oras

import (
	"context"
	"fmt"
	"io"
)

// An Upload is content on its way in: some bytes have arrived, more may follow,
// perhaps from another process (distribution-spec, "Pushing a blob in chunks").
// An Upload is for one goroutine at a time; two that are open for the same id
// cannot both append at the same offset.
type Upload interface {
	// ID names the upload in its store, for [OpenUpload].
	ID() string

	// Size returns how many bytes have arrived.
	Size() int64

	// Append adds content at offset, which must be Size(); else it is
	// [ErrInvalid] and nothing changes. It returns how many bytes were
	// kept: after an error, those before it, so that the sender can go on
	// at Size(). An upload that has ended takes no more.
	Append(ctx context.Context, offset int64, content io.Reader) (int64, error)

	// Commit makes the bytes the blob of the given digest, whatever their
	// number, durably, and ends the upload. If the digest is another the
	// upload is ended too, nothing is stored, and the error is [ErrInvalid].
	Commit(ctx context.Context, digest Digest) error

	// Abort ends the upload and forgets its bytes.
	Abort(ctx context.Context) error

	// Close lets go of the upload without ending it.
	Close() error
}

// OpenUpload opens the upload id of t, or begins a new one if id is empty, of
// content whose digest will be by SHA-256. An upload that is not there, or has
// ended, is [ErrNotFound]; so is text that can be no id. A target that has no
// uploads is [ErrUnsupported];
//
//	Upload(ctx context.Context, id string) (Upload, error)
//
// is the optional method of one that has.
func OpenUpload(ctx context.Context, t Target, id string) (Upload, error) {
	u, ok := t.(interface {
		Upload(context.Context, string) (Upload, error)
	})
	if !ok {
		return nil, fmt.Errorf("uploads in pieces: %w", ErrUnsupported)
	}
	return u.Upload(ctx, id)
}

// BeginUpload begins an upload to t of content whose digest will be by the
// algorithm a; the zero Algorithm is SHA-256. A store that knows it can hash what
// arrives (distribution-spec main, "Pushing a blob in chunks", digest-algorithm).
// Commit under a digest of another algorithm is no error, only slower, and
// [OpenUpload] goes on with the upload. A target that cannot be told gets
// OpenUpload with no id, so what has no uploads is [ErrUnsupported] here too;
//
//	BeginUpload(ctx context.Context, a Algorithm) (Upload, error)
//
// is the optional method of one that can.
func BeginUpload(ctx context.Context, t Target, a Algorithm) (Upload, error) {
	u, ok := t.(interface {
		BeginUpload(context.Context, Algorithm) (Upload, error)
	})
	if !ok {
		return OpenUpload(ctx, t, "")
	}
	return u.BeginUpload(ctx, a)
}
