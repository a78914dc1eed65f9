//go:build !windows

package main

import (
	"os"
	"os/signal"

	"golang.org/x/sys/unix"
)

// prepareTerminal reports whether f, a terminal, understands what frames are made
// of, and returns what to call in the end.
func prepareTerminal(*os.File) (restore func(), ok bool) {
	name := os.Getenv("TERM")
	return func() {}, name != "" && name != "dumb"
}

// inForeground reports whether the process may paint on its terminal: not while it
// runs behind another.
func inForeground(f *os.File) bool {
	group, err := unix.IoctlGetInt(int(f.Fd()), unix.TIOCGPGRP)
	return err != nil || group <= 0 || group == unix.Getpgrp() // it may be another's terminal
}

// suspensions returns a channel that tells when the process is asked to stop for a
// while (^Z), which from now on only suspend does, and what to call in the end.
func suspensions() (asked <-chan os.Signal, stop func()) {
	c := make(chan os.Signal, 1)
	if !signal.Ignored(unix.SIGTSTP) {
		signal.Notify(c, unix.SIGTSTP)
	}
	return c, func() { signal.Stop(c) }
}

// suspend stops the process until somebody lets it go on. In its session leader's
// process group there is nobody who would.
func suspend() {
	if session, err := unix.Getsid(0); err != nil || session == unix.Getpgrp() {
		return
	}
	continued := make(chan os.Signal, 1)
	signal.Notify(continued, unix.SIGCONT)
	defer signal.Stop(continued)
	if unix.Kill(unix.Getpid(), unix.SIGSTOP) == nil {
		<-continued
	}
}
