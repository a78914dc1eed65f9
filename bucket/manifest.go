package bucket

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/c73062ad/oras"
)

// A manifest is what is known of one without reading it.
type manifest struct {
	oras.Descriptor
	Subject string `json:"subject,omitempty"` // digest; so that deletion finds the referrer
}

// maxFact is the size in bytes of the largest object that is read into memory: a
// manifest's annotations, of which JSON may escape every character anew.
const maxFact = 6*oras.MaxManifestSize + 1<<16

// readFact decodes the object key into v and returns its size in bytes.
func readFact(ctx context.Context, b Bucket, key string, v any) (int, error) {
	content, err := b.Get(ctx, key)
	if err != nil {
		return 0, err
	}
	defer content.Close()
	data, err := io.ReadAll(io.LimitReader(content, maxFact+1))
	if err != nil {
		return 0, fmt.Errorf("%s: %w", key, err)
	}
	if len(data) > maxFact {
		return 0, fmt.Errorf("%s: object is larger than %d bytes", key, maxFact)
	}
	if err := json.Unmarshal(data, v); err != nil {
		return 0, fmt.Errorf("%s: %w", key, err)
	}
	return len(data), nil
}

func writeFact(ctx context.Context, b Bucket, key string, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("%s: %w", key, err)
	}
	return b.Put(ctx, key, bytes.NewReader(data), int64(len(data)))
}

// manifest returns what is known of the manifest d, or [oras.ErrNotFound].
func (s *Store) manifest(ctx context.Context, d oras.Digest) (manifest, error) {
	var m manifest
	if _, err := readFact(ctx, s.bucket, s.manifestKey(d), &m); err != nil {
		return manifest{}, lacking(d, err)
	}
	if m.Digest != d.OCI() {
		return manifest{}, fmt.Errorf("%s: object is about %q", s.manifestKey(d), m.Digest)
	}
	return m, nil
}

// PushReference is the optional method of [oras.PushTagged].
func (s *Store) PushReference(ctx context.Context, expected oras.Descriptor, content io.Reader, reference string) error {
	if err := oras.CheckTag(reference); err != nil {
		return err
	}
	return s.pushManifest(ctx, expected, content, reference)
}

// pushManifest stores a manifest, and lets tag name it if that is not empty.
func (s *Store) pushManifest(ctx context.Context, expected oras.Descriptor, content io.Reader, tag string) error {
	d, err := oras.ParseDigest(expected.Digest)
	if err != nil {
		return err
	}
	data, err := oras.ReadAll(content, expected)
	if err != nil {
		return err
	}
	parsed, err := oras.ParseManifest(expected.MediaType, data)
	if err != nil {
		return fmt.Errorf("%s: %w", d, err)
	}
	done, err := s.registry.locks.share(ctx, s.name)
	if err != nil {
		return err
	}
	defer done()
	m, err := s.manifest(ctx, d)
	switch {
	case errors.Is(err, oras.ErrNotFound):
		m = manifest{Descriptor: oras.Descriptor{MediaType: expected.MediaType, Digest: d.OCI(), Size: expected.Size}}
		err = s.putManifest(ctx, d, m, parsed, data)
	case err == nil:
		err = settle(ctx, s.bucket, s.manifestKey(d))
	}
	if err != nil || tag == "" {
		return err
	}
	return s.setTag(ctx, d, m.Descriptor, tag)
}

// putManifest stores the manifest d, which is data.
func (s *Store) putManifest(ctx context.Context, d oras.Digest, m manifest, parsed *oras.Manifest, data []byte) error {
	if err := s.registry.mark(ctx, s.name); err != nil {
		return err
	}
	if err := keep(ctx, s.bucket, s.blobKey(d), data); err != nil {
		return err
	}
	if parsed.Subject != nil {
		// A subject by an algorithm that is not implemented is nobody's to ask for.
		if subject, err := oras.ParseDigest(parsed.Subject.Digest); err == nil {
			m.Subject = subject.String()
			referrer := m.Descriptor
			referrer.ArtifactType, referrer.Annotations = parsed.Type(), parsed.Annotations
			if err := writeFact(ctx, s.bucket, s.referrerKey(subject, d), referrer); err != nil {
				return err
			}
		}
	}
	return writeFact(ctx, s.bucket, s.manifestKey(d), m)
}

// Delete is [oras.Store.Delete]. It costs what the manifest has tags, however
// many the repository has. Whoever reads the content goes on reading it.
func (s *Store) Delete(ctx context.Context, target oras.Descriptor) error {
	d, err := oras.ParseDigest(target.Digest)
	if err != nil {
		return err
	}
	done, err := s.registry.locks.alone(ctx, s.name)
	if err != nil {
		return err
	}
	defer done()
	m, err := s.manifest(ctx, d)
	switch {
	case errors.Is(err, oras.ErrNotFound):
		return lacking(d, s.bucket.Delete(ctx, s.blobKey(d)))
	case err != nil:
		return err
	}
	if err := s.untagAll(ctx, d); err != nil {
		return err
	}
	if err := remove(ctx, s.bucket, s.manifestKey(d)); err != nil {
		return err
	}
	if subject, err := oras.ParseDigest(m.Subject); err == nil {
		if err := remove(ctx, s.bucket, s.referrerKey(subject, d)); err != nil {
			return err
		}
	}
	return remove(ctx, s.bucket, s.blobKey(d))
}
