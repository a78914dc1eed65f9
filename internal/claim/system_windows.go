package claim

import (
	"errors"
	"io/fs"
	"os"

	"golang.org/x/sys/windows"
)

// tryLock locks f for whoever opened it, until it is closed, be it by the end of the
// process. It reports whether it did; that nothing can be locked here is an error.
// What is locked is a byte far behind the content, for a lock here keeps others from
// reading too.
func tryLock(f *os.File) (bool, error) {
	conn, err := f.SyscallConn()
	if err != nil {
		return false, err
	}
	var lockErr error
	if err := conn.Control(func(fd uintptr) {
		lockErr = windows.LockFileEx(windows.Handle(fd),
			windows.LOCKFILE_EXCLUSIVE_LOCK|windows.LOCKFILE_FAIL_IMMEDIATELY, 0, 1, 0,
			&windows.Overlapped{OffsetHigh: 1 << 30})
	}); err != nil {
		return false, err
	}
	if errors.Is(lockErr, windows.ERROR_LOCK_VIOLATION) {
		return false, nil
	}
	return lockErr == nil, lockErr
}

// IsOurDir reports whether info is of a directory.
func IsOurDir(info fs.FileInfo) bool { return info.IsDir() }

// IsOurs reports whether info is of a plain file. Who may write to it is up to the
// directory here.
func IsOurs(info fs.FileInfo) bool { return info.Mode().IsRegular() }
