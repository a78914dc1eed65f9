package remote

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/c73062ad/oras"
	"github.com/c73062ad/oras/internal/wire"
)

// Predecessors implements [oras.Store]: they are the referrers.
func (r *Repository) Predecessors(ctx context.Context, node oras.Descriptor) ([]oras.Descriptor, error) {
	var all []oras.Descriptor
	err := r.Referrers(ctx, node, "", func(page []oras.Descriptor) error {
		all = append(all, page...)
		return nil
	})
	return all, err
}

// Referrers lists referrers; see [oras.Referrers]. It asks the registry's API
// and, where there is none, reads the index that clients keep instead
// (distribution-spec, "Listing Referrers"); [Options] may choose one of them.
func (r *Repository) Referrers(ctx context.Context, node oras.Descriptor, artifactType string, fn func([]oras.Descriptor) error) error {
	d, err := oras.ParseDigest(node.Digest)
	if err != nil {
		return err
	}
	if r.hasAPI() {
		err := r.listReferrers(ctx, d, artifactType, fn)
		if !errors.Is(err, errNoAPI) || r.registry.mode == ReferrersAPI {
			return err
		}
	}
	index, _, _, err := r.referrersIndex(ctx, wire.Request{Route: wire.Manifest, Repository: r.name, Tag: referrersTag(d)})
	if err != nil {
		return err
	}
	if referrers := ofType(index.Manifests, artifactType); len(referrers) > 0 {
		return fn(referrers)
	}
	return nil
}

// hasAPI reports whether the API is worth asking.
func (r *Repository) hasAPI() bool {
	switch r.registry.mode {
	case ReferrersAPI:
		return true
	case ReferrersTag:
		return false
	}
	return r.api.Load() != apiAbsent
}

var errNoAPI = fmt.Errorf("the registry has no referrers API: %w", oras.ErrUnsupported)

// listReferrers asks the API; it is errNoAPI if there is none.
func (r *Repository) listReferrers(ctx context.Context, d oras.Digest, artifactType string, fn func([]oras.Descriptor) error) error {
	c := r.registry.client
	first := c.url(wire.Request{Route: wire.Referrers, Repository: r.name, Digest: d, ArtifactType: artifactType})
	pages := 0
	err := c.pages(ctx, first, http.Header{"Accept": {oras.MediaTypeImageIndex}}, oras.MaxManifestSize, func(h http.Header, page []byte) (int, error) {
		if t := mediaType(h); t != oras.MediaTypeImageIndex && pages == 0 { // a web page for people, for instance
			return 0, errNoAPI
		}
		pages++
		m, err := oras.ParseManifest(oras.MediaTypeImageIndex, page)
		if err != nil {
			return 0, fmt.Errorf("referrers of %s: %w", d, err)
		}
		r.api.Store(apiThere)
		referrers := m.Manifests
		if !strings.Contains(h.Get(wire.HeaderFiltersApplied), "artifactType") {
			referrers = ofType(referrers, artifactType)
		}
		if len(referrers) == 0 {
			return len(m.Manifests), nil
		}
		return len(m.Manifests), fn(referrers)
	})
	var answer *Error
	switch {
	case pages > 0 || err == nil:
		return err
	case errors.Is(err, errNoAPI):
		r.api.CompareAndSwap(apiUnknown, apiAbsent)
		return err
	case errors.As(err, &answer) && answer.StatusCode == http.StatusNotFound && answer.has(wire.CodeNameUnknown, wire.CodeManifestUnknown, wire.CodeBlobUnknown):
		return fmt.Errorf("%w: %w", errNoAPI, err) // this time: who knows what the next answer is
	case errors.Is(err, oras.ErrNotFound), errors.Is(err, oras.ErrUnsupported):
		r.api.CompareAndSwap(apiUnknown, apiAbsent)
		return fmt.Errorf("%w: %w", errNoAPI, err)
	}
	return err
}

func ofType(descs []oras.Descriptor, artifactType string) []oras.Descriptor {
	if artifactType == "" {
		return descs
	}
	return slices.DeleteFunc(slices.Clone(descs), func(d oras.Descriptor) bool { return d.ArtifactType != artifactType })
}

