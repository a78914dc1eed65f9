package file

import (
	"context"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/c73062ad/oras"
	"github.com/c73062ad/oras/archive"
	"github.com/c73062ad/oras/internal/partial"
)

// keptArchive is the size in bytes from which an archive is kept while it is
// unpacked, so that the next try goes on with it.
const keptArchive = 1 << 20

// unpack unpacks r, which verifies itself, to a directory that has not its name yet.
func (s *Store) unpack(ctx context.Context, at *place, d oras.Digest, expected oras.Descriptor, r io.Reader) (*finished, error) {
	want, err := unpackedDigest(expected)
	if err != nil {
		return nil, err
	}
	if err := at.checkParents(); err != nil {
		return nil, err
	}
	f := &finished{at: at, title: clean(expected.Annotations[ocispec.AnnotationTitle]), digest: d}
	if expected.Size >= keptArchive {
		if f.part, err = at.openPart(d, expected.Size); err != nil {
			return nil, err
		}
	}
	keep, err := s.fillTree(ctx, f, want, expected, r)
	switch {
	case err == nil:
		return f, nil
	case f.part == nil:
		return nil, err
	case !keep:
		return nil, errors.Join(err, f.part.remove())
	}
	return nil, errors.Join(err, f.part.leave(err))
}

// fillTree makes the tree of f. After an error it reports whether what was received
// is of use to the next try.
func (s *Store) fillTree(ctx context.Context, f *finished, want oras.Digest, expected oras.Descriptor, r io.Reader) (keep bool, err error) {
	there := int64(0)
	if f.part != nil {
		if there, err = partial.Resume(ctx, f.part.file, r, expected.Size); err != nil {
			return true, err
		}
	}
	keep, err = s.extract(ctx, f, want, expected, r, there)
	if there > 0 && errors.Is(err, oras.ErrInvalid) {
		// Perhaps it is what was there that is not right.
		if err := partial.Restart(f.part.file, r); err != nil {
			return false, err
		}
		return s.extract(ctx, f, want, expected, r, 0)
	}
	return keep, err
}

// unpackedDigest returns what the digest of the archive must be before it was
// compressed, or the zero Digest.
func unpackedDigest(desc oras.Descriptor) (oras.Digest, error) {
	text, ok := desc.Annotations[AnnotationDigest]
	if !ok {
		return oras.Digest{}, nil
	}
	d, err := oras.ParseDigest(text)
	if err != nil {
		err = fmt.Errorf("annotation %s: %w", AnnotationDigest, err)
	}
	return d, err
}

// extract makes the tree of f. The part has the first bytes of the archive, r the
// others. Receiving, decompressing, and making files go on at a time.
func (s *Store) extract(ctx context.Context, f *finished, want oras.Digest, expected oras.Descriptor, r io.Reader, there int64) (keep bool, err error) {
	temp, err := f.at.workDir()
	if err != nil {
		return false, err
	}
	packed := &packedReader{rest: partial.Reader(ctx, r)}
	if f.part != nil {
		packed.prefix = io.NewSectionReader(f.part.file, 0, there)
		packed.kept = io.NewOffsetWriter(f.part.file, there)
	}
	ahead := archive.Ahead(packed)
	defer func() {
		ahead.Close() // and then nobody changes packed any more
		keep = packed.err != nil || ctx.Err() != nil
	}()
	z, err := archive.Decompress(ahead, &archive.DecompressOptions{MaxRatio: s.opts.MaxUnpackedRatio})
	if err != nil {
		return false, kind(err)
	}
	defer z.Close()
	out := archive.Ahead(z)
	defer out.Close()
	f.tree, err = archive.Extract(ctx, f.at.root, &unpacked{out, ahead, want, want.Algorithm().New()}, &archive.UnpackOptions{
		Dir:        f.at.name,
		Temp:       temp,
		Prefix:     expected.Annotations[ocispec.AnnotationTitle],
		MaxSize:    s.opts.MaxUnpackedSize,
		MaxEntries: s.opts.MaxUnpackedEntries,
		KeepOld:    s.opts.KeepOldFiles,
	})
	return false, s.kind(err)
}

// A packedReader reads a compressed archive: what is there of it, and then the rest,
// which it keeps with that.
type packedReader struct {
	prefix io.Reader // nil once it was read
	rest   io.Reader
	kept   io.Writer // nil if nothing is kept
	err    error     // of rest, but for its end
}

func (p *packedReader) Read(b []byte) (int, error) {
	if p.prefix != nil {
		n, err := p.prefix.Read(b)
		if n > 0 || err != io.EOF {
			return n, err
		}
		p.prefix = nil
	}
	n, err := p.rest.Read(b)
	if p.kept != nil {
		if _, err := p.kept.Write(b[:n]); err != nil {
			return 0, err
		}
	}
	if err != io.EOF {
		p.err = err
	}
	return n, err
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
