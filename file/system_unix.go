//go:build !windows

package file

import (
	"io/fs"
	"syscall"
)

// inodeOf returns what tells a file from another of its size and time.
func inodeOf(info fs.FileInfo) uint64 {
	if s, ok := info.Sys().(*syscall.Stat_t); ok {
		return s.Ino
	}
	return 0
}

// sameDevice reports whether two files are on one file system, so that one can get
// a name beside the other.
func sameDevice(a, b fs.FileInfo) bool {
	s, ok := a.Sys().(*syscall.Stat_t)
	t, ok2 := b.Sys().(*syscall.Stat_t)
	return !ok || !ok2 || s.Dev == t.Dev
}
