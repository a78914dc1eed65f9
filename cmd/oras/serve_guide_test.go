package main

import (
	"bufio"
	"fmt"
	"io"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"github.com/c73062ad/oras/server"
)

const registryGuidePath = "../../docs/registry.md"

var (
	tableBegin = "<!-- Made of the command's flags by \"go test ./cmd/oras -run TestRegistryGuide -update\": begin -->\n"
	tableEnd   = "<!-- end -->\n"
)

// TestRegistryGuide compares the table of keys in docs/registry.md with the flags, of
// which it is made; with the flag -update it makes it.
func TestRegistryGuide(t *testing.T) {
	data, err := os.ReadFile(registryGuidePath)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := strings.Cut(string(data), tableBegin)
	table, after, end := strings.Cut(rest, tableEnd)
	if !ok || !end {
		t.Fatal("there is no table")
	}
	want := keyTable(newServeCommand(console{strings.NewReader(""), io.Discard, io.Discard}).Flags())
	if table == want {
		return
	}
	if !*update {
		t.Fatal("the table is stale; run \"go test ./cmd/oras -run TestRegistryGuide -update\"")
	}
	if err := os.WriteFile(registryGuidePath, []byte(before+tableBegin+want+tableEnd+after), 0o644); err != nil {
		t.Fatal(err)
	}
}

func keyTable(flags *pflag.FlagSet) string {
	var b strings.Builder
	b.WriteString("\n| key | variable | default | |\n|---|---|---|---|\n")
	flags.VisitAll(func(f *pflag.Flag) {
		if !settable(f) || f.Name == "config" {
			return
		}
		_, usage := pflag.UnquoteUsage(f)
		value := f.DefValue
		if value == "[]" {
			value = ""
		}
		if value != "" {
			value = "`" + value + "`"
		}
		if _, list := f.Value.(pflag.SliceValue); list {
			usage += " (may be a list)"
		}
		fmt.Fprintf(&b, "| `%s` | `%s` | %s | %s |\n", f.Name, flagVariable(f.Name), value, markdown(usage))
	})
	return b.String() + "\n"
}

// TestRegistryGuideMetrics: the guide names each metric there is, and no other, and
// keys that there are.
func TestRegistryGuideMetrics(t *testing.T) {
	data, err := os.ReadFile(registryGuidePath)
	if err != nil {
		t.Fatal(err)
	}
	text := string(data)
	w := httptest.NewRecorder()
	(&server.Metrics{}).ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
	var names []string
	for _, found := range regexp.MustCompile(`(?m)^# TYPE (\S+)`).FindAllStringSubmatch(w.Body.String(), -1) {
		names = append(names, found[1])
	}
	for _, m := range slices.Concat(processMetrics(), (*certificates)(nil).metrics(), diskMetrics("."), (&schedule{}).metrics()) {
		names = append(names, m.Name)
	}
	names = append(names, "oras_uploads_open")
	for _, name := range names {
		if !strings.Contains(text, "`"+name) {
			t.Errorf("metric %s is not told of", name)
		}
	}
	for _, name := range regexp.MustCompile(`\boras_[a-z_]+`).FindAllString(text, -1) {
		if !slices.Contains(names, name) && name != "oras_disk" {
			t.Errorf("there is no metric %s", name)
		}
	}
}

// TestPackaging: what is packaged, and what the guide shows, are flags and keys that
// there are.
func TestPackaging(t *testing.T) {
	flags := func() *pflag.FlagSet {
		return newServeCommand(console{strings.NewReader(""), io.Discard, io.Discard}).Flags()
	}
	dockerfile, err := os.ReadFile("../../Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	unit, err := os.ReadFile("../../packaging/oras.service")
	if err != nil {
		t.Fatal(err)
	}
	guide, err := os.ReadFile(registryGuidePath)
	if err != nil {
		t.Fatal(err)
	}
	var lines [][]string
	if found := regexp.MustCompile(`(?m)^CMD \["serve", (.*)\]$`).FindSubmatch(dockerfile); found != nil {
		lines = append(lines, strings.Split(strings.ReplaceAll(string(found[1]), `"`, ""), ", "))
	}
	for _, found := range regexp.MustCompile(`(?m)^(?:ExecStart=/usr/local/bin/)?oras serve((?: --\S+(?: [^-#\s]\S*)?)+)`).FindAllSubmatch(append(unit, guide...), -1) {
		lines = append(lines, strings.Fields(string(found[1])))
	}
	if len(lines) < 3 {
		t.Fatalf("only %d command lines were found", len(lines))
	}
	for _, args := range lines {
		if err := flags().Parse(args); err != nil {
			t.Errorf("%q: %v", args, err)
		}
	}
	configs := map[string][]byte{}
	if configs["packaging/registry.yaml"], err = os.ReadFile("../../packaging/registry.yaml"); err != nil {
		t.Fatal(err)
	}
	for i, found := range regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllSubmatch(guide, -1) {
		if !strings.HasPrefix(string(found[1]), "groups:") {
			configs[fmt.Sprintf("docs/registry.md, %d", i)] = found[1]
		}
	}
	if len(configs) < 3 {
		t.Errorf("only %d configurations were found", len(configs))
	}
	for name, config := range configs {
		path := filepath.Join(t.TempDir(), "registry.yaml")
		if err := os.WriteFile(path, config, 0o600); err != nil {
			t.Fatal(err)
		}
		cmd := newServeCommand(console{strings.NewReader(""), io.Discard, io.Discard})
		if err := setFromFile(cmd, path); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	for lines := bufio.NewScanner(strings.NewReader(string(unit))); lines.Scan(); {
		if line := lines.Text(); line != "" && !strings.HasPrefix(line, "#") && !strings.HasPrefix(line, "[") && !strings.Contains(line, "=") {
			t.Errorf("line %q of the unit", line)
		}
	}
}
