package bucket_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/c73062ad/oras"
	"github.com/c73062ad/oras/bucket"
)

// age lets all files of d have been written, touched and asked for so long ago.
func age(tb testing.TB, d *bucket.Dir, by time.Duration) {
	tb.Helper()
	then := time.Now().Add(-by)
	must(tb, filepath.WalkDir(d.Path(), func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		return os.Chtimes(path, then, then)
	}))
}

// collect returns what a collection deleted, in order, without the repository's name
// where it is "a".
func collect(tb testing.TB, r *bucket.Registry, opts bucket.CollectOptions) ([]string, bucket.Collected) {
	tb.Helper()
	var told []string
	opts.Event = func(g bucket.Garbage) {
		if g.Name == "" || g.Bytes < 0 {
			tb.Errorf("told of %+v", g)
		}
		told = append(told, strings.TrimPrefix(fmt.Sprintf("%s %s %s", g.Repository, g.Kind, g.Name), "a "))
	}
	done, err := r.Collect(tb.Context(), &opts)
	must(tb, err)
	slices.Sort(told)
	if done.Objects != len(told) {
		tb.Errorf("%d objects; it told of %q", done.Objects, told)
	}
	return told, done
}

// used returns how many bytes the files below a folder take, each counted once.
func used(tb testing.TB, folder string) (bytes int64) {
	var seen []os.FileInfo
	for _, name := range files(tb, folder) {
		info, err := os.Stat(name)
		must(tb, err)
		if !slices.ContainsFunc(seen, func(other os.FileInfo) bool { return os.SameFile(info, other) }) {
			seen = append(seen, info)
			bytes += info.Size()
		}
	}
	return bytes
}

// What no manifest refers to goes when it is old, and only then; a dry run tells of
// the same and deletes nothing.
func TestCollect(t *testing.T) {
	dir := openDir(t)
	r := bucket.New(dir)
	a, b := repository(t, r, "a"), repository(t, r, "b")
	loose, both := []byte("loose"), []byte("loose in both")
	looseDesc, bothDesc := push(t, a, loose, "a/b"), push(t, a, both, "a/b")
	push(t, b, both, "a/b")
	push(t, b, layer, "a/b") // which a needs and b does not
	config := push(t, a, []byte("{}"), oras.MediaTypeEmpty)
	push(t, a, layer, "a/b")
	must(t, oras.PushTagged(t.Context(), a, subjectDesc, bytes.NewReader(subject), "v1"))
	push(t, a, signed, signedDesc.MediaType)
	large := push(t, a, newLayer, "a/b")
	list, listDesc := index("list", subjectDesc)
	push(t, a, list, listDesc.MediaType)
	openUpload(t, a, "")
	digestOf := func(desc oras.Descriptor) string { return desc.Digest.String() }
	shared := func(desc oras.Descriptor) string {
		hex := desc.Digest.Encoded()
		return " shared _content/sha256/" + hex[:2] + "/" + hex[2:]
	}
	everything := files(t, dir.Path())

	for _, opts := range []bucket.CollectOptions{{}, {Grace: time.Minute}, {Grace: time.Nanosecond}, {Grace: -1}} {
		if told, _ := collect(t, r, opts); len(told) > 0 {
			t.Errorf("%+v: what is young went: %q", opts, told)
		}
	}
	age(t, dir, 25*time.Hour)
	if told, _ := collect(t, r, bucket.CollectOptions{Grace: 26 * time.Hour, Uploads: 26 * time.Hour}); len(told) > 0 {
		t.Errorf("what is younger than the grace went: %q", told)
	}
	if exists, err := a.Exists(t.Context(), large); err != nil || !exists {
		t.Fatal(exists, err)
	}
	upload := list2(t, dir, "a/_uploads/")[0]
	want := []string{
		"b blob " + digestOf(bothDesc), "b blob " + digestOf(layerDesc), "blob " + digestOf(bothDesc), "blob " + digestOf(looseDesc),
		shared(bothDesc), shared(looseDesc), "upload " + upload,
	}
	slices.Sort(want)
	dry, dryDone := collect(t, r, bucket.CollectOptions{DryRun: true})
	if diff := cmp.Diff(want, dry); diff != "" {
		t.Errorf("a dry run tells of -want +got:\n%s", diff)
	}
	if got := files(t, dir.Path()); !slices.Equal(got, everything) {
		t.Errorf("after a dry run there is %q", got)
	}
	before := used(t, dir.Path())
	told, done := collect(t, r, bucket.CollectOptions{})
	if diff := cmp.Diff(dry, told); diff != "" {
		t.Errorf("-a dry run tells of +what goes:\n%s", diff)
	}
	if freed := before - used(t, dir.Path()); done != dryDone || done.Bytes != freed || freed != int64(len(loose)+len(both)) {
		t.Errorf("%+v, dry %+v; the disk has %d bytes more", done, dryDone, freed)
	}
	if left := len(everything) - len(files(t, dir.Path())); left != len(want) || done.Repositories != 2 {
		t.Errorf("%d files went, of %d repositories; it must be %d", left, done.Repositories, len(want))
	}
	for _, desc := range []oras.Descriptor{config, layerDesc, large, subjectDesc, signedDesc, listDesc} {
		whole(t, a, desc)
	}
	resolves("v1", subjectDesc)(t, a)
	if told, _ := collect(t, r, bucket.CollectOptions{}); len(told) > 0 {
		t.Errorf("once more, there went %q", told)
	}
}

