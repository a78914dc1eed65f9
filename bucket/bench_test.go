package bucket_test

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/c73062ad/oras"
	"github.com/c73062ad/oras/bucket"
)

// A tag costs the same however many there are.
func BenchmarkTag(b *testing.B) {
	for _, there := range []int{0, 1000, 10_000} {
		b.Run(fmt.Sprintf("there=%d", there), func(b *testing.B) {
			path := b.TempDir()
			dir, err := bucket.OpenDir(path)
			must(b, err)
			defer dir.Close()
			s := repository(b, bucket.New(dir), "a")
			data, desc := image("one", oras.Manifest{})
			must(b, oras.PushTagged(b.Context(), s, desc, bytes.NewReader(data), "first"))
			tag, err := os.ReadFile(filepath.Join(path, "a", "_tags", "first"))
			must(b, err)
			for i := range there { // as Tag would, but for durability
				must(b, os.WriteFile(filepath.Join(path, "a", "_tags", fmt.Sprintf("there-%d", i)), tag, 0o600))
			}
			i := 0
			for b.Loop() {
				i++
				must(b, s.Tag(b.Context(), desc, fmt.Sprintf("t%d", i)))
			}
		})
	}
}

// A push and a tag by many at once.
func BenchmarkPushTagged(b *testing.B) {
	for _, writers := range []int{1, 16} {
		b.Run(fmt.Sprintf("writers=%d", writers), func(b *testing.B) {
			s := repository(b, bucket.New(openDir(b)), "a")
			var i atomic.Int64
			b.SetParallelism((writers + 1) / 2)
			run := func() {
				n := i.Add(1)
				data, desc := image(fmt.Sprint(n), oras.Manifest{})
				must(b, oras.PushTagged(b.Context(), s, desc, bytes.NewReader(data), fmt.Sprintf("t%d", n)))
			}
			if writers == 1 {
				for b.Loop() {
					run()
				}
				return
			}
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					run()
				}
			})
		})
	}
}

func BenchmarkPushSmall(b *testing.B) {
	for _, way := range []string{"push", "upload"} {
		b.Run(way, func(b *testing.B) {
			s := repository(b, bucket.New(openDir(b)), "a")
			var i atomic.Int64
			b.SetParallelism(8)
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					data := bytes.Repeat(fmt.Appendf(nil, "%08d", i.Add(1)), 512)
					desc := oras.DescriptorOf("a/b", data)
					if way == "push" {
						must(b, oras.Push(b.Context(), s, desc, bytes.NewReader(data)))
						continue
					}
					u := openUpload(b, s, "")
					appendTo(b, u, data)
					must(b, u.Commit(b.Context(), oras.SHA256.Digest(data)))
				}
			})
		})
	}
}

// A GiB in one piece and in many, beside hashing and writing it with nothing else.
func BenchmarkPut(b *testing.B) {
	const size = 1 << 30
	block := random(1 << 20)
	content := func(n int) io.Reader { return io.LimitReader(&repeat{data: block}, int64(n)) }
	h := sha256.New()
	io.Copy(h, content(size))
	digest := oras.SHA256.Sum(h)
	desc := oras.Descriptor{Digest: digest.OCI(), Size: size}

	run := func(name string, push func(b *testing.B, s *bucket.Store)) {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(size)
			s := repository(b, bucket.New(openDir(b)), "a")
			for b.Loop() {
				push(b, s)
				b.StopTimer()
				must(b, s.Delete(b.Context(), desc))
				b.StartTimer()
			}
		})
	}
	b.Run("local", func(b *testing.B) {
		b.SetBytes(size)
		name := filepath.Join(b.TempDir(), "x")
		for b.Loop() {
			f, err := os.Create(name)
			must(b, err)
			h := sha256.New()
			_, err = io.CopyBuffer(struct{ io.Writer }{io.MultiWriter(f, h)}, content(size), make([]byte, 1<<20))
			must(b, err)
			must(b, f.Sync())
			must(b, f.Close())
		}
	})
	run("whole", func(b *testing.B, s *bucket.Store) {
		must(b, oras.Push(b.Context(), s, desc, content(size)))
	})
	for _, chunk := range []int{1 << 20, 8 << 20, 64 << 20} {
		run(fmt.Sprintf("chunks=%dMiB", chunk>>20), func(b *testing.B, s *bucket.Store) {
			id := ""
			for range size / chunk {
				u := openUpload(b, s, id) // as each request does
				id = u.ID()
				_, err := u.Append(b.Context(), u.Size(), content(chunk))
				must(b, err)
				must(b, u.Close())
			}
			must(b, openUpload(b, s, id).Commit(b.Context(), digest))
		})
	}
}

// A repeat is a reader of data, again and again.
type repeat struct {
	data []byte
	at   int
}

func (r *repeat) Read(p []byte) (int, error) {
	n := copy(p, r.data[r.at:])
	r.at = (r.at + n) % len(r.data)
	return n, nil
}

// Tags by pages, as a server lists them.
func BenchmarkTags(b *testing.B) {
	path := b.TempDir()
	dir, err := bucket.OpenDir(path)
	must(b, err)
	defer dir.Close()
	s := repository(b, bucket.New(dir), "a")
	data, desc := image("one", oras.Manifest{})
	must(b, oras.PushTagged(b.Context(), s, desc, bytes.NewReader(data), "first"))
	for i := range 100_000 {
		must(b, os.WriteFile(filepath.Join(path, "a", "_tags", fmt.Sprintf("t%06d", i)), nil, 0o600))
	}
	long := time.Now().Add(-time.Minute) // since when nothing was tagged
	must(b, os.Chtimes(filepath.Join(path, "a", "_tags"), long, long))
	i := 0
	for b.Loop() {
		last := fmt.Sprintf("t%06d", i*1000%100_000)
		i++
		err := s.Tags(b.Context(), last, func(tags []string) error {
			if len(tags) < 900 {
				b.Fatal(len(tags))
			}
			return io.EOF
		})
		if err != io.EOF && last < "t099" {
			b.Fatal(err)
		}
	}
}

func BenchmarkReferrers(b *testing.B) {
	s := repository(b, bucket.New(openDir(b)), "a")
	_, subject := image("subject", oras.Manifest{})
	for i := range 1000 {
		data, desc := image(fmt.Sprint(i), oras.Manifest{Subject: &subject})
		push(b, s, data, desc.MediaType)
	}
	for b.Loop() {
		must(b, s.Referrers(b.Context(), subject, "", func([]oras.Descriptor) error { return nil }))
	}
}

func BenchmarkFetch(b *testing.B) {
	s := repository(b, bucket.New(openDir(b)), "library/app")
	data, desc := image("one", oras.Manifest{})
	must(b, oras.PushTagged(b.Context(), s, desc, bytes.NewReader(data), "v1"))
	b.Run("resolve", func(b *testing.B) {
		for b.Loop() {
			_, err := s.Resolve(b.Context(), "v1")
			must(b, err)
		}
	})
	b.Run("fetch", func(b *testing.B) {
		for b.Loop() {
			whole(b, s, desc)
		}
	})
}
