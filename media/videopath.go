package media

import (
	"errors"
	"sync"
	"sync/atomic"
	"time"

	"github.com/penstock-media/penstock/media/internal/picture"
)

// Bounds of the video path.
const (
	// maxRunDuration and maxRunBytes bound the units kept since the last key frame, with which a new consumer starts at once.
	maxRunDuration = 2 * time.Second
	maxRunBytes    = 2 << 20
	maxRunUnits    = 500 // a clock that stands still must not make the run long
	// maxLiveAge is how old a picture may be and still be delivered as live.
	maxLiveAge = 500 * time.Millisecond
	// maxDecodeQueue bounds the units that wait for a decode worker.
	maxDecodeQueue = 120
)

// videoPath is the part of a video track behind the assembler: the short run of encoded units, the decoder while
// somebody consumes, and the conversion for each distinct format.
type videoPath struct {
	t    *Track
	task task

	// Guarded by t.mu.
	run      []*unit // since the last key frame; empty when a consumer would have to wait for one
	runBytes int
	queue    []queuedUnit
	joins    []*Consumer // want the decoder's last picture
	thin     thinning
	share    loadShare
	limits   limits
	resting  resting
	drop     bool // nothing is queued until a key frame
	reset    bool // what the decoder has is from before nobody consumed

	// Guarded by mu, which the decode worker holds for the length of one step.
	mu       sync.Mutex
	closed   bool
	dec      videoDecoder
	decCodec CodecParameters
	waitKey  bool
	trust    trust
	last     *shown
	pictures []picture.Picture

	sound atomic.Bool // the decoder can go on with the next unit

	newDecoder func(c Codec, maxPixels int) (videoDecoder, error)

	decoded, errs, converted, dropped, skipped atomic.Uint64

	busy          atomic.Int64 // time that decoding took since it was measured
	width, height atomic.Int32
}

type queuedUnit struct {
	*unit
	quiet  bool // decode, but deliver nothing of it
	before bool // it came before its consumer, who gets it only while it is live
	queued time.Time
}

// shown is the decoder's last picture.
type shown struct {
	pic     picture.Picture
	u       *unit
	corrupt bool
}

func (s *shown) release() {
	if s != nil {
		s.pic.Release()
		s.u.release()
	}
}

func newVideoPath(t *Track) *videoPath {
	v := &videoPath{t: t, thin: newThinning(), newDecoder: newVideoDecoder}
	v.task = task{kind: KindVideo, step: v.step}
	return v
}

// add takes the next unit, whose reference it takes over. Called with t.mu.
func (v *videoPath) add(u *unit) {
	v.keep(u)
	for _, c := range v.t.consumers {
		if c.req.Encoded {
			v.deliverEncoded(c, u, false)
		}
	}
	v.thin.observe(u)
	if v.t.decoding > 0 {
		v.share.arrived++
	}
	if v.resting.on {
		v.setAside(u)
		return
	}
	if v.t.decoding == 0 || v.limits.suspended {
		u.release()
		return
	}
	v.thin.limit = v.layerLimit()
	if !v.thin.wanted(u) {
		v.skipped.Add(1)
		u.release()
		return
	}
	v.share.accepted++
	full := v.full()
	if v.drop && !u.key || full && !u.key {
		v.overflow()
		v.dropped.Add(1)
		u.release()
		return
	}
	if v.drop || full {
		v.flushQueue() // a key frame supersedes what could not be decoded in time
		v.drop = false
	}
	v.queue = append(v.queue, queuedUnit{unit: u, queued: time.Now()})
	v.t.cfg.Pool.schedule(&v.task)
}

// full tells whether too many units wait for a worker. What a decoder sees only to catch up is bounded by itself. Called with t.mu.
func (v *videoPath) full() bool {
	if len(v.queue) < maxDecodeQueue {
		return false
	}
	live := 0
	for i := range v.queue {
		if !v.queue[i].quiet {
			live++
		}
	}
	return live >= maxDecodeQueue
}

// keep puts the unit into the run, as long as the run is short. Called with t.mu.
func (v *videoPath) keep(u *unit) {
	switch {
	case u.key:
		v.dropRun()
	case len(v.run) == 0:
		return
	case u.gap, u.time-v.run[0].time > maxRunDuration, v.runBytes+len(u.data) > maxRunBytes, len(v.run) >= maxRunUnits:
		v.dropRun()
		return
	}
	u.retain()
	v.run = append(v.run, u)
	v.runBytes += len(u.data)
}

