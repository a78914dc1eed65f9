package oras

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// documentNames are the member names that manifests, indexes and descriptors
// give a meaning to, by their folded forms. Go's decoder matches names whatever
// their case; here "Subject" is not another spelling of "subject" but an error,
// so that no two readers of a document can disagree about it.
var documentNames = func() map[string]string {
	names := map[string]string{}
	for _, name := range []string{
		"schemaVersion", "mediaType", "artifactType", "config", "layers", "blobs", "manifests", "subject",
		"annotations", "digest", "size", "urls", "data", "platform", "architecture", "os", "os.version",
		"os.features", "variant", "imageLayoutVersion",
	} {
		names[fold(name)] = name
	}
	return names
}()

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

// maxNesting is how deep arrays and objects may lie in each other, as in
// encoding/json: a document must not be able to use up the stack.
const maxNesting = 10_000

// DecodeJSON decodes the one JSON document that data holds into v, strictly as
// image-spec (considerations.md, I-JSON) has it: valid UTF-8, also in escapes, no
// name twice in an object at any depth, nothing behind the document. The names
// that manifests give a meaning to must have their exact case wherever they
// occur, but for annotations and where v is a pointer to a map, whose names are
// up to their author. Other names that v does not know are ignored. What is not
// such a document is [ErrInvalid].
func DecodeJSON(data []byte, v any) error {
	if err := checkJSON(data, isMap(v)); err != nil {
		return fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	if err := json.Unmarshal(data, v); err != nil {
		return fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	return nil
}

func isMap(v any) bool {
	t := reflect.TypeOf(v)
	return t != nil && t.Kind() == reflect.Pointer && t.Elem().Kind() == reflect.Map
}

func checkJSON(data []byte, anyNames bool) error {
	if !utf8.Valid(data) || hasLoneSurrogate(data) {
		return errors.New("JSON is not valid UTF-8")
	}
	c := jsonChecker{Decoder: json.NewDecoder(bytes.NewReader(data)), anyNames: anyNames}
	c.UseNumber()
	if err := c.value("", 1); err != nil {
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		return err
	}
	if _, err := c.Token(); err != io.EOF {
		return errors.New("there is more behind the JSON document")
	}
	return nil
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

// A jsonChecker reads a document and finds what encoding/json lets pass.
type jsonChecker struct {
	*json.Decoder
	anyNames bool // names are up to the document's author
}

// value reads one value, which is the member called name of its object.
func (c *jsonChecker) value(name string, depth int) error {
	token, err := c.Token()
	if err != nil {
		return err
	}
	if _, opens := token.(json.Delim); opens && depth > maxNesting {
		return fmt.Errorf("JSON is nested deeper than %d", maxNesting)
	}
	switch token {
	case json.Delim('{'):
		return c.members(name == "annotations", depth)
	case json.Delim('['):
		for c.More() {
			if err := c.value(name, depth+1); err != nil {
				return err
			}
		}
		_, err = c.Token()
	}
	return err
}

// members reads an object from behind its brace.
func (c *jsonChecker) members(annotations bool, depth int) error {
	seen := map[string]bool{}
	for c.More() {
		token, err := c.Token()
		if err != nil {
			return err
		}
		name := token.(string) // a Decoder gives nothing else for a name
		if seen[name] {
			return fmt.Errorf("JSON object has the name %q twice", name)
		}
		seen[name] = true
		if known := documentNames[fold(name)]; known != "" && known != name && !annotations && !c.anyNames {
			return fmt.Errorf("JSON object has the name %q, which is not %q", name, known)
		}
		if err := c.value(name, depth+1); err != nil {
			return err
		}
	}
	_, err := c.Token()
	return err
}
