package layout

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"regexp"
	"strings"
	"time"

	"github.com/c73062ad/oras"
	"github.com/c73062ad/oras/internal/claim"
	"github.com/c73062ad/oras/internal/partial"
)

const (
	partSuffix = ".part"
	partAge    = 7 * 24 * time.Hour // a part that was not written to for so long is given up
	partLeast  = 64 << 10           // bytes: less is not worth going on with
)

var partGrammar = regexp.MustCompile(`^\.oras-sha(?:256-[0-9a-f]{64}|512-[0-9a-f]{128})\.part$`)

func partPath(d oras.Digest) string {
	return temporaryPrefix + d.Algorithm().String() + "-" + d.Hex() + partSuffix
}

// canContinue reports whether content, which a push that is broken off leaves a part
// of, can be gone on with.
func canContinue(content io.Reader, size int64) bool {
	_, ok := content.(io.Seeker)
	return ok && size > partLeast
}

// A Part is the beginning of a large blob on its way into the layout, that nobody else
// writes to. It outlives the process, for who pushes the blob next.
type Part struct {
	s        *Store
	expected oras.Descriptor
	digest   oras.Digest
	f        *os.File
	name     string
	size     int64
}

// OpenPart opens the part of a blob for who wants to read what is there of it while the
// rest comes; [Store.Push] goes on with it by itself. Push of the part must be called.
// What has no part, since it is small, there already, or a manifest, or since
// somebody else has it or nothing can be locked here, is [oras.ErrUnsupported].
func (s *Store) OpenPart(ctx context.Context, expected oras.Descriptor) (*Part, error) {
	d, err := s.writableDigest(ctx, expected)
	if err != nil {
		return nil, err
	}
	info, err := statRegular(s.fsys, blobPath(d))
	if expected.Size <= partLeast || oras.IsManifest(expected.MediaType) || err == nil && info.Size() == expected.Size {
		return nil, fmt.Errorf("%s: a part of it: %w", d, oras.ErrUnsupported)
	}
	if err := s.makeDir(path.Dir(blobPath(d))); err != nil {
		return nil, err
	}
	return s.openPart(d, expected)
}

// Arriving reports whether somebody else, in another process perhaps, has the part of a
// blob at this moment, and how many bytes that has.
func (s *Store) Arriving(expected oras.Descriptor) (size int64, arriving bool) {
	d, err := oras.ParseDigest(expected.Digest)
	if err != nil || s.root == nil {
		return 0, false
	}
	info, err := s.root.Lstat(partPath(d))
	if err != nil {
		return 0, false
	}
	f, err := claim.File(s.root, partPath(d))
	if err == nil {
		defer f.Close()
		if made, err := f.Stat(); err == nil && made.Size() == 0 { // here, as the other was gone meanwhile
			s.root.Remove(partPath(d))
		}
	}
	return info.Size(), errors.Is(err, claim.ErrTaken)
}

func (s *Store) openPart(d oras.Digest, expected oras.Descriptor) (*Part, error) {
	p := &Part{s: s, expected: expected, digest: d, name: partPath(d)}
	var err error
	p.f, err = claim.File(s.root, p.name)
	if errors.Is(err, claim.ErrTaken) || errors.Is(err, claim.ErrNoLocks) {
		return nil, fmt.Errorf("%s: a part of it: %w: %w", d, oras.ErrUnsupported, err)
	}
	if err != nil {
		return nil, err
	}
	info, err := p.f.Stat()
	if err != nil {
		return nil, errors.Join(err, p.f.Close())
	}
	p.size = info.Size()
	return p, nil
}

// Size is how many bytes were there when the part was opened. They are not verified.
func (p *Part) Size() int64 { return p.size }

// ReadAt reads of those bytes until the part is closed; while Push runs, too.
func (p *Part) ReadAt(b []byte, offset int64) (int, error) { return p.f.ReadAt(b, offset) }

// Push is [Store.Push] of the blob by way of the part, which it closes.
func (p *Part) Push(ctx context.Context, content io.Reader) error {
	return p.push(ctx, oras.NewVerifier(content, p.expected))
}

// putPart makes content, a verifier, the blob d by way of its part: it goes on behind
// what that has, which is hashed again, and leaves it for the next who tries when
// reading fails. Where another process, or another push, has the part, or there are no
// locks, the content goes by way of a file of its own.
func (s *Store) putPart(ctx context.Context, d oras.Digest, expected oras.Descriptor, content io.Reader) error {
	p, err := s.openPart(d, expected)
	if errors.Is(err, oras.ErrUnsupported) {
		_, err = s.write(ctx, blobPath(d), content, 0o444)
		return err
	}
	if err != nil {
		return err
	}
	return p.push(ctx, content)
}

func (p *Part) push(ctx context.Context, content io.Reader) error {
	s, f, name := p.s, p.f, blobPath(p.digest)
	// Who had the part until now may have made it the blob.
	if info, e := statRegular(s.fsys, name); e == nil && info.Size() == p.expected.Size {
		return errors.Join(s.root.Remove(p.name), f.Close())
	}
	readErr, err := partial.Fill(ctx, f, content, p.expected.Size)
	if err == nil && readErr == nil {
		err = s.finishPart(f, p.name, name)
	}
	keep := false
	if readErr != nil && err == nil && !errors.Is(readErr, oras.ErrInvalid) {
		info, e := f.Stat()
		keep = e == nil && info.Size() >= partLeast
	}
	err = errors.Join(readErr, err)
	if err != nil && !keep { // a full disk, for one, shall not stay full
		err = errors.Join(err, s.root.Remove(p.name))
	}
	return errors.Join(err, f.Close())
}

// finishPart gives the part, which is whole, the blob's name. It is locked until then.
func (s *Store) finishPart(f *os.File, part, name string) error {
	info, err := f.Stat()
	if err == nil {
		err = f.Chmod(info.Mode().Perm() & 0o444)
	}
	if err == nil {
		err = f.Sync()
	}
	if err == nil {
		err = s.root.Rename(part, name)
	}
	if err != nil {
		return err
	}
	return s.syncDir(path.Dir(name))
}

// removeOldPart removes the part called name if nobody went on with it for long, or
// needs to any more as the blob is there, unless somebody has it now.
func (s *Store) removeOldPart(name string, info fs.FileInfo) {
	algorithm, hex, _ := strings.Cut(strings.TrimSuffix(strings.TrimPrefix(name, temporaryPrefix), partSuffix), "-")
	_, err := statRegular(s.fsys, path.Join(blobsDir, algorithm, hex))
	if err != nil && time.Since(info.ModTime()) <= partAge {
		return
	}
	s.removePart(name)
}

// removePart removes the part called name unless somebody has it.
func (s *Store) removePart(name string) {
	f, err := claim.File(s.root, name)
	if err != nil {
		return
	}
	defer f.Close()
	s.root.Remove(name)
}
