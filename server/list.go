package server

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"

	"github.com/opencontainers/go-digest"

	"github.com/c73062ad/oras"
	"github.com/c73062ad/oras/internal/wire"
)

// errStop ends a list from within.
var errStop = errors.New("enough")

// page returns the first n names that list gives, and whether there are more.
func page(n int, list func(fn func([]string) error) error) (names []string, more bool, err error) {
	names = []string{}
	err = list(func(part []string) error {
		names = append(names, part[:min(len(part), n+1-len(names))]...)
		if len(names) > n {
			return errStop
		}
		return nil
	})
	if errors.Is(err, errStop) {
		return names[:n], true, nil
	}
	return names, false, err
}

// n returns how many entries a page has, if the request does not say.
func (r *request) n(otherwise int) int {
	if r.N == nil {
		return otherwise
	}
	return min(*r.N, wire.MaxPage)
}

func (s *server) listTags(w http.ResponseWriter, r *request) error {
	ctx := r.http.Context()
	if r.Last != "" {
		if err := oras.CheckTag(r.Last); err != nil {
			return err
		}
	}
	tags, more, err := page(r.n(wire.MaxPage), func(fn func([]string) error) error {
		return r.store.Tags(ctx, r.Last, fn)
	})
	if err == nil && len(tags) == 0 && !more {
		err = s.checkKnown(ctx, r.Repository)
	}
	if err != nil {
		return err
	}
	if more {
		link(w, r, tags)
	}
	return replyJSON(w, struct {
		Name string   `json:"name"`
		Tags []string `json:"tags"`
	}{r.Repository, tags})
}

func (s *server) listRepositories(w http.ResponseWriter, r *request) error {
	names, more, err := page(r.n(wire.MaxPage), func(fn func([]string) error) error {
		return s.registry.Repositories(r.http.Context(), r.Last, fn)
	})
	if err != nil {
		return err
	}
	if more {
		link(w, r, names)
	}
	return replyJSON(w, struct {
		Repositories []string `json:"repositories"`
	}{names})
}

// link says where the page behind this one is.
func link(w http.ResponseWriter, r *request, names []string) {
	if len(names) == 0 { // n=0 asks for nothing
		return
	}
	next := *r.Request
	next.Last = names[len(names)-1]
	w.Header().Set("Link", wire.FormatLink(next.String()))
}

func replyJSON(w http.ResponseWriter, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return reply(w, http.StatusOK, "application/json", data)
}

// checkKnown reports a repository the registry does not list as
// [oras.ErrNotFound]. A store with no tags may be one of which nothing is known.
func (s *server) checkKnown(ctx context.Context, name string) error {
	known := false
	err := s.registry.Repositories(ctx, before(name), func(names []string) error {
		for _, other := range names {
			if other >= name {
				known = other == name
				return errStop
			}
		}
		return nil
	})
	switch {
	case known, err != nil && !errors.Is(err, errStop): // a registry without a list may have it
		return nil
	}
	return oras.ErrNotFound
}

// before returns a name of a repository that is shortly before name, or nothing.
func before(name string) string {
	for name != "" {
		name = name[:len(name)-1]
		if oras.CheckRepository(name) == nil {
			break
		}
	}
	return name
}

// referrersPage is how many referrers are on a page that says nothing else.
const referrersPage = 1000

func (s *server) listReferrers(w http.ResponseWriter, r *request) error {
	p := referrers{n: r.n(referrersPage), size: wire.MaxListPage - 1<<10, entries: []json.RawMessage{}}
	if r.Last != "" {
		last, err := oras.ParseDigest(r.Last)
		if err != nil {
			return err
		}
		p.last = last.String()
	}
	node := oras.Descriptor{Digest: r.Digest.OCI()}
	err := oras.Referrers(r.http.Context(), r.store, node, r.ArtifactType, p.add)
	if err != nil && !errors.Is(err, errStop) && oras.Kind(err) != oras.ErrNotFound {
		return err
	}
	if r.ArtifactType != "" {
		w.Header().Set(wire.HeaderFiltersApplied, "artifactType")
	}
	if p.more {
		link(w, r, p.digests)
	}
	data, err := json.Marshal(struct {
		SchemaVersion int               `json:"schemaVersion"`
		MediaType     string            `json:"mediaType"`
		Manifests     []json.RawMessage `json:"manifests"`
	}{2, oras.MediaTypeImageIndex, p.entries})
	if err != nil {
		return err
	}
	return reply(w, http.StatusOK, oras.MediaTypeImageIndex, data)
}

// referrers is a page of referrers: of those after last, in the order of their
// digests, the first n that have room in size bytes.
type referrers struct {
	last    string
	n, size int

	digests  []string
	entries  []json.RawMessage // of the same index
	more     bool
	shuffled bool // the store has another order, so all of them must be seen
	previous digest.Digest
}

// add takes in what the store gives next. It ends the list when the page is full.
func (p *referrers) add(descs []oras.Descriptor) error {
	for _, desc := range descs {
		p.shuffled = p.shuffled || desc.Digest < p.previous
		p.previous = desc.Digest
	}
	for _, desc := range descs {
		digest := desc.Digest.String()
		if digest <= p.last {
			continue
		}
		if err := p.insert(digest, desc); err != nil {
			return err
		}
		if p.more && !p.shuffled {
			return errStop
		}
	}
	return nil
}

// insert puts an entry where it belongs, and drops the last ones if there is no
// room for it.
func (p *referrers) insert(digest string, desc oras.Descriptor) error {
	i, found := slices.BinarySearch(p.digests, digest)
	if found || p.more && i == len(p.digests) {
		return nil
	}
	entry, err := json.Marshal(desc)
	if err != nil {
		return err
	}
	if len(entry) >= wire.MaxListPage-1<<10 { // alone too large for any page
		desc.Annotations = nil
		if entry, err = json.Marshal(desc); err != nil {
			return err
		}
	}
	p.digests = slices.Insert(p.digests, i, digest)
	p.entries = slices.Insert(p.entries, i, json.RawMessage(entry))
	p.size -= len(entry) + 1
	for len(p.entries) > p.n || p.size < 0 {
		end := len(p.entries) - 1
		p.size += len(p.entries[end]) + 1
		p.digests, p.entries = p.digests[:end], p.entries[:end]
		p.more = true
	}
	return nil
}
