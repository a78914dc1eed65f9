package oras_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/c73062ad/oras"
	"github.com/c73062ad/oras/memory"
)

// Content goes on behind any prefix of it, and only the rest is read.
func TestContinue(t *testing.T) {
	c := blob("the right content")
	for n := range len(c.data) + 1 {
		source := &counting{ReadSeeker: bytes.NewReader(c.data)}
		var told []string
		r := oras.NewVerifier(source, c.Descriptor)
		there, err := oras.Continue(r, bytes.NewReader(c.data[:n]))
		if err != nil || there != int64(n) {
			t.Fatalf("%d bytes: %d, %v", n, there, err)
		}
		rest, err := io.ReadAll(r)
		if err != nil || !bytes.Equal(rest, c.data[n:]) || source.n != len(rest) {
			t.Errorf("behind %d bytes: %q of %d, %v %q", n, rest, source.n, err, told)
		}
		// What has begun, or ended, does not go on anywhere else.
		if _, err := oras.Continue(r, strings.NewReader("t")); err == nil && c.Size > 0 {
			t.Errorf("behind %d bytes and the end: it goes on", n)
		}
		// And from its start all of it is read.
		if _, err := r.(io.Seeker).Seek(0, io.SeekStart); err != nil {
			t.Fatal(err)
		}
		if all, err := io.ReadAll(r); err != nil || !bytes.Equal(all, c.data) {
			t.Errorf("rewound: %q, %v", all, err)
		}
	}
}

// A counting reader knows how many bytes were read.
type counting struct {
	io.ReadSeeker
	n int
}

func (c *counting) Read(p []byte) (int, error) {
	n, err := c.ReadSeeker.Read(p)
	c.n += n
	return n, err
}

func TestContinueWrong(t *testing.T) {
	c := blob("the right content")
	broken := errors.New("broken")
	for name, prefix := range map[string]io.Reader{
		"wrong":          strings.NewReader("THE"),
		"wrong and more": strings.NewReader("the right content and more, of which no more than the size counts, and that is right"[3:]),
		"all, but wrong": strings.NewReader("the wrong content"),
	} {
		r := oras.NewVerifier(bytes.NewReader(c.data), c.Descriptor)
		if _, err := oras.Continue(r, prefix); err != nil {
			t.Fatal(err)
		}
		if data, err := io.ReadAll(r); !errors.Is(err, oras.ErrInvalid) {
			t.Errorf("%s: %q, %v", name, data, err)
		}
	}
	for name, test := range map[string]struct {
		content, prefix io.Reader
		want            error
	}{
		"prefix breaks":       {bytes.NewReader(c.data), io.MultiReader(strings.NewReader("the"), iotest.ErrReader(broken)), broken},
		"no seeker":           {iotest.OneByteReader(bytes.NewReader(c.data)), strings.NewReader("the"), oras.ErrUnsupported},
		"a seeker that seeks": {noSeek{bytes.NewReader(c.data)}, strings.NewReader("the"), oras.ErrUnsupported},
	} {
		r := oras.NewVerifier(test.content, c.Descriptor)
		if n, err := oras.Continue(r, test.prefix); n != 0 || !errors.Is(err, test.want) {
			t.Errorf("%s: %d, %v", name, n, err)
		}
		if data, err := io.ReadAll(r); err != nil || !bytes.Equal(data, c.data) {
			t.Errorf("%s: afterwards %q, %v", name, data, err)
		}
	}
	if _, err := oras.Continue(bytes.NewReader(c.data), strings.NewReader("the")); !errors.Is(err, oras.ErrUnsupported) {
		t.Errorf("what is no verifier: %v", err)
	}
	bad := oras.NewVerifier(bytes.NewReader(c.data), oras.Descriptor{Digest: "x", Size: c.Size})
	if _, err := oras.Continue(bad, strings.NewReader("the")); !errors.Is(err, oras.ErrInvalid) {
		t.Errorf("bad digest: %v", err)
	}
}

type noSeek struct{ *bytes.Reader }

func (noSeek) Seek(int64, int) (int64, error) { return 0, os.ErrInvalid }

// A copy whose target goes on behind what it has tells what moved and what was
// there, which together are all.
func TestCopyContinues(t *testing.T) {
	c := blob("the right content")
	root := image("root", c.Descriptor)
	dst := memory.New()
	from := &hooked{Store: dst, push: func(ctx context.Context, desc oras.Descriptor, r io.Reader) error {
		if desc.Digest != c.Digest {
			return dst.Push(ctx, desc, r)
		}
		n, err := oras.Continue(r, strings.NewReader("the right"))
		if err != nil {
			return err
		}
		rest, err := io.ReadAll(r)
		if err != nil {
			return err
		}
		return dst.Push(ctx, desc, io.MultiReader(bytes.NewReader(c.data[:n]), bytes.NewReader(rest)))
	}}
	var told []string
	_, err := oras.Copy(t.Context(), newStore(t, emptyConfig, c, root), "root", from, &oras.CopyOptions{Event: func(e oras.Event) {
		if e.Descriptor.Digest == c.Digest && e.Kind == oras.Progress {
			told = append(told, fmt.Sprint(e.Bytes, "+", e.There))
		}
	}})
	must(t, err)
	if got := strings.Join(told, " "); got != "0+9 8+9" {
		t.Errorf("told %s", got)
	}
}
