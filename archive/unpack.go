package archive

import (
	"archive/tar"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"strings"
)

// DefaultMaxEntries is how many entries an archive may have.
const DefaultMaxEntries = 1_000_000

// TempPrefix is what the names of the directories begin with in which Unpack
// works. One that is left was left by a process that was killed.
const TempPrefix = ".oras-"

// UnpackOptions say where an archive goes and what it may hold. The zero value
// works.
type UnpackOptions struct {
	// Dir is the directory, of the root, that the archive becomes, its
	// elements separated by slashes. What it is in must be there by the time
	// of Commit. Empty or "." is the root itself.
	Dir string

	// Temp is the directory, of the root, in which the entries are made
	// before they are moved; it must be there, on the same file system as
	// Dir. By default it is the root itself.
	Temp string

	// Prefix is what the names of all entries must begin with, and what
	// Dir stands for: with the Prefix "docs", the entry docs/a is the file
	// a of Dir. See [PackOptions].
	Prefix string

	// MaxSize is how many bytes the stream may have; 0 is no limit. What
	// came out of little is limited by [DecompressOptions].
	MaxSize int64

	// MaxEntries is how many entries there may be; 0 is DefaultMaxEntries.
	MaxEntries int

	// KeepOld makes a file that is there already an error.
	KeepOld bool
}

// Unpack unpacks r, a plain tar stream, into a directory of root.
//
// It reads r to its end into a new directory beside the destination, and then
// moves what it has into place: if anything is wrong, with an entry or with what r
// returns instead of io.EOF, the destination is as it was. A directory that is not
// there appears in one step. One that is gets the entries one by one: files and
// links replace what has their name, directories are merged and keep the mode they
// had; that a directory would have to replace something else, or something else a
// directory, is found out before the first is moved. If the file system fails
// between two moves, some are done and others are not, each as a whole.
//
// Nothing outside root is read or written, whatever the archive holds and whatever
// others do to the directory meanwhile. Refused, with [ErrInvalid] and the name of
// the entry, are: names for which [CheckName] has a reason, or without Prefix;
// entries behind a symbolic link; symbolic links that could lead out of the tree
// (a target may go up only at its start and not above the tree); hard links to
// anything but a file earlier in the archive; a second entry of one name (a
// directory may be there twice, the last mode counts); sparse files; devices,
// pipes and whatever else is neither file, directory nor link. More entries or
// bytes than allowed are [ErrTooLarge].
//
// Modes are permission bits under the umask: no set-id, no sticky bit. Owners and
// extended attributes are ignored. Files get the modification time they have in
// the archive if it is after 1970 began. Nothing is synced to disk.
func Unpack(ctx context.Context, root *os.Root, r io.Reader, opts *UnpackOptions) error {
	t, err := Extract(ctx, root, r, opts)
	if err != nil {
		return err
	}
	return errors.Join(t.Commit(), t.Discard())
}

// Extract is the first half of [Unpack]: it reads r to its end and makes the
// entries, but leaves them where they are made, for [Tree.Commit]. The root must
// stay open until then.
func Extract(ctx context.Context, root *os.Root, r io.Reader, opts *UnpackOptions) (*Tree, error) {
	if opts == nil {
		opts = &UnpackOptions{}
	}
	u := &unpacker{
		root:       root,
		dir:        opts.Dir,
		prefix:     filepath.ToSlash(opts.Prefix),
		keepOld:    opts.KeepOld,
		maxEntries: opts.MaxEntries,
		windows:    runtime.GOOS == "windows",
		modes:      map[string]fs.FileMode{},
		buf:        make([]byte, bufferSize),
	}
	if u.dir == "" {
		u.dir = "."
	}
	if u.maxEntries == 0 {
		u.maxEntries = DefaultMaxEntries
	}
	if err := u.checkDir(); err != nil {
		return nil, err
	}
	if err := u.begin(opts.Temp); err != nil {
		return nil, err
	}
	r = contextReader{ctx, r}
	if opts.MaxSize > 0 {
		r = &limitedReader{r, opts.MaxSize, opts.MaxSize}
	}
	err := u.readAll(r)
	// A tree that waits shall not cost descriptors, and Windows does not
	// rename a directory while one in it is open.
	u.close()
	if err != nil {
		u.remove() // what cannot be removed bears TempPrefix: it is seen for what it is
		return nil, err
	}
	u.buf = nil
	return &Tree{u}, nil
}

