package service

import (
	"testing"

	penstockv1 "github.com/penstock-media/penstock/api/penstock/v1"
	"github.com/penstock-media/penstock/internal/sfutest/clips"
)

// TestP1_StreamsOfAnotherPodAreTheSame streams from the pod that has the session and through two others: header, frames, watermark, a pause and the session's
// end come the same way everywhere, and every stream is on the owner's time line and epoch.
func TestP1_StreamsOfAnotherPodAreTheSame(t *testing.T) {
	pods := startSteadyPods(t, 3)
	owner := pods[0]
	owner.create("call")
	_, cam := pods[1].publishFrom("call")
	var watchers []*watcher
	for _, p := range pods {
		watchers = append(watchers, p.watch("call"))
	}
	fence := owner.svc.session(key("call")).fence
	for i, w := range watchers {
		for range 5 {
			picture := w.video()
			if mark := luma(picture); mark != cam.Clip.Watermark {
				t.Errorf("pod %d: watermark %d", i, mark)
			}
			if picture.GetInfo().GetEpoch() != fence.Epoch {
				t.Errorf("pod %d: epoch %d, the owner's is %d", i, picture.GetInfo().GetEpoch(), fence.Epoch)
			}
		}
	}
	for i := 1; i < 3; i++ {
		if n := pods[i].svc.Sessions(); n != 0 {
			t.Errorf("pod %d has %d sessions", i, n)
		}
	}
	_, err := pods[2].sessions.DeleteSession(pods[2].ctx, &penstockv1.DeleteSessionRequest{SessionId: "call"})
	must(t, err)
	for _, w := range watchers {
		wantEnded(t, w.reader, penstockv1.TrackEndReason_TRACK_END_REASON_SESSION_DELETED)
	}
}

// TestP3_StreamsGoOnWithTheNextOwner ends the pod that has the session, twice, while workers on the others read and wait: no stream ends, each is told a gap of
// what it missed, and shows the right publisher in the next epoch, that which waited for its track too.
func TestP3_StreamsGoOnWithTheNextOwner(t *testing.T) {
	pods := startPods(t, 3)
	pods[0].create("call")
	last := pods[2]
	sfu, cam := last.publishFrom("call")
	watchers := []*watcher{pods[1].watch("call"), last.watch("call")}
	waits := last.open(&penstockv1.StreamTrackRequest{SessionId: "call", Selector: byParticipant("bob", microphone)})
	epoch := watchers[0].last.GetEpoch()
	_, err := waits.stream.Header() // The owner has accepted it.
	must(t, err)
	pods[0].kill()
	last.republish(sfu)
	for i, w := range watchers {
		if frame := w.next(); frame.GetEpoch() <= epoch {
			t.Errorf("worker %d: epoch %d after %d", i, frame.GetEpoch(), epoch)
		}
		for range 5 {
			if mark := luma(w.video()); mark != cam.Clip.Watermark {
				t.Errorf("worker %d: watermark %d", i, mark)
			}
		}
	}
	mic := newTrack(t, sfu, "bob", microphone, clips.BobMicrophone())
	must(t, sfu.Publish(last.ctx, mic))
	if now := waits.audio().GetInfo(); !isFirst(now) || now.GetEpoch() <= epoch {
		t.Errorf("who waited over the loss of the owner got %v", now)
	}
	_, err = last.sessions.DeleteSession(last.ctx, &penstockv1.DeleteSessionRequest{SessionId: "call"})
	must(t, err)
	for _, w := range append(watchers[1:], &watcher{reader: waits}) {
		wantEnded(t, w.reader, penstockv1.TrackEndReason_TRACK_END_REASON_SESSION_DELETED)
	}
}

// TestP7_NoFrameOfAnOwnerBefore cuts the pod that has the session off from Redis and lets it go on, until another one has taken the session over, and then lets it
// find out: no worker, on any pod, gets a frame of the old epoch after one of the new; streams at the old pod go on from the new one, and the old one's peer
// connections are closed.
func TestP7_NoFrameOfAnOwnerBefore(t *testing.T) {
	pods := startPods(t, 3)
	old, via := pods[0], pods[2]
	old.create("call")
	sfu, cam := via.publishFrom("call")
	watchers := []*watcher{old.watch("call"), pods[1].watch("call"), via.watch("call")}
	fence := old.svc.session(key("call")).fence
	old.link.cut()
	_, err := via.store.Owner(via.ctx, key("call"), fence) // Another one, though the old one still answers.
	must(t, err)
	via.republish(sfu)
	for _, w := range watchers[1:] {
		w.next()
	}
	if n := old.svc.Sessions(); n != 1 { // It does not know.
		t.Errorf("the old owner has %d sessions", n)
	}
	old.link.mend()
	watchers[0].both = true
	watchers[0].next()
	for old.svc.Sessions() != 0 {
		mustTick(t, old.gateway)
	}
	for i, w := range watchers {
		for range 5 {
			w.frame()
		}
		if mark := luma(w.video()); mark != cam.Clip.Watermark {
			t.Errorf("worker %d: watermark %d", i, mark)
		}
	}
}