// list2 returns the names of the objects whose keys begin with prefix.
func list2(tb testing.TB, d *bucket.Dir, prefix string) []string {
	names := list(tb, d, prefix, "")
	for i := range names {
		names[i] = strings.TrimPrefix(names[i], prefix)
	}
	return names
}

// index returns an index of the manifests children.
func index(name string, children ...oras.Descriptor) ([]byte, oras.Descriptor) {
	data := marshal(map[string]any{
		"schemaVersion": 2, "mediaType": oras.MediaTypeImageIndex, "manifests": children, "annotations": map[string]string{"name": name},
	})
	return data, oras.DescriptorOf(oras.MediaTypeImageIndex, data)
}

// Whoever relies on something makes it young.
func TestCollectRenewed(t *testing.T) {
	for name, rely := range map[string]func(s *bucket.Store) error{
		"Exists": func(s *bucket.Store) error { _, err := s.Exists(t.Context(), newLayerDesc); return err },
		"Resolve": func(s *bucket.Store) error {
			_, err := s.Resolve(t.Context(), newLayerDesc.Digest.String())
			return err
		},
		"Push":  func(s *bucket.Store) error { return s.Push(t.Context(), newLayerDesc, bytes.NewReader(newLayer)) },
		"Mount": func(s *bucket.Store) error { return s.Mount(t.Context(), newLayerDesc, "other", nil) },
		"Upload": func(s *bucket.Store) error {
			u := openUpload(t, s, "")
			appendTo(t, u, newLayer)
			return u.Commit(t.Context(), newLayerDigest)
		},
		"Push of what refers to it": func(s *bucket.Store) error {
			data, desc := image("refers", oras.Manifest{Layers: []oras.Descriptor{newLayerDesc}})
			if err := s.Push(t.Context(), desc, bytes.NewReader(data)); err != nil {
				return err
			}
			return s.Delete(t.Context(), desc) // so that only its age keeps it
		},
	} {
		for _, there := range []bool{true, false} {
			dir := openDir(t)
			r := bucket.New(dir)
			s := repository(t, r, "a")
			push(t, repository(t, r, "other"), newLayer, "a/b")
			if there {
				push(t, s, newLayer, "a/b")
			}
			age(t, dir, 2*time.Hour)
			must2(t, name, gone(rely(s)))
			there, err := s.Exists(t.Context(), oras.Descriptor{Digest: layerDesc.Digest})
			if err != nil || there {
				t.Fatal(there, err)
			}
			before := list(t, dir, "a/_blobs/", "")
			collect(t, bucket.New(dir), bucket.CollectOptions{})
			if got := list(t, dir, "a/_blobs/", ""); !slices.Equal(got, before) {
				t.Errorf("after %s there is %q, and was %q", name, got, before)
			}
		}
	}
}

