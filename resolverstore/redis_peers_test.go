package resolverstore

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
)

// podEnv has the test binary be another pod: a process that owns a session and tells of it.
const podEnv = "PENSTOCK_TEST_POD"

// podProcess is the other process: it owns "call", and for each line that it reads it tells who it believes owns that, of what it serves
// without asking anybody, and whether a late write of its own is taken.
func podProcess(url string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	defer cancel()
	store, err := NewRedis(ctx, lively(Config{Owner: "child", Settle: -1}), RedisOptions{URL: url, Timeout: patience})
	if err != nil {
		return err
	}
	defer func() { _ = store.Close() }()
	key, fence := SessionKey{ID: "call"}, Fence{"child", uint64(time.Now().UnixMilli())}
	if _, _, err := store.CreateSession(ctx, Session{Key: key, Fence: fence}); err != nil {
		return err
	}
	fmt.Println("ready")
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		if !store.Sure() {
			if err := store.Recheck(ctx); err != nil {
				return err
			}
		}
		_, mine := store.own(key)
		late := store.ApplyMedia(ctx, key, fence, MediaDiff{Put: []Media{of("late", "ann1", Camera)}})
		fmt.Println(mine, errors.Is(late, ErrFenced), store.Stats().Pauses > 0)
	}
	return nil
}

// TestP7_PausedOwnerServesNothingUnchecked: a process that owns a session is stopped until another has taken it over. The first thing that it
// does when it goes on is to ask whether it may serve: it may not until it knows that it was deposed.
func TestP7_PausedOwnerServesNothingUnchecked(t *testing.T) {
	t.Parallel()
	server := startRedis(t)
	b := server.open(lively(atOnce))
	for range 3 {
		server.do("DEL", sessionName(SessionKey{ID: "call"}))
		p := startProcess(t, podEnv, "unix://"+server.addr)
		ctx := longer(t)
		say := func() {
			if _, err := fmt.Fprintln(p.in, "?"); err != nil {
				t.Fatal(err)
			}
		}
		say()
		p.hear(t, "true false false")
		eventually(t, "the process is seen again", func() bool { // the one before had its name
			seen, err := b.Pods(ctx)
			return err == nil && len(seen) == 2
		})
		rec, err := b.GetSession(ctx, SessionKey{ID: "call"})
		if err != nil {
			t.Fatal(err)
		}
		if err := p.cmd.Process.Signal(syscall.SIGSTOP); err != nil {
			t.Fatal(err)
		}
		if err := b.Gone(ctx, "child"); err != nil {
			t.Fatal(err)
		}
		if _, err := b.TakeOver(ctx, rec.Key, rec.Fence, false); err != nil {
			t.Fatal(err)
		}
		say() // it reads this when it goes on
		if err := p.cmd.Process.Signal(syscall.SIGCONT); err != nil {
			t.Fatal(err)
		}
		p.hear(t, "false true true")
		if err := b.EndSession(ctx, rec.Key, SessionDeleted); err != nil {
			t.Fatal(err)
		}
		p.end(t)
	}
}

// TestX12_HeartbeatsCostTheSame: what a heartbeat, a look at the other pods and a turn of the sweep call does not depend on how many sessions
// there are; nothing else is called while nothing happens, also not by who waits for another owner.
func TestX12_HeartbeatsCostTheSame(t *testing.T) {
	server := startRedis(t)
	cfg := quiet(atOnce)
	a, b := server.pair(cfg)
	ctx := longer(t)
	for range 2 { // the first look finds the other pod
		a.look()
		b.look()
	}
	cost := func() map[string]int {
		server.settles(a, b)
		before := server.commands()
		for range 10 {
			if err := a.beat(ctx); err != nil {
				t.Fatal(err)
			}
			a.housekeep()
			a.look()
			a.sweep()
		}
		return server.since(before)
	}
	none := cost()
	waiting, stop := context.WithCancel(ctx)
	defer stop()
	for i := range 1000 {
		f := (&pod{Redis: a}).session(ctx, t, fmt.Sprint("call", i))
		if f.ctx = waiting; i < 50 {
			go func() { _, _ = b.Owner(waiting, f.key, f.fence) }()
			go func() { _, _ = a.Owner(waiting, f.key, f.fence) }()
		}
	}
	eventually(t, "b holds those that are waited for", func() bool { return b.Stats().Held == 50 })
	many := cost()
	if !maps.Equal(none, many) || many["get"] != 10 || many["evalsha"] != 10 {
		t.Errorf("ten heartbeats call %v with 1,000 sessions, %v without", many, none)
	}
}

