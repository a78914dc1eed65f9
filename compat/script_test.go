package compat

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

// programs is the directory of the programs that scripts run.
var programs string

func TestMain(m *testing.M) {
	code, err := run(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func run(m *testing.M) (code int, err error) {
	programs, err = os.MkdirTemp("", "oras-compat-")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(programs)
	for _, build := range []struct{ dir, path string }{{"..", "./cmd/oras"}, {".", "./cmd/distribution"}} {
		cmd := exec.Command("go", "build", "-o", programs+string(filepath.Separator), build.path)
		cmd.Dir = build.dir
		if out, err := cmd.CombinedOutput(); err != nil {
			return 0, fmt.Errorf("%s: %w: %s", build.path, err, out)
		}
	}
	return m.Run(), nil
}

// TestScripts runs testdata/script/*.txtar: our command line against registries of
// others.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(env *testscript.Env) error {
			env.Setenv("PATH", programs+string(filepath.ListSeparator)+env.Getenv("PATH"))
			env.Setenv("HOME", filepath.Join(env.WorkDir, "home"))
			return os.Mkdir(filepath.Join(env.WorkDir, "home"), 0o755)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"distribution": distribution,
			"together":     together,
		},
		RequireExplicitExec: true,
	})
}

var serving = regexp.MustCompile(`^Serving http://127\.0\.0\.1:([0-9]+) `)

// distribution NAME [flags]: starts a CNCF distribution registry with data in the
// folder NAME and sets $NAME to its localhost:port. It ends with the script.
func distribution(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: distribution NAME [flags]")
	}
	cmd := exec.Command(filepath.Join(programs, "distribution"), append([]string{"--data", ts.MkAbs(args[0])}, args[1:]...)...)
	cmd.Dir = ts.MkAbs(".")
	out, err := cmd.StdoutPipe()
	ts.Check(err)
	ts.Check(cmd.Start())
	ts.Defer(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	r := bufio.NewReader(out)
	line, err := r.ReadString('\n')
	found := serving.FindStringSubmatch(line)
	if found == nil {
		ts.Fatalf("distribution printed %q, %v", line, err)
	}
	go io.Copy(io.Discard, r)
	ts.Setenv(args[0], "localhost:"+found[1])
}

// together N COMMAND ARGUMENT...: runs N processes at once, with the number of each
// for "%" in the arguments. All must succeed.
func together(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: together N COMMAND ARGUMENT...")
	}
	n, err := strconv.Atoi(args[0])
	ts.Check(err)
	var group sync.WaitGroup
	failed := make([]error, n)
	for i := range n {
		var arguments []string
		for _, a := range args[2:] {
			arguments = append(arguments, strings.ReplaceAll(a, "%", strconv.Itoa(i)))
		}
		cmd := exec.Command(filepath.Join(programs, args[1]), arguments...)
		cmd.Dir = ts.MkAbs(".")
		cmd.Env = append(os.Environ(), "HOME="+ts.Getenv("HOME"))
		group.Go(func() {
			if out, err := cmd.CombinedOutput(); err != nil {
				failed[i] = fmt.Errorf("%q: %w\n%s", arguments, err, out)
			}
		})
	}
	group.Wait()
	ts.Check(errors.Join(failed...))
}
