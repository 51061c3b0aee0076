package resolverstore

import (
	"context"
	"errors"
	"fmt"
	"syscall"
	"testing"
	"time"
)

// brisk is a configuration that notices things soon.
func brisk(cfg Config) Config {
	cfg.Heartbeat, cfg.LeaseTTL = 50*time.Millisecond, 500*time.Millisecond
	return cfg
}

// calm waits until a store can reach its server.
func calm(t testing.TB, stores ...*Redis) {
	t.Helper()
	for _, s := range stores {
		eventually(t, "redis can be reached", func() bool { return s.reachable() == nil })
	}
}

// TestR16_CutConnection: what is registered while the waiting pod's connections are cut, refused, or cut again while it reconnects,
// releases its waiters once they are restored. 40 rounds.
func TestR16_CutConnection(t *testing.T) {
	server := startRedis(t)
	p := startProxy(t, server.addr)
	a, b := server.open(brisk(atOnce)), openRedis(t, brisk(atOnce), p.options())
	f := newFixture(t, a)
	ctx, cancel := context.WithTimeout(t.Context(), 4*hang)
	defer cancel()
	f.ctx = ctx
	for round := range 40 {
		calm(t, b)
		id := fmt.Sprintf("ann%d-", round)
		wait := f.on(b).waitFor(Selector{ParticipantID: id, Source: Camera})
		eventually(t, "b waits", func() bool { return waiting(b, f.key) == 1 })
		p.cut(round%2 == 0)
		f.mustApply(published(id, Camera))
		if round%3 == 0 {
			p.cut(round%2 == 0)
		}
		f.put(of(fmt.Sprint("m", round), id, Camera))
		p.mend()
		if got, err := wait(); err != nil || got.Media.ID != fmt.Sprint("m", round) {
			t.Fatalf("round %d: %+v %v", round, got, err)
		}
		f.mustApply(left(id))
	}
}

// TestR19_DroppedBuffer: a server that drops the subscriber's buffer, since it does not read, or its connection, causes a re-read.
func TestR19_DroppedBuffer(t *testing.T) {
	server := startRedis(t, "--client-output-buffer-limit", "pubsub 64kb 64kb 1")
	p := startProxy(t, server.addr)
	a, b := server.open(brisk(atOnce)), openRedis(t, brisk(atOnce), p.options())
	f := newFixture(t, a)
	wait := f.on(b).waitFor(Selector{ParticipantID: "ann1", Source: Camera})
	eventually(t, "b waits", func() bool { return waiting(b, f.key) == 1 })
	p.stall()
	dropped := func() bool {
		// Enough to fill the sockets' buffers and the server's.
		var events []Event
		for i := range 200 {
			events = append(events, Event{Joined: &Participant{ID: fmt.Sprint("p", i), DisplayName: fmt.Sprintf("%0200d", time.Now().UnixNano())}})
		}
		f.mustApply(events...)
		return infoField(server.do("INFO", "stats").(string), "client_output_buffer_limit_disconnections") != "0"
	}
	eventually(t, "the server drops the subscriber", dropped)
	f.mustApply(published("ann1", Camera))
	f.put(of("m1", "ann1", Camera))
	p.flow()
	if got, err := wait(); err != nil || got.Media.ID != "m1" {
		t.Fatalf("%+v %v", got, err)
	}
	for round := range 20 {
		calm(t, b)
		id := fmt.Sprintf("bob%d-", round)
		wait := f.on(b).waitFor(Selector{ParticipantID: id, Source: Camera})
		eventually(t, "b waits", func() bool { return waiting(b, f.key) == 1 })
		server.do("CLIENT", "KILL", "TYPE", "pubsub")
		f.mustApply(published(id, Camera))
		f.put(of(id, id, Camera))
		if _, err := wait(); err != nil {
			t.Fatal(err)
		}
	}
}

