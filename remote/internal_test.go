package remote

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"net/url"
	"strings"
	"testing"

	"github.com/c73062ad/oras"
)

func TestReferrersTagSchema(t *testing.T) {
	short, long := oras.SHA256.Digest(nil), oras.SHA512.Digest(nil)
	if got, want := referrersTag(short), "sha256-e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"; got != want {
		t.Errorf("%s; want %s", got, want)
	}
	if got, want := referrersTag(long), "sha512-"+long.Hex()[:64]; got != want {
		t.Errorf("%s; want %s", got, want)
	}
}

func TestPrivate(t *testing.T) {
	for text, want := range map[string]bool{
		"8.8.8.8": false, "2001:4860:4860::8888": false, "172.32.0.1": false, "100.128.0.1": false,
		"127.0.0.1": true, "10.1.2.3": true, "172.16.0.1": true, "192.168.0.1": true, "169.254.169.254": true,
		"0.0.0.0": true, "0.1.2.3": true, "100.64.0.1": true, "224.0.0.1": true, "255.255.255.255": true,
		"::1": true, "::": true, "fe80::1": true, "fe80::1%eth0": true, "fd00::1": true, "::ffff:127.0.0.1": true, "ff02::1": true,
	} {
		if got := private(netip.MustParseAddr(text)); got != want {
			t.Errorf("private(%s) = %v", text, got)
		}
	}
}

// A name that resolves to a private address is no way around, unless the registry
// itself is there.
func TestDialGuard(t *testing.T) {
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
