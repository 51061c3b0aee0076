package media

import (
	"encoding/hex"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pion/rtp"
)

// blankPicture is a key frame of the sizes with which LiveKit's SFU ends a track that is muted: 8×8 of VP8, 2×2 of H.264.
func blankPicture(t testing.TB, c Codec) []byte {
	t.Helper()
	text := "100200" + "9d012a" + "08000800" + "0047088585888584880202" + "75ba24cf08050d0000fef9ea000000"
	if c == CodecH264 {
		text = "00000001" + hex.EncodeToString(tinySPS()) + "00000001" + "68ce3880" + "00000001" + "658884bd"
	}
	b, err := hex.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// tinySPS is a sequence parameter set of baseline with one macroblock, of which 2×2 pixels are shown.
func tinySPS() []byte {
	w := &bitWriter{data: []byte{0x67, 0x42, 0xc0, 0x0a}}
	for _, v := range []uint32{0, 0, 2, 1} { // id, frame numbers, picture order type 2, references
		w.ue(v)
	}
	w.bits(0, 1)
	w.ue(0) // one macroblock
	w.ue(0)
	w.bits(0b111, 3) // frames, direct inference, cropped
	for _, v := range []uint32{0, 7, 0, 7} {
		w.ue(v)
	}
	w.bits(0b01, 2) // no VUI; stop
	return w.data
}

// muting runs a scene with a consumer of pictures and one of units.
func muting(t *testing.T, codec Codec, clip string, scene func(t *testing.T, s *unitSender, units [][]byte, pictures, encoded *Consumer)) {
	synctest.Test(t, func(t *testing.T) {
		noCMemory(t)
		track := NewTrack(TrackConfig{Kind: KindVideo, Pool: newPool(t, 1), Logger: slog.New(slog.DiscardHandler)})
		t.Cleanup(func() { track.End(EndClosed) })
		params := CodecParameters{Codec: codec, PayloadType: 96, ClockRate: 90000}
		track.SetParameters(ReceiveParameters{Codecs: []CodecParameters{params}})
		s := &unitSender{t: t, track: track, params: params, payloader: payloaderOf(codec)}
		scene(t, s, clipUnits(t, clip), subscribe(t, track, Request{Queue: patient}), subscribe(t, track, Request{Encoded: true, Queue: patient}))
	})
}

// got takes what waits; nothing may be lost, nor anything but pictures of a width come.
func got(t *testing.T, c *Consumer, width int) (frames int) {
	t.Helper()
	synctest.Wait()
	for waiting(c) > 0 {
		f := frame(t, c)
		frames++
		if f.Lost != (Loss{}) || f.Dropped != (Loss{}) || c.req.Video != nil && f.Width != width {
			t.Errorf("a picture of %d×%d, lost %+v, dropped %+v", f.Width, f.Height, f.Lost, f.Dropped)
		}
	}
	return frames
}

// Probes come between pictures and amid their packets, under the timestamps of pictures and others, and for seconds while
// nothing else comes.
func TestF17_ProbesAreNeitherLossNorFrames(t *testing.T) {
	for codec, clip := range map[Codec]string{CodecVP8: "vp8.ivf", CodecVP9: "vp9.ivf", CodecH264: "h264-baseline.h264", CodecH265: "h265.h265", CodecAV1: "av1.ivf"} {
		t.Run(codec.String(), func(t *testing.T) {
			muting(t, codec, clip, func(t *testing.T, s *unitSender, units [][]byte, pictures, encoded *Consumer) {
				want, width := 0, 0
				for _, unit := range units {
					s.timestamp += 3000
					payloads := s.payloader.Payload(300, unit)
					for i, payload := range payloads {
						s.packet(rtp.Header{Timestamp: s.timestamp, Marker: i == len(payloads)-1}, payload, 0)
						s.packet(rtp.Header{Timestamp: s.timestamp}, nil, 255)
						if i == len(payloads)-1 {
							s.packet(rtp.Header{Timestamp: s.timestamp + 1}, nil, 100)
						}
					}
					want++
					for range 20 {
						s.packet(rtp.Header{Timestamp: s.timestamp, Marker: true}, nil, 200)
					}
					synctest.Wait()
					width = int(s.track.video.width.Load())
					time.Sleep(time.Second / 30)
				}
				for range 100 {
					s.packet(rtp.Header{Timestamp: s.timestamp}, nil, 224)
					time.Sleep(50 * time.Millisecond)
				}
				if n, m := got(t, pictures, width), got(t, encoded, width); n != want || m != want {
					t.Errorf("%d pictures and %d units of %d", n, m, want)
				}
				if st := s.track.Stats(); st.Lost != 0 || st.UnitsDropped != 0 || st.Unusable != 0 || int(st.Units) != want || st.KeyFrameAsks > 1 {
					t.Errorf("%+v", st)
				}
			})
		})
	}
}

func TestF17_BlankClosingPicturesAreNotDelivered(t *testing.T) {
	for codec, clip := range map[Codec]string{CodecVP8: "vp8.ivf", CodecH264: "h264-baseline.h264"} {
		t.Run(codec.String(), func(t *testing.T) {
			muting(t, codec, clip, func(t *testing.T, s *unitSender, units [][]byte, pictures, encoded *Consumer) {
				for range 2 { // muted, heard again, and muted again
					for _, unit := range units {
						s.send(unit)
					}
					if n, m := got(t, pictures, 640), got(t, encoded, 640); n != len(units) || m != len(units) {
						t.Errorf("%d pictures and %d units of %d", n, m, len(units))
					}
					for range 6 {
						s.send(blankPicture(t, codec))
						time.Sleep(time.Second / 30)
					}
					time.Sleep(3 * time.Second)
				}
				if n, m := got(t, pictures, 640), got(t, encoded, 640); n != 0 || m != 0 {
					t.Errorf("%d blank pictures and %d blank units were delivered", n, m)
				}
				if st := s.track.Stats(); st.Filler != 12 || int(st.Units) != 2*len(units) || st.Width != 640 || st.UnitsDropped != 0 || st.DecodeErrors != 0 {
					t.Errorf("%+v", st)
				}
				if codec == CodecH264 { // the parameter sets are those from before the blank ones
					nals := annexBNALs(units[0])
					s.send(annexB(nals[len(nals)-1]))
					if n := got(t, pictures, 640); n != 1 {
						t.Errorf("%d pictures of a key frame without parameter sets", n)
					}
				}
			})
		})
	}
}

// What was always as small is content.
func TestF17_SmallPicturesThatAreNoFillerAreDelivered(t *testing.T) {
	muting(t, CodecVP8, "vp8.ivf", func(t *testing.T, s *unitSender, units [][]byte, pictures, _ *Consumer) {
		for range 6 {
			s.send(blankPicture(t, CodecVP8))
		}
		if n := got(t, pictures, 8); n != 6 {
			t.Errorf("%d pictures of 6", n)
		}
		for _, unit := range units { // from here on they would be filler
			s.send(unit)
		}
		synctest.Wait()
		if st := s.track.Stats(); st.Width != 640 || st.Filler != 0 {
			t.Errorf("%+v", st)
		}
	})
}

// What builds on a picture that was left out is not decoded.
func TestF17_WhatFollowsABlankPictureNeedsAKeyFrame(t *testing.T) {
	muting(t, CodecVP8, "vp8.ivf", func(t *testing.T, s *unitSender, units [][]byte, pictures, encoded *Consumer) {
		s.send(units[0])
		s.send(blankPicture(t, CodecVP8))
		s.send(units[1])
		if n, m := got(t, pictures, 640), got(t, encoded, 640); n != 1 || m != 1 {
			t.Errorf("%d pictures, %d units; want the first only", n, m)
		}
	})
}
