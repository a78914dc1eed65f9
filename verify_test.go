package oras_test

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/c73062ad/oras"
)

func TestVerifier(t *testing.T) {
	right := blob("the right content")
	wrong := []byte("the wrong content")
	sha512 := right.Descriptor
	sha512.Digest = oras.SHA512.Digest(right.data).OCI()
	larger, smaller, negative, huge := right.Descriptor, right.Descriptor, right.Descriptor, right.Descriptor
	larger.Size++
	smaller.Size--
	negative.Size = -1
	huge.Size = 1 << 62
	noDigest := oras.Descriptor{Size: right.Size}
	path := oras.Descriptor{Digest: "sha256:../../etc/passwd", Size: right.Size}
	empty := blob("")
	emptyButWrong := oras.Descriptor{Digest: right.Digest}

	for name, test := range map[string]struct {
		desc oras.Descriptor
		data []byte
		ok   bool
		most int // bytes that may be read until the error
	}{
		"exact":                {right.Descriptor, right.data, true, len(right.data)},
		"SHA-512":              {sha512, right.data, true, len(right.data)},
		"empty":                {empty.Descriptor, nil, true, 0},
		"wrong bytes":          {right.Descriptor, wrong, false, len(wrong)},
		"short":                {right.Descriptor, right.data[:5], false, 5},
		"nothing":              {right.Descriptor, nil, false, 0},
		"long":                 {right.Descriptor, append(bytes.Clone(right.data), 'x'), false, len(right.data)},
		"right, size too much": {larger, right.data, false, len(right.data)},
		"right, size too low":  {smaller, right.data, false, len(right.data) - 1},
		"negative size":        {negative, right.data, false, 0},
		"huge size":            {huge, right.data, false, len(right.data)},
		"no digest":            {noDigest, right.data, false, 0},
		"a path for a digest":  {path, right.data, false, 0},
		"empty and more":       {empty.Descriptor, []byte("x"), false, 0},
		"empty, other digest":  {emptyButWrong, nil, false, 0},
	} {
		for kind, wrap := range map[string]func(io.Reader) io.Reader{
			"":              func(r io.Reader) io.Reader { return r },
			"one byte":      iotest.OneByteReader,
			"half":          iotest.HalfReader,
			"EOF with data": iotest.DataErrReader,
			"no EOF first":  func(r io.Reader) io.Reader { return &hesitant{Reader: r} },
		} {
			r := oras.NewVerifier(wrap(bytes.NewReader(test.data)), test.desc)
			data, err := io.ReadAll(r)
			if test.ok {
				if err != nil || !bytes.Equal(data, test.data) {
					t.Errorf("%s, %s: %q, %v", name, kind, data, err)
				}
			} else {
				if !errors.Is(err, oras.ErrInvalid) || !strings.Contains(err.Error(), string(test.desc.Digest)) || len(data) > test.most {
					t.Errorf("%s, %s: %q, %v", name, kind, data, err)
				}
			}
			// The end stays the end.
			want := err
			if test.ok {
				want = io.EOF
			}
			if n, err := r.Read(make([]byte, 1)); n != 0 || err != want {
				t.Errorf("%s, %s: after the end: %d, %v", name, kind, n, err)
			}
		}
	}
}

// A hesitant reader reads nothing every other time, without an error.
type hesitant struct {
	io.Reader
	n int
}

func (h *hesitant) Read(p []byte) (int, error) {
	if h.n++; h.n%2 == 1 {
		return 0, nil
	}
	return h.Reader.Read(p)
}

