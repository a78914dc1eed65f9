package oras_test

import (
	"errors"
	"reflect"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/c73062ad/oras"
)

func digestOf(text string) oras.Digest { return oras.SHA256.Digest([]byte(text)) }

func TestParseReference(t *testing.T) {
	d := digestOf("")
	long := strings.Repeat("a", 128)
	for _, test := range []struct {
		text   string
		want   oras.Reference
		target string
	}{
		{"localhost:5000/hello", oras.Reference{Registry: "localhost:5000", Repository: "hello"}, ""},
		{"localhost:5000/hello:v1", oras.Reference{Registry: "localhost:5000", Repository: "hello", Tags: []string{"v1"}}, "v1"},
		{"localhost/hello:v1,v2,v1", oras.Reference{Registry: "localhost", Repository: "hello", Tags: []string{"v1", "v2", "v1"}}, "v1"},
		{"registry.example/a/b_c/d__e/f-g/h--i/j.k:" + long, oras.Reference{Registry: "registry.example", Repository: "a/b_c/d__e/f-g/h--i/j.k", Tags: []string{long}}, long},
		{"r.example/a@" + d.String(), oras.Reference{Registry: "r.example", Repository: "a", Digest: d}, d.String()},
		{"r.example/a:v1@" + d.String(), oras.Reference{Registry: "r.example", Repository: "a", Tags: []string{"v1"}, Digest: d}, d.String()},
		{"r.example:443/a:x,y@" + d.String(), oras.Reference{Registry: "r.example:443", Repository: "a", Tags: []string{"x", "y"}, Digest: d}, d.String()},
		{"[::1]:5000/a:v1", oras.Reference{Registry: "[::1]:5000", Repository: "a", Tags: []string{"v1"}}, "v1"},
		{"[2001:db8::1]/a/b", oras.Reference{Registry: "[2001:db8::1]", Repository: "a/b"}, ""},
		{"[::ffff:127.0.0.1]:80/a", oras.Reference{Registry: "[::ffff:127.0.0.1]:80", Repository: "a"}, ""},
		{"127.0.0.1:5000/a:_x.y-Z", oras.Reference{Registry: "127.0.0.1:5000", Repository: "a", Tags: []string{"_x.y-Z"}}, "_x.y-Z"},
		{"r.example./a", oras.Reference{Registry: "r.example.", Repository: "a"}, ""},
		{"r/" + strings.Repeat("a", 255), oras.Reference{Registry: "r", Repository: strings.Repeat("a", 255)}, ""},
		{"xn--bcher-kva.example/a", oras.Reference{Registry: "xn--bcher-kva.example", Repository: "a"}, ""},
	} {
		got, err := oras.ParseReference(test.text)
		if err != nil || !reflect.DeepEqual(got, test.want) {
			t.Errorf("%s:\n got %#v, %v\nwant %#v", test.text, got, err, test.want)
			continue
		}
		if got.String() != test.text {
			t.Errorf("%s: written as %s", test.text, got)
		}
		if got.Target() != test.target {
			t.Errorf("%s: target %q, want %q", test.text, got.Target(), test.target)
		}
		if got.Name() != got.Registry+"/"+got.Repository {
			t.Errorf("%s: name %q", test.text, got.Name())
		}
	}

	// A colon with nothing behind it says that there is no tag.
	for _, text := range []string{"r.example/a:", "r.example/a:@" + d.String()} {
		got, err := oras.ParseReference(text)
		if err != nil || got.Tags != nil || got.Repository != "a" {
			t.Errorf("%s: got %#v, %v", text, got, err)
		}
	}
}

