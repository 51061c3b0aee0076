package podtest

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"syscall"
	"testing"

	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	penstockv1 "github.com/penstock-media/penstock/api/penstock/v1"
)

// load creates sessions by way of all pods, one after another, until it is stopped.
type load struct {
	c    *cluster
	stop context.CancelFunc
	done sync.WaitGroup

	mu     sync.Mutex
	made   []*penstockv1.Session
	failed []error
}

// startLoad starts a load whose sessions have a prefix in common.
func (c *cluster) startLoad(prefix string) *load {
	ctx, cancel := context.WithCancel(c.ctx)
	l := &load{c: c, stop: cancel}
	l.done.Go(func() {
		for i := 0; ctx.Err() == nil; i++ {
			id := fmt.Sprint(prefix, "-", i)
			r, err := c.any.sessions.CreateSession(ctx, &penstockv1.CreateSessionRequest{SessionId: id})
			l.mu.Lock()
			if err == nil {
				l.made = append(l.made, r.GetSession())
			} else if ctx.Err() == nil {
				l.failed = append(l.failed, err)
			}
			l.mu.Unlock()
			if err == nil {
				_, _ = c.any.sessions.DeleteSession(ctx, &penstockv1.DeleteSessionRequest{SessionId: id})
			}
		}
	})
	c.t.Cleanup(l.end)
	return l
}

func (l *load) end() {
	l.stop()
	l.done.Wait()
}

// count is how many sessions were made.
func (l *load) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.made)
}

// awaitMore waits until so many more sessions were made.
func (l *load) awaitMore(n int) {
	l.c.t.Helper()
	want := l.count() + n
	awaitSo(l.c.ctx, l.c.t, fmt.Sprint(n, " more sessions are made"), func() bool { return l.count() >= want })
}

// errors returns what could not be made, but for what says that it can be tried again.
func (l *load) errors() []error {
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []error
	for _, err := range l.failed {
		if status.Code(err) != codes.Unavailable {
			out = append(out, err)
		}
	}
	return out
}

// goingAway tells whether an event says that the pod drains.
func goingAway(e *penstockv1.StreamEvent) bool { return e.GetGoingAway() != nil }

// TestP4_Drain: a pod that owns calls gets SIGTERM under load. It is not ready at once, takes no new session, tells every stream, of workers
// here and elsewhere and of callers; hands its sessions over, and ends with code 0 by itself. Workers of other pods keep their
// streams and have frames again; those of this pod are told to come again.
func TestP4_Drain(t *testing.T) {
	t.Parallel()
	c := startCluster(t, 3, "--drain-grace=3s", "--endpoint-grace=1s")
	leaving, staying := c.pods[0], c.pods[1:]
	id := c.createAt(leaving, "call")
	k := c.call(c.any, id)
	before := c.session(leaving.clients, id)
	here := c.work("here", leaving.clients, id, "carol-1", penstockv1.Source_SOURCE_CAMERA)
	there := c.work("there", staying[0].clients, id, "carol-1", penstockv1.Source_SOURCE_CAMERA)
	here.awaitFrames(5)
	there.awaitFrames(5)
	l := c.startLoad("load")
	l.awaitMore(20)

	leaving.signal(syscall.SIGTERM)
	leaving.waitLog(c.ctx, "msg=draining")
	awaitSo(c.ctx, t, "it is not ready", func() bool { code, _ := leaving.get(c.ctx, "/readyz"); return code == http.StatusServiceUnavailable })
	if code, _ := leaving.get(c.ctx, "/healthz"); code != http.StatusOK {
		t.Errorf("while it drains its liveness is %d", code)
	}
	if h, err := leaving.health.Check(c.ctx, &healthpb.HealthCheckRequest{}); err != nil || h.GetStatus() != healthpb.HealthCheckResponse_NOT_SERVING {
		t.Errorf("while it drains its health is %v, %v", h, err)
	}
	// It still answers, and forwards what is placed elsewhere.
	placed := c.create(leaving.clients, "late")
	if placed.GetOwner() == before.GetOwner() {
		t.Error("a new session is placed at the pod that drains")
	}
	from := l.count()
	here.awaitEvent("going away", goingAway)
	k.awaitTold("going away", func(m *penstockv1.SignalResponse) bool { return m.GetGoingAway() != nil || m.GetRestart() != nil })
	wantStatus(t, "the stream at the pod that drains", here.end(), codes.Unavailable, "DRAINING")
	if code := leaving.wait(c.ctx); code != 0 {
		t.Errorf("it ends with code %d", code)
	}
	there.awaitEpoch(before.GetEpoch(), 5)
	there.judge(camera().Watermark)
	here.judge(camera().Watermark)
	if now := c.session(staying[1].clients, id); now.GetEpoch() <= before.GetEpoch() || now.GetState() == penstockv1.SessionState_SESSION_STATE_ENDED {
		t.Errorf("after the drain of its owner %v is %v", before, now)
	}
	l.awaitMore(20)
	l.end()
	for _, err := range l.errors() {
		t.Errorf("a session could not be made: %v", err)
	}
	for _, s := range l.made[from:] {
		if s.GetOwner() == before.GetOwner() {
			t.Errorf("%s was placed at the pod that drains", s.GetSessionId())
		}
	}
}

