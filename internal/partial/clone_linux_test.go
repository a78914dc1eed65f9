package partial

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/c73062ad/oras"
)

// cloning mounts a file system whose files can share blocks.
func cloning(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	image, mounted := filepath.Join(dir, "image"), filepath.Join(dir, "mounted")
	if err := errors.Join(os.WriteFile(image, nil, 0o600), os.Truncate(image, 1<<30), os.Mkdir(mounted, 0o700)); err != nil {
		t.Fatal(err)
	}
	for _, line := range [][]string{{"mkfs.btrfs", "-q", image}, {"mount", "-o", "loop", image, mounted}} {
		if out, err := exec.Command(line[0], line[1:]...).CombinedOutput(); err != nil {
			t.Skipf("%s: %v\n%s", line[0], err, out)
		}
	}
	t.Cleanup(func() {
		if out, err := exec.Command("umount", mounted).CombinedOutput(); err != nil {
			t.Errorf("%v: %s", err, out)
		}
	})
	return mounted
}

// A file that is copied within a file system which can do without writing is cloned, and
// verified all the same.
func TestFillClones(t *testing.T) {
	dir := cloning(t)
	data := make([]byte, 5<<20+123)
	rand.NewChaCha8([32]byte{1}).Read(data)
	desc := oras.Descriptor{MediaType: oras.MediaTypeBlob, Digest: oras.SHA256.Digest(data).OCI(), Size: int64(len(data))}
	wrong := bytes.Clone(data)
	wrong[1<<20]++
	for name, test := range map[string]struct {
		source []byte
		have   []byte // in the file already
		there  int64  // not moved
		want   error
	}{
		"whole":           {data, nil, desc.Size, nil},
		"elsewhere":       {data, nil, 0, nil},
		"gone on with":    {data, data[:3<<20], 3 << 20, nil},
		"wrong":           {wrong, nil, 0, oras.ErrInvalid},
		"of another size": {data[1:], nil, 0, oras.ErrInvalid},
		"too long":        {append(bytes.Clone(data), 1), nil, 0, oras.ErrInvalid},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(dir, name)
			if name == "elsewhere" {
				path = filepath.Join(t.TempDir(), name)
			}
			if err := os.WriteFile(path, test.source, 0o600); err != nil {
				t.Fatal(err)
			}
			source, err := os.Open(path)
			if err != nil {
				t.Fatal(err)
			}
			defer source.Close()
			f, err := os.CreateTemp(dir, "")
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			if _, err := f.Write(test.have); err != nil {
				t.Fatal(err)
			}
			var there int64
			content := oras.NewProgressVerifier(source, desc, func(_, t int64) { there = t })
			readErr, writeErr := Fill(t.Context(), f, content, desc.Size)
			if writeErr != nil || !errors.Is(readErr, test.want) {
				t.Fatal(readErr, writeErr)
			}
			if there != test.there {
				t.Errorf("%d bytes were there, not %d", there, test.there)
			}
			if got, err := io.ReadAll(io.NewSectionReader(f, 0, desc.Size+1)); test.want == nil && (err != nil || !bytes.Equal(got, data)) {
				t.Errorf("%d bytes, %v", len(got), err)
			}
		})
	}
}
