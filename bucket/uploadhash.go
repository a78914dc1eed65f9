package bucket

import (
	"bytes"
	"context"
	"encoding"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"github.com/c73062ad/oras"
)

// hashInterval is how many bytes are rather hashed again than saved the hash of.
const hashInterval = 8 << 20

// maxHash is the size in bytes of the largest state of a hash that is read.
const maxHash = 4 << 10

// catchUp lets u.hash be that of all that is in f, of which u knows the size.
func (u *upload) catchUp(ctx context.Context, f File) error {
	if u.hash == nil || u.hashed > u.size {
		if err := u.loadHash(ctx); err != nil {
			return err
		}
	}
	if err := u.readInto(ctx, u.hash, f, u.hashed); err != nil {
		u.hash = nil
		return err
	}
	u.hashed = u.size
	return nil
}

// readInto writes what is in f from offset on to w.
func (u *upload) readInto(ctx context.Context, w io.Writer, f File, offset int64) error {
	n, readErr, writeErr := pump(ctx, w, io.NewSectionReader(f, offset, u.size-offset))
	if err := errors.Join(readErr, writeErr); err != nil {
		return u.failed(err)
	}
	if n != u.size-offset {
		return u.failed(io.ErrUnexpectedEOF)
	}
	return nil
}

// loadHash lets u.hash be what was saved, if that is of no more bytes than there
// are: a state that is younger than the bytes that survived is of no use, nor is
// one that another version of the hash saved.
func (u *upload) loadHash(ctx context.Context) error {
	u.hash, u.hashed, u.saved = oras.SHA256.New(), 0, 0
	if u.size < hashInterval {
		return nil
	}
	content, err := u.store.bucket.Get(ctx, u.store.hashKey(u.id))
	if errors.Is(err, oras.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	defer content.Close()
	data, err := io.ReadAll(io.LimitReader(content, maxHash))
	if err != nil {
		return fmt.Errorf("%s: %w", u.store.hashKey(u.id), err)
	}
	if len(data) < 8 {
		return nil
	}
	hashed := int64(binary.BigEndian.Uint64(data))
	if hashed < 0 || hashed > u.size {
		return nil
	}
	if u.hash.(encoding.BinaryUnmarshaler).UnmarshalBinary(data[8:]) != nil {
		u.hash = oras.SHA256.New()
		return nil
	}
	u.hashed, u.saved = hashed, hashed
	return nil
}

// saveHash saves u.hash, from time to time. What it is of must be durable.
func (u *upload) saveHash(ctx context.Context) error {
	if u.hashed-u.saved < hashInterval {
		return nil
	}
	state, err := u.hash.(encoding.BinaryMarshaler).MarshalBinary()
	if err != nil {
		return fmt.Errorf("%s: %w", u.store.hashKey(u.id), err)
	}
	data := append(binary.BigEndian.AppendUint64(nil, uint64(u.hashed)), state...)
	if err := u.store.bucket.Put(ctx, u.store.hashKey(u.id), bytes.NewReader(data), int64(len(data))); err != nil {
		return err
	}
	u.saved = u.hashed
	return nil
}

// dropHash removes what saveHash saved, or another upload with the same id.
func (u *upload) dropHash(ctx context.Context) error {
	if u.size < hashInterval {
		return nil
	}
	return remove(ctx, u.store.bucket, u.store.hashKey(u.id))
}
