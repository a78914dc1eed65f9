//go:build unix

package auth

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// install puts a helper with a shell script for a body into the PATH of home.
func install(t *testing.T, dir, name, script string) {
	t.Helper()
	path := write(t, filepath.Join(dir, "bin", "docker-credential-"+name), "#!/bin/sh\nPATH=/usr/bin:/bin\n"+script)
	if err := os.Chmod(path, 0o700); err != nil {
		t.Fatal(err)
	}
}

// keychain is a helper that keeps logins in a folder.
const keychain = `
kept="$HOME/kept"
mkdir -p "$kept"
read -r input || :
case "$1" in
list) echo '{}' ;;
store)
	server=${input#*\"ServerURL\":\"}; server=${server%%\"*}
	printf '%s' "$input" > "$kept/$(printf %s "$server" | tr / _)" ;;
get)
	cat "$kept/$(printf %s "$input" | tr / _)" 2>/dev/null || { echo 'credentials not found in native keychain'; exit 1; } ;;
erase)
	rm "$kept/$(printf %s "$input" | tr / _)" 2>/dev/null || { echo 'credentials not found in native keychain'; exit 1; } ;;
esac
`

func TestHelper(t *testing.T) {
	dir := home(t)
	install(t, dir, "chain", keychain)
	install(t, dir, "fixed", `echo '{"ServerURL":"x","Username":"fixed","Secret":"s"}'`)
	path := write(t, filepath.Join(dir, "c.json"), `{
		"auths": {"file.example": {"auth": "`+auth64("file", "p")+`"}, "fixed.example": {"auth": "`+auth64("file", "p")+`"},
			"fixed.example/team": {"auth": "`+auth64("team", "p")+`"}},
		"credHelpers": {"fixed.example": "fixed", "https://index.docker.io/v1/": "fixed"},
		"credsStore": "chain"}`)
	c := open(t, path)
	before := read(t, path)
	for _, test := range []struct{ host, repository, user string }{
		{"fixed.example", "x", "fixed"},
		{"fixed.example", "team/x", "team"}, // the longest path
		{"docker.io", "x", "fixed"},
		{"file.example", "x", "file"}, // not in the store
		{"none.example", "x", ""},
	} {
		if got := lookUp(t, c, test.host, test.repository).Username; got != test.user {
			t.Errorf("%s/%s: %q, want %q", test.host, test.repository, got, test.user)
		}
	}
	for _, cred := range []Credential{user, {RefreshToken: refreshToken}, {Username: `q"<\`, Password: "new\nline"}} {
		if err := c.Put(t.Context(), "file.example", cred); err != nil {
			t.Fatal(err)
		}
		if got := lookUp(t, c, "file.example", ""); got != cred {
			t.Errorf("kept %v, got %v", cred, got)
		}
	}
	if read(t, path) != before {
		t.Error("the file was changed")
	}
	if kept := read(t, filepath.Join(dir, "kept", "file.example")); !strings.Contains(kept, `"ServerURL":"file.example"`) {
		t.Error(kept)
	}
	wantErr(t, c.Put(t.Context(), "file.example", Credential{AccessToken: accessToken}), nil, "docker-credential-chain")
	for range 2 { // the second finds nothing, which is no error
		if err := c.Delete(t.Context(), "file.example"); err != nil {
			t.Fatal(err)
		}
	}
	if got := lookUp(t, c, "file.example", ""); !got.IsZero() {
		t.Error(got)
	}
	if kept, _ := os.ReadDir(filepath.Join(dir, "kept")); len(kept) != 0 {
		t.Error(kept)
	}
}

func TestHelperMissing(t *testing.T) {
	dir := home(t)
	install(t, dir, "chain", keychain)
	path := write(t, filepath.Join(dir, "c.json"), `{
		"auths": {"a.example": {"auth": "`+auth64("file", "p")+`"}},
		"credHelpers": {"a.example": "gone", "b.example": "gone"}, "credsStore": "chain"}`)
	c := open(t, path)
	var warnings []string
	c.Warn = func(message string) { warnings = append(warnings, message) }
	if err := (helper{"chain"}).store(t.Context(), "b.example", user); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if got := lookUp(t, c, "a.example", "").Username + lookUp(t, c, "b.example", "").Username; got != "fileme" {
			t.Error(got)
		}
	}
	if len(warnings) != 1 || !strings.Contains(warnings[0], path) || !strings.Contains(warnings[0], "docker-credential-gone: not installed") {
		t.Errorf("warnings %q", warnings)
	}
	wantErr(t, c.Put(t.Context(), "a.example", user), ErrNoHelper, "docker-credential-gone") // not kept where it was not to be
	if !strings.Contains(read(t, path), auth64("file", "p")) {
		t.Error("the file was changed")
	}
	if err := c.Delete(t.Context(), "a.example"); err != nil {
		t.Error(err)
	}
	if strings.Contains(read(t, path), auth64("file", "p")) {
		t.Error("not deleted from the file")
	}
}

// TestHelperBroken: a helper that is there and does not do its work is an error,
// and nothing is used in its place.
func TestHelperBroken(t *testing.T) {
	for _, test := range []struct{ name, script, text string }{
		{"fails", `echo 'no display'; exit 1`, "no display (exit status 1)"},
		{"fails on stderr", `printf '\033[1mno bus\nplanted-second' >&2; exit 2`, "[1mno bus (exit status 2)"},
		{"fails silently", `exit 3`, "exit status 3"},
		{"fails with the secret", `echo '{"Secret":"planted-x"}'; exit 1`, "exit status 1"},
		{"prints nothing", ``, "no credential"},
		{"prints junk", `echo planted-junk`, "no credential"},
		{"prints two", `echo '{"Secret":"planted-x"}{}'`, "no credential"},
		{"prints a list", `echo '["planted-x"]'`, "no credential"},
		{"floods", `while :; do printf 'planted-%01000d' 1; done`, "more than 65536 bytes"},
		{"is no program", "\n", "no credential"},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := home(t)
			install(t, dir, "broken", test.script)
			c := open(t, write(t, filepath.Join(dir, "c.json"), `{
				"auths": {"a.example": {"auth": "`+auth64("file", "p")+`"}}, "credHelpers": {"a.example": "broken"}}`))
			got, err := c.Credential(t.Context(), "a.example", "x")
			if !got.IsZero() {
				t.Errorf("fell back to %v", got)
			}
			wantErr(t, err, nil, test.text)
			wantErr(t, err, nil, "docker-credential-broken")
		})
	}
}

func TestHelperStoreFails(t *testing.T) {
	dir := home(t)
	install(t, dir, "broken", `read -r x; secret=${x#*Secret\":\"}; echo "refused ${secret%%\"*}"; exit 1`)
	path := write(t, filepath.Join(dir, "c.json"), `{"credsStore":"broken"}`)
	wantErr(t, open(t, path).Put(t.Context(), "a.example", user), nil, "refused ***")
	if read(t, path) != `{"credsStore":"broken"}` {
		t.Error("the file was changed")
	}
}

func TestHelperHangs(t *testing.T) {
	dir := home(t)
	install(t, dir, "hangs", `exec sleep 60`)
	c := open(t, write(t, filepath.Join(dir, "c.json"), `{"credsStore":"hangs"}`))
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	start := time.Now()
	_, err := c.Credential(ctx, "a.example", "")
	wantErr(t, err, context.DeadlineExceeded, "docker-credential-hangs")
	if passed := time.Since(start); passed > 20*time.Second {
		t.Errorf("took %v", passed)
	}
}

func TestHelperNames(t *testing.T) {
	dir := home(t)
	write(t, filepath.Join(dir, "evil"), "#!/bin/sh\ntouch \"$HOME/ran\"\n")
	if err := os.Chmod(filepath.Join(dir, "evil"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"../../evil", "/../../evil", "a b", "a;touch x", "$(touch x)", "a\x00b", "a\n", "é", ".exe", strings.Repeat("x", 65)} {
		_, err := helper{name}.get(t.Context(), "a.example")
		wantErr(t, err, nil, "the name of a helper has")
	}
	install(t, dir, "desktop.exe", `echo '{"Username":"wsl","Secret":"s"}'`)
	if got, err := (helper{"desktop.exe"}).get(t.Context(), "a.example"); err != nil || got.Username != "wsl" {
		t.Errorf("%v, %v", got, err)
	}
	install(t, dir, "chain", keychain)
	for _, server := range []string{"a\nb", "a\x00", "a\rb", "a\x7f"} {
		_, err := helper{"chain"}.get(t.Context(), server)
		wantErr(t, err, nil, "control characters")
	}
	if _, err := os.Stat(filepath.Join(dir, "ran")); err == nil {
		t.Error("another program ran")
	}
}

// Flags may be set by ORAS_ variables; passwords are among them.
func TestHelperEnvironment(t *testing.T) {
	dir := home(t)
	t.Setenv("ORAS_PASSWORD", password)
	t.Setenv("DISPLAY", ":7")
	install(t, dir, "env", `printf '{"Username":"%s","Secret":"%s"}' "$DISPLAY" "x$ORAS_PASSWORD"`)
	got, err := helper{"env"}.get(t.Context(), "a.example")
	if err != nil || got.Username != ":7" || got.Password != "x" {
		t.Errorf("%v, %v", got, err)
	}
}

func TestFirstLogin(t *testing.T) {
	name := nativeHelpers()[0].name
	for _, test := range []struct {
		before   string // the file's; empty for none
		script   string
		keychain bool
		warns    bool
	}{
		{"", keychain, true, false},
		{`{"psFormat":"x"}`, keychain, true, false},
		{`{"auths":{"b.example":{}}}`, keychain, false, false},
		{`{"credHelpers":{"b.example":"x"}}`, keychain, false, false},
		{"", `echo 'no keychain here'; exit 1`, false, true},
		{"", "", false, false},
	} {
		dir := home(t)
		if test.script != "" {
			install(t, dir, name, test.script)
		}
		path := filepath.Join(dir, ".docker", "config.json")
		if test.before != "" {
			write(t, path, test.before)
		}
		c := open(t)
		warned := false
		c.Warn = func(string) { warned = true }
		if err := c.Put(t.Context(), "a.example", user); err != nil {
			t.Fatal(err)
		}
		text := read(t, path)
		named := strings.Contains(text, fmt.Sprintf(`"credsStore": %q`, name))
		if named != test.keychain || strings.Contains(text, auth64("me", password)) == test.keychain || warned != test.warns {
			t.Errorf("%+v: %s, warned %v", test, text, warned)
		}
		if strings.Contains(test.before, "psFormat") && !strings.Contains(text, "psFormat") {
			t.Errorf("lost: %s", text)
		}
		if got := lookUp(t, open(t), "a.example", ""); got != user {
			t.Errorf("%+v: %v", test, got)
		}
	}
}

func TestPutModeAndLinks(t *testing.T) {
	dir := home(t)
	real := write(t, filepath.Join(dir, "dotfiles", "docker.json"), `{"keep":1}`) // mode 0644
	links := filepath.Join(dir, "links")
	if err := os.Mkdir(links, 0o700); err != nil {
		t.Fatal(err)
	}
	for name, target := range map[string]string{
		"absolute": real, "relative": "../dotfiles/docker.json", "chain": "relative", "dangling": "../dotfiles/new.json", "loop": "loop",
	} {
		if err := os.Symlink(target, filepath.Join(links, name)); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"absolute", "relative", "chain", "dangling"} {
		path := filepath.Join(links, name)
		if err := open(t, path).Put(t.Context(), name+".example", user); err != nil {
			t.Fatal(err)
		}
		if info, err := os.Lstat(path); err != nil || info.Mode()&os.ModeSymlink == 0 {
			t.Errorf("%s: the link was replaced", name)
		}
		if info, err := os.Stat(path); err != nil || info.Mode() != 0o600 {
			t.Errorf("%s: mode %v", name, info.Mode())
		}
	}
	if text := read(t, real); !strings.Contains(text, "keep") || !strings.Contains(text, "chain.example") || !strings.Contains(text, "absolute.example") {
		t.Error(text)
	}
	c := &Config{files: []configFile{{path: filepath.Join(links, "loop")}}}
	if err := c.Put(t.Context(), "a.example", user); err == nil {
		t.Error("wrote to a loop")
	}
	for _, folder := range []string{links, filepath.Dir(real)} {
		left, _ := os.ReadDir(folder)
		for _, entry := range left {
			if strings.Contains(entry.Name(), "lock") || strings.Contains(entry.Name(), "oras-") {
				t.Errorf("left %s", entry.Name())
			}
		}
	}
}

// A file that cannot be changed is no hindrance where a helper keeps the logins.
func TestPutUnchangeable(t *testing.T) {
	dir := home(t)
	install(t, dir, "chain", keychain)
	for _, test := range []struct {
		content string
		ok      bool
	}{{`{"credsStore":"chain"}`, true}, {`{"auths":{}}`, false}} {
		path := write(t, filepath.Join(t.TempDir(), "config.json"), test.content)
		if err := os.Mkdir(path+".lock", 0o700); err != nil { // nothing can be locked
			t.Fatal(err)
		}
		err := open(t, path).Put(t.Context(), "a.example", user)
		clean(t, err)
		if (err == nil) != test.ok || err != nil && !strings.Contains(err.Error(), path) || read(t, path) != test.content {
			t.Errorf("%s: %v", test.content, err)
		}
	}
}

func TestLockHeld(t *testing.T) {
	home(t)
	path := filepath.Join(t.TempDir(), "config.json")
	unlock, err := lock(t.Context(), path+".lock")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Millisecond)
	defer cancel()
	err = open(t, path).Put(ctx, "a.example", user)
	wantErr(t, err, context.DeadlineExceeded, "another process holds it")
	done := make(chan error)
	go func() { done <- open(t, path).Put(t.Context(), "a.example", user) }()
	unlock()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(path + ".lock"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a lock is left: %v", err)
	}
}
