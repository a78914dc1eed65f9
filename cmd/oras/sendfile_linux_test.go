package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// TestSendfile: a large file goes to a registry, and a large blob of a layout or of a
// registry's disk on its way out, without passing through the memory of the program.
func TestSendfile(t *testing.T) {
	dir := t.TempDir()
	const size = 48 << 20
	content := make([]byte, size)
	if err := os.WriteFile(filepath.Join(dir, "large"), content, 0o600); err != nil {
		t.Fatal(err)
	}
	returned := regexp.MustCompile(`(?m)sendfile(?:\(| resumed).*= (\d+)$`)
	sent := func(file string) (n int) {
		t.Helper()
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range returned.FindAllSubmatch(text, -1) {
			more, err := strconv.Atoi(string(m[1]))
			if err != nil {
				t.Fatal(err)
			}
			n += more
		}
		return n
	}
	serve, served := trace(t, "sendfile", "serve", "--addr", "127.0.0.1:0", "--data", filepath.Join(dir, "registry"))
	_, url, _ := startServing(t, serve)
	host := strings.Replace(url, "http://127.0.0.1", "localhost", 1)
	for _, args := range [][]string{
		{"push", host + "/r:v1", "large"},
		{"push", "--oci-layout", "layout:v1", "large"},
		{"cp", "--from-oci-layout", "layout:v1", host + "/copied:v1"},
		{"pull", host + "/r:v1", "-o", "out"},
	} {
		cmd, file := trace(t, "sendfile", args...)
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%q: %v: %s", args, err, out)
		}
		want := 0
		if args[1] == host+"/r:v1" && args[0] == "push" || args[0] == "cp" {
			want = size
		}
		if n := sent(file); n != want {
			t.Errorf("%q: %d bytes were sent from files, want %d", args, n, want)
		}
	}
	if n := sent(served); n < size*9/10 { // what comes first of an answer goes with its header
		t.Errorf("the registry sent %d bytes of %d from files", n, size)
	}
}
