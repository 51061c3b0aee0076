package media

import "time"

// deliverEncoded queues a unit as received. Called with t.mu.
func (v *videoPath) deliverEncoded(c *Consumer, u *unit, replayed bool) {
	if c.tooOld(u.received) {
		return
	}
	c.addLoss(u.lost)
	changed := c.known.codec != CodecUnknown && c.known.codec != u.codec.Codec
	if c.done() || !c.accepts(u.codec.Codec, u.time) {
		return
	}
	if (c.wasCut() || u.gap || changed) && !u.key { // another codec knows nothing of the pictures before
		c.waitKey = true
		v.t.keyFrames.want()
	}
	if c.waitKey && !u.key {
		return
	}
	c.waitKey = false
	if limit := c.req.MaxPayloadBytes; limit > 0 && len(u.data) > limit {
		c.refuse(&SizeError{PayloadBytes: len(u.data), Limit: limit}, u.time)
		c.waitKey = true
		return
	}
	c.sent, c.tooLarge = true, false
	size := u.pictureSize
	if size == (pictureSize{}) {
		size = pictureSize{int(v.width.Load()), int(v.height.Load())}
	}
	overflow := c.push(&Frame{
		Kind: KindVideo, RTPTimestamp: u.timestamp, Time: u.time, Captured: u.captured, Received: u.received,
		Rotation: u.rotation, KeyFrame: u.key, Payload: u.payload(), replayed: replayed, span: u.span,
		Width: size.width, Height: size.height,
	})
	switch {
	case overflow && u.key:
		c.dropBefore() // nor can what is left before this one
	case overflow:
		c.dropFrames() // what is left cannot be decoded without what was dropped
		c.waitKey = true
		v.t.keyFrames.want()
	}
}

// accepts checks the codec as received against what an encoded consumer can use, and tells when it changes.
func (c *Consumer) accepts(codec Codec, at time.Duration) bool {
	if c.known.codec == codec {
		return true
	}
	if err := c.req.acceptsCodec(codec); err != nil {
		c.fail(err)
		return false
	}
	if c.known.codec != CodecUnknown {
		c.tell(Event{Kind: EventFormatChanged, Time: at, Codec: codec})
	}
	c.known.codec = codec
	return true
}
