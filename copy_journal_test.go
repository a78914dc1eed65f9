package oras_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/c73062ad/oras"
	"github.com/c73062ad/oras/memory"
)

// A journal remembers uploads as a file.Journal does.
type journal struct {
	mu  sync.Mutex
	ids map[string]string // by digest
}

func (j *journal) record(desc oras.Descriptor) *oras.UploadRecord {
	j.mu.Lock()
	defer j.mu.Unlock()
	key := string(desc.Digest)
	if j.ids == nil {
		j.ids = map[string]string{}
	}
	return &oras.UploadRecord{
		Upload: j.ids[key],
		Note: func(id string) {
			j.mu.Lock()
			defer j.mu.Unlock()
			if j.ids[key] = id; id == "" {
				delete(j.ids, key)
			}
		},
		Close: func() {},
	}
}

// A readCounter counts what is read of large content, which may break or not be able
// to seek.
type readCounter struct {
	*bytes.Reader
	n    *int
	left int // bytes until it breaks; -1 for never
}

func (r *readCounter) Close() error { return nil }

func (r *readCounter) Read(p []byte) (int, error) {
	if r.left == 0 {
		return 0, errBroken
	}
	p = p[:min(len(p), 5000)]
	if r.left > 0 {
		p = p[:min(len(p), r.left)]
	}
	n, err := r.Reader.Read(p)
	if *r.n += n; r.left > 0 {
		r.left -= n
	}
	return n, err
}

// A journaledCopy is one of an artifact with one large blob.
type journaledCopy struct {
	data  []byte
	large content
	root  content
	src   *hooked
	read  int // bytes of the blob, from src
	left  int // bytes until src breaks; -1 for never
	dst   *uploads
	j     journal
	moved map[int64]int64 // of the last copy: how much moved where so much was there
	end   oras.EventKind
}

func newJournaledCopy(t testing.TB, size int) *journaledCopy {
	c := &journaledCopy{data: random(size, 1), left: -1, dst: newUploads(t)}
	c.large = content{oras.DescriptorOf(blobType, c.data), c.data}
	c.root = image("root", c.large.Descriptor)
	src := newStore(t, emptyConfig, c.large, c.root)
	c.src = &hooked{Store: src, fetch: func(ctx context.Context, d oras.Descriptor) (io.ReadCloser, error) {
		if d.Digest == c.large.Digest {
			return &readCounter{bytes.NewReader(c.data), &c.read, c.left}, nil
		}
		return src.Fetch(ctx, d)
	}}
	return c
}

func (c *journaledCopy) copy(ctx context.Context, opts oras.CopyOptions) error {
	c.read, c.moved = 0, map[int64]int64{}
	opts.Journal = c.j.record
	opts.Event = func(e oras.Event) {
		if e.Descriptor.Digest == c.large.Digest {
			if e.Kind == oras.Progress {
				c.moved[e.There] = e.Bytes
			}
			c.end = e.Kind
		}
	}
	_, err := oras.Copy(ctx, c.src, "root", c.dst, &opts)
	return err
}

// wantDone checks that all is there, and nothing remembered or left.
func (c *journaledCopy) wantDone(t testing.TB) {
	t.Helper()
	all := []content{emptyConfig, c.large, c.root}
	wantExactly(t, c.dst, all, all...)
	if len(c.j.ids) != 0 {
		t.Errorf("remembered is %q", c.j.ids)
	}
	for _, id := range c.dst.begun {
		if c.dst.isOpen(t, id) {
			t.Errorf("the upload %s is left", id)
		}
	}
}

