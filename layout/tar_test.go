package layout_test

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/c73062ad/oras"
	"github.com/c73062ad/oras/layout"
)

// sample makes a layout of an image, its signature, and a SHA-512 blob.
func sample(t *testing.T) (dir string, one, signature oras.Descriptor) {
	t.Helper()
	dir = t.TempDir()
	s := open(t, dir)
	push(t, s, oras.MediaTypeEmpty, []byte("{}"))
	one = pushImage(t, s, "one", "v1", "example.com/foo:latest")
	signature = push(t, s, oras.MediaTypeImageManifest, image("signature", &one))
	long := []byte("long name")
	must(t, oras.Push(t.Context(), s, oras.Descriptor{MediaType: "a/b", Digest: oras.SHA512.Digest(long).OCI(), Size: int64(len(long))}, bytes.NewReader(long)))
	return dir, one, signature
}

// wantSample checks that s holds what sample made.
func wantSample(t *testing.T, s *layout.Store, one, signature oras.Descriptor) {
	t.Helper()
	if got, want := tags(t, s), []string{"example.com/foo:latest", "v1"}; !slices.Equal(got, want) {
		t.Errorf("tags are %q, want %q", got, want)
	}
	if got := resolve(t, s, "v1"); got.Digest != one.Digest {
		t.Errorf("v1 is %v", got)
	}
	data, err := oras.FetchAll(t.Context(), s, one)
	must(t, err)
	if !bytes.Equal(data, image("one", nil)) {
		t.Errorf("fetched %s", data)
	}
	got, err := s.Predecessors(t.Context(), one)
	must(t, err)
	if len(got) != 1 || got[0].Digest != signature.Digest {
		t.Errorf("predecessors are %v", got)
	}
	if desc := resolve(t, s, oras.SHA512.Digest([]byte("long name")).String()); desc.Size != 9 {
		t.Errorf("the SHA-512 blob is %v", desc)
	}
	absent := oras.DescriptorOf("a/b", []byte("absent"))
	_, err = s.Fetch(t.Context(), absent)
	fails(t, err, oras.ErrNotFound, absent.Digest.String())
	if exists, err := s.Exists(t.Context(), absent); exists || err != nil {
		t.Errorf("what is absent exists: %v, %v", exists, err)
	}
	wantReadOnly(t, s, one)
}

func TestTar(t *testing.T) {
	dir, one, signature := sample(t)
	var archive bytes.Buffer
	must(t, openReadOnly(t, dir).WriteTar(t.Context(), &archive))
	name := filepath.Join(t.TempDir(), "any.name")
	must(t, os.WriteFile(name, archive.Bytes(), 0o666))

	s := openReadOnly(t, name)
	wantSample(t, s, one, signature)
	r, err := s.Fetch(t.Context(), one)
	must(t, err)
	defer r.Close()
	if end, err := r.(io.Seeker).Seek(-1, io.SeekEnd); err != nil || end != one.Size-1 {
		t.Errorf("seeking to the end: %d, %v", end, err)
	}
	if last, err := io.ReadAll(r); err != nil || string(last) != "}" {
		t.Errorf("the last byte is %q, %v", last, err)
	}

	// An archive made of the archive is the same.
	var again bytes.Buffer
	must(t, s.WriteTar(t.Context(), &again))
	if !bytes.Equal(archive.Bytes(), again.Bytes()) {
		t.Error("the archive of the archive is another")
	}
}

// Archives of layouts that hold the same are equal, in whichever order it came.
func TestWriteTarOrder(t *testing.T) {
	names := []string{"one", "two", "three", "four"}
	var archives [][]byte
	for range 2 {
		s := open(t, t.TempDir())
		for _, name := range names {
			pushImage(t, s, "untagged "+name)
			pushImage(t, s, name, name)
		}
		for _, name := range names {
			must(t, s.Tag(t.Context(), resolve(t, s, "one"), "also "+name))
		}
		var archive bytes.Buffer
		must(t, s.WriteTar(t.Context(), &archive))
		archives = append(archives, archive.Bytes())
		slices.Reverse(names)
	}
	if !bytes.Equal(archives[0], archives[1]) {
		t.Error("the archives differ")
	}
}

