package service

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"

	"google.golang.org/grpc/codes"

	penstockv1 "github.com/penstock-media/penstock/api/penstock/v1"
	"github.com/penstock-media/penstock/resolverstore"
)

// deafToEnds is a store that cannot be told the end of a session while it is deaf.
type deafToEnds struct {
	resolverstore.Store
	deaf atomic.Bool
}

// EndOwned implements resolverstore.Store.
func (s *deafToEnds) EndOwned(ctx context.Context, k resolverstore.SessionKey, f resolverstore.Fence, reason resolverstore.SessionEndReason) error {
	if s.deaf.Load() {
		return fmt.Errorf("deaf: %w", resolverstore.ErrUnavailable)
	}
	return s.Store.EndOwned(ctx, k, f, reason)
}

// startDeaf starts a gateway on such a store.
func startDeaf(t *testing.T) (*gateway, *deafToEnds) {
	t.Helper()
	store := &deafToEnds{}
	g := startGateway(t, func(c *Config) {
		store.Store = c.Store
		c.Store = store
	})
	t.Cleanup(func() { store.deaf.Store(false) })
	return g, store
}

// told waits until the store knows that a session has ended, and that nothing is left to be told.
func (g *gateway) told(id string, reason resolverstore.SessionEndReason) {
	g.t.Helper()
	for {
		rec, err := g.store.GetSession(g.ctx, key(id))
		must(g.t, err)
		if _, left := g.svc.endings.of(key(id)); !left && rec.State == resolverstore.SessionEnded {
			if rec.EndReason != reason {
				g.t.Errorf("it ended for %v, not %v", rec.EndReason, reason)
			}
			return
		}
		mustTick(g.t, g)
	}
}

// TestP5_EndedSessionDoesNotComeBack: a session has ended while the store cannot be told. Nobody who asks for it meanwhile, here or by way of another pod, brings it back; all are told that
// it has ended, and why. The store is told when it can be.
func TestP5_EndedSessionDoesNotComeBack(t *testing.T) {
	g, store := startDeaf(t)
	g.call("call")
	live := g.svc.session(key("call"))
	waits := g.open(&penstockv1.StreamTrackRequest{SessionId: "call", Selector: byParticipant("nobody", camera)})
	_, err := waits.stream.Header()
	must(t, err)
	store.deaf.Store(true)
	live.mirror.endWith(resolverstore.SessionMediaLost)
	live.rtc.Close()
	for g.svc.Sessions() != 0 {
		mustTick(t, g)
	}
	wantStatus(t, waits.end(), codes.FailedPrecondition, "SESSION_ENDED")
	r, err := g.sessions.GetSession(g.ctx, &penstockv1.GetSessionRequest{SessionId: "call"})
	must(t, err)
	if s := r.GetSession(); s.GetState() != penstockv1.SessionState_SESSION_STATE_ENDED || s.GetEndReason() != penstockv1.SessionEndReason_SESSION_END_REASON_MEDIA_LOST {
		t.Errorf("it is %v", s)
	}
	n, err := g.sessions.Negotiate(g.ctx, &penstockv1.NegotiateRequest{SessionId: "call", Generation: 9, Sdp: "v=0\r\n"})
	must(t, err)
	if n.GetDropped() == nil {
		t.Errorf("an offer: %v", n)
	}
	stream, err := g.tracks.StreamTrack(g.ctx, smallCamera("call"))
	must(t, err)
	_, err = stream.Recv()
	wantStatus(t, err, codes.FailedPrecondition, "SESSION_ENDED")
	if _, err := g.svc.takeOver(g.ctx, live.key, live.fence, true); !errors.Is(err, resolverstore.ErrSessionEnded) {
		t.Errorf("it is taken over with %v", err)
	}
	if rec, err := g.store.GetSession(g.ctx, live.key); err != nil || rec.Fence != live.fence || g.svc.Sessions() != 0 {
		t.Errorf("it is back: %+v, %v", rec, err)
	}
	store.deaf.Store(false)
	g.told("call", resolverstore.SessionMediaLost)
}

// TestP5_WhatCannotBeOpenedIsEndedLater: a session that this process owns and cannot open is ended in the store, however often that takes.
func TestP5_WhatCannotBeOpenedIsEndedLater(t *testing.T) {
	g, store := startDeaf(t)
	rec, _, err := g.store.CreateSession(g.ctx, resolverstore.Session{Key: key("call"), Fence: resolverstore.Fence{Owner: g.svc.cfg.Owner, Epoch: 1}})
	must(t, err)
	store.deaf.Store(true)
	g.svc.abandon(g.ctx, rec)
	if !g.svc.endings.has(rec.Key, rec.Fence) {
		t.Error("it is forgotten")
	}
	store.deaf.Store(false)
	g.told("call", resolverstore.SessionDrained)
}
