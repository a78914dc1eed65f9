package wire

import (
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"

	"github.com/c73062ad/oras"
)

// A Route is one of the endpoints of distribution-spec, "Endpoints".
type Route int

// The routes. The end-numbers are the specification's.
const (
	Unknown      Route = iota
	Ping               // /v2/                            end-1
	Blob               // /v2/<name>/blobs/<digest>       end-2, end-10
	Manifest           // /v2/<name>/manifests/<ref>      end-3, end-7, end-9
	Uploads            // /v2/<name>/blobs/uploads/       end-4, end-11
	Upload             // /v2/<name>/blobs/uploads/<id>   end-5, end-6, end-13, end-14
	Tags               // /v2/<name>/tags/list            end-8
	Referrers          // /v2/<name>/referrers/<digest>   end-12
	Repositories       // /v2/_catalog

	// Beyond it: extensions/_oci.md, and what ORAS had before referrers.
	Extensions           // /v2/_oci/ext/discover
	RepositoryExtensions // /v2/<name>/_oci/ext/discover
	ORASReferrers        // /v2/<name>/_oras/artifacts/referrers?digest=
)

// The paths of extensions, below /v2/ or /v2/<name>/.
const (
	PathCatalog       = "_catalog"
	PathExtensions    = "_oci/ext/discover"
	PathORASReferrers = "_oras/artifacts/referrers"
	PathManifests     = "manifests/"
)

// ExtensionConditional is the name by which a registry says, among its extensions,
// that it heeds [Conditions] on manifests. That it gives entity tags says nothing:
// many do, and write whatever comes.
const ExtensionConditional = "_conditional"

// A Request is what the path and the query of an HTTP request say. The server
// parses one with [Parse], the client writes one with [Request.String]; each
// field is used by the routes named beside it, its zero value says that it is
// absent.
type Request struct {
	Route        Route
	Repository   string         // all but Ping, Repositories and Extensions
	Tag          string         // Manifest: the reference, if it is a tag
	Digest       oras.Digest    // Blob, Manifest, Referrers: the reference; Uploads, Upload, ORASReferrers: ?digest=
	UploadID     string         // Upload
	Mount        oras.Digest    // Uploads: ?mount=
	From         string         // Uploads: ?from=, the repository to mount from
	Algorithm    oras.Algorithm // Uploads: ?digest-algorithm=
	N            *int           // lists: ?n=, the page's size
	Last         string         // lists: ?last=, after which the page begins
	ArtifactType string         // Referrers, ORASReferrers: ?artifactType=
	Tags         []string       // Manifest by digest: ?tag=, repeated
}

// MaxPage is the largest page a list is answered with, whatever ?n= asks for.
const MaxPage = 10_000

var uploadID = regexp.MustCompile(`^[A-Za-z0-9_=-]{1,128}$`)

// IsUploadID reports whether id can stand in the path of an Upload.
func IsUploadID(id string) bool { return uploadID.MatchString(id) }

// Parse reads the path and query of u. A path that is no route is
// oras.ErrNotFound; a name, tag or digest that cannot be one is
// oras.ErrReference or oras.ErrInvalid, and the Request then still says which
// route was meant.
func Parse(u *url.URL) (*Request, error) {
	r := &Request{}
	if escaped := strings.ToLower(u.RawPath); strings.Contains(escaped, "%2f") || strings.Contains(escaped, "%5c") {
		return r, fmt.Errorf("path with an escaped slash: %w", oras.ErrNotFound)
	}
	if err := r.parsePath(u.Path); err != nil {
		return r, err
	}
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return r, fmt.Errorf("query: %w", oras.ErrReference)
	}
	return r, r.parseQuery(query)
}

func (r *Request) parsePath(path string) error {
	rest, ok := strings.CutPrefix(path, "/v2/")
	switch {
	case path == "/v2" || ok && rest == "":
		r.Route = Ping
		return nil
	case !ok:
		return fmt.Errorf("%s: %w", path, oras.ErrNotFound)
	case rest == PathCatalog:
		r.Route = Repositories
		return nil
	case rest == PathExtensions:
		r.Route = Extensions
		return nil
	}
	if name, ok := strings.CutSuffix(rest, "/"+PathExtensions); ok {
		r.Route = RepositoryExtensions
		return r.setRepository(name)
	}
	if name, ok := strings.CutSuffix(rest, "/"+PathORASReferrers); ok {
		r.Route = ORASReferrers
		return r.setRepository(name)
	}
	// The name may hold any of the words, so the path is read from its end.
	last := func() (element string) {
		i := strings.LastIndexByte(rest, '/')
		element, rest = rest[i+1:], rest[:max(i, 0)]
		return element
	}
	reference := last()
	kind := last()
	switch {
	case kind == "blobs" && reference == "uploads":
		r.Route = Uploads
	case kind == "uploads" && strings.HasSuffix(rest, "/blobs"):
		r.Route, r.UploadID = Upload, reference
		if rest = strings.TrimSuffix(rest, "/blobs"); reference == "" {
			r.Route = Uploads
		} else if !uploadID.MatchString(reference) {
			return fmt.Errorf("upload %q: %w", reference, oras.ErrNotFound)
		}
	case kind == "tags" && reference == "list":
		r.Route = Tags
	case kind == "manifests":
		r.Route = Manifest
	case kind == "blobs":
		r.Route = Blob
	case kind == "referrers":
		r.Route = Referrers
	default:
		return fmt.Errorf("%s: %w", path, oras.ErrNotFound)
	}
	if err := r.setRepository(rest); err != nil {
		return err
	}
	return r.parseReference(reference)
}

