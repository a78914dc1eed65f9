package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/template"

	"github.com/Masterminds/sprig/v3"
	"github.com/spf13/pflag"
)

// A result is what a command has to tell. Its JSON names are those that templates
// see.
type result interface {
	text(w io.Writer) error
}

// A format is one way to print a result.
type format struct {
	name  string
	usage string
}

var (
	formatText     = format{"text", "Print in text format"}
	formatJSON     = format{"json", "Print in JSON format"}
	formatTemplate = format{"go-template", "Print output using the given Go template"}
	formatNDJSON   = format{"ndjson", "Print what happens, and in the end the result, as JSON, an object a line"}
)

// formatsAnnotation is what of --format holds its values, for shells that complete
// them.
const formatsAnnotation = "oras_formats"

// formatFlags are --format and --template.
type formatFlags struct {
	value    string
	template string
	formats  []format
	standard string
	lines    *eventLines // where those are asked for; see console
}

// register registers the flags; formats are those offered, in the order of help,
// the last of them the default.
func (f *formatFlags) register(fs *pflag.FlagSet, formats ...format) {
	if len(formats) == 0 {
		formats = []format{formatJSON, formatTemplate, formatText}
	}
	f.registerFormat(fs, formats...)
	fs.StringVar(&f.template, "template", "", "[Experimental] template string used to format output")
}

// registerTransfer registers the flags of commands that transfer content.
func (f *formatFlags) registerTransfer(fs *pflag.FlagSet) {
	f.register(fs, formatJSON, formatNDJSON, formatTemplate, formatText)
}

// registerFormat registers --format alone.
func (f *formatFlags) registerFormat(fs *pflag.FlagSet, formats ...format) {
	f.formats = formats
	var names []string
	for _, o := range formats {
		names = append(names, o.name)
	}
	f.standard = formats[len(formats)-1].name
	width := 0
	for _, o := range formats {
		width = max(width, len(o.name))
	}
	var usage strings.Builder
	usage.WriteString("[Experimental] format output using a custom template:")
	for _, o := range formats {
		fmt.Fprintf(&usage, "\n%-*s  %s", width+3, "'"+o.name+"':", o.usage)
	}
	fmt.Fprintf(&usage, " (default %q)", f.standard)
	fs.StringVar(&f.value, "format", "", usage.String())
	fs.Lookup("format").Annotations = map[string][]string{formatsAnnotation: names}
}

// parse checks the flags.
func (f *formatFlags) parseFormat() error {
	if f.value == "" {
		f.value = f.standard
	}
	if rest, ok := strings.CutPrefix(f.value, formatTemplate.name+"="); ok {
		f.value = formatTemplate.name
		if f.template != "" {
			return fmt.Errorf("--template cannot be used together with --format %s=TEMPLATE", formatTemplate.name)
		}
		f.template = rest
	}
	var names []string
	for _, o := range f.formats {
		names = append(names, o.name)
	}
	if !slices.Contains(names, f.value) {
		return hint(fmt.Errorf("invalid format type: %q", f.value), "supported types: %s", strings.Join(names, ", "))
	}
	switch {
	case f.value == formatTemplate.name && f.template == "":
		return hint(fmt.Errorf("%q format specified but no template given", f.value),
			"use `--format %s=TEMPLATE` to specify the template", f.value)
	case f.value != formatTemplate.name && f.template != "":
		return errors.New("--template must be used with --format go-template")
	case f.value == formatTemplate.name:
		_, err := parseTemplate(f.template) // before anything is done
		return err
	}
	return nil
}

// machine reports whether the output is for programs: the result alone.
func (f *formatFlags) machine() bool {
	return f.value == formatJSON.name || f.value == formatTemplate.name
}

// console returns con as a command is to use it: where lines of JSON are asked for
// they, and nothing else, go to its output.
func (f *formatFlags) console(con console) console {
	if f.value == formatNDJSON.name {
		f.lines = newEventLines(con.out)
		con.out = io.Discard
	}
	return con
}

// write prints r as the flags say.
func (f *formatFlags) write(w io.Writer, r result) error {
	if f.lines != nil {
		return f.lines.result(r)
	}
	switch f.value {
	case formatJSON.name:
		return writeJSON(w, r)
	case formatTemplate.name:
		return writeTemplate(w, f.template, r)
	}
	return r.text(w)
}

// writeJSON prints v indented, with a line end.
func writeJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(v)
}

// writeCompact prints v as JSON in one line without a line end, or, if pretty is
// true, indented.
func writeCompact(w io.Writer, v any, pretty bool) error {
	if pretty {
		return writeJSON(w, v)
	}
	data, err := json.Marshal(v)
	if err != nil {
		return err
	}
	_, err = w.Write(data)
	return err
}

func parseTemplate(text string) (*template.Template, error) {
	functions := sprig.FuncMap()
	for _, name := range []string{"env", "expandenv", "getHostByName"} { // a template is no program
		delete(functions, name)
	}
	t, err := template.New("format output").Funcs(functions).Parse(text)
	if err != nil {
		return nil, fmt.Errorf("failed to parse the template: %w", err)
	}
	return t, nil
}

// writeTemplate executes text on the JSON names of v.
func writeTemplate(w io.Writer, text string, v any) error {
	t, err := parseTemplate(text)
	if err != nil {
		return err
	}
	data, err := json.Marshal(v)
	if err != nil {
		return err
	}
	var names any
	if err := json.Unmarshal(data, &names); err != nil {
		return err
	}
	var out bytes.Buffer // all or nothing
	if err := t.Execute(&out, names); err != nil {
		return fmt.Errorf("failed to execute the template: %w", err)
	}
	_, err = out.WriteTo(w)
	return err
}
