package resolverstore

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestCorruptValues: whatever field of a session is junk, or its whole key, who does not own it gets an error in bounded time, the
// owner writes it again, and everything is as before. No other session notices.
func TestCorruptValues(t *testing.T) {
	server := startRedis(t)
	a := server.open(brisk(atOnce))
	other := &fixture{t: t, ctx: t.Context(), store: a, key: SessionKey{ID: "other"}}
	if _, _, err := a.CreateSession(t.Context(), Session{Key: other.key}); err != nil {
		t.Fatal(err)
	}
	f := newFixture(t, a)
	ctx, cancel := context.WithTimeout(t.Context(), 3*hang)
	defer cancel()
	f.ctx = ctx
	f.mustApply(published("ann1", Camera), published("bob1", Microphone), joined("cat1"), left("cat1"), published("dan1", Camera), left("dan1"))
	f.put(of("m1", "ann1", Camera), of("m2", "eve1", Camera), of("m3", "eve1", Camera))
	f.remove("m3")
	before := f.resolve("ann1", Camera)
	name := sessionName(f.key)
	spoil := map[string]func(){
		"a string": func() { server.do("SET", name, "junk") },
		"a list":   func() { server.do("DEL", name); server.do("LPUSH", name, "junk") },
		"a set":    func() { server.do("DEL", name); server.do("SADD", name, "junk") },
		"too much": func() { server.do("HSET", name, "b\x01nobody", "\x01") },
		"a number": func() { server.do("HSET", name, "d7777", "\x01") },
		"no name":  func() { server.do("HSET", name, "", "x") },
	}
	for _, v := range server.do("HKEYS", name).([]any) {
		field := v.(string)
		spoil["junk in "+field] = func() { server.do("HSET", name, field, "\x01\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff junk") }
		spoil["another version in "+field] = func() { server.do("HSET", name, field, "\x63junk") }
		if field != fieldVersion && !strings.HasPrefix(field, "x") && field[0] != fieldParticipant && field[0] != fieldTrack && field[0] != fieldMedia {
			continue
		}
		spoil["nothing in "+field] = func() { server.do("HSET", name, field, "") }
	}
	for what, do := range spoil {
		do()
		b := server.open(brisk(atOnce))
		_, err := b.Resolve(ctx, f.key, Selector{ParticipantID: "ann1", Source: Camera})
		if err != nil && !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrUnavailable) {
			t.Errorf("%s: %v", what, err)
		}
		eventually(t, what+" is mended", func() bool {
			got, err := b.Resolve(ctx, f.key, Selector{ParticipantID: "ann1", Source: Camera})
			return err == nil && got.ID == before.ID
		})
		if got, err := b.GetSession(ctx, f.key); err != nil || got.Fence != f.fence {
			t.Errorf("%s: %+v %v", what, got, err)
		}
		if got := f.resolve("ann1", Camera); got.ID != before.ID {
			t.Errorf("%s: the owner has %+v", what, got)
		}
		_ = b.Close()
	}
	other.mustApply(joined("ann1"))
}

// TestCorruptWithoutAnOwner: junk that nobody can mend is an error in bounded time, and a session of the id cannot be made over it.
func TestCorruptWithoutAnOwner(t *testing.T) {
	server := startRedis(t)
	s := server.open(Config{})
	key := SessionKey{ID: "call"}
	for _, spoil := range [][]any{{"SET", sessionName(key), "junk"}, {"HSET", sessionName(key), "v", "junk"}, {"HSET", sessionName(key), "v", "1.a.b", "s", "\x01"}} {
		server.do("DEL", sessionName(key))
		server.do(spoil...)
		_, err := s.ApplyEvents(t.Context(), key, []Event{joined("ann1")})
		wantErr(t, err, ErrCorrupt)
		_, err = s.GetSession(t.Context(), key)
		wantErr(t, err, ErrCorrupt)
		_, _, err = s.CreateSession(t.Context(), Session{Key: key})
		wantErr(t, err, ErrCorrupt)
		wantErr(t, s.EndSession(t.Context(), key, SessionDeleted), ErrCorrupt)
	}
	server.do("DEL", sessionName(key))
	if _, created, err := s.CreateSession(t.Context(), Session{Key: key}); err != nil || !created {
		t.Error(created, err)
	}
}

