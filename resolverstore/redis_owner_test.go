package resolverstore

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// pod is one of several stores on a server. Each has a way there of its own, that can be cut.
type pod struct {
	*Redis
	way *proxy
}

// lively is a configuration in which a pod is soon missed, but not because the machine is busy.
func lively(cfg Config) Config {
	cfg.Heartbeat, cfg.LeaseTTL = 50*time.Millisecond, time.Second
	return cfg
}

func (s *redisServer) pods(n int, cfg Config) []*pod {
	s.t.Helper()
	all := make([]*pod, n)
	for i := range all {
		all[i] = &pod{way: startProxy(s.t, s.addr)}
		o := all[i].way.options()
		o.Timeout = patience
		cfg.OwnerAddress = fmt.Sprintf("10.0.0.%d:50051", i)
		all[i].Redis = openRedis(s.t, cfg, o)
	}
	for _, one := range all {
		eventually(s.t, "all pods are seen", func() bool {
			seen, err := one.Pods(s.t.Context())
			return err == nil && len(seen) == n
		})
	}
	return all
}

// session makes a session that a pod owns.
func (p *pod) session(ctx context.Context, t *testing.T, id string) *fixture {
	t.Helper()
	f := &fixture{t: t, ctx: ctx, store: p.Redis, key: SessionKey{ID: id}, fence: Fence{p.cfg.Owner, uint64(time.Now().UnixMilli())}}
	_, created, err := p.CreateSession(ctx, Session{Key: f.key, RequestHash: "h", Fence: f.fence, Grace: time.Minute, Sealed: []byte("sealed " + id)})
	if err != nil || !created {
		t.Fatal(created, err)
	}
	return f
}

func longer(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*hang)
	t.Cleanup(cancel)
	return ctx
}

// owners waits for a session's owner to change.
func (f *fixture) owner(s Store) <-chan Owner {
	out := make(chan Owner, 1)
	go func() {
		o, err := s.Owner(f.ctx, f.key, f.fence)
		if err != nil {
			f.t.Errorf("owner: %v", err)
		}
		out <- o
	}()
	return out
}

// TestP2_LeaseRunsOut: the owner of a session is cut off. While its lease lasts nobody takes the session over, then one does, with a higher
// epoch. What the owner was told meanwhile is dropped, its late writes are refused, and it is told who owns the session.
func TestP2_LeaseRunsOut(t *testing.T) {
	t.Parallel()
	pods := startRedis(t).pods(3, lively(atOnce))
	a, b, c := pods[0], pods[1], pods[2]
	f := a.session(longer(t), t, "call")
	f.mustApply(published("ann1", Camera))
	f.put(of("m1", "ann1", Camera))
	f.resolve("ann1", Camera)
	_, err := b.TakeOver(f.ctx, f.key, f.fence, false)
	wantErr(t, err, ErrOwned)
	deposed, seen := f.owner(a), f.owner(c)
	if o, err := c.Owner(f.ctx, f.key, Fence{}); err != nil || !o.Alive || o.Pod.Address != "10.0.0.0:50051" {
		t.Errorf("its owner is %+v %v", o, err)
	}
	a.way.cut(true)
	f.mustApply(published("bob1", Camera)) // nobody else will hear of this
	f.put(of("m2", "bob1", Camera))
	if err := b.Gone(f.ctx, a.cfg.Owner); err != nil {
		t.Fatal(err)
	}
	if o, err := b.Owner(f.ctx, f.key, Fence{}); err != nil || o.Alive || o.Pod != (Pod{Incarnation: a.cfg.Owner}) {
		t.Errorf("an owner that is gone: %+v %v", o, err)
	}
	rec, err := b.TakeOver(f.ctx, f.key, f.fence, false)
	if err != nil || rec.Fence.Epoch <= f.fence.Epoch || rec.Fence.Owner != b.cfg.Owner || string(rec.Sealed) != "sealed call" {
		t.Fatalf("%+v %v", rec, err)
	}
	if o := <-seen; o.Session.Fence != rec.Fence || !o.Alive || o.Pod.Address != "10.0.0.1:50051" {
		t.Errorf("another pod sees %+v", o)
	}
	g := f.on(b.Redis)
	g.fence = rec.Fence
	g.put(of("n1", "ann1", Camera))
	a.way.mend()
	if o := <-deposed; o.Session.Fence != rec.Fence {
		t.Errorf("the owner before is told of %+v", o)
	}
	calm(t, a.Redis)
	for _, pod := range pods {
		wantErr(t, pod.ApplyMedia(f.ctx, f.key, f.fence, MediaDiff{Put: []Media{of("m3", "ann1", Camera)}}), ErrFenced)
		_, err = pod.UpdateSession(f.ctx, f.key, f.fence, SessionUpdate{})
		wantErr(t, err, ErrFenced)
		_, err = pod.TakeOver(f.ctx, f.key, f.fence, false)
		wantErr(t, err, ErrFenced)
		_, err = pod.TakeOver(f.ctx, f.key, rec.Fence, false)
		wantErr(t, err, ErrOwned)
		f.on(pod.Redis).want(map[string]string{"ann1/1": "n1"})
		if len(f.on(pod.Redis).tracks()) != 1 {
			t.Errorf("what nobody heard of: %+v", f.on(pod.Redis).tracks())
		}
	}
	if st := a.Stats(); st.Deposed != 1 || st.Owned != 0 || st.Ahead != 0 || st.Fenced == 0 || st.Pods != 3 || st.Breaks == 0 {
		t.Errorf("%+v", st)
	}
	if st := b.Stats(); st.TakenOver != 1 || st.Owned != 1 || !st.Up || !st.Sure {
		t.Errorf("%+v", st)
	}
}

