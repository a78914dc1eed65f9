package server

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"

	"github.com/c73062ad/oras"
	"github.com/c73062ad/oras/internal/wire"
)

// postUpload takes in a whole blob, mounts one, or begins an upload.
func (s *server) postUpload(w http.ResponseWriter, r *request) error {
	switch {
	case !r.Mount.IsZero():
		mounted, err := s.mount(r)
		if err != nil {
			return err
		}
		if mounted {
			return created(w, r, r.Mount)
		}
	case !r.Digest.IsZero():
		return s.postBlob(w, r)
	}
	up, err := s.uploads.begin(r.Repository, r.Algorithm)
	if err != nil {
		return err
	}
	defer s.uploads.release(up)
	if s.opts.MinChunk > 0 {
		w.Header().Set(wire.HeaderChunkMinLength, strconv.FormatInt(s.opts.MinChunk, 10))
	}
	up.describe(w, r)
	return done(w, http.StatusAccepted)
}

// postBlob takes in the whole blob that came with the POST.
func (s *server) postBlob(w http.ResponseWriter, r *request) error {
	if r.http.ContentLength >= 0 {
		if err := pushBlob(r); err != nil {
			return err
		}
		return created(w, r, r.Digest)
	}
	ctx := r.http.Context()
	u, err := s.openUpload(ctx, r.store, r.Digest.Algorithm())
	if err != nil {
		return err
	}
	if _, err = u.Append(ctx, 0, r.body); err == nil {
		err = u.Commit(ctx, r.Digest)
	}
	if err != nil { // nobody was told its id
		if e := u.Abort(context.WithoutCancel(ctx)); !errors.Is(e, oras.ErrNotFound) {
			err = errors.Join(err, e)
		}
	}
	if err := errors.Join(err, u.Close()); err != nil {
		return err
	}
	return created(w, r, r.Digest)
}

// pushBlob pushes the body of r, which says how long it is, as the blob r.Digest.
func pushBlob(r *request) error {
	desc := oras.Descriptor{MediaType: oras.MediaTypeBlob, Digest: r.Digest.OCI(), Size: r.http.ContentLength}
	if err := oras.Push(r.http.Context(), r.store, desc, r.body); err != nil {
		return err
	}
	return r.body.drain()
}

// created answers that the blob d is there.
func created(w http.ResponseWriter, r *request, d oras.Digest) error {
	w.Header().Set(wire.HeaderDigest, d.String())
	w.Header().Set("Location", r.place(&wire.Request{Route: wire.Blob, Repository: r.Repository, Digest: d}))
	return done(w, http.StatusCreated)
}

// session returns the upload r is about, to be released. One that the server does
// not know may still be known to the store, as after a restart.
func (s *server) session(r *request) (*session, error) {
	ctx := r.http.Context()
	up, err := s.uploads.hold(ctx, r.Repository, r.UploadID)
	if !errors.Is(err, oras.ErrNotFound) {
		return up, err
	}
	u, openErr := oras.OpenUpload(ctx, r.store, r.UploadID)
	if oras.Kind(openErr) == oras.ErrUnsupported {
		return nil, err
	}
	if openErr != nil {
		return nil, openErr
	}
	if up, err = s.uploads.add(&session{repository: r.Repository, id: r.UploadID, told: true, upload: u}); err != nil {
		return nil, errors.Join(err, u.Close())
	}
	return up, nil
}

// refresh looks again at how far an upload has come that the store knows: others
// may have gone on with it, by another server.
func (up *session) refresh(r *request) error {
	if up.upload == nil || up.upload.ID() == "" {
		return nil
	}
	u, err := oras.OpenUpload(r.http.Context(), r.store, up.upload.ID())
	if err != nil {
		return err
	}
	if u.Size() != up.upload.Size() {
		u, up.upload = up.upload, u
	}
	return u.Close()
}

// size returns how many bytes have arrived.
func (up *session) size() int64 {
	if up.upload == nil {
		return 0
	}
	return up.upload.Size()
}

// describe writes where the upload is and how far it has come.
func (up *session) describe(w http.ResponseWriter, r *request) {
	up.told = up.told || r.body.err == nil // else it will hardly be read
	h := w.Header()
	h.Set("Location", r.place(&wire.Request{Route: wire.Upload, Repository: up.repository, UploadID: up.id}))
	h.Set("Range", wire.FormatRange(0, up.size()-1))
	h.Set(wire.HeaderUploadID, up.id)
}

// getUpload says how far an upload has come.
func (s *server) getUpload(w http.ResponseWriter, r *request) error {
	up, err := s.session(r)
	if err != nil {
		return err
	}
	defer s.uploads.release(up)
	if err := up.refresh(r); err != nil {
		return err
	}
	up.describe(w, r)
	return done(w, http.StatusNoContent)
}

// patchUpload takes in a chunk, or all there is in a stream.
func (s *server) patchUpload(w http.ResponseWriter, r *request) error {
	up, err := s.session(r)
	if err != nil {
		return err
	}
	defer s.uploads.release(up)
	err = s.receive(r, up)
	up.describe(w, r)
	if err != nil {
		return err
	}
	return done(w, http.StatusAccepted)
}

