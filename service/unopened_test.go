package service

import (
	"testing"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/codes"

	penstockv1 "github.com/penstock-media/penstock/api/penstock/v1"
	"github.com/penstock-media/penstock/internal/sfutest"
	"github.com/penstock-media/penstock/internal/sfutest/clips"
)

// awaitBob opens a stream of bob's camera, of which there is nothing yet, and returns when an owner has accepted it.
func (p *pod) awaitBob(session string) *reader {
	p.t.Helper()
	r := p.open(&penstockv1.StreamTrackRequest{SessionId: session, Selector: byParticipant("bob", camera), Format: videoOf(&penstockv1.VideoFormat{Width: 320})})
	_, err := r.stream.Header()
	must(p.t, err)
	return r
}

// TestP4_WaitingStreamsGoElsewhereAtOnce drains a pod with streams that wait for their tracks: in a session of its own, in one of another pod, and in one whose owner has gone. They end as soon as the
// drain is told, long before its deadline, with the reason and when to try again; one that runs is told and goes on. A stream that comes later is served if its track is live, else sent
// elsewhere soon. Who waits at another pod notices nothing, though its session was the drained pod's.
func TestP4_WaitingStreamsGoElsewhereAtOnce(t *testing.T) {
	pods := startSteadyPods(t, 3)
	leaving, other, gone := pods[0], pods[1], pods[2]
	for id, p := range map[string]*pod{"mine": leaving, "call": other, "lost": gone} {
		if v := p.create(id); v.GetOwner() != p.svc.cfg.Owner {
			t.Fatalf("%s is placed at %s", id, v.GetOwner())
		}
	}
	leaving.publishFrom("call")
	runs := leaving.watch("call")
	waits := []*reader{leaving.awaitBob("mine"), leaving.awaitBob("call"), leaving.awaitBob("lost")}
	stays := other.awaitBob("mine")
	gone.kill()
	_, outcome := leaving.drainOf()
	for _, r := range waits {
		st := wantStatus(t, r.end(), codes.Unavailable, "DRAINING")
		if detail[*errdetails.RetryInfo](st).GetRetryDelay().AsDuration() <= 0 {
			t.Errorf("no time to try again: %v", st.Details())
		}
	}
	runs.event(func(e *penstockv1.StreamEvent) bool { return e.GetGoingAway() != nil })
	runs.frame()
	late := leaving.awaitBob("call")
	leaving.watch("call").cancel()
	wantStatus(t, late.end(), codes.Unavailable, "DRAINING")
	runs.frame()

	leaving.await(func() bool { return leaving.svc.Sessions() == 0 })
	sfu := other.sfu("mine", sfutest.MSIDStream)
	must(t, sfu.Publish(other.ctx, newTrack(t, sfu, "bob", camera, clips.AliceCamera())))
	stays.header()
	runs.cancel()
	<-outcome
}
