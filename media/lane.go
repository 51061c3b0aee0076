package media

import (
	"math"
	"time"
)

// laneFormat is what consumers share that are in one lane.
type laneFormat struct {
	rate, channels int
	omitSilence    bool
}

// lane decodes for all consumers of one format, but for sample layout and chunk, or for one consumer that still hears what was said before it attached.
type lane struct {
	laneFormat
	codec     CodecParameters
	dec       audioDecoder
	res       *resampler
	consumers []*Consumer
	started   bool
	next      time.Duration // where the next packet should begin
	length    time.Duration // of the packet before
	heard     time.Time     // when that was received
	spare     time.Duration // how much may be made up by now
	noise     comfortNoise
	raw, out  []int16

	owner   *Consumer // whose replay it is; nil when it is for all
	backlog []*unit   // of the replay, and what came meanwhile
	from    uint64    // the first unit that came after the replay began; 0 when there is none
}

// decode brings one packet to a lane's consumers.
func (a *audioPath) decode(l *lane, u *unit) {
	switch {
	case u.event != nil:
		for _, c := range l.consumers {
			c.tell(*u.event)
		}
		return
	case u.codec.Codec == CodecComfortNoise:
		a.silence(l, u)
		return
	case !l.open(u):
		return
	}
	for _, c := range l.consumers {
		c.addLoss(u.lost)
		c.accepts(u.codec.Codec, u.time)
	}
	defer a.t.cfg.Pool.decoded(u.codec.Codec, time.Now())
	l.fill(u)
	l.noise.off()
	var err error
	l.raw, err = l.dec.Decode(l.raw[:0], u.data)
	if err != nil {
		a.errs.Add(1)
		a.t.faults.note("decode", err)
		l.conceal(l.length, u, u.time)
		l.next = u.time + l.length
		return
	}
	a.decoded.Add(1)
	length := samplesTime(len(l.raw)/l.dec.Channels(), l.dec.Rate())
	l.deliver(u, u.time, false)
	l.next, l.length = u.time+length, length
}

// silence takes a packet of comfort noise: what is not sent from here on sounds like that.
func (a *audioPath) silence(l *lane, u *unit) {
	if l.dec == nil {
		return
	}
	for _, c := range l.consumers {
		c.addLoss(u.lost)
	}
	l.fill(u)
	l.next = max(l.next, u.time)
	l.noise.set(u.data)
}

// fill makes up for what is missing between the packet before and this one: lost packets are concealed, the last of them
// from this one's in-band FEC if it has any; silence that was not sent (DTX) is left to the decoder's comfort noise.
func (l *lane) fill(u *unit) {
	hole := u.time - l.next
	l.earn(u.received)
	switch {
	case !l.started:
		l.started, l.spare = true, maxInvented
		return
	case hole > -time.Millisecond && hole < time.Millisecond:
		return
	case hole < 0, hole > min(maxConceal, l.spare), u.lost.Frames == 0 && (hole > maxQuiet || l.omitSilence):
		l.breakOff(u, hole)
		return
	}
	l.spare -= hole
	if u.lost.Frames == 0 {
		l.quiet(hole, u)
		return
	}
	last := min(hole, max(l.length, 10*time.Millisecond))
	l.conceal(hole-last, u, l.next)
	l.recover(last, u)
}

// earn lets as much be made up as time has gone by.
func (l *lane) earn(now time.Time) {
	if passed := now.Sub(l.heard); passed > 0 {
		l.spare, l.heard = min(l.spare+passed, maxInvented), now
	}
}

// breakOff sends what is left: this packet does not join on to it.
func (l *lane) breakOff(u *unit, hole time.Duration) {
	start := l.next - l.res.delay()
	if out, err := l.res.flush(l.out[:0]); err == nil && len(out) > 0 {
		l.out = out
		l.feed(u, start, false)
	}
	for _, c := range l.consumers {
		c.flush(u)
		switch {
		case hole < 0:
		case u.lost.Frames > 0:
			c.tell(Event{Kind: EventGap, Time: l.next, Gap: hole})
		default:
			c.addSilence(hole)
		}
	}
}