// TestR19_LostMessages: a message that never comes, and others that come twice, late or as junk, cause a re-read at the next one.
func TestR19_LostMessages(t *testing.T) {
	server := startRedis(t)
	a, b := server.pair(atOnce)
	f := newFixture(t, a)
	wait := f.on(b).waitFor(Selector{ParticipantID: "ann1", Source: Camera})
	eventually(t, "b waits", func() bool { return waiting(b, f.key) == 1 })
	r, _ := b.held(f.key)
	defer b.release(r)
	b.subs.mu.Lock()
	l := b.subs.route[r.name]
	b.subs.mu.Unlock()
	l.want(r.name, false) // messages are lost from now on
	eventually(t, "nobody but the owner hears", func() bool {
		return server.do("PUBSUB", "NUMSUB", r.name).([]any)[1].(int64) == 1
	})
	f.mustApply(published("ann1", Camera))
	f.put(of("m1", "ann1", Camera))
	// The next message leads on from what b has not heard of.
	missed, err := parseVersion(server.do("HGET", r.name, "v").(string))
	if err != nil {
		t.Fatal(err)
	}
	b.deliver(r, (&message{kind: messageDelta, from: missed.raw, to: missed.next().raw}).encode())
	if _, err := wait(); err != nil {
		t.Fatal(err)
	}
	for i, junk := range []string{"", "junk", "\x01\x09", "\x01\x01\xff\xff\xff\xff"} {
		id := fmt.Sprint("junk", i, "-")
		wait = f.on(b).waitFor(Selector{ParticipantID: id, Source: Camera})
		eventually(t, "b waits", func() bool { return waiting(b, f.key) == 1 })
		f.mustApply(published(id, Camera))
		f.put(of(id, id, Camera))
		b.deliver(r, junk)
		if _, err := wait(); err != nil {
			t.Fatal(err)
		}
	}
	// A subscription that is confirmed again has the session read too.
	wait = f.on(b).waitFor(Selector{ParticipantID: "bob1", Source: Camera})
	eventually(t, "b waits", func() bool { return waiting(b, f.key) == 1 })
	f.mustApply(published("bob1", Camera))
	f.put(of("m2", "bob1", Camera))
	l.want(r.name, true)
	if _, err := wait(); err != nil {
		t.Fatal(err)
	}
}

// TestR17_RestartedEmpty: after Redis came back empty, three times, owners have written their facts again; all is resolved on every
// pod with the same track ids, who waited goes on waiting and is released, and no session has changed its owner.
func TestR17_RestartedEmpty(t *testing.T) {
	for name, lose := range map[string]func(*redisServer){
		"restarted": (*redisServer).restart,
		"flushed":   func(s *redisServer) { s.do("FLUSHALL") },
	} {
		t.Run(name, func(t *testing.T) {
			server := startRedis(t)
			cfg := brisk(atOnce)
			cfg.LeaseTTL = 5 * time.Second // in twice that time a busy machine has stored all sessions again
			a, b := server.pair(cfg)
			ctx, cancel := context.WithTimeout(t.Context(), 4*hang)
			defer cancel()
			var all []*fixture
			for i := range 20 {
				pod := []*Redis{a, b}[i%2]
				f := &fixture{t: t, ctx: ctx, store: pod, key: SessionKey{ID: fmt.Sprint("call", i)}, fence: Fence{pod.cfg.Owner, uint64(i + 1)}}
				if _, created, err := pod.CreateSession(ctx, Session{Key: f.key, RequestHash: "h", Fence: f.fence}); err != nil || !created {
					t.Fatal(created, err)
				}
				f.mustApply(published("ann1", Camera), published("bob1", Camera))
				f.put(of("m1", "ann1", Camera))
				all = append(all, f)
			}
			for round := range 3 {
				restarted(t, all, a, b, func() { lose(server) }, round)
			}
		})
	}
}

