package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/opencontainers/go-digest"

	"github.com/c73062ad/oras"
)

// A suite is a store being tested. Its methods do one thing to the store and
// fail the test, naming the operation and the digest, if what comes of it is not
// what must.
type suite struct {
	tb
	oras.Store
}

// tb is what testing.T and rapid.T have in common and a suite needs.
type tb interface {
	Helper()
	Skip(...any)
	Context() context.Context
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
}

// must ends the test if op, done to the thing named, failed.
func (s *suite) must(err error, op string, name any) {
	s.Helper()
	if err != nil {
		s.Fatalf("%s %v: %v", op, name, err)
	}
}

// want fails the test unless err is of the kind that op must end with.
func (s *suite) want(kind, err error, op string, name any) {
	s.Helper()
	if !errors.Is(err, kind) {
		s.Errorf("%s %v: error is %v; it must be %q", op, name, err, kind)
	}
}

// push stores each content.
func (s *suite) push(contents ...content) {
	s.Helper()
	for _, c := range contents {
		s.must(oras.Push(s.Context(), s.Store, c.Descriptor, c.reader()), "Push", c.Digest)
	}
}

// tag pushes c and lets tags name it.
func (s *suite) tag(c content, tags ...string) {
	s.Helper()
	s.push(c)
	for _, tag := range tags {
		s.must(s.Tag(s.Context(), c.Descriptor, tag), "Tag "+tag, c.Digest)
	}
}

// remove deletes c.
func (s *suite) remove(c content) {
	s.Helper()
	s.must(s.Delete(s.Context(), c.Descriptor), "Delete", c.Digest)
}

// has checks that c is there, whole, under its digest.
func (s *suite) has(c content) {
	s.Helper()
	s.hasAs(c, c.Descriptor)
	s.resolves(c.Digest.String(), c)
}

// hasAs checks that c is what Exists and Fetch find for target.
func (s *suite) hasAs(c content, target oras.Descriptor) {
	s.Helper()
	exists, err := s.Exists(s.Context(), target)
	s.must(err, "Exists", target.Digest)
	if !exists {
		s.Errorf("Exists %s: false; it must be true", target.Digest)
	}
	r, err := s.Fetch(s.Context(), target)
	s.must(err, "Fetch", target.Digest)
	s.reads(r, c)
}

// reads checks that r, which is closed, is that of c.
func (s *suite) reads(r io.ReadCloser, c content) {
	s.Helper()
	data, err := io.ReadAll(r)
	s.must(err, "Read", c.Digest)
	s.must(r.Close(), "Close", c.Digest)
	s.same(data, c.data, "Read", c.Digest)
}

// same compares what op read of d with what it is.
func (s *suite) same(got, want []byte, op string, d digest.Digest) {
	s.Helper()
	if bytes.Equal(got, want) {
		return
	}
	i := 0
	for i < min(len(got), len(want)) && got[i] == want[i] {
		i++
	}
	s.Errorf("%s %s: %d bytes that differ at offset %d from the %d there are", op, d, len(got), i, len(want))
}

// resolves checks that reference resolves to c. What type a blob has, a store
// need not know.
func (s *suite) resolves(reference string, c content) {
	s.Helper()
	desc, err := s.Resolve(s.Context(), reference)
	s.must(err, "Resolve", reference)
	s.describes(desc, c, "Resolve "+reference)
}

func (s *suite) describes(desc oras.Descriptor, c content, op string) {
	s.Helper()
	if desc.Digest != c.Digest || desc.Size != c.Size {
		s.Errorf("%s: %s of %d bytes; it must be %s of %d", op, desc.Digest, desc.Size, c.Digest, c.Size)
	}
	unknown := desc.MediaType == oras.MediaTypeBlob && !oras.IsManifest(c.MediaType)
	if desc.MediaType != c.MediaType && !unknown {
		s.Errorf("%s: media type of %s is %q; it must be %q", op, desc.Digest, desc.MediaType, c.MediaType)
	}
}

// lacks checks that c is not there, whichever way it is asked for.
func (s *suite) lacks(c content) {
	s.Helper()
	exists, err := s.Exists(s.Context(), c.Descriptor)
	s.must(err, "Exists", c.Digest)
	if exists {
		s.Errorf("Exists %s: true; it must be false", c.Digest)
	}
	r, err := s.Fetch(s.Context(), c.Descriptor)
	s.want(oras.ErrNotFound, err, "Fetch", c.Digest)
	if err == nil {
		r.Close()
	}
	s.unresolved(c.Digest.String())
}

// unresolved checks that reference names nothing.
func (s *suite) unresolved(reference string) {
	s.Helper()
	_, err := s.Resolve(s.Context(), reference)
	s.want(oras.ErrNotFound, err, "Resolve", reference)
}

// listed returns the tags after last, and checks that they are in order; a
// listing that is not, and so may have no end, is left.
func (s *suite) listed(last string) []string {
	s.Helper()
	var all []string
	err := s.Tags(s.Context(), last, func(tags []string) error {
		for _, tag := range tags {
			if tag <= last || len(all) > 0 && tag <= all[len(all)-1] {
				return fmt.Errorf("%q is out of order behind %q", tag, all)
			}
			all = append(all, tag)
		}
		return nil
	})
	if err != nil {
		s.Errorf("Tags after %q: %v", last, err)
	}
	return all
}

// lists checks that the tags after last are want.
func (s *suite) lists(last string, want ...string) {
	s.Helper()
	if got := s.listed(last); !slices.Equal(got, want) {
		s.Errorf("Tags after %q: %q; it must be %q", last, got, want)
	}
}

// preceded checks that the manifests which refer to node are want.
func (s *suite) preceded(node content, want ...content) {
	s.Helper()
	descs, err := s.Predecessors(s.Context(), node.Descriptor)
	s.must(err, "Predecessors", node.Digest)
	for _, c := range want {
		if i := position(descs, c); i < 0 {
			s.Errorf("Predecessors %s: %s is not among them; it must be", node.Digest, c.Digest)
		} else {
			s.describes(descs[i], c, "Predecessors "+node.Digest.String())
		}
	}
	if len(descs) > len(want) {
		s.Errorf("Predecessors %s: %d manifests; it must be %d: %v", node.Digest, len(descs), len(want), descs)
	}
}

// position returns the index of c in descs, or -1.
func position(descs []oras.Descriptor, c content) int {
	return slices.IndexFunc(descs, func(desc oras.Descriptor) bool { return desc.Digest == c.Digest })
}
