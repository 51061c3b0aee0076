package resolverstore

import (
	"fmt"
	"time"
)

// applyMedia applies what a peer connection received.
func (c *call) applyMedia(d MediaDiff, now time.Time) error {
	var err error
	c.unmatched = true
	for _, id := range d.Removed {
		c.removeMedia(id, now)
	}
	for _, m := range d.Put {
		if e := c.putMedia(m, now); e != nil {
			err = e
		}
	}
	return err
}

func (c *call) removeMedia(id string, now time.Time) {
	c.dead.add(id, now) // also one that is not known here: its Put may still be on its way
	m := c.media[id]
	if m == nil {
		return
	}
	if t := m.track; t != nil {
		reason := TrackMediaEnded
		if t.pub == nil {
			reason = t.lingerEnd
		}
		c.endTrack(t, reason, now)
	}
	delete(c.media, id)
}

func (c *call) putMedia(m Media, now time.Time) error {
	if c.dead.has(m.ID) {
		return nil // told in the wrong order; ids are never used again
	}
	// Bytes from the peer that cannot be told to anybody name nobody.
	for _, s := range []*string{&m.MID, &m.StreamID, &m.TrackID} {
		if !c.validText(*s) {
			*s = ""
		}
	}
	known := c.media[m.ID]
	if known == nil {
		if len(c.media) >= c.cfg.MaxMedia {
			return fmt.Errorf("media %q: %w", m.ID, ErrLimitReached)
		}
		known = &medium{since: now, arrive: now}
		c.media[m.ID] = known
	} else if known.StreamID != m.StreamID || known.TrackID != m.TrackID {
		// Renamed: whose it was says nothing any more.
		known.former, known.orphanOf, known.heldUntil = PublicationRef{}, "", time.Time{}
	}
	known.Media, known.read = m, false
	c.generation = max(c.generation, m.Generation)
	return nil
}
