package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
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
	if request, host, why := unreachable(err); request != nil {
		text = strings.Replace(text, request.Error(), host+": "+why, 1)
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
	}
	var resumed *resumableError
	theirs := refusal(err) != nil || errors.Is(err, file.ErrOverwrite) || errors.Is(err, fs.ErrExist)
	resumes := errors.As(err, &resumed) && resumed.hint == resumesInContent && oras.Kind(err) == nil && !theirs // the network's fault
	if way := wayOut(cmd, err); usage == nil && way != "" && !(resumes && way == brokeOff) {
		lines = append(lines, way)
	}
	if resumes {
		lines = append(lines, resumed.hint)
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

// unreachable returns the request that err is about, whom it was for, and why there was
// no connection to that, or nil.
func unreachable(err error) (request *url.Error, host, why string) {
	var dial *net.OpError
	var name *net.DNSError
	if !errors.As(err, &request) {
		return nil, "", ""
	}
	u, e := url.Parse(request.URL)
	if e != nil {
		return nil, "", ""
	}
	why = strings.TrimPrefix(request.Err.Error(), "http: ")
	var number syscall.Errno
	switch {
	case errors.As(err, &name):
		why = name.Err
	case errors.As(err, &dial) && dial.Op == "dial" && errors.As(dial, &number):
		why = number.Error()
	case errors.As(err, &dial) && dial.Op == "dial":
		why = dial.Err.Error()
	case !strings.HasPrefix(why, "tls: ") && !strings.HasPrefix(why, "x509: ") && !strings.HasPrefix(why, "server gave HTTP response"):
		return nil, "", ""
	}
	return request, u.Host, why
}

// nobodyListens reports whether err is that of a connection that was refused.
func nobodyListens(err error) bool {
	const windows = syscall.Errno(10061) // WSAECONNREFUSED
	return errors.Is(err, syscall.ECONNREFUSED) || errors.Is(err, windows)
}

// sideFlag returns what the flag name is called on cmd, which may have one for each
// side of a copy.
func sideFlag(cmd *cobra.Command, name string) string {
	if cmd != nil && cmd.Flags().Lookup(name) == nil && cmd.Flags().Lookup("from-"+name) != nil {
		return "--from-" + name + " or --to-" + name
	}
	return "--" + name
}

// What is said of what is not there, or not as it was.
const (
	makesLayout = `An OCI image layout is a directory, or a tar archive of one: "oras backup", "oras cp --to-oci-layout" and "oras push --oci-layout" make one`
	makesBackup = `Name with --input what "oras backup" made, a directory or a tar archive`
	pathsBegin  = "Name a file or directory that is there: a path begins in the working directory"
	brokeOff    = "What was sent broke off: run the same command again"
	damaged     = `What is stored under that digest is damaged, or it was changed on the way: take it from another copy, or delete it there with "oras blob delete" and push it again`
	cutOff      = "The archive is cut off: take it from another copy, or make it anew"
	changesFile = "Run the same command again when nothing writes to the file any more"
	filesBegin  = "Name a file that is there: a path begins in the working directory"
)

// missing returns the hint for what t does not have: its repository, its tag or its
// digest, or what those refer to.
func (t *target) missing(err error) string {
	tags, repositories := "oras repo tags --oci-layout "+t.name, ""
	if !t.isLayout() {
		plain := ""
		if t.plainHTTP {
			plain = " --plain-http"
		}
		tags, repositories = "oras repo tags "+t.name+plain, "oras repo ls "+t.ref.Registry+plain
	}
	var answer *remote.Error
	errors.As(err, &answer)
	says := func(words string) bool { return strings.Contains(err.Error(), words) }
	switch {
	case says("no manifest for platform"):
		return "Leave --platform out, or choose one of those that \"oras manifest fetch\" shows"
	case says("platform"), says("media type"):
		return "" // there is something
	case !t.isLayout() && (answer == nil || answer.Method != http.MethodGet && answer.Method != http.MethodHead):
		return ""
	case answer != nil && (strings.HasSuffix(answer.URL, "/tags/list") || isUnknownName(answer)):
		return fmt.Sprintf("Run %q for the repositories there are", repositories)
	case !t.digest.IsZero() && says(t.digest.String()):
		return fmt.Sprintf(`Check the digest: %q lists the tags there are, and "oras manifest fetch" shows what one refers to`, tags)
	case says("sha256:"), says("sha512:"):
		return "It is referred to, but not there: take it from another copy, or have it pushed again"
	case t.isLayout():
		return fmt.Sprintf("Run %q for the tags there are", tags)
	}
	// The answer to a HEAD does not say whether it is the tag or the repository.
	return fmt.Sprintf("Run %q for the tags there are, %q for the repositories", tags, repositories)
}

// cannotWrite reports whether err is that of a place where nothing can be made or
// written.
func cannotWrite(err error) bool {
	return slices.ContainsFunc([]error{fs.ErrPermission, fs.ErrNotExist, syscall.ENOTDIR, syscall.EROFS}, func(e error) bool { return errors.Is(err, e) })
}

// isFull reports whether err is that of a disk, or a user's part of one, without room.
func isFull(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}

// What is said of places for files that cannot be written.
const (
	writesLayout = "Name a directory for the OCI image layout that can be written, or made"
	writesFile   = "Name a file in a directory that can be written"
	makesRoom    = "Make room there and run the same command again, or name another place"
)

// unwritten returns why something could not be written, if that is what err is of, or
// nil.
func unwritten(err error) error {
	var file *fs.PathError
	var link *os.LinkError
	switch {
	case errors.As(err, &link):
		return link.Err
	case errors.As(err, &file) && file.Path != os.Stdout.Name():
		hidden := strings.HasPrefix(filepath.Base(file.Path), ".oras") // what is only written has such a name
		if hidden || strings.HasPrefix(file.Op, "mkdir") || isFull(err) || errors.Is(err, syscall.EROFS) || errors.Is(err, syscall.EFBIG) {
			return file.Err
		}
	}
	return nil
}

// unwrittenLayout returns err as one of the layout path if something in it could not be
// written, or else as it is.
func unwrittenLayout(path string, err error) error {
	why := unwritten(err)
	if why == nil {
		return err
	}
	return unwrittenHint(fmt.Errorf("%s: %w", path, why), writesLayout)
}

// unwrittenHint returns err with a hint if it is of a place without room, or of one that
// cannot be written, of which another says what would be better.
func unwrittenHint(err error, another string) error {
	switch {
	case isFull(err):
		return withHint(err, makesRoom)
	case cannotWrite(err):
		return withHint(err, another)
	}
	return err
}

// unprinted returns err, of printing the result of a command that did something.
func unprinted(err error) error {
	return withHint(err, "It is done all the same: only the result could not be printed")
}

// isUnknownName reports whether there is no such repository.
func isUnknownName(answer *remote.Error) bool {
	return slices.ContainsFunc(answer.Reasons, func(r remote.Reason) bool { return r.Code == "NAME_UNKNOWN" })
}

// withHint is hint for errors that may have one, which stays; no text is none.
func withHint(err error, text string) error {
	var known *usageError
	if err == nil || text == "" || errors.As(err, &known) {
		return err
	}
	return hint(err, "%s", text)
}

// wayOut returns the hint for errors that come from below the commands.
func wayOut(cmd *cobra.Command, err error) string {
	text := err.Error()
	says := func(words string) bool { return strings.Contains(text, words) }
	var side *oras.CopyError
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
	case errors.Is(err, oras.ErrUnauthorized) && refusal(err) != nil && cmd != nil && cmd.Name() == "login":
		return "The registry did not accept the login: check user name and password"
	case errors.Is(err, oras.ErrUnauthorized) && refusal(err) != nil:
		return `The registry did not accept the login: check user name and password, or log in with "oras login"`
	case errors.Is(err, oras.ErrInvalid) && (says("changed since it was read") || says("changed while it was sent")):
		return changesFile
	case errors.Is(err, oras.ErrInvalid) && (says("its digest is") || says(" bytes, not ") || says("more than ")):
		return damaged
	case errors.Is(err, oras.ErrInvalid) && errors.Is(err, io.ErrUnexpectedEOF):
		return damaged
	case errors.Is(err, io.ErrUnexpectedEOF) && !(errors.As(err, &side) && side.AtTarget):
		return brokeOff
	case answered(err, http.StatusInsufficientStorage):
		return "The registry has no room left: ask who runs it to make some, then run the same command again"
	case failed(err):
		return "The registry has failed: try again later, or ask who runs it"
	case answeredPlain(err):
		return "If the registry speaks TLS, use " + sideFlag(cmd, "plain-http") + "=false"
	case says("server gave HTTP response to HTTPS client"):
		return "The registry speaks plain HTTP: use " + sideFlag(cmd, "plain-http") + " if that is what you expect"
	case says("certificate signed by unknown authority"):
		return "Use " + sideFlag(cmd, "ca-file") + " to name the authority that signed the registry's certificate"
	case says("tls: failed to verify certificate"):
		return "The certificate is not one for this name and time; " + sideFlag(cmd, "insecure") + " goes on all the same, whoever may be answering"
	case says("malformed HTTP"):
		return "What answers there is no registry, or speaks TLS: check the registry's name and port, and " + sideFlag(cmd, "plain-http")
	case says("of this name is in the way"):
		return "Move it away, or pull into another directory with --output"
	case says("invalid archive: link to "), says("invalid archive: hard link to "):
		return "A link must stay in the directory that was pushed: have it pushed again without that link, or with a relative one to what is in it"
	case says("invalid media type"):
		return "A media type has the form type/subtype, such as application/vnd.example.type"
	case errors.Is(err, oras.ErrReference) && says("invalid tag "):
		return "A tag has up to 128 letters, digits, _, . and -, and begins with none of the last two"
	case says("its config says nothing of platforms"):
		return "Leave --platform out: this is no image, nor an index of such"
	case says("failed to parse platform"):
		return "Use a form such as linux/amd64 or linux/arm/v7"
	case says("failed to parse the template"), says("failed to execute the template"):
		return "Use a template of Go over the names that --format json shows, such as {{.reference}}"
	case (says("required flag(s)") || strings.HasPrefix(text, "invalid argument ") && !says("\n")) && cmd != nil:
		return fmt.Sprintf("Run %q for what it takes", cmd.CommandPath()+" -h")
	case says("unknown command") && !says("Did you mean"):
		return `Run "oras -h" for what there is`
	case says("no such host"):
		return "There is no host of that name: check the registry's name"
	case says("connection refused"), says("actively refused"):
		return "Nothing listens there: check the registry's name and port, and that it is running"
	}
	return ""
}

// failed reports whether err is that the registry, or its token service, does not do
// its work.
func failed(err error) bool {
	var answer *remote.Error
	var token *auth.ResponseError
	status := 0
	switch {
	case errors.As(err, &answer):
		status = answer.StatusCode
	case errors.As(err, &token):
		status = token.StatusCode
	}
	return status >= 500 && status != http.StatusNotImplemented
}

// answered reports whether err is an answer of the registry with the status.
func answered(err error, status int) bool {
	var answer *remote.Error
	return errors.As(err, &answer) && answer.StatusCode == status
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
