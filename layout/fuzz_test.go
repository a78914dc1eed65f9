package layout

import (
	"encoding/json"
	"reflect"
	"testing"

	"github.com/c73062ad/oras"
)

// FuzzIndex: whatever index.json is accepted, each edit makes another that is
// accepted, that says what was asked for, and that keeps all other members of
// the document and of the entries.
func FuzzIndex(f *testing.F) {
	one := oras.DescriptorOf(oras.MediaTypeImageManifest, []byte("one"))
	f.Add([]byte(emptyIndex), "v1")
	f.Add([]byte(`{"schemaVersion":2,"manifests":null,"x":{"y":[1.50,"\u003c"]}}`), "a/b:c")
	f.Add([]byte(`{"manifests":[{"x":1,"digest":"`+one.Digest.String()+`","annotations":{"org.opencontainers.image.ref.name":"v1","y":"z"}}],"schemaVersion":2}`), "v1")
	f.Add([]byte(`{"schemaVersion":2,"manifests":[{"digest":"`+one.Digest.String()+`","annotations":null},{"digest":"x","annotations":{"org.opencontainers.image.ref.name":"v1"}}]}`), "v1")
	f.Fuzz(func(t *testing.T, raw []byte, tag string) {
		x, err := parseIndex(raw)
		if err != nil {
			return
		}
		if checkTag(tag) != nil {
			return
		}
		edit := func(x *indexJSON, do func() ([]entry, error)) *indexJSON {
			t.Helper()
			entries, err := do()
			if err != nil {
				t.Fatal(err)
			}
			next, err := x.with(entries)
			if err != nil {
				t.Fatal(err)
			}
			again, err := parseIndex(next.raw)
			if err != nil {
				t.Fatalf("%s became %s: %v", raw, next.raw, err)
			}
			if len(again.entries) != len(entries) || len(entries) > 0 && !reflect.DeepEqual(again.entries, entries) || !reflect.DeepEqual(others(t, raw), others(t, next.raw)) {
				t.Fatalf("%s became %s", raw, next.raw)
			}
			return again
		}
		x = edit(x, func() ([]entry, error) { return x.list(one) })
		x = edit(x, func() ([]entry, error) { return x.tag(one, tag) })
		if got, ok := x.tags.Resolve(tag); !ok || got.Digest != one.Digest {
			t.Fatalf("%q resolves to %v in %s", tag, got, x.raw)
		}
		x = edit(x, func() ([]entry, error) { return x.untag(tag) })
		if got, ok := x.tags.Resolve(tag); ok {
			t.Fatalf("%q still resolves to %v in %s", tag, got, x.raw)
		}
		d, err := oras.ParseDigest(one.Digest)
		if err != nil {
			t.Fatal(err)
		}
		if _, ok := x.entry(d); !ok {
			t.Fatalf("the manifest is no longer listed in %s", x.raw)
		}
		x = edit(x, func() ([]entry, error) { return x.remove(d), nil })
		if _, ok := x.entry(d); ok {
			t.Fatalf("the manifest is still listed in %s", x.raw)
		}
	})
}

// others returns the members of index.json but for its entries.
func others(t *testing.T, raw []byte) map[string]json.RawMessage {
	t.Helper()
	var members map[string]json.RawMessage
	if err := json.Unmarshal(raw, &members); err != nil {
		t.Fatal(err)
	}
	delete(members, "manifests")
	for name, value := range members {
		members[name] = compact(value)
	}
	return members
}
