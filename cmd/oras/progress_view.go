package main

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/opencontainers/go-digest"

	"github.com/c73062ad/oras"
)

// A view is what a live view of transfers knows, and how it looks: a line for each
// of those under way, as many as there is room for, and one that sums up. It reads
// no clock and writes nowhere. It is not for concurrent use.
type view struct {
	width    int // of the longest verb
	coloured bool

	preparing string // a file that is read before anything is transferred

	transfers map[transferKey]*transfer
	active    []*transfer // in the order in which they began

	done     int   // of the transfers
	expected int64 // bytes, of all transfers
	moved    int64 // of these, are at the target
	there    int64 // of these, were there before
	rate     meter
}

// Status lines are about a digest and a name; so are transfers.
type transferKey struct {
	digest digest.Digest
	name   string
}

type transfer struct {
	verb, name   string // the name as a terminal may be shown it
	size         int64
	moved, there int64 // bytes, as of the view
	active, done bool
	growing      bool // the size is only that of what has moved: it is not known yet
	rate         meter
}

// event takes in what happens; verb is the word for it, if there is one. Only what
// has a word is shown.
func (v *view) event(e oras.Event, verb string) {
	v.preparing = ""
	t := v.transfer(e.Descriptor, e.Name())
	switch {
	case e.Kind == oras.Progress:
		if t.growing {
			v.resize(t, e.There+e.Bytes)
		}
		if t.active {
			v.move(t, e.Bytes, e.There)
		}
	case ended(e.Kind):
		if t.done {
			return
		}
		if e.Kind == oras.Copied {
			v.move(t, t.size-t.there, t.there)
		} else {
			v.move(t, 0, 0)
			v.expected -= t.size
		}
		t.done = true
		v.done++
		v.deactivate(t)
	case e.Kind == oras.Read: // and waits for what is in it
		v.deactivate(t)
	case verb != "" && !t.done:
		t.verb = verb
		v.activate(t)
	}
}

// ended reports whether nothing follows an event of that kind.
func ended(kind oras.EventKind) bool { return kind >= oras.Copied }

func (v *view) transfer(desc oras.Descriptor, name string) *transfer {
	key := transferKey{desc.Digest, name}
	t := entry(v.transfers, key)
	switch {
	case t == nil:
		// A size is what somebody says; what it is used for must not overflow.
		t = &transfer{name: cutMiddle(visible(name), maxName), size: min(max(desc.Size, 0), math.MaxInt64-v.expected)}
		if v.transfers == nil {
			v.transfers = map[transferKey]*transfer{}
		}
		t.growing = desc.Digest == "" && desc.Size == 0
		v.transfers[key] = t
		v.expected += t.size
	case t.growing && desc.Digest != "":
		t.growing = false
		v.resize(t, desc.Size)
	}
	return t
}

// resize notes that t is of another size than it was thought to be.
func (v *view) resize(t *transfer, size int64) {
	v.expected -= t.size
	t.size = min(max(size, t.moved), math.MaxInt64-v.expected)
	v.expected += t.size
}

func (v *view) move(t *transfer, bytes, there int64) {
	there = min(there, t.size)
	moved := there + min(bytes, t.size-there)
	v.moved += moved - t.moved
	v.there += there - t.there
	t.moved, t.there = moved, there
}

func (v *view) activate(t *transfer) {
	if t.active {
		return
	}
	t.active, t.rate = true, meter{}
	v.active = append(v.active, t)
}

func (v *view) deactivate(t *transfer) {
	t.active = false
	v.active = slices.DeleteFunc(v.active, func(a *transfer) bool { return a == t })
}

// frame is a frameFunc. It takes half of the terminal's lines at most: one that is
// made half as wide, and wraps each in two, still has all of them on its screen. What
// it were to move above it, nobody could erase.
func (v *view) frame(now time.Time, width, height int) []string {
	v.rate.tick(now, v.moved-v.there)
	for _, t := range v.active {
		t.rate.tick(now, t.moved-t.there)
	}
	width-- // some terminals wrap what ends in the last column
	if v.preparing != "" {
		return []string{cut(" Preparing "+visible(v.preparing), width)}
	}
	if v.done == len(v.transfers) {
		return nil
	}
	room := min(max(height/2, 1), maxRows)
	shown := v.active
	summary := len(v.transfers) > 1
	if summary {
		room--
	}
	shown = shown[:min(len(shown), room)]
	var lines []string
	layout := v.layout(shown, width)
	for _, t := range shown {
		lines = append(lines, v.row(t, layout))
	}
	if summary {
		lines = append(lines, v.paint(faint, v.summary(len(v.active)-len(shown), width)))
	}
	return lines
}

