package archive

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
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

	// Outward, if it is not nil, is told of each symbolic link that leads out of
	// the directory, or might, and so is refused by Unpack: its name below the
	// directory, separated by slashes, and where it leads.
	Outward func(name, target string)
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
// it is read, or becomes something else.
func Pack(ctx context.Context, w io.Writer, dir string, opts *PackOptions) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	return PackRoot(ctx, w, root, opts)
}

// PackRoot is [Pack] of the directory that root is open on. It does not close root.
//
// Files are opened, and small ones read, ahead of their turn by a few goroutines,
// of which none is left: with many files that is what takes the time.
func PackRoot(ctx context.Context, w io.Writer, root *os.Root, opts *PackOptions) error {
	if opts == nil {
		opts = &PackOptions{}
	}
	info, err := root.Stat(".")
	if err != nil {
		return err
	}
	p := &packer{
		ctx:     ctx,
		opts:    opts,
		tar:     tar.NewWriter(w),
		modTime: time.Unix(0, 0),
		first:   map[inode]string{},
		buf:     make([]byte, bufferSize),
	}
	if !opts.ModTime.IsZero() {
		p.modTime = time.Unix(opts.ModTime.Unix(), 0)
	}
	walking, stop := context.WithCancel(ctx)
	found := walk(walking, root, root.Name(), path.Clean(filepath.ToSlash(opts.Prefix)), info)
	for e := range found.entries {
		if err == nil {
			if err = p.entry(e); err != nil {
				stop()
			}
		}
		e.discard()
	}
	stop()
	if err == nil {
		err = context.Cause(ctx) // why it found no more
	}
	if err != nil {
		return err
	}
	return p.tar.Close()
}

type packer struct {
	ctx     context.Context
	opts    *PackOptions
	tar     *tar.Writer
	modTime time.Time
	first   map[inode]string // the entry that has the content of a file with several names
	buf     []byte
}

// An inode is what tells that two names are one file.
type inode struct{ device, number uint64 }

// entry packs e once it is loaded.
func (p *packer) entry(e *entry) error {
	<-e.done
	err := context.Cause(p.ctx)
	switch {
	case err != nil:
		return err
	case e.err != nil:
		err = e.err
	case e.info.IsDir():
		err = p.header(tar.TypeDir, e.name+"/", e.info, "", 0)
	case e.info.Mode().IsRegular():
		err = p.file(e)
	default:
		err = p.link(e.name, e.info, filepath.ToSlash(e.link))
	}
	if err != nil {
		return fmt.Errorf("%s: %w", e.disk, err)
	}
	return nil
}

func (p *packer) link(name string, info fs.FileInfo, target string) error {
	if p.opts.Outward != nil {
		below := strings.TrimPrefix(name, path.Clean(filepath.ToSlash(p.opts.Prefix))+"/")
		if checkTarget(below, target, false) != nil {
			p.opts.Outward(below, target)
		}
	}
	return p.header(tar.TypeSymlink, name, info, target, 0)
}

var errChanged = errors.New("changed while it was packed")

func (p *packer) file(e *entry) error {
	if i, ok := sharedInode(e.info); ok {
		if first, ok := p.first[i]; ok {
			return p.header(tar.TypeLink, e.name, e.info, first, 0)
		}
		p.first[i] = e.name
	}
	size := e.info.Size()
	if err := p.header(tar.TypeReg, e.name, e.info, "", size); err != nil {
		return err
	}
	if e.file == nil {
		_, err := p.tar.Write(e.data)
		return err
	}
	n, err := io.CopyBuffer(onlyWriter{p.tar}, onlyReader{io.LimitReader(contextReader{p.ctx, e.file}, size)}, p.buf)
	if err != nil {
		return err
	}
	if more, err := e.file.Read(p.buf[:1]); n != size || more > 0 {
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
