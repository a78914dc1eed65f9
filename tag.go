package oras

import (
	"context"
	"fmt"
)

// TagIf changes in one step what tag names, from old to desc, if it is old that it
// names; else it is [ErrConflict] and nothing is changed. So nobody who reads a tag
// and writes it anew can undo, unknowing, what another wrote in between. Only the
// digest of old counts. The zero Descriptor is nothing: as old, the tag must not be
// there; as desc, it is removed. For the rest it is [Target.Tag].
//
// A target without the optional method for it is [ErrUnsupported]:
//
//	TagIf(ctx context.Context, desc Descriptor, reference string, old Descriptor) error
//
// The method must be one step to all who use the store through the same process at
// least; a store says if it is one to other processes, too.
func TagIf(ctx context.Context, t Target, desc Descriptor, tag string, old Descriptor) error {
	s, ok := t.(interface {
		TagIf(context.Context, Descriptor, string, Descriptor) error
	})
	if !ok {
		return fmt.Errorf("changing a tag on a condition: %w", ErrUnsupported)
	}
	return s.TagIf(ctx, desc, tag, old)
}
