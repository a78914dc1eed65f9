package archive

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"
)

func file(name string) tar.Header      { return tar.Header{Name: name} }
func directory(name string) tar.Header { return tar.Header{Name: name, Typeflag: tar.TypeDir} }
func symlink(name, target string) tar.Header {
	return tar.Header{Name: name, Typeflag: tar.TypeSymlink, Linkname: target}
}
func hardlink(name, target string) tar.Header {
	return tar.Header{Name: name, Typeflag: tar.TypeLink, Linkname: target}
}

// An arena is a directory to unpack into, with a directory beside it that nobody
// may touch, from a working directory that is neither.
type arena struct{ base, out, outside, cwd string }

func newArena(t testing.TB) *arena {
	base := t.TempDir()
	a := &arena{base, filepath.Join(base, "out"), filepath.Join(base, "outside"), filepath.Join(base, "cwd")}
	write(t, base, map[string]string{
		"out/existing":    "existing",
		"outside/victim":  "victim",
		"outside/dir/":    "",
		"cwd/victim":      "victim of the working directory",
		"cwd/docs/victim": "another",
		"victim":          "victim beside",
	})
	if t, ok := t.(interface{ Chdir(string) }); ok {
		t.Chdir(a.cwd)
	}
	return a
}

// Row F1 and its kin: what no archive may do.
func TestUnpackRefuses(t *testing.T) {
	for name, test := range map[string]struct {
		entries []tar.Header
		text    string // in the error, with the name of the last entry
	}{
		"dotdot":                       {[]tar.Header{file("docs/../../outside/victim")}, `".."`},
		"dotdot inside":                {[]tar.Header{file("docs/a/../b")}, `".."`},
		"dotdot before prefix":         {[]tar.Header{file("../docs/a")}, "not below"},
		"dotdot alone":                 {[]tar.Header{directory("docs/..")}, `".."`},
		"absolute":                     {[]tar.Header{file("/outside/victim")}, "absolute"},
		"absolute with prefix":         {[]tar.Header{file("/docs/victim")}, "absolute"},
		"other prefix":                 {[]tar.Header{file("docs2/a")}, "not below"},
		"no prefix":                    {[]tar.Header{file("a")}, "not below"},
		"no name":                      {[]tar.Header{file("")}, ""},
		"long name":                    {[]tar.Header{file("docs/" + strings.Repeat("a/", 2500) + "b")}, "name of"},
		"root is a file":               {[]tar.Header{file("docs")}, "is none"},
		"root is a link":               {[]tar.Header{symlink("docs", "../outside")}, "is none"},
		"link with slash":              {[]tar.Header{symlink("docs/a/", "b")}, ""},
		"through symlink":              {[]tar.Header{directory("docs/d"), symlink("docs/l", "d"), file("docs/l/x")}, "symbolic link"},
		"through symlink, dir":         {[]tar.Header{directory("docs/d"), symlink("docs/l", "d"), directory("docs/l/x")}, "symbolic link"},
		"through symlink, symlink":     {[]tar.Header{directory("docs/d"), symlink("docs/l", "d"), symlink("docs/l/x", "y")}, "symbolic link"},
		"through symlink, hard link":   {[]tar.Header{directory("docs/d"), file("docs/d/x"), symlink("docs/l", "d"), hardlink("docs/y", "docs/l/x")}, "hard link"},
		"through file":                 {[]tar.Header{file("docs/f"), file("docs/f/x")}, "a file"},
		"symlink over file":            {[]tar.Header{file("docs/a"), symlink("docs/a", "b")}, "twice"},
		"file over symlink":            {[]tar.Header{symlink("docs/a", "b"), file("docs/a")}, "twice"},
		"dir over symlink":             {[]tar.Header{directory("docs/d"), symlink("docs/a", "d"), directory("docs/a")}, "symbolic link"},
		"file twice":                   {[]tar.Header{file("docs/a"), file("docs/./a")}, "twice"},
		"symlink absolute":             {[]tar.Header{symlink("docs/l", "/etc/passwd")}, "link to"},
		"symlink empty":                {[]tar.Header{symlink("docs/l", "")}, ""},
		"symlink up":                   {[]tar.Header{symlink("docs/l", "..")}, "outside"},
		"symlink to outside":           {[]tar.Header{symlink("docs/l", "../../outside/victim")}, "outside"},
		"symlink to outside, deeper":   {[]tar.Header{symlink("docs/a/l", "../../../outside")}, "outside"},
		"symlink up after down":        {[]tar.Header{symlink("docs/l", "a/../b")}, "outside"},
		"symlink chain":                {[]tar.Header{directory("docs/x/y"), symlink("docs/x/y/up", "../.."), symlink("docs/q", "x/y/up/..")}, "outside"},
		"symlink via prefix":           {[]tar.Header{symlink("docs/l", "../docs/a")}, "outside"},
		"hard link absolute":           {[]tar.Header{hardlink("docs/h", "/etc/passwd")}, "hard link"},
		"hard link outside":            {[]tar.Header{hardlink("docs/h", "docs/../../outside/victim")}, "hard link"},
		"hard link to cwd":             {[]tar.Header{hardlink("docs/h", "victim")}, "hard link"},
		"hard link to cwd with prefix": {[]tar.Header{hardlink("docs/h", "docs/victim")}, "hard link"},
		"hard link to old file":        {[]tar.Header{hardlink("docs/h", "docs/existing")}, "hard link"},
		"hard link to symlink":         {[]tar.Header{symlink("docs/l", "x"), hardlink("docs/h", "docs/l")}, "hard link"},
		"hard link to directory":       {[]tar.Header{directory("docs/d"), hardlink("docs/h", "docs/d")}, "hard link"},
		"hard link to root":            {[]tar.Header{hardlink("docs/h", "docs")}, "hard link"},
		"hard link to itself":          {[]tar.Header{hardlink("docs/h", "docs/h")}, "hard link"},
		"hard link over file":          {[]tar.Header{file("docs/a"), file("docs/h"), hardlink("docs/h", "docs/a")}, "twice"},
		"fifo":                         {[]tar.Header{{Name: "docs/f", Typeflag: tar.TypeFifo}}, "neither"},
		"device":                       {[]tar.Header{{Name: "docs/f", Typeflag: tar.TypeChar, Devmajor: 1, Devminor: 3}}, "neither"},
		"block device":                 {[]tar.Header{{Name: "docs/f", Typeflag: tar.TypeBlock}}, "neither"},
		"unknown":                      {[]tar.Header{{Name: "docs/f", Typeflag: 'Z'}}, "neither"},
	} {
		t.Run(name, func(t *testing.T) {
			a := newArena(t)
			before := list(t, a.base)
			// Something good first, and a mode that would keep it from being removed.
			entries := append([]tar.Header{directory("docs"), file("docs/good"), {Name: "docs/ro", Typeflag: tar.TypeDir, Mode: 0o500}, file("docs/ro/x")}, test.entries...)
			err := unpack(t, a.out, makeTar(t, entries...), &UnpackOptions{Dir: "docs", Prefix: "docs"})
			wantErr(t, err, ErrInvalid, test.text)
			last := test.entries[len(test.entries)-1].Name
			wantErr(t, err, ErrInvalid, fmt.Sprintf("%q", last))
			equal(t, list(t, a.base), before)
		})
	}
}

