//go:build unix

package archive

import (
	"io/fs"
	"syscall"
)

// sharedInode returns the inode of a file that may have other names.
func sharedInode(info fs.FileInfo) (inode, bool) {
	s, ok := info.Sys().(*syscall.Stat_t)
	if !ok || s.Nlink < 2 {
		return inode{}, false
	}
	return inode{uint64(s.Dev), uint64(s.Ino)}, true
}
