package auth

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/docker/docker-credential-helpers/credentials"
)

// A helper is a program that keeps logins: docker-credential-<name>, spoken to
// as docker-credential-helpers' README, "Development", has it.
type helper struct{ name string }

const (
	helperLimit  = 30 * time.Second
	maxHelperOut = 64 << 10
)

var helperName = regexp.MustCompile(`^[a-zA-Z0-9_-]{1,64}(\.exe)?$`)

// ErrNoHelper is a credential helper that is not installed.
var ErrNoHelper = errors.New("not installed")

func (h helper) program() string { return "docker-credential-" + h.name }

// get returns what the helper keeps for server; the zero Credential if nothing.
func (h helper) get(ctx context.Context, server string) (Credential, error) {
	out, err := h.run(ctx, credentials.ActionGet, server, Credential{})
	if err != nil || out == nil {
		return Credential{}, err
	}
	var kept credentials.Credentials
	if json.Unmarshal(out, &kept) != nil {
		return Credential{}, h.failed(credentials.ActionGet, "it answers with what is no credential")
	}
	switch {
	case kept.Secret == "":
		return Credential{}, nil
	case kept.Username == tokenHolder:
		return Credential{RefreshToken: kept.Secret}, nil
	}
	return Credential{Username: kept.Username, Password: kept.Secret}, nil
}

// store lets the helper keep cred for server.
func (h helper) store(ctx context.Context, server string, cred Credential) error {
	kept := credentials.Credentials{ServerURL: server, Username: cred.Username, Secret: cred.Password}
	switch {
	case cred.AccessToken != "":
		return h.failed(credentials.ActionStore, "helpers do not keep access tokens")
	case cred.RefreshToken != "":
		kept.Username, kept.Secret = tokenHolder, cred.RefreshToken
	}
	input, err := json.Marshal(kept)
	if err != nil {
		return h.failed(credentials.ActionStore, err.Error())
	}
	_, err = h.run(ctx, credentials.ActionStore, string(input), cred)
	return err
}

// erase lets the helper forget server; that it did not know it is no error.
func (h helper) erase(ctx context.Context, server string) error {
	_, err := h.run(ctx, credentials.ActionErase, server, Credential{})
	return err
}

// works reports whether the helper is there and can do its work.
func (h helper) works(ctx context.Context) error {
	_, err := h.run(ctx, credentials.ActionList, "unused", Credential{})
	return err
}

// run runs the helper and returns what it prints; nil if it says that it keeps
// nothing. An error does not hold the secrets of cred, nor what is printed by a
// helper that does not fail.
func (h helper) run(ctx context.Context, action, input string, cred Credential) ([]byte, error) {
	if !helperName.MatchString(h.name) {
		return nil, fmt.Errorf("credential helper %q: the name of a helper has letters, digits, - and _ only", h.name)
	}
	if strings.ContainsFunc(input, unicode.IsControl) {
		return nil, h.failed(action, "the name of the server holds control characters")
	}
	path, err := exec.LookPath(h.program())
	if errors.Is(err, exec.ErrNotFound) {
		return nil, fmt.Errorf("credential helper %s: %w", h.program(), ErrNoHelper)
	}
	if err != nil {
		return nil, fmt.Errorf("credential helper %s: %w", h.program(), err)
	}
	ctx, cancel := context.WithTimeout(ctx, helperLimit)
	defer cancel()
	var out, complaint limitedBuffer
	cmd := exec.CommandContext(ctx, path, action)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(input), &out, &complaint
	cmd.Env = slices.DeleteFunc(os.Environ(), func(s string) bool { return strings.HasPrefix(s, "ORAS_") }) // may be passwords
	cmd.WaitDelay = time.Second
	err = cmd.Run()
	switch {
	case ctx.Err() != nil:
		return nil, fmt.Errorf("credential helper %s %s: %w", h.program(), action, ctx.Err())
	case out.over:
		return nil, h.failed(action, fmt.Sprintf("it answers with more than %d bytes", maxHelperOut))
	case err != nil && (isNotFound(out) || isNotFound(complaint)):
		return nil, nil
	case err != nil:
		return nil, h.failed(action, reason(out, complaint, err, cred))
	}
	return append([]byte{}, out.data...), nil
}

func (h helper) failed(action, reason string) error {
	return fmt.Errorf("credential helper %s %s failed: %s", h.program(), action, reason)
}

func isNotFound(b limitedBuffer) bool {
	return credentials.IsErrCredentialsNotFoundMessage(string(b.data))
}

// reason returns why a helper failed: the first line it printed that can be
// shown, else its exit status.
func reason(out, complaint limitedBuffer, err error, cred Credential) string {
	for _, b := range []limitedBuffer{out, complaint} {
		text := strings.TrimSpace(string(b.data))
		if text == "" || strings.Contains(text, "{") || strings.Contains(text, `"`) { // may be a credential
			continue
		}
		line, _, _ := strings.Cut(cred.scrub(text), "\n")
		line = strings.ToValidUTF8(strings.Map(func(r rune) rune {
			if unicode.IsPrint(r) {
				return r
			}
			return -1
		}, line), "")
		return fmt.Sprintf("%.200s (%v)", line, err)
	}
	return err.Error()
}

// A limitedBuffer keeps the first bytes written to it, and ends a writer that
// goes on.
type limitedBuffer struct {
	data []byte
	over bool
}

func (b *limitedBuffer) Write(p []byte) (int, error) {
	room := maxHelperOut - len(b.data)
	if len(p) > room {
		b.over = true
		b.data = append(b.data, p[:room]...)
		return room, errors.New("too much output")
	}
	b.data = append(b.data, p...)
	return len(p), nil
}

// nativeHelpers returns the helpers that keep logins in the platform's keychain,
// best first.
func nativeHelpers() []helper {
	switch runtime.GOOS {
	case "darwin":
		return []helper{{"osxkeychain"}, {"desktop"}}
	case "windows":
		return []helper{{"wincred"}, {"desktop"}}
	}
	helpers := []helper{{"secretservice"}, {"desktop"}}
	if _, err := exec.LookPath("pass"); err == nil {
		helpers = append([]helper{{"pass"}}, helpers...)
	}
	return helpers
}

// detectHelper returns the name of the platform's helper, empty if none is
// installed. One that is installed and does not work, as a keychain on a machine
// nobody sits at, is passed over with a warning.
func (c *Config) detectHelper(ctx context.Context) string {
	for _, h := range nativeHelpers() {
		err := h.works(ctx)
		if err == nil {
			return h.name
		}
		if !errors.Is(err, ErrNoHelper) {
			c.warn(err.Error())
		}
	}
	return ""
}
