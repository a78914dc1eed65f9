package oras

import (
	"bytes"
	"context"
	"errors"
	"io"
)

// Push stores content in t. It is where every push goes through: what t reads is
// verified, and an error that t reports is believed only after t was asked
// whether the content is there all the same, as when a second writer was first.
// Errors are those of [Target.Push].
func Push(ctx context.Context, t Target, expected Descriptor, content io.Reader) error {
	return push(ctx, t, expected, content, t.Push)
}

func push(ctx context.Context, t Target, expected Descriptor, content io.Reader, do func(context.Context, Descriptor, io.Reader) error) error {
	err := do(ctx, expected, NewVerifier(content, expected))
	if err == nil || errors.Is(err, ErrInvalid) || errors.Is(err, ErrReferrers) {
		return err
	}
	if alreadyExists(err) {
		return nil // even if it was deleted since
	}
	if exists, e := t.Exists(ctx, expected); e == nil && exists {
		return nil
	}
	return err
}

// PushBytes stores data, of the given media type, in t and returns its
// descriptor.
func PushBytes(ctx context.Context, t Target, mediaType string, data []byte) (Descriptor, error) {
	desc := DescriptorOf(mediaType, data)
	return desc, Push(ctx, t, desc, bytes.NewReader(data))
}

// DescriptorOf returns the descriptor of data: media type, SHA-256 digest, size.
func DescriptorOf(mediaType string, data []byte) Descriptor {
	return Descriptor{MediaType: mediaType, Digest: SHA256.Digest(data).OCI(), Size: int64(len(data))}
}

// PushTagged stores a manifest in t and lets the tags name it, in as few steps as t
// can: with one tag in one step by the optional method
//
//	PushReference(ctx context.Context, expected Descriptor, content io.Reader, reference string) error
//
// and with several by
//
//	PushReferences(ctx context.Context, expected Descriptor, content io.Reader, references []string) error
//
// of a [Target]. After an error some of the tags may be set. Without tags it is
// [Push].
func PushTagged(ctx context.Context, t Target, expected Descriptor, content io.Reader, tags ...string) error {
	if len(tags) == 0 {
		return Push(ctx, t, expected, content)
	}
	many, ok := t.(interface {
		PushReferences(context.Context, Descriptor, io.Reader, []string) error
	})
	if ok && len(tags) > 1 {
		return many.PushReferences(ctx, expected, NewVerifier(content, expected), tags)
	}
	if err := pushTagged(ctx, t, expected, content, tags[0]); err != nil {
		return err
	}
	for _, tag := range tags[1:] {
		if err := t.Tag(ctx, expected, tag); err != nil {
			return err
		}
	}
	return nil
}

func pushTagged(ctx context.Context, t Target, expected Descriptor, content io.Reader, tag string) error {
	one, ok := t.(interface {
		PushReference(context.Context, Descriptor, io.Reader, string) error
	})
	if ok {
		// No second look: that the content is there does not mean that the tag is.
		return one.PushReference(ctx, expected, NewVerifier(content, expected), tag)
	}
	if err := Push(ctx, t, expected, content); err != nil {
		return err
	}
	return t.Tag(ctx, expected, tag)
}
