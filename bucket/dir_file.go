package bucket

import "os"

// writeBackBlock is in bytes. What is written is given to the disk by blocks of
// that size, so that a large object does not end with a long wait for it.
const writeBackBlock = 8 << 20

// A dirFile is a file being written.
type dirFile struct {
	*os.File
	dir  *Dir
	name string
}

// WriteAt is that of [os.File].
func (f *dirFile) WriteAt(p []byte, offset int64) (int, error) {
	if err := f.dir.doing("write", f.name); err != nil {
		n, _ := f.File.WriteAt(p[:len(p)/2], offset)
		return n, err
	}
	n, err := f.File.WriteAt(p, offset)
	start := offset / writeBackBlock * writeBackBlock
	end := (offset + int64(n)) / writeBackBlock * writeBackBlock
	if start < end {
		writeBack(f.File, start, end-start)
	}
	return n, err
}

// Sync is that of [os.File].
func (f *dirFile) Sync() error {
	if err := f.dir.doing("fsync", f.name); err != nil {
		return err
	}
	return f.File.Sync()
}
