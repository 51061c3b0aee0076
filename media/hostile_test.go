package media

import (
	"math/rand/v2"
	"testing"
	"testing/synctest"

	"github.com/penstock-media/penstock/media/internal/cmem"
)

// plainClips returns a clip of each codec of video, two units of which are a key frame and what builds on it.
func plainClips() map[Codec]string {
	return map[Codec]string{
		CodecVP8: "vp8-odd.ivf", CodecVP9: "vp9-odd.ivf", CodecH264: "h264-baseline.h264", CodecH265: "h265.h265", CodecAV1: "av1-odd.ivf",
	}
}

// What is done to the payloads of a picture after the first: each must be counted as a fault, answered by a request for a
// key frame, and forgotten with that.
func TestF12_CorruptPayloadsAreCountedAndAKeyFrameIsAskedFor(t *testing.T) {
	rnd := rand.New(rand.NewPCG(5, 6))
	harms := map[string]func(codec Codec, payloads [][]byte) [][]byte{
		"truncated": func(_ Codec, p [][]byte) [][]byte { return [][]byte{p[0][:2]} },
		"descriptor": func(_ Codec, p [][]byte) [][]byte {
			p[0] = append([]byte{0xff, 0xff, 0xff, 0xff}, p[0][1:]...)
			return p
		},
		"without start": func(_ Codec, p [][]byte) [][]byte { return p[1:] },
		"noise": func(codec Codec, _ [][]byte) [][]byte {
			b := noise(rnd, make([]byte, 1000), 0)
			b[0] = 0xff
			if codec == CodecVP9 { // else noise may ask for a picture to be shown again, and be no fault
				b[0], b[1] = 0x4c, 0
			}
			return [][]byte{b}
		},
		"another codec": func(codec Codec, _ [][]byte) [][]byte {
			if codec == CodecVP8 {
				return payloadsOf(t, CodecH264, "h264-baseline.h264")
			}
			return payloadsOf(t, CodecVP8, "vp8.ivf")
		},
	}
	for codec, clip := range plainClips() {
		for name, harm := range harms {
			t.Run(codec.String()+" "+name, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					noCMemory(t)
					track := newLimitedTrack(t, testMaxPixels)
					asked := make(chan struct{}, 100)
					track.keyFrames.send = func() { asked <- struct{}{} }
					params := CodecParameters{Codec: codec, PayloadType: 96, ClockRate: 90000}
					track.SetParameters(ReceiveParameters{Codecs: []CodecParameters{params}})
					c := subscribe(t, track, Request{Queue: patient})
					within(t, asked)
					s := &unitSender{t: t, track: track, params: params, payloader: payloaderOf(codec)}
					units := clipUnits(t, clip)
					s.send(units[0])
					frame(t, c)
					decodeAll(t, track)
					before := track.Stats()
					s.payloads(harm(codec, s.payloader.Payload(40, units[1]))...)
					s.send(units[2])
					decodeAll(t, track)
					within(t, asked)
					st := track.Stats()
					if st.Unusable+st.DecodeErrors+st.UnitsDropped == before.Unusable+before.DecodeErrors+before.UnitsDropped {
						t.Errorf("nothing was counted: %+v", st)
					}
					s.send(units[0])
					for key := false; !key; {
						item, err := next(t, c)
						if err != nil {
							t.Fatal(err)
						}
						if f := item.Frame; f != nil {
							key = f.KeyFrame
							f.Payload.Release()
						}
					}
				})
			})
		}
	}
}

