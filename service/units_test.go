package service

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/penstock-media/penstock/resolverstore"
	"github.com/penstock-media/penstock/service/internal/relay"
)

// TestF8_Timeline follows media that replace each other: time and sequence go on, by the RTP clock within and by the
// gateway's between them.
func TestF8_Timeline(t *testing.T) {
	start := time.Unix(1000, 0)
	at := func(ms int) time.Time { return start.Add(time.Duration(ms) * time.Millisecond) }
	line := timeline{start: start}
	line.next()
	last := time.Duration(-1)
	for i, step := range []struct {
		media    int // ms of the media's own time; -1 begins another media
		seq      uint64
		received int // ms
		wantMS   int
		wantSeq  uint64
	}{
		{1000, 1, 5, 5, 1},           // attached late to a media that is a second old
		{1020, 2, 90, 25, 2},         // came late: the RTP clock counts
		{1040, 5, 91, 45, 5},         // three were dropped
		{-1, 0, 0, 0, 0},             //
		{0, 1, 500, 500, 6},          // the next media
		{33, 2, 500, 533, 7},         //
		{20, 3, 501, 533, 8},         // never back
		{-1, 0, 0, 0, 0},             //
		{90000, 3, 510, 533, 11},     // before what was told: never back
		{90040, 4, 600, 573, 12},     //
		{3690040, 5, 9, 3600573, 13}, // an hour of mute
	} {
		if step.media < 0 {
			line.next()
			continue
		}
		got, seq := line.frame(time.Duration(step.media)*time.Millisecond, step.seq, at(step.received))
		if got.Milliseconds() != int64(step.wantMS) || got <= last || seq != step.wantSeq {
			t.Errorf("step %d: %v after %v, %d; want %d ms, %d", i, got, last, seq, step.wantMS, step.wantSeq)
		}
		last = got
	}
	line.next()
	if got := line.wall(at(4000_000)); got != 4000*time.Second {
		t.Errorf("between media it is %v", got)
	}
	if got := line.event(0, at(100)); got != 4000*time.Second {
		t.Errorf("an event went back to %v", got)
	}
}

func TestPauseIsToldOnce(t *testing.T) {
	var p pause
	check := func(name string, q *pause, want, wantNews bool) {
		t.Helper()
		if paused, news := q.change(); paused != want || news != wantNews {
			t.Errorf("%s: %v %v", name, paused, news)
		}
	}
	check("at first", p.store(false, false), false, false)
	check("muted", p.store(true, true), true, true)
	check("and inactive", p.media(true, false), true, false)
	check("unmuted, still inactive", p.store(false, false), true, false)
	check("active", p.media(false, false), false, true)
	check("again", p.media(false, false), false, false)
}

// TestViewFollows shows what a stream learns of its track, whichever comes first: the view's change or the stream.
func TestViewFollows(t *testing.T) {
	live := func(revision uint64, media string) resolverstore.Track {
		return resolverstore.Track{ID: "t", State: resolverstore.TrackLive, Revision: revision, Media: &resolverstore.Media{ID: media}}
	}
	v := newView(func([]resolverstore.Track, []string) {})
	var woken int
	f := v.follow(live(5, "m1"), func() { woken++ })
	if !f.carries("m1") || f.carries("m2") {
		t.Error("what was resolved is not what is carried")
	}
	v.apply(resolverstore.Change{Revision: 6, Tracks: []resolverstore.Track{live(6, "m2")}})
	if !f.carries("m2") || woken != 1 {
		t.Errorf("after the change: %v, woken %d times", f.carries("m2"), woken)
	}
	if late := v.follow(live(5, "m1"), func() {}); !late.carries("m2") {
		t.Error("a stream that resolved before the change is not told of it")
	}
	v.apply(resolverstore.Change{Revision: 7, Tracks: []resolverstore.Track{{ID: "other", Revision: 7}}})
	if woken != 1 {
		t.Error("another track's change woke the stream")
	}
	v.apply(resolverstore.Change{Revision: 8, Removed: []resolverstore.Track{{ID: "t", EndReason: resolverstore.TrackReplaced}}})
	_, ended, reason := f.state()
	if !ended || reason != resolverstore.TrackReplaced || woken != 2 {
		t.Errorf("ended %v for %v, woken %d times", ended, reason, woken)
	}
	if _, ended, reason = v.follow(live(6, "m2"), func() {}).state(); !ended || reason != resolverstore.TrackReplaced {
		t.Error("a stream that comes after the end is not told of it")
	}
	other := v.follow(resolverstore.Track{ID: "other", State: resolverstore.TrackLive}, func() { woken++ })
	v.apply(resolverstore.Change{Revision: 9, Snapshot: true})
	if _, ended, _ = other.state(); !ended {
		t.Error("a track that the snapshot does not name goes on")
	}
	f.close()
	f.close()
	for i := range 2 * maxRemembered {
		v.apply(resolverstore.Change{Removed: []resolverstore.Track{{ID: fmt.Sprint(i)}}})
	}
	if len(v.ended) > maxRemembered || len(v.order) > maxRemembered {
		t.Errorf("%d ends are remembered", len(v.ended))
	}
	last := v.follow(resolverstore.Track{ID: "last"}, func() { woken++ })
	v.finish()
	if _, ended, reason = last.state(); !ended || reason != resolverstore.TrackSessionExpired {
		t.Errorf("at the session's end: %v %v", ended, reason)
	}
}

