package file

import "io/fs"

// inodeOf returns nothing: here a file's description does not hold it.
func inodeOf(fs.FileInfo) uint64 { return 0 }

// sameDevice reports that two files are on one file system: here a file's
// description does not hold that.
func sameDevice(a, b fs.FileInfo) bool { return true }
