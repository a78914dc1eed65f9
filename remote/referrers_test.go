package remote_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/c73062ad/oras"
	"github.com/c73062ad/oras/memory"
	"github.com/c73062ad/oras/remote"
	"github.com/c73062ad/oras/server"
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
	t.Parallel()
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
	t.Parallel()
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
// the list at a registry that changes tags on a condition: each writes it once, on top
// of what the others wrote, and nothing is ever to be made good.
func TestReferrersNotLost(t *testing.T) {
	t.Parallel()
	const clients = 30
	_, subject := image("subject")
	tag := "/manifests/sha256-" + subject.Digest.Encoded()
	var mu sync.Mutex
	answers := map[int]int{} // to writing the list
	host := serve(t, http.HandlerFunc(func(handler http.Handler) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			if r.Method != http.MethodPut || !strings.HasSuffix(r.URL.Path, tag) {
				handler.ServeHTTP(w, r)
				return
			}
			s := &statusWriter{ResponseWriter: w}
			handler.ServeHTTP(s, r)
			mu.Lock()
			defer mu.Unlock()
			answers[s.status]++
		}
	}(server.New(memory.NewRegistry(), &server.Options{DisableReferrers: true}))))
	var names []string
	var group sync.WaitGroup
	for i := range clients {
		name := fmt.Sprintf("%02d", i)
		names = append(names, name+" a/x")
		group.Go(func() {
			data, desc := referrer(t, name, "a/x", subject)
			if err := oras.Push(t.Context(), open(t, host, remote.Options{}), desc, bytes.NewReader(data)); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	if got := listed(t, open(t, host, remote.Options{}), subject, ""); got != strings.Join(names, ", ") {
		t.Errorf("referrers %s", got)
	}
	if answers[http.StatusCreated] != clients || len(answers) > 2 || len(answers) == 2 && answers[http.StatusPreconditionFailed] == 0 {
		t.Errorf("answers to writing the list, by status: %v; it must be %d times 201, and 412", answers, clients)
	}
}

type statusWriter struct {
	http.ResponseWriter
	status int
}

func (w *statusWriter) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}

func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// heedless is a registry without the API that writes whatever comes.
func heedless() http.Handler {
	return before(withoutAPI(inMemory()), func(_ http.ResponseWriter, r *http.Request) bool {
		r.Header.Del("If-Match")
		r.Header.Del("If-None-Match")
		return false
	})
}

// attachMany lets clients that know nothing of each other attach to one subject at
// once, and returns what is listed then, and how many there should be.
func attachMany(t *testing.T, opts remote.Options) (names []string, want int) {
	host := serve(t, heedless())
	_, subject := image("subject")
	const clients, each = 5, 3
	var group sync.WaitGroup
	for i := range clients {
		r := open(t, host, opts)
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
	return strings.Split(listed(t, open(t, host, remote.Options{}), subject, ""), ", "), clients * each
}

// No referrer is lost at a registry that does not heed conditions either, if the
// clients have a directory of locks, whatever holds them up.
func TestReferrersLocked(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	names, want := attachMany(t, remote.Options{LockDir: dir + "/locks"})
	if len(slices.Compact(names)) != want {
		t.Errorf("referrers %q; want %d", names, want)
	}
	files, err := os.ReadDir(dir + "/locks")
	if err != nil || len(files) != 1 {
		t.Errorf("locks: %v, %v", files, err)
	}
	// One that nobody can take, and one that somebody keeps.
	_, subject := image("subject")
	data, desc := referrer(t, "one", "a/x", subject)
	r := open(t, serve(t, heedless()), remote.Options{LockDir: "/dev/null/locks"})
	if err := oras.Push(t.Context(), r, desc, bytes.NewReader(data)); !errors.Is(err, oras.ErrReferrers) || listed(t, r, subject, "") != "" {
		t.Errorf("no lock: error %v", err)
	}
}

// Without locks a client that is held up for long on the way of its request to write
// can undo another's change there, and nothing tells it: so how many there are in the end is
// not promised. But what there is is a list that has each at most once, and what was
// written last.
func TestReferrersListWithoutLock(t *testing.T) {
	t.Parallel()
	names, most := attachMany(t, remote.Options{})
	if n := len(slices.Compact(slices.Clone(names))); n != len(names) || n == 0 || n > most || strings.Join(names, "") == "" {
		t.Errorf("referrers %q", names)
	}
}

// A client that is held up between reading the list and writing it does not undo what
// others did meanwhile.
func TestReferrersHeldUp(t *testing.T) {
	t.Parallel()
	host := serve(t, heedless())
	_, subject := image("subject")
	for _, there := range []string{"", "-again"} { // where there is no list yet, and where there is
		first, firstDesc := referrer(t, "first"+there, "a/x", subject)
		second, secondDesc := referrer(t, "second"+there, "a/x", subject)
		other := open(t, host, remote.Options{})
		var heldUp atomic.Bool
		r := open(t, host, remote.Options{Transport: tripper(func(q *http.Request) (*http.Response, error) {
			resp, err := http.DefaultTransport.RoundTrip(q)
			if q.Method == http.MethodGet && strings.HasSuffix(q.URL.Path, "/manifests/sha256-"+subject.Digest.Encoded()) && heldUp.CompareAndSwap(false, true) {
				if err := oras.Push(t.Context(), other, firstDesc, bytes.NewReader(first)); err != nil {
					t.Error(err)
				}
			}
			return resp, err
		})})
		push(t, r, secondDesc, second)
		got := listed(t, other, subject, "")
		if n := strings.Count(got, "first"+there+" ") + strings.Count(got, "second"+there+" "); n != 2 || !heldUp.Load() {
			t.Errorf("referrers %s", got)
		}
	}
}

// Another's change that overwrites ours is made good.
func TestReferrersOverwritten(t *testing.T) {
	t.Parallel()
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
	t.Parallel()
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
