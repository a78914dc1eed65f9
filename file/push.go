package file

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/c73062ad/oras"
	"github.com/c73062ad/oras/internal/partial"
)

// Push stores content, verified, whole or not at all.
//
// With a title it becomes the file of that name below the directory of the store:
// written to a hidden file in that, and renamed. A file or symbolic link of
// that name is replaced; the mode of a file stays. With [AnnotationUnpack] "true" it
// is unpacked to the directory of that name instead, or into it where it exists: see
// archive.Unpack. Nothing has its final name before all of it is verified, with the
// digest of [AnnotationDigest] if that is given; with [Options.Stage], not before
// Commit. Directories on the way are made, and removed again if nothing came of it.
//
// When reading the content fails, or the process is killed, what was received stays
// in the hidden file, whose name says what of, and whoever pushes that content next,
// by whatever title, goes on behind it if the content is an [io.Seeker]: see
// [oras.Continue]. What turns out to be wrong does not stay, nor do beginnings that
// are old. Two processes do not write to one such file; the second has its own.
//
// A title that no file can have here, or that was pushed with other content, is
// [oras.ErrInvalid]; one that leads out of the directory [ErrPathTraversal], unless
// that is allowed; a file that is there and is to be kept [ErrOverwrite].
//
// Content without a title, such as a manifest, is kept until Close: in memory, or
// in temporary files where it is much.
func (s *Store) Push(ctx context.Context, expected oras.Descriptor, r io.Reader) error {
	d, err := oras.ParseDigest(expected.Digest)
	if err != nil {
		return err
	}
	r = oras.NewVerifier(r, expected)
	if title := expected.Annotations[ocispec.AnnotationTitle]; title != "" {
		return s.pushNamed(ctx, d, expected, title, r)
	}
	exists, err := s.Exists(ctx, expected)
	if err != nil || exists {
		return err
	}
	isManifest := oras.IsManifest(expected.MediaType)
	if expected.Size > oras.MaxManifestSize && !isManifest {
		return s.pushTemporary(ctx, d, expected, r)
	}
	data, err := oras.ReadAll(r, expected)
	if err != nil {
		return err
	}
	if isManifest {
		if _, err := oras.ParseManifest(expected.MediaType, data); err != nil {
			return fmt.Errorf("%s: %w", d, err)
		}
	}
	if kept, err := s.keep(d, expected, data); kept || err != nil {
		return err
	}
	return s.pushTemporary(ctx, d, expected, bytes.NewReader(data))
}

// keep keeps content in memory if there is room for it.
func (s *Store) keep(d oras.Digest, desc oras.Descriptor, data []byte) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.check(); err != nil {
		return false, err
	}
	if _, ok := s.content[d]; ok {
		return true, nil
	}
	if int64(len(data)) > memoryBudget-s.inMemory {
		return false, nil
	}
	s.inMemory += int64(len(data))
	s.content[d] = content{desc: desc, data: data}
	return true, nil
}

func (s *Store) pushTemporary(ctx context.Context, d oras.Digest, expected oras.Descriptor, r io.Reader) error {
	f, err := s.tempFile()
	if err != nil {
		return err
	}
	_, err = copyTo(ctx, f, r)
	if e := f.Close(); err == nil {
		err = e
	}
	if err == nil {
		err = s.add(d, content{desc: expected, path: f.Name()}, nil)
	}
	if err != nil {
		os.Remove(f.Name()) // or Close does
	}
	return err
}

func (s *Store) pushNamed(ctx context.Context, d oras.Digest, expected oras.Descriptor, title string, r io.Reader) (err error) {
	unpack := isPacked(expected)
	abs, rel, err := s.locate(title, unpack)
	if err != nil {
		return err
	}
	n, err := s.name(title)
	if err != nil {
		return err
	}
	n.writing.Lock()
	defer n.writing.Unlock()
	switch was := s.digestOf(n); was {
	case d:
		return nil
	case oras.Digest{}:
	default:
		return badTitle(title, fmt.Errorf("the name of both %s and %s", was, d))
	}
	at, err := s.grounds.take(s.dir, abs, rel)
	if err != nil {
		return err
	}
	waits := false
	defer func() { err = s.grounds.give(at, waits, err) }()
	receive := s.write
	if unpack {
		receive = s.unpack
	}
	f, err := receive(ctx, at, d, expected, r)
	switch {
	case errors.Is(err, ErrPathTraversal): // by a symbolic link
		return pathTraversal(title)
	case err != nil:
		return fmt.Errorf("%s: %w", title, err)
	}
	if waits, err = s.finish(f); err != nil {
		return fmt.Errorf("%s: %w", title, err)
	}
	if unpack {
		return s.remember(d, n)
	}
	path := at.path
	if waits {
		path = f.path()
	}
	return s.add(d, content{desc: expected, path: path, below: rel != ""}, n)
}

func isPacked(desc oras.Descriptor) bool { return desc.Annotations[AnnotationUnpack] == "true" }

// write writes r, which verifies itself, to a file that has not its name yet.
func (s *Store) write(ctx context.Context, at *place, d oras.Digest, expected oras.Descriptor, r io.Reader) (*finished, error) {
	if err := s.checkWay(at, nil); err != nil {
		return nil, err
	}
	p, err := at.openPart(d, expected.Size)
	if err != nil {
		return nil, at.unwritable(err)
	}
	readErr, writeErr := partial.Fill(ctx, p.file, r, expected.Size)
	switch {
	case writeErr != nil: // a full disk, for one, shall not stay full
		return nil, errors.Join(at.unwritable(writeErr), p.remove())
	case readErr != nil:
		return nil, errors.Join(readErr, p.leave(readErr))
	}
	return &finished{at: at, title: clean(expected.Annotations[ocispec.AnnotationTitle]), digest: d, part: p}, nil
}

// Receive makes content, verified, the file path, whole or not at all, in the way of
// [Store.Push]: what a Receive that was broken off had received, or the pull of a file
// into the same directory, moves no more. The directory must be there. A symbolic link is
// replaced.
func Receive(ctx context.Context, path string, expected oras.Descriptor, content io.Reader) (err error) {
	d, err := oras.ParseDigest(expected.Digest)
	if err != nil {
		return err
	}
	dir := filepath.Dir(path)
	if _, err := os.Stat(dir); err != nil {
		return err
	}
	s, err := New(dir, nil)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.Close()) }()
	at, err := s.grounds.take(s.dir, filepath.Join(s.dir, filepath.Base(path)), "")
	if err != nil {
		return err
	}
	f, err := s.write(ctx, at, d, expected, oras.NewVerifier(content, expected))
	if err == nil {
		_, err = s.finish(f)
	}
	return s.grounds.give(at, false, err)
}

// remember notes that a name has what is not content any more.
func (s *Store) remember(d oras.Digest, n *name) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	n.digest = d
	return s.check()
}
