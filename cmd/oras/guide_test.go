package main

import (
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

var update = flag.Bool("update", false, "write docs/cli.md anew")

const guidePath = "../../docs/cli.md"

// TestGuide compares docs/cli.md with the help of the commands, of which it is
// made; with the flag -update it makes it.
func TestGuide(t *testing.T) {
	root := newRootCommand(console{strings.NewReader(""), io.Discard, io.Discard})
	text := guide(root)
	if *update {
		if err := os.WriteFile(guidePath, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	old, err := os.ReadFile(guidePath)
	if err != nil {
		t.Fatal(err)
	}
	if text == string(old) {
		return
	}
	want, got := strings.Split(text, "\n"), strings.Split(string(old), "\n")
	i := 0
	for i < min(len(want), len(got))-1 && want[i] == got[i] {
		i++
	}
	t.Errorf("docs/cli.md is stale from line %d on; run \"go test ./cmd/oras -run TestGuide -update\":\n%s\nshould be\n%s", i+1, got[i], want[i])
}

// TestGuideIsWhole: each command that does something has examples, and each flag its
// variable.
func TestGuideIsWhole(t *testing.T) {
	root := newRootCommand(console{strings.NewReader(""), io.Discard, io.Discard})
	text := guide(root)
	_, registry, _ := strings.Cut(text, "\n## Reaching a registry\n")
	registry, _, _ = strings.Cut(registry, "\n## ")
	for _, cmd := range commands(root) {
		_, section, ok := strings.Cut(text, "\n## "+cmd.CommandPath()+"\n")
		if !ok {
			t.Errorf("%s is not told of", cmd.CommandPath())
			continue
		}
		section, _, _ = strings.Cut(section, "\n## ")
		if cmd.Parent().Name() != "completion" && !cmd.HasSubCommands() && !strings.Contains(section, "```sh\noras ") {
			t.Errorf("%s has no example", cmd.CommandPath())
		}
		if strings.Contains(section, "(#reaching-a-registry)") {
			section += registry
		}
		cmd.LocalFlags().VisitAll(func(f *pflag.Flag) {
			if settable(f) && !strings.Contains(section, "`ORAS_"+strings.ToUpper(strings.ReplaceAll(f.Name, "-", "_"))+"`") {
				t.Errorf("%s: the variable of --%s is missing", cmd.CommandPath(), f.Name)
			}
		})
	}
}

// commands returns all commands below cmd that users see.
func commands(cmd *cobra.Command) (all []*cobra.Command) {
	for _, sub := range cmd.Commands() {
		if sub.IsAvailableCommand() && sub.Name() != "help" {
			all = append(append(all, sub), commands(sub)...)
		}
	}
	return all
}

// guide returns the guide, in Markdown.
func guide(root *cobra.Command) string {
	var b strings.Builder
	b.WriteString("# The command line\n\n<!-- Made of the commands' own help by \"go test ./cmd/oras -run TestGuide -update\". -->\n\n")
	writeLong(&b, root)
	b.WriteString("| Command | |\n|---|---|\n")
	for _, cmd := range commands(root) {
		fmt.Fprintf(&b, "| [%s](#%s) | %s |\n", cmd.CommandPath(), strings.ReplaceAll(cmd.CommandPath(), " ", "-"), markdown(cmd.Short))
	}
	login, _, _ := root.Find([]string{"login"})
	b.WriteString("\n## Reaching a registry\n\nCommands that reach a registry have these flags:\n\n")
	writeFlags(&b, login.LocalFlags(), nil)
	for _, cmd := range commands(root) {
		fmt.Fprintf(&b, "\n## %s\n\n", cmd.CommandPath())
		writeLong(&b, cmd)
		if !cmd.HasSubCommands() {
			fmt.Fprintf(&b, "Usage: `%s`\n\n", usageLine(cmd))
		}
		if len(cmd.Aliases) > 0 {
			fmt.Fprintf(&b, "Also called: %s\n\n", strings.Join(cmd.Aliases, ", "))
		}
		var elsewhere *pflag.FlagSet
		if config := cmd.Flags().Lookup("registry-config"); config != nil && cmd != login && config.Usage == login.Flags().Lookup("registry-config").Usage {
			elsewhere = login.LocalFlags()
		}
		writeFlags(&b, cmd.LocalFlags(), elsewhere)
	}
	return strings.ReplaceAll(strings.TrimRight(b.String(), "\n"), "\n\n\n", "\n\n") + "\n"
}

// writeLong writes the text of a command's help. Lines that are indented, below a
// line that is not, are its commands or its table.
func writeLong(b *strings.Builder, cmd *cobra.Command) {
	text := cmd.Long
	if text == "" {
		text = cmd.Short
	}
	for paragraph := range strings.SplitSeq(strings.TrimSpace(text), "\n\n") {
		head, block, ok := strings.Cut(paragraph, "\n  ")
		switch {
		case ok:
			language := "text"
			if example, ok := strings.CutPrefix(head, "Example - "); ok {
				head, language = example, "sh"
			}
			fmt.Fprintf(b, "%s\n\n```%s\n%s\n```\n\n", markdown(head), language, strings.ReplaceAll(block, "\n  ", "\n"))
		case strings.HasPrefix(paragraph, "\t"):
			fmt.Fprintf(b, "```sh\n%s\n```\n\n", strings.ReplaceAll(strings.TrimPrefix(paragraph, "\t"), "\n\t", "\n"))
		default:
			fmt.Fprintf(b, "%s\n\n", markdown(strings.TrimLeft(paragraph, "\n# ")))
		}
	}
}

// writeFlags writes a table of the flags but for those that are in elsewhere, the
// table of what reaching a registry takes.
func writeFlags(b *strings.Builder, flags, elsewhere *pflag.FlagSet) {
	heading := "| Flag | Variable | |\n|---|---|---|\n"
	flags.VisitAll(func(f *pflag.Flag) {
		if !settable(f) || elsewhere != nil && elsewhere.Lookup(f.Name) != nil {
			return
		}
		b.WriteString(heading)
		heading = ""
		kind, usage := pflag.UnquoteUsage(f)
		name := strings.TrimSpace("--" + f.Name + " " + kind)
		if f.Shorthand != "" {
			name = "-" + f.Shorthand + ", " + name
		}
		if !strings.Contains(usage, "(default ") {
			usage += standard(f)
		}
		fmt.Fprintf(b, "| `%s` | `%s` | %s |\n", name, flagVariable(f.Name), strings.ReplaceAll(markdown(usage), "\n", "<br>"))
	})
	switch {
	case elsewhere != nil && heading == "":
		b.WriteString("\nBesides these, it has those for [reaching a registry](#reaching-a-registry).\n")
	case elsewhere != nil:
		b.WriteString("Its flags are those for [reaching a registry](#reaching-a-registry).\n")
	}
}

// standard returns what help says of the value that a flag has by default.
func standard(f *pflag.Flag) string {
	switch f.DefValue {
	case "", "false", "0", "[]":
		return ""
	}
	if f.Value.Type() == "string" {
		return fmt.Sprintf(" (default %q)", f.DefValue)
	}
	return fmt.Sprintf(" (default %s)", f.DefValue)
}

var escapes = strings.NewReplacer("<", `\<`, ">", `\>`, "*", `\*`, "|", `\|`)

// markdown returns text that is to be read as it is.
func markdown(text string) string { return escapes.Replace(text) }
