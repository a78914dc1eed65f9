//go:build unix

package bucket_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/c73062ad/oras"
	"github.com/c73062ad/oras/bucket"
)

func init() { processes["limit"] = writeBeyondLimit }

const fileLimit = 1<<20 + 16<<10 // bytes; some file systems fill whole pages

// writeBeyondLimit writes to a folder where no file can grow beyond fileLimit:
// the system itself writes part of what it should and says so.
func writeBeyondLimit(args []string) error {
	signal.Ignore(syscall.SIGXFSZ)
	if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: fileLimit, Max: fileLimit}); err != nil {
		return err
	}
	dir, err := bucket.OpenDir(args[0])
	if err != nil {
		return err
	}
	ctx := context.Background()
	s, err := bucket.New(dir).Repository(ctx, "a")
	if err != nil {
		return err
	}
	data := random(3 << 20)
	desc := oras.DescriptorOf("a/b", data)
	err = oras.Push(ctx, s, desc, bytes.NewReader(data))
	if !errors.Is(err, syscall.EFBIG) || !strings.HasPrefix(err.Error(), "a/_blobs/sha256/"+desc.Digest.Encoded()+": write: ") {
		return fmt.Errorf("Push: %v; it must name the object, what was done and the cause", err)
	}
	u, err := oras.OpenUpload(ctx, s, "")
	if err != nil {
		return err
	}
	n, err := u.Append(ctx, 0, bytes.NewReader(data))
	if !errors.Is(err, syscall.EFBIG) || !strings.HasPrefix(err.Error(), "a/_uploads/"+u.ID()+": write: ") {
		return fmt.Errorf("Append: %v; it must name the object, what was done and the cause", err)
	}
	if n != fileLimit || u.Size() != n {
		return fmt.Errorf("Append: %d bytes, size is %d; it must be %d", n, u.Size(), fileLimit)
	}
	kept := data[:n]
	if err := u.Commit(ctx, oras.SHA256.Digest(kept)); err != nil {
		return err
	}
	_, err = oras.PushBytes(ctx, s, "a/b", []byte("small"))
	return err
}

// A full disk leaves nothing half-written, and says what could not be written.
func TestFull(t *testing.T) {
	path := t.TempDir()
	must(t, process(t, "limit", path).Run())
	if got := files(t, filepath.Join(path, ".tmp")); len(got) > 0 {
		t.Errorf("temporary files: %q", got)
	}
	if got := files(t, filepath.Join(path, "a")); len(got) != 2 {
		t.Errorf("files: %q; it must be what fitted", got)
	}
}
