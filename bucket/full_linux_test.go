package bucket_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/c73062ad/oras"
	"github.com/c73062ad/oras/bucket"
)

func init() { processes["full"] = writeUntilFull }

// writeUntilFull fills a file system of its own, below args[0], and sees what can
// still be done then.
func writeUntilFull(args []string) error {
	path := args[0]
	if err := syscall.Mount("", path, "tmpfs", 0, "size=2m"); err != nil {
		fmt.Println("cannot mount:", err)
		return nil
	}
	open := func() (*bucket.Dir, *bucket.Registry, oras.Store, error) {
		dir, err := bucket.OpenDir(path)
		if err != nil {
			return nil, nil, nil, err
		}
		r := bucket.New(dir)
		s, err := r.Repository(context.Background(), "a")
		return dir, r, s, err
	}
	dir, r, s, err := open()
	if err != nil {
		return err
	}
	ctx := context.Background()
	pushed := map[string]oras.Descriptor{} // by tag
	fill := func(size int) error {
		for i := 0; ; i++ {
			name := fmt.Sprintf("v%d-%d", size, i)
			layer, err := oras.PushBytes(ctx, s, "a/b", append(random(size), name...))
			if err != nil {
				return err
			}
			data, desc := image(name, oras.Manifest{Layers: []oras.Descriptor{layer}})
			if err := oras.PushTagged(ctx, s, desc, bytes.NewReader(data), name); err != nil {
				return err
			}
			pushed[name] = desc
		}
	}
	for _, size := range []int{100_000, 5_000, 10, 1} { // until nothing has any room
		if err := fill(size); !errors.Is(err, syscall.ENOSPC) {
			return fmt.Errorf("pushing to a full disk: %v", err)
		}
		u, err := oras.OpenUpload(ctx, s, "")
		if err == nil {
			n, appendErr := u.Append(ctx, 0, bytes.NewReader(random(1<<20)))
			if !errors.Is(appendErr, syscall.ENOSPC) || n != u.Size() {
				return fmt.Errorf("appending to a full disk: %d bytes, size is %d, %v", n, u.Size(), appendErr)
			}
			if err := u.Abort(ctx); !errors.Is(err, oras.ErrNotFound) {
				return fmt.Errorf("what did not fit is kept: %v", err)
			}
		}
		if err != nil && !errors.Is(err, syscall.ENOSPC) {
			return err
		}
	}
	look := func() error {
		for tag, desc := range pushed {
			got, err := s.Resolve(ctx, tag)
			if err != nil || got.Digest != desc.Digest {
				return fmt.Errorf("tag %s: %s, %v", tag, got.Digest, err)
			}
			m, err := oras.ReadManifest(ctx, s, got)
			if err != nil {
				return err
			}
			if _, err := oras.FetchAll(ctx, s, m.Layers[0]); err != nil {
				return err
			}
		}
		left, err := os.ReadDir(filepath.Join(path, ".tmp"))
		if len(left) > 0 {
			return fmt.Errorf("%d temporary files are left", len(left))
		}
		return err
	}
	if err := look(); err != nil {
		return err
	}
	// A registry that is started on a full disk still gives what it has, and makes
	// room.
	if err := dir.Close(); err != nil {
		return err
	}
	if dir, r, s, err = open(); err != nil {
		return fmt.Errorf("opening it on a full disk: %w", err)
	}
	if err := look(); err != nil {
		return err
	}
	for tag, desc := range pushed {
		if strings.HasPrefix(tag, "v100000-") {
			if err := s.Delete(ctx, desc); err != nil {
				return fmt.Errorf("deleting on a full disk: %w", err)
			}
			delete(pushed, tag)
		}
	}
	then := time.Now().Add(-2 * time.Hour)
	for _, folder := range []string{"a/_blobs/sha256", "_content/sha256"} {
		err := filepath.WalkDir(filepath.Join(path, folder), func(name string, entry os.DirEntry, err error) error {
			if err != nil || entry.IsDir() {
				return err
			}
			return os.Chtimes(name, then, then)
		})
		if err != nil {
			return err
		}
	}
	done, err := r.Collect(ctx, nil)
	if err != nil || done.Bytes < 1_000_000 {
		return fmt.Errorf("collecting on a full disk: %+v, %v", done, err)
	}
	if _, err := oras.PushBytes(ctx, s, "a/b", random(500_000)); err != nil {
		return err
	}
	if err := dir.Close(); err != nil {
		return err
	}
	if dir, r, s, err = open(); err != nil {
		return err
	}
	return errors.Join(look(), dir.Close())
}

// A disk that is full says so, leaves nothing half-written, and can be freed.
func TestFullDisk(t *testing.T) {
	path := t.TempDir()
	cmd := process(t, "full", path)
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS, // so that it may mount
		UidMappings: []syscall.SysProcIDMap{{HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{HostID: os.Getgid(), Size: 1}},
	}
	out, err := cmd.Output()
	if errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.ENOSPC) || strings.HasPrefix(string(out), "cannot mount") {
		t.Skipf("no file system can be mounted here: %v %s", err, out)
	}
	must(t, err)
}
