package oras_test

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"sync"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	"pgregory.net/rapid"

	"github.com/c73062ad/oras"
	"github.com/c73062ad/oras/memory"
)

// A graph is some content, in an order in which what is referred to comes first.
type graph []content

// drawGraph makes blobs, images, indexes and artifacts that refer to what was
// there before, as they like.
func drawGraph(t *rapid.T) graph {
	g := graph{emptyConfig}
	for i := range rapid.IntRange(1, 5).Draw(t, "blobs") {
		g = append(g, blob(fmt.Sprint("blob ", i)[:rapid.SampledFrom([]int{0, 6}).Draw(t, "size")]))
	}
	blobs := len(g)
	some := func(label string, from []content, most int, named bool) (descs []oras.Descriptor) {
		if len(from) == 0 {
			return nil
		}
		for range rapid.IntRange(0, most).Draw(t, label) {
			c := from[rapid.IntRange(0, len(from)-1).Draw(t, label)]
			desc := c.Descriptor
			if title := rapid.SampledFrom([]string{"", "foo1", "foo2"}).Draw(t, "title"); named && title != "" {
				desc = c.titled(title)
			}
			descs = append(descs, desc)
		}
		return descs
	}
	for i := range rapid.IntRange(1, 12).Draw(t, "manifests") {
		m := oras.Manifest{ArtifactType: "application/vnd.example"}
		name := fmt.Sprint("manifest ", i)
		if subject := some("subject", g[blobs:], 1, false); subject != nil {
			m.Subject = &subject[0]
		}
		mediaType := rapid.SampledFrom([]string{oras.MediaTypeImageManifest, oras.MediaTypeImageIndex, oras.MediaTypeArtifact, oras.MediaTypeImageIndex}).Draw(t, "kind")
		switch mediaType {
		case oras.MediaTypeImageManifest:
			m.Config = &emptyConfig.Descriptor
			m.Layers = some("layers", g[:blobs], 5, true)
		case oras.MediaTypeArtifact:
			m.Blobs = some("blobs", g[:blobs], 5, true)
		default:
			m.Manifests = some("manifests", g[blobs:], 5, false)
		}
		g = append(g, document(mediaType, name, m))
	}
	return g
}

func (g graph) find(desc oras.Descriptor) content {
	i := slices.IndexFunc(g, func(c content) bool { return c.Digest == desc.Digest })
	return g[i]
}

func (c content) manifest() *oras.Manifest {
	if !oras.IsManifest(c.MediaType) {
		return &oras.Manifest{}
	}
	m, err := oras.ParseManifest(c.MediaType, c.data)
	if err != nil {
		panic(err)
	}
	return m
}

type set map[oras.Digest]bool

func (s set) add(c content) (added bool) {
	d, err := oras.ParseDigest(c.Digest)
	if err != nil {
		panic(err)
	}
	added = !s[d]
	s[d] = true
	return added
}

func (s set) has(c content) bool { return s[oras.SHA256.Digest(c.data)] }

// below adds root and all it refers to to s.
func (g graph) below(s set, root content) {
	if !s.add(root) {
		return
	}
	for _, child := range root.manifest().Children() {
		g.below(s, g.find(child))
	}
}

// held adds root, and the manifests it and they hold, to s: those whose
// referrers belong to a copy.
func (g graph) held(s set, root content) {
	if !s.add(root) {
		return
	}
	for _, child := range root.manifest().Manifests {
		g.held(s, g.find(child))
	}
}

// copied returns what a copy of root must bring.
func (g graph) copied(root content, referrers bool) set {
	all, ours := set{}, set{}
	g.below(all, root)
	g.held(ours, root)
	for before := -1; referrers && before != len(ours); {
		before = len(ours)
		for _, c := range g {
			if subject := c.manifest().Subject; subject != nil && ours.has(g.find(*subject)) {
				g.below(all, c)
				g.held(ours, c)
			}
		}
	}
	return all
}

