package file

import (
	"context"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"

	"github.com/c73062ad/oras"
	"github.com/c73062ad/oras/archive"
)

// unpack unpacks r, which verifies itself, to a directory.
func (s *Store) unpack(ctx context.Context, at *place, expected oras.Descriptor, title string, r io.Reader) error {
	var want oras.Digest
	if text, ok := expected.Annotations[AnnotationDigest]; ok {
		var err error
		if want, err = oras.ParseDigest(text); err != nil {
			return fmt.Errorf("annotation %s: %w", AnnotationDigest, err)
		}
	}
	z, err := archive.Decompress(r, &archive.DecompressOptions{MaxRatio: s.opts.MaxUnpackedRatio})
	if err != nil {
		return kind(err)
	}
	defer z.Close()
	tar := &unpacked{z, r, want, want.Algorithm().New()}
	return s.kind(archive.Unpack(ctx, at.dir, tar, &archive.UnpackOptions{
		Dir:        at.base,
		Prefix:     title,
		MaxSize:    s.opts.MaxUnpackedSize,
		MaxEntries: s.opts.MaxUnpackedEntries,
		KeepOld:    s.opts.KeepOldFiles,
	}))
}

// kind lets an error of archive be one that this package knows.
func (s *Store) kind(err error) error {
	if s.opts.KeepOldFiles && errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%w: %w", ErrOverwrite, err)
	}
	return kind(err)
}

func kind(err error) error {
	if errors.Is(err, archive.ErrInvalid) || errors.Is(err, archive.ErrTooLarge) {
		return fmt.Errorf("%w: %w", oras.ErrInvalid, err)
	}
	return err
}

// unpacked reads what came out of some compressed content. It ends well only if
// both are what they must be.
type unpacked struct {
	io.Reader
	packed io.Reader // what Reader reads; verifies itself
	want   oras.Digest
	hash   hash.Hash
}

func (u *unpacked) Read(p []byte) (int, error) {
	n, err := u.Reader.Read(p)
	if !u.want.IsZero() {
		u.hash.Write(p[:n])
	}
	if err != io.EOF {
		return n, err
	}
	if _, err := io.Copy(io.Discard, u.packed); err != nil {
		return n, err
	}
	if got := u.want.Algorithm().Sum(u.hash); !u.want.IsZero() && got != u.want {
		return n, fmt.Errorf("%w: the digest of what is packed is %s, not %s", oras.ErrInvalid, got, u.want)
	}
	return n, io.EOF
}
