package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"syscall"
	"time"

	"github.com/c73062ad/oras/server"
)

// A listening is a registry that can be reached: its server, and that of its metrics
// if they have an address of their own.
type listening struct {
	flags        *listenFlags
	log          *slog.Logger
	certificates *certificates // nil for plain HTTP
	listener     net.Listener
	server       *http.Server

	metricsListener net.Listener // nil if there is none
	metricsServer   *http.Server
}

// open listens. What comes is answered once it is served.
func (f *listenFlags) open(c *certificates, logger *slog.Logger) (*listening, error) {
	l := &listening{flags: f, log: logger, certificates: c}
	var err error
	if l.listener, err = net.Listen("tcp", f.addr); err != nil {
		return nil, hint(cannotListen("addr", f.addr, err), "Choose another with --addr: an address of this machine and a free port, such as 127.0.0.1:0 for any that is free")
	}
	if f.metricsAddr == "" {
		return l, nil
	}
	if l.metricsListener, err = net.Listen("tcp", f.metricsAddr); err != nil {
		return nil, errors.Join(hint(cannotListen("metrics-addr", f.metricsAddr, err), "Choose another with --metrics-addr"), l.listener.Close())
	}
	return l, nil
}

// cannotListen returns err, of an address that a flag says, without how it came to be.
func cannotListen(flag, addr string, err error) error {
	var number syscall.Errno
	if errors.As(err, &number) {
		err = number
	}
	return fmt.Errorf("--%s %s: %w", flag, addr, err)
}

// handle says what is served.
func (l *listening) handle(registry, metrics http.Handler) {
	l.server = l.newServer(l.flags.addr, registry)
	if l.certificates != nil {
		l.server.TLSConfig = l.certificates.server()
	}
	l.metricsServer = l.newServer(l.flags.metricsAddr, metrics)
}

func (l *listening) newServer(addr string, h http.Handler) *http.Server {
	s := server.NewHTTPServer(addr, h)
	s.ReadHeaderTimeout = l.flags.headerTimeout
	s.ErrorLog = slog.NewLogLogger(l.log.Handler(), slog.LevelWarn)
	return s
}

// url returns where the registry can be reached from this machine.
func (l *listening) url() *url.URL {
	u := &url.URL{Scheme: "http", Host: l.listener.Addr().String()}
	name := "localhost"
	if l.certificates != nil {
		u.Scheme, name = "https", l.certificates.host()
	}
	if host, port, err := net.SplitHostPort(u.Host); err == nil && net.ParseIP(host).IsUnspecified() {
		u.Host = net.JoinHostPort(name, port)
	}
	return u
}

// atInterrupt is how long requests under way have to end when somebody at a terminal
// interrupts the registry, who waits for it.
const atInterrupt = 300 * time.Millisecond

// serve serves until ctx is done, and then lets requests under way end: for as long as
// the flags say, or, where it was interrupted, for a moment.
func (l *listening) serve(ctx context.Context, ready *readiness) error {
	failed := make(chan error, 2)
	go func() {
		if l.certificates != nil {
			failed <- l.server.ServeTLS(l.listener, "", "")
		} else {
			failed <- l.server.Serve(server.Gather(l.listener))
		}
	}()
	if l.metricsListener != nil {
		go func() { failed <- l.metricsServer.Serve(l.metricsListener) }()
		l.log.Info("serving metrics", "address", l.metricsListener.Addr().String())
	}
	l.tell("READY=1")
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	ready.drain()
	l.tell("STOPPING=1")
	if context.Cause(ctx) == (signalled{os.Interrupt}) {
		return l.drain(context.WithoutCancel(ctx), atInterrupt)
	}
	if l.flags.drainDelay > 0 {
		select {
		case err := <-failed:
			return err
		case <-time.After(l.flags.drainDelay):
		}
	}
	return l.drain(context.WithoutCancel(ctx), l.flags.drainTimeout)
}

// drain takes no more connections and lets requests under way end, for as long as
// limit unless that is 0. A transfer that stands still is cut off by the server; who
// cannot wait sends a second signal.
func (l *listening) drain(ctx context.Context, limit time.Duration) error {
	note := time.AfterFunc(time.Second, func() {
		l.log.Info("waiting for transfers under way; a second signal cuts them off")
	})
	defer note.Stop()
	if limit > 0 {
		bounded, cancel := context.WithTimeout(ctx, limit)
		defer cancel()
		ctx = bounded
	}
	err := l.server.Shutdown(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		l.log.Warn("transfers under way are cut off", "after", limit.String())
		err = l.server.Close()
	}
	return err
}

// close lets go of what open took.
func (l *listening) close() {
	for _, s := range []*http.Server{l.server, l.metricsServer} {
		if s != nil {
			s.Close() // has nothing to say that counts
		}
	}
	for _, n := range []net.Listener{l.listener, l.metricsListener} {
		if n != nil {
			n.Close() // unless its server did
		}
	}
}

// tell tells the service manager, if there is one, how the registry is.
func (l *listening) tell(state string) {
	if err := notify(state); err != nil {
		l.log.Warn("the service manager cannot be told", "state", state, "error", err)
	}
}
