package main

import (
	"bytes"
	"fmt"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/spf13/pflag"
	"golang.org/x/term"
)

// A terminal shows what a command prints and, below it, frames: some lines that
// tell what is going on, painted over until there is nothing to tell.
//
//   - What is printed stays, in the order in which it was printed, as if there were no
//     frames. While there are, it goes to the terminal together with the next of them,
//     be it for standard output or for standard error.
//   - Between frames the cursor is in the first column of the frame's first line. So
//     whatever the terminal makes of its lines when it gets another size, the frame is
//     what is below the cursor, and erasing that leaves nothing of it.
//   - In a frame, lines that are too long are cut off, not wrapped: the size may be
//     another by the time they arrive, and nobody knows how wide all characters are.
//     But for the time of that one write nothing of the terminal's state is changed,
//     and the cursor is not hidden, so a command may be killed at any time.
//   - Nothing is painted while another program has the terminal, and nothing is left
//     there for it but what was printed.
type terminal struct {
	out   *os.File
	plain bool // --no-tty, --debug: neither frames nor colours

	mu      sync.Mutex
	printed []chunk
	waiting int        // bytes in printed
	taken   *sync.Cond // printed, for the next frame
	frame   frameFunc  // nil while there are no frames
	quit    chan struct{}
	done    chan struct{} // the painter's
	hidden  bool          // there are no more frames
	err     error         // why nothing more can be printed

	// The painter's alone.
	lines         []string // of the last frame
	width, height int
	open          bool // what was printed last is no whole line
}

// A frameFunc returns the lines of a frame, each of fewer columns than width, and
// fewer than height; none while there is nothing to tell.
type frameFunc func(now time.Time, width, height int) []string

const (
	frameTime  = 100 * time.Millisecond // from one frame to the next
	maxWaiting = 64 << 10               // bytes printed between frames; who prints more waits
)

// What terminals understand (ECMA-48, and DEC's for private modes and the cursor).
const (
	eraseLine  = "\x1b[K" // from the cursor to its end
	eraseBelow = "\x1b[J" // and all below
	wrapOff    = "\x1b[?7l"
	wrapOn     = "\x1b[?7h"

	// eraseFrame begins a line below the first: what is erased from the top of the
	// screen some terminals keep in their history.
	eraseFrame = "\r" + eraseLine + "\x1b7\x1b[B" + eraseBelow + "\x1b8"
)

// A chunk is what was printed for a file.
type chunk struct {
	file *os.File
	text []byte
}

// onTerminal returns con as it is to be used if standard output is a terminal, and
// what to call in the end.
func onTerminal(con console) (console, func()) {
	nothing := func() {}
	out, ok := con.out.(*os.File)
	if !ok || !term.IsTerminal(int(out.Fd())) {
		return con, nothing
	}
	restore, ok := prepareTerminal(out)
	if !ok {
		return con, nothing
	}
	t := newTerminal(out)
	con.out = &stream{t, out}
	if file, ok := con.err.(*os.File); ok && term.IsTerminal(int(file.Fd())) {
		con.err = &stream{t, file}
	}
	return con, restore
}

func newTerminal(out *os.File) *terminal {
	t := &terminal{out: out}
	t.taken = sync.NewCond(&t.mu)
	return t
}

// terminal returns the terminal that standard output is, or nil. Its methods are
// for nil, too.
func (con console) terminal() *terminal {
	if s, ok := con.out.(*stream); ok {
		return s.terminal
	}
	return nil
}

// obey makes t keep to what a command's flags say.
func (t *terminal) obey(fs *pflag.FlagSet) {
	for _, name := range []string{"no-tty", "debug"} {
		if set, err := fs.GetBool(name); t != nil && err == nil && set {
			t.plain = true
		}
	}
}

// moves reports whether there may be frames.
func (t *terminal) moves() bool { return t != nil && !t.plain }

// coloured reports whether there may be colours (no-color.org).
func (t *terminal) coloured() bool { return t.moves() && os.Getenv("NO_COLOR") == "" }

// A stream is a file that is shown on a terminal.
type stream struct {
	terminal *terminal
	file     *os.File
}

