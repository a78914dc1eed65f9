package bucket

import (
	"os"

	"golang.org/x/sys/unix"
)

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
