package media

import (
	"math"
	"sync"
	"sync/atomic"
	"time"
)

// Bounds of the audio path.
const (
	// maxConceal is the longest loss that is made up for; a longer one is a gap on the time line.
	maxConceal = time.Second
	// maxQuiet is the longest hole without loss that is filled: Opus senders break the silence of DTX at least every 400 ms.
	// A longer one is a publisher who is muted, and no frame speaks for him.
	maxQuiet = 500 * time.Millisecond
	// maxAudioQueue bounds the packets that wait for a worker.
	maxAudioQueue = 100
	// maxPacketTime is the longest packet that RFC 6716 section 3.2.5 allows.
	maxPacketTime = 120 * time.Millisecond
)

// audioPath is the part of an audio track behind the assembler: one decoder for each distinct rate and channel count that
// somebody asks for.
type audioPath struct {
	t    *Track
	task task

	// Guarded by t.mu.
	queue []*unit

	mu     sync.Mutex // held by the worker for the length of one step
	closed bool
	lanes  []*lane

	decoded, errs, dropped atomic.Uint64
}

// lane decodes for all consumers of one rate and channel count.
type lane struct {
	rate, channels int
	codec          CodecParameters
	dec            audioDecoder
	res            *resampler
	consumers      []*Consumer
	started        bool
	next           time.Duration // where the next packet should begin
	length         time.Duration // of the packet before
	raw, out       []int16
}

func newAudioPath(t *Track) *audioPath {
	a := &audioPath{t: t}
	a.task = task{kind: KindAudio, step: a.step}
	return a
}

// add takes the next packet, whose reference it takes over. Called with t.mu.
func (a *audioPath) add(u *unit) {
	for _, c := range a.t.consumers {
		if c.req.Encoded {
			deliverPacket(c, u)
		}
	}
	if a.t.decoding == 0 {
		u.release()
		return
	}
	if len(a.queue) >= maxAudioQueue {
		a.dropped.Add(1)
		a.queue[0].release()
		a.queue = append(a.queue[:0], a.queue[1:]...)
	}
	a.queue = append(a.queue, u)
	a.t.cfg.Pool.schedule(&a.task)
}

// deliverPacket queues a packet as received. Called with t.mu.
func deliverPacket(c *Consumer, u *unit) {
	c.addLoss(u.lost)
	if c.done() || !c.accepts(u.codec.Codec, u.time) {
		return
	}
	samples := packetSamples(u.codec, u.data)
	length := ticks(int64(samples), max(u.codec.ClockRate, 1))
	c.sent = true
	c.push(&Frame{
		Kind: KindAudio, RTPTimestamp: u.timestamp, Time: u.time, Captured: u.captured, Received: u.received,
		Duration: length, span: length, Samples: samples, KeyFrame: true,
		Level: u.ext.level, HasLevel: u.ext.hasLevel, Voice: u.ext.voice, Payload: u.payload(),
	})
}

// idle is called with t.mu when the last decoding consumer has gone.
func (a *audioPath) idle() {
	a.flushQueue()
	a.t.cfg.Pool.schedule(&a.task)
}

func (a *audioPath) flushQueue() {
	for i, u := range a.queue {
		u.release()
		a.queue[i] = nil
	}
	a.queue = a.queue[:0]
}

func (a *audioPath) step() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	u, consumers, more := a.take()
	if a.closed {
		consumers = nil
	}
	a.arrange(consumers)
	if u == nil {
		return false
	}
	for _, l := range a.lanes {
		a.decode(l, u)
	}
	u.release()
	return more
}

func (a *audioPath) take() (u *unit, consumers []*Consumer, more bool) {
	a.t.mu.Lock()
	defer a.t.mu.Unlock()
	if a.t.decoding > 0 {
		consumers = a.t.consumers
	}
	if len(a.queue) == 0 {
		return nil, consumers, false
	}
	u = a.queue[0]
	n := copy(a.queue, a.queue[1:])
	a.queue[n] = nil
	a.queue = a.queue[:n]
	return u, consumers, n > 0
}