// A unit that never ends is given up at its bound, whatever its codec.
func TestF12_EndlessUnitsAreBounded(t *testing.T) {
	for codec := range plainClips() {
		p := CodecParameters{Codec: codec, PayloadType: 96, ClockRate: 90000}
		largest := 0
		a := assembler{emit: func(u *unit) { largest = max(largest, cap(u.data)); u.release() }}
		payload := make([]byte, 60000)
		for i := range 200 { // 12 MB
			copy(payload, endless(codec, i == 0))
			a.push(&packet{seq: int64(i), timestamp: 1, codec: &p, payload: payload})
		}
		kept := cap(a.cur.data)
		if d, ok := a.depkt.(*av1Depacketizer); ok {
			kept += cap(d.obu)
		}
		if kept > 3*maxUnitBytes {
			t.Errorf("%v keeps %d bytes of a unit that does not end", codec, kept)
		}
		a.push(&packet{seq: 201, timestamp: 2, codec: &p, payload: []byte{0, 0}, marker: true})
		if largest != 0 || a.incomplete == 0 || a.malformed == 0 {
			t.Errorf("%v: a unit of %d bytes was handed on, %d given up, %d malformed", codec, largest, a.incomplete, a.malformed)
		}
	}
}

// endless is the head of a packet of a unit that goes on.
func endless(c Codec, first bool) []byte {
	switch {
	case c == CodecVP8 && first:
		return []byte{0x10}
	case c == CodecVP8:
		return []byte{0}
	case c == CodecVP9 && first:
		return []byte{0x08}
	case c == CodecVP9:
		return []byte{0}
	case c == CodecH264 && first:
		return []byte{0x7c, 0x85, 0x80}
	case c == CodecH264:
		return []byte{0x7c, 0x05}
	case c == CodecH265 && first:
		return []byte{hevcFU << 1, 1, 0x93, 0x80}
	case c == CodecH265:
		return []byte{hevcFU << 1, 1, 0x13}
	case first:
		return []byte{0x58}
	default:
		return []byte{0xd0}
	}
}

// A publisher that changes codec and size with every second costs no more than one that does not: one decoder, and the pictures of
// the newest size.
func TestF12_ChangesOfCodecAndSizeAreBounded(t *testing.T) {
	noCMemory(t)
	track := newLimitedTrack(t, testMaxPixels)
	clips := map[Codec][]string{
		CodecVP8: {"vp8-odd.ivf", "vp8-resize.ivf"}, CodecVP9: {"vp9-odd.ivf", "vp9-resize.ivf"}, CodecH264: {"h264-baseline.h264", "h264-resize.h264"},
		CodecH265: {"h265-odd.h265", "h265-resize.h265"}, CodecAV1: {"av1-odd.ivf", "av1-resize.ivf"},
	}
	var params []CodecParameters
	for codec := range clips {
		params = append(params, CodecParameters{Codec: codec, PayloadType: uint8(100 + codec), ClockRate: 90000})
	}
	track.SetParameters(ReceiveParameters{Codecs: params})
	c := subscribe(t, track, Request{Queue: patient})
	most := map[cmem.Kind]cmem.Usage{}
	s := &unitSender{t: t, track: track}
	pictures := 0
	for round := range 12 {
		for _, p := range params {
			s.params, s.payloader = p, payloaderOf(p.Codec)
			for _, unit := range clipUnits(t, clips[p.Codec][round%2])[:4] {
				s.send(unit)
				for got := false; !got; {
					item, err := next(t, c)
					if err != nil {
						t.Fatal(err)
					}
					if got = item.Frame != nil; got {
						pictures++
						item.Frame.Payload.Release()
					}
				}
				for _, use := range cmem.Live() {
					use.Objects, use.Bytes = max(use.Objects, most[use.Kind].Objects), max(use.Bytes, most[use.Kind].Bytes)
					most[use.Kind] = use
				}
			}
			s.timestamp += 90000
		}
	}
	if pictures != 12*len(params)*4 {
		t.Errorf("%d pictures", pictures)
	}
	if n := most[cmem.Decoder].Objects; n > 1 {
		t.Errorf("%d decoders at a time", n)
	}
	// Three pictures of what H.264 may refer to, the newest, and one on its way.
	if use := most[cmem.PictureBuffer]; use.Objects > 8 || use.Bytes > 8*640*368*3/2 {
		t.Errorf("%d buffers of %d bytes", use.Objects, use.Bytes)
	}
	if st := track.Stats(); st.DecodeErrors != 0 || st.KeyFrameAsks > 1 {
		t.Errorf("%+v", st)
	}
}
