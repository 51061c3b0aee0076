package resolverstore

import (
	"context"
	"fmt"
	"sync"
	"syscall"
	"testing"
	"time"
)

// disaster is what may befall a server.
var disasters = map[string]func(t *testing.T, s *redisServer, ttl time.Duration){
	"paused": func(t *testing.T, s *redisServer, ttl time.Duration) {
		s.signal(syscall.SIGSTOP)
		time.Sleep(ttl + ttl/2) // all leases run out: no clock of ours tells
		s.signal(syscall.SIGCONT)
	},
	"flushed":   func(_ *testing.T, s *redisServer, _ time.Duration) { s.do("FLUSHALL") },
	"restarted": func(_ *testing.T, s *redisServer, _ time.Duration) { s.restart() },
}

// TestP8_NoSessionChangesItsOwner: all leases run out together, or are lost, while every pod takes whatever it may. No session changes its
// owner, and all is stored again.
func TestP8_NoSessionChangesItsOwner(t *testing.T) {
	for name, strike := range disasters {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := startRedis(t)
			pods := server.pods(3, lively(atOnce))
			ctx, cancel := context.WithCancel(longer(t))
			defer cancel()
			var all []*fixture
			for i := range 30 {
				f := pods[i%3].session(ctx, t, fmt.Sprint("call", i))
				f.mustApply(published("ann1", Camera))
				f.put(of("m1", "ann1", Camera))
				all = append(all, f)
			}
			took := make(chan Session, 100)
			var thieves sync.WaitGroup
			for _, p := range pods {
				thieves.Go(func() { adopt(ctx, t, p.Redis, took) })
				thieves.Go(func() {
					for ctx.Err() == nil {
						for _, f := range all {
							if rec, err := p.TakeOver(ctx, f.key, f.fence, false); err == nil {
								took <- rec
							}
						}
						p.pause(time.Millisecond)
					}
				})
			}
			for range 2 {
				strike(t, server, pods[0].cfg.LeaseTTL)
				for i, f := range all {
					eventually(t, "all is stored again, by who owned it", func() bool {
						got, err := pods[(i+1)%3].GetSession(ctx, f.key)
						if err == nil && got.Fence != f.fence {
							t.Fatalf("%s is owned by %+v", f.key.ID, got.Fence)
						}
						return err == nil
					})
					eventually(t, "it resolves on another pod", func() bool {
						_, err := pods[(i+1)%3].Resolve(ctx, f.key, Selector{ParticipantID: "ann1", Source: Camera})
						return err == nil
					})
				}
			}
			for _, p := range pods {
				eventually(t, "all pods are seen again", func() bool { seen, err := p.Pods(ctx); return err == nil && len(seen) == 3 })
			}
			cancel()
			thieves.Wait()
			if len(took) != 0 {
				t.Errorf("taken over: %+v", <-took)
			}
		})
	}
}

