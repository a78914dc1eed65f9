package oras_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/c73062ad/oras"
	"github.com/c73062ad/oras/memory"
)

func TestCopyGraphs(t *testing.T) {
	a, b, c := blob("a"), blob("b"), blob("c")
	other := blob("other")
	imgA, imgB := image("A", a.Descriptor), image("B", b.Descriptor, c.Descriptor)
	inner := index("inner", imgA.Descriptor, imgB.Descriptor)
	outer := index("outer", inner.Descriptor, imgA.Descriptor)
	first := referrer("first", imgA.Descriptor, b.Descriptor)
	second := referrer("second", first.Descriptor, c.Descriptor)
	held := index("of first", first.Descriptor)
	withSubject := document(oras.MediaTypeImageIndex, "with subject", oras.Manifest{Subject: &imgB.Descriptor, Manifests: []oras.Descriptor{imgA.Descriptor}})
	legacy := artifact("legacy", &imgA.Descriptor, b.Descriptor)
	docker := document(oras.MediaTypeDockerManifest, "docker", oras.Manifest{Config: &c.Descriptor, Layers: []oras.Descriptor{a.Descriptor}})
	dockerList := document(oras.MediaTypeDockerList, "list", oras.Manifest{Manifests: []oras.Descriptor{docker.Descriptor}})
	twoNames := image("two names", a.titled("foo1"), a.titled("foo2"), a.Descriptor, a.titled("foo1"))
	foreign := other.Descriptor
	foreign.MediaType = "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip"
	foreign.URLs = []string{"http://example.com/"}
	withForeign := image("foreign", a.Descriptor, foreign)
	empty := index("empty")
	imageAsLayer := imgA.Descriptor
	imageAsLayer.MediaType = "application/vnd.example.backup"
	backup := image("backup", imageAsLayer)
	both := index("both", backup.Descriptor, imgA.Descriptor)
	long := imgA
	long.Digest = oras.SHA512.Digest(imgA.data).OCI()

	all := []content{emptyConfig, a, b, c, other, imgA, imgB, inner, outer, first, second, held, withSubject, legacy, docker, dockerList, twoNames, withForeign, empty, backup, both, long}
	for name, test := range map[string]struct {
		root      content
		referrers bool
		want      []content
	}{
		"image":                   {imgA, false, []content{emptyConfig, a, imgA}},
		"index":                   {inner, false, []content{emptyConfig, a, b, c, imgA, imgB, inner}},
		"nested index":            {outer, false, []content{emptyConfig, a, b, c, imgA, imgB, inner, outer}},
		"empty index":             {empty, false, []content{empty}},
		"subject":                 {first, false, []content{emptyConfig, a, b, imgA, first}},
		"subjects":                {second, false, []content{emptyConfig, a, b, c, imgA, first, second}},
		"subject of an index":     {withSubject, false, []content{emptyConfig, a, b, c, imgA, imgB, withSubject}},
		"legacy artifact":         {legacy, false, []content{emptyConfig, a, b, imgA, legacy}},
		"docker":                  {dockerList, false, []content{a, c, docker, dockerList}},
		"one blob, two names":     {twoNames, false, []content{emptyConfig, a, twoNames}},
		"layer that is elsewhere": {withForeign, false, []content{emptyConfig, a, withForeign}},
		"blob":                    {a, false, []content{a}},
		"by SHA-512":              {long, false, []content{emptyConfig, a, long}},
		"image as a layer":        {backup, false, []content{emptyConfig, imgA, backup}},
		"image's referrers":       {imgA, true, []content{emptyConfig, a, b, c, imgA, first, second, legacy}},
		"referrers of no subject": {imgB, true, []content{emptyConfig, a, b, c, imgA, imgB, withSubject, first, second, legacy}},
		"referrers of a referrer": {first, true, []content{emptyConfig, a, b, c, imgA, first, second}},
		"referrers of children":   {outer, true, []content{emptyConfig, a, b, c, imgA, imgB, inner, outer, first, second, withSubject, legacy}},
		"not the subject's":       {held, true, []content{emptyConfig, a, b, c, imgA, first, second, held}},
		"a blob has none":         {a, true, []content{a}},
	} {
		for _, concurrency := range []int{0, 1, 2, -1, 1 << 62} {
			src, dst := newStore(t, all...), memory.New()
			got, err := oras.Copy(t.Context(), src, test.root.Digest.String(), dst, &oras.CopyOptions{
				Referrers:   test.referrers,
				Concurrency: concurrency,
			})
			if err != nil || got.Digest != test.root.Digest {
				t.Errorf("%s, %d: %v, %v", name, concurrency, got, err)
				continue
			}
			wantExactly(t, dst, all, test.want...)
			if len(tags(t, dst)) != 0 {
				t.Errorf("%s: tags %q", name, tags(t, dst))
			}
		}
	}
}

