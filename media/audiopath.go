package media

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Bounds of the audio path.
const (
	// maxConceal is the longest loss that is made up for; a longer one is a gap on the time line.
	maxConceal = time.Second
	// maxQuiet is the longest hole without loss that is filled: Opus senders break the silence of DTX at least every 400 ms.
	// A longer one is a publisher who is muted, and no frame speaks for him. It comes at once, so it must fit into the usual queue.
	maxQuiet = 450 * time.Millisecond
	// maxInvented is how much may be made up beyond the time that goes by: timestamps that run ahead of it must not keep decoders busy.
	maxInvented = 2 * time.Second
	// maxAudioQueue bounds the packets that wait for a worker.
	maxAudioQueue = 100
	// maxPacketTime is the longest packet that RFC 6716 section 3.2.5 allows.
	maxPacketTime = 120 * time.Millisecond
	// replayBatch is how many packets of a replay are decoded in one step, so that other tracks get their turn.
	replayBatch = 5
)

// audioPath is the part of an audio track behind the assembler: one decoder for each distinct rate, channel count and
// treatment of silence that somebody asks for.
type audioPath struct {
	t    *Track
	task task

	// Guarded by t.mu.
	queue []*unit
	kept  keptAudio
	added uint64 // units

	mu     sync.Mutex // held by the worker for the length of one step
	closed bool
	lanes  []*lane

	decoded, errs, dropped atomic.Uint64
}

// replay is what a consumer wants to hear before what comes next.
type replay struct {
	units []*unit // each with a reference
	from  uint64  // the first unit that is not among them
}

func newAudioPath(t *Track) *audioPath {
	a := &audioPath{t: t}
	a.task = task{kind: KindAudio, step: a.step}
	return a
}

// add takes the next packet, or what happened in its place, whose reference it takes over. Called with t.mu.
func (a *audioPath) add(u *unit) {
	a.added++
	u.index = a.added
	if u.event == nil {
		a.kept.add(u)
	}
	for _, c := range a.t.consumers {
		if c.req.Encoded {
			deliverPacket(c, u, false)
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
func deliverPacket(c *Consumer, u *unit, replayed bool) {
	c.addLoss(u.lost)
	switch {
	case u.event != nil:
		c.tell(*u.event)
		return
	case u.codec.Codec.Companion(), c.done(), !c.accepts(u.codec.Codec, u.time):
		return
	}
	samples := packetSamples(u.codec, u.data)
	length := ticks(int64(samples), max(u.codec.ClockRate, 1))
	c.sent = true
	c.push(&Frame{
		Kind: KindAudio, RTPTimestamp: u.timestamp, Time: u.time, Captured: u.captured, Received: u.received,
		Duration: length, span: length, Samples: samples, KeyFrame: true, replayed: replayed,
		Level: u.ext.level, HasLevel: u.ext.hasLevel, Voice: u.ext.voice, Payload: u.payload(),
	})
}

// attach gives a new consumer what it wants to hear of the past. Called with t.mu, before anything is added for the consumer.
func (a *audioPath) attach(c *Consumer, now time.Time) {
	if c.req.Replay == 0 {
		return
	}
	since := now.Add(-c.req.Replay)
	if since.Before(c.req.NotBefore) {
		since = c.req.NotBefore
	}
	units := a.kept.since(since)
	if len(units) == 0 {
		return
	}
	c.since = ReplayStart{Received: units[0].received, Time: units[0].time}
	if c.req.Encoded {
		for _, u := range units {
			deliverPacket(c, u, true)
		}
		return
	}
	c.replay = &replay{units: slices.Clone(units), from: a.added + 1}
	for _, u := range units {
		u.retain()
	}
	a.t.cfg.Pool.schedule(&a.task)
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

func (a *audioPath) step(w *wakes) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	u, consumers, more := a.take()
	if a.closed {
		consumers = nil
	}
	a.arrange(consumers, w)
	if u != nil {
		for _, l := range a.lanes {
			a.offer(l, u)
		}
		u.release()
	}
	for _, l := range a.lanes {
		if len(l.backlog) > 0 {
			a.catchUp(l)
			more = more || len(l.backlog) > 0
		}
	}
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

// offer brings a unit to a lane; one that still replays keeps it for its turn.
func (a *audioPath) offer(l *lane, u *unit) {
	switch {
	case u.index < l.from: // it is in the replay
	case len(l.backlog) > 0:
		u.retain()
		l.backlog = append(l.backlog, u)
	default:
		a.decode(l, u)
	}
}

// catchUp decodes some of what a lane replays.
func (a *audioPath) catchUp(l *lane) {
	n := min(replayBatch, len(l.backlog))
	for _, u := range l.backlog[:n] {
		a.decode(l, u)
		u.release()
	}
	l.backlog = slices.Delete(l.backlog, 0, n)
}

// arrange puts every consumer into its lane and frees lanes that nobody needs.
func (a *audioPath) arrange(consumers []*Consumer, w *wakes) {
	for _, l := range a.lanes {
		l.consumers = l.consumers[:0]
		if l.owner != nil && len(l.backlog) == 0 {
			a.merge(l)
		}
	}
	for _, c := range consumers {
		if c.req.Audio != nil {
			l := a.lane(c)
			l.consumers = append(l.consumers, c)
			c.later = w
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

// merge ends a replay that has caught up: its lane becomes that of all, or its consumer goes over to that; else it stays alone.
func (a *audioPath) merge(l *lane) {
	i := slices.IndexFunc(a.lanes, func(o *lane) bool { return o.owner == nil && o.laneFormat == l.laneFormat })
	if i < 0 || a.lanes[i].alike(l) {
		l.owner.replay = nil
		l.owner = nil
	}
}

// lane returns that of a consumer.
func (a *audioPath) lane(c *Consumer) *lane {
	f := laneFormat{c.req.Audio.Rate, c.req.Audio.Channels, c.req.Audio.OmitSilence}
	for _, l := range a.lanes {
		if l.owner == c || l.owner == nil && c.replay == nil && l.laneFormat == f {
			return l
		}
	}
	l := &lane{laneFormat: f}
	if r := c.replay; r != nil {
		l.owner, l.backlog, l.from = c, r.units, r.from
		r.units = nil
	}
	a.lanes = append(a.lanes, l)
	return l
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
	a.kept.clear()
}
