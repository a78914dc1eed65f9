// Package claim is about files that processes work on one at a time, and that stay for
// the next when a process ends, however it ends.
package claim

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
)

var (
	// ErrTaken says that another process has the file, or another opening of
	// it in this one, or that the file is not ours to write to.
	ErrTaken = errors.New("somebody else has it")

	// ErrNoLocks says that nothing can be locked where the file is.
	ErrNoLocks = errors.New("nothing can be locked here")
)

// File opens the file name of root for the caller alone, until it is closed, making it
// if it is not there. It does not wait: see [ErrTaken] and [ErrNoLocks].
func File(root *os.Root, name string) (*os.File, error) {
	for range 100 {
		flag := os.O_RDWR
		info, err := root.Lstat(name)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			flag |= os.O_CREATE | os.O_EXCL
		case err != nil:
			return nil, err
		case !IsOurs(info):
			return nil, ErrTaken
		}
		f, err := root.OpenFile(name, flag, 0o666)
		if errors.Is(err, fs.ErrExist) || info != nil && errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		locked, err := tryLock(f)
		if err == nil && !locked {
			err = ErrTaken
		} else if err != nil {
			err = fmt.Errorf("%w: %w", ErrNoLocks, err)
		}
		if err != nil {
			f.Close()
			if errors.Is(err, ErrNoLocks) && info == nil {
				root.Remove(name)
			}
			return nil, err
		}
		// It is ours only if it still has the name: who had it before may
		// have moved or removed it.
		made := info == nil
		opened, err := f.Stat()
		if err == nil {
			info, err = root.Lstat(name)
		}
		switch {
		case err == nil && os.SameFile(info, opened) && (made || IsOurs(info)):
			return f, nil
		case err != nil && !errors.Is(err, fs.ErrNotExist):
			f.Close()
			return nil, err
		}
		f.Close()
	}
	return nil, ErrTaken
}
