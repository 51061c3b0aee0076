package media

import "time"

// attach starts a consumer: with the run if it is fresh, with the decoder's last picture if one is decoding, else with
// a key frame. Of a track that is limited it says so: limited, if it is not nil, is to be called without locks. Called with t.mu.
func (v *videoPath) attach(c *Consumer, now time.Time) (limited func()) {
	replay := c.req.NotBefore.IsZero()
	switch {
	case c.req.Encoded && v.fresh(now) && replay:
		for _, u := range v.run {
			v.deliverEncoded(c, u, true)
		}
	case c.req.Encoded:
		c.waitKey = true
		v.t.keyFrames.wantToBegin()
	case v.limits.suspended: // Until there is room again.
	case v.t.decoding > 1:
		v.joins = append(v.joins, c)
		v.t.cfg.Pool.schedule(&v.task)
	default:
		if !v.goOn(c, now, replay) {
			v.start(now, replay)
		}
	}
	if c.req.Encoded {
		return nil
	}
	if v.t.decoding == 1 {
		v.t.cfg.Pool.load.add(v)
	}
	v.relimit()
	if v.limits == (limits{}) {
		return nil
	}
	if f := v.tellQuality(c, v.quality()); f != nil {
		return func() { v.tellLimit(f) }
	}
	return nil
}

// fresh tells whether the run ends with what is live. Called with t.mu.
func (v *videoPath) fresh(now time.Time) bool {
	return len(v.run) > 0 && now.Sub(v.run[len(v.run)-1].received) <= maxLiveAge
}

// start begins to decode: with the run if it is fresh, of which the last picture is shown if replay says so, else with a key frame. Called with t.mu.
func (v *videoPath) start(now time.Time, replay bool) {
	if !v.fresh(now) {
		v.drop = true
		v.t.keyFrames.wantToBegin()
		return
	}
	v.thin.restart()
	last := len(v.run) - 1
	for i, u := range v.run {
		if i < last && u.discardable && !u.gap {
			continue // nobody sees it
		}
		u.retain()
		v.queue = append(v.queue, queuedUnit{unit: u, quiet: !replay || i < last, queued: now})
	}
	v.t.cfg.Pool.schedule(&v.task)
}

// join serves a further consumer with the last picture, unless that is too old to be shown as live.
func (v *videoPath) join(c *Consumer) {
	v.tellUndecodable(c)
	switch {
	case c.sent:
	case v.last != nil && c.tooOld(v.last.u.received): // The next one comes of itself.
	case v.last != nil && time.Since(v.last.u.received) <= maxLiveAge:
		c.pacer.pass(v.last.u.time)
		v.deliver(c, v.last.pic, v.last.u, nil)
	default:
		v.t.keyFrames.wantToBegin()
	}
}
