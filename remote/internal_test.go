package remote

import (
	"context"
	"errors"
	"net"
	"net/http/httptrace"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/c73062ad/oras"
)

func TestReferrersTagSchema(t *testing.T) {
	t.Parallel()
	short, long := oras.SHA256.Digest(nil), oras.SHA512.Digest(nil)
	if got, want := referrersTag(short), "sha256-e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"; got != want {
		t.Errorf("%s; want %s", got, want)
	}
	if got, want := referrersTag(long), "sha512-"+long.Hex()[:64]; got != want {
		t.Errorf("%s; want %s", got, want)
	}
}

// The address of a proxy says nothing about where the registry is: a redirect to a
// private address stays refused.
func TestRedirectBehindProxy(t *testing.T) {
	t.Parallel()
	local := httptrace.GotConnInfo{Conn: connectedTo{address: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 3128}}}
	target := &url.URL{Scheme: "http", Host: "127.0.0.1:80"}
	for proxied, refused := range map[bool]bool{true: true, false: false} {
		trip := &trip{proxied: proxied}
		trip.connected(local)
		if err := trip.redirect(target); (err != nil) != refused {
			t.Errorf("proxied %v: %v", proxied, err)
		}
	}
}

// connectedTo is a connection of which only the address counts.
type connectedTo struct {
	net.Conn
	address net.Addr
}

func (c connectedTo) RemoteAddr() net.Addr { return c.address }

// A name that resolves to a private address is no way around, unless the registry
// itself is there.
func TestDialGuard(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	address := "localhost:" + port // stands for a name with a dubious owner
	for _, test := range []struct {
		trip    *trip
		refused bool
	}{
		{&trip{}, false},
		{&trip{target: address}, true},
		{&trip{target: address, private: true}, false},
		{&trip{target: "storage.example:443"}, false}, // by way of a proxy
	} {
		conn, err := dial(context.WithValue(t.Context(), tripKey{}, test.trip), "tcp4", address)
		if err == nil {
			conn.Close()
		}
		if errors.Is(err, errRefused) != test.refused || !test.refused && err != nil {
			t.Errorf("%+v: error %v", test.trip, err)
		}
	}
}

func TestScrub(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"https://h/v2/a/blobs/uploads/x?digest=sha256:ab&_state=secret": "https://h/v2/a/blobs/uploads/x?_state=REDACTED&digest=sha256%3Aab",
		"https://u:secret@h/x#secret":                                   "https://h/x",
		"https://h/x?secret":                                            "https://h/x?secret=REDACTED",
		"https://h/x?a=secret&a=secret":                                 "https://h/x?a=REDACTED",
		"https://h/x?a=%zzsecret":                                       "https://h/x",
	} {
		u, err := url.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		if got := scrub(u); got != want {
			t.Errorf("%s: %s; want %s", text, got, want)
		}
	}
	if got := scrubText("https://[secret"); strings.Contains(got, "secret") {
		t.Error(got)
	}
}

func TestLocks(t *testing.T) {
	t.Parallel()
	var l locks
	unlock, err := l.lock(t.Context(), "a")
	if err != nil {
		t.Fatal(err)
	}
	other, err := l.lock(t.Context(), "b")
	if err != nil {
		t.Fatal(err)
	}
	other()
	over, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := l.lock(over, "a"); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	unlock()
	if len(l.held) != 0 {
		t.Errorf("%d locks left", len(l.held))
	}
}

// More connections are used where one is slow, and only if they bring more; whoever reads
// slowly needs none.
func TestPace(t *testing.T) {
	t.Parallel()
	const mib = 1 << 20
	for name, test := range map[string]struct {
		rate   func(width int) float64 // bytes a second
		waited float64                 // share of the time
		want   int
	}{
		"each connection is slow": {func(width int) float64 { return float64(width) * 40 * mib }, 0.9, 6},
		"all together are slow":   {func(int) float64 { return 40 * mib }, 0.9, 1},
		"more are slower":         {func(width int) float64 { return 400 * mib / float64(width) }, 0.9, 1},
		"who reads is slow":       {func(width int) float64 { return float64(width) * 40 * mib }, 0.1, 1},
	} {
		now := time.Unix(0, 0)
		p := pace{start: now}
		width, wide := 1, 0
		for range 500 {
			took := time.Duration(pieceSize / test.rate(width) * float64(time.Second))
			now = now.Add(took)
			p.bytes += pieceSize
			p.waited += time.Duration(test.waited * float64(took))
			width = p.decide(now, width, 6)
			if width > 1 {
				wide++
			}
		}
		if width != test.want || test.want == 1 && wide > 250 {
			t.Errorf("%s: %d connections; want %d; more than one for %d pieces", name, width, test.want, wide)
		}
	}
}

// Pieces are small as long as that costs nothing: they grow where the time goes into
// waiting for answers, and who reads has to wait, too.
func TestResize(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		answer, rest, waited time.Duration
		size, want           int64
	}{
		"far away":                  {50 * time.Millisecond, 10 * time.Millisecond, 40 * time.Millisecond, leastPiece, pieceSize},
		"far away, who reads slow":  {50 * time.Millisecond, 10 * time.Millisecond, time.Millisecond, leastPiece, leastPiece},
		"near":                      {time.Millisecond, 40 * time.Millisecond, 40 * time.Millisecond, pieceSize, leastPiece},
		"near, on a busy machine":   {3 * time.Millisecond, 3 * time.Millisecond, 6 * time.Millisecond, pieceSize, leastPiece},
		"neither near nor far away": {6 * time.Millisecond, 60 * time.Millisecond, 60 * time.Millisecond, 1 << 20, 1 << 20},
	} {
		a := &ahead{size: test.size}
		for range 5 {
			began := time.Unix(0, 0)
			before := a.waited
			a.waited += test.waited
			a.resize(timing{began: began, answered: began.Add(test.answer), waited: before}, began.Add(test.answer+test.rest))
		}
		if a.size != test.want {
			t.Errorf("%s: pieces of %d bytes, want %d", name, a.size, test.want)
		}
		a.resize(timing{began: time.Unix(0, 0)}, time.Unix(1, 0))
		if a.size != test.want {
			t.Errorf("%s: a piece that took no request changed the size", name)
		}
	}
}
