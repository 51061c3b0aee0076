package media

// depacketizer turns the payloads of one access unit's packets, in order, into the codec's bitstream.
// A new codec is one more of these and a row in newDepacketizer. It is used by one goroutine at a time.
type depacketizer interface {
	// begin forgets what is left of the unit before.
	begin()
	// append adds a payload to the unit's bytes. ok is false when the payload is malformed.
	append(dst, payload []byte) (out []byte, ok bool)
	// finish tells whether the bytes are a whole access unit, and what it is. It may put
	// parameter sets before it. Empty and ok means that the packets held no picture.
	finish(dst []byte) (out []byte, is traits, ok bool)
}

// newDepacketizer returns nil for a codec whose units are single packets: audio.
func newDepacketizer(p CodecParameters) depacketizer {
	switch p.Codec {
	case CodecVP8:
		return &vp8Depacketizer{}
	case CodecVP9:
		return &vp9Depacketizer{}
	case CodecH264:
		return newH264Depacketizer(p.Fmtp)
	case CodecH265:
		return newH265Depacketizer(p.Fmtp)
	case CodecAV1:
		return &av1Depacketizer{}
	default:
		return nil
	}
}

// maxUnitBytes bounds a unit: a sender may leave out the marker and keep the timestamp for ever.
const maxUnitBytes = 8 << 20

// assembler makes units of packets that come in order.
type assembler struct {
	emit func(*unit)
	// stuck is called when one unit after another is given up, so that none tells that a key frame is needed. It may be nil.
	stuck func()

	codec CodecParameters
	depkt depacketizer

	cur     *unit     // being assembled; nil between units
	room    *assembly // in which cur's data lie
	broken  bool      // a packet of cur is missing or malformed
	pending Loss      // lost before the next unit
	gap     bool      // the next unit comes after something that is missing

	timestamp uint32 // of the last packet that could be used

	filler     uint64          // packets of silence and blank pictures that an SFU made
	blanked    bool            // what came last was such a picture
	dependency frameDependency // of the frames of cur
	entries    temporalEntries

	incomplete uint64 // units given up
	failing    int    // of them, since a unit was whole
	malformed  uint64 // payloads that could not be parsed
}

// push takes the next packet.
func (a *assembler) push(p *packet) {
	if p.lost > 0 {
		a.lostBefore(p)
	}
	if len(p.payload) == 0 {
		return
	}
	if p.codec == nil {
		// Beside the packets of a picture it is something more, such as error correction. By itself it may have been a
		// picture, and the next one builds on it.
		a.gap = a.gap || a.depkt != nil && p.timestamp != a.timestamp
		return
	}
	a.timestamp = p.timestamp
	if a.codec != *p.codec {
		a.abandon()
		a.codec, a.depkt = *p.codec, newDepacketizer(*p.codec)
	}
	switch {
	case a.depkt != nil:
		a.video(p)
	case isFiller(p):
		a.filler++
	default:
		a.single(p)
	}
}

// lostBefore notes what is missing. The unit under way misses its end, the next one perhaps its beginning.
func (a *assembler) lostBefore(p *packet) {
	if a.cur != nil {
		a.broken = true
	}
	a.gap = true
	a.pending.Frames += uint32(p.lost)
}

// isFiller tells whether a packet is silence that no encoder made: LiveKit sends it for a while when a track is muted or closed. It is
// the three bytes to which Opus encodes silence of 20 ms, followed by zeros.
func isFiller(p *packet) bool {
	b := p.payload
	if p.codec.Codec != CodecOpus || len(b) < 4 || b[0] != 0xf8 || b[1] != 0xff || b[2] != 0xfe {
		return false
	}
	for _, v := range b[3:] {
		if v != 0 {
			return false
		}
	}
	return true
}

// single makes a unit of one packet.
func (a *assembler) single(p *packet) {
	u := a.start(p)
	u.hold(p.payload)
	u.key = true
	a.cur = nil
	a.emit(u)
}

func (a *assembler) video(p *packet) {
	if a.cur != nil && a.cur.timestamp != p.timestamp {
		// The marker is only a hint in some senders (RFC 7741 section 4.1): another timestamp ends the unit too.
		a.complete()
	}
	if a.cur == nil {
		a.cur = a.start(p)
		a.room, _ = assemblies.Get().(*assembly)
		a.cur.data = a.room.bytes[:0]
		a.depkt.begin()
		a.broken = false
		a.dependency = p.ext.dependency
	}
	a.dependency.discardable = a.dependency.discardable && p.ext.dependency.discardable // of every layer's frame
	if p.ext.hasRotation {                                                              // senders put it on the last packet
		a.cur.ext.hasRotation, a.cur.ext.rotation = true, p.ext.rotation
	}
	if a.cur.captured.IsZero() {
		a.cur.captured = p.ext.captured
	}
	a.cur.received = p.received
	data, ok := a.cur.data, len(a.cur.data)+len(p.payload) <= maxUnitBytes
	if ok {
		data, ok = a.depkt.append(a.cur.data, p.payload)
	}
	a.cur.data = data
	if !ok {
		a.malformed++
		a.broken = true
	}
	if p.marker {
		a.complete()
	}
}

func (a *assembler) start(p *packet) *unit {
	u := newUnit()
	u.codec, u.timestamp, u.received, u.ext = *p.codec, p.timestamp, p.received, p.ext
	u.captured = p.ext.captured
	u.gap, u.lost = a.gap, a.pending
	a.gap, a.pending = false, Loss{}
	return u
}

// complete ends the unit under way.
func (a *assembler) complete() {
	u := a.cur
	a.cur = nil
	data, is, ok := a.depkt.finish(u.data)
	u.data, u.traits = nil, is
	defer a.room.free(data)
	if dep := a.dependency; dep.present {
		u.temporalID, u.switchUp = dep.temporal, a.entries.pass(dep.temporal, dep.enters)
		u.discardable = dep.discardable && !is.key
	}
	switch {
	case a.broken || !ok:
		a.giveUp(u)
	case len(data) == 0 || is.blank:
		if is.blank {
			a.filler++
			a.blanked = true
		}
		a.gap, a.pending = a.gap || u.gap, u.lost
		u.release()
	default:
		u.gap = u.gap || a.blanked && !u.key // it builds on what was left out
		a.blanked = false
		a.failing = 0
		u.hold(data)
		a.emit(u)
	}
}

// giveUp makes the next unit tell what is missing.
func (a *assembler) giveUp(u *unit) {
	a.incomplete++
	a.gap = true
	a.pending.Frames += u.lost.Frames
	u.release()
	if a.failing++; a.failing > 1 && a.stuck != nil {
		a.stuck()
	}
}

// abandon drops the unit under way: another codec or source has taken over.
func (a *assembler) abandon() {
	if a.cur != nil {
		a.room.free(a.cur.data)
		a.giveUp(a.cur)
		a.cur = nil
	}
	a.codec, a.depkt = CodecParameters{}, nil
}
