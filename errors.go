package oras

import (
	"errors"
	"io/fs"
)

// The kinds of errors. Stores wrap one with the digest or the name concerned;
// ask with [errors.Is], or with [Kind] where the store may be another
// library's. They are the same on either side of the wire.
var (
	ErrNotFound     = errors.New("not found")         // content, tag or repository that is not there
	ErrInvalid      = errors.New("invalid content")   // bytes that are not what they were said to be
	ErrReference    = errors.New("invalid reference") // a name, tag or digest that cannot be one
	ErrUnsupported  = errors.New("unsupported")       // what this store or registry does not do
	ErrDenied       = errors.New("denied")            // known who asks, and not allowed
	ErrUnauthorized = errors.New("unauthorized")      // not known who asks
	ErrConflict     = errors.New("conflict")          // what was to be changed is not what it was thought to be
)

// ErrReferrers is the error of a push that stored a manifest but could not enter it in
// the list of its subject's referrers, where registries leave that to clients. It is
// no kind: it comes with its cause, which has one.
var ErrReferrers = errors.New("the manifest is stored, but not in the list of its subject's referrers")

// kinds in the order in which Kind looks for them: a reference that is invalid
// since its digest is has the kind of the whole.
var kinds = []error{ErrNotFound, ErrReference, ErrInvalid, ErrUnsupported, ErrDenied, ErrUnauthorized, ErrConflict}

// Kind returns which kind of error err is, or nil if it is none of them.
//
// Stores of other libraries have kinds of their own: an error whose chain holds
// [fs.ErrNotExist], or a cause whose whole text is that of a kind, is that kind
// too.
func Kind(err error) error {
	for _, kind := range kinds {
		if errors.Is(err, kind) {
			return kind
		}
	}
	if errors.Is(err, fs.ErrNotExist) {
		return ErrNotFound
	}
	for ; err != nil; err = errors.Unwrap(err) {
		for _, kind := range kinds {
			if err.Error() == kind.Error() {
				return kind
			}
		}
	}
	return nil
}

// alreadyExists reports whether err is what stores of other libraries answer when
// content is pushed that they have.
func alreadyExists(err error) bool {
	for ; err != nil; err = errors.Unwrap(err) {
		if err.Error() == "already exists" {
			return true
		}
	}
	return false
}

// kindError is an error of a kind whose text does not name the kind.
type kindError struct {
	text string
	kind error
}

func (e kindError) Error() string { return e.text }
func (e kindError) Unwrap() error { return e.kind }
