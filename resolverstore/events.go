package resolverstore

import (
	"cmp"
	"time"
	"unicode/utf8"
)

// Reasons for which an event is ignored.
const (
	ignoredEmpty       = "the event says nothing, or something that is not known here"
	ignoredSeveral     = "the event says more than one thing"
	ignoredSequence    = "its sequence is not above the last one applied to the participant"
	ignoredID          = "an id is empty, too long or not UTF-8"
	ignoredSource      = "the source is not known"
	ignoredLeft        = "the participant left"
	ignoredUnknown     = "there is no such participant"
	ignoredUnpublished = "there is no such publication"
	ignoredLimit       = "a limit of the session is reached"
)

// apply applies one event. It returns why it was ignored, or "".
func (c *call) apply(e *Event, now time.Time) string {
	switch e.fields() {
	case 0:
		return ignoredEmpty
	case 1:
	default:
		return ignoredSeveral
	}
	if e.Snapshot != nil {
		c.unmatched = true
		return c.applySnapshot(e.Snapshot, e.Sequence, now)
	}
	id := e.participantID()
	if !c.validID(id) {
		return ignoredID
	}
	if e.Sequence != 0 && e.Sequence <= c.lastSequence(id) {
		return ignoredSequence
	}
	reason := c.applyOne(e, now)
	if reason != "" {
		return reason
	}
	c.unmatched = c.unmatched || e.Muted == nil && e.Unmuted == nil
	if p := c.participants[id]; p != nil && e.Sequence != 0 {
		p.sequence = e.Sequence
	}
	return ""
}

func (c *call) applyOne(e *Event, now time.Time) string {
	switch {
	case e.Published != nil:
		return c.publish(e.Published, now)
	case e.Unpublished != nil:
		return c.unpublish(*e.Unpublished, now)
	case e.Muted != nil:
		return c.mute(*e.Muted, true)
	case e.Unmuted != nil:
		return c.mute(*e.Unmuted, false)
	case e.Joined != nil:
		return c.joined(*e.Joined, now)
	case e.Updated != nil:
		return c.update(*e.Updated, now)
	default:
		return c.leave(e.Left, e.Sequence, now)
	}
}

// fields counts what the event says.
func (e *Event) fields() (n int) {
	for _, set := range []bool{
		e.Published != nil, e.Unpublished != nil, e.Muted != nil, e.Unmuted != nil,
		e.Joined != nil, e.Left != "", e.Updated != nil, e.Snapshot != nil,
	} {
		if set {
			n++
		}
	}
	return n
}

// participantID returns whom the event is about.
func (e *Event) participantID() string {
	switch {
	case e.Published != nil:
		return e.Published.Participant.ID
	case e.Unpublished != nil:
		return e.Unpublished.ParticipantID
	case e.Muted != nil:
		return e.Muted.ParticipantID
	case e.Unmuted != nil:
		return e.Unmuted.ParticipantID
	case e.Joined != nil:
		return e.Joined.ID
	case e.Updated != nil:
		return e.Updated.ID
	default:
		return e.Left
	}
}

// lastSequence returns the sequence of what was last applied to a participant.
func (c *call) lastSequence(id string) uint64 {
	last := c.snapshot
	if p := c.participants[id]; p != nil {
		last = max(last, p.sequence)
	}
	if ts, ok := c.tombstones.left[id]; ok {
		last = max(last, ts.sequence)
	}
	return last
}

func (c *call) validID(s string) bool { return s != "" && c.validText(s) }

func (c *call) validText(s string) bool { return len(s) <= c.cfg.MaxIDBytes && utf8.ValidString(s) }

func (c *call) validParticipant(p *Participant) bool {
	return c.validID(p.ID) && c.validText(p.UserID) && c.validText(p.DisplayName) && c.validText(p.LookupPrefix)
}

// put stores a participant, new or changed.
func (c *call) put(p Participant, now time.Time) string {
	if !c.validParticipant(&p) {
		return ignoredID
	}
	known := c.participants[p.ID]
	if known == nil {
		if len(c.participants) >= c.cfg.MaxParticipants {
			return ignoredLimit
		}
		known = &participant{}
		c.participants[p.ID] = known
		c.unhold(p.ID, now)
	}
	known.Participant = p
	for source := Camera; source <= ScreenShareAudio; source++ {
		if pub := c.publications[PublicationRef{p.ID, source}]; pub != nil {
			pub.Participant = p
		}
	}
	return ""
}

// joined lets a participant in, or in again: its media may be handed out again after a while.
func (c *call) joined(p Participant, now time.Time) string {
	if reason := c.put(p, now); reason != "" {
		return reason
	}
	delete(c.tombstones.left, p.ID)
	return ""
}

