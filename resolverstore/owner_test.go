package resolverstore

import (
	"context"
	"errors"
	"testing"
	"time"
)

// testTakeOver: with consent a session gets another owner. Its publications stay, its media are gone and stay so, what carried them has
// ended; who owned it is refused, and whoever waits is told.
func testTakeOver(t *testing.T, newStore makeStore) {
	s := newStore(t, atOnce)
	f := newFixture(t, s)
	sealed, generation := []byte("sealed"), uint64(1)
	grace := Session{Key: SessionKey{ID: "g"}, RequestHash: "h", Grace: time.Minute, Fence: Fence{"pod", 3}, Sealed: sealed}
	f.key, f.fence = grace.Key, grace.Fence
	if rec, created, err := s.CreateSession(f.ctx, grace); err != nil || !created || rec.Sealed != nil {
		t.Fatalf("%+v %v %v", rec, created, err)
	}
	if _, err := s.UpdateSession(f.ctx, f.key, f.fence, SessionUpdate{Generation: &generation}); err != nil {
		t.Fatal(err)
	}
	f.mustApply(published("ann1", Camera), published("bob1", Camera))
	f.put(of("m1", "ann1", Camera), anonymous("stray", KindAudio))
	before := f.resolve("ann1", Camera)
	waitsForID := f.waitFor(Selector{TrackID: f.tracks()["bob1/1"].ID})
	waits := f.waitFor(Selector{ParticipantID: "bob1", Source: Camera})
	told := make(chan Owner, 1)
	go func() {
		o, err := s.Owner(f.ctx, f.key, f.fence)
		if err != nil {
			t.Error(err)
		}
		told <- o
	}()
	_, err := s.TakeOver(f.ctx, f.key, f.fence, false)
	wantErr(t, err, ErrOwned)
	_, err = s.TakeOver(f.ctx, f.key, Fence{"pod", 2}, true)
	wantErr(t, err, ErrFenced)
	_, err = s.TakeOver(f.ctx, SessionKey{ID: "none"}, f.fence, true)
	wantErr(t, err, ErrSessionNotFound)
	began := time.Now()
	rec, err := s.TakeOver(f.ctx, f.key, f.fence, true)
	if err != nil {
		t.Fatal(err)
	}
	self := s.Self()
	switch {
	case rec.Fence.Owner != self.Incarnation || self.Incarnation == "" || rec.OwnerAddress != self.Address,
		rec.Fence.Epoch < uint64(began.Add(-time.Minute).UnixMilli()),
		rec.State != SessionAwaitingOffer, rec.MinGeneration != 2, string(rec.Sealed) != "sealed", rec.EndReason != 0,
		rec.Expires.Before(began.Add(50 * time.Second)), rec.Expires.After(time.Now().Add(70 * time.Second)):
		t.Errorf("taken over: %+v", rec)
	}
	if o := <-told; o.Session.Fence != rec.Fence || o.Pod.Incarnation != self.Incarnation || !o.Alive || o.Session.Sealed != nil {
		t.Errorf("who waited is told of %+v", o)
	}
	wantErr(t, s.ApplyMedia(f.ctx, f.key, f.fence, MediaDiff{Put: []Media{of("m9", "ann1", Camera)}}), ErrFenced)
	_, err = s.UpdateSession(f.ctx, f.key, f.fence, SessionUpdate{Generation: &generation})
	wantErr(t, err, ErrFenced)
	_, err = s.TakeOver(f.ctx, f.key, f.fence, true)
	wantErr(t, err, ErrFenced)
	f.fence = rec.Fence
	newMedia(t, f, before, waits, waitsForID)
	if err := s.EndSession(f.ctx, f.key, SessionDeleted); err != nil {
		t.Fatal(err)
	}
	_, err = s.TakeOver(f.ctx, f.key, f.fence, true)
	wantErr(t, err, ErrSessionEnded)
	if o, err := s.Owner(f.ctx, f.key, f.fence); err != nil || o.Session.State != SessionEnded {
		t.Errorf("%+v %v", o, err)
	}
}

// newMedia is what the owner after a take-over receives.
func newMedia(t *testing.T, f *fixture, before Track, waits, waitsForID func() (Track, error)) {
	t.Helper()
	all := f.tracks()
	if ann := all["ann1/1"]; len(all) != 2 || ann.State != TrackPending || ann.ID == before.ID {
		t.Errorf("after it: %+v", all)
	}
	_, err := f.store.Resolve(f.ctx, f.key, Selector{TrackID: before.ID})
	wantErr(t, err, ErrTrackNotFound)
	f.put(of("m1", "ann1", Camera)) // of the owner before
	if got := f.tracks()["ann1/1"]; got.State != TrackPending {
		t.Errorf("a media that is gone is back: %+v", got)
	}
	f.put(of("n1", "ann1", Camera), of("n2", "bob1", Camera))
	for _, wait := range []func() (Track, error){waits, waitsForID} {
		if got, err := wait(); err != nil || got.Media.ID != "n2" {
			t.Errorf("who waited gets %+v %v", got, err)
		}
	}
	f.want(map[string]string{"ann1/1": "n1", "bob1/1": "n2"})
}

// testOwner: who owns a session is told at once, of one that there is; waiting ends with the session, its context or the store.
func testOwner(t *testing.T, newStore makeStore) {
	s := newStore(t, atOnce)
	f := newFixture(t, s)
	if o, err := s.Owner(f.ctx, f.key, Fence{}); err != nil || o.Session.Fence != f.fence || o.Session.Key != f.key {
		t.Errorf("%+v %v", o, err)
	}
	_, err := s.Owner(f.ctx, SessionKey{ID: "none"}, Fence{})
	wantErr(t, err, ErrSessionNotFound)
	ctx, cancel := context.WithCancelCause(f.ctx)
	why := errors.New("enough")
	cancel(why)
	_, err = s.Owner(ctx, f.key, f.fence)
	if !errors.Is(err, why) && !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	_, err = s.Orphans(ctx, 1)
	wantErr(t, err, why)
	wantErr(t, s.Gone(ctx, "pod"), why)
	load := Load{Sessions: 3, MaxSessions: 7, Busy: 0.5, Draining: true}
	s.SetLoad(load)
	pods, err := s.Pods(f.ctx)
	if err != nil || len(pods) == 0 || s.Self().Load != load {
		t.Errorf("%+v %v", pods, err)
	}
	if !s.Sure() {
		t.Error("it is not sure")
	}
	if err := s.Recheck(f.ctx); err != nil {
		t.Error(err)
	}
	waits := make(chan Owner, 1)
	go func() {
		o, err := s.Owner(f.ctx, f.key, f.fence)
		if err != nil {
			t.Error(err)
		}
		waits <- o
	}()
	closed := make(chan error, 2)
	go func() { _, err := s.Orphans(f.ctx, 1); closed <- err }()
	go func() { closed <- s.Gone(f.ctx, "nobody") }()
	f.mustApply(published("ann1", Camera)) // a change that is none of the owner
	if err := s.EndSession(f.ctx, f.key, SessionDrained); err != nil {
		t.Fatal(err)
	}
	if o := <-waits; o.Session.State != SessionEnded || o.Session.EndReason != SessionDrained {
		t.Errorf("%+v", o)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	wantErr(t, <-closed, ErrClosed)
	wantErr(t, <-closed, ErrClosed)
}
