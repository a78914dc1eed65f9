package storetest

import (
	"errors"
	"fmt"
	"sync"

	"github.com/c73062ad/oras"
)

// tagIf changes what tag names from old to c; nil stands for nothing. It reports
// whether the store can do that at all.
func (s *suite) tagIf(tag string, c, old *content) (able bool, err error) {
	var desc, was oras.Descriptor
	if c != nil {
		desc = c.Descriptor
	}
	if old != nil {
		was = old.bare()
	}
	err = oras.TagIf(s.Context(), s.Store, desc, tag, was)
	return !errors.Is(err, oras.ErrUnsupported), err
}

// testTagIf: a tag is changed only if it names what it is thought to name.
func testTagIf(s *suite) {
	one, two, absent, long := image("one"), image("two"), image("absent"), image("by SHA-512").sha512()
	s.push(one, two, long)
	able, err := s.tagIf("v1", &one, nil)
	if !able {
		return
	}
	s.must(err, "TagIf v1, absent", one.Digest)
	s.resolves("v1", one)

	for name, test := range map[string]struct{ to, old *content }{
		"is absent":              {&two, nil},
		"names another":          {&one, &two},
		"names what is not here": {&two, &absent},
		"removed, is absent":     {nil, nil},
		"removed, names another": {nil, &two},
	} {
		_, err := s.tagIf("v1", test.to, test.old)
		s.want(oras.ErrConflict, err, "TagIf v1, if it", name)
		s.resolves("v1", one)
	}
	_, err = s.tagIf("v2", &two, &one)
	s.want(oras.ErrConflict, err, "TagIf v2, which is absent, if it names", one.Digest)
	s.unresolved("v2")
	_, err = s.tagIf("v1", &absent, &one)
	s.want(oras.ErrNotFound, err, "TagIf v1 of what is absent", absent.Digest)
	if _, err = s.tagIf("a/b:c", &one, nil); err == nil { // a store that has such tags
		s.must(s.Untag(s.Context(), "a/b:c"), "Untag", "a/b:c")
	} else {
		s.want(oras.ErrReference, err, "TagIf", "a/b:c")
	}

	step := func(tag string, to, old *content) {
		s.Helper()
		_, err := s.tagIf(tag, to, old)
		s.must(err, "TagIf", tag)
		if to == nil {
			s.unresolved(tag)
		} else {
			s.resolves(tag, *to)
		}
	}
	step("v1", &one, &one)
	step("v1", &two, &one)
	s.tag(long, "v1")
	step("v1", &one, &long)
	step("v1", nil, &one)
	step("v1", nil, nil)
	step("v1", &two, nil)
	s.remove(two) // and the tag with it
	_, err = s.tagIf("v1", &one, &two)
	s.want(oras.ErrConflict, err, "TagIf v1, deleted, if it names", two.Digest)
	step("v1", &one, nil)
}

// testConcurrentTagIf: of all who change a tag at once from the same, one does, so
// each of many who go on from what they see adds to what the others did.
func testConcurrentTagIf(s *suite) {
	first := image("0")
	s.push(first)
	if able, err := s.tagIf("list", &first, nil); !able {
		return
	} else {
		s.must(err, "TagIf list, absent", first.Digest)
	}
	const writers, each = 6, 4
	var mu sync.Mutex
	after := map[string][]content{} // by digest: what was made of it
	next := func(i, j int) {
		for try := 0; ; try++ {
			now, err := s.Resolve(s.Context(), "list")
			if err != nil {
				s.Errorf("Resolve list: %v", err)
				return
			}
			old, c := content{Descriptor: now}, image(fmt.Sprintf("%d-%d of %s", i, j, now.Digest))
			if err := oras.Push(s.Context(), s.Store, c.Descriptor, c.reader()); err != nil {
				s.Errorf("Push: %v", err)
				return
			}
			_, err = s.tagIf("list", &c, &old)
			if errors.Is(err, oras.ErrConflict) && try < 1000 {
				continue
			}
			if err != nil {
				s.Errorf("TagIf list, with others: %v", err)
				return
			}
			mu.Lock()
			after[now.Digest.String()] = append(after[now.Digest.String()], c)
			mu.Unlock()
			return
		}
	}
	together(writers, func(i int) {
		for j := range each {
			next(i, j)
		}
	})
	c, steps := first, 0
	for ; len(after[c.Digest.String()]) > 0; steps++ {
		made := after[c.Digest.String()]
		if len(made) > 1 {
			s.Errorf("TagIf list: %d writers changed it from %s", len(made), c.Digest)
		}
		c = made[0]
	}
	s.resolves("list", c)
	if steps != writers*each {
		s.Errorf("TagIf list: %d changes follow each other; %d were made", steps, writers*each)
	}
}
