package storetest

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/c73062ad/oras"
)

// testTag: a tag names a manifest that is there, until it is moved or removed.
func testTag(s *suite) {
	one, two, long := image("one"), image("two"), image("by SHA-512").sha512()
	s.unresolved("v1")
	s.want(oras.ErrNotFound, s.Tag(s.Context(), one.Descriptor, "v1"), "Tag v1 of what is absent", one.Digest)
	s.unresolved("v1")

	s.tag(one, "v1", "v1", "latest")
	s.push(two)
	s.resolves("v1", one)
	s.resolves("latest", one)

	s.tag(two, "latest") // moves
	s.resolves("latest", two)
	s.resolves("v1", one)
	s.has(one)

	s.push(one) // changes nothing
	s.resolves("latest", two)

	s.tag(long, "long")
	s.resolves("long", long)

	s.want(oras.ErrNotFound, s.Untag(s.Context(), "absent"), "Untag", "absent")
	s.must(s.Untag(s.Context(), "latest"), "Untag", "latest")
	s.unresolved("latest")
	s.has(two)
	s.want(oras.ErrNotFound, s.Untag(s.Context(), "latest"), "Untag again", "latest")
	s.lists("", "long", "v1")

	s.tag(two, "latest")
	s.resolves("latest", two)
	s.lists("", "latest", "long", "v1")
}

// testTagGrammar: all that distribution-spec lets a tag be is one.
func testTagGrammar(s *suite) {
	tags := []string{"_", "__a", "_.-", "0", "1.0", "A", "a-", "a.", "a..b", "latest", "sha256", "sha256-" + config.Digest.Encoded(), strings.Repeat("t", 128)}
	for i, tag := range tags {
		c := image(fmt.Sprint(i))
		s.tag(c, tag)
		s.resolves(tag, c)
	}
	slices.Sort(tags)
	s.lists("", tags...)
	for _, tag := range tags {
		s.must(s.Untag(s.Context(), tag), "Untag", tag)
		s.unresolved(tag)
	}
	s.lists("")
}

// testTags: tags are listed in byte order, after any text, until fn has enough.
func testTags(s *suite) {
	empty := func(tags []string) error {
		if len(tags) > 0 {
			s.Errorf("Tags of an empty store: %q", tags)
		}
		return nil
	}
	if err := s.Tags(s.Context(), "", empty); err != nil {
		s.want(oras.ErrNotFound, err, "Tags", "of an empty store")
	}

	s.tag(image("one"), "v1", "v10", "v1.9", "v1.10", "Z", "a", "_", "0", "v1-rc")
	s.tag(image("two"), "v2", "b")
	want := []string{"0", "Z", "_", "a", "b", "v1", "v1-rc", "v1.10", "v1.9", "v10", "v2"}
	s.lists("", want...)
	for i, tag := range want {
		s.lists(tag, want[i+1:]...) // of tags there are
	}
	s.lists("A", want[1:]...) // and that there are not
	s.lists("c", want[5:]...)
	s.lists("v1.5", want[8:]...)
	s.lists("v3")
	s.lists("zzz")

	enough := errors.New("enough")
	for _, last := range []string{"", "a"} {
		calls := 0
		err := s.Tags(s.Context(), last, func([]string) error {
			if calls++; calls > 1 {
				s.Fatalf("Tags after %q: fn is called again though it returned an error", last)
			}
			return enough
		})
		s.want(enough, err, "Tags after", last)
	}
}

// testTagsMany: tags set in no order are listed in order, and fn may use the
// store, as whoever copies or removes what it is told of does.
func testTagsMany(s *suite) {
	c := image("tagged often")
	s.push(c)
	var want []string
	for i := range 40 {
		want = append(want, fmt.Sprintf("t%02d", (i*27)%40))
		s.must(s.Tag(s.Context(), c.Descriptor, want[i]), "Tag "+want[i], c.Digest)
	}
	slices.Sort(want)
	s.lists("", want...)
	s.lists("t29", want[30:]...)

	err := s.Tags(s.Context(), "t09", func(tags []string) error {
		for _, tag := range tags {
			if err := s.Untag(s.Context(), tag); err != nil {
				return err
			}
		}
		return nil
	})
	s.must(err, "Untag within Tags after", "t09")
	s.lists("", want[:10]...)
}

// testTagged: to push or fetch by tag is the same in one step or two.
func testTagged(s *suite) {
	pushTagged := func(c content, tag string) error {
		return oras.PushTagged(s.Context(), s.Store, c.Descriptor, c.reader(), tag)
	}
	fetchTagged := func(reference string, c content) {
		s.Helper()
		desc, r, err := oras.FetchTagged(s.Context(), s.Store, reference)
		s.must(err, "FetchTagged", reference)
		s.describes(desc, c, "FetchTagged "+reference)
		s.reads(r, c)
	}
	one, two, layer := image("one"), image("two"), blob("a layer")
	for _, absent := range []string{"v1", one.Digest.String(), layer.Digest.String()} {
		_, r, err := oras.FetchTagged(s.Context(), s.Store, absent)
		s.want(oras.ErrNotFound, err, "FetchTagged", absent)
		if err == nil {
			r.Close()
		}
	}

	s.must(pushTagged(one, "v1"), "PushTagged v1", one.Digest)
	s.has(one)
	fetchTagged("v1", one)
	s.must(pushTagged(one, "v1"), "PushTagged v1 again", one.Digest)
	s.must(pushTagged(one, "v2"), "PushTagged v2", one.Digest)
	s.must(pushTagged(two, "v1"), "PushTagged v1", two.Digest)
	s.must(pushTagged(two.sha512(), "v3"), "PushTagged v3", two.sha512().Digest)
	s.push(layer)
	fetchTagged("v1", two)
	fetchTagged("v2", one)
	fetchTagged("v3", two.sha512())
	for _, c := range []content{one, two, two.sha512(), layer} {
		fetchTagged(c.Digest.String(), c)
	}
	s.lists("", "v1", "v2", "v3")

	several := image("several")
	s.must(oras.PushTagged(s.Context(), s.Store, several.Descriptor, several.reader(), "v3", "v4", "v5"), "PushTagged v3 v4 v5", several.Digest)
	for _, tag := range []string{"v3", "v4", "v5"} {
		fetchTagged(tag, several)
	}
	s.must(oras.PushTagged(s.Context(), s.Store, two.Descriptor, two.reader()), "PushTagged without a tag", two.Digest)
	s.lists("", "v1", "v2", "v3", "v4", "v5")

	wrong := image("three").garbled()
	s.want(oras.ErrInvalid, pushTagged(wrong, "v2"), "PushTagged of other bytes", wrong.Digest)
	s.lacks(wrong)
	fetchTagged("v2", one)
}