func (v *videoPath) dropRun() {
	for i, u := range v.run {
		u.release()
		v.run[i] = nil
	}
	v.run, v.runBytes = v.run[:0], 0
}

func (v *videoPath) overflow() {
	if !v.drop {
		v.drop = true
		v.t.keyFrames.want()
	}
}

func (v *videoPath) flushQueue() {
	v.dropped.Add(uint64(len(v.queue)))
	for i, q := range v.queue {
		q.release()
		v.queue[i] = queuedUnit{}
	}
	v.queue = v.queue[:0]
}

// idle is called with t.mu when nothing is to be decoded for a while: the worker frees the decoder.
func (v *videoPath) idle() {
	if v.resting.on {
		v.wake()
		v.leaveOut(len(v.queue))
	}
	v.flushQueue()
	v.joins = nil
	v.drop, v.reset = false, true
	v.t.cfg.Pool.schedule(&v.task)
}

// step decodes one unit, or serves those who joined.
func (v *videoPath) step(*wakes) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	q, joins, consumers, more := v.take()
	if v.closed {
		consumers = nil
	}
	if q.unit != nil {
		if consumers != nil {
			begun := time.Now()
			v.decode(q, consumers)
			v.t.cfg.Pool.decoded(q.codec.Codec, begun)
			if !q.quiet {
				v.busy.Add(int64(time.Since(begun)))
			}
		}
		q.release()
	}
	for _, c := range joins {
		v.join(c)
	}
	return more
}

// take gets the next thing to do. consumers is nil when nobody wants pictures.
func (v *videoPath) take() (q queuedUnit, joins, consumers []*Consumer, more bool) {
	v.t.mu.Lock()
	defer v.t.mu.Unlock()
	if v.reset {
		v.reset = false
		v.freeDecoder()
	}
	if v.resting.on {
		return q, nil, nil, false
	}
	if v.t.decoding > 0 {
		consumers = v.t.consumers
	}
	if len(v.queue) == 0 {
		joins, v.joins = v.joins, nil
		return q, joins, consumers, false
	}
	q = v.queue[0]
	q.quiet = q.quiet || q.before && time.Since(q.received) > maxLiveAge
	if !q.quiet {
		v.waited(time.Since(q.queued))
	}
	n := copy(v.queue, v.queue[1:])
	v.queue[n] = queuedUnit{}
	v.queue = v.queue[:n]
	return q, nil, consumers, n > 0 || len(v.joins) > 0
}

// waited notes how long a unit waited for a worker. Called with t.mu.
func (v *videoPath) waited(d time.Duration) {
	if v.share.units == 0 || d < v.share.waited {
		v.share.waited = d
	}
	v.share.units++
}

// decode decodes one unit and delivers what comes of it.
func (v *videoPath) decode(q queuedUnit, consumers []*Consumer) {
	u := q.unit
	lose(consumers, u.lost)
	if v.decCodec.Codec != u.codec.Codec {
		v.freeDecoder()
	}
	if u.gap || v.dec == nil {
		v.waitKey = true
		v.sound.Store(false)
	}
	if v.waitKey && !u.key {
		v.dropped.Add(1)
		lose(consumers, Loss{Frames: 1, Duration: u.span})
		v.t.keyFrames.want()
		return
	}
	if !v.open(u, consumers) {
		return
	}
	v.waitKey = false
	var err error
	v.pictures, err = v.dec.Decode(v.pictures[:0], u.data, int64(u.time))
	good := v.judge(u, err, consumers)
	v.sound.Store(v.dec != nil)
	for i, pic := range v.pictures {
		v.pictures[i] = nil
		if !good {
			pic.Release()
			continue
		}
		v.show(pic, u, v.dec == nil)
		if !q.quiet && i == len(v.pictures)-1 {
			v.fanOut(consumers)
		}
	}
}

// lose notes for those who get pictures what they will not get.
func lose(consumers []*Consumer, l Loss) {
	for _, c := range consumers {
		if c.req.Video != nil {
			c.addLoss(l)
		}
	}
}

