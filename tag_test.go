package oras_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"slices"
	"testing"

	"github.com/c73062ad/oras"
	"github.com/c73062ad/oras/memory"
)

// TestTagIfUnsupported: a store that cannot change a tag on a condition changes none.
func TestTagIfUnsupported(t *testing.T) {
	one := image("one")
	s := newStore(t, one)
	err := oras.TagIf(t.Context(), struct{ oras.Store }{s}, one.Descriptor, "v1", oras.Descriptor{})
	if oras.Kind(err) != oras.ErrUnsupported || !slices.Equal(tags(t, s), []string{"root"}) {
		t.Errorf("error %v, tags %q", err, tags(t, s))
	}
}

// TestConflictKind: a conflict is one on either side of a store's own words.
func TestConflictKind(t *testing.T) {
	if kind := oras.Kind(fmt.Errorf("v1: %w", oras.ErrConflict)); kind != oras.ErrConflict {
		t.Errorf("kind %v", kind)
	}
}

// severalAtOnce takes many tags with one push.
type severalAtOnce struct {
	oras.Store
	pushes [][]string
}

func (s *severalAtOnce) PushReferences(ctx context.Context, expected oras.Descriptor, content io.Reader, references []string) error {
	s.pushes = append(s.pushes, references)
	return oras.PushTagged(ctx, s.Store, expected, content, references...)
}

// TestPushTaggedSeveral: however a store takes several tags, they are set.
func TestPushTaggedSeveral(t *testing.T) {
	one := image("one")
	several := &severalAtOnce{Store: memory.New()}
	for name, s := range map[string]oras.Store{"one by one": struct{ oras.Store }{memory.New()}, "at once": several} {
		for _, want := range [][]string{{}, {"a"}, {"a", "b", "c"}} {
			must(t, oras.PushTagged(t.Context(), s, one.Descriptor, bytes.NewReader(one.data), want...))
			if got := tags(t, s); !slices.Equal(got, want) {
				t.Errorf("%s: tags %q; they must be %q", name, got, want)
			}
		}
		other := image("other")
		if err := oras.PushTagged(t.Context(), s, other.Descriptor, bytes.NewReader(one.data), "a", "d"); oras.Kind(err) != oras.ErrInvalid {
			t.Errorf("%s: other bytes: %v", name, err)
		}
	}
	if len(several.pushes) != 2 || !slices.Equal(several.pushes[0], []string{"a", "b", "c"}) {
		t.Errorf("pushes with several tags: %q", several.pushes)
	}
}
