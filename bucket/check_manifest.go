package bucket

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"

	"github.com/c73062ad/oras"
)

// manifests checks that what is known of manifests is what they say, and that what
// they refer to is there.
func (c *checker) manifests(ctx context.Context, s *Store) error {
	prefix := s.name + "/_manifests/"
	return c.each(ctx, prefix, func(key string) error {
		d := unslashed(key, prefix)
		if d.IsZero() {
			c.strange(s, key)
			return nil
		}
		c.done.Manifests++
		return c.manifest(ctx, s, d)
	})
}

func (c *checker) manifest(ctx context.Context, s *Store, d oras.Digest) error {
	name := "manifest " + d.String()
	known, err := s.manifest(ctx, d)
	if errors.Is(err, oras.ErrNotFound) {
		return nil // it was deleted meanwhile
	}
	if err != nil && !errors.Is(err, errFact) {
		return err
	}
	data, ok, err := c.content(ctx, s, d)
	if err != nil || !ok {
		return err
	}
	desc := oras.Descriptor{MediaType: known.MediaType, Digest: d.OCI(), Size: int64(len(data))}
	parsed, err := oras.ParseManifest(desc.MediaType, data)
	if err != nil {
		desc.MediaType = mediaTypeOf(data)
		parsed, err = oras.ParseManifest(desc.MediaType, data)
	}
	if err != nil {
		c.wrong(Problem{s.name, name, fmt.Sprintf("is none, so it cannot be used: %v; delete it", err), false})
		return nil
	}
	referrer, fact, err := s.facts(d, desc, parsed)
	if err != nil {
		return err
	}
	if err := c.facts(ctx, s, name, known, referrer, fact); err != nil {
		return err
	}
	if c.opts.Sparse != nil && c.opts.Sparse(s.name) {
		return nil
	}
	return c.children(ctx, s, d, parsed)
}

// content returns the bytes of the manifest d, and whether it has any that are
// whole. Those that are damaged were told of as a blob.
func (c *checker) content(ctx context.Context, s *Store, d oras.Digest) ([]byte, bool, error) {
	data, ok, err := c.read(ctx, s, d)
	if !errors.Is(err, oras.ErrNotFound) {
		return data, ok, err
	}
	if there, err := c.there(ctx, s.manifestKey(d)); err != nil || !there {
		return nil, false, err // it was deleted meanwhile
	}
	p := Problem{s.name, "manifest " + d.String(), "has no content, so it cannot be pulled", false}
	from := ""
	if c.opts.Repair { // it was here once, so it may be here again
		if from, err = c.elsewhere(ctx, d, s.blobKey(d)); err != nil {
			return nil, false, err
		}
	}
	if from == "" {
		p.Text += "; push it again, or delete it"
		c.wrong(p)
		return nil, false, nil
	}
	err = c.repair(p, "restored from "+from, "", func() error {
		return putAll(ctx, c.bucket, []Object{{Key: s.blobKey(d), From: from}})
	})
	if err != nil {
		return nil, false, err
	}
	return c.read(ctx, s, d)
}

// read returns the content d, if it is whole and no larger than a manifest may be.
func (c *checker) read(ctx context.Context, s *Store, d oras.Digest) ([]byte, bool, error) {
	content, err := c.bucket.Get(ctx, s.blobKey(d))
	if err != nil {
		return nil, false, err
	}
	defer content.Close()
	data, err := io.ReadAll(io.LimitReader(content, oras.MaxManifestSize+1))
	if err != nil {
		return nil, false, nil
	}
	return data, d.Algorithm().Digest(data) == d, nil
}

// mediaTypeOf returns the media type that a manifest says it has, or is of by its
// members.
func mediaTypeOf(data []byte) string {
	var document struct {
		MediaType string            `json:"mediaType"`
		Manifests []json.RawMessage `json:"manifests"`
	}
	switch err := json.Unmarshal(data, &document); {
	case err == nil && document.MediaType != "":
		return document.MediaType
	case err == nil && document.Manifests != nil:
		return oras.MediaTypeImageIndex
	}
	return oras.MediaTypeImageManifest
}

