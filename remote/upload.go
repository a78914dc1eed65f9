package remote

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"path"
	"strconv"
	"strings"

	"github.com/c73062ad/oras"
	"github.com/c73062ad/oras/internal/wire"
)

// Sizes of the chunks in which content goes, in bytes.
const (
	chunkSize    = 8 << 20
	minChunkSize = 64 << 10
	maxChunkSize = 64 << 20 // which a registry may want them to have at least
	maxPatch     = 1 << 30  // of what can be rewound

	// growth is which part of what the registry has a chunk may be of content that
	// can be rewound. Some registries wait for the disk behind each chunk, and some
	// keep nothing of one that is broken off, so that it moves again.
	growth = 2
)

const (
	maxUploadID = 8 << 10 // bytes
	maxCommits  = 3       // more, of an upload whose first failed
)

// An upload is a session at the registry (distribution-spec, "Pushing a blob in
// chunks").
type upload struct {
	repo     *Repository
	location *url.URL // where the next request goes
	size     int64    // bytes the registry has
	sent     int64    // bytes it may have of what was sent here
	unsure   bool     // size may be 0 or 1: a Range cannot say that there is nothing
	chunk    int64    // bytes to send at a time
	grows    bool     // chunk does, with size
	least    int64    // bytes the registry wants in each chunk but the last
	began    bool     // here
	sole     bool     // nobody else can know of it
	broken   bool     // a request failed that may have arrived all the same
	ended    bool
}

var _ oras.Upload = (*upload)(nil)

// Upload opens an upload; see [oras.OpenUpload]. Its id is the registry's where
// the registry keeps to the paths of the specification, else path and query of
// the place that the registry gave it. What belongs to another repository, or is
// no upload, is oras.ErrNotFound.
//
// Append sends chunks of some megabytes, which it holds in memory while it reads the next.
// An io.Seeker that can be read again it reads as it sends it, and when it sends it again; its
// chunks grow, up to half of what the registry has. When a request fails it asks the
// registry what arrived.
func (r *Repository) Upload(ctx context.Context, id string) (oras.Upload, error) {
	if id == "" {
		return r.BeginUpload(ctx, oras.SHA256)
	}
	location, err := r.uploadLocation(id)
	if err != nil {
		return nil, err
	}
	u := r.newUpload()
	u.location = location
	if err := u.ask(ctx); err != nil {
		return nil, err
	}
	return u, nil
}

// BeginUpload begins an upload that the registry may hash by the algorithm a as it
// arrives (spec-main, end-4c); see [oras.BeginUpload]. A registry that has refused
// chunks, all there are, is oras.ErrUnsupported.
func (r *Repository) BeginUpload(ctx context.Context, a oras.Algorithm) (oras.Upload, error) {
	if r.registry.noPatch.Load() {
		return nil, fmt.Errorf("%s: %w: %w", r, errPatch, oras.ErrUnsupported)
	}
	req := wire.Request{Route: wire.Uploads, Repository: r.name}
	if a != oras.SHA256 {
		req.Algorithm = a
	}
	u, _, err := r.begin(ctx, req, nil, http.StatusAccepted)
	if err != nil {
		return nil, err
	}
	u.began = true
	return u, nil
}

// newUpload returns an upload that has begun, with chunks no larger than those that
// the registry has refused.
func (r *Repository) newUpload() *upload {
	u := &upload{repo: r, chunk: chunkSize, grows: true}
	if most := r.registry.chunk.Load(); most > 0 {
		u.chunk, u.grows = min(u.chunk, most), false
	}
	return u
}

// begin makes a POST, which has one of the statuses in want. The upload is nil
// if the status is 201.
func (r *Repository) begin(ctx context.Context, req wire.Request, content *body, want ...int) (*upload, http.Header, error) {
	c := r.registry.client
	request := call{method: http.MethodPost, url: c.url(req), body: content, want: want}
	if content != nil {
		request.header = http.Header{"Content-Type": {oras.MediaTypeBlob}}
	}
	resp, err := c.do(ctx, request)
	if err != nil {
		return nil, nil, err
	}
	drain(resp)
	if resp.StatusCode == http.StatusCreated {
		return nil, resp.Header, nil
	}
	u := r.newUpload()
	u.wants(resp.Header)
	if resp.Header.Get("Location") == "" {
		return nil, nil, fmt.Errorf("%s: %w: the registry began an upload and gave it no Location", r, oras.ErrInvalid)
	}
	return u, resp.Header, u.moved(resp)
}

