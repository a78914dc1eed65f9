package oras

import (
	"fmt"

	ocispec "github.com/opencontainers/image-spec/specs-go/v1"
)

// An Event tells what [Copy] does with the content of one descriptor. Each
// (digest, name) pair, see [Event.Name], comes to one end and only once: Copied,
// Exists, Mounted, Skipped or Restored. The last Progress before Copied has all of
// the content's bytes: Bytes and There together are its size.
type Event struct {
	Kind       EventKind
	Descriptor Descriptor
	Bytes      int64 // Progress: bytes that really moved so far; less than before after a retry
	There      int64 // Progress: bytes that did not need to, as the target has them from a copy that was broken off
}

// An EventKind is what happened.
type EventKind int

// The kinds of events, in the order in which they can happen to one descriptor.
const (
	Found    EventKind = iota // a manifest that was read, or a list of referrers, names it; not told of the root
	Reading                   // a manifest is being read at the source
	Read                      // it was; its children are next
	Copying                   // content begins to move
	Progress                  // some of it has moved
	Copied                    // all of it is at the target now
	Exists                    // it was there before
	Mounted                   // the target took it from another of its repositories
	Skipped                   // it is there: this copy dealt with the digest under another name
	Restored                  // the target got this name from content it was given under another
)

var eventKinds = [...]string{
	Found: "found", Reading: "reading", Read: "read", Copying: "copying", Progress: "progress",
	Copied: "copied", Exists: "exists", Mounted: "mounted", Skipped: "skipped", Restored: "restored",
}

// String returns the kind in one word, such as "copied".
func (k EventKind) String() string {
	if k < 0 || int(k) >= len(eventKinds) {
		return fmt.Sprintf("EventKind(%d)", int(k))
	}
	return eventKinds[k]
}

// Name returns what the content is called: its title annotation or else its
// media type.
func (e Event) Name() string { return contentName(e.Descriptor) }

func contentName(desc Descriptor) string {
	if title := desc.Annotations[ocispec.AnnotationTitle]; title != "" {
		return title
	}
	return desc.MediaType
}
