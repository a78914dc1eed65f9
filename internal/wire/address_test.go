package wire_test

import (
	"net/netip"
	"testing"

	"github.com/c73062ad/oras/internal/wire"
)

func TestIsPrivate(t *testing.T) {
	for text, want := range map[string]bool{
		"8.8.8.8": false, "2001:4860:4860::8888": false, "172.32.0.1": false, "100.128.0.1": false,
		"127.0.0.1": true, "10.1.2.3": true, "172.16.0.1": true, "192.168.0.1": true, "169.254.169.254": true,
		"198.18.0.1": true, "240.0.0.1": true, "64:ff9b::a9fe:a9fe": true, "2002:a9fe:a9fe::1": true,
		"0.0.0.0": true, "0.1.2.3": true, "100.64.0.1": true, "224.0.0.1": true, "255.255.255.255": true,
		"::1": true, "::": true, "fe80::1": true, "fe80::1%eth0": true, "fd00::1": true, "::ffff:127.0.0.1": true, "ff02::1": true,
	} {
		if got := wire.IsPrivate(netip.MustParseAddr(text)); got != want {
			t.Errorf("IsPrivate(%s) = %v", text, got)
		}
	}
}