func must2(tb testing.TB, name string, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatalf("%s: %v", name, err)
	}
}

// Manifests stay, unless it is said that those go that no tag leads to. What hangs
// together with what stays, stays.
func TestCollectUntagged(t *testing.T) {
	dir := openDir(t)
	r := bucket.New(dir)
	s := repository(t, r, "a")
	pushed := map[string]oras.Descriptor{}
	add := func(name string, m oras.Manifest) oras.Descriptor {
		m.Layers = append(m.Layers, push(t, s, []byte("layer of "+name), "a/b"))
		data, desc := image(name, m)
		pushed[name] = push(t, s, data, desc.MediaType)
		return desc
	}
	list := func(name string, children ...oras.Descriptor) oras.Descriptor {
		data, desc := index(name, children...)
		pushed[name] = push(t, s, data, desc.MediaType)
		return desc
	}
	tag := func(desc oras.Descriptor, name string) { must(t, s.Tag(t.Context(), desc, name)) }

	tagged := add("tagged", oras.Manifest{})
	tag(tagged, "v1")
	signature := add("signature of tagged", oras.Manifest{Subject: &tagged})
	add("signature of signature", oras.Manifest{Subject: &signature})
	inner := add("in a list in a tagged list", oras.Manifest{})
	add("signature of it", oras.Manifest{Subject: &inner})
	tag(list("tagged list", list("list in it", inner)), "list")
	subjectOfTagged := add("subject of a tagged signature", oras.Manifest{})
	tag(add("tagged signature", oras.Manifest{Subject: &subjectOfTagged}), "sig")
	young := add("in a young list", oras.Manifest{})

	moved := add("was tagged", oras.Manifest{})
	tag(moved, "moves")
	tag(tagged, "moves")
	add("signature of what was", oras.Manifest{Subject: &moved})
	alone := add("in a list that has no tag", oras.Manifest{})
	list("list without a tag", alone, tagged)
	absent := oras.DescriptorOf(oras.MediaTypeImageManifest, []byte("absent"))
	add("signature of what is absent", oras.Manifest{Subject: &absent})
	garbage := []string{"was tagged", "signature of what was", "in a list that has no tag", "list without a tag", "signature of what is absent"}

	age(t, dir, 10*time.Hour)
	list("young list", young)
	there := func() (names []string) {
		for name, desc := range pushed {
			exists, err := s.Exists(t.Context(), desc)
			must(t, err)
			if exists {
				names = append(names, name)
			}
		}
		slices.Sort(names)
		return names
	}
	collect(t, r, bucket.CollectOptions{})
	if got := there(); len(got) != len(pushed) {
		t.Fatalf("without being told to, it left only %q", got)
	}
	age(t, dir, 10*time.Hour) // Exists has made them young
	list("another young list", young)
	collect(t, r, bucket.CollectOptions{Untagged: 11 * time.Hour})
	collect(t, r, bucket.CollectOptions{Untagged: time.Nanosecond, Grace: 11 * time.Hour})

	dry, dryDone := collect(t, r, bucket.CollectOptions{Untagged: 2 * time.Hour, DryRun: true})
	told, done := collect(t, r, bucket.CollectOptions{Untagged: 2 * time.Hour})
	if diff := cmp.Diff(dry, told); diff != "" || done != dryDone {
		t.Errorf("dry %+v, not %+v; -a dry run tells of +what goes:\n%s", dryDone, done, diff)
	}
	var want []string
	for name := range pushed {
		if !slices.Contains(garbage, name) && name != "young list" {
			want = append(want, name)
		}
	}
	slices.Sort(want)
	if diff := cmp.Diff(want, there()); diff != "" {
		t.Errorf("-must stay +stays:\n%s", diff)
	}
	for _, name := range want {
		complete(t, s, pushed[name])
	}
	if got := list2(t, dir, "a/_blobs/"); len(got) != 2*len(want)-3 { // three are lists
		t.Errorf("%d contents are left, of %d manifests", len(got), len(want))
	}
	if told, _ := collect(t, r, bucket.CollectOptions{Untagged: 2 * time.Hour}); len(told) > 0 {
		t.Errorf("once more, there went %q", told)
	}
	if got := list2(t, dir, "a/_referrers/"); len(got) != 4 {
		t.Errorf("referrers: %q", got)
	}
}