// wants takes up how large the registry wants chunks to be at least, if it says so.
func (u *upload) wants(h http.Header) {
	if least, err := strconv.ParseInt(h.Get(wire.HeaderChunkMinLength), 10, 64); err == nil && least > 0 {
		u.least = min(least, maxChunkSize)
		u.chunk = max(u.chunk, u.least)
	}
}

// moved takes up the Location of an answer, if there is one.
func (u *upload) moved(resp *http.Response) error {
	text := resp.Header.Get("Location")
	if text == "" {
		return nil
	}
	location, err := resp.Request.URL.Parse(text)
	if err != nil || location.Opaque != "" {
		return fmt.Errorf("%s: %w: Location of an upload is no URL", u.repo, oras.ErrInvalid)
	}
	if err := u.repo.checkLocation(location); err != nil {
		return err
	}
	location.Fragment, location.RawFragment = "", ""
	u.location = location
	return nil
}

// checkLocation reports a place on another origin than the registry's, unless
// uploads may go there.
func (r *Repository) checkLocation(u *url.URL) error {
	c := r.registry.client
	if wire.Origin(u) == c.origin && u.User == nil {
		return nil
	}
	secure := u.Scheme == "https" || u.Scheme == "http" && strings.HasPrefix(c.origin, "http:")
	if !secure || u.User != nil || c.allow == nil || !c.allow(u) {
		return fmt.Errorf("%s: upload to another origin, %s: %w", r, scrub(&url.URL{Scheme: u.Scheme, Host: u.Host}), errRefused)
	}
	return nil
}

// uploadLocation returns the place of the upload id. Ids may come from somebody
// else's request, so one must not lead to what is no upload of this repository.
func (r *Repository) uploadLocation(id string) (*url.URL, error) {
	unknown := fmt.Errorf("%s: upload %.100q: %w", r, id, oras.ErrNotFound)
	if len(id) > maxUploadID {
		return nil, unknown
	}
	text, short := id, false
	switch {
	case strings.HasPrefix(id, "/"):
		text = r.registry.client.base + id
	case !strings.HasPrefix(id, "https://") && !strings.HasPrefix(id, "http://"):
		text = r.registry.client.url(wire.Request{Route: wire.Upload, Repository: r.name, UploadID: id})
		short = true
	}
	location, err := url.Parse(text)
	if err != nil || strings.Contains(location.EscapedPath(), "%") || path.Clean(location.Path) != strings.TrimSuffix(location.Path, "/") {
		return nil, unknown
	}
	if err := r.checkLocation(location); err != nil {
		return nil, errors.Join(unknown, err)
	}
	req, err := wire.Parse(location)
	if req.Route == wire.Unknown && !short {
		return location, nil // a registry may choose any path
	}
	if err != nil || req.Route != wire.Upload || req.Repository != r.name {
		return nil, unknown
	}
	return location, nil
}

// ID implements [oras.Upload].
func (u *upload) ID() string {
	if wire.Origin(u.location) != u.repo.registry.client.origin {
		return u.location.String()
	}
	id := u.location.RequestURI()
	if req, err := wire.Parse(u.location); err == nil && id == (&wire.Request{Route: wire.Upload, Repository: u.repo.name, UploadID: req.UploadID}).String() {
		return req.UploadID
	}
	return id
}

// Size implements [oras.Upload].
func (u *upload) Size() int64 { return u.size }

// call sends a request to the upload's place.
func (u *upload) call(ctx context.Context, method string, header http.Header, b *body, want ...int) (*http.Response, error) {
	if u.ended {
		return nil, fmt.Errorf("%s: upload that has ended: %w", u.repo, oras.ErrNotFound)
	}
	resp, err := u.repo.registry.client.do(ctx, call{method: method, url: u.location.String(), header: header, body: b, want: want})
	if err != nil {
		return nil, err
	}
	drain(resp)
	return resp, nil
}

