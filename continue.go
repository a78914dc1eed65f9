package oras

import (
	"fmt"
	"io"
)

// Continue makes content, a reader of [NewVerifier] at its start, go on behind what
// prefix holds: that counts as the beginning of the content, and is not read from
// where the content comes from. Prefix is read to its end, or to the size of the
// content, and hashed. The number of its bytes is returned; what is read from
// content afterwards is the rest, and the end of that verifies the whole.
//
// So a target that was broken off, in this process or one before, goes on with the
// bytes that it has. That they are read again is on purpose: a hash that was saved
// would say what once was written, and not what the disk has kept of it.
//
// Content that cannot go on in the middle, since what it comes from is no
// [io.Seeker] or refuses to seek, is [ErrUnsupported]. After any error content is at
// its start.
//
//	Continue(prefix io.Reader) (int64, error)
//
// is the optional method of content that can.
func Continue(content, prefix io.Reader) (int64, error) {
	c, ok := content.(interface {
		Continue(io.Reader) (int64, error)
	})
	if !ok {
		return 0, fmt.Errorf("content that can only be read from its start: %w", ErrUnsupported)
	}
	return c.Continue(prefix)
}

// continueBuffer is in bytes: as much as hashing is worth at a time.
const continueBuffer = 256 << 10

// Continue is the method for the function Continue.
func (v *seekVerifier) Continue(prefix io.Reader) (int64, error) {
	if v.n != 0 {
		return 0, errRewind
	}
	if err := v.ended(); err != nil {
		return 0, err
	}
	n, err := io.CopyBuffer(struct{ io.Writer }{v.hash}, struct{ io.Reader }{io.LimitReader(prefix, v.desc.Size)}, make([]byte, continueBuffer))
	if err == nil && n > 0 {
		if _, err = v.seeker.Seek(n, io.SeekStart); err != nil {
			err = fmt.Errorf("%s: cannot go on at byte %d: %w: %w", v.desc.Digest, n, ErrUnsupported, err)
		}
	}
	if err != nil {
		v.restart()
		return 0, err
	}
	return n, v.skip(n)
}

// skip notes that the first n bytes were hashed and need not be read.
func (v *verifier) skip(n int64) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.stopped {
		return v.err
	}
	v.n, v.there = n, n
	if v.progress != nil && n > 0 {
		v.progress(0, n)
	}
	return nil
}
