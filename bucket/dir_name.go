package bucket

import (
	"fmt"
	"strings"

	"github.com/c73062ad/oras"
)

// file returns the name of the file that the object key is, or [oras.ErrInvalid]
// if no object can have that key.
func (d *Dir) file(key string) (string, error) {
	start := true
	for i := range len(key) {
		c := key[i]
		switch {
		case c == '/' && !start:
			start = true
			continue
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '_', c == '~', c == '.' && !start:
			start = false
			continue
		}
		return "", fmt.Errorf("%q: %w: is not a key", key, oras.ErrInvalid)
	}
	if start {
		return "", fmt.Errorf("%q: %w: is not a key", key, oras.ErrInvalid)
	}
	return d.folded(key), nil
}

// folded writes capital letters as "=" and the small one where the file system
// would take one for the other. This does not change the order of names.
func (d *Dir) folded(key string) string {
	if !d.fold || strings.ToLower(key) == key {
		return key
	}
	var b strings.Builder
	for i := range len(key) {
		if c := key[i]; 'A' <= c && c <= 'Z' {
			b.WriteByte('=')
			b.WriteByte(c - 'A' + 'a')
		} else {
			b.WriteByte(c)
		}
	}
	return b.String()
}

// unfolded is the reverse of folded.
func (d *Dir) unfolded(name string) string {
	if !d.fold || !strings.Contains(name, "=") {
		return name
	}
	var b strings.Builder
	for i := 0; i < len(name); i++ {
		if name[i] == '=' && i+1 < len(name) {
			i++
			b.WriteString(strings.ToUpper(name[i : i+1]))
		} else {
			b.WriteByte(name[i])
		}
	}
	return b.String()
}