// Where subjects had referrers, nothing is left.
func TestCollectFolders(t *testing.T) {
	dir := openDir(t)
	r := bucket.New(dir)
	s := repository(t, r, "a")
	folders := func() []string {
		entries, err := os.ReadDir(filepath.Join(dir.Path(), "a/_referrers/sha256"))
		must(t, err)
		var names []string
		for _, entry := range entries {
			names = append(names, entry.Name())
		}
		return names
	}
	push(t, s, signed, signedDesc.MediaType)   // of subject
	push(t, s, another, anotherDesc.MediaType) // of signed
	must(t, s.Delete(t.Context(), signedDesc))
	old := time.Now().Add(-2 * time.Hour)
	for _, name := range folders() {
		must(t, os.Chtimes(filepath.Join(dir.Path(), "a/_referrers/sha256", name), old, old))
	}
	collect(t, r, bucket.CollectOptions{DryRun: true})
	if got := folders(); len(got) != 2 {
		t.Errorf("after a dry run there are %q", got)
	}
	collect(t, r, bucket.CollectOptions{})
	if got := folders(); !slices.Equal(got, []string{signedDesc.Digest.Encoded()}) {
		t.Errorf("there are %q", got)
	}
	for _, r := range []*bucket.Registry{r, bucket.New(dir)} {
		s := repository(t, r, "a")
		push(t, s, signed, signedDesc.MediaType)
		if got, err := s.Predecessors(t.Context(), subjectDesc); err != nil || len(got) != 1 {
			t.Errorf("Predecessors: %v, %v", got, err)
		}
	}
}

// A repository with a manifest that cannot be read loses nothing; others do.
func TestCollectDamaged(t *testing.T) {
	hex := subjectDesc.Digest.Encoded()
	for harm, do := range map[string]func(dir string) error{
		"content lost": func(dir string) error { return os.Remove(filepath.Join(dir, "a/_blobs/sha256", hex)) },
		"content changed": func(dir string) error {
			name := filepath.Join(dir, "a/_blobs/sha256", hex)
			return errors.Join(os.Remove(name), os.WriteFile(name, bytes.ToUpper(subject), 0o600)) // b has another name of it
		},
		"fact changed": func(dir string) error { return overwrite(filepath.Join(dir, "a/_manifests/sha256", hex), 0, '!') },
	} {
		dir := openDir(t)
		r := bucket.New(dir)
		for _, name := range []string{"a", "b"} {
			s := repository(t, r, name)
			push(t, s, subject, subjectDesc.MediaType)
			push(t, s, []byte("loose in "+name), "a/b")
		}
		age(t, dir, 2*time.Hour)
		before := list(t, dir, "a/", "")
		must(t, do(dir.Path()))
		missing := harm == "content lost"
		done, err := r.Collect(t.Context(), nil)
		if err == nil || !strings.Contains(err.Error(), "repository a:") || !strings.Contains(err.Error(), hex) {
			t.Errorf("%s: %v", harm, err)
		}
		after := list(t, dir, "a/", "")
		if len(after) != len(before) && !(missing && len(after) == len(before)-1) {
			t.Errorf("%s: of %q there is %q", harm, before, after)
		}
		if done.Repositories != 2 || len(list(t, dir, "b/_blobs/", "")) != 1 {
			t.Errorf("%s: %+v", harm, done)
		}
	}
}