// However large the terminal.
const (
	maxRows = 16
	maxName = 200 // columns
)

// A rowLayout says which columns there is room for, and how wide a name may be.
type rowLayout struct {
	verb, rate, left bool
	amount           bool // or else the percentage
	name, width      int
}

// The columns' widths, without the verb's and the name's.
const (
	amountWidth  = 13 // 1023/1023 MiB
	percentWidth = 4
	rateWidth    = 10 // 1023 KiB/s
	leftWidth    = 6  // 59m59s
)

// layout chooses the most columns that leave the names of shown enough room. That
// they get no more than they need keeps lines short, and so from being wrapped when
// the terminal becomes narrower; that it is a multiple of some columns, steady.
func (v *view) layout(shown []*transfer, width int) rowLayout {
	const enough, step = 20, 8
	names := 0
	for _, t := range shown {
		names = max(names, (columns(t.name)+step-1)/step*step)
	}
	for _, l := range []rowLayout{
		{verb: true, amount: true, rate: true, left: true},
		{verb: true, amount: true, left: true},
		{verb: true, left: true},
		{verb: true},
		{},
	} {
		rest := width - len(" ") - len("  ") - percentWidth
		if l.verb {
			rest -= v.width + len(" ")
		}
		if l.amount {
			rest -= amountWidth - percentWidth
		}
		if l.rate {
			rest -= len("  ") + rateWidth
		}
		if l.left {
			rest -= len("  ") + leftWidth
		}
		l.name, l.width = max(min(rest, names), 0), width
		if rest >= min(enough, names) || !l.verb {
			return l
		}
	}
	panic("unreachable")
}

func (v *view) row(t *transfer, l rowLayout) string {
	var b strings.Builder
	b.WriteString(" ")
	if l.verb {
		b.WriteString(v.paint(cyan, fmt.Sprintf("%-*s", v.width, t.verb)) + " ")
	}
	if l.name > 0 {
		name := cutMiddle(t.name, l.name)
		b.WriteString(name + strings.Repeat(" ", l.name-columns(name)) + "  ")
	}
	switch {
	case l.amount && t.growing:
		size, name := unit(float64(t.moved))
		fmt.Fprintf(&b, "%*s", amountWidth, number(float64(t.moved), size)+" "+name)
	case l.amount:
		fmt.Fprintf(&b, "%*s", amountWidth, amount(t.moved, t.size))
	case t.growing:
		fmt.Fprintf(&b, "%*s", percentWidth, "")
	default:
		fmt.Fprintf(&b, "%*s", percentWidth, percent(t.moved, t.size))
	}
	if l.rate {
		fmt.Fprintf(&b, "  %*s", rateWidth, rate(t.rate))
	}
	if l.left {
		fmt.Fprintf(&b, "  %*s", leftWidth, timeLeft(t.rate, t.size-t.moved))
	}
	if !l.verb { // nor colours
		return cut(b.String(), l.width)
	}
	return strings.TrimRight(b.String(), " ")
}

// summary tells of all transfers, hidden of which are under way and have no line,
// in as many words as there is room for.
func (v *view) summary(hidden, width int) string {
	count := fmt.Sprintf("%d/%d", v.done, len(v.transfers))
	words := fmt.Sprintf("%d of %d done", v.done, len(v.transfers))
	more, left := "", timeLeft(v.rate, v.expected-v.moved)
	if hidden > 0 {
		more = fmt.Sprintf("%d more under way", hidden)
	}
	if left != "" {
		left += " left"
	}
	bytes := amount(v.moved, v.expected)
	for _, parts := range [][]string{
		{words, more, bytes, rate(v.rate), left},
		{words, bytes, rate(v.rate), left},
		{words, bytes, left},
		{count, percent(v.moved, v.expected), left},
		{count, percent(v.moved, v.expected)},
	} {
		parts = slices.DeleteFunc(parts, func(part string) bool { return part == "" })
		if text := " " + strings.Join(parts, ", "); len(text) <= width {
			return text
		}
	}
	return cut(" "+count, width)
}

func (v *view) paint(c colour, text string) string {
	if !v.coloured {
		return text
	}
	return c.paint(text)
}

// A meter measures how fast a number of bytes grows, of late more than before.
type meter struct {
	at             time.Time
	last           int64
	bytes, seconds float64 // weighted by age
}

const meterTime = 3.0 // seconds after which something counts about a third

func (m *meter) tick(now time.Time, bytes int64) {
	if m.at.IsZero() {
		m.at, m.last = now, bytes
		return
	}
	seconds := now.Sub(m.at).Seconds()
	if seconds <= 0 {
		return
	}
	fade := math.Exp(-seconds / meterTime)
	m.bytes = m.bytes*fade + float64(max(bytes-m.last, 0)) // fewer are those of another attempt
	m.seconds = m.seconds*fade + seconds
	m.at, m.last = now, bytes
}

