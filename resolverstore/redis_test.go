package resolverstore

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// newTestRedis starts a server for each store that a test asks for, so that nothing is shared.
func newTestRedis(t *testing.T, cfg Config) Store {
	t.Helper()
	return startRedis(t).open(cfg)
}

// TestRedis runs the suite that every store must pass.
func TestRedis(t *testing.T) { testStore(t, newTestRedis) }

// twoPods gives to the pod that owns the sessions what only an owner does, and all else to another pod.
type twoPods struct {
	*Redis
	owner *Redis
}

func (p twoPods) CreateSession(ctx context.Context, s Session) (Session, bool, error) {
	return p.owner.CreateSession(ctx, s)
}

func (p twoPods) ApplyMedia(ctx context.Context, key SessionKey, f Fence, d MediaDiff) error {
	return p.owner.ApplyMedia(ctx, key, f, d)
}

func (p twoPods) UpdateSession(ctx context.Context, key SessionKey, f Fence, u SessionUpdate) (Session, error) {
	return p.owner.UpdateSession(ctx, key, f, u)
}

func (p twoPods) TakeOver(ctx context.Context, key SessionKey, from Fence, consent bool) (Session, error) {
	return p.owner.TakeOver(ctx, key, from, consent)
}

func (p twoPods) Self() Pod { return p.owner.Self() }

func (p twoPods) SetLoad(l Load) { p.owner.SetLoad(l) }

func newTwoPods(t *testing.T, cfg Config) Store {
	t.Helper()
	a, b := startRedis(t).pair(cfg)
	return twoPods{b, a}
}

// TestR16_TwoPods runs the suite with media registered on one pod, and all else told to and asked of another.
func TestR16_TwoPods(t *testing.T) { testStore(t, newTwoPods) }

// on returns the fixture of a session as another pod has it.
func (f *fixture) on(s Store) *fixture {
	g := *f
	g.store = s
	return &g
}

// TestR10_LeaveOnAnotherPod: a leave told to one pod cancels the waiters of every pod, queued ones and by each source, and no others.
func TestR10_LeaveOnAnotherPod(t *testing.T) {
	a, b := startRedis(t).pair(atOnce)
	f := newFixture(t, a)
	f.mustApply(joined("ann1"), joined("bob1"))
	var gone []func() (Track, error)
	for range 50 {
		for source := Camera; source <= ScreenShareAudio; source++ {
			gone = append(gone, f.waitFor(Selector{ParticipantID: "ann1", Source: source}), f.on(b).waitFor(Selector{ParticipantID: "ann1", Source: source}))
		}
	}
	other := f.waitFor(Selector{ParticipantID: "bob1", Source: Camera})
	f.on(b).mustApply(left("ann1"))
	for _, wait := range gone {
		_, err := wait()
		wantErr(t, err, ErrParticipantLeft)
	}
	for _, pod := range []*Redis{a, b} {
		if got := f.on(pod).events(published("ann1", Camera)); len(got.Ignored) != 1 {
			t.Errorf("a publication after the leave: %+v", got)
		}
		_, err := pod.Resolve(f.ctx, f.key, Selector{ParticipantID: "ann1", Source: Camera})
		wantErr(t, err, ErrParticipantLeft)
	}
	f.on(b).mustApply(published("bob1", Camera))
	f.put(of("m1", "bob1", Camera))
	if got, err := other(); err != nil || got.Media.ID != "m1" {
		t.Errorf("another's waiter: %+v %v", got, err)
	}
	f.mustApply(joined("ann1"))
	f.on(b).mustApply(published("ann1", Camera))
	f.put(of("m2", "ann1", Camera))
	if got := f.on(b).resolve("ann1", Camera); got.Media.ID != "m2" {
		t.Errorf("joined again: %+v", got)
	}
}

// fieldsIn counts the fields of a session's hash by their first letter.
func (s *redisServer) fieldsIn(key SessionKey) map[byte]int {
	s.t.Helper()
	out := map[byte]int{}
	for _, f := range s.do("HKEYS", sessionName(key)).([]any) {
		out[f.(string)[0]]++
	}
	return out
}

// eventually waits until something is so. Nothing tells a test when a server has forgotten something, so that it looks.
func eventually(t testing.TB, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(hang); !is(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("never: %s", what)
		}
	}
}

