package layout

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/opencontainers/go-digest"
	ocispec "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/c73062ad/oras"
	"github.com/c73062ad/oras/internal/index"
)

// maxIndex is the size in bytes up to which index.json is read, and written:
// some 200,000 entries.
const maxIndex = 64 << 20

// emptyIndex is the index.json of a new layout.
const emptyIndex = `{"schemaVersion":2,"mediaType":"` + oras.MediaTypeImageIndex + `","manifests":[]}`

// An indexJSON is what index.json said at one moment. It never changes: the
// methods that edit return the entries of the next one, or the same slice if
// there is nothing to change.
type indexJSON struct {
	raw     []byte
	members object // of the document; the value of "manifests" is entries
	entries []entry
	first   map[digest.Digest]int // where the first entry of each digest is
	tags    index.Index           // of several entries with one tag, the last one counts
}

// An entry is an element of "manifests".
type entry struct {
	raw  json.RawMessage
	desc oras.Descriptor // what raw says, without embedded data
}

// parseIndex parses index.json.
func parseIndex(raw []byte) (*indexJSON, error) {
	var document struct {
		SchemaVersion int               `json:"schemaVersion"`
		MediaType     string            `json:"mediaType"`
		Manifests     []json.RawMessage `json:"manifests"`
	}
	if err := oras.DecodeJSON(raw, &document); err != nil {
		return nil, err
	}
	if document.SchemaVersion != 2 {
		return nil, fmt.Errorf("%w: it has schemaVersion %d, not 2", oras.ErrInvalid, document.SchemaVersion)
	}
	if document.MediaType != "" && document.MediaType != oras.MediaTypeImageIndex {
		return nil, fmt.Errorf("%w: it has the media type %q", oras.ErrInvalid, document.MediaType)
	}
	members, err := parseObject(raw)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", oras.ErrInvalid, err)
	}
	var entries []entry
	for i, value := range document.Manifests {
		e, err := parseEntry(value)
		if err != nil {
			return nil, fmt.Errorf("%w: manifest %d: %w", oras.ErrInvalid, i, err)
		}
		entries = append(entries, e)
	}
	return newIndex(raw, members.with("manifests", nil), entries), nil
}

func parseEntry(value json.RawMessage) (entry, error) {
	e := entry{raw: compact(value)}
	if e.raw[0] != '{' {
		return e, fmt.Errorf("it is no object")
	}
	if err := json.Unmarshal(value, &e.desc); err != nil {
		return e, err
	}
	if e.desc.Size < 0 {
		return e, fmt.Errorf("it has size %d", e.desc.Size)
	}
	e.desc.Data = nil
	return e, nil
}

func newIndex(raw []byte, members object, entries []entry) *indexJSON {
	x := &indexJSON{raw: raw, members: members, entries: entries, first: map[digest.Digest]int{}}
	tags := map[string]oras.Descriptor{}
	for i, e := range entries {
		if _, ok := x.first[e.desc.Digest]; !ok {
			x.first[e.desc.Digest] = i
		}
		if tag := e.tag(); tag != "" {
			tags[tag] = e.desc
		}
	}
	x.tags.SetTags(tags)
	return x
}

// with returns x with other entries, as it is to be written.
func (x *indexJSON) with(entries []entry) (*indexJSON, error) {
	raws := make([][]byte, len(entries))
	for i, e := range entries {
		raws[i] = e.raw
	}
	manifests := slices.Concat([]byte("["), bytes.Join(raws, []byte(",")), []byte("]"))
	raw := x.members.with("manifests", manifests).bytes()
	if len(raw) > maxIndex {
		return nil, fmt.Errorf("%s of %d bytes would be larger than %d: %w", indexFile, len(raw), maxIndex, oras.ErrUnsupported)
	}
	return newIndex(raw, x.members, entries), nil
}

// entry returns the first entry of d.
func (x *indexJSON) entry(d oras.Digest) (entry, bool) {
	i, ok := x.first[d.OCI()]
	if !ok {
		return entry{}, false
	}
	return x.entries[i], true
}

// list returns the entries that list desc.
func (x *indexJSON) list(desc oras.Descriptor) ([]entry, error) {
	if _, ok := x.first[desc.Digest]; ok {
		return x.entries, nil
	}
	e, err := newEntry(desc, "")
	return append(slices.Clone(x.entries), e), err
}

