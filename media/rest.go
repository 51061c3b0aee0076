package media

import "time"

const (
	// DefaultRest is for how long a decoder is kept after its last consumer. Who polls more rarely than that may have a key frame each time: five a
	// minute are asked for.
	DefaultRest = keyFrameWindow / 5
	// maxRestBytes bounds the units that a resting decoder has still to see; maxRunUnits does too.
	maxRestBytes = 4 << 20
	// maxRestedBytes bounds what all decoders that rest hold together, with restPictures pictures for each: what it refers to, and what its pool keeps.
	maxRestedBytes = 512 << 20
	restPictures   = 8
)

// WithRest sets for how long a decoder is kept after its last consumer, and with it the units that come meanwhile, which nobody decodes until
// another consumer comes. Who polls for pictures so goes on where he was, and needs no key frame. 0 is DefaultRest; less is not at all.
func WithRest(d time.Duration) PoolOption {
	return func(p *DecodePool) {
		if p.restFor = max(d, 0); d == 0 {
			p.restFor = DefaultRest
		}
	}
}

// resting is a decoder without consumers: the queue holds what it has not seen. It is guarded by its track's lock.
type resting struct {
	on    bool
	bytes int       // in the queue
	held  int64     // of what all that rest may hold together
	until time.Time // a timer that was stopped too late ends nothing
	timer *time.Timer
}

// rest is called with t.mu when the last decoding consumer has gone. Of a decoder that waits for a key frame there is nothing to keep.
func (v *videoPath) rest() {
	d := v.t.cfg.Pool.restFor
	if d == 0 || v.reset || v.drop || !v.sound.Load() {
		v.idle()
		return
	}
	bytes := 0
	for _, q := range v.queue {
		bytes += len(q.data)
	}
	if !v.hold(int64(bytes) + int64(v.width.Load())*int64(v.height.Load())*3/2*restPictures) {
		v.idle()
		return
	}
	v.joins = nil
	v.resting.on, v.resting.bytes, v.resting.until = true, bytes, time.Now().Add(d)
	for i := range v.queue {
		v.queue[i].quiet = true
	}
	if v.resting.timer == nil {
		v.resting.timer = time.AfterFunc(d, v.restOver)
		return
	}
	v.resting.timer.Reset(d)
}

// hold takes bytes of what all that rest may hold together, if they are left, or gives them back when negative. Called with t.mu.
func (v *videoPath) hold(bytes int64) bool {
	p := v.t.cfg.Pool
	if p.rested.Add(bytes) > p.maxRested && bytes > 0 {
		p.rested.Add(-bytes)
		return false
	}
	v.resting.held += bytes
	return true
}

// restOver frees the decoder for which no consumer came. The timer calls it.
func (v *videoPath) restOver() {
	v.t.mu.Lock()
	defer v.t.mu.Unlock()
	if v.resting.on && !time.Now().Before(v.resting.until) {
		v.idle()
	}
}

// setAside takes the next unit, whose reference it takes over, for a decoder that rests. Called with t.mu.
func (v *videoPath) setAside(u *unit) {
	r := &v.resting
	switch {
	case u.key:
		v.leaveOut(len(v.queue)) // nothing that comes builds on it
	case u.gap, len(v.queue) >= maxRunUnits, r.bytes+len(u.data) > maxRestBytes:
		u.release()
		v.idle()
		return
	}
	if !v.thin.wanted(u) {
		v.skipped.Add(1)
		u.release()
		return
	}
	if n := len(v.queue); n > 0 && v.queue[n-1].discardable && !v.queue[n-1].gap {
		v.leaveOut(1) // nobody sees it
	}
	if !v.hold(int64(len(u.data))) {
		u.release()
		v.idle()
		return
	}
	r.bytes += len(u.data)
	v.queue = append(v.queue, queuedUnit{unit: u, quiet: true})
}

// leaveOut forgets the last n units of the queue of a decoder that rests. Called with t.mu.
func (v *videoPath) leaveOut(n int) {
	from := len(v.queue) - n
	for i, q := range v.queue[from:] {
		v.resting.bytes -= len(q.data)
		if v.resting.on {
			v.hold(-int64(len(q.data)))
		}
		q.release()
		v.queue[from+i] = queuedUnit{}
	}
	v.queue = v.queue[:from]
	v.skipped.Add(uint64(n))
}

// wake ends the rest. Called with t.mu.
func (v *videoPath) wake() {
	v.resting.on = false
	v.hold(-v.resting.held)
	if v.resting.timer != nil {
		v.resting.timer.Stop()
	}
}

// goOn lets a decoder that rests see what it has missed, of which a consumer gets the last picture if that is live. It reports false when there is none, or
// it cannot go on. Called with t.mu.
func (v *videoPath) goOn(c *Consumer, now time.Time, replay bool) bool {
	if !v.resting.on {
		return false
	}
	v.wake()
	n := len(v.queue)
	if !v.sound.Load() && (n == 0 || !v.queue[0].key) {
		v.leaveOut(n)
		return false
	}
	if n > 0 {
		last := &v.queue[n-1]
		last.quiet = !replay || now.Sub(last.received) > maxLiveAge
		last.before, last.queued = true, now
	}
	v.joins = append(v.joins, c)
	v.t.cfg.Pool.schedule(&v.task)
	return true
}

// forget lets go of all that was kept for consumers to come, which is of another encoding than what comes. Called with t.mu.
func (v *videoPath) forget() {
	v.dropRun()
	if v.resting.on {
		v.idle()
	}
}