// referrersTag returns the tag of the index that lists the referrers of d where
// there is no API: algorithm and digits, cut to 32 and 64 characters
// (distribution-spec, "Referrers Tag Schema").
func referrersTag(d oras.Digest) string {
	algorithm, encoded := d.Algorithm().String(), d.Hex()
	return algorithm[:min(len(algorithm), 32)] + "-" + encoded[:min(len(encoded), 64)]
}

// referrersIndex gets the index under a referrers tag, an empty one if there is none;
// its digest, zero for none; and the header by which to write it only if it still is
// what it was (RFC 9110, section 13.1), as far as that can be said.
func (r *Repository) referrersIndex(ctx context.Context, req wire.Request) (*ocispec.Index, oras.Digest, http.Header, error) {
	var none oras.Digest
	index := &ocispec.Index{MediaType: oras.MediaTypeImageIndex}
	index.SchemaVersion = 2
	c := r.registry.client
	resp, data, err := c.read(ctx, call{
		method: http.MethodGet,
		url:    c.url(req),
		header: http.Header{"Accept": {oras.MediaTypeImageIndex}},
		want:   []int{http.StatusOK},
	}, oras.MaxManifestSize)
	if errors.Is(err, oras.ErrNotFound) {
		return index, none, http.Header{"If-None-Match": {"*"}}, nil
	}
	if err != nil {
		return nil, none, nil, err
	}
	if _, err := oras.ParseManifest(oras.MediaTypeImageIndex, data); err != nil {
		return nil, none, nil, fmt.Errorf("%s is no list of referrers: %w", r.reference(req), err)
	}
	if err := oras.DecodeJSON(data, index); err != nil {
		return nil, none, nil, fmt.Errorf("%s: %w", r.reference(req), err)
	}
	condition := http.Header{}
	if etag := resp.Header.Get("ETag"); etag != "" {
		condition.Set("If-Match", etag)
	}
	return index, oras.SHA256.Digest(data), condition, nil
}

// addReferrer lets the list of the subject's referrers have desc, unless the
// registry sees to that.
func (r *Repository) addReferrer(ctx context.Context, subject, desc oras.Descriptor) error {
	d, err := oras.ParseDigest(subject.Digest)
	if err != nil {
		return err
	}
	kept, err := r.keepsReferrers(ctx, d, desc.Digest.String())
	if kept || err != nil {
		return err
	}
	return r.changeReferrers(ctx, d, func(list []oras.Descriptor) []oras.Descriptor {
		if slices.ContainsFunc(list, func(e oras.Descriptor) bool { return e.Digest == desc.Digest }) {
			return list
		}
		return append(slices.Clone(list), desc)
	})
}

// keepsReferrers reports whether the registry lists the referrers of d by itself.
// A registry with the API should have said so when the manifest came; the ones
// that did not are asked whether they list it.
func (r *Repository) keepsReferrers(ctx context.Context, d oras.Digest, referrer string) (bool, error) {
	if r.registry.mode == ReferrersAPI {
		return true, nil
	}
	if !r.hasAPI() {
		return false, nil
	}
	found := false
	err := r.listReferrers(ctx, d, "", func(page []oras.Descriptor) error {
		found = found || slices.ContainsFunc(page, func(e oras.Descriptor) bool { return e.Digest.String() == referrer })
		return nil
	})
	if errors.Is(err, errNoAPI) {
		return false, nil
	}
	return found, err
}

// deleteManifest deletes a manifest and, where the registry does not, what the
// list of its subject's referrers says of it.
func (r *Repository) deleteManifest(ctx context.Context, req wire.Request, mediaType string) error {
	if r.registry.mode == ReferrersAPI || r.api.Load() == apiThere {
		return r.remove(ctx, req)
	}
	desc, data, err := r.manifest(ctx, req, mediaType)
	if err != nil {
		return err
	}
	m, err := oras.ParseManifest(desc.MediaType, data)
	if err != nil || m.Subject == nil { // what cannot be read can be deleted
		return r.remove(ctx, req)
	}
	subject, err := oras.ParseDigest(m.Subject.Digest)
	if err != nil {
		return r.remove(ctx, req)
	}
	kept, err := r.keepsReferrers(ctx, subject, desc.Digest.String())
	if err != nil {
		return err
	}
	if err := r.remove(ctx, req); err != nil || kept {
		return err
	}
	return r.changeReferrers(ctx, subject, func(list []oras.Descriptor) []oras.Descriptor {
		return slices.DeleteFunc(slices.Clone(list), func(e oras.Descriptor) bool { return e.Digest == desc.Digest })
	})
}

