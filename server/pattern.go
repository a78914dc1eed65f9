package server

import (
	"fmt"
	"path"
	"strings"

	"github.com/c73062ad/oras"
)

// A Pattern says which repositories something is about. In one, "*" stands for any
// part of a name's component, "**" as a whole component for any number of them:
// "team/*" is all repositories directly below team, "team/**" team and all below it.
// The zero Pattern is about all. Get one from [ParsePattern].
type Pattern struct{ components []string }

// ParsePattern parses a pattern. One that no name of a repository can match is
// [oras.ErrReference].
func ParsePattern(text string) (Pattern, error) {
	example := strings.ReplaceAll(strings.ReplaceAll(text, "**", "a"), "*", "a")
	if oras.CheckRepository(example) != nil {
		return Pattern{}, fmt.Errorf("%w: %q is no pattern of names of repositories", oras.ErrReference, text)
	}
	p := Pattern{strings.Split(text, "/")}
	for _, c := range p.components {
		if c != "**" && strings.Contains(c, "**") {
			return Pattern{}, fmt.Errorf("%w: in the pattern %q, ** is not a component of its own", oras.ErrReference, text)
		}
	}
	return p, nil
}

// String returns the pattern as ParsePattern takes it.
func (p Pattern) String() string {
	if p.components == nil {
		return "**"
	}
	return strings.Join(p.components, "/")
}

// Match reports whether the repository called name is one of those that p is about.
func (p Pattern) Match(name string) bool {
	return p.components == nil || match(p.components, strings.Split(name, "/"))
}

// match reports whether the components of a name match those of a pattern. It takes
// time in proportion to the product of their numbers: only the last ** seen need be
// tried anew.
func match(pattern, name []string) bool {
	p, n, star, from := 0, 0, -1, 0
	for n < len(name) {
		if p < len(pattern) && pattern[p] == "**" {
			star, from = p, n
			p++
			continue
		}
		if p < len(pattern) {
			// No character of a name means anything to it, and the pattern has been checked.
			if ok, _ := path.Match(pattern[p], name[n]); ok {
				p, n = p+1, n+1
				continue
			}
		}
		if star < 0 {
			return false
		}
		from++
		p, n = star+1, from
	}
	for p < len(pattern) && pattern[p] == "**" {
		p++
	}
	return p == len(pattern)
}
