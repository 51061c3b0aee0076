package media

import (
	"bytes"
	"encoding/base64"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/pion/rtp"
	"github.com/pion/rtp/codecs"
)

var (
	vp8Params  = CodecParameters{Codec: CodecVP8, PayloadType: 96, ClockRate: 90000}
	h264Params = CodecParameters{Codec: CodecH264, PayloadType: 102, ClockRate: 90000, Fmtp: "packetization-mode=1"}
	opusParams = CodecParameters{Codec: CodecOpus, PayloadType: 111, ClockRate: 48000, Channels: 2}
)

// assembled collects units.
type assembled struct {
	data [][]byte
	keys []bool
	gaps []bool
	lost []uint32
}

func (a *assembled) take(u *unit) {
	a.data = append(a.data, bytes.Clone(u.data))
	a.keys = append(a.keys, u.key)
	a.gaps = append(a.gaps, u.gap)
	a.lost = append(a.lost, u.lost.Frames)
	u.release()
}

// packetsOf packetizes units with pion's packetizer, one unit a timestamp.
func packetsOf(p *CodecParameters, payloader rtp.Payloader, mtu uint16, units ...[]byte) []*packet {
	packetizer := rtp.NewPacketizer(mtu, p.PayloadType, 1, payloader, rtp.NewFixedSequencer(1), p.ClockRate)
	var out []*packet
	for _, u := range units {
		for _, pkt := range packetizer.Packetize(u, 3000) {
			out = append(out, &packet{
				seq: int64(pkt.SequenceNumber), timestamp: pkt.Timestamp, marker: pkt.Marker,
				codec: p, payload: pkt.Payload, received: time.Unix(1, 0),
			})
		}
	}
	return out
}

func randomBytes(n int, seed uint64) []byte {
	r := rand.New(rand.NewPCG(seed, 1))
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(1 + r.IntN(255)) // no zero bytes: no start codes by chance
	}
	return b
}

func vp8Unit(n int, key bool, seed uint64) []byte {
	b := randomBytes(n, seed)
	b[0] = b[0]&^1 | 1
	if key {
		b[0] &^= 1
	}
	return b
}

// nalUnit is a NAL unit whose slice data begins with macroblock 0.
func nalUnit(typ byte, n int, seed uint64) []byte {
	b := randomBytes(n, seed)
	b[0], b[1] = 0x60|typ, b[1]|0x80
	return b
}

func annexB(nals ...[]byte) []byte {
	var b []byte
	for _, n := range nals {
		b = append(append(b, annexBStart...), n...)
	}
	return b
}

func TestAssemblerJoinsVP8(t *testing.T) {
	var got assembled
	a := assembler{emit: got.take}
	units := [][]byte{vp8Unit(5000, true, 1), vp8Unit(700, false, 2), vp8Unit(3000, false, 3)}
	for _, p := range packetsOf(&vp8Params, &codecs.VP8Payloader{EnablePictureID: true}, 1200, units...) {
		a.push(p)
	}
	for i, u := range units {
		if i >= len(got.data) || !bytes.Equal(got.data[i], u) || got.keys[i] != (i == 0) || got.gaps[i] {
			t.Fatalf("unit %d of %d differs", i, len(got.data))
		}
	}
}

func TestAssemblerJoinsH264(t *testing.T) {
	var got assembled
	a := assembler{emit: got.take}
	sps, pps := nalUnit(nalSPS, 20, 1), nalUnit(nalPPS, 6, 2)
	units := [][]byte{
		annexB(sps, pps, nalUnit(nalIDR, 5000, 3)), // STAP-A, then FU-A
		annexB(nalUnit(1, 300, 4)),                 // single
		annexB(nalUnit(1, 4000, 5)),
	}
	for _, p := range packetsOf(&h264Params, &codecs.H264Payloader{}, 1200, units...) {
		a.push(p)
	}
	for i, u := range units {
		if i >= len(got.data) || !bytes.Equal(got.data[i], u) || got.keys[i] != (i == 0) || got.gaps[i] {
			t.Fatalf("unit %d of %d differs", i, len(got.data))
		}
	}
}

func TestAssemblerH264PutsParameterSetsBeforeAKeyFrameWithout(t *testing.T) {
	sps, pps := nalUnit(nalSPS, 20, 1), nalUnit(nalPPS, 6, 2)
	idr := nalUnit(nalIDR, 900, 3)
	out := func(p CodecParameters, units ...[]byte) assembled {
		var got assembled
		a := assembler{emit: got.take}
		for _, pkt := range packetsOf(&p, &codecs.H264Payloader{DisableStapA: true}, 1200, units...) {
			a.push(pkt)
		}
		return got
	}
	sprop := h264Params
	sprop.Fmtp = "packetization-mode=1; sprop-parameter-sets=" + base64.StdEncoding.EncodeToString(sps) + "," + base64.StdEncoding.EncodeToString(pps)
	for name, got := range map[string]assembled{
		"from the SDP":              out(sprop, annexB(idr)),
		"from a timestamp before":   out(h264Params, annexB(sps, pps), annexB(idr)),
		"from the key frame before": {data: out(h264Params, annexB(sps, pps, idr), annexB(idr)).data[1:], keys: []bool{true}, gaps: []bool{false}},
	} {
		if len(got.data) != 1 || !bytes.Equal(got.data[0], annexB(sps, pps, idr)) || !got.keys[0] || got.gaps[0] {
			t.Errorf("%s: %d units, want one with its parameter sets", name, len(got.data))
		}
	}
}

