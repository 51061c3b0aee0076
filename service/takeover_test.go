package service

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	penstockv1 "github.com/penstock-media/penstock/api/penstock/v1"
	"github.com/penstock-media/penstock/connector/whip"
	"github.com/penstock-media/penstock/internal/sfutest/clips"
	"github.com/penstock-media/penstock/resolverstore"
	"github.com/penstock-media/penstock/rtcpool"
)

// ownerFirst puts the pod that owns a session in front.
func ownerFirst(pods []*pod, s *penstockv1.Session) []*pod {
	out := slices.Clone(pods)
	slices.SortStableFunc(out, func(a, b *pod) int {
		switch s.GetOwner() {
		case a.svc.cfg.Owner:
			return -1
		case b.svc.cfg.Owner:
			return 1
		}
		return 0
	})
	return out
}

// record returns a session as the store has it, seen by a pod.
func (p *pod) record(session string) resolverstore.Session {
	p.t.Helper()
	rec, err := p.store.GetSession(p.ctx, key(session))
	must(p.t, err)
	return rec
}

// adopted waits until another pod owns the session, and returns it and the record. Nobody is asked but the store.
func adopted(pods []*pod, session string, before resolverstore.Fence) (*pod, resolverstore.Session) {
	pods[0].t.Helper()
	var by *pod
	pods[0].await(func() bool {
		for _, p := range pods {
			if v := p.svc.session(key(session)); v != nil && v.fence != before {
				by = p
				return true
			}
		}
		return false
	})
	return by, by.record(session)
}

// TestP2_OrphanIsTakenOver kills the owner of a call. Without any caller asking, one of the other pods takes the session over with a higher epoch, waits for an offer
// of a higher generation, and uses the ICE servers that nobody told it. What the old owner writes late is refused; when it hears of Redis again it closes what it
// has, ends nothing, and says so.
func TestP2_OrphanIsTakenOver(t *testing.T) {
	stunServer := newHeldSTUN(t)
	stunServer.letGo()
	pods := startPods(t, 3)
	created, err := pods[0].sessions.CreateSession(pods[0].ctx, &penstockv1.CreateSessionRequest{
		SessionId: "call", IceServers: []*penstockv1.IceServer{stunServer.server()},
	})
	must(t, err)
	pods = ownerFirst(pods, created.GetSession())
	old, rest := pods[0], pods[1:]
	sfu, _ := old.publishFrom("call")
	stale, err := sfu.Offer(old.ctx)
	must(t, err)
	old.watch("call")
	live := old.svc.session(key("call"))
	before := live.fence

	old.kill()
	by, rec := adopted(rest, "call", before)
	if rec.Fence.Epoch <= before.Epoch || rec.State != resolverstore.SessionAwaitingOffer || rec.MinGeneration != 2 || rec.Expires.IsZero() {
		t.Errorf("taken over is %+v, before %+v", rec, before)
	}
	if n := rest[0].svc.Sessions() + rest[1].svc.Sessions(); n != 1 {
		t.Errorf("the other pods have %d sessions", n)
	}
	r, err := by.sessions.Negotiate(by.ctx, &penstockv1.NegotiateRequest{SessionId: "call", Generation: 1, Sdp: stale})
	must(t, err)
	if d := r.GetDropped(); d.GetReason() != penstockv1.DropReason_DROP_REASON_STALE_GENERATION || d.GetMinGeneration() != 2 {
		t.Errorf("an offer of before: %v", r)
	}
	r, err = by.sessions.Negotiate(by.ctx, &penstockv1.NegotiateRequest{SessionId: "call", Generation: 2, Sdp: stale})
	must(t, err)
	if !strings.Contains(r.GetAnswer().GetSdp(), mapped) {
		t.Errorf("the new owner does not know the ICE servers:\n%s", r.GetAnswer().GetSdp())
	}

	old.link.mend()
	old.await(func() bool { return old.svc.Sessions() == 0 })
	<-live.rtc.Done()
	<-live.gone
	connected := resolverstore.SessionConnected
	old.await(func() bool { // It may have heard of the new owner before its first heartbeat.
		_, err = old.store.UpdateSession(old.ctx, key("call"), before, resolverstore.SessionUpdate{State: &connected})
		return !errors.Is(err, resolverstore.ErrUnavailable)
	})
	if !errors.Is(err, resolverstore.ErrFenced) {
		t.Errorf("a late write: %v", err)
	}
	if got := old.svc.Stats(); got.Deposed != 1 || got.TakenOver != 0 {
		t.Errorf("the old owner counts %+v", got)
	}
	by.await(func() bool { return by.svc.Stats().TakenOver > 0 }) // the session is there before it is counted
	if got := by.svc.Stats(); got.TakenOver != 1 || got.Deposed != 0 {
		t.Errorf("the new owner counts %+v", got)
	}
	if now := by.record("call"); now.State == resolverstore.SessionEnded || now.Fence != rec.Fence {
		t.Errorf("after the old owner is back: %+v", now)
	}
}