// ask learns from the registry how much it has.
func (u *upload) ask(ctx context.Context) error {
	resp, err := u.call(ctx, http.MethodGet, nil, nil, http.StatusNoContent, http.StatusAccepted, http.StatusOK)
	if err != nil {
		return err
	}
	size, unsure, err := received(resp.Header, 0)
	if err != nil {
		return fmt.Errorf("%s: upload: %w", u.repo, err)
	}
	if unsure && (u.size != 1 || u.unsure) {
		size = 0
	} else {
		unsure = false
	}
	u.size, u.unsure = size, unsure
	u.wants(resp.Header)
	return u.moved(resp)
}

// received returns how many bytes the Range of an answer says there are, or
// otherwise if it has none. Nothing and one byte look the same.
func received(h http.Header, otherwise int64) (size int64, unsure bool, err error) {
	text := h.Get("Range")
	if text == "" {
		return otherwise, false, nil
	}
	first, last, err := wire.ParseRange(text)
	if err != nil || first != 0 {
		return 0, false, fmt.Errorf("%w: Range %q", oras.ErrInvalid, text)
	}
	return last + 1, last == 0, nil
}

// Append implements [oras.Upload].
func (u *upload) Append(ctx context.Context, offset int64, content io.Reader) (int64, error) {
	if offset != u.size {
		return 0, fmt.Errorf("%s: upload goes on at byte %d, not %d: %w", u.repo, u.size, offset, oras.ErrInvalid)
	}
	if r := restOf(content, offset); r != nil {
		kept, err := u.send(ctx, r.part, r.end)
		if r.short {
			err = fmt.Errorf("%s: upload: %w: its content ended at byte %d, not %d", u.repo, oras.ErrInvalid, r.at, r.end)
		}
		return kept, u.withoutChunks(err)
	}
	u.chunk, u.grows = min(u.chunk, max(chunkSize, u.least)), false // which is in memory
	f := newFeed(struct{ io.Reader }{content}, offset, u.chunk, u.chunk/2)
	defer f.stop()
	var kept int64
	for {
		n, err := f.fill(u.size, u.chunk)
		sent, e := u.send(ctx, f.part, u.size+n)
		kept += sent
		switch {
		case err == io.EOF || err == nil && e != nil:
			return kept, u.withoutChunks(e)
		case err != nil:
			return kept, err
		}
	}
}

// A rest is what is left of content that can be read again, and is not read ahead: a file
// is in memory as it is, a [reader] reads ahead itself, and copying it costs more than waiting
// for it.
type rest struct {
	content io.ReadSeeker
	start   int64 // where the content was
	begin   int64 // which is this offset in the upload
	end     int64
	at      int64 // offset of the next byte
	short   bool  // it turned out to end there
}

// restOf returns what is left of content, which goes on at offset in the upload, or nil
// if it cannot be read again.
func restOf(content io.Reader, offset int64) *rest {
	s, ok := content.(io.ReadSeeker)
	if !ok {
		return nil
	}
	start, err := s.Seek(0, io.SeekCurrent)
	if err != nil {
		return nil // a pipe, or a verifier
	}
	end, err := s.Seek(0, io.SeekEnd)
	if _, e := s.Seek(start, io.SeekStart); err != nil || e != nil {
		return nil
	}
	return &rest{content: s, start: start, begin: offset, end: offset + max(end-start, 0), at: offset}
}

// part returns n bytes from offset on, of which there is one at a time.
func (r *rest) part(offset, n int64) io.ReadSeeker {
	return &section{from: r, start: offset, end: offset + n, offset: offset}
}

func (r *rest) read(p []byte, offset int64) (int, error) {
	if err := r.seek(offset); err != nil {
		return 0, err
	}
	n, err := r.content.Read(p)
	r.at += int64(n)
	switch {
	case n > 0 && err == io.EOF:
		err = nil
	case err == io.EOF:
		r.short = true
	}
	return n, err
}

// copyN is [copier.CopyN] of what begins at offset.
func (r *rest) copyN(w io.ReaderFrom, n, offset int64) (int64, error) {
	if err := r.seek(offset); err != nil {
		return 0, err
	}
	n, err := copyN(r.content, w, n)
	r.at += n
	return n, err
}

func (r *rest) seek(offset int64) error {
	switch {
	case offset < r.begin:
		return errGone
	case offset == r.at:
		return nil
	}
	_, err := r.content.Seek(r.start+offset-r.begin, io.SeekStart)
	if err == nil {
		r.at = offset
	}
	return err
}

