package bucket_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/c73062ad/oras"
	"github.com/c73062ad/oras/bucket"
)

// check returns what is wrong in b, a line each.
func check(tb testing.TB, b bucket.Bucket, opts bucket.CheckOptions) ([]string, bucket.Checked) {
	tb.Helper()
	var lines []string
	repaired := 0
	opts.Event = func(p bucket.Problem) {
		line := p.String()
		if strings.Contains(line, "\n") || !strings.Contains(line, ";") {
			tb.Errorf("%q is not one line that says the way out", line)
		}
		if p.Repaired {
			repaired++
			line += " [repaired]"
		}
		lines = append(lines, line)
	}
	done, err := bucket.New(b).Check(tb.Context(), &opts)
	must(tb, err)
	if done.Problems != len(lines) || done.Repaired != repaired {
		tb.Errorf("%+v; it told of %q", done, lines)
	}
	slices.Sort(lines)
	return lines, done
}

// clean checks that nothing is wrong in b.
func clean(tb testing.TB, b bucket.Bucket) bucket.Checked {
	tb.Helper()
	lines, done := check(tb, b, bucket.CheckOptions{})
	for _, line := range lines {
		tb.Errorf("check: %s", line)
	}
	return done
}

var listed, listedDesc = index("list", subjectDesc)

// fill puts into the repository a a bit of everything, and some of it into b.
func fill(tb testing.TB, b bucket.Bucket) {
	r := bucket.New(b)
	for _, name := range []string{"a", "b"} {
		s := repository(tb, r, name)
		push(tb, s, []byte("{}"), oras.MediaTypeEmpty)
		push(tb, s, layer, "a/b")
		push(tb, s, newLayer, "a/b")
		must(tb, oras.PushTagged(tb.Context(), s, subjectDesc, bytes.NewReader(subject), "v1", "subject"))
	}
	s := repository(tb, r, "a")
	must(tb, oras.PushTagged(tb.Context(), s, signedDesc, bytes.NewReader(signed), "signature"))
	must(tb, oras.PushTagged(tb.Context(), s, listedDesc, bytes.NewReader(listed), "list"))
	data, desc := image("by sha512", oras.Manifest{Layers: []oras.Descriptor{layerDesc}, Subject: &signedDesc})
	desc.Digest = oras.SHA512.Digest(data).OCI()
	must(tb, oras.PushTagged(tb.Context(), s, desc, bytes.NewReader(data), "by-sha512"))
}

