package compat

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// commands are the scripts of cmd/oras that any registry will do for: all that are
// about commands which talk to one.
var commands = []string{
	"attach", "backup", "blob", "blob_delete", "common", "completion", "cp", "debug", "discover", "documents", "legacy",
	"login", "manifest", "manifest_delete", "manifest_index", "network", "pull", "push", "repo", "resolve", "restore", "tag",
}

// TestCommands runs the scripts of the command line with distribution, which has no
// referrers API, as their registry. Where results differ, they say so by the
// condition [distribution].
func TestCommands(t *testing.T) {
	cmd := exec.Command("go", "test", "./cmd/oras", "-count=1", "-vet=off", "-v", "-run", "^TestScripts$/^("+strings.Join(commands, "|")+")$")
	cmd.Dir = ".."
	cmd.Env = append(os.Environ(), "ORAS_TEST_REGISTRY="+filepath.Join(programs, "distribution"))
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, name := range commands {
		if !strings.Contains(string(out), "--- PASS: TestScripts/"+name+" ") {
			t.Errorf("%s has not run", name)
		}
	}
}
