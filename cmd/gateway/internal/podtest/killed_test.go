package podtest

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"syscall"
	"testing"

	penstockv1 "github.com/penstock-media/penstock/api/penstock/v1"
	"github.com/penstock-media/penstock/resolverstore"
)

// awaitOwner waits until a session has another owner than the one before, as one pod tells, and returns it.
func (c *cluster) awaitOwner(at clients, before *penstockv1.Session) *penstockv1.Session {
	c.t.Helper()
	var now *penstockv1.Session
	awaitSo(c.ctx, c.t, "another pod owns "+before.GetSessionId(), func() bool {
		r, err := at.sessions.GetSession(c.ctx, &penstockv1.GetSessionRequest{SessionId: before.GetSessionId()})
		now = r.GetSession()
		return err == nil && now.GetOwner() != before.GetOwner()
	})
	return now
}

// TestP2_KilledOwnerIsTakenOver: the owner is killed; its lease runs out, and another pod owns the session with a higher epoch and asks for an
// offer of a higher generation. All pods agree. What the old owner writes after that is refused.
func TestP2_KilledOwnerIsTakenOver(t *testing.T) {
	t.Parallel()
	c := startCluster(t, 3)
	id := c.createAt(c.pods[0], "call")
	c.call(c.pods[1].clients, id).stop() // nobody starts again
	before := c.session(c.pods[0].clients, id)
	if got := c.redis.client.Exists(c.ctx, leaseKey(before.GetOwner())).Val(); got != 1 {
		t.Fatalf("the owner's lease is not at %s", leaseKey(before.GetOwner()))
	}
	c.pods[0].signal(syscall.SIGKILL)
	c.pods[0].wait(c.ctx)
	now := c.awaitOwner(c.pods[1].clients, before)
	if got := c.redis.client.Exists(c.ctx, leaseKey(before.GetOwner())).Val(); got != 0 {
		t.Error("it is taken over while the owner's lease is there")
	}
	if now.GetEpoch() <= before.GetEpoch() || now.GetMinGeneration() <= before.GetGeneration() ||
		now.GetState() != penstockv1.SessionState_SESSION_STATE_AWAITING_OFFER {
		t.Errorf("after %v it is %v", before, now)
	}
	awaitSo(c.ctx, t, "the other pod agrees", func() bool {
		s := c.session(c.pods[2].clients, id)
		return s.GetOwner() == now.GetOwner() && s.GetEpoch() == now.GetEpoch()
	})
	if now.GetOwner() != c.pods[1].incarnation(c.ctx) && now.GetOwner() != c.pods[2].incarnation(c.ctx) {
		t.Errorf("the new owner %q is no pod", now.GetOwner())
	}
	c.writeAs(before)
	if after := c.session(c.pods[2].clients, id); after.GetOwner() != now.GetOwner() || after.GetEpoch() != now.GetEpoch() || after.GetState() != now.GetState() {
		t.Errorf("a late write changed it from %v to %v", now, after)
	}
}

// writeAs writes as the former owner of a session would if it were not dead, which must be refused.
func (c *cluster) writeAs(former *penstockv1.Session) {
	c.t.Helper()
	store, err := resolverstore.NewRedis(c.ctx, resolverstore.Config{Owner: former.GetOwner(), Heartbeat: heartbeat, LeaseTTL: leaseTTL},
		resolverstore.RedisOptions{URL: "redis://" + c.redis.addr})
	must(c.t, err)
	defer func() { must(c.t, store.Close()) }()
	key := resolverstore.SessionKey{ID: former.GetSessionId()}
	fence := resolverstore.Fence{Owner: former.GetOwner(), Epoch: former.GetEpoch()}
	state := resolverstore.SessionConnected
	if _, err := store.UpdateSession(c.ctx, key, fence, resolverstore.SessionUpdate{State: &state}); !errors.Is(err, resolverstore.ErrFenced) {
		c.t.Errorf("a late write of the session gives %v", err)
	}
	diff := resolverstore.MediaDiff{Put: []resolverstore.Media{{ID: "late", MID: "9", Kind: resolverstore.KindVideo, Active: true}}}
	if err := store.ApplyMedia(c.ctx, key, fence, diff); !errors.Is(err, resolverstore.ErrFenced) {
		c.t.Errorf("a late write of media gives %v", err)
	}
}

