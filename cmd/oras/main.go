// Command oras pushes any file to OCI registries and OCI image layouts, and gets
// it back; "oras serve" is such a registry.
//
// A command is flags and a function that opens its stores (target.go), calls the
// library and returns a result, which output.go prints.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	os.Exit(run(ctx, os.Args[1:], console{os.Stdin, os.Stdout, os.Stderr}))
}

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
	cmd, err := root.ExecuteContextC(ctx)
	if errors.Is(err, context.Canceled) && ctx.Err() != nil {
		err = context.Cause(ctx) // the signal
	}
	if err != nil {
		fmt.Fprintln(con.err, explain(cmd, err))
		return 1
	}
	return 0
}