// A copy that breaks off, for whatever reason, goes on in the middle of a blob: what
// arrived is neither sent nor read again.
func TestCopyJournal(t *testing.T) {
	const size = 4*piece + 17
	for seed := range uint64(30) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel() // most of the time goes into waiting for the disk
			r := rand.New(rand.NewPCG(seed, 1))
			c := newJournaledCopy(t, size)
			copies, read, moved := 0, 0, int64(0)
			for broken := true; broken; copies++ {
				broken = copies < 3 && r.IntN(5) > 0
				ctx, cancel := context.WithCancelCause(t.Context())
				c.left, c.dst.append = -1, nil
				end := int64(r.IntN(size))
				switch cause := r.IntN(3); {
				case !broken:
				case cause == 0: // at the source
					c.left = int(end)
				default: // on the way, or by the user
					c.dst.append = func(u oras.Upload, ctx context.Context, offset int64, content io.Reader) (int64, error) {
						n, err := u.Append(ctx, offset, io.LimitReader(content, max(0, end-offset)))
						if cause == 1 {
							cancel(errBroken)
						}
						return n, errors.Join(err, errBroken)
					}
				}
				err := c.copy(ctx, oras.CopyOptions{})
				if broken != errors.Is(err, errBroken) && (err != nil || !broken) {
					t.Fatalf("copy %d: %v", copies, err)
				}
				var side *oras.CopyError
				if c.left >= 0 && errors.As(err, &side) && side.AtTarget {
					t.Errorf("the error is told of the target: %v", err)
				}
				broken = err != nil
				read += c.read
				for there, n := range c.moved {
					if !broken {
						moved += there + n
					}
				}
				cancel(nil)
			}
			c.wantDone(t)
			if c.dst.arrived != size || read > size+copies*64<<10 || moved != size {
				t.Errorf("in %d copies %d bytes arrived of %d that were read, of %d; the last tells of %d", copies, c.dst.arrived, read, size, moved)
			}
			if len(c.dst.begun) != 1 {
				t.Errorf("%d uploads", len(c.dst.begun))
			}
		})
	}
}

// What is remembered is tried, not believed. An upload of other bytes is found out, and
// the copy starts over, once.
func TestCopyJournalWrong(t *testing.T) {
	const size = 3 * piece
	for what, other := range map[string][]byte{"other bytes": random(piece, 2), "too many": random(4*piece, 3), "all, other": random(size, 4)} {
		c := newJournaledCopy(t, size)
		u, err := oras.BeginUpload(t.Context(), c.dst, oras.SHA256)
		must(t, err)
		_, err = u.Append(t.Context(), 0, bytes.NewReader(other))
		must(t, err)
		must(t, u.Close())
		c.j.record(c.large.Descriptor).Note(u.ID())
		if err := c.copy(t.Context(), oras.CopyOptions{}); err != nil {
			t.Errorf("%s: %v", what, err)
		}
		c.wantDone(t)
		if len(c.dst.begun) != 2 {
			t.Errorf("%s: %d uploads", what, len(c.dst.begun))
		}
	}
	for _, id := range []string{"gone", "../../x", strings.Repeat("x", 1<<16)} {
		c := newJournaledCopy(t, size)
		c.j.record(c.large.Descriptor).Note(id)
		must(t, c.copy(t.Context(), oras.CopyOptions{}))
		c.wantDone(t)
	}
	// An upload that the target no longer takes is not tried for ever.
	for what, refusal := range map[string]error{"denied": oras.ErrDenied, "gone": oras.ErrNotFound} {
		c := newJournaledCopy(t, size)
		u, err := oras.BeginUpload(t.Context(), c.dst, oras.SHA256)
		must(t, err)
		_, err = u.Append(t.Context(), 0, bytes.NewReader(c.data[:piece]))
		must(t, err)
		must(t, u.Close())
		old := u.ID()
		c.j.record(c.large.Descriptor).Note(old)
		c.dst.append = func(u oras.Upload, ctx context.Context, offset int64, content io.Reader) (int64, error) {
			if u.ID() == old {
				return 0, fmt.Errorf("refused: %w", refusal)
			}
			return u.Append(ctx, offset, content)
		}
		if err := c.copy(t.Context(), oras.CopyOptions{}); !errors.Is(err, refusal) {
			t.Errorf("%s: %v", what, err)
		}
		if err := c.copy(t.Context(), oras.CopyOptions{}); err != nil {
			t.Errorf("%s, again: %v", what, err)
		}
		c.wantDone(t)
	}
	// Where it is the source that is wrong, starting over is no help.
	for what, data := range map[string][]byte{"other": random(size, 2), "less": random(size-1, 1)} {
		c := newJournaledCopy(t, size)
		c.data = data
		err := c.copy(t.Context(), oras.CopyOptions{})
		var side *oras.CopyError
		if !errors.Is(err, oras.ErrInvalid) || !errors.As(err, &side) || side.AtTarget || !strings.Contains(err.Error(), string(c.large.Digest)) && what == "other" {
			t.Errorf("%s: %v", what, err)
		}
		if len(c.dst.begun) != 1 || len(c.j.ids) != 0 || c.dst.isOpen(t, c.dst.begun[0]) {
			t.Errorf("%s: %d uploads, remembered is %q", what, len(c.dst.begun), c.j.ids)
		}
	}
}

