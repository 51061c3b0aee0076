package resolverstore

import "time"

// matcher returns the matcher for what is known now.
func (c *call) matcher(now time.Time) *matcher {
	participants := make([]Participant, 0, len(c.participants))
	for _, p := range c.participants {
		participants = append(participants, p.Participant)
	}
	claims := make([]claim, 0, len(c.publications))
	for _, p := range c.byOrder() {
		cl := claim{
			ref: p.ref(), participant: p.Participant, trackID: p.TrackID, mid: p.MID,
			order: p.order, weak: p.rule.weak(), strict: p.strict,
		}
		if p.media != nil {
			cl.media = p.media.ID
		}
		claims = append(claims, cl)
	}
	media := make([]candidate, 0, len(c.media))
	for _, m := range c.media {
		if !m.read {
			m.words, m.read = readWords(c.cfg.Schemes, m.StreamID, m.TrackID), true
		}
		media = append(media, candidate{
			words: m.words, read: true,
			Media: m.Media, former: m.former, current: m.Generation >= c.generation,
			held:    m.pub == nil && m.orphanOf != "" && (m.heldUntil.IsZero() || now.Before(m.heldUntil)),
			revived: m.orphanOf != "", stale: now.Sub(m.arrive) >= c.cfg.EliminationTTL,
		})
	}
	return newMatcher(c.cfg.Schemes, participants, claims, media)
}

// maxRounds bounds how often one settle decides again after it joined something. One is nearly always enough; the next event
// decides again anyway.
const maxRounds = 3

// join splits what contradicts itself and joins what can be joined.
func (c *call) join(now time.Time) {
	m := c.matcher(now)
	if bad := m.contradicted(); len(bad) > 0 {
		for _, ref := range bad {
			c.linger(c.publications[ref], TrackReplaced, now)
		}
		m = c.matcher(now)
	}
	for range maxRounds {
		if !c.bindAll(m.decide(), now) {
			return
		}
		m = c.matcher(now)
	}
}

// bindAll joins the pairs, except those found by elimination that have not stood alone for long enough. It reports whether
// any was joined.
func (c *call) bindAll(pairs []pair, now time.Time) (bound bool) {
	alone := map[proposal]time.Time{}
	for _, p := range pairs {
		key := proposal{p.ref, p.media}
		if p.rule.weak() && c.cfg.Settle > 0 {
			since, known := c.proposed[key]
			if !known {
				since = now
			}
			if now.Sub(since) < c.cfg.Settle {
				alone[key] = since
				continue
			}
		}
		bound = c.bind(p, now) || bound
	}
	c.proposed = alone
	return bound
}

// bind joins a pair. A publication that had other media gets a new track; a media that goes on keeps its track.
// It returns false if one of the two went away by an earlier pair.
func (c *call) bind(p pair, now time.Time) bool {
	pub, m := c.publications[p.ref], c.media[p.media]
	if pub == nil || m == nil {
		return false
	}
	kept := c.takeTrack(pub, m, now)
	for _, ref := range p.superseded {
		c.dropPublication(c.publications[ref], now)
	}
	if pub.media != nil { // replaced
		c.endTrack(pub.track, TrackReplaced, now)
	}
	switch {
	case kept != nil:
		if pub.track != nil {
			c.endTrack(pub.track, TrackReplaced, now)
		}
		pub.track = kept
	case pub.track == nil:
		pub.track = c.newTrack(m.Kind)
	}
	t := pub.track
	t.pub, t.media, t.lingerUntil = pub, m, time.Time{}
	m.pub, m.track, m.former = pub, t, PublicationRef{}
	pub.media, pub.rule = m, p.rule
	pub.strict = pub.strict || pub.TrackID != "" && pub.TrackID == m.TrackID
	return true
}

// takeTrack returns the track of a media that goes on with it: the same participant's or, after a migration, the same
// user's. Any other's track ends.
func (c *call) takeTrack(pub *publication, m *medium, now time.Time) *track {
	t := m.track
	if t == nil {
		return nil
	}
	before := t.former
	if t.pub != nil {
		before = t.pub.Publication
	}
	sameUser := before.Participant.UserID != "" && before.Participant.UserID == pub.Participant.UserID
	if before.Source != pub.Source || before.Participant.ID != pub.Participant.ID && !sameUser {
		c.endTrack(t, TrackReplaced, now)
		return nil
	}
	if old := t.pub; old != nil {
		old.track, old.media = nil, nil
		t.pub, m.pub = nil, nil
	}
	if old := c.publications[PublicationRef{before.Participant.ID, before.Source}]; old != nil && old != pub && old.media == nil {
		c.dropPublication(old, now)
	}
	t.media, m.track = nil, nil
	return t
}

// dropPublication forgets a publication and ends its track, if it has one.
func (c *call) dropPublication(p *publication, now time.Time) {
	if p == nil || c.publications[p.ref()] != p {
		return
	}
	if p.track != nil {
		c.endTrack(p.track, TrackUnpublished, now)
	}
	delete(c.publications, p.ref())
	c.unmatched = true
}
