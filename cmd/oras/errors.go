package main

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"unicode"

	"github.com/spf13/cobra"

	"github.com/c73062ad/oras"
	"github.com/c73062ad/oras/archive"
	"github.com/c73062ad/oras/auth"
	"github.com/c73062ad/oras/file"
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
	prefix, text := "Error:", strings.TrimRight(err.Error(), "\n")
	if answer := refusal(err); answer != nil {
		prefix = registryPrefix
		if !strings.HasSuffix(text, oras.ErrNotFound.Error()) { // what was not found says more than the answer
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
	var resumed *resumableError
	if errors.As(err, &resumed) && resumed.hint == resumesInContent && oras.Kind(err) == nil && refusal(err) == nil {
		lines = append(lines, resumed.hint) // the network's fault
	}
	return strings.Join(lines, "\n")
}

// refusal returns the answer of a registry, or of its token service, that err is
// about, or nil.
func refusal(err error) error {
	var answer *remote.Error
	var token *auth.ResponseError
	switch {
	case errors.As(err, &answer):
		return answer
	case errors.As(err, &token):
		return token
	}
	return nil
}

// wayOut returns the hint for errors that come from below the commands.
func wayOut(err error) string {
	text := err.Error()
	says := func(words string) bool { return strings.Contains(text, words) }
	switch {
	case errors.Is(err, file.ErrPathTraversal):
		return "Pulling files outside of working directory is insecure and blocked by default. If you trust the content producer, use --allow-path-traversal to bypass this check."
	case errors.Is(err, file.ErrOverwrite):
		return "Use --output to pull into another directory, or leave out --keep-old-files to replace what is there"
	case errors.Is(err, archive.ErrTooLarge):
		return "If you trust the content producer, raise the limit with --unpack-ratio or --unpack-size"
	case errors.Is(err, auth.ErrNoHelper):
		return "Install it, or take it out of the registry config to keep logins in that file"
	case errors.As(err, new(*auth.RealmError)):
		return "If that host is the registry's own token service, name it in the environment variable ORAS_ALLOW_REALMS"
	case errors.Is(err, oras.ErrUnauthorized) && refusal(err) != nil:
		return `The registry did not accept the login: check user name and password, or log in with "oras login"`
	case answeredPlain(err):
		return "If the registry speaks TLS, use --plain-http=false"
	case says("server gave HTTP response to HTTPS client"):
		return "The registry speaks plain HTTP: use --plain-http if that is what you expect"
	case says("certificate signed by unknown authority"):
		return "Use --ca-file to name the authority that signed the registry's certificate"
	case says("no such host"):
		return "There is no host of that name: check the registry's name"
	case says("connection refused"), says("actively refused"):
		return "Nothing listens there: check the registry's name and port, and that it is running"
	}
	return ""
}

// answeredPlain reports whether a registry that was spoken to without TLS does not
// know what it is asked, as one that expects TLS does not.
func answeredPlain(err error) bool {
	var answer *remote.Error
	return errors.As(err, &answer) && answer.StatusCode == http.StatusBadRequest && len(answer.Reasons) == 0 && strings.HasPrefix(answer.URL, "http://")
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

// oneLine is printable for text that must not become more than one line: that of
// a status, say, which programs read.
func oneLine(text string) string {
	return strings.ReplaceAll(printable(text), "\n", `\x0a`)
}
