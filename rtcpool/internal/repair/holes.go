// Package repair holds the arithmetic of receiving: what is missing of a source and when to ask for it, what is reported of it, how far away
// its sender is, and what the path from it can carry. Nothing here sends, reads clocks or runs by itself: times are told, since a start.
package repair

import (
	"slices"
	"time"
)

const (
	// MaxHoles is how many packets are waited for at once: more than that are mended sooner by a key frame.
	MaxHoles = 128
	// reorderTolerance is how long a packet may be late before it is asked for; where packets overtake each other by more,
	// up to maxReorderTolerance.
	reorderTolerance    = 5 * time.Millisecond
	maxReorderTolerance = 40 * time.Millisecond
	// maxNacksPerPacket bounds how often one packet is asked for.
	maxNacksPerPacket = 10
	// nacksPerSecond and nackBurst bound how many packets of one source are asked for, whatever its sequence numbers do.
	nacksPerSecond = 500
	nackBurst      = MaxHoles
	// maxMisorder is how far behind a packet may be and still be a late one; media's reorder buffer has it too.
	maxMisorder = 1000
)

// Holes knows which packets of one source are missing, when to ask for each, and when to give it up: together with the
// reorder buffer that waits for it. Times are since an arbitrary start. It is not safe for concurrent use.
type Holes struct {
	Patience time.Duration // how long the reorder buffer waits
	Separate bool          // retransmissions come in a stream of their own

	lateness time.Duration // of packets that were overtaken, at the most, lately
	smoothed time.Duration // the round-trip time, 0 while it is not known

	started  bool
	highest  uint16
	restarts bool   // a packet was far behind
	restart  uint16 // the number that would prove that the source began anew

	payloadType uint8  // of highest | 0x80; 0 when it is not known
	same        bool   // as that of the one before
	holes       []hole // in the order of their numbers
	tokens      float64
	filled      time.Duration // when tokens was counted
}

// hole is a packet that has not come.
type hole struct {
	seq    uint16
	around uint8         // the payload type of the packets before and after | 0x80; 0 when they differ
	asked  uint8         // how often
	since  time.Duration // noticed
	last   time.Duration // asked for
	due    time.Duration // to be asked for
}

// Carries takes note of the payload type of a packet, before received does of its number.
func (m *Holes) Carries(payloadType uint8, seq uint16) {
	if m.started && int16(seq-m.highest) <= 0 { //nolint:gosec // the wrap is wanted
		return
	}
	m.same = m.payloadType == payloadType|0x80
	m.payloadType = payloadType | 0x80
}

// Carried returns the payload type of a packet that is missing: that of those around it, if both have the same.
func (m *Holes) Carried(seq uint16) (payloadType uint8, sure bool) {
	i := slices.IndexFunc(m.holes, func(h hole) bool { return h.seq == seq })
	if i < 0 {
		return 0, false
	}
	around := m.holes[i].around
	return around & 0x7f, around != 0
}

// Received takes note of a packet (RFC 3550 section 5.1: numbers wrap). opened tells whether a hole was found that was not
// there; repaired, whether the packet had been asked for.
func (m *Holes) Received(seq uint16, now time.Duration) (opened, repaired bool) {
	if !m.started {
		m.started, m.highest = true, seq
		return false, false
	}
	ahead := int(int16(seq - m.highest)) //nolint:gosec // the wrap is wanted
	if ahead <= 0 {
		return false, m.old(seq, ahead, now)
	}
	first := m.highest + 1
	m.highest = seq
	if ahead == 1 {
		return false, false
	}
	if ahead-1+len(m.holes) > MaxHoles {
		m.holes = m.holes[:0]
	}
	if ahead-1 > MaxHoles {
		return false, false
	}
	around := uint8(0)
	if m.same {
		around = m.payloadType
	}
	for s := first; s != seq; s++ {
		m.holes = append(m.holes, hole{seq: s, around: around, since: now, due: now + m.Tolerance()})
	}
	return true, false
}

