package service

import (
	"context"
	"errors"
	"testing"

	penstockv1 "github.com/penstock-media/penstock/api/penstock/v1"
	"github.com/penstock-media/penstock/resolverstore"
)

// slowGuard is a store in which those who wait for a session's next owner hear of it late, when they are let go.
type slowGuard struct {
	resolverstore.Store
	letGo chan struct{}
}

// Owner implements resolverstore.Ownership.
func (s *slowGuard) Owner(ctx context.Context, k resolverstore.SessionKey, not resolverstore.Fence) (resolverstore.Owner, error) {
	owner, err := s.Store.Owner(ctx, k, not)
	if not == (resolverstore.Fence{}) || err != nil {
		return owner, err
	}
	select {
	case <-s.letGo:
		return owner, nil
	case <-ctx.Done():
		return resolverstore.Owner{}, context.Cause(ctx)
	}
}

// answered is what two calls at one pod that wait for a track came to.
type answered struct {
	epoch uint64 // of the picture
	track string // that was resolved
	err   error
}

// ask asks for a picture of alice's camera, and for its track, beside the test.
func (p *pod) ask(session string) <-chan answered {
	out := make(chan answered, 1)
	go func() {
		var a answered
		frame, err := p.tracks.GetFrame(p.ctx, &penstockv1.GetFrameRequest{SessionId: session, Selector: byParticipant("alice", camera)})
		a.epoch, a.err = frame.GetFrame().GetInfo().GetEpoch(), err
		if err == nil {
			var track *penstockv1.ResolveTrackResponse
			track, a.err = p.tracks.ResolveTrack(p.ctx, &penstockv1.ResolveTrackRequest{SessionId: session, Selector: byParticipant("alice", camera)})
			a.track = track.GetTrack().GetTrackId()
		}
		out <- a
	}()
	return out
}

// wants returns how many wishes an open session knows of.
func (v *session) wants() (n int) {
	v.hub.mu.Lock()
	defer v.hub.mu.Unlock()
	for _, of := range v.hub.demand.wants {
		n += len(of)
	}
	return n
}

// TestP7_CallsThatWaitFollowTheSession: GetFrame and ResolveTrack wait at an owner, and at another pod, for a track when the session gets another owner. They wait on
// there, and are answered by it.
func TestP7_CallsThatWaitFollowTheSession(t *testing.T) {
	pods := startSteadyPods(t, 2)
	pods = ownerFirst(pods, pods[0].create("call"))
	live := pods[0].svc.session(key("call"))
	answers := []<-chan answered{pods[0].ask("call"), pods[1].ask("call")}
	type resolved struct {
		r   *penstockv1.ResolveTrackResponse
		err error
	}
	tracks := make(chan resolved, len(pods))
	for _, p := range pods {
		go func() {
			r, err := p.tracks.ResolveTrack(p.ctx, &penstockv1.ResolveTrackRequest{SessionId: "call", Selector: byParticipant("alice", camera)})
			tracks <- resolved{r, err}
		}()
	}
	pods[0].await(func() bool { return live.wants() == 4 })
	v, err := pods[1].svc.takeOver(pods[1].ctx, key("call"), live.fence, true)
	must(t, err)
	pods[1].await(func() bool { return v.wants() == 4 })
	pods[1].publishFrom("call")
	var id string
	for range pods {
		got := <-tracks
		must(t, got.err)
		id = got.r.GetTrack().GetTrackId()
	}
	for _, c := range answers {
		got := <-c
		must(t, got.err)
		if got.epoch != v.fence.Epoch || got.track != id {
			t.Errorf("a picture of epoch %d, not %d; track %q, not %q", got.epoch, v.fence.Epoch, got.track, id)
		}
	}
}

// TestP7_DeposedIsKnownBeforeItIsHeard: the store of a pod knows that a session has another owner, and whoever waits for that has not heard of it. Nothing is served of what
// is still here.
func TestP7_DeposedIsKnownBeforeItIsHeard(t *testing.T) {
	letGo := make(chan struct{})
	pods := startSteadyPods(t, 2, func(c *Config) { c.Store = &slowGuard{c.Store, letGo} })
	t.Cleanup(func() { close(letGo) })
	pods = ownerFirst(pods, pods[0].create("call"))
	live := pods[0].svc.session(key("call"))
	sfu, _ := pods[0].publishFrom("call")
	if got := <-pods[0].ask("call"); got.err != nil || got.epoch != live.fence.Epoch {
		t.Fatalf("before: %+v", got)
	}
	v, err := pods[1].svc.takeOver(pods[1].ctx, key("call"), live.fence, true)
	must(t, err)
	pods[0].await(func() bool { return pods[0].store.Deposed(live.key, live.fence) })
	pods[0].republish(sfu)
	got := <-pods[0].ask("call")
	must(t, got.err)
	if got.epoch != v.fence.Epoch {
		t.Errorf("a picture of epoch %d, not %d", got.epoch, v.fence.Epoch)
	}
}

