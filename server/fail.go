package server

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"syscall"

	"github.com/c73062ad/oras"
	"github.com/c73062ad/oras/internal/wire"
)

// Errors that HTTP has a status of its own for.
var (
	errMethod   = errors.New("the method is not supported here")
	errReadOnly = fmt.Errorf("%w: the registry is read-only", errMethod)
	errNoDelete = fmt.Errorf("%w: the registry deletes nothing", errMethod)
	errRange    = errors.New("no such range of bytes")
	errChunk    = errors.New("the chunk does not begin where the last one ended")
	errTooLarge = fmt.Errorf("manifests may have %d bytes at most", oras.MaxManifestSize)
	errTooMany  = fmt.Errorf("%d tags at most may be given at once", maxTags)
	errBusy     = errors.New("too many uploads are in progress")
	errLogins   = errors.New("too many wrong passwords from this address; try again later")
	errStalled  = errors.New("the request's body did not come")
	errBroken   = errors.New("the request's body broke off")
	errManifest = errors.New("manifest invalid")

	errPrecondition = errors.New("what is there is not what If-Match or If-None-Match demand")
)

// answers says which status and which code of distribution-spec, "Error Codes",
// an error becomes: the first row that it is. A row without a code takes that of
// the route.
var answers = []struct {
	is     error
	status int
	code   string
}{
	{errMethod, http.StatusMethodNotAllowed, wire.CodeUnsupported},
	{errRange, http.StatusRequestedRangeNotSatisfiable, wire.CodeSizeInvalid},
	{errChunk, http.StatusRequestedRangeNotSatisfiable, wire.CodeBlobUploadInvalid},
	{errTooLarge, http.StatusRequestEntityTooLarge, wire.CodeSizeInvalid},
	{errTooMany, http.StatusRequestURITooLong, wire.CodeUnsupported},
	{errBusy, http.StatusTooManyRequests, wire.CodeTooManyRequests},
	{errLogins, http.StatusTooManyRequests, wire.CodeTooManyRequests},
	{errStalled, http.StatusRequestTimeout, wire.CodeSizeInvalid},
	{errBroken, http.StatusBadRequest, wire.CodeSizeInvalid},
	{errManifest, http.StatusBadRequest, wire.CodeManifestInvalid},
	{errPrecondition, http.StatusPreconditionFailed, wire.CodePreconditionFailed},
	{oras.ErrUnauthorized, http.StatusUnauthorized, wire.CodeUnauthorized},
	{oras.ErrDenied, http.StatusForbidden, wire.CodeDenied},
	{oras.ErrInvalid, http.StatusBadRequest, wire.CodeDigestInvalid},
	{oras.ErrReference, http.StatusBadRequest, wire.CodeNameInvalid},
	{oras.ErrUnsupported, http.StatusMethodNotAllowed, wire.CodeUnsupported},
	{oras.ErrConflict, http.StatusPreconditionFailed, wire.CodePreconditionFailed},
	{oras.ErrNotFound, http.StatusNotFound, ""},
}

// unknown is what is not there when a route's answer is 404.
var unknown = map[wire.Route]wire.Error{
	wire.Blob:     {Code: wire.CodeBlobUnknown, Message: "blob unknown to the repository"},
	wire.Manifest: {Code: wire.CodeManifestUnknown, Message: "manifest unknown to the repository"},
	wire.Uploads:  {Code: wire.CodeBlobUnknown, Message: "blob unknown to the registry"},
	wire.Upload:   {Code: wire.CodeBlobUploadUnknown, Message: "upload unknown to the repository, or ended"},
	wire.Unknown:  {Code: wire.CodeUnsupported, Message: "the registry has no such path"},
}

// fail answers r with err. It is the only place where an error becomes a status.
func (s *server) fail(w *answer, r *request, err error) {
	if r.body.err != nil && oras.Kind(err) == nil {
		err = r.body.failure()
	}
	if w.started {
		s.log(r, "answer broke off", err)
		panic(http.ErrAbortHandler) // so that nobody takes it for whole
	}
	status, entries := s.judge(r, err)
	h := w.Header()
	for _, name := range []string{"ETag", "Cache-Control", "Accept-Ranges", wire.HeaderDigest, wire.HeaderFiltersApplied} {
		h.Del(name)
	}
	switch status {
	case http.StatusMethodNotAllowed:
		h.Set("Allow", strings.Join(s.allowed(r), ", "))
	case http.StatusUnauthorized:
		h.Set("WWW-Authenticate", challenge(err))
	case http.StatusTooManyRequests:
		h.Set("Retry-After", retryAfter(err))
	case http.StatusRequestTimeout, http.StatusRequestEntityTooLarge:
		h.Set("Connection", "close")
	case http.StatusInternalServerError, http.StatusInsufficientStorage:
		s.log(r, "request failed", err)
	}
	if err := reply(w, status, "application/json", wire.ErrorBody(entries...)); err != nil {
		s.log(r, "answer broke off", err)
	}
}

