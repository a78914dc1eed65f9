package oras

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/url"
	"sync/atomic"
	"time"
)

// IngestOptions say how [Ingest] sends. The zero value works.
type IngestOptions struct {
	// Algorithm is what the digest is computed with; zero is SHA256.
	Algorithm Algorithm

	// Digest, if it is not nil, finds the digest of content, which must be an
	// io.Seeker, by other means than reading it, such as reading the same
	// file. It runs while content is sent, which then is not hashed. If it
	// has the digest before all is sent, the target is asked whether it has
	// the content, and if so no more is sent. Its error ends Ingest.
	Digest func(ctx context.Context) (Digest, error)

	// Expected, if it has a digest, is what content, which must be an
	// io.Seeker, is known to be; Algorithm and Digest have no meaning then.
	// Content that is not it is [ErrInvalid]: what goes into an upload is not
	// hashed here, since the target hashes it, see [Upload].
	Expected Descriptor

	// Upload is the id of an upload to go on with. It must have begun with
	// the same content: what it has of that is hashed here and not sent.
	// Where the digest is known, by Expected, it is not even read. An upload
	// that is not there any more is no error, a new one begins.
	Upload string

	// Journal, if it is not nil, is told the id of the upload when it begins
	// or goes on and whenever the id changes, and the empty string when it
	// has ended, one call at a time. An upload that fails is then left as it
	// is, to be gone on with by another Ingest, in another process perhaps.
	// Without Journal it is aborted.
	Journal func(id string)

	// Event, if it is not nil, is told Copying, Progress, and Copied or
	// Exists, one call at a time. Descriptors are without digest and size as
	// long as those are not known, which is until the end unless there is
	// Digest.
	Event func(Event)
}

// known reports whether the digest of the content is.
func (o *IngestOptions) known() bool { return o.Expected.Digest != "" }

// Ingest stores content whose digest and size need not be known in t, in one pass: it is
// hashed while it is sent, unless its digest is known. It returns the descriptor, with
// the given media type, once the content is in t, durably.
//
// Content of a few megabytes is read whole and pushed as usual; more becomes an
// upload. When sending fails the upload goes on at what has arrived, a few times: an
// [io.Seeker] is seeked to there, and of other content the last megabytes are in
// memory. So content that is a Seeker must give the same bytes when it is read
// again; it begins where it is.
//
// A target that has no uploads, see [OpenUpload], is [ErrUnsupported], and nothing
// was read then. An upload that was gone on with and had other bytes than those of
// content is [ErrInvalid], found out at the end, and has ended: another Ingest,
// without it, can do better. Manifests are not ingested but pushed.
//
// Ingest returns when nobody reads content any more, so it waits for a Read under
// way.
func Ingest(ctx context.Context, t Target, mediaType string, content io.Reader, opts *IngestOptions) (Descriptor, error) {
	if opts == nil {
		opts = &IngestOptions{}
	}
	switch {
	case !hasUploads(t):
		return Descriptor{}, errNoUploads
	case IsManifest(mediaType):
		return Descriptor{}, fmt.Errorf("%s: manifests are not ingested: %w", mediaType, ErrUnsupported)
	}
	in := &ingest{t: t, opts: opts, desc: Descriptor{MediaType: mediaType}, algorithm: opts.Algorithm}
	if opts.known() {
		d, err := ParseDigest(opts.Expected.Digest)
		if err != nil {
			return Descriptor{}, err
		}
		if opts.Expected.Size < 0 {
			return Descriptor{}, fmt.Errorf("%s: %w: size %d", d, ErrInvalid, opts.Expected.Size)
		}
		in.expected, in.algorithm = d, d.Algorithm()
		in.desc.Digest, in.desc.Size = d.OCI(), opts.Expected.Size
	}
	ctx, cancel := context.WithCancelCause(ctx)
	in.cancel = cancel
	src, err := newIngestSource(ctx, in, content)
	if err != nil {
		cancel(nil)
		return Descriptor{}, err
	}
	defer src.close()
	defer cancel(nil) // before it: the goroutine of src waits for that
	if opts.Upload == "" {
		data, err := src.whole(ctx)
		if data != nil || err != nil {
			return in.push(ctx, data, err)
		}
	}
	return in.run(ctx, src)
}

var errNoUploads = fmt.Errorf("uploads in pieces: %w", ErrUnsupported)

// hasUploads reports whether OpenUpload can do something for t.
func hasUploads(t Target) bool {
	_, ok := t.(interface {
		Upload(context.Context, string) (Upload, error)
	})
	return ok
}

// ingestPiece is how much of content that is no Seeker is sent, and can be sent
// again, at a time. There are two of them, so that one is filled while the other is
// sent. Content of no more is pushed as a whole. Tests make it smaller.
var ingestPiece int64 = 4 << 20

// ingestPause is how long the first pause behind a failure is. Tests make it shorter.
var ingestPause = 100 * time.Millisecond

