package file_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"strconv"
	"strings"
	"testing"
)

// children are what a process of this test binary does instead of the tests, so that
// it can be killed. They are called with the rest of the environment variable, and
// tell of themselves on stdout.
var children = map[string]func(ctx context.Context, args []string) error{
	"pull":  childPull,
	"stage": childStage,
	"send":  childSend,
}

func TestMain(m *testing.M) {
	name, args, ok := strings.Cut(os.Getenv("FILE_TEST_CHILD"), "|")
	if !ok {
		os.Exit(m.Run())
	}
	if err := children[name](context.Background(), strings.Split(args, "|")); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// A child is a process.
type child struct {
	cmd *exec.Cmd
	out *bufio.Scanner
}

func startChild(t testing.TB, name string, args ...string) *child {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "FILE_TEST_CHILD="+name+"|"+strings.Join(args, "|"))
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	return &child{cmd, bufio.NewScanner(out)}
}

// waitForKill is for children. The runtime would end a process that waits for nothing.
func waitForKill() {
	c := make(chan os.Signal, 1)
	signal.Notify(c, os.Interrupt)
	<-c
}

// killAt kills the child once it told of n or more, and returns the last it told.
func (c *child) killAt(t testing.TB, n int64) (last int64) {
	t.Helper()
	for c.out.Scan() {
		told, err := strconv.ParseInt(c.out.Text(), 10, 64)
		if err != nil {
			t.Fatalf("the child says %q", c.out.Text())
		}
		if last = told; last >= n {
			c.cmd.Process.Kill()
		}
	}
	c.cmd.Wait()
	return last
}

// wait waits for the child to end, as it should.
func (c *child) wait(t testing.TB) {
	t.Helper()
	for c.out.Scan() {
	}
	if err := c.cmd.Wait(); err != nil {
		t.Error(err)
	}
}
