package remote

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"

	"github.com/c73062ad/oras"
	"github.com/c73062ad/oras/internal/wire"
)

// What is known of something a registry may have.
const (
	apiUnknown = int32(iota)
	apiThere
	apiAbsent
)

// TagIf implements [oras.TagIf]: the registry is asked to make the change if the tag's
// ETag is that of old (RFC 9110, section 13.1). A registry must have said that it heeds
// that, among its extensions (_oci/ext/discover); of one that has not, most write
// whatever comes, and it is oras.ErrUnsupported, as is a manifest by another digest than
// SHA-256, which a PUT by tag cannot name.
func (r *Repository) TagIf(ctx context.Context, desc oras.Descriptor, reference string, old oras.Descriptor) error {
	if err := oras.CheckTag(reference); err != nil {
		return err
	}
	heeds, err := r.heedsConditions(ctx)
	if err != nil {
		return err
	}
	if !heeds {
		return fmt.Errorf("%s: the registry changes no tag on a condition: %w", r, oras.ErrUnsupported)
	}
	condition := http.Header{"If-None-Match": {"*"}}
	if old.Digest != "" {
		d, err := oras.ParseDigest(old.Digest)
		if err != nil {
			return err
		}
		condition = http.Header{"If-Match": {wire.ETag(d)}}
	}
	req := wire.Request{Route: wire.Manifest, Repository: r.name, Tag: reference}
	if desc.Digest == "" {
		return r.untagIf(ctx, req, condition, old)
	}
	d, err := oras.ParseDigest(desc.Digest)
	if err != nil {
		return err
	}
	if d.Algorithm() != oras.SHA256 {
		return fmt.Errorf("%s: tagging %s on a condition: %w", r, d, oras.ErrUnsupported)
	}
	found, data, err := r.manifestFor(ctx, d, desc.MediaType)
	if err != nil {
		return err
	}
	req.Digest = d
	_, err = r.put(ctx, req, condition, found.MediaType, data)
	return err
}

// untagIf removes the tag that req names if it names old, as condition says.
func (r *Repository) untagIf(ctx context.Context, req wire.Request, condition http.Header, old oras.Descriptor) error {
	if old.Digest == "" {
		_, err := r.head(ctx, req)
		switch {
		case errors.Is(err, oras.ErrNotFound):
			return nil
		case err == nil:
			return fmt.Errorf("%s: %w: it is there", r.reference(req), oras.ErrConflict)
		}
		return err
	}
	resp, err := r.call(ctx, http.MethodDelete, req, condition, deleted...)
	if errors.Is(err, oras.ErrNotFound) {
		return fmt.Errorf("%s: %w: it is not there", r.reference(req), oras.ErrConflict)
	}
	if err != nil {
		return err
	}
	drain(resp)
	return nil
}

// heedsConditions reports whether the registry has said that it does.
func (r *Repository) heedsConditions(ctx context.Context) (bool, error) {
	known := &r.registry.conditions
	if state := known.Load(); state != apiUnknown {
		return state == apiThere, nil
	}
	c := r.registry.client
	_, data, err := c.read(ctx, call{
		method: http.MethodGet,
		url:    c.url(wire.Request{Route: wire.RepositoryExtensions, Repository: r.name}),
		want:   []int{http.StatusOK},
	}, wire.MaxListPage)
	var list struct {
		Extensions []struct {
			Name string `json:"name"`
		} `json:"extensions"`
	}
	if err == nil {
		err = oras.DecodeJSON(data, &list)
	}
	state := apiAbsent
	for _, e := range list.Extensions {
		if e.Name == wire.ExtensionConditional {
			state = apiThere
		}
	}
	if err != nil && !slices.Contains([]error{oras.ErrNotFound, oras.ErrUnsupported, oras.ErrReference, oras.ErrInvalid}, oras.Kind(err)) {
		return false, err
	}
	known.Store(state)
	return state == apiThere, nil
}