// patch changes bytes of the first header and mends its checksum.
func patch(data []byte, offset int, value string) []byte {
	data = bytes.Clone(data)
	copy(data[offset:], value)
	copy(data[148:156], "        ")
	sum := 0
	for _, b := range data[:512] {
		sum += int(b)
	}
	copy(data[148:156], fmt.Sprintf("%06o\x00 ", sum))
	return data
}

// Row R12, F6: maps of holes say that little is much. And a file that is named like
// a directory.
func TestUnpackRefusesPatched(t *testing.T) {
	a := newArena(t)
	before := list(t, a.base)
	old := patch(makeTar(t, file("a")), 156, "S")
	old = patch(old, 257, "ustar  \x00")
	old = patch(old, 386, "00000000000\x0000000000011\x00")
	old = patch(old, 483, "77777777777\x00") // real size 8 GiB
	var pax bytes.Buffer
	w := tar.NewWriter(&pax)
	records := "22 GNU.sparse.major=1\n22 GNU.sparse.minor=0\n23 GNU.sparse.name=big\n37 GNU.sparse.realsize=4611686018427\n"
	header := patch(makeTar(t, file("x"))[:512], 156, "x")
	header = patch(header, 124, fmt.Sprintf("%011o\x00", len(records)))
	pax.Write(header)
	pax.WriteString(records + strings.Repeat("\x00", 512-len(records)))
	sparseMap := "1\n4611686018427\n0\n"
	body := patch(makeTar(t, file("x"))[:512], 124, fmt.Sprintf("%011o\x00", 512))
	pax.Write(body)
	pax.WriteString(sparseMap + strings.Repeat("\x00", 512-len(sparseMap)))
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	slash := patch(makeTar(t, file("a")), 1, "/")
	wantErr(t, unpack(t, a.out, slash, nil), ErrInvalid, `"a/"`)
	for name, data := range map[string][]byte{"old GNU": old, "PAX 1.0": pax.Bytes()} {
		h, err := tar.NewReader(bytes.NewReader(data)).Next()
		if err != nil || h.Size < 1<<30 {
			t.Fatalf("%s: the test's archive is no bomb: %v %v", name, h, err)
		}
		wantErr(t, unpack(t, a.out, data, nil), ErrInvalid, "")
	}
	equal(t, list(t, a.base), before)
}

