package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"

	"github.com/c73062ad/oras"
	"github.com/c73062ad/oras/auth"
	"github.com/c73062ad/oras/remote"
)

// An environment is what one run of a command has in common: its console, and how
// registries are reached.
type environment struct {
	con   console
	trace *tracer // nil without --debug

	accept   []string // media types of manifests asked for; nil are all that are known
	transfer transferFlags

	warned sync.Map // warnings that were printed
}

// newEnvironment returns the environment of a command with the given registry
// flags, and reads what they say comes from standard input.
func newEnvironment(con console, common *commonFlags, remotes ...*remoteFlags) (*environment, error) {
	e := &environment{con: con}
	if common.debug {
		e.trace = &tracer{w: con.err, names: map[string]string{}}
	}
	for _, f := range remotes {
		if e.trace != nil {
			f.nameHeaders(e.trace.names)
		}
		if err := f.readStdin(con); err != nil {
			return nil, err
		}
	}
	return e, nil
}

// warn prints a warning once.
func (e *environment) warn(text string) {
	if _, before := e.warned.LoadOrStore(text, true); !before {
		fmt.Fprintln(e.con.err, "WARNING:", printable(text))
	}
}

// registryURL returns the scheme and host at which the registry is reached.
func (f *remoteFlags) registryURL(host string) *url.URL {
	return (&remote.Options{PlainHTTP: f.speaksHTTP(host)}).URL(host)
}

// speaksHTTP reports whether the registry is reached without TLS: as the flag
// says, or else if it is localhost.
func (f *remoteFlags) speaksHTTP(host string) bool {
	return f.plainHTTP || !f.plainHTTPSet() && remote.IsLocalhost(host)
}

// registry returns the client of the registry at host, with the login that the
// flags or the configuration have for it.
func (e *environment) registry(f *remoteFlags, host string) (*remote.Registry, error) {
	base, err := e.transport(f)
	if err != nil {
		return nil, err
	}
	source, err := e.credentials(f, host)
	if err != nil {
		return nil, err
	}
	u := f.registryURL(host)
	opts := &remote.Options{
		Transport: auth.NewTransport(u, source, &auth.Options{Base: base, AllowRealms: allowedRealms()}),
		PlainHTTP: f.speaksHTTP(host),
		Header:    http.Header{},
		UserAgent: "oras/" + version,
		Accept:    e.accept,
		Warn:      e.warn,
		OnRetry:   e.retrying,
		LockDir:   cacheDir("locks"),
	}
	e.transfer.set(opts)
	for _, h := range f.headers {
		name, value, _ := strings.Cut(h, ":")
		opts.Header.Add(strings.TrimSpace(name), value)
	}
	switch f.distributionSpec {
	case referrersAPI:
		opts.Referrers = remote.ReferrersAPI
	case referrersTag:
		opts.Referrers = remote.ReferrersTag
	}
	return remote.NewRegistry(host, opts)
}

// allowedRealms returns the hosts that the user says are token services of the
// registries in use, where their names do not say so: those in ORAS_ALLOW_REALMS,
// separated by commas.
func allowedRealms() []string {
	return strings.FieldsFunc(os.Getenv("ORAS_ALLOW_REALMS"), func(r rune) bool { return r == ',' || r == ' ' })
}

// repository returns the client of a repository.
func (e *environment) repository(ctx context.Context, f *remoteFlags, ref oras.Reference) (store, error) {
	r, err := e.registry(f, ref.Registry)
	if err != nil {
		return nil, err
	}
	return r.Repository(ctx, ref.Repository)
}

// nameHeaders adds what the user calls the headers that are added.
func (f *remoteFlags) nameHeaders(names map[string]string) {
	for _, h := range f.headers {
		name, _, _ := strings.Cut(h, ":")
		name = strings.TrimSpace(name)
		names[http.CanonicalHeaderKey(name)] = name
	}
}

// transport returns what requests are sent through, below the login: the
// network, the trace, retries.
func (e *environment) transport(f *remoteFlags) (http.RoundTripper, error) {
	base := remote.NewTransport()
	config, err := f.tlsConfig()
	if err != nil {
		return nil, err
	}
	base.TLSClientConfig = config
	addresses, err := f.dialAddresses()
	if err != nil {
		return nil, err
	}
	if len(addresses) > 0 {
		dial := base.DialContext
		base.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
			if other, ok := addresses[address]; ok {
				address = other
			}
			return dial(ctx, network, address)
		}
	}
	var next http.RoundTripper = base
	if e.trace != nil {
		next = &traced{e.trace, next}
	}
	return refusePages{&auth.Retry{Base: next, OnRetry: func(r auth.RetryEvent) {
		if !nobodyListens(r.Err) { // which is rarely about to change, and then the error
			e.warn(retryText(r))
		}
	}}}, nil
}

