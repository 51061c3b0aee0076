package media

import "time"

// Bounds of lateness.
const (
	latenessStep    = 10 * time.Millisecond
	latenessBuckets = 20 // 200 ms: what a conversation bears
	// minLateWait is waited for at least: packets that overtake each other on one path do so by less, and the next redundant packet
	// has come by then.
	minLateWait = 40 * time.Millisecond
	maxLateWait = latenessBuckets * latenessStep
	// latenessMemory is how much of what is known stays with each packet more: half of it is forgotten after 34.
	latenessMemory = 0.98
	// latenessSure is how many packets must have been seen missing before what was learnt counts.
	latenessSure = 5
	// latenessShare of those that come at all are waited for.
	latenessShare = 0.95
	// latenessHope is the share of packets that must come at all for waiting to be worth it.
	latenessHope = 0.05
	// maxMissing bounds the missing packets that are watched.
	maxMissing = 64
)

// lateness learns how long it is worth waiting for packets that are missing: those that were overtaken, and those that are
// sent again. In the manner of NetEQ it keeps the distribution of how late they come, forgets what is old, and waits for nearly all of
// those that come at all. What is in order never waits, so that this is the whole delay of the jitter buffer.
type lateness struct {
	counts  [latenessBuckets]float64 // of packets that came, by how late
	never   float64                  // weight of those that did not
	missing []missing
}

// missing is a packet that was noticed to be missing.
type missing struct {
	seq   int64
	since time.Time
}

// noticed takes note that packets are missing: those from first up to, but without, next.
func (l *lateness) noticed(first, next int64, now time.Time) {
	l.forget(now)
	first = max(first, next-maxMissing)
	for s := first; s < next; s++ {
		if len(l.missing) == maxMissing {
			l.learn(maxLateWait)
			l.missing = append(l.missing[:0], l.missing[1:]...)
		}
		l.missing = append(l.missing, missing{s, now})
	}
}

// came takes note of a packet that was missing; others are left alone. Of one that was restored nothing is learnt.
func (l *lateness) came(seq int64, now time.Time, restored bool) {
	for i, m := range l.missing {
		if m.seq == seq {
			l.missing = append(l.missing[:i], l.missing[i+1:]...)
			if !restored {
				l.learn(now.Sub(m.since))
			}
			return
		}
	}
}

// forget gives up packets that will not come.
func (l *lateness) forget(now time.Time) {
	n := 0
	for n < len(l.missing) && now.Sub(l.missing[n].since) >= 2*maxLateWait {
		l.learn(maxLateWait)
		n++
	}
	l.missing = append(l.missing[:0], l.missing[n:]...)
}

// learn takes how late a packet came; from maxLateWait on it may as well not have come.
func (l *lateness) learn(late time.Duration) {
	for i := range l.counts {
		l.counts[i] *= latenessMemory
	}
	l.never *= latenessMemory
	if late >= maxLateWait {
		l.never++
		return
	}
	l.counts[max(late, 0)/latenessStep]++
}

// wait returns how long to wait. usual is what is waited while too little is known.
func (l *lateness) wait(usual time.Duration) time.Duration {
	come := 0.0
	for _, n := range l.counts {
		come += n
	}
	switch all := come + l.never; {
	case all < latenessSure*0.9: // of what was seen some is forgotten already
		return usual
	case come < latenessHope*all:
		return minLateWait
	}
	sum := 0.0
	for i, n := range l.counts {
		if sum += n; sum >= latenessShare*come {
			return min(max(time.Duration(i+2)*latenessStep, minLateWait), maxLateWait)
		}
	}
	return maxLateWait
}

// reset forgets packets of another source. What the path does is the same.
func (l *lateness) reset() { l.missing = l.missing[:0] }
