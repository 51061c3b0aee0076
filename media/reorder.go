package media

import "time"

// packet is one RTP packet on its way to the assembler. Its payload is valid only during the call that hands it over.
type packet struct {
	seq       int64 // unwrapped
	timestamp uint32
	marker    bool
	codec     *CodecParameters // nil: nothing that can be used; it only fills its place in the sequence
	payload   []byte
	received  time.Time
	ext       extensions
	restored  bool // out of a redundant packet
	// lost counts the packets that were given up just before this one.
	lost int
}

// isKey tells whether a packet is about a telephone key: its timestamp is that of the key's beginning.
func (p *packet) isKey() bool { return p.codec != nil && p.codec.Codec == CodecTelephoneEvent }

// reorderBuffer puts packets into sequence order. In order, nothing is kept and nothing is copied. When one is missing,
// those after it wait for a retransmission for a bounded time and in a bounded number; then the missing ones are given up.
type reorderBuffer struct {
	maxWait    time.Duration // while lateness does not know better
	lateness   *lateness     // nil waits for maxWait
	maxPackets int
	deliver    func(*packet)

	started  bool
	expected int64
	highest  int64
	waiting  map[int64]*packet
	free     []*packet
	gapSince time.Time
	restart  int64  // the sequence number that would prove that the source began anew
	newest   uint32 // timestamp of the packet delivered last that was not of a key

	late, duplicate, lost uint64
}

// maxHole is the longest run of packets that is waited for: a longer one is mended sooner by a key frame, and nobody asks for
// it to be sent again.
const maxHole = 128

// maxMisorder is how far behind a packet may be and still be a late one.
const maxMisorder = 1000

func newReorderBuffer(maxWait time.Duration, maxPackets int, deliver func(*packet)) *reorderBuffer {
	return &reorderBuffer{maxWait: maxWait, maxPackets: maxPackets, deliver: deliver, waiting: map[int64]*packet{}}
}

// push takes a packet. Its payload is copied only if it has to wait.
func (b *reorderBuffer) push(p *packet) {
	if !b.started {
		b.started, b.expected, b.highest = true, p.seq, p.seq
	}
	if p.seq-b.highest-1 > maxHole {
		b.skipTo(p)
	}
	b.observe(p)
	b.highest = max(b.highest, p.seq)
	switch {
	case p.seq < b.expected:
		b.old(p)
	case p.seq == b.expected:
		b.expected++
		b.handOver(p)
		b.drain()
	default:
		b.hold(p)
	}
}

// observe lets lateness learn.
func (b *reorderBuffer) observe(p *packet) {
	switch {
	case b.lateness == nil:
	case p.seq > b.highest+1:
		b.lateness.noticed(b.highest+1, p.seq, p.received)
	case p.seq <= b.highest:
		b.lateness.came(p.seq, p.received, p.restored)
	}
}

func (b *reorderBuffer) handOver(p *packet) {
	if !p.isKey() {
		b.newest = p.timestamp
	}
	b.deliver(p)
}

// wait returns how long a missing packet is waited for.
func (b *reorderBuffer) wait() time.Duration {
	if b.lateness == nil {
		return b.maxWait
	}
	return b.lateness.wait(b.maxWait)
}

// missingBefore returns how many packets there may be room for before one that has just come; 0 in the usual case that none is missing.
func (b *reorderBuffer) missingBefore(seq int64) int64 {
	if !b.started || seq <= b.expected {
		return 0
	}
	return min(seq-b.expected, maxHole)
}

// fits tells whether a packet is missing, and a timestamp lies between those of the packets around it.
func (b *reorderBuffer) fits(seq int64, timestamp uint32) bool {
	if _, waits := b.waiting[seq]; waits || seq < b.expected {
		return false
	}
	if int32(timestamp-b.newest) <= 0 { //nolint:gosec // the wrap is wanted
		return false
	}
	for other, p := range b.waiting {
		if p.isKey() {
			continue
		}
		if d := int32(timestamp - p.timestamp); other < seq && d <= 0 || other > seq && d >= 0 { //nolint:gosec // the wrap is wanted
			return false
		}
	}
	return true
}

// old handles a packet whose turn is over. Two that follow each other far behind mean that the source has begun anew
// (RFC 3550 appendix A.1).
func (b *reorderBuffer) old(p *packet) {
	b.late++
	if b.expected-p.seq <= maxMisorder {
		return
	}
	if p.seq != b.restart {
		b.restart = p.seq + 1
		return
	}
	b.reset()
	b.started, b.expected, b.highest, b.restart = true, p.seq+1, p.seq, 0
	p.lost++
	b.handOver(p)
}

// hold keeps a packet that came before its turn.
func (b *reorderBuffer) hold(p *packet) {
	if _, ok := b.waiting[p.seq]; ok {
		b.duplicate++
		return
	}
	if len(b.waiting) == 0 {
		b.gapSince = p.received
	}
	b.waiting[p.seq] = b.copyOf(p)
	if len(b.waiting) > b.maxPackets {
		b.giveUp()
	}
}

// skipTo gives up everything that is missing before a packet.
func (b *reorderBuffer) skipTo(p *packet) {
	for len(b.waiting) > 0 {
		b.giveUp()
	}
	missing := int(p.seq - b.expected)
	b.lost += uint64(missing)
	b.expected = p.seq
	p.lost += missing
}

// deadline returns when expire has something to do; zero when nothing waits.
func (b *reorderBuffer) deadline() time.Time {
	if len(b.waiting) == 0 {
		return time.Time{}
	}
	return b.gapSince.Add(b.wait())
}

// expire gives up what has been missing for too long.
func (b *reorderBuffer) expire(now time.Time) {
	for len(b.waiting) > 0 && !now.Before(b.deadline()) {
		b.giveUp()
	}
}

// giveUp skips to the first packet that is there.
func (b *reorderBuffer) giveUp() {
	first := int64(-1)
	for seq := range b.waiting {
		if first < 0 || seq < first {
			first = seq
		}
	}
	if first < 0 {
		return
	}
	missing := int(first - b.expected)
	b.lost += uint64(missing)
	b.expected = first
	b.waiting[first].lost += missing
	b.drain()
}

// drain delivers what now is in order.
func (b *reorderBuffer) drain() {
	for len(b.waiting) > 0 {
		p, ok := b.waiting[b.expected]
		if !ok {
			b.restartGap()
			return
		}
		delete(b.waiting, b.expected)
		b.expected++
		b.handOver(p)
		b.free = append(b.free, p)
	}
}

// restartGap makes the wait of the next gap count from the arrival of the oldest packet behind it.
func (b *reorderBuffer) restartGap() {
	oldest := time.Time{}
	for _, p := range b.waiting {
		if oldest.IsZero() || p.received.Before(oldest) {
			oldest = p.received
		}
	}
	b.gapSince = oldest
}

// reset forgets everything but the counters: another source has taken over.
func (b *reorderBuffer) reset() {
	for seq, p := range b.waiting {
		delete(b.waiting, seq)
		b.free = append(b.free, p)
	}
	b.started = false
	if b.lateness != nil {
		b.lateness.reset()
	}
}

func (b *reorderBuffer) copyOf(p *packet) *packet {
	var c *packet
	if n := len(b.free); n > 0 {
		c, b.free = b.free[n-1], b.free[:n-1]
	} else {
		c = &packet{}
	}
	payload := append(c.payload[:0], p.payload...)
	*c = *p
	c.payload = payload
	return c
}
