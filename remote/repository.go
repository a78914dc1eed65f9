package remote

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/c73062ad/oras"
	"github.com/c73062ad/oras/internal/wire"
)

// A Repository is a repository of a [Registry]: an oras.Store with the optional
// methods of the functions in package oras. Get one from [Open] or
// [Registry.Repository]. It is safe for concurrent use.
type Repository struct {
	registry *Registry
	name     string
	api      atomic.Int32 // whether there is a referrers API: apiUnknown, apiThere, apiAbsent
}

var _ oras.Store = (*Repository)(nil)

// String returns the repository's name with the registry's before it.
func (r *Repository) String() string { return r.registry.host + "/" + r.name }

// request returns what reference, a tag or a digest of a manifest, means.
func (r *Repository) request(reference string) (req wire.Request, err error) {
	req = wire.Request{Route: wire.Manifest, Repository: r.name}
	if !strings.Contains(reference, ":") {
		req.Tag = reference
		return req, oras.CheckTag(reference)
	}
	if req.Digest, err = oras.ParseDigest(reference); err != nil {
		return req, fmt.Errorf("%w: %w", oras.ErrReference, err)
	}
	return req, nil
}

// places returns where target can be, likeliest first.
func (r *Repository) places(target oras.Descriptor) ([]wire.Request, error) {
	d, err := oras.ParseDigest(target.Digest)
	if err != nil {
		return nil, err
	}
	blob := wire.Request{Route: wire.Blob, Repository: r.name, Digest: d}
	manifest := wire.Request{Route: wire.Manifest, Repository: r.name, Digest: d}
	switch {
	case oras.IsManifest(target.MediaType):
		return []wire.Request{manifest}, nil
	case target.MediaType == "":
		return []wire.Request{blob, manifest}, nil
	}
	return []wire.Request{blob}, nil
}

// reference returns what req is about, as users write it.
func (r *Repository) reference(req wire.Request) string {
	if req.Tag != "" {
		return r.String() + ":" + req.Tag
	}
	return r.String() + "@" + req.Digest.String()
}

// call sends a request about one piece of content. If that is not there the
// error says so in the user's words.
func (r *Repository) call(ctx context.Context, method string, req wire.Request, header http.Header, want ...int) (*http.Response, error) {
	resp, err := r.registry.client.do(ctx, call{method: method, url: r.registry.client.url(req), header: header, want: want})
	return resp, r.absent(req, err)
}

func (r *Repository) absent(req wire.Request, err error) error {
	if errors.Is(err, oras.ErrNotFound) {
		return &absent{r.reference(req), err}
	}
	return err
}

// Fetch implements [oras.Fetcher]. Content without a media type is looked for
// among the blobs, then among the manifests. The reader is an
// [io.ReadSeekCloser]. Manifests are read, up to [oras.MaxManifestSize], and
// verified before Fetch returns. A blob comes as it is read; when the connection
// breaks the reader asks for the rest, until that failed several times in a row
// or ctx is over.
func (r *Repository) Fetch(ctx context.Context, target oras.Descriptor) (io.ReadCloser, error) {
	places, err := r.places(target)
	if err != nil {
		return nil, err
	}
	for i, place := range places {
		var content io.ReadCloser
		if place.Route == wire.Blob {
			content, err = r.openBlob(ctx, place, target.Size)
		} else {
			content, err = r.openManifest(ctx, place, target.MediaType)
		}
		if err == nil {
			return content, nil
		}
		if i == len(places)-1 || !errors.Is(err, oras.ErrNotFound) {
			break
		}
	}
	return nil, err
}

func (r *Repository) openManifest(ctx context.Context, req wire.Request, mediaType string) (io.ReadCloser, error) {
	_, data, err := r.manifest(ctx, req, mediaType)
	if err != nil {
		return nil, err
	}
	return inMemory{bytes.NewReader(data)}, nil
}

type inMemory struct{ *bytes.Reader }

func (inMemory) Close() error { return nil }

// openBlob opens the blob of the given size; one of 0 is not known, for who has
// but a digest.
func (r *Repository) openBlob(ctx context.Context, req wire.Request, size int64) (*reader, error) {
	if size <= 0 {
		size = -1
	}
	blob, err := newReader(ctx, r.reference(req), size, r.registry.budget, func(ctx context.Context, first, last int64) (*http.Response, error) {
		header, want := http.Header{}, []int{http.StatusOK}
		if first > 0 || last >= 0 {
			text := fmt.Sprintf("bytes=%d-", first)
			if last >= 0 {
				text += strconv.FormatInt(last, 10)
			}
			header.Set("Range", text)
			want = append(want, http.StatusPartialContent)
		}
		resp, err := r.call(ctx, http.MethodGet, req, header, want...)
		if err != nil {
			return nil, err
		}
		if err := checkDigest(resp.Header, req.Digest); err != nil {
			resp.Body.Close()
			return nil, fmt.Errorf("%s: %w", r.reference(req), err)
		}
		return resp, nil
	})
	if err != nil {
		return nil, err
	}
	return blob, nil
}

