package file

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"strings"

	"github.com/c73062ad/oras"
	"github.com/c73062ad/oras/archive"
	"github.com/c73062ad/oras/internal/claim"
)

// A part is a file that content is written to before it has its name, and that goes
// on existing, for the next try, when that comes to nothing.
type part struct {
	ground *ground
	name   string   // in the ground; empty once the file has another name, or none
	file   *os.File // nil while it is closed
}

func partName(d oras.Digest, size int64) string {
	return fmt.Sprintf("%s%s-%s-%d.part", archive.TempPrefix, d.Algorithm(), d.Hex(), size)
}

// openPart opens the part for content. Where somebody else has that, it is one of
// its own: waiting could be for one who never ends.
func (at *ground) openPart(d oras.Digest, size int64) (*part, error) {
	name := partName(d, size)
	f, err := claim.File(at.root, name)
	if err == nil {
		return &part{at, name, f}, nil
	}
	if !errors.Is(err, claim.ErrTaken) && !errors.Is(err, claim.ErrNoLocks) {
		return nil, err
	}
	if name, err = at.workName(name); err != nil {
		return nil, err
	}
	f, err = at.root.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o666)
	if err != nil {
		return nil, err
	}
	return &part{at, name, f}, nil
}

// keptPart is the size in bytes from which a part stays for the next try. Less is not
// worth the hidden file.
const keptPart = 64 << 10

// leave closes the part after reading the content failed with err. It stays, for the
// next try, unless what was read is wrong, or little.
func (p *part) leave(err error) error {
	info, statErr := p.file.Stat()
	if statErr != nil || info.Size() < keptPart || errors.Is(err, oras.ErrInvalid) {
		return p.remove()
	}
	return p.close()
}

// remove removes the part, as long as nobody else can have it, and closes it.
func (p *part) remove() error {
	var err error
	if p.name != "" {
		err = p.ground.root.Remove(p.name)
		p.name = ""
	}
	return errors.Join(err, p.close())
}

func (p *part) close() error {
	if p.file == nil {
		return nil
	}
	err := p.file.Close()
	p.file = nil
	return err
}

// isShared reports whether others look for the part where it is.
func (p *part) isShared() bool { return !strings.Contains(p.name, "/") }

// hold makes the part one that nobody else looks for.
func (p *part) hold() error {
	if !p.isShared() {
		return nil
	}
	name, err := p.ground.workName(path.Base(p.name))
	if err == nil {
		err = p.ground.root.Rename(p.name, name)
	}
	if err == nil {
		p.name = name
		_, err = p.check()
	}
	return err
}

// check reports a part that has been replaced: titles can be chosen so that they are
// the name of one. What is in the work directory, and closed, nobody else has replaced.
func (p *part) check() (fs.FileInfo, error) {
	info, err := p.ground.root.Lstat(p.name)
	if err != nil || p.file == nil {
		return info, err
	}
	opened, err := p.file.Stat()
	if err == nil && !os.SameFile(info, opened) {
		err = fmt.Errorf("%s: %w: it was replaced while it was written", p.name, oras.ErrInvalid)
	}
	return info, err
}
