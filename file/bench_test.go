package file_test

import (
	"bytes"
	"go/build"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/c73062ad/oras"
	"github.com/c73062ad/oras/file"
)

// repeated gives a block again and again.
type repeated struct {
	block   []byte
	n, left int64
}

func (r *repeated) Read(p []byte) (int, error) {
	if r.left == 0 {
		return 0, io.EOF
	}
	n := copy(p[:min(int64(len(p)), r.left)], r.block[r.n%int64(len(r.block)):])
	r.n += int64(n)
	r.left -= int64(n)
	return n, nil
}

// BenchmarkPush pushes a file that costs nothing to read: what remains is hashing,
// writing and syncing.
func BenchmarkPush(b *testing.B) {
	size := int64(1 << 30)
	if testing.Short() {
		size = 64 << 20
	}
	block := random(1<<20, 1)
	h := oras.SHA256.New()
	if _, err := io.Copy(h, &repeated{block: block, left: size}); err != nil {
		b.Fatal(err)
	}
	desc := titled("big", nil)
	desc.Digest, desc.Size = oras.SHA256.Sum(h).OCI(), size
	b.SetBytes(size)
	dir := b.TempDir()
	for i := 0; b.Loop(); i++ {
		s := newStore(b, filepath.Join(dir, strconv.Itoa(i)), nil)
		if err := oras.Push(b.Context(), s, desc, &repeated{block: block, left: size}); err != nil {
			b.Fatal(err)
		}
		b.StopTimer()
		os.RemoveAll(filepath.Join(dir, strconv.Itoa(i)))
		b.StartTimer()
	}
}

// BenchmarkTree adds Go's own source tree, sends it to a registry, and pulls it.
func BenchmarkTree(b *testing.B) {
	src := filepath.Join(build.Default.GOROOT, "src")
	if _, err := os.Stat(src); err != nil {
		b.Skip(err)
	}
	b.Run("add", func(b *testing.B) {
		for b.Loop() {
			if _, err := newStore(b, src, nil).Add(b.Context(), "src", src, ""); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("send", func(b *testing.B) {
		r := newRegistry(b)
		for i := 0; b.Loop(); i++ {
			if _, sent, err := newStore(b, src, nil).Send(b.Context(), r.repository(b, "a"+strconv.Itoa(i)), "src", src, "", nil); err != nil || !sent {
				b.Fatal(sent, err)
			}
		}
	})
	b.Run("pull", func(b *testing.B) {
		from := newStore(b, src, nil)
		desc, err := from.Add(b.Context(), "src", src, "")
		if err != nil {
			b.Fatal(err)
		}
		r, err := from.Fetch(b.Context(), desc)
		if err != nil {
			b.Fatal(err)
		}
		data, err := io.ReadAll(r)
		if err != nil {
			b.Fatal(err)
		}
		r.Close()
		dir := b.TempDir()
		for i := 0; b.Loop(); i++ {
			s := newStore(b, filepath.Join(dir, strconv.Itoa(i)), &file.Options{Stage: true})
			if err := s.Push(b.Context(), desc, bytes.NewReader(data)); err != nil {
				b.Fatal(err)
			}
			if err := s.Commit(b.Context()); err != nil {
				b.Fatal(err)
			}
		}
	})
}
