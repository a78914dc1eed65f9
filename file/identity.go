package file

import (
	"fmt"
	"io"
	"io/fs"
	"os"
	"time"

	"github.com/c73062ad/oras"
)

// identity returns text that another file, or the same with other content, has not,
// as far as that can be told without reading it: path, size, time and inode, of a
// directory those of all it holds, and how it would be packed.
func (s *Store) identity(a *adding) (string, error) {
	h := oras.SHA256.New()
	fmt.Fprintf(h, "1 %q", a.path)
	describe(h, ".", a.info)
	if a.info.IsDir() {
		fmt.Fprintf(h, " %q %s %d %d\n", a.title, s.opts.Compression, s.opts.Level, s.opts.ModTime.Unix())
		root, err := os.OpenRoot(a.path)
		if err != nil {
			return "", err
		}
		defer root.Close()
		err = fs.WalkDir(root.FS(), ".", func(name string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			info, err := d.Info()
			if err == nil {
				describe(h, name, info)
			}
			return err
		})
		if err != nil {
			return "", err
		}
	}
	return oras.SHA256.Sum(h).String(), nil
}

func describe(w io.Writer, name string, info fs.FileInfo) {
	fmt.Fprintf(w, " %q %s %d %s %d\n", name, info.Mode(), info.Size(), info.ModTime().UTC().Format(time.RFC3339Nano), inodeOf(info))
}