// Of two entries with one tag the last one counts in the archive, too.
func TestWriteTarTagTwice(t *testing.T) {
	for _, names := range [][]string{{"one", "two"}, {"two", "one"}} {
		dir := t.TempDir()
		s := open(t, dir)
		pushImage(t, s, names[0], "x")
		last := pushImage(t, s, names[1], "y")
		write(t, dir, "index.json", strings.ReplaceAll(read(t, dir, "index.json"), `"y"`, `"x"`))
		name := filepath.Join(t.TempDir(), "archive")
		f, err := os.Create(name)
		must(t, err)
		must(t, s.WriteTar(t.Context(), f))
		must(t, f.Close())
		if got := resolve(t, openReadOnly(t, name), "x"); got.Digest != last.Digest {
			t.Errorf("x is %v, want %v", got, last)
		}
	}
}

func TestWriteTar(t *testing.T) {
	dir, one, signature := sample(t)
	write(t, dir, "blobs/sha256/no-digest", "x")
	write(t, dir, "blobs/md5/x", "x")
	write(t, dir, ".oras-X.tmp", "x")
	s := openReadOnly(t, dir)
	var archive bytes.Buffer
	must(t, s.WriteTar(t.Context(), &archive))
	var names []string
	for r := tar.NewReader(&archive); ; {
		h, err := r.Next()
		if err == io.EOF {
			break
		}
		must(t, err)
		names = append(names, h.Name)
		if h.ModTime.Unix() != 0 || h.Uid != 0 || h.Gid != 0 || h.Uname != "" || h.Gname != "" || h.Mode&^0o755 != 0 {
			t.Errorf("%s tells where it is from: %+v", h.Name, h)
		}
	}
	blobs := []string{path(oras.DescriptorOf("", []byte("{}"))), path(one), path(signature)}
	slices.Sort(blobs)
	want := slices.Concat([]string{"oci-layout", "index.json", "blobs/", "blobs/sha256/"}, blobs,
		[]string{"blobs/sha512/", "blobs/sha512/" + oras.SHA512.Digest([]byte("long name")).Hex()})
	if !slices.Equal(names, want) {
		t.Errorf("the archive has %q, want %q", names, want)
	}

	must(t, os.Remove(filepath.Join(dir, path(one))))
	write(t, dir, path(one), strings.Repeat("x", int(one.Size)))
	fails(t, s.WriteTar(t.Context(), io.Discard), oras.ErrInvalid, one.Digest.Encoded())
}

func TestOpenFS(t *testing.T) {
	dir, one, signature := sample(t)
	var archive bytes.Buffer
	z := zip.NewWriter(&archive)
	memory := fstest.MapFS{}
	for _, name := range files(t, dir) {
		w, err := z.Create(name)
		must(t, err)
		_, err = io.WriteString(w, read(t, dir, name))
		must(t, err)
		memory[name] = &fstest.MapFile{Data: []byte(read(t, dir, name))}
	}
	must(t, z.Close())
	zipped, err := zip.NewReader(bytes.NewReader(archive.Bytes()), int64(archive.Len()))
	must(t, err)
	for name, fsys := range map[string]fs.FS{"zip": zipped, "memory": memory, "disk": os.DirFS(dir)} {
		t.Run(name, func(t *testing.T) {
			s, err := layout.OpenFS(fsys)
			must(t, err)
			wantSample(t, s, one, signature)
			var a, b bytes.Buffer
			must(t, s.WriteTar(t.Context(), &a))
			must(t, openReadOnly(t, dir).WriteTar(t.Context(), &b))
			if !bytes.Equal(a.Bytes(), b.Bytes()) {
				t.Error("the archive of it is another")
			}
			must(t, s.Close())
		})
	}
	_, err = layout.OpenFS(fstest.MapFS{})
	fails(t, err, fs.ErrNotExist, "oci-layout")
}

