package resolverstore

import (
	"fmt"
	"strings"
	"testing"
)

// TestMemory runs the suite that every store must pass.
func TestMemory(t *testing.T) { testStore(t, newTestMemory) }

// testStore is the suite. It looks at no clock: what takes time is shown elsewhere.
func testStore(t *testing.T, newStore makeStore) {
	for name, test := range map[string]func(*testing.T, makeStore){
		"Sessions":                       testSessions,
		"Fencing":                        testFencing,
		"Ended":                          testEnded,
		"R1_EitherOrder":                 testEitherOrder,
		"R2_ManyWaitersOneTrack":         testManyWaiters,
		"R3_DuplicatesChangeNothing":     testDuplicates,
		"R4_Republish":                   testRepublish,
		"R5_Migration":                   testMigration,
		"R5_MigrationByRename":           testMigrationByRename,
		"R6_LeaveAndRejoin":              testRejoin,
		"R7_TwoDevices":                  testTwoDevices,
		"R9_Anonymous":                   testAnonymous,
		"R10_Leave":                      testLeave,
		"Participants":                   testParticipants,
		"R15_Hostile":                    testHostile,
		"R15_Limits":                     testLimits,
		"R18_Snapshot":                   testSnapshot,
		"R18_Sequence":                   testSequence,
		"S9_MutedAndInactiveArePaused":   testPaused,
		"S10_OtherOwnerOfAMedia":         testRenamedToAnother,
		"S11_OldOwnerOfARenamedLeaves":   testRenamedThenLeft,
		"S12_MediaWithoutOwnerIsUnknown": testPhantom,
		"Generation":                     testGeneration,
		"Words":                          testExplicitIDs,
		"Watch":                          testWatch,
		"WatchRevisions":                 testWatchRevisions,
		"Closed":                         testClosed,
		"P2_TakeOver":                    testTakeOver,
		"Owner":                          testOwner,
	} {
		t.Run(name, func(t *testing.T) { test(t, newStore) })
	}
}

func testSessions(t *testing.T, newStore makeStore) {
	s := newStore(t, Config{MaxSessions: 3})
	ctx := t.Context()
	want := Session{Key: SessionKey{ID: "b"}, RequestHash: "h", Labels: map[string]string{"room": "1"}}
	if _, created, err := s.CreateSession(ctx, want); err != nil || !created {
		t.Fatalf("create: %v %v", created, err)
	}
	if again, created, err := s.CreateSession(ctx, want); err != nil || created || again.Labels["room"] != "1" {
		t.Fatalf("same again: %+v %v %v", again, created, err)
	}
	want.RequestHash = "other"
	_, _, err := s.CreateSession(ctx, want)
	wantErr(t, err, ErrSessionExists)
	_, _, err = s.CreateSession(ctx, Session{})
	wantErr(t, err, ErrInvalidSession)
	_, err = s.GetSession(ctx, SessionKey{ID: "unknown"})
	wantErr(t, err, ErrSessionNotFound)
	_, err = s.GetSession(ctx, SessionKey{Tenant: "other", ID: "b"})
	wantErr(t, err, ErrSessionNotFound)
	for _, id := range []string{"a", "c"} {
		if _, _, err := s.CreateSession(ctx, Session{Key: SessionKey{ID: id}, Labels: map[string]string{"room": id}}); err != nil {
			t.Fatal(err)
		}
	}
	_, _, err = s.CreateSession(ctx, Session{Key: SessionKey{ID: "d"}})
	wantErr(t, err, ErrLimitReached)

	list := func(after string, labels map[string]string, limit int) string {
		got, err := s.ListSessions(ctx, "", after, labels, limit)
		if err != nil {
			t.Fatal(err)
		}
		var ids []string
		for _, one := range got {
			ids = append(ids, one.Key.ID)
		}
		return strings.Join(ids, " ")
	}
	for want, got := range map[string]string{
		"a b": list("", nil, 2), "c": list("b", nil, 2), "b": list("", map[string]string{"room": "1"}, 9),
	} {
		if got != want {
			t.Errorf("list is %q, not %q", got, want)
		}
	}
}

