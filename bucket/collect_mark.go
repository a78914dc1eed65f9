package bucket

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"

	"github.com/c73062ad/oras"
)

// digests are a set of digests, each kept as its first eight bytes: another that
// begins with the same is kept from being garbage, which does no harm.
type digests map[uint64]struct{}

func begins(d oras.Digest) uint64 {
	var first [8]byte
	hex.Decode(first[:], []byte(d.Hex()[:16])) // a Digest has as many digits, and more
	return binary.BigEndian.Uint64(first[:])
}

func (s digests) add(d oras.Digest) { s[begins(d)] = struct{}{} }

func (s digests) has(d oras.Digest) bool {
	_, ok := s[begins(d)]
	return ok
}

// addChildren adds what a manifest refers to.
func (s digests) addChildren(m *oras.Manifest) {
	for _, child := range m.Children() {
		if d, err := oras.ParseDigest(child.Digest); err == nil {
			s.add(d)
		}
	}
}

// mark returns what the manifests of s are and refer to, but for those in gone.
func (c *collector) mark(ctx context.Context, s *Store, gone map[oras.Digest]bool) (digests, error) {
	needed := digests{}
	err := s.eachManifest(ctx, func(d oras.Digest, parsed *oras.Manifest) error {
		if !gone[d] {
			needed.add(d)
			needed.addChildren(parsed)
		}
		return nil
	})
	return needed, err
}

// eachManifest calls fn with each manifest of s.
func (s *Store) eachManifest(ctx context.Context, fn func(d oras.Digest, parsed *oras.Manifest) error) error {
	prefix := s.name + "/_manifests/"
	return s.bucket.List(ctx, prefix, "", func(keys []string) error {
		for _, key := range keys {
			d := unslashed(key, prefix)
			if d.IsZero() {
				continue
			}
			parsed, err := s.readManifest(ctx, d)
			if errors.Is(err, oras.ErrNotFound) {
				continue
			}
			if err != nil {
				return err
			}
			if err := fn(d, parsed); err != nil {
				return err
			}
		}
		return nil
	})
}

// readManifest returns the manifest d, or [oras.ErrNotFound] if it is not one that
// is there. That its content is not is another error.
func (s *Store) readManifest(ctx context.Context, d oras.Digest) (*oras.Manifest, error) {
	m, err := s.manifest(ctx, d)
	if err != nil {
		return nil, err
	}
	parsed, err := oras.ReadManifest(ctx, s, m.Descriptor)
	if errors.Is(err, oras.ErrNotFound) {
		if _, err := s.bucket.Size(ctx, s.manifestKey(d)); err != nil {
			return nil, lacking(d, err) // it was deleted meanwhile
		}
		return nil, errors.New("the content of manifest " + d.String() + " is not there")
	}
	return parsed, err
}
