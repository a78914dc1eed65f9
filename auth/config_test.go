package auth

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/c73062ad/oras"
	"github.com/google/go-cmp/cmp"
)

func auth64(user, secret string) string {
	return base64.StdEncoding.EncodeToString([]byte(user + ":" + secret))
}

// home lets the default files be in a new folder, and finds no helper.
func home(t *testing.T) string {
	dir := t.TempDir()
	t.Setenv("HOME", dir)
	t.Setenv("USERPROFILE", dir)
	for _, name := range []string{"DOCKER_CONFIG", "REGISTRY_AUTH_FILE", "XDG_CONFIG_HOME"} {
		t.Setenv(name, "")
	}
	t.Setenv("XDG_RUNTIME_DIR", filepath.Join(dir, "run"))
	t.Setenv("PATH", filepath.Join(dir, "bin"))
	return dir
}

func write(t *testing.T, path, content string) string {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func read(t *testing.T, path string) string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func open(t *testing.T, paths ...string) *Config {
	t.Helper()
	c, err := OpenConfig(paths...)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func lookUp(t *testing.T, c *Config, registry, repository string) Credential {
	t.Helper()
	cred, err := c.Credential(t.Context(), registry, repository)
	if err != nil {
		t.Fatal(err)
	}
	return cred
}

func TestConfigLookUp(t *testing.T) {
	home(t)
	entry := func(name, user string) string { return fmt.Sprintf("%q:{%q:%q}", name, "auth", auth64(user, "p")) }
	c := open(t, write(t, filepath.Join(t.TempDir(), "config.json"), `{"auths":{`+strings.Join([]string{
		entry("plain.example", "plain"),
		entry("plain.example/team", "team"),
		entry("plain.example/team/tool", "tool"),
		entry("http://localhost:7000/", "legacy"),
		entry("https://v2.example/v2/", "v2"),
		entry("v1.example/v1/", "v1"),
		entry("https://index.docker.io/v1/", "hub"),
		entry("docker.io/library/alpine", "alpine"),
		entry("both.example", "exact"),
		entry("https://both.example/", "older"),
		entry("Upper.Example", "upper"),
		entry("slash.example/a/", "slash"),
		entry("port.example:5000", "port"),
		entry("[::1]:5000", "v6"),
		`"empty.example":{}`,
		`"null.example":null`,
		`"tokens.example":{"identitytoken":"i","registrytoken":"r"}`,
		`"fields.example":{"username":"u","password":"p"}`,
		`"auth wins.example":{}`,
		`"twice.example":{"username":"u","password":"p","auth":"` + auth64("a", "q:r") + `","email":"x"}`,
		`"unpadded.example":{"auth":"` + strings.TrimRight(auth64("a", "p"), "=") + `"}`,
	}, ",")+`}}`))
	userPass := func(user string) Credential { return Credential{Username: user, Password: "p"} }
	for _, test := range []struct {
		registry, repository string
		want                 Credential
	}{
		{"plain.example", "", userPass("plain")},
		{"plain.example", "other/x", userPass("plain")},
		{"plain.example", "team", userPass("team")},
		{"plain.example", "team/x", userPass("team")},
		{"plain.example", "team/tool", userPass("tool")},
		{"plain.example", "team/tool/y", userPass("tool")},
		{"plain.example", "team/toolbox", userPass("team")},
		{"plain.example", "teams", userPass("plain")},
		{"localhost:7000", "hello", userPass("legacy")},
		{"localhost:7001", "hello", Credential{}},
		{"v2.example", "v2", userPass("v2")},
		{"v1.example", "a", userPass("v1")},
		{"docker.io", "library/busybox", userPass("hub")},
		{"registry-1.docker.io", "x", userPass("hub")},
		{"registry-1.docker.io", "library/alpine", userPass("alpine")},
		{"evildocker.io", "x", Credential{}},
		{"docker.io.evil.org", "x", Credential{}},
		{"docker.io.", "x", Credential{}},
		{"index.docker.io:443", "x", Credential{}},
		{"both.example", "x", userPass("exact")},
		{"upper.example", "x", userPass("upper")},
		{"slash.example", "a/b", userPass("slash")},
		{"slash.example", "b", Credential{}},
		{"port.example:5000", "x", userPass("port")},
		{"port.example", "x", Credential{}},
		{"port.example:50001", "x", Credential{}},
		{"[::1]:5000", "x", userPass("v6")},
		{"empty.example", "x", Credential{}},
		{"null.example", "x", Credential{}},
		{"tokens.example", "x", Credential{RefreshToken: "i", AccessToken: "r"}},
		{"fields.example", "x", userPass("u")},
		{"twice.example", "x", Credential{Username: "a", Password: "q:r"}},
		{"unpadded.example", "x", userPass("a")},
		{"", "", Credential{}},
		{"example", "x", Credential{}},
	} {
		if got := lookUp(t, c, test.registry, test.repository); got != test.want {
			t.Errorf("%s/%s: %v, want %v", test.registry, test.repository, got, test.want)
		}
	}
}

func TestConfigFiles(t *testing.T) {
	dir := home(t)
	entry := func(users ...string) string {
		all := []string{}
		for i := 0; i < len(users); i += 2 {
			all = append(all, fmt.Sprintf("%q:{%q:%q}", users[i], "auth", auth64(users[i+1], "p")))
		}
		return `{"auths":{` + strings.Join(all, ",") + `}}`
	}
	who := func(host string) string { return lookUp(t, open(t), host, "x").Username }
	docker := write(t, filepath.Join(dir, ".docker", "config.json"), entry("a", "docker"))
	write(t, filepath.Join(dir, "run", "containers", "auth.json"), entry("a", "podman", "b", "podman"))
	write(t, filepath.Join(dir, ".config", "containers", "auth.json"), entry("b", "podman2", "c", "podman2"))
	if got := who("a") + who("b") + who("c") + who("d"); got != "dockerpodmanpodman2" {
		t.Error(got)
	}
	if got := open(t, "").Path(); got != docker {
		t.Errorf("writes %s", got)
	}
	other := write(t, filepath.Join(dir, "other", "config.json"), entry("d", "other"))
	t.Setenv("DOCKER_CONFIG", filepath.Dir(other))
	if got := who("a") + who("d"); got != "podmanother" || open(t).Path() != other {
		t.Error(got)
	}
	file := write(t, filepath.Join(dir, "auth.json"), entry("d", "file"))
	t.Setenv("REGISTRY_AUTH_FILE", file)
	if got := who("a") + who("d"); got != "podmanfile" || open(t).Path() != file {
		t.Error(got)
	}
	named := open(t, filepath.Join(dir, "none.json"), other)
	if got := lookUp(t, named, "a", "").Username + lookUp(t, named, "d", "").Username; got != "other" {
		t.Errorf("files by name: %s", got)
	}

	// What is wrong with a file that somebody named is an error; with podman's own, a warning.
	write(t, filepath.Join(dir, "run", "containers", "auth.json"), "{")
	c := open(t)
	var warnings []string
	c.Warn = func(message string) { warnings = append(warnings, message) }
	lookUp(t, c, "c", "")
	lookUp(t, c, "c", "")
	if len(warnings) != 1 || !strings.Contains(warnings[0], filepath.Join("run", "containers", "auth.json")) {
		t.Errorf("warnings %q", warnings)
	}
	write(t, file, "{")
	_, err := OpenConfig()
	wantErr(t, err, nil, file)
}

func TestConfigMalformed(t *testing.T) {
	home(t)
	path := filepath.Join(t.TempDir(), "config.json")
	for _, content := range []string{
		`{`, `[]`, `"planted-"`, `{}x`, `{"auths":"planted-"}`, `{"auths":["planted-"]}`, `{"auths":{}}{"x":"planted-"}`,
		`{"credHelpers":"planted-"}`, `{"auths":{"x":planted-}}`, "\x00", strings.Repeat(" ", maxConfig) + "{}",
	} {
		write(t, path, content)
		_, err := OpenConfig(path)
		wantErr(t, err, nil, path)
		c := &Config{files: []configFile{{path: path}}}
		wantErr(t, c.Put(t.Context(), "a.example", user), nil, path)
		wantErr(t, c.Delete(t.Context(), "a.example"), nil, path)
		if read(t, path) != content {
			t.Errorf("%.20q was changed", content)
		}
	}
	for _, entry := range []string{
		`"planted-"`, `["planted-"]`, `123456`, `{"auth":"planted-%%%"}`, `{"auth":"cGxhbnRlZC1wYTU1d29yZA=="}`,
	} {
		c := open(t, write(t, path, `{"auths":{"a.example":`+entry+`,"b.example":{"auth":"`+auth64("b", "p")+`"}}}`))
		_, err := c.Credential(t.Context(), "a.example", "")
		wantErr(t, err, nil, `a.example`)
		if got := lookUp(t, c, "b.example", ""); got.Username != "b" {
			t.Errorf("beside %s: %v", entry, got)
		}
		if err := c.Put(t.Context(), "a.example", user); err != nil { // the way out
			t.Error(err)
		}
		if got := lookUp(t, c, "a.example", ""); got != user {
			t.Errorf("after a login: %v", got)
		}
	}
	for _, content := range []string{"", " \n", "null", `{"auths":null}`} { // as mktemp and others leave it
		c := open(t, write(t, path, content))
		if err := c.Put(t.Context(), "a.example", user); err != nil || lookUp(t, c, "a.example", "") != user {
			t.Errorf("%q: %v", content, err)
		}
	}
	if _, err := OpenConfig(t.TempDir()); err == nil {
		t.Error("a folder is a config")
	}
}

func TestPut(t *testing.T) {
	home(t)
	path := write(t, filepath.Join(t.TempDir(), "config.json"), `{
    "HttpHeaders": {"User-Agent": "x <y> & \u00e9", "big": 12345678901234567890},
	"auths": {
		"b.example": {"auth": "`+auth64("b", "old")+`", "email": "b@example", "identitytoken": "old"},
		"http://a.example/": {"auth": "`+auth64("a", "older")+`"},
		"a.example/team": {"auth": "`+auth64("team", "p")+`"}
	},
	"psFormat": "table {{.ID}}",
	"unknown": [1.50, null, {"deep": {}}]
}`)
	c := open(t, path)
	for _, put := range []struct {
		registry string
		cred     Credential
	}{
		{"b.example", Credential{Username: "b", Password: "new:<&>"}},
		{"a.example", Credential{RefreshToken: "refresh"}},
		{"docker.io", Credential{AccessToken: "access"}},
	} {
		if err := c.Put(t.Context(), put.registry, put.cred); err != nil {
			t.Fatal(err)
		}
		if got := lookUp(t, c, put.registry, "x"); got != put.cred {
			t.Errorf("%s: %v", put.registry, got)
		}
	}
	want := `{
	"HttpHeaders": {
		"User-Agent": "x <y> & \u00e9",
		"big": 12345678901234567890
	},
	"auths": {
		"b.example": {
			"email": "b@example",
			"auth": "` + auth64("b", "new:<&>") + `"
		},
		"http://a.example/": {
			"auth": "` + auth64("a", "older") + `"
		},
		"a.example/team": {
			"auth": "` + auth64("team", "p") + `"
		},
		"a.example": {
			"identitytoken": "refresh"
		},
		"https://index.docker.io/v1/": {
			"registrytoken": "access"
		}
	},
	"psFormat": "table {{.ID}}",
	"unknown": [
		1.50,
		null,
		{
			"deep": {}
		}
	]
}
`
	if diff := cmp.Diff(want, read(t, path)); diff != "" {
		t.Error(diff)
	}

	for _, registry := range []string{"a.example", "registry-1.docker.io", "unknown.example"} {
		if err := c.Delete(t.Context(), registry); err != nil {
			t.Fatal(err)
		}
		if got := lookUp(t, c, registry, ""); !got.IsZero() {
			t.Errorf("%s: %v is still there", registry, got)
		}
	}
	if got := lookUp(t, c, "a.example", "team/x").Username; got != "team" {
		t.Error("the entry of a repository is gone")
	}
	if text := read(t, path); strings.Contains(text, "http://a") || strings.Contains(text, "index.docker.io") || !strings.Contains(text, "psFormat") {
		t.Error(text)
	}
}

func TestPutRefuses(t *testing.T) {
	home(t)
	path := filepath.Join(t.TempDir(), "config.json")
	c := open(t, path)
	for _, test := range []struct {
		registry string
		cred     Credential
		want     error
	}{
		{"", user, oras.ErrReference},
		{"a\nb", user, oras.ErrReference},
		{"https://a.example", user, oras.ErrReference},
		{"a.example/team", user, oras.ErrReference},
		{"a.example", Credential{}, oras.ErrInvalid},
		{"a.example", Credential{Username: "me"}, oras.ErrInvalid},
		{"a.example", Credential{Username: "a:b", Password: password}, oras.ErrInvalid},
		{"a.example", Credential{Username: "a\nb", Password: password}, oras.ErrInvalid},
	} {
		wantErr(t, c.Put(t.Context(), test.registry, test.cred), test.want, "")
	}
	if err := c.Delete(t.Context(), "a\nb"); err == nil {
		t.Error("deleted")
	}
	if err := c.Delete(t.Context(), "a.example"); err != nil {
		t.Error(err)
	}
	if left, _ := os.ReadDir(filepath.Dir(path)); len(left) != 0 {
		t.Errorf("left %v", left)
	}
}

func TestPutNewFile(t *testing.T) {
	dir := home(t)
	c := open(t)
	if err := c.Put(t.Context(), "localhost:5000", user); err != nil {
		t.Fatal(err)
	}
	docker := filepath.Join(dir, ".docker")
	left, err := os.ReadDir(docker)
	if err != nil || len(left) != 1 || left[0].Name() != "config.json" {
		t.Errorf("left %v, %v", left, err)
	}
	var file map[string]map[string]map[string]string
	if err := json.Unmarshal([]byte(read(t, c.Path())), &file); err != nil || file["auths"]["localhost:5000"]["auth"] != auth64("me", password) {
		t.Errorf("%v, %v", file, err)
	}
	if got := lookUp(t, open(t), "localhost:5000", "hello"); got != user {
		t.Error(got)
	}
	if runtime.GOOS == "windows" {
		return
	}
	if info, _ := os.Stat(docker); info.Mode().Perm() != 0o700 {
		t.Errorf("folder %v", info.Mode())
	}
	if info, _ := os.Stat(c.Path()); info.Mode() != 0o600 {
		t.Errorf("file %v", info.Mode())
	}
}

func TestPutNowhere(t *testing.T) {
	home(t)
	t.Setenv("HOME", "")
	t.Setenv("USERPROFILE", "")
	t.Setenv("home", "")
	c := open(t)
	if c.Path() != "" {
		t.Skip("this platform always has a home directory")
	}
	wantErr(t, c.Put(t.Context(), "a.example", user), nil, "no home directory")
	if err := c.Delete(t.Context(), "a.example"); err != nil {
		t.Error(err)
	}
	if got := lookUp(t, c, "a.example", ""); !got.IsZero() {
		t.Error(got)
	}
	path := write(t, filepath.Join(t.TempDir(), "file"), "x")
	inFile := &Config{files: []configFile{{path: filepath.Join(path, "config.json")}}}
	wantErr(t, inFile.Put(t.Context(), "a.example", user), nil, path)
}

// What a process that was killed left is removed by the next.
func TestPutCleans(t *testing.T) {
	home(t)
	path := filepath.Join(t.TempDir(), "config.json")
	write(t, filepath.Join(filepath.Dir(path), ".config.json.oras-123"), password)
	write(t, path+".lock", "") // nobody's
	if err := open(t, path).Put(t.Context(), "a.example", user); err != nil {
		t.Fatal(err)
	}
	if left, _ := os.ReadDir(filepath.Dir(path)); len(left) != 1 {
		t.Errorf("left %v", left)
	}
}

const processes = 20

// loginProcess is one of the processes of TestProcesses.
func loginProcess(registry string) int {
	_, _ = io.Copy(io.Discard, os.Stdin) // which ends for all at once
	c, err := OpenConfig()
	if err == nil {
		err = c.Put(context.Background(), registry, Credential{Username: registry, Password: password})
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

func TestProcesses(t *testing.T) {
	dir := home(t)
	path := write(t, filepath.Join(dir, ".docker", "config.json"), `{"keep":"this","auths":{"first.example":{"auth":"`+auth64("first", "p")+`"}}}`)
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	start, ready, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer start.Close()
	var all []*exec.Cmd
	for i := range processes {
		cmd := exec.CommandContext(t.Context(), self)
		cmd.Env = append(os.Environ(), fmt.Sprintf("AUTH_TEST_LOGIN=r%d.example", i))
		cmd.Stdin, cmd.Stderr = start, os.Stderr
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		all = append(all, cmd)
	}
	ready.Close()
	for _, cmd := range all {
		if err := cmd.Wait(); err != nil {
			t.Error(err)
		}
	}
	c := open(t)
	for i := range processes {
		name := fmt.Sprintf("r%d.example", i)
		if got := lookUp(t, c, name, ""); got.Username != name {
			t.Errorf("%s is lost", name)
		}
	}
	if lookUp(t, c, "first.example", "").Username != "first" || !strings.Contains(read(t, path), `"keep": "this"`) {
		t.Error("what was there is lost")
	}
	if left, _ := os.ReadDir(filepath.Dir(path)); len(left) != 1 {
		t.Errorf("left %v", left)
	}
}

func FuzzConfig(f *testing.F) {
	for _, seed := range []string{
		`{"auths":{"a.example":{"auth":"YTpi"},"a.example/x":{"auth":"YTpi","email":"e"}},"x":[1,2]}`,
		`{"auths":{"https://a.example/v1/":{"identitytoken":"x"}},"auths":null}`,
		`{"x":{"y":1e400},"auths":{"":{}}}`, `null`, ``, `{"auths":{"a.example":"x"}}`,
	} {
		f.Add(seed, "a.example", "x/y", "u", "p")
	}
	f.Fuzz(func(t *testing.T, content, registry, repository, name, secret string) {
		if strings.Contains(content, "cred") { // would run programs
			return
		}
		home(t)
		path := write(t, filepath.Join(t.TempDir(), "config.json"), content)
		c, err := OpenConfig(path)
		if err != nil {
			return
		}
		_, _ = c.Credential(t.Context(), registry, repository) // does not panic
		before, err := configFile{path: path}.read()
		if err != nil {
			t.Fatal(err)
		}
		cred := Credential{Username: name, Password: secret}
		if c.Put(t.Context(), registry, cred) != nil {
			return
		}
		if cred.Password = strings.TrimRight(secret, "\x00"); cred.Password != "" { // as docker reads it
			if got := lookUp(t, c, registry, ""); got != cred {
				t.Errorf("%q, %q: got another", name, secret)
			}
		}
		after, err := configFile{path: path}.read()
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range before.object {
			var x, y any
			if m.name == authsKey || before.index(m.name) < 0 {
				continue
			}
			if json.Unmarshal(before.get(m.name), &x) == nil && (json.Unmarshal(after.get(m.name), &y) != nil || !cmp.Equal(x, y)) {
				t.Errorf("member %q is %s", m.name, after.get(m.name))
			}
		}
	})
}
