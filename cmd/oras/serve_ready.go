package main

import (
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"
)

const (
	readyFor   = time.Second     // that what was found of the disk is believed
	readyWait  = 3 * time.Second // for a disk that does not answer
	readyName  = ".ready"        // of a file in the data folder, where it is no object
	readyBytes = 4096
)

var (
	errDraining = errors.New("draining")
	errSlow     = errors.New("the storage does not answer")
	errFull     = errors.New("the storage is full")
	errWrite    = errors.New("the storage cannot be written")
)

// A readiness answers whether requests should be sent here: not when the registry is
// about to end, nor when it could not store what it is sent. Anybody may ask, as
// often as they like: the disk is asked once a second at most, once at a time.
type readiness struct {
	probe func() error // of the disk
	log   *slog.Logger

	mu       sync.Mutex
	draining bool
	probing  chan struct{} // closed when the probe has ended; nil if none goes on
	at       time.Time
	err      error // of the last one
}

func newReadiness(data string, minFree int64, logger *slog.Logger) *readiness {
	return &readiness{log: logger, probe: func() error { return probeDisk(data, uint64(minFree)) }}
}

// drain lets the registry not be ready any more.
func (r *readiness) drain() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.draining = true
}

// check returns why the registry is not ready, or nil.
func (r *readiness) check() error {
	r.mu.Lock()
	if r.draining {
		r.mu.Unlock()
		return errDraining
	}
	if r.probing == nil && time.Since(r.at) >= readyFor {
		r.probing = make(chan struct{})
		go r.look(r.probing)
	}
	probing := r.probing
	r.mu.Unlock()
	if probing != nil {
		select {
		case <-probing:
		case <-time.After(readyWait):
			return errSlow
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.err
}

// look asks the disk, and logs it when the answer is another than before.
func (r *readiness) look(done chan struct{}) {
	defer close(done)
	err := r.probe()
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case err != nil && r.err == nil:
		r.log.Error("the registry is not ready", "error", err)
	case err == nil && r.err != nil:
		r.log.Info("the registry is ready again")
	}
	r.probing, r.at, r.err = nil, time.Now(), err
}

// beside returns next with /healthz, which says that there is an answer, and /readyz.
func (r *readiness) beside(next http.Handler) http.Handler {
	health := func(w http.ResponseWriter, q *http.Request) { state(w, q, nil) }
	ready := func(w http.ResponseWriter, q *http.Request) { state(w, q, r.check()) }
	return at("/healthz", http.HandlerFunc(health), at("/readyz", http.HandlerFunc(ready), next))
}

// state answers with a line: 200 if err is nil, else 503 and of what kind it is.
func state(w http.ResponseWriter, r *http.Request, err error) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "method not allowed", http.StatusMethodNotAllowed)
		return
	}
	w.Header().Set("Cache-Control", "no-store")
	for _, kind := range []error{errDraining, errSlow, errFull, errWrite} {
		if errors.Is(err, kind) {
			http.Error(w, kind.Error(), http.StatusServiceUnavailable) // the rest is in the log
			return
		}
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	fmt.Fprintln(w, "ok") // who has gone need not know
}

// probeDisk reports why the data folder cannot be written, or has less room than
// minFree bytes: errFull, or errWrite for any other reason.
func probeDisk(data string, minFree uint64) error {
	if err := os.WriteFile(filepath.Join(data, readyName), make([]byte, readyBytes), 0o600); err != nil {
		kind := errWrite
		if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
			kind = errFull
		}
		return fmt.Errorf("%w: %w", kind, err)
	}
	d, err := diskOf(data)
	switch {
	case errors.Is(err, errors.ErrUnsupported):
		return nil
	case err != nil:
		return fmt.Errorf("%w: %w", errWrite, err)
	case d.free < minFree:
		return fmt.Errorf("%w: %d bytes are free, less than %d", errFull, d.free, minFree)
	case d.files > 0 && d.freeFiles == 0:
		return fmt.Errorf("%w: no inode is free", errFull)
	}
	return nil
}
