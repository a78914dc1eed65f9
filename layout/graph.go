package layout

import (
	"context"
	"fmt"

	"github.com/opencontainers/go-digest"

	"github.com/c73062ad/oras"
	"github.com/c73062ad/oras/internal/index"
)

// maxRelations is how many references of manifests to other content are kept in
// memory, some 200 bytes each.
const maxRelations = 4 << 20

// A graph is what is known of the manifests that can be reached from index.json,
// whether they are listed there or only referred to by one that is. Content is
// never read twice: its digest says that it is still the same.
type graph struct {
	of        *indexJSON // the state it was made of
	index     index.Index
	manifests map[digest.Digest]*oras.Manifest // without what relations do not need
	relations int
	broken    map[digest.Digest]error // manifests that cannot be read
}

// Predecessors is [oras.Store.Predecessors]: all manifests that refer to node and
// can be reached from index.json, in the order of their digests. The first call
// reads them, later ones only what is new. If one of them cannot be read, the
// answer would be incomplete, and is an error.
func (s *Store) Predecessors(ctx context.Context, node oras.Descriptor) ([]oras.Descriptor, error) {
	g, err := s.relations(ctx)
	if err != nil {
		return nil, err
	}
	for _, err := range g.broken {
		return nil, fmt.Errorf("manifests that refer to %s: %w", node.Digest, err)
	}
	var found []oras.Descriptor
	for _, desc := range g.index.Predecessors(node.Digest) {
		// It may have been deleted without a change of index.json.
		exists, err := s.Exists(ctx, desc)
		if err != nil {
			return nil, err
		}
		if exists {
			found = append(found, desc)
		}
	}
	return found, nil
}

// relations returns the graph of what index.json says now. It does not change
// afterwards, but that more manifests may come in.
func (s *Store) relations(ctx context.Context) (*graph, error) {
	x, err := s.load()
	if err != nil {
		return nil, s.invalid(err)
	}
	s.graphMu.Lock()
	defer s.graphMu.Unlock()
	if s.graph != nil && s.graph.of == x && len(s.graph.broken) == 0 {
		return s.graph, nil
	}
	next := &graph{of: x, manifests: map[digest.Digest]*oras.Manifest{}, broken: map[digest.Digest]error{}}
	var known map[digest.Digest]*oras.Manifest
	if s.graph != nil {
		known = s.graph.manifests
	}
	if err := next.build(ctx, s, known); err != nil {
		return nil, err
	}
	s.graph = next
	return next, nil
}

// build walks from index.json to all manifests. Those in known need not be read.
func (g *graph) build(ctx context.Context, f oras.Fetcher, known map[digest.Digest]*oras.Manifest) error {
	var queue []oras.Descriptor
	for _, e := range g.of.entries {
		queue = append(queue, plain(e.desc))
	}
	seen := map[digest.Digest]bool{}
	for len(queue) > 0 {
		desc := queue[0]
		queue = queue[1:]
		if seen[desc.Digest] || !oras.IsManifest(desc.MediaType) {
			continue
		}
		seen[desc.Digest] = true
		if _, err := oras.ParseDigest(desc.Digest); err != nil {
			continue // what has no name here is not in the store
		}
		m, err := read(ctx, f, desc, known)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if oras.Kind(err) == oras.ErrNotFound {
			continue // layouts may be sparse
		}
		if err != nil {
			g.broken[desc.Digest] = err
			continue
		}
		children := m.Children()
		if g.relations += len(children); g.relations > maxRelations {
			return fmt.Errorf("relations of more than %d manifests and blobs: %w", maxRelations, oras.ErrUnsupported)
		}
		g.manifests[desc.Digest] = m
		g.index.Add(desc, m)
		queue = append(queue, children...)
	}
	return nil
}

// read returns the manifest desc, with only the media type, digest and size of
// what it refers to.
func read(ctx context.Context, f oras.Fetcher, desc oras.Descriptor, known map[digest.Digest]*oras.Manifest) (*oras.Manifest, error) {
	if m := known[desc.Digest]; m != nil {
		return m, nil
	}
	m, err := oras.ReadManifest(ctx, f, desc)
	if err != nil {
		return nil, err
	}
	kept := &oras.Manifest{}
	if m.Subject != nil {
		subject := plain(*m.Subject)
		kept.Subject, m.Subject = &subject, nil
	}
	for _, child := range m.Children() {
		kept.Manifests = append(kept.Manifests, plain(child))
	}
	return kept, nil
}
