package resolverstore

import (
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"
)

// TestR16_AskedForWhileItIsMade: who asks for a session between the moment at which it is stored and that at which its creator holds it
// waits like any other, and is released.
func TestR16_AskedForWhileItIsMade(t *testing.T) {
	a := startRedis(t).open(atOnce)
	for round := range 20 {
		f := newFixtureOf(t, a, fmt.Sprint("first", round)) // has the channel subscribed
		key, fence := SessionKey{ID: fmt.Sprint("call", round)}, Fence{Owner: a.cfg.Owner, Epoch: 7}
		st := newState(&a.cfg, Session{Key: key, Fence: fence}, 0, a.now())
		to := newVersion(1, rand.Text()[:10])
		if _, err := a.commit(f.ctx, sessionName(key), change{to: to, delta: st.diff(nil), ttl: a.cfg.SessionTTL}); err != nil {
			t.Fatal(err)
		}
		f.key, f.fence = key, fence
		wait := f.waitFor(Selector{ParticipantID: "ann1", Source: Camera})
		if round%2 == 0 { // else somewhere on the way to waiting
			eventually(t, "it waits", func() bool { return waiting(a, key) == 1 })
		}
		a.created(f.ctx, st, to)
		f.mustApply(published("ann1", Camera))
		f.put(of("m1", "ann1", Camera))
		if got, err := wait(); err != nil || got.Media.ID != "m1" {
			t.Fatalf("round %d: %+v %v", round, got, err)
		}
	}
}

// newFixtureOf makes a session of an id.
func newFixtureOf(t *testing.T, s *Redis, id string) *fixture {
	t.Helper()
	f := &fixture{t: t, ctx: t.Context(), store: s, key: SessionKey{ID: id}, fence: Fence{Owner: s.cfg.Owner, Epoch: 7}}
	if _, created, err := s.CreateSession(f.ctx, Session{Key: f.key, Fence: f.fence}); err != nil || !created {
		t.Fatal(created, err)
	}
	return f
}

// TestR19_LeftAndWantedAgain: a channel that is wanted again before it was left on the wire is asked for once more, since who wants it
// now waits for a confirmation.
func TestR19_LeftAndWantedAgain(t *testing.T) {
	l := &link{sub: &subscriber{}, wanted: map[string]bool{}, sent: map[string]bool{}, wake: make(chan struct{}, 1)}
	l.want("c", true)
	for range 3 {
		if on, off := l.changes(); !slices.Equal(on, []string{"c"}) || len(off) != 0 {
			t.Fatalf("asked for %v, left %v", on, off)
		}
		l.want("c", false)
		l.want("c", true)
	}
	l.want("c", false)
	l.changes()
	l.want("c", false)
	if on, off := l.changes(); len(on)+len(off) != 0 {
		t.Errorf("asked for %v, left %v", on, off)
	}
}

// TestR20_LostMediaAreWrittenAgain: media that a promoted server lost are written again by their owner, joined or not; by who owns the
// session no longer, or into one that has ended, never.
func TestR20_LostMediaAreWrittenAgain(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*state)
		want   []string
	}{
		"lost":      {func(*state) {}, []string{"joined", "waits"}},
		"fenced":    {func(st *state) { st.record.Fence.Epoch++ }, nil},
		"ended":     {func(st *state) { st.end(SessionDeleted, time.Now()) }, nil},
		"forgotten": {func(st *state) { st.call.removeMedia("waits", time.Now()) }, []string{"joined"}},
	} {
		t.Run(name, func(t *testing.T) {
			a := startRedis(t).open(atOnce)
			f := newFixture(t, a)
			f.mustApply(published("ann1", Camera))
			r, _ := a.held(f.key)
			defer a.release(r)
			r.mu.Lock()
			stored, v := &state{record: r.record, call: r.call.clone()}, r.version
			r.mu.Unlock()
			f.put(of("joined", "ann1", Camera), of("waits", "bob1", Camera))
			// Another pod wrote on the promoted server, which had not heard of the media, as often as here.
			c.change(stored)
			to := newVersion(v.n+5, v.birth)
			held := f.versionOf(a)
			if _, err := a.commit(f.ctx, r.name, change{from: held, to: to, delta: stored.diff(nil), ttl: time.Minute, clear: true}); err != nil {
				t.Fatal(err)
			}
			eventually(t, "it is settled", func() bool {
				_, got, err := readAll(f, a)
				return err == nil && slices.Equal(got, c.want) && f.heldVersion(a) == f.versionOf(a)
			})
			if c.want == nil { // also by one that was on its way
				a.putBack(r, f.fence, []Media{of("joined", "ann1", Camera)})
				if _, got, err := readAll(f, a); err != nil || got != nil {
					t.Errorf("stored are %v %v", got, err)
				}
			}
		})
	}
}

// versionOf is the version that is stored.
func (f *fixture) versionOf(s *Redis) string {
	f.t.Helper()
	v, err := s.versionOf(f.ctx, sessionName(f.key))
	if err != nil {
		f.t.Fatal(err)
	}
	return v
}

// heldVersion is the version that a store holds.
func (f *fixture) heldVersion(s *Redis) string {
	r, err := s.held(f.key)
	if err != nil || r == nil {
		return ""
	}
	defer s.release(r)
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.version.raw
}

// readAll returns what is stored, and the ids of the media in it.
func readAll(f *fixture, s *Redis) (*state, []string, error) {
	fields, err := s.client.HGetAll(f.ctx, sessionName(f.key)).Result()
	if err != nil || len(fields) == 0 {
		return nil, nil, errors.Join(err, errWire)
	}
	st, err := parse(&s.cfg, f.key, fields)
	if err != nil {
		return nil, nil, err
	}
	var ids []string
	for id := range st.call.media {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return st, ids, nil
}