// Whichever packet is lost, a unit that misses a part is not handed on, and the next one tells.
func TestAssemblerMarksWhatIsMissing(t *testing.T) {
	h264 := [][]byte{
		annexB(nalUnit(nalSPS, 20, 1), nalUnit(nalPPS, 6, 2), nalUnit(nalIDR, 3000, 3)),
		annexB(nalUnit(1, 2500, 4)), annexB(nalUnit(1, 300, 5)), annexB(nalUnit(1, 2500, 6)),
	}
	vp8 := [][]byte{vp8Unit(3000, true, 1), vp8Unit(2500, false, 2), vp8Unit(300, false, 3), vp8Unit(2500, false, 4)}
	for _, tc := range []struct {
		name    string
		packets []*packet
		units   [][]byte
	}{
		{"VP8", packetsOf(&vp8Params, &codecs.VP8Payloader{}, 1200, vp8...), vp8},
		{"H264", packetsOf(&h264Params, &codecs.H264Payloader{}, 1200, h264...), h264},
	} {
		for drop := 1; drop < len(tc.packets)-1; drop++ {
			var got assembled
			a := assembler{emit: got.take}
			missing := 0
			for i, p := range tc.packets {
				c := *p
				if i == drop {
					missing = 1
					continue
				}
				c.lost, missing = missing, 0
				a.push(&c)
			}
			whole, gaps := 0, 0
			for i, d := range got.data {
				for _, u := range tc.units {
					if bytes.Equal(d, u) {
						whole++
					}
				}
				if got.gaps[i] {
					gaps++
				}
			}
			if whole != len(got.data) || whole != len(tc.units)-1 && whole != len(tc.units) {
				t.Errorf("%s without packet %d: %d units, %d of them whole", tc.name, drop, len(got.data), whole)
			}
			last := tc.packets[drop].timestamp == tc.packets[len(tc.packets)-1].timestamp
			if gaps != 1 && !last {
				t.Errorf("%s without packet %d: %d units tell of a gap, want 1", tc.name, drop, gaps)
			}
		}
	}
}

func TestAssemblerEndsAUnitByTimestampWithoutMarker(t *testing.T) {
	var got assembled
	a := assembler{emit: got.take}
	for _, p := range packetsOf(&vp8Params, &codecs.VP8Payloader{}, 1200, vp8Unit(3000, true, 1), vp8Unit(3000, false, 2), vp8Unit(10, false, 3)) {
		p.marker = false
		a.push(p)
	}
	if len(got.data) != 2 {
		t.Fatalf("%d units, want 2: the third has not ended", len(got.data))
	}
}

func TestAssemblerSkipsPaddingAndUnknownPayloads(t *testing.T) {
	var got assembled
	a := assembler{emit: got.take}
	packets := packetsOf(&vp8Params, &codecs.VP8Payloader{}, 1200, vp8Unit(3000, true, 1), vp8Unit(3000, false, 2))
	for _, p := range packets {
		a.push(&packet{seq: p.seq, timestamp: p.timestamp + 1, codec: &vp8Params}) // a probe: padding only
		a.push(p)
		a.push(&packet{seq: p.seq, timestamp: p.timestamp, payload: []byte{1, 2, 3}}) // beside it
	}
	if len(got.data) != 2 || got.gaps[1] || a.incomplete != 0 {
		t.Fatalf("%d units, %d given up; want 2 and none", len(got.data), a.incomplete)
	}
	a.push(&packet{timestamp: 1 << 20, payload: []byte{1, 2, 3}}) // may have been a picture
	for _, p := range packetsOf(&vp8Params, &codecs.VP8Payloader{}, 1200, vp8Unit(3000, false, 2)) {
		p.timestamp += 1 << 21
		a.push(p)
	}
	if len(got.data) != 3 || !got.gaps[2] {
		t.Fatalf("%d units, gap %v; want 3, the last after a gap", len(got.data), got.gaps)
	}
}

func FuzzAssembler(f *testing.F) {
	for _, p := range packetsOf(&h264Params, &codecs.H264Payloader{}, 200, annexB(nalUnit(7, 20, 1), nalUnit(8, 5, 2), nalUnit(5, 500, 3))) {
		f.Add(true, p.payload, p.payload)
	}
	for _, p := range packetsOf(&vp8Params, &codecs.VP8Payloader{EnablePictureID: true}, 200, vp8Unit(500, true, 1)) {
		f.Add(false, p.payload, p.payload)
	}
	f.Fuzz(func(t *testing.T, h264 bool, first, second []byte) {
		p := &vp8Params
		if h264 {
			p = &h264Params
		}
		size := 0
		a := assembler{emit: func(u *unit) { size += len(u.data); u.release() }}
		for i, payload := range [][]byte{first, second, first} {
			a.push(&packet{seq: int64(i), timestamp: uint32(i / 2), marker: i == 1, codec: p, payload: payload})
		}
		a.abandon()
		// Parameter sets may be repeated once; start codes take three bytes more than a STAP-A's length field at the most.
		if limit := 8 * (2*len(first) + len(second) + 64); size > limit {
			t.Fatalf("%d bytes made of %d", size, 2*len(first)+len(second))
		}
	})
}

func TestOpusPacketTime(t *testing.T) {
	// RFC 6716 section 3.1, table 2 and the four codes.
	for _, tc := range []struct {
		packet []byte
		want   int
	}{
		{nil, 0},
		{[]byte{0 << 3}, 480},
		{[]byte{3 << 3}, 2880},
		{[]byte{13 << 3}, 960},
		{[]byte{16 << 3}, 120},
		{[]byte{31<<3 | 1}, 1920},
		{[]byte{31<<3 | 2}, 1920},
		{[]byte{31<<3 | 3}, 0},
		{[]byte{31<<3 | 3, 0x80 | 3}, 2880},
	} {
		if got := opusSamples(tc.packet); got != tc.want {
			t.Errorf("%x: %d samples, want %d", tc.packet, got, tc.want)
		}
	}
}
