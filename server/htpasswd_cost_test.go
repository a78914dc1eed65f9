package server

import (
	"errors"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"

	"golang.org/x/crypto/bcrypt"

	"github.com/c73062ad/oras"
)

// What a login costs is how often bcrypt is asked, and at which cost: once for a
// wrong password, once for a user there is not, so that neither answers sooner,
// and not at all for a login that was good a moment ago.
func TestHtpasswdCost(t *testing.T) {
	const cost = bcrypt.MinCost + 1
	hash, err := bcrypt.GenerateFromPassword([]byte("right"), cost)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "htpasswd")
	if err := os.WriteFile(path, append([]byte("ann:"), hash...), 0o600); err != nil {
		t.Fatal(err)
	}
	h, err := openHtpasswd(path)
	if err != nil {
		t.Fatal(err)
	}
	var asked, atOnce, most atomic.Int64
	h.compare = func(hash, password []byte) error {
		asked.Add(1)
		if now := atOnce.Add(1); now > most.Load() {
			most.Store(now)
		}
		defer atOnce.Add(-1)
		if c, err := bcrypt.Cost(hash); err != nil || c != cost {
			t.Errorf("compared at cost %d, %v", c, err)
		}
		return bcrypt.CompareHashAndPassword(hash, password)
	}
	login := func(user, password string) error {
		r := httptest.NewRequest("GET", "/v2/", nil)
		r.SetBasicAuth(user, password)
		return h.authorize(r, Access{Action: ActionPing})
	}
	for _, step := range []struct {
		user, password string
		good           bool
		asks           int64
	}{
		{"ann", "wrong", false, 1},
		{"carl", "wrong", false, 1},
		{"ann", "right", true, 1},
		{"ann", "right", true, 0},
		{"ann", "wrong", false, 1},
		{"carl", "right", false, 1},
	} {
		asked.Store(0)
		err := login(step.user, step.password)
		if (err == nil) != step.good || err != nil && !errors.Is(err, oras.ErrUnauthorized) {
			t.Errorf("%s %s: %v", step.user, step.password, err)
		}
		if asked.Load() != step.asks {
			t.Errorf("%s %s: bcrypt was asked %d times, not %d", step.user, step.password, asked.Load(), step.asks)
		}
	}
	var clients sync.WaitGroup
	for range 32 {
		clients.Go(func() {
			if login("ann", "wrong") == nil {
				t.Error("a wrong password is good")
			}
		})
	}
	clients.Wait()
	if most.Load() > int64(cap(h.slots)) {
		t.Errorf("%d passwords were compared at once, not %d at most", most.Load(), cap(h.slots))
	}
}
