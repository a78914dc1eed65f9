package server

import (
	"context"
	"io"
	"net"
	"net/http"
	"sync"
)

// Gather returns l with connections on which a server of [NewHTTPServer] sends a small
// answer at once: net/http alone writes what does not fit into 4 KiB with its header in
// two pieces, each of which costs both sides a call of the system and perhaps a packet.
// HTTPS and HTTP/2 are as without it.
func Gather(l net.Listener) net.Listener { return gathering{l} }

type gathering struct{ net.Listener }

func (g gathering) Accept() (net.Conn, error) {
	c, err := g.Listener.Accept()
	if tcp, ok := c.(*net.TCPConn); ok && err == nil {
		return &gatheredConn{TCPConn: tcp}, nil
	}
	return c, err
}

// A gatheredConn is a connection that keeps back what is written while it is held: from
// the header of an answer to its end.
type gatheredConn struct {
	*net.TCPConn

	mu   sync.Mutex // a handler may outlive its request, as that of http.TimeoutHandler
	kept *gathered  // nil while nobody holds it
}

type gathered struct {
	data [smallBody + 4<<10]byte
	size int
}

var gatheredPool = sync.Pool{New: func() any { return new(gathered) }}

type gatheredKey struct{}

// withConn returns ctx, of the connection c, so that gatheredOf finds c if it is a
// gatheredConn. Below TLS it is not held: closing that would wait for what is sent
// behind its back.
func withConn(ctx context.Context, c net.Conn) context.Context {
	if g, ok := c.(*gatheredConn); ok {
		return context.WithValue(ctx, gatheredKey{}, g)
	}
	return ctx
}

// gatheredOf returns the connection of r, or nil if it is none that can be held:
// on HTTP/2 others write to it too.
func gatheredOf(r *http.Request) *gatheredConn {
	if r.ProtoMajor != 1 {
		return nil
	}
	g, _ := r.Context().Value(gatheredKey{}).(*gatheredConn)
	return g
}

func (c *gatheredConn) hold() {
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.kept == nil {
		c.kept = gatheredPool.Get().(*gathered)
	}
}

// release sends what was kept back. net/http took that for sent: if it cannot be, the
// connection is closed, or the next answer would follow upon half of this one.
func (c *gatheredConn) release() error {
	if c == nil {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.send()
}

func (c *gatheredConn) send() (err error) {
	kept := c.kept
	if kept == nil {
		return nil
	}
	if c.kept = nil; kept.size > 0 {
		if _, err = c.TCPConn.Write(kept.data[:kept.size]); err != nil {
			c.TCPConn.Close()
		}
	}
	kept.size = 0
	gatheredPool.Put(kept)
	return err
}

// Write is that of [net.Conn].
func (c *gatheredConn) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.kept != nil && len(p) <= len(c.kept.data)-c.kept.size {
		c.kept.size += copy(c.kept.data[c.kept.size:], p)
		return len(p), nil
	}
	if err := c.send(); err != nil {
		return 0, err
	}
	return c.TCPConn.Write(p)
}

// ReadFrom keeps the form that lets the kernel send a file.
func (c *gatheredConn) ReadFrom(r io.Reader) (int64, error) {
	if err := c.release(); err != nil {
		return 0, err
	}
	return c.TCPConn.ReadFrom(r)
}
