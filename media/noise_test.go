package media

import (
	"bytes"
	"flag"
	"math/rand/v2"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pion/rtp"
)

// noiseSeeds is how many seeds each kind of noise is made with: go test ./media -run TestF12_AKeyFrame -noise-seeds 3000
var noiseSeeds = flag.Uint64("noise-seeds", 4, "seeds of each kind of noise")

// noises is what a hostile or broken sender may put in the place of a picture's payloads.
func noises() map[string]func(rnd *rand.Rand, payloads [][]byte) [][]byte {
	return map[string]func(rnd *rand.Rand, payloads [][]byte) [][]byte{
		"random": func(rnd *rand.Rand, _ [][]byte) [][]byte {
			return [][]byte{noise(rnd, make([]byte, 1+rnd.IntN(1000)), 0)}
		},
		"all flags": func(rnd *rand.Rand, _ [][]byte) [][]byte {
			b := noise(rnd, make([]byte, 1000), 0)
			b[0] = 0xff
			return [][]byte{b}
		},
		"behind a head": func(rnd *rand.Rand, p [][]byte) [][]byte {
			for i := range p {
				p[i] = noise(rnd, p[i], min(len(p[i]), 1+rnd.IntN(24)))
			}
			return p
		},
		"bits": func(rnd *rand.Rand, p [][]byte) [][]byte {
			for range 1 + rnd.IntN(8) {
				b := p[rnd.IntN(len(p))]
				b[rnd.IntN(min(len(b), 30))] ^= byte(1 << rnd.IntN(8))
			}
			return p
		},
		"several": func(rnd *rand.Rand, p [][]byte) [][]byte {
			var out [][]byte
			for range 1 + rnd.IntN(5) {
				out = append(out, noise(rnd, p[rnd.IntN(len(p))], rnd.IntN(4)))
			}
			return out
		},
	}
}

// Whatever came, and whether it was found out or not: pictures go on or a key frame is asked for, and the next one gives the picture that it
// gives to a new decoder.
func TestF12_AKeyFrameAfterAnyNoiseGivesItsPicture(t *testing.T) {
	// Seeds of faults: sizes that VP9's decoder kept of a frame that it had refused; pictures that H.264's decoder held back, or built upon one that
	// was damaged.
	found := map[string][]uint64{
		"VP9 random": {107, 1607}, "VP9 all flags": {394, 785, 1294}, "VP9 behind a head": {22, 92, 93, 242}, "VP9 bits": {1398, 1942}, "VP9 several": {320, 431},
		"H264 behind a head": {26, 195, 247, 351, 372}, "H264 bits": {52, 60, 210, 245}, "H264 several": {11, 513, 771, 778},
	}
	for codec, clip := range plainClips() {
		for kind, harm := range noises() {
			name := codec.String() + " " + kind
			t.Run(name, func(t *testing.T) {
				seeds := found[name]
				for seed := range *noiseSeeds {
					seeds = append(seeds, seed)
				}
				for _, seed := range seeds {
					synctest.Test(t, func(t *testing.T) { afterNoise(t, codec, clip, harm, seed) })
				}
			})
		}
	}
}

// afterNoise sends a key frame, noise, and what builds on it, until pictures come or a key frame is asked for.
func afterNoise(t *testing.T, codec Codec, clip string, harm func(*rand.Rand, [][]byte) [][]byte, seed uint64) {
	noCMemory(t)
	rnd := rand.New(rand.NewPCG(seed, 9))
	track := newLimitedTrack(t, testMaxPixels)
	asks := 0
	track.keyFrames.send = func() { asks++ }
	params := CodecParameters{Codec: codec, PayloadType: 96, ClockRate: 90000}
	track.SetParameters(ReceiveParameters{Codecs: []CodecParameters{params}})
	c := subscribe(t, track, Request{Queue: patient})
	s := &unitSender{t: t, track: track, params: params, payloader: payloaderOf(codec)}
	units := clipUnits(t, clip)
	s.send(units[0])
	_, want := newestPicture(t, c)
	before := asks
	var payloads [][]byte
	for _, p := range s.payloader.Payload(uint16(100+rnd.IntN(1000)), units[1]) {
		payloads = append(payloads, bytes.Clone(p))
	}
	s.payloads(harm(rnd, payloads)...)
	damaged, _ := newestPicture(t, c)
	for i := 2; ; i++ {
		s.send(units[min(i, len(units)-1)])
		time.Sleep(time.Second)
		f, _ := newestPicture(t, c)
		if f != nil && damaged != nil && damaged.Corrupt && !f.Corrupt {
			t.Errorf("seed %d: a picture that builds on a damaged one is not marked", seed)
		}
		if f != nil || asks > before {
			break
		}
		if i > 2+16 { // more than H.264 may hold back, to put pictures into order
			t.Fatalf("seed %d: no picture comes, and nobody asks for a key frame: %+v", seed, track.Stats())
		}
	}
	s.send(units[0])
	if f, got := newestPicture(t, c); f == nil || !f.KeyFrame || f.Corrupt || !bytes.Equal(got, want) {
		t.Errorf("seed %d: the key frame gives %+v: %+v", seed, f, track.Stats())
	}
}

