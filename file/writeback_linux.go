package file

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
