package server

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"slices"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/c73062ad/oras"
	"github.com/c73062ad/oras/internal/wire"
)

// referrersPage is how many referrers are on a page that says nothing else. Each is
// an object to be read.
const referrersPage = 250

// listReferrers answers with referrers in the order of their digests
// (distribution-spec, "Listing Referrers").
func (s *server) listReferrers(w http.ResponseWriter, r *request) error {
	p := &referrers{key: byDigest}
	if r.Last != "" {
		var err error
		if p.after, err = oras.ParseDigest(r.Last); err != nil {
			return err
		}
	}
	p, err := r.referrers(w, p)
	if err != nil {
		return err
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

// listORASReferrers answers with referrers as artifacts-spec 1.0
// (manifest-referrers-api.md) has it, which is what clients ask for that push ORAS
// artifact manifests: the youngest first.
func (s *server) listORASReferrers(w http.ResponseWriter, r *request) error {
	p, err := r.referrers(w, &referrers{key: byAge, shuffled: true})
	if err != nil {
		return err
	}
	w.Header().Set(wire.HeaderORASVersion, "oras/1.0")
	return replyJSON(w, struct {
		Referrers []json.RawMessage `json:"referrers"`
	}{p.entries})
}

// referrers fills p with the referrers that r asks for, and writes the headers that
// say what they are.
func (r *request) referrers(w http.ResponseWriter, p *referrers) (*referrers, error) {
	p.n, p.last, p.size, p.entries = r.n(referrersPage), r.Last, wire.MaxListPage-1<<10, []json.RawMessage{}
	node := oras.Descriptor{Digest: r.Digest.OCI()}
	err := oras.ReferrersAfter(r.http.Context(), r.store, node, r.ArtifactType, p.after, p.add)
	if err != nil && !errors.Is(err, errStop) && oras.Kind(err) != oras.ErrNotFound {
		return nil, err
	}
	if r.ArtifactType != "" {
		w.Header().Set(wire.HeaderFiltersApplied, "artifactType")
	}
	if p.more {
		link(w, r, p.keys)
	}
	return p, nil
}

// referrers is a page of referrers: of those whose key is after last, in the order
// of their keys, the first n that have room in size bytes.
type referrers struct {
	key      func(oras.Descriptor) string
	shuffled bool // the store has another order, so all of them must be seen
	last     string
	after    oras.Digest // none of those before it need be seen
	n, size  int

	keys     []string
	entries  []json.RawMessage // of the same index
	more     bool
	previous string
}

func byDigest(desc oras.Descriptor) string { return desc.Digest.String() }

// annotationsCreated say when an artifact was made, the one that counts first.
var annotationsCreated = []string{"io.cncf.oras.artifact.created", ocispec.AnnotationCreated}

// byAge lets the youngest come first, and last those whose age is not known.
func byAge(desc oras.Descriptor) string {
	for _, name := range annotationsCreated {
		t, err := time.Parse(time.RFC3339, desc.Annotations[name])
		if err != nil {
			continue
		}
		seconds := min(max(t.Unix(), 0), math.MaxInt32*100)
		return fmt.Sprintf("%012d.%09d.%s", math.MaxInt32*100-seconds, 999_999_999-t.Nanosecond(), desc.Digest)
	}
	return "~" + desc.Digest.String()
}

// add takes in what the store gives next. It ends the list when the page is full.
func (p *referrers) add(descs []oras.Descriptor) error {
	for _, desc := range descs {
		key := p.key(desc)
		p.shuffled = p.shuffled || key < p.previous
		p.previous = key
	}
	for _, desc := range descs {
		key := p.key(desc)
		if key <= p.last {
			continue
		}
		if err := p.insert(key, desc); err != nil {
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
func (p *referrers) insert(key string, desc oras.Descriptor) error {
	i, found := slices.BinarySearch(p.keys, key)
	if found || p.more && i == len(p.keys) {
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
	p.keys = slices.Insert(p.keys, i, key)
	p.entries = slices.Insert(p.entries, i, json.RawMessage(entry))
	p.size -= len(entry) + 1
	for len(p.entries) > p.n || p.size < 0 {
		end := len(p.entries) - 1
		p.size += len(p.entries[end]) + 1
		p.keys, p.entries = p.keys[:end], p.entries[:end]
		p.more = true
	}
	return nil
}
