package main

import (
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// added are flags, by command, that testdata/flags.tsv does not know.
var added = map[string][]string{
	"push":       {"compression", "limit-rate"},
	"attach":     {"compression", "limit-rate"},
	"pull":       {"unpack-size", "unpack-ratio", "connections", "limit-rate"},
	"cp":         {"connections", "limit-rate", "format"},
	"backup":     {"connections", "limit-rate", "format"},
	"restore":    {"limit-rate", "format"},
	"blob push":  {"limit-rate"},
	"blob fetch": {"connections", "limit-rate"},
}

// A shape is what of a command scripts depend on.
type shape struct {
	usage string
	names string // the command's own and its aliases, if it has any
	flags map[string]flagShape
}

type flagShape struct{ shorthand, kind, standard, mark string }

// TestFlags compares commands and flags with testdata/flags.tsv, which lists those
// of the command line that this one takes the place of.
func TestFlags(t *testing.T) {
	root := newRootCommand(console{strings.NewReader(""), os.Stdout, os.Stderr})
	for name, want := range readShapes(t) {
		t.Run(name, func(t *testing.T) {
			cmd := root
			if name != "(root)" {
				found, rest, err := root.Find(strings.Fields(name))
				if err != nil || len(rest) > 0 {
					t.Fatalf("no such command: %v", err)
				}
				cmd = found
			}
			got := shapeOf(cmd)
			for _, flag := range added[name] {
				delete(got.flags, flag)
			}
			if diff := cmp.Diff(want, got, cmp.AllowUnexported(shape{}, flagShape{})); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

func readShapes(t *testing.T) map[string]*shape {
	data, err := os.ReadFile("testdata/flags.tsv")
	if err != nil {
		t.Fatal(err)
	}
	shapes := map[string]*shape{}
	for line := range strings.Lines(string(data)) {
		fields := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		for len(fields) < 7 {
			fields = append(fields, "")
		}
		switch fields[0] {
		case "command":
			shapes[fields[1]] = &shape{fields[2], fields[3], map[string]flagShape{}}
		case "flag":
			shapes[fields[1]].flags[fields[2]] = flagShape{fields[3], fields[4], strings.Trim(fields[5], `"`), fields[6]}
		}
	}
	if len(shapes) < 25 {
		t.Fatalf("flags.tsv holds %d commands", len(shapes))
	}
	return shapes
}

func shapeOf(cmd *cobra.Command) *shape {
	s := &shape{usage: usageLine(cmd), flags: map[string]flagShape{}}
	if !cmd.HasSubCommands() {
		s.usage = cmd.UseLine() // as help has it
	}
	if len(cmd.Aliases) > 0 {
		s.names = cmd.NameAndAliases()
	}
	cmd.InitDefaultHelpFlag()
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if f.Name == "verbose" { // which has had its time
			f.Hidden = f.Hidden && f.Shorthand == "v" && f.DefValue == "true"
		}
		if !f.Hidden {
			s.flags[f.Name] = shapeOfFlag(f)
		}
	})
	return s
}

func shapeOfFlag(f *pflag.Flag) flagShape {
	kind, usage := pflag.UnquoteUsage(f)
	if kind == "" {
		kind = "bool"
	}
	s := flagShape{shorthand: f.Shorthand, kind: kind, standard: f.DefValue}
	switch s.standard {
	case "false", "0", "[]":
		s.standard = ""
	}
	if _, said, ok := strings.Cut(usage, " (default "); ok && !strings.Contains(usage, "\n") {
		s.standard = strings.TrimSuffix(said, ")")
	}
	if mark, _, ok := strings.Cut(strings.TrimPrefix(usage, "["), "]"); ok && usage[0] == '[' {
		s.mark = strings.ToLower(mark)
	}
	return s
}
