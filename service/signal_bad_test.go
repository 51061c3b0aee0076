package service

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"
	"google.golang.org/grpc/codes"

	penstockv1 "github.com/penstock-media/penstock/api/penstock/v1"
)

// rawSignal is a Signal stream without anything around it.
type rawSignal struct {
	t *testing.T
	penstockv1.SessionService_SignalClient
}

// raw opens a stream, which ends with the test. With a session it sends open and reads the reply.
func (g *gateway) raw(session string) rawSignal {
	g.t.Helper()
	ctx, cancel := context.WithCancel(g.ctx)
	g.t.Cleanup(cancel)
	s, err := g.sessions.Signal(ctx)
	must(g.t, err)
	r := rawSignal{g.t, s}
	if session != "" {
		must(g.t, s.Send(openOf(session)))
		if m := r.next(); m.GetOpened().GetSessionId() != session || m.GetRequestId() != 1 {
			g.t.Fatalf("the reply to open is %v", m)
		}
	}
	return r
}

// openOf returns the request that opens a session's conversation.
func openOf(session string) *penstockv1.SignalRequest {
	return &penstockv1.SignalRequest{RequestId: 1, Message: &penstockv1.SignalRequest_Open{Open: &penstockv1.SignalOpen{SessionId: session}}}
}

// offerOf returns a request with an offer.
func offerOf(id uint64, sdp string) *penstockv1.SignalRequest {
	return &penstockv1.SignalRequest{RequestId: id, Message: &penstockv1.SignalRequest_Offer{Offer: &penstockv1.SignalOffer{Sdp: sdp}}}
}

// candidateOf returns a request with a candidate.
func candidateOf(id, generation uint64, text string) *penstockv1.SignalRequest {
	return &penstockv1.SignalRequest{RequestId: id, Message: &penstockv1.SignalRequest_Candidate{
		Candidate: &penstockv1.SignalCandidate{Generation: generation, Candidate: &penstockv1.IceCandidate{Candidate: text}},
	}}
}

// eventsOf returns a request with events.
func eventsOf(id uint64, e ...*penstockv1.CallEvent) *penstockv1.SignalRequest {
	return &penstockv1.SignalRequest{RequestId: id, Message: &penstockv1.SignalRequest_Events{Events: &penstockv1.SignalEvents{Events: e}}}
}

// next returns the next message.
func (r rawSignal) next() *penstockv1.SignalResponse {
	r.t.Helper()
	m, err := r.Recv()
	must(r.t, err)
	return m
}

// reply returns the next reply, whatever the gateway says by itself.
func (r rawSignal) reply() *penstockv1.SignalResponse {
	r.t.Helper()
	for {
		if m := r.next(); m.GetRequestId() != 0 {
			return m
		}
	}
}

// end reads to the status, which is io.EOF for OK.
func (r rawSignal) end() error {
	for {
		if _, err := r.Recv(); err != nil {
			return err
		}
	}
}

// TestSignalProtocolFaults ends conversations that do not begin with open, or open twice, or open nothing that is there.
func TestSignalProtocolFaults(t *testing.T) {
	g := startGateway(t)
	g.create("call")
	for name, c := range map[string]struct {
		first []*penstockv1.SignalRequest
		code  codes.Code
		want  string
	}{
		"nothing":       {[]*penstockv1.SignalRequest{{}}, codes.InvalidArgument, "INVALID_FIELD"},
		"an offer":      {[]*penstockv1.SignalRequest{offerOf(1, "v=0")}, codes.InvalidArgument, "INVALID_FIELD"},
		"twice":         {[]*penstockv1.SignalRequest{openOf("call"), openOf("call")}, codes.InvalidArgument, "INVALID_FIELD"},
		"no id":         {[]*penstockv1.SignalRequest{openOf("")}, codes.InvalidArgument, "INVALID_FIELD"},
		"a hostile id":  {[]*penstockv1.SignalRequest{openOf("*{}\n")}, codes.InvalidArgument, "INVALID_FIELD"},
		"an unknown id": {[]*penstockv1.SignalRequest{openOf("other")}, codes.NotFound, "SESSION_NOT_FOUND"},
	} {
		t.Run(name, func(t *testing.T) {
			s := g.raw("")
			for _, r := range c.first {
				if err := s.Send(r); err != nil && !errors.Is(err, io.EOF) {
					t.Fatal(err)
				}
			}
			wantStatus(t, s.end(), c.code, c.want)
		})
	}
	g.raw("call") // It can still be opened.
}