func (r *rest) kept(offset int64) bool { return offset >= r.begin }

// withoutChunks makes err, of the first chunk of an upload that began here, one of a
// registry that takes no chunks if it may be due to that.
func (u *upload) withoutChunks(err error) error {
	if err == nil || !u.began || u.size > 0 || !refusedPost(err) {
		return err
	}
	return fmt.Errorf("%w: %w: %w", errPatch, oras.ErrUnsupported, err)
}

// PieceSize says how much Append should get at least, but for the last; see
// [oras.Ingest].
func (u *upload) PieceSize() int64 { return u.least }

// send sends what there is from where the upload is to end, which part returns n bytes of
// from an offset on, and returns how much of it the registry keeps. What a request that
// failed did all the same, the registry is asked. That an upload does not go on where it
// should may be because the transport sent a chunk twice, or because somebody else was
// first, which is an error. Where what the registry lost cannot be sent again, its last
// answer is the error.
func (u *upload) send(ctx context.Context, part func(offset, n int64) io.ReadSeeker, end int64) (kept int64, err error) {
	var answer *Error
	defer func() {
		if answer != nil && errors.Is(err, errGone) {
			err = answer
		}
	}()
	failures := 0
	for u.size < end {
		if u.grows {
			u.chunk = max(u.chunk, min(u.size/growth, maxPatch))
		}
		n := min(end-u.size, u.chunk)
		b := newBody(part(u.size, n), n)
		before, unsure := u.size, u.unsure
		u.sent = max(u.sent, before+n)
		err := u.patch(ctx, b)
		broken := b.failed()
		var unknown error // why it is not known what arrived
		if err != nil {
			after, cancel := afterwards(ctx)
			if unknown = u.ask(after); unknown != nil {
				u.size = before
			}
			cancel()
		}
		errors.As(err, &answer)
		u.broken = u.broken || broken != nil || mayHaveArrived(err)
		ours := err == nil || u.sole || u.broken
		if u.size > before && !ours {
			return kept, err
		}
		arrived := u.size > before && u.size <= u.sent // what was sent before this may have, too
		if arrived {
			kept += u.size - before
			failures = 0
		}
		if broken != nil {
			return kept, broken
		}
		if arrived {
			if err != nil && ctx.Err() != nil {
				return kept, err
			}
			if err != nil {
				u.repo.registry.client.retries(err)
			}
			continue
		}
		if err == nil {
			return kept, fmt.Errorf("%s: %w: the registry has %d bytes of an upload after it was sent byte %d to %d", u.repo, oras.ErrInvalid, u.size, before, before+n-1)
		}
		if refusedRange(err) && unsure {
			u.size, u.unsure = 1, false
		}
		shrunk := u.smaller(err, n)
		switch {
		case shrunk:
		case !temporary(ctx, err) && !(refusedRange(err) && u.broken && unknown != nil && temporary(ctx, unknown)):
			return kept, err
		case n > chunkSize && mayHaveArrived(err):
			// Perhaps something on the way lets no more pass, and does not say so.
			u.chunk, u.grows = max(min(n/2, maxChunkSize), chunkSize, u.least), false
		}
		if failures += weight(err, maxFailures); failures > maxFailures {
			return kept, err
		}
		if !shrunk { // which is no trouble
			u.repo.registry.client.retries(err)
		}
		if e := pause(ctx, failures); e != nil {
			return kept, err
		}
	}
	return kept, nil
}

// mayHaveArrived reports whether some of a request that failed with err may be at the
// registry: it is not if there was no connection, or if the registry refused it.
func mayHaveArrived(err error) bool {
	var answer *Error
	var dial *net.OpError
	switch {
	case err == nil:
		return false
	case errors.As(err, &answer):
		return answer.StatusCode >= 500 || answer.StatusCode == http.StatusRequestTimeout || answer.StatusCode == http.StatusRequestEntityTooLarge
	}
	return !errors.As(err, &dial) || dial.Op != "dial"
}

// refusedRange reports whether the registry says that the upload does not go on
// where the chunk begins.
func refusedRange(err error) bool {
	var answer *Error
	return errors.As(err, &answer) && answer.StatusCode == http.StatusRequestedRangeNotSatisfiable
}

