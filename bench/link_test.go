package bench

import (
	"errors"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// linkPiece is how many bytes a link passes on at a time.
const linkPiece = 64 << 10

// A link is the network between clients and a registry: it passes connections on,
// counts their bytes, and may be slow or break.
type link struct {
	host     string // where clients connect to
	upstream string
	listener net.Listener

	rate int64         // bytes a second that a connection carries each way; 0 is no limit
	late time.Duration // what is passed on comes, each way
	cut  int64         // bytes that a connection carries before it is reset; 0 is no limit
	hold int64         // bytes in all behind which nothing more passes until breakOff; 0 is no limit

	holds    chan struct{} // is closed when nothing passes
	held     sync.Once
	released chan struct{} // is closed when it shall not any more
	release  sync.Once

	moved atomic.Int64 // bytes that were passed on, both ways

	mu    sync.Mutex
	conns map[net.Conn]bool // nil when the link is closed
	group sync.WaitGroup
}

// open lets l begin, in front of r, until it is closed.
func (l *link) open(b *testing.B, r *registry) *link {
	b.Helper()
	var err error
	if l.listener, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		b.Fatal(err)
	}
	l.host = strings.Replace(l.listener.Addr().String(), "127.0.0.1", "localhost", 1)
	l.upstream, l.conns = r.host, map[net.Conn]bool{}
	l.holds, l.released = make(chan struct{}), make(chan struct{})
	l.group.Go(func() {
		for {
			client, err := l.listener.Accept()
			if err != nil {
				return
			}
			l.group.Go(func() { l.carry(client) })
		}
	})
	b.Cleanup(l.close)
	return l
}

// close ends the link.
func (l *link) close() {
	l.listener.Close()
	l.mu.Lock()
	for c := range l.conns {
		c.Close()
	}
	l.conns = nil
	l.mu.Unlock()
	l.release.Do(func() { close(l.released) })
	l.group.Wait()
}

// breakOff ends the connections of a link that holds. What comes then passes.
func (l *link) breakOff() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.release.Do(func() { close(l.released) })
	for c := range l.conns {
		c.Close()
	}
}

func (l *link) isReleased() bool {
	select {
	case <-l.released:
		return true
	default:
		return false
	}
}

// owns reports whether the connections may be used, which close ends.
func (l *link) owns(conns ...net.Conn) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, c := range conns {
		if l.conns == nil {
			return false
		}
		l.conns[c] = true
	}
	return true
}

// carry passes on what the two ends of one connection say.
func (l *link) carry(client net.Conn) {
	defer client.Close()
	server, err := net.Dial("tcp", l.upstream)
	if err != nil {
		return
	}
	defer server.Close()
	if !l.owns(client, server) {
		return
	}
	var carried atomic.Int64
	var ways sync.WaitGroup
	for _, w := range []struct{ to, from net.Conn }{{server, client}, {client, server}} {
		ways.Go(func() {
			w.to.(*net.TCPConn).SetWriteBuffer(linkPiece) // so that what it has passed on is not still here
			err := l.pass(w.to, l.delayed(w.from), &carried)
			switch {
			case err == io.EOF:
				w.to.(*net.TCPConn).CloseWrite()
			case errors.Is(err, errCut):
				client.(*net.TCPConn).SetLinger(0)
				server.(*net.TCPConn).SetLinger(0)
				fallthrough
			default:
				client.Close()
				server.Close()
			}
		})
	}
	ways.Wait()
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.conns, client)
	delete(l.conns, server)
}

var errCut = errors.New("the connection has carried what it may")

// pass passes on what from says until that ends, which is io.EOF, or the link does.
func (l *link) pass(to net.Conn, from io.Reader, carried *atomic.Int64) error {
	const slack = 20 * time.Millisecond // that a sleep may be too long
	next := time.Now()
	buf := make([]byte, linkPiece)
	for {
		n, err := from.Read(buf)
		if n > 0 {
			if _, err := to.Write(buf[:n]); err != nil {
				return err
			}
		}
		if err != nil {
			return err
		}
		moved := l.moved.Add(int64(n))
		if l.cut > 0 && carried.Add(int64(n)) >= l.cut {
			return errCut
		}
		if l.hold > 0 && moved >= l.hold && !l.isReleased() {
			l.held.Do(func() { close(l.holds) })
			<-l.released
			return net.ErrClosed
		}
		if l.rate > 0 {
			if late := time.Now().Add(-slack); next.Before(late) {
				next = late
			}
			next = next.Add(time.Duration(n) * time.Second / time.Duration(l.rate))
			time.Sleep(time.Until(next))
		}
	}
}

// delayed returns from, whose bytes come late if the link has them so.
func (l *link) delayed(from net.Conn) io.Reader {
	if l.late == 0 {
		return from
	}
	d := &delayed{pieces: make(chan delayedPiece, 1<<10)}
	l.group.Go(func() {
		defer close(d.pieces)
		for {
			buf := make([]byte, linkPiece)
			n, err := from.Read(buf)
			d.pieces <- delayedPiece{buf[:n], err, time.Now().Add(l.late)}
			if err != nil {
				return
			}
		}
	})
	return d
}

// A delayed reader is for what comes late.
type delayed struct {
	pieces chan delayedPiece
	piece  delayedPiece
}

type delayedPiece struct {
	data []byte
	err  error
	due  time.Time
}

func (d *delayed) Read(p []byte) (int, error) {
	if len(d.piece.data) == 0 && d.piece.err == nil {
		d.piece = <-d.pieces
		time.Sleep(time.Until(d.piece.due))
	}
	n := copy(p, d.piece.data)
	d.piece.data = d.piece.data[n:]
	if n == 0 {
		return 0, d.piece.err
	}
	return n, nil
}
