package resolverstore

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

// fieldsOf is the hash that a state is stored as.
func fieldsOf(s *state) map[string]string {
	out := map[string]string{}
	play(out, s.diff(nil))
	return out
}

// play does to a hash what Redis does.
func play(hash map[string]string, d delta) {
	for _, f := range d.dels {
		delete(hash, f)
	}
	for i := 0; i < len(d.sets); i += 2 {
		hash[d.sets[i]] = d.sets[i+1]
	}
}

// walk plays random events and media on a state, and calls step after each.
func walk(rng *rand.Rand, rounds int, cfg *Config, step func(before, after *state)) {
	now := time.Unix(1_700_000_000, 0)
	s := newState(cfg, Session{Key: SessionKey{ID: "call"}, Labels: map[string]string{"a": "b"}, Fence: Fence{"pod.1", 7}}, 3, now)
	old := &s
	for n := range rounds {
		now = now.Add(time.Duration(rng.IntN(400)) * time.Millisecond)
		next := &state{record: old.record, call: old.call.clone()}
		id := fmt.Sprint("ann", rng.IntN(4))
		source := Source(1 + rng.IntN(4))
		events := []Event{
			published(id, source), unpublished(id, source), joined(id), left(id), {Muted: &PublicationRef{id, source}},
			{Snapshot: &Snapshot{Publications: []Publication{{Participant: user(id), Source: source}}}},
			{Updated: &Participant{ID: id, UserID: id[:3], DisplayName: fmt.Sprint(n)}},
		}
		media := []Media{of(fmt.Sprint("m", rng.IntN(30)), id, source), anonymous(fmt.Sprint("m", rng.IntN(30)), source.Kind())}
		switch rng.IntN(4) {
		case 0, 1:
			next.applyEvents([]Event{events[rng.IntN(len(events))]}, now)
		case 2:
			_ = next.call.applyMedia(MediaDiff{Put: []Media{media[rng.IntN(2)]}}, now)
		case 3:
			_ = next.call.applyMedia(MediaDiff{Removed: []string{media[0].ID}}, now)
		}
		next.call.unmatched = true
		next.call.settle(now)
		step(old, next)
		old = next
	}
}

// TestDeltasLeadFromStateToState: whatever happens, a hash that gets the differences is that of the state, a state that gets them
// is the same state, and a hash that is read is the state that was written.
func TestDeltasLeadFromStateToState(t *testing.T) {
	cfg := Config{MaxMedia: 20, MaxTombstones: 6, TombstoneTTL: time.Second, HistoryTTL: 3 * time.Second, HoldTTL: time.Second, RepublishTTL: time.Second}.withDefaults()
	rng := rand.New(rand.NewPCG(4, 4))
	var hash map[string]string
	var replica *state
	walk(rng, 3000, &cfg, func(before, after *state) {
		if hash == nil {
			hash = fieldsOf(before)
			var err error
			if replica, err = parse(&cfg, before.record.Key, hash); err != nil {
				t.Fatal(err)
			}
		}
		d := after.diff(before)
		play(hash, d)
		if want := fieldsOf(after); !maps.Equal(hash, want) {
			t.Fatalf("the hash is\n%q\nnot\n%q", hash, want)
		}
		if err := replica.apply(d); err != nil {
			t.Fatal(err)
		}
		sameState(t, replica, after)
		read, err := parse(&cfg, before.record.Key, hash)
		if err != nil {
			t.Fatal(err)
		}
		sameState(t, read, after)
		sameState(t, &state{record: after.record, call: after.call.clone()}, after)
	})
}

func sameState(t *testing.T, got, want *state) {
	t.Helper()
	if d := want.diff(got); !d.empty() {
		t.Fatalf("differs: %q", d)
	}
	for id, tr := range want.call.tracks {
		if one := got.call.tracks[id]; !sameTrack(one.shown, tr.shown) || one.shown.Revision != tr.shown.Revision {
			t.Fatalf("track %+v is shown, not %+v", one.shown, tr.shown)
		}
	}
	for _, m := range got.call.media {
		if (m.track == nil) != (want.call.media[m.ID].track == nil) || (m.pub == nil) != (want.call.media[m.ID].pub == nil) {
			t.Fatalf("media %s is linked otherwise", m.ID)
		}
	}
}

// FuzzState: junk in any field is a fault or a state that can be used, never a panic.
func FuzzState(f *testing.F) {
	cfg := Config{}.withDefaults()
	var seeds []map[string]string
	walk(rand.New(rand.NewPCG(1, 2)), 60, &cfg, func(_, after *state) { seeds = append(seeds, fieldsOf(after)) })
	for field, v := range seeds[len(seeds)-1] {
		f.Add(field, v)
	}
	f.Add("b", "\x01")
	f.Add("d99999999999999999999", "\x01")
	f.Add("c", "\x01\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff")
	f.Fuzz(func(t *testing.T, field, value string) {
		hash := maps.Clone(seeds[len(seeds)-1])
		hash[field] = value
		s, err := parse(&cfg, SessionKey{ID: "call"}, hash)
		if err != nil {
			return
		}
		now := time.Unix(1_700_000_100, 0)
		next := &state{record: s.record, call: s.call.clone()}
		next.applyEvents([]Event{published("ann1", Camera), left("ann2")}, now)
		next.call.settle(now)
		next.diff(s)
		s.call.since(1, true)
	})
}

// TestKeysAreBrokenByNoID: an id gives a key with one hash tag, that holds all of it, and two ids never give the same key.
func TestR15_KeysAreBrokenByNoID(t *testing.T) {
	seen := map[string]SessionKey{}
	ids := []string{"", "a", "a/b", "a%2Fb", "{", "}", "{}", "}{", "a:b", "*", "?", "[a]", "\n", "\x00", "\xff", "%", strings.Repeat("ü", 300), "..", "A"}
	for _, tenant := range ids {
		for _, id := range ids {
			k := SessionKey{tenant, id}
			for _, name := range []string{sessionName(k), leaseName(tenant + "|" + id), indexName(tenant+"|"+id, 3)} {
				if other, twice := seen[name]; twice {
					t.Errorf("%q and %q are both %q", k, other, name)
				}
				seen[name] = k
				open, end := strings.IndexByte(name, '{'), strings.IndexByte(name, '}')
				if strings.Count(name, "{") != 1 || strings.Count(name, "}") != 1 || end != len(name)-1 || open > end || strings.ContainsAny(name, "*?[]\n\x00") {
					t.Errorf("%q is a bad key", name)
				}
			}
		}
	}
}

// sameTrack reports whether two tracks are alike for who watches.
func sameTrack(a, b Track) bool {
	samePub := a.Publication == b.Publication || a.Publication != nil && b.Publication != nil && *a.Publication == *b.Publication
	sameMedia := a.Media == b.Media || a.Media != nil && b.Media != nil && *a.Media == *b.Media
	return a.ID == b.ID && a.State == b.State && samePub && sameMedia
}
