package server

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"

	"github.com/c73062ad/oras"
	"github.com/c73062ad/oras/internal/wire"
)

// maxTags is how many tags may come with a push by digest.
const maxTags = 100

func (s *server) getManifest(w http.ResponseWriter, r *request) error {
	var desc oras.Descriptor
	var content io.ReadCloser
	err := r.look(func() (err error) {
		desc, content, err = oras.FetchTagged(r.http.Context(), r.store, r.reference())
		return err
	})
	if err != nil {
		return err
	}
	defer content.Close()
	if err := r.isManifest(desc); err != nil {
		return err
	}
	w.Header().Set("Content-Type", desc.MediaType)
	seeker, ok := content.(io.ReadSeeker)
	if !ok {
		seeker = stream(r, content, desc.Size)
	}
	return serveContent(w, r, seeker)
}

func (s *server) headManifest(w http.ResponseWriter, r *request) error {
	desc, err := r.resolveManifest()
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", desc.MediaType)
	return serveContent(w, r, stream(r, nil, desc.Size))
}

// reference returns the tag or digest that r is about.
func (r *request) reference() string {
	if r.Tag != "" {
		return r.Tag
	}
	return r.Digest.String()
}

// resolveManifest returns the manifest that r is about.
func (r *request) resolveManifest() (oras.Descriptor, error) {
	desc, err := r.resolve()
	if err != nil {
		return desc, err
	}
	return desc, r.isManifest(desc)
}

// isManifest lets r.Digest be that of desc, unless it is a blob: no blob is served
// as a manifest, whatever its bytes say.
func (r *request) isManifest(desc oras.Descriptor) (err error) {
	if !oras.IsManifest(desc.MediaType) {
		return fmt.Errorf("manifest %s: %w", r.reference(), oras.ErrNotFound)
	}
	if r.Digest, err = oras.ParseDigest(desc.Digest); err != nil {
		return fmt.Errorf("%s names %v", r.reference(), err) // the store's fault
	}
	return nil
}

func (s *server) putManifest(w http.ResponseWriter, r *request) error {
	if len(r.Tags) > maxTags {
		return errTooMany
	}
	data, err := readManifest(r)
	if err != nil {
		return err
	}
	desc := oras.Descriptor{MediaType: manifestType(r.http.Header.Get("Content-Type"), data), Size: int64(len(data))}
	digest := r.Digest.Algorithm().Digest(data) // by SHA-256 if a tag was given
	if !r.Digest.IsZero() && digest != r.Digest {
		return fmt.Errorf("%s: %w: its digest is %s", r.Digest, oras.ErrInvalid, digest)
	}
	desc.Digest = digest.OCI()
	m, err := oras.ParseManifest(desc.MediaType, data)
	if err != nil {
		return fmt.Errorf("%w: %w", errManifest, err)
	}
	if err := s.checkComplete(r, m); err != nil {
		return err
	}
	if err := s.push(r, desc, data, m.MediaType != ""); err != nil {
		return err
	}
	h := w.Header()
	if m.Subject != nil && !s.opts.DisableReferrers {
		if subject, err := oras.ParseDigest(m.Subject.Digest); err == nil {
			h.Set(wire.HeaderSubject, subject.String())
		}
	}
	for _, tag := range r.Tags {
		h.Add(wire.HeaderTag, tag)
	}
	h.Set(wire.HeaderDigest, digest.String())
	h.Set("ETag", wire.ETag(digest))
	h.Set("Location", r.place(&wire.Request{Route: wire.Manifest, Repository: r.Repository, Digest: digest}))
	return done(w, http.StatusCreated)
}

// readManifest reads the body of r, which must not be larger than a manifest may
// be. What is allocated follows what arrives.
func readManifest(r *request) ([]byte, error) {
	if r.http.ContentLength > oras.MaxManifestSize {
		return nil, errTooLarge
	}
	var b bytes.Buffer
	if _, err := b.ReadFrom(io.LimitReader(r.body, oras.MaxManifestSize+1)); err != nil {
		return nil, err
	}
	if b.Len() > oras.MaxManifestSize {
		return nil, errTooLarge
	}
	return b.Bytes(), nil
}

// manifestType returns the media type that the request says data has, or else the
// one that data says itself (image-spec, manifest.md, mediaType).
func manifestType(contentType string, data []byte) string {
	if contentType != "" {
		mediaType, _, err := mime.ParseMediaType(contentType)
		if err != nil && !errors.Is(err, mime.ErrInvalidMediaParameter) {
			return contentType // which is that of no manifest
		}
		return mediaType
	}
	var document struct {
		MediaType string `json:"mediaType"`
	}
	if json.Unmarshal(data, &document) != nil {
		return ""
	}
	return document.MediaType
}
