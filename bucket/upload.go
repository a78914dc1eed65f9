package bucket

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"strings"
	"time"

	"github.com/c73062ad/oras"
)

const (
	sweepInterval = time.Hour      // between looks for uploads that were given up, in one repository
	uploadAge     = 24 * time.Hour // since its last byte, after which an upload was given up
)

// An upload is one to whoever has its id: each method opens the object, finds out
// how far it has come, and lets it go.
type upload struct {
	store  *Store
	bucket grower
	id     string
	size   int64 // bytes that had arrived when last looked at
	ended  bool

	// The SHA-256 hash of the first hashed bytes, of which the first saved can
	// be had from the bucket; nil if it must be.
	hash   hash.Hash
	hashed int64
	saved  int64
}

// Upload is the optional method of [oras.OpenUpload]. An id is not to be guessed.
// Bytes are hashed as they arrive, by SHA-256, and are durable when Append
// returns; an upload goes on after a restart, or in another process. Of two
// that append or commit at once the second waits, or fails if it is another
// process. An upload to which nothing was appended for a day ends.
func (s *Store) Upload(ctx context.Context, id string) (oras.Upload, error) {
	b, err := growing(s.bucket)
	if err != nil {
		return nil, err
	}
	u := &upload{store: s, bucket: b, id: id}
	if id == "" {
		if err := u.begin(ctx); err != nil {
			return nil, err
		}
		return u, nil
	}
	if data, err := hex.DecodeString(id); err != nil || len(data) != idSize || strings.ToLower(id) != id {
		return nil, u.lacking(oras.ErrNotFound)
	}
	if u.size, err = s.bucket.Size(ctx, s.uploadKey(id)); err != nil {
		return nil, u.lacking(err)
	}
	return u, nil
}

const idSize = 16 // bytes

func (u *upload) begin(ctx context.Context) error {
	id := make([]byte, idSize)
	rand.Read(id) // never fails
	u.id = hex.EncodeToString(id)
	s := u.store
	if err := s.registry.mark(ctx, s.name); err != nil {
		return err
	}
	if s.registry.due(s.name) {
		if err := s.sweepUploads(ctx, u.bucket); err != nil {
			return err
		}
	}
	return s.bucket.Put(ctx, s.uploadKey(u.id), strings.NewReader(""), 0)
}

func (u *upload) lacking(err error) error {
	if errors.Is(err, oras.ErrNotFound) {
		return fmt.Errorf("upload %q: %w", u.id, oras.ErrNotFound)
	}
	return err
}

func (u *upload) ID() string   { return u.id }
func (u *upload) Size() int64  { return u.size }
func (u *upload) Close() error { return nil }

// open opens the object and learns its size. The function returned closes it.
func (u *upload) open(ctx context.Context) (File, func() error, error) {
	if u.ended {
		return nil, nil, u.lacking(oras.ErrNotFound)
	}
	done, err := u.store.registry.locks.alone(ctx, u.store.uploadKey(u.id))
	if err != nil {
		return nil, nil, err
	}
	f, err := u.bucket.Open(ctx, u.store.uploadKey(u.id))
	if err != nil {
		done()
		return nil, nil, u.lacking(err)
	}
	closeFile := func() error {
		defer done()
		return f.Close()
	}
	info, err := f.Stat()
	if err != nil {
		return nil, nil, errors.Join(err, closeFile())
	}
	u.size = info.Size()
	return f, closeFile, nil
}