// TestFullRedis: a server without memory refuses what adds, with ErrUnavailable, and nothing is half done; sessions can be read and
// ended, and all goes on when there is memory again.
func TestFullRedis(t *testing.T) {
	server := startRedis(t)
	a := server.open(brisk(atOnce))
	f := newFixture(t, a)
	empty := SessionKey{ID: "empty"}
	if _, _, err := a.CreateSession(f.ctx, Session{Key: empty}); err != nil {
		t.Fatal(err)
	}
	f.mustApply(published("ann1", Camera))
	f.put(of("m1", "ann1", Camera))
	server.do("CONFIG", "SET", "maxmemory", "1")
	_, err := a.ApplyEvents(f.ctx, f.key, []Event{published("bob1", Camera)})
	wantErr(t, err, ErrUnavailable)
	_, _, err = a.CreateSession(f.ctx, Session{Key: SessionKey{ID: "new"}})
	wantErr(t, err, ErrUnavailable)
	f.want(map[string]string{name("ann1", Camera): "m1"})
	if len(f.tracks()) != 1 {
		t.Error("half of an event was done")
	}
	beats := server.commands()["time"]
	eventually(t, "the lease is renewed all the same", func() bool { return server.commands()["time"] > beats+3 })
	calm(t, a)
	if err := a.EndSession(f.ctx, empty, SessionDeleted); err != nil {
		t.Errorf("end: %v", err)
	}
	f.mustApply(left("ann1"))
	server.do("CONFIG", "SET", "maxmemory", "0")
	f.mustApply(published("bob1", Camera))
	f.put(of("m2", "bob1", Camera))
	f.resolve("bob1", Camera)
}

// TestReadOnlyRedis: a server that has become a replica is not available, in bounded time; when it is a primary again, all goes on.
func TestReadOnlyRedis(t *testing.T) {
	server := startRedis(t)
	a := server.open(brisk(atOnce))
	f := newFixture(t, a)
	f.mustApply(published("ann1", Camera))
	server.do("REPLICAOF", "127.0.0.1", "1")
	wantErr(t, a.ApplyMedia(f.ctx, f.key, f.fence, MediaDiff{Put: []Media{of("m1", "ann1", Camera)}}), ErrUnavailable)
	_, _, err := a.CreateSession(f.ctx, Session{Key: SessionKey{ID: "new"}})
	wantErr(t, err, ErrUnavailable)
	wait := f.waitFor(Selector{ParticipantID: "ann1", Source: Camera})
	server.do("REPLICAOF", "NO", "ONE")
	calm(t, a)
	f.put(of("m1", "ann1", Camera))
	if _, err := wait(); err != nil {
		t.Error(err)
	}
}

// TestLoadingRedis: a server that still loads what it had is not available; then it is used.
func TestLoadingRedis(t *testing.T) {
	server := startRedis(t)
	a := server.open(brisk(atOnce))
	f := newFixture(t, a)
	f.mustApply(published("ann1", Camera))
	f.put(of("m1", "ann1", Camera))
	before := f.resolve("ann1", Camera)
	for i := range 400 {
		server.do("SET", fmt.Sprint("filler", i), strings.Repeat("x", 1000))
	}
	server.do("SAVE")
	server.kill()
	args := server.args
	server.args = append(args, "--key-load-delay", "10000", "--loading-process-events-interval-bytes", "1024") // 4 s
	server.start()
	o := server.options()
	o.Timeout = time.Second
	if _, err := NewRedis(t.Context(), Config{}, o); !errors.Is(err, ErrUnavailable) {
		t.Errorf("while it loads: %v", err)
	}
	server.args = args
	server.do("CONFIG", "SET", "key-load-delay", 0)
	eventually(t, "it has loaded", func() bool {
		_, err := a.ApplyEvents(f.ctx, f.key, []Event{joined("bob1")})
		return err == nil
	})
	if got := f.resolve("ann1", Camera); got.ID != before.ID {
		t.Errorf("%+v became %+v", before, got)
	}
	f.mustApply(Event{Muted: &PublicationRef{"ann1", Camera}})
	if got := f.resolve("ann1", Camera); got.State != TrackPaused {
		t.Errorf("%+v", got)
	}
}

