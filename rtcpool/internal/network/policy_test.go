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
		{"169.254.1.1:9", RefusedMetadata, RefusedMetadata, RefusedMetadata}, // all link-local ones of IPv4
		{"169.254.170.2:80", RefusedMetadata, RefusedMetadata, RefusedMetadata},
		{"169.254.170.23:80", RefusedMetadata, RefusedMetadata, RefusedMetadata},
		{"[fd00:ec2::23]:80", RefusedMetadata, RefusedMetadata, RefusedMetadata},
		{"[fd20:ce::254]:80", RefusedMetadata, RefusedMetadata, RefusedMetadata},
		{"168.63.129.16:32526", RefusedMetadata, RefusedMetadata, RefusedMetadata},
		{"168.63.129.17:32526", RefusedNone, RefusedNone, RefusedNone},
		{"192.0.0.192:80", RefusedMetadata, RefusedMetadata, RefusedMetadata},
		{"192.0.0.193:80", RefusedNone, RefusedNone, RefusedPrivate},
		{"100.100.100.200:80", RefusedMetadata, RefusedMetadata, RefusedMetadata},
		{"[fd00:42::42]:80", RefusedMetadata, RefusedMetadata, RefusedMetadata},
		{"[fe80::a9fe:a9fe%eth0]:80", RefusedMetadata, RefusedMetadata, RefusedMetadata},
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

// TestOwnPortsAreKnownByAnnouncedAddresses refuses candidates that lead back to this process by way of what stands before it.
func TestOwnPortsAreKnownByAnnouncedAddresses(t *testing.T) {
	w := testNetwork(t, Config{AnnouncedIPs: []string{"203.0.113.7", "2001:db8::7"}})
	w.Protect(netip.MustParseAddrPort("10.0.0.5:50051"), netip.MustParseAddrPort("[::]:8080"), netip.MustParseAddrPort("127.0.0.1:9090"))
	for at, want := range map[string]Refusal{
		"203.0.113.7:50051": RefusedOwn, "[::ffff:203.0.113.7]:50051": RefusedOwn, "[2001:db8::7]:50051": RefusedOwn,
		"203.0.113.7:8080": RefusedOwn, "10.0.0.5:50051": RefusedOwn,
		"203.0.113.7:9090":  RefusedNone, // nobody reaches it there
		"203.0.113.7:40000": RefusedNone, // an SFU behind the same address
		"203.0.113.8:50051": RefusedNone,
	} {
		a := netip.MustParseAddrPort(at)
		if got := w.policy.judge(a.Addr(), a.Port()); got != want {
			t.Errorf("%s: %v, want %v", at, got, want)
		}
	}
}
