package main

import (
	"os"

	"golang.org/x/sys/windows"
)

// prepareTerminal makes f, a console, understand what frames are made of, if it
// can, and returns what to call in the end.
func prepareTerminal(f *os.File) (restore func(), ok bool) {
	console := windows.Handle(f.Fd())
	var mode uint32
	if os.Getenv("TERM") == "dumb" || windows.GetConsoleMode(console, &mode) != nil {
		return nil, false
	}
	const needed = windows.ENABLE_PROCESSED_OUTPUT | windows.ENABLE_VIRTUAL_TERMINAL_PROCESSING
	if windows.SetConsoleMode(console, mode|needed) != nil {
		return nil, false
	}
	return func() { windows.SetConsoleMode(console, mode) }, true
}

// inForeground reports whether the process may paint on its terminal.
func inForeground(*os.File) bool { return true }

// suspensions returns a channel that tells nothing: consoles stop no programs.
func suspensions() (asked <-chan os.Signal, stop func()) { return nil, func() {} }

func suspend() {}
