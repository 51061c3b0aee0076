package media

import "time"

// pacer picks pictures so that at most so many a second pass, evenly spaced on the time line.
type pacer struct {
	interval time.Duration // 0 lets everything pass
	due      time.Duration
	started  bool

	last    time.Duration
	spacing time.Duration // of what comes in, smoothed
}

// maxPacerInterval keeps sums of it from overflowing.
const maxPacerInterval = 365 * 24 * time.Hour

func newPacer(fps float64) pacer {
	if fps <= 0 {
		return pacer{}
	}
	return pacer{interval: time.Duration(min(float64(time.Second)/fps, float64(maxPacerInterval)))}
}

// pass tells whether the picture at t is due. Every picture must be shown to it, in order.
func (p *pacer) pass(t time.Duration) bool {
	if p.interval == 0 {
		return true
	}
	if !p.started {
		p.started, p.last, p.due = true, t, t+p.interval
		return true
	}
	if d := t - p.last; d > 0 && d < time.Second {
		if p.spacing == 0 {
			p.spacing = d
		}
		p.spacing += (d - p.spacing) / 8
	}
	p.last = t
	// The picture nearest to the due time is the right one: it may come half a spacing early.
	if t+p.spacing/2 < p.due {
		return false
	}
	p.due += p.interval
	if p.due <= t { // after a pause: start over, do not catch up
		p.due = t + p.interval
	}
	return true
}
