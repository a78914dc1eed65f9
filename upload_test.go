package oras_test

import (
	"context"
	"errors"
	"testing"

	"github.com/c73062ad/oras"
	"github.com/c73062ad/oras/memory"
)

// opener is a target with uploads; beginner is one that can be told the algorithm, too.
type opener struct {
	oras.Target
	opened []string
}

func (o *opener) Upload(_ context.Context, id string) (oras.Upload, error) {
	o.opened = append(o.opened, id)
	return nil, nil
}

type beginner struct {
	opener
	begun []oras.Algorithm
}

func (b *beginner) BeginUpload(_ context.Context, a oras.Algorithm) (oras.Upload, error) {
	b.begun = append(b.begun, a)
	return nil, nil
}

func TestBeginUpload(t *testing.T) {
	if _, err := oras.BeginUpload(t.Context(), memory.New(), oras.SHA512); !errors.Is(err, oras.ErrUnsupported) {
		t.Errorf("without uploads: %v", err)
	}
	var o opener
	if _, err := oras.BeginUpload(t.Context(), &o, oras.SHA512); err != nil || len(o.opened) != 1 || o.opened[0] != "" {
		t.Errorf("opened: %q, %v", o.opened, err)
	}
	var b beginner
	if _, err := oras.BeginUpload(t.Context(), &b, oras.SHA512); err != nil || len(b.opened) != 0 || len(b.begun) != 1 || b.begun[0] != oras.SHA512 {
		t.Errorf("opened: %q, begun: %q, %v", b.opened, b.begun, err)
	}
}
