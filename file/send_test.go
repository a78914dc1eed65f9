package file_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/c73062ad/oras"
	"github.com/c73062ad/oras/archive"
	"github.com/c73062ad/oras/bucket"
	"github.com/c73062ad/oras/file"
	"github.com/c73062ad/oras/memory"
	"github.com/c73062ad/oras/remote"
	"github.com/c73062ad/oras/server"
)

// A registry is one that counts the bytes it gets, and the questions.
type registry struct {
	host     string
	received atomic.Int64
	asked    atomic.Int64
}

func newRegistry(t testing.TB) *registry {
	t.Helper()
	dir, err := bucket.OpenDir(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	r := &registry{}
	handler := server.New(bucket.New(dir), nil)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if req.Method == http.MethodHead {
			r.asked.Add(1)
		}
		req.Body = &countedBody{req.Body, &r.received}
		handler.ServeHTTP(w, req)
	}))
	t.Cleanup(func() {
		srv.Close()
		dir.Close()
	})
	r.host = strings.TrimPrefix(srv.URL, "http://")
	return r
}

type countedBody struct {
	io.ReadCloser
	n *atomic.Int64
}

func (c *countedBody) Read(p []byte) (int, error) {
	n, err := c.ReadCloser.Read(p)
	c.n.Add(int64(n))
	return n, err
}

func openRepository(host, name string) (*remote.Repository, error) {
	return remote.Open(host+"/"+name, &remote.Options{PlainHTTP: true})
}

func (r *registry) repository(t testing.TB, name string) *remote.Repository {
	t.Helper()
	repo, err := openRepository(r.host, name)
	if err != nil {
		t.Fatal(err)
	}
	return repo
}

// makeSource makes a small file, a large one, a small directory and a large one.
func makeSource(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	files := map[string]string{"small": "small", "large": string(random(9<<20+5, 1)), "docs/readme.md": "read me", "docs/deep/a": "a"}
	for i := range 40 {
		files[fmt.Sprintf("tree/d%d/f%d", i%3, i)] = string(random(300_000, byte(i)))
	}
	write(t, dir, files)
	return dir
}

var titles = []string{"small", "large", "docs", "tree"}

// A told keeps the events of Send.
type told []oras.Event

func (e *told) add(event oras.Event) { *e = append(*e, event) }

// check checks that the story of one content is whole.
func (e told) check(t testing.TB, desc oras.Descriptor, end oras.EventKind, there int64) {
	t.Helper()
	if len(e) == 0 {
		t.Error("nothing was told")
		return
	}
	var moved int64
	for i, event := range e {
		last := i == len(e)-1
		switch {
		case last && (event.Kind != end || event.Descriptor.Digest != desc.Digest || event.Descriptor.Size != desc.Size),
			!last && event.Kind >= oras.Copied, i == 0 && !last && event.Kind != oras.Copying:
			t.Errorf("%v: event %d of %d is %v of %v", desc.Annotations, i, len(e), event.Kind, event.Descriptor)
		case event.Name() != desc.Annotations[ocispec.AnnotationTitle]:
			t.Errorf("an event of %q", event.Name())
		case event.Kind == oras.Progress:
			moved = event.Bytes
			if event.There != there {
				t.Errorf("%d bytes were there, want %d", event.There, there)
			}
		}
	}
	if end == oras.Copied && moved+there != desc.Size {
		t.Errorf("%v: %d bytes moved of %d", desc.Annotations, moved, desc.Size)
	}
}

