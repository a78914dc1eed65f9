package oras

import (
	"fmt"
	"net/netip"
	"strings"
)

// A Reference names something in a registry: registry/repository, then any of
// tags and a digest (distribution-spec, "Pulling manifests").
//
//	localhost:5000/hello:v1
//	[::1]:5000/hello:v1,v2
//	registry.example/team/hello@sha256:44136fa3…
//	registry.example/team/hello:v1@sha256:44136fa3…
//	registry.example/team/hello:               no tag
type Reference struct {
	Registry   string   // host[:port], as written
	Repository string   // path of the repository
	Tags       []string // in the order written; empty for none
	Digest     Digest   // zero for none
}

var (
	// distribution-spec, "Pulling manifests": <name> and <reference>.
	repositoryGrammar = grammar(`^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*)*$`)
	tagGrammar        = grammar(`^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}$`)
	registryGrammar   = grammar(`^(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])(?:\.(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9]))*\.?(?::[0-9]{1,5})?$|^\[[0-9a-fA-F:.]+\](?::[0-9]{1,5})?$`)
)

const maxRepositoryName = 255 // characters, as registries and clients commonly allow

// CheckRepository reports a name that no repository can have, as [ErrReference].
func CheckRepository(name string) error {
	if len(name) > maxRepositoryName || !repositoryGrammar().MatchString(name) {
		return fmt.Errorf("%w: invalid repository %q", ErrReference, name)
	}
	return nil
}

// CheckTag reports a tag that none can be, as [ErrReference].
func CheckTag(tag string) error {
	if !tagGrammar().MatchString(tag) {
		return fmt.Errorf("%w: invalid tag %q", ErrReference, tag)
	}
	return nil
}

// CheckRegistry reports text that is no host[:port], as [ErrReference].
func CheckRegistry(registry string) error {
	if !isRegistry(registry) {
		return fmt.Errorf("%w: invalid registry %q", ErrReference, registry)
	}
	return nil
}

func isRegistry(s string) bool {
	if !registryGrammar().MatchString(s) {
		return false
	}
	if s[0] != '[' {
		return true
	}
	address, _, _ := strings.Cut(s[1:], "]")
	ip, err := netip.ParseAddr(address)
	return err == nil && ip.Is6()
}

// ParseReference parses registry/repository[:tag[,tag…]][@digest]. What is not
// one is [ErrReference].
func ParseReference(s string) (Reference, error) {
	r, err := parseReference(s)
	if err != nil {
		return Reference{}, fmt.Errorf("%q: %w", s, err)
	}
	return r, nil
}

func parseReference(s string) (Reference, error) {
	registry, rest, ok := strings.Cut(s, "/")
	if !ok {
		return Reference{}, fmt.Errorf("%w: missing registry or repository", ErrReference)
	}
	r := Reference{Registry: registry}
	if err := CheckRegistry(registry); err != nil {
		return r, err
	}
	var err error
	if r.Repository, r.Tags, r.Digest, err = SplitReference(rest); err != nil {
		return r, err
	}
	if err := CheckRepository(r.Repository); err != nil {
		return r, err
	}
	for _, tag := range r.Tags {
		if err := CheckTag(tag); err != nil {
			return r, err
		}
	}
	return r, nil
}

// SplitReference splits name[:tag[,tag…]][@digest] where name is a repository or
// a path: the part that ParseReference and references into a layout have in
// common. The tag begins after the last colon behind the last slash; a colon
// with nothing behind it says that there is no tag. Only the digest is
// validated: a layout allows more tags than a registry does.
func SplitReference(s string) (name string, tags []string, d Digest, err error) {
	name = s
	if i := strings.LastIndexByte(name, '@'); i >= 0 && !strings.ContainsAny(name[i:], `/\`) {
		if d, err = ParseDigest(name[i+1:]); err != nil {
			return "", nil, Digest{}, fmt.Errorf("%w: %w", ErrReference, err)
		}
		name = name[:i]
	}
	if i := strings.LastIndexByte(name, ':'); i > strings.LastIndexAny(name, `/\`) {
		if list := name[i+1:]; list != "" {
			tags = strings.Split(list, ",")
		}
		name = name[:i]
	}
	return name, tags, d, nil
}

// Name returns registry/repository.
func (r Reference) Name() string { return r.Registry + "/" + r.Repository }

// Target returns what [Source.Resolve] takes: the digest if there is one, else
// the first tag, else the empty string.
func (r Reference) Target() string {
	switch {
	case !r.Digest.IsZero():
		return r.Digest.String()
	case len(r.Tags) > 0:
		return r.Tags[0]
	}
	return ""
}

// String returns the reference as ParseReference takes it.
func (r Reference) String() string {
	s := r.Name()
	if len(r.Tags) > 0 {
		s += ":" + strings.Join(r.Tags, ",")
	}
	if !r.Digest.IsZero() {
		s += "@" + r.Digest.String()
	}
	return s
}
