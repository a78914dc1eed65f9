//go:build !unix

package auth

import (
	"os"
	"time"

	"github.com/gofrs/flock"
)

func keepOwner(*os.File, string) {}

// rename tries for a while: a file that another process has open cannot be
// replaced on Windows.
func rename(from, to string) (err error) {
	for range 50 {
		if err = os.Rename(from, to); err == nil || !os.IsPermission(err) {
			return err
		}
		time.Sleep(20 * time.Millisecond)
	}
	return err
}

func syncDir(string) error { return nil }

// releaseLock removes the lock file once it is free, which fails if another
// process has it open by then.
func releaseLock(f *flock.Flock) {
	f.Close()
	os.Remove(f.Path())
}

// isBeingRemoved reports an error of opening a file that another process is
// removing, after a short wait.
func isBeingRemoved(err error) bool {
	if !os.IsPermission(err) {
		return false
	}
	time.Sleep(5 * time.Millisecond)
	return true
}
