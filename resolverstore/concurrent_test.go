package resolverstore

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
)

// TestConcurrentUse: everything at once, and the store closed in the middle, ends without a race or a goroutine left.
func TestConcurrentUse(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), hang)
	defer cancel()
	m := NewMemory(Config{Settle: 1, HoldTTL: 1, RepublishTTL: 1, TombstoneTTL: 1})
	f := newFixtureIn(ctx, t, m)
	over := func(err error) bool { return errors.Is(err, ErrClosed) || errors.Is(err, ErrSessionEnded) }
	var work sync.WaitGroup
	for who := range 4 {
		id := fmt.Sprintf("ann%d", who)
		work.Go(func() {
			for n := range 200 {
				medium := of(fmt.Sprintf("%s-%d", id, n), id, Camera)
				_, _ = m.ApplyEvents(ctx, f.key, []Event{joined(id), published(id, Camera)})
				_ = m.ApplyMedia(ctx, f.key, f.fence, MediaDiff{Put: []Media{medium}})
				got, err := m.Resolve(ctx, f.key, Selector{ParticipantID: id, Source: Camera})
				if err == nil && got.Publication.Participant.ID != id {
					t.Errorf("%s got %+v", id, got)
				}
				_, _ = m.ApplyEvents(ctx, f.key, []Event{left(id)})
				_ = m.ApplyMedia(ctx, f.key, f.fence, MediaDiff{Removed: []string{medium.ID}})
				if over(err) {
					return
				}
			}
		})
		work.Go(func() {
			for {
				_, err := m.Resolve(ctx, f.key, Selector{UserID: "ann", Source: Camera})
				if over(err) || ctx.Err() != nil {
					return
				}
			}
		})
		work.Go(func() {
			w, err := m.Watch(ctx, f.key, 0)
			if err != nil {
				return
			}
			defer w.Close()
			last := uint64(0)
			for {
				c, err := w.Next(ctx)
				if err != nil {
					return
				}
				if c.Revision < last {
					t.Errorf("the revision fell from %d to %d", last, c.Revision)
				}
				last = c.Revision
			}
		})
	}
	for { // what waits may hear that ann0 leaves, but must not always
		_, err := m.Resolve(ctx, f.key, Selector{ParticipantID: "ann0", Source: Camera})
		if err == nil {
			break
		}
		if !errors.Is(err, ErrParticipantLeft) {
			t.Error(err) // after the hang limit too
			break
		}
	}
	if err := m.Close(); err != nil {
		t.Error(err)
	}
	work.Wait()
	if ctx.Err() != nil {
		t.Error("something hung")
	}
}

// BenchmarkEventInLargeCall is the cost of one event in a call of 500 participants with two joined tracks each.
func BenchmarkEventInLargeCall(b *testing.B) {
	m := NewMemory(Config{})
	defer func() { _ = m.Close() }()
	f := newFixtureIn(b.Context(), b, m)
	var events []Event
	var media []Media
	for i := range 500 {
		id := fmt.Sprintf("p%d", i)
		events = append(events, published(id, Camera), published(id, Microphone))
		media = append(media, of(id+"c", id, Camera), of(id+"m", id, Microphone))
	}
	f.put(media...)
	f.mustApply(events...)
	f.resolve("p0", Camera)
	mute := []Event{{Muted: &PublicationRef{"p0", Camera}}, {Unmuted: &PublicationRef{"p0", Camera}}}
	for i := 0; b.Loop(); i++ {
		f.mustApply(mute[i%2])
	}
}
