package rtcpool

import (
	"sync/atomic"
	"time"

	"github.com/penstock-media/penstock/rtcpool/internal/network"
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
// is not beyond them. What decides is when the machine received a packet: on a busy one it may be read much later. So a cut is told
// of packets as they arrive, each before its reader can see it, from before the offer is applied on.
type cut struct {
	floor  atomic.Uint32 // the highest sequence number of the owner before
	until  atomic.Int64  // by the feedback's clock; 0: the answer is not out
	passed atomic.Int64  // when the first packet of the next owner was read; 0: not yet
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

// arrived takes note of a packet, by the feedback's clock. It may be told late, and more than once.
func (c *cut) arrived(seq uint16, at time.Duration) {
	if until := c.until.Load(); until != 0 && int64(at) > until {
		return
	}
	for {
		floor := c.floor.Load()
		ahead := int16(seq - uint16(floor)) //nolint:gosec // sequence numbers wrap (RFC 3550 section 5.1)
		if ahead <= 0 || ahead > cutRun || c.floor.CompareAndSwap(floor, uint32(seq)) {
			return
		}
	}
}

// keepsOut judges a packet that was read. over tells that nothing will be kept out any more.
func (c *cut) keepsOut(seq uint16, read time.Duration) (out, over bool) {
	c.arrived(seq, read) // at that time at the latest
	if passed := c.passed.Load(); passed != 0 && int64(read-lateness) > passed {
		return false, true
	}
	if int16(seq-uint16(c.floor.Load())) <= 0 { //nolint:gosec // as above
		return true, false
	}
	if until := c.until.Load(); until != 0 && int64(read) > until {
		c.passed.CompareAndSwap(0, int64(read))
	}
	return false, false
}

// Arrived implements network.Watcher.
func (r *reader) Arrived(seq uint16, at time.Time) {
	since := at.Sub(r.peer.feedback.start)
	if c := r.expected.Load(); c != nil {
		c.arrived(seq, since)
	}
	if c := r.cut.Load(); c != nil {
		c.arrived(seq, since)
	}
}

// keepsOut tells whether a packet is one of the owner before.
func (r *reader) keepsOut(seq uint16, read time.Duration) bool {
	c := r.cut.Load()
	if c == nil {
		return false
	}
	out, over := c.keepsOut(seq, read)
	if over && r.cut.CompareAndSwap(c, nil) {
		r.peer.session.changed()
	}
	return out
}

// expectCuts lets it be noted what arrives while an offer is applied: it may give any source to another owner.
func (p *peer) expectCuts() {
	for _, r := range p.readers {
		r.expected.Store(newCut(r.highest()))
	}
	p.watch()
	for _, r := range p.readers { // what came meanwhile
		r.expected.Load().arrived(r.highest(), 0)
	}
}

// highest is the highest sequence number that has come, read or not.
func (r *reader) highest() uint16 {
	if seq, ok := r.peer.strays.inlets.highest(uint32(r.source.SSRC())); ok {
		return seq
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.reception.Highest()
}

// endExpectation goes on with the cuts that there are.
func (p *peer) endExpectation() {
	for _, r := range p.readers {
		r.expected.Store(nil)
	}
	p.watch()
}

// watch names the sources that cuts must be told of.
func (p *peer) watch() {
	var watched map[uint32]network.Watcher
	for _, r := range p.readers {
		if r.cut.Load() == nil && r.expected.Load() == nil {
			continue
		}
		if watched == nil {
			watched = make(map[uint32]network.Watcher)
		}
		watched[uint32(r.source.SSRC())] = r
	}
	p.watching = watched != nil
	p.net.Watch(watched)
}

// watchLess leaves out the sources whose cuts are over.
func (p *peer) watchLess() {
	if p.watching {
		p.watch()
	}
}

// bindReaders gives each reader the media that it feeds now. One that passes from one owner to another is cut.
func (p *peer) bindReaders(before map[*reader]*entry) {
	for _, r := range p.readers {
		next := p.session.sinkOf(r)
		if old := before[r]; old != nil && next != nil && old != next {
			if c := r.expected.Load(); c != nil {
				r.cut.Store(c)
			}
		}
		r.sink.Store(next)
	}
	p.endExpectation()
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
