package main

import (
	"errors"
	"fmt"
	"strings"
	"unicode"

	"github.com/spf13/cobra"

	"github.com/c73062ad/oras"
	"github.com/c73062ad/oras/remote"
)

// A usageError is an error that says how to do better: the command's usage, and
// a hint, each on a line of its own.
type usageError struct {
	err   error
	usage string
	hint  string
}

func (e *usageError) Error() string { return e.err.Error() }
func (e *usageError) Unwrap() error { return e.err }

func hint(err error, format string, args ...any) error {
	return &usageError{err: err, hint: fmt.Sprintf(format, args...)}
}

// A prefixError is printed behind other words than "Error:".
type prefixError struct {
	prefix string
	err    error
}

func (e *prefixError) Error() string { return e.err.Error() }
func (e *prefixError) Unwrap() error { return e.err }

const registryPrefix = "Error response from registry:"

// explain returns what is printed of err: one line that names the thing and the
// cause, then usage and way out where there are.
func explain(cmd *cobra.Command, err error) string {
	prefix, text := "Error:", err.Error()
	var answer *remote.Error
	if errors.As(err, &answer) {
		prefix = registryPrefix
		switch {
		case errors.Is(err, oras.ErrNotFound) && len(answer.Reasons) == 0, strings.HasSuffix(text, oras.ErrNotFound.Error()):
			// What was not found says more than the answer.
		case len(answer.Reasons) > 0:
			text = answer.Reason()
		default:
			text = answer.Error()
		}
	}
	var known *prefixError
	if errors.As(err, &known) {
		prefix = known.prefix
	}
	lines := []string{prefix + " " + printable(text)}
	var usage *usageError
	if errors.As(err, &usage) {
		if usage.usage != "" {
			lines = append(lines, "Usage: "+usage.usage)
		}
		if usage.hint != "" {
			lines = append(lines, usage.hint)
		}
	} else if way := wayOut(err); way != "" {
		lines = append(lines, way)
	}
	return strings.Join(lines, "\n")
}

// wayOut returns the hint for errors that come from below the commands.
func wayOut(err error) string {
	text := err.Error()
	switch {
	case strings.Contains(text, "server gave HTTP response to HTTPS client"):
		return "The registry speaks plain HTTP: use --plain-http if that is what you expect"
	case strings.Contains(text, "certificate signed by unknown authority"):
		return "Use --ca-file to name the authority that signed the registry's certificate"
	}
	return ""
}

// printable returns text as a terminal may be shown it: control characters other
// than line ends and tabs, which a registry or an artifact may have chosen, are
// escaped.
func printable(text string) string {
	if strings.IndexFunc(text, isControl) < 0 {
		return text
	}
	var b strings.Builder
	for _, r := range text {
		if isControl(r) {
			fmt.Fprintf(&b, "\\x%02x", r)
		} else {
			b.WriteRune(r)
		}
	}
	return b.String()
}

func isControl(r rune) bool { return unicode.IsControl(r) && r != '\n' && r != '\t' }
