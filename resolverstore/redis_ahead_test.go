package resolverstore

import (
	"context"
	"fmt"
	"reflect"
	"syscall"
	"testing"
	"time"
)

// away is how a server is away, and comes back.
type away struct {
	gone func(*redisServer)
	back func(*redisServer)
}

func waysToBeAway() map[string]away {
	return map[string]away{
		"paused": {func(s *redisServer) { s.signal(syscall.SIGSTOP) }, func(s *redisServer) { s.signal(syscall.SIGCONT) }},
		"killed": {(*redisServer).kill, (*redisServer).restart}, // and empty
	}
}

// TestR17_OwnerGoesOn: Redis is stopped for 10 s while the owner of a session receives media and events. They resolve on the owner
// meanwhile, by words and by elimination; other pods fail fast, and what waits there resolves once Redis is back. Nothing is lost or
// doubled: all pods tell the same tracks, by the ids that were told meanwhile, and watchers saw each of them.
func TestR17_OwnerGoesOn(t *testing.T) {
	for name, way := range waysToBeAway() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := startRedis(t)
			o := server.options()
			o.Timeout = 2 * time.Second
			cfg := brisk(Config{Settle: 50 * time.Millisecond})
			a, b := openRedis(t, cfg, o), openRedis(t, cfg, o)
			f := newFixture(t, a)
			ctx, cancel := context.WithTimeout(t.Context(), 4*hang)
			defer cancel()
			f.ctx = ctx
			f.mustApply(published("ann1", Microphone), published("old1", Camera))
			f.put(of("m-old", "old1", Camera))
			watched := f.watchAll()
			far := f.on(b).waitFor(Selector{ParticipantID: "last1", Source: Camera})
			eventually(t, "b waits", func() bool { return waiting(b, f.key) == 1 })
			way.gone(server)
			told := goesOn(t, f, b, 10*time.Second)
			way.back(server)
			if got, err := far(); err != nil || got.ID != told["last1/1"].ID {
				t.Fatalf("who waited on the other pod: %+v %v, want %+v", got, err, told["last1/1"])
			}
			wantSame(t, f, f.on(b), told)
			calm(t, a, b)
			f.on(b).mustApply(published("zoe1", Camera))
			f.put(of("m-zoe", "zoe1", Camera))
			told["zoe1/1"] = f.on(b).resolve("zoe1", Camera)
			for name, want := range told {
				eventually(t, "the watcher is told of "+name, func() bool { return watched(want.ID) })
			}
		})
	}
}

// goesOn tells the owner of media and events for a time during which Redis is away. It returns what was resolved meanwhile.
func goesOn(t *testing.T, f *fixture, other *Redis, d time.Duration) map[string]Track {
	t.Helper()
	told := map[string]Track{}
	until := time.Now().Add(d)
	for i := 0; time.Now().Before(until); i++ {
		id := fmt.Sprintf("p%d-", i)
		wait := f.waitFor(Selector{ParticipantID: id, Source: Camera})
		if i%2 == 0 {
			f.put(of("m-"+id, id, Camera))
			f.mustApply(published(id, Camera))
		} else { // only elimination joins these, after they stood alone for a while
			f.mustApply(published(id, Camera))
			f.put(anonymous("m-"+id, KindVideo))
		}
		got, err := wait()
		if err != nil || got.Media.ID != "m-"+id {
			t.Fatalf("%s resolves to %+v, %v", id, got, err)
		}
		told[name(id, Camera)] = got
		if i%3 == 0 {
			f.mustApply(left(id))
			f.remove("m-" + id)
			delete(told, name(id, Camera))
		}
		if i%20 == 0 {
			_, err = other.ApplyEvents(f.ctx, f.key, []Event{published("far1", Camera)})
			wantErr(t, err, ErrUnavailable)
		}
	}
	f.mustApply(left("old1"), published("last1", Camera))
	f.put(of("m-last", "last1", Camera), of("m-ann", "ann1", Microphone))
	told["last1/1"], told["ann1/2"] = f.resolve("last1", Camera), f.resolve("ann1", Microphone)
	if len(told) < 10 {
		t.Errorf("only %d tracks", len(told))
	}
	return told
}