// arrange puts every consumer into its lane and frees lanes that nobody needs.
func (a *audioPath) arrange(consumers []*Consumer) {
	for _, l := range a.lanes {
		l.consumers = l.consumers[:0]
	}
	for _, c := range consumers {
		if c.req.Audio != nil {
			l := a.lane(c.req.Audio.Rate, c.req.Audio.Channels)
			l.consumers = append(l.consumers, c)
		}
	}
	kept := a.lanes[:0]
	for _, l := range a.lanes {
		if len(l.consumers) > 0 {
			kept = append(kept, l)
		} else {
			l.free()
		}
	}
	clear(a.lanes[len(kept):])
	a.lanes = kept
}

func (a *audioPath) lane(rate, channels int) *lane {
	for _, l := range a.lanes {
		if l.rate == rate && l.channels == channels {
			return l
		}
	}
	l := &lane{rate: rate, channels: channels}
	a.lanes = append(a.lanes, l)
	return l
}

// decode brings one packet to a lane's consumers.
func (a *audioPath) decode(l *lane, u *unit) {
	if !l.open(u) {
		return
	}
	for _, c := range l.consumers {
		c.addLoss(u.lost)
		c.accepts(u.codec.Codec, u.time)
	}
	a.fill(l, u)
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

// fill makes up for what is missing between the packet before and this one: lost packets are concealed, the last of them
// from this one's in-band FEC if it has any; silence that was not sent (DTX) is left to the decoder's comfort noise.
func (a *audioPath) fill(l *lane, u *unit) {
	hole := u.time - l.next
	switch {
	case !l.started:
		l.started = true
		return
	case hole > -time.Millisecond && hole < time.Millisecond:
		return
	case hole < 0, hole > maxConceal, hole > maxQuiet && u.lost.Frames == 0:
		for _, c := range l.consumers {
			c.flush(u)
			if hole > 0 && u.lost.Frames > 0 {
				c.tell(Event{Kind: EventGap, Time: l.next, Gap: hole})
			}
		}
		return
	}
	if u.lost.Frames == 0 {
		l.quiet(hole, u)
		return
	}
	last := min(hole, max(l.length, 10*time.Millisecond))
	l.conceal(hole-last, u, l.next)
	l.recover(last, u)
}

// open makes decoder and resampler for the packet's codec.
func (l *lane) open(u *unit) bool {
	if l.dec != nil && l.codec == u.codec {
		return true
	}
	l.free()
	dec, err := newAudioDecoder(u.codec, l.rate, l.channels)
	if err == nil {
		l.dec, l.codec = dec, u.codec
		l.res, err = newResampler(dec.Rate(), dec.Channels(), l.rate, l.channels)
	}
	if err != nil {
		for _, c := range l.consumers {
			c.fail(err)
		}
		l.free()
		return false
	}
	l.length = 20 * time.Millisecond
	return true
}

func (l *lane) free() {
	if l.dec != nil {
		_ = l.dec.Close() // idempotent, and there is nothing to be done about it
		l.dec = nil
	}
	if l.res != nil {
		l.res.close()
		l.res = nil
	}
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
		var err error
		if l.raw, err = l.dec.Conceal(l.raw[:0], l.samples(n)); err != nil {
			l.raw = append(l.raw[:0], make([]int16, l.samples(n)*l.dec.Channels())...)
		}
		l.deliver(u, from, concealed)
		d -= n
		from += n
	}
}

// recover makes up the packet just before this one.
func (l *lane) recover(d time.Duration, u *unit) {
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
	for _, c := range l.consumers {
		if !c.done() {
			c.feed(pcm{samples: l.out, start: start, u: u, concealed: concealed})
		}
	}
}

// close frees everything; it waits for a step that is under way.
func (a *audioPath) close() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.closed = true
	for _, l := range a.lanes {
		l.free()
	}
	a.lanes = nil
	a.t.mu.Lock()
	defer a.t.mu.Unlock()
	a.flushQueue()
}
