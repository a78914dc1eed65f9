package index

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/opencontainers/go-digest"
	"pgregory.net/rapid"

	"github.com/c73062ad/oras"
)

func describe(text string) oras.Descriptor {
	return oras.DescriptorOf(oras.MediaTypeImageManifest, []byte(text))
}

// list returns all tags after last and how many pages they came in.
func list(t interface {
	Helper()
	Fatalf(string, ...any)
}, x *Index, last string) (tags []string, pages int) {
	t.Helper()
	err := x.Tags(last, func(page []string) error {
		if len(page) == 0 {
			t.Fatalf("Tags after %q: an empty page", last)
		}
		tags = append(tags, page...)
		pages++
		return nil
	})
	if err != nil {
		t.Fatalf("Tags after %q: %v", last, err)
	}
	return tags, pages
}

func TestTagsPages(t *testing.T) {
	var x Index
	want := map[string]oras.Descriptor{}
	for i := range 2*page + 1 {
		want[fmt.Sprintf("t%05d", i)] = describe(fmt.Sprint(i % 3))
	}
	x.SetTags(want)
	names := slices.Sorted(maps.Keys(want))

	if got, pages := list(t, &x, ""); !slices.Equal(got, names) || pages != 3 {
		t.Errorf("%d tags in %d pages; want %d in 3", len(got), pages, len(names))
	}
	if got, pages := list(t, &x, names[page]); !slices.Equal(got, names[page+1:]) || pages != 1 {
		t.Errorf("%d tags in %d pages; want %d in 1", len(got), pages, page)
	}
	if got := x.Tagged(); !maps.EqualFunc(got, want, sameDigest) {
		t.Errorf("Tagged has %d tags; want the %d that were set", len(got), len(want))
	}

	// The second page is read after fn had the first and did as it liked.
	enough := errors.New("enough")
	var got []string
	err := x.Tags("", func(tags []string) error {
		if got = append(got, tags...); len(got) > page {
			return enough
		}
		x.Untag(names[page])
		x.Tag("t", describe("comes too late"))
		return nil
	})
	if err != enough {
		t.Errorf("error is %v; want that of fn", err)
	}
	if want := slices.Delete(slices.Clone(names[:2*page+1]), page, page+1); !slices.Equal(got, want) {
		t.Errorf("%d tags, from %s to %s; want %d to %s", len(got), got[0], got[len(got)-1], len(want), want[len(want)-1])
	}
}

func sameDigest(a, b oras.Descriptor) bool { return a.Digest == b.Digest }

func TestSetTags(t *testing.T) {
	var x Index
	one, two := describe("one"), describe("two")
	x.Add(one, &oras.Manifest{})
	x.Tag("old", one)
	tags := map[string]oras.Descriptor{"b": one, "a": two, "c": one}
	x.SetTags(tags)
	tags["d"] = two // is the caller's
	if got, _ := list(t, &x, ""); !slices.Equal(got, []string{"a", "b", "c"}) {
		t.Errorf("tags are %q", got)
	}
	if got := x.TagsOf(one.Digest); !slices.Equal(got, []string{"b", "c"}) {
		t.Errorf("tags of one are %q", got)
	}
	if _, ok := x.Manifest(one.Digest); !ok {
		t.Error("SetTags forgot a manifest")
	}
	if _, ok := x.Resolve("old"); ok {
		t.Error("SetTags kept a tag")
	}
	x.Tagged()["e"] = two // is the caller's too
	if got, _ := list(t, &x, "c"); got != nil {
		t.Errorf("tags after c are %q", got)
	}
	x.Clear()
	if got, _ := list(t, &x, ""); got != nil || x.TagsOf(one.Digest) != nil || x.Remove(one.Digest) {
		t.Errorf("there is something after Clear: %q", got)
	}
}

func TestAddKeepsTheFirst(t *testing.T) {
	var x Index
	one, child := describe("one"), describe("child")
	x.Add(one, &oras.Manifest{Config: &child})
	other := one
	other.MediaType = oras.MediaTypeDockerManifest
	x.Add(other, &oras.Manifest{})
	if got, _ := x.Manifest(one.Digest); got.MediaType != one.MediaType {
		t.Errorf("its media type became %s", got.MediaType)
	}
	if got := x.Predecessors(child.Digest); len(got) != 1 || got[0].MediaType != one.MediaType {
		t.Errorf("predecessors of its config are %v", got)
	}
}