func TestUnpackLimits(t *testing.T) {
	a := newArena(t)
	before := list(t, a.base)
	data := makeTar(t, file("a"), file("b"), directory("c"))
	wantErr(t, unpack(t, a.out, data, &UnpackOptions{MaxEntries: 2}), ErrTooLarge, "2 entries")
	wantErr(t, unpack(t, a.out, data, &UnpackOptions{MaxSize: int64(len(data) - 1)}), ErrTooLarge, "bytes")
	equal(t, list(t, a.base), before)

	ctx, cancel := context.WithCancelCause(t.Context())
	stop := errors.New("stop")
	cancel(stop)
	wantErr(t, Unpack(ctx, openRoot(t, a.out), bytes.NewReader(data), nil), stop, "")
	broken := errors.New("connection reset")
	for _, n := range []int{0, 100, 600, len(data) - 10, len(data)} {
		r := io.MultiReader(bytes.NewReader(data[:n]), iotest.ErrReader(broken))
		err := Unpack(t.Context(), openRoot(t, a.out), r, nil)
		if !errors.Is(err, broken) || errors.Is(err, ErrInvalid) {
			t.Errorf("source fails after %d bytes: error %v", n, err)
		}
	}
	for _, n := range []int{100, 511, 512, 520, 1500} {
		wantErr(t, unpack(t, a.out, data[:n], nil), ErrInvalid, "")
	}
	wantErr(t, unpack(t, a.out, bytes.Repeat([]byte("no tar "), 1000), nil), ErrInvalid, "")
	equal(t, list(t, a.base), before)

	if err := unpack(t, a.out, data, &UnpackOptions{MaxEntries: 3, MaxSize: int64(len(data))}); err != nil {
		t.Error(err)
	}
}

func TestUnpackAccepts(t *testing.T) {
	needUnix(t)
	a := newArena(t)
	err := unpack(t, a.out, makeTar(t,
		tar.Header{Typeflag: tar.TypeXGlobalHeader, PAXRecords: map[string]string{"comment": "of git archive"}},
		file("./b/c/deep"), // before and without its directories
		tar.Header{Name: "./", Typeflag: tar.TypeDir, Mode: 0o700},
		tar.Header{Name: "b", Typeflag: tar.TypeDir, Mode: 0o710},
		tar.Header{Name: "b/", Typeflag: tar.TypeDir, Mode: 0o500},
		directory("b"), directory("d//e/"),
		tar.Header{Name: "suid", Mode: 0o6755},
		tar.Header{Name: "sticky", Typeflag: tar.TypeDir, Mode: 0o1777},
		tar.Header{Name: "wide", Mode: 0o666},
		tar.Header{Name: "none", Typeflag: tar.TypeDir, Mode: 0o100},
		file("none/x"),
		symlink("l", "b/c/deep"), symlink("b/up", "../d/./e"), symlink("b/c/root", "../.."), symlink("self", "."),
		hardlink("h", "./b/c/deep"), hardlink("d/h", "h"),
		file("..a"), file("b/..."), file("c:\\con"), file("new\nline"),
	), &UnpackOptions{Dir: "new"})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Join(a.out, "new/none"), 0o755); err != nil {
		t.Fatal(err)
	}
	equal(t, list(t, filepath.Join(a.out, "new")), `drwx------ .
-rw-r--r-- ..a "content of ..a"
drwxr-xr-x b
-rw-r--r-- b/... "content of b/..."
drwxr-xr-x b/c
-rw-r--r-- b/c/deep "content of ./b/c/deep"
Lrwxrwxrwx b/c/root -> ../..
Lrwxrwxrwx b/up -> ../d/./e
-rw-r--r-- c:\con "content of c:\\con"
drwxr-xr-x d
drwxr-xr-x d/e
-rw-r--r-- d/h "content of ./b/c/deep"
-rw-r--r-- h "content of ./b/c/deep"
Lrwxrwxrwx l -> b/c/deep
-rw-r--r-- new
line "content of new\nline"
drwxr-xr-x none
-rw-r--r-- none/x "content of none/x"
Lrwxrwxrwx self -> .
drwxr-xr-x sticky
-rwxr-xr-x suid "content of suid"
-rw-r--r-- wide "content of wide"
`)
}

