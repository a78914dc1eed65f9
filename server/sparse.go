package server

import (
	"context"
	"fmt"
	"strings"

	"github.com/opencontainers/go-digest"

	"github.com/c73062ad/oras"
	"github.com/c73062ad/oras/internal/wire"
)

// A SparseRule says whether repositories take manifests that are sparse: of which
// something they refer to is not there.
type SparseRule struct {
	Repositories Pattern
	Allow        bool
}

// maxMissing is how many descriptors an answer tells that something is missing of.
const maxMissing = 20

// An incompleteError says what a manifest refers to that is not there.
type incompleteError struct{ missing []oras.Descriptor }

func (e *incompleteError) Error() string {
	return fmt.Sprintf("%s and perhaps more is not there", e.missing[0].Digest)
}

// entries returns what the answer says, an entry for each thing that is missing
// (distribution-spec, "Push").
func (e *incompleteError) entries() []wire.Error {
	var entries []wire.Error
	for _, desc := range e.missing {
		entries = append(entries, wire.Error{
			Code:    wire.CodeManifestBlobUnknown,
			Message: fmt.Sprintf("the manifest refers to %s (%s), which the repository does not have", desc.Digest, desc.MediaType),
		})
	}
	return entries
}

// checkComplete refuses m, as an *incompleteError, if the repository of r takes no
// sparse manifests and m is one.
func (s *server) checkComplete(r *request, m *oras.Manifest) error {
	for _, rule := range s.opts.Sparse {
		if !rule.Repositories.Match(r.Repository) {
			continue
		}
		if rule.Allow {
			return nil
		}
		return checkComplete(r.http.Context(), r.store, m)
	}
	return nil
}

func checkComplete(ctx context.Context, store oras.Store, m *oras.Manifest) error {
	if m.Subject != nil { // which may come later
		whole := *m
		whole.Subject = nil
		m = &whole
	}
	var missing []oras.Descriptor
	seen := map[digest.Digest]bool{}
	for _, desc := range m.Children() {
		if seen[desc.Digest] || elsewhere(desc) {
			continue
		}
		seen[desc.Digest] = true
		exists, err := isThere(ctx, store, desc)
		if err != nil {
			return err
		}
		if !exists {
			missing = append(missing, desc)
		}
		if len(missing) == maxMissing {
			break
		}
	}
	if missing != nil {
		return &incompleteError{missing}
	}
	return nil
}

// isThere reports whether a manifest can be served that refers to desc. What has a
// digest of an algorithm that is not implemented cannot be there.
func isThere(ctx context.Context, store oras.Store, desc oras.Descriptor) (bool, error) {
	if _, err := oras.ParseDigest(desc.Digest); err != nil {
		return false, nil
	}
	target := oras.Descriptor{Digest: desc.Digest}
	if oras.IsManifest(desc.MediaType) {
		target.MediaType = desc.MediaType
	}
	return store.Exists(ctx, target)
}

// elsewhere reports whether desc is of a layer that need not be in any registry
// (image-spec, layer.md, "Non-Distributable Layers"; docker's foreign layers).
func elsewhere(desc oras.Descriptor) bool {
	return len(desc.URLs) > 0 || strings.Contains(desc.MediaType, ".nondistributable.") || strings.Contains(desc.MediaType, ".foreign.")
}