// TestOldRedis: a server before 7.0 is refused. There is none to test with, so that something answers as it does.
func TestOldRedis(t *testing.T) {
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			serving.Go(func() { answerAsOld(c) })
		}
	})
	_, err = NewRedis(t.Context(), Config{}, RedisOptions{URL: "redis://" + l.Addr().String()})
	wantErr(t, err, ErrUnsuitable)
	_ = l.Close()
	serving.Wait()
	for version, old := range map[string]bool{"6.2.14": true, "7.0.0": false, "7.2.4": false, "8.0": false, "10.1": false, "5": true} {
		if tooOld(version) != old {
			t.Errorf("%s: %v", version, !old)
		}
	}
}

// answerAsOld answers INFO as Redis 6 does, PING, and nothing else.
func answerAsOld(c net.Conn) {
	defer func() { _ = c.Close() }()
	in := bufio.NewScanner(c)
	for in.Scan() {
		answer := ""
		switch strings.ToLower(in.Text()) {
		case "ping":
			answer = "+PONG\r\n"
		case "info":
			answer = "$22\r\nredis_version:6.2.14\r\n\r\n"
		case "hello", "client":
			answer = "-ERR unknown command\r\n"
		}
		if _, err := c.Write([]byte(answer)); err != nil {
			return
		}
	}
}

// TestRedisURLs: what is read from a URL, and what is refused without telling its secrets.
func TestRedisURLs(t *testing.T) {
	for url, want := range map[string]string{
		"redis://h":                              "[h:6379] 0   ",
		"redis://h:1/2":                          "[h:1] 2   ",
		"redis://[::1]:5":                        "[[::1]:5] 0   ",
		"redis://me:p%40ss@h":                    "[h:6379] 0 me p@ss ",
		"redis://:pass@h":                        "[h:6379] 0  pass ",
		"unix:///run/s?db=3":                     "[/run/s] 3   ",
		"redis-cluster://a:1,b:2":                "[a:1 b:2] 0   ",
		"rediss-sentinel://me:p@a,b:2/main?db=1": "[a:26379 b:2] 1 me p main",
		"redis-sentinel://a:1/main":              "[a:1] 0   main",
	} {
		o, err := RedisOptions{URL: url}.universal()
		if err != nil {
			t.Errorf("%s: %v", url, err)
			continue
		}
		if got := fmt.Sprintf("%v %d %s %s %s", o.Addrs, o.DB, o.Username, o.Password, o.MasterName); got != want {
			t.Errorf("%s is %q, not %q", url, got, want)
		}
		if secure := strings.HasPrefix(url, "rediss"); secure != (o.TLSConfig != nil) || strings.Contains(url, "cluster") != o.IsClusterMode {
			t.Errorf("%s: TLS %v, cluster %v", url, o.TLSConfig != nil, o.IsClusterMode)
		}
	}
	for _, url := range []string{
		"", "h:6379", "http://s3cr3t@h", "redis://", "redis://:s3cr3t@", "redis://h/x", "redis://h/-1", "redis://a,b", "redis-cluster://a/1", "redis-cluster://a?db=1",
		"redis-sentinel://a", "unix://s3cr3t/a", "unix://", "redis://h?x=s3cr3t", "redis://h?db=a", "redis://u:%zz@h", "redis://h?db=1&db=2", "redis://a b",
	} {
		err := RedisOptions{URL: url}.Validate()
		if !errors.Is(err, ErrUnsuitable) || strings.Contains(err.Error(), "s3cr3t") {
			t.Errorf("%q: %v", url, err)
		}
	}
}