// facts checks what is kept of a manifest beside its content, where known is what
// it says.
func (c *checker) facts(ctx context.Context, s *Store, name string, known manifest, referrer []Object, fact Object) error {
	var right manifest
	if err := decode(fact, &right); err != nil {
		return err
	}
	if !reflect.DeepEqual(known, right) {
		return c.repair(Problem{s.name, name, "is described wrongly, so it is served wrongly", false}, "described anew", withRepair, func() error {
			return putAll(ctx, c.bucket, referrer, []Object{fact})
		})
	}
	for _, o := range referrer {
		var there, should oras.Descriptor
		if err := decode(o, &should); err != nil {
			return err
		}
		_, err := readFact(ctx, c.bucket, o.Key, &there)
		if err == nil && reflect.DeepEqual(there, should) {
			continue
		}
		if err != nil && !errors.Is(err, oras.ErrNotFound) && !errors.Is(err, errFact) {
			return err
		}
		if still, err := c.there(ctx, fact.Key); err != nil || !still {
			return err // it was deleted meanwhile
		}
		err = c.repair(Problem{s.name, name, "is not among the referrers of its subject as it should be", false}, "added", withRepair, func() error {
			return putAll(ctx, c.bucket, []Object{o})
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// decode decodes what o is to be, without using it up.
func decode(o Object, v any) error {
	data := o.Content.(*bytes.Reader)
	defer data.Seek(0, io.SeekStart)
	return json.NewDecoder(data).Decode(v)
}

// children checks that what the manifest d refers to is there.
func (c *checker) children(ctx context.Context, s *Store, d oras.Digest, parsed *oras.Manifest) error {
	for _, child := range parsed.Children() {
		if parsed.Subject != nil && child.Digest == parsed.Subject.Digest || elsewhere(child) {
			continue // may be absent
		}
		if err := c.child(ctx, s, d, child); err != nil {
			return err
		}
	}
	return nil
}

func (c *checker) child(ctx context.Context, s *Store, parent oras.Digest, child oras.Descriptor) error {
	p := Problem{s.name, "manifest " + parent.String(), fmt.Sprintf("refers to %s, which is not there, so it cannot be pulled as a whole; push it again", child.Digest), false}
	d, err := oras.ParseDigest(child.Digest)
	if err != nil {
		p.Text = fmt.Sprintf("refers to %q, which nobody can ask for; delete it", child.Digest)
		c.wrong(p)
		return nil
	}
	there, err := c.there(ctx, s.blobKey(d))
	if err == nil && there && oras.IsManifest(child.MediaType) {
		return c.asManifest(ctx, s, d, child, p)
	}
	if err != nil || there {
		return err
	}
	if still, err := c.there(ctx, s.manifestKey(parent)); err != nil || !still {
		return err // it was deleted meanwhile
	}
	c.wrong(p)
	return nil
}

// asManifest checks that the content desc, which is there, is a manifest; for want of
// one, p is wrong.
func (c *checker) asManifest(ctx context.Context, s *Store, d oras.Digest, desc oras.Descriptor, p Problem) error {
	there, err := c.there(ctx, s.manifestKey(d))
	if err != nil || there {
		return err
	}
	data, ok, err := c.read(ctx, s, d)
	if errors.Is(err, oras.ErrNotFound) {
		ok, err = false, nil
	}
	if err != nil {
		return err
	}
	desc = oras.Descriptor{MediaType: desc.MediaType, Digest: d.OCI(), Size: int64(len(data))}
	if ok {
		_, err := oras.ParseManifest(desc.MediaType, data)
		ok = err == nil
	}
	if !ok {
		c.wrong(p)
		return nil
	}
	p.Name, p.Text = "manifest "+d.String(), "is there only as a blob, so it cannot be pulled"
	return c.repair(p, "made a manifest again", withRepair, func() error {
		return s.pushManifest(ctx, desc, bytes.NewReader(data), nil)
	})
}

// referrers checks that who is listed as a referrer of something is one. Those of
// which the manifest is not there do not count.
func (c *checker) referrers(ctx context.Context, s *Store) error {
	prefix := s.name + "/_referrers/"
	return c.each(ctx, prefix, func(key string) error {
		subject, d := parseReferrerKey(key, prefix)
		if subject.IsZero() || d.IsZero() {
			c.strange(s, key)
			return nil
		}
		m, err := s.manifest(ctx, d)
		switch {
		case errors.Is(err, oras.ErrNotFound), errors.Is(err, errFact), err == nil && m.Subject == subject.String():
			return nil
		case err != nil:
			return err
		}
		return c.repair(Problem{s.name, "manifest " + d.String(), fmt.Sprintf("is listed as a referrer of %s, and is none", subject), false},
			"removed from the list", withRepair, func() error { return remove(ctx, c.bucket, key) })
	})
}

// elsewhere reports whether desc is of a layer that need not be in any registry
// (image-spec, layer.md, "Non-Distributable Layers"; docker's foreign layers).
func elsewhere(desc oras.Descriptor) bool {
	return len(desc.URLs) > 0 || strings.Contains(desc.MediaType, ".nondistributable.") || strings.Contains(desc.MediaType, ".foreign.")
}