// TestX12_SweepIsSlow: a sweep renews all sessions that a pod owns, in the indexes too, few at a time and each a few times in SessionTTL.
func TestX12_SweepIsSlow(t *testing.T) {
	server := startRedis(t)
	cfg := quiet(atOnce)
	cfg.SessionTTL = 100 * cfg.Heartbeat
	a := server.open(cfg)
	ctx := longer(t)
	for i := range 300 {
		(&pod{Redis: a}).session(ctx, t, fmt.Sprint("call", i))
	}
	server.settles(a)
	a.mu.Lock()
	a.swept = a.swept.Add(-cfg.SessionTTL / 2)
	a.mu.Unlock()
	before := server.commands()
	turns := 0
	for ; turns < 100; turns++ {
		a.sweep()
		a.mu.Lock()
		left := len(a.sweeping)
		a.mu.Unlock()
		if left == 0 {
			break
		}
	}
	got := server.since(before)
	// A version and an expiry for each session, a place and an expiry in two indexes.
	if got["hget"] != 300 || got["zadd"] != 600 || got["pexpire"] != 900 || len(got) != 3 {
		t.Errorf("a sweep calls %v", got)
	}
	if turns < 8 || turns > 13 {
		t.Errorf("it takes %d of the 12 heartbeats that are an eighth of SessionTTL", turns)
	}
}

// TestLeasesThatCannotBeRead: what is junk in leases and indexes, or of another version, is left alone and logged once. Whose lease cannot be
// read lives, and nobody takes its sessions.
func TestLeasesThatCannotBeRead(t *testing.T) {
	server := startRedis(t)
	var log syncBuffer
	cfg := lively(atOnce)
	cfg.Logger = log.logger()
	b := server.open(cfg)
	ctx := longer(t)
	f := (&pod{Redis: b}).session(ctx, t, "call")
	server.do("SET", leaseName("junk"), "10.0.0.9:50051")
	server.do("SET", leaseName("later"), "\x02what a later version writes")
	server.do("HSET", leaseName("wrong"), "a", "b")
	for _, name := range []string{"junk", "later", "wrong", "none", "", strings.Repeat("x", 600)} {
		server.do("ZADD", podsName, 0, name)
	}
	for range 20 {
		if err := b.awaitLook(ctx, b.peers.afterLook()); err != nil {
			t.Fatal(err)
		}
	}
	seen, err := b.Pods(ctx)
	if err != nil || len(seen) != 4 {
		t.Errorf("pods are %+v %v", seen, err)
	}
	for _, p := range seen {
		if p.Address != "" || b.isGone(p.Incarnation) {
			t.Errorf("%+v has an address or is gone", p)
		}
	}
	if n := strings.Count(log.String(), "lease of a pod cannot be read"); n != 3 || b.Stats().Corrupt != 3 {
		t.Errorf("logged %d times: %s", n, log.String())
	}
	if err := b.Gone(ctx, "none"); err != nil {
		t.Fatal(err)
	}
	server.do("DEL", podsName)
	server.do("SET", podsName, "junk")
	eventually(t, "the index of pods is mended", func() bool { return b.client.ZCard(ctx, podsName).Val() > 0 })
	server.do("SET", leaseName(b.cfg.Owner), "junk")
	eventually(t, "its own lease is mended", func() bool {
		v, err := b.client.Get(ctx, leaseName(b.cfg.Owner)).Result()
		return err == nil && v != "junk"
	})
	if got, err := b.GetSession(ctx, f.key); err != nil || got.Fence != f.fence {
		t.Errorf("%+v %v", got, err)
	}
}

// TestALeaseThatIsBadAgainIsToldAgain: a lease that cannot be read is counted and logged once for as long as it is so, and again when it was good in between: the clock of a pod may jump twice.
func TestALeaseThatIsBadAgainIsToldAgain(t *testing.T) {
	t.Parallel()
	b := startRedis(t).open(brisk(Config{}))
	one := &peer{pod: Pod{Incarnation: "other"}}
	b.peers.mu.Lock()
	defer b.peers.mu.Unlock()
	for _, value := range []string{"junk", "junk", encodeLease(&Pod{Address: "10.0.0.9:50051"}, ""), "junk", "junk"} {
		b.noteLease(one, value)
	}
	if n := b.stats.corrupt.Load(); n != 2 {
		t.Errorf("told %d times", n)
	}
}

