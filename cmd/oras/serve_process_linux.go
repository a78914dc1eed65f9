package main

import (
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

func cpuSeconds() (float64, error) {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		return 0, err
	}
	return float64(u.Utime.Nano()+u.Stime.Nano()) / 1e9, nil
}

func residentBytes() (float64, error) {
	data, err := readFile("/proc/self/statm", 4096)
	if err != nil {
		return 0, err
	}
	var size, resident int64 // in pages
	if _, err := fmt.Fscan(strings.NewReader(string(data)), &size, &resident); err != nil {
		return 0, err
	}
	return float64(resident * int64(os.Getpagesize())), nil
}

func openDescriptors() (float64, error) {
	f, err := os.Open("/proc/self/fd")
	if err != nil {
		return 0, err
	}
	defer f.Close()
	n := -1 // for f itself
	for {
		names, err := f.Readdirnames(1024)
		n += len(names)
		if err == io.EOF {
			return float64(n), nil
		}
		if err != nil {
			return 0, err
		}
	}
}

func maxDescriptors() (float64, error) {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return 0, err
	}
	return float64(limit.Cur), nil
}
