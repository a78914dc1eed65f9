package layout

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"github.com/gofrs/flock"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/c73062ad/oras"
	"github.com/c73062ad/oras/internal/partial"
)

const (
	versionFile = ocispec.ImageLayoutFile // oci-layout
	indexFile   = ocispec.ImageIndexFile  // index.json
	blobsDir    = ocispec.ImageBlobsDir   // blobs
	lockFile    = ".oras.lock"

	temporaryPrefix = ".oras-"
	temporarySuffix = ".tmp"
)

const (
	maxVersionFile = 64 << 10       // bytes of oci-layout that are read
	stale          = 24 * time.Hour // a temporary file that was not written to for so long has no writer
)

// blobPath returns where content is.
func blobPath(d oras.Digest) string {
	return path.Join(blobsDir, d.Algorithm().String(), d.Hex())
}

// statRegular returns what is known of a regular file. Anything else of that
// name, such as a symbolic link, is [oras.ErrInvalid].
func statRegular(fsys fs.FS, name string) (fs.FileInfo, error) {
	info, err := fs.Lstat(fsys, name)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%w: %s is not a regular file", oras.ErrInvalid, name)
	}
	return info, nil
}

// openRegular opens a regular file, as statRegular has it. On disk it makes sure
// that what it opened is what it looked at, not what a link led to that took its
// place; a file that was replaced meanwhile is looked at again.
func openRegular(fsys fs.FS, name string) (fs.File, fs.FileInfo, error) {
	for range 100 {
		seen, err := statRegular(fsys, name)
		if err != nil {
			return nil, nil, err
		}
		f, err := fsys.Open(name)
		if err != nil {
			return nil, nil, err
		}
		info, err := f.Stat()
		if err != nil {
			f.Close()
			return nil, nil, err
		}
		if sameFile(seen, info) {
			return f, info, nil
		}
		f.Close()
	}
	return nil, nil, fmt.Errorf("%w: %s is being replaced all the time", oras.ErrInvalid, name)
}

// sameFile reports whether a and b are one file. Outside of a disk files have no
// identity but their name.
func sameFile(a, b fs.FileInfo) bool {
	onDisk := os.SameFile(a, a)
	return !onDisk || os.SameFile(a, b)
}

// readRegular reads a regular file of at most limit bytes. What it says of the
// file is from before the first byte was read.
func readRegular(fsys fs.FS, name string, limit int64) ([]byte, fs.FileInfo, error) {
	f, info, err := openRegular(fsys, name)
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	var b bytes.Buffer
	if _, err := b.ReadFrom(io.LimitReader(f, limit+1)); err != nil {
		return nil, nil, err
	}
	if int64(b.Len()) > limit {
		return nil, nil, fmt.Errorf("%w: %s is larger than %d bytes", oras.ErrInvalid, name, limit)
	}
	return b.Bytes(), info, nil
}

// checkVersion reads oci-layout (image-layout.md, "oci-layout file").
func (s *Store) checkVersion() error {
	data, _, err := readRegular(s.fsys, versionFile, maxVersionFile)
	if err != nil {
		return err
	}
	var v ocispec.ImageLayout
	if err := oras.DecodeJSON(data, &v); err != nil {
		return fmt.Errorf("%s: %w", versionFile, err)
	}
	if v.Version != ocispec.ImageLayoutVersion {
		return fmt.Errorf("%s: version %q: %w", versionFile, v.Version, oras.ErrUnsupported)
	}
	return nil
}

// prepare makes a layout of the directory if it is none, and clears away what
// dead writers left.
func (s *Store) prepare() error {
	versionErr := s.checkVersion()
	if versionErr != nil && !errors.Is(versionErr, fs.ErrNotExist) {
		return s.invalid(versionErr)
	}
	_, indexErr := s.load()
	if indexErr != nil && !errors.Is(indexErr, fs.ErrNotExist) {
		return s.invalid(indexErr)
	}
	if versionErr != nil || indexErr != nil {
		if err := s.create(); err != nil {
			return fmt.Errorf("creating %s: %w", s, err)
		}
	}
	s.clean()
	return nil
}

// create writes the files of a new layout that are not there.
func (s *Store) create() (err error) {
	ctx := context.Background()
	unlock, err := s.lock(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, unlock()) }()
	if err := s.makeDir(path.Join(blobsDir, oras.SHA256.String())); err != nil {
		return err
	}
	version, err := json.Marshal(ocispec.ImageLayout{Version: ocispec.ImageLayoutVersion})
	if err != nil {
		return err
	}
	for _, file := range []struct {
		name    string
		content []byte
	}{{versionFile, version}, {indexFile, []byte(emptyIndex)}} {
		_, err := fs.Lstat(s.fsys, file.name)
		if errors.Is(err, fs.ErrNotExist) {
			_, err = s.write(ctx, file.name, bytes.NewReader(file.content), 0o666)
		}
		if err != nil {
			return err
		}
	}
	if err := s.checkVersion(); err != nil { // another program may have been first
		return err
	}
	_, err = s.load()
	return err
}

