package bucket

import (
	"errors"
	"io/fs"
	"os"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// openAt opens the file called name in f, as an os.Root does, in two calls of the system
// where that takes seven: it asks of each file whether it can be waited for.
func openAt(f *folder, name string, flag int) (*os.File, error) {
	fd, err := openBelow(f.fd(), name, flag|unix.O_CLOEXEC|unix.O_LARGEFILE)
	if err == nil {
		return os.NewFile(uintptr(fd), name), nil
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	return f.OpenFile(name, flag, fileMode) // links, and kernels without that call
}

// openBelow opens what is below a folder without following links.
func openBelow(folder int, name string, flag int) (int, error) {
	if !strings.Contains(name, "/") {
		return unix.Openat(folder, name, flag|unix.O_NOFOLLOW, fileMode)
	}
	how := unix.OpenHow{Flags: uint64(flag), Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS}
	if flag&unix.O_CREAT != 0 {
		how.Mode = fileMode
	}
	return unix.Openat2(folder, name, &how)
}

// statAt returns what is known of the object called name in f.
func statAt(f *folder, name string) (Status, error) {
	if strings.Contains(name, "/") { // which may lead through a link
		return statIn(f, name)
	}
	var stat unix.Stat_t
	err := unix.Fstatat(f.fd(), name, &stat, unix.AT_SYMLINK_NOFOLLOW)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return Status{}, &fs.PathError{Op: "stat", Path: name, Err: err}
	case err != nil || stat.Mode&unix.S_IFMT != unix.S_IFREG:
		return statIn(f, name)
	}
	return Status{stat.Size, time.Unix(stat.Mtim.Unix()), int(stat.Nlink)}, nil
}

// writeBack lets the disk begin to write a part of f. Nothing depends on it: what
// must be durable is synced, and that is when errors are told.
func writeBack(f *os.File, offset, n int64) {
	conn, err := f.SyscallConn()
	if err != nil {
		return
	}
	conn.Control(func(fd uintptr) { unix.SyncFileRange(int(fd), offset, n, unix.SYNC_FILE_RANGE_WRITE) })
}

// syncAll makes all that is on the file system of journal durable.
func (d *Dir) syncAll(journal *os.File) error {
	if err := d.doing("syncfs", "."); err != nil {
		return err
	}
	conn, err := journal.SyscallConn()
	if err != nil {
		return err
	}
	var syncErr error
	if err := conn.Control(func(fd uintptr) { syncErr = unix.Syncfs(int(fd)) }); err != nil {
		return err
	}
	return os.NewSyscallError("syncfs", syncErr)
}
