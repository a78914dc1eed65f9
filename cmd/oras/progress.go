package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/c73062ad/oras"
	"github.com/c73062ad/oras/archive"
)

// verbs are the words of one direction for what happens to content. An event
// without a word is not told.
type verbs map[oras.EventKind]string

var (
	pushVerbs    = verbs{oras.Copying: "Uploading", oras.Copied: "Uploaded", oras.Exists: "Exists", oras.Skipped: "Exists", oras.Mounted: "Mounted"}
	pullVerbs    = verbs{oras.Reading: "Downloading", oras.Read: "Processing", oras.Copying: "Downloading", oras.Copied: "Downloaded", oras.Restored: "Restored", oras.Skipped: "Skipped", oras.Exists: "Skipped"}
	copyVerbs    = verbs{oras.Copying: "Copying", oras.Copied: "Copied", oras.Exists: "Exists", oras.Skipped: "Skipped", oras.Mounted: "Mounted"}
	backupVerbs  = verbs{oras.Copying: "Pulling", oras.Copied: "Pulled", oras.Exists: "Exists", oras.Skipped: "Skipped"}
	restoreVerbs = verbs{oras.Copying: "Pushing", oras.Copied: "Pushed", oras.Exists: "Exists", oras.Skipped: "Skipped"}
)

// A status prints one line a change: the word, the first twelve digits of the
// digest, the name.
type status struct {
	w       io.Writer
	verbs   verbs
	width   int
	unnamed bool      // content without a title is told too
	live    *liveView // nil where standard output is no terminal, or is to be used as if it were none

	mu sync.Mutex
}

// newStatus returns a status that prints to con, and shows what is under way where
// that is a terminal.
func newStatus(con console, v verbs, unnamed bool) *status {
	s := &status{w: con.out, verbs: v, unnamed: unnamed}
	for _, verb := range v {
		s.width = max(s.width, len(verb))
	}
	s.live = newLiveView(con.terminal(), s.width)
	return s
}

// event is for oras.CopyOptions. Where there is a live view, lines tell of ends
// alone; and of content whose digest is not known yet lines do not tell.
func (s *status) event(e oras.Event) {
	verb := s.verbs[e.Kind]
	switch {
	case !s.unnamed && e.Descriptor.Annotations[ocispec.AnnotationTitle] == "":
		return
	case s.live != nil:
		s.live.event(e, verb)
		if !ended(e.Kind) {
			return
		}
	case e.Descriptor.Digest == "":
		return
	case e.Kind == oras.Copying && s.verbs[oras.Reading] != "" && oras.IsManifest(e.Descriptor.MediaType):
		return // its reading was told
	}
	if verb != "" {
		s.line(verb, e.Descriptor, e.Name())
	}
}

// line prints one status line.
func (s *status) line(verb string, desc oras.Descriptor, name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	fmt.Fprintf(s.w, "%-*s %s %s\n", s.width, verb, shortDigest(desc), oneLine(name))
}

// shortDigest returns the first twelve hexadecimal digits of the digest.
func shortDigest(desc oras.Descriptor) string {
	d, err := oras.ParseDigest(desc.Digest)
	if err != nil {
		return string(desc.Digest)
	}
	return d.Hex()[:12]
}

// A textOutput tells what a command does, as text or as lines of JSON.
type textOutput struct {
	status  *status      // nil: the result alone is printed
	lines   *eventLines  // or nil
	arrived atomic.Int64 // bytes of content that has come whole to where it goes

	mu    sync.Mutex
	begun map[digest.Digest]bool // content that began to move
}

// newTextOutput returns the output of a command with the given flags; f may be
// nil for one without formats.
func newTextOutput(con console, f *formatFlags, common *commonFlags, v verbs) *textOutput {
	switch {
	case f != nil && f.lines != nil:
		return &textOutput{lines: f.lines}
	case f != nil && f.machine():
		return &textOutput{}
	}
	return &textOutput{status: newStatus(con, v, common.verbose)}
}

// event is for oras.CopyOptions.
func (o *textOutput) event(e oras.Event) {
	switch e.Kind {
	case oras.Copying:
		o.begin(e.Descriptor.Digest)
	case oras.Copied:
		o.arrived.Add(e.Descriptor.Size)
	}
	switch {
	case o.lines != nil:
		o.lines.event(e)
	case o.status != nil:
		o.status.event(e)
	}
}

func (o *textOutput) begin(d digest.Digest) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.begun == nil {
		o.begun = map[digest.Digest]bool{}
	}
	o.begun[d] = true
}

// hasPart reports whether one of the directories has the part of a file or blob that
// began to move, which another run of the command would go on with.
func (o *textOutput) hasPart(dirs ...string) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, dir := range dirs {
		entries, _ := os.ReadDir(dir) // there is nothing where it cannot be read
		for _, entry := range entries {
			name, isPart := strings.CutSuffix(entry.Name(), ".part")
			fields := strings.Split(strings.TrimPrefix(name, archive.TempPrefix), "-")
			if isPart && len(fields) > 1 && o.begun[digest.Digest(fields[0]+":"+fields[1])] {
				return true
			}
		}
	}
	return false
}

// hasArrived reports whether so much has come whole to where it goes that it is worth
// a word that it need not be moved again.
func (o *textOutput) hasArrived() bool { return o.arrived.Load() >= 64<<10 }

// watch returns content that tells how it moves where there is no copy to do so.
func (o *textOutput) watch(content io.Reader, desc oras.Descriptor) io.Reader {
	return oras.NewProgressVerifier(content, desc, func(read, there int64) {
		o.event(oras.Event{Kind: oras.Progress, Descriptor: desc, Bytes: read, There: there})
	})
}

// preparing tells that the file called name will be read.
func (o *textOutput) preparing(name string) {
	if o.status != nil && o.status.live == nil && o.status.unnamed {
		fmt.Fprintln(o.status.w, "Preparing", oneLine(name))
	}
}

// reading tells that the file called name is being read.
func (o *textOutput) reading(name string) {
	if o.status != nil && o.status.live != nil {
		o.status.live.preparing(name)
	}
}

// A liveView shows a view on a terminal, from its first event on.
type liveView struct {
	terminal *terminal
	shown    sync.Once

	mu   sync.Mutex
	view view
}

// newLiveView returns a live view on t, or nil if there is to be none; width is
// that of the longest verb.
func newLiveView(t *terminal, width int) *liveView {
	if !t.moves() {
		return nil
	}
	return &liveView{terminal: t, view: view{width: width, coloured: t.coloured()}}
}

func (l *liveView) event(e oras.Event, verb string) {
	l.change(func(v *view) { v.event(e, verb) })
}

func (l *liveView) preparing(name string) {
	l.change(func(v *view) { v.preparing = name })
}

func (l *liveView) change(do func(*view)) {
	l.mu.Lock()
	do(&l.view)
	l.mu.Unlock()
	l.shown.Do(func() { l.terminal.show(l.frame) })
}

func (l *liveView) frame(now time.Time, width, height int) []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.view.frame(now, width, height)
}
