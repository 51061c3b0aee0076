package resolverstore

import (
	"bytes"
	"context"
	"maps"
	"slices"
	"sync"
	"time"
)

// room is what this process knows of one session, and who waits for changes of it. What keeps it up to date is a store's affair.
type room struct {
	mu      sync.Mutex
	state   // guarded by mu
	waiters waiters
	revised chan struct{} // closed and replaced at each new revision
	era     uint64        // grows when the state was replaced by one to which revisions do not lead
	over    error         // why nothing will ever change here again, for those who watch; nil while it may
}

func (r *room) init(s state) {
	r.state, r.waiters, r.revised = s, waiters{}, make(chan struct{})
}

// newRecord fills in what a new session's record needs.
func newRecord(s Session, now time.Time) Session {
	s.Labels, s.Sealed = maps.Clone(s.Labels), bytes.Clone(s.Sealed)
	if s.State == 0 {
		s.State = SessionAwaitingOffer
	}
	if s.Created.IsZero() {
		s.Created = now
	}
	return s
}

// newState returns the state of a new session, whose revisions begin after one.
func newState(cfg *Config, s Session, revision uint64, now time.Time) state {
	st := state{record: newRecord(s, now), call: newCall(cfg, revision)}
	st.call.generation = s.Generation
	return st
}

// snapshot returns the record.
func (r *room) snapshot() Session {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.state.snapshot()
}

// snapshot returns the record without what is sealed in it.
func (s *state) snapshot() Session {
	rec := s.record
	rec.Labels, rec.Revision, rec.Sealed = maps.Clone(rec.Labels), s.call.revision, nil
	return rec
}

// opened returns the record with what is sealed in it, for a new owner.
func (s *state) opened() Session {
	rec := s.snapshot()
	rec.Sealed = bytes.Clone(s.record.Sealed)
	return rec
}

// fenced tells whether the writer may write.
func (s *state) fenced(f Fence) error {
	if f != s.record.Fence {
		return ErrFenced
	}
	return nil
}

// update changes the record.
func (s *state) update(u SessionUpdate) {
	if u.State != nil && *u.State != SessionEnded { // EndSession ends
		s.record.State = *u.State
	}
	if u.Generation != nil {
		s.record.Generation = max(s.record.Generation, *u.Generation)
		s.call.generation = max(s.call.generation, *u.Generation)
		s.call.unmatched = true
	}
	if u.Expires != nil {
		s.record.Expires = *u.Expires
	}
	if u.Sealed != nil {
		s.record.Sealed = bytes.Clone(*u.Sealed)
	}
}

// after returns a fence with an epoch above that of another one, which has ended.
func (f Fence) after(ended Fence) Fence {
	f.Epoch = max(f.Epoch, ended.Epoch+1)
	return f
}

// succeed returns the fence of who takes a session over from the owner given, by the time given.
func succeed(from Fence, owner string, now time.Time) Fence {
	return Fence{Owner: owner, Epoch: max(from.Epoch+1, uint64(max(now.UnixMilli(), 0)))}
}

// takeOver gives the session another owner. The media that the one before received are gone and stay so: what they carried are other
// media now, so that their tracks end, and the publications wait on tracks of their own. willing says that the owner before knows.
func (s *state) takeOver(to Fence, address string, willing bool, now time.Time) {
	rec := &s.record
	rec.Fence, rec.OwnerAddress, rec.State = to, address, SessionAwaitingOffer
	rec.MinGeneration = max(rec.MinGeneration, rec.Generation, s.call.generation) + 1
	rec.Expires, rec.contested = time.Time{}, rec.contested || !willing
	if rec.Grace > 0 {
		rec.Expires = now.Add(rec.Grace)
	}
	for _, id := range slices.Sorted(maps.Keys(s.call.media)) {
		s.call.removeMedia(id, now)
	}
	s.call.unmatched = true
}

// end ends the session and its tracks.
func (s *state) end(reason SessionEndReason, now time.Time) {
	s.record.State, s.record.EndReason, s.record.Expires = SessionEnded, reason, time.Time{}
	s.call.end(reason.ofTracks(), now)
}

// ofTracks returns the reason that the session's tracks get.
func (r SessionEndReason) ofTracks() TrackEndReason {
	switch r {
	case SessionSignallingLost, SessionMediaLost:
		return TrackSessionExpired
	case SessionRemoteClosed:
		return TrackMediaEnded
	default:
		return TrackSessionDeleted
	}
}

// find looks for a track; the session's end decides first.
func (r *room) find(sel Selector) (Track, bool, error) {
	switch {
	case r.record.State == SessionEnded:
		return Track{}, false, ErrSessionEnded
	case r.over != nil:
		return Track{}, false, r.over
	}
	return r.call.find(sel)
}

// wake tells those who wait that the state has changed, or that it is over. The caller holds the lock.
func (r *room) wake() {
	r.waiters.wake(r.find)
	close(r.revised)
	r.revised = make(chan struct{})
}

// finish ends all waiting with an error. The caller holds the lock.
func (r *room) finish(err error) {
	if r.over == nil {
		r.over = err
		r.wake()
	}
}

// resolve waits for the selected track. done is closed when the store is.
func (r *room) resolve(ctx context.Context, sel Selector, done <-chan struct{}) (Track, error) {
	r.mu.Lock()
	if t, found, err := r.find(sel); found || err != nil {
		r.mu.Unlock()
		return t, err
	}
	one := r.waiters.add(sel)
	r.mu.Unlock()
	defer func() {
		r.mu.Lock()
		r.waiters.remove(sel, one)
		r.mu.Unlock()
	}()
	select {
	case out := <-one.result:
		return out.track.clone(), out.err
	case <-ctx.Done():
		return Track{}, ctx.Err()
	case <-done:
		return Track{}, ErrClosed
	}
}

// listTracks returns a page of the tracks.
func (r *room) listTracks(after string, limit int) ([]Track, uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []Track
	for _, t := range r.call.sortedTracks() {
		if len(out) >= limit {
			break
		}
		if t.id > after {
			out = append(out, t.shown.clone())
		}
	}
	return out, r.call.revision
}

func (s *state) applyEvents(events []Event, now time.Time) (ignored []Ignored) {
	for i := range events {
		if reason := s.call.apply(&events[i], now); reason != "" {
			ignored = append(ignored, Ignored{Index: i, Reason: reason, Limit: reason == ignoredLimit})
		}
	}
	return ignored
}