func (u *upload) Append(ctx context.Context, offset int64, content io.Reader) (n int64, err error) {
	f, closeFile, err := u.open(ctx)
	if err != nil {
		return 0, err
	}
	defer func() {
		if closeErr := closeFile(); err == nil {
			err = closeErr
		}
	}()
	if offset != u.size {
		return 0, fmt.Errorf("upload %s: %w: %d bytes have arrived, so more cannot begin at %d", u.id, oras.ErrInvalid, u.size, offset)
	}
	if err := u.catchUp(ctx, f); err != nil {
		return 0, err
	}
	n, readErr, writeErr := pump(ctx, io.NewOffsetWriter(f, offset), io.TeeReader(content, u.hash))
	u.size, u.hashed = u.size+n, u.hashed+n
	if writeErr != nil {
		u.hash = nil // of more than was written
		return n, errors.Join(u.failed(writeErr), f.Sync())
	}
	if n > 0 {
		if err := f.Sync(); err != nil {
			return n, errors.Join(readErr, u.failed(err))
		}
		if err := u.saveHash(context.WithoutCancel(ctx)); err != nil {
			return n, errors.Join(readErr, err)
		}
	}
	return n, readErr
}

func (u *upload) failed(err error) error { return failed(u.store.uploadKey(u.id), err) }

func (u *upload) Commit(ctx context.Context, digest oras.Digest) (err error) {
	f, closeFile, err := u.open(ctx)
	if err != nil {
		return err
	}
	defer func() {
		if closeErr := closeFile(); err == nil {
			err = closeErr
		}
	}()
	got, err := u.sum(ctx, f, digest.Algorithm())
	if err != nil {
		return err
	}
	if got != digest {
		err := fmt.Errorf("%s: %w: the digest of what was uploaded is %s", digest, oras.ErrInvalid, got)
		return errors.Join(err, u.end(ctx))
	}
	if err := f.Sync(); err != nil {
		return u.failed(err)
	}
	key := u.store.blobKey(digest)
	if _, err := u.store.bucket.Size(ctx, key); err == nil {
		return errors.Join(settle(ctx, u.store.bucket, key), u.end(ctx))
	}
	if err := u.bucket.Rename(ctx, u.store.uploadKey(u.id), key); err != nil {
		return u.lacking(err)
	}
	u.ended = true
	return u.dropHash(ctx)
}

// sum returns the digest of the whole of f.
func (u *upload) sum(ctx context.Context, f File, a oras.Algorithm) (oras.Digest, error) {
	if a != oras.SHA256 {
		h := a.New()
		err := u.readInto(ctx, h, f, 0)
		return a.Sum(h), err
	}
	if err := u.catchUp(ctx, f); err != nil {
		return oras.Digest{}, err
	}
	return a.Sum(u.hash), nil
}

func (u *upload) Abort(ctx context.Context) error {
	if u.ended {
		return u.lacking(oras.ErrNotFound)
	}
	return u.end(ctx)
}

// end removes the upload.
func (u *upload) end(ctx context.Context) error {
	u.ended = true
	if err := u.store.bucket.Delete(ctx, u.store.uploadKey(u.id)); err != nil {
		return u.lacking(err)
	}
	return u.dropHash(ctx)
}

// sweepUploads removes the uploads that were given up, and what is left of others.
func (s *Store) sweepUploads(ctx context.Context, b grower) error {
	prefix := s.uploadKey("")
	return s.bucket.List(ctx, prefix, "", func(keys []string) error {
		for _, key := range keys {
			id, isHash := strings.CutSuffix(strings.TrimPrefix(key, prefix), hashSuffix)
			over, err := s.givenUp(ctx, b, s.uploadKey(id), isHash)
			if err != nil {
				return err
			}
			if !over {
				continue
			}
			if err := remove(ctx, s.bucket, key); err != nil {
				return err
			}
		}
		return nil
	})
}

// givenUp reports whether the upload key has ended or, if so is not enough, had
// its last byte too long ago.
func (s *Store) givenUp(ctx context.Context, b grower, key string, ended bool) (bool, error) {
	if ended {
		_, err := s.bucket.Size(ctx, key)
		if errors.Is(err, oras.ErrNotFound) {
			return true, nil
		}
		return false, err
	}
	f, err := b.Open(ctx, key)
	if err != nil {
		return false, nil // somebody is writing to it, or it has ended since
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return false, failed(key, err)
	}
	return time.Since(info.ModTime()) > uploadAge, nil
}
