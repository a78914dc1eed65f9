package oras_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"reflect"
	"strings"
	"testing"

	"github.com/c73062ad/oras"
	"github.com/c73062ad/oras/memory"
)

func TestPush(t *testing.T) {
	s := memory.New()
	a := blob("a")
	must(t, oras.Push(t.Context(), s, a.Descriptor, bytes.NewReader(a.data)))
	must(t, oras.Push(t.Context(), s, a.Descriptor, bytes.NewReader(a.data)))
	wantExactly(t, s, []content{a}, a)

	b := blob("b")
	for name, text := range map[string]string{"wrong": "x", "short": "", "long": "bb"} {
		if err := oras.Push(t.Context(), s, b.Descriptor, strings.NewReader(text)); !errors.Is(err, oras.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	wantExactly(t, s, []content{a, b}, a)
}

// Content is verified on its way to a target that would take anything.
func TestPushVerifies(t *testing.T) {
	b := blob("b")
	var got []byte
	careless := &hooked{Store: memory.New(), push: func(_ context.Context, _ oras.Descriptor, r io.Reader) (err error) {
		got, err = io.ReadAll(r)
		return err
	}}
	must(t, oras.Push(t.Context(), careless, b.Descriptor, bytes.NewReader(b.data)))
	if err := oras.Push(t.Context(), careless, b.Descriptor, strings.NewReader("x")); !errors.Is(err, oras.ErrInvalid) {
		t.Errorf("careless target was given %q: %v", got, err)
	}
}

// An error is believed only if the content is not there; one about the content
// always.
func TestPushError(t *testing.T) {
	b := blob("b")
	for _, test := range []struct {
		name      string
		err       error
		exists    bool
		existsErr error
		believed  bool
	}{
		{"not there", errors.New("conflict"), false, nil, true},
		{"there", errors.New("conflict"), true, nil, false},
		{"nobody knows", errors.New("conflict"), true, errors.New("no answer"), true},
		{"there, but bad content", fmt.Errorf("x: %w", oras.ErrInvalid), true, nil, true},
		{"was there", errors.New("already exists"), false, nil, false},
		{"was there, says another library", fmt.Errorf("sha256:0: application/x: %w", errors.New("already exists")), false, nil, false},
		{"no error", nil, false, errors.New("not to be asked"), false},
	} {
		target := &hooked{
			Store:  memory.New(),
			push:   func(context.Context, oras.Descriptor, io.Reader) error { return test.err },
			exists: func(context.Context, oras.Descriptor) (bool, error) { return test.exists, test.existsErr },
		}
		err := oras.Push(t.Context(), target, b.Descriptor, bytes.NewReader(b.data))
		if test.believed && err != test.err || !test.believed && err != nil {
			t.Errorf("%s: %v", test.name, err)
		}
	}
}

func TestPushBytes(t *testing.T) {
	s := memory.New()
	got, err := oras.PushBytes(t.Context(), s, "a/b", []byte("text"))
	want := oras.Descriptor{MediaType: "a/b", Digest: digestOf("text").OCI(), Size: 4}
	if err != nil || !reflect.DeepEqual(got, want) || !reflect.DeepEqual(want, oras.DescriptorOf("a/b", []byte("text"))) {
		t.Errorf("got %v, %v", got, err)
	}
	wantExactly(t, s, []content{{want, []byte("text")}}, content{want, []byte("text")})
}

// A store that pushes and tags in one step, and fetches and resolves in one.
type oneStep struct {
	oras.Store
	steps []string
}

func (s *oneStep) PushReference(ctx context.Context, expected oras.Descriptor, content io.Reader, reference string) error {
	s.steps = append(s.steps, "push "+reference)
	if err := s.Store.Push(ctx, expected, content); err != nil {
		return err
	}
	return s.Store.Tag(ctx, expected, reference)
}

func (s *oneStep) FetchReference(ctx context.Context, reference string) (oras.Descriptor, io.ReadCloser, error) {
	s.steps = append(s.steps, "fetch "+reference)
	desc, err := s.Store.Resolve(ctx, reference)
	if err != nil {
		return desc, nil, err
	}
	r, err := s.Store.Fetch(ctx, desc)
	return desc, r, err
}

func TestPushTagged(t *testing.T) {
	img := image("a")
	for name, s := range map[string]oras.Store{
		"in one step":  &oneStep{Store: memory.New()},
		"in two steps": memory.New(),
	} {
		must(t, oras.PushTagged(t.Context(), s, img.Descriptor, bytes.NewReader(img.data), "v1"))
		got, err := s.Resolve(t.Context(), "v1")
		if err != nil || got.Digest != img.Digest {
			t.Errorf("%s: resolves to %v, %v", name, got, err)
		}
		// What is there already gets the tag, what is bad does not.
		must(t, oras.PushTagged(t.Context(), s, img.Descriptor, bytes.NewReader(img.data), "v2"))
		if err := oras.PushTagged(t.Context(), s, image("b").Descriptor, bytes.NewReader(img.data), "v3"); !errors.Is(err, oras.ErrInvalid) {
			t.Errorf("%s: wrong content: %v", name, err)
		}
		if got := tags(t, s); !reflect.DeepEqual(got, []string{"v1", "v2"}) {
			t.Errorf("%s: tags %q", name, got)
		}
		if one, ok := s.(*oneStep); ok && !reflect.DeepEqual(one.steps, []string{"push v1", "push v2", "push v3"}) {
			t.Errorf("%s: %q", name, one.steps)
		}
	}

	// That the manifest is there does not mean that the tag is.
	s := newStore(t, img)
	broken := errors.New("broken")
	failing := &hooked{Store: s, tag: func(context.Context, oras.Descriptor, string) error { return broken }}
	if err := oras.PushTagged(t.Context(), failing, img.Descriptor, bytes.NewReader(img.data), "v1"); err != broken {
		t.Errorf("tagging failed: %v", err)
	}
	failingStep := struct {
		oras.Store
		pushReference
	}{s, func(context.Context, oras.Descriptor, io.Reader, string) error { return broken }}
	if err := oras.PushTagged(t.Context(), failingStep, img.Descriptor, bytes.NewReader(img.data), "v1"); err != broken {
		t.Errorf("the one step failed: %v", err)
	}
}

type pushReference func(context.Context, oras.Descriptor, io.Reader, string) error

func (f pushReference) PushReference(ctx context.Context, desc oras.Descriptor, r io.Reader, tag string) error {
	return f(ctx, desc, r, tag)
}

func TestFetchTagged(t *testing.T) {
	img, layer := image("a"), blob("layer")
	one := &oneStep{Store: newStore(t, emptyConfig, layer, img)}
	for name, s := range map[string]oras.Store{"in one step": one, "in two steps": newStore(t, emptyConfig, layer, img)} {
		for reference, want := range map[string]content{"root": img, img.Digest.String(): img, layer.Digest.String(): layer} {
			desc, r, err := oras.FetchTagged(t.Context(), s, reference)
			if err != nil || desc.Digest != want.Digest || desc.Size != want.Size {
				t.Fatalf("%s: %s: %v, %v", name, reference, desc, err)
			}
			if data, err := oras.ReadAll(r, desc); err != nil || !bytes.Equal(data, want.data) {
				t.Errorf("%s: %s: %q, %v", name, reference, data, err)
			}
			must(t, r.Close())
		}
		for _, reference := range []string{"absent", blob("absent").Digest.String()} {
			if _, r, err := oras.FetchTagged(t.Context(), s, reference); !errors.Is(err, oras.ErrNotFound) || r != nil {
				t.Errorf("%s: %s: %v, %v", name, reference, r, err)
			}
		}
	}
	if len(one.steps) != 5 {
		t.Errorf("steps %q", one.steps)
	}
}

// A source that answers a digest with something else is caught.
func TestFetchTaggedPinned(t *testing.T) {
	asked, other := image("asked"), image("other")
	s := newStore(t, asked, other)
	var closed bool
	liar := lyingSource{s, other.Descriptor}
	for name, source := range map[string]oras.Source{
		"in two steps": liar,
		"in one step":  lyingStep{liar, &closed},
	} {
		desc, r, err := oras.FetchTagged(t.Context(), source, asked.Digest.String())
		if !errors.Is(err, oras.ErrInvalid) || r != nil || desc.Digest != "" {
			t.Errorf("%s: %v, %v", name, desc, err)
		}
		if _, _, err := oras.FetchTagged(t.Context(), source, "tag"); err != nil {
			t.Errorf("%s: a tag may be anything: %v", name, err)
		}
	}
	if !closed {
		t.Error("what the liar opened stays open")
	}
}

type lyingSource struct {
	oras.Source
	answer oras.Descriptor
}

func (s lyingSource) Resolve(context.Context, string) (oras.Descriptor, error) { return s.answer, nil }

type lyingStep struct {
	lyingSource
	closed *bool
}

func (s lyingStep) FetchReference(ctx context.Context, reference string) (oras.Descriptor, io.ReadCloser, error) {
	r, err := s.Fetch(ctx, s.answer)
	return s.answer, closing{r, s.closed}, err
}

type closing struct {
	io.ReadCloser
	closed *bool
}

func (c closing) Close() error {
	*c.closed = true
	return c.ReadCloser.Close()
}

// Content that says it is too large is not asked for.
func TestFetchAllLimit(t *testing.T) {
	s := &hooked{Store: memory.New(), fetch: func(context.Context, oras.Descriptor) (io.ReadCloser, error) {
		t.Error("fetched")
		return nil, oras.ErrNotFound
	}}
	large := oras.Descriptor{MediaType: oras.MediaTypeImageIndex, Digest: digestOf("").OCI(), Size: oras.MaxManifestSize + 1}
	if _, err := oras.FetchAll(t.Context(), s, large); !errors.Is(err, oras.ErrInvalid) {
		t.Errorf("%v", err)
	}
}

type mounter struct {
	oras.Store
	from map[string]oras.Store
}

func (m mounter) Mount(ctx context.Context, desc oras.Descriptor, from string, getContent func() (io.ReadCloser, error)) error {
	if other := m.from[from]; other != nil {
		if r, err := other.Fetch(ctx, desc); err == nil {
			defer r.Close()
			return oras.Push(ctx, m.Store, desc, r)
		}
	}
	if getContent == nil {
		return fmt.Errorf("%s in %s: %w", desc.Digest, from, oras.ErrNotFound)
	}
	r, err := getContent()
	if err != nil {
		return err
	}
	defer r.Close()
	return oras.Push(ctx, m.Store, desc, r)
}

func TestMount(t *testing.T) {
	a := blob("a")
	var opened, closed bool
	get := func() (io.ReadCloser, error) {
		opened = true
		return closing{io.NopCloser(bytes.NewReader(a.data)), &closed}, nil
	}

	plain := memory.New()
	if err := oras.Mount(t.Context(), plain, a.Descriptor, "other", nil); !errors.Is(err, oras.ErrUnsupported) || !strings.Contains(err.Error(), string(a.Digest)) {
		t.Errorf("a target that cannot: %v", err)
	}
	wantExactly(t, plain, []content{a})
	must(t, oras.Mount(t.Context(), plain, a.Descriptor, "other", get))
	wantExactly(t, plain, []content{a}, a)
	if !opened || !closed {
		t.Errorf("opened %v, closed %v", opened, closed)
	}
	broken := errors.New("broken")
	if err := oras.Mount(t.Context(), memory.New(), a.Descriptor, "other", func() (io.ReadCloser, error) { return nil, broken }); err != broken {
		t.Errorf("no content: %v", err)
	}
	lie := func() (io.ReadCloser, error) { return io.NopCloser(strings.NewReader("b")), nil }
	if err := oras.Mount(t.Context(), memory.New(), a.Descriptor, "other", lie); !errors.Is(err, oras.ErrInvalid) {
		t.Errorf("wrong content: %v", err)
	}

	opened = false
	m := mounter{memory.New(), map[string]oras.Store{"other": newStore(t, a)}}
	must(t, oras.Mount(t.Context(), m, a.Descriptor, "other", get))
	if opened {
		t.Error("a target that can mount was given the content")
	}
	wantExactly(t, m, []content{a}, a)
}

func TestOpenUpload(t *testing.T) {
	if u, err := oras.OpenUpload(t.Context(), memory.New(), ""); !errors.Is(err, oras.ErrUnsupported) || u != nil {
		t.Errorf("got %v, %v", u, err)
	}
}

func TestReferrers(t *testing.T) {
	subject := image("subject")
	sbom, signature := referrer("sbom", subject.Descriptor), referrer("signature", subject.Descriptor)
	untyped := document(oras.MediaTypeImageManifest, "untyped", oras.Manifest{Config: &emptyConfig.Descriptor, Subject: &subject.Descriptor})
	holder := index("holder", subject.Descriptor)
	other := referrer("sbom", holder.Descriptor)
	list := document(oras.MediaTypeImageIndex, "list", oras.Manifest{ArtifactType: "a/list", Subject: &subject.Descriptor})
	s := newStore(t, sbom, signature, untyped, holder, other, list, subject)

	describe := func(c content, artifactType, name string) oras.Descriptor {
		d := c.Descriptor
		d.ArtifactType = artifactType
		d.Annotations = map[string]string{"org.example.name": name}
		return d
	}
	all := []oras.Descriptor{
		describe(sbom, "application/vnd.example.sbom", "sbom"),
		describe(signature, "application/vnd.example.signature", "signature"),
		describe(untyped, oras.MediaTypeEmpty, "untyped"),
		describe(list, "a/list", "list"),
	}
	for artifactType, want := range map[string][]oras.Descriptor{
		"":                             all,
		"application/vnd.example.sbom": all[:1],
		oras.MediaTypeEmpty:            all[2:3],
		"a/list":                       all[3:],
		"a/none":                       nil,
	} {
		got := referrersOf(t, s, subject.Descriptor, artifactType)
		wantDescriptors(t, artifactType, got, want)
	}
	bare := oras.Descriptor{Digest: subject.Digest}
	wantDescriptors(t, "by digest alone", referrersOf(t, s, bare, ""), all)

	stop := errors.New("stop")
	if err := oras.Referrers(t.Context(), s, subject.Descriptor, "", func([]oras.Descriptor) error { return stop }); err != stop {
		t.Errorf("stopped with %v", err)
	}
	never := func([]oras.Descriptor) error {
		t.Error("called without referrers")
		return nil
	}
	must(t, oras.Referrers(t.Context(), s, sbom.Descriptor, "", never))
	if err := oras.Referrers(t.Context(), source{s}, subject.Descriptor, "", never); !errors.Is(err, oras.ErrUnsupported) {
		t.Errorf("a source that cannot list: %v", err)
	}

	// A store that lists referrers itself is asked, and nothing else.
	var asked []string
	own := listing{source{s}, func(_ context.Context, node oras.Descriptor, artifactType string, fn func([]oras.Descriptor) error) error {
		asked = append(asked, string(node.Digest)+artifactType)
		return errors.Join(fn(all[:1]), fn(all[1:2]))
	}}
	wantDescriptors(t, "own listing", referrersOf(t, own, subject.Descriptor, "a/b"), all[:2])
	if !reflect.DeepEqual(asked, []string{string(subject.Digest) + "a/b"}) {
		t.Errorf("asked %q", asked)
	}

	// Deleted since it was listed, of a kind nobody else knows, or no answer.
	stale := predecessors{source{s}, func() ([]oras.Descriptor, error) {
		return []oras.Descriptor{image("gone").Descriptor, blob("no manifest").Descriptor, sbom.Descriptor}, nil
	}}
	wantDescriptors(t, "stale", referrersOf(t, stale, subject.Descriptor, ""), all[:1])
	broken := errors.New("broken")
	failing := predecessors{source{s}, func() ([]oras.Descriptor, error) { return nil, broken }}
	if err := oras.Referrers(t.Context(), failing, subject.Descriptor, "", never); err != broken {
		t.Errorf("got %v", err)
	}
	unreadable := &hooked{Store: s, fetch: func(context.Context, oras.Descriptor) (io.ReadCloser, error) { return nil, broken }}
	if err := oras.Referrers(t.Context(), unreadable, subject.Descriptor, "", never); err != broken {
		t.Errorf("got %v", err)
	}
}

// A listing is a source that lists referrers itself.
type listing struct {
	oras.Source
	list func(ctx context.Context, node oras.Descriptor, artifactType string, fn func([]oras.Descriptor) error) error
}

func (l listing) Referrers(ctx context.Context, node oras.Descriptor, artifactType string, fn func([]oras.Descriptor) error) error {
	return l.list(ctx, node, artifactType, fn)
}

type predecessors struct {
	oras.Source
	list func() ([]oras.Descriptor, error)
}

func (p predecessors) Predecessors(context.Context, oras.Descriptor) ([]oras.Descriptor, error) {
	return p.list()
}

func referrersOf(t *testing.T, s oras.Source, node oras.Descriptor, artifactType string) (all []oras.Descriptor) {
	t.Helper()
	must(t, oras.Referrers(t.Context(), s, node, artifactType, func(page []oras.Descriptor) error {
		all = append(all, page...)
		return nil
	}))
	return all
}

// wantDescriptors compares descriptors in any order.
func wantDescriptors(t *testing.T, name string, got, want []oras.Descriptor) {
	t.Helper()
	byDigest := func(all []oras.Descriptor) map[string]oras.Descriptor {
		m := map[string]oras.Descriptor{}
		for _, d := range all {
			m[d.Digest.String()] = d
		}
		return m
	}
	if len(got) != len(want) || !reflect.DeepEqual(byDigest(got), byDigest(want)) {
		t.Errorf("%s:\n got %v\nwant %v", name, got, want)
	}
}

func TestKind(t *testing.T) {
	foreign := errors.New("not found") // as another library has it
	for _, test := range []struct{ err, want error }{
		{nil, nil},
		{errors.New("other"), nil},
		{io.EOF, nil},
		{oras.ErrDenied, oras.ErrDenied},
		{fmt.Errorf("x: %w", oras.ErrUnauthorized), oras.ErrUnauthorized},
		{fmt.Errorf("x: %w", fs.ErrNotExist), oras.ErrNotFound},
		{foreign, oras.ErrNotFound},
		{fmt.Errorf("x: %w", foreign), oras.ErrNotFound},
		{errors.New("x: not found"), nil},
		{fmt.Errorf("x: %v", oras.ErrNotFound), nil},
		{&oras.CopyError{Err: fmt.Errorf("x: %w", oras.ErrUnsupported)}, oras.ErrUnsupported},
		{fmt.Errorf("%w: %w", oras.ErrReference, oras.ErrInvalid), oras.ErrReference},
		{fmt.Errorf("%w: %w", oras.ErrInvalid, oras.ErrReference), oras.ErrReference},
	} {
		if got := oras.Kind(test.err); got != test.want {
			t.Errorf("%v: %v, want %v", test.err, got, test.want)
		}
	}
}