// What is sent in one pass is the same content as what is added, and comes back.
func TestSend(t *testing.T) {
	needUnix(t)
	src := makeSource(t)
	for i, opts := range []*file.Options{nil, {Compression: archive.Zstd, Level: 3}, {Compression: archive.None}} {
		r := newRegistry(t)
		repo := r.repository(t, "a")
		s, added := newStore(t, src, opts), newStore(t, src, opts)
		var layers []oras.Descriptor
		done := map[string]bool{}
		for _, title := range titles {
			var events told
			desc, sent, err := s.Send(t.Context(), repo, title, "", "", &file.SendOptions{Event: events.add})
			if err != nil {
				t.Fatal(err)
			}
			want, err := added.Add(t.Context(), title, "", "")
			if err != nil || fmt.Sprint(desc) != fmt.Sprint(want) {
				t.Errorf("%s: %v\nwant %v, %v", title, desc, want, err)
			}
			if sent != (title != "small") {
				t.Errorf("%s: sent is %v", title, sent)
			}
			if exists, err := repo.Exists(t.Context(), desc); err != nil || exists != sent {
				t.Errorf("%s exists: %v, %v", title, exists, err)
			}
			if sent {
				events.check(t, desc, oras.Copied, 0)
			}
			done[title] = sent
			layers = append(layers, desc)
			if _, _, err := s.Send(t.Context(), repo, title, "", "", nil); !errors.Is(err, oras.ErrInvalid) {
				t.Errorf("%s again: %v", title, err)
			}
		}
		wantType := []string{"+gzip", "+zstd", ".tar"}[i]
		if got := layers[3].MediaType; !strings.HasSuffix(got, wantType) {
			t.Errorf("media type %s, want %s", got, wantType)
		}
		root, err := oras.Pack(t.Context(), s, &oras.PackOptions{Layers: layers})
		if err != nil {
			t.Fatal(err)
		}
		received := r.received.Load()
		_, err = oras.Copy(t.Context(), s, string(root.Digest), repo, &oras.CopyOptions{
			Tags: []string{"v1"},
			Children: func(_ oras.Descriptor, m *oras.Manifest) []oras.Descriptor {
				return slices.DeleteFunc(m.Children(), func(d oras.Descriptor) bool { return done[d.Annotations[ocispec.AnnotationTitle]] })
			},
		})
		if moved := r.received.Load() - received; err != nil || moved > 10_000 {
			t.Errorf("%d bytes moved after all, %v", moved, err)
		}
		dst := t.TempDir()
		if _, err := oras.Copy(t.Context(), repo, "v1", newStore(t, dst, nil), nil); err != nil {
			t.Fatal(err)
		}
		equal(t, list(t, dst), list(t, src))
		if _, err := s.Fetch(t.Context(), layers[3]); !errors.Is(err, oras.ErrNotFound) {
			t.Errorf("a directory that was sent: %v", err)
		}
		if f, err := s.Fetch(t.Context(), layers[1]); err != nil {
			t.Error(err)
		} else {
			f.Close()
		}
	}
}

