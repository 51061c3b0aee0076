package service

import (
	"errors"
	"io"
	"testing"
	"time"

	"google.golang.org/grpc/codes"

	penstockv1 "github.com/penstock-media/penstock/api/penstock/v1"
	"github.com/penstock-media/penstock/internal/sfutest"
	"github.com/penstock-media/penstock/internal/sfutest/clips"
	"github.com/penstock-media/penstock/resolverstore"
)

// TestP1_SignalOnAnyPod holds a whole conversation at another pod than the owner's: offer, answer, candidates in both directions, states, what is wanted, a conversation that takes
// another's place wherever it comes in, and the session's end.
func TestP1_SignalOnAnyPod(t *testing.T) {
	pods := startSteadyPods(t, 3)
	pods[0].create("call")
	k := pods[1].talk("call")
	sfu := k.newSFU(sfutest.Config{MSID: sfutest.MSIDStream, Trickle: sfutest.TrickleWith})
	cam := newTrack(t, sfu, "alice", camera, clips.AliceCamera())
	must(t, sfu.Publish(pods[1].ctx, cam))
	k.state(1, penstockv1.PeerConnectionState_PEER_CONNECTION_STATE_CONNECTED)
	if mark := luma(pods[2].open(smallCamera("call")).video()); mark != cam.Clip.Watermark {
		t.Errorf("watermark %d", mark)
	}
	k.until("what is wanted", func(m *penstockv1.SignalResponse) bool { return m.GetWantedTrack().GetWidth() == 320 })
	for _, p := range pods {
		next := p.talk("call")
		wantStatus(t, k.Wait(), codes.Aborted, "SIGNAL_REPLACED")
		k = next
	}
	_, err := pods[1].sessions.DeleteSession(pods[1].ctx, &penstockv1.DeleteSessionRequest{SessionId: "call"})
	must(t, err)
	k.until("the end", func(m *penstockv1.SignalResponse) bool {
		return m.GetEnded().GetReason() == penstockv1.SessionEndReason_SESSION_END_REASON_DELETED
	})
	if err := k.Wait(); err != nil {
		t.Errorf("the conversation ended with %v", err)
	}
}

// TestP3_SignalIsToldToStartAgain ends the pod that has the session: the conversation at another pod stays open, tells a restart above the generation that was, hears nothing of being
// opened again, and the caller's next offer brings the media back.
func TestP3_SignalIsToldToStartAgain(t *testing.T) {
	pods := startPods(t, 3)
	pods[0].create("call")
	k := pods[1].talk("call")
	sfu := k.newSFU(sfutest.Config{MSID: sfutest.MSIDStream})
	cam := newTrack(t, sfu, "alice", camera, clips.AliceCamera())
	must(t, sfu.Publish(pods[1].ctx, cam))
	w := pods[2].watch("call")
	k.forget()
	pods[0].kill()
	restart := k.until("a restart", func(m *penstockv1.SignalResponse) bool { return m.GetRestart() != nil }).GetRestart()
	if restart.GetMinGeneration() <= 1 || restart.GetIceRestart() {
		t.Errorf("told %v", restart)
	}
	must(t, sfu.Reconnect(pods[1].ctx))
	w.next()
	if mark := luma(w.video()); mark != cam.Clip.Watermark {
		t.Errorf("watermark %d", mark)
	}
	for _, m := range k.all() {
		if m.GetOpened() != nil || m.GetError() != nil || m.GetGoingAway() != nil {
			t.Errorf("heard %v", m)
		}
	}
}

// TestP3_ABrokenWayToTheOwnerIsMended breaks the connection between a worker's pod and the owner, twice, while both live: the conversation and the stream go on with the same owner. The conversation
// is not taken for an older one that comes back, and the stream is told what it missed.
func TestP3_ABrokenWayToTheOwnerIsMended(t *testing.T) {
	pods := startSteadyPods(t, 2)
	pods[0].create("call")
	k := pods[1].talk("call")
	sfu := k.newSFU(sfutest.Config{MSID: sfutest.MSIDStream})
	must(t, sfu.Publish(pods[1].ctx, newTrack(t, sfu, "alice", camera, clips.AliceCamera())))
	w := pods[1].watch("call")
	epoch := w.last.GetEpoch()
	opened := func() time.Time {
		h := pods[0].svc.session(key("call")).hub
		h.mu.Lock()
		defer h.mu.Unlock()
		return h.since
	}
	since := opened()
	k.state(1, penstockv1.PeerConnectionState_PEER_CONNECTION_STATE_CONNECTED)
	k.forget()
	for range 2 {
		pods[0].lines.cut()
		k.state(1, penstockv1.PeerConnectionState_PEER_CONNECTION_STATE_CONNECTED) // told again to who opens
		k.forget()
		for told := false; !told; {
			_, gaps, frame := w.frame()
			for _, e := range gaps {
				told = told || e.GetGap().GetCause() == penstockv1.GapCause_GAP_CAUSE_RECONNECTED
			}
			if frame.GetEpoch() != epoch {
				t.Fatalf("epoch %d after %d", frame.GetEpoch(), epoch)
			}
		}
	}
	if now := opened(); !now.Equal(since) {
		t.Errorf("the conversation that was opened at %v is of %v", since, now)
	}
	must(t, sfu.Renegotiate(pods[1].ctx, false))
	next := pods[0].talk("call")
	wantStatus(t, k.Wait(), codes.Aborted, "SIGNAL_REPLACED")
	next.Lose()
}