// perSecond returns the bytes per second; false if nothing was measured yet.
func (m meter) perSecond() (float64, bool) { return m.bytes / m.seconds, m.seconds > 0 }

// units are those in which sizes are told, each 1024 of the one before.
var units = []string{"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"}

// unit returns the size of the unit, and its name, in which n bytes are told.
func unit(n float64) (float64, string) {
	size, i := 1.0, 0
	for n/size >= 1023.5 && i < len(units)-1 {
		size *= 1024
		i++
	}
	return size, units[i]
}

// number returns n bytes in units of that size, with three digits, or four.
func number(n, size float64) string {
	n /= size
	switch {
	case size == 1, n == 0, n >= 99.95:
		return fmt.Sprintf("%.0f", n)
	case n >= 9.995:
		return fmt.Sprintf("%.1f", n)
	}
	return fmt.Sprintf("%.2f", n)
}

// amount returns bytes of size: "1.50/20.0 MiB".
func amount(bytes, size int64) string {
	u, name := unit(float64(size))
	return number(float64(bytes), u) + "/" + number(float64(size), u) + " " + name
}

func percent(bytes, size int64) string {
	if size == 0 {
		return "100%"
	}
	return fmt.Sprintf("%d%%", int(float64(bytes)/float64(size)*100))
}

func rate(m meter) string {
	r, ok := m.perSecond()
	if !ok {
		return ""
	}
	u, name := unit(r)
	return number(r, u) + " " + name + "/s"
}

// timeLeft returns how long bytes will take: "5s", "1m05s", "2h05m", "3d02h". It is
// empty if that cannot be told.
func timeLeft(m meter, bytes int64) string {
	r, ok := m.perSecond()
	if !ok || bytes <= 0 {
		return ""
	}
	switch s := math.Ceil(float64(bytes) / r); {
	case s < 60:
		return fmt.Sprintf("%.0fs", s)
	case s < 3600:
		return pair(s, 60, "m", "s")
	case s < 24*3600:
		return pair(s/60, 60, "h", "m")
	case s < 100*24*3600:
		return pair(s/3600, 24, "d", "h")
	}
	return "" // or it is no number
}

func pair(n float64, base int, high, low string) string {
	return fmt.Sprintf("%d%s%02d%s", int(n)/base, high, int(n)%base, low)
}

// visible returns text as one line of characters each of which is seen.
func visible(text string) string {
	var b strings.Builder
	for _, r := range text {
		switch {
		case unicode.IsPrint(r):
			b.WriteRune(r)
		case r < 0x100:
			fmt.Fprintf(&b, "\\x%02x", r)
		default:
			fmt.Fprintf(&b, "\\u%04x", r)
		}
	}
	return b.String()
}

// wide are the blocks of characters that take two columns (Unicode's East Asian
// Width, its big blocks, and pictures).
var wide = &unicode.RangeTable{
	R16: []unicode.Range16{
		{0x1100, 0x115f, 1}, {0x2e80, 0x303e, 1}, {0x3041, 0xa4cf, 1}, {0xac00, 0xd7a3, 1},
		{0xf900, 0xfaff, 1}, {0xfe30, 0xfe6f, 1}, {0xff00, 0xff60, 1}, {0xffe0, 0xffe6, 1},
	},
	R32: []unicode.Range32{{0x1f300, 0x1f64f, 1}, {0x1f680, 0x1f6ff, 1}, {0x1f900, 0x1f9ff, 1}, {0x20000, 0x3fffd, 1}},
}

// columnsOf returns how many columns r takes.
func columnsOf(r rune) int {
	switch {
	case unicode.In(r, unicode.Mn, unicode.Me):
		return 0
	case unicode.Is(wide, r):
		return 2
	}
	return 1
}

// columns returns how many columns text takes.
func columns(text string) int {
	n := 0
	for _, r := range text {
		n += columnsOf(r)
	}
	return n
}

// cut returns as much of text as n columns hold.
func cut(text string, n int) string {
	for i, r := range text {
		if n -= columnsOf(r); n < 0 {
			return text[:i]
		}
	}
	return text
}

// cutMiddle returns text in n columns, if need be without its middle.
func cutMiddle(text string, n int) string {
	rest := columns(text)
	if rest <= n {
		return text
	}
	head := cut(text, n/2)
	room := max(n-columns(head)-1, 0)
	for i, r := range text {
		if rest <= room {
			return head + "…" + text[i:]
		}
		rest -= columnsOf(r)
	}
	return head + "…"
}
