package main

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// firstError calls the functions in order until one fails.
func firstError(checks ...func() error) error {
	for _, check := range checks {
		if err := check(); err != nil {
			return err
		}
	}
	return nil
}

// checkStdin refuses to read both a file and a secret from standard input.
func (f *remoteFlags) checkStdin(path string) error {
	switch {
	case path != "-":
		return nil
	case f.passwordStdin:
		return errors.New("`-` read file from input and `--password-stdin` read password from input cannot be both used")
	case f.identityTokenStdin:
		return errors.New("`-` read file from input and `--identity-token-stdin` read identity token from input cannot be both used")
	}
	return nil
}

// readInput reads the file path, or standard input for "-".
func readInput(con console, path string, limit int64) ([]byte, error) {
	if path != "-" {
		data, err := readFile(path, limit)
		if err != nil {
			return nil, fmt.Errorf("failed to read %s: %w", path, err)
		}
		return data, nil
	}
	data, err := readAll(con.in, limit)
	if err != nil {
		return nil, fmt.Errorf("standard input: %w", err)
	}
	return data, nil
}

// writeFile writes data to path, whole or not at all.
func writeFile(path string, data []byte) error {
	return writeNew(path, func(w io.Writer) error {
		_, err := w.Write(data)
		return err
	})
}

// writeNew makes the file path of what write writes. The file gets its name when
// it is whole; if it is not to be, nothing is left. What is no regular file, such
// as /dev/null or a pipe, is written to as it is.
func writeNew(path string, write func(io.Writer) error) (err error) {
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() {
		f, err := os.OpenFile(path, os.O_WRONLY, 0)
		if err != nil {
			return err
		}
		return errors.Join(write(f), f.Close())
	}
	// Not os.CreateTemp, which makes files that only their owner can read.
	temporary := filepath.Join(filepath.Dir(path), ".oras-"+rand.Text())
	f, err := os.OpenFile(temporary, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o666)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	defer func() {
		if err != nil {
			f.Close()
			os.Remove(temporary)
		}
	}()
	if err := write(f); err != nil {
		return err
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return os.Rename(temporary, path)
}
