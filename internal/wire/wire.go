// Package wire is the protocol of distribution-spec written down once: its
// paths and query parameters, headers, error bodies, limits, and how each is
// read and written. The client, the server and the credentials transport stand
// on it, so that they cannot disagree.
package wire

import (
	"net/url"
	"strings"
)

// Headers of the protocol that net/http has no name for.
const (
	HeaderDigest         = "Docker-Content-Digest"
	HeaderSubject        = "OCI-Subject"
	HeaderFiltersApplied = "OCI-Filters-Applied"
	HeaderTag            = "OCI-Tag"
	HeaderChunkMinLength = "OCI-Chunk-Min-Length"
	HeaderUploadID       = "Docker-Upload-UUID"
	HeaderAPIVersion     = "Docker-Distribution-API-Version"
	HeaderORASVersion    = "ORAS-Api-Version" // artifacts-spec, manifest-referrers-api.md
	HeaderWarning        = "Warning"
	HeaderForwardedProto = "X-Forwarded-Proto"
	HeaderForwardedHost  = "X-Forwarded-Host"
)

// Limits on what is read into memory, in bytes. Manifests have
// oras.MaxManifestSize.
const (
	MaxErrorBody = 64 << 10
	MaxTokenBody = 64 << 10 // answer of a token service
	MaxListPage  = 4 << 20  // a page of tags or repositories; referrers are an index, a manifest
)

// Origin returns what RFC 6454 calls the origin of u: scheme, host and port,
// where names that mean the same are the same text. Credentials given for one
// origin are for no other.
func Origin(u *url.URL) string {
	scheme := strings.ToLower(u.Scheme)
	port := u.Port()
	if port == "" {
		switch scheme {
		case "http":
			port = "80"
		case "https":
			port = "443"
		}
	}
	return scheme + "://" + strings.ToLower(u.Hostname()) + ":" + port
}
