// Package auth logs in to registries. It is a chain of http.RoundTripper that a
// registry's client sends its requests through:
//
//	http.Client → Transport (Basic, Bearer tokens) → Retry → the network
//
// [Transport] answers the challenges of one registry with what a [Source] knows:
// one credential given with [Static], or the files that docker and podman keep,
// opened with [OpenConfig]. Every secret goes to the registry it was given for
// and to that registry's own token service, and nowhere else, whatever a
// redirect or a challenge says; see [Options] for what "own" means.
package auth

import (
	"context"
	"fmt"
	"log/slog"
	"strings"

	"github.com/c73062ad/oras"
)

// A Credential is what a registry is shown. The zero Credential is nobody:
// requests are anonymous.
//
// Printing one with fmt or slog shows no secret.
type Credential struct {
	Username     string
	Password     string
	RefreshToken string // exchanged for tokens at the token service; docker's identity token
	AccessToken  string // sent to the registry as it is; docker's registry token
}

// IsZero reports whether c is nobody's.
func (c Credential) IsZero() bool { return c == Credential{} }

// Format prints c without its secrets, whatever the verb.
func (c Credential) Format(f fmt.State, _ rune) { fmt.Fprint(f, c.text()) }

// LogValue is c in a log, without its secrets.
func (c Credential) LogValue() slog.Value { return slog.StringValue(c.text()) }

func (c Credential) text() string {
	kinds := []string{}
	for _, field := range []struct{ kind, value string }{
		{"password", c.Password}, {"refresh token", c.RefreshToken}, {"access token", c.AccessToken},
	} {
		if field.value != "" {
			kinds = append(kinds, field.kind)
		}
	}
	if c.IsZero() {
		return "no credential"
	}
	return fmt.Sprintf("credential of %q (%s)", c.Username, strings.Join(kinds, ", "))
}

// scrub replaces the secrets of c in text, as when a service repeats them in
// its complaint. Secrets of three bytes and less are not looked for.
func (c Credential) scrub(text string) string {
	for _, secret := range []string{c.Password, c.RefreshToken, c.AccessToken} {
		if len(secret) > 3 {
			text = strings.ReplaceAll(text, secret, "***")
		}
	}
	return text
}

// A Source knows credentials.
type Source interface {
	// Credential returns what to show registry, a host[:port], for work on
	// repository; the zero Credential if nothing is known. The repository
	// may be empty: the registry as a whole. An error ends the request
	// that needed the credential: it is for a source that is broken, not
	// for one that has nothing. Sources are safe for concurrent use.
	Credential(ctx context.Context, registry, repository string) (Credential, error)
}

// Static returns a Source that knows cred for registry, a host[:port], and
// nothing for any other.
func Static(registry string, cred Credential) Source {
	return static{canonicalHost(registry), cred}
}

type static struct {
	registry string
	cred     Credential
}

func (s static) Credential(_ context.Context, registry, _ string) (Credential, error) {
	if canonicalHost(registry) != s.registry {
		return Credential{}, nil
	}
	return s.cred, nil
}

// canonicalHost returns host such that names of one registry are one text:
// letters of either case, and Docker Hub's three names. Nothing else is taken
// for the same: not another port, not a trailing dot.
func canonicalHost(host string) string {
	switch host = strings.ToLower(host); host {
	case "docker.io", "index.docker.io", "registry-1.docker.io":
		return "docker.io"
	}
	return host
}

// Errors of a registry that wants a login which is not known. Both are
// [oras.ErrUnauthorized].
var (
	// ErrNoCredential: the registry wants a user name and a password, and
	// nothing is known for it.
	ErrNoCredential error = &unauthorized{"basic credential not found"}

	// ErrNoPassword: the registry wants a user name and a password, and
	// what is known for it is only a token, or half of the two.
	ErrNoPassword error = &unauthorized{"missing username or password for basic auth"}
)

type unauthorized struct{ text string }

func (e *unauthorized) Error() string { return e.text }
func (e *unauthorized) Unwrap() error { return oras.ErrUnauthorized }
