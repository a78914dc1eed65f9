package bucket

import (
	"strings"

	"github.com/c73062ad/oras"
)

const (
	repositories = "_repositories/"
	contents     = "_content/"
	damaged      = "_damaged/"
)

// repositoryKey returns the key of the repository called name, which is a valid
// name. "." is never followed by "~" in one, and what it can be followed by
// comes before "~".
func repositoryKey(name string) string {
	return repositories + strings.ReplaceAll(name, "/", ".~/")
}

func repositoryName(key string) string {
	return strings.ReplaceAll(strings.TrimPrefix(key, repositories), ".~/", "/")
}

// contentKey returns the key by which repositories share the content d.
func contentKey(d oras.Digest) string {
	hex := d.Hex()
	return contents + d.Algorithm().String() + "/" + hex[:2] + "/" + hex[2:]
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

// unslashed is the reverse of slashed, in a key that has it behind prefix. It is
// the zero Digest if there is none.
func unslashed(key, prefix string) oras.Digest {
	algorithm, hex, _ := strings.Cut(strings.TrimPrefix(key, prefix), "/")
	return digestOf(algorithm, hex)
}

func digestOf(algorithm, hex string) oras.Digest {
	d, err := oras.ParseDigest(algorithm + ":" + hex)
	if err != nil {
		return oras.Digest{}
	}
	return d
}

// parseReferrerKey returns subject and manifest of a key that begins with prefix,
// that of all referrers.
func parseReferrerKey(key, prefix string) (subject, d oras.Digest) {
	dir, name, _ := cutLast(strings.TrimPrefix(key, prefix), "/")
	algorithm, hex, _ := strings.Cut(name, ".")
	return unslashed(dir, ""), digestOf(algorithm, hex)
}

// parseTaggedKey returns manifest and tag of a key that begins with prefix, that
// of all that may be tagged.
func parseTaggedKey(key, prefix string) (d oras.Digest, tag string) {
	algorithm, rest, _ := strings.Cut(strings.TrimPrefix(key, prefix), "/")
	hex, tag, _ := strings.Cut(rest, "~")
	return digestOf(algorithm, strings.Replace(hex, "/", "", 1)), tag
}

func cutLast(s, sep string) (before, after string, found bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, "", false
}