func (c *call) update(p Participant, now time.Time) string {
	if c.participants[p.ID] == nil {
		return ignoredUnknown
	}
	return c.put(p, now)
}

func (c *call) publish(p *Publication, now time.Time) string {
	if c.tombstones.has(p.Participant.ID) {
		return ignoredLeft
	}
	if p.Source.Kind() == 0 {
		return ignoredSource
	}
	if !c.validText(p.TrackID) || !c.validText(p.MID) {
		return ignoredID
	}
	ref := PublicationRef{p.Participant.ID, p.Source}
	known := c.publications[ref]
	if known == nil && len(c.publications) >= c.cfg.MaxPublications {
		return ignoredLimit
	}
	if reason := c.put(c.fillIn(p.Participant), now); reason != "" {
		return reason
	}
	if known == nil {
		c.order++
		known = &publication{order: c.order}
		c.publications[ref] = known
	}
	known.Publication, known.since = *p, now
	known.Participant = c.participants[ref.ParticipantID].Participant
	return ""
}

// fillIn adds what is known of a participant and a publication leaves out: signalling may name the participant by id alone.
func (c *call) fillIn(p Participant) Participant {
	if known := c.participants[p.ID]; known != nil {
		p.UserID = cmp.Or(p.UserID, known.UserID)
		p.DisplayName = cmp.Or(p.DisplayName, known.DisplayName)
		p.LookupPrefix = cmp.Or(p.LookupPrefix, known.LookupPrefix)
	}
	return p
}

func (c *call) unpublish(ref PublicationRef, now time.Time) string {
	p := c.publications[ref]
	if p == nil {
		return ignoredUnpublished
	}
	c.linger(p, TrackUnpublished, now)
	delete(c.publications, ref)
	return ""
}

func (c *call) mute(ref PublicationRef, muted bool) string {
	p := c.publications[ref]
	if p == nil {
		return ignoredUnpublished
	}
	p.Muted = muted
	return ""
}

// leave ends all that a participant has. Its media are held back, since they may be dead.
func (c *call) leave(id string, sequence uint64, now time.Time) string {
	p := c.participants[id]
	if p != nil {
		// What another participant of the same user took over goes on.
		c.join(now)
	}
	own := c.mediaOf(id)
	for _, t := range c.sortedTracks() {
		gone := t.pub != nil && t.pub.Participant.ID == id || t.pub == nil && t.former.Participant.ID == id
		if gone {
			c.endTrack(t, TrackParticipantLeft, now)
		}
	}
	for source := Camera; source <= ScreenShareAudio; source++ {
		delete(c.publications, PublicationRef{id, source})
	}
	for _, m := range own {
		m.orphanOf, m.heldUntil = id, time.Time{}
	}
	last := max(sequence, c.lastSequence(id))
	delete(c.participants, id)
	c.tombstones.add(id, tombstone{until: now.Add(c.cfg.TombstoneTTL), sequence: last}, c.cfg.MaxTombstones)
	return ""
}

// mediaOf returns the media that are, were, or by their words can only be the participant's. What was the participant's and has
// been renamed to another one is that one's.
func (c *call) mediaOf(id string) []*medium {
	name := c.soleName(id)
	var out []*medium
	for _, m := range c.media {
		owner := m.former.ParticipantID
		if m.pub != nil {
			owner = m.pub.Participant.ID
		}
		words := m.words
		if !m.read {
			words = readWords(c.cfg.Schemes, m.StreamID, m.TrackID)
		}
		named := owner == "" && name != "" && words.Participant == name
		if named || owner == id && (m.pub != nil || !c.namesAnother(words, id)) {
			out = append(out, m)
		}
	}
	return out
}

// namesAnother reports whether words are those of another participant than the one given.
func (c *call) namesAnother(w Words, id string) bool {
	if w.Participant == "" || w.Participant == id {
		return false
	}
	if p := c.participants[id]; p != nil && p.msidName() == w.Participant {
		return false
	}
	if !w.Opaque {
		return true
	}
	for _, p := range c.participants {
		if p.msidName() == w.Participant {
			return true
		}
	}
	return false
}

// soleName returns the name by which an msid names the participant, or "" if it names others too.
func (c *call) soleName(id string) string {
	p := c.participants[id]
	if p == nil {
		return id
	}
	for _, other := range c.participants {
		if other != p && other.msidName() == p.msidName() {
			return ""
		}
	}
	return p.msidName()
}

// unhold starts the time after which media from before a participant's leave may be handed out again.
func (c *call) unhold(id string, now time.Time) {
	for _, m := range c.media {
		if m.orphanOf == id && m.heldUntil.IsZero() {
			m.heldUntil = now.Add(c.cfg.HoldTTL)
		}
	}
}
