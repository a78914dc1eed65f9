package layout

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"

	"github.com/c73062ad/oras"
)

// Push is [oras.Target.Push]. A manifest is listed in index.json; what the
// descriptor says of its platform and artifact type is kept there, its
// annotations are not. Blobs leave index.json alone.
//
// When reading a blob fails, or the process is killed, what was received stays in a
// hidden file, and whoever pushes the blob next, in any process, goes on behind it, if
// the content is an [io.Seeker]: see [oras.Continue]. What turns out to be wrong does
// not stay.
func (s *Store) Push(ctx context.Context, expected oras.Descriptor, content io.Reader) error {
	d, err := s.writableDigest(ctx, expected)
	if err != nil {
		return err
	}
	if oras.IsManifest(expected.MediaType) {
		return s.pushManifest(ctx, d, expected, content, "")
	}
	return s.put(ctx, d, expected, content)
}

// PushReference is the optional ability behind [oras.PushTagged]: it lists and
// tags the manifest in one change of index.json.
func (s *Store) PushReference(ctx context.Context, expected oras.Descriptor, content io.Reader, reference string) error {
	d, err := s.writableDigest(ctx, expected)
	if err != nil {
		return err
	}
	if reference, err = tagOf(d, reference); err != nil {
		return err
	}
	if !oras.IsManifest(expected.MediaType) {
		return fmt.Errorf("%s: %w: %q is not the media type of a manifest", d, oras.ErrInvalid, expected.MediaType)
	}
	return s.pushManifest(ctx, d, expected, content, reference)
}

func (s *Store) pushManifest(ctx context.Context, d oras.Digest, expected oras.Descriptor, content io.Reader, tag string) error {
	data, err := oras.ReadAll(content, expected)
	if err != nil {
		return err
	}
	if _, err := oras.ParseManifest(expected.MediaType, data); err != nil {
		return fmt.Errorf("%s: %w", d, err)
	}
	return s.change(ctx, func(x *indexJSON) ([]entry, error) {
		// The second time it is there, unless it was deleted meanwhile.
		if err := s.put(ctx, d, expected, bytes.NewReader(data)); err != nil {
			return nil, err
		}
		if tag == "" {
			return x.list(expected)
		}
		return x.tag(expected, tag)
	})
}

// put stores content as a file, if it is not there.
func (s *Store) put(ctx context.Context, d oras.Digest, expected oras.Descriptor, content io.Reader) error {
	name := blobPath(d)
	info, err := statRegular(s.fsys, name)
	if err == nil && info.Size() == expected.Size {
		return nil // Open removes a part of it
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s: %w", d, err)
	}
	if err := s.makeDir(path.Dir(name)); err != nil {
		return err
	}
	content = oras.NewVerifier(content, expected)
	if canContinue(content, expected.Size) {
		return s.putPart(ctx, d, expected, content)
	}
	_, err = s.write(ctx, name, content, 0o444)
	return err
}

// Tag is [oras.Target.Tag]. A tag is any text without control characters; with
// the digest of desc for a reference, desc is listed in index.json and no more.
func (s *Store) Tag(ctx context.Context, desc oras.Descriptor, reference string) error {
	d, err := s.writableDigest(ctx, desc)
	if err != nil {
		return err
	}
	tag, err := tagOf(d, reference)
	if err != nil {
		return err
	}
	return s.change(ctx, func(x *indexJSON) ([]entry, error) { return s.tag(ctx, x, d, desc, tag) })
}

// tag returns the entries of x by which tag, if it is not empty, names d, described
// by desc.
func (s *Store) tag(ctx context.Context, x *indexJSON, d oras.Digest, desc oras.Descriptor, tag string) ([]entry, error) {
	info, err := statRegular(s.fsys, blobPath(d))
	if err != nil {
		return nil, missing(d, err)
	}
	if _, ok := x.entry(d); !ok {
		desc.Size = info.Size()
		if !oras.IsManifest(desc.MediaType) {
			return nil, fmt.Errorf("manifest %s: %w", d, oras.ErrNotFound)
		}
		if _, err := oras.ReadManifest(ctx, s, desc); err != nil {
			return nil, err
		}
	}
	if tag == "" {
		return x.list(desc)
	}
	return x.tag(desc, tag)
}

// TagIf is the optional method of [oras.TagIf]. It is one step to all processes.
func (s *Store) TagIf(ctx context.Context, desc oras.Descriptor, reference string, old oras.Descriptor) error {
	if err := s.writable(ctx); err != nil {
		return err
	}
	if err := checkTag(reference); err != nil {
		return err
	}
	var d oras.Digest
	if desc.Digest != "" {
		var err error
		if d, err = oras.ParseDigest(desc.Digest); err != nil {
			return err
		}
	}
	return s.change(ctx, func(x *indexJSON) ([]entry, error) {
		if now, _ := x.tags.Resolve(reference); now.Digest != old.Digest {
			return nil, fmt.Errorf("%s: %w: it names %q, not %q", reference, oras.ErrConflict, now.Digest, old.Digest)
		}
		if d.IsZero() {
			return x.untag(reference)
		}
		return s.tag(ctx, x, d, desc, reference)
	})
}

// tagOf returns the tag that reference is, none if it is d.
func tagOf(d oras.Digest, reference string) (string, error) {
	if reference == d.String() {
		return "", nil
	}
	return reference, checkTag(reference)
}

// Untag is [oras.Store.Untag]. What has no other tag stays listed without one.
func (s *Store) Untag(ctx context.Context, reference string) error {
	if err := s.writable(ctx); err != nil {
		return err
	}
	return s.change(ctx, func(x *indexJSON) ([]entry, error) {
		if _, ok := x.tags.Resolve(reference); !ok {
			return nil, fmt.Errorf("%s: %w", reference, oras.ErrNotFound)
		}
		return x.untag(reference)
	})
}

// Delete is [oras.Store.Delete]: names go before content.
func (s *Store) Delete(ctx context.Context, target oras.Descriptor) error {
	d, err := s.writableDigest(ctx, target)
	if err != nil {
		return err
	}
	return s.alone(ctx, func(x *indexJSON) error {
		_, listed := x.entry(d)
		if listed {
			if err := s.save(ctx, x, x.remove(d)); err != nil {
				return err
			}
		}
		err := s.root.Remove(blobPath(d))
		if errors.Is(err, fs.ErrNotExist) && listed {
			return nil
		}
		if err != nil {
			return missing(d, err)
		}
		return s.syncDir(path.Dir(blobPath(d)))
	})
}

// writableDigest returns the digest of what is to be written or deleted.
func (s *Store) writableDigest(ctx context.Context, desc oras.Descriptor) (oras.Digest, error) {
	if err := s.writable(ctx); err != nil {
		return oras.Digest{}, err
	}
	return oras.ParseDigest(desc.Digest)
}
