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
	"syscall"
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
	anonymous       bool
}

func newServeCommand(con console) *cobra.Command {
	var c serveCommand
	cmd := &cobra.Command{
		Use:   "serve [flags]",
		Short: "Serve an OCI registry",
		Long: `Serve an OCI registry (distribution-spec 1.1) from a data folder, until interrupted

Example - Serve on this machine only, keeping the data in "./oras-data":
  oras serve

Example - Serve on any free port; the line printed says which:
  oras serve --addr 127.0.0.1:0 --data /srv/registry

Example - Serve a network, with TLS, to the users in a file made by "htpasswd -B":
  oras serve --addr :443 --tls-cert cert.pem --tls-key key.pem --htpasswd users
`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, args []string) error { return c.run(cmd.Context(), con) },
	}
	fs := cmd.Flags()
	fs.StringVar(&c.addr, "addr", "127.0.0.1:5000", "`host:port` to listen on; port 0 is any that is free")
	fs.StringVar(&c.data, "data", "oras-data", "`directory` that holds everything; it is made if it is not there")
	fs.StringVar(&c.htpasswd, "htpasswd", "", "`file` of users, with bcrypt hashes, who may read and write; others may nothing")
	fs.StringVar(&c.tlsCert, "tls-cert", "", "`file` with the server's certificate, in PEM form")
	fs.StringVar(&c.tlsKey, "tls-key", "", "`file` with the certificate's key, in PEM form")
	fs.BoolVar(&c.anonymous, "allow-anonymous", false, "let everybody who can reach it read and write, not on this machine only")
	return cmd
}

// stopTimeout is how long requests under way may go on after the signal to stop.
const stopTimeout = 10 * time.Second

func (c *serveCommand) run(ctx context.Context, con console) error {
	if err := c.check(); err != nil {
		return err
	}
	opts := &server.Options{ErrorLog: slog.New(slog.NewTextHandler(con.err, nil))}
	if c.htpasswd != "" {
		users, err := server.Htpasswd(c.htpasswd)
		if err != nil {
			return err
		}
		opts.Authorize = users
	}
	data, err := bucket.OpenDir(c.data)
	if err != nil {
		return hint(err, "Name a directory that can be written with --data")
	}
	defer data.Close()
	listener, err := net.Listen("tcp", c.addr)
	if err != nil {
		if errors.Is(err, syscall.EADDRINUSE) {
			return hint(err, "Something listens there already: choose another port with --addr, or any that is free with --addr 127.0.0.1:0")
		}
		return err
	}
	srv := server.NewHTTPServer(c.addr, server.New(bucket.New(data), opts))
	u := url.URL{Scheme: "http", Host: listener.Addr().String()}
	serve := func() error { return srv.Serve(listener) }
	if c.tlsCert != "" {
		u.Scheme = "https"
		certificate, err := tls.LoadX509KeyPair(c.tlsCert, c.tlsKey)
		if err != nil {
			return errors.Join(fmt.Errorf("TLS certificate: %w", err), listener.Close())
		}
		srv.TLSConfig = &tls.Config{Certificates: []tls.Certificate{certificate}}
		serve = func() error { return srv.ServeTLS(listener, "", "") }
	}
	fmt.Fprintf(con.out, "Serving %s from %s\n", &u, c.data)
	return serveUntil(ctx, srv, serve)
}

// serveUntil serves until ctx is done, and then lets requests under way end.
func serveUntil(ctx context.Context, srv *http.Server, serve func() error) error {
	failed := make(chan error, 1)
	go func() { failed <- serve() }()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
	defer cancel()
	if err := srv.Shutdown(stop); err != nil {
		return errors.Join(fmt.Errorf("requests were cut off after %v: %w", stopTimeout, err), srv.Close())
	}
	return nil
}

func (c *serveCommand) check() error {
	if (c.tlsCert == "") != (c.tlsKey == "") {
		return errors.New("--tls-cert and --tls-key must be used together")
	}
	host, _, err := net.SplitHostPort(c.addr)
	if err != nil {
		return hint(fmt.Errorf("--addr %q: %w", c.addr, err), "Use the form host:port, such as 127.0.0.1:5000, or :5000 for all addresses")
	}
	if ip := net.ParseIP(host); c.htpasswd == "" && !c.anonymous && host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return hint(fmt.Errorf("--addr %s: others than this machine could read and write everything", c.addr),
			"Say who may with --htpasswd FILE, or that all may with --allow-anonymous")
	}
	return nil
}
