package service

import (
	"testing"

	"google.golang.org/grpc/codes"

	penstockv1 "github.com/penstock-media/penstock/api/penstock/v1"
)

// TestP4_WhoWaitsForAnOwnerIsToldToo kills the owner of a session, whose lease lasts, and drains the pod where a stream and a conversation of it then wait for the next one: they are told at once that it
// goes away, once, and not by their end at the deadline only.
func TestP4_WhoWaitsForAnOwnerIsToldToo(t *testing.T) {
	pods := startSteadyPods(t, 2)
	leaving, gone := pods[0], pods[1]
	gone.create("call")
	k := leaving.talk("call")
	leaving.publishFrom("call")
	w := leaving.watch("call")
	gone.kill()
	leaving.await(func() bool { return leaving.svc.pods.Stats().Open == 0 }) // no owner serves them any more
	hurry, outcome := leaving.drainOf()
	w.event(func(e *penstockv1.StreamEvent) bool { return e.GetGoingAway() != nil })
	k.until("that the pod goes away", func(m *penstockv1.SignalResponse) bool { return m.GetGoingAway() != nil })
	hurry()
	for {
		m, err := w.stream.Recv()
		if err != nil {
			wantStatus(t, err, codes.Unavailable, "DRAINING")
			break
		}
		if m.GetEvent().GetGoingAway() != nil {
			t.Error("the stream is told twice")
		}
	}
	wantStatus(t, k.Wait(), codes.Unavailable, "DRAINING")
	told := 0
	for _, m := range k.all() {
		if m.GetGoingAway() != nil {
			told++
		}
	}
	if told != 1 {
		t.Errorf("the conversation is told %d times", told)
	}
	<-outcome
}
