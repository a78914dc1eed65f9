package server

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"

	"github.com/c73062ad/oras"
	"github.com/c73062ad/oras/internal/wire"
)

// maxChanges is how often others may change a tag between the look at it and the
// change of it, before a condition that holds all the same is given up.
const maxChanges = 100

// lockManifest is lockTags for a push of a manifest. A store without the optional method of
// [oras.PushTagged] may say to who pushes the same that it is there, a moment before it can
// be found.
func (s *server) lockManifest(r *request, desc oras.Descriptor, tags ...string) (unlock func()) {
	_, inOneStep := r.store.(interface {
		PushReference(context.Context, oras.Descriptor, io.Reader, string) error
	})
	if inOneStep {
		return s.lockTags(r, tags...)
	}
	return s.lockTags(r, append(slices.Clip(tags), string(desc.Digest))...)
}

// lockTags waits until no other request to this server writes the tags of r, and
// returns what lets others.
func (s *server) lockTags(r *request, tags ...string) (unlock func()) {
	names := make([]string, len(tags))
	for i, tag := range tags {
		names[i] = r.Repository + ":" + tag
	}
	return s.tags.lock(names...)
}

// push stores a manifest and lets the tags of r name it, if what the path of r names is
// as r demands. typed says that no other media type fits the document.
func (s *server) push(r *request, desc oras.Descriptor, data []byte, typed bool) error {
	ctx, tags := r.http.Context(), r.tags()
	defer s.lockManifest(r, desc, tags...)()
	conditions := wire.ParseConditions(r.http.Header)
	if typed && !conditions.Any() {
		return refusal(oras.PushTagged(ctx, r.store, desc, bytes.NewReader(data), tags...))
	}
	now, err := s.check(r, conditions)
	if err != nil {
		return err
	}
	if err := refusal(oras.Push(ctx, r.store, desc, bytes.NewReader(data))); err != nil {
		return err
	}
	if err := sameType(ctx, r.store, desc); err != nil {
		return err
	}
	if r.Tag != "" && conditions.Any() {
		if err := s.retag(r, conditions, now, desc); err != nil {
			return err
		}
		tags = r.Tags
	}
	for _, tag := range tags {
		if err := r.store.Tag(ctx, desc, tag); err != nil {
			return err
		}
	}
	return nil
}

// refusal returns what err is, which came of pushing a manifest that was found to be
// one: the store, or the registry behind it, takes fewer.
func refusal(err error) error {
	if oras.Kind(err) == oras.ErrInvalid {
		return fmt.Errorf("%w: %w", errManifest, err)
	}
	return err
}

// check returns what the path of r names, the zero Descriptor if that is nothing, if
// it is as the conditions, of which there may be none, demand.
func (s *server) check(r *request, conditions wire.Conditions) (oras.Descriptor, error) {
	if !conditions.Any() {
		return oras.Descriptor{}, nil
	}
	now, err := r.now()
	if err == nil && !conditions.Hold(digestOf(now)) {
		err = errPrecondition
	}
	return now, err
}

// now returns what the path of r names, the zero Descriptor if that is nothing.
func (r *request) now() (oras.Descriptor, error) {
	desc, err := r.resolve()
	if oras.Kind(err) == oras.ErrNotFound || err == nil && !oras.IsManifest(desc.MediaType) {
		return oras.Descriptor{}, nil
	}
	return desc, err
}

// digestOf returns the digest of desc, zero if it has none.
func digestOf(desc oras.Descriptor) oras.Digest {
	d, err := oras.ParseDigest(desc.Digest)
	if err != nil {
		return oras.Digest{}
	}
	return d
}

// retag lets the tag of r, which names now, name desc, or nothing if that is zero. If
// others have changed it meanwhile, the conditions are asked again. The caller has
// the tag's lock.
func (s *server) retag(r *request, conditions wire.Conditions, now, desc oras.Descriptor) error {
	ctx := r.http.Context()
	for range maxChanges {
		err := oras.TagIf(ctx, r.store, desc, r.Tag, now)
		switch oras.Kind(err) {
		case oras.ErrConflict:
			if now, err = s.check(r, conditions); err != nil {
				return err
			}
			continue
		case oras.ErrUnsupported: // but nobody else writes it through this server
			if desc.Digest == "" {
				return r.store.Untag(ctx, r.Tag)
			}
			return r.store.Tag(ctx, desc, r.Tag)
		}
		return err
	}
	return errPrecondition
}

// sameType reports a manifest that is stored, but under another media type than
// desc has.
func sameType(ctx context.Context, store oras.Store, desc oras.Descriptor) error {
	d, err := oras.ParseDigest(desc.Digest)
	if err != nil {
		return err
	}
	var stored oras.Descriptor
	err = look(ctx, store, d, func() (err error) {
		stored, err = store.Resolve(ctx, d.String())
		return err
	})
	if err == nil && stored.MediaType != desc.MediaType {
		err = fmt.Errorf("%w: %s is here as %s, and does not say itself that it is %s", errManifest, d, stored.MediaType, desc.MediaType)
	}
	return err
}

// untag removes the tag of r, if what it names is as r demands.
func (s *server) untag(r *request) error {
	ctx := r.http.Context()
	defer s.lockTags(r, r.Tag)()
	conditions := wire.ParseConditions(r.http.Header)
	if !conditions.Any() {
		return r.store.Untag(ctx, r.Tag)
	}
	now, err := r.now()
	switch {
	case err != nil:
		return err
	case now.Digest == "": // RFC 9110, section 13.2.1: what would fail anyway fails as it would
		return fmt.Errorf("%s: %w", r.Tag, oras.ErrNotFound)
	case !conditions.Hold(digestOf(now)):
		return errPrecondition
	}
	return s.retag(r, conditions, now, oras.Descriptor{})
}

func (s *server) deleteManifest(w http.ResponseWriter, r *request) error {
	if r.Tag != "" {
		if err := s.untag(r); err != nil {
			return err
		}
		return done(w, http.StatusAccepted)
	}
	desc, err := r.resolveManifest()
	if err != nil {
		return err
	}
	if !wire.ParseConditions(r.http.Header).Hold(r.Digest) {
		return errPrecondition
	}
	return r.delete(w, desc)
}