func TestUnpackPrefixes(t *testing.T) {
	for _, test := range []struct{ prefix, entry string }{
		{"", "a"}, {".", "a"}, {".", "./a"}, {"docs", "docs/a"}, {"docs/", "./docs/a"}, {"./x/docs", "x/docs/a"},
		{"../docs", "../docs/a"}, {"/data/docs", "/data/docs/a"},
	} {
		dir := t.TempDir()
		if err := unpack(t, dir, makeTar(t, file(test.entry)), &UnpackOptions{Dir: "to", Prefix: test.prefix}); err != nil {
			t.Errorf("%+v: %v", test, err)
			continue
		}
		if _, err := os.Stat(filepath.Join(dir, "to", "a")); err != nil {
			t.Errorf("%+v: %v", test, err)
		}
	}
	for _, test := range []struct{ prefix, entry string }{
		{"/data", "data/a"}, {"data", "/data/a"}, {"../docs", "docs/a"}, {"../docs", "../a"}, {"a/b", "a/c"}, {"", "/a"},
	} {
		wantErr(t, unpack(t, t.TempDir(), makeTar(t, file(test.entry)), &UnpackOptions{Prefix: test.prefix}), ErrInvalid, test.entry)
	}
	for _, dir := range []string{"..", "a/b", "/a", "../a", "\x00"} {
		if err := unpack(t, t.TempDir(), makeTar(t, file("a")), &UnpackOptions{Dir: dir}); err == nil {
			t.Errorf("unpacked to %q", dir)
		}
	}
}

func TestUnpackModTime(t *testing.T) {
	dir := t.TempDir()
	if err := unpack(t, dir, makeTar(t, tar.Header{Name: "dated", ModTime: epoch}, file("undated")), nil); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]bool{"dated": true, "undated": false} {
		info, err := os.Stat(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if info.ModTime().Equal(epoch) != want || info.ModTime().Unix() == 0 {
			t.Errorf("%s has the time %s", name, info.ModTime())
		}
	}
}

// What stands in the way of an entry is found before anything is moved.
func TestUnpackInTheWay(t *testing.T) {
	for name, test := range map[string]struct {
		old     map[string]string
		keepOld bool
		text    string
	}{
		"file for directory":           {map[string]string{"docs/d": "file"}, false, "docs/d: a file"},
		"link for directory":           {map[string]string{"docs/d": "->../outside"}, false, "docs/d: a symbolic link"},
		"link inside for directory":    {map[string]string{"docs/e/": "", "docs/d": "->e"}, false, "docs/d: a symbolic link"},
		"directory for file":           {map[string]string{"docs/d/f/": ""}, false, "docs/d/f: a directory"},
		"directory for link":           {map[string]string{"docs/l/": ""}, false, "docs/l: a directory"},
		"destination is a file":        {map[string]string{"docs": "file"}, false, "docs: a file"},
		"destination is a link":        {map[string]string{"docs": "->../outside"}, false, "docs: a symbolic link"},
		"destination is a link inside": {map[string]string{"real/": "", "docs": "->real"}, false, "docs: a symbolic link"},
		"old file kept":                {map[string]string{"docs/d/f": "old"}, true, "docs/d/f: a file"},
		"old link kept":                {map[string]string{"docs/l": "->x"}, true, "docs/l: a symbolic link"},
	} {
		t.Run(name, func(t *testing.T) {
			needUnix(t)
			a := newArena(t)
			write(t, a.out, test.old)
			before := list(t, a.base)
			data := makeTar(t, file("docs/a"), file("docs/d/f"), symlink("docs/l", "a"), tar.Header{Name: "docs/ro", Typeflag: tar.TypeDir, Mode: 0o500})
			err := unpack(t, a.out, data, &UnpackOptions{Dir: "docs", Prefix: "docs", KeepOld: test.keepOld})
			wantErr(t, err, fs.ErrExist, test.text)
			equal(t, list(t, a.base), before)
		})
	}
}

