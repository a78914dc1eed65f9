package remote_test

import (
	"bytes"
	"encoding/json"
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

// withoutAPI is a registry without the referrers API.
func withoutAPI(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.Contains(r.URL.Path, "/referrers/") {
			http.NotFound(w, r)
			return
		}
		next.ServeHTTP(&withoutSubject{w}, r)
	})
}

type withoutSubject struct{ http.ResponseWriter }

func (w *withoutSubject) WriteHeader(status int) {
	w.Header().Del("OCI-Subject")
	w.ResponseWriter.WriteHeader(status)
}

func (w *withoutSubject) Unwrap() http.ResponseWriter { return w.ResponseWriter }

const emptyConfig = `{"mediaType":"application/vnd.oci.empty.v1+json","digest":"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a","size":2}`

func referrer(t testing.TB, name, artifactType string, subject oras.Descriptor) ([]byte, oras.Descriptor) {
	t.Helper()
	s, err := json.Marshal(subject)
	if err != nil {
		t.Fatal(err)
	}
	data := fmt.Appendf(nil, `{"schemaVersion":2,"artifactType":%q,"config":%s,"layers":[],"subject":%s,"annotations":{"name":%q}}`, artifactType, emptyConfig, s, name)
	return data, oras.DescriptorOf(oras.MediaTypeImageManifest, data)
}

// listed returns the names of the referrers.
func listed(t testing.TB, r *remote.Repository, subject oras.Descriptor, artifactType string) string {
	t.Helper()
	var names []string
	err := r.Referrers(t.Context(), subject, artifactType, func(page []oras.Descriptor) error {
		for _, d := range page {
			names = append(names, d.Annotations["name"]+" "+d.ArtifactType)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(names)
	return strings.Join(names, ", ")
}

func tags(t testing.TB, r *remote.Repository) string {
	t.Helper()
	var all []string
	err := r.Tags(t.Context(), "", func(tags []string) error {
		all = append(all, tags...)
		return nil
	})
	if err != nil && !errors.Is(err, oras.ErrNotFound) {
		t.Fatal(err)
	}
	return strings.Join(all, ",")
}

// Referrers are found and kept in any mode, at a registry with the API or without.
func TestReferrers(t *testing.T) {
	for name, test := range map[string]struct {
		registry http.Handler
		mode     remote.ReferrersMode
		tags     bool
	}{
		"API":              {inMemory(), remote.ReferrersAuto, false},
		"API only":         {inMemory(), remote.ReferrersAPI, false},
		"API, tags wanted": {inMemory(), remote.ReferrersTag, true},
		"no API":           {withoutAPI(inMemory()), remote.ReferrersAuto, true},
		"no API, tags":     {withoutAPI(inMemory()), remote.ReferrersTag, true},
		"web page": {before(withoutAPI(inMemory()), func(w http.ResponseWriter, r *http.Request) bool {
			if !strings.Contains(r.URL.Path, "/referrers/") {
				return false
			}
			w.Header().Set("Content-Type", "text/html")
			w.Write([]byte("<html>"))
			return true
		}), remote.ReferrersAuto, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := open(t, serve(t, test.registry), remote.Options{Referrers: test.mode})
			data, subject := image("subject")
			if got := listed(t, r, subject, ""); got != "" {
				t.Errorf("at first: %s", got)
			}
			one, oneDesc := referrer(t, "one", "a/x", subject)
			two, twoDesc := referrer(t, "two", "a/y", subject)
			push(t, r, oneDesc, one)
			if err := oras.PushTagged(t.Context(), r, twoDesc, bytes.NewReader(two), "two"); err != nil {
				t.Fatal(err)
			}
			push(t, r, oneDesc, one)
			push(t, r, subject, data)
			tag := "sha256-" + subject.Digest.Encoded()
			want := "two"
			if test.tags {
				want = tag + ",two"
			}
			if got := tags(t, r); got != want {
				t.Errorf("tags %s; want %s", got, want)
			}
			if got := listed(t, r, subject, ""); got != "one a/x, two a/y" {
				t.Errorf("referrers %s", got)
			}
			if got := listed(t, r, subject, "a/y"); got != "two a/y" {
				t.Errorf("of type a/y: %s", got)
			}
			if descs, err := r.Predecessors(t.Context(), subject); err != nil || len(descs) != 2 {
				t.Errorf("Predecessors: %v, %v", descs, err)
			}
			if err := r.Tag(t.Context(), twoDesc, "again"); err != nil {
				t.Fatal(err)
			}
			if err := r.Delete(t.Context(), oneDesc); err != nil {
				t.Fatal(err)
			}
			if got := listed(t, r, subject, ""); got != "two a/y" {
				t.Errorf("after Delete: %s", got)
			}
			if err := r.Delete(t.Context(), twoDesc); err != nil {
				t.Fatal(err)
			}
			if got := listed(t, r, subject, ""); got != "" {
				t.Errorf("after Delete: %s", got)
			}
		})
	}

	none := open(t, serve(t, withoutAPI(inMemory())), remote.Options{Referrers: remote.ReferrersAPI})
	_, subject := image("subject")
	data, desc := referrer(t, "one", "a/x", subject)
	push(t, none, desc, data)
	if got := tags(t, none); got != "" {
		t.Errorf("tags %s", got)
	}
	if _, err := none.Predecessors(t.Context(), subject); !errors.Is(err, oras.ErrUnsupported) {
		t.Errorf("Predecessors: error %v", err)
	}
}

// A filter that the registry did not apply is applied here.
func TestReferrersFilter(t *testing.T) {
	applied := "artifactType"
	r := open(t, serve(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", oras.MediaTypeImageIndex)
		w.Header().Set("OCI-Filters-Applied", applied)
		if r.URL.Query().Get("artifactType") != "a/y" {
			t.Errorf("asked %s", r.URL)
		}
		fmt.Fprintf(w, `{"schemaVersion":2,"manifests":[%s,%s]}`, emptyConfig, strings.Replace(emptyConfig, "{", `{"artifactType":"a/y",`, 1))
	})), remote.Options{})
	_, subject := image("subject")
	for _, want := range []int{2, 1} {
		n := 0
		err := r.Referrers(t.Context(), subject, "a/y", func(page []oras.Descriptor) error { n += len(page); return nil })
		if err != nil || n != want {
			t.Errorf("%q applied: %d referrers, %v; want %d", applied, n, err, want)
		}
		applied = ""
	}
}