// A store that keeps manifests apart from blobs, as registries do, gets bytes
// that are needed as both as both.
func TestCopyManifestAndBlob(t *testing.T) {
	layer := blob("layer")
	img := image("a", layer.Descriptor)
	asBlob := img.Descriptor
	asBlob.MediaType = "application/vnd.example.backup"
	for _, root := range []content{
		index("blob first", image("backup", asBlob).Descriptor, img.Descriptor),
		index("manifest first", img.Descriptor, image("backup", asBlob).Descriptor),
	} {
		src := newStore(t, emptyConfig, layer, img, image("backup", asBlob), root)
		manifests, blobs := memory.New(), memory.New()
		side := func(desc oras.Descriptor) oras.Store {
			if oras.IsManifest(desc.MediaType) {
				return manifests
			}
			return blobs
		}
		dst := &hooked{
			Store:  manifests,
			exists: func(ctx context.Context, d oras.Descriptor) (bool, error) { return side(d).Exists(ctx, d) },
			fetch:  func(ctx context.Context, d oras.Descriptor) (io.ReadCloser, error) { return side(d).Fetch(ctx, d) },
			push:   func(ctx context.Context, d oras.Descriptor, r io.Reader) error { return side(d).Push(ctx, d, r) },
		}
		_, err := oras.Copy(t.Context(), src, "root", dst, &oras.CopyOptions{Concurrency: 1})
		must(t, err)
		all := []content{emptyConfig, layer, img, image("backup", asBlob), root}
		wantExactly(t, manifests, all, img, image("backup", asBlob), root)
		wantExactly(t, blobs, all, emptyConfig, layer, content{asBlob, img.data})
	}
}

func TestCopyReturnsRoot(t *testing.T) {
	root := image("a")
	src := newStore(t, emptyConfig, root)
	got, err := oras.Copy(t.Context(), src, "root", memory.New(), nil)
	if err != nil || !reflect.DeepEqual(got, root.Descriptor) {
		t.Errorf("got %v, %v", got, err)
	}
}

// What is there is not read, and not what is below it either.
func TestCopyExists(t *testing.T) {
	a, b := blob("a"), blob("b")
	imgA, imgB := image("A", a.Descriptor), image("B", b.Descriptor)
	root := index("root", imgA.Descriptor, imgB.Descriptor)
	all := []content{emptyConfig, a, b, imgA, imgB, root}
	var fetched []string
	s := newStore(t, all...)
	src := &hooked{Store: s, fetch: func(ctx context.Context, d oras.Descriptor) (io.ReadCloser, error) {
		fetched = append(fetched, d.Digest.String())
		return s.Fetch(ctx, d)
	}}
	dst := newStore(t, emptyConfig, imgA) // without a: who has imgA is taken to have it
	_, err := oras.Copy(t.Context(), src, "root", dst, &oras.CopyOptions{Concurrency: 1})
	must(t, err)
	wantExactly(t, dst, all, emptyConfig, b, imgA, imgB, root)
	want := []string{root.Digest.String(), imgB.Digest.String(), b.Digest.String()}
	if !slices.Equal(fetched, want) {
		t.Errorf("fetched %q, want %q", fetched, want)
	}

	fetched = nil
	_, err = oras.Copy(t.Context(), src, "root", dst, &oras.CopyOptions{Tags: []string{"again"}})
	must(t, err)
	if !slices.Equal(fetched, want[:1]) {
		t.Errorf("again: fetched %q", fetched)
	}
	if got := tags(t, dst); !slices.Equal(got, []string{"again", "root"}) {
		t.Errorf("tags %q", got)
	}
}

