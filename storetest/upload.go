package storetest

import (
	"bytes"
	"errors"
	"io"
	"testing"
	"testing/iotest"

	"github.com/c73062ad/oras"
)

// upload opens the upload id, or skips the test if the store has no uploads.
func (s *suite) upload(id string) oras.Upload {
	s.Helper()
	u, err := oras.OpenUpload(s.Context(), s.Store, id)
	if errors.Is(err, oras.ErrUnsupported) {
		s.tb.(*testing.T).Skip("the store has no uploads")
	}
	s.must(err, "OpenUpload", id)
	return u
}

// append adds data, a part of c, to u.
func (s *suite) append(u oras.Upload, data []byte, c content) {
	s.Helper()
	before := u.Size()
	n, err := u.Append(s.Context(), before, bytes.NewReader(data))
	s.must(err, "Append", c.Digest)
	if want := before + int64(len(data)); n != int64(len(data)) || u.Size() != want {
		s.Fatalf("Append %s: %d bytes kept of %d, size is %d; it must be %d", c.Digest, n, len(data), u.Size(), want)
	}
}

// commit ends u, which must be c.
func (s *suite) commit(u oras.Upload, c content) {
	s.Helper()
	d, err := oras.ParseDigest(c.Digest)
	s.must(err, "ParseDigest", c.Digest)
	s.must(u.Commit(s.Context(), d), "Commit", c.Digest)
	s.must(u.Close(), "Close", c.Digest)
}

// ended checks that there is no upload id any longer.
func (s *suite) ended(id string) {
	s.Helper()
	u, err := oras.OpenUpload(s.Context(), s.Store, id)
	s.want(oras.ErrNotFound, err, "OpenUpload", id)
	if err == nil {
		u.Close()
	}
}

// testUpload: content comes in pieces, by whoever knows the id.
func testUpload(s *suite) {
	small := blob("in three pieces")
	for _, c := range []content{small, blob("the same by SHA-512").sha512(), large()} {
		u := s.upload("")
		id, third := u.ID(), len(c.data)/3
		if id == "" {
			s.Fatalf("OpenUpload %s: its id is empty", c.Digest)
		}
		s.append(u, c.data[:third], c)
		s.append(u, nil, c)
		s.append(u, c.data[third:2*third], c)
		s.lacks(c)
		s.must(u.Close(), "Close", id)

		u = s.upload(id)
		if u.Size() != int64(2*third) {
			s.Fatalf("OpenUpload %s: size is %d; it must be %d", id, u.Size(), 2*third)
		}
		for _, offset := range []int64{0, u.Size() - 1, u.Size() + 1, -1} {
			n, err := u.Append(s.Context(), offset, bytes.NewReader(c.data))
			s.want(oras.ErrInvalid, err, "Append at a wrong offset", c.Digest)
			if n != 0 || u.Size() != int64(2*third) {
				s.Fatalf("Append %s: at offset %d %d bytes were kept, size is %d; it must be 0 and %d", c.Digest, offset, n, u.Size(), 2*third)
			}
		}
		s.append(u, c.data[2*third:], c)
		s.commit(u, c)
		s.has(c)
		s.ended(id)
	}

	// What is there already can come again, and nothing is content too.
	for _, c := range []content{small, blob(""), blob("").sha512()} {
		u := s.upload("")
		if len(c.data) > 0 {
			s.append(u, c.data, c)
		}
		s.commit(u, c)
		s.has(c)
	}
}

// testUploadEnd: an upload ends with a wrong digest or Abort, and leaves nothing.
func testUploadEnd(s *suite) {
	c := blob("announced")
	u := s.upload("")
	s.append(u, []byte("something else"), c)
	d, err := oras.ParseDigest(c.Digest)
	s.must(err, "ParseDigest", c.Digest)
	s.want(oras.ErrInvalid, u.Commit(s.Context(), d), "Commit of other bytes", c.Digest)
	u.Close() // after an error it may have nothing to say
	s.ended(u.ID())
	s.lacks(c)
	s.lacks(blob("something else"))

	one, two := s.upload(""), s.upload("")
	if one.ID() == two.ID() {
		s.Fatalf("OpenUpload: two uploads have the id %s", one.ID())
	}
	s.append(one, c.data[:4], c)
	s.append(two, c.data[:5], c)
	s.must(one.Abort(s.Context()), "Abort", one.ID())
	one.Close()
	s.ended(one.ID())
	s.lacks(c)
	s.append(two, c.data[5:], c) // is not concerned
	s.commit(two, c)
	s.has(c)

	for _, id := range []string{"0123456789abcdef", "absent", "..", "../" + two.ID(), "a/b", "%2e%2e%2f", "a\x00"} {
		s.ended(id)
	}
}

// testUploadShared: two that are open for the same id cannot both append at the
// same offset.
func testUploadShared(s *suite) {
	c := blob("from one of them, then the other")
	one := s.upload("")
	uploads := []oras.Upload{one, s.upload(one.ID()), s.upload(one.ID()), s.upload(one.ID())}
	for _, part := range [][2]int{{0, 10}, {10, len(c.data)}} {
		errs := make([]error, len(uploads))
		together(len(uploads), func(i int) {
			_, errs[i] = uploads[i].Append(s.Context(), int64(part[0]), bytes.NewReader(c.data[part[0]:part[1]]))
		})
		kept := 0
		for _, err := range errs {
			if err == nil {
				kept++
			} else {
				s.want(oras.ErrInvalid, err, "Append where another did", c.Digest)
			}
		}
		if kept != 1 {
			s.Fatalf("Append %s: %d of %d uploads with the id %s appended at offset %d; it must be 1", c.Digest, kept, len(errs), one.ID(), part[0])
		}
		for i, u := range uploads {
			s.must(u.Close(), "Close", c.Digest)
			uploads[i] = s.upload(one.ID())
			if uploads[i].Size() != int64(part[1]) {
				s.Fatalf("OpenUpload %s: size is %d; it must be %d", one.ID(), uploads[i].Size(), part[1])
			}
		}
	}
	s.commit(uploads[0], c)
	for _, u := range uploads[1:] {
		if _, err := u.Append(s.Context(), u.Size(), bytes.NewReader(c.data)); err == nil {
			s.Errorf("Append %s: no error though the upload ended", c.Digest)
		}
		u.Close() // after an error it may have nothing to say
	}
	s.has(c)
}

// testUploadBroken: after a piece that broke off, the next begins at Size.
func testUploadBroken(s *suite) {
	c := large()
	u := s.upload("")
	s.append(u, c.data[:1000], c)
	broke := iotest.ErrReader(errors.New("the source broke"))
	n, err := u.Append(s.Context(), 1000, io.MultiReader(bytes.NewReader(c.data[1000:1<<20]), broke))
	if err == nil {
		s.Fatalf("Append %s: no error though reading the content failed", c.Digest)
	}
	if u.Size() != 1000+n || u.Size() > 1<<20 {
		s.Fatalf("Append %s: %d bytes kept of a broken piece, size is %d; it must be %d and at most %d", c.Digest, n, u.Size(), 1000+n, 1<<20)
	}
	id, size := u.ID(), u.Size()
	s.must(u.Close(), "Close", id)

	u = s.upload(id)
	if u.Size() != size {
		s.Fatalf("OpenUpload %s: size is %d; it must be %d", id, u.Size(), size)
	}
	s.append(u, c.data[u.Size():], c)
	s.commit(u, c)
	s.has(c)
}
