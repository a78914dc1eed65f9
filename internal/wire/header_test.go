package wire

import (
	"encoding/json"
	"net/http"
	"reflect"
	"strings"
	"testing"
)

func TestLink(t *testing.T) {
	for line, want := range map[string]string{
		"":                                      "",
		`</v2/a/tags/list?n=1>; rel="next"`:     "/v2/a/tags/list?n=1",
		`</x>;rel=next`:                         "/x",
		`</x> ; title="a" ; REL = "next"`:       "", // no name has a space behind it
		`</x>; title=a; REL="Next"`:             "/x",
		`</x>; rel="prev"`:                      "",
		`</x>; rel="prev", </y>; rel="next"`:    "/y",
		`</x,y>; rel="next"`:                    "/x,y",
		`/x; rel="next"`:                        "",
		`</x; rel="next"`:                       "",
		`>/x<; rel="next"`:                      "",
		`</x>`:                                  "",
		`<>; rel="next"`:                        "",
		`<https://other.example/x>; rel="next"`: "https://other.example/x",
	} {
		if got := ParseLink(http.Header{"Link": {line}}); got != want {
			t.Errorf("ParseLink %s: %q; it must be %q", line, got, want)
		}
	}
	if got := ParseLink(http.Header{"Link": {`</x>; rel="prev"`, `</y>; rel="next"`}}); got != "/y" {
		t.Errorf("the second header: %q", got)
	}
	for _, test := range requests {
		if got := ParseLink(http.Header{"Link": {FormatLink(test.text)}}); got != test.text {
			t.Errorf("ParseLink of FormatLink %s: %q", test.text, got)
		}
	}
}

func TestRange(t *testing.T) {
	for text, want := range map[string][2]int64{
		"0-0": {0, 0}, "0-99": {0, 99}, "100-199": {100, 199}, "bytes=1-2": {1, 2}, "bytes 1-2/1000": {1, 2}, " 1-2 ": {1, 2},
		"0-9223372036854775807": {0, 9223372036854775807},
	} {
		first, last, err := ParseRange(text)
		if err != nil || first != want[0] || last != want[1] {
			t.Errorf("ParseRange %q: %d, %d, %v; it must be %d", text, first, last, err, want)
		}
	}
	for _, text := range []string{"", "-", "1", "1-", "-1", "2-1", "a-b", "0-x", "--1", "0--1", "+0-1", "0-+1", "1-2-3", "0x1-2", "0-9223372036854775808", "0-18446744073709551616", "bytes */5", "1 - 2"} {
		if first, last, err := ParseRange(text); err == nil {
			t.Errorf("ParseRange %q: %d-%d and no error", text, first, last)
		}
	}
	for _, test := range []struct {
		first, last int64
		want        string
	}{{0, 99, "0-99"}, {0, -1, "0-0"}, {5, 5, "5-5"}} {
		if got := FormatRange(test.first, test.last); got != test.want {
			t.Errorf("FormatRange %d, %d: %s; it must be %s", test.first, test.last, got, test.want)
		}
	}
}

func FuzzRange(f *testing.F) {
	for _, text := range []string{"0-0", "5-4", "bytes=1-2", "bytes 1-2/*", "-1", "99999999999999999999-1"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		first, last, err := ParseRange(text)
		if err != nil {
			return
		}
		if first < 0 || last < first {
			t.Fatalf("ParseRange %q: %d-%d", text, first, last)
		}
		if a, b, err := ParseRange(FormatRange(first, last)); err != nil || a != first || b != last {
			t.Errorf("ParseRange %q: %d-%d; written and read again %d-%d, %v", text, first, last, a, b, err)
		}
	})
}

func FuzzLink(f *testing.F) {
	for _, text := range []string{`</x>; rel="next"`, `<a>; rel=prev, <b>; rel=next`, `<`, `<>;<>;rel=next`, `>,<,;rel=next`} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if target := ParseLink(http.Header{"Link": {text}}); strings.Contains(target, ">") || !strings.Contains(text, target) {
			t.Errorf("ParseLink %q: %q", text, target)
		}
	})
}