// refusePages makes an error of a page for people, such as that of a proxy which asks
// for a login, where a registry answers with JSON. A blob may be a page, and what answers
// a push or says that something went wrong may be anything.
type refusePages struct{ base http.RoundTripper }

func (t refusePages) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := t.base.RoundTrip(r)
	if err != nil || resp.StatusCode != http.StatusOK || r.Method != http.MethodGet && r.Method != http.MethodHead ||
		!strings.HasPrefix(resp.Header.Get("Content-Type"), "text/html") || !answersJSON(r.URL.Path) {
		return resp, err
	}
	resp.Body.Close()
	return nil, hint(errors.New("a page is what answers, of the type text/html"),
		"What answers there is no registry, perhaps a proxy that asks for a login: check the registry's name, and the way to it")
}

// answersJSON reports whether a registry answers a request for path with JSON.
func answersJSON(path string) bool {
	return strings.HasPrefix(path, "/v2/") && (strings.Contains(path, "/manifests/") ||
		strings.HasSuffix(path, "/tags/list") || strings.HasSuffix(path, "/_catalog"))
}

// retrying tells that something goes on though err came between.
func (e *environment) retrying(err error) {
	if !nobodyListens(err) { // which is rarely about to change, and then the error
		e.warn(fmt.Sprintf("%v; trying again", err))
	}
}

func retryText(r auth.RetryEvent) string {
	reason := fmt.Sprint(r.Err)
	if r.Err == nil {
		reason = fmt.Sprintf("%d %s", r.Status, http.StatusText(r.Status))
	}
	return fmt.Sprintf("%s %q: %s; trying again", r.Method, r.URL, reason)
}

func (f *remoteFlags) tlsConfig() (*tls.Config, error) {
	config := &tls.Config{InsecureSkipVerify: f.insecure}
	if f.caFile != "" {
		config.RootCAs = x509.NewCertPool()
		data, err := readFile(f.caFile, 16<<20)
		if err == nil && !config.RootCAs.AppendCertsFromPEM(data) {
			err = errors.New("no certificate in PEM form")
		}
		if err != nil {
			return nil, hint(fmt.Errorf("--%sca-file %s: %w", f.prefix, f.caFile, cause(err)),
				"Name a file of certificates, in PEM form: those of the authorities that the registry's certificate may be from")
		}
	}
	if f.certFile != "" {
		certificate, err := f.clientCertificate()
		if err != nil {
			return nil, hint(err, "Name the certificate's file with --%scert-file and that of its key with --%skey-file, both in PEM form", f.prefix, f.prefix)
		}
		config.Certificates = []tls.Certificate{certificate}
	}
	return config, nil
}

// clientCertificate reads what --cert-file and --key-file name.
func (f *remoteFlags) clientCertificate() (none tls.Certificate, _ error) {
	cert, err := readFile(f.certFile, maxPEM)
	if err != nil {
		return none, fmt.Errorf("--%scert-file %s: %w", f.prefix, f.certFile, cause(err))
	}
	key, err := readFile(f.keyFile, maxPEM)
	if err != nil {
		return none, fmt.Errorf("--%skey-file %s: %w", f.prefix, f.keyFile, cause(err))
	}
	certificate, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return none, fmt.Errorf("--%scert-file %s with --%skey-file %s: %w", f.prefix, f.certFile, f.prefix, f.keyFile, err)
	}
	return certificate, nil
}

// flagCredential returns the login that the flags hold.
func (f *remoteFlags) flagCredential() auth.Credential {
	if f.identityToken != "" {
		return auth.Credential{RefreshToken: f.identityToken}
	}
	if f.username == "" && f.password != "" { // a password alone is an identity token
		return auth.Credential{RefreshToken: f.password}
	}
	return auth.Credential{Username: f.username, Password: f.password}
}

// credentials returns where the login for host comes from: the flags, or else the
// configuration.
func (e *environment) credentials(f *remoteFlags, host string) (auth.Source, error) {
	if cred := f.flagCredential(); !cred.IsZero() {
		return auth.Static(host, cred), nil
	}
	return e.openConfig(f)
}

func (e *environment) openConfig(f *remoteFlags) (*auth.Config, error) {
	config, err := auth.OpenConfig(f.config)
	if err != nil {
		return nil, err
	}
	config.Warn = e.warn
	return config, nil
}

// explain makes errors about the login at host say where the login was looked for,
// and how to log in.
func (e *environment) explain(f *remoteFlags, host string, err error) error {
	if !errors.Is(err, auth.ErrNoCredential) {
		return err
	}
	where := ""
	if config, e := e.openConfig(f); e == nil && config.Path() != "" { // empty without a home
		where = fmt.Sprintf(" at %q", config.Path())
	}
	login := "oras login " + host
	if f.config != "" {
		login += " --registry-config " + f.config
	}
	return hint(auth.ErrNoCredential, "Please check whether the registry credential stored in the authentication file%s is correct\nIf there is none yet, log in: %s", where, login)
}
