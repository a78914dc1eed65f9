package bucket

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
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
	store     *Store
	bucket    grower
	id        string
	algorithm oras.Algorithm // by which it is hashed as it arrives
	size      int64          // bytes that had arrived when last looked at
	ended     bool
}

// Upload is the optional method of [oras.OpenUpload]. An id is not to be guessed.
// Bytes are hashed as they arrive, by SHA-256 unless [Store.BeginUpload] was told
// otherwise. An upload goes on after a restart, or in another process; only a loss
// of power can take of its bytes, some of the last ones or all, and Size says so. Of
// two that append or commit at once the second waits, or fails if it is another
// process. An upload ends when nothing was appended for a day, when what was
// written to it could not be made durable, and when the disk is full.
func (s *Store) Upload(ctx context.Context, id string) (oras.Upload, error) {
	if id == "" {
		return s.BeginUpload(ctx, oras.SHA256)
	}
	b, err := growing(s.bucket)
	if err != nil {
		return nil, err
	}
	u := &upload{store: s, bucket: b, id: id}
	if u.algorithm, err = uploadAlgorithm(id); err != nil {
		return nil, u.lacking(oras.ErrNotFound)
	}
	if u.size, err = s.bucket.Size(ctx, s.uploadKey(id)); err != nil {
		return nil, u.lacking(err)
	}
	return u, nil
}

// BeginUpload is the optional method of [oras.BeginUpload].
func (s *Store) BeginUpload(ctx context.Context, a oras.Algorithm) (oras.Upload, error) {
	b, err := growing(s.bucket)
	if err != nil {
		return nil, err
	}
	if a == (oras.Algorithm{}) {
		a = oras.SHA256
	}
	u := &upload{store: s, bucket: b, id: newUploadID(a), algorithm: a}
	if err := s.registry.mark(ctx, s.name); err != nil {
		return nil, err
	}
	if s.registry.due(s.name) {
		if err := s.sweepUploads(ctx, b); err != nil {
			return nil, err
		}
	}
	if err := b.Create(ctx, s.uploadKey(u.id)); err != nil {
		return nil, err
	}
	return u, nil
}

const idSize = 16 // bytes

// newUploadID returns what is not to be guessed, and tells the algorithm where that
// is not SHA-256.
func newUploadID(a oras.Algorithm) string {
	id := make([]byte, idSize)
	rand.Read(id) // never fails
	if a == oras.SHA256 {
		return hex.EncodeToString(id)
	}
	return hex.EncodeToString(id) + "-" + a.String()
}

func uploadAlgorithm(id string) (oras.Algorithm, error) {
	random, name, found := strings.Cut(id, "-")
	if data, err := hex.DecodeString(random); err != nil || len(data) != idSize || strings.ToLower(random) != random {
		return oras.Algorithm{}, errors.New("is no id")
	}
	if !found {
		return oras.SHA256, nil
	}
	a, err := oras.ParseAlgorithm(name)
	if a == oras.SHA256 {
		err = errors.New("is no id")
	}
	return a, err
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
	state, err := u.catchUp(ctx, f)
	if err != nil {
		return 0, err
	}
	n, readErr, writeErr := pump(ctx, io.NewOffsetWriter(f, offset), io.TeeReader(content, state.hash))
	if writeErr != nil { // state is of more than was written
		info, err := f.Stat()
		if err != nil {
			return n, errors.Join(u.failed(writeErr), u.failed(err))
		}
		u.size = info.Size() // WriteAt need not count what it wrote before it failed
		if full(writeErr) {  // others could not write anything as long as it stays
			return u.size - offset, u.lost(ctx, writeErr)
		}
		return u.size - offset, u.failed(writeErr)
	}
	u.size += n
	state.n = u.size
	if err := u.keepHash(context.WithoutCancel(ctx), f, state); err != nil {
		return n, errors.Join(readErr, err)
	}
	return n, readErr
}