// wantSame checks that two pods tell the same tracks, which are those that were told, and that Redis holds what they do.
func wantSame(t *testing.T, f, other *fixture, told map[string]Track) {
	t.Helper()
	here := func(f *fixture) map[string]Track {
		all := map[string]Track{}
		for name, tr := range f.tracks() {
			if tr.Publication != nil {
				all[name] = tr
			}
		}
		return all
	}
	calm(t, f.store.(*Redis), other.store.(*Redis))
	eventually(t, "both pods tell the same", func() bool { return reflect.DeepEqual(here(f), here(other)) })
	got := here(f)
	for name, want := range told {
		if g := got[name]; g.ID != want.ID || g.State != TrackLive || g.Media.ID != want.Media.ID {
			t.Errorf("%s is %+v, was %+v", name, g, want)
		}
	}
	if len(got) != len(told) {
		t.Errorf("%d tracks, want %d", len(got), len(told))
	}
	for _, pod := range []*fixture{f, other} { // what is due is forgotten in one of the two first
		eventually(t, "what is held is what is stored", func() bool {
			s := pod.store.(*Redis)
			st, _, err := readAll(f, s)
			if err != nil {
				t.Fatal(err)
			}
			r, _ := s.held(f.key)
			defer s.release(r)
			r.mu.Lock()
			defer r.mu.Unlock()
			d := st.diff(&r.state)
			return d.empty()
		})
	}
}

// watchAll watches the session until the test ends. It returns a function that tells whether a live track was told.
func (f *fixture) watchAll() func(id string) bool {
	f.t.Helper()
	w, err := f.store.Watch(f.ctx, f.key, 0)
	if err != nil {
		f.t.Fatal(err)
	}
	seen, ask, done := map[string]bool{}, make(chan func()), make(chan struct{})
	changes := make(chan Change)
	go func() {
		defer close(changes)
		for {
			c, err := w.Next(f.ctx)
			if err != nil {
				return
			}
			changes <- c
		}
	}()
	go func() {
		defer close(done)
		for {
			select {
			case c, ok := <-changes:
				if !ok {
					return
				}
				for _, tr := range c.Tracks {
					seen[tr.ID] = seen[tr.ID] || tr.State == TrackLive
				}
			case q := <-ask:
				q()
			}
		}
	}()
	f.t.Cleanup(func() { w.Close(); <-done })
	return func(id string) bool {
		got := make(chan bool, 1)
		ask <- func() { got <- seen[id] }
		return <-got
	}
}

