package media

import (
	"bytes"
	"log/slog"
	"testing"
	"time"

	"github.com/pion/rtp"
)

// fuzzDepacketizer feeds payloads as two pictures of one source, and checks what must hold whatever they are.
func fuzzDepacketizer(f *testing.F, codec Codec, seeds [][]byte) {
	for i := range seeds {
		f.Add(seeds[i], seeds[(i+1)%len(seeds)], seeds[(i+2)%len(seeds)], uint8(1<<(i%3)))
	}
	p := CodecParameters{Codec: codec, PayloadType: 96, ClockRate: 90000}
	f.Fuzz(func(t *testing.T, first, second, third []byte, ends uint8) {
		given, made := 64, 0
		a := assembler{emit: func(u *unit) {
			made += len(u.data)
			if u.temporalID > 7 || u.width < 0 || u.height < 0 || len(u.data) == 0 {
				t.Errorf("%+v of %d bytes", u.traits, len(u.data))
			}
			u.release()
		}}
		timestamp := uint32(0)
		for i, payload := range [][]byte{first, second, third, first, second, third} {
			given += len(payload)
			marker := ends>>(i%3)&1 == 1
			a.push(&packet{seq: int64(i), timestamp: timestamp, marker: marker, codec: &p, payload: payload})
			if marker {
				timestamp++
			}
		}
		a.abandon()
		// What is kept is repeated before each key frame; start codes and sizes are a few bytes for each two of a payload.
		if limit := 8 * given; made > limit {
			t.Fatalf("%d bytes made of %d", made, given)
		}
	})
}

// payloadsOf packetizes the first units of a clip.
func payloadsOf(t testing.TB, c Codec, clip string) (out [][]byte) {
	payloader := payloaderOf(c)
	for _, unit := range clipUnits(t, clip)[:2] {
		out = append(out, payloader.Payload(500, unit)...)
	}
	return out
}

func capturedPayloads(t testing.TB, name string) (out [][]byte) {
	for _, p := range captured(t, name) {
		out = append(out, p.Payload)
	}
	return out[:min(len(out), 30)]
}

func FuzzVP8(f *testing.F) { fuzzDepacketizer(f, CodecVP8, payloadsOf(f, CodecVP8, "vp8-odd.ivf")) }
func FuzzH264(f *testing.F) {
	fuzzDepacketizer(f, CodecH264, payloadsOf(f, CodecH264, "h264-resize.h264"))
}
func FuzzH265(f *testing.F) { fuzzDepacketizer(f, CodecH265, payloadsOf(f, CodecH265, "h265.h265")) }

func FuzzVP9(f *testing.F) {
	fuzzDepacketizer(f, CodecVP9, append(capturedPayloads(f, "vp9-l3t3.rtpdump"), payloadsOf(f, CodecVP9, "vp9-odd.ivf")...))
}

func FuzzAV1(f *testing.F) {
	fuzzDepacketizer(f, CodecAV1, append(capturedPayloads(f, "av1-l2t2.rtpdump"), payloadsOf(f, CodecAV1, "av1-odd.ivf")...))
}

func FuzzDependencyDescriptor(f *testing.F) {
	for _, name := range []string{"vp9-l3t3.rtpdump", "av1-l2t2.rtpdump"} {
		for _, p := range captured(f, name)[:20] {
			f.Add(p.GetExtension(chromiumDependency), []byte{0x80, 0, 1})
		}
	}
	f.Fuzz(func(t *testing.T, first, second []byte) {
		var d dependencyReader
		for _, b := range [][]byte{first, second, first} {
			got := d.read(b)
			if got.temporal > 7 || !got.present && got != (frameDependency{}) || len(d.templates) > maxTemplates || d.targets > maxDecodeTargets {
				t.Fatalf("%+v with %d templates", got, len(d.templates))
			}
		}
	})
}

func FuzzVP9Frames(f *testing.F) {
	for _, unit := range clipUnits(f, "vp9-odd.ivf") {
		f.Add(unit, appendVP9Index(bytes.Clone(unit), []int{10, len(unit) - 10}))
	}
	f.Fuzz(func(t *testing.T, first, second []byte) {
		var s vp9State
		for _, b := range [][]byte{first, second} {
			total := 0
			for _, frame := range splitVP9Superframe(b) {
				var is traits
				s.read(frame, &is, true)
				total += len(frame)
				if is.width < 0 || is.width > 1<<16 || is.height < 0 || is.height > 1<<16 {
					t.Fatalf("%+v", is)
				}
			}
			if total > len(b) {
				t.Fatalf("%d bytes of %d", total, len(b))
			}
		}
	})
}

