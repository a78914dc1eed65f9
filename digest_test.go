package oras_test

import (
	"crypto/sha256"
	"crypto/sha512"
	"encoding"
	"encoding/hex"
	"errors"
	"strings"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/c73062ad/oras"
)

var (
	hex256 = hex.EncodeToString(sha256.New().Sum(nil))
	hex512 = hex.EncodeToString(sha512.New().Sum(nil))
)

func TestParseDigest(t *testing.T) {
	for _, s := range []string{"sha256:" + hex256, "sha512:" + hex512} {
		d, err := oras.ParseDigest(s)
		if err != nil {
			t.Errorf("%s: %v", s, err)
			continue
		}
		name, encoded, _ := strings.Cut(s, ":")
		if d.String() != s || d.Hex() != encoded || d.Algorithm().String() != name || d.OCI() != digest.Digest(s) || d.IsZero() {
			t.Errorf("%s: got %q, %q, %q, %q", s, d, d.Algorithm(), d.Hex(), d.OCI())
		}
		if again, _ := oras.ParseDigest(d.OCI()); again != d {
			t.Errorf("%s: not equal to itself", s)
		}
	}
	for _, test := range []struct{ text, want string }{
		{"", "format"},
		{":", "format"},
		{"sha256", "format"},
		{"sha256:", "format"},
		{hex256, "format"},
		{"sha256:" + hex256[1:], "length"},
		{"sha256:" + hex256 + "0", "length"},
		{"sha256:" + hex512, "length"},
		{"sha512:" + hex256, "length"},
		{"sha256:" + strings.ToUpper(hex256), "format"},
		{"SHA256:" + hex256, "format"},
		{"sha256:" + "g" + hex256[1:], "format"},
		{"sha256:../../../../etc/passwd", "format"},
		{"sha256:" + "../" + hex256[3:], "format"},
		{"sha256:" + "..%2f" + hex256[5:], "format"},
		{`sha256:` + `..\` + hex256[3:], "format"},
		{"../sha256:" + hex256, "format"},
		{"sha256:" + hex256 + "\n", "format"},
		{"sha256:" + hex256[1:] + "\n", "format"},
		{"\nsha256:" + hex256, "format"},
		{" sha256:" + hex256, "format"},
		{"sha256:" + hex256[1:] + "\x00", "format"},
		{"sha256:sha256:" + hex256, "format"},
		{"sha256-" + hex256, "format"},
		{"sha256:" + hex256[2:] + "٣", "format"}, // a digit, but not ours
		{"md5:d41d8cd98f00b204e9800998ecf8427e", "algorithm"},
		{"sha1:da39a3ee5e6b4b0d3255bfef95601890afd80709", "algorithm"},
		{"sha384:" + hex512[:96], "algorithm"},
		{"blake3:" + hex256, "algorithm"},
		{"multihash+base58:QmRZxt2b1FVZPNqd8hsiykDL3TdBDeTSPX9Kv46HmX4Gx8", "algorithm"},
		{"sha256+b64u:LCa0a2j_xo_5m0U8HTBBNBNCLXBkg7-g-YpeiGJm564", "algorithm"},
	} {
		d, err := oras.ParseDigest(test.text)
		if !errors.Is(err, oras.ErrInvalid) || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%q: error %v, want one of %q", test.text, err, test.want)
		}
		if !d.IsZero() {
			t.Errorf("%q: got %q", test.text, d)
		}
	}
}

func TestAlgorithm(t *testing.T) {
	for _, test := range []struct {
		algorithm  oras.Algorithm
		name, want string
	}{
		{oras.SHA256, "sha256", "sha256:" + hex256},
		{oras.SHA512, "sha512", "sha512:" + hex512},
		{oras.Algorithm{}, "", "sha256:" + hex256},
	} {
		if got := test.algorithm.Digest(nil); got.String() != test.want {
			t.Errorf("%q: digest %s, want %s", test.name, got, test.want)
		}
		if test.algorithm.String() != test.name {
			t.Errorf("name %q, want %q", test.algorithm, test.name)
		}
		h := test.algorithm.New()
		h.Write([]byte("text"))
		if got, want := test.algorithm.Sum(h), test.algorithm.Digest([]byte("text")); got != want {
			t.Errorf("%q: sum %s, want %s", test.name, got, want)
		}
		if _, ok := h.(encoding.BinaryMarshaler); !ok {
			t.Errorf("%q: the state of a hash cannot be kept", test.name)
		}
		got, err := oras.ParseAlgorithm(test.name)
		if test.name == "" {
			if !errors.Is(err, oras.ErrInvalid) {
				t.Errorf("no name: %v", err)
			}
		} else if err != nil || got != test.algorithm {
			t.Errorf("%q: got %v, %v", test.name, got, err)
		}
	}
	for _, name := range []string{"SHA256", "sha256 ", "sha1", "../sha256"} {
		if _, err := oras.ParseAlgorithm(name); !errors.Is(err, oras.ErrInvalid) {
			t.Errorf("%q: %v", name, err)
		}
	}
}

func TestZeroDigest(t *testing.T) {
	var d oras.Digest
	if !d.IsZero() || d.String() != "" || d.Hex() != "" || d.OCI() != "" {
		t.Errorf("got %q", d)
	}
}

// What is accepted is safe anywhere, and go-digest, which knows the same
// algorithms, accepts it too.
func FuzzParseDigest(f *testing.F) {
	for _, s := range []string{"", "sha256:" + hex256, "sha512:" + hex512, "sha256:../..", "sha384:" + hex512[:96], "SHA256:" + hex256} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		d, err := oras.ParseDigest(s)
		theirs := digest.Digest(s).Validate()
		if err != nil {
			if !errors.Is(err, oras.ErrInvalid) || !d.IsZero() {
				t.Errorf("%q: %v, %q", s, err, d)
			}
			if theirs == nil && digest.Digest(s).Algorithm() != digest.SHA384 {
				t.Errorf("%q: only go-digest accepts it", s)
			}
			return
		}
		if theirs != nil {
			t.Errorf("%q: go-digest: %v", s, theirs)
		}
		if d.String() != s || strings.Trim(s, "0123456789abcdefhs:") != "" {
			t.Errorf("%q: accepted as %q", s, d)
		}
	})
}
