package media

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// Consumer is one subscription. Next has one caller at a time; Close may be called from anywhere, at any time.
type Consumer struct {
	track *Track
	req   Request // every default filled in

	attached time.Time

	// The decode worker's, or for encoded ones the track's, under its lock.
	pacer           pacer
	chunk           chunker
	replay          *replay     // audio: what is still to be heard of the past; set before the consumer is known to others
	since           ReplayStart // audio
	known           unitFormat
	sent            bool // something was delivered
	tooLarge        bool // EventTooLarge was told
	toldUndecodable bool
	plans           planCache
	limited         bool          // under the track's lock: a limit was told
	later           *wakes        // decoded audio: collects who is to be woken; nil wakes at once
	waitKey         bool          // encoded video: nothing until a key frame
	began           bool          // video: before is valid
	before          time.Duration // video: where the picture before lies on the time line

	held atomic.Int64 // bytes in the queue, of the budget of all

	mu      sync.Mutex
	queue   []Item
	head    int
	read    time.Time // when the reader last asked for more, or there was something for it again
	cut     bool      // encoded video: the queue was dropped, which the next unit must heed
	seq     uint64
	quiet   time.Duration // for which nothing is made, before the next frame that is
	unquiet time.Duration // the same, before frames that were dropped
	lost    Loss          // on the network, before the next frame that is made
	missed  Loss          // on the network, before frames that were dropped
	dropped Loss
	gave    gaveUp
	events  int
	err     error // told after the queue is empty
	closed  bool
	wake    chan struct{}

	firstPacket, firstFrame time.Time // see Beginning
}

// unitFormat is what a consumer was told of the media as received.
type unitFormat struct {
	codec         Codec
	width, height int
}

// maxQueuedFrames bounds frames that are a byte long, on a clock that stands still.
const maxQueuedFrames = 16 << 10

// maxQueuedEvents bounds events that nobody reads; the oldest go.
const maxQueuedEvents = 64

func newConsumer(t *Track, r Request) *Consumer {
	now := time.Now()
	c := &Consumer{track: t, req: r, attached: now, wake: make(chan struct{}, 1), read: now}
	if r.Video != nil {
		c.pacer = newPacer(r.Video.MaxFPS)
	}
	return c
}

// Format returns what is delivered, every default filled in. Of an encoded consumer both are nil.
func (c *Consumer) Format() (*AudioFormat, *VideoFormat) { return c.req.Audio, c.req.Video }

// ReplayStart is where a replay begins.
type ReplayStart struct {
	Received time.Time     // when the first packet was received; zero when nothing is replayed
	Time     time.Duration // of it, on the track's time line
}

// Replays returns what [Request.Replay] begins with.
func (c *Consumer) Replays() ReplayStart { return c.since }

// Next waits for the next frame or event, in order. Errors: ctx's; *EndedError after the last item of a track that ended;
// ErrStalled; ErrClosed; *SizeError when the very first picture does not fit; ErrUnsupportedCodec, ErrCodecNotAccepted when
// that shows only with the first packet.
func (c *Consumer) Next(ctx context.Context) (Item, error) {
	for {
		item, ok, err := c.take()
		if ok || err != nil {
			return item, err
		}
		select {
		case <-c.wake:
		case <-ctx.Done():
			return Item{}, ctx.Err()
		}
	}
}

func (c *Consumer) take() (Item, bool, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return Item{}, false, ErrClosed
	}
	c.read = time.Now()
	if c.head == len(c.queue) {
		return Item{}, false, c.err
	}
	item := c.pop()
	if f := item.Frame; f != nil {
		f.Dropped, c.dropped = c.dropped, Loss{}
		f.Lost.Add(c.missed)
		c.missed = Loss{}
		f.Silence += c.unquiet
		c.unquiet = 0
	}
	return item, true, nil
}

// Close detaches, releases what is queued and wakes Next. It is idempotent.
func (c *Consumer) Close() {
	c.mu.Lock()
	if c.closed {
		c.mu.Unlock()
		return
	}
	c.closed = true
	c.clear()
	c.mu.Unlock()
	c.signal()
	c.budget().leave(c)
	c.track.detach(c)
}

func (c *Consumer) budget() *queueBudget { return &c.track.cfg.Pool.queues }

func (c *Consumer) signal() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// fail ends the consumer with an error, after what is queued.
func (c *Consumer) fail(err error) {
	c.mu.Lock()
	if c.err == nil {
		c.err = err
	}
	c.mu.Unlock()
	c.signal()
}

// done tells whether nothing more can be delivered.
func (c *Consumer) done() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.closed || c.err != nil
}

// tooOld tells whether what was received at a time is not for the consumer.
func (c *Consumer) tooOld(received time.Time) bool { return received.Before(c.req.NotBefore) }

// addLoss notes what the network lost before the next frame.
func (c *Consumer) addLoss(l Loss) {
	if l == (Loss{}) {
		return
	}
	c.mu.Lock()
	c.lost.Add(l)
	c.mu.Unlock()
}

// addSilence notes for how long nothing was sent before the next frame.
func (c *Consumer) addSilence(d time.Duration) {
	c.mu.Lock()
	c.quiet += d
	c.mu.Unlock()
}

// push queues a frame, whose payload reference it takes over. overflow tells that frames had to go.
func (c *Consumer) push(f *Frame) (overflow bool) {
	c.mu.Lock()
	if c.closed || c.err != nil || c.tooOld(f.Received) {
		c.mu.Unlock()
		f.Payload.Release()
		return false
	}
	if c.seq++; c.seq == 1 {
		c.beginsWith(f)
	}
	f.Sequence = c.seq
	f.Lost.Add(c.lost)
	c.lost = Loss{}
	f.Silence, c.quiet = c.quiet, 0
	if c.head == len(c.queue) {
		c.read = time.Now()
	}
	c.append(Item{Frame: f})
	c.hold(f.Payload.Len())
	overflow = c.bound(f)
	if overflow && c.err == nil && c.stalls() {
		c.stall()
	}
	ended := c.err != nil
	c.mu.Unlock()
	if ended && c.req.Stalled != nil {
		c.req.Stalled()
	}
	if c.later != nil {
		c.later.add(c)
	} else {
		c.signal()
	}
	c.budget().relieve()
	return overflow
}

// stalls tells whether the reader has not asked for anything for too long.
func (c *Consumer) stalls() bool {
	limit := c.req.StallAfter
	return limit > 0 && time.Since(c.read) > limit
}

// tell queues an event.
func (c *Consumer) tell(e Event) {
	c.mu.Lock()
	if !c.closed && c.err == nil {
		if c.events == maxQueuedEvents {
			c.dropOldestEvent()
		}
		c.events++
		c.append(Item{Event: &e})
	}
	c.mu.Unlock()
	c.signal()
}

// Add adds another loss.
func (l *Loss) Add(m Loss) {
	l.Frames += m.Frames
	l.Duration += m.Duration
}