// TestP2_WhoAsksTakesOver kills the owner of a session while callers ask another pod for it: they wait, and are served by whoever has taken it over, well
// within the bound. Where nobody may take over yet a call ends in time, and says that it helps to try again.
func TestP2_WhoAsksTakesOver(t *testing.T) {
	pods := startPods(t, 3, func(c *Config) { c.MoveTimeout = hang })
	pods = ownerFirst(pods, pods[0].create("call"))
	old, rest := pods[0], pods[1:]
	before := old.svc.session(key("call")).fence
	old.kill()
	ctx, cancel := context.WithTimeout(old.ctx, podLease/4) // not enough for a lease to run out
	defer cancel()
	_, err := rest[0].sessions.AddIceCandidate(ctx, &penstockv1.AddIceCandidateRequest{SessionId: "call", Generation: 1, Candidate: &penstockv1.IceCandidate{}})
	if c := status.Code(err); c != codes.DeadlineExceeded && c != codes.Unavailable {
		t.Errorf("a hasty call: %v", err)
	}
	type reply struct {
		r   *penstockv1.AddIceCandidateResponse
		err error
	}
	replies := make(chan reply, 8)
	for i := range cap(replies) {
		go func() {
			for {
				r, err := rest[i%2].sessions.AddIceCandidate(old.ctx, &penstockv1.AddIceCandidateRequest{SessionId: "call", Generation: 9, Candidate: &penstockv1.IceCandidate{}})
				if status.Code(err) != codes.Unavailable {
					replies <- reply{r, err}
					return
				}
			}
		}()
	}
	for range cap(replies) {
		if got := <-replies; got.err != nil || got.r.GetResult() != penstockv1.CandidateResult_CANDIDATE_RESULT_KEPT {
			t.Errorf("%v, %v", got.r, got.err)
		}
	}
	by, rec := adopted(rest, "call", before)
	by.await(func() bool { return by.svc.Stats().TakenOver > 0 })
	if rec.Fence.Epoch <= before.Epoch || by.svc.Stats().TakenOver != 1 || rest[0].svc.Sessions()+rest[1].svc.Sessions() != 1 {
		t.Errorf("taken over is %+v", rec)
	}
}

// TestP2_CallsForMovingSessionsAreBounded: as long as an owner that is silent still has a lease, and no other one may take its place, calls end after MoveTimeout
// with SESSION_MOVING or that the pod cannot be reached, and say when to try again.
func TestP2_CallsForMovingSessionsAreBounded(t *testing.T) {
	pods := startPods(t, 2, func(c *Config) { c.MoveTimeout = 50 * time.Millisecond; c.Limits.Sessions = 1 })
	pods = ownerFirst(pods, pods[0].create("call"))
	full, err := pods[1].sessions.CreateSession(pods[1].ctx, &penstockv1.CreateSessionRequest{SessionId: "other"})
	must(t, err)
	if full.GetSession().GetOwner() != pods[1].svc.cfg.Owner { // It cannot take another one.
		t.Fatal(full)
	}
	pods[0].kill()
	var last error
	pods[1].await(func() bool {
		_, last = pods[1].sessions.AddIceCandidate(pods[1].ctx, &penstockv1.AddIceCandidateRequest{SessionId: "call", Candidate: &penstockv1.IceCandidate{}})
		reason, _ := errReason(last)
		return reason == "SESSION_MOVING"
	})
	if retry := detail[*errdetails.RetryInfo](wantStatus(t, last, codes.Unavailable, "SESSION_MOVING")); retry == nil {
		t.Error("it does not say when to try again")
	}
}

// TestP2_NobodyComesBack: a session that was taken over, and whose signalling does not come back, ends after its grace.
func TestP2_NobodyComesBack(t *testing.T) {
	pods := startPods(t, 2, func(c *Config) { c.Grace = 2 * time.Second })
	created := pods[0].create("call")
	pods = ownerFirst(pods, created)
	k := pods[1].talk("call") // which keeps it until then
	before := pods[0].svc.session(key("call")).fence
	pods[0].kill()
	by, _ := adopted(pods[1:], "call", before)
	k.Lose()
	by.await(func() bool { return by.record("call").State == resolverstore.SessionEnded })
	if rec := by.record("call"); rec.EndReason != resolverstore.SessionSignallingLost || rec.Fence.Owner != by.svc.cfg.Owner {
		t.Errorf("it ended as %+v", rec)
	}
}

