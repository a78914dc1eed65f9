package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"syscall"
	"testing"
)

// TestUnwritten: a layout that cannot be written is named, and not what would have been
// written; what cannot be read keeps its name.
func TestUnwritten(t *testing.T) {
	for _, test := range []struct {
		err      error
		line, to string // how the way out begins
	}{
		{&fs.PathError{Op: "openat", Path: ".oras-X.tmp", Err: syscall.EACCES}, "dir: permission denied", "Name a directory"},
		{&fs.PathError{Op: "write", Path: "/dir/.oras-sha256-0.part", Err: syscall.ENOSPC}, "dir: no space left on device", "Make room"},
		{&fs.PathError{Op: "mkdirat", Path: "blobs/sha512", Err: syscall.EACCES}, "dir: permission denied", "Name a directory"},
		{&os.LinkError{Op: "renameat", Old: ".oras-X.tmp", New: "blobs/sha256/0", Err: syscall.EACCES}, "dir: permission denied", "Name a directory"},
		{&fs.PathError{Op: "openat", Path: "blobs/sha256/0", Err: syscall.EROFS}, "dir: read-only file system", "Name a directory"},
		{&fs.PathError{Op: "openat", Path: "blobs/sha256/0", Err: syscall.EACCES}, "pushing: openat blobs/sha256/0: permission denied", ""},
		{&fs.PathError{Op: "write", Path: os.Stdout.Name(), Err: syscall.ENOSPC}, "pushing: write /dev/stdout: no space left on device", ""},
	} {
		layout := &target{layout: true, name: "dir"}
		err := layout.explain(nil, fmt.Errorf("pushing: %w", test.err))
		var usage *usageError
		way := ""
		if errors.As(err, &usage) {
			way = usage.hint
		}
		if err.Error() != test.line || !strings.HasPrefix(way, test.to) || way == "" != (test.to == "") {
			t.Errorf("%v: %q, %q", test.err, err, way)
		}
	}
}
