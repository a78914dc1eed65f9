package archive

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"
)

// text returns n bytes that compress somewhat.
func text(n int) []byte {
	r := rand.New(rand.NewPCG(1, 2))
	b := make([]byte, 100_000)
	for i := range b {
		b[i] = "the quick brown fox\n"[r.IntN(20)]
	}
	return bytes.Repeat(b, n/len(b)+1)[:n]
}

func compress(t testing.TB, c Compression, data []byte, piece int) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := Compress(&b, c, nil)
	if err != nil {
		t.Fatal(err)
	}
	for part := data; len(part) > 0; {
		n := min(piece, len(part))
		if _, err := w.Write(part[:n]); err != nil {
			t.Fatal(err)
		}
		part = part[n:]
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestCompress(t *testing.T) {
	// The digests are a promise, as those of Pack are: a version of a
	// compressor that breaks them is not taken unseen.
	for _, test := range []struct {
		compression Compression
		name, want  string
	}{
		{Gzip, "gzip", "eee2496f41226b21ee6637dd856aa9cb39f16518f3d896cb31d7f3cabca2fa71"},
		{Zstd, "zstd", "5f81238337b4b51d0e55d4ba2b509febd5a8b9a13f8e399261a90e25644a0078"},
		{None, "none", "045fb92d57c9f1b9dbe6c41cea0bf335dc9e60bfd69e5dac4cca4180d98a54e4"},
	} {
		t.Run(test.name, func(t *testing.T) {
			equal(t, test.compression.String(), test.name)
			data := text(2<<20 + 12345)
			for cores, piece := range map[int]int{1: 999, 3: 8 << 20} {
				defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(cores))
				packed := compress(t, test.compression, data, piece)
				if got := fmt.Sprintf("%x", sha256.Sum256(packed)); got != test.want {
					t.Errorf("%d cores, writes of %d: %s, want %s", cores, piece, got, test.want)
				}
				if got := decompress(t, packed); !bytes.Equal(got, data) {
					t.Error("does not come back")
				}
			}
			if got := decompress(t, compress(t, test.compression, nil, 1)); len(got) != 0 {
				t.Errorf("nothing came back as %q", got)
			}
		})
	}
	if _, err := Compress(io.Discard, 99, nil); err == nil {
		t.Error("unknown compression accepted")
	}
}

func compressLevel(t testing.TB, c Compression, level int, data []byte) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := Compress(&b, c, &CompressOptions{Level: level})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestCompressLevels(t *testing.T) {
	data := text(300_000)
	for c, most := range map[Compression]int{Gzip: 9, Zstd: 22, None: 0} {
		for level := range most + 1 {
			if testing.Short() && 1 < level && level < most {
				continue
			}
			if got := decompress(t, compressLevel(t, c, level, data)); !bytes.Equal(got, data) {
				t.Errorf("%s, level %d: does not come back", c, level)
			}
		}
		for _, level := range []int{-1, most + 1} {
			if _, err := Compress(io.Discard, c, &CompressOptions{Level: level}); err == nil {
				t.Errorf("%s: level %d accepted", c, level)
			}
		}
		if small, large := compressLevel(t, c, most, data), compressLevel(t, c, min(most, 1), data); c != None && len(small) >= len(large) {
			t.Errorf("%s: level %d makes %d bytes, 1 %d", c, most, len(small), len(large))
		}
	}
}

// What is compressed already is stored: it grows by less than a thousandth.
func TestCompressCompressed(t *testing.T) {
	data := make([]byte, 5<<20)
	rand.NewChaCha8([32]byte{}).Read(data)
	for _, c := range []Compression{Gzip, Zstd, None} {
		if n := len(compress(t, c, data, 1<<20)); n > len(data)+len(data)/1000 {
			t.Errorf("%s: %d bytes became %d", c, len(data), n)
		}
	}
}

