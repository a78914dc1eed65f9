//go:build !linux && !darwin && !freebsd

package main

import (
	"errors"
	"io/fs"
)

// diskOf is not supported here.
func diskOf(path string) (disk, error) { return disk{}, errors.ErrUnsupported }

// taken returns the size of a file: how many names it has cannot be told.
func taken(info fs.FileInfo) float64 { return float64(info.Size()) }
