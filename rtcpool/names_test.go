package rtcpool

import (
	"fmt"
	"net"
	"strings"
	"testing"

	"github.com/penstock-media/penstock/rtcpool/internal/offer/offertest"
	"github.com/pion/mdns/v2"
	"github.com/pion/webrtc/v4"
	"golang.org/x/net/ipv4"
)

// respond answers for mDNS names with an address, as a browser does that hides its own.
func respond(t *testing.T, address string, names ...string) {
	t.Helper()
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(224, 0, 0, 0), Port: 5353})
	if err != nil {
		t.Fatal(err)
	}
	server, err := mdns.NewServer(ipv4.NewPacketConn(conn), nil, mdns.WithLocalNames(names...), mdns.WithLocalAddress(net.ParseIP(address)),
		mdns.WithIncludeLoopback(true))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = server.Close() })
}

// named hides the address of candidates behind a name.
func named(candidates []Candidate, name string) []Candidate {
	var out []Candidate
	for _, c := range candidates {
		out = append(out, Candidate{Candidate: strings.Replace(c.Candidate, "127.0.0.1", name, 1)})
	}
	return out
}

// The SFU learns nothing of us, so that only its named candidates lead to it.
func TestS22_NamedCandidatesAreResolved(t *testing.T) {
	t.Parallel()
	const name = "6f7d8e1a-2f0c-4c41-9d8e-0c6b8f1f2a3b.local"
	respond(t, "127.0.0.1", name)
	for how, inOffer := range map[string]bool{"in the offer": true, "trickled": false} {
		t.Run(how, func(t *testing.T) {
			p := newTestPool(t, func(cfg *Config) { cfg.Network.MDNS = true })
			s, r := open(t, p, "s")
			f := newTestSFU(t, sfuOn(webrtc.NetworkTypeUDP4))
			f.add(opus, "mic", "alice")
			bare, candidates := withoutCandidates(f.offer(nil))
			if inOffer {
				for _, c := range named(candidates, name) {
					bare += "a=" + c.Candidate + "\r\n"
				}
			}
			ours, _ := withoutCandidates(mustAnswer(t, s, bare))
			f.accept(ours)
			if !inOffer {
				for _, c := range named(candidates, name) {
					if got := give(t, s, 0, c); got != CandidateKept {
						t.Errorf("%s: %v", c.Candidate, got)
					}
				}
			}
			r.flowing(t, "mic")
			if got := p.Stats().Network.Refused.MDNS; got != 0 {
				t.Errorf("%d refused", got)
			}
		})
	}
}

func TestS22_NamesAreIgnoredByDefault(t *testing.T) {
	p := newTestPool(t, nil)
	s, _ := open(t, p, "s")
	const c = "candidate:1 1 udp 2130706431 0a1b2c3d-0000-4000-8000-000000000000.local 9 typ host"
	mustAnswer(t, s, offertest.Of(offertest.Audio)+"a="+c+"\r\n")
	if got := give(t, s, 0, Candidate{Candidate: c}); got != CandidateIgnored {
		t.Error(got)
	}
	if got := p.Stats().Network.Refused.MDNS; got != 2 {
		t.Errorf("%d counted, want 2", got)
	}
}

// Of one session only so many names are looked up, and what a name says is judged like any address.
func TestS22_NamesAreBoundedAndJudged(t *testing.T) {
	t.Parallel()
	const metadata = "metadata-00000000.local"
	respond(t, "169.254.169.254", metadata)
	p := newTestPool(t, func(cfg *Config) { cfg.Network.MDNS = true })
	s, _ := open(t, p, "s")
	mustAnswer(t, s, offertest.Of(offertest.Audio)+"a=candidate:1 1 udp 2130706431 "+metadata+" 80 typ host\r\n")
	waitFor(t, "the metadata service to be refused", func() bool { return p.Stats().Network.Refused.Metadata == 1 })
	for i := range 50 {
		want := CandidateKept
		if i >= namesPerSession-1 {
			want = CandidateIgnored
		}
		c := fmt.Sprintf("candidate:1 1 udp 2130706431 nobody-%08d.local 9 typ host", i)
		if got := give(t, s, 0, Candidate{Candidate: c}); got != want {
			t.Errorf("name %d: %v", i, got)
		}
	}
	// Nobody answers: all are given up in bounded time.
	waitFor(t, "all to be given up", func() bool { return p.Stats().Network.Refused.MDNS == 50 })
}