// A header is an entry of an archive to be written, with its content.
type header struct {
	tar.Header
	content string
}

func file(name, content string) header {
	return header{tar.Header{Typeflag: tar.TypeReg, Name: name, Size: int64(len(content)), Mode: 0o644}, content}
}

func link(kind byte, name, to string) header {
	return header{tar.Header{Typeflag: kind, Name: name, Linkname: to, Mode: 0o644}, ""}
}

func writeArchive(t *testing.T, entries ...header) string {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, e := range entries {
		must(t, w.WriteHeader(&e.Header))
		_, err := io.WriteString(w, e.content)
		must(t, err)
	}
	must(t, w.Close())
	name := filepath.Join(t.TempDir(), "layout.tar")
	must(t, os.WriteFile(name, b.Bytes(), 0o666))
	return name
}

var (
	versionEntry = file("oci-layout", `{"imageLayoutVersion":"1.0.0"}`)
	indexEntry   = file("index.json", `{"schemaVersion":2}`)
)

// Archives of docker save and of GNU tar.
func TestTarForms(t *testing.T) {
	blob := oras.DescriptorOf("a/b", []byte("blob"))
	copied := oras.DescriptorOf("a/b", []byte("content of a hard link"))
	symbolic := oras.DescriptorOf("a/b", []byte("content of a symbolic link"))
	name := writeArchive(t,
		header{tar.Header{Typeflag: tar.TypeXGlobalHeader, PAXRecords: map[string]string{"comment": "x"}}, ""},
		header{tar.Header{Typeflag: tar.TypeDir, Name: "./", Mode: 0o755}, ""},
		header{tar.Header{Typeflag: tar.TypeDir, Name: "./blobs/", Mode: 0o755}, ""},
		header{tar.Header{Typeflag: tar.TypeDir, Name: "blobs", Mode: 0o755}, ""},
		link(tar.TypeSymlink, "latest/layer.tar", "/etc/passwd"),
		file("manifest.json", "[]"),
		link(tar.TypeLink, "./"+path(copied), "./manifest/linked"),
		file("./manifest/linked", "content of a hard link"),
		file("./"+path(blob), "blob"),
		file("secret", "content of a symbolic link"),
		link(tar.TypeSymlink, path(symbolic), "../../secret"),
		file("./oci-layout", versionEntry.content),
		file("./index.json", indexEntry.content),
	)
	s := openReadOnly(t, name)
	for _, desc := range []oras.Descriptor{blob, copied} {
		if _, err := oras.FetchAll(t.Context(), s, desc); err != nil {
			t.Error(err)
		}
	}
	_, err := s.Fetch(t.Context(), symbolic)
	fails(t, err, oras.ErrInvalid, "not a regular file")
}

