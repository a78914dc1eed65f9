package layout

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"

	"github.com/c73062ad/oras"
)

// Limits to what is kept of an archive's headers.
const (
	maxTarEntries = 1 << 20
	maxTarNames   = 128 << 20 // bytes of all names
)

// compressions are the first bytes of what archives are commonly compressed
// with, and what undoes it.
var compressions = []struct{ magic, name, undo string }{
	{"\x1f\x8b", "gzip", "gunzip"},
	{"\x28\xb5\x2f\xfd", "zstd", "unzstd"},
	{"\xfd7zXZ\x00", "xz", "unxz"},
	{"BZh", "bzip2", "bunzip2"},
}

// A tarFS is a tar archive as a file system: its headers are read once, its
// content where it lies, so its size costs no memory. It has what a layout needs:
// regular files are opened, directories are listed, links that are symbolic are
// not followed.
type tarFS struct {
	file    *os.File
	entries map[string]tarEntry
}

type tarEntry struct {
	header *tar.Header
	offset int64 // of the content in the archive
}

// openTar reads the headers of the archive at path. One that is damaged, or that
// different readers might see differently, is [oras.ErrInvalid].
func openTar(path string) (*tarFS, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	t := &tarFS{file: f, entries: map[string]tarEntry{}}
	if err := t.scan(); err != nil {
		f.Close()
		return nil, fmt.Errorf("%q: %w", path, err)
	}
	return t, nil
}

func (t *tarFS) scan() error {
	if err := t.checkStart(); err != nil {
		return err
	}
	var names int
	for r := tar.NewReader(t.file); ; {
		h, err := r.Next()
		if err == io.EOF {
			return t.resolveLinks()
		}
		if errors.Is(err, tar.ErrHeader) && len(t.entries) == 0 {
			return fmt.Errorf("%w: it is not a tar archive", oras.ErrInvalid)
		}
		if err != nil {
			return fmt.Errorf("%w: reading the tar archive: %w", oras.ErrInvalid, err)
		}
		offset, err := t.file.Seek(0, io.SeekCurrent) // the reader does not read ahead
		if err != nil {
			return err
		}
		if names += len(h.Name) + len(h.Linkname); names > maxTarNames || len(t.entries) >= maxTarEntries {
			return fmt.Errorf("%w: the tar archive has too many entries", oras.ErrInvalid)
		}
		if err := t.add(h, offset); err != nil {
			return fmt.Errorf("%w: the tar archive has %w", oras.ErrInvalid, err)
		}
	}
}

// checkStart reports an archive that is compressed or cannot be seeked in.
func (t *tarFS) checkStart() error {
	if info, err := t.file.Stat(); err != nil || !info.Mode().IsRegular() {
		return errors.Join(err, fmt.Errorf("%w: it is neither a directory nor a tar archive", oras.ErrInvalid))
	}
	start := make([]byte, 8)
	n, err := t.file.ReadAt(start, 0)
	if err != nil && err != io.EOF {
		return err
	}
	for _, c := range compressions {
		if bytes.HasPrefix(start[:n], []byte(c.magic)) {
			return fmt.Errorf("%w: it is compressed with %s; unpack it with %s first", oras.ErrInvalid, c.name, c.undo)
		}
	}
	return nil
}

