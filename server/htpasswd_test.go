package server_test

import (
	"encoding/base64"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/crypto/bcrypt"

	"github.com/c73062ad/oras/memory"
	"github.com/c73062ad/oras/server"
)

// line returns the line of user in a password file.
func line(t testing.TB, user string, cost int) string {
	t.Helper()
	hash, err := bcrypt.GenerateFromPassword([]byte("password of "+user), cost)
	if err != nil {
		t.Fatal(err)
	}
	return user + ":" + string(hash) + "\n"
}

func write(t testing.TB, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestHtpasswd(t *testing.T) {
	path := filepath.Join(t.TempDir(), "htpasswd")
	ann, bob := line(t, "ann", bcrypt.MinCost), strings.Replace(line(t, "bob", bcrypt.MinCost), "$2a$", "$2y$", 1)
	write(t, path, "# users\n\n"+ann+bob)
	authorize, err := server.Htpasswd(path)
	if err != nil {
		t.Fatal(err)
	}
	var told log
	f := serve(t, memory.NewRegistry(), &server.Options{Authorize: authorize, ErrorLog: told.logger()})
	a := f.want("401 UNAUTHORIZED", "GET", "/v2/", nil)
	if c := a.Header.Get("WWW-Authenticate"); !strings.HasPrefix(c, `Basic realm="`) {
		t.Errorf("challenge %q", c)
	}
	for _, path := range []string{"/v2/_catalog", "/v2/team/hello/tags/list", "/v2/team/hello/manifests/v1"} {
		f.want("401", "GET", path, nil)
	}
	f.want("401", "HEAD", "/v2/team/hello/manifests/v1", nil)
	for _, login := range []string{
		"ann:", "ann:password of bob", "ann:PASSWORD OF ANN", ":password of ann", "carl:password of ann", "carl:password of carl", "ann", "", "# users:", "ann:password of ann\x00",
	} {
		f.want("401", "GET", "/v2/", nil, "Authorization: Basic "+base64.StdEncoding.EncodeToString([]byte(login)))
	}
	f.want("401", "GET", "/v2/", nil, "Authorization: Bearer x")
	f.want("401", "GET", "/v2/", nil, "Authorization: Basic "+strings.Repeat(".", 10_000))
	for _, f.user = range []string{"ann", "bob", "ann"} {
		f.want("200", "GET", "/v2/", nil)
		f.pushManifest("team/hello", f.user, image("x"))
	}

	// A change counts at once, also against who got in before.
	write(t, path, ann+line(t, "carl", bcrypt.MinCost)+"#####\n")
	for user, status := range map[string]string{"ann": "200", "bob": "401", "carl": "200"} {
		f.user = user
		f.want(status, "GET", "/v2/", nil)
	}
	f.user = "ann"
	write(t, path, strings.Replace(line(t, "bob", bcrypt.MinCost), "bob", "ann", 1))
	f.want("401", "GET", "/v2/", nil)
	write(t, path, ann+"bob:plain\n")
	f.want("500", "GET", "/v2/", nil)
	if text := told.String(); !strings.Contains(text, "line 2") || strings.Contains(text, "plain\n") {
		t.Errorf("log: %s", text)
	}
	write(t, path, ann)
	f.want("200", "GET", "/v2/", nil)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	f.want("500", "GET", "/v2/", nil)
}

func TestHtpasswdMalformed(t *testing.T) {
	dir := t.TempDir()
	for text, want := range map[string]string{
		"ann:secret\n": "line 1", "\n# x\nann:{SHA}5en6G6MezRroT3XKqkdPOmY/BfQ=\n": "line 3", "ann\n": "line 1",
		"ann:$apr1$abc$def\n": "htpasswd -B", ":$2y$05$x\n": "line 1", line(t, "ann", 4) + line(t, "ann", 4): "line 2",
		"ann:$2y$31$" + strings.Repeat("a", 53) + "\n": "cost 31", "ann:" + strings.Repeat("x", 100_000): "too long",
	} {
		path := filepath.Join(dir, "htpasswd")
		write(t, path, text)
		if _, err := server.Htpasswd(path); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), path) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%.50q: %v", text, err)
		}
	}
	if _, err := server.Htpasswd(filepath.Join(dir, "none")); err == nil {
		t.Error("a file that is not there is no error")
	}
}
