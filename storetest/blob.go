package storetest

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing/iotest"

	"github.com/opencontainers/go-digest"

	"github.com/c73062ad/oras"
)

// testBlob: content goes in and comes out under the digest it went in by.
func testBlob(s *suite) {
	for _, c := range []content{blob("a blob"), blob(""), blob("by SHA-512").sha512(), blob("").sha512(), large()} {
		s.lacks(c)
		s.push(c)
		s.has(c)
		s.push(c) // is no error
		s.hasAs(c, c.bare())
	}

	// A reader need not give all it has at once, nor be rewindable.
	c := blob(strings.Repeat("in pieces ", 1000))
	err := oras.Push(s.Context(), s.Store, c.Descriptor, iotest.HalfReader(iotest.DataErrReader(c.reader())))
	s.must(err, "Push", c.Digest)
	s.has(c)
}

// testBlobMismatch: what is stored always matches its descriptor.
func testBlobMismatch(s *suite) {
	c := blob("what was announced")
	for name, data := range map[string]string{
		"other bytes": "what was anounced?",
		"too short":   "what was",
		"too long":    "what was announced, and more",
		"empty":       "",
	} {
		// The function hashes before the store sees the bytes; the method must too.
		err := oras.Push(s.Context(), s.Store, c.Descriptor, strings.NewReader(data))
		s.want(oras.ErrInvalid, err, "Push of "+name, c.Digest)
		s.lacks(c)
		err = s.Push(s.Context(), c.Descriptor, io.MultiReader(strings.NewReader(data))) // of a length not known
		s.want(oras.ErrInvalid, err, "method Push of "+name, c.Digest)
		s.lacks(c)
	}

	l := large()
	err := s.Push(s.Context(), l.Descriptor, l.garbled().reader())
	s.want(oras.ErrInvalid, err, "Push of another last byte", l.Digest)
	s.lacks(l)

	broken := io.MultiReader(bytes.NewReader(l.data[:1<<20]), iotest.ErrReader(errors.New("the source broke")))
	if err := oras.Push(s.Context(), s.Store, l.Descriptor, broken); err == nil {
		s.Errorf("Push %s: no error though reading the content failed", l.Digest)
	}
	s.lacks(l)

	wrong := c.Descriptor
	wrong.Size = -1
	s.want(oras.ErrInvalid, oras.Push(s.Context(), s.Store, wrong, c.reader()), "Push with size -1", c.Digest)
	s.lacks(c)

	s.push(c, l) // the failures left nothing in the way
	s.has(c)
	s.has(l)
}

// testBlobSeek: a reader that is an io.Seeker can be seeked anywhere.
func testBlobSeek(s *suite) {
	c := large()
	s.push(c)
	for _, target := range []oras.Descriptor{c.Descriptor, c.bare()} {
		r, err := s.Fetch(s.Context(), target)
		s.must(err, "Fetch", c.Digest)
		if seeker, ok := r.(io.ReadSeeker); ok {
			s.seeks(seeker, c)
		}
		s.must(r.Close(), "Close", c.Digest)
	}
}

func (s *suite) seeks(r io.ReadSeeker, c content) {
	s.Helper()
	at := int64(0)
	for _, step := range []struct {
		offset int64
		whence int
		to     int64
		read   int // bytes, then
	}{
		{0, io.SeekCurrent, 0, 10},
		{0, io.SeekStart, 0, 100},
		{c.Size / 2, io.SeekStart, c.Size / 2, 1000},
		{-500, io.SeekCurrent, c.Size/2 + 500, 1},
		{0, io.SeekEnd, c.Size, 1}, // how to ask for the size
		{-10, io.SeekEnd, c.Size - 10, 10},
		{-20, io.SeekEnd, c.Size - 20, 100}, // more than there is
		{c.Size + 5, io.SeekStart, c.Size + 5, 1},
		{3, io.SeekStart, 3, 1},
		{1000, io.SeekCurrent, 1004, 100_000},
		{0, io.SeekStart, 0, len(c.data)},
	} {
		to, err := r.Seek(step.offset, step.whence)
		s.must(err, "Seek", c.Digest)
		if to != step.to {
			s.Fatalf("Seek %s: from %d by %d, whence %d, is %d; it must be %d", c.Digest, at, step.offset, step.whence, to, step.to)
		}
		want := c.data[min(to, c.Size):min(to+int64(step.read), c.Size)]
		got := make([]byte, step.read)
		n, err := io.ReadFull(r, got)
		short := errors.Is(err, io.ErrUnexpectedEOF) || err == io.EOF
		if err != nil && !(short && n < step.read) {
			s.Fatalf("Read %s: %d bytes at %d: %v", c.Digest, step.read, to, err)
		}
		s.same(got[:n], want, "Read behind Seek", c.Digest)
		at = to + int64(n)
	}
	if _, err := r.Seek(-1, io.SeekStart); err == nil {
		s.Errorf("Seek %s: no error before the start", c.Digest)
	}
}

// testDigest: text that is no digest of an algorithm there is finds nothing,
// stores nothing and harms nothing.
func testDigest(s *suite) {
	c := blob("a blob")
	s.push(c)
	hex := c.Digest.Encoded()
	for _, d := range []string{
		"", "sha256", "sha256:", "sha256:" + hex[1:], "sha256:" + hex + "0", "sha256:" + strings.ToUpper(hex),
		"sha512:" + hex, "md5:d41d8cd98f00b204e9800998ecf8427e", "SHA256:" + hex,
		"sha256:../../" + hex[6:], "sha256:" + hex + "/../../x", "sha256/" + hex, "../" + c.Digest.String(),
		"sha256:" + hex[:63] + "\x00", "sha256:" + hex[:63] + "\n", "sha256:" + hex + "?x=y",
	} {
		desc := c.Descriptor
		desc.Digest = digest.Digest(d)
		s.want(oras.ErrInvalid, oras.Push(s.Context(), s.Store, desc, c.reader()), "Push", desc.Digest)
		s.want(oras.ErrInvalid, s.Push(s.Context(), desc, c.reader()), "method Push", desc.Digest)
		if exists, _ := s.Exists(s.Context(), desc); exists {
			s.Errorf("Exists %q: true; it must be false", d)
		}
		if r, err := s.Fetch(s.Context(), desc); err == nil {
			r.Close()
			s.Errorf("Fetch %q: no error", d)
		}
		if _, err := s.Resolve(s.Context(), d); err == nil {
			s.Errorf("Resolve %q: no error", d)
		}
		if err := s.Delete(s.Context(), desc); err == nil {
			s.Errorf("Delete %q: no error", d)
		}
	}
	s.has(c)
}
