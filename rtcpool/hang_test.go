package rtcpool

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/penstock-media/penstock/internal/leak"
	"github.com/penstock-media/penstock/rtcpool/internal/offer/offertest"
	"github.com/pion/ice/v4"
	"github.com/pion/webrtc/v4"
	"go.uber.org/goleak"
)

// silence is a server that takes everything and answers nothing.
type silence struct {
	udp, tcp string // host:port
	asked    atomic.Int64
}

func newSilence(t *testing.T) *silence {
	t.Helper()
	s := &silence{}
	u, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.udp, s.tcp = u.LocalAddr().String(), l.Addr().String()
	var work sync.WaitGroup
	work.Go(func() {
		for b := make([]byte, 2000); ; s.asked.Add(1) {
			if _, _, err := u.ReadFrom(b); err != nil {
				return
			}
		}
	})
	work.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			work.Go(func() {
				defer c.Close()
				b := make([]byte, 1)
				if _, err := c.Read(b); err == nil {
					s.asked.Add(1)
				}
				_, _ = io.Copy(io.Discard, c)
			})
		}
	})
	t.Cleanup(func() {
		_, _ = u.Close(), l.Close()
		work.Wait()
	})
	return s
}

// closesClean closes a session and sees that nothing of it is left. Close returns after 2 s in any case: what counts is that
// the session has ended by then.
func closesClean(t *testing.T, s *Session, before int) {
	t.Helper()
	s.Close()
	select {
	case <-s.Done():
	default:
		t.Error("Close has returned, and the session has not ended")
	}
	tick, limit := time.NewTicker(time.Millisecond), time.NewTimer(2*closeTimeout) // it takes milliseconds; DNS would take 5 s
	defer tick.Stop()
	defer limit.Stop()
	for openSockets(t) > before || s.pool.Stats().PeerConnections != 0 {
		select {
		case <-tick.C:
		case <-limit.C:
			t.Fatalf("%d sockets are open, %d were before; left: %+v", openSockets(t), before, s.pool.Stats())
		}
	}
	if n := s.pool.Stats(); n.Sessions != 0 {
		t.Errorf("left: %+v", n)
	}
}

// offerTrickling gives an offer and does not wait for candidates.
func offerTrickling(t *testing.T, s *Session, offer string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), hang)
	defer cancel()
	r, err := s.Negotiate(ctx, Offer{SDP: offer, Trickle: true})
	if err != nil || r.Answer == nil {
		t.Fatal(r, err)
	}
	return r.Answer.SDP
}

func TestS14_CloseWhileServersHang(t *testing.T) {
	mute := newSilence(t)
	servers := map[string]string{
		"STUN":             "stun:" + mute.udp,
		"TURN over UDP":    "turn:" + mute.udp + "?transport=udp",
		"TURN over TCP":    "turn:" + mute.tcp + "?transport=tcp",
		"TURN over TLS":    "turns:" + mute.tcp + "?transport=tcp",
		"TURN over DTLS":   "turns:" + mute.udp + "?transport=udp",
		"DNS for STUN":     "stun:stun.example.org:3478",
		"DNS for TURN/UDP": "turn:turn.example.org:3478?transport=udp",
		"DNS for TURN/TCP": "turn:turn.example.org:3478?transport=tcp",
	}
	for name, url := range servers {
		t.Run(name, func(t *testing.T) {
			p := newTestPool(t, func(cfg *Config) {
				cfg.Network.Resolver = &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
					return (&net.Dialer{}).DialContext(ctx, "udp4", mute.udp)
				}}
			})
			p.network.LetServersBeSlow(hang)
			others := goleak.IgnoreCurrent()
			defer func() {
				if err := leak.Find(others); err != nil {
					t.Error(err)
				}
			}()
			before := openSockets(t)
			s, err := p.Open(SessionConfig{ID: "s", Observer: newRecorder(), ICEServers: []ICEServer{{URLs: []string{url}, Username: "u", Credential: "c"}}})
			if err != nil {
				t.Fatal(err)
			}
			asked := mute.asked.Load()
			offerTrickling(t, s, offertest.Of(offertest.Audio))
			waitFor(t, "the server to be asked", func() bool { return mute.asked.Load() > asked })
			closesClean(t, s, before)
		})
	}
}

func TestS14_CloseWhileThePeerIsHalfConnected(t *testing.T) {
	mute := newSilence(t)
	p := newTestPool(t, nil)
	before := openSockets(t)
	s, _ := open(t, p, "s")
	offerTrickling(t, s, offertest.Of(offertest.Audio)+"a="+hostCandidate(mute.udp)+"\r\n")
	waitFor(t, "checks", func() bool { return mute.asked.Load() > 0 })
	closesClean(t, s, before)
}

// iceOnly is a peer that completes ICE and never begins with DTLS.
type iceOnly struct {
	conn net.Conn
	read atomic.Int64 // packets that are not checks: our DTLS
}

