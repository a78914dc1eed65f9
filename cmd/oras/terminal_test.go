package main

import (
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// onPipe returns a terminal with two streams, and what tells all that it was sent
// once it is hidden.
func onPipe(t *testing.T) (term *terminal, out, err *stream, sent func() string) {
	t.Helper()
	r, w, e := os.Pipe()
	if e != nil {
		t.Fatal(e)
	}
	duplicate, e := os.OpenFile(fmt.Sprintf("/dev/fd/%d", w.Fd()), os.O_WRONLY, 0)
	if e != nil {
		t.Skipf("a pipe cannot be opened again: %v", e)
	}
	all := make(chan string, 1)
	go func() {
		data, _ := io.ReadAll(r)
		all <- string(data)
	}()
	term = newTerminal(w)
	return term, &stream{term, w}, &stream{term, duplicate}, func() string {
		w.Close()
		duplicate.Close()
		return <-all
	}
}

// counter is a frameFunc whose frames are all different.
func counter() frameFunc {
	n := 0
	return func(time.Time, int, int) []string {
		n++
		return []string{fmt.Sprint(" frame ", n), " goes on"}[:1+n%2]
	}
}

// TestTerminalPrinters: what many print at a time, more than is kept between two
// frames, is there in the end, each one's lines in their order.
func TestTerminalPrinters(t *testing.T) {
	term, out, err, sent := onPipe(t)
	term.show(counter())
	var printers sync.WaitGroup
	const lines = 3 * maxWaiting / 100
	for i, w := range []io.Writer{out, out, err} {
		printers.Go(func() {
			for n := range lines {
				fmt.Fprintf(w, "%d %d %s\n", i, n, strings.Repeat("x", 100-i))
			}
		})
	}
	printers.Wait()
	if err := term.hide(); err != nil {
		t.Fatal(err)
	}
	fmt.Fprintln(out, "the end")
	term.show(counter()) // comes too late
	s := newScreen(t, 80, 24)
	s.write([]byte(strings.ReplaceAll(sent(), "\n", "\r\n")))
	got := s.transcript()
	var next [3]int
	for _, line := range got[:len(got)-1] {
		var i, n int
		var xs string
		if _, err := fmt.Sscanf(line, "%d %d %s", &i, &n, &xs); err != nil || n != next[i] || len(xs) != 100-i {
			t.Fatalf("a line is %q", line)
		}
		next[i]++
	}
	if next != [3]int{lines, lines, lines} || got[len(got)-1] != "the end" {
		t.Errorf("%d lines, then %q", next, got[len(got)-1])
	}
}

// TestTerminalOpenLine: there is no frame behind a line that is not whole.
func TestTerminalOpenLine(t *testing.T) {
	term, out, _, sent := onPipe(t)
	term.show(counter())
	for _, text := range []string{"who is ", "there? ", "me\nand ", "you\n"} {
		fmt.Fprint(out, text)
		term.mu.Lock()
		for term.waiting > 0 {
			term.taken.Wait()
		}
		term.mu.Unlock()
	}
	if err := term.hide(); err != nil {
		t.Fatal(err)
	}
	s := newScreen(t, 80, 24)
	s.write([]byte(strings.ReplaceAll(sent(), "\n", "\r\n")))
	if got := s.transcript(); !slices.Equal(got, []string{"who is there? me", "and you"}) {
		t.Errorf("%q", got)
	}
}

// TestTerminalNarrow: frames that arrive when the terminal has become narrower, and
// that begin at the top of its screen, leave nothing behind.
func TestTerminalNarrow(t *testing.T) {
	term, out, err, sent := onPipe(t)
	painted := make(chan bool)
	quit := make(chan bool)
	n := 0
	term.show(func(time.Time, int, int) []string {
		select {
		case painted <- true: // but for the last
		case <-quit:
		}
		n++
		return slices.Repeat([]string{strings.Repeat(fmt.Sprint(n%10), 79)}, 3)
	})
	for i, w := range []io.Writer{out, err, out} {
		<-painted
		<-painted
		fmt.Fprintln(w, "line", i)
	}
	<-painted
	close(quit)
	if err := term.hide(); err != nil {
		t.Fatal(err)
	}
	s := newScreen(t, 40, 10)
	s.write([]byte(strings.ReplaceAll(sent(), "\n", "\r\n")))
	if got := s.transcript(); !slices.Equal(got, []string{"line 0", "line 1", "line 2"}) {
		t.Errorf("%q", got)
	}
}

// TestTerminalStreams: what is printed goes to the file that it is for.
func TestTerminalStreams(t *testing.T) {
	term, out, _, sent := onPipe(t)
	path := filepath.Join(t.TempDir(), "errors")
	file, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	other := &stream{term, file}
	term.show(counter())
	for range 2 {
		fmt.Fprintln(out, "result")
		fmt.Fprintln(other, "error")
	}
	if err := term.hide(); err != nil {
		t.Fatal(err)
	}
	if got := sent(); strings.Contains(got, "error") || strings.Count(got, "result\n") != 2 {
		t.Errorf("standard output is %q", got)
	}
	if data, err := os.ReadFile(path); err != nil || string(data) != "error\nerror\n" {
		t.Errorf("standard error is %q, %v", data, err)
	}
}

// TestTerminalFails: that nothing can be printed any more is told.
func TestTerminalFails(t *testing.T) {
	path := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(path, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	file, err := os.Open(path) // to be read
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	term := newTerminal(file)
	out := &stream{term, file}
	term.show(func(time.Time, int, int) []string { return nil })
	fmt.Fprintln(out, "something")
	if err := term.hide(); err == nil {
		t.Error("hide returned no error")
	}
	if _, err := fmt.Fprintln(out, "something"); err == nil {
		t.Error("printing goes on")
	}

	// Whoever waits for the next frame hears of it, too.
	term = newTerminal(file)
	out = &stream{term, file}
	term.show(func(time.Time, int, int) []string { return nil })
	for err == nil {
		_, err = out.Write(make([]byte, maxWaiting))
	}
	if term.hide() == nil {
		t.Error("hide returned no error")
	}
}

// localhost returns an address of this machine as commands take it, without TLS.
func localhost(address string) string {
	_, port, _ := net.SplitHostPort(address)
	return "localhost:" + port
}
