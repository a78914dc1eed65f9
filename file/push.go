package file

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"strings"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/c73062ad/oras"
	"github.com/c73062ad/oras/archive"
)

// Push stores content, verified, whole or not at all.
//
// With a title it becomes the file of that name below the directory of the store:
// written beside it, synced, and renamed. A file or symbolic link of that name is
// replaced; the mode of a file stays. With [AnnotationUnpack] "true" it is unpacked
// to the directory of that name instead, or into it where it exists: see
// archive.Unpack. Nothing has its final name before all of it is verified, with the
// digest of [AnnotationDigest] if that is given. Directories on the way are made,
// and removed again if nothing came of it.
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
	unpack := expected.Annotations[AnnotationUnpack] == "true"
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
	at, err := s.parents.take(s.dir, abs, rel)
	if err != nil {
		return err
	}
	defer func() { s.parents.give(at, err) }()
	if unpack {
		if err := s.unpack(ctx, at, expected, title, r); err != nil {
			return fmt.Errorf("%s: %w", title, err)
		}
		return s.remember(d, n)
	}
	if err := s.write(ctx, at, d, clean(title), r); err != nil {
		return fmt.Errorf("%s: %w", title, err)
	}
	return s.add(d, content{desc: expected, path: abs, below: rel != ""}, n)
}

// remember notes that a name has what is not content any more.
func (s *Store) remember(d oras.Digest, n *name) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	n.digest = d
	return s.check()
}

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

// A fileKey is what tells that an existing file might be one that was written.
type fileKey struct {
	size    int64
	modTime time.Time
}

func keyOf(info fs.FileInfo) fileKey { return fileKey{info.Size(), info.ModTime().UTC()} }

type writtenFile struct {
	name   string
	digest oras.Digest
	info   fs.FileInfo
}

// write makes r, which verifies itself, the file at the place.
func (s *Store) write(ctx context.Context, at *place, d oras.Digest, name string, r io.Reader) (err error) {
	old, err := s.checkOld(at)
	if err != nil {
		return err
	}
	// The name says whose beginning it is if the process is killed.
	temp := archive.TempPrefix + strings.Replace(d.String(), ":", "-", 1) + "-" + rand.Text()[:8]
	f, err := at.dir.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			f.Close()
			at.dir.Remove(temp) // what cannot be removed has not the final name
		}
	}()
	if _, err := copyTo(ctx, f, r); err != nil {
		return err
	}
	if old != nil && old.Mode().IsRegular() {
		if err := f.Chmod(old.Mode().Perm()); err != nil {
			return err
		}
	}
	if err := f.Sync(); err != nil {
		return err
	}
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	return s.rename(at, temp, writtenFile{name, d, info})
}

// checkOld returns what has the name that a file is to get, or nil, or why it
// cannot get it.
func (s *Store) checkOld(at *place) (fs.FileInfo, error) {
	old, err := at.dir.Lstat(at.base)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case err != nil:
		return nil, err
	case s.opts.KeepOldFiles:
		return nil, fmt.Errorf("%s: %w", at.path, ErrOverwrite)
	case old.IsDir():
		return nil, fmt.Errorf("%s: a directory of this name is in the way: %w", at.path, fs.ErrExist)
	}
	return old, nil
}

// rename gives the file that is called temp its final name.
func (s *Store) rename(at *place, temp string, file writtenFile) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.check(); err != nil {
		return err
	}
	old, err := s.checkOld(at)
	if err != nil {
		return err
	}
	if old != nil {
		// Names that are different here may be one for the file system.
		for _, w := range s.written[keyOf(old)] {
			if w.name != file.name && w.digest != file.digest && os.SameFile(w.info, old) {
				return fmt.Errorf("%w: it is the same file as %s here", oras.ErrInvalid, w.name)
			}
		}
	}
	if err := s.give(at, temp); err != nil {
		return err
	}
	key := keyOf(file.info)
	s.written[key] = append(s.written[key], file)
	return nil
}

// give renames temp. Where old files are kept it does so only if there is none.
func (s *Store) give(at *place, temp string) error {
	if !s.opts.KeepOldFiles {
		return at.dir.Rename(temp, at.base)
	}
	err := at.dir.Link(temp, at.base)
	switch {
	case err == nil:
		return at.dir.Remove(temp)
	case errors.Is(err, fs.ErrExist):
		return fmt.Errorf("%s: %w", at.path, ErrOverwrite)
	}
	return at.dir.Rename(temp, at.base) // no hard links on this file system
}
