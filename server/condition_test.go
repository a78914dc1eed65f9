package server_test

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/c73062ad/oras"
	"github.com/c73062ad/oras/memory"
	"github.com/c73062ad/oras/server"
)

func etag(data []byte) string { return `"` + oras.SHA256.Digest(data).String() + `"` }

// TestConditions: what is read and written is what If-Match and If-None-Match demand,
// or it is 412 and nothing changes.
func TestConditions(t *testing.T) {
	eachRegistry(t, func(t *testing.T, f *front) {
		one, two, three := image("one"), image("two"), image("three")
		v1, refused := "/v2/team/hello/manifests/v1", "412 PRECONDITION_FAILED"
		put := func(answer, path string, data []byte, conditions ...string) {
			t.Helper()
			a := f.want(answer, "PUT", path, data, append(conditions, imageType)...)
			if answer == "201" {
				a.header(t, "ETag", etag(data))
			} else {
				a.header(t, "ETag", "")
				a.header(t, "Docker-Content-Digest", "")
			}
		}
		is := func(data []byte) {
			t.Helper()
			f.want("200", "HEAD", v1, nil).header(t, "ETag", etag(data))
		}

		put(refused, v1, one, "If-Match: *")
		put(refused, v1, one, "If-Match: "+etag(one))
		f.want("404", "HEAD", v1, nil)
		f.want("404", "HEAD", "/v2/team/hello/manifests/"+oras.SHA256.Digest(one).String(), nil) // nothing is kept
		put("201", v1, one, "If-None-Match: *")
		put(refused, v1, two, "If-None-Match: *")
		is(one)
		put(refused, v1, three, "If-Match: "+etag(two))
		put(refused, v1, three, "If-Match: W/"+etag(one))
		put(refused, v1, three, "If-None-Match: "+etag(two)+", W/"+etag(one))
		is(one)
		put("201", v1, two, "If-Match: "+etag(three)+", "+etag(one))
		put(refused, v1, three, "If-Match: "+etag(one))
		is(two)
		put("201", v1, two, "If-Match: "+etag(two)) // changes nothing
		put("201", v1, three, "If-Match: *", "If-None-Match: "+etag(one))
		put("201", v1, one, "If-None-Match: "+oras.SHA256.Digest(two).String())
		is(one)

		// By digest it is about whether that is there.
		byDigest := "/v2/team/hello/manifests/" + oras.SHA256.Digest(one).String()
		put(refused, byDigest, one, "If-None-Match: *")
		put(refused, byDigest+"?tag=v2", one, "If-Match: "+etag(two))
		f.want("404", "HEAD", "/v2/team/hello/manifests/v2", nil)
		put("201", byDigest+"?tag=v2", one, "If-Match: "+etag(one))
		f.want("200", "HEAD", "/v2/team/hello/manifests/v2", nil).header(t, "ETag", etag(one))
		fresh := image("fresh")
		put("201", "/v2/team/hello/manifests/"+oras.SHA256.Digest(fresh).String(), fresh, "If-None-Match: *")

		for _, method := range []string{"GET", "HEAD"} {
			for _, path := range []string{v1, byDigest} {
				f.want("304", method, path, nil, "If-None-Match: "+etag(one)).header(t, "Docker-Content-Digest", strings.Trim(etag(one), `"`))
				f.want("200", method, path, nil, "If-None-Match: "+etag(two))
				f.want("200", method, path, nil, "If-Match: "+etag(one))
				f.want("412", method, path, nil, "If-Match: "+etag(two)).header(t, "ETag", "")
			}
			f.want("304", method, v1, nil, "If-None-Match: *")
			f.want("404", method, "/v2/team/hello/manifests/v9", nil, "If-None-Match: *")
		}
		f.want(refused, "GET", v1, nil, "If-Match: "+etag(two))

		f.want("404 MANIFEST_UNKNOWN", "DELETE", "/v2/team/hello/manifests/v9", nil, "If-Match: *")
		f.want(refused, "DELETE", v1, nil, "If-Match: "+etag(two))
		f.want(refused, "DELETE", v1, nil, "If-None-Match: *")
		is(one)
		f.want("202", "DELETE", v1, nil, "If-Match: "+etag(one))
		f.want("404", "HEAD", v1, nil)
		f.want(refused, "DELETE", byDigest, nil, "If-Match: "+etag(two))
		f.want("202", "DELETE", byDigest, nil, "If-Match: "+etag(one)).header(t, "Docker-Content-Digest", strings.Trim(etag(one), `"`))
		f.want("404", "HEAD", "/v2/team/hello/manifests/v2", nil)

		// The state of a tag is what it names, by whatever algorithm.
		long := image("long")
		digest := oras.SHA512.Digest(long).String()
		f.want("201", "PUT", "/v2/team/hello/manifests/"+digest+"?tag=v1", long, imageType)
		put(refused, v1, one, "If-Match: "+etag(long))
		put("201", v1, one, `If-Match: "`+digest+`"`)
	})
}

