//go:build unix

package auth

import (
	"os"
	"syscall"

	"github.com/gofrs/flock"
)

// keepOwner gives f the owner of the file at path, as when root logs in for
// somebody. Who may not do that writes files of their own anyway.
func keepOwner(f *os.File, path string) {
	info, err := os.Stat(path)
	if err != nil {
		return
	}
	if stat, ok := info.Sys().(*syscall.Stat_t); ok {
		_ = f.Chown(int(stat.Uid), int(stat.Gid))
	}
}

func rename(from, to string) error { return os.Rename(from, to) }

// syncDir makes the names in dir last. File systems that cannot are left as they are.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	_ = d.Sync()
	return d.Close()
}

// releaseLock removes the lock file while it is held, so that nobody can hold
// one that is about to be removed. A failure leaves an empty file.
func releaseLock(f *flock.Flock) {
	os.Remove(f.Path())
	f.Close()
}

// isBeingRemoved reports an error of opening a file that another process is
// removing. There is none here.
func isBeingRemoved(error) bool { return false }
