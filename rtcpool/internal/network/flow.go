package network

import "time"

const (
	// tick is the cadence in which dense flows are read. media decodes in the same one, by the same clock, a little later.
	tick = 5 * time.Millisecond
	// denseFlow is how many packets a second make a flow dense: one in each tick.
	denseFlow = 200
	// smallPacket is what packets of dense flows may have, in bytes: those of video come in bursts by themselves, and congestion control
	// looks closely at when each came.
	smallPacket = 600
	// flowWindow is over how long packets are counted.
	flowWindow = 100 * time.Millisecond
	// emptyTicks is how many ticks may find nothing before the flow is taken for thin.
	emptyTicks = 6
)

// flow tells whether packets come so densely to a socket, and are so small, that reading it in a cadence is worth it: each packet that is
// waited for costs some wakings of goroutines and threads, which are dearer than all that is done with a packet of
// audio. The zero value is a thin flow. It has one user at a time.
type flow struct {
	dense bool
	since time.Time
	count int
	empty int
}

// note counts a packet.
func (f *flow) note(length int, now time.Time) {
	if length > smallPacket {
		*f = flow{since: now}
		return
	}
	f.count++
	elapsed := now.Sub(f.since)
	if elapsed < flowWindow {
		return
	}
	f.dense = float64(f.count) >= denseFlow*elapsed.Seconds()
	f.since, f.count = now, 0
}

// looked counts the ticks that found nothing.
func (f *flow) looked(found bool) {
	f.empty++
	if found {
		f.empty = 0
	}
	if f.empty >= emptyTicks {
		*f = flow{since: f.since}
	}
}

// untilTick is how long it is to the next tick.
func untilTick(now time.Time) time.Duration {
	return tick - time.Duration(now.UnixNano()%int64(tick))
}
