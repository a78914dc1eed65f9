package oras

import (
	"errors"
	"fmt"
	"hash"
	"io"
	"sync"
)

// NewVerifier returns a reader of content that fails with [ErrInvalid] unless
// what it read is what desc describes: its size and digest. The failure comes
// no later than the last byte, so whoever reads desc.Size bytes without an
// error has the right ones. The reader is an [io.Seeker] if content is one; it
// can only be rewound to its start, or go on in the middle by [Continue].
//
// A verifier of a verifier for the same descriptor is itself: content is hashed
// once however many hands it passes through.
func NewVerifier(content io.Reader, desc Descriptor) io.Reader {
	return newVerifier(content, desc, nil)
}

// NewProgressVerifier is [NewVerifier] that tells how content moves outside of a
// [Copy]: after each Read that had bytes it calls progress with the number of those
// read since the start, which is less than before once the reader was rewound, and of
// those before them that [Continue] found to be there, as [Event] has them.
// Calls come one at a time, from whoever reads, and reading waits for them.
func NewProgressVerifier(content io.Reader, desc Descriptor, progress func(read, there int64)) io.Reader {
	return newVerifier(content, desc, progress)
}

// newVerifier is NewVerifier that tells progress, if there is any.
func newVerifier(content io.Reader, desc Descriptor, progress func(read, there int64)) io.Reader {
	if v, ok := content.(interface{ self() *verifier }); ok && v.self().takes(desc, progress) {
		return content
	}
	v := &verifier{content: content, desc: desc, progress: progress}
	d, err := ParseDigest(desc.Digest)
	switch {
	case err != nil:
		v.err = err
	case desc.Size < 0:
		v.err = fmt.Errorf("%s: %w: size %d", desc.Digest, ErrInvalid, desc.Size)
	default:
		v.digest, v.hash = d, d.Algorithm().New()
	}
	if s, ok := content.(io.Seeker); ok {
		return &seekVerifier{v, s}
	}
	return v
}

// A verifier is for one reader at a time. That may still be reading, as HTTP
// transports do, when whoever gave it the verifier calls stop.
type verifier struct {
	content io.Reader
	desc    Descriptor
	digest  Digest
	hash    hash.Hash
	n       int64 // bytes hashed
	there   int64 // of these, not read from content

	mu       sync.Mutex // not held while content is read
	progress func(read, there int64)
	err      error // why there is nothing more to read
	stopped  bool
}

var errStopped = errors.New("reading content after its push came to an end")

func (v *verifier) self() *verifier { return v }

// Content returns what is verified. A target may have it by other means than by reading
// it, such as cloning a file, and then verify what it has with [Continue].
func (v *verifier) Content() io.Reader { return v.content }

// takes reports whether v verifies desc from the start. If so it tells progress
// from now on, if there is any.
func (v *verifier) takes(desc Descriptor, progress func(read, there int64)) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.n != 0 || v.desc.Digest != desc.Digest || v.desc.Size != desc.Size {
		return false
	}
	if progress != nil {
		v.progress = progress
	}
	return true
}

func (v *verifier) Read(p []byte) (int, error) {
	if err := v.ended(); err != nil {
		return 0, err
	}
	if len(p) == 0 {
		return 0, nil
	}
	if left := v.desc.Size - v.n; int64(len(p)) > left {
		p = p[:left]
	}
	n, err := 0, error(nil)
	if len(p) > 0 {
		n, err = v.content.Read(p)
		v.hash.Write(p[:n])
		v.n += int64(n)
	}
	switch {
	case v.n == v.desc.Size:
		err = v.end(err)
	case err == io.EOF:
		err = fmt.Errorf("%s: %w: %d bytes, not %d", v.desc.Digest, ErrInvalid, v.n, v.desc.Size)
	}
	return n, v.report(n, err)
}

// end says what there is to say when all bytes are read and err was the last
// answer.
func (v *verifier) end(err error) error {
	var one [1]byte
	for tries := 0; err == nil; tries++ {
		n := 0
		n, err = v.content.Read(one[:])
		switch {
		case n > 0:
			return fmt.Errorf("%s: %w: more than %d bytes", v.desc.Digest, ErrInvalid, v.desc.Size)
		case err == nil && tries == 100:
			return io.ErrNoProgress
		}
	}
	if err != io.EOF {
		return err
	}
	if got := v.digest.Algorithm().Sum(v.hash); got != v.digest {
		return fmt.Errorf("%s: %w: its digest is %s", v.desc.Digest, ErrInvalid, got)
	}
	return io.EOF
}

func (v *verifier) ended() error {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.err
}

// report keeps how reading n bytes went, tells progress, and returns what there
// is to return.
func (v *verifier) report(n int, err error) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.stopped {
		return v.err
	}
	v.err = err
	if v.progress != nil && n > 0 {
		v.progress(v.n-v.there, v.there)
	}
	return err
}

// stop ends reading: whoever still reads gets an error, and progress is told no
// more. It reports whether reading had come to an end that is not that of the
// content.
func (v *verifier) stop() (failed bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	failed = v.err != nil && v.err != io.EOF
	if !failed {
		v.err = errStopped
	}
	v.stopped = true
	return failed
}

// restart makes the verifier that of content at its start again.
func (v *verifier) restart() {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.hash == nil || v.stopped {
		return
	}
	v.hash.Reset()
	v.n, v.there, v.err = 0, 0, nil
}

// A verifiedContent is a verifier that can be closed.
type verifiedContent struct {
	*verifier
	io.Closer
}

type verifiedSeekContent struct {
	*seekVerifier
	io.Closer
}

// verified returns content as a verifier that closes it.
func verified(content io.ReadCloser, desc Descriptor, progress func(read, there int64)) (io.ReadCloser, *verifier) {
	switch v := newVerifier(content, desc, progress).(type) {
	case *seekVerifier:
		return verifiedSeekContent{v, content}, v.verifier
	case *verifier:
		return verifiedContent{v, content}, v
	default: // content was one
		return content, v.(interface{ self() *verifier }).self()
	}
}

type seekVerifier struct {
	*verifier
	seeker io.Seeker
}

var errRewind = errors.New("content being verified can only be rewound to its start")

func (v *seekVerifier) Seek(offset int64, whence int) (int64, error) {
	if offset != 0 || whence != io.SeekStart {
		return 0, errRewind
	}
	if _, err := v.seeker.Seek(0, io.SeekStart); err != nil {
		return 0, err
	}
	v.restart()
	return 0, nil
}
