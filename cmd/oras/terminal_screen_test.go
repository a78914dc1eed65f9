package main

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"
)

// A screen is what a terminal makes of what is written to it, as far as this program
// needs one. Like tmux it wraps lines anew when its width changes, keeps in its
// history what no longer fits, and takes what is erased from its very top for
// something that was there to be kept.
type screen struct {
	t             *testing.T
	width, height int
	rows          []row // those of the history, too
	top           int   // the first that is on the screen
	x, y          int   // the cursor, on the screen; x is width behind a line that is full
	wraps         bool
	savedX        int
	savedY        int
	rest          string // of what was written: no whole character or sequence yet
}

type row struct {
	text    []rune
	wrapped bool // the line goes on in the next
}

func newScreen(t *testing.T, width, height int) *screen {
	return &screen{t: t, width: width, height: height, rows: make([]row, height), wraps: true}
}

func (s *screen) write(p []byte) {
	s.rest += string(p)
	for s.rest != "" {
		n := s.step(s.rest)
		if n == 0 {
			return
		}
		s.rest = s.rest[n:]
	}
}

// step takes in the first character or sequence of text and returns its length, or
// 0 if it is not whole.
func (s *screen) step(text string) int {
	switch c := text[0]; {
	case c == '\r':
		s.x = 0
	case c == '\n':
		s.feed()
	case c == '\x1b':
		return s.sequence(text)
	case c < ' ' || c == 0x7f:
		s.t.Errorf("the terminal is sent %q", c)
	default:
		if !utf8.FullRuneInString(text) {
			return 0
		}
		r, n := utf8.DecodeRuneInString(text)
		s.put(r)
		return n
	}
	return 1
}

func (s *screen) sequence(text string) int {
	switch {
	case len(text) == 1:
		return 0
	case text[1] == '7':
		s.savedX, s.savedY = s.x, s.y
		return 2
	case text[1] == '8':
		s.x, s.y = s.savedX, s.savedY
		return 2
	}
	end := strings.IndexFunc(text[2:], func(r rune) bool { return r >= '@' })
	if end < 0 {
		return 0
	}
	parameter, final := text[2:2+end], text[2+end]
	n := 1
	if v, err := strconv.Atoi(parameter); err == nil {
		n = v
	}
	switch whole := text[2 : 3+end]; {
	case whole == "K":
		s.eraseLine(s.y)
	case whole == "J":
		s.eraseBelow()
	case final == 'A' && n > 0:
		s.y = max(s.y-n, 0)
	case final == 'B' && n > 0:
		s.y = min(s.y+n, s.height-1)
	case whole == "?7l", whole == "?7h":
		s.wraps = final == 'h'
	case final == 'm':
	default:
		s.t.Errorf("the terminal is sent %q", text[:3+end])
	}
	return 3 + end
}

func (s *screen) at(y int) *row { return &s.rows[s.top+y] }

func (s *screen) feed() {
	if s.y < s.height-1 {
		s.y++
		return
	}
	s.rows = append(s.rows, row{})
	s.top++
}

func (s *screen) put(r rune) {
	if s.x == s.width {
		if s.wraps {
			s.at(s.y).wrapped = true
			s.x = 0
			s.feed()
		} else {
			s.x--
		}
	}
	row := s.at(s.y)
	for len(row.text) <= s.x {
		row.text = append(row.text, ' ')
	}
	row.text[s.x] = r
	s.x++
}

func (s *screen) eraseLine(y int) {
	row := s.at(y)
	row.text = row.text[:min(s.x, s.width-1, len(row.text))]
	row.wrapped = false
}

func (s *screen) eraseBelow() {
	if s.x == 0 && s.y == 0 {
		s.rows = append(s.rows, make([]row, s.height)...)
		s.top += s.height
		return
	}
	s.eraseLine(s.y)
	for y := s.y + 1; y < s.height; y++ {
		*s.at(y) = row{}
	}
}

func (s *screen) resize(width, height int) {
	if less := s.height - height; less > 0 {
		below := min(less, s.height-1-s.y)
		s.rows = s.rows[:len(s.rows)-below]
		s.top += less - below
		s.y -= less - below
	} else {
		old := min(-less, s.top)
		s.top -= old
		s.y += old
		s.rows = append(s.rows, make([]row, -less-old)...)
	}
	s.height = height
	if width == s.width {
		return
	}
	var rows []row
	cursor := s.top + s.y
	x, y := 0, 0
	for i := 0; i < len(s.rows); {
		var line []rune
		at := -1 // of the cursor
		for more := true; more; i++ {
			if i == cursor {
				at = len(line) + s.x
			}
			line = append(line, s.rows[i].text...)
			more = s.rows[i].wrapped && i+1 < len(s.rows)
		}
		if at >= 0 {
			x, y = at%width, len(rows)+at/width
		}
		for len(line) > width {
			rows = append(rows, row{slices.Clone(line[:width]), true})
			line = line[width:]
		}
		rows = append(rows, row{slices.Clone(line), false})
	}
	for len(rows) < height {
		rows = append(rows, row{})
	}
	s.rows, s.width = rows, width
	s.top = len(rows) - height
	if s.x, s.y = x, y-s.top; s.y < 0 {
		s.x, s.y = 0, 0
	}
}

