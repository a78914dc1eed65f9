package main

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"math"
	"os"

	"github.com/c73062ad/oras/server"
)

// A disk is what there is, in bytes and inodes, and what of it is free for who is
// not root. Where inodes are not counted, files is 0.
type disk struct {
	size, free       uint64
	files, freeFiles uint64
}

// diskMetrics are those of the disk that the folder data is on.
func diskMetrics(data string) []server.Metric {
	gauge := func(name, help string, of func(disk) (uint64, bool)) server.Metric {
		return server.Metric{Name: name, Help: help, Value: func() float64 {
			if d, err := diskOf(data); err == nil {
				if n, known := of(d); known {
					return float64(n)
				}
			}
			return math.NaN()
		}}
	}
	return []server.Metric{
		gauge("oras_disk_size_bytes", "Size of the disk that the data folder is on.", func(d disk) (uint64, bool) { return d.size, true }),
		gauge("oras_disk_free_bytes", "What of that disk is free.", func(d disk) (uint64, bool) { return d.free, true }),
		gauge("oras_disk_inodes", "Inodes of that disk.", func(d disk) (uint64, bool) { return d.files, d.files > 0 }),
		gauge("oras_disk_free_inodes", "Inodes of that disk that are free.", func(d disk) (uint64, bool) { return d.freeFiles, d.files > 0 }),
	}
}

// A usage is what a folder takes.
type usage struct {
	bytes float64 // of the disk; content with several names counts once
	files int     // and folders
}

// measure adds what the folder path, with all below it, takes. It reads a part of a
// folder at a time, however large that is; what goes meanwhile is not counted.
func (u *usage) measure(ctx context.Context, path string) error {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		entries, err := f.ReadDir(256)
		for _, entry := range entries {
			info, err := entry.Info()
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			if err != nil {
				return err
			}
			u.files++
			if !info.IsDir() {
				u.bytes += taken(info)
			} else if err := u.measure(ctx, path+string(os.PathSeparator)+entry.Name()); err != nil {
				return err
			}
		}
		if err == io.EOF || err == nil && len(entries) == 0 {
			return nil
		}
		if err != nil {
			return err
		}
	}
}