// Limits on how long others may be in the way of a change.
const (
	maxChanges = 100
	maxLooks   = 3 // right before a change
	maxSettle  = 3 * time.Second
)

// settle is how long a change of the list takes at least to come to rest. Tests make
// it shorter.
var settle = 100 * time.Millisecond

// changeReferrers changes the list of d's referrers that clients keep. The registry is
// asked to write it only if nobody else did since it was read. Many do not heed that,
// and many clients do not ask it; so
//
//   - clients that share a directory of locks take turns,
//   - who was held up since it read the list looks once more before it writes,
//   - and the list is read again, after a time in which another's change begun before
//     ours would have come, until it has ours and is at rest.
//
// What is left is a client, without the lock, whose request to write is on its way for
// longer than the others watch: it undoes what they did, and nothing tells anybody. Who
// takes long itself watches longer.
func (r *Repository) changeReferrers(ctx context.Context, d oras.Digest, change func([]oras.Descriptor) []oras.Descriptor) error {
	req := wire.Request{Route: wire.Manifest, Repository: r.name, Tag: referrersTag(d)}
	var last []byte // the list when last seen
	longest := settle
	for range maxChanges {
		list, took, err := r.changeOnce(ctx, req, change)
		if errors.Is(err, oras.ErrConflict) { // somebody was faster
			last = nil
			if err := sleep(ctx, rand.N(settle)); err != nil {
				return err
			}
			continue
		}
		if err != nil {
			return err
		}
		if took == 0 && (last == nil || string(last) == string(list)) {
			return nil
		}
		last = list
		longest = min(max(took, longest), maxSettle)
		if err := sleep(ctx, longest+rand.N(longest)); err != nil {
			return err
		}
	}
	return fmt.Errorf("%s: others change the list of referrers all the time", r.reference(req))
}

// changeOnce reads the list, and writes it if change makes a difference. It
// returns the list as it is then, as JSON, and how long it took from reading to having
// written, 0 if nothing was. It is oras.ErrConflict if somebody else wrote it meanwhile
// and that can be told.
func (r *Repository) changeOnce(ctx context.Context, req wire.Request, change func([]oras.Descriptor) []oras.Descriptor) (list []byte, took time.Duration, err error) {
	unlock, err := r.registry.locks.lock(ctx, r.registry.client.origin+"/"+r.name+":"+req.Tag)
	if err != nil {
		return nil, 0, err
	}
	defer unlock()
	start := time.Now()
	seen := start // or later
	index, old, condition, err := r.referrersIndex(ctx, req)
	if err != nil {
		return nil, 0, err
	}
	before := len(index.Manifests)
	index.Manifests = change(index.Manifests)
	if index.Manifests == nil {
		index.Manifests = []oras.Descriptor{}
	}
	if list, err = json.Marshal(index); err != nil || len(index.Manifests) == before {
		return list, 0, err
	}
	if len(list) > oras.MaxManifestSize {
		return nil, 0, fmt.Errorf("%s: %w: the list of referrers would be larger than %d bytes", r.reference(req), oras.ErrUnsupported, oras.MaxManifestSize)
	}
	for looks := 0; looks < maxLooks && time.Since(seen) > settle; looks++ {
		seen = time.Now()
		if err := r.stillIs(ctx, req, old); err != nil {
			return nil, 0, err
		}
	}
	_, err = r.put(ctx, req, condition, oras.MediaTypeImageIndex, list)
	return list, max(time.Since(start), 1), err
}

// stillIs is oras.ErrConflict if the tag that req names is not what it was: old, zero
// for nothing.
func (r *Repository) stillIs(ctx context.Context, req wire.Request, old oras.Digest) error {
	var now oras.Digest
	desc, err := r.resolveManifest(ctx, req)
	if err == nil {
		now, err = oras.ParseDigest(desc.Digest)
	}
	switch {
	case err != nil && !errors.Is(err, oras.ErrNotFound):
		return err
	case now == old, !now.IsZero() && !old.IsZero() && now.Algorithm() != old.Algorithm():
		return nil
	}
	return fmt.Errorf("%s: %w: somebody else changed it", r.reference(req), oras.ErrConflict)
}
