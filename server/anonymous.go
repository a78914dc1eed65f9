package server

import "net/http"

// AnonymousPull returns an Authorizer that lets everybody read manifests, blobs and
// tags, and asks next for all else, and for each request that has a login: a wrong
// one is refused rather than passed over.
//
// The list of repositories is not for everybody, nor is "/v2/", where clients learn
// whether and how to log in: told that all is well, docker would never do so.
func AnonymousPull(next Authorizer) Authorizer {
	return func(r *http.Request, a Access) error {
		if a.Action == ActionPull && anonymous(r) {
			return nil
		}
		return next(r, a)
	}
}

// anonymous reports whether r has no login. Some clients send an empty one.
func anonymous(r *http.Request) bool {
	if r.Header.Get("Authorization") == "" {
		return true
	}
	user, password, ok := r.BasicAuth()
	return ok && user == "" && password == ""
}