func TestParseReferenceErrors(t *testing.T) {
	for text, want := range map[string]string{
		// these are shown to users in exactly these words
		"/oras":                  `"/oras": invalid reference: invalid registry ""`,
		"localhost:7000/INVALID": `"localhost:7000/INVALID": invalid reference: invalid repository "INVALID"`,
		"localhost:7000":         `"localhost:7000": invalid reference: missing registry or repository`,

		"":                        `"": invalid reference: missing registry or repository`,
		"hello:v1":                `"hello:v1": invalid reference: missing registry or repository`,
		"localhost:7000/":         `"localhost:7000/": invalid reference: invalid repository ""`,
		"r/:v1":                   `"r/:v1": invalid reference: invalid repository ""`,
		"r//a":                    `"r//a": invalid reference: invalid repository "/a"`,
		"r/a/":                    `"r/a/": invalid reference: invalid repository "a/"`,
		"r/a/../b":                `"r/a/../b": invalid reference: invalid repository "a/../b"`,
		"r/_uploads":              `"r/_uploads": invalid reference: invalid repository "_uploads"`,
		"r/a___b":                 `"r/a___b": invalid reference: invalid repository "a___b"`,
		"r/a%2fb":                 `"r/a%2fb": invalid reference: invalid repository "a%2fb"`,
		`r/a\b`:                   `"r/a\\b": invalid reference: invalid repository "a\\b"`,
		"r/a\x00":                 `"r/a\x00": invalid reference: invalid repository "a\x00"`,
		"r/a\n":                   `"r/a\n": invalid reference: invalid repository "a\n"`,
		"r/a:b\n":                 `"r/a:b\n": invalid reference: invalid tag "b\n"`,
		"r/a:.b":                  `"r/a:.b": invalid reference: invalid tag ".b"`,
		"r/a:-b":                  `"r/a:-b": invalid reference: invalid tag "-b"`,
		"r/a:b,":                  `"r/a:b,": invalid reference: invalid tag ""`,
		"r/a:,":                   `"r/a:,": invalid reference: invalid tag ""`,
		"r/a:b,,c":                `"r/a:b,,c": invalid reference: invalid tag ""`,
		"r/a:b+c":                 `"r/a:b+c": invalid reference: invalid tag "b+c"`,
		"r/a:b:c":                 `"r/a:b:c": invalid reference: invalid repository "a:b"`,
		"r.example:/a":            `"r.example:/a": invalid reference: invalid registry "r.example:"`,
		"r.example:port/a":        `"r.example:port/a": invalid reference: invalid registry "r.example:port"`,
		"user@r.example/a":        `"user@r.example/a": invalid reference: invalid registry "user@r.example"`,
		"user:secret@r.example/a": `"user:secret@r.example/a": invalid reference: invalid registry "user:secret@r.example"`,
		"https://r.example/a":     `"https://r.example/a": invalid reference: invalid registry "https:"`,
		"r.example?x=/a":          `"r.example?x=/a": invalid reference: invalid registry "r.example?x="`,
		"r.example#/a":            `"r.example#/a": invalid reference: invalid registry "r.example#"`,
		"-r/a":                    `"-r/a": invalid reference: invalid registry "-r"`,
		"../a":                    `"../a": invalid reference: invalid registry ".."`,
		"::1/a":                   `"::1/a": invalid reference: invalid registry "::1"`,
		"[::1/a":                  `"[::1/a": invalid reference: invalid registry "[::1"`,
		"[]/a":                    `"[]/a": invalid reference: invalid registry "[]"`,
		"[x]/a":                   `"[x]/a": invalid reference: invalid registry "[x]"`,
		"[::1]5000/a":             `"[::1]5000/a": invalid reference: invalid registry "[::1]5000"`,
		"r.example\n/a":           `"r.example\n/a": invalid reference: invalid registry "r.example\n"`,
		"r/a@sha256:b":            `"r/a@sha256:b": invalid reference: "sha256:b": invalid checksum digest length: invalid content`,
		"r/a@":                    `"r/a@": invalid reference: "": invalid checksum digest format: invalid content`,
		"r/a@latest":              `"r/a@latest": invalid reference: "latest": invalid checksum digest format: invalid content`,
		"r/a@../b":                `"r/a@../b": invalid reference: invalid repository "a@../b"`,
		"r/a:b/c":                 `"r/a:b/c": invalid reference: invalid repository "a:b/c"`,
		"[.]/a":                   `"[.]/a": invalid reference: invalid registry "[.]"`,
		"[1:2]/a":                 `"[1:2]/a": invalid reference: invalid registry "[1:2]"`,
		"[127.0.0.1]/a":           `"[127.0.0.1]/a": invalid reference: invalid registry "[127.0.0.1]"`,
	} {
		got, err := oras.ParseReference(text)
		if err == nil || err.Error() != want {
			t.Errorf("%s:\n got %v, %#v\nwant %s", text, err, got, want)
		}
		if !errors.Is(err, oras.ErrReference) || oras.Kind(err) != oras.ErrReference {
			t.Errorf("%s: kind %v", text, oras.Kind(err))
		}
		if !reflect.DeepEqual(got, oras.Reference{}) {
			t.Errorf("%s: got %#v with an error", text, got)
		}
	}
	for _, text := range []string{"r/a:" + strings.Repeat("a", 129), "r/" + strings.Repeat("a", 256)} {
		if _, err := oras.ParseReference(text); !errors.Is(err, oras.ErrReference) {
			t.Errorf("%s: %v", text, err)
		}
	}
}

