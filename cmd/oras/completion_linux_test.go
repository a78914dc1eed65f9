package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/c73062ad/oras"
)

// shells are those that complete, how they are started so that they read nothing of
// the user's, and what makes them complete and prompt so that it can be waited for.
var shells = map[string]struct{ args, setup string }{
	"bash": {"--norc --noprofile -i", `source ` + bashCompletion + `; source <(oras completion bash); PS1="rea""dy>"`},
	"zsh":  {"-f -i", `autoload -Uz compinit; compinit -u -D; source <(oras completion zsh); PS1="rea""dy>"`},
	"fish": {"--no-config -i", `oras completion fish | source; function fish_prompt; echo -n "rea""dy>"; end`},
}

// bashCompletion is the package that the script for bash needs.
const bashCompletion = "/usr/share/bash-completion/bash_completion"

// TestCompletionShells types the beginning of command lines at real shells, lets them
// complete it and runs what came of it.
func TestCompletionShells(t *testing.T) {
	for name, shell := range shells {
		t.Run(name, func(t *testing.T) {
			if _, err := exec.LookPath(name); err != nil {
				t.Skipf("there is no %s", name)
			}
			if _, err := os.Stat(bashCompletion); err != nil && name == "bash" {
				t.Skip("there is no bash-completion")
			}
			registry := startRegistry(t, t.TempDir())
			host := "localhost" + strings.TrimPrefix(registry.host, "127.0.0.1")
			descs := map[string]oras.Descriptor{}
			for _, ref := range []string{"team/one:first", "team/one:second", "other:v1"} {
				name, tag, _ := strings.Cut(ref, ":")
				manifest := []byte(fmt.Sprintf(`{"schemaVersion":2,"mediaType":%q,"manifests":[],"annotations":{"a":%q}}`, oras.MediaTypeImageIndex, ref))
				desc := oras.DescriptorOf(oras.MediaTypeImageIndex, manifest)
				if err := oras.PushTagged(t.Context(), registry.repository(t, name), desc, bytes.NewReader(manifest), tag); err != nil {
					t.Fatal(err)
				}
				descs[ref] = desc
			}
			tests := []struct{ typed, prints string }{
				{"oras resol\t " + host + "/other:v1", string(descs["other:v1"].Digest)},
				{"oras resolve " + host + "/team/one:f\t", string(descs["team/one:first"].Digest)},
				{"oras resolve " + host + "/ot\t:\t", string(descs["other:v1"].Digest)},
				{"oras manifest fetch --descr\t " + host + "/team/one:s\t", string(descs["team/one:second"].Digest)},
				{"oras manifest fetch --format=js\t " + host + "/other:v1", string(descs["other:v1"].Digest)},
				{"oras tag " + host + "/team/one:first sec\t", "Tagged second"},
				{"oras cp " + host + "/team/one:f\t " + host + "/oth\t/copied", "Digest: " + string(descs["team/one:first"].Digest)},
				{"oras pull " + host + "/team/one:\t\t\x15", "second"},
			}
			s := startShell(t, name, strings.Fields(shell.args))
			s.run(shell.setup, "ready>")
			for _, test := range tests {
				s.run(test.typed, test.prints)
				s.wait("ready>")
			}
		})
	}
}

// A shell is one on a pseudo-terminal.
type shell struct {
	t      *testing.T
	pty    *os.File
	output []byte // that was not waited for yet
}

func startShell(t *testing.T, name string, args []string) *shell {
	t.Helper()
	pty, tty := openPTY(t)
	defer tty.Close()
	s := &shell{t: t, pty: pty}
	if err := unix.IoctlSetWinsize(int(pty.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Col: 500, Row: 50}); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(name, args...)
	home := t.TempDir()
	cmd.Env = append(os.Environ(), "TERM=xterm", "HOME="+home, "XDG_DATA_HOME="+home, "DOCKER_CONFIG="+home)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = tty, tty, tty
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	watchdog := time.AfterFunc(time.Minute, func() { cmd.Process.Kill() })
	t.Cleanup(func() {
		watchdog.Stop()
		cmd.Process.Kill()
		cmd.Wait()
		pty.Close()
	})
	return s
}

// run types a line and waits for what it prints.
func (s *shell) run(line, prints string) {
	s.t.Helper()
	if _, err := s.pty.WriteString(line + "\r"); err != nil {
		s.t.Fatal(err)
	}
	s.wait(prints)
}

// wait waits for text in what has been printed since it last did.
func (s *shell) wait(text string) {
	s.t.Helper()
	buffer := make([]byte, 4096)
	for {
		if _, rest, ok := bytes.Cut(s.output, []byte(text)); ok {
			s.output = rest
			return
		}
		n, err := s.pty.Read(buffer)
		s.output = append(s.output, buffer[:n]...)
		if err != nil {
			s.t.Fatalf("it ended; instead of %q it prints %q", text, s.output)
		}
	}
}
