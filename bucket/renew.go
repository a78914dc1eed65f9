package bucket

import (
	"context"
	"errors"
	"time"

	"github.com/c73062ad/oras"
)

const (
	renewAge = time.Minute     // from which on an object is made young again by who relies on it
	pushTime = 2 * time.Minute // after which a push that is still under way relies on nothing any longer
)

// LeastGrace is for how long a collection keeps content at least: so long somebody may
// rely on it who has not referred to it yet. It is more than the times above together.
const LeastGrace = 5 * time.Minute

// ages are the times that keep garbage and what is about to be named apart.
//
// A collection takes for garbage what is older than its grace, counted from its
// begin, and what no manifest refers to that it can list after that. Whoever relies
// on an object sees to it that it is no older than renew, and then has named it
// after no more than push, or begins anew. So a manifest that the collection cannot
// list was pushed after it began, and all it refers to was then no older than
// renew and push together, which is less than the grace.
type ages struct{ renew, push, grace time.Duration }

// renew makes sure that no collection deletes the object key until whoever asks has
// named it, and returns its size in bytes. What is gone is [oras.ErrNotFound].
func (r *Registry) renew(ctx context.Context, key string) (int64, error) {
	a, err := aging(r.bucket)
	if err != nil {
		return r.bucket.Size(ctx, key)
	}
	status, err := a.Stat(ctx, key)
	if err == nil && time.Since(status.Touched) > r.ages.renew {
		err = a.Touch(ctx, key)
	}
	return status.Size, err
}

// rely renews what the manifest m refers to, as far as it is there, and returns it
// as objects that must be durable before m is: somebody else may be about to put
// them.
func (s *Store) rely(ctx context.Context, m *oras.Manifest) ([]Object, error) {
	var objects []Object
	for _, child := range m.Children() {
		d, err := oras.ParseDigest(child.Digest)
		if err != nil {
			continue // nobody can ask for it
		}
		keys := []string{s.blobKey(d)}
		if oras.IsManifest(child.MediaType) {
			keys = append(keys, s.manifestKey(d))
		}
		for _, key := range keys {
			size, err := s.registry.renew(ctx, key)
			if errors.Is(err, oras.ErrNotFound) {
				continue
			}
			if err != nil {
				return nil, err
			}
			objects = append(objects, Object{Key: key, Size: size, Seen: true})
		}
	}
	return objects, nil
}