// TestCheck: whatever is wrong is found, named, and repaired where it can be; what was
// wrong is then nowhere.
func TestCheck(t *testing.T) {
	hex := func(desc oras.Descriptor) string { return desc.Digest.Encoded() }
	blob := func(repo string, desc oras.Descriptor) string { return repo + "/_blobs/sha256/" + hex(desc) }
	fact := "a/_manifests/sha256/" + hex(signedDesc)
	referrer := "a/_referrers/sha256/" + hex(subjectDesc) + "/sha256." + hex(signedDesc)
	tagged := "a/_tagged/sha256/" + hex(signedDesc)[:2] + "/" + hex(signedDesc)[2:] + "~signature"
	// harmed writes a file anew that may be shared.
	harmed := func(path, name string, harm func(data []byte) []byte) error {
		name = filepath.Join(path, name)
		data, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		return errors.Join(os.Remove(name), os.WriteFile(name, harm(bytes.Clone(data)), 0o600))
	}
	changed := func(name string) func(string) error {
		return func(path string) error {
			return harmed(path, name, func(data []byte) []byte { data[len(data)/2] ^= 1; return data })
		}
	}
	garbled := func(name string) func(string) error {
		return func(path string) error { return harmed(path, name, func(data []byte) []byte { return data[:9] }) }
	}
	replaced := func(name, old, new string) func(string) error {
		return func(path string) error {
			return harmed(path, name, func(data []byte) []byte { return bytes.ReplaceAll(data, []byte(old), []byte(new)) })
		}
	}
	removed := func(name string) func(string) error {
		return func(path string) error { return os.Remove(filepath.Join(path, name)) }
	}
	added := func(name, content string) func(string) error {
		return func(path string) error {
			name = filepath.Join(path, name)
			return errors.Join(os.MkdirAll(filepath.Dir(name), 0o700), os.WriteFile(name, []byte(content), 0o600))
		}
	}
	all := func(harms ...func(string) error) func(string) error {
		return func(path string) (err error) {
			for _, harm := range harms {
				err = errors.Join(err, harm(path))
			}
			return err
		}
	}
	everywhere := func(desc oras.Descriptor) func(string) error { // the file that all share
		return func(path string) error { return overwrite(filepath.Join(path, blob("a", desc)), 3, '!') }
	}
	const damaged = "is damaged, so it cannot be pulled"
	for _, test := range []struct {
		name  string
		harm  func(path string) error
		wrong []string // a part of each line
		stays int      // how much of it stays wrong after a repair
	}{
		{"nothing", func(string) error { return nil }, nil, 0},
		{"blob changed", changed(blob("a", newLayerDesc)), []string{"a: blob " + newLayerDesc.Digest.String() + ": " + damaged}, 0},
		{"blob cut", garbled(blob("b", newLayerDesc)), []string{"b: blob " + newLayerDesc.Digest.String() + ": " + damaged}, 0},
		{"blob and what is shared changed", all(changed(blob("a", newLayerDesc)), changed("_content/sha256/"+hex(newLayerDesc)[:2]+"/"+hex(newLayerDesc)[2:])),
			[]string{"a: blob " + newLayerDesc.Digest.String() + ": " + damaged}, 0},
		{"blob changed everywhere", everywhere(newLayerDesc), []string{"a: blob " + newLayerDesc.Digest.String(), "b: blob " + newLayerDesc.Digest.String()}, 2},
		{"layer changed everywhere", everywhere(layerDesc), []string{"a: blob " + layerDesc.Digest.String(), "b: blob " + layerDesc.Digest.String()}, 5},
		{"layer missing", removed(blob("b", layerDesc)),
			[]string{"b: manifest " + subjectDesc.Digest.String() + ": refers to " + layerDesc.Digest.String() + ", which is not there"}, 1},
		{"manifest changed", changed(blob("a", subjectDesc)), []string{"a: blob " + subjectDesc.Digest.String() + ": " + damaged}, 0},
		{"manifest's content missing", removed(blob("a", subjectDesc)), []string{
			"a: manifest " + subjectDesc.Digest.String() + ": has no content",
			"a: manifest " + listedDesc.Digest.String() + ": refers to " + subjectDesc.Digest.String(),
		}, 0},
		{"manifest's content missing everywhere", all(removed(blob("a", signedDesc)), removed("_content/sha256/"+hex(signedDesc)[:2]+"/"+hex(signedDesc)[2:])),
			[]string{"a: manifest " + signedDesc.Digest.String() + ": has no content"}, 1},
		{"fact missing", removed(fact), []string{"a: manifest " + signedDesc.Digest.String() + ": is there only as a blob"}, 0},
		{"fact of another manifest", replaced(fact, hex(signedDesc), hex(subjectDesc)), []string{"a: manifest " + signedDesc.Digest.String() + ": is described wrongly"}, 0},
		{"fact without subject", replaced(fact, `"subject"`, `"object"`), []string{
			"a: manifest " + signedDesc.Digest.String() + ": is described wrongly",
			"a: manifest " + signedDesc.Digest.String() + ": is listed as a referrer of " + subjectDesc.Digest.String() + ", and is none",
		}, 0},
		{"fact with another size", replaced(fact, `"size":`, `"size":1`), []string{
			"a: manifest " + signedDesc.Digest.String() + ": is described wrongly",
			"a: tag signature: describes " + signedDesc.Digest.String() + " wrongly",
		}, 0},
		{"fact garbled", garbled(fact), []string{"a: manifest " + signedDesc.Digest.String() + ": is described wrongly"}, 0},
		{"fact with another media type", replaced(fact, "image.manifest", "image.index"), []string{
			"a: manifest " + signedDesc.Digest.String() + ": is described wrongly",
			"a: tag signature: describes " + signedDesc.Digest.String() + " wrongly",
		}, 0},
		{"fact of what is no manifest", added("a/_manifests/sha256/"+hex(layerDesc), `{"digest":"`+layerDesc.Digest.String()+`","mediaType":"x","size":7}`),
			[]string{"a: manifest " + layerDesc.Digest.String() + ": is none"}, 1},
		{"referrer missing", removed(referrer), []string{"a: manifest " + signedDesc.Digest.String() + ": is not among the referrers"}, 0},
		{"referrer changed", replaced(referrer, "sbom", "spam"), []string{"a: manifest " + signedDesc.Digest.String() + ": is not among the referrers"}, 0},
		{"referrer garbled", garbled(referrer), []string{"a: manifest " + signedDesc.Digest.String() + ": is not among the referrers"}, 0},
		{"referrer of something else", added("a/_referrers/sha256/"+hex(layerDesc)+"/sha256."+hex(subjectDesc), "{}"),
			[]string{"a: manifest " + subjectDesc.Digest.String() + ": is listed as a referrer of " + layerDesc.Digest.String()}, 0},
		{"referrer that is not there", added("a/_referrers/sha256/"+hex(layerDesc)+"/sha256."+hex(layerDesc), "{}"), nil, 0},
		{"tag of what is not there", replaced("a/_tags/signature", hex(signedDesc), hex(newLayerDesc)), []string{"a: tag signature: names " + newLayerDesc.Digest.String() + ", which is not there"}, 1},
		{"tag garbled", garbled("a/_tags/signature"), []string{"a: tag signature: does not say what it names"}, 0},
		{"tag garbled and what may have it missing", all(garbled("a/_tags/signature"), removed(tagged)), []string{"a: tag signature: does not say what it names"}, 1},
		{"tag with another size", replaced("a/_tags/signature", `"size":`, `"size":1`), []string{"a: tag signature: describes " + signedDesc.Digest.String() + " wrongly"}, 0},
		{"what may have a tag missing", removed(tagged), []string{"a: tag signature: is not known to " + signedDesc.Digest.String()}, 0},
		{"what may have a tag that names something else", added(strings.Replace(tagged, "~signature", "~v1", 1), ""), nil, 0},
		{"repository not listed", removed("_repositories/a"), []string{"repository a: is not in the list of repositories"}, 0},
		{"strange blob", added("a/_blobs/sha256/abc", "x"), []string{"a: a/_blobs/sha256/abc: is nothing that belongs here"}, 1},
		{"strange manifest", added("a/_manifests/md5/abc", "x"), []string{"a: a/_manifests/md5/abc: is nothing that belongs here"}, 1},
		{"strange referrer", added("a/_referrers/abc", "x"), []string{"a: a/_referrers/abc: is nothing that belongs here"}, 1},
		{"strange tag", added("a/_tags/-abc", "x"), []string{"a: a/_tags/-abc: is nothing that belongs here"}, 1},
		{"strange file", added("README", "x"), []string{"README: is nothing that belongs here"}, 1},
		{"strange folder", added("X/_tags/y", "x"), []string{"X: is nothing that belongs here"}, 1},
		{"strange folder in a repository", added("a/X/y", "x"), []string{"a/X/y: is nothing that belongs here"}, 1},
		{"strange repository", added("_repositories/-a", ""), []string{"_repositories/-a: is not the name of a repository"}, 1},
		{"moved aside before", added("_damaged/sha256.x", "x"), nil, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := openDir(t)
			fill(t, dir)
			clean(t, dir)
			must(t, test.harm(dir.Path()))
			lines, _ := check(t, dir, bucket.CheckOptions{})
			if len(lines) != len(test.wrong) {
				t.Errorf("check: %q; it must be %d lines", lines, len(test.wrong))
			}
			for _, part := range test.wrong {
				if !slices.ContainsFunc(lines, func(line string) bool { return strings.HasPrefix(line, part) }) {
					t.Errorf("check: %q; it must say %q", lines, part)
				}
			}
			before := files(t, dir.Path())
			lines, done := check(t, dir, bucket.CheckOptions{Repair: true})
			if done.Problems-done.Repaired != test.stays {
				t.Errorf("repair: %q; %d must stay wrong", lines, test.stays)
			}
			again, _ := check(t, dir, bucket.CheckOptions{})
			if len(again) != test.stays && !strings.Contains(test.name, "everywhere") {
				t.Errorf("check after repair: %q; it must be %d lines", again, test.stays)
			}
			if test.stays == 0 {
				consistent(t, repository(t, bucket.New(dir), "a"))
			}
			if len(files(t, dir.Path())) < len(before) && !strings.Contains(test.name, "referrer") && !strings.Contains(test.name, "everywhere") {
				t.Errorf("of %q there is %q", before, files(t, dir.Path()))
			}
			// What nobody had whole is pushed again.
			if strings.Contains(test.name, "everywhere") {
				fill(t, dir)
				clean(t, dir)
			}
		})
	}
}

