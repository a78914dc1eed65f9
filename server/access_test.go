package server_test

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/c73062ad/oras"
	"github.com/c73062ad/oras/memory"
	"github.com/c73062ad/oras/server"
)

// TestReadOnly: what is off is off for every way to do it, and leaves what is there.
func TestReadOnly(t *testing.T) {
	reg := registries["bucket"](t)
	writable := serve(t, reg, nil)
	data := image("x")
	manifest := writable.pushManifest("team/hello", "v1", data)
	blob := writable.pushBlob("team/hello", []byte("x"))
	session := writable.want("202", "PATCH", writable.begin("team/hello"), []byte("y")).Header.Get("Location")

	deletions := [][2]string{{"DELETE", "/v2/team/hello/manifests/v1"}, {"DELETE", "/v2/team/hello/manifests/" + manifest}, {"DELETE", "/v2/team/hello/blobs/" + blob}}
	writes := [][2]string{
		{"POST", "/v2/team/hello/blobs/uploads/"}, {"POST", "/v2/team/hello/blobs/uploads/?digest=" + blob},
		{"POST", "/v2/team/other/blobs/uploads/?from=team/hello&mount=" + blob}, {"PATCH", session}, {"PUT", session + "?digest=" + blob}, {"DELETE", session},
		{"PUT", "/v2/team/hello/manifests/v2"}, {"PUT", "/v2/team/hello/manifests/" + manifest + "?tag=v2"},
	}
	for _, opts := range []*server.Options{{DisableDelete: true}, {ReadOnly: true}} {
		f := serve(t, reg, opts)
		refused, why := deletions, "deletes nothing"
		if opts.ReadOnly {
			refused, why = slices.Concat(deletions, writes), "read-only"
		}
		for _, request := range refused {
			a := f.want("405 UNSUPPORTED", request[0], request[1], data, imageType)
			if !strings.Contains(string(a.data), why) {
				t.Errorf("%s: it does not say why: %s", request, a.data)
			}
			if slices.Contains(strings.Split(a.Header.Get("Allow"), ", "), request[0]) {
				t.Errorf("%s: Allow is %q", request, a.Header.Get("Allow"))
			}
		}
		f.want("200", "GET", "/v2/team/hello/manifests/v1", nil)
		f.want("200", "GET", "/v2/team/hello/blobs/"+blob, nil)
		f.want("404", "GET", "/v2/team/hello/manifests/v2", nil)
		f.want("404", "GET", "/v2/team/other/blobs/"+blob, nil)
	}
	writable.want("204", "GET", session, nil).header(t, "Range", "0-0")
}

// policy lets "reader" read what begins with "team/", "writer" write there too, and
// nobody else do anything.
func policy(r *http.Request, a server.Access) error {
	user, _, _ := r.BasicAuth()
	switch {
	case user == "":
		return &server.Challenge{Header: `Bearer realm="https://token.example",service="here"`}
	case a.Repository != "" && !strings.HasPrefix(a.Repository, "team/"):
		return oras.ErrDenied
	case slices.Contains(a.Tags, "latest") && a.Action != server.ActionPull:
		return oras.ErrDenied
	case a.Action == server.ActionPull && user == "reader", user == "writer", a.Action == server.ActionPing:
		return nil
	}
	return oras.ErrDenied
}

func TestAuthorize(t *testing.T) {
	reg := memory.NewRegistry()
	private := serve(t, reg, nil)
	secret := private.pushBlob("private/x", []byte("secret"))
	f := serve(t, reg, &server.Options{Authorize: policy, ErrorLog: strict(t)})
	f.want("401 UNAUTHORIZED", "GET", "/v2/", nil).header(t, "WWW-Authenticate", `Bearer realm="https://token.example",service="here"`)

	f.user = "writer"
	shared := f.pushBlob("team/source", []byte("shared"))
	data := image("x")
	manifest := f.pushManifest("team/hello", "v1", data)
	f.want("201", "POST", "/v2/team/hello/blobs/uploads/?from=team/source&mount="+shared, nil)
	for _, from := range []string{"&from=private/x", ""} { // as if it were nowhere
		f.want("202", "POST", "/v2/team/hello/blobs/uploads/?mount="+secret+from, nil)
	}
	f.want("404", "GET", "/v2/team/hello/blobs/"+secret, nil)
	for _, path := range []string{"private/x/blobs/" + secret, "private/x/tags/list", "private/x/referrers/" + secret, "nowhere/x/tags/list"} {
		f.want("403 DENIED", "GET", "/v2/"+path, nil)
	}
	f.want("403", "GET", "/v2/private/x/blobs/"+secret, nil, "Range: bytes=0-1")
	f.want("403 DENIED", "PUT", "/v2/team/hello/manifests/"+manifest+"?tag=new&tag=latest", data, imageType) // all or none
	f.want("404", "HEAD", "/v2/team/hello/manifests/new", nil)
	f.want("403 DENIED", "PUT", "/v2/team/hello/manifests/latest", data, imageType)
	f.want("403 DENIED", "DELETE", "/v2/team/hello/manifests/latest", nil)

	f.user = "reader"
	f.want("200", "GET", "/v2/team/hello/manifests/v1", nil)
	f.want("403 DENIED", "GET", "/v2/_catalog", nil)
	f.want("403 DENIED", "POST", "/v2/team/hello/blobs/uploads/", nil)
	f.want("403 DENIED", "DELETE", "/v2/team/hello/manifests/"+manifest, nil)
}

// TestAuthorizeFails: when the policy cannot be asked, nothing is allowed.
func TestAuthorizeFails(t *testing.T) {
	var told log
	f := serve(t, memory.NewRegistry(), &server.Options{
		Authorize: func(*http.Request, server.Access) error { return errors.New("secret directory is down") },
		ErrorLog:  told.logger(),
	})
	a := f.want("500 UNKNOWN", "GET", "/v2/", nil)
	if strings.Contains(string(a.data), "secret") || !strings.Contains(told.String(), "secret directory is down") {
		t.Errorf("body %s, log %s", a.data, told.String())
	}
}
