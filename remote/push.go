package remote

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
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

// Push implements [oras.Target]. A small blob is one request where the registry
// takes that, else two. Content that is an [io.Seeker] is rewound when it must be
// sent again; if it is large the registry is asked first what arrived, and sent the
// rest. Other content is held in memory, in chunks if it is more than
// [oras.MaxManifestSize] bytes. Nobody reads content once Push returned, which waits
// for a Read under way. After an error the registry is told to forget what it
// received.
func (r *Repository) Push(ctx context.Context, expected oras.Descriptor, content io.Reader) error {
	if !oras.IsManifest(expected.MediaType) {
		return r.pushBlob(ctx, expected, content)
	}
	m, data, err := readManifest(expected, content)
	if err != nil {
		return err
	}
	return r.pushManifest(ctx, expected, m, data)
}

// PushReference is Push and Tag of a manifest with one request; see
// [oras.PushTagged].
func (r *Repository) PushReference(ctx context.Context, expected oras.Descriptor, content io.Reader, reference string) error {
	return r.PushReferences(ctx, expected, content, []string{reference})
}

// PushReferences is PushReference with any number of tags; see [oras.PushTagged].
// Registries that set the tags which come with a push by digest (spec-main, end-7b) get
// ten with a request, others one.
func (r *Repository) PushReferences(ctx context.Context, expected oras.Descriptor, content io.Reader, references []string) error {
	for _, tag := range references {
		if err := oras.CheckTag(tag); err != nil {
			return err
		}
	}
	m, data, err := readManifest(expected, content)
	if err != nil {
		return err
	}
	return r.pushManifest(ctx, expected, m, data, references...)
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
	found, data, err := r.manifestFor(ctx, d, desc.MediaType)
	if err != nil {
		return err
	}
	_, err = r.putManifest(ctx, d, found.MediaType, data, reference)
	return err
}

// manifestFor gets the manifest d, which may be known to be of a media type.
func (r *Repository) manifestFor(ctx context.Context, d oras.Digest, mediaType string) (oras.Descriptor, []byte, error) {
	if !oras.IsManifest(mediaType) {
		mediaType = ""
	}
	return r.manifest(ctx, wire.Request{Route: wire.Manifest, Repository: r.name, Digest: d}, mediaType)
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

// pushManifest puts the manifest, under the tags if there are any, and sees to it
// that its subject knows.
func (r *Repository) pushManifest(ctx context.Context, desc oras.Descriptor, m *oras.Manifest, data []byte, tags ...string) error {
	d, err := oras.ParseDigest(desc.Digest)
	if err != nil {
		return err
	}
	h, err := r.putManifest(ctx, d, desc.MediaType, data, tags...)
	if err != nil || m.Subject == nil {
		return err
	}
	if r.registry.mode != ReferrersTag && h.Get(wire.HeaderSubject) != "" {
		r.api.Store(apiThere)
		return nil
	}
	err = r.addReferrer(ctx, *m.Subject, oras.Descriptor{
		MediaType:    desc.MediaType,
		Digest:       desc.Digest,
		Size:         desc.Size,
		ArtifactType: m.Type(),
		Annotations:  m.Annotations,
	})
	if err != nil {
		return fmt.Errorf("%s: %w: %w", desc.Digest, oras.ErrReferrers, err)
	}
	return nil
}

// tagsAtOnce is how many tags go with a push by digest: as many as registries that take
// any should take at least (spec-main, "Pushing Manifests").
const tagsAtOnce = 10

// putManifest puts data under its digest or, with the request, under tags. Under a tag
// alone the registry would compute the digest by SHA-256; where that is not the
// manifest's, the request names both (spec-main, end-7b).
func (r *Repository) putManifest(ctx context.Context, d oras.Digest, mediaType string, data []byte, tags ...string) (h http.Header, err error) {
	byDigest := wire.Request{Route: wire.Manifest, Repository: r.name, Digest: d}
	if len(tags) == 0 {
		return r.put(ctx, byDigest, nil, mediaType, data)
	}
	known := d.Algorithm() == oras.SHA256 // without being told
	for len(tags) > 0 && !(known && (len(tags) == 1 || r.registry.noTags.Load())) {
		byDigest.Tags = tags[:min(len(tags), tagsAtOnce)]
		h, err = r.put(ctx, byDigest, nil, mediaType, data)
		if tooLong(err) && known {
			break
		}
		if err != nil {
			return nil, err
		}
		left := slices.DeleteFunc(slices.Clone(tags), func(tag string) bool { return hasTag(h, tag) })
		if len(left) == len(tags) {
			r.registry.noTags.Store(true)
			break
		}
		tags = left
	}
	for _, tag := range tags {
		req := wire.Request{Route: wire.Manifest, Repository: r.name, Tag: tag, Digest: d}
		if h, err = r.put(ctx, req, nil, mediaType, data); err != nil {
			return nil, err
		}
	}
	return h, nil
}

// tooLong reports whether the registry says that there are too many tags in a request.
func tooLong(err error) bool {
	var answer *Error
	return errors.As(err, &answer) && (answer.StatusCode == http.StatusRequestURITooLong || answer.StatusCode == http.StatusRequestHeaderFieldsTooLarge)
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
		body:   newDataBody(data),
		want:   created,
	})
	if err != nil {
		return nil, err
	}
	drain(resp)
	return resp.Header, checkDigest(resp.Header, req.Digest)
}