// Damaged content is not lost: it is moved to where it can be looked at.
func TestCheckAside(t *testing.T) {
	dir := openDir(t)
	fill(t, dir)
	name := filepath.Join(dir.Path(), "a/_blobs/sha256", newLayerDesc.Digest.Encoded())
	must(t, overwrite(name, 3, '!'))
	damaged, err := os.ReadFile(name)
	must(t, err)
	lines, _ := check(t, dir, bucket.CheckOptions{Repair: true})
	aside := list(t, dir, "_damaged/", "")
	if len(aside) != 2 || !strings.Contains(strings.Join(lines, " "), "moved to "+aside[0]) {
		t.Errorf("aside are %q; check: %q", aside, lines)
	}
	for _, key := range aside {
		if get(t, dir, key) != string(damaged) {
			t.Errorf("%s is not what was damaged", key)
		}
	}
	age(t, dir, 1000*time.Hour)
	collect(t, bucket.New(dir), bucket.CollectOptions{})
	if got := list(t, dir, "_damaged/", ""); !slices.Equal(got, aside) {
		t.Errorf("after a collection there are %q", got)
	}
}

// Where manifests may refer to what is not there, that is not wrong.
func TestCheckSparse(t *testing.T) {
	dir := openDir(t)
	for _, name := range []string{"a", "mirror/a"} {
		push(t, repository(t, bucket.New(dir), name), listed, listedDesc.MediaType)
	}
	lines, _ := check(t, dir, bucket.CheckOptions{Sparse: func(name string) bool { return strings.HasPrefix(name, "mirror/") }})
	if len(lines) != 1 || !strings.HasPrefix(lines[0], "a: ") {
		t.Errorf("check: %q", lines)
	}
}