// TestP2_OneWins: 1,000 times four pods take one session over at the same moment, and exactly one does.
func TestP2_OneWins(t *testing.T) {
	t.Parallel()
	server := startRedis(t)
	var pods []*Redis
	for range 4 {
		pods = append(pods, server.open(quiet(atOnce)))
	}
	ctx := longer(t)
	f := (&pod{Redis: pods[0]}).session(ctx, t, "call")
	wins := map[string]int{}
	from := f.fence
	for round := range cycles(1000) {
		var calls sync.WaitGroup
		won := make(chan Session, len(pods))
		for _, p := range pods {
			calls.Go(func() {
				rec, err := p.TakeOver(ctx, f.key, from, true)
				switch {
				case err == nil:
					won <- rec
				case !errors.Is(err, ErrFenced):
					t.Errorf("round %d: %v", round, err)
				}
			})
		}
		calls.Wait()
		if len(won) != 1 {
			t.Fatalf("round %d: %d pods have it", round, len(won))
		}
		rec := <-won
		if rec.Fence.Epoch <= from.Epoch || rec.MinGeneration != uint64(round+1) {
			t.Fatalf("round %d: %+v after %+v", round, rec, from)
		}
		if got, err := pods[round%4].GetSession(ctx, f.key); err != nil || got.Fence != rec.Fence {
			t.Fatalf("round %d: %+v %v", round, got, err)
		}
		from = rec.Fence
		wins[from.Owner]++
	}
	if len(wins) < 2 {
		t.Errorf("there was no race: %v", wins)
	}
	owned := 0
	for _, p := range pods {
		eventually(t, "one owns it", func() bool { owned = p.Stats().Owned; return owned == 1 == (p.cfg.Owner == from.Owner) })
	}
}

// adopt takes over what Orphans tells of, until the context is over. Each take-over that was made is told.
func adopt(ctx context.Context, t *testing.T, s *Redis, took chan<- Session) {
	for {
		some, err := s.Orphans(ctx, 8)
		if err != nil {
			return
		}
		for _, o := range some {
			if o.Sealed != nil {
				t.Error("what is sealed is told")
			}
			rec, err := s.TakeOver(ctx, o.Key, o.Fence, false)
			switch {
			case err == nil:
				took <- rec
			case ctx.Err() == nil && !errors.Is(err, ErrFenced) && !errors.Is(err, ErrLimitReached):
				t.Errorf("take over %s: %v", o.Key.ID, err)
			}
		}
	}
}

// testOrphans: the sessions of a pod that is gone are taken over by the others, each by one, each by its share, and what one cannot take by
// others; then nothing of the pod is left.
func testOrphans(t *testing.T, gone *Redis, others []*Redis, leave func()) {
	ctx, cancel := context.WithCancel(longer(t))
	var want []*fixture
	for i := range 60 {
		want = append(want, (&pod{Redis: gone}).session(ctx, t, fmt.Sprint("call ", i)))
	}
	// Hints that are wrong: a session of another pod, one that is gone, one that has ended, and junk.
	other := (&pod{Redis: others[0]}).session(ctx, t, "another's")
	ended := (&pod{Redis: gone}).session(ctx, t, "ended")
	if err := others[0].EndSession(ctx, ended.key, SessionDeleted); err != nil {
		t.Fatal(err)
	}
	for _, key := range []SessionKey{other.key, {ID: "none"}, ended.key} {
		for shard, entry := range map[int]string{indexShard(key.ID): indexEntry(key), 3: "junk" + key.ID, 4: "/", 5: "%/%", 6: indexEntry(key)} {
			if err := gone.client.ZAdd(ctx, ownedName(gone.cfg.Owner, shard), redis.Z{Member: entry}).Err(); err != nil {
				t.Fatal(err)
			}
		}
	}
	others[len(others)-1].SetLoad(Load{Draining: true})
	took := make(chan Session, 2*len(want))
	var loops sync.WaitGroup
	for _, s := range others {
		eventually(t, "it is seen who drains", func() bool {
			seen, _ := s.Pods(ctx)
			n := 0
			for _, p := range seen {
				if p.Load.Draining {
					n++
				}
			}
			return n == 1
		})
		loops.Go(func() { adopt(ctx, t, s, took) })
	}
	leave()
	by := map[string]int{}
	seen := map[SessionKey]bool{}
	for range want {
		select {
		case rec := <-took:
			if seen[rec.Key] || rec.Fence.Owner == gone.cfg.Owner {
				t.Errorf("taken over: %+v", rec)
			}
			seen[rec.Key] = true
			by[rec.Fence.Owner]++
		case <-ctx.Done():
			t.Fatalf("%d of %d are taken over", len(seen), len(want))
		}
	}
	eventually(t, "nothing of the pod is left", func() bool {
		listed, err := others[0].client.ZRangeByLex(ctx, podsName, &redis.ZRangeBy{Min: "-", Max: "+"}).Result()
		left := int64(0)
		for shard := range indexShards {
			left += others[0].client.Exists(ctx, ownedName(gone.cfg.Owner, shard)).Val()
		}
		return err == nil && left == 0 && !slices.Contains(listed, gone.cfg.Owner)
	})
	cancel()
	loops.Wait()
	if len(took) != 0 || by[others[len(others)-1].cfg.Owner] != 0 || len(by) != len(others)-1 {
		t.Errorf("%d more, shares are %v", len(took), by)
	}
	if got, err := others[1].GetSession(t.Context(), other.key); err != nil || got.Fence != other.fence {
		t.Errorf("another's session: %+v %v", got, err)
	}
}

