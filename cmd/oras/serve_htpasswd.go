package main

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/crypto/bcrypt"
)

type serveHtpasswdCommand struct{ passwordStdin bool }

func newServeHtpasswdCommand(con console) *cobra.Command {
	var c serveHtpasswdCommand
	cmd := &cobra.Command{
		Use:   "htpasswd [flags] <user>",
		Short: "Print the line of a user for --htpasswd",
		Long: `Print the line of a user for the file that "oras serve --htpasswd" reads: the name and
the hash, by bcrypt, of a password that is asked for

Example - Add a user to the file "users", which is made if it is not there:
  oras serve htpasswd alice >> users

Example - Take the password from standard input:
  oras serve htpasswd alice --password-stdin < password.txt >> users
`,
		Args: exactly(1, "the user's name"),
		RunE: func(cmd *cobra.Command, args []string) error { return c.run(cmd, con, args[0]) },
	}
	cmd.Flags().BoolVar(&c.passwordStdin, "password-stdin", false, "read the password from standard input, and do not ask")
	return cmd
}

func (c *serveHtpasswdCommand) run(cmd *cobra.Command, con console, user string) error {
	if user == "" || strings.ContainsFunc(user, func(r rune) bool { return r == ':' || isControl(r) || r == '\n' || r == '\t' }) {
		return hint(fmt.Errorf("%q cannot be a user's name", user), "A name is not empty, and has neither a colon nor a line end in it")
	}
	ctx := cmd.Context()
	// What is asked goes to standard error: standard output may be the file.
	p := prompter{ctx, con.in, con.err, con.stdin(ctx), true}
	read := func() (string, error) { return p.secret("Password: ") }
	if c.passwordStdin {
		p.out = io.Discard
		read = func() (string, error) { return p.line("") }
	}
	password, err := read()
	if err != nil {
		return err
	}
	if password == "" {
		return hint(errors.New("password required"), "Type it, or give it on standard input, with --password-stdin")
	}
	hash, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.DefaultCost)
	if errors.Is(err, bcrypt.ErrPasswordTooLong) {
		return hint(errors.New("the password is too long"), "Bcrypt takes 72 bytes at most")
	}
	if err != nil {
		return err
	}
	_, err = fmt.Fprintf(con.out, "%s:%s\n", user, hash)
	return err
}
