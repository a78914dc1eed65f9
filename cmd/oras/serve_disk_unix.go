//go:build linux || darwin || freebsd

package main

import (
	"io/fs"
	"syscall"

	"golang.org/x/sys/unix"
)

// diskOf returns what there is of the disk that path is on.
func diskOf(path string) (disk, error) {
	var s unix.Statfs_t
	if err := unix.Statfs(path, &s); err != nil {
		return disk{}, err
	}
	block := uint64(s.Bsize)
	return disk{
		size: uint64(s.Blocks) * block, free: uint64(max(0, int64(s.Bavail))) * block,
		files: uint64(s.Files), freeFiles: uint64(max(0, int64(s.Ffree))),
	}, nil
}

// taken returns how many bytes of the disk a file takes, divided by its names: all of
// them together take it once.
func taken(info fs.FileInfo) float64 {
	s, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return float64(info.Size())
	}
	return float64(s.Blocks) * 512 / float64(max(1, s.Nlink))
}