// judge says what the answer to r is when err came of it.
func (s *server) judge(r *request, err error) (int, []wire.Error) {
	var incomplete *incompleteError
	if errors.As(err, &incomplete) {
		return http.StatusBadRequest, incomplete.entries()
	}
	status, entry := s.judgeKind(r, err)
	return status, []wire.Error{entry}
}

func (s *server) judgeKind(r *request, err error) (int, wire.Error) {
	kind := oras.Kind(err)
	for _, a := range answers {
		if !errors.Is(err, a.is) && kind != a.is {
			continue
		}
		switch {
		case a.is == oras.ErrReference && r.noSuchTag():
			return http.StatusNotFound, unknown[wire.Manifest]
		case a.is == oras.ErrReference && (r.Route == wire.Manifest || r.Route == wire.Tags) && oras.CheckRepository(r.Repository) == nil:
			return a.status, wire.Error{Code: wire.CodeTagInvalid, Message: err.Error()}
		case a.is == oras.ErrNotFound:
			entry, ok := unknown[r.Route]
			if !ok {
				entry = wire.Error{Code: wire.CodeNameUnknown, Message: "repository unknown to the registry"}
			}
			return a.status, entry
		}
		return a.status, wire.Error{Code: a.code, Message: err.Error()}
	}
	// Its text may say what is nobody's business outside.
	if errors.Is(err, syscall.ENOSPC) {
		return http.StatusInsufficientStorage, wire.Error{Code: wire.CodeUnknown, Message: "the registry's storage is full"}
	}
	return http.StatusInternalServerError, wire.Error{Code: wire.CodeUnknown, Message: "internal error"}
}

// noSuchTag reports whether r asks for a manifest by what cannot be a tag:
// whoever only asks is told that there is none.
func (r *request) noSuchTag() bool {
	return r.Route == wire.Manifest && r.http.Method != http.MethodPut && oras.CheckRepository(r.Repository) == nil
}

// allowed returns the methods there are for the route of r, but that of r, which was
// refused.
func (s *server) allowed(r *request) []string {
	var methods []string
	for _, row := range routes {
		if row.route == r.Route && row.method != r.http.Method && s.does(row.action) == nil {
			methods = append(methods, row.method)
		}
	}
	return methods
}

// log notes err; that a client went away is not worth more than a debug line.
func (s *server) log(r *request, message string, err error) {
	level := slog.LevelError
	if r.body.err != nil || vanished(r.http.Context(), err) {
		level = slog.LevelDebug
	}
	s.opts.ErrorLog.Log(context.WithoutCancel(r.http.Context()), level, message,
		"method", r.http.Method, "path", r.http.URL.Path, "error", err)
}

// vanished reports whether err is what happens when the client has gone.
func vanished(ctx context.Context, err error) bool {
	var op *net.OpError
	return ctx.Err() != nil || errors.As(err, &op) && op.Op == "write" ||
		errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, os.ErrDeadlineExceeded)
}

// look does what looks for the content d in a store; a zero d is none. If its error
// is of no known kind, because the store has kinds of its own, and the content is
// not there, that is [oras.ErrNotFound]. If it is there, it may have come since.
func look(ctx context.Context, store oras.Store, d oras.Digest, do func() error) error {
	for attempt := 1; ; attempt++ {
		err := do()
		if err == nil || oras.Kind(err) != nil || d.IsZero() || attempt == maxLooks {
			return err
		}
		exists, e := store.Exists(ctx, oras.Descriptor{Digest: d.OCI()})
		if e != nil {
			return err
		}
		if !exists {
			return fmt.Errorf("%s: %w", d, oras.ErrNotFound)
		}
	}
}

const maxLooks = 5