// Who reads no more than the descriptor's size, as HTTP clients do, learns of bad
// content all the same: no later than with the last byte.
func TestVerifierWithoutEOF(t *testing.T) {
	right := blob("the right content")
	for name, data := range map[string]string{"wrong": "the wrong content", "long": "the right content."} {
		r := oras.NewVerifier(strings.NewReader(data), right.Descriptor)
		p := make([]byte, right.Size)
		if n, err := io.ReadFull(r, p[:right.Size-1]); err != nil {
			t.Errorf("%s: %d bytes, %v", name, n, err)
		}
		if n, err := r.Read(p[:1]); n != 1 || !errors.Is(err, oras.ErrInvalid) {
			t.Errorf("%s: the last byte: %d, %v", name, n, err)
		}
	}
	r := oras.NewVerifier(bytes.NewReader(right.data), right.Descriptor)
	if n, err := r.Read(make([]byte, right.Size)); int64(n) != right.Size || err != io.EOF {
		t.Errorf("right content: %d, %v", n, err)
	}
}

func TestVerifierReadErrors(t *testing.T) {
	right := blob("the right content")
	broken := errors.New("broken")
	for name, content := range map[string]io.Reader{
		"at once":   iotest.ErrReader(broken),
		"half way":  io.MultiReader(bytes.NewReader(right.data[:5]), iotest.ErrReader(broken)),
		"at end":    io.MultiReader(bytes.NewReader(right.data), iotest.ErrReader(broken)),
		"with data": &withError{right.data, broken},
	} {
		data, err := io.ReadAll(oras.NewVerifier(content, right.Descriptor))
		if err != broken {
			t.Errorf("%s: %q, %v", name, data, err)
		}
	}
	// A reader that says neither something nor that there is nothing.
	if _, err := io.ReadAll(oras.NewVerifier(io.MultiReader(bytes.NewReader(right.data), silent{}), right.Descriptor)); err != io.ErrNoProgress {
		t.Errorf("silence: %v", err)
	}
	if n, err := oras.NewVerifier(silent{}, right.Descriptor).Read(nil); n != 0 || err != nil {
		t.Errorf("reading nothing: %d, %v", n, err)
	}
}

type withError struct {
	data []byte
	err  error
}

func (r *withError) Read(p []byte) (int, error) {
	n := copy(p, r.data)
	r.data = r.data[n:]
	return n, r.err
}

type silent struct{}

func (silent) Read([]byte) (int, error) { return 0, nil }

// What a pipe, a file and so on can do besides reading is not lost or invented.
func TestVerifierSeek(t *testing.T) {
	right := blob("the right content")
	if _, ok := oras.NewVerifier(iotest.OneByteReader(bytes.NewReader(right.data)), right.Descriptor).(io.Seeker); ok {
		t.Error("what cannot be seeked became a Seeker")
	}
	r := oras.NewVerifier(bytes.NewReader(right.data), right.Descriptor).(io.ReadSeeker)
	for _, n := range []int64{0, 3, right.Size} {
		if _, err := io.CopyN(io.Discard, r, n); err != nil && err != io.EOF {
			t.Fatal(err)
		}
		if at, err := r.Seek(0, io.SeekStart); at != 0 || err != nil {
			t.Fatalf("rewound to %d, %v", at, err)
		}
		if data, err := io.ReadAll(r); err != nil || !bytes.Equal(data, right.data) {
			t.Errorf("again after %d bytes: %q, %v", n, data, err)
		}
		r.Seek(0, io.SeekStart)
	}
	for _, to := range []struct {
		offset int64
		whence int
	}{{1, io.SeekStart}, {0, io.SeekCurrent}, {0, io.SeekEnd}, {-1, io.SeekEnd}} {
		if _, err := r.Seek(to.offset, to.whence); err == nil {
			t.Errorf("seeked to %v", to)
		}
	}
	if data, err := io.ReadAll(r); err != nil || !bytes.Equal(data, right.data) {
		t.Errorf("after refused seeks: %q, %v", data, err)
	}

	// An error is forgotten with the bytes it was about, a bad descriptor is not.
	wrong := oras.NewVerifier(strings.NewReader("the wrong content"), right.Descriptor).(io.ReadSeeker)
	for range 2 {
		if _, err := io.ReadAll(wrong); !errors.Is(err, oras.ErrInvalid) {
			t.Errorf("wrong content: %v", err)
		}
		wrong.Seek(0, io.SeekStart)
	}
	bad := oras.NewVerifier(bytes.NewReader(right.data), oras.Descriptor{Digest: "x", Size: right.Size}).(io.ReadSeeker)
	bad.Seek(0, io.SeekStart)
	if _, err := io.ReadAll(bad); !errors.Is(err, oras.ErrInvalid) {
		t.Errorf("bad digest: %v", err)
	}

	closed, err := os.Create(filepath.Join(t.TempDir(), "file"))
	must(t, err)
	must(t, closed.Close())
	if _, err := oras.NewVerifier(closed, right.Descriptor).(io.Seeker).Seek(0, io.SeekStart); !errors.Is(err, os.ErrClosed) {
		t.Errorf("rewinding a closed file: %v", err)
	}
}

