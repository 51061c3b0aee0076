package resolverstore

import (
	"context"
	"runtime"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// inBubble runs a test on a simulated clock. Sleeps in it are moves of that clock.
func inBubble(t *testing.T, cfg Config, test func(t *testing.T, f *fixture, m *Memory)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		m := NewMemory(cfg)
		defer func() { _ = m.Close() }()
		test(t, newFixtureIn(t.Context(), t, m), m)
	})
}

// held counts what a session keeps.
func held(m *Memory) (n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, s := range m.sessions {
		s.mu.Lock()
		c := s.call
		n += len(c.publications) + len(c.media) + len(c.tracks) + len(c.tombstones.left) + len(c.proposed) + len(s.waiters)
		s.mu.Unlock()
	}
	return n
}

func TestR1_NineSecondsApart(t *testing.T) {
	for _, media := range []Media{of("m1", "ann1", Camera), anonymous("m1", KindVideo)} {
		for _, mediaFirst := range []bool{true, false} {
			inBubble(t, Config{}, func(t *testing.T, f *fixture, _ *Memory) {
				ctx, cancel := context.WithTimeout(f.ctx, 10*time.Second)
				defer cancel()
				f.ctx = ctx
				wait := f.waitFor(Selector{ParticipantID: "ann1", Source: Camera})
				first, second := func() { f.put(media) }, func() { f.mustApply(published("ann1", Camera)) }
				if !mediaFirst {
					first, second = second, first
				}
				first()
				time.Sleep(9 * time.Second)
				second()
				if got, err := wait(); err != nil || got.Media.ID != "m1" {
					t.Errorf("media first %v: %+v %v", mediaFirst, got, err)
				}
			})
		}
	}
}

func TestR1_PastTheDeadline(t *testing.T) {
	inBubble(t, Config{}, func(t *testing.T, f *fixture, m *Memory) {
		ctx, cancel := context.WithTimeout(f.ctx, 10*time.Second)
		defer cancel()
		start := time.Now()
		_, err := f.store.Resolve(ctx, f.key, Selector{ParticipantID: "ann1", Source: Camera})
		wantErr(t, err, context.DeadlineExceeded)
		if d := time.Since(start); d != 10*time.Second {
			t.Errorf("gave up after %v", d)
		}
		if n := held(m); n != 0 {
			t.Errorf("%d things are kept for a waiter that is gone", n)
		}
	})
}

// TestR8_BurstIsSeenWhole: what elimination finds in the middle of a burst is not joined.
func TestR8_BurstIsSeenWhole(t *testing.T) {
	inBubble(t, Config{}, func(t *testing.T, f *fixture, _ *Memory) {
		f.put(anonymous("share", KindVideo))
		f.mustApply(published("ann1", Camera))
		f.want(nil)
		time.Sleep(99 * time.Millisecond)
		f.put(anonymous("camera", KindVideo))
		time.Sleep(time.Minute)
		f.want(nil)
		f.remove("share")
		time.Sleep(time.Second) // camera has become too old to be joined by elimination
		f.want(nil)
		f.remove("camera")
		f.put(anonymous("camera2", KindVideo))
		f.want(nil)
		time.Sleep(101 * time.Millisecond)
		f.want(map[string]string{name("ann1", Camera): "camera2"})
	})
}

func TestR9_StaleAnonymousMediaIsOutOfTheRunning(t *testing.T) {
	inBubble(t, Config{EliminationTTL: time.Minute}, func(t *testing.T, f *fixture, _ *Memory) {
		f.put(anonymous("stale", KindVideo))
		time.Sleep(time.Minute)
		f.mustApply(published("ann1", Camera))
		time.Sleep(time.Second)
		f.want(nil)
		f.put(anonymous("fresh", KindVideo))
		time.Sleep(time.Second)
		f.want(map[string]string{name("ann1", Camera): "fresh"})
	})
}

func TestR10_Tombstone(t *testing.T) {
	inBubble(t, Config{TombstoneTTL: 10 * time.Second}, func(t *testing.T, f *fixture, m *Memory) {
		f.mustApply(joined("ann1"), left("ann1"))
		time.Sleep(9 * time.Second)
		_, err := f.store.Resolve(f.ctx, f.key, Selector{ParticipantID: "ann1", Source: Camera})
		wantErr(t, err, ErrParticipantLeft)
		time.Sleep(time.Second)
		synctest.Wait()
		if n := held(m); n != 0 {
			t.Errorf("%d things are kept of who left", n)
		}
		wait := f.waitFor(Selector{ParticipantID: "ann1", Source: Camera})
		f.mustApply(published("ann1", Camera))
		f.put(of("m1", "ann1", Camera))
		if _, err := wait(); err != nil {
			t.Errorf("after the tombstone: %v", err)
		}
	})
}

// TestR6_MediaThatGoesOn: after a leave and a quick return with the same media, it is held back first, and then used.
func TestR6_MediaThatGoesOn(t *testing.T) {
	inBubble(t, Config{HoldTTL: 3 * time.Second}, func(t *testing.T, f *fixture, _ *Memory) {
		f.mustApply(joined("ann1"), published("ann1", Camera))
		f.put(of("m1", "ann1", Camera))
		f.mustApply(left("ann1"))
		time.Sleep(time.Minute)
		f.mustApply(joined("ann1"), published("ann1", Camera))
		time.Sleep(2999 * time.Millisecond)
		f.want(nil)
		time.Sleep(2 * time.Millisecond)
		f.want(map[string]string{name("ann1", Camera): "m1"})
		f.put(of("m2", "ann1", Camera)) // what is newer replaces it
		f.want(map[string]string{name("ann1", Camera): "m2"})
	})
}