// smaller makes chunks smaller if err says that n bytes are too many.
func (u *upload) smaller(err error, n int64) bool {
	var answer *Error
	if !errors.As(err, &answer) || answer.StatusCode != http.StatusRequestEntityTooLarge || n <= max(u.least, minChunkSize) {
		return false
	}
	u.chunk, u.grows = max(u.least, minChunkSize, min(n/2, maxChunkSize)), false
	u.repo.registry.chunk.Store(u.chunk)
	return true
}

// patch sends one chunk.
func (u *upload) patch(ctx context.Context, b *body) error {
	header := http.Header{
		"Content-Type":  {oras.MediaTypeBlob},
		"Content-Range": {wire.FormatRange(u.size, u.size+b.size-1)},
	}
	resp, err := u.call(ctx, http.MethodPatch, header, b, http.StatusAccepted, http.StatusNoContent, http.StatusCreated)
	if err != nil {
		return err
	}
	size, _, err := received(resp.Header, u.size+b.size)
	if err != nil {
		return fmt.Errorf("%s: upload: %w", u.repo, err)
	}
	u.size, u.unsure = size, false
	return u.moved(resp)
}

// Commit implements [oras.Upload].
func (u *upload) Commit(ctx context.Context, digest oras.Digest) error {
	return u.put(ctx, digest, nil)
}

// put sends the rest, if any, and the digest of the whole.
func (u *upload) put(ctx context.Context, d oras.Digest, rest *body) error {
	if d.IsZero() {
		return fmt.Errorf("%s: upload without a digest: %w", u.repo, oras.ErrInvalid)
	}
	location := *u.location
	if location.RawQuery != "" {
		location.RawQuery += "&"
	}
	location.RawQuery += "digest=" + url.QueryEscape(d.String())
	last := *u
	last.location = &location
	put := func() (*http.Response, error) {
		return last.call(ctx, http.MethodPut, http.Header{"Content-Type": {oras.MediaTypeBlob}}, rest, http.StatusCreated, http.StatusOK, http.StatusNoContent)
	}
	resp, err := put()
	// All has arrived, perhaps with much effort: it shall not be lost for one connection.
	for failures := 1; rest == nil && failures <= maxCommits && err != nil && temporary(ctx, err); failures++ {
		u.repo.registry.client.retries(err)
		if pause(ctx, failures) != nil {
			break
		}
		if exists, e := u.repo.Exists(ctx, oras.Descriptor{MediaType: oras.MediaTypeBlob, Digest: d.OCI()}); e == nil && exists {
			u.cancel(ctx)
			return nil
		}
		again, e := put()
		if errors.Is(e, oras.ErrNotFound) { // why is what was said before
			break
		}
		resp, err = again, e
	}
	if errors.Is(err, oras.ErrInvalid) {
		u.cancel(ctx)
	}
	if err != nil {
		return err
	}
	u.ended = true
	return checkDigest(resp.Header, d)
}

// finish makes content, which is whole or else goes in chunks, the blob d. The
// upload is over then, one way or the other.
func (u *upload) finish(ctx context.Context, d oras.Digest, whole *body, content io.Reader) error {
	u.sole = true
	var err error
	if whole == nil {
		_, err = u.Append(ctx, 0, content)
	}
	if err == nil {
		err = u.put(ctx, d, whole)
	}
	if err != nil {
		u.cancel(ctx)
	}
	return err
}

// Abort implements [oras.Upload].
func (u *upload) Abort(ctx context.Context) error {
	_, err := u.call(ctx, http.MethodDelete, nil, nil, http.StatusNoContent, http.StatusAccepted, http.StatusOK)
	if err == nil {
		u.ended = true
	}
	return err
}

// cancel is Abort for when there is an error to report already, and perhaps
// because of ctx: the registry should know, but forgets by itself in time
// (spec-main, end-14).
func (u *upload) cancel(ctx context.Context) {
	if u == nil || u.ended {
		return
	}
	ctx, done := afterwards(ctx)
	defer done()
	u.Abort(ctx)
	u.ended = true
}

// Close implements [oras.Upload]; the upload goes on at the registry.
func (u *upload) Close() error { return nil }