// pushBlob sends a blob: small ones with one request where the registry takes that,
// large ones such that after a failure only the rest is sent.
func (r *Repository) pushBlob(ctx context.Context, expected oras.Descriptor, content io.Reader) error {
	d, err := oras.ParseDigest(expected.Digest)
	if err != nil {
		return err
	}
	content = oras.NewVerifier(content, expected)
	if expected.Size > inOnePut && rewinds(content) && !r.registry.noPatch.Load() {
		err := r.pushResumable(ctx, d, expected.Size, content)
		if !refusedPatch(err) {
			return err
		}
		r.registry.noPatch.Store(true)
	}
	whole, err := sendable(content, expected)
	if err != nil {
		return err
	}
	u, done, err := r.post(ctx, d, whole)
	if done || err != nil {
		return err
	}
	return u.finish(ctx, d, whole, content)
}

// Sizes of blobs, in bytes.
const (
	inOnePost = 1 << 20  // which are sent with the first request, where that is taken
	inOnePut  = 16 << 20 // which are sent again as a whole when that fails
)

// post begins an upload, or ends it right away if whole is small and the registry
// takes it with the POST (distribution-spec, "Single POST"). Of those that do not, most
// begin an upload and ignore the content, so what is tried is small.
func (r *Repository) post(ctx context.Context, d oras.Digest, whole *body) (u *upload, done bool, err error) {
	req := wire.Request{Route: wire.Uploads, Repository: r.name}
	state := &r.registry.single
	most := map[int32]int64{apiUnknown: inMemoryBlob, apiThere: inOnePost, apiAbsent: -1}[state.Load()]
	if whole != nil && whole.size <= most {
		req.Digest = d
		u, h, err := r.begin(ctx, req, whole, http.StatusCreated, http.StatusAccepted)
		switch {
		case err == nil && u == nil:
			state.CompareAndSwap(apiUnknown, apiThere)
			return nil, true, checkDigest(h, d)
		case err == nil:
			state.Store(apiAbsent)
			return u, false, nil
		case !refusedPost(err):
			return nil, false, err
		}
		state.Store(apiAbsent)
		req.Digest = oras.Digest{}
	}
	if whole == nil && d.Algorithm() != oras.SHA256 {
		req.Algorithm = d.Algorithm()
	}
	u, _, err = r.begin(ctx, req, nil, http.StatusAccepted)
	return u, false, err
}

// refusedPost reports whether err may be due to a POST with content, and not to a POST.
func refusedPost(err error) bool {
	var answer *Error
	if !errors.As(err, &answer) {
		return false
	}
	switch answer.StatusCode {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusTooManyRequests, http.StatusRequestTimeout:
		return false
	}
	return answer.StatusCode >= 400 && answer.StatusCode < 500 && !answer.has(wire.CodeDigestInvalid, wire.CodeSizeInvalid)
}

// pushResumable sends content, which can be rewound, with as few requests as possible,
// each of which goes on with what arrived of those before.
func (r *Repository) pushResumable(ctx context.Context, d oras.Digest, size int64, content io.Reader) error {
	req := wire.Request{Route: wire.Uploads, Repository: r.name}
	if d.Algorithm() != oras.SHA256 {
		req.Algorithm = d.Algorithm()
	}
	u, _, err := r.begin(ctx, req, nil, http.StatusAccepted)
	if err != nil {
		return err
	}
	u.sole = true
	if r.registry.chunk.Load() == 0 {
		u.chunk = maxPatch
	}
	f := newFeed(content, 0, sentBehind, sentAhead)
	_, err = u.send(ctx, f.part, size)
	f.stop()
	if err != nil && u.size == 0 && refusedPost(err) {
		err = errors.Join(errPatch, err)
	}
	if err == nil {
		err = u.put(ctx, d, nil)
	}
	if err != nil {
		u.cancel(ctx)
	}
	return err
}

// What is in memory of content that can be rewound, in bytes.
const (
	sentBehind = 4 << 20 // of what was sent
	sentAhead  = 2 << 20 // of what will be
)

// errPatch says that a registry may not take chunks at all.
var errPatch = errors.New("upload in chunks")

func refusedPatch(err error) bool { return errors.Is(err, errPatch) }

// rewinds reports whether content is at its start and can be brought there again. A
// pipe is an io.Seeker that cannot.
func rewinds(content io.Reader) bool {
	seeker, ok := content.(io.Seeker)
	if !ok {
		return false
	}
	_, err := seeker.Seek(0, io.SeekStart)
	return err == nil
}

// sendable returns content as one body, or nil if it can only go in chunks:
// whatever is sent must be at hand to be sent again.
func sendable(content io.Reader, desc oras.Descriptor) (*body, error) {
	again := rewinds(content)
	switch {
	case desc.Size <= inMemoryBlob, !again && desc.Size <= oras.MaxManifestSize:
		data, err := oras.ReadAll(content, desc)
		if err != nil {
			return nil, err
		}
		return newDataBody(data), nil
	case again:
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
	u, h, err := r.begin(ctx, req, nil, http.StatusAccepted, http.StatusCreated)
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
