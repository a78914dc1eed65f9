package server

import (
	"errors"
	"net/http"

	"github.com/c73062ad/oras"
)

// An Action is what is done with a repository or a registry.
type Action string

// The actions there are. Each route and method is one of them.
const (
	ActionPing    Action = "ping"    // learn whether there is a registry, and whether a login is good
	ActionPull    Action = "pull"    // read manifests, blobs and tags
	ActionPush    Action = "push"    // write manifests, blobs and tags; go on with an upload, or cancel it
	ActionDelete  Action = "delete"  // delete manifests, blobs and tags
	ActionCatalog Action = "catalog" // list the repositories
)

// An Access is something that a request asks for.
type Access struct {
	Action     Action
	Repository string   // empty for ActionPing and ActionCatalog
	Tags       []string // that are read, set or deleted, if the request names them
}

// An Authorizer allows what a request asks for by returning nil. It is asked once
// before the request is handled, and once for each repository that a blob might be
// mounted from. An error that is [oras.ErrUnauthorized] is answered with 401 and a
// challenge to log in (see [Challenge]), one that is [oras.ErrDenied] with 403;
// any other, which is the Authorizer's own failure, with 500.
//
// It is called from many goroutines. It must not read the request's body.
type Authorizer func(r *http.Request, a Access) error

// A Challenge is an error of an [Authorizer] that says how to log in. It is
// [oras.ErrUnauthorized].
type Challenge struct {
	Header string // of WWW-Authenticate (RFC 9110, section 11.6.1)
}

func (c *Challenge) Error() string { return "authentication required" }

// Unwrap returns [oras.ErrUnauthorized].
func (c *Challenge) Unwrap() error { return oras.ErrUnauthorized }

// basicChallenge asks for user name and password.
const basicChallenge = `Basic realm="ORAS registry", charset="UTF-8"`

// challenge returns the WWW-Authenticate header that err asks for.
func challenge(err error) string {
	var c *Challenge
	if errors.As(err, &c) && c.Header != "" {
		return c.Header
	}
	return basicChallenge
}

func (s *server) authorize(r *request, a Access) error {
	if s.opts.Authorize == nil {
		return nil
	}
	return s.opts.Authorize(r.http, a)
}

// tags returns all tags that r names.
func (r *request) tags() []string {
	if r.Tag != "" {
		return append([]string{r.Tag}, r.Tags...)
	}
	return r.Tags
}
