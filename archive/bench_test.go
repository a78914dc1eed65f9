package archive

import (
	"bytes"
	"go/build"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"testing"
)

// goSource returns Go's own source tree, 11,000 files of 137 MB together.
func goSource(b *testing.B) string {
	src := filepath.Join(build.Default.GOROOT, "src")
	if _, err := os.Stat(src); err != nil {
		b.Skip(err)
	}
	return src
}

// BenchmarkPack packs a source tree; "gzip" alone is what packing and compressing it
// can come down to.
func BenchmarkPack(b *testing.B) {
	src := goSource(b)
	var tar bytes.Buffer
	if err := Pack(b.Context(), &tar, src, nil); err != nil {
		b.Fatal(err)
	}
	compress := func(pack func(w io.Writer) error) {
		w, err := Compress(io.Discard, Gzip, nil)
		if err == nil {
			err = pack(w)
		}
		if err != nil {
			b.Fatal(err)
		}
		if err := w.Close(); err != nil {
			b.Fatal(err)
		}
	}
	for name, do := range map[string]func(){
		"pack": func() {
			if err := Pack(b.Context(), io.Discard, src, nil); err != nil {
				b.Fatal(err)
			}
		},
		"gzip": func() {
			compress(func(w io.Writer) error { _, err := w.Write(tar.Bytes()); return err })
		},
		"pack+gzip": func() { compress(func(w io.Writer) error { return Pack(b.Context(), w, src, nil) }) },
	} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(tar.Len()))
			for b.Loop() {
				do()
			}
		})
	}
}

// BenchmarkUnpack unpacks a source tree; "gunzip" alone is what it can come down to.
func BenchmarkUnpack(b *testing.B) {
	src := goSource(b)
	var packed bytes.Buffer
	w, err := Compress(&packed, Gzip, nil)
	if err == nil {
		err = Pack(b.Context(), w, src, nil)
	}
	if err != nil {
		b.Fatal(err)
	}
	if err := w.Close(); err != nil {
		b.Fatal(err)
	}
	open := func(b *testing.B) io.ReadCloser {
		z, err := Decompress(bytes.NewReader(packed.Bytes()), nil)
		if err != nil {
			b.Fatal(err)
		}
		return z
	}
	b.Run("gunzip", func(b *testing.B) {
		for b.Loop() {
			z := open(b)
			n, err := io.Copy(io.Discard, z)
			if err != nil {
				b.Fatal(err)
			}
			b.SetBytes(n)
			z.Close()
		}
	})
	for _, name := range []string{"unpack", "unpack ahead"} {
		b.Run(name, func(b *testing.B) {
			root := openRoot(b, b.TempDir())
			for i := 0; b.Loop(); i++ {
				z := open(b)
				r := io.NopCloser(z)
				if name == "unpack ahead" {
					r = Ahead(z)
				}
				if err := Unpack(b.Context(), root, r, &UnpackOptions{Dir: strconv.Itoa(i)}); err != nil {
					b.Fatal(err)
				}
				r.Close()
				z.Close()
			}
		})
	}
}