// TestP8_AFullLeaseOfUnbrokenContact: a pod dies, and before it counts as gone something befalls the server. The time after which it is
// gone begins anew; then its session is taken over, if it is still stored.
func TestP8_AFullLeaseOfUnbrokenContact(t *testing.T) {
	for name, strike := range disasters {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := startRedis(t)
			cfg := lively(atOnce)
			cfg.LeaseTTL = 3 * time.Second
			pods := server.pods(2, cfg)
			a, b := pods[0], pods[1]
			ctx := longer(t)
			f := a.session(ctx, t, "call")
			missed(t, server, a, b)
			struck := time.Now()
			strike(t, server, cfg.LeaseTTL)
			if err := b.Gone(ctx, a.cfg.Owner); err != nil {
				t.Fatal(err)
			}
			since, up := b.Contact()
			if contact := time.Since(since); !up || contact < cfg.LeaseTTL || since.Before(struck) {
				t.Errorf("gone after %v of contact, begun %v after it", contact, since.Sub(struck))
			}
			if name == "paused" {
				if _, err := b.TakeOver(ctx, f.key, f.fence, false); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

// missed cuts a pod off, and has its lease go before its time, so that another has missed it for a while and does not know whether it is gone. What the
// pod sent before it was cut off may come late, and the machine may be busy: then it does so again.
func missed(t *testing.T, server *redisServer, a, b *pod) {
	t.Helper()
	for gone := true; gone; {
		a.way.mend()
		eventually(t, "it is there", func() bool { seen, err := b.Pods(t.Context()); return err == nil && len(seen) == 2 })
		a.way.cut(true)
		server.do("DEL", leaseName(a.cfg.Owner))
		eventually(t, "its lease is missed", func() bool {
			b.peers.mu.Lock()
			defer b.peers.mu.Unlock()
			one := b.peers.all[a.cfg.Owner]
			gone = !one.gone.IsZero()
			return gone || !one.missing.IsZero() && time.Since(one.missing) > b.cfg.LeaseTTL/4
		})
	}
}

// TestP8_OutageShorterThanALease: all pods are cut off, and one reaches Redis again while the lease of another, which could not be renewed either, still lasts.
// That it runs out then tells nothing: the other is there in time, and keeps its session.
func TestP8_OutageShorterThanALease(t *testing.T) {
	t.Parallel()
	server := startRedis(t)
	cfg := lively(atOnce)
	cfg.LeaseTTL = 3 * time.Second
	pods := server.pods(2, cfg)
	a, b := pods[0], pods[1]
	f := a.session(longer(t), t, "call")
	for _, p := range pods {
		p.way.cut(true)
	}
	for _, p := range pods {
		eventually(t, "it is noticed", func() bool { _, up := p.Contact(); return !up })
	}
	eventually(t, "the lease is about to run out", func() bool { return server.do("PTTL", leaseName(a.cfg.Owner)).(int64) < 1000 })
	b.way.mend()
	eventually(t, "the lease has run out", func() bool {
		b.peers.mu.Lock()
		defer b.peers.mu.Unlock()
		one := b.peers.all[a.cfg.Owner]
		if !one.gone.IsZero() && one.gone.Sub(one.missing) < cfg.LeaseTTL {
			t.Fatalf("gone %v after it was first missed", one.gone.Sub(one.missing))
		}
		return !one.missing.IsZero()
	})
	a.way.mend()
	eventually(t, "it is back", func() bool { seen, err := b.Pods(f.ctx); return err == nil && len(seen) == 2 })
	if got, err := b.GetSession(f.ctx, f.key); err != nil || got.Fence != f.fence {
		t.Errorf("%+v %v", got, err)
	}
}

// TestP8_HigherEpochWins: an owner that does not know that it was deposed is the first to write its session into an empty Redis. The
// one with the higher epoch has it all the same.
func TestP8_HigherEpochWins(t *testing.T) {
	t.Parallel()
	server := startRedis(t)
	pods := server.pods(3, lively(atOnce))
	a, b, c := pods[0], pods[1], pods[2]
	f := a.session(longer(t), t, "call")
	f.mustApply(published("ann1", Camera))
	deposed := f.owner(a)
	a.way.cut(true)
	if err := b.Gone(f.ctx, a.cfg.Owner); err != nil {
		t.Fatal(err)
	}
	rec, err := b.TakeOver(f.ctx, f.key, f.fence, false)
	if err != nil {
		t.Fatal(err)
	}
	g := f.on(b.Redis)
	g.fence = rec.Fence
	g.put(of("n1", "ann1", Camera))
	b.way.cut(true)
	eventually(t, "b notices", func() bool { _, up := b.Contact(); return !up })
	server.do("FLUSHALL")
	a.way.mend()
	eventually(t, "a has written it", func() bool {
		got, err := c.GetSession(f.ctx, f.key)
		return err == nil && got.Fence == f.fence
	})
	for i := range 20 { // so many changes that no count of them decides
		f.put(of(fmt.Sprint("m", i), "ann1", Camera))
		f.remove(fmt.Sprint("m", i))
	}
	b.way.mend()
	if o := <-deposed; o.Session.Fence != rec.Fence {
		t.Errorf("the owner before is told of %+v", o)
	}
	calm(t, a.Redis, b.Redis)
	for _, p := range pods {
		eventually(t, "all know", func() bool { got, err := p.GetSession(f.ctx, f.key); return err == nil && got.Fence == rec.Fence })
		eventually(t, "what b received counts", func() bool { tr := f.on(p.Redis).tracks()["ann1/1"]; return tr.Media != nil && tr.Media.ID == "n1" })
	}
}
