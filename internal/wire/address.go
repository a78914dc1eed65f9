package wire

import (
	"net/netip"
	"slices"
)

// insideNetworks are blocks besides those that netip knows as private.
var insideNetworks = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"),
	netip.MustParsePrefix("100.64.0.0/10"),  // RFC 6598, shared address space
	netip.MustParsePrefix("192.0.0.0/24"),   // RFC 6890
	netip.MustParsePrefix("198.18.0.0/15"),  // RFC 2544
	netip.MustParsePrefix("240.0.0.0/4"),    // RFC 1112, with the broadcast address
	netip.MustParsePrefix("64:ff9b::/96"),   // RFC 6052: an IPv4 address in disguise
	netip.MustParsePrefix("64:ff9b:1::/48"), // RFC 8215
	netip.MustParsePrefix("2002::/16"),      // RFC 3056
}

// IsPrivate reports whether an address is not one of the public internet's: this
// machine's, a private or link-local network's, or one that leads to such.
func IsPrivate(a netip.Addr) bool {
	a = a.Unmap().WithZone("")
	return !a.IsGlobalUnicast() || a.IsPrivate() ||
		slices.ContainsFunc(insideNetworks, func(block netip.Prefix) bool { return block.Contains(a) })
}
