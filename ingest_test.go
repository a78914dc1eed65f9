package oras_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/iotest"
	"testing/synctest"
	"time"

	"github.com/c73062ad/oras"
	"github.com/c73062ad/oras/bucket"
	"github.com/c73062ad/oras/memory"
)

const blobType = "application/vnd.example.blob"

// random returns n bytes that do not repeat.
func random(n int, seed byte) []byte {
	data := make([]byte, n)
	rand.NewChaCha8([32]byte{seed}).Read(data)
	return data
}

// An uploads store is one that has uploads, whose appends can be made to fail.
type uploads struct {
	oras.Store
	append    func(u oras.Upload, ctx context.Context, offset int64, content io.Reader) (int64, error)
	commit    func(u oras.Upload, ctx context.Context, d oras.Digest) error
	pieceSize int64

	mu      sync.Mutex
	arrived int64 // bytes in all uploads
	begun   []string
}

func newUploads(t testing.TB) *uploads {
	t.Helper()
	dir, err := bucket.OpenDir(t.TempDir())
	must(t, err)
	t.Cleanup(func() { dir.Close() })
	s, err := bucket.New(dir).Repository(t.Context(), "a")
	must(t, err)
	return &uploads{Store: s}
}

func (s *uploads) Upload(ctx context.Context, id string) (oras.Upload, error) {
	u, err := oras.OpenUpload(ctx, s.Store, id)
	return s.wrap(u, err)
}

func (s *uploads) BeginUpload(ctx context.Context, a oras.Algorithm) (oras.Upload, error) {
	u, err := oras.BeginUpload(ctx, s.Store, a)
	if err == nil {
		s.begun = append(s.begun, u.ID())
	}
	return s.wrap(u, err)
}

func (s *uploads) wrap(u oras.Upload, err error) (oras.Upload, error) {
	if err != nil {
		return nil, err
	}
	return &watchedUpload{u, s}, nil
}

type watchedUpload struct {
	oras.Upload
	store *uploads
}

func (u *watchedUpload) PieceSize() int64 { return u.store.pieceSize }

func (u *watchedUpload) Append(ctx context.Context, offset int64, content io.Reader) (n int64, err error) {
	if u.store.append != nil {
		n, err = u.store.append(u.Upload, ctx, offset, content)
	} else {
		n, err = u.Upload.Append(ctx, offset, content)
	}
	u.store.mu.Lock()
	defer u.store.mu.Unlock()
	u.store.arrived += n
	return n, err
}

func (u *watchedUpload) Commit(ctx context.Context, d oras.Digest) error {
	if u.store.commit != nil {
		return u.store.commit(u.Upload, ctx, d)
	}
	return u.Upload.Commit(ctx, d)
}

// isOpen reports whether the upload is there.
func (s *uploads) isOpen(t testing.TB, id string) bool {
	t.Helper()
	u, err := oras.OpenUpload(t.Context(), s.Store, id)
	if err != nil {
		if !errors.Is(err, oras.ErrNotFound) {
			t.Error(err)
		}
		return false
	}
	must(t, u.Close())
	return true
}

// A flight is what was told of one Ingest.
type flight struct {
	events []oras.Event
	ids    []string
}

func (f *flight) opts() *oras.IngestOptions {
	return &oras.IngestOptions{
		Event:   func(e oras.Event) { f.events = append(f.events, e) },
		Journal: func(id string) { f.ids = append(f.ids, id) },
	}
}

// check checks that the events are those of content that came to the end.
func (f *flight) check(t testing.TB, data []byte, there int64, end oras.EventKind) {
	t.Helper()
	var moved int64
	for i, e := range f.events {
		last := i == len(f.events)-1
		switch {
		case last != isEnd(e.Kind), last && e.Kind != end:
			t.Errorf("event %d of %d is %v, want %v at the end", i, len(f.events), e.Kind, end)
		case last && e.Descriptor.Size != int64(len(data)), e.Descriptor.MediaType != blobType:
			t.Errorf("event %v: %v", e.Kind, e.Descriptor)
		case e.Kind == oras.Progress && e.There != there:
			t.Errorf("%d bytes were there, want %d", e.There, there)
		case e.Kind == oras.Progress:
			moved = e.Bytes
		}
	}
	if len(f.events) == 0 {
		t.Error("no events")
	}
	if end == oras.Copied && moved+there != int64(len(data)) {
		t.Errorf("%d bytes moved and %d were there, of %d", moved, there, len(data))
	}
}

