package media

import (
	"slices"
	"time"
)

// QualityLimit is what a track is limited to while the pool is short of workers. The zero value is nothing.
type QualityLimit struct {
	// Suspended tells that nothing is decoded.
	Suspended bool
	// MaxFPS is the most pictures a second, as measured; 0 is not limited.
	MaxFPS float64
	// Width and Height are the size that the sender is to be asked for, in pixels; 0 is not limited.
	Width, Height int
}

// spares tells whether a consumer that asks for a format gets it in spite of the limit.
func (q QualityLimit) spares(f *VideoFormat) bool {
	within := func(asked, limit int) bool { return limit == 0 || asked > 0 && asked <= limit }
	return !q.Suspended && (q.MaxFPS == 0 || f.MaxFPS > 0 && f.MaxFPS <= q.MaxFPS) && within(f.Width, q.Width) && within(f.Height, q.Height)
}

// measureLoad returns what the track cost in the interval that ends now, and begins another.
func (v *videoPath) measureLoad() loadShare {
	v.t.mu.Lock()
	defer v.t.mu.Unlock()
	s := &v.share
	s.busy = time.Duration(v.busy.Swap(0))
	const seconds = float64(loadInterval) / float64(time.Second)
	if s.units > 0 {
		s.cost = smooth(s.cost, s.busy/time.Duration(s.units))
	}
	s.rate = smooth(s.rate, float64(s.arrived)/seconds)
	if !v.limits.suspended {
		s.accepts = smooth(s.accepts, float64(s.accepted)/seconds)
	}
	s.judge(v.queue)
	s.growth = 1
	if w, h := int(v.width.Load()), int(v.height.Load()); v.limits.width > 0 && w*h > 0 {
		s.growth = max(1, float64(4*v.limits.width*v.limits.height)/float64(w*h))
	}
	s.consumers = v.t.decoding
	s.waited, s.units, s.arrived, s.accepted = 0, 0, 0, 0
	return *s
}

// judge tells whether the units waited too long in the interval, and whether it becomes worse.
func (s *loadShare) judge(queue []queuedUnit) {
	wait := s.waited
	if s.units < fewUnits {
		wait = 0
		if len(queue) > 0 && !queue[0].quiet { // what catches up after a rest is not late
			wait = time.Since(queue[0].queued)
		}
	}
	s.behind = wait > lateAfter
	switch {
	case !s.behind, wait < s.before: // A backlog that shrinks is not helped by doing even less.
		s.late = 0
	default:
		s.late++
	}
	s.before = wait
}

// smooth moves a value halfway to a new one, the first time wholly.
func smooth[N time.Duration | float64](old, next N) N {
	if old == 0 {
		return next
	}
	return (old + next) / 2
}

// canGiveUp returns the highest temporal layer and the width of the pictures.
func (v *videoPath) canGiveUp() (top uint8, width int) {
	v.t.mu.Lock()
	defer v.t.mu.Unlock()
	return v.thin.top(), int(v.width.Load())
}

// smaller returns the size to ask for: half of what was received when that was first asked for.
func (v *videoPath) smaller() (width, height int) {
	v.t.mu.Lock()
	defer v.t.mu.Unlock()
	if v.limits.width > 0 {
		return v.limits.width, v.limits.height
	}
	if w := int(v.width.Load()); w >= 2*smallest {
		return w / 2, int(v.height.Load()) / 2
	}
	return 0, 0
}

// limitTo brings the track to what the pool can do, and tells consumers what is new to them.
func (v *videoPath) limitTo(n limits) {
	v.t.mu.Lock()
	if v.t.ended != nil || n == v.limits {
		v.t.mu.Unlock()
		return
	}
	was := v.limits
	v.limits = n
	v.relimit()
	v.t.layers.demand(false)
	switch {
	case n.suspended && !was.suspended:
		v.idle()
		if !slices.ContainsFunc(v.t.consumers, func(c *Consumer) bool { return c.waitKey }) {
			v.t.keyFrames.withdraw()
		}
	case !n.suspended && was.suspended && v.t.decoding > 0:
		v.start(time.Now(), true)
	}
	q := v.quality()
	var hear []func(QualityLimit)
	for _, c := range v.t.consumers {
		if f := v.tellQuality(c, q); f != nil {
			hear = append(hear, f)
		}
	}
	v.t.mu.Unlock()
	for _, f := range hear {
		f(q)
	}
}

// tellLimit tells somebody new of the limit as it is now. Meanwhile nobody is told of another.
func (v *videoPath) tellLimit(hear func(QualityLimit)) {
	l := &v.t.cfg.Pool.load
	l.mu.Lock()
	defer l.mu.Unlock()
	v.t.mu.Lock()
	q := v.quality()
	v.t.mu.Unlock()
	hear(q)
}

// layerLimit returns the highest temporal layer that is decoded. Called with t.mu.
func (v *videoPath) layerLimit() uint8 {
	limit := v.thin.enough(needed(v.t.consumers))
	if v.limits.fewer {
		limit = min(limit, v.limits.layer)
	}
	return limit
}

// relimit sets what is left out before it is queued, and leaves that out of the queue too. Called with t.mu.
func (v *videoPath) relimit() {
	v.thin.limit = v.layerLimit()
	v.queue = slices.DeleteFunc(v.queue, func(q queuedUnit) bool {
		out := !q.key && !q.gap && v.thin.layer(q.unit) > v.thin.limit
		if out {
			v.thin.reach = min(v.thin.reach, v.thin.limit)
			v.skipped.Add(1)
			q.release()
		}
		return out
	})
}

// quality returns the limit in the words of consumers. Called with t.mu.
func (v *videoPath) quality() QualityLimit {
	q := QualityLimit{Suspended: v.limits.suspended, Width: v.limits.width, Height: v.limits.height}
	if v.limits.fewer {
		q.MaxFPS = v.thin.fps(v.limits.layer)
	}
	return q
}

// tellQuality tells a consumer of a limit, or that it is over, if that is news to it. It returns whom else to tell. Called with t.mu.
func (v *videoPath) tellQuality(c *Consumer, q QualityLimit) func(QualityLimit) {
	if c.req.Video == nil {
		return nil
	}
	limited := !q.spares(c.req.Video)
	if !limited && !c.limited {
		return nil
	}
	c.limited = limited
	e := Event{Kind: EventQualityLimited, Time: v.t.clock.last}
	if limited {
		e.Limit = q
	}
	c.tell(e)
	return c.req.Limited
}
