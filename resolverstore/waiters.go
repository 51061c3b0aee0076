package resolverstore

import "fmt"

// waiter is one Resolve that waits.
type waiter struct {
	result chan outcome // of capacity 1; gets exactly one
}

type outcome struct {
	track Track
	err   error
}

// waiters are all that wait in one session, by what they wait for: what nobody waits for costs nothing, and many who wait for
// the same are one look.
type waiters map[Selector]map[*waiter]struct{}

func (w waiters) add(sel Selector) *waiter {
	one := &waiter{result: make(chan outcome, 1)}
	if w[sel] == nil {
		w[sel] = map[*waiter]struct{}{}
	}
	w[sel][one] = struct{}{}
	return one
}

func (w waiters) remove(sel Selector, one *waiter) {
	delete(w[sel], one)
	if len(w[sel]) == 0 {
		delete(w, sel)
	}
}

// wake gives each waiter its outcome, where there is one now.
func (w waiters) wake(find func(Selector) (Track, bool, error)) {
	for sel, all := range w {
		t, found, err := find(sel)
		if !found && err == nil {
			continue
		}
		for one := range all {
			one.result <- outcome{t, err}
		}
		delete(w, sel)
	}
}

// validate tells what is wrong with a selector.
func (s Selector) validate() error {
	if s.TrackID != "" {
		return nil
	}
	if s.Source.Kind() == 0 || s.ParticipantID == "" && s.UserID == "" {
		return fmt.Errorf("select a track: %w", ErrInvalidSelector)
	}
	return nil
}

// find returns the selected track if it is live or paused, false while it may still become so, or why it never will.
func (c *call) find(sel Selector) (Track, bool, error) {
	switch {
	case sel.TrackID != "":
		return c.findByID(sel.TrackID)
	case sel.ParticipantID != "":
		if c.tombstones.has(sel.ParticipantID) {
			return Track{}, false, ErrParticipantLeft
		}
		if p := c.publications[PublicationRef{sel.ParticipantID, sel.Source}]; p != nil {
			return p.track.flowing()
		}
		return Track{}, false, nil
	default:
		return c.findByUser(sel.UserID, sel.Source)
	}
}

func (c *call) findByID(id string) (Track, bool, error) {
	if t := c.tracks[id]; t != nil {
		return t.flowing()
	}
	err := ErrTrackNotFound
	c.removals.all(func(r removal) {
		if r.track.ID == id && r.track.EndReason == TrackParticipantLeft {
			err = ErrParticipantLeft
		}
	})
	return Track{}, false, err
}

// findByUser returns the newest live publication among the user's participants, or the newest paused one.
func (c *call) findByUser(user string, source Source) (Track, bool, error) {
	var best Track
	var order uint64
	for _, p := range c.publications {
		if p.Source != source || p.Participant.UserID != user {
			continue
		}
		t, ok, _ := p.track.flowing()
		better := t.State == TrackLive && best.State != TrackLive || t.State == best.State && p.order > order
		if ok && (best.ID == "" || better) {
			best, order = t, p.order
		}
	}
	return best, best.ID != "", nil
}

// flowing returns the track as told if it is live or paused.
func (t *track) flowing() (Track, bool, error) {
	if t == nil || t.shown.State != TrackLive && t.shown.State != TrackPaused {
		return Track{}, false, nil
	}
	return t.shown.clone(), true, nil
}

// clone returns a copy that shares nothing.
func (t Track) clone() Track {
	if t.Publication != nil {
		p := *t.Publication
		t.Publication = &p
	}
	if t.Media != nil {
		m := *t.Media
		t.Media = &m
	}
	return t
}