// TestCorruptSessionIsLoggedOnce: a session that cannot be read is refused each time and logged once, until it is other junk.
func TestCorruptSessionIsLoggedOnce(t *testing.T) {
	server := startRedis(t)
	var log syncBuffer
	b := server.open(Config{Logger: log.logger()})
	key := SessionKey{ID: "call"}
	for n := 1; n <= 2; n++ {
		server.do("DEL", sessionName(key))
		server.do("HSET", sessionName(key), "v", fmt.Sprint(n, ".b.w"), "s", "\x09of a later version", "f", "1.pod", "c", "\x01")
		server.do("ZADD", indexName("", indexShard(key.ID)), 0, key.ID)
		for range 5 {
			_, err := b.GetSession(t.Context(), key)
			wantErr(t, err, ErrCorrupt)
			_, err = b.TakeOver(t.Context(), key, Fence{"pod", 1}, true)
			wantErr(t, err, ErrCorrupt)
			if got, err := b.ListSessions(t.Context(), "", "", nil, 10); err != nil || len(got) != 0 {
				t.Fatalf("%+v %v", got, err)
			}
		}
		if said := strings.Count(log.String(), "cannot be read"); said != n || b.Stats().Corrupt != uint64(n) {
			t.Errorf("logged %d times", said)
		}
	}
	if v := server.do("HGET", sessionName(key), "s"); v != "\x09of a later version" {
		t.Errorf("it was written over: %q", v)
	}
}

// TestSealedIsStoredAndNotTold: what is sealed lies in Redis, goes to who takes over, and to nobody else; it can be changed and taken away.
func TestSealedIsStoredAndNotTold(t *testing.T) {
	server := startRedis(t)
	var log syncBuffer
	cfg := quiet(atOnce)
	cfg.Logger = log.logger()
	a, b := server.pair(cfg)
	f := (&pod{Redis: a}).session(longer(t), t, "call")
	stored := func() string { return a.client.HGet(f.ctx, sessionName(f.key), fieldSealed).Val() }
	if stored() != "sealed call" {
		t.Errorf("stored is %q", stored())
	}
	for _, change := range []string{"changed", ""} {
		sealed := []byte(change)
		got, err := a.UpdateSession(f.ctx, f.key, f.fence, SessionUpdate{Sealed: &sealed})
		if err != nil || got.Sealed != nil || stored() != change {
			t.Errorf("%+v %v, stored is %q", got, err, stored())
		}
		o, err := b.Owner(f.ctx, f.key, Fence{})
		if err != nil || o.Session.Sealed != nil {
			t.Errorf("%+v %v", o, err)
		}
		list, err := b.ListSessions(f.ctx, "", "", nil, 9)
		if err != nil || len(list) != 1 || list[0].Sealed != nil {
			t.Errorf("%+v %v", list, err)
		}
		rec, err := []*Redis{a, b}[len(change)%2].TakeOver(f.ctx, f.key, f.fence, true)
		if err != nil || string(rec.Sealed) != change {
			t.Errorf("%+v %v", rec, err)
		}
		f.fence = rec.Fence
	}
	if strings.Contains(log.String(), "sealed") || strings.Contains(log.String(), "changed") {
		t.Errorf("it is logged: %s", log.String())
	}
}

func FuzzLease(f *testing.F) {
	for _, p := range []Pod{{}, {Address: "10.0.0.1:50051", Load: Load{3, 7, 0.25, true}}, {Load: Load{Busy: math.NaN()}}} {
		f.Add(encodeLease(&p, ""))
	}
	f.Add("\x01\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff")
	f.Fuzz(func(t *testing.T, v string) {
		p, err := decodeLease("x", v, nil)
		if err != nil {
			if p != (Pod{Incarnation: "x"}) {
				t.Fatalf("a fault leaves %+v", p)
			}
			return
		}
		if p.Load.Busy < 0 || p.Load.Busy > 1 || p.Load.Sessions < 0 || len(p.Address) > maxAddress {
			t.Fatalf("%+v", p)
		}
		if again, err := decodeLease("x", encodeLease(&p, ""), nil); err != nil || again != p {
			t.Fatalf("%+v became %+v, %v", p, again, err)
		}
	})
}

func FuzzIndexEntry(f *testing.F) {
	for _, k := range []SessionKey{{"", "a"}, {"t/{}", "%\n:*"}, {"é", "\xff"}} {
		f.Add(indexEntry(k))
	}
	f.Add("%/%2")
	f.Add("a/%41")
	f.Fuzz(func(t *testing.T, s string) {
		k, err := parseIndexEntry(s)
		if err == nil && (k.ID == "" || indexEntry(k) != s) {
			t.Fatalf("%q is %+v", s, k)
		}
		k = SessionKey{Tenant: s, ID: s + "x"}
		if got, err := parseIndexEntry(indexEntry(k)); err != nil || got != k {
			t.Fatalf("%+v became %+v, %v", k, got, err)
		}
	})
}
