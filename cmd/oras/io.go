package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/c73062ad/oras"
	"github.com/c73062ad/oras/file"
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

// stdin returns standard input, to be read until ctx is done: a Read that waits
// for somebody to type must not keep an interrupted command from ending.
func (con console) stdin(ctx context.Context) io.Reader {
	return &interruptible{ctx: ctx, r: con.in}
}

type interruptible struct {
	ctx    context.Context
	r      io.Reader
	buffer [32 << 10]byte // of the Read under way, which may outlive its caller
}

func (i *interruptible) Read(p []byte) (int, error) {
	if err := i.ctx.Err(); err != nil {
		return 0, err
	}
	n, err := waitFor(i.ctx, func() (int, error) { return i.r.Read(i.buffer[:min(len(p), len(i.buffer))]) })
	return copy(p, i.buffer[:n]), err
}

// waitFor calls f and returns what it returns, or leaves it behind when ctx is
// done.
func waitFor[T any](ctx context.Context, f func() (T, error)) (T, error) {
	type result struct {
		value T
		err   error
	}
	done := make(chan result, 1)
	go func() {
		value, err := f()
		done <- result{value, err}
	}()
	select {
	case r := <-done:
		return r.value, r.err
	case <-ctx.Done():
		var none T
		return none, ctx.Err()
	}
}

// missingFile returns the hint for a file that cannot be read, if that is since it is
// not there.
func missingFile(err error) string {
	if errors.Is(err, fs.ErrNotExist) {
		return filesBegin
	}
	return ""
}

// readInput reads the file path, or standard input for "-".
func readInput(ctx context.Context, con console, path string, limit int64) ([]byte, error) {
	if path != "-" {
		data, err := readFile(path, limit)
		if err != nil {
			return nil, withHint(fmt.Errorf("failed to read %s: %w", path, cause(err)), missingFile(err))
		}
		return data, nil
	}
	data, err := readAll(con.stdin(ctx), limit)
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
// it is whole; if it is not to be, nothing is left. A file that is there already
// keeps its permissions, and what is no regular file, such as /dev/null or a pipe,
// is written to as it is.
func writeNew(path string, write func(io.Writer) error) error {
	return writeOutput(path, write, func(name string, info fs.FileInfo) error {
		return writeRegular(path, name, info, write)
	})
}

// writeContent is writeNew of verified content, of which what was received stays when it is
// broken off, for the next writeContent.
func writeContent(ctx context.Context, path string, desc oras.Descriptor, verified io.Reader) error {
	return writeOutput(path, func(w io.Writer) error {
		_, err := io.Copy(w, verified)
		return err
	}, func(name string, _ fs.FileInfo) error {
		if err := file.Receive(ctx, name, desc, verified); err != nil {
			return fmt.Errorf("%s: %w", path, cause(err))
		}
		return nil
	})
}

// writeOutput calls write for what is no regular file, or else makeFile with the name of the
// file that path leads to, for not the link is to be replaced, and what is known of it if
// it is there.
func writeOutput(path string, write func(io.Writer) error, makeFile func(name string, info fs.FileInfo) error) error {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return unwrittenHint(makeFile(path, nil), writesFile)
	case info.Mode().IsRegular():
		name, err := filepath.EvalSymlinks(path)
		if err != nil {
			return err
		}
		return unwrittenHint(makeFile(name, info), writesFile)
	}
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	return errors.Join(write(f), f.Close())
}

// writeRegular makes the file name, which is called path where an error is told.
func writeRegular(path, name string, info fs.FileInfo, write func(io.Writer) error) (err error) {
	// Not os.CreateTemp, which makes files that only their owner can read.
	temporary := filepath.Join(filepath.Dir(name), ".oras-"+rand.Text())
	f, err := os.OpenFile(temporary, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o666)
	if err != nil {
		return fmt.Errorf("%s: %w", path, cause(err))
	}
	defer func() {
		if err != nil {
			f.Close()
			os.Remove(temporary)
		}
	}()
	if info != nil {
		if err := f.Chmod(info.Mode().Perm()); err != nil {
			return fmt.Errorf("%s: %w", path, cause(err))
		}
	}
	if err := write(f); err != nil {
		return fmt.Errorf("%s: %w", path, cause(err))
	}
	if err := errors.Join(f.Sync(), f.Close()); err != nil {
		return fmt.Errorf("%s: %w", path, cause(err))
	}
	if err := os.Rename(temporary, name); err != nil {
		return fmt.Errorf("%s: %w", path, cause(err))
	}
	return nil
}

// cause returns why a file operation failed, without the file's name, which is
// one that nobody knows.
func cause(err error) error {
	var file *fs.PathError
	var link *os.LinkError
	switch {
	case errors.As(err, &file):
		return file.Err
	case errors.As(err, &link):
		return link.Err
	}
	return err
}
