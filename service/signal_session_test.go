package service

import (
	"context"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pion/stun/v4"
	"go.opentelemetry.io/otel/trace/noop"

	penstockv1 "github.com/penstock-media/penstock/api/penstock/v1"
	"github.com/penstock-media/penstock/internal/sfutest"
	"github.com/penstock-media/penstock/internal/sfutest/clips"
	"github.com/penstock-media/penstock/media"
	"github.com/penstock-media/penstock/resolverstore"
	"github.com/penstock-media/penstock/rtcpool"
)

// heldSTUN is a STUN server (RFC 8489) that answers nothing until it is let go.
type heldSTUN struct {
	conn    net.PacketConn
	release chan struct{}
	letGo   func()
}

// newHeldSTUN returns one that ends with the test.
func newHeldSTUN(t *testing.T) *heldSTUN {
	t.Helper()
	conn, err := new(net.ListenConfig).ListenPacket(t.Context(), "udp4", "127.0.0.1:0")
	must(t, err)
	s := &heldSTUN{conn: conn, release: make(chan struct{})}
	s.letGo = sync.OnceFunc(func() { close(s.release) })
	var work sync.WaitGroup
	work.Go(s.run)
	t.Cleanup(func() {
		must(t, conn.Close())
		s.letGo()
		work.Wait()
	})
	return s
}

// server names it.
func (s *heldSTUN) server() *penstockv1.IceServer {
	return &penstockv1.IceServer{Urls: []string{"stun:" + s.conn.LocalAddr().String()}}
}

// mapped is the address that everybody is told to have (RFC 5737).
const mapped = "192.0.2.77"

func (s *heldSTUN) run() {
	buf := make([]byte, 1500)
	for {
		n, from, err := s.conn.ReadFrom(buf)
		if err != nil {
			return
		}
		<-s.release
		request := &stun.Message{Raw: append([]byte(nil), buf[:n]...)}
		if request.Decode() != nil {
			continue
		}
		at, ok := from.(*net.UDPAddr)
		if !ok {
			continue
		}
		reply, err := stun.Build(stun.NewTransactionIDSetter(request.TransactionID), stun.BindingSuccess,
			&stun.XORMappedAddress{IP: net.ParseIP(mapped), Port: at.Port}, stun.Fingerprint)
		if err == nil {
			_, _ = s.conn.WriteTo(reply.Raw, from) // One that is lost is asked for again.
		}
	}
}

// gatherSlowly lets answers that do not trickle wait for candidates as long as it takes.
func gatherSlowly(t *testing.T) func(*Config) {
	return func(c *Config) {
		decoders := media.NewDecodePool(1)
		pool, err := rtcpool.New(rtcpool.Config{
			Decoders: decoders, Logger: c.Logger, Tracer: noop.NewTracerProvider().Tracer(""), Loopback: true, GatherTimeout: hang,
		})
		must(t, err)
		c.Pool = pool
		t.Cleanup(decoders.Close)
		t.Cleanup(func() { must(t, pool.Close(context.Background())) })
	}
}

// offered returns an offer of a camera, with its candidates.
func offered(t *testing.T) string {
	t.Helper()
	pc, _ := cameraPeer(t)
	t.Cleanup(func() { must(t, pc.Close()) })
	return gathered(t, pc)
}

