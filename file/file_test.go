package file_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/c73062ad/oras"
	"github.com/c73062ad/oras/archive"
	"github.com/c73062ad/oras/file"
)

var _ oras.Target = (*file.Store)(nil)

func newStore(t testing.TB, dir string, opts *file.Options) *file.Store {
	t.Helper()
	s, err := file.New(dir, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// write makes files from a table: a name that ends in / is a directory, content
// that begins with -> a symbolic link.
func write(t testing.TB, dir string, files map[string]string) {
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

// list describes everything below dir.
func list(t testing.TB, dir string) string {
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
			fmt.Fprintf(&b, " %.40q", content)
		}
		b.WriteByte('\n')
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func equal(t testing.TB, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func wantErr(t testing.TB, err, kind error, text string) {
	t.Helper()
	if !errors.Is(err, kind) || !strings.Contains(fmt.Sprint(err), text) {
		t.Errorf("error %v, want %v with %q", err, kind, text)
	}
}

func titled(title string, data []byte, annotations ...string) oras.Descriptor {
	desc := oras.DescriptorOf(file.MediaTypeFile, data)
	desc.Annotations = map[string]string{ocispec.AnnotationTitle: title}
	for i := 0; i < len(annotations); i += 2 {
		desc.Annotations[annotations[i]] = annotations[i+1]
	}
	return desc
}

func push(t testing.TB, s *file.Store, title, content string) error {
	t.Helper()
	return s.Push(t.Context(), titled(title, []byte(content)), strings.NewReader(content))
}

func mustPush(t testing.TB, s *file.Store, title, content string) {
	t.Helper()
	if err := push(t, s, title, content); err != nil {
		t.Fatal(err)
	}
}

func needUnix(t testing.TB) {
	if runtime.GOOS == "windows" {
		t.Skip("modes and links of Unix")
	}
}

// The two sides of the command line: files and directories go into an artifact and
// come out of it.
func TestThereAndBack(t *testing.T) {
	needUnix(t)
	src, dst := t.TempDir(), filepath.Join(t.TempDir(), "made/by/pull")
	write(t, src, map[string]string{
		"hello.txt": "hello world\n", "sub/hello.txt": "hello world\n", "empty": "",
		"docs/readme.md": "read me", "docs/deep/a": "a", "docs/empty/": "", "docs/link": "->deep/a",
	})
	if err := os.Chmod(filepath.Join(src, "docs/deep/a"), 0o755); err != nil {
		t.Fatal(err)
	}
	from := newStore(t, src, nil)
	var layers []oras.Descriptor
	for _, title := range []string{"hello.txt", "sub/hello.txt", "empty", "docs"} {
		desc, err := from.Add(t.Context(), title, "", "")
		if err != nil {
			t.Fatal(err)
		}
		layers = append(layers, desc)
	}
	root, err := oras.Pack(t.Context(), from, &oras.PackOptions{Layers: layers})
	if err != nil {
		t.Fatal(err)
	}
	if err := from.Tag(t.Context(), root, "v1"); err != nil {
		t.Fatal(err)
	}
	to := newStore(t, dst, nil)
	got, err := oras.Copy(t.Context(), from, "v1", to, &oras.CopyOptions{Tags: []string{"v2"}})
	if err != nil {
		t.Fatal(err)
	}
	if got.Digest != root.Digest {
		t.Errorf("copied %s, want %s", got.Digest, root.Digest)
	}
	equal(t, list(t, dst), list(t, src))
	if desc, err := to.Resolve(t.Context(), "v2"); err != nil || desc.Digest != root.Digest || desc.MediaType != oras.MediaTypeImageManifest {
		t.Errorf("v2 is %v, %v", desc, err)
	}
	for _, desc := range append(layers, root) {
		if exists, err := to.Exists(t.Context(), desc); err != nil || !exists {
			t.Errorf("%v exists: %v, %v", desc, exists, err)
		}
		r, err := to.Fetch(t.Context(), oras.Descriptor{Digest: desc.Digest})
		if desc.Annotations[file.AnnotationUnpack] == "true" {
			wantErr(t, err, oras.ErrNotFound, desc.Digest.String())
			continue
		}
		if err != nil {
			t.Error(err)
			continue
		}
		if _, err := oras.ReadAll(r, desc); err != nil {
			t.Error(err)
		}
		if _, ok := r.(io.Seeker); !ok {
			t.Errorf("%s cannot be seeked", desc.Digest)
		}
		r.Close()
	}
	// Again, over what is there, with another store.
	if _, err := oras.Copy(t.Context(), from, "v1", newStore(t, dst, nil), nil); err != nil {
		t.Fatal(err)
	}
	equal(t, list(t, dst), list(t, src))
}

func TestAdd(t *testing.T) {
	needUnix(t)
	dir := t.TempDir()
	write(t, dir, map[string]string{"hello": "hello world\n", "docs/a": "a", "link": "->hello", "linked": "->docs"})
	for _, name := range []string{"docs", "docs/a"} {
		if err := os.Chtimes(filepath.Join(dir, name), time.Now(), time.Now().Add(-time.Hour)); err != nil {
			t.Fatal(err)
		}
	}
	s := newStore(t, dir, nil)
	desc, err := s.Add(t.Context(), "hello", "", "")
	if err != nil {
		t.Fatal(err)
	}
	equal(t, fmt.Sprint(desc.MediaType, " ", desc.Digest, " ", desc.Size, " ", desc.Annotations),
		"application/vnd.oci.image.layer.v1.tar sha256:a948904f2f0f479b8f8197694b30184b0d2ed1c1cd2a1ec0fb85d299a192a447 12 map[org.opencontainers.image.title:hello]")
	for title, path := range map[string]string{"by/absolute/path": filepath.Join(dir, "hello"), "by link": "link"} {
		again, err := s.Add(t.Context(), title, path, "text/plain")
		if err != nil || again.Digest != desc.Digest || again.MediaType != "text/plain" || again.Annotations[ocispec.AnnotationTitle] != title {
			t.Errorf("%s: %v, %v", title, again, err)
		}
	}

	docs, err := s.Add(t.Context(), "docs", "docs", "")
	if err != nil {
		t.Fatal(err)
	}
	equal(t, fmt.Sprint(docs.MediaType, " ", docs.Digest, " ", docs.Size, " ", docs.Annotations),
		"application/vnd.oci.image.layer.v1.tar+gzip sha256:3f9ca3af9cb5fd103c3dd78c4bee99fa0e1c390d72638ef60447a49d564860a6 133 map[io.deis.oras.content.digest:sha256:93489ad3cf12d41072ccdd1f43e40bc06e27ba60378aa2dc7f0523af3aeb9e27 io.deis.oras.content.unpack:true org.opencontainers.image.title:docs]")
	dated, err := newStore(t, dir, &file.Options{ModTime: time.Unix(1700000000, 0)}).Add(t.Context(), "docs", "linked", "application/x")
	if err != nil || dated.Digest == docs.Digest || dated.MediaType != "application/x" {
		t.Errorf("%v, %v", dated, err)
	}

	_, err = s.Add(t.Context(), "nofile", "", "")
	if want := "stat " + filepath.Join(dir, "nofile") + ": no such file or directory"; err == nil || err.Error() != want || oras.Kind(err) != oras.ErrNotFound {
		t.Errorf("error %v, want %s", err, want)
	}
	for _, bad := range []string{"hello", "./hello", "", "a\nb", "\x00", "\xff"} {
		_, err := s.Add(t.Context(), bad, "hello", "")
		wantErr(t, err, oras.ErrInvalid, "")
	}
	if _, err := s.Add(t.Context(), "zero", "/dev/zero", ""); err == nil || !strings.Contains(err.Error(), "/dev/zero") {
		t.Errorf("device: error %v", err)
	}
	null, err := s.Add(t.Context(), "null", os.DevNull, "application/x")
	if err != nil || null.MediaType != "application/x" || null.Annotations[ocispec.AnnotationTitle] != "null" {
		t.Errorf("nothing: %v, %v", null, err)
	}
	if data, err := oras.FetchAll(t.Context(), s, null); err != nil || len(data) != 0 {
		t.Errorf("nothing: %q, %v", data, err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, title := range []string{"once more", "and a directory"} {
		_, err = s.Add(ctx, title, map[bool]string{true: "docs", false: "hello"}[title != "once more"], "")
		wantErr(t, err, context.Canceled, "")
	}
}

func TestFileChangesAfterAdd(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, map[string]string{"a": "before", "b": "before!", "c": "before?"})
	s := newStore(t, dir, nil)
	var descs []oras.Descriptor
	for _, title := range []string{"a", "b", "c"} {
		desc, err := s.Add(t.Context(), title, "", "")
		if err != nil {
			t.Fatal(err)
		}
		descs = append(descs, desc)
	}
	write(t, dir, map[string]string{"a": "longer than before", "b": "BEFORE!"})
	if err := os.Remove(filepath.Join(dir, "c")); err != nil {
		t.Fatal(err)
	}
	_, err := s.Fetch(t.Context(), descs[0])
	wantErr(t, err, oras.ErrInvalid, filepath.Join(dir, "a"))
	_, err = oras.FetchAll(t.Context(), s, descs[1])
	wantErr(t, err, oras.ErrInvalid, "")
	_, err = s.Fetch(t.Context(), descs[2])
	wantErr(t, err, fs.ErrNotExist, filepath.Join(dir, "c"))
}

// Row F5, F3: names of files that somebody else chose.
func TestTitles(t *testing.T) {
	needUnix(t)
	base := t.TempDir()
	out := filepath.Join(base, "out")
	write(t, base, map[string]string{
		"out/real/old": "old", "out/in": "->real", "out/out": "->../outside", "out/abs": "->" + filepath.Join(base, "outside"),
		"out/file": "->../outside/victim", "out/chain": "->in/../out", "out/loop": "->loop", "out/dangling": "->nowhere",
		"out/taken/": "", "outside/victim": "victim", "cwd/": "",
	})
	t.Chdir(filepath.Join(base, "cwd"))
	outside := list(t, filepath.Join(base, "outside"))
	before := list(t, base)
	for title, kind := range map[string]error{
		"":  nil, // no name: not a file
		".": oras.ErrInvalid, "./": oras.ErrInvalid, "a\x00b": oras.ErrInvalid, "a\nb": oras.ErrInvalid, "\x1b[2J": oras.ErrInvalid, "a\u0085": oras.ErrInvalid, "\xff": oras.ErrInvalid,
		"..": file.ErrPathTraversal, "../x": file.ErrPathTraversal, "a/../b": file.ErrPathTraversal, "a/..": file.ErrPathTraversal, "a/../../out/b": file.ErrPathTraversal,
		"/": file.ErrPathTraversal, "/etc/x": file.ErrPathTraversal, filepath.Join(base, "outside/victim"): file.ErrPathTraversal, out + "/../x": file.ErrPathTraversal, out + "2/x": file.ErrPathTraversal,
		"out/x": file.ErrPathTraversal, "out/new/x": file.ErrPathTraversal, "abs/victim": file.ErrPathTraversal, "chain/x": file.ErrPathTraversal,
		"loop/x": errAny, "dangling/x": errAny, "real/old/x": errAny, "taken": fs.ErrExist, "in/../../x": file.ErrPathTraversal,
		strings.Repeat("n", 256): errAny, strings.Repeat("n", 200) + "/" + strings.Repeat("n", 300): errAny,
	} {
		for _, unpack := range []bool{false, true} {
			data := []byte("content")
			desc := titled(title, data)
			if unpack {
				data = pack(t, strings.TrimSuffix(title, "/")+"/x")
				desc = titled(title, data, file.AnnotationUnpack, "true")
			}
			if unpack && (title == "" || title == "taken" || strings.HasPrefix(title, ".") && kind == oras.ErrInvalid) {
				continue // which a directory may be
			}
			s := newStore(t, out, nil)
			err := s.Push(t.Context(), desc, bytes.NewReader(data))
			switch {
			case kind == nil && err == nil:
			case err == nil, kind != errAny && !errors.Is(err, kind):
				t.Errorf("%q, unpack %t: error %v, want %v", title, unpack, err, kind)
			case kind == file.ErrPathTraversal:
				equal(t, err.Error(), fmt.Sprintf("failed to resolve path for writing: path traversal disallowed: title %q", title))
			}
			equal(t, list(t, base), before)
		}
	}
	s := newStore(t, out, nil)
	for _, title := range []string{"a", "./b", "c//d", "new/x", "in/y", "file", "..c", "back\\slash", "C:", "NUL", out + "/absolute", ".hidden", "trailing ", "ä"} {
		mustPush(t, s, title, "content of "+title)
	}
	equal(t, list(t, filepath.Join(base, "outside")), outside)
	equal(t, list(t, out), `drwxr-xr-x .
-rw-r--r-- ..c "content of ..c"
-rw-r--r-- .hidden "content of .hidden"
-rw-r--r-- C: "content of C:"
-rw-r--r-- NUL "content of NUL"
-rw-r--r-- a "content of a"
Lrwxrwxrwx abs -> `+filepath.Join(base, "outside")+`
-rw-r--r-- absolute "content of `+(out + "/absolute")[:min(29, len(out)+9)]+`"
-rw-r--r-- b "content of ./b"
-rw-r--r-- back\slash "content of back\\slash"
drwxr-xr-x c
-rw-r--r-- c/d "content of c//d"
Lrwxrwxrwx chain -> in/../out
Lrwxrwxrwx dangling -> nowhere
-rw-r--r-- file "content of file"
Lrwxrwxrwx in -> real
Lrwxrwxrwx loop -> loop
drwxr-xr-x new
-rw-r--r-- new/x "content of new/x"
Lrwxrwxrwx out -> ../outside
drwxr-xr-x real
-rw-r--r-- real/old "old"
-rw-r--r-- real/y "content of in/y"
drwxr-xr-x taken
-rw-r--r-- trailing  "content of trailing "
-rw-r--r-- ä "content of ä"
`)
}

// errAny is any error at all.
var errAny = errors.New("any error")

func TestAllowPathTraversal(t *testing.T) {
	needUnix(t)
	base := t.TempDir()
	write(t, base, map[string]string{"out/link": "->../linked", "linked/": ""})
	s := newStore(t, filepath.Join(base, "out"), &file.Options{AllowPathTraversal: true})
	for _, title := range []string{"../up", "new/../in", filepath.Join(base, "absolute/x"), "link/x", "in/y/z"} {
		if title == "in/y/z" {
			title = "inner/y/z"
		}
		mustPush(t, s, title, "x")
		if r, err := s.Fetch(t.Context(), titled(title, []byte("x"))); err != nil {
			t.Error(err)
		} else {
			r.Close()
		}
	}
	for _, title := range []string{"../docs", filepath.Join(base, "absolute/docs"), "."} {
		data := pack(t, title+"/x")
		if err := s.Push(t.Context(), titled(title, data, file.AnnotationUnpack, "true"), bytes.NewReader(data)); err != nil {
			t.Errorf("%s: %v", title, err)
		}
	}
	for _, title := range []string{"..", ".", "/", "a/.."} {
		if err := push(t, s, title, title); err == nil {
			t.Errorf("%q was written", title)
		}
	}
	equal(t, list(t, base), `drwxr-xr-x .
drwxr-xr-x absolute
drwxr-xr-x absolute/docs
-rw-r--r-- absolute/docs/x "x"
-rw-r--r-- absolute/x "x"
drwxr-xr-x docs
-rw-r--r-- docs/x "x"
drwxr-xr-x linked
-rw-r--r-- linked/x "x"
drwxr-xr-x out
-rw-r--r-- out/in "x"
drwxr-xr-x out/inner
drwxr-xr-x out/inner/y
-rw-r--r-- out/inner/y/z "x"
Lrwxrwxrwx out/link -> ../linked
-rw-r--r-- out/x "x"
-rw-r--r-- up "x"
`)
}

// pack returns a tar.gz as oras-go's file store lays it out: of the directory of
// the first name, which is an entry without a slash at its end, and with times.
func pack(t testing.TB, names ...string) []byte {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	w := tar.NewWriter(z)
	header := func(h tar.Header, content string) {
		t.Helper()
		h.Format, h.Size, h.ModTime = tar.FormatPAX, int64(len(content)), time.Unix(1700000000, 0)
		err := w.WriteHeader(&h)
		if err == nil {
			_, err = w.Write([]byte(content))
		}
		if err != nil && !strings.Contains(err.Error(), "cannot encode") {
			t.Fatal(err)
		}
	}
	if i := strings.LastIndexByte(names[0], '/'); i > 0 {
		header(tar.Header{Typeflag: tar.TypeDir, Name: names[0][:i], Mode: 0o755}, "")
	}
	for _, name := range names {
		header(tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: 0o644}, "x")
	}
	if err := errors.Join(w.Close(), z.Close()); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// What oras-go packed is unpacked, whatever its media type says.
func TestUnpackForeign(t *testing.T) {
	data := pack(t, "docs/readme.md", "docs/a/b")
	z, err := gzip.NewReader(bytes.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	plain, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	var zstd bytes.Buffer
	w, err := archive.Compress(&zstd, archive.Zstd, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(plain); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	for mediaType, data := range map[string][]byte{
		"application/vnd.oci.image.layer.v1.tar+gzip": data, "application/vnd.oci.image.layer.v1.tar": plain,
		"application/vnd.oci.image.layer.v1.tar+zstd": zstd.Bytes(), "application/x-mine": data,
	} {
		dir := t.TempDir()
		s := newStore(t, dir, nil)
		desc := titled("docs", data, file.AnnotationUnpack, "true", file.AnnotationDigest, oras.SHA256.Digest(plain).String())
		desc.MediaType = mediaType
		if err := s.Push(t.Context(), desc, bytes.NewReader(data)); err != nil {
			t.Errorf("%s: %v", mediaType, err)
			continue
		}
		for _, name := range []string{"docs/readme.md", "docs/a/b"} {
			if got, err := os.ReadFile(filepath.Join(dir, name)); err != nil || string(got) != "x" {
				t.Errorf("%s: %s is %q, %v", mediaType, name, got, err)
			}
		}
		// The same again is no error, and moves nothing.
		if err := s.Push(t.Context(), desc, iotest.ErrReader(errors.New("read"))); err != nil {
			t.Error(err)
		}
	}
}

// dropPart removes the one hidden file in dir with what was received of desc.
func dropPart(t testing.TB, dir string, desc oras.Descriptor) {
	t.Helper()
	name := fmt.Sprintf(".oras-%s-%d.part", strings.Replace(string(desc.Digest), ":", "-", 1), desc.Size)
	if err := os.Remove(filepath.Join(dir, name)); err != nil {
		t.Error(err)
	}
}

// Rows F9, C14: a failure leaves everything as it was, but for what the next try goes
// on with.
func TestFailureLeavesNothing(t *testing.T) {
	base := t.TempDir()
	out := filepath.Join(base, "deep/out")
	write(t, base, map[string]string{"old/file": "old", "old/docs/readme.md": "old"})
	before := list(t, base)
	big := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
	docs := pack(t, "docs/readme.md", "docs/a/b")
	broken := errors.New("connection reset")
	size := func(desc oras.Descriptor, n int64) oras.Descriptor { desc.Size = n; return desc }
	unpack := func(title string, data []byte, more ...string) oras.Descriptor {
		return titled(title, data, append(more, file.AnnotationUnpack, "true")...)
	}
	for name, test := range map[string]struct {
		desc    oras.Descriptor
		content io.Reader
		kind    error
	}{
		"short":             {titled("new/file", big), bytes.NewReader(big[:len(big)-1]), oras.ErrInvalid},
		"long":              {titled("file", big), io.MultiReader(bytes.NewReader(big), strings.NewReader("x")), oras.ErrInvalid},
		"other":             {titled("new/file", big), bytes.NewReader(append(bytes.Clone(big[1:]), 'x')), oras.ErrInvalid},
		"reset":             {titled("a/b/c/file", big), io.MultiReader(bytes.NewReader(big[:1<<19]), iotest.ErrReader(broken)), broken},
		"huge size":         {size(titled("new/file", big), 1<<62), bytes.NewReader(big), oras.ErrInvalid},
		"negative size":     {size(titled("file", big), -1), bytes.NewReader(big), oras.ErrInvalid},
		"no digest":         {oras.Descriptor{Annotations: map[string]string{ocispec.AnnotationTitle: "x"}}, bytes.NewReader(big), oras.ErrInvalid},
		"digest of a path":  {oras.Descriptor{Digest: "sha256:../../x", Annotations: map[string]string{ocispec.AnnotationTitle: "x"}}, bytes.NewReader(big), oras.ErrInvalid},
		"archive cut":       {unpack("docs", docs), bytes.NewReader(docs[:len(docs)-1]), oras.ErrInvalid},
		"archive more":      {unpack("docs", docs), io.MultiReader(bytes.NewReader(docs), strings.NewReader("x")), oras.ErrInvalid},
		"archive reset":     {unpack("docs", docs), io.MultiReader(bytes.NewReader(docs[:len(docs)-5]), iotest.ErrReader(broken)), broken},
		"no archive":        {unpack("docs", big), bytes.NewReader(big), oras.ErrInvalid},
		"other inside":      {unpack("docs", docs, file.AnnotationDigest, oras.SHA256.Digest(docs).String()), bytes.NewReader(docs), oras.ErrInvalid},
		"bad digest inside": {unpack("docs", docs, file.AnnotationDigest, "md5:1"), bytes.NewReader(docs), oras.ErrInvalid},
		"other title":       {unpack("other", docs), bytes.NewReader(docs), oras.ErrInvalid},
		"untitled":          {oras.DescriptorOf("x/y", big), bytes.NewReader(big[1:]), oras.ErrInvalid},
		"untitled huge":     {size(oras.DescriptorOf("x/y", big), 1<<62), bytes.NewReader(big), oras.ErrInvalid},
		"manifest":          {oras.DescriptorOf(oras.MediaTypeImageManifest, []byte("{}")), strings.NewReader("{}"), oras.ErrInvalid},
	} {
		t.Run(name, func(t *testing.T) {
			for _, dir := range []string{out, filepath.Join(base, "old")} {
				s := newStore(t, dir, nil)
				if seeker, ok := test.content.(io.Seeker); ok {
					seeker.Seek(0, io.SeekStart)
				} else if dir != out {
					continue
				}
				err := s.Push(t.Context(), test.desc, test.content)
				wantErr(t, err, test.kind, "")
				if name == "reset" {
					dropPart(t, dir, test.desc)
					os.RemoveAll(filepath.Dir(dir))
				}
				equal(t, list(t, base), before)
				if exists, _ := s.Exists(t.Context(), test.desc); exists {
					t.Error("it exists all the same")
				}
				if _, err := s.Fetch(t.Context(), test.desc); err == nil {
					t.Error("it can be fetched all the same")
				}
				// It can be pushed right then.
				if strings.Contains(name, "short") {
					if err := s.Push(t.Context(), test.desc, bytes.NewReader(big)); err != nil {
						t.Error(err)
					}
					os.RemoveAll(filepath.Join(dir, "new"))
					os.RemoveAll(filepath.Dir(out))
				}
			}
		})
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, desc := range []oras.Descriptor{titled("file", docs), unpack("docs", docs)} {
		wantErr(t, newStore(t, out, nil).Push(ctx, desc, bytes.NewReader(docs)), context.Canceled, "")
		equal(t, list(t, base), before)
	}
	bombed := newStore(t, out, &file.Options{MaxUnpackedSize: 1024})
	wantErr(t, bombed.Push(t.Context(), unpack("docs", docs), bytes.NewReader(docs)), archive.ErrTooLarge, "docs")
	bombed = newStore(t, out, &file.Options{MaxUnpackedEntries: 2})
	wantErr(t, bombed.Push(t.Context(), unpack("docs", docs), bytes.NewReader(docs)), archive.ErrTooLarge, "docs")
	equal(t, list(t, base), before)
}

func TestOverwrite(t *testing.T) {
	needUnix(t)
	dir := t.TempDir()
	write(t, dir, map[string]string{"tool": "old", "link": "->tool", "docs/x": "old", "docs/mine": "mine"})
	if err := os.Chmod(filepath.Join(dir, "tool"), 0o750); err != nil {
		t.Fatal(err)
	}
	before := list(t, dir)
	docs := pack(t, "docs/x", "docs/y")
	unpack := titled("docs", docs, file.AnnotationUnpack, "true")

	keep := newStore(t, dir, &file.Options{KeepOldFiles: true})
	wantErr(t, push(t, keep, "tool", "new"), file.ErrOverwrite, filepath.Join(dir, "tool"))
	wantErr(t, push(t, keep, "link", "new"), file.ErrOverwrite, filepath.Join(dir, "link"))
	wantErr(t, keep.Push(t.Context(), unpack, bytes.NewReader(docs)), file.ErrOverwrite, filepath.Join(dir, "docs/x"))
	equal(t, list(t, dir), before)
	mustPush(t, keep, "new", "new")

	s := newStore(t, dir, nil)
	mustPush(t, s, "tool", "new")
	mustPush(t, s, "link", "new")
	if err := s.Push(t.Context(), unpack, bytes.NewReader(docs)); err != nil {
		t.Fatal(err)
	}
	equal(t, list(t, dir), `drwxr-xr-x .
drwxr-xr-x docs
-rw-r--r-- docs/mine "mine"
-rw-r--r-- docs/x "x"
-rw-r--r-- docs/y "x"
-rw-r--r-- link "new"
-rw-r--r-- new "new"
-rwxr-x--- tool "new"
`)
}

func TestOneNameTwice(t *testing.T) {
	dir := t.TempDir()
	s := newStore(t, dir, nil)
	mustPush(t, s, "a", "content")
	mustPush(t, s, "./a", "content") // is there
	wantErr(t, push(t, s, "a", "other"), oras.ErrInvalid, `"a"`)
	// A file system for which A and a are one: two names of one file here.
	if err := os.Link(filepath.Join(dir, "a"), filepath.Join(dir, "A")); err != nil {
		t.Fatal(err)
	}
	wantErr(t, push(t, s, "A", "other"), oras.ErrInvalid, "A: ")
	mustPush(t, s, "A", "content")
	if got, err := os.ReadFile(filepath.Join(dir, "a")); err != nil || string(got) != "content" {
		t.Errorf("a is %q, %v", got, err)
	}
}

func TestTagsAndUntitled(t *testing.T) {
	s := newStore(t, t.TempDir(), nil)
	data := []byte("untitled")
	desc := oras.DescriptorOf("x/y", data)
	wantErr(t, s.Tag(t.Context(), desc, "v1"), oras.ErrNotFound, desc.Digest.String())
	for range 2 {
		if err := s.Push(t.Context(), desc, bytes.NewReader(data)); err != nil {
			t.Fatal(err)
		}
	}
	for _, bad := range []string{"", desc.Digest.String()} {
		wantErr(t, s.Tag(t.Context(), desc, bad), oras.ErrReference, "")
	}
	if err := s.Tag(t.Context(), desc, "v1"); err != nil {
		t.Fatal(err)
	}
	for _, ref := range []string{"v1", desc.Digest.String()} {
		if got, err := s.Resolve(t.Context(), ref); err != nil || got.Digest != desc.Digest || got.MediaType != "x/y" || got.Size != desc.Size {
			t.Errorf("%s: %v, %v", ref, got, err)
		}
	}
	for _, ref := range []string{"", "v2", oras.SHA256.Digest([]byte("no")).String()} {
		_, err := s.Resolve(t.Context(), ref)
		wantErr(t, err, oras.ErrNotFound, ref)
	}
	// SHA-512, and more than stays in memory.
	r := rand.NewChaCha8([32]byte{})
	for i := range 10 {
		data := make([]byte, 4<<20+i%2)
		r.Read(data)
		desc := oras.Descriptor{MediaType: "x/y", Digest: oras.SHA512.Digest(data).OCI(), Size: int64(len(data))}
		if err := oras.Push(t.Context(), s, desc, bytes.NewReader(data)); err != nil {
			t.Fatal(err)
		}
		f, err := s.Fetch(t.Context(), desc)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(oras.NewVerifier(f, desc))
		if err != nil || !bytes.Equal(got, data) {
			t.Errorf("got %d bytes, %v", len(got), err)
		}
		f.Close()
	}
}

func TestClose(t *testing.T) {
	temp := t.TempDir()
	t.Setenv("TMPDIR", temp)
	t.Setenv("TMP", temp)
	dir := t.TempDir()
	write(t, dir, map[string]string{"docs/a": "a"})
	s := newStore(t, dir, nil)
	docs, err := s.Add(t.Context(), "docs", "", "")
	if err != nil {
		t.Fatal(err)
	}
	big := make([]byte, oras.MaxManifestSize+1)
	if err := s.Push(t.Context(), oras.DescriptorOf("x/y", big), bytes.NewReader(big)); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(temp)
	if err != nil || len(entries) != 1 {
		t.Fatalf("%v, %v: one private directory expected", entries, err)
	}
	if info, err := entries[0].Info(); err != nil || runtime.GOOS != "windows" && info.Mode().Perm() != 0o700 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	for range 2 {
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if entries, err := os.ReadDir(temp); err != nil || len(entries) != 0 {
		t.Errorf("%v, %v are left", entries, err)
	}
	_, fetch := s.Fetch(t.Context(), docs)
	_, exists := s.Exists(t.Context(), docs)
	_, resolve := s.Resolve(t.Context(), "v1")
	_, add := s.Add(t.Context(), "x", "docs/a", "")
	for _, err := range []error{fetch, exists, resolve, add, s.Tag(t.Context(), docs, "v1"), push(t, s, "y", "y"), push(t, s, "", "y")} {
		wantErr(t, err, fs.ErrClosed, "")
	}
}