type unpacker struct {
	root       *os.Root
	dir        string // the destination, in root
	prefix     string
	keepOld    bool
	maxEntries int
	windows    bool

	stageName string   // in root
	stage     *os.Root // where the entries are made
	umask     fs.FileMode

	parentName string // the directory of stage that parent is open on
	parent     *os.Root

	// modes has the directories that cannot have their mode while they
	// are filled, and those that were there before their entry.
	modes     map[string]fs.FileMode
	modesSize int

	buf []byte
}

// checkDir finds out early that the destination cannot be one.
func (u *unpacker) checkDir() error {
	if u.dir == "." {
		return nil
	}
	if err := CheckName(u.dir); err != nil {
		return fmt.Errorf("%s: %w", u.dir, err)
	}
	info, err := u.root.Lstat(u.dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil && !info.IsDir() {
		err = inTheWay(info)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", u.path("."), err)
	}
	return nil
}

// begin makes the directory, in temp, in which the entries are made. Nobody else
// may look into it.
func (u *unpacker) begin(temp string) error {
	name := path.Join(filepath.ToSlash(temp), TempPrefix+rand.Text())
	if err := u.root.Mkdir(name, 0o777); err != nil {
		return fmt.Errorf("%s: %w", u.root.Name(), err)
	}
	u.stageName = name
	err := func() error {
		info, err := u.root.Lstat(name)
		if err != nil {
			return err
		}
		u.umask = 0o777 &^ info.Mode().Perm()
		if err := u.root.Chmod(name, 0o700); err != nil {
			return err
		}
		if u.stage, err = u.root.OpenRoot(name); err != nil {
			return err
		}
		u.parentName = "."
		u.parent, err = u.stage.OpenRoot(".")
		return err
	}()
	if err != nil {
		u.close()
		u.remove()
		return err
	}
	return u.setMode(".", 0o777)
}

// close lets go of what is open.
func (u *unpacker) close() {
	if u.parent != nil {
		u.parent.Close()
	}
	if u.stage != nil {
		u.stage.Close()
	}
	u.parent, u.stage = nil, nil
}

// remove removes what was not moved away.
func (u *unpacker) remove() error { return u.root.RemoveAll(u.stageName) }

// readAll makes the entries of r, and reads on to the end of r, so that whoever
// verifies it has seen everything.
func (u *unpacker) readAll(r io.Reader) error {
	src := &source{r: r}
	t := tar.NewReader(src)
	for n := 0; ; n++ {
		h, err := t.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return src.explain(err)
		}
		if n >= u.maxEntries {
			return fmt.Errorf("%w: more than %d entries", ErrTooLarge, u.maxEntries)
		}
		if err := u.entry(h, t, src); err != nil {
			return fmt.Errorf("%q: %w", h.Name, err)
		}
	}
	_, err := io.CopyBuffer(onlyWriter{io.Discard}, onlyReader{src}, u.buf)
	return err
}

// refuse returns the error of an entry that must not be made.
func refuse(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrInvalid}, args...)...)
}

func (u *unpacker) entry(h *tar.Header, t io.Reader, src *source) error {
	if h.Typeflag == tar.TypeXGlobalHeader {
		return nil
	}
	name, err := relative(h.Name, u.prefix, u.windows)
	if err != nil {
		return refuse("%w", err)
	}
	if h.Typeflag == tar.TypeDir {
		return u.directory(name, fs.FileMode(h.Mode)&fs.ModePerm)
	}
	if name == "." {
		return refuse("what is to be a directory is none")
	}
	if strings.HasSuffix(h.Name, "/") {
		return refuse("the name of a directory for what is none")
	}
	parent, err := u.open(path.Dir(name))
	if err != nil {
		return err
	}
	base := path.Base(name)
	switch h.Typeflag {
	case tar.TypeReg:
		err = u.file(parent, base, h, t, src)
	case tar.TypeSymlink:
		if err := checkTarget(name, h.Linkname, u.windows); err != nil {
			return refuse("%w", err)
		}
		err = parent.Symlink(filepath.FromSlash(h.Linkname), base)
	case tar.TypeLink:
		err = u.link(name, h)
	default:
		return refuse("neither a file, a directory nor a link (type %q)", h.Typeflag)
	}
	if errors.Is(err, fs.ErrExist) {
		return refuse("the name is there twice")
	}
	return err
}

// open returns the directory name of the tree, making those that are missing. It
// is valid until open is called again.
func (u *unpacker) open(name string) (*os.Root, error) {
	if name == u.parentName {
		return u.parent, nil
	}
	dir, err := u.stage.OpenRoot(".")
	if err != nil {
		return nil, err
	}
	if name != "." {
		for e := range strings.SplitSeq(name, "/") {
			sub, err := openChild(dir, e, 0o777)
			dir.Close()
			if err != nil {
				return nil, err
			}
			dir = sub
		}
	}
	u.parent.Close()
	u.parent, u.parentName = dir, name
	return dir, nil
}