// An index that is there is read all the same if referrers are wanted: its
// manifests may have new ones.
func TestCopyReferrersOfExisting(t *testing.T) {
	img := image("a")
	inner := index("inner", img.Descriptor)
	root := index("root", inner.Descriptor)
	ref := referrer("sbom", img.Descriptor)
	src, dst := newStore(t, emptyConfig, img, ref, inner, root), newStore(t, emptyConfig, img, inner, root)
	_, err := oras.Copy(t.Context(), src, "root", dst, &oras.CopyOptions{Referrers: true})
	must(t, err)
	wantExactly(t, dst, []content{ref}, ref)
}

// A manifest that is met as a subject first and as a child later brings its
// referrers, whichever comes first.
func TestCopyReferrersOfSubjectThatIsChild(t *testing.T) {
	for _, list := range []bool{false, true} {
		leaf := image("leaf")
		subject := leaf
		if list {
			subject = index("list", leaf.Descriptor)
		}
		sbom, ofLeaf := referrer("sbom", subject.Descriptor), referrer("leaf", leaf.Descriptor)
		signed := referrer("signed", subject.Descriptor)
		root := index("root", signed.Descriptor, subject.Descriptor)
		all := []content{emptyConfig, leaf, subject, sbom, ofLeaf, signed, root}
		src, dst := newStore(t, all...), memory.New()
		_, err := oras.Copy(t.Context(), src, "root", dst, &oras.CopyOptions{Referrers: true, Concurrency: 1})
		must(t, err)
		wantExactly(t, dst, all, all...)
	}
}

// An index may hold the manifest that is its subject.
func TestCopyReferrersOfSubjectInIndex(t *testing.T) {
	img := image("img")
	sbom := referrer("sbom", img.Descriptor)
	root := document(oras.MediaTypeImageIndex, "root", oras.Manifest{Subject: &img.Descriptor, Manifests: []oras.Descriptor{img.Descriptor}})
	dst := memory.New()
	_, err := oras.Copy(t.Context(), newStore(t, emptyConfig, img, sbom, root), "root", dst, &oras.CopyOptions{Referrers: true})
	must(t, err)
	wantExactly(t, dst, []content{sbom}, sbom)
}

func TestCopyTags(t *testing.T) {
	a := blob("a")
	root := image("root", a.Descriptor)
	sbom := referrer("sbom", root.Descriptor)
	src := newStore(t, emptyConfig, a, sbom, root)

	for _, referrers := range []bool{false, true} {
		for _, there := range []bool{false, true} {
			for _, oneStepTarget := range []bool{false, true} {
				name := fmt.Sprintf("referrers %v, there %v, in one step %v", referrers, there, oneStepTarget)
				s := memory.New()
				if there {
					s = newStore(t, emptyConfig, a, root)
				}
				var log []string
				h := &hooked{Store: s}
				h.push = func(ctx context.Context, d oras.Descriptor, r io.Reader) error {
					log = append(log, "push "+short(d))
					return s.Push(ctx, d, r)
				}
				h.tag = func(ctx context.Context, d oras.Descriptor, tag string) error {
					log = append(log, "tag "+tag)
					if !reflect.DeepEqual(d, root.Descriptor) {
						t.Errorf("%s: tagged %v", name, d)
					}
					return s.Tag(ctx, d, tag)
				}
				var dst oras.Target = h
				one := &oneStep{Store: h}
				if oneStepTarget {
					dst = one
				}
				_, err := oras.Copy(t.Context(), src, "root", dst, &oras.CopyOptions{Tags: []string{"v1", "v2", "v1"}, Referrers: referrers, Concurrency: 1})
				must(t, err)
				i := slices.Index(log, "tag v1")
				if i < 0 || !slices.Equal(log[i:], []string{"tag v1", "tag v2", "tag v1"}) {
					t.Errorf("%s: tags are not last: %q", name, log)
				}
				if want := oneStepTarget && !referrers && !there; (len(one.steps) == 1) != want {
					t.Errorf("%s: steps %q", name, one.steps)
				}
			}
		}
	}
}

