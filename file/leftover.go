package file

import (
	"errors"
	"io/fs"
	"os"
	"path"
	"regexp"
	"time"

	"github.com/c73062ad/oras/archive"
	"github.com/c73062ad/oras/internal/claim"
)

// What was left by processes that were killed is removed by who works in the same
// directory next: work directories once nobody has locked them, what cannot be
// locked once it is old, and beginnings of content once nobody went on with them for
// long. Names must be entirely those that this package gives.
const (
	tempAge = 24 * time.Hour
	partAge = 7 * 24 * time.Hour
)

const partPattern = `\.oras-sha(?:256-[0-9a-f]{64}|512-[0-9a-f]{128})-[0-9]{1,19}\.part`

var (
	partGrammar     = regexp.MustCompile(`^` + partPattern + `$`)
	workPartGrammar = regexp.MustCompile(`^[0-9]+(` + partPattern + `)$`)
	workGrammar     = regexp.MustCompile(`^\.oras-[A-Z2-7]{26}\.work$`)
	tempGrammar     = regexp.MustCompile(`^\.oras-[A-Z2-7]{26}$`) // of archive
)

// sweep removes what was left in root. That something cannot be is for the next to
// try again: nobody's work depends on it.
func sweep(root *os.Root) {
	d, err := root.Open(".")
	if err != nil {
		return
	}
	defer d.Close()
	for {
		names, err := d.Readdirnames(256)
		for _, name := range names {
			switch {
			case len(name) < len(archive.TempPrefix) || name[:len(archive.TempPrefix)] != archive.TempPrefix:
			case workGrammar.MatchString(name):
				sweepWork(root, name)
			case tempGrammar.MatchString(name):
				if info, err := root.Lstat(name); err == nil && info.IsDir() && isOld(info, tempAge) {
					root.RemoveAll(name)
				}
			case partGrammar.MatchString(name):
				sweepPart(root, name)
			}
		}
		if err != nil {
			return
		}
	}
}

func isOld(info fs.FileInfo, age time.Duration) bool { return time.Since(info.ModTime()) > age }

// sweepWork removes the work directory name if nobody works there. The beginnings of
// content in it are kept, for they may be wanted now.
func sweepWork(root *os.Root, name string) {
	info, err := root.Lstat(name)
	if err != nil || !info.IsDir() {
		return
	}
	lock, err := claim.File(root, path.Join(name, lockName))
	if err != nil {
		if errors.Is(err, claim.ErrNoLocks) && isOld(info, tempAge) {
			root.RemoveAll(name)
		}
		return
	}
	defer lock.Close()
	keepParts(root, name)
	root.RemoveAll(name)
}

// keepParts moves beginnings of content from the work directory to where they are
// looked for, unless there is one already.
func keepParts(root *os.Root, work string) {
	d, err := root.Open(work)
	if err != nil {
		return
	}
	defer d.Close()
	names, err := d.Readdirnames(-1)
	if err != nil {
		return
	}
	for _, name := range names {
		m := workPartGrammar.FindStringSubmatch(name)
		if m == nil {
			continue
		}
		// Not by renaming, which would replace what another has locked.
		if info, err := root.Lstat(path.Join(work, name)); err == nil && info.Size() >= keptPart {
			root.Link(path.Join(work, name), m[1])
		}
	}
}

// sweepPart removes the beginning of some content if it is old and nobody has it.
func sweepPart(root *os.Root, name string) {
	if info, err := root.Lstat(name); err == nil && isOld(info, partAge) {
		removePart(root, name)
	}
}

// removePart removes the beginning of some content, if it is there and nobody has it.
func removePart(root *os.Root, name string) {
	info, err := root.Lstat(name)
	if err != nil || !claim.IsOurs(info) {
		return
	}
	f, err := claim.File(root, name)
	if err != nil {
		return
	}
	defer f.Close()
	root.Remove(name)
}