// tag returns the entries by which tag names desc. An entry of desc without a tag
// gets it, else there is a further entry.
func (x *indexJSON) tag(desc oras.Descriptor, tag string) ([]entry, error) {
	if old, ok := x.tags.Resolve(tag); ok && old.Digest == desc.Digest {
		return x.entries, nil
	}
	entries, err := x.untag(tag)
	if err != nil {
		return nil, err
	}
	for i, e := range entries {
		if e.desc.Digest == desc.Digest && e.tag() == "" {
			entries = slices.Clone(entries)
			entries[i], err = e.renamed(tag)
			return entries, err
		}
	}
	if i, ok := x.first[desc.Digest]; ok {
		desc = x.entries[i].desc
	}
	e, err := newEntry(desc, tag)
	return append(slices.Clone(entries), e), err
}

// untag returns the entries without tag. A manifest that has no other entry keeps
// its entry.
func (x *indexJSON) untag(tag string) ([]entry, error) {
	if _, ok := x.tags.Resolve(tag); !ok {
		return x.entries, nil
	}
	count := map[digest.Digest]int{}
	for _, e := range x.entries {
		count[e.desc.Digest]++
	}
	var entries []entry
	for _, e := range x.entries {
		if e.tag() == tag {
			if count[e.desc.Digest] > 1 {
				count[e.desc.Digest]--
				continue
			}
			var err error
			if e, err = e.renamed(""); err != nil {
				return nil, err
			}
		}
		entries = append(entries, e)
	}
	return entries, nil
}

// sorted returns the entries in an order that does not tell how they came to be:
// those with tags by these, then those without by their digests. Entries of one tag
// stay in their order, since the last one counts.
func (x *indexJSON) sorted() []entry {
	entries := slices.Clone(x.entries)
	slices.SortStableFunc(entries, func(a, b entry) int {
		switch {
		case a.tag() == "" && b.tag() == "":
			return cmp.Compare(a.desc.Digest, b.desc.Digest)
		case a.tag() == "":
			return 1
		case b.tag() == "":
			return -1
		}
		return cmp.Compare(a.tag(), b.tag())
	})
	return entries
}

// remove returns the entries that are not of d.
func (x *indexJSON) remove(d oras.Digest) []entry {
	return slices.DeleteFunc(slices.Clone(x.entries), func(e entry) bool { return e.desc.Digest == d.OCI() })
}

// newEntry returns an entry of desc. Annotations stay behind: those of a
// descriptor that came from elsewhere would give content names here that nobody
// asked for (io.containerd.image.name is one that image tools go by).
func newEntry(desc oras.Descriptor, tag string) (entry, error) {
	desc = oras.Descriptor{
		MediaType:    desc.MediaType,
		Digest:       desc.Digest,
		Size:         desc.Size,
		ArtifactType: desc.ArtifactType,
		Platform:     desc.Platform,
	}
	if tag != "" {
		desc.Annotations = map[string]string{ocispec.AnnotationRefName: tag}
	}
	raw, err := json.Marshal(desc)
	if err != nil {
		return entry{}, err
	}
	return parseEntry(raw)
}

func (e entry) tag() string { return e.desc.Annotations[ocispec.AnnotationRefName] }

// renamed returns e with another tag, or with none if tag is empty, and all else
// as it is.
func (e entry) renamed(tag string) (entry, error) {
	o, err := parseObject(e.raw)
	if err != nil {
		return e, err
	}
	annotations, err := parseObject(o.get("annotations"))
	if err != nil {
		return e, err
	}
	if tag != "" {
		annotations = annotations.with(ocispec.AnnotationRefName, text(tag))
	} else {
		annotations = annotations.without(ocispec.AnnotationRefName)
	}
	o = o.without("annotations")
	if len(annotations) > 0 {
		o = o.with("annotations", annotations.bytes())
	}
	return parseEntry(o.bytes())
}

// checkTag reports what cannot be a tag of a layout, as [oras.ErrReference]: the
// empty string, a digest, and what is no readable text.
func checkTag(tag string) error {
	if tag == "" {
		return fmt.Errorf("%w: the tag is empty", oras.ErrReference)
	}
	if !utf8.ValidString(tag) || strings.ContainsFunc(tag, unicode.IsControl) {
		return fmt.Errorf("%w: the tag %q is not readable text", oras.ErrReference, tag)
	}
	if _, err := oras.ParseDigest(tag); err == nil {
		return fmt.Errorf("%w: the tag %q is a digest", oras.ErrReference, tag)
	}
	return nil
}
