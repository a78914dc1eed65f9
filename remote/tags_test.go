package remote_test

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/c73062ad/oras"
	"github.com/c73062ad/oras/remote"
)

// A journal notes the requests to a registry, but for GET and HEAD.
type journal struct {
	mu       sync.Mutex
	requests []string
}

func (j *journal) of(next http.Handler) http.Handler {
	return before(next, func(_ http.ResponseWriter, r *http.Request) bool {
		j.mu.Lock()
		defer j.mu.Unlock()
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			j.requests = append(j.requests, r.Method+" "+r.URL.String())
		}
		return false
	})
}

// take returns the requests noted, and forgets them.
func (j *journal) take() []string {
	j.mu.Lock()
	defer j.mu.Unlock()
	defer func() { j.requests = nil }()
	return j.requests
}

// withoutTagParameters is a registry that knows of no tags with a push by digest.
func withoutTagParameters(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.URL.RawQuery = ""
		next.ServeHTTP(w, r)
	})
}

// Several tags go with one request where the registry sets them, and are set anyway.
func TestPushTags(t *testing.T) {
	t.Parallel()
	data, desc := image("tagged")
	long := desc
	long.Digest = oras.SHA512.Digest(data).OCI()
	many := func(n int) (tags []string) {
		for i := range n {
			tags = append(tags, fmt.Sprintf("v%02d", i))
		}
		return tags
	}
	manifests := "PUT /v2/team/hello/manifests/"
	byDigest := func(tags ...string) string {
		return manifests + desc.Digest.String() + "?tag=" + strings.Join(tags, "&tag=")
	}
	tooMany := before(inMemory(), func(w http.ResponseWriter, r *http.Request) bool {
		if len(r.URL.Query()["tag"]) > 2 {
			w.WriteHeader(http.StatusRequestURITooLong)
			return true
		}
		return false
	})
	for name, test := range map[string]struct {
		registry http.Handler
		desc     oras.Descriptor
		tags     []string
		want     []string // requests, the first time
		again    []string // and the second, if others
	}{
		"none":         {inMemory(), desc, nil, []string{manifests + desc.Digest.String()}, nil},
		"one":          {inMemory(), desc, many(1), []string{manifests + "v00"}, nil},
		"several":      {inMemory(), desc, many(3), []string{byDigest(many(3)...)}, nil},
		"many":         {inMemory(), desc, many(11), []string{byDigest(many(10)...), manifests + "v10"}, nil},
		"very many":    {inMemory(), desc, many(24), []string{byDigest(many(24)[:10]...), byDigest(many(24)[10:20]...), byDigest(many(24)[20:]...)}, nil},
		"not at once":  {withoutTagParameters(inMemory()), desc, many(2), []string{byDigest(many(2)...), manifests + "v00", manifests + "v01"}, []string{manifests + "v00", manifests + "v01"}},
		"too many":     {tooMany, desc, many(3), []string{byDigest(many(3)...), manifests + "v00", manifests + "v01", manifests + "v02"}, nil},
		"SHA-512":      {inMemory(), long, many(1), []string{manifests + long.Digest.String() + "?tag=v00"}, nil},
		"SHA-512, two": {inMemory(), long, many(2), []string{manifests + long.Digest.String() + "?tag=v00&tag=v01"}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			var j journal
			host := serve(t, j.of(test.registry))
			r := open(t, host, remote.Options{})
			if test.again == nil {
				test.again = test.want
			}
			for _, want := range [][]string{test.want, test.again} {
				if err := oras.PushTagged(t.Context(), r, test.desc, bytes.NewReader(data), test.tags...); err != nil {
					t.Fatal(err)
				}
				if got := j.take(); !slices.Equal(got, want) {
					t.Errorf("requests %q; they must be %q", got, want)
				}
			}
			if got := tags(t, r); got != strings.Join(test.tags, ",") {
				t.Errorf("tags %s", got)
			}
			for _, tag := range test.tags {
				if got, err := r.Resolve(t.Context(), tag); err != nil || got.Digest != test.desc.Digest {
					t.Errorf("%s is %v, %v", tag, got, err)
				}
			}
		})
	}
	var j journal
	r := open(t, serve(t, j.of(inMemory())), remote.Options{})
	if err := oras.PushTagged(t.Context(), r, desc, bytes.NewReader(data), "v1", "a/b"); !errors.Is(err, oras.ErrReference) || len(j.take()) > 0 {
		t.Errorf("a tag that is none: %v", err)
	}
}

