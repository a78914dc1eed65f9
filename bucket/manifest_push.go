package bucket

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/c73062ad/oras"
)

// PushReference is the optional method of [oras.PushTagged].
func (s *Store) PushReference(ctx context.Context, expected oras.Descriptor, content io.Reader, reference string) error {
	return s.PushReferences(ctx, expected, content, []string{reference})
}

// PushReferences is the optional method of [oras.PushTagged] for several tags. They
// cost hardly more than one.
func (s *Store) PushReferences(ctx context.Context, expected oras.Descriptor, content io.Reader, references []string) error {
	for _, reference := range references {
		if err := oras.CheckTag(reference); err != nil {
			return err
		}
	}
	return s.pushManifest(ctx, expected, content, references)
}

// A manifestPush is a manifest on its way in.
type manifestPush struct {
	*Store
	digest oras.Digest
	desc   oras.Descriptor
	data   []byte
	parsed *oras.Manifest
	tags   []string
}

// pushManifest stores a manifest, and lets tags name it.
func (s *Store) pushManifest(ctx context.Context, expected oras.Descriptor, content io.Reader, tags []string) error {
	d, err := oras.ParseDigest(expected.Digest)
	if err != nil {
		return err
	}
	data, err := oras.ReadAll(content, expected)
	if err != nil {
		return err
	}
	parsed, err := oras.ParseManifest(expected.MediaType, data)
	if err != nil {
		return fmt.Errorf("%s: %w", d, err)
	}
	done, err := s.registry.locks.share(ctx, s.manifestKey(d))
	if err != nil {
		return err
	}
	defer done()
	unlock, err := s.lockTags(ctx, tags)
	if err != nil {
		return err
	}
	defer unlock()
	if err := s.registry.mark(ctx, s.name); err != nil {
		return err
	}
	p := &manifestPush{
		Store:  s,
		digest: d,
		desc:   oras.Descriptor{MediaType: expected.MediaType, Digest: d.OCI(), Size: expected.Size},
		data:   data,
		parsed: parsed,
		tags:   tags,
	}
	return s.registry.untilWhole(ctx, d, p.once)
}

const mostTries = 10

// untilWhole calls once until all it named is there afterwards, and was named in
// time: what once relied on may be deleted by other processes meanwhile, or by a
// collection if it was young too long ago.
func (r *Registry) untilWhole(ctx context.Context, d oras.Digest, once func(context.Context) (whole bool, err error)) error {
	for range mostTries {
		begin := time.Now()
		whole, err := once(ctx)
		if err != nil || whole && time.Since(begin) < r.ages.push {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	return fmt.Errorf("%s: others delete it each time it is stored, or storing it takes longer than %v", d, r.ages.push)
}

// once puts what is not there, and reports whether all is there then.
func (p *manifestPush) once(ctx context.Context) (bool, error) {
	content, err := p.rely(ctx, p.parsed)
	if err != nil {
		return false, err
	}
	objects, err := p.objects(ctx)
	if err != nil {
		return false, err
	}
	for i := range objects {
		if objects[i].Seen, err = p.has(ctx, objects[i]); err != nil {
			return false, err
		}
	}
	last := len(objects) - 1
	content = append(content, objects[:last]...)
	tagged, tags, err := p.tagObjects(ctx, p.digest, p.tags)
	if err != nil {
		return false, err
	}
	err = putAll(ctx, p.bucket, content, append(objects[last:len(objects):len(objects)], tagged...), tags)
	if errors.Is(err, oras.ErrNotFound) {
		return false, nil // what was seen
	}
	if err != nil {
		return false, err
	}
	for _, o := range objects {
		if there, err := p.has(ctx, o); err != nil || !there {
			return false, err
		}
	}
	return true, nil
}

// objects returns what a manifest is: its content, that it refers to its subject if
// it has one, and last what is known of it. The media type under which it was stored
// first stays.
func (p *manifestPush) objects(ctx context.Context) ([]Object, error) {
	known, err := p.manifest(ctx, p.digest)
	if err != nil {
		if !errors.Is(err, oras.ErrNotFound) && !errors.Is(err, errFact) {
			return nil, err
		}
		known.Descriptor = p.desc
	}
	referrer, manifest, err := p.facts(p.digest, known.Descriptor, p.parsed)
	if err != nil {
		return nil, err
	}
	objects := []Object{p.blob(p.digest, bytes.NewReader(p.data), int64(len(p.data)))}
	return append(append(objects, referrer...), manifest), nil
}

// facts returns what is kept of the manifest d, described by desc, beside its
// content: that it is a referrer, if it is one, and what is known of it.
func (s *Store) facts(d oras.Digest, desc oras.Descriptor, parsed *oras.Manifest) (referrer []Object, manifestFact Object, err error) {
	m := manifest{Descriptor: desc}
	if parsed.Subject != nil {
		// A subject by an algorithm that is not implemented is nobody's to ask for.
		if subject, err := oras.ParseDigest(parsed.Subject.Digest); err == nil {
			m.Subject = subject.String()
			desc.ArtifactType, desc.Annotations = parsed.Type(), parsed.Annotations
			o, err := fact(s.referrerKey(subject, d), desc)
			if err != nil {
				return nil, o, err
			}
			referrer = []Object{o}
		}
	}
	manifestFact, err = fact(s.manifestKey(d), m)
	return referrer, manifestFact, err
}

// has reports whether the object o is there, as large as it must be, and renews it.
func (s *Store) has(ctx context.Context, o Object) (bool, error) {
	size, err := s.registry.renew(ctx, o.Key)
	if errors.Is(err, oras.ErrNotFound) {
		return false, nil
	}
	return err == nil && (size == o.Size || o.From != "" || o.Seen), err
}
