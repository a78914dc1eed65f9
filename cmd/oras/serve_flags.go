package main

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/c73062ad/oras/server"
)

// accessFlags say who may do what.
type accessFlags struct {
	htpasswd       string
	anonymousPull  bool
	readOnly       bool
	noDelete       bool
	sparse         []string
	trustedProxies []string
	warnings       []string

	users server.Authorizer // once options was called: nil is everybody
}

func (f *accessFlags) register(fs *pflag.FlagSet) {
	fs.StringVar(&f.htpasswd, "htpasswd", "", "`file` of users, with bcrypt hashes, who may read and write; others may nothing")
	fs.BoolVar(&f.anonymousPull, "anonymous-pull", false, "let those pull who do not log in")
	fs.BoolVar(&f.readOnly, "read-only", false, "refuse all that writes, and collect no garbage")
	fs.BoolVar(&f.noDelete, "no-delete", false, "refuse to delete tags, manifests and blobs")
	fs.StringSliceVar(&f.sparse, "sparse", nil, "`pattern=allow` or pattern=refuse: whether repositories take a manifest though something it refers to is missing; the first pattern that matches counts, where none does they take it, * is any part of a name's component, ** any components")
	fs.StringSliceVar(&f.trustedProxies, "trusted-proxy", nil, "`address` or network of a proxy whose X-Forwarded-For, -Proto, -Host and X-Request-ID are believed")
	fs.StringArrayVar(&f.warnings, "warning", nil, "`text` that clients are to show to their users, with each answer")
}

// options returns what the flags say.
func (f *accessFlags) options() (*server.Options, error) {
	opts := &server.Options{ReadOnly: f.readOnly, DisableDelete: f.noDelete, Warnings: f.warnings}
	for _, text := range f.trustedProxies {
		p, err := parseNetwork(text)
		if err != nil {
			return nil, hint(fmt.Errorf("--trusted-proxy %q is neither an address nor a network", text), "Use a form such as 10.0.0.7, 10.0.0.0/8 or fd00::/8")
		}
		opts.TrustedProxies = append(opts.TrustedProxies, p)
	}
	for _, text := range f.sparse {
		pattern, what, _ := strings.Cut(text, "=")
		p, err := server.ParsePattern(pattern)
		if err == nil && what != "allow" && what != "refuse" {
			err = errors.New("it says neither allow nor refuse")
		}
		if err != nil {
			return nil, hint(fmt.Errorf("--sparse %q: %w", text, err), "Use the form pattern=allow or pattern=refuse, such as mirror/**=allow")
		}
		opts.Sparse = append(opts.Sparse, server.SparseRule{Repositories: p, Allow: what == "allow"})
	}
	if f.htpasswd == "" {
		return opts, nil
	}
	users, err := server.Htpasswd(f.htpasswd)
	if err != nil {
		return nil, hint(err, "--htpasswd is a file with a line user:hash for each user, as \"oras serve htpasswd USER\" prints it")
	}
	f.users, opts.Authorize = users, users
	if f.anonymousPull {
		opts.Authorize = server.AnonymousPull(users)
	}
	return opts, nil
}

func parseNetwork(text string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(text); err == nil {
		return a.Prefix(a.BitLen())
	}
	return netip.ParsePrefix(text)
}

// limitFlags say how much the registry does, and takes, at once.
type limitFlags struct {
	requests, perClient int
	minFree             int64
}

func (f *limitFlags) register(fs *pflag.FlagSet) {
	fs.IntVar(&f.requests, "max-requests", 1024, "`number` of requests that are answered at once, above which they get status 429; 0 is no limit")
	fs.IntVar(&f.perClient, "max-client-requests", 256, "`number` of requests of one address that are answered at once; 0 is no limit")
	fs.Int64Var(&f.minFree, "min-free", 64<<20, "`bytes` of disk below which /readyz says that the registry is not ready; 0 is no limit")
}

// logFlags say what is logged, and how.
type logFlags struct {
	format string
	access string
}

func (f *logFlags) register(fs *pflag.FlagSet) {
	fs.StringVar(&f.format, "log-format", "text", "`form` of records: text or json")
	fs.StringVar(&f.access, "access-log", "all", "`which` requests are logged: all, audit (what pushes or deletes, and logins that fail) or none")
}

