package oras

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// documentNames are the member names that manifests, indexes and descriptors
// give a meaning to. Go's decoder matches names whatever their case; here "Subject" is
// not another spelling of "subject" but an error, so that no two readers of a document
// can disagree about it.
var documentNames = []string{
	"schemaVersion", "mediaType", "artifactType", "config", "layers", "blobs", "manifests", "subject",
	"annotations", "digest", "size", "urls", "data", "platform", "architecture", "os", "os.version",
	"os.features", "variant", "imageLayoutVersion",
}

var foldedNames = func() map[string]string {
	names := map[string]string{}
	for _, name := range documentNames {
		names[fold(name)] = name
	}
	return names
}()

// documentName returns the one of documentNames that Go's decoder takes name for, or
// name if there is none.
func documentName(name string) string {
	if slices.Contains(documentNames, name) {
		return name
	}
	if known := foldedNames[fold(name)]; known != "" {
		return known
	}
	return name
}

// fold returns what names have in common that Go's decoder takes for the same:
// not only "Size" and "size" but "ſize", too.
func fold(name string) string {
	return strings.Map(func(r rune) rune {
		for {
			next := unicode.SimpleFold(r)
			if next <= r {
				return next
			}
			r = next
		}
	}, name)
}

// DecodeJSON decodes the one JSON document that data holds into v, strictly as
// image-spec (considerations.md, I-JSON) has it: valid UTF-8, also in escapes, no
// name twice in an object at any depth, nothing behind the document. The names
// that manifests give a meaning to must have their exact case wherever they
// occur, but for annotations and where v is a pointer to a map, whose names are
// up to their author. Other names that v does not know are ignored. What is not
// such a document is [ErrInvalid], and may have changed what v points to all the same;
// the beginning of one is [io.ErrUnexpectedEOF], too.
func DecodeJSON(data []byte, v any) error {
	if !utf8.Valid(data) || hasLoneSurrogate(data) {
		return fmt.Errorf("%w: JSON is not valid UTF-8", ErrInvalid)
	}
	if err := json.Unmarshal(data, v); err != nil {
		if isCutOff(data) {
			err = io.ErrUnexpectedEOF
		}
		return fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	c := nameChecker{data, isMap(v)}
	if err := c.value(""); err != nil {
		return fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	return nil
}

// isCutOff reports whether data is the beginning of a document.
func isCutOff(data []byte) bool {
	var document json.RawMessage
	err := json.NewDecoder(bytes.NewReader(data)).Decode(&document)
	return err == io.EOF || err == io.ErrUnexpectedEOF
}

func isMap(v any) bool {
	t := reflect.TypeOf(v)
	return t != nil && t.Kind() == reflect.Pointer && t.Elem().Kind() == reflect.Map
}

// hasLoneSurrogate reports whether an escape in data stands for half a
// character, which readers replace, keep or refuse as each sees fit.
func hasLoneSurrogate(data []byte) bool {
	for {
		i := bytes.IndexByte(data, '\\') // only strings hold any
		if i < 0 {
			return false
		}
		data = data[i:]
		switch r := escaped(data); {
		case r < 0: // \n and the like; or no JSON, as others will say
			data = data[min(2, len(data)):]
		case r >= 0xdc00 && r < 0xe000:
			return true
		case r >= 0xd800 && r < 0xdc00:
			if low := escaped(data[6:]); low < 0xdc00 || low >= 0xe000 {
				return true
			}
			data = data[12:]
		default:
			data = data[6:]
		}
	}
}

// escaped returns the value of the \uXXXX that data begins with, or -1.
func escaped(data []byte) int {
	if len(data) < 6 || data[0] != '\\' || data[1] != 'u' {
		return -1
	}
	r, err := strconv.ParseUint(string(data[2:6]), 16, 16)
	if err != nil {
		return -1
	}
	return int(r)
}

// A nameChecker reads a document that encoding/json has read, and so is JSON that is not
// nested too deeply, and finds names that it lets pass.
type nameChecker struct {
	rest     []byte
	anyNames bool // they are up to the document's author
}

// value reads one value, which is the member called name of its object.
func (c *nameChecker) value(name string) error {
	switch c.next() {
	case '{':
		return c.members(name == "annotations")
	case '[':
		for c.rest = c.rest[1:]; c.next() != ']'; c.skip(',') {
			if err := c.value(name); err != nil {
				return err
			}
		}
		c.rest = c.rest[1:]
	case '"':
		c.text()
	default:
		end := bytes.IndexAny(c.rest, ",]} \t\r\n")
		if end < 0 {
			end = len(c.rest)
		}
		c.rest = c.rest[end:]
	}
	return nil
}

// members reads an object.
func (c *nameChecker) members(annotations bool) error {
	seen := map[string]bool{}
	for c.rest = c.rest[1:]; c.next() != '}'; c.skip(',') {
		name, err := unquote(c.text())
		if err != nil {
			return err
		}
		if seen[name] {
			return fmt.Errorf("JSON object has the name %q twice", name)
		}
		seen[name] = true
		if !annotations && !c.anyNames {
			if known := documentName(name); known != name {
				return fmt.Errorf("JSON object has the name %q, which is not %q", name, known)
			}
		}
		c.skip(':')
		if err := c.value(name); err != nil {
			return err
		}
	}
	c.rest = c.rest[1:]
	return nil
}

// next returns the byte that is next but for space.
func (c *nameChecker) next() byte {
	i := 0
	for c.rest[i] == ' ' || c.rest[i] == '\t' || c.rest[i] == '\r' || c.rest[i] == '\n' {
		i++
	}
	c.rest = c.rest[i:]
	return c.rest[0]
}

// skip reads separator if it is next.
func (c *nameChecker) skip(separator byte) {
	if c.next() == separator {
		c.rest = c.rest[1:]
	}
}

// text reads a string and returns it with its quotation marks.
func (c *nameChecker) text() []byte {
	end := 1
	for c.rest[end] != '"' {
		if c.rest[end] == '\\' {
			end++
		}
		end++
	}
	text := c.rest[:end+1]
	c.rest = c.rest[end+1:]
	return text
}

func unquote(text []byte) (name string, err error) {
	if bytes.IndexByte(text, '\\') < 0 {
		return string(text[1 : len(text)-1]), nil
	}
	err = json.Unmarshal(text, &name)
	return name, err
}