func short(d oras.Descriptor) string { return d.Digest.Encoded()[:12] }

// After a failure nothing has a name.
func TestCopyNoTagAfterFailure(t *testing.T) {
	a := blob("a")
	root := image("root", a.Descriptor)
	sbom := referrer("sbom", root.Descriptor, blob("absent").Descriptor)
	src := newStore(t, emptyConfig, a, sbom, root)
	dst := memory.New()
	_, err := oras.Copy(t.Context(), src, "root", dst, &oras.CopyOptions{Tags: []string{"v1"}, Referrers: true})
	if !errors.Is(err, oras.ErrNotFound) || len(tags(t, dst)) != 0 {
		t.Errorf("%v, tags %q", err, tags(t, dst))
	}
	incomplete := image("incomplete", blob("absent").Descriptor)
	for _, dst := range []oras.Store{memory.New(), &oneStep{Store: memory.New()}} {
		_, err = oras.Copy(t.Context(), newStore(t, emptyConfig, incomplete), "root", dst, &oras.CopyOptions{Tags: []string{"v1"}})
		if !errors.Is(err, oras.ErrNotFound) || len(tags(t, dst)) != 0 {
			t.Errorf("%v, tags %q", err, tags(t, dst))
		}
		wantExactly(t, dst, []content{incomplete})
	}
}

func TestCopyPlatform(t *testing.T) {
	platform := func(desc oras.Descriptor, os, arch, variant string) oras.Descriptor {
		desc.Platform = &oras.Platform{OS: os, Architecture: arch, Variant: variant}
		return desc
	}
	configOf := func(text string) content {
		return content{oras.DescriptorOf(oras.MediaTypeImageConfig, []byte(text)), []byte(text)}
	}
	amdConfig, armConfig := configOf(`{"os":"linux","architecture":"amd64","config":{"Labels":{"OS":"x"}}}`), configOf(`{"os":"linux","architecture":"arm","variant":"v7"}`)
	img := func(config content) content {
		return document(oras.MediaTypeImageManifest, "image", oras.Manifest{Config: &config.Descriptor})
	}
	amd, arm := img(amdConfig), img(armConfig)
	sbom := referrer("sbom", arm.Descriptor)
	plainImage, badConfig := image("plain"), configOf(`[]`)
	bad := img(badConfig)
	root := index("root", plainImage.Descriptor, platform(amd.Descriptor, "linux", "amd64", ""), platform(arm.Descriptor, "linux", "arm", "v7"))
	ofRoot := referrer("of root", root.Descriptor)
	layer := blob("layer")
	all := []content{emptyConfig, layer, amdConfig, armConfig, badConfig, bad, amd, arm, sbom, plainImage, root, ofRoot}
	src := newStore(t, all...)

	for _, test := range []struct {
		root      content
		platform  string
		referrers bool
		want      content
		all       []content
	}{
		{root, "linux/amd64", false, amd, []content{amdConfig, amd}},
		{root, "linux/arm", false, arm, []content{armConfig, arm}},
		{root, "linux/arm/v7", true, arm, []content{emptyConfig, armConfig, arm, sbom}},
		{amd, "linux/amd64", false, amd, []content{amdConfig, amd}},
		{arm, "linux/arm/v7", true, arm, []content{emptyConfig, armConfig, arm, sbom}},
	} {
		p, err := oras.ParsePlatform(test.platform)
		must(t, err)
		dst := memory.New()
		got, err := oras.Copy(t.Context(), src, test.root.Digest.String(), dst, &oras.CopyOptions{Platform: p, Referrers: test.referrers, Tags: []string{"v1"}})
		if err != nil || got.Digest != test.want.Digest {
			t.Errorf("%s: %v, %v", test.platform, got, err)
			continue
		}
		wantExactly(t, dst, all, test.all...)
		if tagged, err := dst.Resolve(t.Context(), "v1"); err != nil || tagged.Digest != test.want.Digest {
			t.Errorf("%s: tagged %v, %v", test.platform, tagged, err)
		}
		selected, err := oras.SelectPlatform(t.Context(), src, test.root.Descriptor, p)
		if err != nil || selected.Digest != test.want.Digest {
			t.Errorf("%s: selected %v, %v", test.platform, selected, err)
		}
	}
	for _, test := range []struct {
		root     content
		platform string
		want     error
	}{
		{root, "linux/arm/v6", oras.ErrNotFound},
		{root, "windows/amd64", oras.ErrNotFound},
		{root, "linux/amd64:1", oras.ErrNotFound},
		{amd, "linux/arm", oras.ErrNotFound},
		{plainImage, "linux/amd64", oras.ErrUnsupported},
		{layer, "linux/amd64", oras.ErrUnsupported},
		{bad, "linux/amd64", oras.ErrInvalid},
	} {
		p, err := oras.ParsePlatform(test.platform)
		must(t, err)
		dst := memory.New()
		_, err = oras.Copy(t.Context(), src, test.root.Digest.String(), dst, &oras.CopyOptions{Platform: p})
		_, selectErr := oras.SelectPlatform(t.Context(), src, test.root.Descriptor, p)
		for _, err := range []error{err, selectErr} {
			if oras.Kind(err) != test.want || err != nil && !bytes.Contains([]byte(err.Error()), []byte(test.root.Digest)) {
				t.Errorf("%s: %v, want %v", test.platform, err, test.want)
			}
		}
		wantExactly(t, dst, all)
	}
	p := &oras.Platform{OS: "windows", Architecture: "amd64", OSFeatures: []string{"win32k"}}
	with := plainImage.Descriptor
	with.Platform = &oras.Platform{OS: "windows", Architecture: "amd64", OSFeatures: []string{"x", "win32k"}}
	without := amd.Descriptor
	without.Platform = &oras.Platform{OS: "windows", Architecture: "amd64", OSFeatures: []string{"x"}}
	features := index("features", without, with)
	selected, err := oras.SelectPlatform(t.Context(), newStore(t, features), features.Descriptor, p)
	if err != nil || selected.Digest != with.Digest {
		t.Errorf("features: %v, %v", selected, err)
	}
}

