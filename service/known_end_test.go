package service

import (
	"testing"

	"google.golang.org/grpc/codes"

	penstockv1 "github.com/penstock-media/penstock/api/penstock/v1"
	"github.com/penstock-media/penstock/resolverstore"
)

// endAlone ends a session of the pod, for a reason that nobody but the pod knows.
func (p *pod) endAlone(session string) {
	p.t.Helper()
	live := p.svc.session(key(session))
	live.mirror.endWith(resolverstore.SessionMediaLost)
	live.rtc.Close()
	p.await(func() bool { return p.svc.Sessions() == 0 })
}

// TestP5_AnEndWithoutRedisIsToldByTheOwner ends a session whose owner cannot tell Redis, while Redis is away for its owner alone, and for everybody, and one of which the other pod cannot read in Redis. Of that pod's
// streams, which have lost their way to the owner meanwhile, one that waits for its track and one that had it get the end, and a conversation its reason, while Redis is away still. The store is told later.
func TestP5_AnEndWithoutRedisIsToldByTheOwner(t *testing.T) {
	for name, away := range map[string]func(owner, other *pod){
		"away for the owner": func(owner, _ *pod) { owner.link.cut(); owner.await(owner.svc.Degraded) },
		"away for all":       func(owner, other *pod) { owner.link.cut(); other.link.cut(); owner.await(owner.svc.Degraded) },
		"away for the other": func(_, other *pod) { other.link.cut(); other.await(other.svc.Degraded) },
	} {
		t.Run(name, func(t *testing.T) {
			pods := startSteadyPods(t, 2)
			pods = ownerFirst(pods, pods[0].create("call"))
			owner, other := pods[0], pods[1]
			owner.publishFrom("call")
			waits := other.awaitBob("call")
			lost, talk := other.watch("call"), other.talk("call")
			away(owner, other)
			owner.lines.cut()
			owner.endAlone("call")
			wantStatus(t, waits.end(), codes.FailedPrecondition, "SESSION_ENDED")
			e := lost.event(func(e *penstockv1.StreamEvent) bool { return e.GetEnded() != nil })
			if got := e.GetEnded().GetReason(); got != penstockv1.TrackEndReason_TRACK_END_REASON_SESSION_EXPIRED {
				t.Errorf("a stream is told %v", got)
			}
			talk.until("the end", func(m *penstockv1.SignalResponse) bool {
				return m.GetEnded().GetReason() == penstockv1.SessionEndReason_SESSION_END_REASON_MEDIA_LOST
			})
			owner.link.mend()
			other.link.mend()
			owner.await(func() bool {
				rec, err := owner.store.GetSession(owner.ctx, key("call"))
				return err == nil && rec.State == resolverstore.SessionEnded && rec.EndReason == resolverstore.SessionMediaLost
			})
		})
	}
}
