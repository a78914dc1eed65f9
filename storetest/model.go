package storetest

import (
	"maps"
	"slices"
	"testing"

	"github.com/opencontainers/go-digest"
	"pgregory.net/rapid"

	"github.com/c73062ad/oras"
)

// A model is all that a store is: what is there and what the tags name.
type model struct {
	there map[digest.Digest]bool
	tags  map[string]content
}

// The contents and tags that operations are drawn from: few, so that they meet.
var (
	blobs    = []content{config, blob("a layer"), blob("another")}
	modelled = func() []content {
		one, two := image("one", blobs[1].Descriptor), image("two", blobs[2].Descriptor)
		sbom := referrer("sbom", "application/vnd.example.sbom", one)
		return append(slices.Clone(blobs), one, two, sbom, referrer("signature", "application/vnd.example.signature", sbom),
			index("list", one.Descriptor, two.Descriptor))
	}()
	manifests  = modelled[len(blobs):]
	modelTags  = []string{"_", "latest", "v1", "v2"}
	anyContent = rapid.SampledFrom(modelled)
	anyImage   = rapid.SampledFrom(manifests)
	anyTag     = rapid.SampledFrom(modelTags)
)

// testModel: whatever is done in whatever order, the store is what the model is.
func testModel(t *testing.T, open func(t *testing.T) oras.Store) {
	// A check costs what opening a store costs, so only one in ten is made,
	// until one fails: then all are, for rapid looks for the shortest that does.
	checks, failed := 0, false
	rapid.Check(t, func(rt *rapid.T) {
		checks++
		if checks%10 != 1 && !failed {
			return
		}
		failed = true
		m := model{map[digest.Digest]bool{}, map[string]content{}}
		s := &suite{rt, open(t)}
		rt.Repeat(m.operations(s))
		m.compare(s)
		failed = rt.Failed()
	})
}

// operations are what can be done to a store, each done to the model too.
func (m *model) operations(s *suite) map[string]func(*rapid.T) {
	return map[string]func(*rapid.T){
		"Push": func(t *rapid.T) {
			c := anyContent.Draw(t, "content")
			s.push(c)
			m.there[c.Digest] = true
			s.has(c)
		},
		"PushTagged": func(t *rapid.T) {
			c, tag := anyImage.Draw(t, "manifest"), anyTag.Draw(t, "tag")
			s.must(oras.PushTagged(t.Context(), s.Store, c.Descriptor, c.reader(), tag), "PushTagged "+tag, c.Digest)
			m.there[c.Digest], m.tags[tag] = true, c
			s.resolves(tag, c)
		},
		"Tag": func(t *rapid.T) {
			c, tag := anyImage.Draw(t, "manifest"), anyTag.Draw(t, "tag")
			err := s.Tag(t.Context(), c.Descriptor, tag)
			if !m.there[c.Digest] {
				s.want(oras.ErrNotFound, err, "Tag "+tag+" of what is absent", c.Digest)
				return
			}
			s.must(err, "Tag "+tag, c.Digest)
			m.tags[tag] = c
		},
		"Untag": func(t *rapid.T) {
			tag := anyTag.Draw(t, "tag")
			err := s.Untag(t.Context(), tag)
			if _, ok := m.tags[tag]; !ok {
				s.want(oras.ErrNotFound, err, "Untag", tag)
				return
			}
			s.must(err, "Untag", tag)
			delete(m.tags, tag)
		},
		"Delete": func(t *rapid.T) {
			c := anyContent.Draw(t, "content")
			err := s.Delete(t.Context(), c.Descriptor)
			if !m.there[c.Digest] {
				s.want(oras.ErrNotFound, err, "Delete of what is absent", c.Digest)
				return
			}
			s.must(err, "Delete", c.Digest)
			delete(m.there, c.Digest)
			maps.DeleteFunc(m.tags, func(_ string, named content) bool { return named.Digest == c.Digest })
		},
		"Predecessors": func(t *rapid.T) { m.precede(s, anyContent.Draw(t, "node")) },
		"Resolve":      func(t *rapid.T) { m.resolve(s, anyTag.Draw(t, "tag")) },
		"Fetch":        func(t *rapid.T) { m.fetch(s, anyContent.Draw(t, "content")) },
		"Tags":         func(t *rapid.T) { m.list(s, rapid.SampledFrom(append(modelTags, "", "u")).Draw(t, "last")) },
	}
}

// compare checks that all of the store is as the model.
func (m *model) compare(s *suite) {
	for _, c := range modelled {
		m.fetch(s, c)
	}
	for _, tag := range modelTags {
		m.resolve(s, tag)
	}
	m.list(s, "")
	for _, node := range modelled {
		m.precede(s, node)
	}
}

func (m *model) fetch(s *suite, c content) {
	if m.there[c.Digest] {
		s.has(c)
	} else {
		s.lacks(c)
	}
}

func (m *model) resolve(s *suite, tag string) {
	if c, ok := m.tags[tag]; ok {
		s.resolves(tag, c)
	} else {
		s.unresolved(tag)
	}
}

func (m *model) list(s *suite, last string) {
	if len(m.there) == 0 {
		return // a store of which nothing is known
	}
	tags := slices.Sorted(maps.Keys(m.tags))
	tags = slices.DeleteFunc(tags, func(tag string) bool { return tag <= last })
	s.lists(last, tags...)
}

// precede checks that the predecessors of node have all that are there and whose
// subject it is, and only such as are there and refer to it.
func (m *model) precede(s *suite, node content) {
	descs, err := s.Predecessors(s.Context(), node.Descriptor)
	s.must(err, "Predecessors", node.Digest)
	may := 0
	for _, c := range manifests {
		parsed, err := oras.ParseManifest(c.MediaType, c.data)
		s.must(err, "ParseManifest", c.Digest)
		found := position(descs, c) >= 0
		isSubject := parsed.Subject != nil && parsed.Subject.Digest == node.Digest
		if isSubject && m.there[c.Digest] && !found {
			s.Errorf("Predecessors %s: %s is not among them; it must be", node.Digest, c.Digest)
		}
		if found && m.there[c.Digest] && position(parsed.Children(), node) >= 0 {
			may++
		}
	}
	if len(descs) != may {
		s.Errorf("Predecessors %s: %v; only %d of them are there and refer to it", node.Digest, descs, may)
	}
}
