package bucket

import (
	"context"
	"errors"
	"fmt"
	"reflect"

	"github.com/c73062ad/oras"
)

// tags checks that what tags name is there, and can be found from there.
func (c *checker) tags(ctx context.Context, s *Store) error {
	return c.each(ctx, s.tagKey(""), func(key string) error {
		tag := key[len(s.tagKey("")):]
		if oras.CheckTag(tag) != nil {
			c.strange(s, key)
			return nil
		}
		c.done.Tags++
		return c.tag(ctx, s, tag)
	})
}

func (c *checker) tag(ctx context.Context, s *Store, tag string) error {
	name := "tag " + tag
	desc, err := s.resolveTag(ctx, tag)
	switch {
	case errors.Is(err, oras.ErrNotFound):
		return nil // it was deleted meanwhile
	case errors.Is(err, errFact):
		return c.unreadable(ctx, s, tag)
	case err != nil:
		return err
	}
	d, err := oras.ParseDigest(desc.Digest)
	if err != nil {
		return err
	}
	lost := Problem{s.name, name, fmt.Sprintf("names %s, which is not there, so it cannot be pulled; push that again, or delete the tag", d), false}
	known, err := s.manifest(ctx, d)
	switch {
	case errors.Is(err, errFact):
		return nil // was told of
	case errors.Is(err, oras.ErrNotFound):
		if now, err := s.named(ctx, tag); err != nil || now.Digest != desc.Digest {
			return err // it was moved or deleted meanwhile
		}
		if err := c.asManifest(ctx, s, d, desc, lost); err != nil || !c.opts.Repair {
			return err
		}
		if known, err = s.manifest(ctx, d); errors.Is(err, oras.ErrNotFound) {
			return nil
		}
	}
	if err != nil {
		return err
	}
	tagged, err := c.there(ctx, s.taggedKey(d, tag))
	if err != nil || tagged && reflect.DeepEqual(desc, known.Descriptor) {
		return err
	}
	if now, err := s.named(ctx, tag); err != nil || now.Digest != desc.Digest {
		return err // it was moved or deleted meanwhile
	}
	p := Problem{s.name, name, "is not known to " + d.String() + ", so it would outlive it", false}
	todo := []Object{{Key: s.taggedKey(d, tag), From: s.manifestKey(d)}}
	if tagged {
		p.Text = "describes " + d.String() + " wrongly, so it is served wrongly"
		todo[0].Key = s.tagKey(tag)
	}
	return c.repair(p, "tagged anew", withRepair, func() error { return putAll(ctx, c.bucket, todo) })
}

// unreadable mends a tag that does not say what it names, if only one manifest may
// have it.
func (c *checker) unreadable(ctx context.Context, s *Store, tag string) error {
	p := Problem{s.name, "tag " + tag, "does not say what it names, so it cannot be pulled", false}
	var candidates []oras.Digest
	prefix := s.name + "/_tagged/"
	err := c.each(ctx, prefix, func(key string) error {
		d, t := parseTaggedKey(key, prefix)
		if d.IsZero() || t != tag {
			return nil
		}
		there, err := c.there(ctx, s.manifestKey(d))
		if there {
			candidates = append(candidates, d)
		}
		return err
	})
	if err != nil {
		return err
	}
	if len(candidates) != 1 {
		p.Text += "; push it again, or delete it"
		c.wrong(p)
		return nil
	}
	return c.repair(p, fmt.Sprintf("lets it name %s, as it did", candidates[0]), withRepair, func() error {
		return putAll(ctx, c.bucket, []Object{{Key: s.tagKey(tag), From: s.manifestKey(candidates[0])}})
	})
}