// openChild opens the directory called base in dir, after making it if perm is not
// 0 and it is missing.
func openChild(dir *os.Root, base string, perm fs.FileMode) (*os.Root, error) {
	info, err := dir.Lstat(base)
	if errors.Is(err, fs.ErrNotExist) && perm != 0 {
		if err := dir.Mkdir(base, perm|0o700); err != nil {
			return nil, err
		}
		return dir.OpenRoot(base)
	}
	if err != nil {
		return nil, err
	}
	if !info.IsDir() {
		return nil, refuse("%q, which is to be a directory, is %s", base, kindOf(info))
	}
	return dir.OpenRoot(base)
}

func (u *unpacker) directory(name string, perm fs.FileMode) error {
	if name != "." {
		parent, err := u.open(path.Dir(name))
		if err != nil {
			return err
		}
		err = parent.Mkdir(path.Base(name), perm|0o700)
		if err == nil && perm&0o700 == 0o700 {
			return nil
		}
		if err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
		dir, err := openChild(parent, path.Base(name), 0)
		if err != nil {
			return err
		}
		dir.Close()
	}
	return u.setMode(name, perm)
}

// maxModes bounds the memory for directories whose mode must wait.
const maxModes = 64 << 20

// setMode lets the directory name get its mode once it is filled.
func (u *unpacker) setMode(name string, perm fs.FileMode) error {
	if _, ok := u.modes[name]; !ok {
		u.modesSize += len(name) + 64
	}
	if u.modesSize > maxModes {
		return fmt.Errorf("%w: %d directories with unusual modes", ErrTooLarge, len(u.modes))
	}
	u.modes[name] = perm &^ u.umask
	return nil
}

func (u *unpacker) file(parent *os.Root, base string, h *tar.Header, t io.Reader, src *source) error {
	for key := range h.PAXRecords {
		if strings.HasPrefix(key, "GNU.sparse.") {
			return refuse("a sparse file")
		}
	}
	f, err := parent.OpenFile(base, os.O_WRONLY|os.O_CREATE|os.O_EXCL, fs.FileMode(h.Mode)&fs.ModePerm)
	if err != nil {
		return err
	}
	w := &writer{f, nil}
	_, err = io.CopyBuffer(w, onlyReader{t}, u.buf)
	if err != nil && w.err == nil {
		err = src.explain(err)
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err == nil && h.ModTime.Unix() > 0 {
		err = parent.Chtimes(base, h.ModTime, h.ModTime)
	}
	return err
}

// writer remembers that it was writing that failed.
type writer struct {
	w   io.Writer
	err error
}

func (w *writer) Write(p []byte) (n int, err error) {
	n, w.err = w.w.Write(p)
	return n, w.err
}

// link makes name a second name of a file that is there already.
func (u *unpacker) link(name string, h *tar.Header) error {
	target, err := relative(h.Linkname, u.prefix, u.windows)
	if err != nil {
		return refuse("hard link to %q: %w", h.Linkname, err)
	}
	info, err := u.lstat(target)
	if err != nil || !info.Mode().IsRegular() {
		return refuse("hard link to %q, which is no file in the archive before it", h.Linkname)
	}
	return u.stage.Link(target, name)
}

// lstat looks at name in the tree and goes through no link on the way.
func (u *unpacker) lstat(name string) (fs.FileInfo, error) {
	dir, err := u.stage.OpenRoot(".")
	if err != nil {
		return nil, err
	}
	defer func() { dir.Close() }()
	if parent := path.Dir(name); parent != "." {
		for e := range strings.SplitSeq(parent, "/") {
			sub, err := openChild(dir, e, 0)
			if err != nil {
				return nil, err
			}
			dir.Close()
			dir = sub
		}
	}
	return dir.Lstat(path.Base(name))
}

// path returns what name of the tree is called where it is going, for messages.
func (u *unpacker) path(name string) string {
	return filepath.Join(u.root.Name(), u.dir, filepath.FromSlash(name))
}

// limitedReader is a reader of at most left bytes.
type limitedReader struct {
	r          io.Reader
	left, size int64
}

func (l *limitedReader) Read(p []byte) (int, error) {
	n, err := l.r.Read(p[:min(int64(len(p)), l.left+1)])
	if l.left -= int64(n); l.left < 0 {
		return 0, fmt.Errorf("%w: more than %d bytes", ErrTooLarge, l.size)
	}
	return n, err
}
