//go:build !linux

package bucket

import (
	"os"
	"path"
)

// openAt opens the file called name in f.
func openAt(f *folder, name string, flag int) (*os.File, error) {
	return f.OpenFile(name, flag, fileMode)
}

// statAt returns what is known of the object called name in f.
func statAt(f *folder, name string) (Status, error) { return statIn(f, name) }

// writeBack does nothing where there is no way to ask for it.
func writeBack(f *os.File, offset, n int64) {}

// syncAll makes durable what journal says, file by file and folder by folder.
func (d *Dir) syncAll(journal *os.File) error {
	records, _, err := readJournal(journal)
	if err != nil {
		return err
	}
	folders := map[string]bool{}
	for _, r := range records {
		if r.kind == recordPut {
			if err := d.syncFile(r.name); err != nil && !missing(err) {
				return err
			}
		}
		for folder := path.Dir(r.name); !folders[folder]; folder = path.Dir(folder) {
			folders[folder] = true
		}
	}
	for folder := range folders {
		if err := d.sync(folder); err != nil && !missing(err) {
			return err
		}
	}
	return nil
}
