package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/spf13/pflag"

	"github.com/c73062ad/oras"
	"github.com/c73062ad/oras/archive"
	"github.com/c73062ad/oras/file"
	"github.com/c73062ad/oras/remote"
)

// transferFlags say how content moves to and from registries.
type transferFlags struct {
	connections int // 0 is the standard
	limit       byteRate
}

// registerLimit registers the flag of commands that move content.
func (f *transferFlags) registerLimit(fs *pflag.FlagSet) {
	fs.Var(&f.limit, "limit-rate", "let no more than `rate` bytes of content a second move, to and from each registry; K, M and G stand for powers of 1024, and 0 for no limit")
}

// registerRead registers the flags of commands that read blobs.
func (f *transferFlags) registerRead(fs *pflag.FlagSet) {
	fs.IntVar(&f.connections, "connections", 6, "over how many connections a large blob may come at once; more are used as long as they bring more; 0 is the default")
	f.registerLimit(fs)
}

// set makes opts those that the flags ask for.
func (f *transferFlags) set(opts *remote.Options) {
	opts.Connections, opts.LimitRate = max(f.connections, 0), int64(f.limit)
	if f.connections < 0 {
		opts.Connections = 1
	}
}

// A byteRate is a number of bytes a second; 0 is any.
type byteRate int64

func (r *byteRate) Set(text string) error {
	number, unit := text, 1.0
	if i := strings.IndexAny(text, "KkMmGg"); i >= 0 && i == len(text)-1 {
		number = text[:i]
		unit = map[string]float64{"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}[strings.ToUpper(text[i:])]
	}
	n, err := strconv.ParseFloat(number, 64)
	if err != nil || strings.Trim(number, "0123456789.") != "" || n*unit >= 1<<62 || n > 0 && n*unit < 1 {
		return errors.New("not a number of bytes, such as 500K or 2.5M")
	}
	*r = byteRate(n * unit)
	return nil
}

func (r *byteRate) Type() string { return "string" }

func (r *byteRate) String() string {
	if *r == 0 {
		return ""
	}
	return strconv.FormatInt(int64(*r), 10)
}

// A compressionFlag is --compression: how directories are compressed.
type compressionFlag struct {
	text   string
	method archive.Compression
	level  int
}

func (f *compressionFlag) register(fs *pflag.FlagSet) {
	fs.Var(f, "compression", "how directories are compressed, as `method[:level]`: gzip, with levels from 1 to 9; zstd, from 1 to 22, or none, which other clients may not unpack (default \"gzip\")")
}

func (f *compressionFlag) Set(text string) error {
	name, level, leveled := strings.Cut(text, ":")
	parsed := compressionFlag{text: text}
	for parsed.method.String() != name {
		if parsed.method++; parsed.method > archive.None {
			return errors.New("neither gzip, zstd nor none")
		}
	}
	if leveled {
		n, err := strconv.Atoi(level)
		if err != nil || n == 0 {
			return fmt.Errorf("%q is not a level", level)
		}
		parsed.level = n
	}
	w, err := archive.Compress(io.Discard, parsed.method, &archive.CompressOptions{Level: parsed.level})
	if err != nil {
		return err
	}
	*f = parsed
	return w.Close()
}

func (f *compressionFlag) Type() string { return "string" }

func (f *compressionFlag) String() string { return f.text }

// cacheDir returns a directory of the user's caches for what name says, which exists
// and is the user's alone, or the empty string if there can be none. Nothing in it is
// more than a way to save work.
func cacheDir(name string) string {
	caches, err := os.UserCacheDir()
	if err != nil {
		return ""
	}
	dir := filepath.Join(caches, "oras", name)
	if os.MkdirAll(dir, 0o700) != nil {
		return ""
	}
	return dir
}

// openJournal opens the journal of uploads, with which another run of a command goes
// on where this one was broken off; nil if there can be none.
func openJournal() *file.Journal {
	dir := cacheDir("uploads")
	if dir == "" {
		return nil
	}
	journal, err := file.OpenJournal(dir)
	if err != nil {
		return nil
	}
	return journal
}

// blobUploads are the uploads of blobs that a copy sends to a target, which another run
// of the command goes on with.
type blobUploads struct {
	journal *file.Journal // or nil
	target  string
	open    atomic.Int64
}

// openBlobUploads opens those to t; Close must be called. To a layout there are none.
func openBlobUploads(t *target) *blobUploads {
	u := &blobUploads{target: t.name}
	if !t.isLayout() {
		u.journal = openJournal()
	}
	return u
}

func (u *blobUploads) Close() error {
	if u.journal == nil {
		return nil
	}
	return u.journal.Close()
}

// record is for oras.CopyOptions.
func (u *blobUploads) record(desc oras.Descriptor) *oras.UploadRecord {
	if u.journal == nil {
		return nil
	}
	r := u.journal.Blobs(u.target)(desc)
	if r == nil {
		return nil
	}
	note, open := r.Note, false
	r.Note = func(id string) {
		note(id)
		switch now := id != ""; {
		case now && !open:
			u.open.Add(1)
		case open && !now:
			u.open.Add(-1)
		}
		open = id != ""
	}
	return r
}

// A resumableError is the error of a command that, run again, goes on where it was
// broken off.
type resumableError struct {
	error
	hint string
}

func (e *resumableError) Unwrap() error { return e.error }

// What is said of commands that go on: with content of which a part has arrived, or
// only with the next.
const (
	resumesInContent = "Run the same command again to continue where it stopped"
	resumesBehind    = "Run the same command again to continue: content that has arrived whole is not moved again"
)

// resumable returns err as one of a command that goes on, if that is so.
func resumable(err error, so bool, hint string) error {
	if err == nil || !so {
		return err
	}
	return &resumableError{err, hint}
}

// resumableCopy returns err as one of a copy that goes on in the middle of content if
// inContent, or else, if some has arrived whole, behind that.
func resumableCopy(err error, inContent, arrived bool) error {
	if inContent {
		return resumable(err, true, resumesInContent)
	}
	return resumable(err, arrived, resumesBehind)
}
