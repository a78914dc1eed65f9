package remote

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"

	"github.com/c73062ad/oras"
	"github.com/c73062ad/oras/internal/wire"
)

// inMemoryBlob is the size in bytes up to which a blob is read, and so verified,
// before the registry is asked for anything.
const inMemoryBlob = 64 << 10

// created are the statuses of a push that did what it should; registries older
// than the specification have others than 201.
var created = []int{http.StatusCreated, http.StatusOK, http.StatusAccepted, http.StatusNoContent}

// Push implements [oras.Target]. A blob is one PUT if content is an [io.Seeker],
// which is rewound when a request must be repeated, or at most
// [oras.MaxManifestSize] bytes, which are then held in memory; else it goes in
// chunks that are. Nobody reads content once Push returned, which waits for a Read
// under way. After an error the registry is told to forget what it received.
func (r *Repository) Push(ctx context.Context, expected oras.Descriptor, content io.Reader) error {
	if !oras.IsManifest(expected.MediaType) {
		return r.pushBlob(ctx, expected, content)
	}
	m, data, err := readManifest(expected, content)
	if err != nil {
		return err
	}
	return r.pushManifest(ctx, expected, m, data, "")
}

// PushReference is Push and Tag of a manifest with one request; see
// [oras.PushTagged].
func (r *Repository) PushReference(ctx context.Context, expected oras.Descriptor, content io.Reader, reference string) error {
	if err := oras.CheckTag(reference); err != nil {
		return err
	}
	m, data, err := readManifest(expected, content)
	if err != nil {
		return err
	}
	return r.pushManifest(ctx, expected, m, data, reference)
}

// Tag implements [oras.Target]: it gets the manifest and puts it under the tag.
func (r *Repository) Tag(ctx context.Context, desc oras.Descriptor, reference string) error {
	if err := oras.CheckTag(reference); err != nil {
		return err
	}
	d, err := oras.ParseDigest(desc.Digest)
	if err != nil {
		return err
	}
	accept := ""
	if oras.IsManifest(desc.MediaType) {
		accept = desc.MediaType
	}
	found, data, err := r.manifest(ctx, wire.Request{Route: wire.Manifest, Repository: r.name, Digest: d}, accept)
	if err != nil {
		return err
	}
	_, err = r.putManifest(ctx, d, found.MediaType, data, reference)
	return err
}

func readManifest(expected oras.Descriptor, content io.Reader) (*oras.Manifest, []byte, error) {
	data, err := oras.ReadAll(content, expected)
	if err != nil {
		return nil, nil, err
	}
	m, err := oras.ParseManifest(expected.MediaType, data)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: %w", expected.Digest, err)
	}
	return m, data, nil
}

// pushManifest puts the manifest, under a tag if there is one, and sees to it that
// its subject knows.
func (r *Repository) pushManifest(ctx context.Context, desc oras.Descriptor, m *oras.Manifest, data []byte, tag string) error {
	d, err := oras.ParseDigest(desc.Digest)
	if err != nil {
		return err
	}
	h, err := r.putManifest(ctx, d, desc.MediaType, data, tag)
	if err != nil || m.Subject == nil {
		return err
	}
	if r.registry.mode != ReferrersTag && h.Get(wire.HeaderSubject) != "" {
		r.api.Store(apiThere)
		return nil
	}
	return r.addReferrer(ctx, *m.Subject, oras.Descriptor{
		MediaType:    desc.MediaType,
		Digest:       desc.Digest,
		Size:         desc.Size,
		ArtifactType: m.Type(),
		Annotations:  m.Annotations,
	})
}

// putManifest puts data under its digest or, in one request, under a tag. Under a
// tag alone the registry would compute the digest by SHA-256; where that is not
// the manifest's, the request names both (spec-main, end-7b).
func (r *Repository) putManifest(ctx context.Context, d oras.Digest, mediaType string, data []byte, tag string) (http.Header, error) {
	req := wire.Request{Route: wire.Manifest, Repository: r.name, Digest: d}
	if tag != "" {
		if d.Algorithm() != oras.SHA256 {
			req.Tags = []string{tag}
		} else {
			req.Tag = tag
		}
	}
	h, err := r.put(ctx, req, nil, mediaType, data)
	if err == nil && len(req.Tags) > 0 && !hasTag(h, tag) {
		req.Tags, req.Tag = nil, tag
		_, err = r.put(ctx, req, nil, mediaType, data)
	}
	return h, err
}

