package podtest

import (
	"context"
	"net/http"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	penstockv1 "github.com/penstock-media/penstock/api/penstock/v1"
)

// outage is how long Redis is away: some leases, or as long as PENSTOCK_TEST_OUTAGE says (30s is what the rows name).
func outage(t *testing.T) time.Duration {
	t.Helper()
	if v := os.Getenv("PENSTOCK_TEST_OUTAGE"); v != "" {
		d, err := time.ParseDuration(v)
		must(t, err)
		return d
	}
	return 3*leaseTTL + leaseTTL/2
}

// goOn lets an outage last, which is measured in heartbeats that were missed: it is part of what is tested, not a wait for something.
func goOn(ctx context.Context, t *testing.T, d time.Duration) {
	t.Helper()
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
		t.Fatal(ctx.Err())
	}
}

// settled is a cluster with a call owned by the first pod, and workers of it on all.
type settled struct {
	*cluster
	id      string
	before  *penstockv1.Session
	call    *call
	workers []*worker
}

// settle starts a cluster with such a call.
func settle(t *testing.T, pods int, args ...string) *settled {
	t.Helper()
	return startCluster(t, pods, args...).settle()
}

// settle starts the call and its workers.
func (c *cluster) settle() *settled {
	c.t.Helper()
	s := &settled{cluster: c, id: c.createAt(c.pods[0], "call")}
	s.call = c.call(c.pods[min(1, len(c.pods)-1)].clients, s.id)
	s.before = c.session(c.pods[0].clients, s.id)
	for _, p := range c.pods {
		s.workers = append(s.workers, c.work("at "+p.name, p.clients, s.id, "carol-1", penstockv1.Source_SOURCE_CAMERA))
	}
	for _, w := range s.workers {
		w.awaitFrames(5)
	}
	return s
}

// unchanged checks that the session has the owner and the epoch that it had, on all pods, and that no stream has lost a frame.
func (s *settled) unchanged(t *testing.T) {
	t.Helper()
	for _, p := range s.pods {
		awaitSo(s.ctx, t, p.name+" answers again", func() bool {
			_, err := p.sessions.GetSession(s.ctx, &penstockv1.GetSessionRequest{SessionId: s.id})
			return err == nil
		})
		if now := s.session(p.clients, s.id); now.GetOwner() != s.before.GetOwner() || now.GetEpoch() != s.before.GetEpoch() ||
			now.GetState() != penstockv1.SessionState_SESSION_STATE_CONNECTED {
			t.Errorf("at %s it was %v and is %v", p.name, s.before, now)
		}
	}
	for _, w := range s.workers {
		w.awaitFrames(5)
		w.judge(camera().Watermark)
		for _, m := range w.all() {
			if m.event != nil || m.info.GetEpoch() != s.before.GetEpoch() {
				t.Errorf("worker %s was sent %v", w.name, m)
			}
		}
	}
}

// TestP5_RedisStopped: Redis is stopped and comes back empty. Live streams, direct and forwarded, lose no frame; liveness and readiness stay
// good, and readiness tells that the store is away; new work that needs other pods is refused soon, to be tried again; what was told meanwhile is known to all after.
func TestP5_RedisStopped(t *testing.T) {
	t.Parallel()
	s := settle(t, 3)
	s.redis.kill()
	for _, p := range s.pods {
		awaitSo(s.ctx, t, p.name+" tells that it is degraded", func() bool { _, h := p.get(s.ctx, "/readyz"); return h.Store == "unavailable" })
		awaitSo(s.ctx, t, p.name+" tells health", func() bool { return p.storeHealth(s.ctx) == healthpb.HealthCheckResponse_NOT_SERVING })
		if got := p.metric(s.ctx, "penstock_degraded"); got != 1 {
			t.Errorf("%s: penstock_degraded is %d", p.name, got)
		}
	}
	_, err := s.pods[2].sessions.CreateSession(s.ctx, &penstockv1.CreateSessionRequest{SessionId: "new"})
	wantStatus(t, "a new session without Redis", err, codes.Unavailable, "STORE_UNAVAILABLE")
	if !hasRetryInfo(err) {
		t.Errorf("%v does not say when to try again", err)
	}
	// What the owner is told while Redis is away it does, and tells the others later.
	joined := &penstockv1.TrackPublished{Publication: &penstockv1.Publication{
		Participant: &penstockv1.Participant{ParticipantId: "dave-1"}, Source: penstockv1.Source_SOURCE_SCREEN_SHARE,
	}}
	events := &penstockv1.ReportEventsRequest{SessionId: s.id, Events: []*penstockv1.CallEvent{{Event: &penstockv1.CallEvent_TrackPublished{TrackPublished: joined}}}}
	if _, err := s.pods[0].sessions.ReportEvents(s.ctx, events); err != nil {
		t.Errorf("the owner without Redis: %v", err)
	}
	goOn(s.ctx, t, outage(t))
	for _, p := range s.pods {
		for _, path := range []string{"/healthz", "/readyz"} {
			if code, h := p.get(s.ctx, path); code != http.StatusOK {
				t.Errorf("%s: %s answers %d %+v without Redis", p.name, path, code, h)
			}
		}
	}
	for _, w := range s.workers {
		w.awaitFrames(5)
	}
	s.redis.start(s.ctx, t)
	for _, p := range s.pods {
		awaitSo(s.ctx, t, p.name+" is well again", func() bool {
			_, h := p.get(s.ctx, "/readyz")
			return h.Store == "" && p.storeHealth(s.ctx) == healthpb.HealthCheckResponse_SERVING && p.metric(s.ctx, "penstock_degraded") == 0
		})
		awaitSo(s.ctx, t, p.name+" knows what was told meanwhile", func() bool {
			r, err := p.tracks.ListTracks(s.ctx, &penstockv1.ListTracksRequest{SessionId: s.id})
			return err == nil && len(r.GetTracks()) == 3
		})
	}
	s.unchanged(t)
}

