package archive

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

// tb is what testing.T and rapid.T have in common.
type tb interface {
	Helper()
	Cleanup(func())
	Context() context.Context
	Errorf(format string, args ...any)
	Fatal(args ...any)
}

// makeTar returns a tar of the entries. What is not said is what a plain file has.
func makeTar(t testing.TB, entries ...tar.Header) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range entries {
		content := ""
		if h.Typeflag == 0 {
			h.Typeflag = tar.TypeReg
			content = "content of " + h.Name
		}
		if h.Mode == 0 && h.Typeflag != tar.TypeXGlobalHeader {
			h.Mode = 0o644
			if h.Typeflag == tar.TypeDir {
				h.Mode = 0o755
			}
		}
		h.Size = int64(len(content))
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(content)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// write makes files from a table: a name that ends in / is a directory, content
// that begins with -> a symbolic link.
func write(t tb, dir string, files map[string]string) {
	t.Helper()
	for name, content := range files {
		p := filepath.Join(dir, filepath.FromSlash(name))
		err := os.MkdirAll(filepath.Dir(p), 0o755)
		switch target, isLink := strings.CutPrefix(content, "->"); {
		case err != nil:
		case strings.HasSuffix(name, "/"):
			err = os.MkdirAll(p, 0o755)
		case isLink:
			err = os.Symlink(target, p)
		default:
			err = os.WriteFile(p, []byte(content), 0o644)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}

// list describes everything below dir: kind, mode, content or target.
func list(t tb, dir string) string {
	t.Helper()
	var b strings.Builder
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(dir, p)
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		fmt.Fprintf(&b, "%s %s", info.Mode(), filepath.ToSlash(rel))
		switch info.Mode().Type() {
		case fs.ModeSymlink:
			target, err := os.Readlink(p)
			if err != nil {
				return err
			}
			fmt.Fprintf(&b, " -> %s", target)
		case 0:
			content, err := os.ReadFile(p)
			if err != nil {
				return err
			}
			if len(content) > 80 {
				content = fmt.Appendf(nil, "%d bytes", len(content))
			}
			fmt.Fprintf(&b, " %q", content)
		}
		b.WriteByte('\n')
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func openRoot(t tb, dir string) *os.Root {
	t.Helper()
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { root.Close() })
	return root
}

func unpack(t tb, dir string, data []byte, opts *UnpackOptions) error {
	t.Helper()
	return Unpack(t.Context(), openRoot(t, dir), bytes.NewReader(data), opts)
}

func pack(t testing.TB, dir string, opts *PackOptions) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := Pack(t.Context(), &b, dir, opts); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func equal(t tb, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// wantErr checks that err is a kind and names something.
func wantErr(t testing.TB, err, kind error, text string) {
	t.Helper()
	if !errors.Is(err, kind) || !strings.Contains(fmt.Sprint(err), text) {
		t.Errorf("error %v, want %v with %q", err, kind, text)
	}
}

func needUnix(t testing.TB) {
	if runtime.GOOS == "windows" {
		t.Skip("modes and links of Unix")
	}
}

func TestRoundTrip(t *testing.T) {
	needUnix(t)
	src, dst := t.TempDir(), t.TempDir()
	long := strings.Repeat("long-", 30)
	write(t, src, map[string]string{
		"readme.md":                          "hello",
		"sub/a":                              "a",
		"sub.txt":                            "sorted behind sub by name",
		"empty/":                             "",
		"zero":                               "",
		"link":                               "->sub/a",
		"sub/up":                             "->../readme.md",
		"dangling":                           "->nowhere",
		"back\\slash":                        "as on Unix",
		"umlaut ä \xff":                      "no UTF-8",
		long + "/" + long + "/" + long + "x": "needs pax",
		"readonly/file":                      "r",
		"readonly/deep/file":                 "r",
		"secret":                             "s",
	})
	for name, mode := range map[string]fs.FileMode{
		"sub/a": 0o755, "secret": 0o600, "readonly/file": 0o444, "readonly/deep": 0o500, "readonly": 0o555,
	} {
		if err := os.Chmod(filepath.Join(src, name), mode); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() {
		for _, dir := range []string{src, filepath.Join(dst, "docs"), filepath.Join(dst, "other")} {
			os.Chmod(filepath.Join(dir, "readonly"), 0o755)
			os.Chmod(filepath.Join(dir, "readonly/deep"), 0o755)
		}
	})
	if err := os.Link(filepath.Join(src, "sub/a"), filepath.Join(src, "zz-second-name")); err != nil {
		t.Fatal(err)
	}
	want := list(t, src)

	data := pack(t, src, &PackOptions{Prefix: "docs"})
	if err := unpack(t, dst, data, &UnpackOptions{Dir: "docs", Prefix: "docs"}); err != nil {
		t.Fatal(err)
	}
	want = strings.Replace(want, "drwxr-xr-x .\n", "", 1)
	got := strings.Replace(list(t, filepath.Join(dst, "docs")), "drwxr-xr-x .\n", "", 1)
	equal(t, got, want)
	a, err := os.Stat(filepath.Join(dst, "docs/sub/a"))
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.Stat(filepath.Join(dst, "docs/zz-second-name"))
	if err != nil {
		t.Fatal(err)
	}
	if !os.SameFile(a, b) {
		t.Error("hard link was not kept")
	}
	// What was unpacked packs to the same bytes.
	if again := pack(t, filepath.Join(dst, "docs"), &PackOptions{Prefix: "docs"}); !bytes.Equal(again, data) {
		t.Error("packed again it is different")
	}
	equal(t, fmt.Sprint(names(t, dst)), "[docs]")

	// The same into a directory that is there.
	write(t, dst, map[string]string{"other/readme.md": "old", "other/mine": "kept", "other/sub/mine": "kept", "other/link": "->mine"})
	if err := unpack(t, dst, data, &UnpackOptions{Dir: "other", Prefix: "docs"}); err != nil {
		t.Fatal(err)
	}
	for _, mine := range []string{"mine", "sub/mine"} {
		if err := os.Remove(filepath.Join(dst, "other", mine)); err != nil {
			t.Error(err)
		}
	}
	equal(t, strings.Replace(list(t, filepath.Join(dst, "other")), "drwxr-xr-x .\n", "", 1), want)
}

func names(t tb, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// epoch is some SOURCE_DATE_EPOCH.
var epoch = time.Unix(1700000000, 0)
