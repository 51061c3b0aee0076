package media

import "time"

// mediaClock lays RTP timestamps on the track's time line: 0 at the first packet, never going back, through
// wrap-around, a change of source (the distance is then taken from the arrival times) and of clock rate. It also maps them
// to the publisher's wall clock by sender reports.
type mediaClock struct {
	rate    uint32
	unwrap  unwrapper
	base    int64         // unwrapped timestamp at offset
	offset  time.Duration // on the time line
	started bool

	last        time.Duration // the latest on the time line
	lastArrival time.Time

	reportNTP time.Time
	reportRTP uint32

	captureNTP time.Time // of the last packet that told its capture time
	captureRTP uint32
}

// at returns where a timestamp lies on the time line, and moves the clock on.
func (c *mediaClock) at(timestamp uint32, rate uint32, arrival time.Time) time.Duration {
	if rate == 0 {
		rate = 90000
	}
	if !c.started || rate != c.rate {
		c.rebase(timestamp, rate, arrival)
	}
	t := c.offset + ticks(c.unwrap.next(timestamp)-c.base, c.rate)
	// A jump that the arrival times do not bear out is a source that was replaced behind the same ssrc.
	if d := t - c.last - arrival.Sub(c.lastArrival); d > maxClockJump || d < -maxClockJump {
		c.started = false
		c.rebase(timestamp, rate, arrival)
		t = c.offset
	}
	c.last, c.lastArrival = max(t, c.last), arrival
	return c.last
}

// locate returns where a timestamp lies without moving the clock on. false when that is not known: nothing was received, or
// the timestamp is of another clock.
func (c *mediaClock) locate(timestamp, rate uint32) (time.Duration, bool) {
	if !c.started || rate != c.rate {
		return 0, false
	}
	u := c.unwrap
	return c.offset + ticks(u.next(timestamp)-c.base, c.rate), true
}

// reckon returns where the time line is at a time of arrival.
func (c *mediaClock) reckon(arrival time.Time) time.Duration {
	if c.lastArrival.IsZero() {
		return 0
	}
	return c.last + max(arrival.Sub(c.lastArrival), 0)
}

// maxClockJump is how far the RTP clock may run away from the arrival times within one step. A paused source
// does not stop its clock, so that it is a jump only if the two differ.
const maxClockJump = 10 * time.Second

// sourceChanged makes the next timestamp start anew, at the place that its arrival gives.
func (c *mediaClock) sourceChanged() {
	c.started = false
	c.reportNTP, c.captureNTP = time.Time{}, time.Time{}
}

func (c *mediaClock) rebase(timestamp, rate uint32, arrival time.Time) {
	if !c.lastArrival.IsZero() {
		c.offset = c.last + max(arrival.Sub(c.lastArrival), 0)
	}
	c.last, c.lastArrival = c.offset, arrival
	if rate != c.rate {
		c.reportNTP, c.captureNTP = time.Time{}, time.Time{}
	}
	c.rate = rate
	c.unwrap = unwrapper{bits: 32}
	c.base = c.unwrap.next(timestamp)
	c.started = true
}

// report takes a sender report.
func (c *mediaClock) report(ntp uint64, timestamp uint32) {
	c.reportNTP, c.reportRTP = ntpTime(ntp), timestamp
}

// maxInterpolation is how far from a packet that told its capture time that of others is reckoned from it.
const maxInterpolation = 5 * time.Second

// capture takes the capture time that a packet told (abs-capture-time).
func (c *mediaClock) capture(at time.Time, timestamp uint32) {
	c.captureNTP, c.captureRTP = at, timestamp
}

// captured returns the publisher's wall clock at a timestamp; zero while nothing tells it. What packets say counts more than
// sender reports, which a mixer or an SFU on the way may write by its own clock. Senders leave it out of packets for which it can be
// reckoned from the RTP clock.
func (c *mediaClock) captured(timestamp uint32) time.Time {
	if c.rate == 0 {
		return time.Time{}
	}
	if !c.captureNTP.IsZero() {
		if d := ticks(int64(int32(timestamp-c.captureRTP)), c.rate); d.Abs() <= maxInterpolation {
			return c.captureNTP.Add(d)
		}
	}
	if c.reportNTP.IsZero() {
		return time.Time{}
	}
	return c.reportNTP.Add(ticks(int64(int32(timestamp-c.reportRTP)), c.rate))
}

// ticks turns clock ticks into a duration, without overflow for any 32-bit distance.
func ticks(n int64, rate uint32) time.Duration {
	r := int64(rate)
	return time.Duration(n/r)*time.Second + time.Duration(n%r)*time.Second/time.Duration(r)
}
