package resolverstore

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"
)

// TestR8_NeverSwapped plays the four events of camera and screen share, and of microphone and screen-share audio, in 1,000
// random orders. With words or explicit ids every order ends fully resolved. Without, every order of a burst is ambiguous, and waits.
func TestR8_NeverSwapped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rng := rand.New(rand.NewPCG(8, 8))
		for round := range 1000 {
			hints := []string{"words", "mid", "track", "participant", "none"}[round%5]
			two := [][2]Source{{Camera, ScreenShare}, {Microphone, ScreenShareAudio}}[round%2]
			m := NewMemory(Config{})
			f := newFixtureIn(t.Context(), t, m)
			var steps []func()
			for i, s := range two {
				media, pub := eventsOf(hints, fmt.Sprint("m", i), s)
				steps = append(steps, func() { f.put(media) }, func() { f.mustApply(Event{Published: &pub}) })
			}
			rng.Shuffle(len(steps), func(i, j int) { steps[i], steps[j] = steps[j], steps[i] })
			for _, step := range steps {
				step()
			}
			time.Sleep(time.Second)
			all := f.tracks()
			for i, s := range two {
				got := all[name("ann1", s)]
				ambiguous := hints == "participant" || hints == "none"
				if ambiguous && got.Media != nil || !ambiguous && (got.Media == nil || got.Media.ID != fmt.Sprint("m", i)) {
					t.Fatalf("round %d, hints %s: source %d is %+v", round, hints, s, got)
				}
			}
			_ = m.Close()
		}
	})
}

func eventsOf(hints, id string, s Source) (Media, Publication) {
	media, pub := anonymous(id, s.Kind()), Publication{Participant: user("ann1"), Source: s}
	switch hints {
	case "words":
		media = of(id, "ann1", s)
	case "mid":
		pub.MID = media.MID
	case "track":
		pub.TrackID = media.TrackID
	case "participant":
		media.StreamID = "ann1"
	}
	return media, pub
}

// machine is the property test's world: a store, and what is true of the call.
type machine struct {
	f          *fixture
	people     []string
	truth      map[string]PublicationRef // of each media that was ever received and whose words tell
	alive      map[string]bool
	born       map[string]uint64 // generation of each media
	joinedWith map[string]string // track id -> media id when last seen joined
	ended      map[string]bool   // track ids
	generation uint64
	next       int
	watcher    Watcher
	view       map[string]Track // the watcher's
	seen       uint64
}

func (m *machine) participant(t *rapid.T) string {
	return rapid.SampledFrom(m.people).Draw(t, "participant")
}

func (m *machine) source(t *rapid.T) Source {
	return rapid.SampledFrom([]Source{Camera, Microphone, ScreenShare, ScreenShareAudio}).Draw(t, "source")
}

func (m *machine) actions() map[string]func(*rapid.T) {
	return map[string]func(*rapid.T){
		"publish":   func(t *rapid.T) { m.f.events(published(m.participant(t), m.source(t))) },
		"unpublish": func(t *rapid.T) { m.f.events(unpublished(m.participant(t), m.source(t))) },
		"mute":      func(t *rapid.T) { m.f.events(Event{Muted: &PublicationRef{m.participant(t), m.source(t)}}) },
		"join":      func(t *rapid.T) { m.f.events(joined(m.participant(t))) },
		"leave":     func(t *rapid.T) { m.f.events(left(m.participant(t))) },
		"receive":   m.receive,
		"rename":    m.rename,
		"remove": func(t *rapid.T) {
			if id := m.anyMedia(t); id != "" {
				delete(m.alive, id)
				m.f.remove(id)
			}
		},
		"putDead": func(t *rapid.T) { m.putDead(t) },
		"generation": func(t *rapid.T) {
			m.generation++
			m.receive(t)
		},
		"snapshot": func(t *rapid.T) {
			id, s := m.participant(t), m.source(t)
			m.f.events(Event{Snapshot: &Snapshot{Publications: []Publication{{Participant: user(id), Source: s}}}})
		},
		"watch": func(t *rapid.T) { m.watch(t) },
		"":      m.check,
	}
}

func (m *machine) anyMedia(t *rapid.T) string {
	ids := make([]string, 0, len(m.alive))
	for id := range m.alive {
		ids = append(ids, id)
	}
	if len(ids) == 0 {
		return ""
	}
	slices.Sort(ids)
	return rapid.SampledFrom(ids).Draw(t, "media")
}

func (m *machine) receive(t *rapid.T) {
	m.next++
	m.putAs(t, fmt.Sprint("m", m.next), m.generation)
}