func TestTarRefused(t *testing.T) {
	whole := func(more ...header) string {
		return writeArchive(t, append([]header{versionEntry, indexEntry}, more...)...)
	}
	bytesOf := func(data []byte) string {
		name := filepath.Join(t.TempDir(), "layout.tar")
		must(t, os.WriteFile(name, data, 0o666))
		return name
	}
	good, err := os.ReadFile(whole(file("blobs/x", strings.Repeat("x", 2000))))
	must(t, err)
	var zipped bytes.Buffer
	z := gzip.NewWriter(&zipped)
	_, err = z.Write(good)
	must(t, err)
	must(t, z.Close())

	for name, test := range map[string]struct {
		path string
		kind error
		word string
	}{
		"twice":           {whole(indexEntry), oras.ErrInvalid, "twice"},
		"twice, spelled":  {whole(file("./index.json", "{}")), oras.ErrInvalid, "twice"},
		"twice, as link":  {whole(link(tar.TypeSymlink, "index.json", "x")), oras.ErrInvalid, "twice"},
		"twice, as dir":   {whole(header{tar.Header{Typeflag: tar.TypeDir, Name: "index.json/"}, ""}), oras.ErrInvalid, "twice"},
		"device":          {whole(header{tar.Header{Typeflag: tar.TypeBlock, Name: "sda"}, ""}), oras.ErrInvalid, "sda"},
		"fifo":            {whole(header{tar.Header{Typeflag: tar.TypeFifo, Name: "pipe"}, ""}), oras.ErrInvalid, "pipe"},
		"dots":            {whole(file("../index.json", "")), oras.ErrInvalid, "../index.json"},
		"dots inside":     {whole(file("a/../index.json", "")), oras.ErrInvalid, "a/../index.json"},
		"absolute":        {whole(file("/index.json", "")), oras.ErrInvalid, "/index.json"},
		"link to itself":  {whole(link(tar.TypeLink, "a", "a")), oras.ErrInvalid, "hard link"},
		"link cycle":      {whole(link(tar.TypeLink, "a", "b"), link(tar.TypeLink, "b", "a")), oras.ErrInvalid, "hard link"},
		"link to link":    {whole(link(tar.TypeLink, "a", "index.json"), link(tar.TypeLink, "b", "a")), oras.ErrInvalid, "hard link"},
		"link to nothing": {whole(link(tar.TypeLink, "a", "/etc/passwd")), oras.ErrInvalid, "/etc/passwd"},
		"link to symlink": {whole(link(tar.TypeSymlink, "s", "index.json"), link(tar.TypeLink, "a", "s")), oras.ErrInvalid, "hard link"},
		"no tar":          {bytesOf(bytes.Repeat([]byte("text\n"), 1000)), oras.ErrInvalid, "not a tar archive"},
		"short text":      {bytesOf([]byte("text")), oras.ErrInvalid, "tar archive"},
		"cut":             {bytesOf(good[:len(good)-2500]), oras.ErrInvalid, "tar archive"},
		"empty":           {bytesOf(nil), fs.ErrNotExist, "invalid OCI Image Layout"},
		"no layout":       {writeArchive(t, file("x", "y")), fs.ErrNotExist, "oci-layout"},
		"no index":        {writeArchive(t, versionEntry), fs.ErrNotExist, "index.json"},
		"symbolic index":  {writeArchive(t, versionEntry, link(tar.TypeSymlink, "index.json", "x"), file("x", indexEntry.content)), oras.ErrInvalid, "index.json"},
		"gzip":            {bytesOf(zipped.Bytes()), oras.ErrInvalid, "gunzip"},
		"zstd":            {bytesOf([]byte("\x28\xb5\x2f\xfd....")), oras.ErrInvalid, "unzstd"},
		"xz":              {bytesOf([]byte("\xfd7zXZ\x00")), oras.ErrInvalid, "unxz"},
		"bzip2":           {bytesOf([]byte("BZh91AY")), oras.ErrInvalid, "bunzip2"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := layout.OpenReadOnly(test.path)
			fails(t, err, test.kind, test.path, test.word)
		})
	}
}

