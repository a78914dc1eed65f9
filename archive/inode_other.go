//go:build !unix

package archive

import "io/fs"

// sharedInode returns nothing: here a file's description does not hold its inode.
func sharedInode(fs.FileInfo) (inode, bool) { return inode{}, false }
