package media

import "time"

const (
	// tick is the cadence in which much audio is decoded.
	tick = 5 * time.Millisecond
	// tickPhase is where in it, by the wall clock: what reads sockets in the same cadence (rtcpool) does so at its beginning.
	tickPhase = time.Millisecond
	// muchAudio is how many packets a second are worth a cadence: some in each tick. Fewer are decoded as they come.
	muchAudio = 400
	// densityWindow is over how long they are counted.
	densityWindow = 100 * time.Millisecond
)

// untilTick is how long it is to the next tick.
func untilTick(now time.Time) time.Duration {
	return tick - time.Duration((now.UnixNano()-int64(tickPhase))%int64(tick))
}

// density tells whether much audio comes. The zero value says that it does not.
type density struct {
	much  bool
	since time.Time
	count int
}

// note counts what was served.
func (d *density) note(served int, now time.Time) {
	d.count += served
	elapsed := now.Sub(d.since)
	if elapsed < densityWindow {
		return
	}
	d.much = float64(d.count) >= muchAudio*elapsed.Seconds()
	d.since, d.count = now, 0
}

// wakes collects the consumers that got something, to be woken together. It has one user at a time.
type wakes struct{ consumers []*Consumer }

func (w *wakes) add(c *Consumer) { w.consumers = append(w.consumers, c) }

// flush wakes them.
func (w *wakes) flush() {
	for i, c := range w.consumers {
		c.signal()
		w.consumers[i] = nil
	}
	w.consumers = w.consumers[:0]
}
