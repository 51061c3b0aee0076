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

	told senderReport

	followed  time.Time // by the publisher's clock, where an encoding ended that another follows
	following bool      // the other is not beyond that yet
	lastStamp uint32

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
		c.sourceChanged()
		c.rebase(timestamp, rate, arrival)
		t = c.offset
	}
	if c.following && t <= c.last {
		t = c.last + ticks(1, c.rate)
	} else {
		c.following = false
	}
	c.last, c.lastArrival, c.lastStamp = max(t, c.last), arrival, timestamp
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
	c.told, c.captureNTP = senderReport{}, time.Time{}
}

// maxSkew is how far capture times may be from arrival times when one encoding follows another: beyond it one of the two is wrong.
const maxSkew = time.Second

// follow makes the next timestamp one of another encoding of the same pictures. It lies where the publisher's clock puts it, else where
// its arrival does, but after all before.
func (c *mediaClock) follow(r senderReport) {
	followed := c.captured(c.lastStamp)
	c.sourceChanged()
	c.told, c.followed, c.following = r, followed, !c.lastArrival.IsZero()
}

func (c *mediaClock) rebase(timestamp, rate uint32, arrival time.Time) {
	if !c.lastArrival.IsZero() {
		since := arrival.Sub(c.lastArrival)
		if !c.following {
			since = max(since, 0)
		}
		if at := c.captured(timestamp); !at.IsZero() && !c.followed.IsZero() {
			if d := at.Sub(c.followed); (d - since).Abs() <= maxSkew {
				since = d
			}
		}
		c.offset = c.last + since
	}
	c.followed = time.Time{}
	c.last, c.lastArrival = max(c.last, c.offset), arrival
	if rate != c.rate && c.rate != 0 {
		c.told, c.captureNTP = senderReport{}, time.Time{}
	}
	c.rate = rate
	c.unwrap = unwrapper{bits: 32}
	c.base = c.unwrap.next(timestamp)
	c.started = true
}

// senderReport is when, by the publisher's clock, a timestamp was (RFC 3550 section 6.4.1); a zero time is none.
type senderReport struct {
	at        time.Time
	timestamp uint32
}

// report takes a sender report.
func (c *mediaClock) report(r senderReport) { c.told = r }

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
	if c.told.at.IsZero() {
		return time.Time{}
	}
	return c.told.at.Add(ticks(int64(int32(timestamp-c.told.timestamp)), c.rate))
}

// ticks turns clock ticks into a duration, without overflow for any 32-bit distance.
func ticks(n int64, rate uint32) time.Duration {
	r := int64(rate)
	return time.Duration(n/r)*time.Second + time.Duration(n%r)*time.Second/time.Duration(r)
}
