package remote

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/c73062ad/oras"
	"github.com/c73062ad/oras/internal/wire"
)

// An Error is an answer of the registry that was not the one hoped for
// (distribution-spec, "Error Codes"). It unwraps to its kind, such as
// oras.ErrNotFound, if it is of one.
type Error struct {
	Method     string
	URL        string   // without what may be secret in it
	StatusCode int      // as in net/http
	Reasons    []Reason // what the body said, if anything
}

// A Reason is one entry of an error's body.
type Reason struct {
	Code    string          // "MANIFEST_UNKNOWN"
	Message string          // may be empty
	Detail  json.RawMessage // may be nil
}

// Error returns the reason in one line: code in words, message, detail.
func (r Reason) Error() string {
	return wire.Error{Code: r.Code, Message: r.Message, Detail: r.Detail}.Error()
}

// Error names the request, the status, and the reasons or, where the registry
// gave none, the status in words.
func (e *Error) Error() string {
	return fmt.Sprintf("%s %q: response status code %d: %s", e.Method, e.URL, e.StatusCode, e.Reason())
}

// Reason is the last part of Error: what the registry said.
func (e *Error) Reason() string {
	if len(e.Reasons) == 0 {
		return http.StatusText(e.StatusCode)
	}
	var all []string
	for _, r := range e.Reasons {
		all = append(all, r.Error())
	}
	return strings.Join(all, "; ")
}

// has reports whether the registry gave one of the codes.
func (e *Error) has(codes ...string) bool {
	return slices.ContainsFunc(e.Reasons, func(r Reason) bool { return slices.Contains(codes, r.Code) })
}

// Unwrap returns the kind of error, nil if it is none of oras's.
func (e *Error) Unwrap() error {
	switch e.StatusCode {
	case http.StatusUnauthorized:
		return oras.ErrUnauthorized
	case http.StatusForbidden:
		return oras.ErrDenied
	case http.StatusMethodNotAllowed, http.StatusNotImplemented:
		return oras.ErrUnsupported
	case http.StatusRequestEntityTooLarge, http.StatusRequestedRangeNotSatisfiable:
		return oras.ErrInvalid
	case http.StatusPreconditionFailed:
		return oras.ErrConflict
	case http.StatusTooManyRequests, http.StatusRequestTimeout:
		return nil
	}
	switch {
	case e.StatusCode < 400 || e.StatusCode >= 500:
		return nil
	case e.has(wire.CodeNameInvalid, wire.CodeTagInvalid):
		return oras.ErrReference
	case e.StatusCode == http.StatusNotFound:
		return oras.ErrNotFound
	case e.has(wire.CodeUnsupported):
		return oras.ErrUnsupported
	case e.has(wire.CodeDigestInvalid, wire.CodeManifestInvalid, wire.CodeSizeInvalid, wire.CodeBlobUploadInvalid, wire.CodeManifestBlobUnknown):
		return oras.ErrInvalid
	}
	return nil
}

// An absent error says that what ref names is not there, and keeps the answer
// that said so.
type absent struct {
	ref    string
	answer error
}

func (e *absent) Error() string   { return e.ref + ": " + oras.ErrNotFound.Error() }
func (e *absent) Unwrap() []error { return []error{oras.ErrNotFound, e.answer} }

// public are the query parameters of the protocol that hold no secret.
var public = []string{"digest", "mount", "from", "digest-algorithm", "n", "last", "artifactType", "tag", "ns"}

// scrub returns u without what may be secret in it: the user, and the values of
// all query parameters but the protocol's. Storage that downloads are redirected
// to has signatures there.
func scrub(u *url.URL) string {
	clean := *u
	clean.User, clean.Fragment, clean.RawFragment = nil, "", ""
	query := clean.Query()
	for name := range query {
		if !slices.Contains(public, name) {
			query[name] = []string{"REDACTED"}
		}
	}
	clean.RawQuery = query.Encode()
	return clean.String()
}

// scrubText is scrub for text that may be no URL.
func scrubText(text string) string {
	u, err := url.Parse(text)
	if err != nil {
		return "REDACTED"
	}
	return scrub(u)
}
