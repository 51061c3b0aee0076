package resolverstore

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

func testHostile(t *testing.T, newStore makeStore) {
	f := newFixture(t, newStore(t, atOnce))
	harmless := []string{"a:b", "*", "{}", "{a}{b}", "a\nb\r\n", "[x]?", "a:TRACK_TYPE_VIDEO", "PA_|", "\x00", "../..", strings.Repeat("x", 512)}
	var m []Media
	for i, id := range harmless {
		f.mustApply(Event{Published: &Publication{Participant: Participant{ID: id}, Source: Camera}})
		m = append(m, of(fmt.Sprint("m", i), id, Camera))
	}
	f.put(m...)
	for i, id := range harmless {
		if got := f.resolve(id, Camera); got.Media.ID != fmt.Sprint("m", i) || got.Publication.Participant.ID != id {
			t.Errorf("%q is %+v", id, got)
		}
	}
	for _, id := range []string{"", "\xff\xfe", strings.Repeat("x", 4096)} {
		a := f.events(
			Event{Published: &Publication{Participant: Participant{ID: id}, Source: Camera}},
			Event{Published: &Publication{Participant: Participant{ID: "ok", UserID: id + "\xff"}, Source: Camera}},
			Event{Unpublished: &PublicationRef{ParticipantID: id}}, Event{Joined: &Participant{ID: id}}, Event{Left: id},
			Event{Snapshot: nil}, Event{Left: "a", Joined: &Participant{ID: "a"}})
		if len(a.Ignored) != 7 {
			t.Errorf("%.8q: ignored are %+v", id, a.Ignored)
		}
		for _, ig := range a.Ignored {
			if ig.Reason == "" {
				t.Error("an event is ignored without a reason")
			}
		}
	}
	for _, s := range []Source{SourceUnknown, 5, 77, 255} {
		if a := f.events(Event{Published: &Publication{Participant: user("ok1"), Source: s}}); len(a.Ignored) != 1 {
			t.Errorf("source %d: %+v", s, a)
		}
	}
	before := len(f.tracks())
	hostile := Media{ID: "h", Kind: KindVideo, Generation: 1, Active: true, MID: strings.Repeat("m", 9999), StreamID: "\xff", TrackID: "\xc3("}
	f.put(hostile)
	if got := len(f.tracks()); got != before {
		t.Errorf("hostile media made %d tracks", got-before)
	}
	for _, sel := range []Selector{{}, {ParticipantID: "a"}, {Source: Camera}, {UserID: "a", Source: 9}} {
		_, err := f.store.Resolve(f.ctx, f.key, sel)
		wantErr(t, err, ErrInvalidSelector)
	}
}

func testLimits(t *testing.T, newStore makeStore) {
	f := newFixture(t, newStore(t, Config{MaxParticipants: 2, MaxPublications: 3, MaxMedia: 2, Settle: -1}))
	f.mustApply(published("ann1", Camera), published("bob1", Camera), published("bob1", Microphone))
	a := f.events(joined("cat1"), published("cat1", Camera), published("ann1", Microphone), published("ann1", Camera))
	if len(a.Ignored) != 3 || a.Ignored[0].Reason != ignoredLimit || !a.Ignored[0].Limit || a.Ignored[2].Index != 2 {
		t.Fatalf("over the limits: %+v", a.Ignored)
	}
	err := f.store.ApplyMedia(f.ctx, f.key, f.fence, MediaDiff{Put: []Media{
		of("m1", "ann1", Camera), of("m2", "bob1", Camera), of("m3", "bob1", Microphone),
	}})
	wantErr(t, err, ErrLimitReached)
	f.want(map[string]string{name("ann1", Camera): "m1", name("bob1", Camera): "m2"})
	f.mustApply(left("ann1"), joined("cat1"))
}

func testSnapshot(t *testing.T, newStore makeStore) {
	f := newFixture(t, newStore(t, atOnce))
	f.mustApply(published("ann1", Camera), published("ann1", Microphone), published("bob1", Camera), joined("cat1"))
	f.put(of("m1", "ann1", Camera), of("m2", "ann1", Microphone), of("m3", "bob1", Camera))
	kept := f.resolve("ann1", Camera)
	waitGone := f.waitFor(Selector{ParticipantID: "bob1", Source: Microphone})
	waitNew := f.waitFor(Selector{ParticipantID: "dan1", Source: Camera})
	snapshot := Event{Snapshot: &Snapshot{
		Participants: []Participant{user("ann1")},
		Publications: []Publication{
			{Participant: user("ann1"), Source: Camera, Muted: true}, {Participant: user("dan1"), Source: Camera},
		},
	}}
	f.mustApply(snapshot)
	_, err := waitGone()
	wantErr(t, err, ErrParticipantLeft)
	if got := f.resolve("ann1", Camera); got.ID != kept.ID || got.State != TrackPaused {
		t.Errorf("the camera that goes on is %+v", got)
	}
	all := f.tracks()
	if len(all) != 3 || all["media m2"].State != TrackPending || all[name("dan1", Camera)].State != TrackPending {
		t.Errorf("a ghost is left: %+v", all)
	}
	f.put(of("m4", "dan1", Camera))
	if got, err := waitNew(); err != nil || got.Media.ID != "m4" {
		t.Errorf("a waiter from before the snapshot: %+v %v", got, err)
	}
	before, _ := f.store.GetSession(f.ctx, f.key)
	f.mustApply(snapshot)
	if after, _ := f.store.GetSession(f.ctx, f.key); after.Revision != before.Revision {
		t.Error("the same snapshot again changed something")
	}
	f.mustApply(Event{Snapshot: &Snapshot{}})
	if all := f.tracks(); len(all) != 0 {
		t.Errorf("after an empty snapshot: %+v", all)
	}
}

