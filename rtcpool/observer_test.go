package rtcpool

import (
	"context"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/penstock-media/penstock/media"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"
)

// recorder is an Observer that keeps what it is told.
type recorder struct {
	mu      sync.Mutex
	changed chan struct{} // closed and renewed at each call
	media   map[string]Media
	added   []Media
	updated []Media
	removed []Media
	states  map[uint64][]State
	ended   []EndReason

	candidates []toldCandidate
	restarts   []Restart
}

// toldCandidate is a local candidate as the observer was told of it.
type toldCandidate struct {
	generation uint64
	Candidate
}

func newRecorder() *recorder {
	return &recorder{changed: make(chan struct{}), media: make(map[string]Media), states: make(map[uint64][]State)}
}

func (r *recorder) tell(f func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f()
	close(r.changed)
	r.changed = make(chan struct{})
}

func (r *recorder) MediaChanged(d MediaDiff) {
	r.tell(func() {
		for _, m := range append(append([]Media(nil), d.Added...), d.Updated...) {
			r.media[m.ID] = m
		}
		for _, m := range d.Removed {
			delete(r.media, m.ID)
		}
		r.added = append(r.added, d.Added...)
		r.updated = append(r.updated, d.Updated...)
		r.removed = append(r.removed, d.Removed...)
	})
}

func (r *recorder) CandidateGathered(generation uint64, c Candidate) {
	r.tell(func() { r.candidates = append(r.candidates, toldCandidate{generation, c}) })
}

func (r *recorder) RestartNeeded(restart Restart) {
	r.tell(func() { r.restarts = append(r.restarts, restart) })
}

func (r *recorder) StateChanged(generation uint64, s State) {
	r.tell(func() { r.states[generation] = append(r.states[generation], s) })
}

func (r *recorder) SessionEnded(reason EndReason) {
	r.tell(func() { r.ended = append(r.ended, reason) })
}

// until waits for a condition on what was told.
func (r *recorder) until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	limit := time.NewTimer(hang)
	defer limit.Stop()
	for {
		r.mu.Lock()
		good, changed := ok(), r.changed
		r.mu.Unlock()
		if good {
			return
		}
		select {
		case <-changed:
		case <-limit.C:
			r.mu.Lock()
			defer r.mu.Unlock()
			t.Fatalf("%s: not within %v; media %+v, states %v, ended %v", what, hang, r.media, r.states, r.ended)
		}
	}
}

// byTrack waits for a media of that track id and returns it.
func (r *recorder) byTrack(t *testing.T, trackID string) Media {
	t.Helper()
	var found Media
	r.until(t, "media of track "+trackID, func() bool {
		for _, m := range r.media {
			if m.TrackID == trackID {
				found = m
				return true
			}
		}
		return false
	})
	return found
}

// flowing waits until packets of that track are reported, and returns the media.
func (r *recorder) flowing(t *testing.T, trackID string) Media {
	t.Helper()
	var found Media
	r.until(t, "packets of track "+trackID, func() bool {
		for _, m := range r.media {
			if m.TrackID == trackID && m.SSRC != 0 && m.Codec != media.CodecUnknown {
				found = m
				return true
			}
		}
		return false
	})
	return found
}

// told is a copy of what was told so far.
func (r *recorder) told() *recorder {
	r.mu.Lock()
	defer r.mu.Unlock()
	return &recorder{
		media: maps.Clone(r.media), added: slices.Clone(r.added), updated: slices.Clone(r.updated),
		removed: slices.Clone(r.removed), states: maps.Clone(r.states), ended: slices.Clone(r.ended),
		candidates: slices.Clone(r.candidates), restarts: slices.Clone(r.restarts),
	}
}

// morePackets waits until the track has received n packets more than it has now.
func morePackets(t *testing.T, track *media.Track, n uint64) {
	t.Helper()
	want := track.Stats().Packets + n
	waitFor(t, "more packets", func() bool { return track.Stats().Packets >= want })
}

func newTestPool(t *testing.T, change func(*Config)) *Pool {
	t.Helper()
	decoders := media.NewDecodePool(1)
	cfg := Config{Decoders: decoders, Tracer: noopTracer(), Loopback: true}
	if change != nil {
		change(&cfg)
	}
	p, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), hang)
		defer cancel()
		if err := p.Close(ctx); err != nil {
			t.Error(err)
		}
		decoders.Close()
	})
	return p
}

func open(t *testing.T, p *Pool, id string) (*Session, *recorder) {
	t.Helper()
	r := newRecorder()
	s, err := p.Open(SessionConfig{ID: id, Observer: r})
	if err != nil {
		t.Fatal(err)
	}
	return s, r
}

func noopTracer() trace.Tracer { return noop.NewTracerProvider().Tracer("test") }

// waitFor polls what cannot tell when it changes.
func waitFor(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	limit := time.NewTimer(hang)
	defer limit.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-limit.C:
			t.Fatalf("%s: not within %v", what, hang)
		}
	}
}