// Where content cannot be sent in one pass it is added.
func TestSendSpools(t *testing.T) {
	src := makeSource(t)
	s := newStore(t, src, nil)
	for _, title := range titles {
		desc, sent, err := s.Send(t.Context(), memory.New(), title, "", "", nil)
		if err != nil || sent {
			t.Errorf("%s: %v, %v", title, sent, err)
		}
		if r, err := s.Fetch(t.Context(), desc); err != nil {
			t.Error(err)
		} else {
			r.Close()
		}
	}
	// A manifest is one, and not a blob, however large.
	desc, sent, err := s.Send(t.Context(), newRegistry(t).repository(t, "a"), "manifest", "large", oras.MediaTypeImageManifest, nil)
	if err != nil || sent || desc.MediaType != oras.MediaTypeImageManifest {
		t.Errorf("%v, %v, %v", desc, sent, err)
	}
	for _, bad := range []string{"missing", "", "a\nb"} {
		if _, _, err := s.Send(t.Context(), memory.New(), bad, "", "", nil); err == nil {
			t.Errorf("%q was sent", bad)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, title := range titles {
		if _, _, err := newStore(t, src, nil).Send(ctx, newRegistry(t).repository(t, "a"), title, "", "", nil); !errors.Is(err, context.Canceled) {
			t.Errorf("%s, cancelled: %v", title, err)
		}
	}
}

// childSend sends something, and tells how many bytes. At some point, if it is given
// one, it waits to be killed.
func childSend(ctx context.Context, args []string) error {
	repo, err := openRepository(args[0], "a")
	if err != nil {
		return err
	}
	j, err := file.OpenJournal(args[3])
	if err != nil {
		return err
	}
	s, err := file.New(args[1], nil)
	if err != nil {
		return err
	}
	end, err := strconv.ParseInt(args[4], 10, 64)
	if err != nil {
		return err
	}
	_, _, err = s.Send(ctx, repo, args[2], "", "", &file.SendOptions{Journal: j, Target: args[0], Event: func(e oras.Event) {
		if e.Kind == oras.Progress {
			fmt.Println(e.Bytes)
			if end > 0 && e.Bytes >= end {
				waitForKill()
			}
		}
	}})
	return errors.Join(err, s.Close(), j.Close())
}

func openJournal(t testing.TB, dir string) *file.Journal {
	t.Helper()
	j, err := file.OpenJournal(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := j.Close(); err != nil {
			t.Error(err)
		}
	})
	return j
}

// However often a process is killed, the next goes on with its upload.
func TestSendKilled(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	src := makeSource(t)
	write(t, src, map[string]string{"large": string(random(40<<20, 1))})
	for i := range 8 {
		write(t, src, map[string]string{fmt.Sprintf("tree/x%d", i): string(random(5<<20, byte(i)))})
	}
	killed := []string{"large", "tree"}
	if testing.Short() {
		killed = killed[1:] // what goes on at once there is more
	}
	for _, title := range killed {
		var reg *registry
		var events told
		var opts *file.SendOptions
		var desc oras.Descriptor
		var there int64
		for try := 0; there == 0; try++ { // what is told of need not have arrived on a machine that has much to do
			if try == 3 {
				t.Fatalf("%s: nothing was there", title)
			}
			reg, events = newRegistry(t), nil
			journal := filepath.Join(t.TempDir(), "cache/uploads")
			for _, end := range []int64{24 << 20, 1 << 20, 1 << 20} { // some of what is told of is not yet on its way
				end += r.Int64N(2 << 20)
				startChild(t, "send", reg.host, src, title, journal, fmt.Sprint(end)).killAt(t, end)
			}
			opts = &file.SendOptions{Journal: openJournal(t, journal), Target: reg.host, Event: events.add}
			var sent bool
			var err error
			desc, sent, err = newStore(t, src, nil).Send(t.Context(), reg.repository(t, "a"), title, "", "", opts)
			if err != nil || !sent {
				t.Fatalf("%s: %v", title, err)
			}
			there = events[len(events)-2].There
		}
		events.check(t, desc, oras.Copied, there)
		if again := reg.received.Load() - desc.Size; again > desc.Size/10 {
			t.Errorf("%s: %d bytes of %d moved again", title, again, desc.Size)
		}
		f, err := reg.repository(t, "a").Fetch(t.Context(), desc)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, oras.NewVerifier(f, desc)); err != nil {
			t.Error(err)
		}
		f.Close()

		// Once more: nothing moves, and what changed does.
		received := reg.received.Load()
		events = nil
		if _, sent, err := newStore(t, src, nil).Send(t.Context(), reg.repository(t, "a"), title, "", "", opts); err != nil || !sent {
			t.Errorf("%s: %v", title, err)
		}
		events.check(t, desc, oras.Exists, 0)
		if moved := reg.received.Load() - received; moved != 0 || len(events) != 1 {
			t.Errorf("%s, again: %d bytes moved, %v", title, moved, events)
		}
		if title == "tree" { // what made it large has shown what it was for
			for i := range 8 {
				if err := os.Remove(filepath.Join(src, fmt.Sprintf("tree/x%d", i))); err != nil {
					t.Fatal(err)
				}
			}
		}
		write(t, src, map[string]string{"large": string(random(9<<20, 3)), "tree/changed": title})
		events = nil
		changed, _, err := newStore(t, src, nil).Send(t.Context(), reg.repository(t, "a"), title, "", "", opts)
		if err != nil || changed.Digest == desc.Digest {
			t.Errorf("%s, changed: %v", title, err)
		}
		events.check(t, changed, oras.Copied, 0)
		// To another target, and where the content is gone.
		events = nil
		other := &file.SendOptions{Journal: opts.Journal, Target: "other", Event: events.add}
		if _, _, err := newStore(t, src, nil).Send(t.Context(), newRegistry(t).repository(t, "a"), title, "", "", other); err != nil {
			t.Error(err)
		}
		events.check(t, changed, oras.Copied, 0)
		if err := reg.repository(t, "a").Delete(t.Context(), oras.Descriptor{MediaType: oras.MediaTypeBlob, Digest: changed.Digest}); err != nil {
			t.Error(err)
		}
		events = nil
		if _, _, err := newStore(t, src, nil).Send(t.Context(), reg.repository(t, "a"), title, "", "", opts); err != nil {
			t.Error(err)
		}
		events.check(t, changed, oras.Copied, 0)
	}
}

