package media

import "time"

// Beginning tells what a consumer waited for until its first frame. A time is zero as long as that has not happened.
type Beginning struct {
	// Attached is when the consumer subscribed.
	Attached time.Time
	// KeyFrameAsked is when the sender was asked for a key frame first, since then; it may never be.
	KeyFrameAsked time.Time
	// FirstPacket is when the first packet came: of the media, or earlier that of the first frame, where the track had kept it.
	FirstPacket time.Time
	// FirstFrame is when the first frame was decoded and converted, ready to be taken.
	FirstFrame time.Time
}

// Beginning returns what has happened of the consumer's beginning. It is cheap, but not meant for every frame.
func (c *Consumer) Beginning() Beginning {
	asked := c.track.keyFrames.askedSince(c.attached)
	c.mu.Lock()
	defer c.mu.Unlock()
	return Beginning{Attached: c.attached, KeyFrameAsked: asked, FirstPacket: c.firstPacket, FirstFrame: c.firstFrame}
}

// beginsWith notes the first frame. Called with c.mu.
func (c *Consumer) beginsWith(f *Frame) {
	c.firstFrame = time.Now()
	if c.firstPacket.IsZero() || f.Received.Before(c.firstPacket) {
		c.firstPacket = f.Received
	}
}

// firstPacketOf tells the consumers that have come since the last packet that there is one. Called with t.mu.
func (t *Track) firstPacketOf(received time.Time) {
	t.unmet = false
	for _, c := range t.consumers {
		c.mu.Lock()
		if c.firstPacket.IsZero() {
			c.firstPacket = received
		}
		c.mu.Unlock()
	}
}

// askedSince returns when a key frame was asked for first since a time, as far as the last requests tell; zero when it was not.
func (k *keyFrameAsker) askedSince(since time.Time) (first time.Time) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for _, at := range k.sent { // the newest first
		if at.IsZero() || at.Before(since) {
			break
		}
		first = at
	}
	return first
}
