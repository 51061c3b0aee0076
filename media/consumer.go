package media

import (
	"context"
	"sync"
	"time"
)

// Consumer is one subscription. Next has one caller at a time; Close may be called from anywhere, at any time.
type Consumer struct {
	track *Track
	req   Request // every default filled in

	// The decode worker's, or for encoded ones the track's, under its lock.
	pacer    pacer
	chunk    chunker
	known    unitFormat
	sent     bool // something was delivered
	tooLarge bool // EventTooLarge was told
	plans    planCache
	waitKey  bool          // encoded video: nothing until a key frame
	began    bool          // video: before is valid
	before   time.Duration // video: where the picture before lies on the time line

	mu      sync.Mutex
	queue   []Item
	head    int
	bytes   int
	seq     uint64
	lost    Loss // on the network, before the next frame that is made
	missed  Loss // on the network, before frames that were dropped
	dropped Loss
	events  int
	err     error // told after the queue is empty
	closed  bool
	wake    chan struct{}
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
	c := &Consumer{track: t, req: r, wake: make(chan struct{}, 1)}
	if r.Video != nil {
		c.pacer = newPacer(r.Video.MaxFPS)
	}
	return c
}

// Format returns what is delivered, every default filled in. Of an encoded consumer both are nil.
func (c *Consumer) Format() (*AudioFormat, *VideoFormat) { return c.req.Audio, c.req.Video }

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
	if c.head == len(c.queue) {
		return Item{}, false, c.err
	}
	item := c.pop()
	if f := item.Frame; f != nil {
		f.Dropped, c.dropped = c.dropped, Loss{}
		f.Lost.add(c.missed)
		c.missed = Loss{}
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
	c.track.detach(c)
}

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
	c.lost.add(l)
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
	c.seq++
	f.Sequence = c.seq
	f.Lost.add(c.lost)
	c.lost = Loss{}
	c.append(Item{Frame: f})
	c.bytes += f.Payload.Len()
	overflow = c.bound(f)
	c.mu.Unlock()
	c.signal()
	return overflow
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

// bound makes room for what was queued last: it is always kept itself.
func (c *Consumer) bound(newest *Frame) (overflow bool) {
	q := c.req.Queue
	for {
		oldest := c.oldestFrame()
		if oldest == newest {
			return overflow
		}
		if c.bytes <= q.MaxBytes && len(c.queue)-c.head <= maxQueuedFrames && newest.Time+newest.Duration-c.oldestLive().Time <= q.MaxDuration {
			return overflow
		}
		overflow = true
		if q.Overflow == Disconnect {
			c.clear()
			c.err = ErrStalled
			return overflow
		}
		c.dropOldestFrame()
	}
}

func (c *Consumer) oldestFrame() *Frame {
	for _, item := range c.queue[c.head:] {
		if item.Frame != nil {
			return item.Frame
		}
	}
	return nil
}

// oldestLive is the oldest frame that was not yet old when the consumer attached; else the newest.
func (c *Consumer) oldestLive() (f *Frame) {
	for _, item := range c.queue[c.head:] {
		if item.Frame == nil {
			continue
		}
		if f = item.Frame; !f.replayed {
			return f
		}
	}
	return f
}

// dropOldestFrame drops the oldest frame and keeps the events before it.
func (c *Consumer) dropOldestFrame() {
	for i := c.head; i < len(c.queue); i++ {
		f := c.queue[i].Frame
		if f == nil {
			continue
		}
		c.dropped.Frames++
		c.dropped.Duration += f.span
		c.missed.add(f.Lost)
		c.remove(i)
		c.bytes -= f.Payload.Len()
		f.Payload.Release()
		return
	}
}

func (c *Consumer) dropOldestEvent() {
	for i := c.head; i < len(c.queue); i++ {
		if c.queue[i].Event != nil {
			c.remove(i)
			c.events--
			return
		}
	}
}

// dropFrames drops every frame: an encoded consumer that overflowed goes on at a key frame.
func (c *Consumer) dropFrames() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for c.oldestFrame() != nil {
		c.dropOldestFrame()
	}
}

// dropBefore drops every frame but the newest.
func (c *Consumer) dropBefore() {
	c.mu.Lock()
	defer c.mu.Unlock()
	newest := c.newestFrame()
	for f := c.oldestFrame(); f != nil && f != newest; f = c.oldestFrame() {
		c.dropOldestFrame()
	}
}

func (c *Consumer) newestFrame() *Frame {
	for i := len(c.queue) - 1; i >= c.head; i-- {
		if f := c.queue[i].Frame; f != nil {
			return f
		}
	}
	return nil
}

// remove takes item i out, by moving those before it up.
func (c *Consumer) remove(i int) {
	copy(c.queue[c.head+1:i+1], c.queue[c.head:i])
	c.queue[c.head] = Item{}
	c.head++
}

func (c *Consumer) append(item Item) {
	if c.head > 0 && len(c.queue) == cap(c.queue) {
		n := copy(c.queue, c.queue[c.head:])
		clear(c.queue[n:])
		c.queue, c.head = c.queue[:n], 0
	}
	c.queue = append(c.queue, item)
}

func (c *Consumer) pop() Item {
	item := c.queue[c.head]
	c.queue[c.head] = Item{}
	c.head++
	if c.head == len(c.queue) {
		c.queue, c.head = c.queue[:0], 0
	}
	if item.Event != nil {
		c.events--
	} else {
		c.bytes -= item.Frame.Payload.Len()
	}
	return item
}

func (c *Consumer) clear() {
	for _, item := range c.queue[c.head:] {
		if item.Frame != nil {
			item.Frame.Payload.Release()
		}
	}
	clear(c.queue)
	c.queue, c.head, c.bytes, c.events = c.queue[:0], 0, 0, 0
}

func (l *Loss) add(m Loss) {
	l.Frames += m.Frames
	l.Duration += m.Duration
}