// A sparse file says in its headers what bytes it has; package tar writes none.
func TestTarSparse(t *testing.T) {
	record := func(key, value string) string {
		n := len(key) + len(value) + 3
		for n != len(fmt.Sprint(n))+len(key)+len(value)+3 {
			n = len(fmt.Sprint(n)) + len(key) + len(value) + 3
		}
		return fmt.Sprintf("%d %s=%s\n", n, key, value)
	}
	records := record("GNU.sparse.major", "0") + record("GNU.sparse.minor", "1") + record("GNU.sparse.name", "blobs/x") +
		record("GNU.sparse.size", "1000000") + record("GNU.sparse.numblocks", "1") + record("GNU.sparse.map", "0,1")
	name := writeArchive(t, versionEntry, indexEntry, file("PaxHeaders/x", records), file("blobs/x", "y"))
	data, err := os.ReadFile(name)
	must(t, err)
	start := bytes.Index(data, []byte("PaxHeaders/x"))
	setType(data[start:start+512], tar.TypeXHeader)
	must(t, os.WriteFile(name, data, 0o666))
	_, err = layout.OpenReadOnly(name)
	fails(t, err, oras.ErrInvalid, "sparse")

	name = writeArchive(t, versionEntry, indexEntry, file("blobs/x", "y"))
	data, err = os.ReadFile(name)
	must(t, err)
	start = bytes.Index(data, []byte("blobs/x"))
	copy(data[start+257:], "ustar  \x00")                    // GNU's magic
	copy(data[start+386:], "00000000000\x0000000000001\x00") // one block of a byte at 0
	copy(data[start+483:], "00000000001\x00")
	setType(data[start:start+512], tar.TypeGNUSparse)
	must(t, os.WriteFile(name, data, 0o666))
	_, err = layout.OpenReadOnly(name)
	fails(t, err, oras.ErrInvalid, "blobs/x")
}

// setType changes the type of a header block and mends its checksum.
func setType(block []byte, typeflag byte) {
	block[156] = typeflag
	copy(block[148:156], "        ")
	sum := 0
	for _, b := range block {
		sum += int(b)
	}
	copy(block[148:156], fmt.Sprintf("%06o\x00 ", sum))
}

// What an archive holds costs no memory, and is read from where it lies.
func TestTarLarge(t *testing.T) {
	const size = 10 << 30
	name := filepath.Join(t.TempDir(), "large.tar")
	f, err := os.Create(name)
	must(t, err)
	defer f.Close()
	w := tar.NewWriter(f)
	d := oras.SHA256.Digest([]byte("not read"))
	must(t, w.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: "blobs/sha256/" + d.Hex(), Size: size}))
	start, err := f.Seek(0, io.SeekCurrent)
	must(t, err)
	if _, err := f.WriteAt([]byte("end"), start+size-3); err != nil { // a file with a hole
		t.Skip(err)
	}
	_, err = f.Seek(start+size, io.SeekStart)
	must(t, err)
	w = tar.NewWriter(f)
	for _, e := range []header{versionEntry, indexEntry} {
		must(t, w.WriteHeader(&e.Header))
		_, err := io.WriteString(w, e.content)
		must(t, err)
	}
	must(t, w.Close())

	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	s := openReadOnly(t, name)
	r, err := s.Fetch(t.Context(), oras.Descriptor{Digest: d.OCI(), Size: size})
	must(t, err)
	defer r.Close()
	_, err = r.(io.Seeker).Seek(-3, io.SeekEnd)
	must(t, err)
	end, err := io.ReadAll(r)
	must(t, err)
	if string(end) != "end" {
		t.Errorf("the end is %q", end)
	}
	runtime.ReadMemStats(&after)
	if used := after.TotalAlloc - before.TotalAlloc; used > 1<<20 {
		t.Errorf("%d bytes were allocated", used)
	}
}

func BenchmarkTag(b *testing.B) {
	for _, n := range []int{100, 4000} {
		b.Run(fmt.Sprint(n, " tags"), func(b *testing.B) {
			s, err := layout.Open(b.TempDir())
			if err != nil {
				b.Fatal(err)
			}
			defer s.Close()
			var descs []oras.Descriptor
			for i := range 2 {
				desc, err := oras.PushBytes(b.Context(), s, oras.MediaTypeImageManifest, image(fmt.Sprint(i), nil))
				if err != nil {
					b.Fatal(err)
				}
				descs = append(descs, desc)
			}
			for i := range n {
				if err := s.Tag(b.Context(), descs[0], fmt.Sprintf("%x", sha256.Sum256([]byte{byte(i), byte(i >> 8)}))); err != nil {
					b.Fatal(err)
				}
			}
			i := 0
			for b.Loop() {
				i++
				if err := s.Tag(b.Context(), descs[i%2], "moving"); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
