package layout

import (
	"bytes"
	"encoding/json"
	"slices"
)

// An object is a JSON object whose members keep their order and their values as
// they are, so that what another tool wrote survives. Its methods leave it
// unchanged and return another.
type object []member

type member struct {
	name  string
	value json.RawMessage // without insignificant space
}

// parseObject parses data, which [oras.DecodeJSON] must have accepted as an
// object or null, which is an object without members.
func parseObject(data []byte) (object, error) {
	d := json.NewDecoder(bytes.NewReader(data))
	if start, err := d.Token(); err != nil || start == nil {
		return nil, err
	}
	var o object
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return nil, err
		}
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return nil, err
		}
		o = append(o, member{name.(string), compact(value)})
	}
	return o, nil
}

// compact returns valid JSON without insignificant space.
func compact(value json.RawMessage) json.RawMessage {
	var b bytes.Buffer
	if err := json.Compact(&b, value); err != nil {
		return value
	}
	return b.Bytes()
}

func (o object) find(name string) int {
	return slices.IndexFunc(o, func(m member) bool { return m.name == name })
}

// get returns the value of a member, null if there is none.
func (o object) get(name string) json.RawMessage {
	if i := o.find(name); i >= 0 {
		return o[i].value
	}
	return json.RawMessage("null")
}

// with gives the member called name a value, in its place or at the end.
func (o object) with(name string, value json.RawMessage) object {
	if i := o.find(name); i >= 0 {
		o = slices.Clone(o)
		o[i].value = value
		return o
	}
	return append(slices.Clone(o), member{name, value})
}

func (o object) without(name string) object {
	return slices.DeleteFunc(slices.Clone(o), func(m member) bool { return m.name == name })
}

// bytes returns the object as JSON.
func (o object) bytes() json.RawMessage {
	var b bytes.Buffer
	b.WriteByte('{')
	for i, m := range o {
		if i > 0 {
			b.WriteByte(',')
		}
		b.Write(text(m.name))
		b.WriteByte(':')
		b.Write(m.value)
	}
	b.WriteByte('}')
	return b.Bytes()
}

// text returns s, which is valid UTF-8, as a JSON string.
func text(s string) json.RawMessage {
	data, err := json.Marshal(s)
	if err != nil {
		panic(err) // a string can always be marshaled
	}
	return data
}
