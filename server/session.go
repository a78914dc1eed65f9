package server

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/c73062ad/oras"
)

// sessions are the uploads this server knows: an upload costs its store nothing
// before its first byte, and while it goes on the store's [oras.Upload] with all
// it knows stays open. What is forgotten here can be opened again if the store
// has uploads of its own; else its bytes are gone.
type sessions struct {
	max    int
	expiry time.Duration
	log    *slog.Logger

	mu   sync.Mutex
	byID map[string]*session
	all  map[*session]bool
}

// A session is one upload in one repository.
type session struct {
	repository string
	algorithm  oras.Algorithm // of the digest to come, as far as is known
	used       time.Time      // of sessions.mu
	timer      *time.Timer    // forgets it
	ids        []string       // of sessions.mu: all by which it is known
	busy       chan struct{}

	// Of who holds busy.
	id     string      // the one to be told
	told   bool        // the client may know it, be it the store's
	upload oras.Upload // nil before the first byte
	ended  bool
}

func newSessions(max int, expiry time.Duration, log *slog.Logger) *sessions {
	return &sessions{max: max, expiry: expiry, log: log, byID: map[string]*session{}, all: map[*session]bool{}}
}

// begin returns a new session, to be released, for content whose digest will be by the
// algorithm a.
func (ss *sessions) begin(repository string, a oras.Algorithm) (*session, error) {
	id := make([]byte, 16)
	rand.Read(id) // never fails
	return ss.add(&session{repository: repository, algorithm: a, id: hex.EncodeToString(id)})
}

// add takes up s, and holds it.
func (ss *sessions) add(s *session) (*session, error) {
	ss.mu.Lock()
	var oldest *session
	if len(ss.all) >= ss.max {
		if oldest = ss.dropOldest(); oldest == nil {
			ss.mu.Unlock()
			return nil, errBusy
		}
	}
	s.busy = make(chan struct{}, 1)
	s.busy <- struct{}{}
	s.used = time.Now()
	s.timer = time.AfterFunc(ss.expiry, func() { ss.expire(s) })
	ss.all[s] = true
	ss.name(s)
	ss.mu.Unlock()
	if oldest != nil {
		ss.leave(oldest)
	}
	return s, nil
}

// name lets s be found by its id.
func (ss *sessions) name(s *session) {
	s.ids = append(s.ids, s.id)
	ss.byID[s.id] = s
}

// hold returns the session id of the repository, which is the caller's until it is
// released; others wait. It is [oras.ErrNotFound] if there is none.
func (ss *sessions) hold(ctx context.Context, repository, id string) (*session, error) {
	ss.mu.Lock()
	s := ss.byID[id]
	ss.mu.Unlock()
	if s == nil || s.repository != repository {
		return nil, fmt.Errorf("upload %q: %w", id, oras.ErrNotFound)
	}
	select {
	case s.busy <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	if s.ended {
		<-s.busy
		return nil, fmt.Errorf("upload %q: %w", id, oras.ErrNotFound)
	}
	return s, nil
}

// rename lets the session have another id too, which is the one to be told.
func (ss *sessions) rename(s *session, id string) {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	s.id = id
	ss.name(s)
}

// release lets others have the session.
func (ss *sessions) release(s *session) {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	if !s.ended {
		s.used = time.Now()
		s.timer.Reset(ss.expiry)
	}
	<-s.busy
}

// end lets the session, which the caller holds, be over, and closes its upload.
func (ss *sessions) end(s *session) error {
	ss.mu.Lock()
	ss.drop(s)
	ss.mu.Unlock()
	if s.upload == nil {
		return nil
	}
	return s.upload.Close()
}

// drop takes the session, which the caller holds, out of the books.
func (ss *sessions) drop(s *session) {
	s.ended = true
	s.timer.Stop()
	delete(ss.all, s)
	for _, id := range s.ids {
		if ss.byID[id] == s {
			delete(ss.byID, id)
		}
	}
}

// dropOldest drops the session that was left alone longest, and returns it held, or
// nil if there is none that nobody works on.
func (ss *sessions) dropOldest() *session {
	var oldest *session
	for s := range ss.all {
		if len(s.busy) == 0 && (oldest == nil || s.used.Before(oldest.used)) {
			oldest = s
		}
	}
	if oldest == nil || !ss.dropIdle(oldest) {
		return nil
	}
	return oldest
}

// dropIdle drops a session if nobody holds it, and then holds it.
func (ss *sessions) dropIdle(s *session) bool {
	select {
	case s.busy <- struct{}{}:
	default:
		return false
	}
	if s.ended {
		<-s.busy
		return false
	}
	ss.drop(s)
	return true
}

// expire ends a session that was left alone too long.
func (ss *sessions) expire(s *session) {
	ss.mu.Lock()
	dropped := ss.dropIdle(s) // if somebody works on it, it is not alone
	ss.mu.Unlock()
	if dropped {
		ss.leave(s)
	}
}

// leave lets go of the upload of a session that was dropped, which the caller holds.
// If its client cannot go on with it, because it went before it was told how, it is
// aborted.
func (ss *sessions) leave(s *session) {
	defer func() { <-s.busy }()
	if s.upload == nil {
		return
	}
	var err error
	if !s.told {
		if err = s.upload.Abort(context.Background()); oras.Kind(err) == oras.ErrNotFound { // it ended elsewhere
			err = nil
		}
	}
	if err = errors.Join(err, s.upload.Close()); err != nil {
		ss.log.Error("forgetting an upload", "repository", s.repository, "error", err)
	}
}