func (s *stream) Write(p []byte) (int, error) {
	t := s.terminal
	t.mu.Lock()
	defer t.mu.Unlock()
	for t.waiting > maxWaiting && t.frame != nil && t.err == nil {
		t.taken.Wait()
	}
	switch {
	case t.err != nil:
		return 0, t.err
	case t.frame == nil:
		return s.file.Write(p)
	}
	t.printed = append(t.printed, chunk{s.file, bytes.Clone(p)})
	t.waiting += len(p)
	return len(p), nil
}

// show paints frames from now on.
func (t *terminal) show(frame frameFunc) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.hidden {
		return
	}
	if t.frame == nil {
		t.quit, t.done = make(chan struct{}), make(chan struct{})
		go t.paint()
	}
	t.frame = frame
}

// hide ends the frames, once for all, and returns why what was printed is not all
// there, if it is not.
func (t *terminal) hide() error {
	if t == nil {
		return nil
	}
	t.mu.Lock()
	t.hidden = true
	painting := t.frame != nil
	t.mu.Unlock()
	if painting {
		close(t.quit)
		<-t.done
	}
	return t.err
}

// paint paints a frame at times, until it is told to quit.
func (t *terminal) paint() {
	defer close(t.done)
	ticker := time.NewTicker(frameTime)
	defer ticker.Stop()
	suspended, stop := suspensions()
	defer stop()
	for {
		select {
		case now := <-ticker.C:
			t.next(now)
		case <-suspended:
			t.write(nil, nil)
			suspend()
		case <-t.quit:
			t.mu.Lock() // nobody prints before what was printed is there
			defer t.mu.Unlock()
			t.frame = nil
			if err := t.write(t.take(), nil); t.err == nil {
				t.err = err
			}
			return
		}
	}
}

// take returns what was printed since the last frame. The lock is held.
func (t *terminal) take() []chunk {
	printed := t.printed
	t.printed, t.waiting = nil, 0
	t.taken.Broadcast()
	return printed
}

// next paints the next frame, and what was printed above it.
func (t *terminal) next(now time.Time) {
	width, height, err := term.GetSize(int(t.out.Fd()))
	if err != nil || width <= 0 || height <= 0 {
		width, height = 80, 24
	}
	t.mu.Lock()
	printed, frame := t.take(), t.frame
	t.mu.Unlock()
	for _, c := range printed {
		t.open = len(c.text) > 0 && c.text[len(c.text)-1] != '\n'
	}
	var lines []string
	if !t.open && inForeground(t.out) {
		lines = frame(now, width, height)
	}
	resized := width != t.width || height != t.height
	t.width, t.height = width, height
	if len(printed) == 0 && !resized && slices.Equal(lines, t.lines) {
		return
	}
	if err = t.write(printed, lines); err != nil {
		t.mu.Lock()
		defer t.mu.Unlock()
		t.err = err
		t.taken.Broadcast()
	}
}

// write writes lines in place of the last frame's, below what was printed.
func (t *terminal) write(printed []chunk, lines []string) error {
	var b bytes.Buffer
	if len(t.lines) > 0 {
		b.WriteString("\r") // somebody may have typed
		if len(printed) > 0 || len(lines) == 0 {
			b.WriteString(eraseFrame)
		}
	}
	file := t.out
	for _, c := range printed {
		if c.file != file {
			if _, err := b.WriteTo(file); err != nil {
				return err
			}
			file = c.file
		}
		b.Write(c.text)
	}
	if len(lines) > 0 {
		if file != t.out {
			if _, err := b.WriteTo(file); err != nil {
				return err
			}
			file = t.out
		}
		b.WriteString(wrapOff)
		for i, line := range lines {
			if i > 0 {
				b.WriteString("\r\n")
			}
			b.WriteString(line + eraseLine)
		}
		b.WriteString(eraseBelow + wrapOn)
		if len(lines) > 1 {
			fmt.Fprintf(&b, "\x1b[%dA", len(lines)-1)
		}
		b.WriteString("\r")
	}
	t.lines = lines
	_, err := b.WriteTo(file)
	return err
}

// A colour is what changes a terminal's to it.
type colour string

const (
	faint        colour = "\x1b[2m"
	cyan         colour = "\x1b[36m"
	brightGreen  colour = "\x1b[92m"
	brightYellow colour = "\x1b[93m"
	brightCyan   colour = "\x1b[96m"
)

// paint returns text in the colour; the empty one is none.
func (c colour) paint(text string) string {
	if c == "" {
		return text
	}
	return string(c) + text + "\x1b[0m"
}