func testSequence(t *testing.T, newStore makeStore) {
	f := newFixture(t, newStore(t, atOnce))
	at := func(sequence uint64, e Event) Event {
		e.Sequence = sequence
		return e
	}
	f.mustApply(at(1, joined("ann1")), at(3, published("ann1", Camera)), at(4, published("bob1", Camera)))
	f.put(of("m1", "ann1", Camera))
	old := []Event{
		at(3, published("ann1", Camera)), at(2, unpublished("ann1", Camera)), at(1, left("ann1")), at(4, left("bob1")),
	}
	if a := f.events(old...); len(a.Ignored) != len(old) || a.Ignored[1].Reason != ignoredSequence {
		t.Fatalf("old events: %+v", a.Ignored)
	}
	f.want(map[string]string{name("ann1", Camera): "m1"})

	// A snapshot of 5 that comes after the 6 of bob: bob is as the 6 says, ann as the snapshot.
	f.mustApply(at(6, published("bob1", Microphone)), at(5, Event{Snapshot: &Snapshot{}}))
	all := f.tracks()
	if len(all) != 2 || all[name("bob1", Microphone)].ID == "" || all[name("bob1", Camera)].ID == "" {
		t.Fatalf("a late snapshot: %+v", all)
	}
	if a := f.events(at(5, Event{Snapshot: &Snapshot{}}), at(4, joined("cat1")), at(5, joined("ann1"))); len(a.Ignored) != 3 {
		t.Fatalf("from before the snapshot: %+v", a.Ignored)
	}
	f.mustApply(at(7, joined("ann1")), at(9, left("ann1")))
	if a := f.events(at(8, joined("ann1"))); len(a.Ignored) != 1 {
		t.Fatalf("a join from before the leave: %+v", a)
	}
}

