package rtcpool

import "time"

const (
	maxHoles     = 128
	holePatience = 500 * time.Millisecond // after which a packet is not waited for any more
	repairPoll   = 10 * time.Millisecond  // how often the reader looks for retransmissions while it waits for one
)

// missing holds the sequence numbers of one source that have not come. It is a bounded memory: a longer hole is not
// waited for, a key frame mends it sooner.
type missing struct {
	started bool
	highest uint16
	holes   [maxHoles]hole
	n       int
}

type hole struct {
	seq   uint16
	until time.Time
}

// received takes note of a packet (RFC 3550 section 5.1: numbers wrap).
func (m *missing) received(seq uint16, now time.Time) {
	if !m.started {
		m.started, m.highest = true, seq
		return
	}
	ahead := int(int16(seq - m.highest)) //nolint:gosec // the wrap is wanted
	if ahead <= 0 {
		m.remove(func(h hole) bool { return h.seq == seq })
		return
	}
	if ahead-1 > maxHoles-m.n {
		m.n = 0
	}
	for s := m.highest + 1; s != seq && m.n < maxHoles && ahead-1 <= maxHoles; s++ {
		m.holes[m.n] = hole{seq: s, until: now.Add(holePatience)}
		m.n++
	}
	m.highest = seq
}

// any tells whether a packet is still waited for.
func (m *missing) any(now time.Time) bool {
	if m.n > 0 {
		m.remove(func(h hole) bool { return now.After(h.until) })
	}
	return m.n > 0
}

func (m *missing) remove(match func(hole) bool) {
	kept := 0
	for _, h := range m.holes[:m.n] {
		if !match(h) {
			m.holes[kept] = h
			kept++
		}
	}
	m.n = kept
}