// TestSignalTrickles answers an offer while a candidate is still gathered. That one, and the end, follow the answer; whoever opens again
// is told of them again.
func TestSignalTrickles(t *testing.T) {
	g := startGateway(t, gatherSlowly(t))
	stunServer := newHeldSTUN(t)
	g.create("call")
	s := g.raw("call")
	must(t, s.Send(&penstockv1.SignalRequest{RequestId: 2, Message: &penstockv1.SignalRequest_IceServers{
		IceServers: &penstockv1.SignalIceServers{IceServers: []*penstockv1.IceServer{stunServer.server()}},
	}}))
	must(t, s.Send(offerOf(3, offered(t))))
	if m := s.reply(); m.GetIceServersResult() == nil {
		t.Fatalf("the ICE servers got %v", m)
	}
	var m *penstockv1.SignalResponse
	for m = s.next(); m.GetRequestId() == 0; m = s.next() {
		if m.GetCandidate() != nil {
			t.Errorf("before the answer came %v", m)
		}
	}
	if a := m.GetAnswer(); a == nil || a.GetCandidatesComplete() || a.GetGeneration() != 1 {
		t.Fatalf("the offer got %v", m)
	}
	stunServer.letGo()
	trickled := func(r rawSignal) string {
		var got []string
		for {
			c := r.next().GetCandidate()
			if c == nil {
				continue
			}
			got = append(got, c.GetCandidate().GetCandidate())
			if c.GetCandidate().SdpMid == nil || c.GetCandidate().UsernameFragment == nil || c.GetGeneration() != 1 {
				t.Errorf("the candidate %v does not say what it belongs to", c)
			}
			if c.GetCandidate().GetCandidate() == "" {
				return strings.Join(got, "\n")
			}
		}
	}
	first := trickled(s)
	if !strings.Contains(first, mapped) {
		t.Errorf("trickled %q", first)
	}
	if again := trickled(g.raw("call")); again != first {
		t.Errorf("opened again, trickled %q, want %q", again, first)
	}
	// A unary offer trickles too while somebody listens, and does not when nobody does.
	r, err := g.sessions.Negotiate(g.ctx, &penstockv1.NegotiateRequest{SessionId: "call", Generation: 2, Sdp: offered(t)})
	must(t, err)
	if r.GetAnswer().GetGeneration() != 2 {
		t.Errorf("the unary offer got %v", r)
	}
}

// TestSignalOfferHoldsNothingUp has an offer wait its turn behind one that gathers without end. Events and candidates that come after it are replied to
// before it is.
func TestSignalOfferHoldsNothingUp(t *testing.T) {
	g := startGateway(t, gatherSlowly(t))
	stunServer := newHeldSTUN(t)
	_, err := g.sessions.CreateSession(g.ctx, &penstockv1.CreateSessionRequest{SessionId: "call", IceServers: []*penstockv1.IceServer{stunServer.server()}})
	must(t, err)
	slow := make(chan *penstockv1.NegotiateResponse, 1)
	go func() {
		r, err := g.sessions.Negotiate(g.ctx, &penstockv1.NegotiateRequest{SessionId: "call", Sdp: offered(t)})
		if err != nil {
			t.Error(err)
		}
		slow <- r
	}()
	for g.session("call").GetState() != penstockv1.SessionState_SESSION_STATE_CONNECTING {
		mustTick(t, g) // Until the offer is applied; its answer gathers.
	}
	s := g.raw("call")
	offer := offerOf(10, offered(t))
	offer.GetOffer().Generation = 2
	must(t, s.Send(offer))
	const n = 20
	for i := range uint64(n) {
		must(t, s.Send(eventsOf(100+i, published(fmt.Sprint("p", i), camera))))
		must(t, s.Send(candidateOf(200+i, 0, "candidate:1 1 udp 2130706431 127.0.0.1 9 typ host")))
	}
	for range 2 * n {
		m := s.reply()
		if m.GetRequestId() == 10 {
			t.Fatal("the offer did not wait")
		}
		// Without a generation they are of the offer before them.
		if c := m.GetCandidateResult(); c != nil && c.GetResult() != penstockv1.CandidateResult_CANDIDATE_RESULT_KEPT {
			t.Errorf("the candidate of the offer that waits is %v", c)
		}
	}
	stunServer.letGo()
	if m := s.reply(); m.GetRequestId() != 10 || m.GetAnswer().GetGeneration() != 2 {
		t.Errorf("the offer got %v", m)
	}
	if a := (<-slow).GetAnswer(); !a.GetCandidatesComplete() || !strings.Contains(a.GetSdp(), mapped) {
		t.Errorf("without a conversation the answer was %v", a)
	}
}

// session returns a session as GetSession tells it.
func (g *gateway) session(id string) *penstockv1.Session {
	g.t.Helper()
	r, err := g.sessions.GetSession(g.ctx, &penstockv1.GetSessionRequest{SessionId: id})
	must(g.t, err)
	return r.GetSession()
}