// signalOf answers one call of Signal of a pod of a later version.
type signalOf struct {
	t *testing.T
	s interface {
		RecvMsg(any) error
		SendMsg(any) error
	}
}

func (o signalOf) asked() *penstockv1.SignalRequest {
	o.t.Helper()
	r := &penstockv1.SignalRequest{}
	must(o.t, o.s.RecvMsg(r))
	return r
}

func (o signalOf) says(m *penstockv1.SignalResponse) {
	o.t.Helper()
	must(o.t, o.s.SendMsg(m))
}

// TestP3_RequestsUnderWayAreAnswered loses an owner while requests are under way: each gets an error with its id that says to try again, in order, the next owner's leg begins with the
// generation that the caller is at, its reply to open is swallowed, and later requests are answered.
func TestP3_RequestsUnderWayAreAnswered(t *testing.T) {
	p := startSteadyPods(t, 1)[0]
	ends := make(chan error)
	owner := startLaterPod(t, p, "call", func(resolverstore.Fence, func([]byte) error) error { return <-ends })
	c, err := p.sessions.Signal(p.ctx)
	must(t, err)
	must(t, c.Send(&penstockv1.SignalRequest{RequestId: 1, Message: &penstockv1.SignalRequest_Open{Open: &penstockv1.SignalOpen{SessionId: "call"}}}))
	opened := func(id uint64) *penstockv1.SignalResponse {
		return &penstockv1.SignalResponse{RequestId: id, Message: &penstockv1.SignalResponse_Opened{Opened: &penstockv1.Session{SessionId: "call"}}}
	}
	next := func() *penstockv1.SignalResponse {
		m, err := c.Recv()
		must(t, err)
		return m
	}
	first := signalOf{t, <-owner.calls}
	if r := first.asked(); r.GetOpen().GetGeneration() != 0 {
		t.Errorf("opened with %v", r)
	}
	first.says(opened(1))
	if m := next(); m.GetRequestId() != 1 || m.GetOpened() == nil {
		t.Errorf("first heard %v", m)
	}
	ids := []uint64{2, 9, 9, 0}
	for _, id := range append([]uint64{5}, ids...) {
		must(t, c.Send(&penstockv1.SignalRequest{RequestId: id, Message: &penstockv1.SignalRequest_Offer{Offer: &penstockv1.SignalOffer{Generation: 4}}}))
		first.asked()
	}
	first.says(&penstockv1.SignalResponse{RequestId: 5, Message: &penstockv1.SignalResponse_Answer{Answer: &penstockv1.Answer{Generation: 4}}})
	if m := next(); m.GetAnswer().GetGeneration() != 4 {
		t.Errorf("heard %v", m)
	}
	ends <- fail(penstockv1.ErrorReason_ERROR_REASON_DRAINING, nil).status().Err()
	for _, id := range ids {
		if m := next(); m.GetRequestId() != id || m.GetError().GetReason() != "SESSION_MOVING" || codes.Code(m.GetError().GetCode()) != codes.Unavailable {
			t.Errorf("request %d: %v", id, m)
		}
	}
	second := signalOf{t, <-owner.calls}
	if r := second.asked(); r.GetOpen().GetGeneration() != 4 {
		t.Errorf("opened again with %v", r)
	}
	second.says(opened(1))
	second.says(&penstockv1.SignalResponse{Message: &penstockv1.SignalResponse_Restart{Restart: &penstockv1.SignalRestart{MinGeneration: 5}}})
	if m := next(); m.GetRestart().GetMinGeneration() != 5 {
		t.Errorf("heard %v", m)
	}
	must(t, c.CloseSend())
	ends <- nil
	if m, err := c.Recv(); !errors.Is(err, io.EOF) {
		t.Errorf("the end: %v %v", m, err)
	}
}

// TestP3_OlderConversationTakesNobodysPlace lets two conversations come over to a new owner: that which was opened first comes last, and takes the place of the other
// neither while that is open nor after.
func TestP3_OlderConversationTakesNobodysPlace(t *testing.T) {
	h := newHub("call")
	now := time.Now()
	over := func(since time.Time, again bool) *conversation {
		return &conversation{out: newOutbox(), since: since, again: again}
	}
	newer, older := over(now, true), over(now.Add(-time.Minute), true)
	if _, ok := h.attach(newer, func() {}, 0); !ok {
		t.Fatal("the newer one was refused")
	}
	if _, ok := h.attach(older, func() {}, 0); ok || !h.newer(older) {
		t.Error("the older one took its place")
	}
	h.detach(newer)
	if _, ok := h.attach(older, func() {}, 0); ok {
		t.Error("the older one took the place that was left")
	}
	if _, ok := h.attach(over(now.Add(-time.Hour), false), func() {}, 0); !ok {
		t.Error("one that was opened just now was refused by the clock of another pod")
	}
}