// open returns the log that the flags ask for.
func (f *logFlags) open(w io.Writer) (*slog.Logger, error) {
	if !slices.Contains([]string{"all", "audit", "none"}, f.access) {
		return nil, hint(fmt.Errorf("--access-log %q: there is no such choice", f.access), "Use all, audit or none")
	}
	switch f.format {
	case "text":
		return slog.New(server.LogHandler(slog.NewTextHandler(w, nil))), nil
	case "json":
		return slog.New(server.LogHandler(slog.NewJSONHandler(w, nil))), nil
	}
	return nil, hint(fmt.Errorf("--log-format %q: there is no such form", f.format), "Use text or json")
}

// set lets opts say of requests what the flags ask for.
func (f *logFlags) set(opts *server.ObserveOptions, logger *slog.Logger) {
	if f.access == "none" {
		return
	}
	opts.Log, opts.AuditOnly = logger, f.access == "audit"
}

// check checks the flags together, before anything is done.
func (c *serveCommand) check(logger *slog.Logger) error {
	switch {
	case (c.tls.cert == "") != (c.tls.key == ""):
		return hint(errors.New("--tls-cert and --tls-key must be used together"), "Name the certificate's file with the one, and that of its key with the other")
	case c.tls.clientCA != "" && c.tls.cert == "":
		return hint(errors.New("--tls-client-ca needs --tls-cert"), "Clients show certificates only over TLS")
	case c.access.anonymousPull && c.access.htpasswd == "":
		return hint(errors.New("--anonymous-pull needs --htpasswd"), "Without it, everybody may read and write")
	case c.limits.requests < 0 || c.limits.perClient < 0 || c.limits.minFree < 0:
		return errors.New("--max-requests, --max-client-requests and --min-free cannot be negative")
	}
	if err := c.collect.check(); err != nil {
		return err
	}
	host, err := c.listen.check()
	if err != nil {
		return err
	}
	if ip := net.ParseIP(host); host == "localhost" || ip != nil && ip.IsLoopback() {
		return nil
	}
	if c.access.htpasswd == "" && c.tls.clientCA == "" {
		return hint(fmt.Errorf("--addr %s: others than this machine could read and write everything", c.listen.addr),
			"Say who may with --htpasswd FILE, or serve this machine only with --addr 127.0.0.1:5000")
	}
	if c.tls.cert == "" && len(c.access.trustedProxies) == 0 {
		logger.Warn("passwords cross the network readable; use --tls-cert and --tls-key, or a proxy with TLS in front, named by --trusted-proxy")
	}
	return nil
}

// listenFlags say where and for how long clients are waited for.
type listenFlags struct {
	addr, metricsAddr          string
	headerTimeout, idleTimeout time.Duration
	drainDelay, drainTimeout   time.Duration
}

func (f *listenFlags) register(fs *pflag.FlagSet) {
	fs.StringVar(&f.addr, "addr", "127.0.0.1:5000", "`host:port` to listen on; port 0 is any that is free")
	fs.StringVar(&f.metricsAddr, "metrics-addr", "", "`host:port` to serve /metrics on, with /healthz and /readyz, by HTTP and to everybody, instead of beside the registry to its users")
	fs.DurationVar(&f.headerTimeout, "header-timeout", 10*time.Second, "`time` within which a request's header must come")
	fs.DurationVar(&f.idleTimeout, "idle-timeout", time.Minute, "`time` that a transfer may stand still; how long one takes that moves has no limit")
	fs.DurationVar(&f.drainDelay, "drain-delay", 0, "`time` to go on for when told to terminate, with /readyz saying so, before new connections are refused")
	fs.DurationVar(&f.drainTimeout, "drain-timeout", 5*time.Minute, "`time` that transfers under way may then take until they are cut off; 0 is no limit")
}

// check returns the host of the address, empty for all.
func (f *listenFlags) check() (host string, err error) {
	for _, d := range []time.Duration{f.headerTimeout, f.idleTimeout} {
		if d <= 0 {
			return "", errors.New("--header-timeout and --idle-timeout must be positive")
		}
	}
	if f.drainDelay < 0 || f.drainTimeout < 0 {
		return "", errors.New("--drain-delay and --drain-timeout cannot be negative")
	}
	if f.metricsAddr != "" {
		if _, err := checkAddr("metrics-addr", f.metricsAddr); err != nil {
			return "", err
		}
	}
	return checkAddr("addr", f.addr)
}

func checkAddr(flag, addr string) (host string, err error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return "", hint(fmt.Errorf("--%s %q: %w", flag, addr, err), "Use the form host:port, such as 127.0.0.1:5000, or :5000 for all addresses")
	}
	if _, err := net.LookupPort("tcp", port); err != nil {
		return "", hint(fmt.Errorf("--%s %s: there is no port %s", flag, addr, port), "Ports are 0 to 65535; 0 is any that is free")
	}
	return host, nil
}
