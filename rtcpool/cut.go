package rtcpool

import (
	"sync/atomic"
	"time"
)

const (
	// settling is how long after an answer packets of the owner before may still come in their order: longer than a path's jitter, and
	// short beside what a new picture takes.
	settling = 200 * time.Millisecond
	// cutRun is how far ahead of the last packet of the owner before a packet is taken for a further one of its.
	cutRun = 1000
)

// cut keeps out what was sent for the owner before, when a source passes to another: packets that are under way or sent again. An
// offerer falls silent for the one before it offers and sends for the other when it has the answer; the numbers may go on or leap.
//
// Until the answer is out and things have settled, all that continues the numbers of the owner before is its; after that, for a while, all that
// is not beyond them.
type cut struct {
	floor atomic.Uint32 // the highest sequence number of the owner before
	until atomic.Int64  // by the feedback's clock; 0: the answer is not out
}

func newCut(highest uint16) *cut {
	c := &cut{}
	c.floor.Store(uint32(highest))
	return c
}

// answered lets the time run.
func (c *cut) answered(now time.Duration) {
	c.until.CompareAndSwap(0, int64(now+settling))
}

// keepsOut judges a packet. over tells that nothing will be kept out any more.
func (c *cut) keepsOut(seq uint16, received time.Duration) (out, over bool) {
	ahead := int16(seq - uint16(c.floor.Load())) //nolint:gosec // sequence numbers wrap (RFC 3550 section 5.1)
	until := time.Duration(c.until.Load())
	switch {
	case until != 0 && received > until+lateness:
		return false, true
	case ahead <= 0:
		return true, false
	case until != 0 && received > until, ahead > cutRun:
		return false, false
	}
	c.floor.Store(uint32(seq))
	return true, false
}

// keepsOut tells whether a packet is one of the owner before.
func (r *reader) keepsOut(seq uint16, received time.Duration) bool {
	c := r.cut.Load()
	if c == nil {
		return false
	}
	out, over := c.keepsOut(seq, received)
	if over {
		r.cut.CompareAndSwap(c, nil)
	}
	return out
}

// bindReaders gives each reader the media that it feeds now. One that passes from one owner to another is cut.
func (p *peer) bindReaders(before map[*reader]*entry) {
	for _, r := range p.readers {
		next := p.session.sinkOf(r)
		if old := before[r]; old != nil && next != nil && old != next {
			r.mu.Lock()
			r.cut.Store(newCut(r.reception.Highest()))
			r.mu.Unlock()
		}
		r.sink.Store(next)
	}
}

// sinks returns what each reader feeds.
func (p *peer) sinks() map[*reader]*entry {
	out := make(map[*reader]*entry, len(p.readers))
	for _, r := range p.readers {
		out[r] = r.sink.Load()
	}
	return out
}

// answered tells the cuts that the answer is out.
func (p *peer) answered() {
	now := p.feedback.now()
	for _, r := range p.readers {
		if c := r.cut.Load(); c != nil {
			c.answered(now)
		}
	}
}
