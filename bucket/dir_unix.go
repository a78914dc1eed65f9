//go:build !windows

package bucket

import (
	"os"
	"syscall"
)

// syncFolder makes the names in the folder f durable.
func syncFolder(f *os.File) error { return f.Sync() }

// lockFile locks f for whoever opened it, until it is closed. A file that is
// locked is an error.
func lockFile(f *os.File) error {
	conn, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var lockErr error
	err = conn.Control(func(fd uintptr) { lockErr = syscall.Flock(int(fd), syscall.LOCK_EX|syscall.LOCK_NB) })
	if err != nil {
		return err
	}
	return lockErr
}
