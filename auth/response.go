package auth

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/c73062ad/oras"
	"github.com/c73062ad/oras/internal/wire"
)

// A ResponseError is a refusal by a token service, or by the registry that
// [Login] asks. It is [oras.ErrUnauthorized] or [oras.ErrDenied] if the status
// is 401 or 403.
type ResponseError struct {
	Method     string
	URL        string // without its query
	StatusCode int
	Errors     []wire.Error // of the body, if it holds any; without the credential
}

func newResponseError(resp *http.Response, cred Credential) *ResponseError {
	body, _ := io.ReadAll(io.LimitReader(resp.Body, wire.MaxErrorBody)) // what is lost says less, not something else
	return &ResponseError{
		Method:     resp.Request.Method,
		URL:        plainURL(resp.Request.URL),
		StatusCode: resp.StatusCode,
		Errors:     wire.ParseErrors([]byte(cred.scrub(string(body)))),
	}
}

func (e *ResponseError) Error() string {
	text := http.StatusText(e.StatusCode)
	if len(e.Errors) > 0 {
		var all []string
		for _, one := range e.Errors {
			all = append(all, one.Error())
		}
		text = strings.Join(all, "; ")
	}
	return fmt.Sprintf("%s %q: response status code %d: %s", e.Method, e.URL, e.StatusCode, text)
}

func (e *ResponseError) Unwrap() error {
	switch e.StatusCode {
	case http.StatusUnauthorized:
		return oras.ErrUnauthorized
	case http.StatusForbidden:
		return oras.ErrDenied
	}
	return nil
}

// Login tries cred at the scheme and host of registry, with a request for
// /v2/ (distribution-spec, "Determining Support"). It is nil if the registry
// takes cred or asks for none. Otherwise the error names the request: a
// [ResponseError], or what [Transport] fails with. Storing cred is then for
// [Config.Put].
func Login(ctx context.Context, registry *url.URL, cred Credential, opts *Options) error {
	ping := &url.URL{Scheme: registry.Scheme, Host: registry.Host, Path: (&wire.Request{Route: wire.Ping}).String()}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, ping.String(), nil)
	if err != nil {
		return err
	}
	client := http.Client{Transport: NewTransport(registry, Static(registry.Host, cred), opts)}
	resp, err := client.Do(req)
	if err != nil {
		if outer, ok := err.(*url.Error); ok { // its URL may be a redirect's, with a query
			err = outer.Err
		}
		return fmt.Errorf("%s %q: %w", req.Method, ping, err)
	}
	defer discard(resp.Body)
	if resp.StatusCode != http.StatusOK {
		return newResponseError(resp, cred)
	}
	return nil
}
