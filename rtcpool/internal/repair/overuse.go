package repair

import (
	"math"
	"time"
)

// Constants of the detector: those that draft-ietf-rmcat-gcc-02 section 5 and its implementations have settled on.
const (
	groupLength      = 5 * time.Millisecond // of packets that left together
	trendWindow      = 40                   // groups: more than is usual, for jitter of 30 ms would look like queues
	trendSmoothing   = 0.9
	trendGain        = 4
	trendMaxGroups   = 60
	firstThreshold   = 12.5 // milliseconds
	lowestThreshold  = 6
	highestThreshold = 600
	thresholdUp      = 0.0087
	thresholdDown    = 0.039
	thresholdOutlier = 15
	overuseTime      = 10 * time.Millisecond
)

// overuse tells from when packets left (abs-send-time) and when they came whether a queue is growing on the path. The delay
// between groups of packets is added up and smoothed; its slope over the last groups is held against a threshold that follows what is
// usual on the path. It is not safe for concurrent use.
type overuse struct {
	started, second bool   // a group has begun; another is complete before it
	groupSent       uint32 // 24 bits, 1/2^18 s, of the group's first packet
	lastSent        uint32 // of its last
	lastCame        time.Duration
	beforeSent      uint32 // of the last packet of the group before
	beforeCame      time.Duration
	groups          int
	sum, smoothed   float64 // milliseconds
	times, delays   [trendWindow]float64
	threshold       float64
	thresholdAt     time.Duration
	trend           float64 // the one before
	over            time.Duration
	overs           int
}

// sendTime reads abs-send-time: 24 bits of seconds, 18 of them after the point.
func sendTime(b []byte) uint32 { return uint32(b[0])<<16 | uint32(b[1])<<8 | uint32(b[2]) }

// apart is the time between two send times, which wrap after 64 s.
func apart(a, b uint32) time.Duration {
	ticks := int64(int32((a-b)<<8) >> 8) //nolint:gosec // the sign of 24 bits
	return time.Duration(ticks * int64(time.Second) >> 18)
}

// Packet takes a packet. growing tells that a queue is.
func (o *overuse) packet(sent uint32, came time.Duration) (growing bool) {
	if !o.started {
		*o = overuse{started: true, groupSent: sent, lastSent: sent, lastCame: came, threshold: firstThreshold}
		return false
	}
	since := apart(sent, o.groupSent)
	switch {
	case since > 10*time.Second || came-o.lastCame > 10*time.Second:
		o.started = false // after such a pause nothing compares
		return false
	case since < 0:
		return false // overtaken; one whose clock was set back is begun anew as after a pause
	case since <= groupLength:
		o.lastSent, o.lastCame = sent, max(came, o.lastCame)
		return false
	}
	if o.second {
		growing = o.group(apart(o.lastSent, o.beforeSent), o.lastCame-o.beforeCame, came)
	}
	o.second = true
	o.beforeSent, o.beforeCame = o.lastSent, o.lastCame
	o.groupSent, o.lastSent, o.lastCame = sent, sent, came
	return growing
}

// group takes the distance of two groups at their departure and at their arrival.
func (o *overuse) group(sent, came, now time.Duration) (growing bool) {
	o.sum += float64(came-sent) / float64(time.Millisecond)
	o.smoothed = trendSmoothing*o.smoothed + (1-trendSmoothing)*o.sum
	i := o.groups % trendWindow
	o.times[i], o.delays[i] = float64(o.lastCame)/float64(time.Millisecond), o.smoothed
	o.groups++
	if o.groups < trendWindow {
		return false
	}
	trend := slope(&o.times, &o.delays)
	strength := float64(min(o.groups, trendMaxGroups)) * trend * trendGain
	growing = o.judge(strength, trend, sent)
	o.adapt(strength, now)
	o.trend = trend
	return growing
}

// judge tells whether the trend is over the threshold, for long enough, and not falling.
func (o *overuse) judge(strength, trend float64, sent time.Duration) bool {
	if strength <= o.threshold {
		o.over, o.overs = 0, 0
		return false
	}
	o.over += sent
	o.overs++
	if o.over <= overuseTime || o.overs < 2 || trend < o.trend {
		return false
	}
	o.over, o.overs = 0, 0
	return true
}

// adapt moves the threshold towards what is usual: quickly down, slowly up, and not at all for a spike.
func (o *overuse) adapt(strength float64, now time.Duration) {
	step := min(float64(now-o.thresholdAt)/float64(time.Millisecond), 100)
	o.thresholdAt = now
	strength = math.Abs(strength)
	if strength > o.threshold+thresholdOutlier {
		return
	}
	k := thresholdUp
	if strength < o.threshold {
		k = thresholdDown
	}
	o.threshold = min(max(o.threshold+k*(strength-o.threshold)*step, lowestThreshold), highestThreshold)
}

// slope fits a line by least squares.
func slope(x, y *[trendWindow]float64) float64 {
	var mx, my float64
	for i := range x {
		mx += x[i] / trendWindow
		my += y[i] / trendWindow
	}
	var over, under float64
	for i := range x {
		over += (x[i] - mx) * (y[i] - my)
		under += (x[i] - mx) * (x[i] - mx)
	}
	if under == 0 {
		return 0
	}
	return over / under
}