// TestP2_WHIPPublisherPublishesAgain kills the pod that a WHIP publisher publishes to. At the next one its resource is unknown, and it publishes again into the same
// session: the same track is live again, of a higher generation.
func TestP2_WHIPPublisherPublishesAgain(t *testing.T) {
	pods := startPods(t, 2, func(c *Config) { c.WHIPCreate = true })
	_, err := pods[0].publishWHIP(pods[0].whipEndpoint()+"studio?user=bob", clips.BobCamera())
	must(t, err)
	got, err := pods[0].sessions.GetSession(pods[0].ctx, &penstockv1.GetSessionRequest{SessionId: "studio"})
	must(t, err)
	pods = ownerFirst(pods, got.GetSession())
	live := pods[0].svc.session(key("studio"))
	live.mu.Lock()
	resource := live.publisher
	live.mu.Unlock()
	before := live.fence
	pods[0].kill()
	by, rec := adopted(pods[1:], "studio", before)
	if rec.Source != resolverstore.SourceWHIP || rec.MinGeneration < 2 {
		t.Errorf("taken over is %+v", rec)
	}
	if _, err := by.svc.WHIP().RestartICE(by.ctx, "studio", resource, "ufrag", strings.Repeat("p", 22), nil); !errors.Is(err, whip.ErrNotFound) {
		t.Errorf("the old resource is restarted with %v", err)
	}
	if err := by.svc.WHIP().Unpublish(by.ctx, "studio", resource); !errors.Is(err, whip.ErrNotFound) {
		t.Errorf("the old resource is deleted with %v", err)
	}
	if by.record("studio").State != resolverstore.SessionAwaitingOffer {
		t.Errorf("then it is %+v", by.record("studio"))
	}
	_, err = by.publishWHIP(by.whipEndpoint()+"studio?user=bob", clips.BobCamera())
	must(t, err)
	wantVideo(t, by.open(&penstockv1.StreamTrackRequest{SessionId: "studio", Selector: byParticipant("bob", camera)}), clips.BobCamera())
	by.await(func() bool { return by.record("studio").Generation >= rec.MinGeneration }) // it is written beside what goes on
	if now := by.record("studio"); now.Fence != rec.Fence || now.Generation != rec.MinGeneration {
		t.Errorf("published again it is %+v", now)
	}
}

// TestP7_DeposedOwnerClosesWhatItHas cuts an owner off from Redis, and only from that, for so long that another pod takes its session over. Its own worker goes on with what
// is here, then follows to the new owner, and never gets an older epoch after the newer. When it hears of Redis the old owner closes its peer connections and
// says so once; it does not end the session.
func TestP7_DeposedOwnerClosesWhatItHas(t *testing.T) {
	pods := startPods(t, 2)
	pods = ownerFirst(pods, pods[0].create("call"))
	old, next := pods[0], pods[1]
	sfu, _ := next.publishFrom("call")
	w := old.watch("call")
	live := old.svc.session(key("call"))
	old.link.cut()
	by, rec := adopted(pods[1:], "call", live.fence)
	for range 5 { // It cannot know, and goes on.
		w.frame()
	}
	must(t, sfu.Reconnect(by.ctx))
	old.link.mend()
	<-live.rtc.Done()
	<-live.gone
	for _, _, f := w.frame(); f.GetEpoch() != rec.Fence.Epoch; _, _, f = w.frame() {
	}
	for range 5 {
		w.frame()
	}
	if got := old.svc.Stats(); got.Deposed != 1 {
		t.Errorf("the old owner counts %+v", got)
	}
	if old.svc.Sessions() != 0 || next.svc.Sessions() != 1 {
		t.Errorf("sessions: %d and %d", old.svc.Sessions(), next.svc.Sessions())
	}
	must(t, sfu.CloseOlder())
	next.await(func() bool { return next.record("call").State == resolverstore.SessionConnected }) // it is written beside what goes on
	if now := next.record("call"); now.Fence != rec.Fence {
		t.Errorf("it is %+v", now)
	}
}

// TestP2_LateEndIsRefused: what an owner of before has to say last, that its media or signalling were lost, does not end the session that is another's by now.
func TestP2_LateEndIsRefused(t *testing.T) {
	g := startGateway(t)
	g.create("call")
	live := g.svc.session(key("call"))
	old := newMirror(live.mirror.grace, time.Time{})
	old.SessionEnded(rtcpool.EndMediaLost)
	err := old.run(g.store, live.key, resolverstore.Fence{Owner: "of before", Epoch: live.fence.Epoch - 1}, g.svc.cfg.Logger)
	if !errors.Is(err, resolverstore.ErrFenced) {
		t.Errorf("its end is told with %v", err)
	}
	rec, err := g.store.GetSession(g.ctx, live.key)
	if err != nil || rec.State == resolverstore.SessionEnded {
		t.Errorf("the session is %+v, %v", rec, err)
	}
}

