package rtcpool

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/pion/webrtc/v4"
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

// hostCandidate writes a candidate that leads to an address.
func hostCandidate(at string) string {
	a := netip.MustParseAddrPort(at)
	return fmt.Sprintf("candidate:1 1 udp 2130706431 %s %d typ host", a.Addr(), a.Port())
}

// Neither in offers, nor alone, nor with a restart do refused candidates reach ICE.
func TestRemoteCandidatesAreRefusedAndCounted(t *testing.T) {
	p := newTestPool(t, func(cfg *Config) { cfg.Network.RefusePrivate = true })
	p.Protect(netip.MustParseAddrPort("127.0.0.1:50051"))
	bad := []string{
		hostCandidate("169.254.169.254:80"), hostCandidate("127.0.0.1:50051"), hostCandidate("10.0.0.1:9"), hostCandidate("224.0.0.1:9"),
		"candidate:1 1 udp 2130706431 0a1b2c3d-0000-4000-8000-000000000000.local 9 typ host",
		"candidate:1 1 udp 2130706431 203.0.113.5 9 typ srflx raddr 10.0.0.1 rport 9", // only where it leads counts
	}
	s, _ := open(t, p, "s")
	offer := offerOf(audioSection)
	for _, c := range bad {
		offer += "a=" + c + "\r\n"
	}
	mustAnswer(t, s, offer)
	for i, c := range bad {
		want := CandidateIgnored
		if i == len(bad)-1 {
			want = CandidateAdded
		}
		if got := give(t, s, 0, Candidate{Candidate: c}); got != want {
			t.Errorf("%s: %v", c, got)
		}
	}
	var list []Candidate
	for _, c := range bad {
		list = append(list, Candidate{Candidate: c})
	}
	if _, err := s.RestartICE(context.Background(), "newufrag", strings.Repeat("p", 24), list); err != nil {
		t.Fatal(err)
	}
	want := RefusedCandidates{Own: 3, Metadata: 3, Multicast: 3, Private: 3, MDNS: 3}
	if got := p.Stats().Network.Refused; got != want {
		t.Errorf("refused %+v, want %+v", got, want)
	}
}

// With the switch, or without Loopback, an SFU there is not spoken to: neither by its candidates nor when it speaks first.
func TestPeerReflexiveCandidatesAreJudgedToo(t *testing.T) {
	p := newTestPool(t, nil)
	// The pool gathers on loopback, but its judgement is that of a deployment.
	p.network.policy.loopback = false
	s, r := open(t, p, "s")
	f := newTestSFU(t, sfuOn(webrtc.NetworkTypeUDP4))
	f.add(opus, "mic", "alice")
	bare, candidates := withoutCandidates(f.offer(nil))
	f.exchange(s, 0, bare) // the SFU sends its checks
	waitFor(t, "its checks", func() bool { return p.Stats().Network.Refused.Loopback > 0 })
	for _, c := range candidates {
		if got := give(t, s, 0, c); got != CandidateIgnored {
			t.Errorf("%s: %v", c.Candidate, got)
		}
	}
	if states := r.told().states[1]; len(states) > 0 && states[len(states)-1] == StateConnected {
		t.Errorf("connected: %v", states)
	}
}

func TestLocalCandidatesAreFiltered(t *testing.T) {
	interfaces, err := net.Interfaces()
	if err != nil {
		t.Fatal(err)
	}
	loopback := ""
	for _, i := range interfaces {
		if i.Flags&net.FlagLoopback != 0 {
			loopback = i.Name
		}
	}
	for name, c := range map[string]struct {
		change func(*NetworkConfig)
		takes  func(addr string) bool
		none   bool
	}{
		"interface":         {func(n *NetworkConfig) { n.Interfaces = []string{loopback} }, isLoopbackText, false},
		"interface pattern": {func(n *NetworkConfig) { n.Interfaces = []string{"nothing*", loopback[:1] + "*"} }, isLoopbackText, false},
		"other interface":   {func(n *NetworkConfig) { n.Interfaces = []string{"nothing"} }, nil, true},
		"allowed network":   {func(n *NetworkConfig) { n.AllowNetworks = prefixes("127.0.0.0/8") }, isLoopbackText, false},
		"denied network":    {func(n *NetworkConfig) { n.DenyNetworks = prefixes("0.0.0.0/0", "::/0") }, nil, true},
		"denied wins": {func(n *NetworkConfig) {
			n.AllowNetworks, n.DenyNetworks = prefixes("127.0.0.0/8"), prefixes("127.0.0.1/32")
		}, nil, true},
		"no IPv6": {func(n *NetworkConfig) { n.DisableIPv6 = true }, func(a string) bool { return !strings.Contains(a, ":") }, false},
	} {
		t.Run(name, func(t *testing.T) {
			p := newTestPool(t, func(cfg *Config) { c.change(&cfg.Network) })
			s, _ := open(t, p, "s")
			got := candidatesOf(mustAnswer(t, s, offerOf(audioSection)))
			if (len(got) == 0) != c.none {
				t.Errorf("candidates %q", got)
			}
			for _, candidate := range got {
				if address := strings.Fields(candidate)[1]; c.takes != nil && !c.takes(address) {
					t.Errorf("candidate %q", candidate)
				}
			}
		})
	}
}

func isLoopbackText(addr string) bool { return netip.MustParseAddr(addr).IsLoopback() }

// Without any setting nothing listens ahead, and loopback is neither gathered nor spoken to.
func TestEgressOnlyByDefault(t *testing.T) {
	before := openSockets(t)
	p := newTestPool(t, func(cfg *Config) { cfg.Loopback = false })
	if got := openSockets(t); got != before {
		t.Errorf("%d sockets, want %d as before", got, before)
	}
	s, _ := open(t, p, "s")
	for _, c := range candidatesOf(mustAnswer(t, s, offerOf(audioSection)+"a="+hostCandidate("127.0.0.1:9")+"\r\n")) {
		if isLoopbackText(strings.Fields(c)[1]) || !strings.HasPrefix(c, "udp") {
			t.Errorf("candidate %q", c)
		}
	}
	if got := p.Stats().Network.Refused.Loopback; got != 1 {
		t.Errorf("%d refused", got)
	}
}