// open makes decoder and resampler for the packet's codec.
func (l *lane) open(u *unit) bool {
	if l.dec != nil && l.codec == u.codec {
		return true
	}
	l.close()
	dec, err := newAudioDecoder(u.codec, l.rate, l.channels)
	if err == nil {
		l.dec, l.codec = dec, u.codec
		l.res, err = newResampler(dec.Rate(), dec.Channels(), l.rate, l.channels)
	}
	if err != nil {
		for _, c := range l.consumers {
			c.fail(err)
		}
		l.close()
		return false
	}
	l.length = 20 * time.Millisecond
	return true
}

// close frees decoder and resampler.
func (l *lane) close() {
	if l.dec != nil {
		_ = l.dec.Close() // idempotent, and there is nothing to be done about it
		l.dec = nil
	}
	if l.res != nil {
		l.res.close()
		l.res = nil
	}
}

// free frees everything.
func (l *lane) free() {
	l.close()
	for _, u := range l.backlog {
		u.release()
	}
	l.backlog = nil
}

// samples is a length at the decoder's rate.
func (l *lane) samples(d time.Duration) int {
	return int(math.Round(d.Seconds() * float64(l.dec.Rate())))
}

// conceal makes up lost packets, one at a time, from a place on the time line.
func (l *lane) conceal(d time.Duration, u *unit, from time.Duration) {
	l.invent(d, u, from, true)
}

// quiet fills silence that the sender did not send.
func (l *lane) quiet(d time.Duration, u *unit) { l.invent(d, u, l.next, false) }

func (l *lane) invent(d time.Duration, u *unit, from time.Duration, concealed bool) {
	for d > 0 {
		n := min(d, max(l.length, 10*time.Millisecond), maxPacketTime)
		if d-n < 2500*time.Microsecond { // the shortest that a decoder makes up
			n = d
		}
		l.raw = l.imagine(l.raw[:0], l.samples(n), concealed)
		l.deliver(u, from, concealed)
		d -= n
		from += n
	}
}

// imagine appends samples (per channel) that never came.
func (l *lane) imagine(dst []int16, samples int, lost bool) []int16 {
	if l.noise.on && !lost {
		return l.noise.append(dst, samples, l.dec.Channels())
	}
	out, err := l.dec.Conceal(dst, samples)
	if err != nil {
		return append(dst, make([]int16, samples*l.dec.Channels())...)
	}
	return out
}

// recover makes up the packet just before this one.
func (l *lane) recover(d time.Duration, u *unit) {
	if u.codec.Codec == CodecComfortNoise { // it says nothing of what was before
		l.conceal(d, u, u.time-d)
		return
	}
	raw, recovered, err := l.dec.Recover(l.raw[:0], u.data, l.samples(d))
	if err != nil {
		l.conceal(d, u, u.time-d)
		return
	}
	l.raw = raw
	l.deliver(u, u.time-d, !recovered)
}

// deliver resamples l.raw, which begins at start, and feeds it to the consumers.
func (l *lane) deliver(u *unit, start time.Duration, concealed bool) {
	start -= l.res.delay()
	var err error
	l.out, err = l.res.process(l.out[:0], l.raw)
	if err != nil || len(l.out) == 0 {
		return
	}
	l.feed(u, start, concealed)
}

// feed hands l.out, which begins at start, to the consumers.
func (l *lane) feed(u *unit, start time.Duration, concealed bool) {
	for _, c := range l.consumers {
		if !c.done() {
			c.feed(pcm{samples: l.out, start: start, u: u, concealed: concealed, replayed: u.index < l.from})
		}
	}
}

// alike tells whether a consumer can go over to another lane without a seam: both stand at the same place, and no resampler
// holds anything back.
func (l *lane) alike(o *lane) bool {
	return l.laneFormat == o.laneFormat && l.next == o.next && l.codec == o.codec &&
		l.res != nil && o.res != nil && l.res.s == nil && o.res.s == nil
}