// TestSignalBadMessages sends everything that is wrong by itself: each gets its error, in place of a reply, and the conversation goes on.
func TestSignalBadMessages(t *testing.T) {
	g := startGateway(t)
	g.create("call")
	s := g.raw("call")
	iceServersOf := func(urls ...string) *penstockv1.SignalRequest {
		return &penstockv1.SignalRequest{Message: &penstockv1.SignalRequest_IceServers{
			IceServers: &penstockv1.SignalIceServers{IceServers: []*penstockv1.IceServer{{Urls: urls}}},
		}}
	}
	for i, c := range []struct {
		r      *penstockv1.SignalRequest
		reason string
		says   string
	}{
		{&penstockv1.SignalRequest{}, "INVALID_FIELD", "message:"},
		{offerOf(0, ""), "INVALID_FIELD", "offer.sdp:"},
		{&penstockv1.SignalRequest{Message: &penstockv1.SignalRequest_Offer{}}, "INVALID_FIELD", "offer.sdp:"},
		{offerOf(0, strings.Repeat("x", 3<<20)), "INVALID_FIELD", "offer.sdp:"},
		{offerOf(0, "hello"), "INVALID_SDP", "sdp:"},
		{offerOf(0, "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n"), "NO_MEDIA", "media"},
		{&penstockv1.SignalRequest{Message: &penstockv1.SignalRequest_Candidate{Candidate: &penstockv1.SignalCandidate{}}}, "INVALID_FIELD", "candidate.candidate:"},
		{candidateOf(0, 0, strings.Repeat("x", 5000)), "INVALID_FIELD", "candidate.candidate.candidate:"},
		{eventsOf(0, make([]*penstockv1.CallEvent, 1001)...), "INVALID_FIELD", "events.events:"},
		{iceServersOf("http://secret-host"), "INVALID_FIELD", "ice_servers.ice_servers[0]"},
		{iceServersOf(), "INVALID_FIELD", "ice_servers.ice_servers[0]"},
	} {
		c.r.RequestId = uint64(100 + i)
		must(t, s.Send(c.r))
		m := s.reply()
		e := m.GetError()
		if m.GetRequestId() != c.r.RequestId || e.GetReason() != c.reason || !strings.Contains(e.GetMessage(), c.says) || e.GetCode() != int32(codes.InvalidArgument) {
			t.Errorf("request %d got %v, want %s %q", i, m, c.reason, c.says)
		}
		if strings.Contains(e.GetMessage(), "secret") {
			t.Errorf("the error repeats what it was given: %v", e)
		}
	}
	// Unusable events and candidates are no errors.
	must(t, s.Send(eventsOf(200, &penstockv1.CallEvent{}, published("alice", 99), published("alice", camera))))
	if m := s.reply().GetEventsResult(); len(m.GetIgnored()) != 2 || m.GetRevision() == 0 {
		t.Errorf("the events got %v", m)
	}
	must(t, s.Send(candidateOf(201, 0, "nonsense")))
	if m := s.reply().GetCandidateResult(); m.GetResult() != penstockv1.CandidateResult_CANDIDATE_RESULT_IGNORED {
		t.Errorf("the candidate got %v", m)
	}
	must(t, s.Send(&penstockv1.SignalRequest{RequestId: 202, Message: &penstockv1.SignalRequest_IceServers{}}))
	if m := s.reply(); m.GetIceServersResult() == nil || m.GetRequestId() != 202 {
		t.Errorf("the ICE servers got %v", m)
	}
}

// TestSignalHalfClose sends much and says that it was all: everything is done and replied to, kind by kind in order, and then the stream ends
// with OK. The session stays.
func TestSignalHalfClose(t *testing.T) {
	g := startGateway(t)
	g.create("call")
	s := g.raw("")
	must(t, s.Send(openOf("call")))
	const n = 200
	for i := range uint64(n) {
		must(t, s.Send(eventsOf(1000+i, published(fmt.Sprint("p", i), camera))))
		must(t, s.Send(candidateOf(2000+i, 1, "")))
		must(t, s.Send(offerOf(3000+i, "hello")))
	}
	must(t, s.CloseSend())
	if s.next().GetOpened() == nil {
		t.Error("the first message is no reply to open")
	}
	next := map[uint64]uint64{1: 1000, 2: 2000, 3: 3000}
	var end error
	for end == nil {
		var m *penstockv1.SignalResponse
		m, end = s.Recv()
		if id := m.GetRequestId(); id != 0 {
			if next[id/1000] != id {
				t.Fatalf("reply %d, want %v", id, next)
			}
			next[id/1000]++
		}
	}
	if !errors.Is(end, io.EOF) || fmt.Sprint(next) != fmt.Sprint(map[uint64]uint64{1: 1000 + n, 2: 2000 + n, 3: 3000 + n}) {
		t.Errorf("ended with %v after %v", end, next)
	}
	if g.svc.Sessions() != 1 {
		t.Error("the session is gone")
	}
	// At once, without a word.
	s = g.raw("")
	must(t, s.CloseSend())
	if err := s.end(); !errors.Is(err, io.EOF) {
		t.Errorf("a stream on which nothing was sent ended with %v", err)
	}
}