// A bucket that does not know the age of objects has no garbage.
func TestCollectUnsupported(t *testing.T) {
	_, err := bucket.New(&plain{}).Collect(t.Context(), nil)
	want(t, oras.ErrUnsupported, err)
}

// A collection that is broken off has done part of its work, and tells so.
func TestCollectCanceled(t *testing.T) {
	dir := openDir(t)
	r := bucket.New(dir)
	for i := range 20 {
		push(t, repository(t, r, fmt.Sprint("a", i/5)), fmt.Append(nil, i), "a/b")
	}
	age(t, dir, 2*time.Hour)
	ctx, cancel := context.WithCancel(t.Context())
	told := 0
	done, err := r.Collect(ctx, &bucket.CollectOptions{Event: func(bucket.Garbage) {
		if told++; told == 7 {
			cancel()
		}
	}})
	want(t, context.Canceled, err)
	if done.Objects != told || told < 7 || told > 10 {
		t.Errorf("%+v, told of %d", done, told)
	}
	collect(t, r, bucket.CollectOptions{})
	if got := list(t, dir, "_content/", ""); len(got) > 0 {
		t.Errorf("left: %q", got)
	}
}

// TestCollectWhilePushing: collections by other processes, all the time and with
// hardly any grace, take nothing that somebody relies on: once a manifest was pushed
// and what it refers to was seen to be there, it stays complete.
func TestCollectWhilePushing(t *testing.T) {
	path := t.TempDir()
	var dirs []*bucket.Dir
	open := func() *bucket.Registry {
		d, err := bucket.OpenDir(path)
		must(t, err)
		dirs = append(dirs, d)
		return hasty(bucket.New(d))
	}
	defer func() {
		for _, d := range dirs {
			d.Close()
		}
	}()
	ctx, stop := context.WithCancel(t.Context())
	var collecting, pushing sync.WaitGroup
	var collected [2]int
	for i := range collected {
		r := open()
		collecting.Go(func() {
			for ctx.Err() == nil {
				done, err := r.Collect(ctx, &bucket.CollectOptions{Grace: time.Nanosecond, Untagged: time.Duration(i)})
				if err != nil && ctx.Err() == nil {
					t.Error(err)
					return
				}
				collected[i] += done.Objects
			}
		})
	}
	const rounds = 100
	start := time.Now()
	for w := range 4 {
		r := open()
		pushing.Go(func() {
			s, other := repository(t, r, "a"), repository(t, r, "b")
			for i := 0; i < rounds || time.Since(start) < 2*time.Second; i++ { // long enough for something to become old
				name := fmt.Sprintf("%d-%d", w, i)
				common := fmt.Appendf(nil, "common %d", i%5)
				pushLayer := func(s *bucket.Store) oras.Descriptor {
					desc, err := oras.PushBytes(ctx, s, "a/b", common)
					if err != nil {
						t.Error(err)
					}
					return desc
				}
				pushLayer(other) // is garbage soon
				desc := pushLayer(s)
				own, err := oras.PushBytes(ctx, s, "a/b", []byte(name))
				if err != nil {
					t.Error(err)
					return
				}
				data, image := image(name, oras.Manifest{Layers: []oras.Descriptor{desc, own}})
				tag := fmt.Sprintf("v%d-%d", w, i%3)
				if err := oras.PushTagged(ctx, s, image, bytes.NewReader(data), tag); err != nil {
					t.Error(err)
					return
				}
				for _, layer := range [][]byte{common, []byte(name)} { // which may have been collected before
					if _, err := oras.PushBytes(ctx, s, "a/b", layer); err != nil {
						t.Error(err)
						return
					}
				}
				for range 3 {
					got, err := s.Resolve(ctx, tag)
					if err != nil || got.Digest != image.Digest {
						t.Errorf("Resolve %s: %s, %v", tag, got.Digest, err)
						return
					}
					for _, desc := range []oras.Descriptor{image, desc, own} {
						if _, err := oras.FetchAll(ctx, s, desc); err != nil {
							t.Errorf("of %s, tagged %s: %v", image.Digest, tag, err)
							return
						}
					}
				}
			}
		})
	}
	pushing.Wait()
	stop()
	collecting.Wait()
	if collected[0]+collected[1] == 0 {
		t.Error("nothing was collected")
	}
	t.Logf("collected were %d things", collected)
}