// TestS3_OlderGenerationsOverSignal begins a generation while the one before streams. What is of an older one is dropped, with a reason.
func TestS3_OlderGenerationsOverSignal(t *testing.T) {
	g := startGateway(t)
	g.create("call")
	k := g.talk("call")
	sfu := k.newSFU(sfutest.Config{Trickle: sfutest.TrickleWith})
	must(t, sfu.Publish(g.ctx, newTrack(t, sfu, "alice", camera, clips.AliceCamera())))
	r := g.stream("call", byParticipant("alice", camera))
	must(t, sfu.Reconnect(g.ctx))
	k.state(2, connected)
	r.video()
	_, err := k.Negotiate(g.ctx, 1, offered(t))
	if err == nil || !strings.Contains(err.Error(), "DROP_REASON_STALE_GENERATION") {
		t.Errorf("an offer of the older generation: %v", err)
	}
	s := g.raw("call") // in place of k
	must(t, s.Send(candidateOf(2, 1, "")))
	if m := s.reply(); m.GetCandidateResult().GetResult() != penstockv1.CandidateResult_CANDIDATE_RESULT_DROPPED {
		t.Errorf("a candidate of the older generation: %v", m)
	}
	if n := g.session("call").GetGeneration(); n != 2 {
		t.Errorf("the session is at %d", n)
	}
	r.video()
}

// TestS5_CandidatesOverSignal sends candidates before their offer, and those that cannot be used; the media come through the candidates alone.
func TestS5_CandidatesOverSignal(t *testing.T) {
	g := startGateway(t)
	g.create("call")
	k := g.talk("call")
	sfu := k.newSFU(sfutest.Config{Trickle: sfutest.TrickleBefore})
	must(t, sfu.Publish(g.ctx, newTrack(t, sfu, "alice", camera, clips.AliceCamera())))
	g.stream("call", byParticipant("alice", camera))
	s := g.raw("call")
	for i, c := range []string{"", "candidate:", "a=candidate:x", "nonsense \x00"} {
		want := penstockv1.CandidateResult_CANDIDATE_RESULT_IGNORED
		if i < 2 {
			want = penstockv1.CandidateResult_CANDIDATE_RESULT_ADDED
		}
		must(t, s.Send(candidateOf(10, 1, c)))
		if got := s.reply().GetCandidateResult().GetResult(); got != want {
			t.Errorf("%q is %v, want %v", c, got, want)
		}
	}
}

// failing is a call whose first peer connection fails, since the other side is not who the offer says (RFC 8827).
func (g *gateway) failing(id string) (*talker, *sfutest.SFU) {
	g.t.Helper()
	_, err := g.sessions.CreateSession(g.ctx, &penstockv1.CreateSessionRequest{SessionId: id})
	must(g.t, err)
	k := g.talk(id)
	var broken atomic.Bool
	broken.Store(true)
	sfu := k.newSFU(sfutest.Config{Mangle: func(offer string) string {
		if broken.Swap(false) {
			return sfutest.WithWrongFingerprint(offer)
		}
		return offer
	}})
	must(g.t, sfu.Publish(g.ctx, newTrack(g.t, sfu, "alice", camera, clips.AliceCamera())))
	k.state(1, closed)
	return k, sfu
}

// restartOf tells whether a message asks to start again.
func restartOf(m *penstockv1.SignalResponse) bool { return m.GetRestart() != nil }