// lines returns what is on the screen.
func (s *screen) lines() []string {
	var lines []string
	for _, row := range s.rows[s.top:] {
		lines = append(lines, strings.TrimRight(string(row.text), " "))
	}
	return lines
}

// transcript returns the lines of history and screen, as they were before they were
// wrapped.
func (s *screen) transcript() []string {
	var lines []string
	line := ""
	for _, row := range s.rows {
		line += string(row.text)
		if !row.wrapped {
			lines = append(lines, strings.TrimRight(line, " "))
			line = ""
		}
	}
	for len(lines) > 0 && lines[len(lines)-1] == "" {
		lines = lines[:len(lines)-1]
	}
	return lines
}

func (s *screen) String() string {
	return fmt.Sprintf("%dx%d, the cursor at %d, %d\n%s", s.width, s.height, s.x, s.y, strings.Join(s.transcript(), "\n"))
}

// TestScreen tests the screen itself, against what tmux does.
func TestScreen(t *testing.T) {
	for name, test := range map[string]struct {
		do   func(*screen)
		want []string // the transcript
		x, y int
	}{
		"wraps": {
			func(s *screen) { s.write([]byte("0123456789abc\r\nd")) },
			[]string{"0123456789abc", "d"}, 1, 2,
		},
		"does not wrap": {
			func(s *screen) { s.write([]byte("\x1b[?7l0123456789abc\r\nd")) },
			[]string{"012345678c", "d"}, 1, 1,
		},
		"scrolls": {
			func(s *screen) { s.write([]byte("a\r\nb\r\nc\r\nd\r\n\x1b[9A\x1b[Kx")) },
			[]string{"a", "x", "c", "d"}, 1, 0,
		},
		"erases": {
			func(s *screen) { s.write([]byte("abc\r\ndef\r\nghi\x1b[A\r\x1b[J")) },
			[]string{"abc"}, 0, 1,
		},
		"erases from the top": {
			func(s *screen) { s.write([]byte("abc\r\ndef\x1b[A\r\x1b[J")) },
			[]string{"abc", "def"}, 0, 0,
		},
		"saves": {
			func(s *screen) { s.write([]byte("abc\x1b7\r\n\ndef\x1b8\x1b[BX")) },
			[]string{"abc", "   X", "def"}, 4, 1,
		},
		"narrower": {
			func(s *screen) { s.write([]byte("a\r\n12345678\r")); s.resize(5, 4) },
			[]string{"a", "12345678"}, 0, 0,
		},
		"narrower, the cursor is lost": {
			func(s *screen) { s.write([]byte("a\r\n12345678\x1b[A\r")); s.resize(5, 4) },
			[]string{"a", "12345678"}, 0, 0,
		},
		"wider": {
			func(s *screen) { s.write([]byte("0123456789abc")); s.resize(20, 4) },
			[]string{"0123456789abc"}, 13, 0,
		},
		"lower": {
			func(s *screen) { s.write([]byte("a\r\nb\r\nc\x1b[A")); s.resize(10, 1) },
			[]string{"a", "b"}, 1, 0,
		},
		"higher": {
			func(s *screen) {
				s.write([]byte("a\r\nb\r\nc\r\nd\r\ne\r\nf"))
				s.resize(10, 5)
				s.write([]byte("\r\ng"))
			},
			[]string{"a", "b", "c", "d", "e", "f", "g"}, 1, 4,
		},
		"in pieces": {
			func(s *screen) {
				for _, c := range []byte("é\x1b[?7h\x1b[36mx\x1b[0m") {
					s.write([]byte{c})
				}
			},
			[]string{"éx"}, 2, 0,
		},
	} {
		s := newScreen(t, 10, 4)
		test.do(s)
		if got := s.transcript(); !slices.Equal(got, test.want) || s.x != test.x || s.y != test.y {
			t.Errorf("%s: %q, the cursor at %d, %d", name, got, s.x, s.y)
		}
	}
}