// newestPicture takes what waits for a consumer, in a bubble, and returns the last picture with its bytes; nil when there is none.
func newestPicture(t *testing.T, c *Consumer) (newest *Frame, payload []byte) {
	t.Helper()
	synctest.Wait()
	for waiting(c) > 0 {
		item, err := next(t, c)
		if err != nil {
			t.Fatal(err)
		}
		if item.Frame != nil {
			newest, payload = item.Frame, bytes.Join(item.Frame.Payload.Parts(), nil)
			newest.Payload.Release()
		}
	}
	return newest, payload
}

// H.265's decoder says nothing of slices that are missing or end too soon. Their pictures are found out by the blocks that were not decoded: key frames are
// not shown, others are marked, and clean slices are not suspected (TestF1_Video/h265-slices).
func TestF12_MissingSlicesOfH265AreFoundOut(t *testing.T) {
	units := clipUnits(t, "h265-slices.h265")
	for missing := 1; missing <= 3; missing++ { // from the end
		synctest.Test(t, func(t *testing.T) {
			noCMemory(t)
			s, c := sendH265(t)
			for at, unit := range units[:3] {
				nals := annexBNALs(unit)
				if at > 0 {
					nals = slices.Delete(nals, len(nals)-missing, len(nals)-missing+1)
				}
				s.send(annexB(nals...))
				f, _ := newestPicture(t, c)
				switch at {
				case 0:
					if f == nil || f.Corrupt {
						t.Fatalf("a clean key frame gives %+v", f)
					}
				case 1:
					if f == nil || !f.Corrupt {
						t.Errorf("without slice %d: %+v", missing, f)
					}
				default:
					if f != nil {
						t.Error("what builds on a damaged picture is delivered")
					}
				}
			}
			nals := annexBNALs(units[0])
			s.send(annexB(nals[:len(nals)-1]...))
			if f, _ := newestPicture(t, c); f != nil {
				t.Errorf("a key frame that lacks a slice is shown: %+v", f)
			}
			if st := s.track.Stats(); st.DecodeErrors != 2 {
				t.Errorf("%+v", st)
			}
		})
	}
}

// Noise behind the headers of slices is found out the sooner the larger pictures are; of small ones often enough for the track to count as one that cannot be decoded.
func TestF18_NoiseInSlicesOfH265IsUndecodable(t *testing.T) {
	for seed := range uint64(5) {
		synctest.Test(t, func(t *testing.T) {
			noCMemory(t)
			rnd := rand.New(rand.NewPCG(seed, 10))
			s, c := sendH265(t)
			units := clipUnits(t, "h265-slices.h265")
			for i := 0; !s.track.video.trust.undecodable(); i++ {
				if i == 200 {
					t.Fatalf("seed %d: %+v", seed, s.track.Stats())
				}
				nals := annexBNALs(units[i%len(units)])
				for j, nal := range nals {
					if h265Type(nal[0]) <= hevcVCLEnd {
						nals[j] = noise(rnd, nal, 20) // beyond its header
					}
				}
				s.send(annexB(nals...))
				newestPicture(t, c)
			}
		})
	}
}

func sendH265(t *testing.T) (*unitSender, *Consumer) {
	t.Helper()
	track := newLimitedTrack(t, testMaxPixels)
	params := CodecParameters{Codec: CodecH265, PayloadType: 96, ClockRate: 90000}
	track.SetParameters(ReceiveParameters{Codecs: []CodecParameters{params}})
	return &unitSender{t: t, track: track, params: params, payloader: payloaderOf(CodecH265)}, subscribe(t, track, Request{Queue: patient})
}

// Where each picture of many packets misses one, none is whole, and none tells that a key frame is needed: it is asked for all the same. After one alone
// that is what the next one does.
func TestS16_PicturesThatAreNeverWholeAskForAKeyFrame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		noCMemory(t)
		track := newLimitedTrack(t, testMaxPixels)
		asks := 0
		track.keyFrames.send = func() { asks++ }
		params := CodecParameters{Codec: CodecVP8, PayloadType: 96, ClockRate: 90000}
		track.SetParameters(ReceiveParameters{Codecs: []CodecParameters{params}})
		c := subscribe(t, track, Request{Queue: patient})
		s := &unitSender{t: t, track: track, params: params, payloader: payloaderOf(CodecVP8)}
		units := clipUnits(t, "vp8.ivf")
		s.send(units[0])
		if f, _ := newestPicture(t, c); f == nil {
			t.Fatal("no picture")
		}
		time.Sleep(time.Minute)
		before := asks
		for i, want := range []int{before, before + 1, before + 1} {
			s.timestamp += 3000
			for j, payload := range s.payloader.Payload(100, units[1+i]) {
				if j == 1 {
					s.seq++ // is lost
					continue
				}
				s.packet(rtp.Header{Timestamp: s.timestamp}, payload, 0)
			}
			s.packet(rtp.Header{Timestamp: s.timestamp + 3000}, []byte{0x10}, 0) // the next one begins
			time.Sleep(500 * time.Millisecond)
			synctest.Wait()
			if asks != want {
				t.Errorf("%d requests after %d pictures, want %d", asks, i+1, want)
			}
		}
	})
}