func restarted(t *testing.T, all []*fixture, a, b *Redis, lose func(), round int) {
	t.Helper()
	before := make([]Track, len(all))
	var waits []func() (Track, error)
	id := fmt.Sprintf("dan%d-", round)
	for i, f := range all {
		before[i] = f.resolve("ann1", Camera)
		for _, pod := range []*Redis{a, b} {
			waits = append(waits, f.on(pod).waitFor(Selector{ParticipantID: id, Source: Camera}))
		}
	}
	eventually(t, "all wait", func() bool {
		n := 0
		for _, f := range all {
			n += waiting(a, f.key) + waiting(b, f.key)
		}
		return n == len(waits)
	})
	lose()
	for i, f := range all {
		for _, pod := range []*Redis{a, b} {
			var got Session
			eventually(t, "the session is stored again", func() (is bool) {
				var err error
				got, err = pod.GetSession(f.ctx, f.key)
				return err == nil && a.client.Exists(f.ctx, sessionName(f.key)).Val() == 1
			})
			if got.Fence != f.fence {
				t.Fatalf("the owner of %s is %+v", f.key.ID, got.Fence)
			}
			eventually(t, "resolves again", func() bool {
				got, err := pod.Resolve(f.ctx, f.key, Selector{ParticipantID: "ann1", Source: Camera})
				return err == nil && got.ID == before[i].ID
			})
		}
	}
	for _, f := range all {
		f.on(b).mustApply(published(id, Camera))
		f.put(of("m"+id, id, Camera))
	}
	for _, wait := range waits {
		if _, err := wait(); err != nil {
			t.Fatal(err)
		}
	}
	for _, f := range all {
		wantErr(t, f.on(b).store.ApplyMedia(f.ctx, f.key, Fence{"thief", 1 << 60}, MediaDiff{}), ErrFenced)
	}
}

// TestRedisPaused: while the server says nothing, calls end in bounded time with ErrUnavailable, the owner answers from what it
// holds, and who waits goes on waiting; then all goes on.
func TestRedisPaused(t *testing.T) {
	server := startRedis(t)
	cfg := brisk(atOnce)
	o := server.options()
	o.Timeout = time.Second
	a, b := openRedis(t, cfg, o), openRedis(t, cfg, o)
	f := newFixture(t, a)
	f.mustApply(published("ann1", Camera))
	f.put(of("m1", "ann1", Camera))
	wait := f.on(b).waitFor(Selector{ParticipantID: "bob1", Source: Camera})
	eventually(t, "b waits", func() bool { return waiting(b, f.key) == 1 })
	server.signal(syscall.SIGSTOP)
	_, err := b.ApplyEvents(f.ctx, f.key, []Event{published("bob1", Camera)})
	wantErr(t, err, ErrUnavailable)
	eventually(t, "the heartbeat fails", func() bool { _, up := b.Contact(); return !up })
	for range 1000 { // fast: none of them waits for the server
		_, err = b.ApplyEvents(f.ctx, f.key, []Event{published("bob1", Camera)})
		wantErr(t, err, ErrUnavailable)
	}
	wantErr(t, a.EndSession(f.ctx, f.key, SessionDeleted), ErrUnavailable)
	if got := f.resolve("ann1", Camera); got.Media.ID != "m1" {
		t.Errorf("the owner resolves %+v", got)
	}
	if got, err := a.GetSession(f.ctx, f.key); err != nil || got.Fence != f.fence {
		t.Errorf("the owner has %+v %v", got, err)
	}
	eventually(t, "others know nothing", func() bool {
		_, err := b.GetSession(f.ctx, f.key)
		return errors.Is(err, ErrUnavailable)
	})
	_, _, err = b.CreateSession(f.ctx, Session{Key: SessionKey{ID: "new"}})
	wantErr(t, err, ErrUnavailable)
	_, err = b.ListSessions(f.ctx, "", "", nil, 3)
	wantErr(t, err, ErrUnavailable)
	server.signal(syscall.SIGCONT)
	calm(t, a, b)
	eventually(t, "writing works", func() bool {
		_, err := a.ApplyEvents(f.ctx, f.key, []Event{published("bob1", Camera)})
		return err == nil
	})
	f.put(of("m2", "bob1", Camera))
	if got, err := wait(); err != nil || got.Media.ID != "m2" {
		t.Errorf("who waited: %+v %v", got, err)
	}
}
