package oras_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
	"testing"

	"github.com/c73062ad/oras"
)

var manyNames = func() string {
	var members []string
	for i := range 100 {
		members = append(members, fmt.Sprintf(`"n%d":[%d, {"n": "]"}]`, i, i))
	}
	return strings.Join(members, " , ")
}()

// Documents that readers could understand in two ways, or at great cost.
var badJSON = map[string]string{
	"nothing":                    ``,
	"space":                      " \n",
	"half":                       `{"a":`,
	"half a string":              `{"a":"b`,
	"half an escape":             `{"a":"\u12`,
	"a backslash":                `\`,
	"half an array":              `[1,`,
	"comma":                      `{"a":1,}`,
	"comment":                    `{"a":1} // b`,
	"single quotes":              `{'a':1}`,
	"trailing data":              `{"a":1} {"a":1}`,
	"trailing bracket":           `{"a":1}]`,
	"trailing null":              `{"a":1} null`,
	"trailing NUL":               "{}\x00",
	"byte order mark":            "\xef\xbb\xbf{}",
	"UTF-16":                     "{\x00}\x00",
	"bad UTF-8 in a value":       "{\"a\":\"\xff\"}",
	"bad UTF-8 in a name":        "{\"\xc3\x28\":1}",
	"overlong UTF-8":             "{\"a\":\"\xc0\xaf\"}",
	"encoded surrogate":          "{\"a\":\"\xed\xa0\x80\"}",
	"lone high surrogate":        `{"a":"\ud800"}`,
	"lone low surrogate":         `{"a":"\udc00"}`,
	"two high surrogates":        `{"a":"\ud800\ud800"}`,
	"swapped surrogates":         `{"a":"\udc00\ud800"}`,
	"surrogate and letter":       `{"a":"\uD83Dx"}`,
	"lone surrogate in a name":   `{"\ud800":1}`,
	"twice":                      `{"a":1,"a":1}`,
	"twice, escaped":             `{"a":1,"\u0061":2}`,
	"twice, deeper":              `{"x":{"y":[{"a":1,"b":2,"a":3}]}}`,
	"twice in annotations":       `{"annotations":{"a":"1","a":"2"}}`,
	"twice among many":           `{` + manyNames + `,"n7":0}`,
	"twice behind many":          `{` + manyNames + `,"a":0,"a":0}`,
	"twice, a brace in it":       `{"a}\"":["}"],"a}\"":1}`,
	"twice below an unknown":     `{"x":[[[{"":1,"":2}]]]}`,
	"Subject":                    `{"Subject":{}}`,
	"CONFIG":                     `{"CONFIG":{}}`,
	"both cases":                 `{"layers":[],"Layers":[]}`,
	"Digest in a layer":          `{"layers":[{"Digest":"a"}]}`,
	"OS in a platform":           `{"manifests":[{"platform":{"OS":"linux"}}]}`,
	"mediatype":                  `{"mediatype":"a"}`,
	"escaped capital":            `{"\u0053ubject":{}}`,
	"long s":                     `{"ſubject":{}}`,
	"long s inside":              `{"manifeſts":[]}`,
	"long s in a descriptor":     `{"config":{"ſize":1}}`,
	"long s in annotations' own": `{"annotationſ":{}}`,
	"not a number":               `{"a":NaN}`,
	"hexadecimal":                `{"a":0x1}`,
	"leading zero":               `{"a":01}`,
}

func TestDecodeJSONRefuses(t *testing.T) {
	for name, text := range badJSON {
		var v any
		if err := oras.DecodeJSON([]byte(text), &v); !errors.Is(err, oras.ErrInvalid) {
			t.Errorf("%s: %q: %v, %v", name, text, v, err)
		}
	}
}

// A document that was cut off is told from one that is none.
func TestDecodeJSONCutOff(t *testing.T) {
	for name, text := range badJSON {
		var v any
		want := name == "nothing" || name == "space" || strings.HasPrefix(name, "half")
		if err := oras.DecodeJSON([]byte(text), &v); errors.Is(err, io.ErrUnexpectedEOF) != want {
			t.Errorf("%s: %q: %v", name, text, err)
		}
	}
}

func TestDecodeJSONNumbers(t *testing.T) {
	for text, want := range map[string]int64{
		`0`: 0, `1`: 1, `-1`: -1, `9223372036854775807`: 1<<63 - 1,
	} {
		var v struct{ Size int64 }
		if err := oras.DecodeJSON([]byte(`{"size":`+text+`}`), &v); err != nil || v.Size != want {
			t.Errorf("%s: got %d, %v", text, v.Size, err)
		}
	}
	for _, text := range []string{
		`9223372036854775808`, `-9223372036854775809`, `1e3`, `1.0`, `1e400`, `"1"`, strings.Repeat("9", 1<<20), `1e` + strings.Repeat("9", 1000), `true`, `[1]`,
	} {
		var v struct{ Size int64 }
		if err := oras.DecodeJSON([]byte(`{"size":`+text+`}`), &v); !errors.Is(err, oras.ErrInvalid) {
			t.Errorf("%.40s: got %d, %v", text, v.Size, err)
		}
	}
}

// However deep a document is nested, it is refused and not the end of the process.
func TestDecodeJSONNesting(t *testing.T) {
	const n = 1_000_000
	for name, text := range map[string]string{
		"arrays":         strings.Repeat("[", n),
		"closed arrays":  strings.Repeat("[", n) + strings.Repeat("]", n),
		"objects":        strings.Repeat(`{"a":`, n),
		"closed objects": strings.Repeat(`{"a":`, n) + "1" + strings.Repeat("}", n),
		"mixed":          strings.Repeat(`[{"annotations":`, n/2),
		"below unknown":  `{"x":` + strings.Repeat("[", 10_000) + strings.Repeat("]", 10_000) + "}",
	} {
		var v struct{}
		if err := oras.DecodeJSON([]byte(text), &v); !errors.Is(err, oras.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	var v struct{ X any }
	must(t, oras.DecodeJSON([]byte(`{"x":`+strings.Repeat("[", 9_999)+strings.Repeat("]", 9_999)+"}"), &v))
}

func TestDecodeJSONAccepts(t *testing.T) {
	for _, text := range []string{
		`{}`, ` {} `, "\t[]\r\n", `null`, `"a"`, `1`, `true`,
		`{"annotations":{"Subject":"a","SUBJECT":"b","subject":"c","Digest":"d","ſize":"e"}}`, // may be called anything
		`{"layers":[{"annotations":{"OS":"a"}}]}`,
		`{"a":"\ud83d\ude00 \\ud800 \n \u00e4 ä 😀"}`,
		`{"x":1,"X":2}`, // of names without a meaning nobody knows that they are the same
		`{"a":1e400}`,   // a number nobody asked for
		`{"a":{"b":1},"c":{"b":1},"d":[{"b":1},{"b":1}]}`,
		`{` + manyNames + ` , "n" : { } , "e":[ ],"f":[[],{}],"g":-1.5e3 }`,
		`{"a":"}","b\\":"\"","c\"":1}`,
	} {
		var v struct{}
		if text[0] == '{' {
			must(t, oras.DecodeJSON([]byte(text), &v))
		}
		if text != `{"a":1e400}` {
			var v any
			must(t, oras.DecodeJSON([]byte(text), &v))
		}
	}

	// The names in a map are data.
	files := map[string]map[string]string{}
	must(t, oras.DecodeJSON([]byte(`{"Config":{"OS":"a"},"config":{"os":"b"}}`), &files))
	if len(files) != 2 {
		t.Errorf("got %v", files)
	}
	if err := oras.DecodeJSON([]byte(`{"a":{"b":"c","b":"d"}}`), &files); !errors.Is(err, oras.ErrInvalid) {
		t.Errorf("a name twice: %v", err)
	}
	if err := oras.DecodeJSON([]byte(`{}`), nil); err == nil {
		t.Error("decoded into nothing")
	}
}

// What DecodeJSON accepts encoding/json accepts with the same result; and what
// it refuses means something else to a reader that takes names as they are.
func FuzzDecodeJSON(f *testing.F) {
	for _, text := range badJSON {
		f.Add([]byte(text))
	}
	f.Add([]byte(`{"schemaVersion":2,"config":{"digest":"a","size":1,"annotations":{"Size":"x"}},"layers":[{},{"data":"e30="}]}`))
	f.Add([]byte(`{"subject":{"platform":{"os.features":["a"]}},"x":[1,-2.5e3,true,null,"\u00e4"]}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		var ours, theirs oras.Manifest
		err := oras.DecodeJSON(data, &ours)
		if err != nil {
			if !errors.Is(err, oras.ErrInvalid) {
				t.Errorf("%q: %v", data, err)
			}
			return
		}
		if err := json.Unmarshal(data, &theirs); err != nil {
			t.Fatalf("%q: accepted, but %v", data, err)
		}
		if !reflect.DeepEqual(ours, theirs) {
			t.Fatalf("%q:\n%#v\n%#v", data, ours, theirs)
		}
		// A map knows the members by their exact names, so a meaning that came
		// from another spelling, or from one of two, is not in it.
		var members map[string]any
		if json.Unmarshal(data, &members) != nil || members == nil {
			return
		}
		exact := map[string]bool{
			"subject": ours.Subject != nil, "config": ours.Config != nil, "layers": ours.Layers != nil, "blobs": ours.Blobs != nil,
			"manifests": ours.Manifests != nil, "annotations": ours.Annotations != nil,
			"mediaType": ours.MediaType != "", "artifactType": ours.ArtifactType != "", "schemaVersion": ours.SchemaVersion != 0,
		}
		for name, set := range exact {
			if set && members[name] == nil {
				t.Errorf("%q: %s is set by another name", data, name)
			}
		}
	})
}
