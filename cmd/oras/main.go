// Command oras pushes any file to OCI registries and OCI image layouts, and gets
// it back; "oras serve" is such a registry.
//
// A command is flags and a function that opens its stores (target.go), calls the
// library and returns a result, which output.go prints.
package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	tuneMemory()
	ctx, cancel := context.WithCancelCause(context.Background())
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	go func() {
		s := <-signals
		signal.Stop(signals) // a second signal ends the process at once
		cancel(signalled{s})
	}()
	con, restore := onTerminal(console{os.Stdin, os.Stdout, os.Stderr})
	status := run(ctx, os.Args[1:], con)
	restore()
	os.Exit(status)
}

// signalled is why a command's context ends at a signal.
type signalled struct{ os.Signal }

func (s signalled) Error() string { return s.String() + " signal received" }

// A console is what a command reads and writes: results go to out, everything
// else to err.
type console struct {
	in  io.Reader
	out io.Writer
	err io.Writer
}

// run executes one command line and returns the exit status.
func run(ctx context.Context, args []string, con console) int {
	root := newRootCommand(con)
	root.SetArgs(args)
	opening, closeAll := withOpened(ctx)
	cmd, err := root.ExecuteContextC(opening)
	err = cmp.Or(err, closeAll(), con.terminal().hide())
	if errors.Is(err, context.Canceled) && ctx.Err() != nil {
		var resumed *resumableError
		goesOn := errors.As(err, &resumed)
		err = context.Cause(ctx) // the signal
		if goesOn {
			err = hint(err, "%s", resumed.hint)
		}
	}
	if err != nil {
		fmt.Fprintln(con.err, explain(cmd, err))
		return 1
	}
	return 0
}
