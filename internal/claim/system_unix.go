//go:build !windows

package claim

import (
	"errors"
	"io/fs"
	"os"
	"syscall"
)

// tryLock locks f for whoever opened it, until it is closed, be it by the end of the
// process. It reports whether it did; that nothing can be locked here is an error.
func tryLock(f *os.File) (bool, error) {
	conn, err := f.SyscallConn()
	if err != nil {
		return false, err
	}
	var lockErr error
	if err := conn.Control(func(fd uintptr) {
		lockErr = syscall.Flock(int(fd), syscall.LOCK_EX|syscall.LOCK_NB)
	}); err != nil {
		return false, err
	}
	if errors.Is(lockErr, syscall.EWOULDBLOCK) {
		return false, nil
	}
	return lockErr == nil, lockErr
}

// IsOurDir reports whether info is of a directory that belongs to who runs this, and
// that nobody else can enter.
func IsOurDir(info fs.FileInfo) bool {
	s, ok := info.Sys().(*syscall.Stat_t)
	return info.IsDir() && info.Mode().Perm()&0o077 == 0 && (!ok || int(s.Uid) == os.Geteuid())
}

// IsOurs reports whether info is of a plain file that has one name and belongs to
// who runs this. Another's could be written to by them once it was verified, and one
// with two names is somebody's file elsewhere.
func IsOurs(info fs.FileInfo) bool {
	s, ok := info.Sys().(*syscall.Stat_t)
	return info.Mode().IsRegular() && (!ok || s.Nlink == 1 && int(s.Uid) == os.Geteuid())
}
