package wire

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
)

// FormatLink returns a Link header that says where the next page of a list is
// (RFC 8288; distribution-spec, "Listing Tags").
func FormatLink(target string) string { return "<" + target + `>; rel="next"` }

// ParseLink returns the target of the Link header whose relation is "next",
// empty if there is none.
func ParseLink(h http.Header) string {
	for _, line := range h.Values("Link") {
		for line != "" {
			_, rest, ok := strings.Cut(line, "<")
			target, rest, ok2 := strings.Cut(rest, ">")
			if !ok || !ok2 {
				break
			}
			parameters := rest
			if i := strings.IndexByte(rest, '<'); i >= 0 { // another link follows
				parameters = rest[:i]
			}
			line = rest[len(parameters):]
			for p := range strings.SplitSeq(strings.TrimRight(parameters, ", \t"), ";") {
				name, value, _ := strings.Cut(strings.TrimSpace(p), "=")
				if strings.EqualFold(name, "rel") && strings.EqualFold(strings.Trim(value, `"`), "next") {
					return target
				}
			}
		}
	}
	return ""
}

var errRange = errors.New("is no range of bytes")

// FormatRange returns the range from first to last, both inclusive, as chunks of
// uploads and their answers carry it: "0-99" (distribution-spec, "Pushing a blob
// in chunks").
func FormatRange(first, last int64) string {
	return strconv.FormatInt(first, 10) + "-" + strconv.FormatInt(max(last, 0), 10)
}

// ParseRange parses what FormatRange returns. The forms "bytes=0-99" and
// "bytes 0-99/1000" are accepted too.
func ParseRange(s string) (first, last int64, err error) {
	text := strings.TrimPrefix(strings.TrimPrefix(strings.TrimSpace(s), "bytes="), "bytes ")
	text, _, _ = strings.Cut(text, "/")
	from, to, ok := strings.Cut(text, "-")
	a, err1 := strconv.ParseUint(from, 10, 63)
	b, err2 := strconv.ParseUint(to, 10, 63)
	if !ok || err1 != nil || err2 != nil || a > b {
		return 0, 0, fmt.Errorf("%q %w", s, errRange)
	}
	return int64(a), int64(b), nil
}
