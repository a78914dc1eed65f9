package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/c73062ad/oras"
	"github.com/c73062ad/oras/auth"
)

type loginCommand struct {
	commonFlags
	remoteFlags
}

func newLoginCommand(con console) *cobra.Command {
	var c loginCommand
	cmd := &cobra.Command{
		Use:   "login [flags] <registry>",
		Short: "Log in to a remote registry",
		Long: `Log in to a remote registry

Example - Log in, and be asked for user name and password:
  oras login localhost:5000

Example - Log in with a password from standard input:
  oras login -u username --password-stdin localhost:5000 < password.txt

Example - Log in with an identity token from standard input:
  oras login --identity-token-stdin localhost:5000 < token.txt

Example - Keep the login in a file of its own:
  oras login --registry-config auth.json localhost:5000
`,
		Args: exactly(1, "the registry to log in to"),
		RunE: func(cmd *cobra.Command, args []string) error { return c.run(cmd, con, args[0]) },
	}
	fs := cmd.Flags()
	c.commonFlags.register(fs)
	c.remoteFlags.register(fs, "", "")
	return cmd
}

func (c *loginCommand) run(cmd *cobra.Command, con console, host string) error {
	ctx := cmd.Context()
	host = strings.TrimSuffix(host, "/")
	if err := c.check(); err != nil {
		return err
	}
	if err := oras.CheckRegistry(host); err != nil {
		return hint(err, "Please name the registry alone, in the form of <host>[:<port>]%s", withoutScheme(host))
	}
	env, err := newEnvironment(con, &c.commonFlags, &c.remoteFlags)
	if err != nil {
		return err
	}
	const elsewhere = "Name a file that can be written with --registry-config"
	config, err := env.openConfig(&c.remoteFlags)
	if err != nil {
		return unwrittenHint(err, elsewhere)
	}
	if err := c.ask(ctx, con); err != nil {
		return err
	}
	cred := c.flagCredential()
	registry, err := env.registry(&c.remoteFlags, host) // with that login
	if err != nil {
		return err
	}
	if err := registry.Ping(ctx); err != nil {
		if errors.Is(err, auth.ErrNoPassword) {
			err = fmt.Errorf("GET %q: %w", c.registryURL(host).JoinPath("/v2/"), auth.ErrNoPassword)
		}
		return fmt.Errorf("failed to validate the credentials for %s: %w", host, err)
	}
	if err := config.Put(ctx, host, cred); err != nil {
		err = fmt.Errorf("failed to store the credentials for %s: %w", host, err)
		if errors.Is(err, auth.ErrNoHelper) {
			return err
		}
		return unwrittenHint(err, elsewhere)
	}
	_, err = fmt.Fprintln(con.out, "Login Succeeded")
	return err
}

// ask prompts for what the flags do not say.
func (c *loginCommand) ask(ctx context.Context, con console) (err error) {
	if c.password != "" || c.identityToken != "" {
		return nil
	}
	p := prompter{ctx, con.in, con.out, con.stdin(ctx), true}
	token := c.identityTokenStdin
	if !c.passwordStdin && !token { // else there was nothing
		if c.username == "" {
			if c.username, err = p.line("Username: "); err != nil {
				return err
			}
			c.username = strings.TrimSpace(c.username)
		}
		token = c.username == ""
		if token {
			c.identityToken, err = p.secret("Token: ")
		} else {
			c.password, err = p.secret("Password: ")
		}
	}
	way := "Type it, or give it on standard input, with -u and --password-stdin"
	if c.passwordStdin || c.identityTokenStdin {
		way = "Standard input is to hold it"
	}
	switch {
	case err != nil:
		return err
	case token && c.identityToken == "":
		return hint(errors.New("token required"), "%s", way)
	case !token && c.password == "":
		return hint(errors.New("password required"), "%s", way)
	}
	return nil
}

// A prompter asks, a line at a time, until ctx is done.
type prompter struct {
	ctx   context.Context
	in    io.Reader
	out   io.Writer
	lines io.Reader // in, as long as ctx is not done
	ends  bool      // a line that nobody types is ended: what follows has one of its own
}

// line asks for one line. It reads byte by byte: what follows is for the next.
func (p *prompter) line(text string) (string, error) {
	fmt.Fprint(p.out, text)
	var line []byte
	var one [1]byte
	for len(line) < 64<<10 {
		n, err := p.lines.Read(one[:])
		if n > 0 && one[0] != '\n' {
			line = append(line, one[0])
		}
		if err == io.EOF && len(line) == 0 && p.ends {
			fmt.Fprintln(p.out)
		}
		if err == io.EOF || n > 0 && one[0] == '\n' {
			return strings.TrimSuffix(string(line), "\r"), nil
		}
		if err != nil {
			return "", fmt.Errorf("standard input: %w", err)
		}
	}
	return "", errors.New("standard input: the line is too long")
}

// secret asks for one line that a terminal does not show.
func (p *prompter) secret(text string) (string, error) {
	file, ok := p.in.(*os.File)
	if !ok || !term.IsTerminal(int(file.Fd())) {
		return p.line(text)
	}
	fmt.Fprint(p.out, text)
	fd := int(file.Fd())
	state, err := term.GetState(fd)
	if err != nil {
		return "", fmt.Errorf("terminal: %w", err)
	}
	secret, err := waitFor(p.ctx, func() ([]byte, error) { return term.ReadPassword(fd) })
	fmt.Fprintln(p.out)
	if p.ctx.Err() != nil {
		err = errors.Join(p.ctx.Err(), term.Restore(fd, state))
	}
	return string(secret), err
}

type logoutCommand struct {
	commonFlags
	configs []string
}

func newLogoutCommand(con console) *cobra.Command {
	var c logoutCommand
	cmd := &cobra.Command{
		Use:   "logout [flags] <registry>",
		Short: "Log out from a remote registry",
		Long: `Log out from a remote registry

Example - Log out:
  oras logout localhost:5000
`,
		Args: exactly(1, "the registry you want to log out"),
		RunE: func(cmd *cobra.Command, args []string) error {
			env, err := newEnvironment(con, &c.commonFlags)
			if err != nil {
				return err
			}
			config, err := auth.OpenConfig(c.configs...)
			if err != nil {
				return err
			}
			config.Warn = env.warn
			return config.Delete(cmd.Context(), strings.TrimSuffix(args[0], "/"))
		},
	}
	fs := cmd.Flags()
	fs.BoolVarP(&c.debug, "debug", "d", false, "output debug logs (implies --no-tty)")
	fs.StringArrayVar(&c.configs, "registry-config", nil, "path of the authentication file")
	return cmd
}
