package server

import (
	"net/http"

	"github.com/c73062ad/oras/internal/wire"
)

// An extension is an entry of the list of them (distribution-spec,
// extensions/_oci.md).
type extension struct {
	Name        string   `json:"name"`
	URL         string   `json:"url"`
	Description string   `json:"description"`
	Endpoints   []string `json:"endpoints"`
}

const (
	specExtensions = "https://github.com/opencontainers/distribution-spec/blob/main/extensions/"
	specReferrers  = "https://github.com/oras-project/artifacts-spec/blob/main/manifest-referrers-api.md"
	specConditions = "https://www.rfc-editor.org/rfc/rfc9110#section-13.1"
)

var (
	discovery    = extension{"_oci", specExtensions + "_oci.md", "Discovery of extensions", []string{wire.PathExtensions}}
	catalog      = extension{"_catalog", specExtensions + "README.md", "List of repositories", []string{wire.PathCatalog}}
	conditional  = extension{wire.ExtensionConditional, specConditions, "If-Match and If-None-Match with PUT and DELETE of a manifest by tag or digest, whose ETag is its digest", []string{wire.PathManifests}}
	oldReferrers = []extension{ // the one name is in the form of extensions; clients of the time look for the other
		{"_oras", specReferrers, "Referrers, as ORAS listed them before distribution-spec 1.1", []string{wire.PathORASReferrers}},
		{"cncf.oras.referrers", specReferrers, "Referrers, as ORAS listed them before distribution-spec 1.1", []string{wire.PathORASReferrers}},
	}
)

// listExtensions tells what the registry does beyond the specification, or what it
// does so for one repository.
func (s *server) listExtensions(w http.ResponseWriter, r *request) error {
	list := []extension{discovery, catalog}
	if r.Repository != "" {
		list = []extension{discovery, conditional}
		if !s.opts.DisableReferrers {
			list = append(list, oldReferrers...)
		}
	}
	return replyJSON(w, struct {
		Extensions []extension `json:"extensions"`
	}{list})
}