func TestCopyMounts(t *testing.T) {
	a, b := blob("a"), blob("b")
	root := image("root", a.Descriptor, b.Descriptor)
	all := []content{emptyConfig, a, b, root}
	src := newStore(t, all...)
	dst := mounter{memory.New(), map[string]oras.Store{"other": newStore(t, emptyConfig, a)}}
	var log []string
	_, err := oras.Copy(t.Context(), src, "root", dst, &oras.CopyOptions{MountFrom: "other", Concurrency: 1, Event: func(e oras.Event) {
		if e.Kind == oras.Mounted || e.Kind == oras.Copied {
			log = append(log, fmt.Sprintf("%v %s", e.Kind == oras.Mounted, short(e.Descriptor)))
		}
	}})
	must(t, err)
	wantExactly(t, dst, all, all...)
	want := []string{"true " + short(emptyConfig.Descriptor), "true " + short(a.Descriptor), "false " + short(b.Descriptor), "false " + short(root.Descriptor)}
	if !slices.Equal(log, want) {
		t.Errorf("events %q, want %q", log, want)
	}

	// A target that cannot mount is given the content.
	plainTarget := memory.New()
	_, err = oras.Copy(t.Context(), src, "root", plainTarget, &oras.CopyOptions{MountFrom: "other"})
	must(t, err)
	wantExactly(t, plainTarget, all, all...)
}

