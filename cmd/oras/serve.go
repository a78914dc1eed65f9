package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/c73062ad/oras/bucket"
	"github.com/c73062ad/oras/server"
)

type serveCommand struct {
	addr            string
	data            string
	htpasswd        string
	tlsCert, tlsKey string
}

func newServeCommand(con console) *cobra.Command {
	var c serveCommand
	cmd := &cobra.Command{
		Use:   "serve [flags]",
		Short: "Serve an OCI registry",
		Long: `Serve an OCI registry (distribution-spec 1.1) from a data folder, until interrupted

Once it can be reached, one line on standard output says where. Interrupted, or
told to terminate, it lets transfers under way end; a second signal ends it at once.

Example - Serve on this machine only, keeping the data in "./oras-data":
  oras serve

Example - Serve on any free port; the line printed says which:
  oras serve --addr 127.0.0.1:0 --data /srv/registry

Example - Serve a network, with TLS, to the users in a file made by "htpasswd -B":
  oras serve --addr :443 --tls-cert cert.pem --tls-key key.pem --htpasswd users
`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return nil
			}
			return &usageError{
				err:   fmt.Errorf("%q takes no argument, but got %q", cmd.CommandPath(), strings.Join(args, " ")),
				usage: usageLine(cmd),
				hint:  fmt.Sprintf("Run %q for options and examples", cmd.CommandPath()+" -h"),
			}
		},
		RunE: func(cmd *cobra.Command, args []string) error { return c.run(cmd.Context(), con) },
	}
	fs := cmd.Flags()
	fs.StringVar(&c.addr, "addr", "127.0.0.1:5000", "`host:port` to listen on; port 0 is any that is free")
	fs.StringVar(&c.data, "data", "oras-data", "`directory` that holds everything; it is made if it is not there")
	fs.StringVar(&c.htpasswd, "htpasswd", "", "`file` of users, with bcrypt hashes, who may read and write; others may nothing")
	fs.StringVar(&c.tlsCert, "tls-cert", "", "`file` with the server's certificate, in PEM form")
	fs.StringVar(&c.tlsKey, "tls-key", "", "`file` with the certificate's key, in PEM form")
	return cmd
}

func (c *serveCommand) run(ctx context.Context, con console) error {
	if err := c.check(con); err != nil {
		return err
	}
	authorize, err := c.authorizer()
	if err != nil {
		return err
	}
	config, err := c.tlsConfig()
	if err != nil {
		return err
	}
	data, err := bucket.OpenDir(c.data)
	if err != nil {
		return hint(err, "Name a directory that can be written with --data")
	}
	defer data.Close()
	listener, err := net.Listen("tcp", c.addr)
	if err != nil {
		return hint(err, "Choose another with --addr: an address of this machine and a free port, such as 127.0.0.1:0 for any that is free")
	}
	log := slog.NewTextHandler(con.err, nil)
	srv := server.NewHTTPServer(c.addr, server.New(bucket.New(data), &server.Options{Authorize: authorize, ErrorLog: slog.New(log)}))
	srv.ErrorLog = slog.NewLogLogger(log, slog.LevelWarn)
	srv.TLSConfig = config
	u := url.URL{Scheme: "http", Host: listener.Addr().String()}
	serve := func() error { return srv.Serve(listener) }
	if config != nil {
		u.Scheme = "https"
		serve = func() error { return srv.ServeTLS(listener, "", "") }
	}
	fmt.Fprintf(con.out, "Serving %s from %s\n", &u, c.data)
	return serveUntil(ctx, con, srv, serve)
}

// serveUntil serves until ctx is done, and then lets requests under way end. How
// long that takes has no limit of its own: a transfer that stands still is cut off
// by the server, and who cannot wait sends a second signal.
func serveUntil(ctx context.Context, con console, srv *http.Server, serve func() error) error {
	failed := make(chan error, 1)
	go func() { failed <- serve() }()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	note := time.AfterFunc(time.Second, func() {
		fmt.Fprintln(con.err, "Waiting for transfers under way; interrupt again to cut them off")
	})
	defer note.Stop()
	return srv.Shutdown(context.WithoutCancel(ctx))
}

// check checks the flags together, before anything is done.
func (c *serveCommand) check(con console) error {
	if (c.tlsCert == "") != (c.tlsKey == "") {
		return hint(errors.New("--tls-cert and --tls-key must be used together"), "Name the certificate's file with the one, and that of its key with the other")
	}
	host, _, err := net.SplitHostPort(c.addr)
	if err != nil {
		return hint(fmt.Errorf("--addr %q: %w", c.addr, err), "Use the form host:port, such as 127.0.0.1:5000, or :5000 for all addresses")
	}
	if ip := net.ParseIP(host); host == "localhost" || ip != nil && ip.IsLoopback() {
		return nil
	}
	if c.htpasswd == "" {
		return hint(fmt.Errorf("--addr %s: others than this machine could read and write everything", c.addr),
			"Say who may with --htpasswd FILE, or serve this machine only with --addr 127.0.0.1:5000")
	}
	if c.tlsCert == "" {
		fmt.Fprintln(con.err, "WARNING: passwords cross the network readable; use --tls-cert and --tls-key, or a proxy with TLS in front")
	}
	return nil
}

// authorizer returns who may do what; nil is everybody everything.
func (c *serveCommand) authorizer() (server.Authorizer, error) {
	if c.htpasswd == "" {
		return nil, nil
	}
	users, err := server.Htpasswd(c.htpasswd)
	if err != nil {
		return nil, hint(err, "--htpasswd is a file with a line user:hash for each user, as \"htpasswd -B -c FILE USER\" makes it")
	}
	return users, nil
}

// tlsConfig returns nil for plain HTTP.
func (c *serveCommand) tlsConfig() (*tls.Config, error) {
	if c.tlsCert == "" {
		return nil, nil
	}
	certificate, err := tls.LoadX509KeyPair(c.tlsCert, c.tlsKey)
	if err != nil {
		return nil, hint(fmt.Errorf("TLS certificate %s with key %s: %w", c.tlsCert, c.tlsKey, err),
			"Both files must be in PEM form, and --tls-key that of --tls-cert")
	}
	return &tls.Config{Certificates: []tls.Certificate{certificate}}, nil
}