func FuzzParameterSets(f *testing.F) {
	for _, name := range []string{"h265.h265", "h265-10bit.h265", "h264-crop.h264", "av1.ivf"} {
		unit := clipUnits(f, name)[0]
		for start := nextNAL(unit, 0); start >= 0; start = nextNAL(unit, start) {
			f.Add(unit[start:min(start+60, len(unit))])
		}
		f.Add(unit)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		sizes := []pictureSize{av1Size(b)}
		if len(b) > 0 {
			size, _ := h265Size(b)
			sizes = append(sizes, size, h264Size(b))
		}
		for i, s := range sizes {
			if s.width < 0 || s.height < 0 || (s.width == 0) != (s.height == 0) {
				t.Errorf("%d: %+v", i, s)
			}
		}
		for rest := b; len(rest) > 0; {
			n := av1LayerEnd(rest)
			if n <= 0 || n > len(rest) {
				t.Fatalf("a layer of %d bytes of %d", n, len(rest))
			}
			rest = rest[n:]
		}
	})
}

// FuzzTrack writes packets of any payload, marker, timestamp and codec to a track that is decoded and passed on.
func FuzzTrack(f *testing.F) {
	all := []CodecParameters{
		{Codec: CodecVP8, PayloadType: 0}, {Codec: CodecVP9, PayloadType: 1}, {Codec: CodecH264, PayloadType: 2},
		{Codec: CodecH265, PayloadType: 3}, {Codec: CodecAV1, PayloadType: 4},
	}
	for i := range all {
		all[i].ClockRate = 90000
	}
	for i, payloads := range [][][]byte{payloadsOf(f, CodecVP8, "vp8-odd.ivf"), capturedPayloads(f, "vp9-l3t3.rtpdump"), payloadsOf(f, CodecH264, "h264-resize.h264"),
		payloadsOf(f, CodecH265, "h265.h265"), capturedPayloads(f, "av1-l2t2.rtpdump")} {
		var script []byte
		for j, b := range payloads[:min(8, len(payloads))] {
			script = append(script, byte(i), byte(j/3), byte(len(b)>>8), byte(len(b)))
			script = append(script, b...)
		}
		f.Add(script)
	}
	f.Fuzz(func(t *testing.T, script []byte) {
		const limit = 1 << 16
		track := newLimitedTrack(t, limit)
		track.SetParameters(ReceiveParameters{Codecs: all})
		pictures, units := subscribe(t, track, Request{}), subscribe(t, track, Request{Encoded: true})
		for i := 0; len(script) >= 4 && i < 32; i++ {
			head := script[:4]
			n := min(int(head[2])<<8|int(head[3]), len(script)-4)
			raw, err := (&rtp.Packet{Header: rtp.Header{
				Version: 2, PayloadType: head[0] % 6, Marker: head[1]&0x80 != 0, SequenceNumber: uint16(i), Timestamp: uint32(head[1]&0x7f) * 3000, SSRC: 1,
			}, Payload: script[4 : 4+n]}).Marshal()
			if err != nil {
				t.Fatal(err)
			}
			track.WriteRTP(raw, time.Now())
			script = script[4+n:]
		}
		decodeAll(t, track)
		track.End(EndClosed)
		for _, c := range []*Consumer{pictures, units} {
			takeRest(t, c, limit)
		}
	})
}

// newLimitedTrack returns a track whose pictures have at most that many pixels.
func newLimitedTrack(t *testing.T, maxPixels int) *Track {
	t.Helper()
	pool := NewDecodePool(1)
	track := NewTrack(TrackConfig{Kind: KindVideo, Pool: pool, MaxPicturePixels: maxPixels, Logger: slog.New(slog.DiscardHandler)})
	t.Cleanup(func() {
		track.End(EndClosed)
		pool.Close()
	})
	return track
}

// takeRest takes what a track that has ended left, and checks that decoded pictures keep the limit.
func takeRest(t *testing.T, c *Consumer, maxPixels int) (frames int) {
	t.Helper()
	for {
		item, err := next(t, c)
		if err != nil {
			return frames
		}
		if f := item.Frame; f != nil {
			frames++
			if c.req.Video != nil && f.Width*f.Height > maxPixels {
				t.Errorf("a picture of %d×%d", f.Width, f.Height)
			}
			f.Payload.Release()
		}
	}
}