// Whose fault it is that the target has other bytes than the digest's is found out.
func TestCopyJournalFault(t *testing.T) {
	c := newJournaledCopy(t, 3*piece)
	c.dst.append = func(u oras.Upload, ctx context.Context, offset int64, content io.Reader) (int64, error) {
		data, err := io.ReadAll(content)
		if err != nil {
			return 0, err
		}
		data[0]++
		return u.Append(ctx, offset, bytes.NewReader(data))
	}
	err := c.copy(t.Context(), oras.CopyOptions{})
	var side *oras.CopyError
	if !errors.Is(err, oras.ErrInvalid) || !errors.As(err, &side) || !side.AtTarget {
		t.Errorf("the target changed it, and the error is %v", err)
	}
	if len(c.j.ids) != 0 {
		t.Errorf("remembered is %q", c.j.ids)
	}
	c.dst.append = nil
	must(t, c.copy(t.Context(), oras.CopyOptions{}))
	c.wantDone(t)
}

// A target that takes no uploads in pieces gets the blob whole; so does what the source
// cannot seek in, and what is small.
func TestCopyJournalUnsupported(t *testing.T) {
	c := newJournaledCopy(t, 3*piece)
	c.dst.append = func(oras.Upload, context.Context, int64, io.Reader) (int64, error) {
		return 0, fmt.Errorf("no chunks: %w", oras.ErrUnsupported)
	}
	must(t, c.copy(t.Context(), oras.CopyOptions{}))
	c.wantDone(t)

	c = newJournaledCopy(t, 3*piece)
	fetch := c.src.fetch
	c.src.fetch = func(ctx context.Context, d oras.Descriptor) (io.ReadCloser, error) {
		r, err := fetch(ctx, d)
		return struct{ io.ReadCloser }{r}, err
	}
	must(t, c.copy(t.Context(), oras.CopyOptions{}))
	c.wantDone(t)

	c = newJournaledCopy(t, piece)
	must(t, c.copy(t.Context(), oras.CopyOptions{}))
	c.wantDone(t)
	if len(c.dst.begun) != 0 || c.end != oras.Copied {
		t.Errorf("%d uploads of what is small; event %v", len(c.dst.begun), c.end)
	}

	dst := memory.New()
	_, err := oras.Copy(t.Context(), c.src, "root", dst, &oras.CopyOptions{Journal: c.j.record})
	must(t, err)
}

// A blob that can be mounted is; one that cannot goes on.
func TestCopyJournalMounts(t *testing.T) {
	c := newJournaledCopy(t, 3*piece)
	for _, there := range []bool{false, true} {
		dst := &mountingUploads{newUploads(t), map[string]oras.Store{}}
		if there {
			dst.from["other"] = newStore(t, c.large)
		}
		var ends []oras.EventKind
		_, err := oras.Copy(t.Context(), c.src, "root", dst, &oras.CopyOptions{MountFrom: "other", Journal: c.j.record, Event: func(e oras.Event) {
			if e.Descriptor.Digest == c.large.Digest && isEnd(e.Kind) {
				ends = append(ends, e.Kind)
			}
		}})
		must(t, err)
		all := []content{emptyConfig, c.large, c.root}
		wantExactly(t, dst, all, all...)
		want, uploads := oras.Copied, 1
		if there {
			want, uploads = oras.Mounted, 0
		}
		if !slices.Equal(ends, []oras.EventKind{want}) || len(dst.begun) != uploads {
			t.Errorf("there %v: events %v, %d uploads", there, ends, len(dst.begun))
		}
	}
}

type mountingUploads struct {
	*uploads
	from map[string]oras.Store
}

func (m *mountingUploads) Mount(ctx context.Context, desc oras.Descriptor, from string, getContent func() (io.ReadCloser, error)) error {
	return mounter{m.uploads, m.from}.Mount(ctx, desc, from, getContent)
}
