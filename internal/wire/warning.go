package wire

import "strings"

// MaxWarnings is how many bytes all warnings of an answer may have together
// (distribution-spec, "Warnings").
const MaxWarnings = 4096

const warningPrefix = `299 - "`

// FormatWarning returns the Warning header that has users read text, of which control
// characters, which a header cannot hold, are left out.
func FormatWarning(text string) string {
	text = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return -1
		}
		return r
	}, text)
	return warningPrefix + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(text) + `"`
}

// ParseWarning returns the text of a Warning header, and whether it is of the form
// that the specification has for registries.
func ParseWarning(header string) (text string, ok bool) {
	text, ok = strings.CutPrefix(header, warningPrefix)
	text, closed := strings.CutSuffix(text, `"`)
	if !ok || !closed {
		return "", false
	}
	return strings.NewReplacer(`\"`, `"`, `\\`, `\`).Replace(text), true
}