// TestSessionEndedByTheStoreIsClosed: the end of a session that another pod has told only the store closes what is here, and callers hear the reason.
func TestSessionEndedByTheStoreIsClosed(t *testing.T) {
	g := startGateway(t)
	g.call("call")
	k := g.talk("call")
	live := g.svc.session(key("call"))
	must(t, g.store.EndSession(g.ctx, live.key, resolverstore.SessionDeleted))
	<-live.gone
	k.until("the end", func(m *penstockv1.SignalResponse) bool {
		return m.GetEnded().GetReason() == penstockv1.SessionEndReason_SESSION_END_REASON_DELETED
	})
	if n := g.svc.Sessions(); n != 0 {
		t.Errorf("%d sessions", n)
	}
}

// besideTakeOver is a store that does something else when a session has been taken over in it, before who asked for that hears of it.
type besideTakeOver struct {
	resolverstore.Store
	do func(resolverstore.SessionKey)
}

func (s *besideTakeOver) TakeOver(ctx context.Context, k resolverstore.SessionKey, from resolverstore.Fence, consent bool) (resolverstore.Session, error) {
	rec, err := s.Store.TakeOver(ctx, k, from, consent)
	if s.do != nil {
		s.do(k)
	}
	return rec, err
}

// besidePods starts two pods, of which the second has such a store, and does something else.
func besidePods(t *testing.T, other func(*Config)) (pods []*pod, beside *besideTakeOver) {
	t.Helper()
	started := 0
	pods = startSteadyPods(t, 2, func(c *Config) {
		if started++; started == 2 {
			beside = &besideTakeOver{Store: c.Store}
			c.Store = beside
			other(c)
		}
	})
	return pods, beside
}

// TestP4_WhatIsBeingTakenOverIsHandedOn: a pod begins to drain while it is taking a session over. The session is not ended, but goes on to another pod, and the drain
// waits for that.
func TestP4_WhatIsBeingTakenOverIsHandedOn(t *testing.T) {
	pods, beside := besidePods(t, func(*Config) {})
	pods[0].create("call")
	first := pods[0].svc.session(key("call")).fence
	var outcome <-chan Drained
	beside.do = func(resolverstore.SessionKey) {
		_, outcome = pods[1].drainOf()
		pods[1].await(pods[1].svc.drain.told)
	}
	v, err := pods[1].svc.takeOver(pods[1].ctx, key("call"), first, true)
	must(t, err)
	if got := <-outcome; got != (Drained{HandedOver: 1}) {
		t.Errorf("the drain tells %+v", got)
	}
	if rec := pods[0].record("call"); rec.State == resolverstore.SessionEnded || rec.Fence.Owner != first.Owner || rec.Fence.Epoch <= v.fence.Epoch {
		t.Errorf("it is %+v", rec)
	}
}

// TestP4_WhatComesTooLateIsLeftToOthers: a pod has drained by the time that it has taken a session over. It does not open it, and does not end it either, since another one
// takes it over when this one is gone.
func TestP4_WhatComesTooLateIsLeftToOthers(t *testing.T) {
	pods, beside := besidePods(t, func(*Config) {})
	pods[0].create("call")
	beside.do = func(resolverstore.SessionKey) { pods[1].svc.drain.finish() }
	_, err := pods[1].svc.takeOver(pods[1].ctx, key("call"), pods[0].svc.session(key("call")).fence, true)
	if !errors.Is(err, errDraining) {
		t.Errorf("it is taken over with %v", err)
	}
	if rec := pods[0].record("call"); rec.State == resolverstore.SessionEnded || pods[1].svc.Sessions() != 0 {
		t.Errorf("it is %+v", rec)
	}
}

// TestP2_TakeOversKeepTheLimit: while a session is being taken over its place is taken. What finds none is refused before anything has happened to it.
func TestP2_TakeOversKeepTheLimit(t *testing.T) {
	pods, beside := besidePods(t, func(c *Config) { c.Limits.Sessions = 1 })
	for _, id := range []string{"one", "two"} {
		pods[0].create(id)
	}
	take := func(id string) error {
		_, err := pods[1].svc.takeOver(pods[1].ctx, key(id), pods[0].record(id).Fence, true)
		return err
	}
	before := pods[0].record("two").Fence
	beside.do = func(k resolverstore.SessionKey) {
		if k.ID != "one" {
			return
		}
		if err := take("two"); !errors.Is(err, errLimit) {
			t.Errorf("a second one is taken over with %v", err)
		}
	}
	must(t, take("one"))
	if rec := pods[0].record("two"); rec.Fence != before || rec.State == resolverstore.SessionEnded || pods[1].svc.Sessions() != 1 {
		t.Errorf("what found no place is %+v", rec)
	}
}
