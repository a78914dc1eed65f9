package server

import (
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"os"
	"strconv"
	"time"
)

// pieceSize is how many bytes of an answer must go within the idle timeout.
const pieceSize = 256 << 10

// watch returns w and the body of r with deadlines that move with the bytes: a
// transfer that stands still is cut off, a slow one is not.
func watch(w http.ResponseWriter, r *http.Request, idle time.Duration) (*answer, *body) {
	control := http.NewResponseController(w)
	a := &answer{ResponseWriter: w, control: control, conn: gatheredOf(r), write: deadline{set: control.SetWriteDeadline, idle: idle}}
	b := &body{reader: r.Body, read: deadline{set: control.SetReadDeadline, idle: idle}}
	if r.ContentLength != 0 {
		b.read.move() // also for what net/http reads of it when the handler is done
	}
	return a, b
}

// A deadline is moved as bytes are.
type deadline struct {
	set   func(time.Time) error
	idle  time.Duration
	moved time.Time
}

// move lets the deadline be an idle time from now, more or less. A connection
// that knows no deadlines has none.
func (d *deadline) move() {
	if now := time.Now(); now.Sub(d.moved) > d.idle/16 {
		d.moved = now
		d.set(now.Add(d.idle)) // or there are none, as in tests without a connection
	}
}

// clear lets there be no deadline.
func (d *deadline) clear() {
	d.set(time.Time{})
}

// A body is that of a request.
type body struct {
	reader io.Reader
	read   deadline
	eof    bool
	err    error // why there is no more of it, if it did not end
}

func (b *body) Read(p []byte) (int, error) {
	b.read.move()
	n, err := b.reader.Read(p)
	switch err {
	case nil:
	case io.EOF:
		b.eof = true
		b.read.clear() // net/http now reads on to learn whether the client goes
	default:
		b.err = err
	}
	return n, err
}

// failure says what became of a body that did not end.
func (b *body) failure() error {
	if errors.Is(b.err, os.ErrDeadlineExceeded) {
		return errStalled
	}
	return fmt.Errorf("%w: %v", errBroken, b.err)
}

// drain reads what the handler did not, as when a store had the content already:
// a client that is still sending would miss the answer.
func (b *body) drain() error {
	if b.eof {
		return nil
	}
	_, err := io.Copy(io.Discard, b)
	return err
}

// An answer is the response to a request.
type answer struct {
	http.ResponseWriter
	control *http.ResponseController
	conn    *gatheredConn // nil if it cannot be held
	write   deadline
	started bool
}

// Unwrap lets [http.ResponseController] reach what is below.
func (a *answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

func (a *answer) WriteHeader(status int) {
	a.started = true
	a.write.move()
	if size, err := strconv.Atoi(a.Header().Get("Content-Length")); err == nil && size <= smallBody {
		a.conn.hold()
	}
	a.ResponseWriter.WriteHeader(status)
}

func (a *answer) Write(p []byte) (int, error) {
	a.started = true
	a.write.move()
	return a.ResponseWriter.Write(p)
}

// ReadFrom sends src in pieces, in the form that lets net/http hand a file to the
// kernel.
func (a *answer) ReadFrom(src io.Reader) (n int64, err error) {
	a.started = true
	limited, ok := src.(*io.LimitedReader)
	if !ok {
		limited = &io.LimitedReader{R: src, N: math.MaxInt64}
	}
	for limited.N > 0 {
		a.write.move()
		piece := io.LimitedReader{R: limited.R, N: min(limited.N, pieceSize)}
		m, err := io.Copy(a.ResponseWriter, &piece)
		n += m
		limited.N -= m
		if err != nil {
			return n, err
		}
		if piece.N > 0 {
			break // src has ended
		}
	}
	return n, nil
}

// end sends what is buffered while there is a deadline, and leaves the connection
// without one to the next request.
func (a *answer) end() {
	err := a.control.Flush()
	if a.conn.release() != nil {
		panic(http.ErrAbortHandler) // net/http took it for sent
	}
	if err == nil {
		a.write.clear()
	}
}

// NewHTTPServer returns a server for addr with limits that cut off clients who
// stall, and none on how long an honest transfer takes: those of bodies are in the
// handler that [New] returns. It serves a listener faster that went through [Gather].
func NewHTTPServer(addr string, h http.Handler) *http.Server {
	return &http.Server{
		Addr:              addr,
		Handler:           h,
		ReadHeaderTimeout: 10 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		ConnContext:       withConn,
		HTTP2: &http.HTTP2Config{
			MaxConcurrentStreams: 250,
			SendPingTimeout:      30 * time.Second, // nothing was heard for so long: is somebody there?
			PingTimeout:          15 * time.Second,
			WriteByteTimeout:     time.Minute, // a connection that takes nothing is cut off, whatever its streams wait for
		},
	}
}
