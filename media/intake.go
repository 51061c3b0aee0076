package media

import (
	"fmt"
	"time"

	"github.com/pion/rtp"
)

// intake takes the packets of one source after another, puts those of each into order, and makes units of them. It is
// guarded by its track's lock.
type intake struct {
	track    *Track
	replaced func() // another source has taken over, from the next unit on

	header       rtp.Header
	dependencies dependencyReader
	arrived      packet // here, not on the heap for each
	packets      uint64
	seqs         unwrapper
	ssrc         uint32
	follows      bool // the next source is not the first of the media
	reorder      *reorderBuffer
	timer        *time.Timer // for the reorder buffer's deadline
	armed        bool
	assembler    assembler

	redundancy redBlocks // of the last redundant packet
	restored   packet    // out of it
}

// begin must be called first.
func (in *intake) begin(t *Track, emit func(*unit), replaced func()) {
	in.track, in.replaced = t, replaced
	in.seqs = unwrapper{bits: 16}
	in.assembler.emit = emit
	packets, deliver := videoReorderPackets, in.assembler.push
	if t.cfg.Kind == KindAudio {
		packets, deliver = audioReorderPackets, t.sound
	}
	in.reorder = newReorderBuffer(DefaultPatience(t.cfg.Kind), packets, deliver)
	if t.cfg.Kind == KindAudio {
		in.reorder.lateness = &lateness{}
	}
}

// write takes a packet.
func (in *intake) write(raw []byte, received time.Time) {
	in.packets++
	p, ok := in.parse(raw, received)
	if !ok {
		in.track.stats.Unusable++
		return
	}
	in.reorder.expire(received)
	in.arrived = p
	if p.codec != nil && p.codec.Codec == CodecRED {
		in.red(&in.arrived)
	} else {
		in.reorder.push(&in.arrived)
	}
	in.armReorder(received)
}

// parse reads the header. ok is false when it is not RTP at all.
func (in *intake) parse(raw []byte, received time.Time) (p packet, ok bool) {
	h, t := &in.header, in.track
	n, err := h.Unmarshal(raw)
	if err != nil {
		t.faults.note("parse RTP header", err)
		return p, false
	}
	payload := raw[n:]
	if h.Padding {
		if len(payload) == 0 || int(payload[len(payload)-1]) > len(payload) {
			return p, false
		}
		payload = payload[:len(payload)-int(payload[len(payload)-1])]
	}
	if h.SSRC != in.ssrc || !in.reorder.started {
		in.newSource(h.SSRC)
	}
	p = packet{
		seq: in.seqs.next(uint32(h.SequenceNumber)), timestamp: h.Timestamp, marker: h.Marker,
		payload: payload, received: received, ext: parseExtensions(h, t.params.Extensions, &in.dependencies),
	}
	if p.codec = t.codec(h.PayloadType); p.codec == nil {
		t.stats.Unusable++
		t.faults.note("find payload type", fmt.Errorf("%d was not negotiated", h.PayloadType))
	}
	return p, true
}

// newSource is called for the first packet, and when the ssrc changes: the media goes on, from another source.
func (in *intake) newSource(ssrc uint32) {
	if in.follows {
		in.replaced()
		in.assembler.abandon()
		in.assembler.gap = true
	}
	in.follows = true
	in.ssrc = ssrc
	in.dependencies = dependencyReader{}
	in.seqs = unwrapper{bits: 16}
	in.reorder.reset()
}

// resume makes the next packet one of another source, that comes after what others sent.
func (in *intake) resume() {
	in.reorder.reset()
	in.follows = true
}

// armReorder sets the timer to when the reorder buffer has something to give up.
func (in *intake) armReorder(now time.Time) {
	deadline := in.reorder.deadline()
	if deadline.IsZero() {
		if in.armed {
			in.timer.Stop()
			in.armed = false
		}
		return
	}
	if in.armed {
		return // expireReorder looks again if it comes too early
	}
	in.armed = true
	if in.timer == nil {
		in.timer = time.AfterFunc(deadline.Sub(now), in.expireReorder)
		return
	}
	in.timer.Reset(deadline.Sub(now))
}

func (in *intake) expireReorder() {
	t := in.track
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.ended != nil {
		return
	}
	now := time.Now()
	in.armed = false
	in.reorder.expire(now)
	in.armReorder(now)
}

// stop drops what is under way.
func (in *intake) stop() {
	if in.timer != nil {
		in.timer.Stop()
	}
	in.reorder.reset()
	in.assembler.abandon()
}