func decompress(t testing.TB, data []byte) []byte {
	t.Helper()
	r, err := Decompress(iotest.HalfReader(bytes.NewReader(data)), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	got, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func TestCompressToFullDisk(t *testing.T) {
	full := errors.New("disk full")
	for _, c := range []Compression{Gzip, Zstd, None} {
		w, err := Compress(failingWriter{full}, c, nil)
		if err != nil {
			t.Fatal(err)
		}
		_, err = w.Write(text(4 << 20))
		if e := w.Close(); err == nil {
			err = e
		}
		wantErr(t, err, full, "")
	}
}

func TestDecompressMembers(t *testing.T) {
	for _, c := range []Compression{Gzip, Zstd} {
		two := append(compress(t, c, []byte("one "), 9), compress(t, c, []byte("two"), 9)...)
		equal(t, string(decompress(t, two)), "one two")
	}
	skippable := append([]byte{0x5a, 0x2a, 0x4d, 0x18, 2, 0, 0, 0, 'x', 'y'}, compress(t, Zstd, []byte("rest"), 9)...)
	equal(t, string(decompress(t, skippable)), "rest")
	for _, short := range []string{"", "a", "\x1f", "abc"} {
		equal(t, string(decompress(t, []byte(short))), short)
	}
}

func readAllOf(r io.Reader) error {
	d, err := Decompress(r, nil)
	if err != nil {
		return err
	}
	defer d.Close()
	_, err = io.Copy(io.Discard, d)
	return err
}

func TestDecompressDamaged(t *testing.T) {
	broken := errors.New("connection reset")
	for _, c := range []Compression{Gzip, Zstd} {
		data := compress(t, c, text(300_000), 1<<20)
		for name, bad := range map[string][]byte{
			"truncated": data[:len(data)-3],
			"header":    data[:5],
			"flipped":   append(append(bytes.Clone(data[:1000]), data[1000]^0xff), data[1001:]...),
			"trailing":  append(bytes.Clone(data), "garbage"...),
		} {
			err := readAllOf(bytes.NewReader(bad))
			if !errors.Is(err, ErrInvalid) {
				t.Errorf("%s %s: error %v", c, name, err)
			}
		}
		err := readAllOf(io.MultiReader(bytes.NewReader(data[:1000]), iotest.ErrReader(broken)))
		if !errors.Is(err, broken) || errors.Is(err, ErrInvalid) {
			t.Errorf("%s, source fails: error %v", c, err)
		}
	}
	if _, err := Decompress(iotest.ErrReader(broken), nil); !errors.Is(err, broken) {
		t.Errorf("source fails at once: error %v", err)
	}
}

// A zstd stream that asks for a window of 512 MiB gets an error, not the memory
// (RFC 8878, 3.1.1.1.2: the exponent above 10 in the upper five bits).
func TestDecompressWindow(t *testing.T) {
	frame := func(exponent byte) io.Reader {
		return strings.NewReader("\x28\xb5\x2f\xfd\x00" + string([]byte{(exponent - 10) << 3}) + "\x29\x00\x00small")
	}
	wantErr(t, readAllOf(frame(29)), ErrInvalid, "window")
	if err := readAllOf(frame(27)); err != nil {
		t.Errorf("a window of 128 MiB: %v", err)
	}
}

func TestDecompressBomb(t *testing.T) {
	const unit = 1 << 18
	for _, c := range []Compression{Gzip, Zstd} {
		bomb := compress(t, c, make([]byte, 4*unit), unit)
		for _, test := range []struct {
			data  []byte
			ratio int64
			most  int64 // that may come out, or 0 for all
		}{
			{bomb, 0, 3 * unit},
			{bomb, -1, 0},
			{bomb, 1 << 40, 0},
			{bytes.Join([][]byte{bomb, bomb, bomb}, nil), 0, 6 * unit}, // members add up
			{compress(t, c, text(4*unit), unit), 0, 0},
			{compress(t, c, text(4*unit), unit), 1, 3 * unit},
		} {
			r, err := Decompress(bytes.NewReader(test.data), &DecompressOptions{MaxRatio: test.ratio})
			if err != nil {
				t.Fatal(err)
			}
			r.(*decompressor).free = 2 * unit
			n, err := io.Copy(io.Discard, r)
			if test.most == 0 && err != nil {
				t.Errorf("%s, ratio %d: %v", c, test.ratio, err)
			}
			if test.most > 0 {
				wantErr(t, err, ErrTooLarge, "")
			}
			if test.most > 0 && n > test.most {
				t.Errorf("%s, ratio %d: %d bytes came out", c, test.ratio, n)
			}
			if err := r.Close(); err != nil {
				t.Error(err)
			}
		}
	}
}
