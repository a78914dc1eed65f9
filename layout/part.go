package layout

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"regexp"
	"time"

	"github.com/c73062ad/oras"
	"github.com/c73062ad/oras/internal/claim"
)

const (
	partSuffix = ".part"
	partAge    = 7 * 24 * time.Hour // a part that was not written to for so long is given up
	partLeast  = 64 << 10           // bytes: less is not worth going on with
	partBuffer = 256 << 10
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

// putPart makes content, a verifier, the blob d by way of its part: it goes on behind
// what that has, which is hashed again, and leaves it for the next who tries when
// reading fails. Where another process, or another push, has the part, or there are no
// locks, the content goes by way of a file of its own.
func (s *Store) putPart(ctx context.Context, d oras.Digest, content io.Reader, size int64) error {
	part, name := partPath(d), blobPath(d)
	f, err := claim.File(s.root, part)
	if errors.Is(err, claim.ErrTaken) || errors.Is(err, claim.ErrNoLocks) {
		_, err = s.write(ctx, name, content, 0o444)
		return err
	}
	if err != nil {
		return err
	}
	// Who had the part until now may have made it the blob.
	if info, e := statRegular(s.fsys, name); e == nil && info.Size() == size {
		return errors.Join(s.root.Remove(part), f.Close())
	}
	readErr, err := fillPart(ctx, f, content, size)
	if err == nil && readErr == nil {
		err = s.finishPart(f, part, name)
	}
	keep := false
	if readErr != nil && err == nil && !errors.Is(readErr, oras.ErrInvalid) {
		info, e := f.Stat()
		keep = e == nil && info.Size() >= partLeast
	}
	err = errors.Join(readErr, err)
	if err != nil && !keep { // a full disk, for one, shall not stay full
		err = errors.Join(err, s.root.Remove(part))
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

// fillPart brings the part to its end with what content, a verifier, has behind it.
// What it returns first is the error of reading.
func fillPart(ctx context.Context, f *os.File, content io.Reader, size int64) (readErr, writeErr error) {
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	n, have := int64(0), info.Size()
	if 0 < have && have <= size {
		n, err = oras.Continue(content, reader{ctx, io.NewSectionReader(f, 0, have)})
		if err != nil && !errors.Is(err, oras.ErrUnsupported) {
			return err, nil
		}
	}
	readErr, writeErr = pour(ctx, f, n, content)
	if n > 0 && writeErr == nil && errors.Is(readErr, oras.ErrInvalid) {
		// Perhaps it is what was there that is not right.
		if _, err := content.(io.Seeker).Seek(0, io.SeekStart); err != nil {
			return err, nil
		}
		return pour(ctx, f, 0, content)
	}
	return readErr, writeErr
}

// pour makes what content has all that f has from offset on. What it returns first is
// the error of reading.
func pour(ctx context.Context, f *os.File, offset int64, content io.Reader) (readErr, writeErr error) {
	if err := f.Truncate(offset); err != nil {
		return nil, err
	}
	r := &failingReader{r: reader{ctx, content}}
	_, err := io.CopyBuffer(io.NewOffsetWriter(f, offset), r, make([]byte, partBuffer))
	if r.err != nil {
		return r.err, nil
	}
	return nil, err
}

// A failingReader keeps what reading failed with.
type failingReader struct {
	r   io.Reader
	err error
}

func (f *failingReader) Read(p []byte) (int, error) {
	n, err := f.r.Read(p)
	if err != nil && err != io.EOF {
		f.err = err
	}
	return n, err
}

// removeOldPart removes the part called name if nobody went on with it for long, or has
// it now.
func (s *Store) removeOldPart(name string, info fs.FileInfo) {
	if time.Since(info.ModTime()) <= partAge {
		return
	}
	f, err := claim.File(s.root, name)
	if err != nil {
		return
	}
	defer f.Close()
	s.root.Remove(name)
}
