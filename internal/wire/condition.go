package wire

import (
	"net/http"
	"slices"
	"strings"

	"github.com/c73062ad/oras"
)

// ETag returns the entity tag of what has the digest d, also under a tag: the state
// of a tag is what it names (RFC 9110, section 8.8.3).
func ETag(d oras.Digest) string { return `"` + d.String() + `"` }

// Conditions are what a request demands of the state of what it is about
// (RFC 9110, section 13.1). The zero Conditions demand nothing.
type Conditions struct {
	match, noneMatch []string // entity tags, or "*"; nil if there is no such header
}

// ParseConditions reads If-Match and If-None-Match. Entity tags without quotation
// marks, as some clients send them, are taken for what they mean.
func ParseConditions(h http.Header) Conditions {
	return Conditions{parseETags(h["If-Match"]), parseETags(h["If-None-Match"])}
}

// Any reports whether anything is demanded.
func (c Conditions) Any() bool { return c.match != nil || c.noneMatch != nil }

// Hold reports whether what has the digest now, which is zero if there is nothing, is
// as demanded.
func (c Conditions) Hold(now oras.Digest) bool {
	is := func(weak bool) func(string) bool {
		return func(tag string) bool {
			if weak {
				tag = strings.TrimPrefix(tag, "W/")
			}
			return !now.IsZero() && (tag == "*" || tag == ETag(now))
		}
	}
	return (c.match == nil || slices.ContainsFunc(c.match, is(false))) &&
		(c.noneMatch == nil || !slices.ContainsFunc(c.noneMatch, is(true)))
}

// parseETags returns the entity tags in the lines of one header. An entity tag may
// hold commas, so it ends at its quotation mark.
func parseETags(lines []string) []string {
	var tags []string
	for _, line := range lines {
		for {
			line = strings.TrimLeft(line, " \t,")
			if line == "" {
				break
			}
			start := 0
			if strings.HasPrefix(line, "W/") {
				start = 2
			}
			if rest := line[start:]; strings.HasPrefix(rest, `"`) {
				end := strings.IndexByte(rest[1:], '"')
				if end < 0 {
					end = len(rest) - 2 // the mark is missing
				}
				tags = append(tags, line[:start+end+2])
				line = line[start+end+2:]
				continue
			}
			tag, rest, _ := strings.Cut(line, ",")
			if tag = strings.TrimRight(tag, " \t"); tag != "*" {
				tag = tag[:start] + `"` + tag[start:] + `"`
			}
			tags = append(tags, tag)
			line = rest
		}
	}
	if len(lines) > 0 && tags == nil {
		tags = []string{} // there, and naming nothing
	}
	return tags
}