func wantStored(t testing.TB, s oras.Target, desc oras.Descriptor, data []byte) {
	t.Helper()
	r, err := s.Fetch(t.Context(), desc)
	must(t, err)
	defer r.Close()
	got, err := io.ReadAll(oras.NewVerifier(r, desc))
	if err != nil || !bytes.Equal(got, data) {
		t.Errorf("%s: %d bytes, %v", desc.Digest, len(got), err)
	}
}

// piece is what is pushed in one go here.
const piece = 1 << 16

func init() { oras.SetIngest(piece, time.Microsecond) }

// kinds are ways to give content; each must do the same.
var kinds = map[string]func(data []byte, opts *oras.IngestOptions) io.Reader{
	"stream": func(data []byte, opts *oras.IngestOptions) io.Reader { return iotest.HalfReader(bytes.NewReader(data)) },
	"seeker": func(data []byte, opts *oras.IngestOptions) io.Reader { return bytes.NewReader(data) },
	"known": func(data []byte, opts *oras.IngestOptions) io.Reader {
		opts.Digest = func(context.Context) (oras.Digest, error) { return opts.Algorithm.Digest(data), nil }
		return bytes.NewReader(data)
	},
	"expected": func(data []byte, opts *oras.IngestOptions) io.Reader {
		opts.Expected = oras.Descriptor{Digest: opts.Algorithm.Digest(data).OCI(), Size: int64(len(data))}
		return bytes.NewReader(data)
	},
	"in the middle": func(data []byte, opts *oras.IngestOptions) io.Reader {
		r := bytes.NewReader(slices.Concat([]byte("before"), data))
		r.Seek(int64(len("before")), io.SeekStart)
		return r
	},
}

func TestIngest(t *testing.T) {
	s := newUploads(t)
	for n, size := range []int{0, 1, piece - 1, piece, piece + 1, 2*piece + 12345} {
		for kind, content := range kinds {
			for _, a := range []oras.Algorithm{{}, oras.SHA512} {
				data := random(size, byte(n))
				for _, end := range []oras.EventKind{oras.Copied, oras.Exists} {
					var f flight
					opts := f.opts()
					opts.Algorithm = a
					begun := len(s.begun)
					desc, err := oras.Ingest(t.Context(), s, blobType, content(data, opts), opts)
					if want := a.Digest(data).OCI(); err != nil || desc.Digest != want || desc.Size != int64(size) || desc.MediaType != blobType {
						t.Fatalf("%s of %d bytes: %v, %v, want %s", kind, size, desc, err, want)
					}
					wantStored(t, s, desc, data)
					// That big content is there is known before its end only sometimes.
					if size < piece || size == piece && kind != "stream" { // which has to be read on for its end
						f.check(t, data, 0, end)
						if len(s.begun) != begun {
							t.Errorf("%s of %d bytes: an upload was begun", kind, size)
						}
					} else if last := f.events[len(f.events)-1].Kind; last == oras.Copied || kind != "known" {
						f.check(t, data, 0, oras.Copied)
					} else {
						f.check(t, data, 0, oras.Exists)
					}
				}
				must(t, s.Delete(t.Context(), oras.Descriptor{MediaType: blobType, Digest: a.Digest(data).OCI()}))
			}
		}
	}
	for _, id := range s.begun {
		if s.isOpen(t, id) {
			t.Error("an upload is left")
		}
	}
}

func TestIngestRefuses(t *testing.T) {
	content := bytes.NewReader(make([]byte, 10))
	_, err := oras.Ingest(t.Context(), memory.New(), blobType, content, nil)
	if !errors.Is(err, oras.ErrUnsupported) || content.Len() != 10 {
		t.Errorf("no uploads: %v, %d bytes are left", err, content.Len())
	}
	_, err = oras.Ingest(t.Context(), newUploads(t), oras.MediaTypeImageManifest, content, nil)
	if !errors.Is(err, oras.ErrUnsupported) || content.Len() != 10 {
		t.Errorf("a manifest: %v", err)
	}
}

