package resolverstore

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestP2_SharesAreDisjoint: of the pods that live and do not drain, exactly one takes each session, and each takes some.
func TestP2_SharesAreDisjoint(t *testing.T) {
	t.Parallel()
	pods := startRedis(t).pods(4, lively(atOnce))
	ctx := longer(t)
	pods[3].SetLoad(Load{Draining: true})
	for _, p := range pods {
		eventually(t, "it is seen who drains", func() bool {
			seen, err := p.Pods(ctx)
			n := 0
			for _, one := range seen {
				if one.Load.Draining {
					n++
				}
			}
			return err == nil && n == 1
		})
	}
	shares := make([]int, 3)
	for i := range 900 {
		n, key := 0, SessionKey{ID: fmt.Sprint("call", i)}
		for k, p := range pods[:3] {
			if p.share(key) {
				n++
				shares[k]++
			}
		}
		if n != 1 {
			t.Fatalf("%d pods take %+v", n, key)
		}
	}
	for _, n := range shares {
		if n < 200 {
			t.Errorf("shares are %v", shares)
		}
	}
}

// TestP2_TakeOverWithoutAnAnswer: a take-over of which no answer comes is done all the same. The pod is told of the session, and takes it
// over from itself.
func TestP2_TakeOverWithoutAnAnswer(t *testing.T) {
	t.Parallel()
	server := startRedis(t)
	a := server.open(atOnce)
	way := startProxy(t, server.addr)
	o := way.options()
	o.Timeout = patience
	b := openRedis(t, lively(atOnce), o)
	f := (&pod{Redis: a}).session(longer(t), t, "call")
	r, err := b.acquire(f.ctx, f.key)
	if err != nil {
		t.Fatal(err)
	}
	to := succeed(f.fence, b.cfg.Owner, time.Now())
	way.stall() // the server hears and does, and its answers are held back
	_, err = b.commitTakeOver(f.ctx, r, f.fence, to, true)
	wantErr(t, err, ErrUnavailable)
	b.release(r)
	eventually(t, "the server has done it", func() bool { got, err := a.GetSession(f.ctx, f.key); return err == nil && got.Fence == to })
	way.flow()
	told, err := b.Orphans(f.ctx, 8)
	if err != nil || len(told) != 1 || told[0].Fence != to {
		t.Fatalf("told is %+v %v", told, err)
	}
	rec, err := b.TakeOver(f.ctx, f.key, to, false)
	if err != nil || rec.Fence.Epoch <= to.Epoch || string(rec.Sealed) != "sealed call" {
		t.Fatalf("%+v %v", rec, err)
	}
	if err := b.ApplyMedia(f.ctx, f.key, rec.Fence, MediaDiff{}); err != nil {
		t.Error(err)
	}
	if st := b.Stats(); st.Owned != 1 || len(b.unclaimed) != 0 {
		t.Errorf("%+v", st)
	}
	eventually(t, "it is a's no more", func() bool { return a.Stats().Owned == 0 })
}

// TestP2_CallerOfATakeOverLeaves: who wanted a take-over leaves before its answer. It is done all the same, and the pod is told of the session.
func TestP2_CallerOfATakeOverLeaves(t *testing.T) {
	t.Parallel()
	server := startRedis(t)
	a := server.open(atOnce)
	way := startProxy(t, server.addr)
	o := way.options()
	o.Timeout = patience
	b := openRedis(t, lively(atOnce), o)
	f := (&pod{Redis: a}).session(longer(t), t, "call")
	r, err := b.acquire(f.ctx, f.key)
	if err != nil {
		t.Fatal(err)
	}
	to := succeed(f.fence, b.cfg.Owner, time.Now())
	way.stall()
	ctx, leave := context.WithCancel(f.ctx)
	failed := make(chan error, 1)
	go func() {
		_, err := b.commitTakeOver(ctx, r, f.fence, to, true)
		failed <- err
	}()
	eventually(t, "the server has done it", func() bool { got, err := a.GetSession(f.ctx, f.key); return err == nil && got.Fence == to })
	leave()
	wantErr(t, <-failed, context.Canceled)
	b.release(r)
	way.flow()
	told, err := b.Orphans(f.ctx, 8)
	if err != nil || len(told) != 1 || told[0].Fence != to {
		t.Fatalf("told is %+v %v", told, err)
	}
}

// TestP2_UnclaimedIsTakenByAnother: what a pod owns by a take-over that it did not hear of is let go like any other session when another pod takes it.
func TestP2_UnclaimedIsTakenByAnother(t *testing.T) {
	t.Parallel()
	cfg := lively(atOnce)
	cfg.IdleTTL = 20 * time.Millisecond
	a, b := startRedis(t).pair(cfg)
	f := (&pod{Redis: a}).session(longer(t), t, "call")
	r, err := b.acquire(f.ctx, f.key)
	if err != nil {
		t.Fatal(err)
	}
	to := succeed(f.fence, b.cfg.Owner, time.Now())
	if _, err := b.commitTakeOver(f.ctx, r, f.fence, to, true); err != nil {
		t.Fatal(err)
	}
	b.release(r)
	if _, err := a.TakeOver(f.ctx, f.key, to, true); err != nil {
		t.Fatal(err)
	}
	eventually(t, "b has let it go", func() bool { return b.Stats().Held == 0 })
	if st := b.Stats(); st.Owned != 0 || st.Deposed != 0 {
		t.Errorf("%+v", st)
	}
}