const (
	// maxIngestPiece is the most that an upload can want to get at a time.
	maxIngestPiece = 64 << 20

	// maxIngestFailures is how often in a row sending may fail without
	// anything having arrived; what targets do by themselves comes before.
	maxIngestFailures = 3
)

// An ingestSource is where what is ingested comes from.
type ingestSource interface {
	// whole returns the content if it is small, else nil.
	whole(ctx context.Context) ([]byte, error)

	// from returns what comes behind offset, some of it at least but no less
	// than so many bytes unless it is all; nil if that is the end. It
	// may be read until from is called again.
	from(ctx context.Context, offset, least int64) (*sending, error)

	// digest returns that of the content, all of which was sent.
	digest(ctx context.Context) (Digest, error)

	close()
}

// An ingest is one call of Ingest.
type ingest struct {
	t         Target
	opts      *IngestOptions
	desc      Descriptor // as far as it is known
	expected  Digest     // or zero
	algorithm Algorithm
	size      int64 // of content that is a Seeker
	cancel    context.CancelCauseFunc

	upload Upload
	id     string // what Journal was told
	there  int64  // bytes it had when it was opened
	sent   atomic.Bool
	found  atomic.Pointer[Descriptor] // by Digest, while content is sent

	refused bool // the target does not go on with it
}

// errThere is why sending ends when the target has the content.
var errThere = errors.New("the target has the content")

// push pushes small content.
func (in *ingest) push(ctx context.Context, data []byte, err error) (Descriptor, error) {
	if err != nil {
		return Descriptor{}, err
	}
	d := in.algorithm.Digest(data)
	in.desc.Digest, in.desc.Size = d.OCI(), int64(len(data))
	if err := in.check(d); err != nil {
		return Descriptor{}, err
	}
	exists, err := in.t.Exists(ctx, in.desc)
	switch {
	case err != nil:
		return Descriptor{}, err
	case exists:
		in.event(Exists, 0)
		return in.desc, nil
	}
	in.event(Copying, 0)
	if err := Push(ctx, in.t, in.desc, bytes.NewReader(data)); err != nil {
		return Descriptor{}, err
	}
	in.event(Progress, in.desc.Size)
	in.event(Copied, 0)
	return in.desc, nil
}

// run sends what src has in an upload.
func (in *ingest) run(ctx context.Context, src ingestSource) (_ Descriptor, err error) {
	if err := in.open(ctx); err != nil {
		return Descriptor{}, err
	}
	defer func() { err = in.end(ctx, err) }()
	find := in.find(ctx)
	err = in.send(ctx, src)
	in.sent.Store(true)
	if err != nil {
		in.cancel(err)
	}
	// What is found is waited for in any case: it may be why sending ended.
	d, findErr := find(src)
	switch cause := context.Cause(ctx); {
	case cause == errThere:
		in.desc.Digest, in.desc.Size = d.OCI(), in.size
		in.event(Exists, 0)
		return in.desc, nil
	case cause != nil:
		return Descriptor{}, cause
	case findErr != nil:
		return Descriptor{}, findErr
	}
	in.desc.Digest, in.desc.Size = d.OCI(), in.upload.Size()
	if err := in.commit(ctx, d); err != nil {
		return Descriptor{}, err
	}
	in.event(Copied, 0)
	return in.desc, nil
}

// hashes reports whether the content is hashed here: it is not where its digest is
// known, or found by other means.
func (in *ingest) hashes() bool { return !in.opts.known() && in.opts.Digest == nil }

// check reports content of another digest than is expected.
func (in *ingest) check(d Digest) error {
	if in.expected.IsZero() || d == in.expected {
		return nil
	}
	return contentError{fmt.Errorf("%s: %w: its digest is %s", in.expected, ErrInvalid, d)}
}

// A contentError is about what was read, and not about what a target has of it.
type contentError struct{ error }

func (e contentError) Unwrap() error { return e.error }

func isContentError(err error) bool {
	var e contentError
	return errors.As(err, &e)
}

// open opens the upload to go on with, or a new one.
func (in *ingest) open(ctx context.Context) (err error) {
	if in.opts.Upload != "" {
		in.upload, err = OpenUpload(ctx, in.t, in.opts.Upload)
		switch {
		case err == nil:
		case ctx.Err() == nil && (Kind(err) != nil || !errors.As(err, new(*url.Error))):
			// The target answered, if with a failure of its own. If it takes nothing
			// at all, a new one tells why, and this is tried again.
			in.upload = nil
		default:
			return err
		}
	}
	if in.upload == nil {
		if in.upload, err = BeginUpload(ctx, in.t, in.algorithm); err != nil {
			return err
		}
	}
	in.journal()
	in.there = in.upload.Size()
	in.event(Copying, 0)
	if in.there > 0 {
		in.event(Progress, 0)
	}
	return nil
}