// hasty lets r have times for a test that takes seconds, and still tells what is
// being pushed from garbage.
func hasty(r *bucket.Registry) *bucket.Registry {
	return r.Ages(40*time.Millisecond, 320*time.Millisecond, 480*time.Millisecond)
}

// What is asked for while it is deleted for being old is either there, and stays, or
// is not.
func TestCollectAsked(t *testing.T) {
	dir := openDir(t)
	for round := range 200 {
		key := fmt.Sprint("a/", round)
		put(t, dir, key, "content")
		then := time.Now().Add(-time.Hour)
		must(t, os.Chtimes(filepath.Join(dir.Path(), key), then, then))
		var group sync.WaitGroup
		var touched error
		deleted := false
		group.Go(func() { touched = dir.Touch(t.Context(), key) })
		group.Go(func() {
			var err error
			if deleted, err = dir.DeleteOlder(t.Context(), key, time.Now().Add(-time.Minute)); err != nil {
				t.Error(err)
			}
		})
		group.Wait()
		_, err := dir.Size(t.Context(), key)
		switch {
		case deleted && errors.Is(touched, oras.ErrNotFound) && errors.Is(err, oras.ErrNotFound):
		case !deleted && touched == nil && err == nil:
		default:
			t.Fatalf("touched: %v, deleted: %v, size: %v", touched, deleted, err)
		}
	}
}

// slow is a Dir that holds up who deletes something old.
type slow struct {
	*bucket.Dir
	deleting, goOn chan struct{}
}

func (s *slow) DeleteOlder(ctx context.Context, key string, than time.Time) (bool, error) {
	s.deleting <- struct{}{}
	<-s.goOn
	return s.Dir.DeleteOlder(ctx, key, than)
}

// A collection holds up nobody between what it deletes, and while it deletes something
// nobody who reads.
func TestCollectHoldsUpNobody(t *testing.T) {
	dir := &slow{openDir(t), make(chan struct{}), make(chan struct{})}
	before(t, dir)
	collecting := bucket.New(dir)
	r := bucket.New(dir.Dir)
	s, other := repository(t, r, "a"), repository(t, r, "other")
	loose := push(t, s, []byte("loose"), "a/b")
	age(t, dir.Dir, 2*time.Hour)
	collected := make(chan error)
	go func() {
		_, err := collecting.Collect(t.Context(), nil)
		collected <- err
	}()
	<-dir.deleting
	must(t, s.Tag(t.Context(), subjectDesc, "new"))
	must(t, s.Untag(t.Context(), "new"))
	push(t, other, []byte("new"), "a/b")
	must(t, oras.PushTagged(t.Context(), other, subjectDesc, bytes.NewReader(subject), "new"))
	must(t, other.Delete(t.Context(), subjectDesc))

	removing, remove := make(chan struct{}), make(chan struct{})
	dir.Before(func(op string, names ...string) error {
		if op == "remove" {
			close(removing)
			<-remove
		}
		return nil
	})
	dir.goOn <- struct{}{}
	<-removing
	resolves("subject", subjectDesc)(t, s)
	resolves(subjectDesc.Digest.String(), subjectDesc)(t, s)
	whole(t, s, layerDesc)
	complete(t, s, subjectDesc)
	must(t, s.Tags(t.Context(), "", func([]string) error { return nil }))
	must(t, s.Referrers(t.Context(), subjectDesc, "", func([]oras.Descriptor) error { return nil }))
	dir.Before(nil)
	close(remove)
	go func() {
		for range dir.deleting {
			dir.goOn <- struct{}{}
		}
	}()
	must(t, <-collected)
	close(dir.deleting)
	if exists, err := s.Exists(t.Context(), loose); err != nil || exists {
		t.Errorf("Exists: %v, %v", exists, err)
	}
}
