package bucket_test

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/c73062ad/oras"
	"github.com/c73062ad/oras/bucket"
)

// rereading is a Dir that counts the bytes of uploads that are read.
type rereading struct {
	*bucket.Dir
	read atomic.Int64
}

func (r *rereading) Open(ctx context.Context, key string) (bucket.File, error) {
	f, err := r.Dir.Open(ctx, key)
	return &rereadFile{f, r}, err
}

type rereadFile struct {
	bucket.File
	bucket *rereading
}

func (f *rereadFile) ReadAt(p []byte, offset int64) (int, error) {
	n, err := f.File.ReadAt(p, offset)
	f.bucket.read.Add(int64(n))
	return n, err
}

// An upload is hashed as it arrives, by the algorithm it was begun with; it can be
// committed under a digest of another, too, and goes on after a restart.
func TestUploadAlgorithm(t *testing.T) {
	data := random(3 << 20)
	for _, begun := range []oras.Algorithm{{}, oras.SHA256, oras.SHA512} {
		for _, committed := range []oras.Algorithm{oras.SHA256, oras.SHA512} {
			for _, restart := range []bool{false, true} {
				b := &rereading{Dir: openDir(t)}
				s := repository(t, bucket.New(b).HashEvery(1<<20), "a")
				u, err := oras.BeginUpload(t.Context(), s, begun)
				must(t, err)
				for piece := range 3 {
					appendTo(t, u, data[piece<<20:(piece+1)<<20])
					must(t, u.Close())
					if restart {
						s = repository(t, bucket.New(b).HashEvery(1<<20), "a")
					}
					u = openUpload(t, s, u.ID())
				}
				must(t, u.Commit(t.Context(), committed.Digest(data)))
				desc := oras.DescriptorOf("a/b", data)
				desc.Digest = committed.Digest(data).OCI()
				whole(t, s, desc)
				want := int64(len(data))
				if begun == committed || begun == (oras.Algorithm{}) && committed == oras.SHA256 {
					want = 0
				}
				if got := b.read.Load(); got != want {
					t.Errorf("begun by %q, committed by %s, restarts: %v: %d bytes were read again; it must be %d", begun, committed, restart, got, want)
				}
				if got := list(t, b, "a/_uploads/", ""); len(got) > 0 {
					t.Errorf("left: %q", got)
				}
			}
		}
	}
	s := repository(t, bucket.New(openDir(t)), "a")
	u, err := oras.BeginUpload(t.Context(), s, oras.SHA512)
	must(t, err)
	random, name, _ := strings.Cut(u.ID(), "-")
	if name != "sha512" || len(random) != 32 {
		t.Errorf("id %s", u.ID())
	}
	for _, id := range []string{random, random + "-", random + "-sha256", random + "-md5", random + "-sha512-", "-sha512", random[1:] + "-sha512", random + "-SHA512"} {
		_, err := oras.OpenUpload(t.Context(), s, id)
		want(t, oras.ErrNotFound, err)
	}
	openUpload(t, s, u.ID())
	_, err = oras.BeginUpload(t.Context(), repository(t, bucket.New(&plain{}), "a"), oras.SHA512)
	want(t, oras.ErrUnsupported, err)
}