// receive appends the body of r to the upload.
func (s *server) receive(r *request, up *session) error {
	ctx := r.http.Context()
	offset, err := chunk(r, up.size())
	if errors.Is(err, errChunk) {
		if err := up.refresh(r); err != nil {
			return err
		}
		offset, err = chunk(r, up.size())
	}
	if err != nil {
		return err
	}
	if up.upload == nil {
		if up.upload, err = s.openUpload(ctx, r.store, up.algorithm); err != nil {
			return err
		}
		if id := up.upload.ID(); wire.IsUploadID(id) {
			s.uploads.rename(up, id)
			up.told = false
		}
	}
	n, err := up.upload.Append(ctx, offset, r.body)
	if n == 0 && oras.Kind(err) == oras.ErrInvalid { // somebody else was first
		return fmt.Errorf("%w: %w", errChunk, err)
	}
	return err
}

// chunk returns where in the upload, of which size bytes have arrived, the body of
// r begins.
func chunk(r *request, size int64) (offset int64, err error) {
	text := r.http.Header.Get("Content-Range")
	if text == "" {
		return size, nil
	}
	first, last, err := wire.ParseRange(text)
	if err != nil {
		return 0, fmt.Errorf("%w: %w", errChunk, err)
	}
	if first != size {
		return 0, fmt.Errorf("%w: it begins at %d, not %d", errChunk, first, size)
	}
	if n := r.http.ContentLength; n >= 0 && n != last-first+1 {
		return 0, fmt.Errorf("%w: its range is of %d bytes, its body of %d", errBroken, last-first+1, n)
	}
	return first, nil
}

// putUpload takes in what is missing, if anything, and makes the upload a blob.
func (s *server) putUpload(w http.ResponseWriter, r *request) error {
	if r.Digest.IsZero() {
		return fmt.Errorf("%w: the upload cannot end without the parameter digest", oras.ErrInvalid)
	}
	up, err := s.session(r)
	if err != nil {
		return err
	}
	defer s.uploads.release(up)
	ended, err := s.finish(r, up)
	if err != nil {
		if !ended {
			up.describe(w, r)
		}
		return err
	}
	return created(w, r, r.Digest)
}

// finish ends the upload: with success, or because it is not what it was to be. An
// upload that was broken off, or whose last chunk is out of order, goes on.
func (s *server) finish(r *request, up *session) (ended bool, err error) {
	switch {
	case up.upload == nil && r.http.ContentLength >= 0: // it is all there is
		if _, err = chunk(r, 0); err != nil {
			return false, err
		}
		err = pushBlob(r)
	default:
		if r.http.ContentLength != 0 {
			if err = s.receive(r, up); err != nil {
				return false, err
			}
		}
		err = up.upload.Commit(r.http.Context(), r.Digest)
	}
	if err != nil && oras.Kind(err) != oras.ErrInvalid {
		return false, err
	}
	return true, errors.Join(err, s.uploads.end(up))
}

// deleteUpload cancels an upload.
func (s *server) deleteUpload(w http.ResponseWriter, r *request) error {
	up, err := s.session(r)
	if err != nil {
		return err
	}
	defer s.uploads.release(up)
	if up.upload != nil {
		err = up.upload.Abort(r.http.Context())
	}
	if err == nil || oras.Kind(err) == oras.ErrNotFound { // it has ended elsewhere
		err = errors.Join(err, s.uploads.end(up))
	}
	if err != nil {
		return err
	}
	return done(w, http.StatusNoContent)
}

// mountSearch is how many repositories are searched for a blob that is to be
// mounted from anywhere.
const mountSearch = 32

// mount reports whether the blob r.Mount is now in the repository, from the one
// the request names or from any; never from one that the client may not read.
func (s *server) mount(r *request) (bool, error) {
	ctx, desc := r.http.Context(), oras.Descriptor{Digest: r.Mount.OCI()}
	if there, err := r.store.Exists(ctx, desc); err != nil || there {
		return there, err
	}
	if r.From != "" {
		return s.mountFrom(r, r.From)
	}
	// That there is no list of repositories, or no more of it, is no reason to
	// fail: the client then sends the blob.
	names, _, _ := page(mountSearch, func(fn func([]string) error) error {
		return s.registry.Repositories(ctx, "", fn)
	})
	for _, name := range names {
		// Nor is trouble with one of them.
		if mounted, err := s.mountFrom(r, name); mounted && err == nil {
			return true, nil
		}
	}
	return false, ctx.Err()
}

func (s *server) mountFrom(r *request, from string) (bool, error) {
	ctx := r.http.Context()
	err := s.authorize(r, Access{Action: ActionPull, Repository: from})
	switch oras.Kind(err) {
	case oras.ErrUnauthorized, oras.ErrDenied:
		return false, nil
	}
	if err != nil {
		return false, err
	}
	source, err := s.registry.Repository(ctx, from)
	if err != nil {
		return false, err
	}
	var desc oras.Descriptor
	err = look(ctx, source, r.Mount, func() (err error) {
		desc, err = source.Resolve(ctx, r.Mount.String())
		return err
	})
	if oras.Kind(err) == oras.ErrNotFound {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	desc = oras.Descriptor{MediaType: oras.MediaTypeBlob, Digest: desc.Digest, Size: desc.Size}
	err = oras.Mount(ctx, r.store, desc, from, func() (io.ReadCloser, error) { return source.Fetch(ctx, desc) })
	switch oras.Kind(err) {
	case oras.ErrNotFound, oras.ErrUnsupported:
		return false, nil
	}
	return err == nil, err
}
