package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"go.yaml.in/yaml/v3"
)

const maxConfig = 1 << 20 // bytes of a configuration file

// setFromFile gives each flag of cmd that is neither on the command line nor in the
// environment the value that the file path has for it, if path is not empty: a
// mapping, in YAML, of names of flags to values, or to lists of them for flags that
// may be repeated. An error names line and key.
func setFromFile(cmd *cobra.Command, path string) error {
	if path == "" {
		return nil
	}
	data, err := readFile(path, maxConfig)
	if err != nil {
		return hint(fmt.Errorf("--config %s: %w", path, cause(err)), "Name a file that is there, or leave --config out")
	}
	entries, err := parseConfig(data)
	if err != nil {
		return hint(fmt.Errorf("%s: %w", path, err), "It is a file in YAML, with a line \"key: value\" for each flag: run %q for those", cmd.CommandPath()+" -h")
	}
	fs := cmd.Flags()
	changed := map[string]bool{}
	fs.VisitAll(func(f *pflag.Flag) { changed[f.Name] = f.Changed })
	for _, e := range entries {
		f := fs.Lookup(e.key)
		if f == nil || !settable(f) || e.key == "config" {
			return hint(fmt.Errorf("%s: line %d: there is no key %q", path, e.line, e.key),
				"Keys are the names of the flags: run %q for those", cmd.CommandPath()+" -h")
		}
		_, list := f.Value.(pflag.SliceValue)
		if e.list && !list {
			return fmt.Errorf("%s: line %d: %s: one value, not a list of them, is what it takes", path, e.line, e.key)
		}
		if changed[e.key] {
			continue
		}
		for _, value := range e.values {
			if err := fs.Set(f.Name, value.text); err != nil {
				text := strings.Replace(badValue(err).Error(), fmt.Sprintf("%q flag", "--"+e.key), fmt.Sprintf("%q", e.key), 1)
				return hint(fmt.Errorf("%s: line %d: %s", path, value.line, text), "Run %q for what the key %q takes", cmd.CommandPath()+" -h", e.key)
			}
		}
	}
	return nil
}

// A configEntry is a key of a configuration file.
type configEntry struct {
	key    string
	line   int
	list   bool
	values []configValue
}

type configValue struct {
	text string
	line int
}

// parseConfig reads a document that is a mapping of keys to plain values or lists of
// them, and nothing else.
func parseConfig(data []byte) (entries []configEntry, err error) {
	d := yaml.NewDecoder(bytes.NewReader(data))
	var doc yaml.Node
	if err := d.Decode(&doc); err == io.EOF {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	if err := d.Decode(new(yaml.Node)); err != io.EOF {
		return nil, errors.New("it holds more than one document")
	}
	root := doc.Content[0]
	if root.Kind == yaml.ScalarNode && root.Tag == "!!null" { // comments
		return nil, nil
	}
	if root.Kind != yaml.MappingNode {
		return nil, fmt.Errorf("line %d: keys and values is what it must hold", root.Line)
	}
	seen := map[string]bool{}
	for i := 0; i < len(root.Content); i += 2 {
		key, value := root.Content[i], root.Content[i+1]
		e := configEntry{key: key.Value, line: key.Line, list: value.Kind == yaml.SequenceNode}
		if seen[e.key] {
			return nil, fmt.Errorf("line %d: the key %q is there already", e.line, e.key)
		}
		seen[e.key] = true
		nodes := []*yaml.Node{value}
		if e.list {
			nodes = value.Content
		}
		for _, n := range nodes {
			if n.Kind != yaml.ScalarNode || n.Tag == "!!null" {
				return nil, fmt.Errorf("line %d: %s: it has no plain value", n.Line, e.key)
			}
			e.values = append(e.values, configValue{n.Value, n.Line})
		}
		entries = append(entries, e)
	}
	return entries, nil
}
