package rtcpool

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/penstock-media/penstock/rtcpool/internal/offer/offertest"
)

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
	offer := offertest.Of(offertest.Audio)
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
			got := candidatesOf(mustAnswer(t, s, offertest.Of(offertest.Audio)))
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
	for _, c := range candidatesOf(mustAnswer(t, s, offertest.Of(offertest.Audio)+"a="+hostCandidate("127.0.0.1:9")+"\r\n")) {
		if isLoopbackText(strings.Fields(c)[1]) || !strings.HasPrefix(c, "udp") {
			t.Errorf("candidate %q", c)
		}
	}
	if got := p.Stats().Network.Refused.Loopback; got != 1 {
		t.Errorf("%d refused", got)
	}
}
