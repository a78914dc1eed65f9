package file

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"regexp"
	"time"

	"github.com/c73062ad/oras"
	"github.com/c73062ad/oras/internal/claim"
)

// A Journal remembers uploads, so that another process goes on with one after the
// process that began it has ended; see [Store.Send] and [Journal.Blobs]. It is a
// directory with a file for each content that is, or was, on its way to some target:
//
//	<sha256 of target, file and how it is packed>.upload    lines of JSON, of which the last that is whole counts
//	<sha256 of target and digest>.upload                    of a blob that is copied
//
// Lines are appended, so there is no moment in which a killed process would leave
// none. Who works with an entry has it locked: two processes that send the same do
// not both go on with one upload. Entries that nothing happened to for a week, when
// targets have long forgotten their uploads, are removed, and those that say nothing.
//
// A journal only saves work. That an entry cannot be read or written is no error, and
// what it says is not believed but tried. It is safe for concurrent use, by any number
// of processes.
type Journal struct{ root *os.Root }

const (
	journalAge = 7 * 24 * time.Hour

	// maxEntry is how large an entry can become before it begins anew.
	maxEntry = 1 << 20
)

var entryGrammar = regexp.MustCompile(`^[0-9a-f]{64}\.upload$`)

// OpenJournal opens the journal in the directory dir, which is made if it is not
// there; nobody else should be able to read it. Close must be called.
func OpenJournal(dir string) (*Journal, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	j := &Journal{root}
	j.expire()
	return j, nil
}

// Close lets go of the journal.
func (j *Journal) Close() error { return j.root.Close() }

// Blobs is for [oras.CopyOptions]: it remembers the uploads of blobs to the target of
// that name, which no other target has. A blob that another process, or another copy,
// has the entry of has no record. A nil journal remembers nothing.
func (j *Journal) Blobs(target string) func(oras.Descriptor) *oras.UploadRecord {
	if j == nil {
		return nil
	}
	return func(desc oras.Descriptor) *oras.UploadRecord {
		r := j.open(target + "\n" + string(desc.Digest))
		if r == nil {
			return nil
		}
		// Not even closing it is worth more than trying: see above.
		return &oras.UploadRecord{Upload: r.Upload, Note: r.note, Close: func() { r.close() }}
	}
}

// expire removes old entries.
func (j *Journal) expire() {
	d, err := j.root.Open(".")
	if err != nil {
		return
	}
	defer d.Close()
	for {
		names, err := d.Readdirnames(256)
		for _, name := range names {
			info, err := j.root.Lstat(name)
			if err != nil || !entryGrammar.MatchString(name) || info.Size() > 0 && !isOld(info, journalAge) {
				continue
			}
			f, err := claim.File(j.root, name)
			if err != nil {
				continue
			}
			// It may have been written to until it could be locked.
			if info, err := f.Stat(); err == nil && (info.Size() == 0 || isOld(info, journalAge)) {
				j.root.Remove(name)
			}
			f.Close()
		}
		if err != nil {
			return
		}
	}
}

// A record is an entry that this process has. A nil record is none: there is no
// journal, or another process has the entry.
type record struct {
	root *os.Root
	name string
	file *os.File
	size int64

	Upload string `json:"upload,omitzero"` // the id of one that has begun
	Digest string `json:"digest,omitzero"` // of the content when it was last sent whole
}

// open returns the entry for what key stands for.
func (j *Journal) open(key string) *record {
	name := oras.SHA256.Digest([]byte(key)).Hex() + ".upload"
	f, err := claim.File(j.root, name)
	if err != nil {
		return nil
	}
	r := &record{root: j.root, name: name, file: f}
	r.read()
	return r
}

// read takes up what the last whole line says.
func (r *record) read() {
	data, err := io.ReadAll(io.LimitReader(r.file, maxEntry))
	if err != nil {
		return
	}
	r.size = int64(len(data))
	whole := bytes.LastIndexByte(data, '\n')
	if whole < 0 {
		return
	}
	last := data[bytes.LastIndexByte(data[:whole], '\n')+1 : whole]
	var read record
	if json.Unmarshal(last, &read) == nil {
		r.Upload, r.Digest = read.Upload, read.Digest
	}
}

// write appends a line.
func (r *record) write() {
	line, err := json.Marshal(r)
	if err != nil {
		return
	}
	// A line that was torn must not become the beginning of this one.
	line = append(append([]byte{'\n'}, line...), '\n')
	if r.size+int64(len(line)) > maxEntry {
		if r.file.Truncate(0) != nil {
			return
		}
		r.size = 0
	}
	if _, err := r.file.WriteAt(line, r.size); err != nil {
		r.file.Truncate(r.size)
		return
	}
	r.size += int64(len(line))
}

// upload returns the id to go on with, if any.
func (r *record) upload() string {
	if r == nil {
		return ""
	}
	return r.Upload
}

// digest returns what the content was when it was last sent whole, or the zero Digest.
func (r *record) digest() oras.Digest {
	if r == nil {
		return oras.Digest{}
	}
	d, err := oras.ParseDigest(r.Digest)
	if err != nil {
		return oras.Digest{}
	}
	return d
}

// note keeps the id of the upload, or that there is none any more.
func (r *record) note(id string) {
	r.Upload = id
	r.write()
}

// sent keeps what was sent.
func (r *record) sent(d oras.Digest) {
	if r != nil {
		r.Upload, r.Digest = "", d.String()
		r.write()
	}
}

// close lets go of the entry.
func (r *record) close() error {
	if r == nil {
		return nil
	}
	var err error
	if r.Upload == "" && r.Digest == "" {
		err = r.root.Remove(r.name)
	}
	if err = errors.Join(err, r.file.Close()); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
