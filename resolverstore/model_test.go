package resolverstore

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"
)

// model is what should be true of a call, told much simpler than the stores do: it knows no tracks, no claims and no rules, only who is
// there, what they publish, and what each received media says that it is. Every media names its owner and source.
type model struct {
	gone    map[string]bool             // who left a short while ago
	names   map[string]string           // display names of who is there
	muted   map[PublicationRef]bool     // of what is published
	media   map[string]*modelMedia      // what is received now
	owners  map[string][]PublicationRef // what each media ever said that it was
	newest  uint64
	removed map[string]bool
}

type modelMedia struct {
	owner      PublicationRef
	generation uint64
	active     bool
}

func newModel() *model {
	return &model{
		gone: map[string]bool{}, names: map[string]string{}, muted: map[PublicationRef]bool{}, media: map[string]*modelMedia{},
		owners: map[string][]PublicationRef{}, newest: 1, removed: map[string]bool{},
	}
}

func (m *model) publish(ref PublicationRef) {
	if !m.gone[ref.ParticipantID] {
		m.muted[ref] = false
		if _, known := m.names[ref.ParticipantID]; !known {
			m.names[ref.ParticipantID] = ""
		}
	}
}

func (m *model) leave(id string) {
	m.gone[id] = true
	delete(m.names, id)
	maps.DeleteFunc(m.muted, func(ref PublicationRef, _ bool) bool { return ref.ParticipantID == id })
}

// of returns the media of the newest generation that are a publication's.
func (m *model) of(ref PublicationRef) (ids []string) {
	for id, one := range m.media {
		if one.owner == ref && one.generation == m.newest {
			ids = append(ids, id)
		}
	}
	return ids
}

// check compares what a pod lists with the model.
func (m *model) check(list []Track) error {
	listed := map[PublicationRef]Track{}
	for _, t := range list {
		if t.Publication == nil {
			continue
		}
		ref := PublicationRef{t.Publication.Participant.ID, t.Publication.Source}
		if _, twice := listed[ref]; twice {
			return fmt.Errorf("%v is listed twice", ref)
		}
		listed[ref] = t
		muted, published := m.muted[ref]
		if !published || t.Publication.Muted != muted || t.Publication.Participant.DisplayName != m.names[ref.ParticipantID] {
			return fmt.Errorf("%+v is listed; published %v, muted %v, name %q", t.Publication, published, muted, m.names[ref.ParticipantID])
		}
		if t.Media == nil {
			continue
		}
		received := m.media[t.Media.ID]
		if received == nil || received.owner != ref {
			return fmt.Errorf("media %s of %+v is delivered as %v's", t.Media.ID, received, ref)
		}
		if live := t.State == TrackLive; live != (!muted && received.active) || !live && t.State != TrackPaused {
			return fmt.Errorf("the state is %d of %+v, muted %v", t.State, received, muted)
		}
	}
	for ref := range m.muted {
		t, ok := listed[ref]
		if !ok {
			return fmt.Errorf("%v is published and not listed", ref)
		}
		if ids := m.of(ref); len(ids) == 1 && (t.Media == nil || t.Media.ID != ids[0]) {
			return fmt.Errorf("%v has %+v, not %s", ref, t.Media, ids[0])
		}
	}
	return nil
}

// world plays random actions on the pods of one session, and on the model.
type world struct {
	*model
	pods []*fixture
	next int
	// pass lets time go by on every pod, and done lets what is due be done.
	pass func(time.Duration)
	done func()
}

func (w *world) pod(t *rapid.T) *fixture { return rapid.SampledFrom(w.pods).Draw(t, "pod") }

func (w *world) who(t *rapid.T) string {
	return rapid.SampledFrom([]string{"ann1", "bob1", "cat1"}).Draw(t, "who")
}

func (w *world) ref(t *rapid.T) PublicationRef {
	return PublicationRef{w.who(t), rapid.SampledFrom([]Source{Camera, Microphone, ScreenShare}).Draw(t, "source")}
}

func (w *world) received(t *rapid.T) string {
	ids := slices.Sorted(maps.Keys(w.media))
	if len(ids) == 0 {
		t.Skip("nothing is received")
	}
	return rapid.SampledFrom(ids).Draw(t, "media")
}

func (w *world) put(t *rapid.T, id string, one modelMedia) {
	w.media[id], w.newest = &one, max(w.newest, one.generation)
	media := of(id, one.owner.ParticipantID, one.owner.Source)
	media.Generation, media.Active = one.generation, one.active
	w.pods[0].put(media) // media are written by the owner of the session
}

