package wire

import (
	"net/http"
	"strings"
	"testing"

	"github.com/c73062ad/oras"
)

func TestConditions(t *testing.T) {
	now, other := oras.SHA256.Digest([]byte("now")), oras.SHA256.Digest([]byte("other"))
	for _, test := range []struct {
		headers                    string // lines
		any, now, other, ifNothing bool   // whether it holds
	}{
		{"", false, true, true, true},
		{"If-Match: " + ETag(now), true, true, false, false},
		{"If-Match: " + ETag(other) + ` , "a,b",` + ETag(now), true, true, true, false},
		{"If-Match: " + ETag(other) + "\nIf-Match: " + ETag(now), true, true, true, false},
		{"If-Match: *", true, true, true, false},
		{"If-Match: W/" + ETag(now), true, false, false, false}, // RFC 9110, section 8.8.3.2: strong comparison
		{"If-Match: " + now.String(), true, true, false, false},
		{"If-Match: ", true, false, false, false},
		{"If-Match: \"", true, false, false, false},
		{`If-Match: "x` + now.String(), true, false, false, false},
		{"If-None-Match: *", true, false, false, true},
		{"If-None-Match: " + ETag(now), true, false, true, true},
		{"If-None-Match: W/" + ETag(now), true, false, true, true},
		{"If-None-Match: W/" + now.String() + ",x", true, false, true, true},
		{"If-None-Match: " + other.String() + ", " + ETag(now), true, false, false, true},
		{"If-None-Match: ", true, true, true, true},
		{"If-Match: *\nIf-None-Match: " + ETag(now), true, false, true, false},
		{"If-Match: " + ETag(now) + "\nIf-None-Match: " + ETag(now), true, false, false, false},
	} {
		h := http.Header{}
		for line := range strings.SplitSeq(test.headers, "\n") {
			if name, value, ok := strings.Cut(line, ": "); ok {
				h.Add(name, value)
			}
		}
		c := ParseConditions(h)
		if c.Any() != test.any {
			t.Errorf("%q: Any is %v", test.headers, c.Any())
		}
		for what, state := range map[string]struct {
			digest oras.Digest
			want   bool
		}{"what they name": {now, test.now}, "another": {other, test.other}, "nothing": {oras.Digest{}, test.ifNothing}} {
			if got := c.Hold(state.digest); got != state.want {
				t.Errorf("%q, now %s: Hold is %v", test.headers, what, got)
			}
		}
	}
}

// FuzzConditions: what was demanded of one digest does not hold for another.
func FuzzConditions(f *testing.F) {
	for _, seed := range []string{"", "*", `"a"`, `W/"a", b, "c`, `""`, "W/", ",,", ETag(digest256), `"`} {
		f.Add(seed, seed)
	}
	f.Fuzz(func(t *testing.T, match, noneMatch string) {
		c := ParseConditions(http.Header{"If-Match": {match}, "If-None-Match": {noneMatch}})
		d := oras.SHA256.Digest([]byte("of nobody"))
		if c.Hold(d) && !strings.Contains(match, "*") && !strings.Contains(match, d.String()) {
			t.Errorf("If-Match %q holds for %s", match, d)
		}
		if !ParseConditions(http.Header{"If-Match": {ETag(d) + ", " + match}}).Hold(d) {
			t.Errorf("If-Match of %s does not hold for it with %q behind it", d, match)
		}
	})
}

func TestWarning(t *testing.T) {
	for text, want := range map[string]string{
		"":                                 `299 - ""`,
		"moves on Monday":                  `299 - "moves on Monday"`,
		`a "b" \c`:                         `299 - "a \"b\" \\c"`,
		"a\r\nSet-Cookie: x\x00\x7f\x1b[m": `299 - "aSet-Cookie: x[m"`,
	} {
		got := FormatWarning(text)
		if got != want {
			t.Errorf("FormatWarning %q: %s; it must be %s", text, got, want)
		}
		if again, ok := ParseWarning(got); !ok || FormatWarning(again) != got {
			t.Errorf("ParseWarning %s: %q, %v", got, again, ok)
		}
	}
	for _, header := range []string{"", "x", `299 - "x`, `299 - "`, `199 - "x"`, `299 host "x"`, `299 - "x" "Mon, 01 Jan 2024 00:00:00 GMT"x`} {
		if text, ok := ParseWarning(header); ok {
			t.Errorf("ParseWarning %s: %q", header, text)
		}
	}
}
