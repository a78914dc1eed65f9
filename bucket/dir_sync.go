package bucket

import (
	"context"
	"errors"
	"io/fs"
	"path"
	"strings"
	"sync"
	"time"
)

// syncs lets those who want the same folder synced at the same moment share one
// sync: while it is being synced others wait, and the next sync is for all of them.
type syncs struct {
	mu      sync.Mutex
	folders map[string]*syncRound // being synced, and the round that comes after; nil if nobody waits for one
}

// A syncRound is a sync that has not begun, and who waits for it.
type syncRound struct {
	lead chan struct{} // tells one who waits to do it
	done chan struct{} // closed when it is done
	err  error         // what came of it
}

// do lets sync be called after do was, by the caller or on its behalf.
func (s *syncs) do(folder string, sync func() error) error {
	s.mu.Lock()
	if s.folders == nil {
		s.folders = map[string]*syncRound{}
	}
	round, busy := s.folders[folder]
	if !busy {
		s.folders[folder] = nil
		s.mu.Unlock()
		defer s.next(folder)
		return sync()
	}
	if round == nil {
		round = &syncRound{lead: make(chan struct{}, 1), done: make(chan struct{})}
		s.folders[folder] = round
	}
	s.mu.Unlock()
	select {
	case <-round.done:
	case <-round.lead:
		defer s.next(folder)
		round.err = sync()
		close(round.done)
	}
	return round.err
}

// next lets one of those who wait begin.
func (s *syncs) next(folder string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	round := s.folders[folder]
	if round == nil {
		delete(s.folders, folder)
		return
	}
	s.folders[folder] = nil
	round.lead <- struct{}{}
}

// mkdirAll makes folder and those above it.
func (d *Dir) mkdirAll(folder string) error {
	err := d.mkdir(folder)
	if missing(err) && folder != "." {
		if err := d.mkdirAll(path.Dir(folder)); err != nil {
			return err
		}
		err = d.mkdir(folder)
	}
	return err
}

// makeFolder makes folder and those above it, durably unless it is transient. One
// that is there already may be of a moment ago, by another goroutine or process: it is
// synced all the same the first time.
func (d *Dir) makeFolder(folder string) error {
	d.mu.Lock()
	_, durable := d.durable[folder]
	d.mu.Unlock()
	if durable {
		return nil
	}
	parent := path.Dir(folder)
	if err := d.makeFolder(parent); err != nil {
		return err
	}
	if err := d.mkdir(folder); err != nil || transient(folder) {
		return err
	}
	if err := d.sync(parent); err != nil {
		return err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.durable) >= maxDurable {
		clear(d.durable)
		d.durable["."] = struct{}{}
	}
	d.durable[folder] = struct{}{}
	return nil
}

// mkdir makes the folder called name, in one that is there, if it is not there.
func (d *Dir) mkdir(name string) error {
	err := d.doing("mkdir", name)
	if err == nil {
		err = d.within(name, func(f *folder, base string) error { return f.Mkdir(base, 0o700) })
	}
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	return err
}

// transient reports whether folder is that of a subject's referrers. There is one for
// each subject there ever was, so they are removed when they are empty, and who puts
// something into one makes it durable each time, when it cannot be removed any longer.
func transient(folder string) bool {
	_, rest, found := strings.Cut(folder, "/_referrers/")
	return found && strings.Contains(rest, "/")
}

// Prune is what the comment of [Bucket] says.
func (d *Dir) Prune(ctx context.Context, prefix string, than time.Time) error {
	names, err := d.list(prefix)
	if err != nil {
		return failed(prefix, err)
	}
	for _, name := range names {
		if err := ctx.Err(); err != nil {
			return err
		}
		name, err := d.file(prefix + strings.TrimSuffix(name, "/"))
		if err != nil || !transient(name) {
			continue
		}
		if info, err := d.stat(name); err != nil || !info.IsDir() || !info.ModTime().Before(than) {
			continue
		}
		d.remove(name) // which fails if it is not empty
	}
	return nil
}