// TestP5_EndedAndForgottenLate: Redis is away when an ended session is to be forgotten. No index names it once Redis is back.
func TestP5_EndedAndForgottenLate(t *testing.T) {
	t.Parallel()
	server := startRedis(t)
	cfg := lively(atOnce)
	cfg.EndedTTL = 3 * time.Second
	var log syncBuffer
	cfg.Logger = slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	a := server.pods(1, cfg)[0]
	f := a.session(longer(t), t, "call")
	if err := a.EndSession(f.ctx, f.key, SessionDeleted); err != nil {
		t.Fatal(err)
	}
	a.way.cut(true)
	eventually(t, "it cannot be forgotten", func() bool { return strings.Contains(log.String(), "not forgotten yet") })
	a.way.mend()
	eventually(t, "no index names it", func() bool {
		return server.do("ZLEXCOUNT", indexName("", indexShard(f.key.ID)), "-", "+").(int64)+
			server.do("ZLEXCOUNT", ownedName(a.cfg.Owner, indexShard(f.key.ID)), "-", "+").(int64) == 0
	})
}

// TestP2_TakeOversHaveABound: a pod takes over no more sessions than it may own, and has room for others once one is taken from it.
func TestP2_TakeOversHaveABound(t *testing.T) {
	t.Parallel()
	server := startRedis(t)
	a := server.open(lively(atOnce))
	cfg := lively(atOnce)
	cfg.MaxSessions = 2
	b := server.open(cfg)
	var all []*fixture
	for i := range 3 {
		all = append(all, (&pod{Redis: a}).session(longer(t), t, fmt.Sprint("call", i)))
	}
	for i, f := range all {
		rec, err := b.TakeOver(f.ctx, f.key, f.fence, true)
		if i == 2 {
			wantErr(t, err, ErrLimitReached)
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		f.fence = rec.Fence
	}
	f := all[0]
	if _, err := a.TakeOver(f.ctx, f.key, f.fence, true); err != nil {
		t.Fatal(err)
	}
	f = all[2]
	eventually(t, "there is room again", func() bool {
		_, err := b.TakeOver(f.ctx, f.key, f.fence, true)
		if err != nil && !errors.Is(err, ErrLimitReached) {
			t.Fatal(err)
		}
		return err == nil
	})
	eventually(t, "each counts its own", func() bool { return a.Stats().Owned == 1 && b.Stats().Owned == 2 })
}

// TestP6_SlowRedis: each answer of the server takes 200 ms more. Pods keep their leases, calls of both are done, however many at once, and what
// waits is told; nobody is taken for gone.
func TestP6_SlowRedis(t *testing.T) {
	t.Parallel()
	cfg := lively(atOnce)
	cfg.Heartbeat, cfg.LeaseTTL = 250*time.Millisecond, 3*time.Second
	pods := startRedis(t).pods(2, cfg)
	a, b := pods[0], pods[1]
	f := a.session(longer(t), t, "call")
	g := f.on(b.Redis)
	g.tracks() // b holds it
	for _, p := range pods {
		p.way.slow(200 * time.Millisecond)
	}
	var calls sync.WaitGroup
	for i := range 8 {
		calls.Go(func() {
			id := fmt.Sprintf("p%d-", i)
			wait := g.waitFor(Selector{ParticipantID: id, Source: Camera})
			for _, do := range []func() error{
				func() error { _, err := b.ApplyEvents(f.ctx, f.key, []Event{published(id, Camera)}); return err },
				func() error { return a.ApplyMedia(f.ctx, f.key, f.fence, MediaDiff{Put: []Media{of(id, id, Camera)}}) },
			} {
				for err := do(); err != nil; err = do() { // turns are waited for, but not for ever
					if !errors.Is(err, ErrUnavailable) {
						t.Error(err)
						return
					}
				}
			}
			if got, err := wait(); err != nil || got.Media.ID != id {
				t.Errorf("%+v %v", got, err)
			}
		})
	}
	for range 4 {
		for _, p := range pods {
			if err := p.awaitLook(f.ctx, p.peers.afterLook()); err != nil {
				t.Fatal(err)
			}
			if seen, err := p.Pods(f.ctx); err != nil || len(seen) != 2 {
				t.Errorf("seen are %+v %v", seen, err)
			}
			_, err := p.TakeOver(f.ctx, f.key, f.fence, false)
			wantErr(t, err, ErrOwned)
		}
	}
	calls.Wait()
	for _, p := range pods {
		if st := p.Stats(); !st.Up || st.Breaks != 0 || st.Losses != 0 || st.Deposed+st.TakenOver != 0 {
			t.Errorf("%+v", st)
		}
	}
}
