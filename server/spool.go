package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/c73062ad/oras"
)

// A spool is an upload to a store that has none: the bytes wait in a temporary
// file and are pushed at the end.
type spool struct {
	store oras.Store
	file  *os.File
	named bool // the file has a name, because the system keeps those of open files
	size  int64
}

// openUpload begins an upload to store, to be hashed by a as it arrives.
func (s *server) openUpload(ctx context.Context, store oras.Store, a oras.Algorithm) (oras.Upload, error) {
	u, err := oras.BeginUpload(ctx, store, a)
	if oras.Kind(err) != oras.ErrUnsupported {
		return u, err
	}
	f, err := os.CreateTemp(s.opts.TempDir, "oras-upload-*")
	if err != nil {
		return nil, fmt.Errorf("uploads cannot be kept: %v", err) // no kind: that the folder is missing is not the client's fault
	}
	return &spool{store: store, file: f, named: os.Remove(f.Name()) != nil}, nil
}

// ID is empty: only this process knows the upload.
func (u *spool) ID() string  { return "" }
func (u *spool) Size() int64 { return u.size }

func (u *spool) Append(ctx context.Context, offset int64, content io.Reader) (int64, error) {
	if offset != u.size {
		return 0, fmt.Errorf("%w: %d bytes have arrived, so more cannot begin at %d", oras.ErrInvalid, u.size, offset)
	}
	n, err := io.Copy(io.NewOffsetWriter(u.file, offset), content)
	u.size += n
	return n, err
}

// Commit pushes what has arrived; [oras.Push] verifies it.
func (u *spool) Commit(ctx context.Context, digest oras.Digest) error {
	desc := oras.Descriptor{MediaType: oras.MediaTypeBlob, Digest: digest.OCI(), Size: u.size}
	return oras.Push(ctx, u.store, desc, io.NewSectionReader(u.file, 0, u.size))
}

// Abort leaves the file to Close.
func (u *spool) Abort(context.Context) error { return nil }

func (u *spool) Close() error {
	err := u.file.Close()
	if u.named {
		err = errors.Join(err, os.Remove(u.file.Name()))
	}
	return err
}