// TestR11_PendingExpiresInRedis: what waits for its other half is gone from Redis after its time, with no call made, also where it
// was told to a pod that does not own the session; and an ended session leaves no key.
func TestR11_PendingExpiresInRedis(t *testing.T) {
	server := startRedis(t)
	const ttl = 2 * time.Second // longer than it takes to look at what is stored first
	cfg := Config{PendingTTL: ttl, TombstoneTTL: ttl, HistoryTTL: ttl, EndedTTL: 100 * time.Millisecond}
	a, b := server.pair(cfg)
	f := newFixture(t, a)
	f.on(b).mustApply(published("ann1", Camera), joined("cat1"), left("cat1"))
	f.put(of("m1", "bob1", Camera), anonymous("m2", KindAudio))
	if got := server.fieldsIn(f.key); got['b'] != 1 || got['m'] != 2 || got['t'] != 1 || got['x'] != 1 {
		t.Fatalf("stored are %v", got)
	}
	w, err := b.Watch(f.ctx, f.key, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	if c, err := w.Next(f.ctx); err != nil || len(c.Tracks) != 1 {
		t.Fatalf("%+v %v", c, err)
	}
	if c, err := w.Next(f.ctx); err != nil || len(c.Removed) != 1 {
		t.Fatalf("%+v %v", c, err)
	}
	eventually(t, "nothing but participants is stored", func() bool {
		got := server.fieldsIn(f.key)
		return got['b']+got['m']+got['t']+got['x']+got['d']+got['r']+got['o'] == 0
	})
	if n := server.do("PTTL", sessionName(f.key)).(int64); n <= 0 {
		t.Errorf("the session's key has no expiry: %d", n)
	}
	if err := b.EndSession(f.ctx, f.key, SessionDeleted); err != nil {
		t.Fatal(err)
	}
	eventually(t, "no key but the leases and the index of pods is stored", func() bool { return server.do("DBSIZE").(int64) == 3 })
}

// commands returns how often each command was called, but for what the test calls.
func (s *redisServer) commands() map[string]int {
	s.t.Helper()
	out := map[string]int{}
	for line := range strings.Lines(s.do("INFO", "commandstats").(string)) {
		name, rest, ok := strings.Cut(strings.TrimPrefix(strings.TrimSpace(line), "cmdstat_"), ":calls=")
		count, _, _ := strings.Cut(rest, ",")
		if n, err := strconv.Atoi(count); ok && err == nil && name != "info" && name != "hello" && name != "client|setinfo" {
			out[name] = n
		}
	}
	return out
}

// settles waits until stores have nothing to read again, and no command was called for a while, so long that a busy machine has gone on meanwhile: those that
// follow a subscription come by themselves.
func (s *redisServer) settles(stores ...*Redis) {
	s.t.Helper()
	before, same := s.commands(), 0
	eventually(s.t, "nothing is called", func() bool {
		now, due := s.commands(), 0
		for _, one := range stores {
			one.refresh.mu.Lock()
			due += len(one.refresh.due)
			one.refresh.mu.Unlock()
		}
		if same++; due > 0 || !maps.Equal(before, now) {
			before, same = now, 0
		}
		return same >= 60
	})
}

// hears waits until a store has heard of the newest change of a session that another one holds, and so of all that came before it: of the confirmation of its
// subscription too.
func (s *redisServer) hears(b, a *Redis, key SessionKey) {
	s.t.Helper()
	version := func(of *Redis) string {
		of.mu.Lock()
		r := of.replicas[key]
		of.mu.Unlock()
		r.mu.Lock()
		defer r.mu.Unlock()
		return r.version.raw
	}
	eventually(s.t, "it is heard of", func() bool { return version(a) == version(b) })
}

// since returns what was called since.
func (s *redisServer) since(before map[string]int) map[string]int {
	out := s.commands()
	for name, n := range before {
		if out[name] -= n; out[name] == 0 {
			delete(out, name)
		}
	}
	return out
}

// quiet is a configuration in which no heartbeat falls into a test.
func quiet(cfg Config) Config {
	cfg.Heartbeat, cfg.LeaseTTL = time.Hour, 3*time.Hour
	return cfg
}

// TestR12_WaitersCallNothing: 1,000 waiting resolves on each of two pods call no command in 10 s, and have nothing decided.
func TestR12_WaitersCallNothing(t *testing.T) {
	t.Parallel()
	server := startRedis(t)
	var decisions atomic.Int64
	a, b := server.pair(quiet(Config{Schemes: []Scheme{func(stream, track string) (Words, bool) {
		decisions.Add(1)
		return PlainScheme(stream, track)
	}}}))
	f := newFixture(t, a)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	f.ctx = ctx
	f.mustApply(published("bob1", Camera))
	f.put(anonymous("m1", KindAudio))
	var waits []func() (Track, error)
	for _, pod := range []*Redis{a, b} {
		for range 1000 {
			waits = append(waits, f.on(pod).waitFor(Selector{ParticipantID: "ann1", Source: Camera}))
		}
	}
	eventually(t, "all wait", func() bool { return waiting(a, f.key)+waiting(b, f.key) == len(waits) })
	before, decided := server.commands(), decisions.Load()
	time.Sleep(10 * time.Second) // what the row measures
	if called := server.since(before); len(called) != 0 {
		t.Errorf("called while nothing happened: %v", called)
	}
	if n := decisions.Load() - decided; n != 0 {
		t.Errorf("%d decisions while nothing happened", n)
	}
	f.mustApply(published("ann1", Camera))
	f.put(anonymous("m2", KindVideo))
	f.put(Media{ID: "m2", MID: "mid-m2", StreamID: "ann1", Kind: KindVideo, Generation: 1, Active: true})
	for _, wait := range waits {
		if _, err := wait(); err != nil {
			t.Fatal(err)
		}
	}
}

// waiting counts who waits for a session in a store.
func waiting(s *Redis, key SessionKey) (n int) {
	s.mu.Lock()
	r := s.replicas[key]
	s.mu.Unlock()
	if r == nil {
		return 0
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, all := range r.waiters {
		n += len(all)
	}
	return n
}

// TestX12_CommandsPerEvent: an event, a change of media and a resolve of what is there cost one command each, in a call of any size,
// with any number of other sessions; whoever waits on another pod is released without a further one.
func TestX12_CommandsPerEvent(t *testing.T) {
	server := startRedis(t)
	a, b := server.pair(quiet(atOnce))
	f := newFixture(t, a)
	for i := range 20 {
		if _, _, err := a.CreateSession(f.ctx, Session{Key: SessionKey{ID: fmt.Sprint("other", i)}}); err != nil {
			t.Fatal(err)
		}
	}
	var many []Event
	for i := range 300 {
		many = append(many, published(fmt.Sprintf("p%d-", i), Camera))
	}
	f.mustApply(many...)
	f.on(b).tracks() // b holds it too
	wait := f.on(b).waitFor(Selector{ParticipantID: "ann1", Source: Camera})
	eventually(t, "b waits", func() bool { return waiting(b, f.key) == 1 })
	f.mustApply(published("last", Camera))
	server.hears(b, a, f.key)
	server.settles(a, b)
	// What scripts call is counted too: the commit is TYPE, HGET, HSET, perhaps HDEL, PEXPIRE, PUBLISH.
	count := func(what string, want int, do func()) {
		t.Helper()
		before := server.commands()
		do()
		called := server.since(before)
		calls := called["evalsha"] + called["eval"] + called["hgetall"]
		if called["evalsha"] == 0 {
			calls += called["hget"]
		}
		if calls != want || called["scan"]+called["keys"] != 0 {
			t.Errorf("%s calls %d commands: %v", what, calls, called)
		}
		if called["hset"] > 2 || called["hdel"] > 1 {
			t.Errorf("%s writes more than it changes: %v", what, called)
		}
	}
	count("an event", 1, func() { f.mustApply(published("ann1", Camera)) })
	count("media, and the release of who waits elsewhere", 1, func() {
		f.put(of("m1", "ann1", Camera))
		if _, err := wait(); err != nil {
			t.Error(err)
		}
	})
	count("a duplicate", 1, func() { f.mustApply(published("ann1", Camera)) })
	count("a resolve", 1, func() { f.resolve("ann1", Camera) })
	count("a resolve on the other pod", 1, func() { f.on(b).resolve("ann1", Camera) })
	count("an event told to the other pod", 1, func() { f.on(b).mustApply(Event{Muted: &PublicationRef{"ann1", Camera}}) })
	count("a leave", 1, func() { f.mustApply(left("ann1")) })
}

// connectionBuffers is what a connection of the client's pool holds: 32 KiB each to read and to write, and itself.
const connectionBuffers = 72 << 10

// TestR13_CyclesLeaveNothingInRedis: after 10,000 join/leave cycles, and as many waiters, keys, memory of the server, goroutines and
// heap are what they were; so they are after 200 sessions.
func TestR13_CyclesLeaveNothingInRedis(t *testing.T) {
	server := startRedis(t)
	cfg := Config{TombstoneTTL: 50 * time.Millisecond, HistoryTTL: 50 * time.Millisecond, EndedTTL: 50 * time.Millisecond, IdleTTL: 50 * time.Millisecond, Heartbeat: 50 * time.Millisecond, LeaseTTL: time.Second, Settle: -1}
	a, b := server.pair(cfg)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	f := newFixtureIn(ctx, t, a)
	next := 0
	cycle := func(n int) {
		for range n {
			next++
			id := fmt.Sprint("m", next)
			f.mustApply(joined("ann1"), published("ann1", Camera))
			f.put(of(id, "ann1", Camera))
			f.on(b).resolve("ann1", Camera)
			f.mustApply(left("ann1"))
			f.remove(id)
		}
	}
	sessions := func(n int) {
		for i := range n {
			key := SessionKey{ID: fmt.Sprint("s", i)}
			if _, _, err := a.CreateSession(ctx, Session{Key: key}); err != nil {
				t.Fatal(err)
			}
			if _, _, err := b.ListTracks(ctx, key, "", 9); err != nil {
				t.Fatal(err)
			}
			if err := a.EndSession(ctx, key, SessionDeleted); err != nil {
				t.Fatal(err)
			}
		}
	}
	type figures struct{ keys, memory, heap, goroutines, connections int }
	measure := func() (m figures) {
		eventually(t, "all is forgotten", func() bool {
			got := server.fieldsIn(f.key)
			b.mu.Lock()
			held := len(b.replicas)
			b.mu.Unlock()
			return got['d']+got['r']+got['x']+got['m']+got['t'] == 0 && held == 0 && server.do("DBSIZE").(int64) == 6
		})
		memory := infoField(server.do("INFO", "memory").(string), "used_memory_dataset")
		m.memory, _ = strconv.Atoi(memory)
		m.keys, m.heap, m.goroutines = int(server.do("DBSIZE").(int64)), int(heap()), runtime.NumGoroutine()
		m.connections = int(a.client.PoolStats().TotalConns + b.client.PoolStats().TotalConns)
		return m
	}
	cycle(200)
	sessions(20)
	before := measure()
	cycle(cycles(10_000))
	sessions(200)
	var after figures
	defer func() {
		if t.Failed() {
			t.Errorf("%+v became %+v", before, after)
		}
	}()
	eventually(t, "all is as before", func() bool {
		after = measure()
		buffers := max(after.connections-before.connections, 0) * connectionBuffers // kept for later, as many as were needed at once
		return after.keys == before.keys && after.memory <= before.memory+256<<10 && after.heap <= before.heap+1<<20+buffers && after.goroutines <= before.goroutines+5
	})
}

// TestO12_PagesOfSessions: lists come in pages, hold what was there all the time exactly once however much comes and goes meanwhile,
// and scan no keys; what a crash left in the index, or took from it, is mended.
func TestO12_PagesOfSessions(t *testing.T) {
	server := startRedis(t)
	a, b := server.pair(Config{EndedTTL: time.Millisecond, SessionTTL: 2 * time.Second, Heartbeat: 100 * time.Millisecond, LeaseTTL: time.Second})
	ctx := t.Context()
	create := func(s *Redis, id string) {
		t.Helper()
		rec := Session{Key: SessionKey{ID: id}, Labels: map[string]string{"even": fmt.Sprint(len(id)%2 == 0)}}
		if _, created, err := s.CreateSession(ctx, rec); err != nil || !created {
			t.Fatal(created, err)
		}
	}
	stays := []string{}
	for i := range 60 {
		create([]*Redis{a, b}[i%2], fmt.Sprintf("stays%03d", i))
		create(a, fmt.Sprintf("goes%03d", i))
		stays = append(stays, fmt.Sprintf("stays%03d", i))
	}
	create(a, "{*}:\n")
	before := server.commands()
	var seen []string
	after := ""
	for page := 0; ; page++ {
		got, err := b.ListSessions(ctx, "", after, nil, 7)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range got {
			if strings.HasPrefix(s.Key.ID, "stays") {
				seen = append(seen, s.Key.ID)
			}
		}
		if len(got) < 7 {
			break
		}
		after = got[6].Key.ID
		// Before and after the place where the list is, things come and go.
		if err := a.EndSession(ctx, SessionKey{ID: fmt.Sprintf("goes%03d", page)}, SessionDeleted); err != nil {
			t.Fatal(err)
		}
		create(a, fmt.Sprintf("aaa%03d", page))
		create(a, fmt.Sprintf("zzz%03d", page))
		if page > 100 {
			t.Fatal("the list has no end")
		}
	}
	if fmt.Sprint(seen) != fmt.Sprint(stays) {
		t.Errorf("seen are %v", seen)
	}
	called := server.since(before)
	if called["keys"]+called["scan"]+called["hscan"]+called["zscan"]+called["sscan"] != 0 {
		t.Errorf("keys are scanned: %v", called)
	}
	if got, err := b.ListSessions(ctx, "", "", map[string]string{"even": "false"}, 3); err != nil || len(got) != 3 || got[0].Labels["even"] != "false" {
		t.Errorf("by label: %+v %v", got, err)
	}
	if got, err := b.ListSessions(ctx, "other", "", nil, 3); err != nil || len(got) != 0 {
		t.Errorf("another tenant: %+v %v", got, err)
	}
	// The index has what is not there, lacks what is, and is of a wrong type.
	server.do("ZADD", indexName("", indexShard("ghost")), 0, "ghost")
	for shard := range indexShards {
		if shard != indexShard("ghost") {
			server.do("DEL", indexName("", shard))
			server.do("SET", indexName("", shard), "junk")
		}
	}
	if _, err := b.ListSessions(ctx, "", "", nil, 1000); err != nil {
		t.Fatal(err)
	}
	if n := server.do("ZCARD", indexName("", indexShard("ghost"))).(int64); n == 0 || server.do("EXISTS", indexName("", indexShard("ghost"))).(int64) == 0 {
		t.Errorf("the good shard lost its entries")
	}
	eventually(t, "owners put their sessions into the index again", func() bool {
		got, err := b.ListSessions(ctx, "", "stays", nil, 60)
		return err == nil && len(got) == 60 && got[59].Key.ID == "stays059"
	})
	if got, _ := b.ListSessions(ctx, "", "ghos", nil, 1); len(got) == 1 && got[0].Key.ID == "ghost" {
		t.Error("a ghost is listed")
	}
}

// TestFencingAcrossPods: of two pods only the owner writes media, also when it asks the same server.
func TestFencingAcrossPods(t *testing.T) {
	a, b := startRedis(t).pair(atOnce)
	f := newFixture(t, a)
	for _, bad := range []Fence{{"pod", 6}, {"other", 7}, {"pod", 8}} {
		for _, pod := range []*Redis{a, b} {
			wantErr(t, pod.ApplyMedia(f.ctx, f.key, bad, MediaDiff{Put: []Media{anonymous("m", KindVideo)}}), ErrFenced)
		}
	}
	f.on(b).mustApply(published("ann1", Camera))
	f.on(b).want(nil)
	// The same request again gives the same session, on any pod; another one is refused.
	rec := Session{Key: f.key, Source: SourceOffers, RequestHash: "h", Fence: Fence{"other", 9}}
	got, created, err := b.CreateSession(f.ctx, rec)
	if err != nil || created || got.Fence != f.fence {
		t.Errorf("%+v %v %v", got, created, err)
	}
	rec.RequestHash = "else"
	_, _, err = b.CreateSession(f.ctx, rec)
	wantErr(t, err, ErrSessionExists)
	if errors.Is(err, ErrUnavailable) {
		t.Error(err)
	}
}
