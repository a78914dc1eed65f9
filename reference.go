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

var registryGrammar = grammar(`^(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])(?:\.(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9]))*\.?(?::[0-9]{1,5})?$|^\[[0-9a-fA-F:.]+\](?::[0-9]{1,5})?$`)

const (
	maxRepositoryName = 255 // characters, as registries and clients commonly allow
	maxTag            = 128
)

// CheckRepository reports a name that no repository can have, as [ErrReference].
func CheckRepository(name string) error {
	if len(name) > maxRepositoryName || !isRepository(name) {
		return fmt.Errorf("%w: invalid repository %q", ErrReference, name)
	}
	return nil
}

// isRepository reports whether name is a <name> of distribution-spec, "Pulling
// manifests". A registry asks this a few times for each request.
func isRepository(name string) bool {
	for component := range strings.SplitSeq(name, "/") {
		if !isComponent(component) {
			return false
		}
	}
	return true
}

// isComponent reports whether s is letters and digits with separators between them:
// ".", "_", "__", or any number of "-".
func isComponent(s string) bool {
	separator := 0 // where the one before i begins
	for i := range len(s) {
		switch c := s[i]; {
		case 'a' <= c && c <= 'z', '0' <= c && c <= '9':
			if between := s[separator:i]; between != "" && (separator == 0 || !isSeparator(between)) {
				return false
			}
			separator = i + 1
		case c != '.' && c != '_' && c != '-':
			return false
		}
	}
	return s != "" && separator == len(s)
}

func isSeparator(s string) bool {
	return s == "." || s == "_" || s == "__" || strings.Trim(s, "-") == ""
}

// CheckTag reports a tag that none can be, as [ErrReference].
func CheckTag(tag string) error {
	if !isTag(tag) {
		return fmt.Errorf("%w: invalid tag %q", ErrReference, tag)
	}
	return nil
}

// isTag reports whether s is a <reference> of distribution-spec, "Pulling manifests",
// that is a tag.
func isTag(s string) bool {
	for i := range len(s) {
		switch c := s[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '_':
		case i > 0 && (c == '.' || c == '-'):
		default:
			return false
		}
	}
	return 0 < len(s) && len(s) <= maxTag
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