// TestSignalNewerReplacesOlder opens a second conversation: the first ends with a reason, the second is the one that is told.
func TestSignalNewerReplacesOlder(t *testing.T) {
	g := startGateway(t)
	g.create("call")
	first, second := g.talk("call"), g.talk("call")
	wantStatus(t, first.Wait(), codes.Aborted, "SIGNAL_REPLACED")
	must(t, second.ReportEvents(g.ctx, published("alice", camera)))
	second.until("what is wanted", func(m *penstockv1.SignalResponse) bool { return m.GetWantedTrack() != nil })
	for _, m := range first.all() {
		if m.GetWantedTrack() != nil {
			t.Errorf("the older was told %v", m)
		}
	}
	if !second.listens() {
		t.Error("the end of the older has taken the newer one out")
	}
}

// TestSignalIsDrained tells a conversation that the process goes away, also one that is opened then, and ends both.
func TestSignalIsDrained(t *testing.T) {
	g := startGateway(t)
	g.create("one")
	g.create("two")
	before := g.talk("one")
	const long = 10 * time.Minute
	ctx, hurry := context.WithCancel(g.ctx)
	defer hurry()
	drained := make(chan struct{})
	go func() {
		defer close(drained)
		g.svc.Drain(ctx, long)
	}()
	goingAway := func(m *penstockv1.SignalResponse) bool { return m.GetGoingAway() != nil }
	m := before.until("going away", goingAway)
	if grace := m.GetGoingAway().GetGrace().AsDuration(); grace <= 0 || grace > long {
		t.Errorf("going away in %v", grace)
	}
	late := g.talk("two")
	late.until("going away", goingAway)
	must(t, before.ReportEvents(g.ctx, published("alice", camera)))
	hurry()
	for _, k := range []*talker{before, late} {
		wantStatus(t, k.Wait(), codes.Unavailable, "DRAINING")
	}
	<-drained
}

// TestSignalImpatience ends conversations that do not get on: one that is never opened, and one whose caller sends and does not read. A
// session is not hurt by that.
func TestSignalImpatience(t *testing.T) {
	g := startGateway(t, func(c *Config) { c.SignalPatience = 2 * time.Second })
	g.create("call")
	wantStatus(t, g.raw("").end(), codes.DeadlineExceeded, "DEADLINE")
	s := g.raw("call")
	stalled := make(chan error, 1)
	go func() {
		events := make([]*penstockv1.CallEvent, maxEvents) // The reply says of each why it is ignored.
		for i := range events {
			events[i] = &penstockv1.CallEvent{}
		}
		for i := uint64(2); ; i++ {
			if err := s.Send(eventsOf(i, events...)); err != nil {
				stalled <- err
				return
			}
		}
	}()
	for g.svc.session(key("call")).hub.listening() { // The status waits behind what is not read.
		mustTick(t, g)
	}
	wantStatus(t, s.end(), codes.ResourceExhausted, "CONSUMER_STALLED")
	if err := <-stalled; !errors.Is(err, io.EOF) {
		t.Error(err)
	}
	k := g.talk("call")
	must(t, k.ReportEvents(g.ctx, published("alice", camera)))
}

// sendAny sends on a stream that may have ended.
func sendAny(t *testing.T, s penstockv1.SessionService_SignalClient, r *penstockv1.SignalRequest) {
	t.Helper()
	if err := s.Send(r); err != nil && !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
}

// TestSignalComesAndGoes opens and drops 200 conversations, each at another point, and leaves nothing of them.
func TestSignalComesAndGoes(t *testing.T) {
	g := startGateway(t)
	g.create("call")
	g.raw("call")
	before := goleak.IgnoreCurrent()
	for i := range 200 {
		ctx, cancel := context.WithCancel(g.ctx)
		s, err := g.sessions.Signal(ctx)
		must(t, err)
		steps := []func(){
			func() { must(t, s.Send(openOf("call"))) },
			func() {
				if _, err := s.Recv(); err != nil { // One before it may have been slower.
					wantStatus(t, err, codes.Aborted, "SIGNAL_REPLACED")
				}
			},
			func() { sendAny(t, s, offerOf(2, "hello")) },
			func() { sendAny(t, s, candidateOf(3, 1, "")) },
			func() { sendAny(t, s, eventsOf(4, published("alice", camera))) },
			func() { must(t, s.CloseSend()) },
		}
		for _, step := range steps[:i%(len(steps)+1)] {
			step()
		}
		cancel()
	}
	// The first conversation was replaced; what is left is that of the server's connection. What follows the session may have begun after the first look.
	own := []goleak.Option{before, goleak.IgnoreAnyFunction("github.com/penstock-media/penstock/service.(*view).run"), goleak.IgnoreAnyFunction("github.com/penstock-media/penstock/service.(*session).guard")}
	for err := goleak.Find(own...); err != nil; err = goleak.Find(own...) { // It waits but a second or two each time.
		if g.ctx.Err() != nil {
			t.Fatal(err)
		}
	}
	for g.svc.session(key("call")).hub.listening() {
		mustTick(t, g)
	}
	k := g.talk("call")
	must(t, k.ReportEvents(g.ctx, published("alice", camera)))
}
