package oras

import (
	"crypto/sha256"
	"crypto/sha512"
	"encoding/hex"
	"fmt"
	"hash"
	"regexp"
	"strings"
	"sync"

	"github.com/opencontainers/go-digest"
)

// A Digest is the validated name of content: an algorithm this package
// implements and the right number of lower-case hexadecimal digits
// (image-spec, descriptor.md#digests). It can only come from [ParseDigest] or
// from hashing, so it is safe in a path, a URL or a header; descriptors hold
// unvalidated text. Digests compare with ==; the zero Digest is none.
type Digest struct{ text string }

// An Algorithm is a way to compute digests. Only [SHA256] and [SHA512] are
// implemented; get one from text with [ParseAlgorithm].
type Algorithm struct{ name string }

// The algorithms of image-spec, descriptor.md#registered-algorithms, which this
// package implements.
var (
	SHA256 = Algorithm{"sha256"}
	SHA512 = Algorithm{"sha512"}
)

// grammar returns a regular expression that is compiled when it is first asked for:
// a program that needs none starts the sooner.
func grammar(expression string) func() *regexp.Regexp {
	return sync.OnceValue(func() *regexp.Regexp { return regexp.MustCompile(expression) })
}

// digestGrammar is that of image-spec: it knows no algorithm.
var digestGrammar = grammar(`^[a-z0-9]+(?:[.+_-][a-z0-9]+)*:[a-zA-Z0-9=_-]+$`)

// ParseAlgorithm returns the algorithm called name, or [ErrInvalid].
func ParseAlgorithm(name string) (Algorithm, error) {
	switch name {
	case SHA256.name:
		return SHA256, nil
	case SHA512.name:
		return SHA512, nil
	}
	return Algorithm{}, fmt.Errorf("%q: unsupported digest algorithm: %w", name, ErrInvalid)
}

// String returns the algorithm's name, such as "sha256".
func (a Algorithm) String() string { return a.name }

// New returns a hash of the algorithm; the zero Algorithm is SHA256. The hash
// is an encoding.BinaryMarshaler, so its state can be kept.
func (a Algorithm) New() hash.Hash {
	if a == SHA512 {
		return sha512.New()
	}
	return sha256.New()
}

// size is how many bytes a hash of the algorithm has.
func (a Algorithm) size() int {
	if a == SHA512 {
		return sha512.Size
	}
	return sha256.Size
}

// Sum returns the digest of what was written to h, which must come from New.
func (a Algorithm) Sum(h hash.Hash) Digest {
	if a == (Algorithm{}) {
		a = SHA256
	}
	return Digest{a.name + ":" + hex.EncodeToString(h.Sum(nil))}
}

// Digest returns the digest of content.
func (a Algorithm) Digest(content []byte) Digest {
	h := a.New()
	h.Write(content)
	return a.Sum(h)
}

// ParseDigest validates text, such as a descriptor's digest. Text that is no
// digest, or one of an algorithm that is not implemented, is [ErrInvalid].
func ParseDigest[S ~string](text S) (Digest, error) {
	s := string(text)
	name, encoded, _ := strings.Cut(s, ":")
	a, err := ParseAlgorithm(name)
	rightLength := err == nil && len(encoded) == 2*a.size()
	switch {
	case rightLength && strings.TrimLeft(encoded, "0123456789abcdef") == "":
		return Digest{s}, nil
	case rightLength || !digestGrammar().MatchString(s):
		return Digest{}, fmt.Errorf("%q: invalid checksum digest format: %w", s, ErrInvalid)
	case err != nil:
		return Digest{}, fmt.Errorf("%q: unsupported digest algorithm: %w", s, ErrInvalid)
	default:
		return Digest{}, fmt.Errorf("%q: invalid checksum digest length: %w", s, ErrInvalid)
	}
}

// isDigest reports whether text is a digest, be its algorithm implemented or not.
func isDigest(text string) bool {
	name, _, _ := strings.Cut(text, ":")
	if _, err := ParseAlgorithm(name); err == nil {
		_, err = ParseDigest(text)
		return err == nil
	}
	return digestGrammar().MatchString(text)
}

// String returns the digest as it is written, "sha256:…"; of the zero Digest,
// the empty string.
func (d Digest) String() string { return d.text }

// Algorithm returns what the digest was computed with.
func (d Digest) Algorithm() Algorithm {
	name, _, _ := strings.Cut(d.text, ":")
	return Algorithm{name}
}

// Hex returns the part after the colon.
func (d Digest) Hex() string {
	_, encoded, _ := strings.Cut(d.text, ":")
	return encoded
}

// OCI returns the digest in the type that descriptors hold.
func (d Digest) OCI() digest.Digest { return digest.Digest(d.text) }

// IsZero reports whether d is no digest.
func (d Digest) IsZero() bool { return d.text == "" }