// A subject may be absent, and so may what can be had elsewhere.
func TestCheckAbsent(t *testing.T) {
	dir := openDir(t)
	s := repository(t, bucket.New(dir), "a")
	push(t, s, []byte("{}"), oras.MediaTypeEmpty)
	foreign := oras.DescriptorOf("a/b", []byte("foreign"))
	foreign.URLs = []string{"https://example.com/foreign"}
	data, desc := image("one", oras.Manifest{Subject: &subjectDesc, Layers: []oras.Descriptor{foreign}})
	push(t, s, data, desc.MediaType)
	clean(t, dir)
}

// Large content that repositories share is read once.
func TestCheckShared(t *testing.T) {
	dir := openDir(t)
	data := random(2 << 20)
	for _, name := range []string{"a", "b", "c"} {
		push(t, repository(t, bucket.New(dir), name), data, "a/b")
	}
	if done := clean(t, dir); done.Blobs != 3 || done.Bytes >= 6<<20 || done.Bytes < 2<<20 {
		t.Errorf("%+v", done)
	}
}

// A bucket that can do no more than it must is checked, too.
func TestCheckPlain(t *testing.T) {
	b := &plain{}
	fill(t, b)
	if done := clean(t, b); done.Repositories != 2 || done.Manifests != 5 || done.Tags != 7 || done.Blobs != 11 || done.Bytes == 0 {
		t.Errorf("%+v", done)
	}
	key := "a/_blobs/sha256/" + newLayerDesc.Digest.Encoded()
	put(t, b, key, "damaged")
	lines, done := check(t, b, bucket.CheckOptions{Repair: true})
	if done.Problems != 1 || done.Repaired != 1 {
		t.Errorf("check: %q", lines)
	}
	put(t, b, key, "damaged")
	put(t, b, strings.Replace(key, "a/", "b/", 1), "damaged, too")
	lines, done = check(t, b, bucket.CheckOptions{Repair: true})
	if done.Problems != 2 || done.Repaired != 0 || len(list(t, b, "_damaged/", "")) != 3 {
		t.Errorf("check: %q", lines)
	}
	clean(t, b)
}
