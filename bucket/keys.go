package bucket

import (
	"strings"

	"github.com/c73062ad/oras"
)

const repositories = "_repositories/"

// repositoryKey returns the key of the repository called name, which is a valid
// name. "." is never followed by "~" in one, and what it can be followed by
// comes before "~".
func repositoryKey(name string) string {
	return repositories + strings.ReplaceAll(name, "/", ".~/")
}

func repositoryName(key string) string {
	return strings.ReplaceAll(strings.TrimPrefix(key, repositories), ".~/", "/")
}

func (s *Store) blobKey(d oras.Digest) string     { return s.name + "/_blobs/" + slashed(d) }
func (s *Store) manifestKey(d oras.Digest) string { return s.name + "/_manifests/" + slashed(d) }
func (s *Store) tagKey(tag string) string         { return s.name + "/_tags/" + tag }
func (s *Store) uploadKey(id string) string       { return s.name + "/_uploads/" + id }
func (s *Store) hashKey(id string) string         { return s.uploadKey(id) + hashSuffix }

const hashSuffix = ".hash"

// referrerKey returns the key that says that the subject of d is subject. With
// the zero Digest it is the prefix of all that have that subject.
func (s *Store) referrerKey(subject, d oras.Digest) string {
	prefix := s.name + "/_referrers/" + slashed(subject) + "/"
	if d.IsZero() {
		return prefix
	}
	return prefix + d.Algorithm().String() + "." + d.Hex()
}

// taggedKey returns the key that says that tag may name d. With no tag it is the
// prefix of all that may.
func (s *Store) taggedKey(d oras.Digest, tag string) string {
	hex := d.Hex()
	return s.name + "/_tagged/" + d.Algorithm().String() + "/" + hex[:2] + "/" + hex[2:] + "~" + tag
}

func slashed(d oras.Digest) string { return d.Algorithm().String() + "/" + d.Hex() }