// find begins to look for the digest where that is known otherwise than by sending
// the content. The function returned waits for it.
func (in *ingest) find(ctx context.Context) func(ingestSource) (Digest, error) {
	if in.opts.Digest == nil || in.opts.known() {
		return func(src ingestSource) (Digest, error) {
			if ctx.Err() != nil {
				return Digest{}, context.Cause(ctx)
			}
			return src.digest(ctx)
		}
	}
	var (
		d    Digest
		err  error
		done = make(chan struct{})
	)
	go func() {
		defer close(done)
		exists := false
		d, err = in.opts.Digest(ctx)
		if err == nil && !in.sent.Load() {
			exists, err = in.t.Exists(ctx, Descriptor{MediaType: in.desc.MediaType, Digest: d.OCI(), Size: in.size})
		}
		switch {
		case err != nil:
			in.cancel(err)
		case exists:
			in.cancel(errThere)
		default:
			in.found.Store(&Descriptor{MediaType: in.desc.MediaType, Digest: d.OCI(), Size: in.size})
		}
	}()
	return func(ingestSource) (Digest, error) {
		<-done
		return d, err
	}
}

// send sends all that has not arrived yet.
func (in *ingest) send(ctx context.Context, src ingestSource) error {
	var last error // of the failures
	for failures := 0; ; {
		offset := in.upload.Size()
		next, err := src.from(ctx, offset, pieceSize(in.upload))
		if err != nil || next == nil {
			return err
		}
		_, err = in.upload.Append(ctx, offset, next)
		readErr := next.stop()
		in.journal()
		switch arrived := in.upload.Size() > offset; {
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case readErr != nil:
			return contentError{readErr}
		case err == nil && arrived:
			failures = 0
			continue
		case err == nil:
			return contentError{fmt.Errorf("upload: %w: its content ended at byte %d", ErrInvalid, offset)}
		case arrived:
			failures = 0
		}
		if failures++; failures > maxIngestFailures || Kind(err) != nil {
			in.refuse(err)
			if failures > 1 && errors.Is(err, ErrNotFound) {
				return last // is why the upload is gone
			}
			return err
		}
		last = err
		if err := pauseIngest(ctx, failures); err != nil {
			return err
		}
	}
}

func pauseIngest(ctx context.Context, failures int) error {
	d := ingestPause << (failures - 1)
	timer := time.NewTimer(d + rand.N(d))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// pieceSize returns how much the upload wants to get with one Append, or else 0.
//
//	PieceSize() int64
//
// is the optional method of one to which sending less would not do, as where a
// registry says how long chunks must be at least.
func pieceSize(u Upload) int64 {
	p, ok := u.(interface{ PieceSize() int64 })
	if !ok {
		return 0
	}
	return min(p.PieceSize(), maxIngestPiece)
}

// commit makes what was sent the blob d.
func (in *ingest) commit(ctx context.Context, d Digest) error {
	err := in.upload.Commit(ctx, d)
	if err == nil || errors.Is(err, ErrInvalid) {
		in.ended()
		return err
	}
	if exists, e := in.t.Exists(ctx, in.desc); e == nil && exists {
		in.ended() // or never will be: nobody needs it any more
		return nil
	}
	if ctx.Err() == nil {
		in.refuse(err)
	}
	return err
}

// refuse notes that the target no longer takes an upload that it was to go on with, if
// that is what err says: nobody shall try it again.
func (in *ingest) refuse(err error) {
	in.refused = in.opts.Upload != "" && in.upload.Size() <= in.there && Kind(err) != nil
}

// end lets go of the upload and returns err. An upload that nobody will go on with
// is aborted.
func (in *ingest) end(ctx context.Context, err error) error {
	if in.upload == nil {
		return err
	}
	if in.opts.Journal == nil || err == nil || in.refused || errors.Is(err, ErrInvalid) || errors.Is(err, ErrUnsupported) {
		ctx, done := afterwards(ctx)
		defer done()
		// That it cannot be is nothing to tell: targets forget those
		// that are given up.
		in.upload.Abort(ctx)
		in.ended()
		return err
	}
	in.upload.Close()
	return err
}

// ended notes that the upload is none any more.
func (in *ingest) ended() {
	in.upload.Close()
	in.upload = nil
	if in.opts.Journal != nil {
		in.opts.Journal("")
	}
}

// journal tells the upload's id if it is another than before.
func (in *ingest) journal() {
	if id := in.upload.ID(); id != in.id {
		in.id = id
		if in.opts.Journal != nil {
			in.opts.Journal(id)
		}
	}
}

func (in *ingest) event(kind EventKind, moved int64) {
	if in.opts.Event != nil {
		e := Event{Kind: kind, Descriptor: in.desc, Bytes: max(moved, 0)}
		if found := in.found.Load(); found != nil {
			e.Descriptor = *found
		}
		if kind == Progress {
			e.There = in.there
		}
		in.opts.Event(e)
	}
}

// afterwards returns a context for what must be done though ctx may have ended, in
// which case nobody wants to wait long for it.
func afterwards(ctx context.Context) (context.Context, context.CancelFunc) {
	limit := 10 * time.Second
	if ctx.Err() != nil {
		limit = 250 * time.Millisecond
	}
	return context.WithTimeout(context.WithoutCancel(ctx), limit)
}