// TestS15_RestartIsToldAgain lets a connection fail: the failure and the need to start again are told, and told once more to whoever opens after
// signalling was lost; the session shows when it expires. A new generation mends it, and nothing is asked any more.
func TestS15_RestartIsToldAgain(t *testing.T) {
	g := startGateway(t)
	k, sfu := g.failing("call")
	asked := k.until("a new generation", func(m *penstockv1.SignalResponse) bool { return m.GetRestart().GetMinGeneration() == 2 }).GetRestart()
	if asked.GetReason() == "" || asked.GetIceRestart() {
		t.Errorf("asked for %v", asked)
	}
	k.Lose()
	s := k.open(1)
	if s.GetState() == penstockv1.SessionState_SESSION_STATE_CONNECTED || s.GetExpireTime() == nil || s.GetMinGeneration() != 2 {
		t.Errorf("opened again: %v", s)
	}
	if again := k.until("restart", restartOf).GetRestart(); fmt.Sprint(again) != fmt.Sprint(asked) {
		t.Errorf("asked again for %v, want %v", again, asked)
	}
	k.state(1, closed)
	must(t, sfu.Reconnect(g.ctx))
	k.state(2, connected)
	g.stream("call", byParticipant("alice", camera)).video()
	if s := k.open(2); s.GetState() != penstockv1.SessionState_SESSION_STATE_CONNECTED || s.GetExpireTime() != nil {
		t.Errorf("mended: %v", s)
	}
	k.state(2, connected)
	for _, m := range k.all() {
		if restartOf(m) {
			t.Errorf("asked for %v though all is well", m)
		}
	}
	// A caller that is further than the gateway knows must start again too.
	k.open(7)
	if r := k.until("restart", restartOf).GetRestart(); r.GetMinGeneration() != 8 || r.GetIceRestart() {
		t.Errorf("a caller at generation 7 is asked for %v", r)
	}
}

// TestS15_ExpiryHasItsReason lets the grace of sessions run out whose media never come: one whose signalling was there all the time is told so, one whose
// signalling was lost says that.
func TestS15_ExpiryHasItsReason(t *testing.T) {
	g := startGateway(t, func(c *Config) { c.Grace = 4 * time.Second })
	unreachable := func(id string) *talker {
		g.create(id)
		k := g.talk(id)
		network := sfutest.NewNetwork(1)
		network.Cut()
		sfu := k.newSFU(sfutest.Config{Network: network})
		must(t, sfu.Publish(g.ctx, newTrack(t, sfu, "alice", camera, clips.AliceCamera())))
		return k
	}
	stays, lost := unreachable("stays"), unreachable("lost")
	lost.Lose()
	if s := g.session("lost"); s.GetState() != penstockv1.SessionState_SESSION_STATE_CONNECTING || s.GetExpireTime() == nil {
		t.Errorf("the session that waits for its media is %v", s)
	}
	must(t, stays.Wait())
	heard := stays.all()
	if got := heard[len(heard)-1].GetEnded().GetReason(); got != penstockv1.SessionEndReason_SESSION_END_REASON_MEDIA_LOST {
		t.Errorf("the last message is %v", heard[len(heard)-1])
	}
	for g.session("lost").GetState() != penstockv1.SessionState_SESSION_STATE_ENDED {
		mustTick(t, g)
	}
	if got := g.session("lost").GetEndReason(); got != penstockv1.SessionEndReason_SESSION_END_REASON_SIGNALLING_LOST {
		t.Errorf("ended with %v", got)
	}
}

// TestOpenConversationKeepsAWaitingSession shows that a session that was not offered anything lives for as long as somebody listens, and expires
// after the grace when nobody does.
func TestOpenConversationKeepsAWaitingSession(t *testing.T) {
	g := startGateway(t, func(c *Config) { c.Grace = 2 * time.Second })
	g.create("kept")
	k := g.talk("kept")
	g.create("other") // Its end tells that the other's would have come.
	for g.session("other").GetState() != penstockv1.SessionState_SESSION_STATE_ENDED {
		mustTick(t, g)
	}
	if s := g.session("kept"); s.GetState() != penstockv1.SessionState_SESSION_STATE_AWAITING_OFFER || s.GetExpireTime() != nil {
		t.Errorf("the session is %v", s)
	}
	k.Lose()
	for g.session("kept").GetState() != penstockv1.SessionState_SESSION_STATE_ENDED {
		mustTick(t, g)
	}
	if got := g.session("kept").GetEndReason(); got != penstockv1.SessionEndReason_SESSION_END_REASON_SIGNALLING_LOST {
		t.Errorf("ended with %v", got)
	}
	rec, err := g.store.GetSession(g.ctx, key("kept"))
	must(t, err)
	if rec.EndReason != resolverstore.SessionSignallingLost {
		t.Errorf("the store says %v", rec.EndReason)
	}
}