// old takes a packet that is not the newest. Two that follow each other far behind mean that the source began anew
// (RFC 3550 appendix A.1).
func (m *Holes) old(seq uint16, ahead int, now time.Duration) (repaired bool) {
	if ahead < -maxMisorder {
		if m.restarts && seq == m.restart {
			m.highest, m.holes, m.payloadType = seq, m.holes[:0], 0
		}
		m.restarts, m.restart = true, seq+1
		return false
	}
	h, found := m.fill(seq)
	if !found && !m.Separate { // it came twice: the one that was asked for was only late
		m.overtaken(m.Tolerance() * 9 / 8)
	}
	if original := m.Separate || h.asked == 0 || now-h.last < m.smoothed/2; found && original {
		m.overtaken(now - h.since)
		return false
	}
	return found
}

// overtaken learns from a packet that was only late.
func (m *Holes) overtaken(by time.Duration) {
	m.lateness -= m.lateness / 32
	m.lateness = max(m.lateness, by)
}

// Tolerance is how long a packet may be late before it is asked for.
func (m *Holes) Tolerance() time.Duration {
	return min(max(reorderTolerance, m.lateness+m.lateness/8), maxReorderTolerance)
}

// fill removes a hole. found is false when there was none.
func (m *Holes) fill(seq uint16) (h hole, found bool) {
	i := slices.IndexFunc(m.holes, func(h hole) bool { return h.seq == seq })
	if i < 0 {
		return hole{}, false
	}
	h = m.holes[i]
	m.holes = slices.Delete(m.holes, i, i+1)
	return h, true
}

// Retransmitted takes note of a packet that was sent again. wanted is false for one that has come, was given up or was never
// asked for: senders probe the path with those. roundTrip is 0 unless it can be told: a packet that was asked for twice may
// answer either.
func (m *Holes) Retransmitted(seq uint16, now time.Duration) (wanted bool, roundTrip time.Duration) {
	if !m.started {
		return false, 0
	}
	if ahead := int16(seq - m.highest); ahead > 0 { //nolint:gosec // the wrap is wanted
		if ahead <= MaxHoles {
			m.payloadType, m.same = 0, false
			m.Received(seq, now)
		}
		return ahead <= MaxHoles, 0
	}
	h, found := m.fill(seq)
	if found && h.asked == 1 {
		roundTrip = now - h.last
	}
	return found, roundTrip
}

// Wants appends the packets to be asked for now, and returns when to look again; 0 is when nothing is missing.
func (m *Holes) Wants(seqs []uint16, now, smoothed, timeout time.Duration) (out []uint16, next time.Duration) {
	m.holes = slices.DeleteFunc(m.holes, func(h hole) bool { return now-h.since >= m.Patience })
	m.smoothed = smoothed
	m.refill(now)
	for i := range m.holes {
		h := &m.holes[i]
		if h.due <= now {
			seqs = m.ask(h, seqs, now, smoothed, timeout)
		}
		if next == 0 || h.due < next {
			next = h.due
		}
	}
	return seqs, next
}

// ask appends one packet, unless its answer would come too late or too much was asked for.
func (m *Holes) ask(h *hole, seqs []uint16, now, smoothed, timeout time.Duration) []uint16 {
	switch {
	case h.asked >= maxNacksPerPacket, now+smoothed > h.since+m.Patience:
		h.due = h.since + m.Patience // to be forgotten
		return seqs
	case m.tokens < 1:
		h.due = now + minRepairTimeout
		return seqs
	}
	m.tokens--
	if smoothed == 0 {
		timeout = minRepairTimeout << min(h.asked, 4) // blind: back off
	}
	h.asked++
	h.last, h.due = now, now+timeout
	return append(seqs, h.seq)
}

func (m *Holes) refill(now time.Duration) {
	if m.filled == 0 {
		m.tokens = nackBurst
	}
	m.tokens = min(m.tokens+(now-m.filled).Seconds()*nacksPerSecond, nackBurst)
	m.filled = now
}

// Forget gives up everything: the source has ended.
func (m *Holes) Forget() { m.holes, m.started = m.holes[:0], false }

// Missing is how many packets are waited for.
func (m *Holes) Missing() int { return len(m.holes) }
