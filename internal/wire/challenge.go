package wire

import (
	"net/http"
	"strings"
)

// A Challenge is one of the ways to log in that a WWW-Authenticate header offers
// (RFC 9110, section 11.6.1).
type Challenge struct {
	Scheme     string            // in lower case: "basic", "bearer"
	Parameters map[string]string // names in lower case: "realm", "service", "scope", "error"
}

// ParseChallenges returns the challenges of all WWW-Authenticate headers in h,
// in their order. What cannot be read ends a header.
func ParseChallenges(h http.Header) []Challenge {
	var all []Challenge
	for _, line := range h.Values("WWW-Authenticate") {
		all = append(all, parseChallenges(line)...)
	}
	return all
}

func parseChallenges(s string) []Challenge {
	var all []Challenge
	for {
		s = strings.TrimLeft(s, " \t,")
		word, rest := cutToken(s)
		if word == "" {
			return all
		}
		rest = strings.TrimLeft(rest, " \t")
		if value, after, ok := cutValue(rest); ok && len(all) > 0 { // word=value goes on with the last challenge
			name := strings.ToLower(word)
			if _, twice := all[len(all)-1].Parameters[name]; !twice {
				all[len(all)-1].Parameters[name] = value
			}
			s = after
			continue
		}
		if strings.HasPrefix(rest, "=") { // a parameter of no challenge
			return all
		}
		all = append(all, Challenge{Scheme: strings.ToLower(word), Parameters: map[string]string{}})
		s = rest
	}
}

// cutToken cuts a token (RFC 9110, section 5.6.2) off the start of s.
func cutToken(s string) (token, rest string) {
	end := strings.IndexFunc(s, func(r rune) bool {
		return !(r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune("!#$%&'*+-.^_`|~", r))
	})
	if end < 0 {
		end = len(s)
	}
	return s[:end], s[end:]
}

// cutValue cuts ="value" or =value off the start of s.
func cutValue(s string) (value, rest string, ok bool) {
	s, ok = strings.CutPrefix(s, "=")
	if !ok {
		return "", s, false
	}
	s = strings.TrimLeft(s, " \t")
	if !strings.HasPrefix(s, `"`) {
		value, rest = cutToken(s)
		return value, rest, value != ""
	}
	var b strings.Builder
	for i := 1; i < len(s); i++ {
		switch c := s[i]; {
		case c == '"':
			return b.String(), s[i+1:], true
		case c == '\\' && i+1 < len(s):
			i++
			b.WriteByte(s[i])
		default:
			b.WriteByte(c)
		}
	}
	return "", "", false
}