// Wherever sending breaks, it goes on there; nothing is hashed wrong and little is
// sent again.
func TestIngestGoesOn(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	data := random(3*piece+5, 1)
	for kind, content := range kinds {
		s := newUploads(t)
		failures := 0
		s.append = func(u oras.Upload, ctx context.Context, offset int64, content io.Reader) (int64, error) {
			if failures == 8 {
				return u.Append(ctx, offset, content)
			}
			failures++
			// The target reads more than it keeps.
			some := make([]byte, r.IntN(piece))
			n, err := io.ReadFull(content, some)
			if err == io.EOF {
				return 0, nil
			}
			kept, err := u.Append(ctx, offset, bytes.NewReader(some[:r.IntN(n+1)]))
			if err != nil {
				return kept, err
			}
			return kept, errors.New("connection reset")
		}
		var f flight
		opts := f.opts()
		desc, err := oras.Ingest(t.Context(), s, blobType, content(data, opts), opts)
		must(t, err)
		wantStored(t, s, desc, data)
		f.check(t, data, 0, oras.Copied)
		if s.arrived != int64(len(data)) || failures == 0 {
			t.Errorf("%s: %d bytes arrived of %d, %d failures", kind, s.arrived, len(data), failures)
		}
	}
}

// What never works ends, and leaves an upload only to who keeps a journal.
func TestIngestFails(t *testing.T) {
	data := random(2*piece, 1)
	reset := errors.New("connection reset")
	for name, test := range map[string]struct {
		err   error
		tries int
	}{
		"always":  {reset, 4},
		"denied":  {fmt.Errorf("no: %w", oras.ErrDenied), 1},
		"invalid": {fmt.Errorf("no: %w", oras.ErrInvalid), 1},
	} {
		for kind, content := range kinds {
			for _, keep := range []bool{false, true} {
				s := newUploads(t)
				tries := 0
				s.append = func(u oras.Upload, ctx context.Context, offset int64, content io.Reader) (int64, error) {
					tries++
					return 0, test.err
				}
				var f flight
				opts := f.opts()
				if !keep {
					opts.Journal = nil
				}
				_, err := oras.Ingest(t.Context(), s, blobType, content(data, opts), opts)
				if !errors.Is(err, test.err) || tries != test.tries {
					t.Errorf("%s, %s: %v after %d tries", name, kind, err, tries)
				}
				left := keep && name != "invalid"
				if s.isOpen(t, s.begun[0]) != left {
					t.Errorf("%s, %s: an upload left is not %v", name, kind, left)
				}
				if keep && left != (f.ids[len(f.ids)-1] != "") {
					t.Errorf("%s, %s: journal %q", name, kind, f.ids)
				}
			}
		}
	}
}

// An Ingest that was broken off is gone on with by another: what has arrived does
// not move again.
func TestIngestResumes(t *testing.T) {
	data := random(3*piece+5, 1)
	broken := errors.New("broken")
	for kind, content := range kinds {
		for _, at := range []int{piece + 100, 2 * piece, 3*piece + 4, 3*piece + 5} {
			s := newUploads(t)
			ctx, cancel := context.WithCancelCause(t.Context())
			s.append = func(u oras.Upload, ctx context.Context, offset int64, content io.Reader) (int64, error) {
				left := int64(at) - offset
				n, err := u.Append(ctx, offset, io.LimitReader(content, left))
				if n == left && err == nil {
					cancel(broken)
				}
				return n, err
			}
			var f flight
			opts := f.opts()
			_, err := oras.Ingest(ctx, s, blobType, content(data, opts), opts)
			if err != broken || len(f.ids) != 1 {
				t.Fatalf("%s: %v, journal %q", kind, err, f.ids)
			}
			s.append, s.arrived = nil, 0
			var again flight
			opts = again.opts()
			opts.Upload = f.ids[0]
			desc, err := oras.Ingest(t.Context(), s, blobType, content(data, opts), opts)
			must(t, err)
			wantStored(t, s, desc, data)
			again.check(t, data, int64(at), oras.Copied)
			if s.arrived != int64(len(data)-at) || len(s.begun) != 1 {
				t.Errorf("%s: %d bytes arrived behind %d of %d, in %d uploads", kind, s.arrived, at, len(data), len(s.begun))
			}
			if want := []string{f.ids[0], ""}; !slices.Equal(again.ids, want) {
				t.Errorf("%s: journal %q", kind, again.ids)
			}
		}
	}
}