// clean removes temporary files that have no writer any more, and parts that nobody
// went on with. They do no harm, so neither does one that cannot be removed.
func (s *Store) clean() {
	entries, err := fs.ReadDir(s.fsys, ".")
	if err != nil {
		return
	}
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), temporaryPrefix) {
			continue
		}
		info, err := e.Info()
		switch {
		case err != nil || !info.Mode().IsRegular():
		case partGrammar.MatchString(e.Name()):
			s.removeOldPart(e.Name(), info)
		case strings.HasSuffix(e.Name(), temporarySuffix) && time.Since(info.ModTime()) > stale:
			s.root.Remove(e.Name())
		}
	}
}

// lock waits for the right to change the layout, in this process and among all,
// and returns what gives it back.
func (s *Store) lock(ctx context.Context) (unlock func() error, err error) {
	select {
	case s.turn <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	for range 100 {
		var l *flock.Flock
		if l, err = s.lockOnce(ctx); err == nil {
			return func() error { defer func() { <-s.turn }(); return l.Unlock() }, nil
		}
		if !errors.Is(err, errLockReplaced) {
			break
		}
	}
	<-s.turn
	return nil, fmt.Errorf("locking %s: %w", s, err)
}

var errLockReplaced = errors.New("the lock file is not the one in the directory that was opened")

// lockOnce takes the lock and makes sure that it is the one that others wait for:
// the file can be deleted, and the directory another one by that name, in the
// meantime.
func (s *Store) lockOnce(ctx context.Context) (*flock.Flock, error) {
	_, err := statRegular(s.fsys, lockFile)
	if errors.Is(err, fs.ErrNotExist) {
		var f *os.File
		if f, err = s.root.OpenFile(lockFile, os.O_CREATE|os.O_RDONLY, 0o666); err == nil {
			err = f.Close()
		}
	}
	if err != nil {
		return nil, err
	}
	l := flock.New(filepath.Join(s.root.Name(), lockFile), flock.SetFlag(os.O_RDONLY))
	done := make(chan error, 1)
	go func() { done <- l.Lock() }() // which cannot be interrupted
	select {
	case err = <-done:
	case <-ctx.Done():
		go func() {
			if <-done == nil {
				l.Unlock()
			}
		}()
		return nil, ctx.Err()
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil, errLockReplaced
	}
	if err != nil {
		return nil, err
	}
	locked, err := l.Stat()
	if err == nil {
		var there fs.FileInfo
		there, err = statRegular(s.fsys, lockFile)
		if errors.Is(err, fs.ErrNotExist) || err == nil && !os.SameFile(locked, there) {
			err = errLockReplaced
		}
	}
	if err != nil {
		return nil, errors.Join(err, l.Unlock())
	}
	return l, nil
}

// write makes content the file called name: under a temporary name, synced, and
// only then under its own. It returns what is known of the new file.
func (s *Store) write(ctx context.Context, name string, content io.Reader, mode fs.FileMode) (fs.FileInfo, error) {
	temporary := temporaryPrefix + rand.Text() + temporarySuffix
	f, err := s.root.OpenFile(temporary, os.O_CREATE|os.O_EXCL|os.O_WRONLY, mode)
	if err != nil {
		return nil, err
	}
	info, err := fill(ctx, f, content)
	if err == nil {
		err = s.root.Rename(temporary, name)
	}
	if err != nil {
		return nil, errors.Join(err, s.root.Remove(temporary))
	}
	return info, s.syncDir(path.Dir(name))
}

// fill writes content to f, syncs and closes it.
func fill(ctx context.Context, f *os.File, content io.Reader) (fs.FileInfo, error) {
	_, err := io.Copy(f, partial.Reader(ctx, content))
	if err == nil {
		err = f.Sync()
	}
	info, statErr := f.Stat()
	return info, errors.Join(err, statErr, f.Close())
}

// makeDir makes a directory and those above it, durably.
func (s *Store) makeDir(name string) error {
	if info, err := s.root.Stat(name); err == nil && info.IsDir() {
		return nil
	}
	if err := s.root.MkdirAll(name, 0o777); err != nil {
		return err
	}
	for name != "." {
		name = path.Dir(name)
		if err := s.syncDir(name); err != nil {
			return err
		}
	}
	return nil
}

// syncDir makes the names in a directory durable, where there is such a thing:
// Windows keeps no directory handles that can be flushed, and some file systems
// refuse to.
func (s *Store) syncDir(name string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	d, err := s.root.Open(name)
	if err != nil {
		return err
	}
	return syncAndClose(d)
}

func syncAndClose(dir *os.File) error {
	defer dir.Close()
	if err := dir.Sync(); err != nil && !errors.Is(err, syscall.EINVAL) && !errors.Is(err, errors.ErrUnsupported) {
		return err
	}
	return nil
}

// makeRoot makes the directory path and those above it, durably.
func makeRoot(path string) error {
	there := path
	for there != filepath.Dir(there) {
		if _, err := os.Stat(there); err == nil {
			break
		}
		there = filepath.Dir(there)
	}
	if err := os.MkdirAll(path, 0o777); err != nil || runtime.GOOS == "windows" {
		return err
	}
	for ; path != there; path = filepath.Dir(path) {
		parent, err := os.Open(filepath.Dir(path))
		if errors.Is(err, fs.ErrPermission) {
			continue // it may be written, and not be read
		}
		if err != nil {
			return err
		}
		if err := syncAndClose(parent); err != nil {
			return err
		}
	}
	return nil
}