func TestUnpackMerges(t *testing.T) {
	needUnix(t)
	a := newArena(t)
	write(t, a.out, map[string]string{
		"docs/a": "old", "docs/mine": "mine", "docs/d/g": "mine", "docs/l": "old", "docs/to-outside": "->../../outside/victim",
	})
	if err := os.Chmod(filepath.Join(a.out, "docs/d"), 0o750); err != nil {
		t.Fatal(err)
	}
	data := makeTar(t, file("a"), tar.Header{Name: "d", Typeflag: tar.TypeDir, Mode: 0o500}, file("d/f"), symlink("l", "a"), file("to-outside"),
		tar.Header{Name: "ro", Typeflag: tar.TypeDir, Mode: 0o555}, file("ro/x"))
	if err := unpack(t, filepath.Join(a.out, "docs"), data, nil); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.Chmod(filepath.Join(a.out, "docs/ro"), 0o755) })
	if err := unpack(t, a.out, makeTar(t, file("docs/d/h")), &UnpackOptions{KeepOld: true}); err != nil {
		t.Fatal(err)
	}
	equal(t, list(t, a.out), `drwxr-xr-x .
drwxr-xr-x docs
-rw-r--r-- docs/a "content of a"
drwxr-x--- docs/d
-rw-r--r-- docs/d/f "content of d/f"
-rw-r--r-- docs/d/g "mine"
-rw-r--r-- docs/d/h "content of docs/d/h"
Lrwxrwxrwx docs/l -> a
-rw-r--r-- docs/mine "mine"
dr-xr-xr-x docs/ro
-rw-r--r-- docs/ro/x "content of ro/x"
-rw-r--r-- docs/to-outside "content of to-outside"
-rw-r--r-- existing "existing"
`)
	equal(t, list(t, a.outside), "drwxr-xr-x .\ndrwxr-xr-x dir\n-rw-r--r-- victim \"victim\"\n")
}

// More entries in one directory than are looked at in one go.
func TestUnpackMergesMany(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, map[string]string{"d/old": "old"})
	var entries []tar.Header
	for i := range 2*batch + 10 {
		entries = append(entries, file(fmt.Sprintf("d/%d", i)))
	}
	data := makeTar(t, entries...)
	for range 2 { // onto nothing, onto themselves
		if err := unpack(t, dir, data, nil); err != nil {
			t.Fatal(err)
		}
		if got := len(names(t, filepath.Join(dir, "d"))); got != len(entries)+1 {
			t.Errorf("%d files, want %d", got, len(entries)+1)
		}
		equal(t, fmt.Sprint(names(t, dir)), "[d]")
	}
}

// A big file goes both ways with little memory.
func TestBigFile(t *testing.T) {
	src, dst := t.TempDir(), t.TempDir()
	const size = 64 << 20
	f, err := os.Create(filepath.Join(src, "big"))
	if err != nil {
		t.Fatal(err)
	}
	block := text(1 << 20)
	for range size / len(block) {
		if _, err := f.Write(block); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	r, w := io.Pipe()
	go func() {
		z, err := Compress(w, Zstd, nil)
		if err == nil {
			err = Pack(t.Context(), z, src, nil)
			err = errors.Join(err, z.Close())
		}
		w.CloseWithError(err)
	}()
	z, err := Decompress(r, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer z.Close()
	if err := Unpack(t.Context(), openRoot(t, dst), z, nil); err != nil {
		t.Fatal(err)
	}
	runtime.ReadMemStats(&after)
	// Everything ever allocated, not what is in use.
	if n := after.TotalAlloc - before.TotalAlloc; n > size {
		t.Errorf("%d MiB were allocated for a file of %d MiB", n>>20, size>>20)
	}
	got, err := os.Stat(filepath.Join(dst, "big"))
	if err != nil || got.Size() != size {
		t.Errorf("got %v, %v", got, err)
	}
}

func TestCheckName(t *testing.T) {
	for name, good := range map[string][2]bool{ // on Unix, on Windows
		"a": {true, true}, "a/b.c": {true, true}, "..a": {true, true}, "...": {true, false}, "": {}, ".": {}, "..": {}, "/": {}, "/a": {}, "a/": {}, "a//b": {},
		"./a": {}, "a/..": {}, "../a": {}, "a/../b": {}, "a\x00b": {}, `a\b`: {true, false}, `..\a`: {true, false}, "C:": {true, false}, "C:/a": {true, false},
		"a:stream": {true, false}, "NUL": {true, false}, "nul.txt": {true, false}, "a/CON": {true, false}, "com1.x": {true, false}, "COM¹": {true, false},
		"COM10": {true, true}, "LPT9": {true, false}, "CONSOLE": {true, true}, "a.": {true, false}, "a ": {true, false}, "a./b": {true, false},
		"AUX .txt": {true, false}, "new\nline": {true, false}, "a?": {true, false}, "ä": {true, true},
	} {
		for i, windows := range []bool{false, true} {
			if err := checkName(name, windows); (err == nil) != good[i] {
				t.Errorf("%q, windows %t: %v", name, windows, err)
			}
		}
	}
}