// An upload that the target fails to open is given up, but not if the target cannot be
// reached, nor if it fails at others, too.
func TestIngestCannotOpen(t *testing.T) {
	data := random(2*piece+5, 1)
	answered, unreached := errors.New("internal server error"), &url.Error{Op: "Get", URL: "http://registry.example", Err: io.EOF}
	for name, test := range map[string]struct{ open, begin, want error }{
		"this alone":  {answered, nil, nil},
		"all":         {answered, answered, answered},
		"unreachable": {unreached, nil, unreached},
	} {
		s := &failingUploads{uploads: newUploads(t), open: test.open, begin: test.begin}
		var f flight
		opts := f.opts()
		opts.Upload = "remembered"
		desc, err := oras.Ingest(t.Context(), s, blobType, bytes.NewReader(data), opts)
		if !errors.Is(err, test.want) {
			t.Errorf("%s: %v", name, err)
		}
		if test.want != nil {
			if len(f.ids) > 0 {
				t.Errorf("%s: journal %q", name, f.ids)
			}
			continue
		}
		wantStored(t, s, desc, data)
		if want := []string{s.begun[0], ""}; !slices.Equal(f.ids, want) {
			t.Errorf("%s: journal %q, want %q", name, f.ids, want)
		}
	}
}

// failingUploads fail to open, and to begin.
type failingUploads struct {
	*uploads
	open, begin error
}

func (s *failingUploads) Upload(context.Context, string) (oras.Upload, error) { return nil, s.open }

func (s *failingUploads) BeginUpload(ctx context.Context, a oras.Algorithm) (oras.Upload, error) {
	if s.begin != nil {
		return nil, s.begin
	}
	return s.uploads.BeginUpload(ctx, a)
}

// An upload that is not what its journal says does no harm.
func TestIngestResumesOther(t *testing.T) {
	data := random(2*piece+5, 1)
	for kind, content := range kinds {
		for name, other := range map[string][]byte{"other": random(100, 2), "longer": random(3*piece, 3), "as long": random(len(data), 4)} {
			s := newUploads(t)
			u, err := oras.OpenUpload(t.Context(), s, "")
			must(t, err)
			_, err = u.Append(t.Context(), 0, bytes.NewReader(other))
			must(t, err)
			must(t, u.Close())
			var f flight
			opts := f.opts()
			opts.Upload = u.ID()
			_, err = oras.Ingest(t.Context(), s, blobType, content(data, opts), opts)
			if !errors.Is(err, oras.ErrInvalid) || s.isOpen(t, u.ID()) || f.ids[len(f.ids)-1] != "" {
				t.Errorf("%s, %s: %v, journal %q", kind, name, err, f.ids)
			}
			// It has ended: a new one begins.
			opts = &oras.IngestOptions{Upload: u.ID()}
			desc, err := oras.Ingest(t.Context(), s, blobType, content(data, opts), opts)
			must(t, err)
			wantStored(t, s, desc, data)
		}
	}
}

// Content that is there is not sent to its end once that is known.
func TestIngestThere(t *testing.T) {
	data := random(4*piece, 1)
	s := newUploads(t)
	must(t, oras.Push(t.Context(), s, oras.DescriptorOf(blobType, data), bytes.NewReader(data)))
	begun, ended := make(chan struct{}), make(chan struct{})
	s.append = func(u oras.Upload, ctx context.Context, offset int64, content io.Reader) (int64, error) {
		n, err := u.Append(ctx, offset, io.LimitReader(content, 1000))
		close(begun)
		<-ctx.Done() // as when the connection is slow
		close(ended)
		return n, errors.Join(err, ctx.Err())
	}
	var f flight
	opts := f.opts()
	opts.Digest = func(context.Context) (oras.Digest, error) {
		<-begun
		return oras.SHA256.Digest(data), nil
	}
	desc, err := oras.Ingest(t.Context(), s, blobType, bytes.NewReader(data), opts)
	must(t, err)
	<-ended
	if desc.Digest != oras.SHA256.Digest(data).OCI() || desc.Size != int64(len(data)) {
		t.Errorf("got %v", desc)
	}
	f.check(t, data, 0, oras.Exists)
	if s.isOpen(t, s.begun[0]) || s.arrived != 1000 || f.ids[len(f.ids)-1] != "" {
		t.Errorf("%d bytes arrived, journal %q", s.arrived, f.ids)
	}

	// An error of finding the digest is that of all.
	broken := errors.New("broken")
	s.append = nil
	opts.Digest = func(context.Context) (oras.Digest, error) { return oras.Digest{}, broken }
	if _, err := oras.Ingest(t.Context(), s, blobType, bytes.NewReader(data), opts); err != broken {
		t.Errorf("got %v", err)
	}
	// So is a digest that is not that of the content.
	opts.Digest = func(context.Context) (oras.Digest, error) { return oras.SHA256.Digest(nil), nil }
	if _, err := oras.Ingest(t.Context(), s, blobType, bytes.NewReader(data), opts); !errors.Is(err, oras.ErrInvalid) {
		t.Errorf("got %v", err)
	}
}

