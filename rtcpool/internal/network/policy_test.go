package network

import (
	"net/netip"
	"testing"
)

func TestPolicyJudgesRemoteAddresses(t *testing.T) {
	ours := func() []netip.Addr { return []netip.Addr{netip.MustParseAddr("198.51.100.7")} }
	for _, c := range []struct {
		at                           string
		closed, loopback, restricted Refusal // by default; with Loopback; with Loopback and RefusePrivate
	}{
		{"203.0.113.9:5000", RefusedNone, RefusedNone, RefusedNone},
		{"[2600:1f18::1]:5000", RefusedNone, RefusedNone, RefusedNone},
		{"169.254.169.254:80", RefusedMetadata, RefusedMetadata, RefusedMetadata},
		{"[::ffff:169.254.169.254]:80", RefusedMetadata, RefusedMetadata, RefusedMetadata},
		{"[64:ff9b::a9fe:a9fe]:80", RefusedMetadata, RefusedMetadata, RefusedMetadata},
		{"[2002:a9fe:a9fe::1]:80", RefusedMetadata, RefusedMetadata, RefusedMetadata},
		{"[::a9fe:a9fe]:80", RefusedMetadata, RefusedMetadata, RefusedMetadata},
		{"[fd00:ec2::254]:80", RefusedMetadata, RefusedMetadata, RefusedMetadata},
		{"127.0.0.1:9000", RefusedLoopback, RefusedNone, RefusedNone},
		{"127.8.8.8:9000", RefusedLoopback, RefusedNone, RefusedNone},
		{"[::1]:9000", RefusedLoopback, RefusedNone, RefusedNone},
		{"[::ffff:127.0.0.1]:9000", RefusedLoopback, RefusedNone, RefusedNone},
		{"0.0.0.0:9000", RefusedLoopback, RefusedLoopback, RefusedLoopback},
		{"[::]:9000", RefusedLoopback, RefusedLoopback, RefusedLoopback},
		{"127.0.0.1:50051", RefusedOwn, RefusedOwn, RefusedOwn},
		{"[::ffff:7f00:1]:50051", RefusedOwn, RefusedOwn, RefusedOwn},
		{"198.51.100.7:8080", RefusedOwn, RefusedOwn, RefusedOwn}, // which listens on every address
		{"127.0.0.3:8080", RefusedOwn, RefusedOwn, RefusedOwn},
		{"198.51.100.8:8080", RefusedNone, RefusedNone, RefusedNone},
		{"224.0.0.251:5353", RefusedMulticast, RefusedMulticast, RefusedMulticast},
		{"255.255.255.255:5353", RefusedMulticast, RefusedMulticast, RefusedMulticast},
		{"[ff02::fb]:5353", RefusedMulticast, RefusedMulticast, RefusedMulticast},
		{"10.1.2.3:9", RefusedNone, RefusedNone, RefusedPrivate},
		{"172.31.255.255:9", RefusedNone, RefusedNone, RefusedPrivate},
		{"172.32.0.1:9", RefusedNone, RefusedNone, RefusedNone},
		{"192.168.0.1:9", RefusedNone, RefusedNone, RefusedPrivate},
		{"100.64.0.1:9", RefusedNone, RefusedNone, RefusedPrivate},
		{"169.254.1.1:9", RefusedNone, RefusedNone, RefusedPrivate},
		{"[fe80::1%eth0]:9", RefusedNone, RefusedNone, RefusedPrivate},
		{"[fd12::1]:9", RefusedNone, RefusedNone, RefusedPrivate},
		{"[::ffff:10.0.0.1]:9", RefusedNone, RefusedNone, RefusedPrivate},
		{"[64:ff9b::a00:1]:9", RefusedNone, RefusedNone, RefusedPrivate},
	} {
		a := netip.MustParseAddrPort(c.at)
		for i, want := range []Refusal{c.closed, c.loopback, c.restricted} {
			p := newPolicy(i > 0, i > 1, ours)
			p.protect(netip.MustParseAddrPort("127.0.0.1:50051"), netip.MustParseAddrPort("[::]:8080"))
			if got := p.judge(a.Addr(), a.Port()); got != want {
				t.Errorf("%s, policy %d: %v, want %v", c.at, i, got, want)
			}
		}
	}
}
