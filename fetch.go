package oras

import (
	"bytes"
	"context"
	"fmt"
	"io"
)

// FetchAll returns the content of desc, verified. It is for what fits in memory:
// content that says it is larger than [MaxManifestSize] is [ErrInvalid], and what
// is allocated follows what is read.
func FetchAll(ctx context.Context, f Fetcher, desc Descriptor) ([]byte, error) {
	if err := checkFits(desc); err != nil {
		return nil, err // before anything is asked for
	}
	r, err := f.Fetch(ctx, desc)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return ReadAll(r, desc)
}

// atOnce is how many bytes are made room for before any has come.
const atOnce = 16 << 10

// ReadAll reads content to its end and verifies that it is what desc describes,
// with the limit of [FetchAll].
func ReadAll(content io.Reader, desc Descriptor) ([]byte, error) {
	if err := checkFits(desc); err != nil {
		return nil, err
	}
	var b bytes.Buffer
	b.Grow(bytes.MinRead + int(min(max(desc.Size, 0), atOnce))) // more grows with what comes
	if _, err := b.ReadFrom(NewVerifier(content, desc)); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

func checkFits(desc Descriptor) error {
	if desc.Size > MaxManifestSize {
		return fmt.Errorf("%s: %w: %d bytes are more than the %d that are read into memory", desc.Digest, ErrInvalid, desc.Size, MaxManifestSize)
	}
	return nil
}

// FetchTagged resolves reference, a tag or a digest, and opens what it names, in
// one step where s can:
//
//	FetchReference(ctx context.Context, reference string) (Descriptor, io.ReadCloser, error)
//
// is the optional method of a [Source] for it. A source that answers a digest with
// the descriptor of another is [ErrInvalid].
func FetchTagged(ctx context.Context, s Source, reference string) (Descriptor, io.ReadCloser, error) {
	one, ok := s.(interface {
		FetchReference(context.Context, string) (Descriptor, io.ReadCloser, error)
	})
	if ok {
		desc, r, err := one.FetchReference(ctx, reference)
		if err != nil {
			return Descriptor{}, nil, err
		}
		if err := checkPinned(reference, desc); err != nil {
			r.Close()
			return Descriptor{}, nil, err
		}
		return desc, r, nil
	}
	desc, err := s.Resolve(ctx, reference)
	if err != nil {
		return Descriptor{}, nil, err
	}
	if err := checkPinned(reference, desc); err != nil {
		return Descriptor{}, nil, err
	}
	r, err := s.Fetch(ctx, desc)
	return desc, r, err
}

// checkPinned reports a source that answers a digest with another.
func checkPinned(reference string, desc Descriptor) error {
	if d, err := ParseDigest(reference); err == nil && d.OCI() != desc.Digest {
		return fmt.Errorf("%s: %w: the source says it is %q", d, ErrInvalid, desc.Digest)
	}
	return nil
}