// A digest that is found before all is sent is told from then on.
func TestIngestDigestTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		data := random(4*piece, 1)
		want := oras.DescriptorOf(blobType, data)
		s := newUploads(t)
		s.append = func(u oras.Upload, ctx context.Context, offset int64, content io.Reader) (int64, error) {
			n, err := u.Append(ctx, offset, io.LimitReader(content, 1000))
			must(t, err)
			synctest.Wait() // until it is found
			more, err := u.Append(ctx, offset+n, content)
			return n + more, err
		}
		var f flight
		opts := f.opts()
		opts.Digest = func(context.Context) (oras.Digest, error) { return oras.SHA256.Digest(data), nil }
		_, err := oras.Ingest(t.Context(), s, blobType, bytes.NewReader(data), opts)
		must(t, err)
		first, last := f.events[0], f.events[len(f.events)-2]
		if first.Kind != oras.Copying || first.Descriptor.Digest != "" || last.Kind != oras.Progress || last.Descriptor.Digest != want.Digest || last.Descriptor.Size != want.Size {
			t.Errorf("told was %v, and later %v", first, last)
		}
	})
}

// Content that breaks, changes or stops is no content.
func TestIngestContentFails(t *testing.T) {
	data := random(2*piece, 1)
	broken := errors.New("broken")
	for name, test := range map[string]struct {
		content io.Reader
		want    error
	}{
		"breaks early": {io.MultiReader(bytes.NewReader(data[:5]), iotest.ErrReader(broken)), broken},
		"breaks late":  {io.MultiReader(bytes.NewReader(data[:piece+5]), iotest.ErrReader(broken)), broken},
		"silent":       {io.MultiReader(bytes.NewReader(data[:piece+5]), silent{}), io.ErrNoProgress},
		"shrinks":      {&shrinking{ReadSeeker: bytes.NewReader(data), left: piece + 7}, oras.ErrInvalid},
		"breaks":       {&shrinking{ReadSeeker: bytes.NewReader(data), left: piece + 7, err: broken}, broken},
	} {
		s := newUploads(t)
		_, err := oras.Ingest(t.Context(), s, blobType, test.content, nil)
		if !errors.Is(err, test.want) {
			t.Errorf("%s: %v", name, err)
		}
		for _, id := range s.begun {
			if s.isOpen(t, id) {
				t.Errorf("%s: an upload is left", name)
			}
		}
	}
}

// A shrinking reader has fewer bytes than it says.
type shrinking struct {
	io.ReadSeeker
	left int
	err  error
}

func (s *shrinking) Read(p []byte) (int, error) {
	n, err := s.ReadSeeker.Read(p[:min(len(p), s.left)])
	if s.left -= n; s.left == 0 && err == nil {
		err = io.EOF
		if s.err != nil {
			err = s.err
		}
	}
	return n, err
}

