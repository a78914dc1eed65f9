package archive

import (
	"archive/tar"
	"bytes"
	"io/fs"
	"os"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// asNobody runs do in a thread of its own, for whom permissions count.
func asNobody(t *testing.T, dir string, do func()) {
	t.Helper()
	const nobody = 65534
	if os.Geteuid() == 0 {
		if err := os.Chown(dir, nobody, -1); err != nil {
			t.Skip("cannot act for another user: ", err)
		}
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		if os.Geteuid() == 0 {
			runtime.LockOSThread() // which ends with the goroutine
			unix.Setfsuid(nobody)
		}
		do()
	}()
	<-done
}

// A tree with directories that may not be written to can be unpacked over itself, and they
// stay so. Others that may not are not touched.
func TestUnpackReadOnly(t *testing.T) {
	tree := func(names ...string) []byte {
		var entries []tar.Header
		for _, name := range []string{"d", "d/ro"} {
			entries = append(entries, tar.Header{Name: name, Typeflag: tar.TypeDir, Mode: 0o555})
		}
		for _, name := range names {
			entries = append(entries, file(name))
		}
		return makeTar(t, entries...)
	}
	dir := t.TempDir()
	root := openRoot(t, dir)
	asNobody(t, dir, func() {
		for _, data := range [][]byte{tree("d/a", "d/ro/f"), tree("d/a", "d/ro/f"), tree("d/b", "d/ro/f", "d/ro/g")} {
			if err := Unpack(t.Context(), root, bytes.NewReader(data), nil); err != nil {
				t.Error(err)
			}
		}
		if err := root.Mkdir("own", 0o755); err != nil {
			t.Error(err)
		}
		if err := root.Chmod("own", 0o555); err != nil {
			t.Error(err)
		}
		err := Unpack(t.Context(), root, bytes.NewReader(makeTar(t, file("own/x"))), nil)
		wantErr(t, err, fs.ErrPermission, "own/x: permission denied")
		if strings.Contains(err.Error(), TempPrefix) {
			t.Errorf("%v: nobody knows what that is", err)
		}
	})
	equal(t, list(t, dir), `drwxr-xr-x .
dr-xr-xr-x d
-rw-r--r-- d/a "content of d/a"
-rw-r--r-- d/b "content of d/b"
dr-xr-xr-x d/ro
-rw-r--r-- d/ro/f "content of d/ro/f"
-rw-r--r-- d/ro/g "content of d/ro/g"
dr-xr-xr-x own
`)
	asNobody(t, dir, func() {
		for _, name := range []string{"d", "d/ro", "own"} {
			root.Chmod(name, 0o755) // so that it can be removed
		}
	})
}