// storm asks a pod for all kinds of things at once, and returns when all has been answered. Nothing may hang, and nothing but success or
// "try again" may come.
func storm(ctx context.Context, t *testing.T, p *pod, id string, n int) (refused int) {
	t.Helper()
	var asking sync.WaitGroup
	errs := make(chan error, 4*n)
	for range n {
		for _, ask := range []func() error{
			func() error {
				_, err := p.sessions.GetSession(ctx, &penstockv1.GetSessionRequest{SessionId: id})
				return err
			},
			func() error {
				_, err := p.sessions.ListSessions(ctx, &penstockv1.ListSessionsRequest{})
				return err
			},
			func() error {
				_, err := p.tracks.ListTracks(ctx, &penstockv1.ListTracksRequest{SessionId: "elsewhere"})
				return err
			},
			func() error {
				_, err := p.sessions.CreateSession(ctx, &penstockv1.CreateSessionRequest{})
				return err
			},
		} {
			asking.Go(func() { errs <- ask() })
		}
	}
	asking.Wait()
	close(errs)
	for err := range errs {
		switch status.Code(err) {
		case codes.OK, codes.NotFound:
		case codes.Unavailable:
			refused++
			if !hasRetryInfo(err) {
				t.Errorf("%s: %v does not say when to try again", p.name, err)
			}
		default:
			t.Errorf("%s: %v", p.name, err)
		}
	}
	return refused
}

// residentKB is the memory of a process that is in RAM.
func (p *process) residentKB(t *testing.T) int {
	t.Helper()
	text, err := os.ReadFile("/proc/" + itoa(p.cmd.Process.Pid) + "/status")
	must(t, err)
	_, after, _ := strings.Cut(string(text), "VmRSS:")
	return atoi(t, strings.Fields(after)[0])
}

// TestP6_RedisSlowCutHalfOpen: Redis answers after half a second, cuts connections, or says nothing any more without hanging up. Every call is
// answered, well or with "try again"; memory stays in bounds; live streams lose nothing, and all is well when that is over.
func TestP6_RedisSlowCutHalfOpen(t *testing.T) {
	t.Parallel()
	const calls = 50  // of four kinds at once
	most := 100 << 10 // KB: sessions are created all the while
	if raced {
		most *= 3 // the race detector has its own memory of each byte that is used
	}
	s := settle(t, 2)
	before := s.pods[0].residentKB(t)
	for _, fault := range []struct {
		name    string
		begin   func(*proxy)
		end     func(*proxy)
		refuses bool
	}{
		{"slow", func(p *proxy) {
			p.toxic(`{"name":"slow","type":"latency","stream":"downstream","attributes":{"latency":500}}`)
		}, func(p *proxy) { p.mend(s.ctx) }, false},
		{"cut", func(p *proxy) { p.Stop() }, func(p *proxy) { must(t, p.Start()) }, true},
		{"reset", func(p *proxy) {
			p.toxic(`{"name":"reset","type":"reset_peer","stream":"downstream","attributes":{"timeout":0}}`)
		}, func(p *proxy) { p.mend(s.ctx) }, true},
		{"halfOpen", func(p *proxy) {
			p.toxic(`{"name":"deaf","type":"timeout","stream":"downstream","attributes":{"timeout":0}}`)
		}, func(p *proxy) { p.mend(s.ctx) }, true},
	} {
		t.Run(fault.name, func(t *testing.T) {
			for _, p := range s.pods {
				fault.begin(p.redis)
			}
			refused := 0
			for _, p := range s.pods {
				refused += storm(s.ctx, t, p, s.id, calls)
			}
			if fault.refuses && refused == 0 {
				t.Error("everything was answered as if Redis were there")
			}
			for _, w := range s.workers {
				w.awaitFrames(5)
			}
			for _, p := range s.pods {
				fault.end(p.redis)
			}
			for _, p := range s.pods {
				awaitSo(s.ctx, t, p.name+" is well again", func() bool { _, h := p.get(s.ctx, "/readyz"); return h.Store == "" })
			}
		})
	}
	if after := s.pods[0].residentKB(t); after > before+most {
		t.Errorf("from %d KB memory grew to %d KB", before, after)
	}
	s.unchanged(t)
}