func TestChallenges(t *testing.T) {
	type parameters = map[string]string
	for line, want := range map[string][]Challenge{
		"":                         nil,
		"Basic":                    {{"basic", parameters{}}},
		`Basic realm="a registry"`: {{"basic", parameters{"realm": "a registry"}}},
		`Bearer realm="https://a.example/token",service="a.example",scope="repository:a/b:pull,push"`: {{"bearer",
			parameters{"realm": "https://a.example/token", "service": "a.example", "scope": "repository:a/b:pull,push"}}},
		`BEARER Realm=x , Service = "y"`:    {{"bearer", parameters{"realm": "x", "service": "y"}}},
		`Basic realm="a", Bearer realm="b"`: {{"basic", parameters{"realm": "a"}}, {"bearer", parameters{"realm": "b"}}},
		`Negotiate, Basic realm="a"`:        {{"negotiate", parameters{}}, {"basic", parameters{"realm": "a"}}},
		`Basic realm="a \"b\" \\c"`:         {{"basic", parameters{"realm": `a "b" \c`}}},
		`Bearer realm="a", realm="b"`:       {{"bearer", parameters{"realm": "a"}}}, // the first counts
		`Bearer realm="a`:                   {{"bearer", parameters{}}},
		`realm="a"`:                         nil,
		`, ,Basic realm=a`:                  {{"basic", parameters{"realm": "a"}}},
		`Bearer scope=""`:                   {{"bearer", parameters{"scope": ""}}},
	} {
		got := ParseChallenges(http.Header{"Www-Authenticate": {line}})
		if len(got) != len(want) || len(got) > 0 && !reflect.DeepEqual(got, want) {
			t.Errorf("ParseChallenges %s: %v; it must be %v", line, got, want)
		}
	}
	both := ParseChallenges(http.Header{"Www-Authenticate": {"Basic realm=a", "Bearer realm=b"}})
	if len(both) != 2 || both[1].Parameters["realm"] != "b" {
		t.Errorf("two headers: %v", both)
	}
}

func FuzzChallenges(f *testing.F) {
	for _, text := range []string{`Basic realm="a"`, `Bearer realm="a",service=b`, `a b c d=e`, `"`, `x="\`, `,,=`, `a=`} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		for _, c := range ParseChallenges(http.Header{"Www-Authenticate": {text}}) {
			if c.Scheme == "" || c.Scheme != strings.ToLower(c.Scheme) || c.Parameters == nil {
				t.Errorf("ParseChallenges %q: %v", text, c)
			}
			for name := range c.Parameters {
				if name == "" || name != strings.ToLower(name) {
					t.Errorf("ParseChallenges %q: parameter %q", text, name)
				}
			}
		}
	})
}

func TestErrors(t *testing.T) {
	all := []Error{
		{Code: CodeManifestUnknown, Message: "manifest unknown", Detail: json.RawMessage(`{"name":"a"}`)},
		{Code: CodeDenied},
	}
	body := ErrorBody(all...)
	if want := `{"errors":[{"code":"MANIFEST_UNKNOWN","message":"manifest unknown","detail":{"name":"a"}},{"code":"DENIED"}]}`; string(body) != want {
		t.Errorf("ErrorBody: %s; it must be %s", body, want)
	}
	if got := ParseErrors(body); !reflect.DeepEqual(got, all) {
		t.Errorf("ParseErrors: %v; it must be %v", got, all)
	}
	for i, want := range []string{"manifest unknown: manifest unknown: map[name:a]", "denied"} {
		if got := all[i].Error(); got != want {
			t.Errorf("Error: %q; it must be %q", got, want)
		}
	}
	for _, body := range []string{"", "<html>", "[]", "{}", `{"errors":null}`, `{"errors":"x"}`, `{"errors":[1]}`} {
		if got := ParseErrors([]byte(body)); len(got) != 0 {
			t.Errorf("ParseErrors %q: %v", body, got)
		}
	}
	broken := ParseErrors(ErrorBody(Error{Code: CodeDenied, Detail: json.RawMessage("{")}))
	if len(broken) != 1 || broken[0].Code != CodeUnknown || broken[0].Message == "" {
		t.Errorf("a detail that is no JSON: %v", broken)
	}
}

func FuzzErrors(f *testing.F) {
	f.Add([]byte(`{"errors":[{"code":"DENIED","message":"x","detail":[1]}]}`))
	f.Add([]byte(`{"errors":[{}]}`))
	f.Add([]byte(`{"errors":[{"code":1}]}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		parsed := ParseErrors(body)
		for _, e := range parsed {
			_ = e.Error()
		}
		if again := ParseErrors(ErrorBody(parsed...)); len(again) != len(parsed) {
			t.Errorf("ParseErrors %q: %d errors, then %d", body, len(parsed), len(again))
		}
	})
}
