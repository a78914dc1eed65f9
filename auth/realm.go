package auth

import (
	"fmt"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"github.com/c73062ad/oras"
	"github.com/c73062ad/oras/internal/wire"
)

// A RealmError is a token service that a registry named and that is not asked,
// or not with credentials. It is [oras.ErrUnauthorized].
type RealmError struct {
	Registry string // host[:port]
	Realm    string // URL without its query
	Host     string // what [Options.AllowRealms] must hold to allow it; empty where nothing does
	Reason   string
}

func (e *RealmError) Error() string {
	text := fmt.Sprintf("registry %s names the token service %s: %s", e.Registry, e.Realm, e.Reason)
	if e.Host != "" {
		text += fmt.Sprintf("; if it belongs to the registry, allow the realm %q", e.Host)
	}
	return text
}

func (e *RealmError) Unwrap() error { return oras.ErrUnauthorized }

// checkRealm reports a token service at realm that is not to be asked; with
// secret, that is not to be shown a secret given for the registry.
//
// The realm is the registry's choice, and a registry, or who speaks for it, may
// be the attacker: for a password of its own, or for what an anonymous request
// from inside a network reaches.
func (t *Transport) checkRealm(realm *url.URL, secret bool) error {
	refuse := func(reason string) *RealmError {
		return &RealmError{Registry: t.registry.Host, Realm: plainURL(realm), Reason: reason}
	}
	host := foldHost(realm.Hostname())
	switch {
	case realm.Scheme != "http" && realm.Scheme != "https" || host == "" || realm.Opaque != "":
		return refuse("it is no http or https URL")
	case realm.User != nil:
		return refuse("its URL holds a login of its own")
	case !isASCII(host):
		return refuse("its host is not written in ASCII")
	case t.registry.Scheme == "https" && realm.Scheme == "http":
		return refuse("it is on plain HTTP, the registry on HTTPS")
	case t.allowsRealm(realm):
		return nil
	}
	own := foldHost(t.registry.Hostname())
	e := refuse("it is another party's, and credentials of the registry are not for it")
	e.Host = strings.ToLower(realm.Host)
	switch {
	case host == own || isLoopback(host) && isLoopback(own):
		return nil
	case isPrivate(host):
		e.Reason = "it is at an address inside a network, which the registry is not"
		return e
	case secret && !sameDomain(own, host):
		return e
	}
	return nil
}

func (t *Transport) allowsRealm(realm *url.URL) bool {
	return slices.ContainsFunc(t.allow, func(allowed string) bool {
		if u, err := url.Parse(allowed); err == nil && u.Host != "" {
			return wire.Origin(u) == wire.Origin(realm)
		}
		return strings.EqualFold(allowed, realm.Host)
	})
}

// plainURL returns u without what may be secret in it: user and query.
func plainURL(u *url.URL) string {
	plain := url.URL{Scheme: u.Scheme, Host: u.Host, Path: u.Path, RawPath: u.RawPath}
	return plain.String()
}

func foldHost(host string) string { return strings.TrimSuffix(strings.ToLower(host), ".") }

func isASCII(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r >= 0x80 })
}

// isLoopback reports whether host is this machine.
func isLoopback(host string) bool {
	if addr, err := netip.ParseAddr(host); err == nil {
		return addr.Unmap().IsLoopback()
	}
	return host == "localhost" || strings.HasSuffix(host, ".localhost")
}

// isPrivate reports whether host is written as an address that is not on the
// public internet, in any of the ways that resolvers accept.
func isPrivate(host string) bool {
	if isLoopback(host) {
		return true
	}
	addr, err := netip.ParseAddr(host)
	if err != nil {
		// "2130706433", "127.1" and "0x7f.1" are addresses to some resolvers, names to none.
		last := host[strings.LastIndexByte(host, '.')+1:]
		return strings.Trim(last, "0123456789") == "" || strings.HasPrefix(last, "0x")
	}
	return wire.IsPrivate(addr)
}

// sameDomain reports whether two hosts are of one party as far as their names
// tell: one is a label below the other, or both are a label below the same, as
// registry-1.docker.io and auth.docker.io. What they have in common must be a
// name that is given to a party, not a suffix under which strangers live. This
// is narrower than the public suffix list would have it.
func sameDomain(a, b string) bool {
	if isAddress(a) || isAddress(b) {
		return a == b
	}
	_, aboveA, _ := strings.Cut(a, ".")
	_, aboveB, _ := strings.Cut(b, ".")
	switch {
	case a == b:
		return true
	case aboveA == aboveB, aboveA == b:
		return isParty(aboveA)
	case aboveB == a:
		return isParty(a)
	}
	return false
}

func isAddress(host string) bool {
	_, err := netip.ParseAddr(host)
	return err == nil || isPrivate(host)
}

// secondLevel are labels that stand before a country's for everyone: co.uk, com.au.
var secondLevel = []string{
	"ac", "co", "com", "edu", "gen", "go", "gob", "gov", "gouv", "gv", "id", "in", "ltd", "me", "mil", "ne", "net",
	"nic", "nom", "or", "org", "plc", "pvt", "sch", "school", "web",
}

// shared are domains below which strangers have hosts.
var shared = []string{
	"amazonaws.com", "amazonaws.com.cn", "appspot.com", "azurecr.cn", "azurecr.io", "azurecr.us", "azurewebsites.net",
	"cloudapp.net", "cloudfront.net", "duckdns.org", "fly.dev", "github.io", "githubusercontent.com", "gitlab.io",
	"herokuapp.com", "jfrog.io", "netlify.app", "ngrok-free.app", "ngrok.app", "ngrok.io", "nip.io", "onrender.com",
	"pages.dev", "pkg.dev", "run.app", "sslip.io", "trafficmanager.net", "ts.net", "vercel.app", "web.app", "windows.net",
	"workers.dev",
}

// isParty reports whether domain is a name that one party was given.
func isParty(domain string) bool {
	labels := strings.Split(domain, ".")
	if len(labels) < 2 || slices.Contains(labels, "") {
		return false
	}
	if len(labels) == 2 && len(labels[1]) == 2 && slices.Contains(secondLevel, labels[0]) {
		return false
	}
	return !slices.ContainsFunc(shared, func(s string) bool {
		return domain == s || strings.HasSuffix(domain, "."+s)
	})
}