// hasTag reports whether the registry says that it set the tag.
func hasTag(h http.Header, tag string) bool {
	for _, line := range h.Values(wire.HeaderTag) {
		for t := range strings.SplitSeq(line, ",") {
			if strings.TrimSpace(t) == tag {
				return true
			}
		}
	}
	return false
}

// put is one PUT of a manifest.
func (r *Repository) put(ctx context.Context, req wire.Request, header http.Header, mediaType string, data []byte) (http.Header, error) {
	if header == nil {
		header = http.Header{}
	}
	header.Set("Content-Type", mediaType)
	resp, err := r.registry.client.do(ctx, call{
		method: http.MethodPut,
		url:    r.registry.client.url(req),
		header: header,
		body:   newBody(bytes.NewReader(data), int64(len(data))),
		want:   created,
	})
	if err != nil {
		return nil, err
	}
	drain(resp)
	return resp.Header, checkDigest(resp.Header, req.Digest)
}

// pushBlob begins an upload and fills it.
func (r *Repository) pushBlob(ctx context.Context, expected oras.Descriptor, content io.Reader) error {
	d, err := oras.ParseDigest(expected.Digest)
	if err != nil {
		return err
	}
	content = oras.NewVerifier(content, expected)
	whole, err := sendable(content, expected)
	if err != nil {
		return err
	}
	req := wire.Request{Route: wire.Uploads, Repository: r.name}
	if whole == nil && d.Algorithm() != oras.SHA256 {
		req.Algorithm = d.Algorithm()
	}
	u, _, err := r.begin(ctx, req, http.StatusAccepted)
	if err != nil {
		return err
	}
	return u.finish(ctx, d, whole, content)
}

// sendable returns content as one body, or nil if it can only go in chunks:
// whatever is sent must be at hand to be sent again.
func sendable(content io.Reader, desc oras.Descriptor) (*body, error) {
	seeker, rewinds := content.(io.Seeker)
	if rewinds { // a pipe is a Seeker that cannot
		_, err := seeker.Seek(0, io.SeekStart)
		rewinds = err == nil
	}
	switch {
	case desc.Size <= inMemoryBlob, !rewinds && desc.Size <= oras.MaxManifestSize:
		data, err := oras.ReadAll(content, desc)
		if err != nil {
			return nil, err
		}
		return newBody(bytes.NewReader(data), desc.Size), nil
	case rewinds:
		return newBody(content, desc.Size), nil
	}
	return nil, nil
}

// Mount makes a blob of the repository fromRepo appear in this one; see
// [oras.Mount]. Without fromRepo the registry chooses where from.
func (r *Repository) Mount(ctx context.Context, desc oras.Descriptor, fromRepo string, getContent func() (io.ReadCloser, error)) error {
	d, err := oras.ParseDigest(desc.Digest)
	if err != nil {
		return err
	}
	if fromRepo != "" {
		if err := oras.CheckRepository(fromRepo); err != nil {
			return err
		}
	}
	req := wire.Request{Route: wire.Uploads, Repository: r.name, Mount: d, From: fromRepo}
	u, h, err := r.begin(ctx, req, http.StatusAccepted, http.StatusCreated)
	switch {
	case err == nil && u == nil:
		return checkDigest(h, d)
	case getContent == nil:
		return r.notMounted(ctx, u, err, desc, fromRepo)
	case errors.Is(err, oras.ErrDenied), errors.Is(err, oras.ErrUnauthorized), errors.Is(err, oras.ErrNotFound):
		// Perhaps not of this repository, but of the other.
	case err != nil:
		return err
	}
	content, err := getContent()
	if err != nil {
		u.cancel(ctx)
		return err
	}
	defer content.Close()
	if u == nil {
		return r.pushBlob(ctx, desc, content)
	}
	verified := oras.NewVerifier(content, desc)
	whole, err := sendable(verified, desc)
	if err != nil {
		u.cancel(ctx)
		return err
	}
	return u.finish(ctx, d, whole, verified)
}

// notMounted says why, when there is no other way to get the content.
func (r *Repository) notMounted(ctx context.Context, u *upload, err error, desc oras.Descriptor, fromRepo string) error {
	if err != nil {
		return err
	}
	u.cancel(ctx)
	if fromRepo != "" {
		from := &Repository{registry: r.registry, name: fromRepo}
		exists, err := from.Exists(ctx, oras.Descriptor{MediaType: oras.MediaTypeBlob, Digest: desc.Digest})
		if err == nil && !exists {
			return fmt.Errorf("%s@%s: %w", from, desc.Digest, oras.ErrNotFound)
		}
	}
	return fmt.Errorf("mounting %s: the registry does not: %w", desc.Digest, oras.ErrUnsupported)
}
