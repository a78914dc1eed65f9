package archive

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"math/rand/v2"
	"testing"
	"testing/iotest"
)

func TestAhead(t *testing.T) {
	broken := errors.New("broken")
	for _, size := range []int{0, 1, aheadBuffer - 1, aheadBuffer, 5*aheadBuffer + 7} {
		data := text(size)
		for name, r := range map[string]io.Reader{
			"plain": bytes.NewReader(data), "half": iotest.HalfReader(bytes.NewReader(data)), "EOF with data": iotest.DataErrReader(bytes.NewReader(data)),
		} {
			a := Ahead(r)
			got, err := io.ReadAll(a)
			if err != nil || !bytes.Equal(got, data) {
				t.Errorf("%s, %d bytes: %d, %v", name, size, len(got), err)
			}
			if n, err := a.Read(make([]byte, 1)); n != 0 || err != io.EOF {
				t.Errorf("behind the end: %d, %v", n, err)
			}
			a.Close()
		}
		a := Ahead(io.MultiReader(bytes.NewReader(data), iotest.ErrReader(broken)))
		if got, err := io.ReadAll(a); err != broken || !bytes.Equal(got, data) {
			t.Errorf("%d bytes and an error: %d, %v", size, len(got), err)
		}
		a.Close()
	}
	// It may be closed at any time, and reads no more then.
	r := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		endless := &endless{}
		a := Ahead(endless)
		if _, err := io.CopyN(io.Discard, a, r.Int64N(3*aheadBuffer)); err != nil {
			t.Fatal(err)
		}
		a.Close()
		n := endless.n // or the race detector tells
		if err := a.Close(); err != nil || n > 3*aheadBuffer+aheadBuffers*aheadBuffer {
			t.Errorf("%d bytes were read, %v", n, err)
		}
		if _, err := a.Read(make([]byte, 1)); err != fs.ErrClosed {
			t.Errorf("reading what is closed: %v", err)
		}
	}
	a := Ahead(silent{})
	defer a.Close()
	if _, err := a.Read(make([]byte, 1)); err != io.ErrNoProgress {
		t.Errorf("silence: %v", err)
	}
}

type endless struct{ n int }

func (e *endless) Read(p []byte) (int, error) {
	e.n += len(p)
	return len(p), nil
}

type silent struct{}

func (silent) Read([]byte) (int, error) { return 0, nil }
