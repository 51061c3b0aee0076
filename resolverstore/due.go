package resolverstore

import "time"

// tombstone remembers that a participant left.
type tombstone struct {
	until    time.Time
	sequence uint64
}

// tombstones remember who left, for a while and in a bounded number.
type tombstones struct {
	left map[string]tombstone
}

func (t *tombstones) add(id string, ts tombstone, limit int) {
	if _, known := t.left[id]; !known && len(t.left) >= limit {
		t.dropOldest()
	}
	t.left[id] = ts
}

func (t *tombstones) dropOldest() {
	var oldest string
	var until time.Time
	for id, ts := range t.left {
		if until.IsZero() || ts.until.Before(until) {
			oldest, until = id, ts.until
		}
	}
	delete(t.left, oldest)
}

// has reports whether the participant left a short while ago.
func (t *tombstones) has(id string) bool {
	_, ok := t.left[id]
	return ok
}

// expire forgets what is due.
func (c *call) expire(now time.Time) {
	for id, ts := range c.tombstones.left {
		if !now.Before(ts.until) {
			delete(c.tombstones.left, id)
		}
	}
	c.dead.expire(now.Add(-c.cfg.HistoryTTL))
	for at, some := c.removals.oldest(); some && !now.Before(at.Add(c.cfg.HistoryTTL)); at, some = c.removals.oldest() {
		c.floor = c.removals.drop().revision
	}
	for _, t := range c.tracks {
		if t.pub == nil && t.media != nil && !now.Before(t.lingerUntil) {
			c.endTrack(t, t.lingerEnd, now)
		}
	}
	for _, p := range c.publications {
		if p.track != nil && p.media == nil && !now.Before(p.since.Add(c.cfg.PendingTTL)) {
			c.dropPublication(p, now)
		}
	}
	for _, m := range c.media {
		if m.track == nil && !now.Before(m.since.Add(c.cfg.PendingTTL)) {
			delete(c.media, m.ID)
			c.unmatched = true
		}
	}
}

// due returns when settle must be called again if nothing happens before; zero if never.
func (c *call) due(now time.Time) time.Time {
	var next time.Time
	at := func(t time.Time) {
		if next.IsZero() || t.Before(next) {
			next = t
		}
	}
	for _, ts := range c.tombstones.left {
		at(ts.until)
	}
	for _, oldest := range []func() (time.Time, bool){c.dead.order.oldest, c.removals.oldest} {
		if t, some := oldest(); some {
			at(t.Add(c.cfg.HistoryTTL))
		}
	}
	for _, since := range c.proposed {
		at(since.Add(c.cfg.Settle))
	}
	for _, t := range c.tracks {
		if t.pub == nil && t.media != nil {
			at(t.lingerUntil)
		}
	}
	for _, p := range c.publications {
		if p.media == nil {
			at(p.since.Add(c.cfg.PendingTTL))
		}
	}
	for _, m := range c.media {
		if m.track == nil {
			at(m.since.Add(c.cfg.PendingTTL))
			if m.orphanOf != "" && m.heldUntil.After(now) {
				at(m.heldUntil)
			}
		}
	}
	return next
}
