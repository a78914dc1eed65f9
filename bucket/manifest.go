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
		return 0, fmt.Errorf("%s: %w: it is larger than %d bytes", key, errFact, maxFact)
	}
	if err := json.Unmarshal(data, v); err != nil {
		return 0, fmt.Errorf("%s: %w: %v", key, errFact, err)
	}
	return len(data), nil
}

// errFact is what is wrong with an object that says nothing one can read, or
// something else than its key.
var errFact = errors.New("object is damaged")

// fact returns the object key that says v.
func fact(key string, v any) (Object, error) {
	data, err := json.Marshal(v)
	if err != nil {
		return Object{}, fmt.Errorf("%s: %w", key, err)
	}
	return Object{Key: key, Content: bytes.NewReader(data), Size: int64(len(data))}, nil
}

func writeFact(ctx context.Context, b Bucket, key string, v any) error {
	o, err := fact(key, v)
	if err != nil {
		return err
	}
	return b.Put(ctx, o.Key, o.Content, o.Size)
}

// manifest returns what is known of the manifest d, or [oras.ErrNotFound].
func (s *Store) manifest(ctx context.Context, d oras.Digest) (manifest, error) {
	var m manifest
	if _, err := readFact(ctx, s.bucket, s.manifestKey(d), &m); err != nil {
		return manifest{}, lacking(d, err)
	}
	if m.Digest != d.OCI() {
		return manifest{}, fmt.Errorf("%s: %w: it is about %q", s.manifestKey(d), errFact, m.Digest)
	}
	return m, nil
}