// TestR17_OthersWroteMeanwhile: only the owner cannot reach Redis. What it was told meanwhile is joined there, and with what other pods
// wrote once it is back; tracks keep the ids that were told, watchers get a snapshot, and an end that another pod wrote counts.
func TestR17_OthersWroteMeanwhile(t *testing.T) {
	server := startRedis(t)
	p := startProxy(t, server.addr)
	a, b := openRedis(t, brisk(atOnce), p.options()), server.open(brisk(atOnce))
	f := newFixture(t, a)
	f.mustApply(published("ann1", Camera), published("gone1", Camera))
	f.put(of("m-gone", "gone1", Camera))
	far := f.on(b).waitFor(Selector{ParticipantID: "bob1", Source: Camera})
	both := f.waitFor(Selector{ParticipantID: "cat1", Source: Camera})
	eventually(t, "b waits", func() bool { return waiting(b, f.key) == 1 })
	watched := f.watchAll()
	p.cut(true)
	f.mustApply(published("bob1", Camera))
	f.put(of("m-ann", "ann1", Camera), of("m-bob", "bob1", Camera), of("m-cat", "cat1", Camera))
	told := map[string]Track{"ann1/1": f.resolve("ann1", Camera), "bob1/1": f.resolve("bob1", Camera)}
	f.on(b).mustApply(published("cat1", Camera), left("gone1"))
	p.mend()
	if got, err := far(); err != nil || got.ID != told["bob1/1"].ID {
		t.Fatalf("the other pod resolves %+v %v, told was %+v", got, err, told["bob1/1"])
	}
	got, err := both()
	if err != nil {
		t.Fatal(err)
	}
	told["cat1/1"] = got
	wantSame(t, f, f.on(b), told)
	eventually(t, "the watcher is told", func() bool { return watched(told["cat1/1"].ID) })
	// An old revision, of here or there, gives a snapshot.
	_, revision, err := f.store.ListTracks(f.ctx, f.key, "", 100)
	if err != nil {
		t.Fatal(err)
	}
	w, err := b.Watch(f.ctx, f.key, revision-1)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	if c, err := w.Next(f.ctx); err != nil || !c.Snapshot {
		t.Errorf("an old revision gives %+v %v", c, err)
	}
	p.cut(true)
	f.mustApply(published("dan1", Camera))
	wait := f.waitFor(Selector{ParticipantID: "eve1", Source: Camera})
	if err := b.EndSession(f.ctx, f.key, SessionDeleted); err != nil {
		t.Fatal(err)
	}
	p.mend()
	_, err = wait()
	wantErr(t, err, ErrSessionEnded)
}

// TestR17_WritesThatWereLate: writes of which no answer came are done by the server once it goes on. They are not made again.
func TestR17_WritesThatWereLate(t *testing.T) {
	server := startRedis(t)
	p := startProxy(t, server.addr)
	cfg := brisk(atOnce)
	o := p.options()
	o.Timeout = 300 * time.Millisecond
	a, b := openRedis(t, cfg, o), server.open(cfg)
	f := newFixture(t, a)
	for round := range 10 {
		calm(t, a)
		id := fmt.Sprintf("ann%d-", round)
		wait := f.on(b).waitFor(Selector{ParticipantID: id, Source: Camera})
		eventually(t, "b waits", func() bool { return waiting(b, f.key) == 1 })
		p.stall() // the server hears and does, and its answers are held back
		f.mustApply(published(id, Camera))
		f.put(of("m"+id, id, Camera))
		told := f.resolve(id, Camera)
		p.flow()
		if got, err := wait(); err != nil || got.ID != told.ID {
			t.Fatalf("round %d: %+v %v, told was %+v", round, got, err, told)
		}
		wantSame(t, f, f.on(b), map[string]Track{name(id, Camera): told})
		calm(t, b)
		f.mustApply(left(id))
		f.remove("m" + id)
		eventually(t, "it has left", func() bool { return len(f.on(b).tracks()) == 0 })
	}
}

// TestAheadHasBounds: what is kept while Redis is away is bounded; then it fails until Redis is back, and then nothing that was taken is lost.
func TestAheadHasBounds(t *testing.T) {
	server := startRedis(t)
	p := startProxy(t, server.addr)
	a := openRedis(t, brisk(atOnce), p.options())
	f := newFixture(t, a)
	p.cut(true)
	eventually(t, "the heartbeat fails", func() bool { _, up := a.Contact(); return !up })
	taken := 0
	for ; taken <= maxAhead; taken++ {
		if _, err := a.ApplyEvents(f.ctx, f.key, []Event{published(fmt.Sprint("p", taken), Camera)}); err != nil {
			wantErr(t, err, ErrUnavailable)
			break
		}
	}
	if taken != maxAhead {
		t.Fatalf("%d edits are kept", taken)
	}
	p.mend()
	calm(t, a)
	b := server.open(brisk(atOnce))
	eventually(t, "all is stored", func() bool {
		all, _, err := b.ListTracks(f.ctx, f.key, "", 2*maxAhead)
		return err == nil && len(all) == taken
	})
	f.mustApply(published("more1", Camera))
}