// checkDigest reports a registry that answers with other content than that asked
// for. A digest of another algorithm says nothing: registries exist that know
// content under one name only.
func checkDigest(h http.Header, want oras.Digest) error {
	text := h.Get(wire.HeaderDigest)
	if text == "" {
		return nil
	}
	got, err := oras.ParseDigest(text)
	if err != nil {
		return fmt.Errorf("%s: %w", wire.HeaderDigest, err)
	}
	if got != want && got.Algorithm() == want.Algorithm() {
		return fmt.Errorf("%w: the registry answered with %s", oras.ErrInvalid, got)
	}
	return nil
}

// manifest gets the manifest that req names, verified: against the digest asked
// for, and the one the registry says it has.
func (r *Repository) manifest(ctx context.Context, req wire.Request, accept string) (oras.Descriptor, []byte, error) {
	if accept == "" {
		accept = r.registry.accept
	}
	c := r.registry.client
	resp, data, err := c.read(ctx, call{
		method: http.MethodGet,
		url:    c.url(req),
		header: http.Header{"Accept": {accept}},
		want:   []int{http.StatusOK},
	}, oras.MaxManifestSize)
	if err != nil {
		return oras.Descriptor{}, nil, r.absent(req, err)
	}
	d, err := digestOf(data, req.Digest, resp.Header.Get(wire.HeaderDigest))
	if err != nil {
		return oras.Descriptor{}, nil, fmt.Errorf("%s: %w", r.reference(req), err)
	}
	mediaType := mediaType(resp.Header)
	if generic(mediaType) {
		var document struct{ MediaType string }
		if json.Unmarshal(data, &document) == nil && document.MediaType != "" {
			mediaType = document.MediaType
		}
	}
	return oras.Descriptor{MediaType: mediaType, Digest: d.OCI(), Size: int64(len(data))}, data, nil
}

// digestOf returns the digest of data, which must be the one asked for and the one
// said, if there are such.
func digestOf(data []byte, asked oras.Digest, said string) (oras.Digest, error) {
	d := asked
	digests := []oras.Digest{asked}
	if said != "" {
		s, err := oras.ParseDigest(said)
		if err != nil {
			return d, fmt.Errorf("%s: %w", wire.HeaderDigest, err)
		}
		digests = append(digests, s)
		if d.IsZero() {
			d = s
		}
	}
	for _, want := range digests {
		if want.IsZero() {
			continue
		}
		if got := want.Algorithm().Digest(data); got != want {
			return d, fmt.Errorf("%w: its digest is %s, not %s", oras.ErrInvalid, got, want)
		}
	}
	if d.IsZero() {
		d = oras.SHA256.Digest(data)
	}
	return d, nil
}

// mediaType returns the Content-Type without parameters, empty if there is none.
func mediaType(h http.Header) string {
	t, _, err := mime.ParseMediaType(h.Get("Content-Type"))
	if err != nil {
		return ""
	}
	return t
}

// generic reports whether a media type says too little about a manifest.
func generic(mediaType string) bool {
	switch mediaType {
	case "", "application/json", "text/plain", oras.MediaTypeBlob:
		return true
	}
	return false
}

// Exists implements [oras.Source]. It looks where Fetch does.
func (r *Repository) Exists(ctx context.Context, target oras.Descriptor) (bool, error) {
	places, err := r.places(target)
	if err != nil {
		return false, err
	}
	for _, place := range places {
		_, err := r.head(ctx, place)
		if err == nil {
			return true, nil
		}
		if !errors.Is(err, oras.ErrNotFound) {
			return false, err
		}
	}
	return false, nil
}

// head asks for what is known of a manifest or a blob. The answer's body is
// closed.
func (r *Repository) head(ctx context.Context, req wire.Request) (*http.Response, error) {
	header := http.Header{}
	if req.Route == wire.Manifest {
		header.Set("Accept", r.registry.accept)
	}
	resp, err := r.call(ctx, http.MethodHead, req, header, http.StatusOK)
	if err != nil {
		return nil, err
	}
	resp.Body.Close()
	if !req.Digest.IsZero() {
		if err := checkDigest(resp.Header, req.Digest); err != nil {
			return nil, fmt.Errorf("%s: %w", r.reference(req), err)
		}
	}
	return resp, nil
}

// Resolve implements [oras.Source]. A digest is looked for among the manifests,
// then among the blobs. Of a tag, the digest is what the registry says; a
// registry that does not say is asked for the manifest itself.
func (r *Repository) Resolve(ctx context.Context, reference string) (oras.Descriptor, error) {
	req, err := r.request(reference)
	if err != nil {
		return oras.Descriptor{}, err
	}
	desc, err := r.resolveManifest(ctx, req)
	if !errors.Is(err, oras.ErrNotFound) || req.Digest.IsZero() {
		return desc, err
	}
	req.Route = wire.Blob
	return r.resolveBlob(ctx, req)
}