// TestP2_OrphansAreShared: see testOrphans.
func TestP2_OrphansAreShared(t *testing.T) {
	t.Parallel()
	pods := startRedis(t).pods(4, lively(Config{MaxSessions: 1000}))
	testOrphans(t, pods[0].Redis, []*Redis{pods[1].Redis, pods[2].Redis, pods[3].Redis}, func() { pods[0].way.cut(true) })
}

// TestP2_OrphansOfAnyShare: what the pod whose share it is does not take, others take later.
func TestP2_OrphansOfAnyShare(t *testing.T) {
	t.Parallel()
	pods := startRedis(t).pods(3, lively(atOnce))
	a, b := pods[0], pods[1] // the third takes nothing
	ctx, cancel := context.WithCancel(longer(t))
	for i := range 20 {
		a.session(ctx, t, fmt.Sprint("call", i))
	}
	took := make(chan Session, 40)
	var loop sync.WaitGroup
	loop.Go(func() { adopt(ctx, t, b.Redis, took) })
	a.way.cut(true)
	for range 20 {
		select {
		case <-took:
		case <-ctx.Done():
			t.Fatal("not all are taken over")
		}
	}
	cancel()
	loop.Wait()
}

// TestP5_EndedWhileTheOwnerWasAway: a session is ended by another pod while its owner is cut off, for longer than an end is told of.
// The owner does not write it again.
func TestP5_EndedWhileTheOwnerWasAway(t *testing.T) {
	for name, taken := range map[string]bool{"ended": false, "taken over and ended": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := startRedis(t)
			cfg := lively(atOnce)
			cfg.EndedTTL, cfg.IdleTTL = 20*time.Millisecond, 20*time.Millisecond
			pods := server.pods(2, cfg)
			a, b := pods[0], pods[1]
			f := a.session(longer(t), t, "call")
			told := f.owner(a)
			a.way.cut(true)
			f.mustApply(published("ann1", Camera))
			if err := b.Gone(f.ctx, a.cfg.Owner); err != nil {
				t.Fatal(err)
			}
			if taken {
				if _, err := b.TakeOver(f.ctx, f.key, f.fence, false); err != nil {
					t.Fatal(err)
				}
			}
			if err := b.EndSession(f.ctx, f.key, SessionDeleted); err != nil {
				t.Fatal(err)
			}
			eventually(t, "b has let it go", func() bool { return b.Stats().Held == 0 })
			a.way.mend()
			if o := <-told; o.Session.State != SessionEnded {
				t.Fatalf("the owner is told of %+v", o)
			}
			eventually(t, "a has let it go", func() bool { return a.Stats().Held == 0 })
			if got, err := a.GetSession(f.ctx, f.key); err == nil && got.State != SessionEnded || err != nil && !errors.Is(err, ErrSessionNotFound) && !errors.Is(err, ErrUnavailable) {
				t.Errorf("%+v %v", got, err)
			}
			if n := a.Stats().Rewritten; n != 0 {
				t.Errorf("written again %d times", n)
			}
			if !taken { // its owner knows now, so that nothing is kept
				eventually(t, "nothing of it is stored", func() bool { return server.do("EXISTS", sessionName(f.key)).(int64) == 0 })
			}
			eventually(t, "no index names it", func() bool {
				n := int64(0)
				for _, index := range []string{indexName("", indexShard(f.key.ID)), ownedName(a.cfg.Owner, indexShard(f.key.ID)), ownedName(b.cfg.Owner, indexShard(f.key.ID))} {
					n += server.do("ZLEXCOUNT", index, "-", "+").(int64)
				}
				return n == 0
			})
		})
	}
}
