package resolverstore

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// gate is a hook of the Redis client that does something before each command.
type gate struct {
	before func(ctx context.Context, name string) error
}

// DialHook implements redis.Hook.
func (*gate) DialHook(next redis.DialHook) redis.DialHook { return next }

// ProcessHook implements redis.Hook.
func (g *gate) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if err := g.before(ctx, cmd.Name()); err != nil {
			cmd.SetErr(err)
			return err
		}
		return next(ctx, cmd)
	}
}

// ProcessPipelineHook implements redis.Hook.
func (g *gate) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []redis.Cmder) error {
		if err := g.before(ctx, cmds[0].Name()); err != nil {
			return err
		}
		return next(ctx, cmds)
	}
}

// unhurried is a configuration in which no heartbeat comes by itself within a test.
func unhurried() Config { return Config{Heartbeat: hang, LeaseTTL: 4 * hang} }

// TestP7_StandstillIsNoBreak: a heartbeat's deadline passes while the process stands still, which says nothing of Redis: it is tried again at once, and contact is not broken. Where
// it was Redis that did not answer, contact is.
func TestP7_StandstillIsNoBreak(t *testing.T) {
	server := startRedis(t)
	o := server.options()
	o.Timeout = time.Second
	s := openRedis(t, unhurried(), o)
	var tries atomic.Int32
	var stands, refuses atomic.Bool
	s.client.AddHook(&gate{func(ctx context.Context, name string) error {
		if name != "evalsha" { // renewing the lease
			return nil
		}
		tries.Add(1)
		switch {
		case refuses.Load():
			return context.DeadlineExceeded
		case !stands.CompareAndSwap(true, false):
			return nil
		}
		<-ctx.Done()
		still := time.NewTimer(o.Timeout + o.Timeout/2) // as a process that is stopped: its deadline passes, and more
		defer still.Stop()
		<-still.C
		return ctx.Err()
	}})
	stands.Store(true)
	if err := s.beat(t.Context()); err != nil || tries.Load() != 2 {
		t.Errorf("after a standstill: %v, %d tries", err, tries.Load())
	}
	if st := s.Stats(); st.Breaks != 0 || !st.Up {
		t.Errorf("after a standstill: %+v", st)
	}
	tries.Store(0)
	refuses.Store(true)
	if err := s.beat(t.Context()); !errors.Is(err, context.DeadlineExceeded) || tries.Load() != 1 {
		t.Errorf("without an answer: %v, %d tries", err, tries.Load())
	}
	if st := s.Stats(); st.Breaks != 1 || st.Up {
		t.Errorf("without an answer: %+v", st)
	}
}

// TestP7_LostLeaseIsADoubt: a pod whose clock stood still with it, as on a machine that was suspended, learns of it by its lease, which is gone. Until it has looked at its sessions
// it is not sure of them.
func TestP7_LostLeaseIsADoubt(t *testing.T) {
	server := startRedis(t)
	s := server.open(unhurried())
	if _, _, err := s.CreateSession(t.Context(), Session{Key: SessionKey{ID: "call"}, Fence: Fence{Owner: s.cfg.Owner, Epoch: 1}}); err != nil {
		t.Fatal(err)
	}
	letGo := make(chan struct{})
	s.client.AddHook(&gate{func(ctx context.Context, name string) error {
		if name == "evalsha" { // renewing the lease
			return nil
		}
		select {
		case <-letGo:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}})
	server.do("DEL", leaseName(s.cfg.Owner))
	if err := s.beat(t.Context()); err != nil {
		t.Fatal(err)
	}
	if s.Sure() {
		t.Error("it is sure, and has looked at nothing")
	}
	close(letGo)
	if err := s.Recheck(t.Context()); err != nil || !s.Sure() {
		t.Errorf("after it has looked: %v", err)
	}
	if st := s.Stats(); st.Pauses != 0 {
		t.Errorf("%d pauses", st.Pauses)
	}
}
