package service

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/penstock-media/penstock/internal/sfutest/clips"
	"github.com/penstock-media/penstock/media"
	"github.com/penstock-media/penstock/resolverstore"
	"github.com/penstock-media/penstock/rtcpool"
)

// awayStore is a real store that can be away.
type awayStore struct {
	resolverstore.Store
	mu       sync.Mutex
	away     bool
	attempts chan struct{} // one for each refused write, as far as there is room
	written  chan string   // all others
}

var errAway = errors.New("store: connection refused")

// try notes a write, or refuses it.
func (s *awayStore) try(what string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.away {
		select {
		case s.attempts <- struct{}{}:
		default:
		}
		return errAway
	}
	s.written <- what
	return nil
}

func (s *awayStore) set(away bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.away = away
}

func (s *awayStore) ApplyMedia(ctx context.Context, key resolverstore.SessionKey, f resolverstore.Fence, d resolverstore.MediaDiff) error {
	what := "media"
	for _, m := range d.Put {
		what += fmt.Sprintf(" +%s:%d", m.ID, m.SSRC)
	}
	for _, id := range d.Removed {
		what += " -" + id
	}
	if err := s.try(what); err != nil {
		return err
	}
	return s.Store.ApplyMedia(ctx, key, f, d)
}

func (s *awayStore) UpdateSession(ctx context.Context, key resolverstore.SessionKey, f resolverstore.Fence, u resolverstore.SessionUpdate) (resolverstore.Session, error) {
	if err := s.try(fmt.Sprint("state ", *u.State, " of ", *u.Generation)); err != nil {
		return resolverstore.Session{}, err
	}
	return s.Store.UpdateSession(ctx, key, f, u)
}

// mirrored is a session in a store that can be away, and a mirror that writes to it.
func mirrored(t *testing.T) (*mirror, *awayStore, func()) {
	t.Helper()
	memory := resolverstore.NewMemory(resolverstore.Config{})
	store := &awayStore{Store: memory, attempts: make(chan struct{}, 1), written: make(chan string, 10)}
	fence := resolverstore.Fence{Owner: "me", Epoch: 1}
	_, _, err := store.CreateSession(t.Context(), resolverstore.Session{Key: key("s"), Fence: fence, State: resolverstore.SessionAwaitingOffer})
	must(t, err)
	m := newMirror(time.Minute, time.Now().Add(time.Minute))
	done := make(chan struct{})
	go func() {
		defer close(done)
		m.run(store, key("s"), fence, slog.New(slog.DiscardHandler))
	}()
	return m, store, func() {
		t.Helper()
		select {
		case <-done:
		case <-time.After(hang):
			t.Fatal("the mirror does not end")
		}
		must(t, memory.Close())
	}
}

// pooled returns a media as the pool tells it.
func pooled(id string, ssrc uint32) rtcpool.Media {
	return rtcpool.Media{ID: id, MID: "0", Kind: media.KindVideo, Codec: media.CodecVP8, SSRC: ssrc, Generation: 1, Active: true}
}

// TestMirrorMergesWhileStoreIsAway tells much while the store is away: the callbacks do not block, and what is written then is
// the last state, in order.
func TestMirrorMergesWhileStoreIsAway(t *testing.T) {
	m, store, end := mirrored(t)
	store.set(true)
	m.MediaChanged(rtcpool.MediaDiff{Added: []rtcpool.Media{pooled("a", 0)}})
	<-store.attempts // The first batch is under way, with a.
	for i := range 1000 {
		m.MediaChanged(rtcpool.MediaDiff{Added: []rtcpool.Media{pooled("b", 0)}})
		m.MediaChanged(rtcpool.MediaDiff{Updated: []rtcpool.Media{pooled("b", uint32(i))}, Added: []rtcpool.Media{pooled(fmt.Sprint("x", i), 1)}})
		m.MediaChanged(rtcpool.MediaDiff{Removed: []rtcpool.Media{pooled(fmt.Sprint("x", i), 1)}})
		m.StateChanged(1, rtcpool.StateConnecting)
	}
	m.MediaChanged(rtcpool.MediaDiff{Removed: []rtcpool.Media{pooled("a", 0)}})
	m.StateChanged(2, rtcpool.StateConnected)
	m.StateChanged(1, rtcpool.StateFailed) // Of an older generation.
	m.mu.Lock()
	if held := len(m.put) + len(m.order) + len(m.removed); held > 3 {
		t.Errorf("%d things are held", held)
	}
	m.mu.Unlock()
	store.set(false)
	connected := fmt.Sprintf("state %d of 2", resolverstore.SessionConnected)
	var got []string
	for len(got) == 0 || got[len(got)-1] != connected {
		got = append(got, <-store.written)
	}
	m.SessionEnded(rtcpool.EndMediaLost)
	end()
	if want := "[media +a:0 media +b:999 -a " + connected + "]"; fmt.Sprint(got) != want {
		t.Errorf("written %v, want %s", got, want)
	}
}

// TestMirrorEndsWhileStoreIsAway ends a session whose store does not come back: the mirror does not outlive it.
func TestMirrorEndsWhileStoreIsAway(t *testing.T) {
	m, store, end := mirrored(t)
	store.set(true)
	m.MediaChanged(rtcpool.MediaDiff{Added: []rtcpool.Media{pooled("a", 0)}})
	<-store.attempts
	m.endWith(resolverstore.SessionDeleted)
	m.SessionEnded(rtcpool.EndClosed)
	w, err := store.Watch(t.Context(), key("s"), 0)
	must(t, err)
	for err == nil {
		_, err = w.Next(t.Context())
	}
	w.Close()
	rec, err := store.GetSession(t.Context(), key("s"))
	must(t, err)
	if rec.State != resolverstore.SessionEnded || rec.EndReason != resolverstore.SessionDeleted {
		t.Errorf("the session is in state %v, ended for %v", rec.State, rec.EndReason)
	}
	end()
}