// What a journal says is tried, not believed; who cannot have the entry does without.
func TestJournal(t *testing.T) {
	src := t.TempDir()
	write(t, src, map[string]string{"large": string(random(8<<20, 1)), "tree/a": string(random(2<<20, 1)), "tree/b": "b"})
	reg := newRegistry(t)
	repo := reg.repository(t, "a")
	dir := filepath.Join(t.TempDir(), "uploads")
	j := openJournal(t, dir)
	// An upload with other bytes, as if the journal was of another.
	u, err := oras.OpenUpload(t.Context(), repo, "")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := u.Append(t.Context(), 0, bytes.NewReader(random(1<<20, 7))); err != nil {
		t.Fatal(err)
	}
	send := func(title string) error {
		t.Helper()
		desc, _, err := newStore(t, src, nil).Send(t.Context(), repo, title, "", "", &file.SendOptions{Journal: j, Target: "a"})
		if err == nil {
			err = repo.Delete(t.Context(), oras.Descriptor{MediaType: oras.MediaTypeBlob, Digest: desc.Digest})
		}
		return err
	}
	for _, title := range []string{"large", "tree"} {
		if err := send(title); err != nil {
			t.Fatal(err)
		}
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 2 {
		t.Fatalf("%v, %v", entries, err)
	}
	missing := fmt.Sprintf(`{"digest":%q}`, oras.SHA256.Digest(nil))
	for _, text := range []string{
		"\n{\"upload\":\"" + u.ID() + "\"}\n", "{\"upload\":\"" + u.ID() + "\"}\n{\"upl", "{\"upload\":\"gone\"}\n", "{}\n", "garbage\n", "\x00\x00\x00", "", "\n\n",
		missing + "\n", `{"digest":"sha256:../x"}` + "\n", `{"upload":"../../x"}` + "\n", strings.Repeat("x", 2<<20), strings.Repeat(missing+"\n", 1<<15),
	} {
		for i, e := range entries {
			if err := os.WriteFile(filepath.Join(dir, e.Name()), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := send([]string{"large", "tree"}[i]); err != nil {
				t.Errorf("%.40q: %v", text, err)
			}
		}
	}
	// An entry that is something else is not touched.
	for _, e := range entries {
		victim := filepath.Join(t.TempDir(), "victim")
		if err := errors.Join(os.WriteFile(victim, []byte("victim"), 0o600), os.Remove(filepath.Join(dir, e.Name())), os.Symlink(victim, filepath.Join(dir, e.Name()))); err != nil {
			t.Fatal(err)
		}
		for _, title := range []string{"large", "tree"} {
			if err := send(title); err != nil {
				t.Error(err)
			}
		}
		if data, err := os.ReadFile(victim); err != nil || string(data) != "victim" {
			t.Errorf("%q, %v", data, err)
		}
	}
	// Old entries go, others stay.
	long := time.Now().Add(-8 * 24 * time.Hour)
	old := filepath.Join(dir, strings.Repeat("0", 64)+".upload")
	mine := filepath.Join(dir, "mine")
	for _, path := range []string{old, mine} {
		if err := errors.Join(os.WriteFile(path, nil, 0o600), os.Chtimes(path, long, long)); err != nil {
			t.Fatal(err)
		}
	}
	openJournal(t, dir)
	if _, err := os.Stat(old); err == nil {
		t.Error("an old entry stays")
	}
	if _, err := os.Stat(mine); err != nil {
		t.Error(err)
	}
}

// Many that send the same at once all succeed.
func TestSendTogether(t *testing.T) {
	src := makeSource(t)
	reg := newRegistry(t)
	journal := t.TempDir()
	var all sync.WaitGroup
	for i := range 4 {
		c := startChild(t, "send", reg.host, src, "large", journal, "0")
		all.Go(func() {
			if i == 3 {
				c.killAt(t, 1<<20)
			} else {
				c.wait(t)
			}
		})
	}
	all.Wait()
	var events told
	desc, _, err := newStore(t, src, nil).Send(t.Context(), reg.repository(t, "a"), "large", "", "", &file.SendOptions{Journal: openJournal(t, journal), Target: reg.host, Event: events.add})
	if err != nil {
		t.Fatal(err)
	}
	if last := events[len(events)-1]; last.Descriptor.Digest != desc.Digest {
		t.Errorf("got %v", last)
	}
}

// A file that changes while it is sent is no content, unless it changed before it was
// read.
func TestSendChanges(t *testing.T) {
	src := makeSource(t)
	reg := newRegistry(t)
	path := filepath.Join(src, "large")
	before, after := random(9<<20+5, 1), random(9<<20+5, 2)
	for name, change := range map[string]func() error{
		"grows":    func() error { return os.Truncate(path, 20<<20) },
		"shrinks":  func() error { return os.Truncate(path, 1<<20) },
		"is other": func() error { return os.WriteFile(path, after, 0o644) },
		"is new":   func() error { return os.Chtimes(path, time.Time{}, time.Now().Add(time.Hour)) }, // though it has the same bytes
	} {
		for _, when := range []oras.EventKind{oras.Copying, oras.Progress} {
			write(t, src, map[string]string{"large": string(before)})
			changed := false
			desc, _, err := newStore(t, src, nil).Send(t.Context(), reg.repository(t, "a"), "large", "", "", &file.SendOptions{Event: func(e oras.Event) {
				if e.Kind == when && !changed {
					changed = true
					if err := change(); err != nil {
						t.Error(err)
					}
				}
			}})
			switch {
			case err != nil:
				wantErr(t, err, oras.ErrInvalid, path+": changed while it was sent")
			case name == "is new":
				t.Errorf("it was sent, and changed meanwhile")
			case name == "is other" && desc.Digest == oras.SHA256.Digest(after).OCI():
			case desc.Digest == oras.SHA256.Digest(before).OCI() && when == oras.Progress: // it was hashed before
			default:
				t.Errorf("%s: it was sent as %v", name, desc)
			}
			if err == nil {
				r, err := reg.repository(t, "a").Fetch(t.Context(), desc)
				if err != nil {
					t.Fatal(err)
				}
				if _, err := io.Copy(io.Discard, oras.NewVerifier(r, desc)); err != nil {
					t.Errorf("%s: %v", name, err)
				}
				r.Close()
			}
		}
	}
}
