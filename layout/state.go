package layout

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/c73062ad/oras"
)

// unsettled is how long after a change to a file the next one may leave no trace
// in its time, size and identity: the coarsest time stamps are 2 s apart, and the
// number of a replaced file is soon given to another.
const unsettled = 2 * time.Second

// state is what a store knows of index.json.
type state struct {
	index   *indexJSON  // nil before it was read
	file    fs.FileInfo // of the file it was read from
	settled bool        // that file was old when it was read, so any change since shows
}

// load returns what index.json says now. It is read again only if it may have
// changed, and parsed again only if it has.
func (s *Store) load() (*indexJSON, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.state.index != nil && s.state.settled {
		now, err := fs.Lstat(s.fsys, indexFile)
		was := s.state.file
		if err == nil && sameFile(was, now) && was.Size() == now.Size() && was.ModTime().Equal(now.ModTime()) {
			return s.state.index, nil
		}
	}
	return s.reload()
}

// reload reads index.json. The caller holds s.mu.
func (s *Store) reload() (*indexJSON, error) {
	raw, info, err := readRegular(s.fsys, indexFile, maxIndex)
	if err != nil {
		return nil, err
	}
	settled := time.Since(info.ModTime()) > unsettled
	x := s.state.index
	if x == nil || !bytes.Equal(raw, x.raw) {
		if x, err = parseIndex(raw); err != nil {
			return nil, fmt.Errorf("%s: %w", indexFile, err)
		}
	}
	s.state = state{x, info, settled}
	return x, nil
}

// change lets edit change the layout while nobody else does. edit gets what
// index.json says, and returns the entries that it shall have; if these are the
// same slice, or edit fails, nothing is written. It is called without the lock
// first, to see whether that is needed.
func (s *Store) change(ctx context.Context, edit func(x *indexJSON) ([]entry, error)) error {
	x, err := s.load()
	if err != nil {
		return s.invalid(err)
	}
	if entries, err := edit(x); err != nil || same(entries, x.entries) {
		return err
	}
	return s.alone(ctx, func(x *indexJSON) error {
		entries, err := edit(x)
		if err != nil {
			return err
		}
		return s.save(ctx, x, entries)
	})
}

// alone calls do with what index.json says while nobody else changes the layout.
func (s *Store) alone(ctx context.Context, do func(x *indexJSON) error) (err error) {
	unlock, err := s.lock(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, unlock()) }()
	s.mu.Lock()
	x, err := s.reload()
	s.mu.Unlock()
	if err != nil {
		return s.invalid(err)
	}
	return do(x)
}

// save replaces the entries of index.json, which says x. The caller is alone.
func (s *Store) save(ctx context.Context, x *indexJSON, entries []entry) error {
	if same(entries, x.entries) {
		return nil
	}
	next, err := x.with(entries)
	if err != nil {
		return err
	}
	info, err := s.write(ctx, indexFile, bytes.NewReader(next.raw), 0o666)
	if err != nil {
		return err
	}
	s.mu.Lock()
	s.state = state{index: next, file: info}
	s.mu.Unlock()
	return nil
}

// same reports whether a and b are one slice.
func same(a, b []entry) bool {
	return len(a) == len(b) && (len(a) == 0 || &a[0] == &b[0])
}

// writable reports a store that is read-only, as [oras.ErrUnsupported].
func (s *Store) writable(ctx context.Context) error {
	if s.root == nil {
		return fmt.Errorf("%s is read-only: %w", s, oras.ErrUnsupported)
	}
	return ctx.Err()
}
