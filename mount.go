package oras

import (
	"context"
	"fmt"
	"io"
)

// Mount makes the blob desc, which the repository called from holds in the same
// registry, appear in t without its bytes being moved (distribution-spec,
// "Mounting a blob from another repository"). A target that cannot, or whose
// registry will not, gets the content from getContent; if getContent is nil that
// is [ErrUnsupported], or [ErrNotFound] where from does not hold the blob.
//
//	Mount(ctx context.Context, desc Descriptor, from string, getContent func() (io.ReadCloser, error)) error
//
// is the optional method of a target that can.
func Mount(ctx context.Context, t Target, desc Descriptor, from string, getContent func() (io.ReadCloser, error)) error {
	m, ok := t.(interface {
		Mount(context.Context, Descriptor, string, func() (io.ReadCloser, error)) error
	})
	switch {
	case ok:
		return m.Mount(ctx, desc, from, getContent)
	case getContent == nil:
		return fmt.Errorf("mounting %s: %w", desc.Digest, ErrUnsupported)
	}
	content, err := getContent()
	if err != nil {
		return err
	}
	defer content.Close()
	return Push(ctx, t, desc, content)
}