func TestCopyChildren(t *testing.T) {
	a, b := blob("a"), blob("b")
	img := image("img", a.Descriptor, b.Descriptor)
	root := referrer("root", img.Descriptor, b.Descriptor)
	src, dst := newStore(t, emptyConfig, a, b, img, root), memory.New()
	var met []string
	_, err := oras.Copy(t.Context(), src, "root", dst, &oras.CopyOptions{Concurrency: 1, Children: func(desc oras.Descriptor, m *oras.Manifest) []oras.Descriptor {
		met = append(met, m.Annotations["org.example.name"])
		return slices.DeleteFunc(m.Children(), func(d oras.Descriptor) bool { return d.Digest == b.Digest })
	}})
	must(t, err)
	wantExactly(t, dst, []content{emptyConfig, a, b, img, root}, emptyConfig, a, img, root)
	if !slices.Equal(met, []string{"root", "img"}) {
		t.Errorf("asked for %q", met)
	}

	// What was not chosen is not copied for its referrers either.
	list := index("list", img.Descriptor, image("unwanted").Descriptor)
	ofUnwanted := referrer("unwanted", image("unwanted").Descriptor)
	src = newStore(t, emptyConfig, a, b, img, image("unwanted"), ofUnwanted, list)
	for _, dst := range []*memory.Store{memory.New(), newStore(t, emptyConfig, a, b, img, list)} {
		_, err = oras.Copy(t.Context(), src, "root", dst, &oras.CopyOptions{Referrers: true, Children: func(desc oras.Descriptor, m *oras.Manifest) []oras.Descriptor {
			return slices.DeleteFunc(m.Children(), func(d oras.Descriptor) bool { return d.Digest == image("unwanted").Digest })
		}})
		must(t, err)
		wantExactly(t, dst, []content{image("unwanted"), ofUnwanted, list}, list)
	}
}

// Content that its descriptor holds is not fetched.
func TestCopyInlineData(t *testing.T) {
	inlined := blob("inline").Descriptor
	inlined.Data = []byte("inline")
	root := image("root", inlined)
	src, dst := newStore(t, emptyConfig, root), memory.New() // src has not even got it
	_, err := oras.Copy(t.Context(), src, "root", dst, nil)
	must(t, err)
	wantExactly(t, dst, []content{blob("inline")}, blob("inline"))

	// Data of another size says nothing; data of other content is a lie.
	tooLong := blob("inline").Descriptor
	tooLong.Data = []byte("inline and more")
	root = image("too long", tooLong)
	dst = memory.New()
	_, err = oras.Copy(t.Context(), newStore(t, emptyConfig, blob("inline"), root), "root", dst, nil)
	must(t, err)
	wantExactly(t, dst, []content{blob("inline")}, blob("inline"))

	lie := blob("inline").Descriptor
	lie.Data = []byte("online")
	root = image("lie", lie)
	_, err = oras.Copy(t.Context(), newStore(t, emptyConfig, blob("inline"), root), "root", memory.New(), nil)
	if !errors.Is(err, oras.ErrInvalid) || atTarget(t, err) {
		t.Errorf("got %v", err)
	}
}

// atTarget reports at which end a copy failed.
func atTarget(t tb, err error) bool {
	t.Helper()
	var copyErr *oras.CopyError
	if !errors.As(err, &copyErr) {
		t.Errorf("%v is a %T", err, err)
		return false
	}
	return copyErr.AtTarget
}

// Small content moves in fours where one large piece would.
func TestCopySmallAtOnce(t *testing.T) {
	for _, test := range []struct{ concurrency, small int }{{1, 1}, {2, 8}} {
		var all []content
		var layers []oras.Descriptor
		for i := range 40 {
			c := blob(fmt.Sprint("small", i))
			if i < 10 {
				c = blob(strings.Repeat(fmt.Sprint("large", i), 16<<10))
			}
			all, layers = append(all, c), append(layers, c.Descriptor)
		}
		src := newStore(t, append(all, emptyConfig, image("many", layers...))...)
		var mu sync.Mutex
		moving, enough := map[bool]int{}, make(chan struct{})
		s := memory.New()
		dst := &hooked{Store: s, push: func(ctx context.Context, desc oras.Descriptor, content io.Reader) error {
			small, most := desc.Size <= 64<<10, test.concurrency
			if small {
				most = test.small
			}
			mu.Lock()
			moving[small]++
			if moving[small] > most {
				t.Errorf("concurrency %d: %d at once, small: %t", test.concurrency, moving[small], small)
			}
			if moving[true] == test.small {
				select {
				case <-enough:
				default:
					close(enough)
				}
			}
			mu.Unlock()
			if small {
				select {
				case <-enough: // no sooner, or Copy hangs
				case <-ctx.Done():
				}
			}
			defer func() {
				mu.Lock()
				moving[small]--
				mu.Unlock()
			}()
			return s.Push(ctx, desc, content)
		}}
		_, err := oras.Copy(t.Context(), src, "root", dst, &oras.CopyOptions{Concurrency: test.concurrency})
		must(t, err)
	}
}