func TestSplitReference(t *testing.T) {
	d := digestOf("")
	for _, test := range []struct {
		text, name string
		tags       []string
		digest     oras.Digest
	}{
		{"", "", nil, oras.Digest{}},
		{"dir", "dir", nil, oras.Digest{}},
		{"dir:", "dir", nil, oras.Digest{}},
		{"dir:v1", "dir", []string{"v1"}, oras.Digest{}},
		{"dir:a,b,c", "dir", []string{"a", "b", "c"}, oras.Digest{}},
		{"dir:a,", "dir", []string{"a", ""}, oras.Digest{}},
		{"dir@" + d.String(), "dir", nil, d},
		{"dir:v1@" + d.String(), "dir", []string{"v1"}, d},
		{"dir:@" + d.String(), "dir", nil, d},
		{"x.tAr:v1", "x.tAr", []string{"v1"}, oras.Digest{}},
		{"./a:b/c", "./a:b/c", nil, oras.Digest{}},
		{"a/b:c/d:v1", "a/b:c/d", []string{"v1"}, oras.Digest{}},
		{"/abs/dir:v1", "/abs/dir", []string{"v1"}, oras.Digest{}},
		{"a@b/c:v1", "a@b/c", []string{"v1"}, oras.Digest{}},
		{"../up", "../up", nil, oras.Digest{}},
		{`C:\dir`, `C:\dir`, nil, oras.Digest{}},
		{`C:\dir:tag`, `C:\dir`, []string{"tag"}, oras.Digest{}},
		{`C:\dir\sub:a,b`, `C:\dir\sub`, []string{"a", "b"}, oras.Digest{}},
		{`C:\dir:`, `C:\dir`, nil, oras.Digest{}},
		{`C:/dir:tag`, `C:/dir`, []string{"tag"}, oras.Digest{}},
		{`C:\dir@` + d.String(), `C:\dir`, nil, d},
		{`C:\user@host\dir:tag`, `C:\user@host\dir`, []string{"tag"}, oras.Digest{}},
		{"dir:example.registry.com/foo:latest", "dir:example.registry.com/foo", []string{"latest"}, oras.Digest{}},
	} {
		name, tags, d, err := oras.SplitReference(test.text)
		if err != nil || name != test.name || !reflect.DeepEqual(tags, test.tags) || d != test.digest {
			t.Errorf("%s: got %q, %q, %q, %v", test.text, name, tags, d, err)
		}
	}
	for _, text := range []string{"dir@", "dir@latest", "dir@sha256:" + strings.Repeat("A", 64), "dir:v1@sha256:0"} {
		name, tags, d, err := oras.SplitReference(text)
		if oras.Kind(err) != oras.ErrReference || name != "" || tags != nil || !d.IsZero() {
			t.Errorf("%s: got %q, %q, %q, %v", text, name, tags, d, err)
		}
	}
}

// A reference that is accepted holds only checked parts, and is what its text
// says.
func FuzzParseReference(f *testing.F) {
	for _, s := range []string{
		"", "/", "localhost:5000/hello:v1", "[::1]:5000/a/b:a,b@sha256:" + hex256, "r/a:", "r/a@sha512:" + hex512, "a/b@c/d", `C:\a:b`,
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		r, err := oras.ParseReference(s)
		if err != nil {
			if oras.Kind(err) != oras.ErrReference {
				t.Errorf("%q: %v", s, err)
			}
			return
		}
		must(t, oras.CheckRegistry(r.Registry))
		must(t, oras.CheckRepository(r.Repository))
		for _, tag := range r.Tags {
			must(t, oras.CheckTag(tag))
		}
		if again, err := oras.ParseReference(r.String()); err != nil || !reflect.DeepEqual(again, r) {
			t.Errorf("%q: %#v is written %q: %#v, %v", s, r, r, again, err)
		}
		if strings.Contains(r.String(), "//") || strings.Contains(r.Repository, "..") {
			t.Errorf("%q: accepted as %q", s, r)
		}
	})
}

