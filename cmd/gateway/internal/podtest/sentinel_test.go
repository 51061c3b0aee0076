package podtest

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"

	penstockv1 "github.com/penstock-media/penstock/api/penstock/v1"
)

const (
	// noQuorum is a number of sentinels that there are not: what they see they do not act upon.
	noQuorum = 9
	// quorum is how many of three have to agree.
	quorum = 2
)

// sentinels are the processes that watch over a primary and its replica.
type sentinels struct {
	c       *cluster
	replica *redisServer
	all     []*redisServer
}

// watchOver starts a replica of the cluster's Redis, and three sentinels that do not agree on anything until they are told to, so that nothing fails over because the machine is busy.
func (c *cluster) watchOver() *sentinels {
	c.t.Helper()
	host, port, err := net.SplitHostPort(c.redis.addr)
	must(c.t, err)
	s := &sentinels{c: c, replica: startRedis(c.ctx, c.t)}
	c.redis.do(c.ctx, "CONFIG", "SET", "repl-diskless-sync-delay", 0)
	s.replica.do(c.ctx, "REPLICAOF", host, port)
	for i := range 3 {
		own := newRedisServer(c.t)
		_, listen, err := net.SplitHostPort(own.addr)
		must(c.t, err)
		conf := filepath.Join(c.t.TempDir(), "sentinel.conf")
		must(c.t, os.WriteFile(conf, fmt.Appendf(nil, "bind %s\nport %s\nsentinel monitor main %s %s %d\n"+
			"sentinel down-after-milliseconds main 1000\nsentinel failover-timeout main 5000\n", host, listen, host, port, noQuorum), 0o600))
		own.process = startProcess(c.t, fmt.Sprint("sentinel ", i), "redis-server", nil, conf, "--sentinel")
		s.all = append(s.all, own)
	}
	for _, v := range s.all {
		awaitSo(c.ctx, c.t, v.name+" knows the others", func() bool {
			info, err := v.client.Info(c.ctx, "sentinel").Result()
			return err == nil && strings.Contains(info, "slaves=1,sentinels=3")
		})
	}
	awaitSo(c.ctx, c.t, "the replica follows", func() bool {
		info, err := s.replica.client.Info(c.ctx, "replication").Result()
		return err == nil && strings.Contains(info, "master_link_status:up")
	})
	return s
}

// url names them, as pods are told.
func (s *sentinels) url() string {
	var addrs []string
	for _, v := range s.all {
		addrs = append(addrs, v.addr)
	}
	return "redis-sentinel://" + strings.Join(addrs, ",") + "/main"
}

// failOver lets them agree that the primary is gone, and waits until the replica has its place.
func (s *sentinels) failOver() {
	s.c.t.Helper()
	for _, v := range s.all {
		v.do(s.c.ctx, "SENTINEL", "SET", "main", "quorum", quorum)
	}
	awaitSo(s.c.ctx, s.c.t, "the replica is the primary", func() bool {
		info, err := s.replica.client.Info(s.c.ctx, "replication").Result()
		return err == nil && strings.Contains(info, "role:master")
	})
}

// possessions are the sessions that there are, with who owns them.
func (c *cluster) possessions(p *pod) map[string]string {
	c.t.Helper()
	out := map[string]string{}
	r, err := p.sessions.ListSessions(c.ctx, &penstockv1.ListSessionsRequest{PageSize: 100})
	must(c.t, err)
	for _, v := range r.GetSessions() {
		out[v.GetSessionId()] = fmt.Sprint(v.GetOwner(), " ", v.GetEpoch(), " ", v.GetState() != penstockv1.SessionState_SESSION_STATE_ENDED)
	}
	return out
}

// TestP6_SentinelFailover: the primary of a Redis with sentinels is killed (-9) under a call that is streamed on three pods, just after sessions were made of which the replica may not have heard. While there is no
// primary each pod says that it is degraded, by readiness, health and figure, and stays alive and ready; what needs Redis is refused, to be tried again. When the replica has the primary's place writes go on, nothing is degraded, every
// session is there, on all pods, with the one owner and the epoch that it had, and no stream has lost a frame.
func TestP6_SentinelFailover(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	watch := c.watchOver()
	c.start(3, func(*pod) []string { return []string{"--redis-url=" + watch.url(), "--session-grace=10m"} })
	s := c.settle()
	for i, p := range c.pods {
		for n := range 3 {
			c.create(p.clients, fmt.Sprintf("of-%d-%d", i, n))
		}
	}
	before := c.possessions(c.pods[0])
	c.redis.kill()
	killed := time.Now()
	for _, p := range c.pods {
		awaitSo(c.ctx, t, p.name+" tells that it is degraded", func() bool { _, h := p.get(c.ctx, "/readyz"); return h.Store == "unavailable" })
		awaitSo(c.ctx, t, p.name+" tells health", func() bool { return p.storeHealth(c.ctx) == healthpb.HealthCheckResponse_NOT_SERVING })
		if got := p.metric(c.ctx, "penstock_degraded"); got != 1 {
			t.Errorf("%s: penstock_degraded is %d", p.name, got)
		}
		for _, path := range []string{"/healthz", "/readyz"} {
			if code, h := p.get(c.ctx, path); code != http.StatusOK {
				t.Errorf("%s: %s answers %d %+v without a primary", p.name, path, code, h)
			}
		}
		_, err := p.sessions.CreateSession(c.ctx, &penstockv1.CreateSessionRequest{SessionId: "meanwhile"})
		wantStatus(t, "a new session at "+p.name+" without a primary", err, codes.Unavailable, "STORE_UNAVAILABLE")
	}
	for _, w := range s.workers {
		w.awaitFrames(5)
	}
	watch.failOver()
	promoted := time.Now()
	for i, p := range c.pods {
		awaitSo(c.ctx, t, p.name+" writes again", func() bool {
			_, err := p.sessions.CreateSession(c.ctx, &penstockv1.CreateSessionRequest{SessionId: fmt.Sprint("after-", i)})
			return err == nil
		})
		awaitSo(c.ctx, t, p.name+" is well again", func() bool {
			_, h := p.get(c.ctx, "/readyz")
			return h.Store == "" && p.storeHealth(c.ctx) == healthpb.HealthCheckResponse_SERVING && p.metric(c.ctx, "penstock_degraded") == 0
		})
	}
	t.Logf("promoted %v after the kill, written to by all %v later", promoted.Sub(killed), time.Since(promoted))
	s.kept(t, before)
	s.unchanged(t)
}

// kept checks that all pods know the sessions with the owners that they had, and that each session is open on one pod.
func (s *settled) kept(t *testing.T, before map[string]string) {
	t.Helper()
	open := 0
	for _, p := range s.pods {
		var now map[string]string
		awaitSo(s.ctx, t, p.name+" knows every session", func() bool {
			now = s.possessions(p)
			for id := range before {
				if now[id] == "" {
					return false
				}
			}
			return true
		})
		for id, was := range before {
			if now[id] != was {
				t.Errorf("at %s %s is %q, was %q", p.name, id, now[id], was)
			}
		}
		for _, name := range []string{"penstock_sessions_taken_over_total", "penstock_sessions_deposed_total"} {
			if n := p.metric(s.ctx, name); n != 0 {
				t.Errorf("%s: %s is %d", p.name, name, n)
			}
		}
		open += p.metric(s.ctx, "penstock_sessions")
	}
	if want := len(s.possessions(s.pods[0])); open != want {
		t.Errorf("%d sessions are open on all pods together, and there are %d", open, want)
	}
}
