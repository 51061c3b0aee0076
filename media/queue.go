package media

// bound makes room for what was queued last: it is always kept itself.
func (c *Consumer) bound(newest *Frame) (overflow bool) {
	q := c.req.Queue
	for {
		oldest := c.oldestFrame()
		if oldest == newest {
			return overflow
		}
		if c.held.Load() <= int64(q.MaxBytes) && len(c.queue)-c.head <= maxQueuedFrames && newest.Time+newest.Duration-c.oldestLive().Time <= q.MaxDuration {
			return overflow
		}
		overflow = true
		if q.Overflow == Disconnect {
			c.stall()
			return overflow
		}
		c.dropOldestFrame()
	}
}

// stall ends the consumer: nobody reads it, or not fast enough.
func (c *Consumer) stall() {
	c.gave.stalled += uint64(len(c.queue) - c.head - c.events)
	c.clear()
	c.err = ErrStalled
}

// hold notes that the queue holds n bytes more.
func (c *Consumer) hold(n int) {
	c.held.Add(int64(n))
	c.budget().used.Add(int64(n))
}

// giveUp drops frames, the oldest first, until n bytes are gone, since all queues together are too long. It returns how many.
func (c *Consumer) giveUp(n int64) (frames uint64) {
	c.mu.Lock()
	before, stalled := c.dropped.Frames, c.err == nil && c.req.Queue.Overflow == Disconnect
	if stalled {
		frames = uint64(len(c.queue) - c.head - c.events)
		c.stall()
	}
	goal := c.held.Load() - n
	whole := c.req.Encoded && c.track.video != nil // what is left cannot be decoded without what was dropped
	for c.held.Load() > 0 && (whole || c.held.Load() > goal) && c.dropOldestFrame() {
	}
	dropped := uint64(c.dropped.Frames - before)
	c.gave.queueFull -= dropped
	c.gave.allQueuesFull += dropped
	frames += dropped
	c.cut = c.cut || whole && frames > 0
	c.mu.Unlock()
	if stalled && c.req.Stalled != nil {
		c.req.Stalled()
	}
	c.signal()
	return frames
}

// wasCut tells, once, whether the queue was dropped because all queues together were too long.
func (c *Consumer) wasCut() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	cut := c.cut
	c.cut = false
	return cut
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

// dropOldestFrame drops the oldest frame and keeps the events before it. It returns false when there is none.
func (c *Consumer) dropOldestFrame() bool {
	for i := c.head; i < len(c.queue); i++ {
		f := c.queue[i].Frame
		if f == nil {
			continue
		}
		c.dropped.Frames++
		c.gave.queueFull++
		c.dropped.Duration += f.span
		c.missed.Add(f.Lost)
		c.unquiet += f.Silence
		c.remove(i)
		c.hold(-f.Payload.Len())
		f.Payload.Release()
		return true
	}
	return false
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
	for c.dropOldestFrame() {
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
		c.hold(-item.Frame.Payload.Len())
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
	c.queue, c.head, c.events = c.queue[:0], 0, 0
	c.hold(-int(c.held.Load()))
}