func FuzzSplitReference(f *testing.F) {
	for _, s := range []string{"", "dir", "dir:", "dir:a,b", `C:\dir:tag`, "dir@sha256:" + hex256, "a@b/c:d", ":", "@", ":@"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		name, tags, d, err := oras.SplitReference(s)
		if err != nil {
			if oras.Kind(err) != oras.ErrReference {
				t.Errorf("%q: %v", s, err)
			}
			return
		}
		// Together the parts are the text, but for a colon that says nothing.
		whole, digest := name, ""
		if !d.IsZero() {
			digest = "@" + d.String()
		}
		if tags != nil {
			whole += ":" + strings.Join(tags, ",")
		}
		if whole+digest != s && whole+":"+digest != s {
			t.Errorf("%q: split into %q, %q, %q", s, name, tags, d)
		}
	})
}

func TestParsePlatform(t *testing.T) {
	for text, want := range map[string]oras.Platform{
		"linux":                         {OS: "linux", Architecture: runtime.GOARCH},
		"linux/amd64":                   {OS: "linux", Architecture: "amd64"},
		"linux/arm/v7":                  {OS: "linux", Architecture: "arm", Variant: "v7"},
		"windows/amd64:10.0.17763.1":    {OS: "windows", Architecture: "amd64", OSVersion: "10.0.17763.1"},
		"windows:10.0":                  {OS: "windows", Architecture: runtime.GOARCH, OSVersion: "10.0"},
		"linux/arm/v7:5":                {OS: "linux", Architecture: "arm", Variant: "v7", OSVersion: "5"},
		"windows/amd64:10.0:17763/what": {OS: "windows", Architecture: "amd64", OSVersion: "10.0:17763/what"},
	} {
		got, err := oras.ParsePlatform(text)
		if err != nil || !reflect.DeepEqual(*got, want) {
			t.Errorf("%s: got %+v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "/", "/amd64", "linux/", "linux//v7", "linux/arm/v7/x", ":10.0", "linux/:10.0"} {
		got, err := oras.ParsePlatform(text)
		if !errors.Is(err, oras.ErrReference) || got != nil {
			t.Errorf("%q: got %+v, %v", text, got, err)
		}
	}
}

func TestCheckMediaType(t *testing.T) {
	for _, text := range []string{
		"application/vnd.oci.image.manifest.v1+json", "text/plain", "sbom/example", "a/b", "Application/X",
		"text/plain; charset=utf-8", "text/plain;", "a1!#$&^_.+-/b1!#$&^_.+-", strings.Repeat("a", 127) + "/" + strings.Repeat("b", 127),
	} {
		must(t, oras.CheckMediaType(text))
	}
	for _, text := range []string{
		"", "invalid", "/", "a/", "/b", "a/b/c", " a/b", "a/b ", "a b/c", "a/b\n", "\na/b", "a/b;x\n", "-a/b", ".a/b", "a/<b>",
		"a/\"b", "a/b,c/d", "a\x00/b", "ä/b", strings.Repeat("a", 128) + "/b", "a/" + strings.Repeat("b", 128),
	} {
		err := oras.CheckMediaType(text)
		if !errors.Is(err, oras.ErrInvalid) || err.Error() != text+": invalid media type" {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// Names are read by hand where the specification has an expression: both must take the
// same ones, here of all that are short.
func TestGrammars(t *testing.T) {
	repository := regexp.MustCompile(`^[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(\/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*$`)
	tag := regexp.MustCompile(`^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}$`)
	taken := 0
	var try func(s string)
	try = func(s string) {
		if got, want := oras.CheckRepository(s) == nil, repository.MatchString(s); got != want {
			t.Errorf("repository %q: %v, want %v", s, got, want)
		} else if got {
			taken++
		}
		if got, want := oras.CheckTag(s) == nil, tag.MatchString(s); got != want {
			t.Errorf("tag %q: %v, want %v", s, got, want)
		}
		if utf8.RuneCountInString(s) < 5 {
			for _, c := range "aZ9._-/:é" {
				try(s + string(c))
			}
		}
	}
	try("")
	if taken == 0 {
		t.Error("nothing was taken")
	}
	for n := 126; n < 130; n++ {
		if s := strings.Repeat("a", n); (oras.CheckTag(s) == nil) != tag.MatchString(s) {
			t.Errorf("a tag of %d characters: %v", n, oras.CheckTag(s))
		}
	}
	for n := 254; n < 258; n++ {
		if s := strings.Repeat("a", n); (oras.CheckRepository(s) == nil) != (n <= 255) {
			t.Errorf("a repository of %d characters: %v", n, oras.CheckRepository(s))
		}
	}
}
