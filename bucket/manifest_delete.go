package bucket

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/c73062ad/oras"
)

// Delete is [oras.Store.Delete]. It costs what the manifest has tags, or had since a
// collection, however many the repository has. Whoever reads the content goes on
// reading it.
func (s *Store) Delete(ctx context.Context, target oras.Descriptor) error {
	d, err := oras.ParseDigest(target.Digest)
	if err != nil {
		return err
	}
	done, err := s.registry.locks.alone(ctx, s.manifestKey(d))
	if err != nil {
		return err
	}
	defer done()
	err = s.deleteOnce(ctx, d)
	for range mostTries {
		if err != nil {
			return err
		}
		// Another process may have pushed it meanwhile, and saw what is now gone.
		if _, err := s.bucket.Size(ctx, s.manifestKey(d)); errors.Is(err, oras.ErrNotFound) {
			return nil
		} else if err != nil {
			return err
		}
		if err = s.deleteOnce(ctx, d); errors.Is(err, oras.ErrNotFound) {
			return nil
		}
	}
	return fmt.Errorf("%s: others push it each time it is deleted", d)
}

func (s *Store) deleteOnce(ctx context.Context, d oras.Digest) error {
	begin := time.Now()
	m, err := s.manifest(ctx, d)
	if errors.Is(err, oras.ErrNotFound) {
		return lacking(d, s.bucket.Delete(ctx, s.blobKey(d)))
	}
	if err != nil && !errors.Is(err, errFact) {
		return err
	}
	if err := s.untagAll(ctx, d); err != nil {
		return err
	}
	if err := remove(ctx, s.bucket, s.manifestKey(d)); err != nil {
		return err
	}
	// Another process that tags it from now on will see that it is gone.
	if err := s.untagAll(ctx, d); err != nil {
		return err
	}
	if subject, err := oras.ParseDigest(m.Subject); err == nil {
		if err := forget(ctx, s.bucket, s.referrerKey(subject, d), begin); err != nil {
			return err
		}
	}
	return remove(ctx, s.bucket, s.blobKey(d))
}