// TestModel compares an Index with a list of manifests and a map of tags, which
// it searches from end to end.
func TestModel(t *testing.T) {
	nodes := make([]oras.Descriptor, 6)
	for i := range nodes {
		nodes[i] = describe(fmt.Sprint(i))
	}
	node, tag := rapid.SampledFrom(nodes), rapid.SampledFrom([]string{"a", "b", "c", "d", "e"})
	rapid.Check(t, func(t *rapid.T) {
		var x Index
		manifests := map[digest.Digest]*oras.Manifest{}
		tags := map[string]oras.Descriptor{}
		t.Repeat(map[string]func(*rapid.T){
			"Add": func(t *rapid.T) {
				desc := node.Draw(t, "node")
				m := &oras.Manifest{Manifests: rapid.SliceOfN(node, 0, 3).Draw(t, "children")}
				if rapid.Bool().Draw(t, "has a subject") {
					m.Subject = new(node.Draw(t, "subject"))
				}
				x.Add(desc, m)
				if manifests[desc.Digest] == nil {
					manifests[desc.Digest] = m
				}
			},
			"Remove": func(t *rapid.T) {
				desc := node.Draw(t, "node")
				before := len(manifests) + len(tags)
				delete(manifests, desc.Digest)
				maps.DeleteFunc(tags, func(_ string, tagged oras.Descriptor) bool { return sameDigest(tagged, desc) })
				if got := x.Remove(desc.Digest); got != (before > len(manifests)+len(tags)) {
					t.Fatalf("Remove is %t", got)
				}
			},
			"Tag": func(t *rapid.T) {
				name, desc := tag.Draw(t, "tag"), node.Draw(t, "node")
				x.Tag(name, desc)
				tags[name] = desc
			},
			"Untag": func(t *rapid.T) {
				name := tag.Draw(t, "tag")
				_, want := tags[name]
				delete(tags, name)
				if got := x.Untag(name); got != want {
					t.Fatalf("Untag is %t", got)
				}
			},
			"": func(t *rapid.T) {
				names := slices.Sorted(maps.Keys(tags))
				if got, _ := list(t, &x, ""); !slices.Equal(got, names) {
					t.Fatalf("tags are %q; want %q", got, names)
				}
				for name, want := range tags {
					if got, ok := x.Resolve(name); !ok || !sameDigest(got, want) {
						t.Fatalf("%s is %v; want %v", name, got, want)
					}
				}
				for _, desc := range nodes {
					if _, got := x.Manifest(desc.Digest); got != (manifests[desc.Digest] != nil) {
						t.Fatalf("Manifest is %t", got)
					}
					want := slices.Collect(func(yield func(string) bool) {
						for _, name := range names {
							if sameDigest(tags[name], desc) && !yield(name) {
								return
							}
						}
					})
					if got := x.TagsOf(desc.Digest); !slices.Equal(got, want) {
						t.Fatalf("tags of %s are %q; want %q", desc.Digest, got, want)
					}
					var parents []digest.Digest
					for parent, m := range manifests {
						if slices.ContainsFunc(m.Children(), func(child oras.Descriptor) bool { return sameDigest(child, desc) }) {
							parents = append(parents, parent)
						}
					}
					slices.Sort(parents)
					got := x.Predecessors(desc.Digest)
					if !slices.EqualFunc(got, parents, func(a oras.Descriptor, b digest.Digest) bool { return a.Digest == b }) {
						t.Fatalf("predecessors of %s are %v; want %v", desc.Digest, got, parents)
					}
				}
			},
		})
		if len(tags) == 0 && (len(x.tags) != 0 || len(x.tagsOf) != 0) || len(manifests) == 0 && len(x.parents) != 0 {
			t.Fatalf("something is kept though all was removed: %d tags, %d tagged, %d parents", len(x.tags), len(x.tagsOf), len(x.parents))
		}
	})
}

func TestConcurrent(t *testing.T) {
	var x Index
	subject := describe("subject")
	var group sync.WaitGroup
	for i := range 8 {
		group.Go(func() {
			desc := describe(fmt.Sprint(i))
			for j := range 20 {
				x.Add(desc, &oras.Manifest{Subject: &subject})
				x.Tag(fmt.Sprintf("%d-%d", i, j), desc)
				x.Tag("moved", desc)
				x.Predecessors(subject.Digest)
				x.TagsOf(desc.Digest)
				if err := x.Tags("", func([]string) error { return nil }); err != nil {
					t.Error(err)
				}
				if j%2 == 0 {
					x.Untag(fmt.Sprintf("%d-%d", i, j))
				}
			}
		})
	}
	group.Wait()
	if got, _ := list(t, &x, ""); len(got) != 8*10+1 || !slices.IsSorted(got) {
		t.Errorf("%d tags; want %d in order: %q", len(got), 8*10+1, got)
	}
	if got := x.Predecessors(subject.Digest); len(got) != 8 {
		t.Errorf("%d predecessors; want 8", len(got))
	}
}

// BenchmarkTag is a tag set and a page listed where there are 100,000.
func BenchmarkTag(b *testing.B) {
	var x Index
	tags := map[string]oras.Descriptor{}
	for i := range 100_000 {
		tags[string(describe(fmt.Sprint(i)).Digest)[len("sha256:"):]] = describe(fmt.Sprint(i))
	}
	x.SetTags(tags)
	enough := errors.New("enough")
	desc, i := describe("desc"), 0
	for b.Loop() {
		i++
		tag := strings.Repeat(fmt.Sprintf("%x", i%16), 8)
		x.Untag(tag)
		x.Tag(tag, desc)
		if err := x.Tags(tag, func([]string) error { return enough }); err != nil && err != enough {
			b.Fatal(err)
		}
	}
}
