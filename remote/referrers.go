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
	"sync"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/c73062ad/oras"
	"github.com/c73062ad/oras/internal/wire"
)

// What is known of a registry's referrers API.
const (
	apiUnknown = int32(iota)
	apiThere
	apiAbsent
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
	index, _, err := r.referrersIndex(ctx, wire.Request{Route: wire.Manifest, Repository: r.name, Tag: referrersTag(d)})
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

// referrersIndex gets the index under a referrers tag, an empty one if there is
// none, and the entity tag the registry gave it.
func (r *Repository) referrersIndex(ctx context.Context, req wire.Request) (*ocispec.Index, string, error) {
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
		return index, "", nil
	}
	if err != nil {
		return nil, "", err
	}
	if _, err := oras.ParseManifest(oras.MediaTypeImageIndex, data); err != nil {
		return nil, "", fmt.Errorf("%s is no list of referrers: %w", r.reference(req), err)
	}
	if err := oras.DecodeJSON(data, index); err != nil {
		return nil, "", fmt.Errorf("%s: %w", r.reference(req), err)
	}
	return index, resp.Header.Get("ETag"), nil
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
	minSettle  = 100 * time.Millisecond
	maxSettle  = 3 * time.Second
)

// changeReferrers changes the list of d's referrers that clients keep. Registries
// have no way to change a tag only if nobody else did, or do not say whether they
// heed If-Match; so the list is read again, after a time in which another's change
// begun before ours would have come, until it has ours and is at rest.
func (r *Repository) changeReferrers(ctx context.Context, d oras.Digest, change func([]oras.Descriptor) []oras.Descriptor) error {
	req := wire.Request{Route: wire.Manifest, Repository: r.name, Tag: referrersTag(d)}
	var last []byte // the list when last seen
	for range maxChanges {
		start := time.Now()
		list, changed, err := r.changeOnce(ctx, req, change)
		if err != nil {
			return err
		}
		if !changed && (last == nil || string(last) == string(list)) {
			return nil
		}
		last = list
		settle := min(max(time.Since(start), minSettle), maxSettle)
		if err := sleep(ctx, settle+rand.N(settle)); err != nil {
			return err
		}
	}
	return fmt.Errorf("%s: others change the list of referrers all the time", r.reference(req))
}

// changeOnce reads the list, and writes it if change makes a difference. It
// returns the list as it is then, as JSON.
func (r *Repository) changeOnce(ctx context.Context, req wire.Request, change func([]oras.Descriptor) []oras.Descriptor) (list []byte, changed bool, err error) {
	unlock, err := r.registry.locks.lock(ctx, r.name+":"+req.Tag)
	if err != nil {
		return nil, false, err
	}
	defer unlock()
	index, etag, err := r.referrersIndex(ctx, req)
	if err != nil {
		return nil, false, err
	}
	before := len(index.Manifests)
	index.Manifests = change(index.Manifests)
	if index.Manifests == nil {
		index.Manifests = []oras.Descriptor{}
	}
	if list, err = json.Marshal(index); err != nil || len(index.Manifests) == before {
		return list, false, err
	}
	if len(list) > oras.MaxManifestSize {
		return nil, false, fmt.Errorf("%s: %w: the list of referrers would be larger than %d bytes", r.reference(req), oras.ErrUnsupported, oras.MaxManifestSize)
	}
	header := http.Header{}
	if etag != "" {
		header.Set("If-Match", etag)
	}
	_, err = r.put(ctx, req, header, oras.MediaTypeImageIndex, list)
	var answer *Error
	if errors.As(err, &answer) && answer.StatusCode == http.StatusPreconditionFailed {
		return nil, true, nil // somebody was faster
	}
	return list, true, err
}

// locks are mutual exclusion by name.
type locks struct {
	mu   sync.Mutex
	held map[string]*held
}

type held struct {
	token   chan struct{}
	waiting int
}

// lock waits until nobody else has the lock called name.
func (l *locks) lock(ctx context.Context, name string) (unlock func(), err error) {
	l.mu.Lock()
	if l.held == nil {
		l.held = map[string]*held{}
	}
	h := l.held[name]
	if h == nil {
		h = &held{token: make(chan struct{}, 1)}
		l.held[name] = h
	}
	h.waiting++
	l.mu.Unlock()

	leave := func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		if h.waiting--; h.waiting == 0 {
			delete(l.held, name)
		}
	}
	select {
	case h.token <- struct{}{}:
		return func() { <-h.token; leave() }, nil
	case <-ctx.Done():
		leave()
		return nil, context.Cause(ctx)
	}
}
