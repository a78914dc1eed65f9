// Package archive turns directories into tar streams and back.
//
// [Pack] writes a directory as a tar whose bytes depend on nothing but the tree:
// the same files give the same digest on any machine. [Unpack] takes a tar from
// anybody and gives it no means to reach outside the directory it is for.
// [Compress] and [Decompress] go around either. All of it streams: what is kept
// in memory does not grow with the archive.
package archive

import (
	"context"
	"errors"
	"io"
)

var (
	// ErrInvalid is an archive that is malformed, or an entry that is refused.
	ErrInvalid = errors.New("invalid archive")

	// ErrTooLarge is an archive that passes a limit of the options it is read with.
	ErrTooLarge = errors.New("archive is too large")
)

const bufferSize = 256 << 10

// contextReader ends with the context's error when the context ends.
type contextReader struct {
	ctx context.Context
	r   io.Reader
}

func (c contextReader) Read(p []byte) (int, error) {
	if err := context.Cause(c.ctx); err != nil {
		return 0, err
	}
	return c.r.Read(p)
}

// onlyWriter hides a file's ReadFrom, which would not use our buffer.
type onlyWriter struct{ io.Writer }

// onlyReader hides a file's WriteTo.
type onlyReader struct{ io.Reader }