// TestMirrorExpiry follows the states that start and stop the grace.
func TestMirrorExpiry(t *testing.T) {
	m := newMirror(time.Minute, time.Now().Add(time.Minute))
	m.answered(1)
	for _, step := range []struct {
		state   rtcpool.State
		want    resolverstore.SessionState
		expires bool
	}{
		{rtcpool.StateConnecting, resolverstore.SessionConnecting, true},
		{rtcpool.StateConnected, resolverstore.SessionConnected, false},
		{rtcpool.StateDisconnected, resolverstore.SessionDisconnected, true},
		{rtcpool.StateFailed, resolverstore.SessionDisconnected, true},
		{rtcpool.StateConnected, resolverstore.SessionConnected, false},
		{rtcpool.StateClosed, resolverstore.SessionDisconnected, true}, // An offer may come within the grace.
	} {
		m.StateChanged(1, step.state)
		b := m.take()
		if !b.dirty || *b.update.State != step.want || b.update.Expires.IsZero() == step.expires {
			t.Errorf("%v gives %v, expiry %v", step.state, *b.update.State, b.update.Expires)
		}
	}
	m.StateChanged(0, rtcpool.StateConnected)
	if b := m.take(); b.dirty {
		t.Errorf("an older generation gives %v", *b.update.State)
	}
	m.answered(1)
	if b := m.take(); !b.dirty || b.update.Expires.IsZero() {
		t.Errorf("an offer to what is closed gives %v", b)
	}
}

// TestMirrorAwaiting keeps a session that waits for its first offer from expiring, and lets it expire again; later that changes nothing.
func TestMirrorAwaiting(t *testing.T) {
	m := newMirror(time.Minute, time.Now().Add(time.Minute))
	for _, kept := range []bool{true, false, true} {
		m.awaiting(kept)
		var rec resolverstore.Session
		if m.overlay(&rec); rec.Expires.IsZero() != kept || rec.State != 0 {
			t.Errorf("kept %v: %v", kept, rec)
		}
		if b := m.take(); !b.dirty || b.update.Expires.IsZero() != kept || b.update.State != nil {
			t.Errorf("kept %v writes %v", kept, b)
		}
	}
	m.answered(3)
	m.take()
	m.awaiting(true)
	rec := resolverstore.Session{State: resolverstore.SessionAwaitingOffer}
	if m.overlay(&rec); rec.Expires.IsZero() || rec.State != resolverstore.SessionConnecting || rec.Generation != 3 || m.take().dirty {
		t.Errorf("after an offer: %v", rec)
	}
}

// TestMirrorWritesTheStateOfASessionWithTooManyMedia tells more media than the store takes: the state is written all the same.
func TestMirrorWritesTheStateOfASessionWithTooManyMedia(t *testing.T) {
	memory := resolverstore.NewMemory(resolverstore.Config{MaxMedia: 1})
	fence := resolverstore.Fence{Owner: "me", Epoch: 1}
	_, _, err := memory.CreateSession(t.Context(), resolverstore.Session{Key: key("s"), Fence: fence, State: resolverstore.SessionAwaitingOffer})
	must(t, err)
	m := newMirror(time.Minute, time.Now())
	m.MediaChanged(rtcpool.MediaDiff{Added: []rtcpool.Media{pooled("a", 1), pooled("b", 2)}})
	m.StateChanged(3, rtcpool.StateConnected)
	b := m.take()
	if err := b.apply(t.Context(), memory, key("s"), fence); !errors.Is(err, resolverstore.ErrLimitReached) {
		t.Errorf("two media where one is allowed: %v", err)
	}
	got, err := memory.GetSession(t.Context(), key("s"))
	must(t, err)
	if got.State != resolverstore.SessionConnected || got.Generation != 3 || !got.Expires.IsZero() {
		t.Errorf("stored is %+v", got)
	}
	must(t, memory.Close())
}

// forgetfulStore is a real store that cannot be told ends, and cannot be watched for a while.
type forgetfulStore struct {
	resolverstore.Store
	mu      sync.Mutex
	refuses int // so many watches
}

func (*forgetfulStore) EndSession(context.Context, resolverstore.SessionKey, resolverstore.SessionEndReason) error {
	return resolverstore.ErrUnavailable
}

func (s *forgetfulStore) Watch(ctx context.Context, key resolverstore.SessionKey, after uint64) (resolverstore.Watcher, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.refuses > 0 {
		s.refuses--
		return nil, resolverstore.ErrUnavailable
	}
	return s.Store.Watch(ctx, key, after)
}

// TestServiceOutlivesItsStore opens a session whose store cannot be watched at first: its streams begin when it can, and
// what is wanted is told. The store does not take the session's end: Close ends all the same.
func TestServiceOutlivesItsStore(t *testing.T) {
	g := startGateway(t, func(c *Config) { c.Store = &forgetfulStore{Store: c.Store, refuses: 3} })
	g.create("call")
	o := g.obey("call")
	o.announce("alice", camera, clips.AliceCamera())
	o.says("alice", camera, "nothing")
	r := g.open(box(320, 0, 0))
	o.says("alice", camera, "320×0@0")
	r.video()
	o.rest() // it would be told that nothing is wanted any more, and offer to who no longer answers
	closed := make(chan struct{})
	go func() {
		defer close(closed)
		g.svc.Close()
	}()
	select {
	case <-closed:
	case <-g.ctx.Done():
		t.Fatal("Close hangs")
	}
}
