package bucket_test

import (
	"fmt"
	"os"
	"os/exec"
	"testing"
)

// The test binary is also the processes that tests kill or limit: the first
// argument says which.
var processes = map[string]func(args []string) error{"write": writeUntilKilled}

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && processes[os.Args[1]] != nil {
		if err := processes[os.Args[1]](os.Args[2:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

func process(tb testing.TB, args ...string) *exec.Cmd {
	tb.Helper()
	name, err := os.Executable()
	must(tb, err)
	cmd := exec.CommandContext(tb.Context(), name, args...)
	cmd.Stderr = os.Stderr
	return cmd
}