// No referrer is lost though many clients, which know nothing of each other, keep
// the list.
//
// A client that is held up for long between reading the list and writing it can
// still undo another's change: without conditional writes nothing tells it. So the
// test is not for a machine that is made slow on purpose.
func TestReferrersNotLost(t *testing.T) {
	if testing.Short() {
		t.Skip("needs a machine that is not held up")
	}
	host := serve(t, withoutAPI(inMemory()))
	_, subject := image("subject")
	const clients, each = 5, 3
	var group sync.WaitGroup
	for i := range clients {
		r := open(t, host, remote.Options{})
		for j := range each {
			group.Go(func() {
				data, desc := referrer(t, fmt.Sprintf("%d-%d", i, j), "a/x", subject)
				if err := oras.Push(t.Context(), r, desc, bytes.NewReader(data)); err != nil {
					t.Error(err)
				}
			})
		}
	}
	group.Wait()
	if got := strings.Count(listed(t, open(t, host, remote.Options{}), subject, ""), "a/x"); got != clients*each {
		t.Errorf("%d referrers; want %d", got, clients*each)
	}
}

// Another's change that overwrites ours is made good.
func TestReferrersOverwritten(t *testing.T) {
	behind := inMemory()
	host := serve(t, withoutAPI(behind))
	r := open(t, host, remote.Options{Referrers: remote.ReferrersTag})
	_, subject := image("subject")
	tag := "sha256-" + subject.Digest.Encoded()
	first, firstDesc := referrer(t, "first", "a/x", subject)
	push(t, r, firstDesc, first)
	before1, index, err := r.Resolve, oras.Descriptor{}, error(nil)
	if index, err = before1(t.Context(), tag); err != nil {
		t.Fatal(err)
	}
	// Puts the old list back after the next write, as who had read it before would.
	overwritten := false
	slow := open(t, serve(t, http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		withoutAPI(behind).ServeHTTP(w, q)
		if q.Method == http.MethodPut && strings.HasSuffix(q.URL.Path, tag) && !overwritten {
			overwritten = true
			if err := r.Tag(t.Context(), index, tag); err != nil {
				t.Error(err)
			}
		}
	})), remote.Options{})
	second, secondDesc := referrer(t, "second", "a/x", subject)
	push(t, slow, secondDesc, second)
	if got := listed(t, r, subject, ""); got != "first a/x, second a/x" || !overwritten {
		t.Errorf("referrers %s; overwritten: %v", got, overwritten)
	}
}

// What is under the referrers tag and no list of referrers stays.
func TestReferrersForeignTag(t *testing.T) {
	r := open(t, serve(t, withoutAPI(inMemory())), remote.Options{})
	_, subject := image("subject")
	foreign, foreignDesc := image("foreign")
	tag := "sha256-" + subject.Digest.Encoded()
	if err := oras.PushTagged(t.Context(), r, foreignDesc, bytes.NewReader(foreign), tag); err != nil {
		t.Fatal(err)
	}
	data, desc := referrer(t, "one", "a/x", subject)
	if err := r.Push(t.Context(), desc, bytes.NewReader(data)); !errors.Is(err, oras.ErrInvalid) {
		t.Errorf("Push: error %v", err)
	}
	if got, err := r.Resolve(t.Context(), tag); err != nil || got.Digest != foreignDesc.Digest {
		t.Errorf("%v, %v", got, err)
	}
}