func (m *machine) rename(t *rapid.T) {
	if id := m.anyMedia(t); id != "" {
		m.putAs(t, id, m.born[id])
	}
}

func (m *machine) putAs(t *rapid.T, id string, generation uint64) {
	owner := PublicationRef{m.participant(t), m.source(t)}
	media := of(id, owner.ParticipantID, owner.Source)
	m.truth[id] = owner
	media.Generation, media.Active = generation, rapid.Bool().Draw(t, "active")
	m.alive[id], m.born[id] = true, generation
	m.f.put(media)
}

func (m *machine) putDead(t *rapid.T) {
	if m.next == 0 {
		return
	}
	id := fmt.Sprint("m", rapid.IntRange(1, m.next).Draw(t, "dead"))
	if !m.alive[id] {
		owner := m.truth[id]
		media := of(id, owner.ParticipantID, owner.Source)
		media.Generation = m.generation
		m.f.put(media)
	}
}

// check looks at all tracks after every action.
func (m *machine) check(t *rapid.T) {
	list, _, err := m.f.store.ListTracks(m.f.ctx, m.f.key, "", 1000)
	if err != nil {
		t.Fatal(err)
	}
	used := map[string]string{}
	now := map[string]string{}
	for _, tr := range list {
		if m.ended[tr.ID] {
			t.Fatalf("track %s came back", tr.ID)
		}
		if tr.Media == nil {
			continue
		}
		id := tr.Media.ID
		if other, twice := used[id]; twice {
			t.Fatalf("media %s is in tracks %s and %s", id, other, tr.ID)
		}
		used[id] = tr.ID
		if !m.alive[id] {
			t.Fatalf("dead media %s is in %+v", id, tr)
		}
		if tr.Publication == nil {
			continue
		}
		if owner := (PublicationRef{tr.Publication.Participant.ID, tr.Publication.Source}); owner != m.truth[id] {
			t.Fatalf("media of %v is delivered as %v's", m.truth[id], owner)
		}
		now[tr.ID] = id
		if m.joinedWith[tr.ID] != id && m.born[id] < m.newest() {
			t.Fatalf("media %s of an older generation was handed out", id)
		}
	}
	m.noteEnded(list)
	m.joinedWith = now
}

// newest is the newest generation that was received.
func (m *machine) newest() (n uint64) {
	for _, g := range m.born {
		n = max(n, g)
	}
	return n
}

func (m *machine) noteEnded(list []Track) {
	for id := range m.joinedWith {
		if !slices.ContainsFunc(list, func(t Track) bool { return t.ID == id }) {
			m.ended[id] = true
		}
	}
}

// watch lets the watcher catch up, and compares what it knows with what is listed.
func (m *machine) watch(t *rapid.T) {
	list, revision, err := m.f.store.ListTracks(m.f.ctx, m.f.key, "", 1000)
	if err != nil {
		t.Fatal(err)
	}
	for m.seen != revision || m.view == nil {
		c, err := m.watcher.Next(m.f.ctx)
		if err != nil {
			t.Fatal(err)
		}
		if c.Snapshot {
			m.view = map[string]Track{}
		}
		for _, tr := range c.Tracks {
			m.view[tr.ID] = tr
		}
		for _, tr := range c.Removed {
			delete(m.view, tr.ID)
		}
		m.seen = c.Revision
	}
	if len(list) != len(m.view) {
		t.Fatalf("the watcher knows %+v, listed are %+v", m.view, list)
	}
	for _, tr := range list {
		if known := m.view[tr.ID]; !sameTrack(known, tr) || known.Revision != tr.Revision {
			t.Fatalf("the watcher knows %+v, listed is %+v", known, tr)
		}
	}
}

// TestR18_AnyInterleaving: whatever happens in whatever order, no media is delivered as another owner's, a dead one or one of
// an older generation is never handed out, no track comes back, and a watcher knows what is listed.
func TestR18_AnyInterleaving(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		s := NewMemory(Config{Settle: -1, HoldTTL: time.Nanosecond, MaxTombstones: 8})
		defer func() { _ = s.Close() }()
		ctx, cancel := context.WithTimeout(t.Context(), hang)
		defer cancel()
		m := &machine{
			f: newFixtureIn(ctx, t, s), people: []string{"ann1", "ann2", "bob1"}, truth: map[string]PublicationRef{},
			alive: map[string]bool{}, born: map[string]uint64{}, joinedWith: map[string]string{}, ended: map[string]bool{}, generation: 1,
		}
		m.watcher, _ = s.Watch(ctx, m.f.key, 0)
		defer m.watcher.Close()
		rt.Repeat(m.actions())
		m.watch(rt)
	})
}
