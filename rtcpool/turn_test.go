package rtcpool

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/penstock-media/penstock/rtcpool/internal/offer/offertest"
	"github.com/pion/webrtc/v4"
)

// openRelayed opens a session that has only relayed candidates.
func openRelayed(t *testing.T, p *Pool, servers ...ICEServer) (*Session, *recorder) {
	t.Helper()
	r := newRecorder()
	s, err := p.Open(SessionConfig{ID: "relayed", Observer: r, RelayOnly: true, ICEServers: servers})
	if err != nil {
		t.Fatal(err)
	}
	return s, r
}

// gathersToTheEnd lets a busy machine reach the relays.
func gathersToTheEnd(cfg *Config) { cfg.GatherTimeout = hang }

// onlyRelayed checks that an answer has one candidate, a relayed one.
func onlyRelayed(t *testing.T, answer string) {
	t.Helper()
	if got := candidatesOf(answer); len(got) != 1 || !strings.HasSuffix(got[0], " relay") {
		t.Errorf("candidates %q, want one that is relayed", got)
	}
}

func TestS22_TURNIsTheOnlyWay(t *testing.T) {
	t.Parallel()
	for _, transport := range []string{"UDP", "TCP", "TLS"} {
		t.Run(transport, func(t *testing.T) {
			t.Parallel()
			server := newTURNServer(t, 0)
			p := newTestPool(t, func(cfg *Config) { cfg.Network.RootCAs, cfg.GatherTimeout = server.authorities, hang })
			url := map[string]string{"UDP": server.udp, "TCP": server.tcp, "TLS": server.tls}[transport]
			s, r := openRelayed(t, p, server.credentials(t, url, "new", time.Hour))
			f := newTestSFU(t, sfuOn(webrtc.NetworkTypeUDP4))
			f.add(vp8, "cam", "alice")
			f.add(opus, "mic", "alice")
			onlyRelayed(t, f.negotiate(s, 0).SDP)
			for _, id := range []string{"cam", "mic"} {
				m := r.flowing(t, id)
				morePackets(t, m.Track, 50)
			}
			if got := server.allocations.Load(); got != 1 {
				t.Errorf("%d allocations, want 1", got)
			}
			// The session gives its allocation back when it ends.
			s.Close()
			waitFor(t, "the allocation to end", func() bool { return server.server.AllocationCount() == 0 })
		})
	}
}

func TestS22_TLSNeedsATrustedAuthority(t *testing.T) {
	server := newTURNServer(t, 0)
	p := newTestPool(t, gathersToTheEnd)
	s, _ := openRelayed(t, p, server.credentials(t, server.tls, "new", time.Hour))
	if got := candidatesOf(mustAnswer(t, s, offertest.Of(offertest.Audio))); len(got) != 0 {
		t.Errorf("candidates %q of a server that nobody vouches for", got)
	}
	if got := server.allocations.Load(); got != 0 {
		t.Errorf("%d allocations", got)
	}
}

func TestS22_ExpiredCredentialsAreReplaced(t *testing.T) {
	t.Parallel()
	for name, generation := range map[string]uint64{"ICE restart": 1, "new generation": 2} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := newTURNServer(t, 0)
			p := newTestPool(t, gathersToTheEnd)
			s, r := openRelayed(t, p, server.credentials(t, server.udp, "old", -time.Hour))
			f := newTestSFU(t, sfuOn(webrtc.NetworkTypeUDP4))
			f.add(opus, "mic", "alice")
			if got := candidatesOf(f.negotiate(s, 1).SDP); len(got) != 0 {
				t.Errorf("candidates %q with credentials that have expired", got)
			}
			if server.refused.Load() == 0 {
				t.Error("the server has refused nothing")
			}
			if err := s.SetICEServers(t.Context(), []ICEServer{server.credentials(t, server.udp, "new", time.Hour)}); err != nil {
				t.Fatal(err)
			}
			if generation == 2 {
				f = newTestSFU(t, sfuOn(webrtc.NetworkTypeUDP4))
				f.add(opus, "mic", "alice")
				onlyRelayed(t, f.negotiate(s, 2).SDP)
			} else {
				onlyRelayed(t, f.exchange(s, 1, f.offer(&webrtc.OfferOptions{ICERestart: true})).SDP)
			}
			m := r.flowing(t, "mic")
			morePackets(t, m.Track, 20)
		})
	}
}

// When a running relay can no longer be refreshed, the offerer is asked for an ICE restart while media still flow; with
// new credentials they go on.
func TestS22_ARunningRelayIsRenewedInTime(t *testing.T) {
	t.Parallel()
	server := newTURNServer(t, 4*time.Second)
	p := newTestPool(t, gathersToTheEnd)
	s, r := openRelayed(t, p, server.credentials(t, server.udp, "old", time.Hour))
	f := newTestSFU(t, sfuOn(webrtc.NetworkTypeUDP4))
	f.add(opus, "mic", "alice")
	f.negotiate(s, 0)
	mic := r.flowing(t, "mic")
	server.revoked.Store(true)
	r.until(t, "the wish for a restart", func() bool {
		return len(r.restarts) > 0 && r.restarts[0].ICE && strings.Contains(r.restarts[0].Reason, "refresh")
	})
	if got := p.Stats().Network.RelayRefreshesFailed; got == 0 {
		t.Error("not counted")
	}
	if err := s.SetICEServers(t.Context(), []ICEServer{server.credentials(t, server.udp, "new", time.Hour)}); err != nil {
		t.Fatal(err)
	}
	onlyRelayed(t, f.exchange(s, 0, f.offer(&webrtc.OfferOptions{ICERestart: true})).SDP)
	// Longer than the first allocation could live: 200 packets a second.
	morePackets(t, mic.Track, 1200)
	if again := r.flowing(t, "mic"); again.ID != mic.ID {
		t.Errorf("another media: %+v", again)
	}
}

func TestICEServersAreChecked(t *testing.T) {
	p := newTestPool(t, nil)
	s, _ := open(t, p, "s")
	for _, bad := range []ICEServer{{URLs: []string{"http://example.org"}}, {URLs: []string{"turn:127.0.0.1:1"}}, {URLs: []string{"stun:"}}} {
		if err := s.SetICEServers(context.Background(), []ICEServer{bad}); !errors.Is(err, ErrConfig) {
			t.Errorf("%+v: %v", bad, err)
		}
		if s, err := p.Open(SessionConfig{ID: "bad", Observer: newRecorder(), ICEServers: []ICEServer{bad}}); !errors.Is(err, ErrConfig) {
			t.Errorf("%+v: %v, %v", bad, s, err)
		}
	}
	if err := s.SetICEServers(context.Background(), []ICEServer{{URLs: []string{"stun:127.0.0.1:9"}}}); err != nil {
		t.Error(err)
	}
}