// lost ends the upload because of err: there is no room for it, or the system could not
// make what was written durable, says so only once, and may have forgotten it.
func (u *upload) lost(ctx context.Context, err error) error {
	return errors.Join(u.failed(err), u.end(context.WithoutCancel(ctx)))
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
	key, twin := u.store.blobKey(digest), contentKey(digest)
	switch size, err := u.store.registry.renew(ctx, key); {
	case err == nil && size == u.size:
		return errors.Join(settle(ctx, u.store.bucket, key), u.end(ctx))
	case err != nil && !errors.Is(err, oras.ErrNotFound):
		return err
	}
	if shared, err := share(ctx, f, key, twin); err != nil {
		return err
	} else if shared {
		return u.end(ctx)
	}
	if err := f.Sync(); err != nil {
		return u.lost(ctx, err)
	}
	if err := u.bucket.Rename(ctx, u.store.uploadKey(u.id), key, twin); err != nil {
		return u.lacking(err)
	}
	u.ended = true
	return u.dropHash(ctx)
}

// share is the Share of a File. One without it shares nothing.
func share(ctx context.Context, f File, to, twin string) (bool, error) {
	s, ok := f.(interface {
		Share(context.Context, string, string) (bool, error)
	})
	if !ok {
		return false, nil
	}
	return s.Share(ctx, to, twin)
}

// sum returns the digest of the whole of f.
func (u *upload) sum(ctx context.Context, f File, a oras.Algorithm) (oras.Digest, error) {
	if a != u.algorithm {
		h := a.New()
		err := u.readInto(ctx, h, f, 0)
		return a.Sum(h), err
	}
	state, err := u.catchUp(ctx, f)
	if err != nil {
		return oras.Digest{}, err
	}
	u.store.registry.hashes.put(u.store.uploadKey(u.id), state) // for another try
	return a.Sum(state.hash), nil
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
	return s.uploadsLeft(ctx, b, uploadAge, func(_ string, _ int64, remove func() error) error { return remove() })
}

// uploadsLeft calls fn with the uploads whose last byte came longer ago than age,
// and which nobody has open, and with what is left of others: the key, the size in
// bytes, and what removes it.
func (s *Store) uploadsLeft(ctx context.Context, b grower, age time.Duration, fn func(key string, size int64, remove func() error) error) error {
	prefix := s.uploadKey("")
	return s.bucket.List(ctx, prefix, "", func(keys []string) error {
		for _, key := range keys {
			remove := func() error { return remove(ctx, s.bucket, key) }
			var err error
			if strings.HasSuffix(key, hashSuffix) {
				err = s.hashLeft(ctx, key, func(size int64) error { return fn(key, size, remove) })
			} else {
				err = s.uploadLeft(ctx, b, key, age, func(size int64) error { return fn(key, size, remove) })
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// uploadLeft calls fn with the size of the upload key if its last byte came longer
// ago than age, and nobody has it open, or opens it meanwhile.
func (s *Store) uploadLeft(ctx context.Context, b grower, key string, age time.Duration, fn func(size int64) error) error {
	done := s.registry.locks.try(key)
	if done == nil {
		return nil
	}
	defer done()
	if recent, err := s.recent(ctx, key, age); recent || err != nil {
		return err // it is left unlocked: another process may be about to append
	}
	f, err := b.Open(ctx, key)
	if err != nil {
		return nil // another process has it open, or it has ended since
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || time.Since(info.ModTime()) < age {
		return err
	}
	return fn(info.Size())
}

// recent reports whether the upload key has grown lately, or has ended.
func (s *Store) recent(ctx context.Context, key string, age time.Duration) (bool, error) {
	content, err := s.bucket.Get(ctx, key)
	if errors.Is(err, oras.ErrNotFound) {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	defer content.Close()
	f, ok := content.(fs.File)
	if !ok {
		return false, nil
	}
	info, err := f.Stat()
	return err == nil && time.Since(info.ModTime()) < age, err
}

// hashLeft calls fn with the size of the object key, the hash of an upload, if that
// has ended.
func (s *Store) hashLeft(ctx context.Context, key string, fn func(size int64) error) error {
	_, err := s.bucket.Size(ctx, strings.TrimSuffix(key, hashSuffix))
	if !errors.Is(err, oras.ErrNotFound) {
		return err
	}
	size, err := s.bucket.Size(ctx, key)
	if errors.Is(err, oras.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	return fn(size)
}