// setRepository lets r be about the repository called name.
func (r *Request) setRepository(name string) error {
	r.Repository = name
	return oras.CheckRepository(name)
}

func (r *Request) parseReference(reference string) (err error) {
	switch {
	case r.Route == Manifest && !strings.Contains(reference, ":"):
		r.Tag = reference
		return oras.CheckTag(reference)
	case r.Route == Manifest || r.Route == Blob || r.Route == Referrers:
		r.Digest, err = oras.ParseDigest(reference)
	}
	return err
}

func (r *Request) parseQuery(q url.Values) (err error) {
	one := func(name string) string {
		values := q[name]
		if len(values) > 1 && err == nil {
			err = fmt.Errorf("query has %s= %d times: %w", name, len(values), oras.ErrReference)
		}
		return q.Get(name)
	}
	digest := func(name string) (d oras.Digest) {
		if text := one(name); text != "" && err == nil {
			d, err = oras.ParseDigest(text)
		}
		return d
	}
	switch r.Route {
	case Uploads, Upload:
		r.Digest = digest("digest")
		r.Mount = digest("mount")
		if r.From = one("from"); r.From != "" && err == nil {
			err = oras.CheckRepository(r.From)
		}
		if name := one("digest-algorithm"); name != "" && err == nil {
			r.Algorithm, err = oras.ParseAlgorithm(name)
		}
	case Manifest:
		r.Tags = q["tag"]
		for _, tag := range r.Tags {
			if err == nil {
				err = oras.CheckTag(tag)
			}
		}
	case Tags, Repositories, Referrers, ORASReferrers:
		if r.Route == ORASReferrers {
			if r.Digest = digest("digest"); err == nil && r.Digest.IsZero() {
				err = fmt.Errorf("%w: referrers of what, the parameter digest does not say", oras.ErrInvalid)
			}
		}
		r.Last = one("last")
		r.ArtifactType = one("artifactType")
		if text := one("n"); text != "" && err == nil {
			n, e := strconv.Atoi(text)
			if e != nil || n < 0 {
				return fmt.Errorf("n=%q is no number of entries: %w", text, oras.ErrReference)
			}
			n = min(n, MaxPage)
			r.N = &n
		}
	}
	return err
}

// String returns the path and query, as in a request line.
func (r *Request) String() string {
	u := url.URL{Path: r.path(), RawQuery: r.query().Encode()}
	return u.String()
}

func (r *Request) path() string {
	base := "/v2/" + r.Repository
	switch r.Route {
	case Blob:
		return base + "/blobs/" + r.Digest.String()
	case Manifest:
		if r.Tag != "" {
			return base + "/manifests/" + r.Tag
		}
		return base + "/manifests/" + r.Digest.String()
	case Uploads, Upload:
		return base + "/blobs/uploads/" + r.UploadID
	case Tags:
		return base + "/tags/list"
	case Referrers:
		return base + "/referrers/" + r.Digest.String()
	case Repositories:
		return "/v2/" + PathCatalog
	case Extensions:
		return "/v2/" + PathExtensions
	case RepositoryExtensions:
		return base + "/" + PathExtensions
	case ORASReferrers:
		return base + "/" + PathORASReferrers
	}
	return "/v2/"
}

func (r *Request) query() url.Values {
	q := url.Values{}
	set := func(name, value string) {
		if value != "" {
			q.Set(name, value)
		}
	}
	switch r.Route {
	case Uploads, Upload, ORASReferrers:
		set("digest", r.Digest.String())
	}
	set("mount", r.Mount.String())
	set("from", r.From)
	set("digest-algorithm", r.Algorithm.String())
	if r.N != nil {
		set("n", strconv.Itoa(*r.N))
	}
	set("last", r.Last)
	set("artifactType", r.ArtifactType)
	if len(r.Tags) > 0 {
		q["tag"] = r.Tags
	}
	return q
}

// Scopes returns what a token must allow for the request to be made with
// method, as the token authentication that registries share names it:
// "repository:<name>:<action>[,<action>]", "registry:catalog:*".
func (r *Request) Scopes(method string) []string {
	if r.Route == Repositories {
		return []string{"registry:catalog:*"}
	}
	if r.Repository == "" {
		return nil
	}
	actions := "pull,push"
	switch {
	case r.Route == Upload:
	case method == http.MethodGet, method == http.MethodHead:
		actions = "pull"
	case method == http.MethodDelete:
		actions = "delete"
	}
	scopes := []string{"repository:" + r.Repository + ":" + actions}
	if r.From != "" && r.From != r.Repository {
		scopes = append(scopes, "repository:"+r.From+":pull")
	}
	return scopes
}
