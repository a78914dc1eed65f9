package main

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"

	"github.com/spf13/cobra"

	"github.com/c73062ad/oras/bucket"
	"github.com/c73062ad/oras/server"
)

type serveCommand struct {
	dataFlag
	config  string
	listen  listenFlags
	tls     tlsFlags
	access  accessFlags
	limits  limitFlags
	logs    logFlags
	collect collectFlags
}

func newServeCommand(con console) *cobra.Command {
	var c serveCommand
	cmd := &cobra.Command{
		Use:   "serve [flags]",
		Short: "Serve an OCI registry",
		Long: `Serve an OCI registry (distribution-spec 1.1) from a data folder, until interrupted

It serves this machine only, unless --addr says otherwise; an address that others can
reach needs --htpasswd, or --tls-client-ca, to say who may do what.

Once it can be reached, one line on standard output says where; all else goes to
standard error: a record of each request, and what goes wrong. /healthz, /readyz and
/metrics are served beside the registry. Interrupted, it ends within a second; told to
terminate, it lets transfers under way end first, and a second signal ends it at once.
Uploads that are cut off can go on. docs/registry.md says how to run it for others.

All flags can also be set in the file --config, in YAML, where their names are the keys.
The command line counts more than the environment, and that more than the file.

Example - Serve on this machine only, keeping the data in "./oras-data":
  oras serve

Example - Serve on any free port; the line printed says which:
  oras serve --addr 127.0.0.1:0 --data /srv/registry

Example - Serve a network, with TLS, to the users in a file that has alice in it:
  oras serve htpasswd alice >> users
  oras serve --addr :443 --tls-cert cert.pem --tls-key key.pem --htpasswd users

Example - Let everybody read and users write, behind a proxy that has TLS, as a file says:
  oras serve --config /etc/oras/registry.yaml
`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := setFromFile(cmd, c.config); err != nil {
				return err
			}
			return c.run(cmd.Context(), con)
		},
	}
	fs := cmd.Flags()
	fs.StringVar(&c.config, "config", "", "`file`, in YAML, with values of flags that are neither on the command line nor in the environment")
	fs.StringVar(&c.data, "data", "oras-data", "`directory` that holds everything; it is made if it is not there")
	c.listen.register(fs)
	c.tls.register(fs)
	c.access.register(fs)
	c.limits.register(fs)
	c.logs.register(fs)
	c.collect.register(fs)
	cmd.AddCommand(newServeGCCommand(con), newServeCheckCommand(con), newServeHtpasswdCommand(con))
	return cmd
}

// run serves until ctx is done.
func (c *serveCommand) run(ctx context.Context, con console) error {
	logger, err := c.logs.open(con.err)
	if err != nil {
		return err
	}
	if err := c.check(logger); err != nil {
		return err
	}
	opts, err := c.access.options()
	if err != nil {
		return err
	}
	opts.ErrorLog, opts.IdleTimeout = logger, c.listen.idleTimeout
	certificates, err := c.tls.open(logger)
	if err != nil {
		return err
	}
	l, err := c.listen.open(certificates, logger)
	if err != nil {
		return err
	}
	defer l.close()
	data, err := c.openOrMake()
	if err != nil {
		return err
	}
	defer data.Close()

	registry := bucket.New(data)
	handler := server.New(registry, opts)
	metrics := &server.Metrics{}
	ready := newReadiness(c.data, c.limits.minFree, logger)
	l.handle(ready.beside(c.around(handler, opts, metrics, logger)), ready.beside(at("/metrics", metrics, http.NotFoundHandler())))
	metrics.Add(processMetrics()...)
	metrics.Add(server.Metric{Name: "oras_uploads_open", Help: "Uploads that have begun and not ended.",
		Value: func() float64 { return float64(server.OpenUploads(handler)) }})
	metrics.Add(certificates.metrics()...)
	metrics.Add(diskMetrics(c.data)...)

	stop := c.collect.start(ctx, c.access.readOnly, registry, c.data, metrics, logger)
	defer stop()
	fmt.Fprintf(con.out, "Serving %s from %s\n", l.url(), c.data)
	return l.serve(ctx, ready)
}

// around returns the registry with all that is around it but for whether it is ready:
// who asks for that is neither limited nor logged.
func (c *serveCommand) around(registry http.Handler, opts *server.Options, metrics *server.Metrics, logger *slog.Logger) http.Handler {
	observe := &server.ObserveOptions{Metrics: metrics, TrustedProxies: opts.TrustedProxies}
	c.logs.set(observe, logger)
	h := server.Limit(&server.LimitOptions{Requests: c.limits.requests, PerClient: c.limits.perClient, TrustedProxies: opts.TrustedProxies})(registry)
	if c.listen.metricsAddr == "" {
		h = at("/metrics", server.Guard(c.access.users, opts)(metrics), h)
	}
	return server.Observe(observe)(h)
}

// at returns a handler of path, and of all other paths.
func at(path string, here, elsewhere http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == path {
			here.ServeHTTP(w, r)
		} else {
			elsewhere.ServeHTTP(w, r)
		}
	})
}
