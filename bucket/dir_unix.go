//go:build !windows

package bucket

import (
	"io"
	"io/fs"
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// syncDir makes the names in the folder dir durable.
func syncDir(dir *os.File) error { return dir.Sync() }

// lockFile locks f for whoever opened it, until it is closed. A file that is
// locked is an error.
func lockFile(f *os.File) error { return flock(f, unix.LOCK_EX|unix.LOCK_NB) }

// waitFile is lockFile that waits until f is not locked.
func waitFile(f *os.File) error { return flock(f, unix.LOCK_EX) }

// shareFile is waitFile that keeps out only who wants f alone.
func shareFile(f *os.File) error { return flock(f, unix.LOCK_SH) }

func unlockFile(f *os.File) error { return flock(f, unix.LOCK_UN) }

func flock(f *os.File, how int) error {
	conn, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var lockErr error
	err = conn.Control(func(fd uintptr) {
		for lockErr = unix.EINTR; lockErr == unix.EINTR; {
			lockErr = unix.Flock(int(fd), how)
		}
	})
	if err != nil {
		return err
	}
	return lockErr
}

// lockFolder locks the folder called name in f until what it returns is closed:
// shared, or for the caller alone. It waits for others.
func lockFolder(f *folder, name string, alone bool) (io.Closer, error) {
	fd, err := unix.Openat(f.fd(), name, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	how := unix.LOCK_SH
	if alone {
		how = unix.LOCK_EX
	}
	for {
		err := unix.Flock(fd, how)
		if err == nil {
			return descriptor(fd), nil
		}
		if err != unix.EINTR {
			unix.Close(fd)
			return nil, &fs.PathError{Op: "lock", Path: name, Err: err}
		}
	}
}

// A descriptor is an open file.
type descriptor int

func (d descriptor) Close() error { return unix.Close(int(d)) }

// fd returns the descriptor of f, which is open as long as the caller has f.
func (f *folder) fd() int { return int(f.dir.Fd()) }

// checkObject returns fs.ErrNotExist for what is no object.
func checkObject(f *os.File) error {
	var stat unix.Stat_t
	if err := unix.Fstat(int(f.Fd()), &stat); err != nil {
		return &fs.PathError{Op: "stat", Path: f.Name(), Err: err}
	}
	if stat.Mode&unix.S_IFMT != unix.S_IFREG {
		return fs.ErrNotExist
	}
	return nil
}

// removed reports whether somebody removed f: it has no name then.
func (f *folder) removed() bool {
	var stat unix.Stat_t
	return unix.Fstat(f.fd(), &stat) != nil || stat.Nlink == 0
}

// renameAt gives the file called from in f the name to in t.
func renameAt(f *folder, from string, t *folder, to string) error {
	if err := unix.Renameat(f.fd(), from, t.fd(), to); err != nil {
		return &os.LinkError{Op: "rename", Old: from, New: to, Err: err}
	}
	return nil
}

// linkAt gives the file called from in f the name to in t, too, if nothing has it.
func linkAt(f *folder, from string, t *folder, to string) error {
	if err := unix.Linkat(f.fd(), from, t.fd(), to, 0); err != nil {
		return &os.LinkError{Op: "link", Old: from, New: to, Err: err}
	}
	return nil
}

// countNames returns how many names the file called name in f has.
func countNames(f *folder, name string, info fs.FileInfo) (int, error) {
	return int(info.Sys().(*syscall.Stat_t).Nlink), nil
}
