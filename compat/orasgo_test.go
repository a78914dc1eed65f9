package compat

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
	orasgo "oras.land/oras-go/v2"
	"oras.land/oras-go/v2/content"
	orasgomemory "oras.land/oras-go/v2/content/memory"
	"oras.land/oras-go/v2/content/oci"
	"oras.land/oras-go/v2/registry"
	orasgoremote "oras.land/oras-go/v2/registry/remote"

	"github.com/c73062ad/oras"
	"github.com/c73062ad/oras/bucket"
	"github.com/c73062ad/oras/file"
	"github.com/c73062ad/oras/layout"
	"github.com/c73062ad/oras/memory"
	"github.com/c73062ad/oras/remote"
	"github.com/c73062ad/oras/server"
	"github.com/c73062ad/oras/storetest"
)

// Stores of either library are values of the other's types.
var (
	_ orasgo.GraphTarget    = oras.Store(nil)
	_ orasgo.Target         = oras.Target(nil)
	_ orasgo.ReadOnlyTarget = oras.Source(nil)
	_ content.Deleter       = oras.Store(nil)
	_ content.Untagger      = oras.Store(nil)
	_ registry.TagLister    = oras.Store(nil)
	_ content.Fetcher       = oras.Fetcher(nil)
	_ orasgo.Target         = (*file.Store)(nil)

	_ oras.Store  = (*oci.Store)(nil)
	_ oras.Target = (*orasgomemory.Store)(nil)
	_ oras.Target = (*orasgoremote.Repository)(nil)

	_ registry.ReferrerLister   = (*remote.Repository)(nil)
	_ registry.ReferenceFetcher = (*remote.Repository)(nil)
	_ registry.ReferencePusher  = (*remote.Repository)(nil)
	_ registry.Mounter          = (*remote.Repository)(nil)
)

// serve serves reg until the test ends and returns its host:port.
func serve(t *testing.T, reg oras.Registry) string {
	t.Helper()
	srv := httptest.NewServer(server.New(reg, nil))
	t.Cleanup(srv.Close)
	return strings.TrimPrefix(srv.URL, "http://")
}

// open returns our client of a repository.
func open(t *testing.T, host string) *remote.Repository {
	t.Helper()
	repo, err := remote.Open(host+"/test", &remote.Options{PlainHTTP: true})
	if err != nil {
		t.Fatal(err)
	}
	return repo
}

// single is a registry whose one repository is a store.
type single struct{ oras.Store }

func (s *single) Repository(context.Context, string) (oras.Store, error) { return s.Store, nil }

func (s *single) Repositories(_ context.Context, _ string, fn func([]string) error) error {
	return fn([]string{"test"})
}

