package media

import (
	"encoding/binary"

	"github.com/pion/rtp/codecs"
)

// vp8Depacketizer reads RFC 7741.
type vp8Depacketizer struct {
	header codecs.VP8Packet
	is     traits
	begun  bool // the first packet was the start of the first partition
	any    bool
	size   pictureSize // of the newest key frame
}

func (d *vp8Depacketizer) begin() { d.begun, d.any, d.is = false, false, traits{} }

func (d *vp8Depacketizer) append(dst, payload []byte) ([]byte, bool) {
	data, err := d.header.Unmarshal(payload)
	if err != nil {
		return dst, false
	}
	if !d.any {
		d.any = true
		d.begun = d.header.S == 1 && d.header.PID == 0
		d.is.discardable = d.header.N == 1
		if d.header.T == 1 {
			d.is.temporalID, d.is.switchUp = d.header.TID, d.header.Y == 1
		}
	}
	return append(dst, data...), true
}

func (d *vp8Depacketizer) finish(dst []byte) ([]byte, traits, bool) {
	if !d.begun || len(dst) < 3 {
		return dst, traits{}, false
	}
	d.is.key = dst[0]&1 == 0 // RFC 6386 section 9.1: bit 0 is 0 in a key frame
	if d.is.key && len(dst) >= 10 {
		const scale = 0xc000 // of which two bits are an upscaling that nobody does
		size := pictureSize{int(binary.LittleEndian.Uint16(dst[6:]) &^ scale), int(binary.LittleEndian.Uint16(dst[8:]) &^ scale)}
		if size.blankAfter(d.size) {
			return dst, traits{blank: true}, true
		}
		d.size = size
	}
	d.is.pictureSize = d.size
	return dst, d.is, true
}
