package archive

import (
	"archive/tar"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"time"
)

// PackOptions say how a directory is packed. The zero value works.
type PackOptions struct {
	// Prefix is put before the names of all entries, separated by slashes.
	// The directory itself is then the entry Prefix, its file a is Prefix/a.
	Prefix string

	// ModTime is the modification time of every entry, in whole seconds,
	// as of SOURCE_DATE_EPOCH. The zero time stands for the Unix epoch.
	ModTime time.Time
}

// Pack writes the directory dir to w as a tar stream.
//
// The bytes depend only on the names, kinds, permission bits, contents and link
// targets in the tree, and on opts: entries are sorted by the bytes of their
// names, each directory before what it holds; owners, times, extended attributes
// and the set-id and sticky bits are left out. The format of each entry is ustar
// where that can express it and pax where not. The second and later names of one
// file are hard links to the first, where the system tells (on Windows they are
// files). Symbolic links are kept as they are, wherever they lead; dir itself may
// be one to a directory. What is neither file, directory nor link, such as a
// socket or a device, is an error, and so is a file that changes its size while
// it is read.
func Pack(ctx context.Context, w io.Writer, dir string, opts *PackOptions) error {
	if opts == nil {
		opts = &PackOptions{}
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	info, err := root.Stat(".")
	if err != nil {
		return err
	}
	p := &packer{
		ctx:     ctx,
		tar:     tar.NewWriter(w),
		modTime: time.Unix(0, 0),
		first:   map[inode]string{},
		buf:     make([]byte, bufferSize),
	}
	if !opts.ModTime.IsZero() {
		p.modTime = time.Unix(opts.ModTime.Unix(), 0)
	}
	if err := p.directory(root, dir, path.Clean(filepath.ToSlash(opts.Prefix)), info); err != nil {
		return err
	}
	return p.tar.Close()
}

type packer struct {
	ctx     context.Context
	tar     *tar.Writer
	modTime time.Time
	first   map[inode]string // the entry that has the content of a file with several names
	buf     []byte
}

// An inode is what tells that two names are one file.
type inode struct{ device, number uint64 }

// directory packs the directory that root is open on as the entry name; disk is
// its path for messages.
func (p *packer) directory(root *os.Root, disk, name string, info fs.FileInfo) error {
	if err := p.header(tar.TypeDir, name+"/", info, "", 0); err != nil {
		return fmt.Errorf("%s: %w", disk, err)
	}
	entries, err := readDir(root)
	if err != nil {
		return fmt.Errorf("%s: %w", disk, err)
	}
	for _, e := range entries {
		if err := context.Cause(p.ctx); err != nil {
			return err
		}
		if err := p.entry(root, e.Name(), filepath.Join(disk, e.Name()), path.Join(name, e.Name())); err != nil {
			return err
		}
	}
	return nil
}

func readDir(root *os.Root) ([]fs.DirEntry, error) {
	d, err := root.Open(".")
	if err != nil {
		return nil, err
	}
	defer d.Close()
	entries, err := d.ReadDir(-1)
	slices.SortFunc(entries, func(a, b fs.DirEntry) int { return cmp.Compare(a.Name(), b.Name()) })
	return entries, err
}

// entry packs what is called base in root.
func (p *packer) entry(root *os.Root, base, disk, name string) error {
	info, err := root.Lstat(base)
	if err != nil {
		return fmt.Errorf("%s: %w", disk, err)
	}
	switch info.Mode().Type() {
	case fs.ModeDir:
		sub, err := root.OpenRoot(base)
		if err != nil {
			return fmt.Errorf("%s: %w", disk, err)
		}
		defer sub.Close()
		return p.directory(sub, disk, name, info)
	case fs.ModeSymlink:
		var target string
		if target, err = root.Readlink(base); err == nil {
			err = p.header(tar.TypeSymlink, name, info, filepath.ToSlash(target), 0)
		}
	case 0:
		err = p.file(root, base, name, info)
	default:
		err = fmt.Errorf("neither a file, a directory nor a link (%s): cannot be packed", info.Mode())
	}
	if err != nil {
		return fmt.Errorf("%s: %w", disk, err)
	}
	return nil
}

var errChanged = errors.New("changed while it was packed")

func (p *packer) file(root *os.Root, base, name string, info fs.FileInfo) error {
	if i, ok := sharedInode(info); ok {
		if first, ok := p.first[i]; ok {
			return p.header(tar.TypeLink, name, info, first, 0)
		}
		p.first[i] = name
	}
	f, err := root.Open(base)
	if err != nil {
		return err
	}
	defer f.Close()
	opened, err := f.Stat()
	if err != nil {
		return err
	}
	if !os.SameFile(info, opened) {
		return errChanged
	}
	size := opened.Size()
	if err := p.header(tar.TypeReg, name, opened, "", size); err != nil {
		return err
	}
	n, err := io.CopyBuffer(onlyWriter{p.tar}, onlyReader{io.LimitReader(contextReader{p.ctx, f}, size)}, p.buf)
	if err != nil {
		return err
	}
	if more, err := f.Read(p.buf[:1]); n != size || more > 0 {
		return errChanged
	} else if err != io.EOF {
		return err
	}
	return nil
}

func (p *packer) header(kind byte, name string, info fs.FileInfo, link string, size int64) error {
	return p.tar.WriteHeader(&tar.Header{
		Typeflag: kind,
		Name:     name,
		Linkname: link,
		Size:     size,
		Mode:     int64(permissions(kind, info)),
		ModTime:  p.modTime,
	})
}

// permissions returns the mode an entry gets. Those of links mean nothing and
// differ between systems.
func permissions(kind byte, info fs.FileInfo) fs.FileMode {
	if kind == tar.TypeSymlink {
		return 0o777
	}
	return info.Mode().Perm()
}