func (w *world) actions() map[string]func(*rapid.T) {
	return map[string]func(*rapid.T){
		"publish": func(t *rapid.T) {
			ref := w.ref(t)
			w.publish(ref)
			pub := Publication{Participant: user(ref.ParticipantID), Source: ref.Source}
			pub.Participant.DisplayName = w.names[ref.ParticipantID]
			w.pod(t).events(Event{Published: &pub})
		},
		"unpublish": func(t *rapid.T) {
			ref := w.ref(t)
			delete(w.muted, ref)
			w.pod(t).events(Event{Unpublished: &ref})
		},
		"mute": func(t *rapid.T) {
			ref := w.ref(t)
			if _, ok := w.muted[ref]; ok {
				w.muted[ref] = true
			}
			w.pod(t).events(Event{Muted: &ref})
		},
		"join": func(t *rapid.T) {
			p := user(w.who(t))
			delete(w.gone, p.ID)
			w.names[p.ID] = ""
			w.pod(t).events(Event{Joined: &p})
		},
		"rename": func(t *rapid.T) {
			p := user(w.who(t))
			p.DisplayName = fmt.Sprint("name ", rapid.IntRange(0, 9).Draw(t, "name"))
			if _, here := w.names[p.ID]; here {
				w.names[p.ID] = p.DisplayName
			}
			w.pod(t).events(Event{Updated: &p})
		},
		"leave": func(t *rapid.T) {
			id := w.who(t)
			w.leave(id)
			w.pod(t).events(left(id))
		},
		"snapshot": func(t *rapid.T) {
			ref := w.ref(t)
			for _, id := range slices.Collect(maps.Keys(w.names)) {
				if id != ref.ParticipantID {
					w.leave(id)
				}
			}
			maps.DeleteFunc(w.muted, func(r PublicationRef, _ bool) bool { return r != ref })
			delete(w.gone, ref.ParticipantID)
			w.names[ref.ParticipantID] = ""
			w.muted[ref] = false
			w.pod(t).events(Event{Snapshot: &Snapshot{
				Participants: []Participant{user(ref.ParticipantID)},
				Publications: []Publication{{Participant: user(ref.ParticipantID), Source: ref.Source}},
			}})
		},
		"receive": w.receive, "change": w.change,
		"remove": func(t *rapid.T) {
			id := w.received(t)
			delete(w.media, id)
			w.pods[0].remove(id)
		},
		"expire": func(*rapid.T) {
			w.pass(11 * time.Second)
			clear(w.gone)
		},
		"": w.agree,
	}
}

func (w *world) receive(t *rapid.T) {
	w.next++
	generation := w.newest + uint64(rapid.IntRange(0, 9).Draw(t, "newer")/9)
	w.put(t, fmt.Sprint("m", w.next), modelMedia{w.ref(t), generation, rapid.Bool().Draw(t, "active")})
}

func (w *world) change(t *rapid.T) {
	id := w.received(t)
	one := *w.media[id]
	if rapid.Bool().Draw(t, "renamed") {
		one.owner = w.ref(t)
		if one.owner.Source.Kind() != w.media[id].owner.Source.Kind() {
			t.Skip("media never change their kind")
		}
	}
	one.active = rapid.Bool().Draw(t, "active")
	w.put(t, id, one)
}

// agree compares every pod with the model.
func (w *world) agree(t *rapid.T) {
	w.pass(time.Millisecond)
	w.done()
	for i, f := range w.pods {
		list, _, err := f.store.ListTracks(f.ctx, f.key, "", 1000)
		if err != nil {
			t.Fatal(err)
		}
		if err := w.check(list); err != nil {
			t.Fatalf("pod %d: %v; media %v", i, err, w.media)
		}
	}
}

var modelConfig = Config{Settle: -1, HoldTTL: time.Nanosecond, TombstoneTTL: 10 * time.Second, RepublishTTL: 5 * time.Second, HistoryTTL: 15 * time.Second}

// TestR18_MemoryAgreesWithAModel compares the memory store with the model, on a simulated clock.
func TestR18_MemoryAgreesWithAModel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rapid.Check(struct{ rapid.TB }{t}, func(rt *rapid.T) { // without the deadline, which a bubble does not tell
			s := NewMemory(modelConfig)
			defer func() { _ = s.Close() }()
			f := newFixtureIn(t.Context(), t, s)
			w := &world{model: newModel(), pods: []*fixture{f}, pass: time.Sleep, done: synctest.Wait}
			rt.Repeat(w.actions())
		})
	})
}

// TestR18_PodsAgreeWithAModel compares two pods on one Redis with the model: events are told to either, at random. Time is moved by
// moving what the pods take for the server's.
func TestR18_PodsAgreeWithAModel(t *testing.T) {
	t.Parallel()
	a, b := startRedis(t).pair(quiet(modelConfig))
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	sessions := 0
	rapid.Check(t, func(rt *rapid.T) {
		sessions++
		f := &fixture{t: t, ctx: ctx, store: a, key: SessionKey{ID: fmt.Sprint("call", sessions)}, fence: Fence{"pod", 7}}
		if _, _, err := a.CreateSession(ctx, Session{Key: f.key, Fence: f.fence}); err != nil {
			rt.Fatal(err)
		}
		defer func() { _ = a.EndSession(ctx, f.key, SessionDeleted) }()
		w := &world{model: newModel(), pods: []*fixture{f, f.on(b)}, pass: func(d time.Duration) {
			for _, pod := range []*Redis{a, b} {
				pod.pulse.mu.Lock()
				pod.pulse.offset += d
				pod.pulse.mu.Unlock()
			}
		}}
		w.done = func() {
			f.tracks() // what b wrote may still be on its way
			if r, _ := a.held(f.key); r != nil {
				a.tick(r)
				a.release(r)
			}
		}
		rt.Repeat(w.actions())
	})
}