func (g graph) only(s set) (list []content) {
	for _, c := range g {
		if s.has(c) {
			list = append(list, c)
		}
	}
	return list
}

// A titled store keeps content by its title, as a directory of files does: what
// it has under one name it has not under another.
type titled struct {
	oras.Store
	mu    sync.Mutex
	names map[string]bool
}

func nameOf(desc oras.Descriptor) string {
	return string(desc.Digest) + " " + oras.Event{Descriptor: desc}.Name()
}

func (s *titled) Exists(ctx context.Context, desc oras.Descriptor) (bool, error) {
	if desc.Annotations[ocispec.AnnotationTitle] == "" {
		return s.Store.Exists(ctx, desc)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.names[nameOf(desc)], nil
}

func (s *titled) Push(ctx context.Context, desc oras.Descriptor, r io.Reader) error {
	if err := s.Store.Push(ctx, desc, r); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.names[nameOf(desc)] = true
	return nil
}

// For any graph, root, target that has some of it and number of pieces at a time:
// the target ends with what it must have, byte by byte, and nothing else; and the
// events tell a consistent story of how it came to that.
func TestCopyModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		g := drawGraph(t)
		any := func(label string) content { return g[rapid.IntRange(0, len(g)-1).Draw(t, label)] }
		root := any("root")
		opts := &oras.CopyOptions{
			Concurrency: rapid.SampledFrom([]int{0, 1, 2, -1}).Draw(t, "concurrency"),
			Referrers:   rapid.Bool().Draw(t, "referrers"),
			Tags:        []string{"v1", "v2"}[:rapid.IntRange(0, 2).Draw(t, "tags")],
		}
		if !oras.IsManifest(root.MediaType) {
			opts.Tags = nil
		}
		there := set{}
		for range rapid.IntRange(0, 2).Draw(t, "there") {
			g.below(there, any("there"))
		}
		src, s := newStore(t, g...), newStore(t, g.only(there)...)
		must(t, untagAll(t, s))
		var dst oras.Target = s
		var log story
		opts.Event = log.add
		named := rapid.Bool().Draw(t, "named")
		if named {
			dst = &titled{Store: s, names: map[string]bool{}}
		}

		got, err := oras.Copy(t.Context(), src, root.Digest.String(), dst, opts)
		must(t, err)
		if got.Digest != root.Digest {
			t.Errorf("root is %s, want %s", got.Digest, root.Digest)
		}
		want := g.copied(root, opts.Referrers)
		both := maps.Clone(want)
		maps.Copy(both, there)
		wantExactly(t, s, g, g.only(both)...)
		if got := tags(t, s); !slices.Equal(got, opts.Tags) {
			t.Errorf("tags %q, want %q", got, opts.Tags)
		}
		log.check(t, g, want, there, named)
	})
}

func untagAll(t tb, s oras.Store) error {
	for _, tag := range tags(t, s) {
		if err := s.Untag(t.Context(), tag); err != nil {
			return err
		}
	}
	return nil
}

// A story is the events of one copy.
type story []oras.Event

func (s *story) add(e oras.Event) { *s = append(*s, e) }

func isEnd(kind oras.EventKind) bool { return kind >= oras.Copied }

