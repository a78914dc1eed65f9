package main

import (
	"fmt"
	"io"
	"sync"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/c73062ad/oras"
)

// verbs are the words of one direction for what happens to content. An event
// without a word is not told.
type verbs map[oras.EventKind]string

var (
	pushVerbs = verbs{oras.Copying: "Uploading", oras.Copied: "Uploaded", oras.Exists: "Exists", oras.Skipped: "Exists", oras.Mounted: "Mounted"}
	pullVerbs = verbs{oras.Reading: "Downloading", oras.Read: "Processing", oras.Copying: "Downloading", oras.Copied: "Downloaded", oras.Restored: "Restored", oras.Skipped: "Skipped", oras.Exists: "Skipped"}
	copyVerbs = verbs{oras.Copying: "Copying", oras.Copied: "Copied", oras.Exists: "Exists", oras.Skipped: "Skipped", oras.Mounted: "Mounted"}
)

// A status prints one line a change: the word, the first twelve digits of the
// digest, the name.
type status struct {
	w       io.Writer
	verbs   verbs
	width   int
	unnamed bool // content without a title is told too

	mu sync.Mutex
}

// newStatus returns a status that prints to w.
func newStatus(w io.Writer, v verbs, unnamed bool) *status {
	s := &status{w: w, verbs: v, unnamed: unnamed}
	for _, verb := range v {
		s.width = max(s.width, len(verb))
	}
	return s
}

// event is for oras.CopyOptions.
func (s *status) event(e oras.Event) {
	verb := s.verbs[e.Kind]
	if e.Kind == oras.Copying && s.verbs[oras.Reading] != "" && oras.IsManifest(e.Descriptor.MediaType) {
		return // its reading was told
	}
	if verb == "" || !s.unnamed && e.Descriptor.Annotations[ocispec.AnnotationTitle] == "" {
		return
	}
	s.line(verb, e.Descriptor, e.Name())
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

// A textOutput tells what a command does, where its output is text.
type textOutput struct {
	status *status // nil: the result alone is printed
}

// newTextOutput returns the output of a command with the given flags; f may be
// nil for one without formats.
func newTextOutput(con console, f *formatFlags, common *commonFlags, v verbs) *textOutput {
	if f != nil && f.machine() {
		return &textOutput{}
	}
	return &textOutput{newStatus(con.out, v, common.verbose)}
}

// event is for oras.CopyOptions.
func (o *textOutput) event(e oras.Event) {
	if o.status != nil {
		o.status.event(e)
	}
}

// preparing tells that the file called name is being read.
func (o *textOutput) preparing(name string) {
	if o.status != nil && o.status.unnamed {
		fmt.Fprintln(o.status.w, "Preparing", oneLine(name))
	}
}