// TestP4_SecondSignalHurries: a second SIGTERM ends a drain that would take ten minutes. Where nobody could take the session over it is cut, and the exit
// code says so.
func TestP4_SecondSignalHurries(t *testing.T) {
	t.Parallel()
	c := startCluster(t, 1, "--drain-grace=10m", "--endpoint-grace=0s")
	id := c.createAt(c.pods[0], "call")
	k := c.call(c.pods[0].clients, id)
	w := c.work("here", c.pods[0].clients, id, "carol-1", penstockv1.Source_SOURCE_CAMERA)
	w.awaitFrames(5)
	c.pods[0].signal(syscall.SIGTERM)
	w.awaitEvent("going away", goingAway)
	k.awaitTold("going away", func(m *penstockv1.SignalResponse) bool { return m.GetGoingAway() != nil })
	w.awaitFrames(5)
	c.pods[0].signal(syscall.SIGTERM)
	const cut = 3
	if code := c.pods[0].wait(c.ctx); code != cut {
		t.Errorf("it ends with code %d, not %d", code, cut)
	}
	wantStatus(t, "the stream", w.end(), codes.Unavailable, "DRAINING")
	w.judge(camera().Watermark)
}

// TestP4_SecondSignalHandsOver: a second SIGTERM while a pod waits for load balancers to hear of its end has its sessions handed over at once.
func TestP4_SecondSignalHandsOver(t *testing.T) {
	t.Parallel()
	c := startCluster(t, 2, "--drain-grace=10m", "--endpoint-grace=10m", "--max-sessions=20") // few, so that the other one is soon the emptier
	id := c.createAt(c.pods[0], "call")
	before := c.session(c.pods[0].clients, id)
	const enough = 8 // sessions, with which the first pod is fuller by more than the margin for its own callers
	n := 0
	awaitSo(c.ctx, t, "the pods know each other", func() bool {
		n++
		more := c.create(c.pods[0].clients, fmt.Sprint("more-", n))
		if n > enough { // it is for who comes after the heartbeats of both
			_, err := c.pods[0].sessions.DeleteSession(c.ctx, &penstockv1.DeleteSessionRequest{SessionId: more.GetSessionId()})
			must(t, err)
		}
		return more.GetOwner() == c.pods[1].incarnation(c.ctx)
	})
	c.pods[0].signal(syscall.SIGTERM)
	c.pods[0].waitLog(c.ctx, "msg=draining")
	awaitSo(c.ctx, t, "it is not ready", func() bool { code, _ := c.pods[0].get(c.ctx, "/readyz"); return code == http.StatusServiceUnavailable })
	c.pods[0].signal(syscall.SIGTERM)
	if code := c.pods[0].wait(c.ctx); code != 0 {
		t.Errorf("it ends with code %d", code)
	}
	if now := c.session(c.pods[1].clients, id); now.GetOwner() != c.pods[1].incarnation(c.ctx) || now.GetEpoch() <= before.GetEpoch() {
		t.Errorf("after the end of its owner %v is %v", before, now)
	}
}

// TestP4_RollingRestart: three pods are restarted one after another under load, with a call owned by each and workers everywhere. No session is
// lost: each has frames again for who kept, or opens again, a stream, and workers see everything in order.
func TestP4_RollingRestart(t *testing.T) {
	t.Parallel()
	c := startCluster(t, 3, "--drain-grace=2s", "--endpoint-grace=500ms")
	var ids []string
	var callers []*call
	for i, p := range c.pods {
		ids = append(ids, c.createAt(p, fmt.Sprint("call-", i)))
		callers = append(callers, c.call(c.any, ids[i]))
	}
	before := map[string]*penstockv1.Session{}
	var workers []*loyal
	for _, id := range ids {
		before[id] = c.session(c.any, id)
		w := c.loyal(id)
		w.awaitEpoch(before[id].GetEpoch()-1, 5)
		workers = append(workers, w)
	}
	l := c.startLoad("load")
	for _, p := range c.pods {
		l.awaitMore(5)
		p.signal(syscall.SIGTERM)
		if code := p.wait(c.ctx); code != 0 {
			t.Errorf("%s ends with code %d", p.name, code)
		}
		c.serve(p)
		awaitSo(c.ctx, t, p.name+" is ready", func() bool { code, _ := p.get(c.ctx, "/readyz"); return code == http.StatusOK })
	}
	l.awaitMore(5)
	l.end()
	for _, err := range l.errors() {
		t.Errorf("a session could not be made: %v", err)
	}
	for i, id := range ids {
		now := c.session(c.any, id)
		if now.GetState() == penstockv1.SessionState_SESSION_STATE_ENDED || now.GetEpoch() <= before[id].GetEpoch() || callers[i].isOver() {
			t.Errorf("%v is %v", before[id], now)
		}
		workers[i].awaitEpoch(now.GetEpoch()-1, 5)
		workers[i].stopAndJudge()
	}
}