// check checks the events of a copy that brought what is in want to where there
// was there.
func (s story) check(t tb, g graph, want, there set, named bool) {
	ends := map[string]int{} // by name: where in the story
	begun := map[string]oras.EventKind{}
	moved := map[string]int64{}
	copied := map[string]int{} // by digest: how often
	for i, e := range s {
		name := nameOf(e.Descriptor)
		if _, ended := ends[name]; ended {
			t.Errorf("%s: event %d behind the end", name, e.Kind)
		}
		switch last, ok := begun[name]; {
		case ok && e.Kind <= last && e.Kind != oras.Progress:
			t.Errorf("%s: event %d after %d", name, e.Kind, last)
		case !ok && e.Kind != oras.Found && e.Descriptor.Digest != s[0].Descriptor.Digest:
			t.Errorf("%s: event %d, and it was not found before", name, e.Kind)
		}
		begun[name] = e.Kind
		if e.Kind == oras.Progress {
			if e.Bytes <= moved[name] || e.Bytes > e.Descriptor.Size {
				t.Errorf("%s: %d bytes of %d after %d", name, e.Bytes, e.Descriptor.Size, moved[name])
			}
			moved[name] = e.Bytes
		}
		if isEnd(e.Kind) {
			ends[name] = i
		}
		c := g.find(e.Descriptor)
		switch e.Kind {
		case oras.Copied:
			copied[c.Digest.String()]++
			if moved[name] != c.Size {
				t.Errorf("%s: copied after %d bytes of %d", name, moved[name], c.Size)
			}
			for _, child := range c.manifest().Children() {
				if _, ended := ends[nameOf(child)]; !ended {
					t.Errorf("%s: copied before %s", name, nameOf(child))
				}
			}
		case oras.Exists:
			if !there.has(c) {
				t.Errorf("%s: was there before?", name)
			}
		case oras.Restored:
			if !named {
				t.Errorf("%s: restored at a store without names", name)
			}
		case oras.Mounted:
			t.Errorf("%s: mounted", name)
		}
	}
	for name := range begun {
		if _, ended := ends[name]; !ended {
			t.Errorf("%s: no end", name)
		}
	}
	for _, c := range g {
		n := copied[c.Digest.String()]
		switch {
		case want.has(c) && !there.has(c) && n != 1:
			t.Errorf("%s: copied %d times", c.Digest, n)
		case !named && n > 0 && (!want.has(c) || there.has(c)):
			t.Errorf("%s: copied though it was there or not wanted", c.Digest)
		}
	}
}

// The target had one name, the copy brings it and others.
func TestCopyRestores(t *testing.T) {
	a := blob("a")
	root := image("root", a.titled("foo1"), a.titled("foo2"), a.titled("foo1"))
	g := graph{emptyConfig, a, root}
	for _, there := range []string{"", "foo1", "foo2"} {
		dst := &titled{Store: memory.New(), names: map[string]bool{}}
		if there != "" {
			_, err := oras.Copy(t.Context(), newStore(t, emptyConfig, a, image("before", a.titled(there))), "root", dst, nil)
			must(t, err)
		}
		count := map[oras.EventKind]int{}
		_, err := oras.Copy(t.Context(), newStore(t, g...), "root", dst, &oras.CopyOptions{Event: func(e oras.Event) {
			if e.Name() == "foo1" || e.Name() == "foo2" {
				count[e.Kind]++
			}
		}})
		must(t, err)
		for _, title := range []string{"foo1", "foo2"} {
			if exists, err := dst.Exists(t.Context(), a.titled(title)); err != nil || !exists {
				t.Errorf("%s there: %s is not, %v", there, title, err)
			}
		}
		if ends := count[oras.Copied] + count[oras.Exists] + count[oras.Skipped] + count[oras.Restored]; ends != 2 {
			t.Errorf("%s there: %v", there, count)
		}
		if there == "" && (count[oras.Copied] != 1 || count[oras.Restored] != 1) {
			t.Errorf("nothing there: %v", count)
		}
	}
	// Most stores have one place for all names.
	count := map[oras.EventKind]int{}
	_, err := oras.Copy(t.Context(), newStore(t, g...), "root", memory.New(), &oras.CopyOptions{Event: func(e oras.Event) {
		if e.Descriptor.Digest == a.Digest {
			count[e.Kind]++
		}
	}})
	must(t, err)
	if count[oras.Copied] != 1 || count[oras.Skipped] != 1 {
		t.Errorf("got %v", count)
	}
}