func TestVerifierOfVerifier(t *testing.T) {
	right, other := blob("the right content"), blob("other")
	for name, content := range map[string]io.Reader{
		"reader": iotest.OneByteReader(bytes.NewReader(right.data)),
		"seeker": bytes.NewReader(right.data),
	} {
		v := oras.NewVerifier(content, right.Descriptor)
		again := right.titled("a name makes no difference")
		if oras.NewVerifier(v, again) != v {
			t.Errorf("%s: content would be hashed twice", name)
		}
		if oras.NewVerifier(v, other.Descriptor) == v {
			t.Errorf("%s: verifies another descriptor", name)
		}
		if _, err := v.Read(make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
		// One that has begun is not at the start of the content any longer.
		if rest := oras.NewVerifier(v, right.Descriptor); rest == v {
			t.Errorf("%s: begun, but taken for whole", name)
		} else if _, err := io.ReadAll(rest); !errors.Is(err, oras.ErrInvalid) {
			t.Errorf("%s: the rest: %v", name, err)
		}
	}
}

// testing/iotest reads and seeks in all ways; only rewinding is promised.
func TestVerifierReader(t *testing.T) {
	data := make([]byte, 10_000)
	for i := range data {
		data[i] = byte(rand.Uint32())
	}
	content := iotest.HalfReader(bytes.NewReader(data))
	must(t, iotest.TestReader(oras.NewVerifier(content, oras.DescriptorOf("a/b", data)), data))
}

func TestReadAll(t *testing.T) {
	c := blob("content")
	data, err := oras.ReadAll(bytes.NewReader(c.data), c.Descriptor)
	if err != nil || !bytes.Equal(data, c.data) {
		t.Errorf("got %q, %v", data, err)
	}
	atLimit := bytes.Repeat([]byte("x"), oras.MaxManifestSize+1)
	desc := oras.DescriptorOf("a/b", atLimit[1:])
	if data, err := oras.ReadAll(bytes.NewReader(atLimit[1:]), desc); err != nil || len(data) != oras.MaxManifestSize {
		t.Errorf("at the limit: %d bytes, %v", len(data), err)
	}
	unread := bytes.NewReader(atLimit)
	if _, err := oras.ReadAll(unread, oras.DescriptorOf("a/b", atLimit)); !errors.Is(err, oras.ErrInvalid) || unread.Len() != len(atLimit) {
		t.Errorf("over the limit: %v, %d bytes left", err, unread.Len())
	}
	if _, err := oras.ReadAll(bytes.NewReader(nil), blob("").Descriptor); err != nil {
		t.Errorf("nothing: %v", err)
	}
	// What is allocated follows what is read, not what is claimed.
	claims := oras.Descriptor{Digest: c.Digest, Size: oras.MaxManifestSize}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	if _, err := oras.ReadAll(bytes.NewReader(c.data), claims); !errors.Is(err, oras.ErrInvalid) {
		t.Errorf("less than claimed: %v", err)
	}
	runtime.ReadMemStats(&after)
	allocated := after.TotalAlloc - before.TotalAlloc
	if allocated > 64<<10 {
		t.Errorf("%d bytes allocated for a claim", allocated)
	}
}
