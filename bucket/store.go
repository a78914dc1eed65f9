package bucket

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/c73062ad/oras"
)

// A Store is one repository of a [Registry]. All stores of one name are the same
// repository.
type Store struct {
	registry *Registry
	bucket   Bucket
	name     string
}

var _ oras.Store = (*Store)(nil)

// Fetch is [oras.Fetcher.Fetch]. The reader of a small blob may be of what is in memory;
// else it is what the bucket's Get returns: an [os.File] if it is a [Dir].
func (s *Store) Fetch(ctx context.Context, target oras.Descriptor) (io.ReadCloser, error) {
	d, err := oras.ParseDigest(target.Digest)
	if err != nil {
		return nil, err
	}
	content, err := s.registry.hot.fetch(ctx, s.bucket, s.blobKey(d), d)
	if err != nil {
		return nil, lacking(d, err)
	}
	return content, nil
}

// lacking returns err, which is of an object about the thing called name. That
// the object is not there means that the thing is not.
func lacking(name fmt.Stringer, err error) error {
	if errors.Is(err, oras.ErrNotFound) {
		return fmt.Errorf("%s: %w", name, oras.ErrNotFound)
	}
	return err
}

// Exists is [oras.Source.Exists]. A descriptor with the media type of a manifest
// asks whether the content was stored as one. What exists is not garbage for
// another hour, or what a collection has for a grace.
func (s *Store) Exists(ctx context.Context, target oras.Descriptor) (bool, error) {
	d, err := oras.ParseDigest(target.Digest)
	if err != nil {
		return false, err
	}
	key := s.blobKey(d)
	if oras.IsManifest(target.MediaType) {
		key = s.manifestKey(d)
	}
	_, err = s.registry.renew(ctx, key)
	if errors.Is(err, oras.ErrNotFound) {
		return false, nil
	}
	return err == nil, err
}

// Resolve is [oras.Source.Resolve]. What a tag names is one object read. Of a
// digest it tells, too, that the content [Store.Exists].
func (s *Store) Resolve(ctx context.Context, reference string) (oras.Descriptor, error) {
	if oras.CheckTag(reference) == nil {
		return s.resolveTag(ctx, reference)
	}
	d, err := oras.ParseDigest(reference)
	if err != nil {
		return oras.Descriptor{}, fmt.Errorf("%w: %w", oras.ErrReference, err)
	}
	m, err := s.manifest(ctx, d)
	if err == nil {
		_, err = s.registry.renew(ctx, s.manifestKey(d))
		return m.Descriptor, lacking(d, err)
	}
	if !errors.Is(err, oras.ErrNotFound) {
		return oras.Descriptor{}, err
	}
	size, err := s.registry.renew(ctx, s.blobKey(d))
	if err != nil {
		return oras.Descriptor{}, lacking(d, err)
	}
	return oras.Descriptor{MediaType: oras.MediaTypeBlob, Digest: d.OCI(), Size: size}, nil
}

// Push is [oras.Target.Push]. Of a blob that is there already, content is not
// read. The media type under which a manifest was stored first stays.
func (s *Store) Push(ctx context.Context, expected oras.Descriptor, content io.Reader) error {
	if oras.IsManifest(expected.MediaType) {
		return s.pushManifest(ctx, expected, content, nil)
	}
	d, err := oras.ParseDigest(expected.Digest)
	if err != nil {
		return err
	}
	size, err := s.registry.renew(ctx, s.blobKey(d))
	switch {
	case err == nil && size == expected.Size:
		return settle(ctx, s.bucket, s.blobKey(d))
	case err != nil && !errors.Is(err, oras.ErrNotFound):
		return err
	}
	// Of another size it is damaged, unless this is what will not verify.
	if err := s.registry.mark(ctx, s.name); err != nil {
		return err
	}
	return putAll(ctx, s.bucket, []Object{s.blob(d, oras.NewVerifier(content, expected), expected.Size)})
}

// blob returns the object that the content d is, to be put.
func (s *Store) blob(d oras.Digest, content io.Reader, size int64) Object {
	return Object{Key: s.blobKey(d), Content: content, Size: size, Twin: contentKey(d)}
}

// Mount is the optional method of [oras.Mount]. No bytes are moved where the
// bucket can link objects. A repository from that lacks the content, or an empty
// from, is [oras.ErrNotFound] unless there is getContent.
func (s *Store) Mount(ctx context.Context, desc oras.Descriptor, from string, getContent func() (io.ReadCloser, error)) error {
	d, err := oras.ParseDigest(desc.Digest)
	if err != nil {
		return err
	}
	if exists, err := s.Exists(ctx, desc); err != nil {
		return err
	} else if exists {
		return settle(ctx, s.bucket, s.blobKey(d))
	}
	err = s.mount(ctx, desc, d, from)
	if !errors.Is(err, oras.ErrNotFound) || getContent == nil {
		return err
	}
	content, err := getContent()
	if err != nil {
		return err
	}
	defer content.Close()
	return oras.Push(ctx, s, desc, content)
}

func (s *Store) mount(ctx context.Context, desc oras.Descriptor, d oras.Digest, from string) error {
	if from == "" {
		return fmt.Errorf("%s: %w", d, oras.ErrNotFound)
	}
	source, err := s.registry.store(from)
	if err != nil {
		return err
	}
	if oras.IsManifest(desc.MediaType) { // which is more than its content
		content, err := source.Fetch(ctx, desc)
		if err != nil {
			return err
		}
		defer content.Close()
		return s.Push(ctx, desc, content)
	}
	if _, err := s.bucket.Size(ctx, source.blobKey(d)); err != nil { // before the mark
		return lacking(d, err)
	}
	if err := s.registry.mark(ctx, s.name); err != nil {
		return err
	}
	return lacking(d, putAll(ctx, s.bucket, []Object{{Key: s.blobKey(d), From: source.blobKey(d)}}))
}
