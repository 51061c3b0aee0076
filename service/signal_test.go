package service

import (
	"errors"
	"testing"

	"google.golang.org/grpc/codes"

	penstockv1 "github.com/penstock-media/penstock/api/penstock/v1"
	"github.com/penstock-media/penstock/internal/sfutest"
	"github.com/penstock-media/penstock/internal/sfutest/clips"
)

const (
	connected = penstockv1.PeerConnectionState_PEER_CONNECTION_STATE_CONNECTED
	closed    = penstockv1.PeerConnectionState_PEER_CONNECTION_STATE_CLOSED
)

// TestSignalMainJob does the whole job over Signal, with trickle both ways. In mid-call it loses the stream, and the frames
// go on; it opens it again, is told where things stand, and renegotiates, and the frames still go on.
func TestSignalMainJob(t *testing.T) {
	g := startGateway(t)
	g.create("call")
	k := g.talker("call")
	if s := k.open(0); s.GetState() != penstockv1.SessionState_SESSION_STATE_AWAITING_OFFER || s.GetGeneration() != 0 {
		t.Fatalf("opened: %v", s)
	}
	sfu := k.newSFU(sfutest.Config{Trickle: sfutest.TrickleWith})
	cam := newTrack(t, sfu, "alice", camera, clips.AliceCamera())
	must(t, sfu.Publish(g.ctx, cam))
	k.state(1, connected)
	resolved, err := g.tracks.ResolveTrack(g.ctx, &penstockv1.ResolveTrackRequest{SessionId: "call", Selector: byParticipant("alice", camera)})
	must(t, err)
	r := g.stream("call", byParticipant("alice", camera))
	seen := r.count()
	seen.further(5)

	k.Lose()
	seen.further(15)
	s := k.open(1)
	if s.GetState() != penstockv1.SessionState_SESSION_STATE_CONNECTED || s.GetGeneration() != 1 || s.GetExpireTime() != nil {
		t.Errorf("opened again: %v", s)
	}
	k.state(1, connected)
	wanted := k.until("what is wanted", func(m *penstockv1.SignalResponse) bool { return m.GetWantedTrack().GetWanted() })
	if w := wanted.GetWantedTrack(); w.GetTrack().GetTrackId() != resolved.GetTrack().GetTrackId() || w.GetWidth() != 320 {
		t.Errorf("wanted is %v", w)
	}
	for _, m := range k.all() {
		if m.GetRestart() != nil {
			t.Errorf("told %v though nothing is wrong", m)
		}
	}
	must(t, sfu.Publish(g.ctx, newTrack(t, sfu, "bob", camera, clips.BobCamera())))
	must(t, sfu.Renegotiate(g.ctx, true))
	g.stream("call", byParticipant("bob", camera)).video()
	seen.further(15)
	if interrupted, lost := seen.end(); interrupted != 0 || lost != 0 {
		t.Errorf("the stream was interrupted %d times and lost %d pictures", interrupted, lost)
	}
	must(t, k.Close())
}

// TestSignalEndsWithTheSession deletes the session: the reason is the last message, and the stream ends with OK. Then
// it cannot be opened any more.
func TestSignalEndsWithTheSession(t *testing.T) {
	g := startGateway(t)
	g.create("call")
	k := g.talk("call")
	_, err := g.sessions.DeleteSession(g.ctx, &penstockv1.DeleteSessionRequest{SessionId: "call"})
	must(t, err)
	must(t, k.Wait())
	heard := k.all()
	if n := len(heard); n == 0 || heard[n-1].GetEnded().GetReason() != penstockv1.SessionEndReason_SESSION_END_REASON_DELETED {
		t.Errorf("heard %v", heard)
	}
	_, err = k.Open(g.ctx, 0)
	if wantWrapped(t, err, codes.FailedPrecondition, "SESSION_ENDED"); k.listens() {
		t.Error("a conversation of a session that has ended")
	}
	_, err = g.talker("other").Open(g.ctx, 0)
	wantWrapped(t, err, codes.NotFound, "SESSION_NOT_FOUND")
}

// listens tells whether the gateway thinks that there is a conversation.
func (k *talker) listens() bool {
	v := k.g.svc.session(key(k.SessionID))
	return v != nil && v.hub.listening()
}

// wantWrapped is wantStatus for an error that wraps the status.
func wantWrapped(t *testing.T, err error, code codes.Code, reason string) {
	t.Helper()
	for e := err; e != nil; e = errors.Unwrap(e) {
		if _, ok := e.(interface{ Unwrap() error }); !ok {
			wantStatus(t, e, code, reason)
			return
		}
	}
	t.Fatal("no error")
}