// Where pieces must have a size, all but the last have it.
func TestIngestPieceSize(t *testing.T) {
	data := random(4*piece+5, 1)
	for _, least := range []int64{1000, piece, piece + 1, 3*piece - 1, 1 << 20} {
		s := newUploads(t)
		s.pieceSize = least
		var sizes []int64
		s.append = func(u oras.Upload, ctx context.Context, offset int64, content io.Reader) (int64, error) {
			all, err := io.ReadAll(content)
			if err != nil {
				return 0, err
			}
			sizes = append(sizes, int64(len(all)))
			if len(sizes) == 2 { // some is refused
				all = all[:len(all)/2]
				n, err := u.Append(ctx, offset, bytes.NewReader(all))
				return n, errors.Join(err, errors.New("connection reset"))
			}
			return u.Append(ctx, offset, bytes.NewReader(all))
		}
		desc, err := oras.Ingest(t.Context(), s, blobType, iotest.DataErrReader(bytes.NewReader(data)), nil)
		must(t, err)
		wantStored(t, s, desc, data)
		for i, size := range sizes[:len(sizes)-1] {
			if size < least && i != 1 {
				t.Errorf("pieces of %d, want %d at least", sizes, least)
			}
		}
	}
}

// What an Append is given can be seeked and read again, as by who has to repeat a
// request, and is hashed once.
func TestIngestReadAgain(t *testing.T) {
	data := random(3*piece+5, 1)
	for kind, content := range kinds {
		s := newUploads(t)
		s.append = func(u oras.Upload, ctx context.Context, offset int64, content io.Reader) (int64, error) {
			seeker := content.(io.ReadSeeker)
			size, err := seeker.Seek(0, io.SeekEnd)
			must(t, err)
			for _, at := range []int64{size / 2, 0, size - 1, 0} {
				if got, err := seeker.Seek(at, io.SeekStart); err != nil || got != at {
					t.Errorf("%s: seeked to %d, %v", kind, got, err)
				}
				rest, err := io.ReadAll(seeker)
				must(t, err)
				if !bytes.Equal(rest, data[offset+at:offset+size]) {
					t.Errorf("%s: other bytes at %d of %d", kind, at, size)
				}
			}
			if _, err := seeker.Seek(-1, io.SeekStart); err == nil {
				t.Errorf("%s: seeked to before the start", kind)
			}
			if at, err := seeker.Seek(-size, io.SeekCurrent); err != nil || at != 0 {
				t.Errorf("%s: seeked back to %d, %v", kind, at, err)
			}
			kept := content
			t.Cleanup(func() { // long after
				if n, err := kept.Read(make([]byte, 1)); n != 0 || err == nil {
					t.Errorf("%s: read after Append: %d, %v", kind, n, err)
				}
			})
			return u.Append(ctx, offset, content)
		}
		desc, err := oras.Ingest(t.Context(), s, blobType, content(data, &oras.IngestOptions{}), nil)
		must(t, err)
		wantStored(t, s, desc, data)
	}
}

// Commits are believed only after a second look.
func TestIngestCommit(t *testing.T) {
	data := random(piece+1, 1)
	reset := errors.New("connection reset")
	for _, lost := range []bool{true, false} {
		s := newUploads(t)
		s.commit = func(u oras.Upload, ctx context.Context, d oras.Digest) error {
			if lost { // the answer alone
				must(t, u.Commit(ctx, d))
			}
			return reset
		}
		var f flight
		desc, err := oras.Ingest(t.Context(), s, blobType, bytes.NewReader(data), f.opts())
		if lost {
			must(t, err)
			wantStored(t, s, desc, data)
			continue
		}
		if err != reset || !s.isOpen(t, f.ids[0]) {
			t.Errorf("got %v", err)
		}
	}
}

// Random schedules: content goes up by as many Ingests as it takes, each broken off
// somewhere, and every byte that arrives counts.
func TestIngestSchedules(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	data := random(3*piece, 1)
	for round := range 8 {
		s := newUploads(t)
		id := ""
		for try := 0; ; try++ {
			ctx, cancel := context.WithCancel(t.Context())
			left := int64(r.IntN(len(data)))
			s.append = func(u oras.Upload, _ context.Context, offset int64, content io.Reader) (int64, error) {
				n, err := u.Append(t.Context(), offset, io.LimitReader(content, left))
				if left -= n; left == 0 {
					cancel()
					return n, errors.Join(err, context.Canceled)
				}
				return n, err
			}
			names := slices.Sorted(func(yield func(string) bool) {
				for name := range kinds {
					if !yield(name) {
						return
					}
				}
			})
			opts := &oras.IngestOptions{Upload: id, Journal: func(is string) { id = is }}
			desc, err := oras.Ingest(ctx, s, blobType, kinds[names[r.IntN(len(names))]](data, opts), opts)
			cancel()
			if err == nil {
				wantStored(t, s, desc, data)
				break
			}
			if !errors.Is(err, context.Canceled) || try > 100 {
				t.Fatalf("round %d: %v", round, err)
			}
		}
		if s.arrived != int64(len(data)) {
			t.Errorf("round %d: %d bytes arrived of %d", round, s.arrived, len(data))
		}
	}
}