// open makes the decoder if there is none.
func (v *videoPath) open(u *unit, consumers []*Consumer) bool {
	if v.dec != nil {
		return true
	}
	dec, err := v.newDecoder(u.codec.Codec, v.t.cfg.MaxPicturePixels)
	if err != nil {
		for _, c := range consumers {
			if c.req.Video != nil {
				c.fail(err)
			}
		}
		return false
	}
	v.dec, v.decCodec = dec, u.codec
	return true
}

// show makes the picture the last one. It takes over the caller's reference.
func (v *videoPath) show(pic picture.Picture, u *unit, corrupt bool) {
	v.last.release()
	u.retain()
	v.last = &shown{pic: pic, u: u, corrupt: corrupt}
	w, h := pic.Size()
	v.width.Store(int32(w))
	v.height.Store(int32(h))
}

// fanOut delivers the last picture to all who are due, converting it once for each distinct format.
func (v *videoPath) fanOut(consumers []*Consumer) {
	done := conversions{}
	for _, c := range consumers {
		if c.req.Video == nil || v.last.u.again && c.sent || c.tooOld(v.last.u.received) {
			continue
		}
		if c.pacer.pass(v.last.u.time) {
			v.deliver(c, v.last.pic, v.last.u, &done)
		}
	}
	done.release()
}

// deliver converts a picture for one consumer, unless done has it already, and queues it.
func (v *videoPath) deliver(c *Consumer, pic picture.Picture, u *unit, done *conversions) {
	if c.done() {
		return
	}
	w, h := pic.Size()
	if f := (unitFormat{u.codec.Codec, w, h}); f != c.known {
		if c.known.width != 0 && c.known.height != 0 || c.known.codec != CodecUnknown && c.known.codec != f.codec {
			c.tell(Event{Kind: EventFormatChanged, Time: u.time, Codec: f.codec, Width: w, Height: h})
		}
		c.known = f
	}
	out, err := v.convert(c, pic, u, done)
	var size *SizeError
	var format *FormatError
	switch {
	case errors.As(err, &size):
		c.refuse(size, u.time)
	case errors.Is(err, ErrNotImplemented), errors.As(err, &format):
		c.fail(err)
	case err != nil:
		v.errs.Add(1)
		v.t.faults.note("convert", err)
	default:
		c.sent, c.tooLarge = true, false
		c.push(v.frame(c, u, out))
	}
}

// refuse tells a consumer once that pictures have grown too large for it. If that is so from the beginning, it asked for too much.
func (c *Consumer) refuse(size *SizeError, at time.Duration) {
	switch {
	case !c.sent:
		c.fail(size)
	case !c.tooLarge:
		c.tooLarge = true
		c.tell(Event{Kind: EventTooLarge, Time: at, PayloadBytes: size.PayloadBytes, Width: size.Width, Height: size.Height})
	}
}

func (v *videoPath) frame(c *Consumer, u *unit, out converted) *Frame {
	f := &Frame{
		Kind: KindVideo, RTPTimestamp: u.timestamp, Time: u.time, Captured: u.captured, Received: u.received,
		Width: out.plan.width, Height: out.plan.height, KeyFrame: u.key, Planes: out.planes, Payload: out.payload,
		Corrupt: v.last.corrupt, span: u.span,
	}
	if c.began {
		f.span = max(u.time-c.before, 0)
	}
	c.began, c.before = true, u.time
	if c.req.Video.ReportRotation {
		f.Rotation = u.rotation
	}
	return f
}

// freeDecoder forgets everything that was decoded.
func (v *videoPath) freeDecoder() {
	v.last.release()
	v.last, v.trust = nil, trust{}
	v.closeDecoder()
}

// closeDecoder lets the next key frame begin with another decoder.
func (v *videoPath) closeDecoder() {
	if v.dec != nil {
		_ = v.dec.Close() // idempotent, and there is nothing to be done about it
		v.dec = nil
	}
	v.waitKey = true
	v.sound.Store(false)
}

// close frees everything; it waits for a step that is under way.
func (v *videoPath) close() {
	v.t.cfg.Pool.load.remove(v)
	v.mu.Lock()
	defer v.mu.Unlock()
	v.closed = true
	v.freeDecoder()
	v.t.mu.Lock()
	defer v.t.mu.Unlock()
	v.wake()
	v.flushQueue()
	v.dropRun()
}