func testFencing(t *testing.T, newStore makeStore) {
	f := newFixture(t, newStore(t, atOnce))
	connected, generation := SessionConnected, uint64(3)
	for _, bad := range []Fence{{}, {Owner: "pod", Epoch: 6}, {Owner: "other", Epoch: 7}} {
		_, err := f.store.UpdateSession(f.ctx, f.key, bad, SessionUpdate{State: &connected})
		wantErr(t, err, ErrFenced)
		wantErr(t, f.store.ApplyMedia(f.ctx, f.key, bad, MediaDiff{Put: []Media{anonymous("m", KindVideo)}}), ErrFenced)
	}
	f.mustApply(published("ann1", Camera))
	f.want(nil)
	got, err := f.store.UpdateSession(f.ctx, f.key, f.fence, SessionUpdate{State: &connected, Generation: &generation})
	if err != nil || got.State != SessionConnected || got.Generation != 3 {
		t.Fatalf("update: %+v %v", got, err)
	}
}

func testEnded(t *testing.T, newStore makeStore) {
	f := newFixture(t, newStore(t, atOnce))
	f.mustApply(published("ann1", Camera))
	f.put(of("m1", "ann1", Camera))
	wait := f.waitFor(Selector{ParticipantID: "bob1", Source: Camera})
	w, err := f.store.Watch(f.ctx, f.key, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	if c, err := w.Next(f.ctx); err != nil || !c.Snapshot || len(c.Tracks) != 1 {
		t.Fatalf("first change: %+v %v", c, err)
	}
	wantErr(t, f.store.EndOwned(f.ctx, f.key, Fence{Owner: f.fence.Owner, Epoch: f.fence.Epoch + 1}, SessionDrained), ErrFenced)
	for range 2 {
		if err := f.store.EndOwned(f.ctx, f.key, f.fence, SessionMediaLost); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.store.EndSession(f.ctx, f.key, SessionDeleted); err != nil {
		t.Fatal(err)
	}
	_, err = wait()
	wantErr(t, err, ErrSessionEnded)
	c, err := w.Next(f.ctx)
	if err != nil || len(c.Removed) != 1 || c.Removed[0].EndReason != TrackSessionExpired || c.Removed[0].State != TrackEnded {
		t.Fatalf("last change: %+v %v", c, err)
	}
	_, err = w.Next(f.ctx)
	wantErr(t, err, ErrSessionEnded)
	got, err := f.store.GetSession(f.ctx, f.key)
	if err != nil || got.State != SessionEnded || got.EndReason != SessionMediaLost {
		t.Fatalf("tombstone: %+v %v", got, err)
	}
	_, err = f.store.ApplyEvents(f.ctx, f.key, []Event{joined("ann1")})
	wantErr(t, err, ErrSessionEnded)
	_, err = f.store.Resolve(f.ctx, f.key, Selector{ParticipantID: "ann1", Source: Camera})
	wantErr(t, err, ErrSessionEnded)
	fresh, created, err := f.store.CreateSession(f.ctx, Session{Key: f.key, RequestHash: "new"})
	if err != nil || !created || fresh.State != SessionAwaitingOffer || fresh.Revision < got.Revision {
		t.Fatalf("the id again: %+v %v %v", fresh, created, err)
	}
	if err := f.store.EndSession(f.ctx, SessionKey{ID: "never was"}, SessionDeleted); err != nil {
		t.Fatal(err)
	}
}

func testEitherOrder(t *testing.T, newStore makeStore) {
	for _, m := range []Media{of("m1", "ann1", Camera), anonymous("m1", KindVideo)} {
		for _, publicationFirst := range []bool{true, false} {
			f := newFixture(t, newStore(t, atOnce))
			wait := f.waitFor(Selector{ParticipantID: "ann1", Source: Camera})
			if publicationFirst {
				f.mustApply(published("ann1", Camera))
				f.put(m)
			} else {
				f.put(m)
				f.mustApply(published("ann1", Camera))
			}
			got, err := wait()
			if err != nil || got.State != TrackLive || got.Media.ID != "m1" || got.Publication.Participant.UserID != "ann" {
				t.Fatalf("publication first %v: %+v %v", publicationFirst, got, err)
			}
			if id := f.resolve("ann1", Camera).ID; id != got.ID {
				t.Errorf("the id changed from %s to %s", got.ID, id)
			}
		}
	}
}

func testManyWaiters(t *testing.T, newStore makeStore) {
	f := newFixture(t, newStore(t, atOnce))
	w, err := f.store.Watch(f.ctx, f.key, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	var waits []func() (Track, error)
	for range 100 {
		waits = append(waits,
			f.waitFor(Selector{ParticipantID: "ann1", Source: Camera}), f.waitFor(Selector{UserID: "ann", Source: Camera}))
	}
	f.put(of("m1", "ann1", Camera))
	f.mustApply(published("ann1", Camera))
	first, err := waits[0]()
	if err != nil {
		t.Fatal(err)
	}
	for _, wait := range waits[1:] {
		if got, err := wait(); err != nil || got.ID != first.ID {
			t.Fatalf("another waiter got %+v %v, not %s", got, err, first.ID)
		}
	}
	f.mustApply(published("ann1", Camera), joined("bob1"))
	f.put(of("m1", "ann1", Camera))
	c, err := w.Next(f.ctx)
	if err != nil || len(c.Tracks) != 1 || c.Tracks[0].State != TrackLive {
		t.Fatalf("live is told as %+v %v", c, err)
	}
	if s, _ := f.store.GetSession(f.ctx, f.key); s.Revision != c.Revision {
		t.Errorf("the revision grew from %d to %d though no track changed", c.Revision, s.Revision)
	}
}

func testDuplicates(t *testing.T, newStore makeStore) {
	f := newFixture(t, newStore(t, atOnce))
	f.mustApply(joined("ann1"), published("ann1", Camera))
	f.put(of("m1", "ann1", Camera))
	before := f.resolve("ann1", Camera)
	f.mustApply(published("ann1", Camera), joined("ann1"), published("ann1", Camera))
	f.put(of("m1", "ann1", Camera))
	if after := f.resolve("ann1", Camera); after.ID != before.ID || after.Revision != before.Revision {
		t.Errorf("%+v became %+v", before, after)
	}
	f.want(map[string]string{name("ann1", Camera): "m1"})
}

func testRepublish(t *testing.T, newStore makeStore) {
	for _, kind := range []string{"words", "anonymous"} {
		f := newFixture(t, newStore(t, atOnce))
		m1, m2 := of("m1", "ann1", Camera), of("m2", "ann1", Camera)
		if kind == "anonymous" {
			m1, m2 = anonymous("m1", KindVideo), anonymous("m2", KindVideo)
		}
		f.mustApply(published("ann1", Camera))
		f.put(m1)
		first := f.resolve("ann1", Camera)

		f.mustApply(unpublished("ann1", Camera))
		if got := f.tracks()["media m1"]; got.State != TrackPending || got.ID != first.ID {
			t.Fatalf("%s: while unpublished: %+v", kind, got)
		}
		f.mustApply(published("ann1", Camera))
		if got := f.resolve("ann1", Camera); got.ID != first.ID {
			t.Fatalf("%s: the same media is another track: %+v", kind, got)
		}

		f.mustApply(unpublished("ann1", Camera))
		f.remove("m1")
		wait := f.waitFor(Selector{ParticipantID: "ann1", Source: Camera})
		f.mustApply(published("ann1", Camera))
		f.want(nil)
		f.put(m2)
		got, err := wait()
		if err != nil || got.ID == first.ID || got.Media.ID != "m2" {
			t.Fatalf("%s: new media: %+v %v", kind, got, err)
		}
		f.put(m1) // told late: it is dead
		f.want(map[string]string{name("ann1", Camera): "m2"})
		_, err = f.store.Resolve(f.ctx, f.key, Selector{TrackID: first.ID})
		wantErr(t, err, ErrTrackNotFound)
	}
}

func testMigration(t *testing.T, newStore makeStore) {
	f := newFixture(t, newStore(t, atOnce))
	publish := func(id, user string) Event {
		return Event{Published: &Publication{Participant: Participant{ID: id, UserID: user}, Source: Camera, TrackID: "track-m1"}}
	}
	f.mustApply(publish("ann1", "ann"))
	f.put(anonymous("m1", KindVideo))
	before := f.resolve("ann1", Camera)

	f.mustApply(publish("eve1", "eve")) // another user's claim to the same media takes nothing
	f.want(map[string]string{name("ann1", Camera): "m1"})
	f.mustApply(unpublished("eve1", Camera))

	f.mustApply(publish("ann2", "ann"), publish("ann3", "ann"))
	after := f.resolve("ann3", Camera)
	if after.ID != before.ID || after.Publication.Participant.ID != "ann3" {
		t.Fatalf("%+v became %+v", before, after)
	}
	if got := f.tracks(); len(got) != 1 {
		t.Fatalf("stale keys are left: %+v", got)
	}
	f.mustApply(left("ann1"), left("ann2"))
	if got := f.resolve("ann3", Camera); got.ID != before.ID {
		t.Fatalf("the leave of a stale session changed the track: %+v", got)
	}
}

func testMigrationByRename(t *testing.T, newStore makeStore) {
	for _, publishedFirst := range []bool{true, false} {
		f := newFixture(t, newStore(t, atOnce))
		f.mustApply(published("ann1", Camera))
		f.put(of("m1", "ann1", Camera))
		before := f.resolve("ann1", Camera)
		if publishedFirst {
			f.mustApply(published("ann2", Camera))
		} else {
			f.mustApply(joined("ann2"))
		}
		f.put(of("m1", "ann2", Camera))
		f.mustApply(published("ann2", Camera))
		if after := f.resolve("ann2", Camera); after.ID != before.ID {
			t.Fatalf("%+v became %+v", before, after)
		}
		if got := f.tracks(); len(got) != 1 {
			t.Fatalf("the old key is left: %+v", got)
		}
	}
}

func testRejoin(t *testing.T, newStore makeStore) {
	for _, again := range []string{"ann1", "ann2"} {
		f := newFixture(t, newStore(t, atOnce))
		f.mustApply(joined("ann1"), published("ann1", Camera))
		f.put(of("m1", "ann1", Camera))
		before := f.resolve("ann1", Camera)
		f.mustApply(left("ann1"), joined(again), published(again, Camera))
		f.want(nil) // the old media is still there, and not handed out
		wait := f.waitFor(Selector{UserID: "ann", Source: Camera})
		f.put(of("m2", again, Camera))
		got, err := wait()
		if err != nil || got.Media.ID != "m2" || got.ID == before.ID {
			t.Fatalf("rejoined as %s: %+v %v", again, got, err)
		}
		f.remove("m1")
		f.want(map[string]string{name(again, Camera): "m2"})
	}
}

func testTwoDevices(t *testing.T, newStore makeStore) {
	f := newFixture(t, newStore(t, atOnce))
	f.mustApply(published("ann1", Camera))
	f.put(of("m1", "ann1", Camera))
	first := f.resolve("ann1", Camera)
	f.mustApply(published("ann2", Camera))
	f.want(map[string]string{name("ann1", Camera): "m1"})
	f.put(of("m2", "ann2", Camera))
	f.want(map[string]string{name("ann1", Camera): "m1", name("ann2", Camera): "m2"})
	newest, err := f.store.Resolve(f.ctx, f.key, Selector{UserID: "ann", Source: Camera})
	if err != nil || newest.Media.ID != "m2" {
		t.Fatalf("the user's newest is %+v %v", newest, err)
	}
	f.mustApply(Event{Muted: &PublicationRef{"ann2", Camera}})
	if got, _ := f.store.Resolve(f.ctx, f.key, Selector{UserID: "ann", Source: Camera}); got.ID != first.ID {
		t.Errorf("the user's newest live one is %+v", got)
	}
	f.mustApply(left("ann2"))
	f.want(map[string]string{name("ann1", Camera): "m1"})
}

func testAnonymous(t *testing.T, newStore makeStore) {
	f := newFixture(t, newStore(t, atOnce))
	f.put(anonymous("m1", KindVideo), anonymous("m2", KindVideo))
	f.mustApply(published("ann1", Camera))
	f.want(nil) // two media, one publication
	f.remove("m1")
	f.want(map[string]string{name("ann1", Camera): "m2"})
	f.mustApply(published("bob1", Camera), published("cat1", Camera))
	f.put(anonymous("m3", KindVideo))
	f.want(map[string]string{name("ann1", Camera): "m2"}) // one media, two publications
	f.mustApply(unpublished("cat1", Camera))
	f.want(map[string]string{name("ann1", Camera): "m2", name("bob1", Camera): "m3"})

	// Media that once had an owner is nobody else's.
	f.mustApply(unpublished("bob1", Camera), published("dan1", Camera))
	f.want(map[string]string{name("ann1", Camera): "m2"})
	// Nor is media whose words name somebody who is not known yet.
	f.put(of("m4", "eve1", Camera))
	f.want(map[string]string{name("ann1", Camera): "m2"})
}

func testLeave(t *testing.T, newStore makeStore) {
	f := newFixture(t, newStore(t, atOnce))
	f.mustApply(joined("ann1"), joined("bob1"), published("ann1", Camera))
	var gone []func() (Track, error)
	for range 10 {
		for source := Camera; source <= ScreenShareAudio; source++ {
			gone = append(gone, f.waitFor(Selector{ParticipantID: "ann1", Source: source}))
		}
	}
	other := f.waitFor(Selector{ParticipantID: "bob1", Source: Camera})
	f.mustApply(left("ann1"))
	for _, wait := range gone {
		_, err := wait()
		wantErr(t, err, ErrParticipantLeft)
	}
	if a := f.events(published("ann1", Camera)); len(a.Ignored) != 1 || a.Ignored[0].Reason != ignoredLeft {
		t.Fatalf("a publication after the leave: %+v", a)
	}
	_, err := f.store.Resolve(f.ctx, f.key, Selector{ParticipantID: "ann1", Source: Camera})
	wantErr(t, err, ErrParticipantLeft)

	f.mustApply(published("bob1", Camera))
	f.put(of("m1", "bob1", Camera))
	if _, err := other(); err != nil {
		t.Fatalf("another participant's waiter: %v", err)
	}
	f.mustApply(joined("ann1"), published("ann1", Camera))
	f.put(of("m2", "ann1", Camera))
	byID := f.resolve("ann1", Camera)
	f.mustApply(left("ann1"))
	_, err = f.store.Resolve(f.ctx, f.key, Selector{TrackID: byID.ID})
	wantErr(t, err, ErrParticipantLeft)
	f.want(map[string]string{name("bob1", Camera): "m1"})
}

func testPaused(t *testing.T, newStore makeStore) {
	f := newFixture(t, newStore(t, atOnce))
	f.mustApply(Event{Published: &Publication{Participant: user("ann1"), Source: Camera, Muted: true}})
	m := of("m1", "ann1", Camera)
	m.Active = false
	f.put(m)
	states := []TrackState{f.resolve("ann1", Camera).State}
	f.mustApply(Event{Unmuted: &PublicationRef{"ann1", Camera}})
	states = append(states, f.resolve("ann1", Camera).State)
	m.Active = true
	f.put(m)
	states = append(states, f.resolve("ann1", Camera).State)
	f.mustApply(Event{Muted: &PublicationRef{"ann1", Camera}})
	states = append(states, f.resolve("ann1", Camera).State)
	if got, want := fmt.Sprint(states), fmt.Sprint([]TrackState{TrackPaused, TrackPaused, TrackLive, TrackPaused}); got != want {
		t.Errorf("states are %s, not %s", got, want)
	}
}

func testRenamedToAnother(t *testing.T, newStore makeStore) {
	f := newFixture(t, newStore(t, atOnce))
	f.mustApply(published("ann1", Camera), published("bob1", Camera))
	f.put(of("m1", "ann1", Camera))
	before := f.resolve("ann1", Camera)
	f.put(of("m1", "bob1", Camera))
	got := f.resolve("bob1", Camera)
	if got.ID == before.ID {
		t.Errorf("bob's track has the id of ann's")
	}
	f.want(map[string]string{name("bob1", Camera): "m1"})
}

// testRenamedThenLeft: media that was renamed to another participant is that one's, and not held when the former one leaves.
func testRenamedThenLeft(t *testing.T, newStore makeStore) {
	for _, plainly := range []bool{false, true} {
		f := newFixture(t, newStore(t, atOnce))
		f.mustApply(published("bob1", Camera), joined("ann1"))
		f.put(of("m1", "bob1", Camera))
		renamed := of("m1", "ann1", Camera)
		if plainly {
			renamed.StreamID = "ann1"
		}
		f.put(renamed)
		f.mustApply(left("bob1"), published("ann1", Camera))
		if !plainly { // words without a source wait for what elimination finds
			f.want(map[string]string{name("ann1", Camera): "m1"})
		} else if got := f.tracks(); len(got) != 1 {
			t.Errorf("known are %+v", got)
		}
	}
}

func testPhantom(t *testing.T, newStore makeStore) {
	f := newFixture(t, newStore(t, atOnce))
	phantom := Media{ID: "m1", Kind: KindVideo, Generation: 1, Active: true}
	f.put(phantom)
	f.mustApply(published("ann1", Camera))
	f.want(nil)
	if got := f.tracks(); len(got) != 1 {
		t.Fatalf("the phantom is listed: %+v", got)
	}
	identified := of("m1", "ann1", Camera)
	f.put(identified)
	f.want(map[string]string{name("ann1", Camera): "m1"})
}

func testClosed(t *testing.T, newStore makeStore) {
	f := newFixture(t, newStore(t, atOnce))
	wait := f.waitFor(Selector{ParticipantID: "ann1", Source: Camera})
	w, err := f.store.Watch(f.ctx, f.key, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Next(f.ctx); err != nil {
		t.Fatal(err)
	}
	next := make(chan error, 1)
	go func() {
		_, err := w.Next(f.ctx)
		next <- err
	}()
	for range 2 {
		if err := f.store.Close(); err != nil {
			t.Fatal(err)
		}
	}
	_, err = wait()
	wantErr(t, err, ErrClosed)
	wantErr(t, <-next, ErrClosed)
	w.Close()
	w.Close()
	_, err = f.store.GetSession(f.ctx, f.key)
	wantErr(t, err, ErrClosed)
}