// A fresh push asks little, one that is repeated is told what is there.
func TestCopyAsksLittle(t *testing.T) {
	contents := []content{emptyConfig}
	var layers []oras.Descriptor
	for i := range 1000 {
		c := blob(fmt.Sprint("blob ", i))
		contents, layers = append(contents, c), append(layers, c.Descriptor)
	}
	root := image("root", layers...)
	contents = append(contents, root)
	src := newStore(t, contents...)
	s := newUploads(t)
	var mu sync.Mutex
	asked := 0
	dst := struct {
		*hooked
		uploader
	}{&hooked{Store: s.Store, exists: func(ctx context.Context, d oras.Descriptor) (bool, error) {
		mu.Lock()
		asked++
		mu.Unlock()
		return s.Store.Exists(ctx, d)
	}}, s}
	copied := func() (there int) {
		asked = 0
		_, err := oras.Copy(t.Context(), src, root.Digest.String(), dst, &oras.CopyOptions{Event: func(e oras.Event) {
			if e.Kind == oras.Exists {
				there++
			}
		}})
		must(t, err)
		return there
	}
	if there := copied(); there != 0 || asked > 30 {
		t.Errorf("fresh: %d questions, %d were there", asked, there)
	}
	wantExactly(t, s, contents, contents...)
	if there := copied(); there != 1 || asked != 1 {
		t.Errorf("again: %d questions, %d were there", asked, there)
	}
	// Without the manifest, all are asked for; and where some are gone they come back.
	must(t, s.Delete(t.Context(), root.Descriptor))
	if there := copied(); there != 1001 {
		t.Errorf("without the manifest: %d were there", there)
	}
	for _, c := range slices.Concat(contents[3:50], contents[len(contents)-1:]) {
		must(t, s.Delete(t.Context(), c.Descriptor))
	}
	if there := copied(); there < 850 {
		t.Errorf("without some: %d were there", there)
	}
	wantExactly(t, s, contents, contents...)
	// What is at hand is always asked.
	local := &hooked{Store: memory.New()}
	asked = 0
	local.exists = func(ctx context.Context, d oras.Descriptor) (bool, error) {
		mu.Lock()
		asked++
		mu.Unlock()
		return local.Store.Exists(ctx, d)
	}
	_, err := oras.Copy(t.Context(), src, root.Digest.String(), local, nil)
	must(t, err)
	if asked != 1002 {
		t.Errorf("at hand: %d questions", asked)
	}
}

type uploader interface {
	Upload(ctx context.Context, id string) (oras.Upload, error)
}

func BenchmarkIngest(b *testing.B) {
	data := random(64<<20, 1)
	for kind, content := range kinds {
		b.Run(strings.ReplaceAll(kind, " ", "_"), func(b *testing.B) {
			s := newUploads(b)
			b.SetBytes(int64(len(data)))
			for b.Loop() {
				opts := &oras.IngestOptions{}
				desc, err := oras.Ingest(b.Context(), s, blobType, content(data, opts), opts)
				must(b, err)
				must(b, s.Delete(b.Context(), desc))
			}
		})
	}
}

// What is told of an upload that went at a failure is the failure, and not that it is gone.
func TestIngestGone(t *testing.T) {
	dst := newUploads(t)
	calls := 0
	dst.append = func(oras.Upload, context.Context, int64, io.Reader) (int64, error) {
		if calls++; calls == 1 {
			return 0, errBroken
		}
		return 0, fmt.Errorf("upload: %w", oras.ErrNotFound)
	}
	_, err := oras.Ingest(t.Context(), dst, blobType, bytes.NewReader(random(3*piece, 1)), nil)
	if !errors.Is(err, errBroken) || errors.Is(err, oras.ErrNotFound) || calls != 2 {
		t.Errorf("after %d calls: %v", calls, err)
	}
}