// TestViewSurvivesLostWatch goes on where the store's watch ends although the session does not.
func TestViewSurvivesLostWatch(t *testing.T) {
	memory := resolverstore.NewMemory(resolverstore.Config{})
	_, _, err := memory.CreateSession(t.Context(), resolverstore.Session{Key: key("s"), Fence: resolverstore.Fence{Owner: "me"}})
	must(t, err)
	v := newView(func([]resolverstore.Track, []string) {})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		v.run(ctx, memory, key("s"), slog.New(slog.DiscardHandler))
	}()
	must(t, memory.EndSession(t.Context(), key("s"), resolverstore.SessionDeleted))
	<-done // The end ends it by itself.
	cancel()
	if !v.over {
		t.Error("the view does not know of the end")
	}
	must(t, memory.Close())
}

// TestWakerLosesNothing wakes between a look and the wait.
func TestWakerLosesNothing(t *testing.T) {
	var w waker
	var mu sync.Mutex
	n := 0
	var work sync.WaitGroup
	for range 1000 {
		work.Go(func() {
			mu.Lock()
			n++
			mu.Unlock()
			w.wake()
		})
	}
	ctx, cancel := context.WithTimeout(t.Context(), hang)
	defer cancel()
	must(t, w.await(ctx, func() bool { mu.Lock(); defer mu.Unlock(); return n == 1000 }))
	work.Wait()
	w.wake() // what is left waits under the context of before
	stop, stopped := context.WithCancelCause(t.Context())
	stopped(errDraining)
	if err := w.await(stop, func() bool { return false }); !errors.Is(err, errDraining) {
		t.Errorf("await ended with %v", err)
	}
}

// TestGateTakesTurns lets many through for one id, and another id at once.
func TestGateTakesTurns(t *testing.T) {
	var g gate
	inside, most := 0, 0
	var mu sync.Mutex
	var work sync.WaitGroup
	for range 50 {
		work.Go(func() {
			leave, err := g.enter(context.Background(), key("a"))
			if err != nil {
				t.Error(err)
				return
			}
			defer leave()
			mu.Lock()
			inside++
			most = max(most, inside)
			mu.Unlock()
			mu.Lock()
			inside--
			mu.Unlock()
		})
	}
	work.Wait()
	leave, err := g.enter(t.Context(), key("a"))
	must(t, err)
	other, err := g.enter(t.Context(), key("b"))
	must(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := g.enter(ctx, key("a")); !errors.Is(err, context.Canceled) {
		t.Errorf("a turn that never comes gives %v", err)
	}
	leave()
	other()
	if most != 1 || len(g.busy) != 0 {
		t.Errorf("%d were inside at one time, %d ids are left", most, len(g.busy))
	}
}

// FuzzPageToken: only what was made for a list opens as a token of it, on any pod.
func FuzzPageToken(f *testing.F) {
	s := &Service{keys: relay.RandomKeys()}
	made, err := s.newPageToken("list", "id")
	if err != nil {
		f.Fatal(err)
	}
	for _, token := range []string{"", made, made[1:], "AAAA"} {
		f.Add(token, "list")
	}
	f.Fuzz(func(t *testing.T, token, list string) {
		after, err := s.openPageToken(list, token)
		if err == nil && token != "" && (after != "id" || list != "list") {
			t.Errorf("%q opened as %q", token, after)
		}
		if token != "" && token == made && list == "list" && err != nil {
			t.Error(err)
		}
		other, err := s.newPageToken(list, "after "+token)
		must(t, err)
		if back, err := s.openPageToken(list, other); err != nil || back != "after "+token {
			t.Errorf("%q, %v", back, err)
		}
	})
}

// TestO7_Config names the first fault and its mend.
func TestO7_Config(t *testing.T) {
	for name, change := range map[string]func(*Config){
		"Pool": func(c *Config) { c.Pool = nil }, "Store": func(c *Config) { c.Store = nil }, "Logger": func(c *Config) { c.Logger = nil },
		"Owner": func(c *Config) { c.Owner = "" }, "Grace": func(c *Config) { c.Grace = -1 }, "Limits": func(c *Config) { c.Limits.Streams = -1 },
	} {
		g := startGateway(t)
		cfg := g.svc.cfg
		change(&cfg)
		_, err := New(cfg)
		if !errors.Is(err, ErrConfig) || !strings.Contains(err.Error(), name) {
			t.Errorf("without %s: %v", name, err)
		}
	}
}