// frozen is a store of which one call does not come back until it is let go, as if the process were paused in it.
type frozen struct {
	resolverstore.Store
	in, letGo chan struct{}
}

// GetSession implements resolverstore.Store.
func (s *frozen) GetSession(ctx context.Context, k resolverstore.SessionKey) (resolverstore.Session, error) {
	if k.ID == "frozen" {
		s.in <- struct{}{}
		<-s.letGo
	}
	return s.Store.GetSession(ctx, k)
}

// TestP7_CallsLeaveAnOwnerThatDoesNotAnswer: a call that another pod forwarded is stuck at an owner that is paused, whose connections stay open. As soon as the session has another
// owner that one answers.
func TestP7_CallsLeaveAnOwnerThatDoesNotAnswer(t *testing.T) {
	first := &frozen{in: make(chan struct{}, 1), letGo: make(chan struct{})}
	pods := startSteadyPods(t, 2, func(c *Config) {
		if first.Store == nil {
			first.Store = c.Store
			c.Store = first
		}
	})
	t.Cleanup(func() { close(first.letGo) })
	rec, err := pods[0].svc.create(pods[0].ctx, resolverstore.Session{Key: key("frozen"), Source: resolverstore.SourceOffers}, nil)
	must(t, err)
	got := make(chan *penstockv1.GetSessionResponse, 1)
	go func() {
		r, err := pods[1].sessions.GetSession(pods[1].ctx, &penstockv1.GetSessionRequest{SessionId: "frozen"})
		if err != nil {
			t.Error(err)
		}
		got <- r
	}()
	<-first.in
	v, err := pods[1].svc.takeOver(pods[1].ctx, key("frozen"), rec.Fence, true)
	must(t, err)
	if s := (<-got).GetSession(); s.GetEpoch() != v.fence.Epoch || s.GetOwner() != v.fence.Owner {
		t.Errorf("the answer is of %v", s)
	}
}

// TestP7_WhatIsOverHereGoesOnThere: the end of what a pod has of a session comes to a stream before the news that another pod has the session. It is not told.
func TestP7_WhatIsOverHereGoesOnThere(t *testing.T) {
	g := startGateway(t)
	g.call("call")
	live := g.svc.session(key("call"))
	track := g.untilState("call", "alice SOURCE_CAMERA", penstockv1.TrackState_TRACK_STATE_LIVE)
	resolved, err := g.store.Resolve(g.ctx, live.key, resolverstore.Selector{TrackID: track.GetTrackId()})
	must(t, err)
	st := &stream{svc: g.svc, attach: attacher{svc: g.svc, session: live, follow: live.view.follow(resolved, func() {})}, headers: 1}
	defer st.attach.unfollow()
	live.move()
	live.view.finish()
	for _, why := range []error{resolverstore.ErrTrackNotFound, resolverstore.ErrSessionEnded} {
		if err := st.finish(g.ctx, why); !errors.Is(err, errMoved) {
			t.Errorf("after %v: %v", why, err)
		}
	}
	gone := resolved
	gone.Media = &resolverstore.Media{ID: "gone"}
	if _, err := st.attach.subscribe(g.ctx, gone); !errors.Is(err, errMoved) {
		t.Errorf("media that are not here: %v", err)
	}
}

// TestP5_EndThatTheStoreDoesNotKnow: the store does not know yet that a session has ended here. Who asks for its media is told, and does not look for them for ever.
func TestP5_EndThatTheStoreDoesNotKnow(t *testing.T) {
	g := startGateway(t)
	g.call("call")
	live := g.svc.session(key("call"))
	live.view.finish()
	a := attacher{svc: g.svc, session: live}
	if _, err := a.subscribe(g.ctx, resolverstore.Track{Media: &resolverstore.Media{ID: "gone"}}); !errors.Is(err, resolverstore.ErrSessionEnded) {
		t.Errorf("media that are not here: %v", err)
	}
}
