package media

import (
	"encoding/binary"
	"slices"
)

// Bounds of redundant packets.
const (
	// maxRedBlocks is how many blocks of one packet are looked at: browsers send up to two packets again beside one.
	maxRedBlocks = 16
	// maxRedDepth is how deep RED may be nested in RED.
	maxRedDepth = 2
)

// redBlock is one block of a redundant packet (RFC 2198 section 3).
type redBlock struct {
	payloadType uint8
	before      uint32 // ticks before the packet's timestamp; 0 of the primary block
	data        []byte
}

// redBlocks are those of one packet: the redundant ones, oldest first as senders write them, and the primary one last.
type redBlocks struct {
	list [maxRedBlocks]redBlock
	n    int
}

// parse reads a payload. red is the payload type under which a block is itself redundant, and opened. false when it is malformed:
// nothing of it is to be used then.
func (r *redBlocks) parse(payload []byte, red uint8) bool {
	r.n = 0
	return r.open(payload, red, 0, maxRedDepth) && r.n > 0
}

func (r *redBlocks) open(payload []byte, red uint8, before uint32, depth int) bool {
	headers := payload
	for len(headers) > 0 && headers[0]&0x80 != 0 {
		if len(headers) < 4 {
			return false
		}
		headers = headers[4:]
	}
	if len(headers) == 0 {
		return false
	}
	data, primary := headers[1:], headers[0]
	for h := payload; h[0]&0x80 != 0; h = h[4:] {
		offset, length := uint32(binary.BigEndian.Uint16(h[1:3])>>2), int(binary.BigEndian.Uint16(h[2:4])&0x3ff)
		if length > len(data) {
			return false
		}
		if !r.add(redBlock{payloadType: h[0] & 0x7f, before: before + offset, data: data[:length]}, red, depth) {
			return false
		}
		data = data[length:]
	}
	return r.add(redBlock{payloadType: primary & 0x7f, before: before, data: data}, red, depth)
}

// add takes a block; empty ones say nothing.
func (r *redBlocks) add(b redBlock, red uint8, depth int) bool {
	switch {
	case len(b.data) == 0:
		return true
	case b.payloadType == red:
		return depth > 1 && r.open(b.data, red, b.before, depth-1)
	case r.n == len(r.list):
		return false
	}
	r.list[r.n] = b
	r.n++
	return true
}

// red takes a redundant packet apart: what it carries of packets that are missing is put into their places, and what it
// carries itself into its own.
func (in *intake) red(p *packet) {
	blocks, t := &in.redundancy, in.track
	if !blocks.parse(p.payload, p.codec.PayloadType) {
		t.stats.Unusable++
		p.codec, p.payload = nil, nil // it only fills its place
		in.reorder.push(p)
		return
	}
	list := blocks.list[:blocks.n]
	primary := list[len(list)-1]
	if primary.before == 0 {
		list = list[:len(list)-1]
	} else { // of the packet itself there is nothing
		primary = redBlock{payloadType: primary.payloadType}
	}
	if p.codec, p.payload = t.blockCodec(primary.payloadType), primary.data; p.codec == nil {
		t.stats.Unusable++
	}
	in.restore(p, list)
	in.reorder.push(p)
}

// restore pushes what a packet, whose codec and payload are those of its primary block by now, carries of missing ones.
func (in *intake) restore(p *packet, list []redBlock) {
	missing := in.reorder.missingBefore(p.seq)
	if missing == 0 || len(list) == 0 {
		return
	}
	slices.SortStableFunc(list, func(a, b redBlock) int { return int(a.before) - int(b.before) }) // the newest first
	length := uint32(0)
	if p.codec != nil {
		length = uint32(packetSamples(*p.codec, p.payload)) //nolint:gosec // at most 65535
	}
	below := p.seq
	for _, b := range list {
		codec := in.track.blockCodec(b.payloadType)
		if codec == nil || b.before == 0 {
			continue
		}
		seq, ok := in.seat(b, p, below, p.seq-missing, length)
		if !ok {
			continue
		}
		below = seq
		in.track.stats.Restored++
		in.restored = packet{seq: seq, timestamp: p.timestamp - b.before, codec: codec, payload: b.data, received: p.received, restored: true}
		in.reorder.push(&in.restored)
	}
}

// seat finds the sequence number of a redundant block, which does not tell it: at least first, and less than below. Where packets follow each other
// without a pause its timestamp tells; else it is the last one free, since senders repeat the packets just before.
func (in *intake) seat(b redBlock, p *packet, below, first int64, length uint32) (int64, bool) {
	timestamp := p.timestamp - b.before
	if length > 0 && b.before%length == 0 {
		if seq := p.seq - int64(b.before/length); seq >= first && seq < below && in.reorder.fits(seq, timestamp) {
			return seq, true
		}
	}
	for seq := below - 1; seq >= first; seq-- {
		if in.reorder.fits(seq, timestamp) {
			return seq, true
		}
	}
	return 0, false
}

// blockCodec returns the parameters of a block; nil too when it is RED of another payload type, which nobody nests.
func (t *Track) blockCodec(payloadType uint8) *CodecParameters {
	c := t.codec(payloadType)
	if c != nil && c.Codec == CodecRED {
		return nil
	}
	return c
}

// codec returns the negotiated parameters of a payload type, or nil.
func (t *Track) codec(payloadType uint8) *CodecParameters {
	for i := range t.params.Codecs {
		if c := &t.params.Codecs[i]; c.PayloadType == payloadType {
			return c
		}
	}
	return nil
}
