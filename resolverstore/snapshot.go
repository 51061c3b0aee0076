package resolverstore

import "time"

// applySnapshot replaces what is known by a snapshot, except what later events told of a participant.
func (c *call) applySnapshot(s *Snapshot, sequence uint64, now time.Time) string {
	if sequence != 0 && sequence <= c.snapshot {
		return ignoredSequence
	}
	later := func(id string) bool { return sequence != 0 && c.lastSequence(id) > sequence }
	present, published, reason := map[string]bool{}, map[PublicationRef]bool{}, ""
	note := func(r string) {
		if reason == "" && r != "" {
			reason = "in part: " + r
		}
	}
	for _, p := range s.Participants {
		if !later(p.ID) {
			present[p.ID] = true
			note(c.joined(p, now))
		}
	}
	for i := range s.Publications {
		p := &s.Publications[i]
		if later(p.Participant.ID) {
			continue
		}
		if !present[p.Participant.ID] {
			present[p.Participant.ID] = true
			note(c.joined(p.Participant, now))
		}
		published[PublicationRef{p.Participant.ID, p.Source}] = true
		note(c.publish(p, now))
	}
	// Media that go on under a new participant id are taken over before the old one is removed.
	c.join(now)
	for _, p := range c.byOrder() {
		if id := p.Participant.ID; present[id] && !published[p.ref()] && !later(id) {
			_ = c.unpublish(p.ref(), now)
		}
	}
	for id := range c.participants {
		if !present[id] && !later(id) {
			_ = c.leave(id, sequence, now)
		}
	}
	c.snapshot = max(c.snapshot, sequence)
	return reason
}