func (t *tarFS) add(h *tar.Header, offset int64) error {
	name := strings.TrimSuffix(h.Name, "/")
	for strings.HasPrefix(name, "./") {
		name = strings.TrimLeft(name[2:], "/")
	}
	if name == "" {
		name = "."
	}
	if !fs.ValidPath(name) {
		return fmt.Errorf("an entry called %q", h.Name)
	}
	switch h.Typeflag {
	case tar.TypeReg, tar.TypeDir, tar.TypeLink, tar.TypeSymlink:
	case tar.TypeXGlobalHeader:
		return nil
	default:
		return fmt.Errorf("the entry %q of type %q, neither a file nor a directory", name, h.Typeflag)
	}
	for record := range h.PAXRecords {
		if strings.HasPrefix(record, "GNU.sparse.") {
			return fmt.Errorf("the sparse file %q", name)
		}
	}
	old, ok := t.entries[name]
	if ok && (old.header.Typeflag != tar.TypeDir || h.Typeflag != tar.TypeDir) {
		return fmt.Errorf("the entry %q twice", name)
	}
	t.entries[name] = tarEntry{
		// No more of the header than is used: there may be many.
		header: &tar.Header{Typeflag: h.Typeflag, Name: name, Linkname: h.Linkname, Size: h.Size, Mode: h.Mode, ModTime: h.ModTime},
		offset: offset,
	}
	return nil
}

// resolveLinks makes hard links the regular files they lead to, which must be
// their own entries: a link to a link is an error.
func (t *tarFS) resolveLinks() error {
	resolved := map[string]tarEntry{}
	for name, e := range t.entries {
		if e.header.Typeflag != tar.TypeLink {
			continue
		}
		to, ok := t.entries[path.Clean(e.header.Linkname)]
		if !ok || to.header.Typeflag != tar.TypeReg {
			return fmt.Errorf("%w: the tar archive has the hard link %q to %q, which is not a file in it", oras.ErrInvalid, name, e.header.Linkname)
		}
		h := *to.header
		h.Name = name
		resolved[name] = tarEntry{&h, to.offset}
	}
	for name, e := range resolved {
		t.entries[name] = e
	}
	return nil
}

// Open opens a regular file.
func (t *tarFS) Open(name string) (fs.File, error) {
	e, err := t.find("open", name)
	if err != nil {
		return nil, err
	}
	if e.header.Typeflag != tar.TypeReg {
		return nil, &fs.PathError{Op: "open", Path: name, Err: errors.New("it is not a regular file")}
	}
	return tarFile{io.NewSectionReader(t.file, e.offset, e.header.Size), e.header}, nil
}

// Stat returns what the header says.
func (t *tarFS) Stat(name string) (fs.FileInfo, error) {
	e, err := t.find("stat", name)
	if err != nil {
		return nil, err
	}
	return e.header.FileInfo(), nil
}

func (t *tarFS) find(op, name string) (tarEntry, error) {
	e, ok := t.entries[name]
	if !ok {
		return e, &fs.PathError{Op: op, Path: name, Err: fs.ErrNotExist}
	}
	return e, nil
}

// ReadDir lists the entries directly below name, in order. A directory need not
// have an entry of its own.
func (t *tarFS) ReadDir(name string) ([]fs.DirEntry, error) {
	found := map[string]fs.DirEntry{}
	for entry, e := range t.entries {
		below, ok := strings.CutPrefix(entry, name+"/")
		if !ok {
			continue
		}
		if top, _, deeper := strings.Cut(below, "/"); deeper {
			dir := &tar.Header{Typeflag: tar.TypeDir, Name: top, Mode: 0o755}
			found[top] = fs.FileInfoToDirEntry(dir.FileInfo())
		} else {
			found[top] = fs.FileInfoToDirEntry(e.header.FileInfo())
		}
	}
	if len(found) == 0 {
		return nil, &fs.PathError{Op: "readdir", Path: name, Err: fs.ErrNotExist}
	}
	var list []fs.DirEntry
	for _, e := range found {
		list = append(list, e)
	}
	slices.SortFunc(list, func(a, b fs.DirEntry) int { return strings.Compare(a.Name(), b.Name()) })
	return list, nil
}

// A tarFile is a file in the archive. It can be seeked, and has nothing to close.
type tarFile struct {
	*io.SectionReader
	header *tar.Header
}

func (f tarFile) Stat() (fs.FileInfo, error) { return f.header.FileInfo(), nil }
func (f tarFile) Close() error               { return nil }