func TestR4_RepublishTTL(t *testing.T) {
	inBubble(t, Config{RepublishTTL: 5 * time.Second}, func(t *testing.T, f *fixture, _ *Memory) {
		f.mustApply(published("ann1", Camera))
		f.put(of("m1", "ann1", Camera))
		first := f.resolve("ann1", Camera)
		_, revision, _ := f.store.ListTracks(f.ctx, f.key, "", 9)
		w, _ := f.store.Watch(f.ctx, f.key, revision)
		defer w.Close()
		f.mustApply(unpublished("ann1", Camera))
		if c, err := w.Next(f.ctx); err != nil || len(c.Removed) != 0 || c.Tracks[0].Publication != nil {
			t.Fatalf("unpublished: %+v %v", c, err)
		}
		start := time.Now()
		c, err := w.Next(f.ctx)
		if err != nil || len(c.Removed) != 1 || c.Removed[0].EndReason != TrackUnpublished || time.Since(start) != 5*time.Second {
			t.Fatalf("after %v: %+v %v", time.Since(start), c, err)
		}
		f.mustApply(published("ann1", Camera))
		if got := f.resolve("ann1", Camera); got.ID == first.ID || got.Media.ID != "m1" {
			t.Errorf("published again much later: %+v", got)
		}
	})
}

func TestR11_PendingExpiresByItself(t *testing.T) {
	inBubble(t, Config{PendingTTL: time.Minute}, func(t *testing.T, f *fixture, m *Memory) {
		f.mustApply(published("ann1", Camera))
		f.put(of("m1", "bob1", Camera), anonymous("m2", KindAudio))
		if n := held(m); n != 4 {
			t.Fatalf("%d things are kept, not a publication, its track and two media", n)
		}
		w, _ := f.store.Watch(f.ctx, f.key, 0)
		defer w.Close()
		if _, err := w.Next(f.ctx); err != nil {
			t.Fatal(err)
		}
		start := time.Now()
		if c, err := w.Next(f.ctx); err != nil || len(c.Removed) != 1 || time.Since(start) != time.Minute {
			t.Errorf("after %v: %+v %v", time.Since(start), c, err)
		}
		synctest.Wait()
		if n := held(m); n != 0 {
			t.Errorf("%d things are kept past their time", n)
		}
	})
}

func TestR12_WaitersCostNothing(t *testing.T) {
	var decisions atomic.Int64
	counting := func(streamID, trackID string) (Words, bool) {
		decisions.Add(1)
		return PlainScheme(streamID, trackID)
	}
	inBubble(t, Config{Schemes: []Scheme{counting}}, func(t *testing.T, f *fixture, m *Memory) {
		f.mustApply(published("bob1", Camera))
		f.put(anonymous("m1", KindAudio))
		ctx, cancel := context.WithCancel(f.ctx)
		f.ctx = ctx
		var waits []func() (Track, error)
		for range 1000 {
			waits = append(waits, f.waitFor(Selector{ParticipantID: "ann1", Source: Camera}))
		}
		synctest.Wait()
		before := decisions.Load()
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if n := decisions.Load() - before; n != 0 {
			t.Errorf("%d decisions were made while nothing happened", n)
		}
		cancel()
		for _, wait := range waits {
			_, err := wait()
			wantErr(t, err, context.Canceled)
		}
		if n := held(m); n != 3 {
			t.Errorf("%d things are kept", n)
		}
	})
}

func TestR13_CyclesLeaveNothing(t *testing.T) {
	inBubble(t, Config{MaxTombstones: 64, MaxMedia: 64}, func(t *testing.T, f *fixture, m *Memory) {
		cycle := func(n int) {
			for range n {
				f.mustApply(joined("ann1"), published("ann1", Camera))
				id := newTrackID()
				f.put(of(id, "ann1", Camera))
				f.resolve("ann1", Camera)
				f.mustApply(left("ann1"))
				f.remove(id)
			}
			time.Sleep(time.Minute)
			synctest.Wait()
		}
		cycle(2 * lateDead) // the bounded logs are full
		before := heap()
		cycle(10_000)
		if after := heap(); after > before+256<<10 {
			t.Errorf("the heap grew from %d to %d bytes", before, after)
		}
		if n := held(m); n != 0 {
			t.Errorf("%d things are kept", n)
		}
	})
}

func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var s runtime.MemStats
	runtime.ReadMemStats(&s)
	return s.HeapAlloc
}

func TestEndedSessionVanishes(t *testing.T) {
	inBubble(t, Config{EndedTTL: 30 * time.Second}, func(t *testing.T, f *fixture, m *Memory) {
		f.mustApply(published("ann1", Camera))
		if err := f.store.EndSession(f.ctx, f.key, SessionDeleted); err != nil {
			t.Fatal(err)
		}
		time.Sleep(29 * time.Second)
		if s, err := f.store.GetSession(f.ctx, f.key); err != nil || s.State != SessionEnded {
			t.Errorf("too soon gone: %+v %v", s, err)
		}
		time.Sleep(2 * time.Second)
		_, err := f.store.GetSession(f.ctx, f.key)
		wantErr(t, err, ErrSessionNotFound)
		// The tombstone of one session does not take the next of that id with it.
		newFixtureIn(f.ctx, t, m)
		_ = m.EndSession(f.ctx, f.key, SessionDeleted)
		time.Sleep(29 * time.Second)
		again := newFixtureIn(f.ctx, t, m)
		time.Sleep(29 * time.Second)
		again.mustApply(joined("ann1"))
	})
}
