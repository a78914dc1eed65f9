package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/c73062ad/oras"
)

// eventLines tell what happens as JSON, an object a line:
//
//	{"event":"started","digest":…,"name":…,"mediaType":…,"size":…}
//	{"event":"progress",…,"bytes":…,"there":…}    ten a second for each content at most
//	{"event":"finished",…,"outcome":…,"bytes":…,"there":…}
//	{"event":"result",…,"totals":{"bytes":…,"there":…,"contents":…}}
//
// bytes are those that really moved, and there those that did not need to, as they
// were at the target from a transfer that was broken off. Each pair of digest and
// name is finished once; its outcome is the event's kind: copied, exists, mounted, skipped or restored. Content that is
// sent while it is read has no digest before it is finished. The result, the last
// line of a command that succeeds, has what --format json prints.
//
// They are safe for concurrent use.
type eventLines struct {
	w   io.Writer
	now func() time.Time

	mu       sync.Mutex
	contents map[transferKey]*contentLines
	totals   totals
	err      error // of w
}

// totals are those of all content.
type totals struct {
	Bytes    int64 `json:"bytes"`
	There    int64 `json:"there"`
	Contents int   `json:"contents"`
}

// contentLines are what was told of one content.
type contentLines struct {
	started, finished bool
	told              time.Time // progress, last
	last              int64     // as of the last event
	moved, there      int64
}

// progressEvery is how long there is nothing more told of the progress of a content.
const progressEvery = 100 * time.Millisecond

type eventLine struct {
	Event     string `json:"event"`
	Digest    string `json:"digest,omitempty"`
	Name      string `json:"name"`
	MediaType string `json:"mediaType"`
	Size      *int64 `json:"size,omitempty"` // if it is known
	Outcome   string `json:"outcome,omitempty"`
	Bytes     *int64 `json:"bytes,omitempty"`
	There     *int64 `json:"there,omitempty"`
}

func newEventLines(w io.Writer) *eventLines {
	return &eventLines{w: w, now: time.Now, contents: map[transferKey]*contentLines{}}
}

// event is for oras.CopyOptions.
func (l *eventLines) event(e oras.Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	key := transferKey{e.Descriptor.Digest, e.Name()}
	c := entry(l.contents, key)
	if c == nil {
		c = &contentLines{}
		l.contents[key] = c
	}
	switch {
	case c.finished:
	case e.Kind == oras.Copying:
		if !c.started {
			c.started = true
			l.line("started", e, nil)
		}
	case e.Kind == oras.Progress:
		l.progress(e, c)
	case ended(e.Kind):
		c.finished = true
		l.totals.Contents++
		l.line("finished", e, c)
	}
}

func (l *eventLines) progress(e oras.Event, c *contentLines) {
	if more := e.Bytes - c.last; more > 0 { // or else it begins anew
		c.moved += more
		l.totals.Bytes += more
	}
	c.last = e.Bytes
	l.totals.There += e.There - c.there
	c.there = e.There
	if now := l.now(); now.Sub(c.told) >= progressEvery {
		c.told = now
		l.line("progress", e, c)
	}
}

// line prints a line, with the bytes of c if it is not nil.
func (l *eventLines) line(event string, e oras.Event, c *contentLines) {
	desc := e.Descriptor
	line := eventLine{Event: event, Digest: string(desc.Digest), Name: e.Name(), MediaType: desc.MediaType}
	if ended(e.Kind) {
		line.Outcome = e.Kind.String()
	}
	if desc.Digest != "" || desc.Size > 0 {
		line.Size = &desc.Size
	}
	if c != nil {
		line.Bytes, line.There = &c.moved, &c.there
	}
	l.print(line)
}

func (l *eventLines) print(v any) {
	if l.err == nil {
		l.err = json.NewEncoder(l.w).Encode(v)
	}
}

// result prints the last line.
func (l *eventLines) result(r result) error {
	data, err := json.Marshal(r)
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	sums, err := json.Marshal(l.totals)
	if err != nil {
		return err
	}
	data = bytes.TrimSuffix(bytes.TrimPrefix(data, []byte("{")), []byte("}"))
	l.print(json.RawMessage(fmt.Sprintf(`{"event":"result",%s,"totals":%s}`, data, sums)))
	return l.err
}

// entry returns what m has for key. What it has for the name alone is from when the
// digest was not known.
func entry[T any](m map[transferKey]*T, key transferKey) *T {
	unknown := transferKey{name: key.name}
	if m[key] == nil && m[unknown] != nil {
		m[key] = m[unknown]
		delete(m, unknown)
	}
	return m[key]
}
