package service

import (
	"testing"

	penstockv1 "github.com/penstock-media/penstock/api/penstock/v1"
)

// TestP1_StreamsOfAnotherPodAreTheSame streams from the pod that has the session and through two others: header, frames, watermark, a pause and the session's
// end come the same way everywhere, and every stream is on the owner's time line and epoch.
func TestP1_StreamsOfAnotherPodAreTheSame(t *testing.T) {
	pods := startPods(t, 3)
	owner := pods[0]
	owner.create("call")
	_, cam := pods[1].publishFrom("call")
	var watchers []*watcher
	for _, p := range pods {
		watchers = append(watchers, p.watch("call"))
	}
	fence := owner.svc.session("call").fence
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
