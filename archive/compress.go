package archive

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"runtime"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/klauspost/pgzip"
)

// A Compression is a way to compress a stream. The zero value is Gzip.
type Compression int

const (
	Gzip Compression = iota // RFC 1952
	Zstd                    // RFC 8878
	None                    // as it is
)

// String returns the name that media types have for it after the +, or "none".
func (c Compression) String() string {
	switch c {
	case Gzip:
		return "gzip"
	case Zstd:
		return "zstd"
	case None:
		return "none"
	}
	return fmt.Sprintf("compression %d", int(c))
}

const (
	// gzipBlock is how much is compressed by one core. It decides where the
	// blocks of the stream end, and so its digest. With a megabyte the same
	// takes a twentieth less time, but packing took twice the memory on two
	// cores, and more on more.
	gzipBlock = 256 << 10

	// maxCores bounds memory: each core works on blocks of its own.
	maxCores = 8
)

// CompressOptions say how much is done to make a stream small. The zero value has
// the defaults.
type CompressOptions struct {
	// Level is that of the gzip command, 1 to 9, or of the zstd command, 1
	// to 22, where several mean the same here; 0 is the default of either.
	Level int
}

// Compress returns a writer that compresses to w, on several cores. The bytes
// that come out depend only on those that go in and on opts: not on the number of
// cores, the sizes of the writes, or the time. Close must be called, after an error
// too; it does not close w.
//
// What is compressed already passes at several gigabytes a second: gzip up to level
// 6, and zstd, find out that a block does not become smaller and store it as it is,
// in a stream that every reader of the format takes. So nothing is sniffed here, a
// directory of pictures and texts is dealt with block by block, and what others read
// remains a tar.gz.
func Compress(w io.Writer, c Compression, opts *CompressOptions) (io.WriteCloser, error) {
	level := 0
	if opts != nil {
		level = opts.Level
	}
	cores := min(runtime.GOMAXPROCS(0), maxCores)
	switch {
	case level != 0 && !c.hasLevel(level):
		return nil, fmt.Errorf("%s: there is no level %d", c, level)
	case c == Gzip:
		return gzipWriter(w, level, cores)
	case c == Zstd:
		options := []zstd.EOption{zstd.WithEncoderConcurrency(cores)}
		if level != 0 {
			options = append(options, zstd.WithEncoderLevel(zstd.EncoderLevelFromZstd(level)))
		}
		return zstd.NewWriter(w, options...)
	case c == None:
		return plainWriter{w}, nil
	}
	return nil, fmt.Errorf("%s: unknown", c)
}

func (c Compression) hasLevel(level int) bool {
	return level >= 1 && (c == Gzip && level <= 9 || c == Zstd && level <= 22)
}

func gzipWriter(w io.Writer, level, cores int) (io.WriteCloser, error) {
	if level == 0 {
		level = pgzip.DefaultCompression
	}
	z, err := pgzip.NewWriterLevel(w, level)
	if err != nil {
		return nil, err
	}
	return z, z.SetConcurrency(gzipBlock, cores)
}

type plainWriter struct{ io.Writer }

func (plainWriter) Close() error { return nil }

const (
	// DefaultMaxRatio is how many bytes may come out of a compressed one.
	// Text reaches 20, logs 50; only padding and bombs come near 1000.
	DefaultMaxRatio = 200

	// freeOutput is how many bytes may come out whatever the ratio.
	freeOutput = 256 << 20

	// maxWindow is the memory that a zstd stream may ask for: that of the
	// zstd command's own limit.
	maxWindow = 128 << 20
)

// DecompressOptions limit what a compressed stream may become. The zero value
// has the defaults.
type DecompressOptions struct {
	// MaxRatio is how many bytes may come out for each that goes in, once
	// 256 MiB have come out; 0 is DefaultMaxRatio, less than 0 is no limit.
	MaxRatio int64
}

var (
	gzipMagic = []byte{0x1f, 0x8b}
	zstdMagic = []byte{0x28, 0xb5, 0x2f, 0xfd}
)

// Decompress returns a reader of what r holds, decompressed. Its first bytes say
// how: gzip (of any number of members), zstd (with a window of up to 128 MiB), or
// else r as it is. Reading returns [ErrInvalid] for a stream that is damaged and
// [ErrTooLarge] for one that grows beyond opts; errors of r are returned as they
// are. Close does not close r.
func Decompress(r io.Reader, opts *DecompressOptions) (io.ReadCloser, error) {
	if opts == nil {
		opts = &DecompressOptions{}
	}
	ratio := opts.MaxRatio
	if ratio == 0 {
		ratio = DefaultMaxRatio
	}
	src := &source{r: r}
	in := bufio.NewReaderSize(src, bufferSize)
	magic, err := in.Peek(len(zstdMagic))
	if err != nil && err != io.EOF {
		return nil, err
	}
	d := &decompressor{src: src, ratio: ratio, free: freeOutput}
	switch {
	case bytes.HasPrefix(magic, gzipMagic):
		z, err := gzip.NewReader(in)
		if err != nil {
			return nil, src.explain(err)
		}
		d.Reader, d.close = z, z.Close
	case bytes.Equal(magic, zstdMagic) || isSkippable(magic):
		// One core: what reads goes on in the caller's goroutine.
		z, err := zstd.NewReader(in, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxWindow))
		if err != nil {
			return nil, src.explain(err)
		}
		d.Reader, d.close = z, func() error { z.Close(); return nil }
	default:
		return io.NopCloser(in), nil
	}
	return d, nil
}

// isSkippable reports whether magic is that of a zstd frame that holds no
// content, with which a stream may begin (RFC 8878, 3.1.2).
func isSkippable(magic []byte) bool {
	return len(magic) == 4 && magic[0]&0xf0 == 0x50 && bytes.Equal(magic[1:], []byte{0x2a, 0x4d, 0x18})
}

type decompressor struct {
	io.Reader
	src   *source
	close func() error
	ratio int64
	free  int64 // bytes for which ratio does not matter
	n     int64 // bytes that came out
}

func (d *decompressor) Read(p []byte) (int, error) {
	n, err := d.Reader.Read(p)
	d.n += int64(n)
	if d.ratio > 0 && d.n > d.free && d.n/d.ratio > d.src.n {
		return 0, fmt.Errorf("%w: %d bytes came out of %d, more than %d for one", ErrTooLarge, d.n, d.src.n, d.ratio)
	}
	if err != nil && err != io.EOF {
		err = d.src.explain(err)
	}
	return n, err
}

func (d *decompressor) Close() error { return d.close() }

// source counts what is read from r and remembers how it ended.
type source struct {
	r   io.Reader
	n   int64
	err error
}

func (s *source) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	s.n += int64(n)
	if err != nil {
		s.err = err
	}
	return n, err
}

// explain returns why decompressing failed with err: because the source did, or
// because of what it holds.
func (s *source) explain(err error) error {
	if s.err != nil && s.err != io.EOF {
		return s.err
	}
	return fmt.Errorf("%w: %w", ErrInvalid, err)
}
