package server

import (
	"bufio"
	"bytes"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"runtime"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/bcrypt"
)

const (
	maxHtpasswd   = 16 << 20        // bytes of a password file
	maxVerified   = 4096            // logins known to be good
	verifiedFor   = 5 * time.Minute // how long they are
	maxBcryptCost = 16              // above, a login takes many seconds
)

// Htpasswd returns an Authorizer that asks for user name and password (RFC 7617)
// for everything, and then allows everything. The file at path has a line
// "user:hash" for each user, as `htpasswd -B` writes it; the hash must be bcrypt's.
// Empty lines and those that begin with "#" are skipped. The file is read again
// when it changes; while it cannot be read, or is malformed, nobody gets in.
//
// A login that is good is known to be so for five minutes, unless the user's line
// changes: bcrypt is slow on purpose. A client (see [LimitOptions]) that sends
// twenty wrong passwords in a row is answered with 429, and then may try ten a
// minute; logins known to be good are not concerned.
func Htpasswd(path string) (Authorizer, error) {
	h, err := openHtpasswd(path)
	if err != nil {
		return nil, err
	}
	return h.authorize, nil
}

func openHtpasswd(path string) (*htpasswd, error) {
	h := &htpasswd{
		path:     path,
		compare:  bcrypt.CompareHashAndPassword,
		slots:    make(chan struct{}, runtime.GOMAXPROCS(0)),
		verified: map[[sha256.Size]byte]time.Time{},
	}
	rand.Read(h.secret[:]) // never fails
	return h, h.refresh()
}

type htpasswd struct {
	path    string
	secret  [32]byte
	compare func(hash, password []byte) error // what costs time
	failed  failures
	slots   chan struct{} // how many passwords are compared at once

	mu       sync.Mutex
	file     fs.FileInfo // as it was read
	hashes   map[string][]byte
	nobody   []byte // hash compared for users there are not: as slow as the others
	verified map[[sha256.Size]byte]time.Time
}

func (h *htpasswd) authorize(r *http.Request, a Access) error {
	user, password, ok := r.BasicAuth()
	if !ok || anonymous(r) {
		return &Challenge{basicChallenge}
	}
	if err := h.refresh(); err != nil {
		return fmt.Errorf("logins cannot be checked: %v", err) // no kind: not the client's fault
	}
	h.mu.Lock()
	hash, known := h.hashes[user]
	if !known {
		hash = h.nobody
	}
	key := h.key(user, password, hash)
	good := known && time.Now().Before(h.verified[key])
	h.mu.Unlock()
	if good {
		Identify(r, user)
		return nil
	}
	client := observedClient(r)
	select {
	case h.slots <- struct{}{}:
		defer func() { <-h.slots }()
	case <-r.Context().Done():
		return r.Context().Err()
	}
	if wait := h.failed.wait(client); wait > 0 {
		return &waitError{wait}
	}
	if err := h.compare(hash, []byte(password)); err != nil || !known {
		h.failed.add(client)
		if !known {
			user = "" // it may be a password in the wrong place
		}
		suspect(r, user)
		return &Challenge{basicChallenge}
	}
	h.remember(key)
	Identify(r, user)
	return nil
}

// key names a login without holding it. It changes with the user's line.
func (h *htpasswd) key(user, password string, hash []byte) (key [sha256.Size]byte) {
	mac := hmac.New(sha256.New, h.secret[:])
	fmt.Fprintf(mac, "%q %q %q", user, password, hash)
	mac.Sum(key[:0])
	return key
}

func (h *htpasswd) remember(key [sha256.Size]byte) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.verified) >= maxVerified {
		clear(h.verified)
	}
	h.verified[key] = time.Now().Add(verifiedFor)
}

// refresh reads the file if it is another than the one that was read last.
func (h *htpasswd) refresh() error {
	info, err := os.Stat(h.path)
	if err != nil {
		return err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if old := h.file; old != nil && os.SameFile(old, info) && old.Size() == info.Size() && old.ModTime().Equal(info.ModTime()) {
		return nil
	}
	f, err := os.Open(h.path)
	if err != nil {
		return err
	}
	defer f.Close()
	if info, err = f.Stat(); err != nil {
		return err
	}
	hashes, cost, err := parseHtpasswd(f)
	if err != nil {
		return fmt.Errorf("%s: %w", h.path, err)
	}
	nobody, err := bcrypt.GenerateFromPassword([]byte(rand.Text()), cost)
	if err != nil {
		return err
	}
	h.file, h.hashes, h.nobody = info, hashes, nobody
	return nil
}

// parseHtpasswd returns the users' hashes, and the greatest cost of comparing one.
func parseHtpasswd(r io.Reader) (hashes map[string][]byte, cost int, err error) {
	hashes, cost = map[string][]byte{}, bcrypt.MinCost
	limited := &io.LimitedReader{R: r, N: maxHtpasswd + 1}
	lines := bufio.NewScanner(limited)
	for n := 1; lines.Scan(); n++ {
		line := bytes.TrimSpace(lines.Bytes())
		if len(line) == 0 || line[0] == '#' {
			continue
		}
		user, hash, ok := strings.Cut(string(line), ":")
		if !ok || user == "" {
			return nil, 0, fmt.Errorf("line %d is not user:hash", n)
		}
		if hashes[user] != nil {
			return nil, 0, fmt.Errorf("line %d: user %q is there already", n, user)
		}
		c, err := bcrypt.Cost([]byte(hash))
		if err != nil {
			return nil, 0, fmt.Errorf("line %d: the hash of user %q is not bcrypt's: make it with htpasswd -B", n, user)
		}
		if c > maxBcryptCost {
			return nil, 0, fmt.Errorf("line %d: the hash of user %q has the cost %d, more than %d", n, user, c, maxBcryptCost)
		}
		hashes[user], cost = []byte(hash), max(cost, c)
	}
	if err := lines.Err(); err != nil {
		return nil, 0, err
	}
	if limited.N == 0 {
		return nil, 0, errors.New("the file is too large")
	}
	return hashes, cost, nil
}
