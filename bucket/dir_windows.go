package bucket

import (
	"io"
	"io/fs"
	"os"
	"path"

	"golang.org/x/sys/windows"
)

// syncDir does nothing: Windows keeps names durable by itself, and has no way to ask
// for it.
func syncDir(dir *os.File) error { return nil }

// checkObject returns fs.ErrNotExist for what is no object.
func checkObject(f *os.File) error {
	_, err := object(f.Stat())
	return err
}

// removed reports that somebody may have removed f: there is no telling.
func (f *folder) removed() bool { return true }

// renameAt gives the file called from in f the name to in t.
func renameAt(f *folder, from string, t *folder, to string) error {
	return f.top.Rename(path.Join(f.name, from), path.Join(t.name, to))
}

// linkAt gives the file called from in f the name to in t, too, if nothing has it.
func linkAt(f *folder, from string, t *folder, to string) error {
	return f.top.Link(path.Join(f.name, from), path.Join(t.name, to))
}

// lockFile locks f for whoever opened it, until it is closed. A file that is
// locked is an error. What is locked is a byte far behind the content, for a lock
// here keeps others from reading too.
func lockFile(f *os.File) error {
	return lockRange(f, windows.LOCKFILE_EXCLUSIVE_LOCK|windows.LOCKFILE_FAIL_IMMEDIATELY)
}

// waitFile is lockFile that waits until f is not locked.
func waitFile(f *os.File) error { return lockRange(f, windows.LOCKFILE_EXCLUSIVE_LOCK) }

// shareFile is waitFile that keeps out only who wants f alone.
func shareFile(f *os.File) error { return lockRange(f, 0) }

func unlockFile(f *os.File) error {
	return withHandle(f, func(h windows.Handle) error {
		return windows.UnlockFileEx(h, 0, 1, 0, &windows.Overlapped{OffsetHigh: 1 << 30})
	})
}

// lockFolder locks the folder called name in f until what it returns is closed:
// shared, or for the caller alone. It waits for others. What is locked is a file in
// it, for a folder cannot be.
func lockFolder(f *folder, name string, alone bool) (io.Closer, error) {
	lock, err := f.OpenFile(path.Join(name, ".lock"), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	var how uint32
	if alone {
		how = windows.LOCKFILE_EXCLUSIVE_LOCK
	}
	if err := lockRange(lock, how); err != nil {
		lock.Close()
		return nil, err
	}
	return lock, nil
}

func lockRange(f *os.File, how uint32) error {
	return withHandle(f, func(h windows.Handle) error {
		return windows.LockFileEx(h, how, 0, 1, 0, &windows.Overlapped{OffsetHigh: 1 << 30})
	})
}

func withHandle(f *os.File, do func(windows.Handle) error) (err error) {
	conn, err := f.SyscallConn()
	if err != nil {
		return err
	}
	controlErr := conn.Control(func(fd uintptr) { err = do(windows.Handle(fd)) })
	if controlErr != nil {
		return controlErr
	}
	return err
}

// countNames returns how many names the file called name in f has.
func countNames(f *folder, name string, info fs.FileInfo) (n int, err error) {
	file, err := f.Open(name)
	if err != nil {
		return 0, err
	}
	defer file.Close()
	var about windows.ByHandleFileInformation
	err = withHandle(file, func(h windows.Handle) error { return windows.GetFileInformationByHandle(h, &about) })
	return int(about.NumberOfLinks), err
}