// leaseKey names a pod's lease in Redis.
func leaseKey(incarnation string) string { return "penstock:1:{p:" + incarnation + "}" }

// TestP3_WorkersKeepTheirStreams: workers of two other pods, of a camera and a microphone each, keep their streams open while the owner is
// killed. The caller is told to start again, and does; then frames come again, of a higher epoch, after a gap that is told, in order.
func TestP3_WorkersKeepTheirStreams(t *testing.T) {
	t.Parallel()
	c := startCluster(t, 3)
	id := c.createAt(c.pods[0], "call")
	k := c.call(c.pods[1].clients, id)
	unary := c.pods[2].sessions
	before := c.session(c.pods[0].clients, id)
	var cameras, microphones []*worker
	for _, p := range c.pods[1:] {
		cameras = append(cameras, c.work("camera at "+p.name, p.clients, id, "carol-1", penstockv1.Source_SOURCE_CAMERA))
		microphones = append(microphones, c.work("microphone at "+p.name, p.clients, id, "carol-1", penstockv1.Source_SOURCE_MICROPHONE))
	}
	for _, w := range append(cameras, microphones...) {
		w.awaitFrames(20)
	}
	c.pods[0].signal(syscall.SIGKILL)
	restart := k.awaitTold("a restart", func(m *penstockv1.SignalResponse) bool {
		return m.GetRestart() != nil && !m.GetRestart().GetIceRestart() && m.GetRestart().GetMinGeneration() > before.GetGeneration()
	}).GetRestart()
	// The old generation is told so by the unary call too.
	r, err := unary.Negotiate(c.ctx, &penstockv1.NegotiateRequest{SessionId: id, Generation: before.GetGeneration(), Sdp: k.firstOffer()})
	if err != nil || r.GetDropped().GetReason() != penstockv1.DropReason_DROP_REASON_STALE_GENERATION || restart.GetMinGeneration() <= before.GetGeneration() {
		t.Errorf("an offer of the old generation gives %v, %v", r, err)
	}
	for _, w := range append(cameras, microphones...) {
		w.awaitEpoch(before.GetEpoch(), 20)
		w.awaitEvent("a gap", func(e *penstockv1.StreamEvent) bool {
			return e.GetGap().GetCause() == penstockv1.GapCause_GAP_CAUSE_OWNER_CHANGED && e.GetGap().GetMilliseconds() > 0
		})
		if !w.open() {
			t.Errorf("worker %s: the stream has ended", w.name)
		}
	}
	for _, w := range cameras {
		w.judge(camera().Watermark)
	}
	for _, w := range microphones {
		w.judge(0)
	}
	awaitSo(c.ctx, t, "the session is connected by another offer", func() bool { // which is written beside what goes on
		now := c.session(c.pods[1].clients, id)
		return now.GetState() == penstockv1.SessionState_SESSION_STATE_CONNECTED && now.GetGeneration() >= restart.GetMinGeneration()
	})
}

// TestP3_WHIPPublishersPublishAgain: after the owner is killed the old resource is gone, the publisher publishes again into the same session,
// and the worker of another pod has frames again on the stream that it kept.
func TestP3_WHIPPublishersPublishAgain(t *testing.T) {
	t.Parallel()
	c := startCluster(t, 2)
	id := c.createAt(c.pods[0], "studio")
	first := c.publishWHIP(c.pods[0], id)
	w := c.work("at the other", c.pods[1].clients, id, "whip", penstockv1.Source_SOURCE_CAMERA)
	w.awaitFrames(10)
	before := c.session(c.pods[0].clients, id)
	c.pods[0].signal(syscall.SIGKILL)
	c.awaitOwner(c.pods[1].clients, before)
	elsewhere := strings.Replace(first.Resource(), c.pods[0].http, c.pods[1].http, 1)
	if code, _, body := patch(c.ctx, t, elsewhere, "*", "a=ice-ufrag:abcd\r\na=ice-pwd:0123456789012345678901\r\n"); code != 404 {
		t.Errorf("the old resource gives %s %s", strconv.Itoa(code), body)
	}
	_ = first.Close(context.Background()) // its resource is gone
	second := c.publishWHIP(c.pods[1], id)
	w.awaitEpoch(before.GetEpoch(), 10)
	w.judge(camera().Watermark)
	must(t, second.Close(c.ctx))
}