// TestConditionsConcurrent: of many who change a tag from the same state, at one server
// or at several of one registry, one does and the others get 412; and a chain of such
// changes loses none.
func TestConditionsConcurrent(t *testing.T) {
	for name, open := range registries {
		if name == "remote" {
			continue // its far end is tested as memory
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			reg := open(t)
			fronts := []*front{serve(t, reg, nil)}
			if name != "foreign" { // which has no step of its own, so one server's word counts
				fronts = append(fronts, serve(t, reg, nil))
			}
			const writers, rounds = 8, 10
			v1, condition := "/v2/team/hello/manifests/v1", "If-None-Match: *"
			for round := range rounds {
				var mu sync.Mutex
				counts, next := map[int]int{}, ""
				var group sync.WaitGroup
				for i := range writers {
					group.Go(func() {
						data := image(fmt.Sprint(round, i))
						a := fronts[i%len(fronts)].do("PUT", v1, data, condition, imageType)
						mu.Lock()
						defer mu.Unlock()
						if counts[a.StatusCode]++; a.StatusCode == 201 {
							next = etag(data)
						}
					})
				}
				group.Wait()
				if counts[201] != 1 || counts[412] != writers-1 {
					t.Fatalf("round %d, %s: answers %v", round, condition, counts)
				}
				if got := fronts[0].want("200", "HEAD", v1, nil).Header.Get("ETag"); got != next {
					t.Fatalf("round %d: the tag names %s; 201 was for %s", round, got, next)
				}
				condition = "If-Match: " + next
			}
			var deletions sync.WaitGroup
			var mu sync.Mutex
			counts := map[int]int{}
			for i := range writers {
				deletions.Go(func() {
					a := fronts[i%len(fronts)].do("DELETE", v1, nil, condition)
					mu.Lock()
					defer mu.Unlock()
					counts[a.StatusCode]++
				})
			}
			deletions.Wait()
			if counts[202] != 1 || counts[412]+counts[404] != writers-1 {
				t.Errorf("answers to %d deletions: %v", writers, counts)
			}
		})
	}
}

// TestConditionsMixed: who does not ask for a condition does not make others lose what
// they asked for: a change on a condition is never one of another state.
func TestConditionsMixed(t *testing.T) {
	for _, name := range []string{"memory", "foreign"} {
		f := serve(t, registries[name](t), &server.Options{ErrorLog: strict(t)})
		v1 := "/v2/team/hello/manifests/v1"
		f.pushManifest("team/hello", "v1", image("first"))
		var group sync.WaitGroup
		for i := range 3 {
			group.Go(func() {
				for j := range 20 {
					switch a := f.do("PUT", v1, image(fmt.Sprint("plain", i, j)), imageType); a.StatusCode {
					case 201:
					default:
						t.Errorf("%s: status %d: %s", name, a.StatusCode, a.data)
					}
				}
			})
			group.Go(func() {
				for j := range 20 {
					now := f.do("HEAD", v1, nil).Header.Get("ETag")
					a := f.do("PUT", v1, image(fmt.Sprint("on a condition", i, j)), imageType, "If-Match: "+now)
					if a.StatusCode != 201 && a.StatusCode != 412 {
						t.Errorf("%s: status %d: %s", name, a.StatusCode, a.data)
					}
					if a = f.do("PUT", v1, image(fmt.Sprint("if any", i, j)), imageType, "If-Match: *"); a.StatusCode != 201 {
						t.Errorf("%s, if there is any: status %d: %s", name, a.StatusCode, a.data)
					}
				}
			})
		}
		group.Wait()
	}
}

// TestSecondType: a document that does not say which of two types it has keeps the one
// that it came with first.
func TestSecondType(t *testing.T) {
	eachRegistry(t, func(t *testing.T, f *front) {
		data := []byte(strings.Replace(string(image("x")), `"mediaType":"`+oras.MediaTypeImageManifest+`",`, "", 1))
		dockerType := "Content-Type: " + oras.MediaTypeDockerManifest
		digest := oras.SHA256.Digest(data).String()
		for _, reference := range []string{"v1", digest, digest + "?tag=v3"} {
			f.want("201", "PUT", "/v2/team/hello/manifests/"+reference, data, imageType)
		}
		for _, reference := range []string{"v1", "v2", digest, digest + "?tag=v2"} {
			f.want("400 MANIFEST_INVALID", "PUT", "/v2/team/hello/manifests/"+reference, data, dockerType)
		}
		f.want("404", "HEAD", "/v2/team/hello/manifests/v2", nil)
		f.want("200", "GET", "/v2/team/hello/manifests/v1", nil).header(t, "Content-Type", oras.MediaTypeImageManifest)
		f.want("201", "PUT", "/v2/team/other/manifests/v1", data, dockerType) // where nobody knows it
		f.want("200", "GET", "/v2/team/other/manifests/v1", nil).header(t, "Content-Type", oras.MediaTypeDockerManifest)
	})
}

// TestSecondTypeConcurrent: of two who bring one document as two types at once, one is
// refused.
func TestSecondTypeConcurrent(t *testing.T) {
	f := serve(t, memory.NewRegistry(), &server.Options{ErrorLog: strict(t)})
	types := []string{oras.MediaTypeImageManifest, oras.MediaTypeDockerManifest}
	for round := range 20 {
		data := []byte(strings.Replace(string(image(fmt.Sprint(round))), `"mediaType":"`+oras.MediaTypeImageManifest+`",`, "", 1))
		path := "/v2/team/hello/manifests/" + oras.SHA256.Digest(data).String()
		answers := make([]*answer, 2)
		var group sync.WaitGroup
		for i := range answers {
			group.Go(func() { answers[i] = f.do("PUT", path, data, "Content-Type: "+types[i]) })
		}
		group.Wait()
		won := 0
		if answers[1].StatusCode == 201 {
			won = 1
		}
		if answers[won].StatusCode != 201 || answers[1-won].StatusCode != 400 {
			t.Fatalf("status %d and %d", answers[0].StatusCode, answers[1].StatusCode)
		}
		f.want("200", "GET", path, nil).header(t, "Content-Type", types[won])
	}
}
