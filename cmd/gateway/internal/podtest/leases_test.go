package podtest

import (
	"syscall"
	"testing"
)

// TestP8_AllLeasesExpireTogether: Redis is paused beyond all leases, loses everything, comes back empty, or another server takes its place: no
// session changes its owner, and no stream loses a frame.
func TestP8_AllLeasesExpireTogether(t *testing.T) {
	t.Parallel()
	s := settle(t, 3)
	for _, fault := range []struct {
		name string
		do   func()
	}{
		{"paused", func() {
			s.redis.signal(syscall.SIGSTOP)
			goOn(s.ctx, t, outage(t))
			s.redis.signal(syscall.SIGCONT)
		}},
		{"flushed", func() { s.redis.do(s.ctx, "FLUSHALL") }},
		{"restartedEmpty", func() { s.redis.restart(s.ctx, t) }},
		{"failedOver", func() {
			other := startRedis(s.ctx, t)
			for _, p := range s.pods {
				p.redis.lead(other.addr)
			}
			s.redis.kill()
		}},
	} {
		fault.do()
		// Time for whoever would take over to do so: the lease's, and as long again.
		for _, p := range s.pods {
			awaitSo(s.ctx, t, p.name+" is well after Redis was "+fault.name, func() bool { _, h := p.get(s.ctx, "/readyz"); return h.Store == "" })
		}
		goOn(s.ctx, t, 2*leaseTTL+2*heartbeat)
		s.unchanged(t)
		if t.Failed() {
			t.Fatalf("after Redis was %s", fault.name)
		}
	}
}

// TestP8_LeaseIsLostWhileTheOwnerIsAway: the owner's lease is lost while it cannot reach Redis for a while, and so cannot write it again. The other pods do not
// take that for its end: its session stays with it, and no stream loses a frame.
func TestP8_LeaseIsLostWhileTheOwnerIsAway(t *testing.T) {
	t.Parallel()
	s := settle(t, 3, "--lease-ttl=20s") // far longer than the owner is away, on the busiest machine
	s.pods[0].redis.Stop()
	s.redis.do(s.ctx, "DEL", leaseKey(s.before.GetOwner()))
	goOn(s.ctx, t, 8*heartbeat) // in which the others look again and again
	must(t, s.pods[0].redis.Start())
	s.unchanged(t)
}