func connectICEOnly(t *testing.T, s *Session) *iceOnly {
	t.Helper()
	agent, err := ice.NewAgentWithOptions(ice.WithNetworkTypes([]ice.NetworkType{ice.NetworkTypeUDP4}), ice.WithIncludeLoopback(),
		ice.WithIPFilter(func(ip net.IP) bool { return ip.IsLoopback() }))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = agent.GracefulClose() })
	gathered := make(chan struct{})
	var lines strings.Builder
	if err := agent.OnCandidate(func(c ice.Candidate) {
		if c == nil {
			close(gathered)
			return
		}
		fmt.Fprintf(&lines, "a=candidate:%s\r\n", c.Marshal())
	}); err != nil {
		t.Fatal(err)
	}
	if err := agent.GatherCandidates(); err != nil {
		t.Fatal(err)
	}
	within(t, gathered, "gathering")
	ufrag, pwd, err := agent.GetLocalUserCredentials()
	if err != nil {
		t.Fatal(err)
	}
	offer := offertest.Of(offertest.Audio) + lines.String()
	offer = strings.Replace(strings.Replace(offer, "ice-ufrag:abcd", "ice-ufrag:"+ufrag, 1), "ice-pwd:0123456789012345678901", "ice-pwd:"+pwd, 1)
	answer := mustAnswer(t, s, offer)
	for _, c := range candidatesIn(answer) {
		remote, err := ice.UnmarshalCandidate(c)
		if err != nil {
			t.Fatal(err)
		}
		if err := agent.AddRemoteCandidate(remote); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), hang)
	defer cancel()
	peer := &iceOnly{}
	if peer.conn, err = agent.Dial(ctx, attributeOf(answer, "ice-ufrag"), attributeOf(answer, "ice-pwd")); err != nil {
		t.Fatal(err)
	}
	var reading sync.WaitGroup
	reading.Go(func() {
		for b := make([]byte, 2000); ; peer.read.Add(1) {
			if _, err := peer.conn.Read(b); err != nil {
				return
			}
		}
	})
	t.Cleanup(func() {
		_ = peer.conn.Close()
		reading.Wait()
	})
	return peer
}

func candidatesIn(sdp string) (out []string) {
	_, list := withoutCandidates(sdp)
	for _, c := range list {
		out = append(out, strings.TrimPrefix(c.Candidate, "candidate:"))
	}
	return out
}

// attributeOf returns the first value of an attribute.
func attributeOf(sdp, name string) string {
	_, rest, _ := strings.Cut(sdp, "a="+name+":")
	value, _, _ := strings.Cut(rest, "\r\n")
	return value
}

func TestS14_CloseInMidHandshake(t *testing.T) {
	p := newTestPool(t, nil)
	s, _ := open(t, p, "s")
	peer := connectICEOnly(t, s)
	waitFor(t, "our DTLS", func() bool { return peer.read.Load() > 0 })
	s.Close()
	select {
	case <-s.Done():
	default:
		t.Error("Close has returned, and the session has not ended")
	}
	if n := p.Stats(); n.PeerConnections != 0 || n.Sessions != 0 {
		t.Errorf("left: %+v", n)
	}
}

// muted is a socket that stops hearing.
type muted struct {
	net.PacketConn
	deaf atomic.Bool
}

func (m *muted) ReadFrom(b []byte) (int, net.Addr, error) {
	for {
		n, from, err := m.PacketConn.ReadFrom(b)
		if err != nil || !m.deaf.Load() {
			return n, from, err
		}
	}
}

func TestS14_CloseWhileARunningRelayHangs(t *testing.T) {
	server := newTURNServer(t, 0)
	p := newTestPool(t, gathersToTheEnd)
	before := openSockets(t)
	s, r := openRelayed(t, p, server.credentials(t, server.udp, "new", time.Hour))
	f := newTestSFU(t, sfuOn(webrtc.NetworkTypeUDP4))
	f.add(opus, "mic", "alice")
	f.negotiate(s, 0)
	r.flowing(t, "mic")
	server.socket.deaf.Store(true)
	// A further remote address needs a permission, which the server does not give any more: ICE waits for it.
	mute := newSilence(t)
	give(t, s, 0, Candidate{Candidate: strings.Replace(hostCandidate(mute.udp), "127.0.0.1", "127.0.0.9", 1)})
	f.close()
	closesClean(t, s, before+3) // those of the silent server, and the relay of the one that did not hear our goodbye
}

func TestS14_CloseIsImpatientOnlyAfterAWhile(t *testing.T) {
	p := newTestPool(t, nil)
	s, r := open(t, p, "s")
	f := newTestSFU(t)
	f.add(opus, "mic", "alice")
	closed := make(chan struct{})
	f.pc.OnConnectionStateChange(func(state webrtc.PeerConnectionState) {
		if state == webrtc.PeerConnectionStateClosed {
			close(closed)
		}
	})
	f.negotiate(s, 0)
	r.flowing(t, "mic")
	s.Close()
	within(t, closed, "our goodbye, by which the SFU knows at once")
}

func TestPoolCloseEndsWhenItsContextDoes(t *testing.T) {
	p := newTestPool(t, func(cfg *Config) { cfg.Network.UDPMuxPort = freePorts(t, 1) })
	open(t, p, "s")
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if err := p.Close(ctx); err != nil && !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if err := p.Close(context.Background()); err != nil {
		t.Error(err)
	}
}