func testWatch(t *testing.T, newStore makeStore) {
	f := newFixture(t, newStore(t, atOnce))
	w, err := f.store.Watch(f.ctx, f.key, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	next := func() Change {
		t.Helper()
		c, err := w.Next(f.ctx)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	if c := next(); !c.Snapshot || len(c.Tracks) != 0 {
		t.Fatalf("first: %+v", c)
	}
	f.mustApply(published("ann1", Camera))
	pending := next()
	if len(pending.Tracks) != 1 || pending.Tracks[0].State != TrackPending || pending.Snapshot {
		t.Fatalf("published: %+v", pending)
	}
	// States in between merge; the removal is told.
	f.put(of("m1", "ann1", Camera))
	f.mustApply(Event{Muted: &PublicationRef{"ann1", Camera}}, left("ann1"), published("bob1", Camera))
	f.mustApply(Event{Muted: &PublicationRef{"bob1", Camera}})
	c := next()
	if len(c.Removed) != 1 || c.Removed[0].ID != pending.Tracks[0].ID || c.Removed[0].EndReason != TrackParticipantLeft {
		t.Fatalf("removed: %+v", c)
	}
	if len(c.Tracks) != 1 || !c.Tracks[0].Publication.Muted || c.Tracks[0].Revision != c.Revision {
		t.Fatalf("merged: %+v", c)
	}
	done := make(chan error, 1)
	go func() {
		_, err := w.Next(f.ctx)
		done <- err
	}()
	w.Close()
	if err := <-done; !errors.Is(err, ErrClosed) {
		t.Fatalf("closed: %v", err)
	}
}

func testWatchRevisions(t *testing.T, newStore makeStore) {
	f := newFixture(t, newStore(t, Config{Settle: -1, MaxTombstones: 4}))
	f.mustApply(published("ann1", Camera))
	first := func(after uint64) Change {
		t.Helper()
		w, err := f.store.Watch(f.ctx, f.key, after)
		if err != nil {
			t.Fatal(err)
		}
		defer w.Close()
		c, err := w.Next(f.ctx)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	start := first(0)
	if c := first(start.Revision + 100); !c.Snapshot || len(c.Tracks) != 1 {
		t.Errorf("a revision of the future: %+v", c)
	}
	f.mustApply(published("bob1", Camera), left("cat1"))
	f.mustApply(left("bob1"))
	if c := first(start.Revision); c.Snapshot || len(c.Removed) != 1 || len(c.Tracks) != 0 {
		t.Errorf("from where another watcher was: %+v", c)
	}
	for i := range 8 {
		id := fmt.Sprint("dan", i)
		f.mustApply(published(id, Camera))
		f.mustApply(left(id))
	}
	if c := first(start.Revision); !c.Snapshot || len(c.Tracks) != 1 {
		t.Errorf("a revision that is too old: %+v", c)
	}
}

func testParticipants(t *testing.T, newStore makeStore) {
	f := newFixture(t, newStore(t, atOnce))
	f.mustApply(Event{Joined: &Participant{ID: "ann1", UserID: "ann", DisplayName: "Ann", LookupPrefix: "pre"}})
	f.mustApply(Event{Published: &Publication{Participant: Participant{ID: "ann1"}, Source: Camera}})
	m := of("m1", "pre", Camera)
	f.put(m)
	first := f.resolve("ann1", Camera)
	if p := first.Publication.Participant; p.UserID != "ann" || p.DisplayName != "Ann" || p.LookupPrefix != "pre" {
		t.Errorf("what a publication left out is lost: %+v", p)
	}
	f.mustApply(Event{Updated: &Participant{ID: "ann1", UserID: "ann", DisplayName: "Anna", LookupPrefix: "pre"}})
	if got := f.resolve("ann1", Camera); got.ID != first.ID || got.Publication.Participant.DisplayName != "Anna" || got.Revision <= first.Revision {
		t.Errorf("renamed: %+v", got)
	}
	if a := f.events(Event{Updated: &Participant{ID: "bob1"}}); len(a.Ignored) != 1 || a.Ignored[0].Reason != ignoredUnknown {
		t.Errorf("an update of nobody: %+v", a)
	}
	if first.Publication.Participant.DisplayName = "changed by the caller"; f.resolve("ann1", Camera).Publication.Participant.DisplayName != "Anna" {
		t.Error("the caller's copy is the store's")
	}
}

func testExplicitIDs(t *testing.T, newStore makeStore) {
	f := newFixture(t, newStore(t, atOnce))
	camera := &Publication{Participant: user("ann1"), Source: Camera, MID: "mid-m2"}
	share := &Publication{Participant: user("ann1"), Source: ScreenShare, TrackID: "track-m1"}
	f.mustApply(Event{Published: camera}, Event{Published: share})
	f.put(anonymous("m1", KindVideo), anonymous("m2", KindVideo))
	f.want(map[string]string{name("ann1", Camera): "m2", name("ann1", ScreenShare): "m1"})
	before := f.resolve("ann1", ScreenShare)

	// The same source under another track id is other media, though the old one is still there.
	share.TrackID = "track-m3"
	f.mustApply(Event{Published: share})
	f.put(anonymous("m3", KindVideo))
	if got := f.resolve("ann1", ScreenShare); got.Media.ID != "m3" || got.ID == before.ID {
		t.Errorf("republished under another track id: %+v", got)
	}

	// A mid that was recycled for another participant, whom the msid names, is not the old one's.
	f.mustApply(published("bob1", Camera))
	recycled := of("m2", "bob1", Camera)
	f.put(recycled)
	f.want(map[string]string{name("bob1", Camera): "m2", name("ann1", ScreenShare): "m3"})

	// LiveKit's words.
	f.mustApply(Event{Published: &Publication{Participant: Participant{ID: "PA_x"}, Source: Microphone, TrackID: "TR_a"}},
		Event{Published: &Publication{Participant: Participant{ID: "PA_x"}, Source: ScreenShareAudio, TrackID: "TR_b"}})
	one, two := anonymous("m5", KindAudio), anonymous("m6", KindAudio)
	one.StreamID, one.TrackID, two.StreamID = "PA_x", "TR_b", "PA_x|TR_a"
	f.put(one, two)
	if got := f.tracks(); got[name("PA_x", Microphone)].Media.ID != "m6" || got[name("PA_x", ScreenShareAudio)].Media.ID != "m5" {
		t.Errorf("LiveKit's words: %+v", got)
	}
}

func testGeneration(t *testing.T, newStore makeStore) {
	f := newFixture(t, newStore(t, atOnce))
	f.mustApply(published("ann1", Camera), published("bob1", Camera))
	f.put(of("m1", "ann1", Camera))
	before := f.resolve("ann1", Camera)
	next := of("m2", "ann1", Camera)
	next.Generation = 2
	f.put(next, of("late", "bob1", Camera)) // the second is of the older generation
	after := f.resolve("ann1", Camera)
	if after.Media.ID != "m2" || after.ID == before.ID {
		t.Errorf("%+v became %+v", before, after)
	}
	f.want(map[string]string{name("ann1", Camera): "m2"})
	f.remove("m2")
	f.want(nil) // m1 is still received, but never handed out again
}