// newOCI returns oras-go's store of an image layout, which deletes what it is told
// to and no more.
func newOCI(t *testing.T) *oci.Store {
	t.Helper()
	s, err := oci.New(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	s.AutoGC = false
	return s
}

// TestForeignStoreServed holds oras-go's store to our contract, under our server
// and behind our client.
func TestForeignStoreServed(t *testing.T) {
	storetest.Test(t, func(t *testing.T) oras.Store {
		return open(t, serve(t, &single{Store: newOCI(t)}))
	})
}

// targets are our stores, by what they are.
var targets = map[string]func(t *testing.T) oras.Store{
	"memory": func(t *testing.T) oras.Store { return memory.New() },
	"layout": func(t *testing.T) oras.Store {
		s, err := layout.Open(filepath.Join(t.TempDir(), "layout"))
		if err != nil {
			t.Fatal(err)
		}
		return s
	},
	"bucket": func(t *testing.T) oras.Store {
		s, err := newBucket(t).Repository(t.Context(), "test")
		if err != nil {
			t.Fatal(err)
		}
		return s
	},
	"remote": func(t *testing.T) oras.Store { return open(t, serve(t, memory.NewRegistry())) },
	"served": func(t *testing.T) oras.Store { return open(t, serve(t, newBucket(t))) },
}

// registries are ours, by what they serve; "oras serve" serves a bucket.
var registries = map[string]func(t *testing.T) oras.Registry{
	"memory": func(t *testing.T) oras.Registry { return memory.NewRegistry() },
	"bucket": func(t *testing.T) oras.Registry { return newBucket(t) },
}

func newBucket(t *testing.T) *bucket.Registry {
	t.Helper()
	dir, err := bucket.OpenDir(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { dir.Close() })
	return bucket.New(dir)
}

// foreign are oras-go's stores.
var foreign = map[string]func(t *testing.T) orasgo.GraphTarget{
	"oci":    func(t *testing.T) orasgo.GraphTarget { return newOCI(t) },
	"memory": func(t *testing.T) orasgo.GraphTarget { return orasgomemory.New() },
	"remote": func(t *testing.T) orasgo.GraphTarget { return theirRepository(t, memory.NewRegistry()) },
	"served": func(t *testing.T) orasgo.GraphTarget { return theirRepository(t, newBucket(t)) },
}

// theirRepository returns oras-go's client of a repository of reg.
func theirRepository(t *testing.T, reg oras.Registry) *orasgoremote.Repository {
	t.Helper()
	repo, err := orasgoremote.NewRepository(serve(t, reg) + "/test")
	if err != nil {
		t.Fatal(err)
	}
	repo.PlainHTTP = true
	return repo
}

// A graph is an index of two images that share a layer, an SBOM of the index, and
// a signature of the SBOM.
type graph struct {
	root, sbom, signature ocispec.Descriptor
	all                   map[string][]byte // content by digest
}

// newGraph makes a graph and pushes it to the store that push writes to.
func newGraph(t *testing.T, target oras.Target) graph {
	t.Helper()
	ctx := t.Context()
	g := graph{all: map[string][]byte{}}
	put := func(mediaType, text string) ocispec.Descriptor {
		desc := oras.DescriptorOf(mediaType, []byte(text))
		if g.all[string(desc.Digest)] == nil {
			if err := oras.Push(ctx, target, desc, strings.NewReader(text)); err != nil {
				t.Fatal(err)
			}
		}
		g.all[string(desc.Digest)] = []byte(text)
		return desc
	}
	describe := func(d ocispec.Descriptor) string {
		return fmt.Sprintf(`{"mediaType":%q,"digest":%q,"size":%d}`, d.MediaType, d.Digest, d.Size)
	}
	shared := put("application/octet-stream", "shared by both images")
	var images []string
	for _, arch := range []string{"amd64", "arm64"} {
		config := put(ocispec.MediaTypeImageConfig, fmt.Sprintf(`{"architecture":%q,"os":"linux"}`, arch))
		own := put("application/octet-stream", "of "+arch+" only")
		image := put(ocispec.MediaTypeImageManifest, fmt.Sprintf(`{"schemaVersion":2,"mediaType":%q,"config":%s,"layers":[%s,%s]}`,
			ocispec.MediaTypeImageManifest, describe(config), describe(shared), describe(own)))
		images = append(images, strings.TrimSuffix(describe(image), "}")+fmt.Sprintf(`,"platform":{"architecture":%q,"os":"linux"}}`, arch))
	}
	g.root = put(ocispec.MediaTypeImageIndex, fmt.Sprintf(`{"schemaVersion":2,"mediaType":%q,"manifests":[%s]}`,
		ocispec.MediaTypeImageIndex, strings.Join(images, ",")))
	refer := func(artifactType string, subject ocispec.Descriptor) ocispec.Descriptor {
		empty := put(ocispec.MediaTypeEmptyJSON, "{}")
		layer := put("text/plain", artifactType)
		return put(ocispec.MediaTypeImageManifest, fmt.Sprintf(`{"schemaVersion":2,"mediaType":%q,"artifactType":%q,"config":%s,"layers":[%s],"subject":%s}`,
			ocispec.MediaTypeImageManifest, artifactType, describe(empty), describe(layer), describe(subject)))
	}
	g.sbom = refer("example/sbom", g.root)
	g.signature = refer("example/signature", g.sbom)
	if err := target.Tag(ctx, g.root, "v1"); err != nil {
		t.Fatal(err)
	}
	return g
}

// check checks that s has the graph, or all of it but the referrers, under the tag.
func (g graph) check(t *testing.T, s oras.Source, tag string, referrers bool) {
	t.Helper()
	ctx := t.Context()
	desc, err := s.Resolve(ctx, tag)
	if err != nil || desc.Digest != g.root.Digest {
		t.Fatalf("%s is %v, %v, not %s", tag, desc.Digest, err, g.root.Digest)
	}
	seen := map[string]bool{}
	var walk func(ocispec.Descriptor)
	walk = func(d ocispec.Descriptor) {
		if seen[string(d.Digest)] {
			return
		}
		seen[string(d.Digest)] = true
		data, err := oras.FetchAll(ctx, s, d)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(data, g.all[string(d.Digest)]) {
			t.Fatalf("%s came back as %q", d.Digest, data)
		}
		if oras.IsManifest(d.MediaType) {
			m, err := oras.ParseManifest(d.MediaType, data)
			if err != nil {
				t.Fatal(err)
			}
			for _, child := range m.Children() {
				walk(child)
			}
		}
	}
	walk(g.root)
	if !referrers {
		return
	}
	for _, pair := range [][2]ocispec.Descriptor{{g.root, g.sbom}, {g.sbom, g.signature}} {
		var found []ocispec.Descriptor
		err := oras.Referrers(ctx, s, pair[0], "", func(page []ocispec.Descriptor) error {
			found = append(found, page...)
			return nil
		})
		if err != nil || len(found) != 1 || found[0].Digest != pair[1].Digest {
			t.Fatalf("referrers of %s are %v, %v, not %s", pair[0].Digest, found, err, pair[1].Digest)
		}
		walk(pair[1])
	}
	if len(seen) != len(g.all) {
		t.Fatalf("%d of %d pieces of content are there", len(seen), len(g.all))
	}
}

// TestTheirCopy copies with oras-go from and to every store.
func TestTheirCopy(t *testing.T) {
	for name, ours := range targets {
		for other, theirs := range foreign {
			t.Run(name+" to "+other, func(t *testing.T) {
				src, dst := ours(t), theirs(t)
				g := newGraph(t, src)
				if _, err := orasgo.Copy(t.Context(), src, "v1", dst, "copy", orasgo.DefaultCopyOptions); err != nil {
					t.Fatal(err)
				}
				g.check(t, dst, "copy", false)
				if _, err := orasgo.ExtendedCopy(t.Context(), src, "v1", dst, "extended", orasgo.DefaultExtendedCopyOptions); err != nil {
					t.Fatal(err)
				}
				g.check(t, dst, "extended", true)
			})
			t.Run(other+" to "+name, func(t *testing.T) {
				src, dst := theirs(t), ours(t)
				g := newGraph(t, src)
				if _, err := orasgo.Copy(t.Context(), src, "v1", dst, "copy", orasgo.DefaultCopyOptions); err != nil {
					t.Fatal(err)
				}
				g.check(t, dst, "copy", false)
				if _, err := orasgo.ExtendedCopy(t.Context(), src, "v1", dst, "extended", orasgo.DefaultExtendedCopyOptions); err != nil {
					t.Fatal(err)
				}
				g.check(t, dst, "extended", true)
			})
		}
	}
}

// TestOurCopy copies with this library from and to every store.
func TestOurCopy(t *testing.T) {
	for name, ours := range targets {
		for other, theirs := range foreign {
			t.Run(name+" to "+other, func(t *testing.T) {
				src, dst := ours(t), theirs(t)
				g := newGraph(t, src)
				ourCopy(t, g, src, dst)
			})
			t.Run(other+" to "+name, func(t *testing.T) {
				src, dst := theirs(t), ours(t)
				g := newGraph(t, src)
				ourCopy(t, g, src, dst)
			})
		}
	}
}

func ourCopy(t *testing.T, g graph, src oras.Source, dst oras.Target) {
	t.Helper()
	if _, err := oras.Copy(t.Context(), src, "v1", dst, &oras.CopyOptions{Tags: []string{"copy"}}); err != nil {
		t.Fatal(err)
	}
	g.check(t, dst, "copy", false)
	if _, err := oras.Copy(t.Context(), src, "v1", dst, &oras.CopyOptions{Tags: []string{"all", "more"}, Referrers: true}); err != nil {
		t.Fatal(err)
	}
	g.check(t, dst, "all", true)
	g.check(t, dst, "more", true)
}

// TestLayoutShared lets both libraries work on one directory.
func TestLayoutShared(t *testing.T) {
	ctx := t.Context()
	dir := filepath.Join(t.TempDir(), "layout")
	theirs, err := oci.New(dir)
	if err != nil {
		t.Fatal(err)
	}
	g := newGraph(t, theirs)
	ours, err := layout.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	g.check(t, ours, "v1", true)
	if err := ours.Tag(ctx, g.root, "ours"); err != nil {
		t.Fatal(err)
	}
	if err := ours.Untag(ctx, "v1"); err != nil {
		t.Fatal(err)
	}
	again, err := oci.New(dir)
	if err != nil {
		t.Fatal(err)
	}
	g.check(t, again, "ours", true)
	if _, err := again.Resolve(ctx, "v1"); err == nil {
		t.Fatal("v1 is still there")
	}
}

// TestTheirClient walks oras-go's client through our server.
func TestTheirClient(t *testing.T) {
	for name, ours := range registries {
		t.Run(name, func(t *testing.T) { theirClient(t, ours(t)) })
	}
}

func theirClient(t *testing.T, ours oras.Registry) {
	ctx := t.Context()
	reg, err := orasgoremote.NewRegistry(serve(t, ours))
	if err != nil {
		t.Fatal(err)
	}
	reg.PlainHTTP = true
	if err := reg.Ping(ctx); err != nil {
		t.Fatal(err)
	}
	repo, err := reg.Repository(ctx, "test")
	if err != nil {
		t.Fatal(err)
	}
	g := newGraph(t, repo)
	g.check(t, repo, "v1", true)

	// A blob comes in ranges.
	rc, err := repo.Blobs().Fetch(ctx, oras.DescriptorOf("application/octet-stream", []byte("shared by both images")))
	if err != nil {
		t.Fatal(err)
	}
	defer rc.Close()
	if _, err := rc.(io.Seeker).Seek(7, io.SeekStart); err != nil {
		t.Fatal(err)
	}
	if data, err := io.ReadAll(rc); err != nil || string(data) != "by both images" {
		t.Fatalf("from byte 7: %q, %v", data, err)
	}

	// It is mounted, not sent, into another repository.
	other, err := reg.Repository(ctx, "other")
	if err != nil {
		t.Fatal(err)
	}
	shared := oras.DescriptorOf("application/octet-stream", []byte("shared by both images"))
	err = other.(registry.Mounter).Mount(ctx, shared, "test", func() (io.ReadCloser, error) {
		t.Error("the content was asked for")
		return io.NopCloser(strings.NewReader("shared by both images")), nil
	})
	if err != nil {
		t.Fatal(err)
	}

	// Lists.
	var names, tags []string
	if err := reg.Repositories(ctx, "", func(page []string) error { names = append(names, page...); return nil }); err != nil {
		t.Fatal(err)
	}
	if err := repo.Tags(ctx, "", func(page []string) error { tags = append(tags, page...); return nil }); err != nil {
		t.Fatal(err)
	}
	if fmt.Sprint(names, tags) != "[other test] [v1]" {
		t.Fatalf("repositories and tags: %v %v", names, tags)
	}

	// What is deleted is gone, and with a referrer its place in the list.
	if err := repo.Delete(ctx, g.signature); err != nil {
		t.Fatal(err)
	}
	if exists, err := repo.Exists(ctx, g.signature); err != nil || exists {
		t.Fatalf("after deletion: %v, %v", exists, err)
	}
	err = repo.Referrers(ctx, g.sbom, "", func(page []ocispec.Descriptor) error {
		return fmt.Errorf("after deletion: %v", page)
	})
	if err != nil {
		t.Fatal(err)
	}
}