func (r *Repository) resolveManifest(ctx context.Context, req wire.Request) (oras.Descriptor, error) {
	resp, err := r.head(ctx, req)
	if err != nil {
		return oras.Descriptor{}, err
	}
	d, mediaType := req.Digest, mediaType(resp.Header)
	if d.IsZero() {
		d, err = oras.ParseDigest(resp.Header.Get(wire.HeaderDigest))
	}
	if err != nil || resp.ContentLength < 0 || generic(mediaType) {
		desc, _, err := r.manifest(ctx, req, "")
		return desc, err
	}
	return oras.Descriptor{MediaType: mediaType, Digest: d.OCI(), Size: resp.ContentLength}, nil
}

func (r *Repository) resolveBlob(ctx context.Context, req wire.Request) (oras.Descriptor, error) {
	resp, err := r.head(ctx, req)
	if err != nil {
		return oras.Descriptor{}, err
	}
	if resp.ContentLength < 0 {
		return oras.Descriptor{}, fmt.Errorf("%s: the registry does not say how large it is: %w", r.reference(req), oras.ErrUnsupported)
	}
	return blobDescriptor(resp.Header, req.Digest, resp.ContentLength), nil
}

func blobDescriptor(h http.Header, d oras.Digest, size int64) oras.Descriptor {
	desc := oras.Descriptor{MediaType: mediaType(h), Digest: d.OCI(), Size: size}
	if desc.MediaType == "" || oras.IsManifest(desc.MediaType) { // it is not where manifests are
		desc.MediaType = oras.MediaTypeBlob
	}
	return desc
}

// FetchReference is Resolve and Fetch with one request; see [oras.FetchTagged].
func (r *Repository) FetchReference(ctx context.Context, reference string) (oras.Descriptor, io.ReadCloser, error) {
	req, err := r.request(reference)
	if err != nil {
		return oras.Descriptor{}, nil, err
	}
	desc, data, err := r.manifest(ctx, req, "")
	if err == nil {
		return desc, inMemory{bytes.NewReader(data)}, nil
	}
	if !errors.Is(err, oras.ErrNotFound) || req.Digest.IsZero() {
		return oras.Descriptor{}, nil, err
	}
	req.Route = wire.Blob
	blob, err := r.openBlob(ctx, req, -1)
	if err != nil {
		return oras.Descriptor{}, nil, err
	}
	if blob.size < 0 {
		blob.Close()
		return oras.Descriptor{}, nil, fmt.Errorf("%s: the registry does not say how large it is: %w", reference, oras.ErrUnsupported)
	}
	return oras.Descriptor{MediaType: oras.MediaTypeBlob, Digest: req.Digest.OCI(), Size: blob.size}, blob, nil
}

// Tags implements [oras.Store]. Pages and their order are the registry's, which
// is byte order or one that ignores case (distribution-spec, "Listing Tags");
// tags that none can be are left out, since nothing can refer to them.
func (r *Repository) Tags(ctx context.Context, last string, fn func(tags []string) error) error {
	c := r.registry.client
	return c.names(ctx, c.url(wire.Request{Route: wire.Tags, Repository: r.name, Last: last}), "tags", oras.CheckTag, fn)
}

// Untag implements [oras.Store]. A registry that removes no tags is
// oras.ErrUnsupported (distribution-spec, "Deleting tags").
func (r *Repository) Untag(ctx context.Context, reference string) error {
	if err := oras.CheckTag(reference); err != nil {
		return err
	}
	err := r.remove(ctx, wire.Request{Route: wire.Manifest, Repository: r.name, Tag: reference})
	var answer *Error
	if errors.As(err, &answer) && answer.StatusCode == http.StatusBadRequest { // not a digest, older registries say
		return fmt.Errorf("%w: %w", oras.ErrUnsupported, err)
	}
	return err
}

// deleted are the statuses of a deletion.
var deleted = []int{http.StatusAccepted, http.StatusOK, http.StatusNoContent}

func (r *Repository) remove(ctx context.Context, req wire.Request) error {
	resp, err := r.call(ctx, http.MethodDelete, req, nil, deleted...)
	if err != nil {
		return err
	}
	drain(resp)
	return nil
}

// Delete implements [oras.Store]. Content without a media type is looked for
// among the manifests, then among the blobs. A manifest that has a subject is
// removed from the list of its referrers too, where the registry does not keep
// that itself. A registry that deletes nothing is oras.ErrUnsupported.
func (r *Repository) Delete(ctx context.Context, target oras.Descriptor) error {
	places, err := r.places(target)
	if err != nil {
		return err
	}
	for i := len(places) - 1; i >= 0; i-- {
		if place := places[i]; place.Route == wire.Manifest {
			err = r.deleteManifest(ctx, place, target.MediaType)
		} else {
			err = r.remove(ctx, place)
		}
		if err == nil || !errors.Is(err, oras.ErrNotFound) {
			return err
		}
	}
	return err
}