// A change on a condition is made by registries that say they can, and by no other.
func TestTagIf(t *testing.T) {
	t.Parallel()
	data, desc := image("one")
	other, otherDesc := image("two")
	r := open(t, serve(t, inMemory()), remote.Options{})
	push(t, r, desc, data)
	push(t, r, otherDesc, other)
	if err := oras.TagIf(t.Context(), r, desc, "v1", oras.Descriptor{}); err != nil {
		t.Fatal(err)
	}
	err := oras.TagIf(t.Context(), r, otherDesc, "v1", otherDesc)
	var answer *remote.Error
	if !errors.Is(err, oras.ErrConflict) || !errors.As(err, &answer) || answer.StatusCode != http.StatusPreconditionFailed {
		t.Errorf("error %v", err)
	}

	for name, extensions := range map[string]func(w http.ResponseWriter){
		"no such path": func(w http.ResponseWriter) { w.WriteHeader(http.StatusNotFound) },
		"web page":     func(w http.ResponseWriter) { w.Write([]byte("<html>")) },
		"others":       func(w http.ResponseWriter) { w.Write([]byte(`{"extensions":[{"name":"_x"}]}`)) },
		"nothing":      func(w http.ResponseWriter) { w.Write([]byte(`{}`)) },
	} {
		var j journal
		asked := 0
		old := open(t, serve(t, j.of(before(inMemory(), func(w http.ResponseWriter, r *http.Request) bool {
			if !strings.HasSuffix(r.URL.Path, "/_oci/ext/discover") {
				return false
			}
			asked++
			extensions(w)
			return true
		}))), remote.Options{})
		push(t, old, desc, data)
		j.take()
		for range 2 {
			if err := oras.TagIf(t.Context(), old, desc, "v1", oras.Descriptor{}); !errors.Is(err, oras.ErrUnsupported) {
				t.Errorf("%s: error %v", name, err)
			}
		}
		if got := j.take(); len(got) > 0 || asked != 1 {
			t.Errorf("%s: asked %d times, %q", name, asked, got)
		}
	}
	failing := open(t, serve(t, before(inMemory(), func(w http.ResponseWriter, r *http.Request) bool {
		w.WriteHeader(http.StatusForbidden)
		return true
	})), remote.Options{})
	if err := oras.TagIf(t.Context(), failing, desc, "v1", oras.Descriptor{}); !errors.Is(err, oras.ErrDenied) {
		t.Errorf("of who may not: error %v", err)
	}
}

// The registry is told the algorithm of an upload if it is another than it expects.
func TestBeginUpload(t *testing.T) {
	t.Parallel()
	for algorithm, want := range map[oras.Algorithm]string{{}: "", oras.SHA256: "", oras.SHA512: "?digest-algorithm=sha512"} {
		var j journal
		r := open(t, serve(t, j.of(inMemory())), remote.Options{})
		u, err := oras.BeginUpload(t.Context(), r, algorithm)
		if err != nil {
			t.Fatal(err)
		}
		if got := j.take(); !slices.Equal(got, []string{"POST /v2/team/hello/blobs/uploads/" + want}) {
			t.Errorf("%v: requests %q", algorithm, got)
		}
		data := []byte("content")
		if _, err := u.Append(t.Context(), 0, bytes.NewReader(data)); err != nil {
			t.Fatal(err)
		}
		if err := u.Commit(t.Context(), algorithm.Digest(data)); err != nil {
			t.Fatal(err)
		}
		if exists, err := r.Exists(t.Context(), oras.Descriptor{Digest: algorithm.Digest(data).OCI()}); !exists || err != nil {
			t.Errorf("%v: %v, %v", algorithm, exists, err)
		}
	}
}
