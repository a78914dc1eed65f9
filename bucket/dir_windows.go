package bucket

import (
	"os"

	"golang.org/x/sys/windows"
)

// syncFolder does nothing: Windows keeps names durable by itself, and has no way
// to ask for it.
func syncFolder(f *os.File) error { return nil }

// lockFile locks f for whoever opened it, until it is closed. A file that is
// locked is an error. What is locked is a byte far behind the content, for a lock
// here keeps others from reading too.
func lockFile(f *os.File) error {
	conn, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var lockErr error
	err = conn.Control(func(fd uintptr) {
		lockErr = windows.LockFileEx(windows.Handle(fd),
			windows.LOCKFILE_EXCLUSIVE_LOCK|windows.LOCKFILE_FAIL_IMMEDIATELY, 0, 1, 0,
			&windows.Overlapped{OffsetHigh: 1 << 30})
	})
	if err != nil {
		return err
	}
	return lockErr
}
