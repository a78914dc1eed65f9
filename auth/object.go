package auth

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"slices"
)

// An object is a JSON object whose members keep their order and, as far as they
// are not asked for, their text: a file that other programs own is changed in
// one place only.
type object []member

type member struct {
	name  string
	value json.RawMessage
}

var errNoObject = errors.New("malformed JSON")

// parseObject reads one object. Its error holds nothing of data, which may be
// secret. No data and null are an empty object.
func parseObject(data []byte) (object, error) {
	var all object
	if data = bytes.TrimSpace(data); len(data) == 0 || string(data) == "null" {
		return nil, nil
	}
	d := json.NewDecoder(bytes.NewReader(data))
	if token, err := d.Token(); err != nil || token != json.Delim('{') {
		return nil, errNoObject
	}
	for d.More() {
		token, err := d.Token()
		name, ok := token.(string)
		if err != nil || !ok {
			return nil, errNoObject
		}
		var value json.RawMessage
		if d.Decode(&value) != nil {
			return nil, errNoObject
		}
		all = append(all, member{name, value})
	}
	if _, err := d.Token(); err != nil {
		return nil, errNoObject
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, errNoObject
	}
	return all, nil
}

func (o object) get(name string) json.RawMessage {
	if i := o.index(name); i >= 0 {
		return o[i].value
	}
	return nil
}

// index returns where name is last: of two members called the same, the last
// counts, as for most readers of JSON.
func (o object) index(name string) int {
	for i, m := range slices.Backward(o) {
		if m.name == name {
			return i
		}
	}
	return -1
}

// set sets a member in its place, or at the end.
func (o object) set(name string, value json.RawMessage) object {
	if i := o.index(name); i >= 0 {
		o[i].value = value
		return o
	}
	return append(o, member{name, value})
}

func (o object) remove(name string) object {
	return slices.DeleteFunc(o, func(m member) bool { return m.name == name })
}

// encode returns the object without white space between its members.
func (o object) encode() json.RawMessage {
	var b bytes.Buffer
	b.WriteByte('{')
	for i, m := range o {
		if i > 0 {
			b.WriteByte(',')
		}
		b.Write(encodeString(m.name))
		b.WriteByte(':')
		b.Write(m.value)
	}
	b.WriteByte('}')
	return b.Bytes()
}

// encodeString returns s as JSON, without the escapes that are for HTML only.
func encodeString(s string) json.RawMessage {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	_ = e.Encode(s) // strings always have a form, and the buffer takes it
	return bytes.TrimSpace(b.Bytes())
}

// decodeString returns the string in raw, empty if there is none.
func decodeString(raw json.RawMessage) string {
	var s string
	if json.Unmarshal(raw, &s) != nil {
		return ""
	}
	return s
}

// indent returns raw as docker writes its file: a tab a level.
func indent(raw json.RawMessage) []byte {
	var b bytes.Buffer
	if json.Indent(&b, raw, "", "\t") != nil {
		return raw
	}
	b.WriteByte('\n')
	return b.Bytes()
}
