package storetest

import (
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/c73062ad/oras"
)

// together runs n functions at once and waits for them.
func together(n int, run func(i int)) {
	var group sync.WaitGroup
	for i := range n {
		group.Go(func() { run(i) })
	}
	group.Wait()
}

// testConcurrentPush: many writers of the same content and of different content
// do not disturb each other, and no reader sees half of it.
func testConcurrentPush(s *suite) {
	var shared, own []content
	for i := range 4 {
		shared = append(shared, blob(fmt.Sprintf("%50000d", i)), image(fmt.Sprint(i)))
	}
	for i := range 8 {
		own = append(own, blob(fmt.Sprintf("of writer %d", i)), image(fmt.Sprintf("of writer %d", i)))
	}
	together(8, func(i int) {
		for j := range shared {
			c := shared[(i+j)%len(shared)]
			if err := oras.Push(s.Context(), s.Store, c.Descriptor, c.reader()); err != nil {
				s.Errorf("Push %s, with others: %v", c.Digest, err)
				continue
			}
			data, err := oras.FetchAll(s.Context(), s.Store, c.Descriptor)
			if err != nil {
				s.Errorf("Fetch %s, with others: %v", c.Digest, err)
				continue
			}
			s.same(data, c.data, "Fetch", c.Digest)
		}
		for _, c := range own[2*i : 2*i+2] {
			if err := oras.Push(s.Context(), s.Store, c.Descriptor, c.reader()); err != nil {
				s.Errorf("Push %s, with others: %v", c.Digest, err)
			}
		}
	})
	for _, c := range slices.Concat(shared, own) {
		s.has(c)
	}
}

// testConcurrentTag: no tag is lost, and a listing meanwhile is in order and has
// all that was there before.
func testConcurrentTag(s *suite) {
	first := image("first")
	s.tag(first, "a0", "m0", "z0")
	images := make([]content, 8)
	want := []string{"a0", "m0", "moved", "z0"}
	for i := range images {
		images[i] = image(fmt.Sprint(i))
		for j := range 4 {
			want = append(want, fmt.Sprintf("t%d-%d", i, j))
		}
	}
	together(len(images), func(i int) {
		c := images[i]
		for j := range 4 {
			for _, tag := range []string{fmt.Sprintf("t%d-%d", i, j), "moved"} {
				if err := oras.PushTagged(s.Context(), s.Store, c.Descriptor, c.reader(), tag); err != nil {
					s.Errorf("PushTagged %s %s, with others: %v", tag, c.Digest, err)
				}
			}
			tags := s.listed("")
			for _, tag := range []string{"a0", "m0", "z0", fmt.Sprintf("t%d-%d", i, j)} {
				if !slices.Contains(tags, tag) {
					s.Errorf("Tags, with others: %q lacks %s, which was there before", tags, tag)
				}
			}
		}
	})
	slices.Sort(want)
	s.lists("", want...)
	for i, c := range images {
		for j := range 4 {
			s.resolves(fmt.Sprintf("t%d-%d", i, j), c)
		}
	}
	moved, err := s.Resolve(s.Context(), "moved")
	s.must(err, "Resolve", "moved")
	if !slices.ContainsFunc(images, func(c content) bool { return c.Digest == moved.Digest }) {
		s.Errorf("Resolve moved: %s, which nobody tagged so", moved.Digest)
	}
}

// testConcurrentDelete: of many who delete the same, at least one does; the
// others do too or find nothing. Neighbours stay.
func testConcurrentDelete(s *suite) {
	layer, one, stays := blob("a layer"), image("one"), image("stays")
	s.push(layer)
	s.tag(one, "one")
	s.tag(stays, "stays")
	for _, c := range []content{layer, one} {
		errs := make([]error, 8)
		together(len(errs), func(i int) { errs[i] = s.Delete(s.Context(), c.Descriptor) })
		for _, err := range errs {
			if err != nil && !errors.Is(err, oras.ErrNotFound) {
				s.Errorf("Delete %s, with others: error is %v; it must be none or %q", c.Digest, err, oras.ErrNotFound)
			}
		}
		if !slices.Contains(errs, nil) {
			s.Errorf("Delete %s, with others: nobody deleted it", c.Digest)
		}
		s.lacks(c)
	}
	s.lists("", "stays")
	s.resolves("stays", stays)
}

// testConcurrentPushDelete: content that comes and goes is there whole or not at
// all.
func testConcurrentPushDelete(s *suite) {
	contents := []content{blob(fmt.Sprintf("%50000d", 1)), image("one")}
	together(8, func(i int) {
		for j := range 8 {
			c := contents[j%2]
			switch i % 4 {
			case 0, 1:
				if err := oras.Push(s.Context(), s.Store, c.Descriptor, c.reader()); err != nil {
					s.Errorf("Push %s, while others delete it: %v", c.Digest, err)
				}
			case 2:
				if err := s.Delete(s.Context(), c.Descriptor); err != nil && !errors.Is(err, oras.ErrNotFound) {
					s.Errorf("Delete %s, while others push it: %v", c.Digest, err)
				}
			case 3:
				if _, err := oras.FetchAll(s.Context(), s.Store, c.Descriptor); err != nil && !errors.Is(err, oras.ErrNotFound) {
					s.Errorf("Fetch %s, while others push and delete it: %v", c.Digest, err)
				}
			}
		}
	})
	s.push(contents...)
	for _, c := range contents {
		s.has(c)
		s.remove(c)
		s.lacks(c)
	}
}
