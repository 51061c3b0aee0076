package media

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

var redParams = CodecParameters{Codec: CodecRED, PayloadType: 63, ClockRate: 48000, Channels: 2, Fmtp: "111/111"}

// block is one redundant block for redPayload.
type block struct {
	payloadType uint8
	before      uint32
	data        []byte
}

// redPayload writes RFC 2198: the redundant blocks, then the primary one.
func redPayload(primary block, redundant ...block) []byte {
	var out []byte
	for _, b := range redundant {
		out = append(out, 0x80|b.payloadType)
		word := b.before<<10 | uint32(len(b.data))
		out = append(out, byte(word>>16), byte(word>>8), byte(word))
	}
	out = append(out, primary.payloadType)
	for _, b := range redundant {
		out = append(out, b.data...)
	}
	return append(out, primary.data...)
}

// redundantly sends packets of 20 ms of Opus as Chromium does: each with so many before it again. lost tells what the network loses.
func redundantly(s *speaker, packets [][]byte, previous int, lost func(i int) bool) {
	s.head.PayloadType = redParams.PayloadType
	for i, p := range packets {
		var again []block
		for back := min(previous, i); back > 0; back-- {
			again = append(again, block{opusParams.PayloadType, uint32(960 * back), packets[i-back]})
		}
		at := s.now
		raw := s.packet(redPayload(block{opusParams.PayloadType, 0, p}, again...), 960, 20*time.Millisecond)
		if !lost(i) {
			s.track.WriteRTP(raw, at)
		}
		if i%50 == 0 {
			settle(s.track)
		}
	}
}

// speech is a clip of speech, round after round.
func speech(t *testing.T, clip string, packets int) [][]byte {
	units := clipUnits(t, clip)
	var out [][]byte
	for i := range packets {
		out = append(out, units[i%len(units)])
	}
	return out
}

// TestF21_RedundancyMakesUpForLoss loses one packet in ten at random, of 5000. With two packets before again in each, and with one and the
// in-band FEC that Chromium sends beside it, less than one in a hundred is made up.
func TestF21_RedundancyMakesUpForLoss(t *testing.T) {
	noCMemory(t)
	const packets = 5000
	for name, c := range map[string]struct {
		clip     string
		previous int
	}{"two before": {"opus-mono.ogg", 2}, "one before, and FEC": {"opus-fec.ogg", 1}} {
		t.Run(name, func(t *testing.T) {
			track := newTestTrack(t, KindAudio)
			consumer := subscribe(t, track, Request{Audio: &AudioFormat{Rate: 8000}, Queue: patient})
			s := newSpeaker(t, track, opusParams, redParams)
			s.now = s.now.Add(-time.Hour) // no timer runs
			random := rand.New(rand.NewPCG(21, 2198))
			lost := 0
			redundantly(s, speech(t, c.clip, packets), c.previous, func(i int) bool {
				if i == 0 || i == packets-1 || random.IntN(10) > 0 {
					return false
				}
				lost++
				return true
			})
			frames, _ := heard(t, consumer)
			concealed, at := 0, time.Duration(0)
			for i, f := range frames {
				if f.Time != at || f.Samples != 160 {
					t.Fatalf("frame %d lies at %v with %d samples, want %v", i, f.Time, f.Samples, at)
				}
				at += f.Duration
				if f.Concealed {
					concealed++
				}
			}
			t.Logf("%d of %d lost, %d concealed; %+v", lost, packets, concealed, track.Stats())
			if len(frames) != packets || lost < packets/12 || concealed*100 >= packets {
				t.Errorf("%d of %d lost: %d frames, %d concealed", lost, packets, len(frames), concealed)
			}
		})
	}
}

// TestF21_WhatIsRestoredIsWhatWasSent compares what is heard with and without losses that redundancy makes up for: the samples are the same.
func TestF21_WhatIsRestoredIsWhatWasSent(t *testing.T) {
	packets := clipUnits(t, "opus-stereo.ogg")
	hear := func(lost func(int) bool) (samples []int16, encoded [][]byte, stats TrackStats) {
		track := newTestTrack(t, KindAudio)
		decoded := subscribe(t, track, Request{Audio: &AudioFormat{Channels: 2}, Queue: patient})
		received := subscribe(t, track, Request{Encoded: true, Queue: patient})
		s := newSpeaker(t, track, opusParams, redParams)
		redundantly(s, packets, 2, lost)
		frames, events := heard(t, decoded)
		for _, f := range frames {
			if f.Concealed || f.Lost.Frames > 0 {
				t.Errorf("the frame at %v: %+v", f.Time, f)
			}
			samples = append(samples, pcmOf(f)...)
		}
		units, more := heard(t, received)
		for _, f := range units {
			encoded = append(encoded, f.Payload.Parts()[0])
		}
		if len(events)+len(more) > 0 {
			t.Errorf("events %v %v", events, more)
		}
		return samples, encoded, track.Stats()
	}
	want, sent, _ := hear(func(int) bool { return false })
	got, encoded, stats := hear(func(i int) bool { return i < len(packets)-1 && (i%3 == 1 || i%9 == 2) })
	if !slices.Equal(got, want) || !slices.EqualFunc(encoded, sent, slices.Equal[[]byte]) {
		t.Errorf("%d samples of %d, %d packets of %d; not the same", len(got), len(want), len(encoded), len(sent))
	}
	if stats.Lost != 0 || stats.Restored == 0 || stats.Codec.Codec != CodecOpus || stats.Unusable != 0 {
		t.Errorf("stats %+v", stats)
	}
}

// TestF21_NestedAndDoubleBlocks sends redundant packets inside a redundant one, blocks twice, blocks of packets that came, and packets twice.
func TestF21_NestedAndDoubleBlocks(t *testing.T) {
	packets := clipUnits(t, "opus-mono.ogg")
	track := newTestTrack(t, KindAudio)
	received := subscribe(t, track, Request{Encoded: true, Queue: patient})
	s := newSpeaker(t, track, opusParams, redParams)
	opus, red := opusParams.PayloadType, redParams.PayloadType
	say := func(payload []byte) []byte {
		s.head.PayloadType = red
		at := s.now
		raw := s.packet(payload, 960, 20*time.Millisecond)
		track.WriteRTP(raw, at)
		return raw
	}
	say(redPayload(block{opus, 0, packets[0]}))
	s.packet(packets[1], 960, 20*time.Millisecond) // lost
	s.packet(packets[2], 960, 20*time.Millisecond) // lost
	inner := redPayload(block{opus, 0, packets[2]}, block{opus, 960, packets[1]})
	third := say(redPayload(block{opus, 0, packets[3]}, block{opus, 2880, packets[0]}, block{red, 960, inner}, block{opus, 960, packets[2]}))
	track.WriteRTP(third, s.now)
	say(redPayload(block{opus, 0, packets[4]}, block{opus, 1920, packets[2]}, block{opus, 960, packets[3]}))
	frames, _ := heard(t, received)
	if s := track.Stats(); len(frames) != 5 || s.Restored != 2 || s.Late != 1 {
		t.Fatalf("%d packets, want 5; %+v", len(frames), s)
	}
	for i, f := range frames {
		if !slices.Equal(f.Payload.Parts()[0], packets[i]) || f.Time != time.Duration(i)*20*time.Millisecond || f.Lost.Frames > 0 {
			t.Errorf("packet %d lies at %v, %d lost before it", i, f.Time, f.Lost.Frames)
		}
	}
}

// TestF21_BlocksFindTheirPlaces restores over a pause (DTX) in which timestamps go on, and where the sender itself lacked a packet.
func TestF21_BlocksFindTheirPlaces(t *testing.T) {
	packets := clipUnits(t, "opus-mono.ogg")
	opus := opusParams.PayloadType
	for name, c := range map[string]struct {
		pause  uint32  // ticks between the second and the third packet
		blocks []block // beside the fourth, of which two before are lost
		want   []int   // which packets are heard before the fourth
		lost   uint32
	}{
		"after a pause":           {9600, []block{{opus, 960 + 10560, packets[1]}, {opus, 960, packets[2]}}, []int{0, 1, 2}, 0},
		"the sender lacked one":   {0, []block{{opus, 1920, packets[1]}}, []int{0, 1}, 1},
		"of before what was told": {0, []block{{opus, 2880, packets[0]}, {opus, 960, packets[2]}}, []int{0, 2}, 1},
		"of nothing known":        {0, []block{{77, 1920, packets[1]}, {opus, 960, packets[2]}}, []int{0, 2}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			track := newTestTrack(t, KindAudio)
			received := subscribe(t, track, Request{Encoded: true, Queue: patient})
			s := newSpeaker(t, track, opusParams, redParams)
			s.now = s.now.Add(-time.Hour)
			s.say(packets[0], 960, 20*time.Millisecond)
			s.packet(packets[1], 960+c.pause, 20*time.Millisecond)
			s.packet(packets[2], 960, 20*time.Millisecond)
			s.head.PayloadType = redParams.PayloadType
			s.say(redPayload(block{opus, 0, packets[3]}, c.blocks...), 960, time.Second)
			s.say(redPayload(block{opus, 0, packets[4]}), 960, 0) // gives up what is missing
			frames, _ := heard(t, received)
			var lost uint32
			for i, want := range append(c.want, 3, 4) {
				if i >= len(frames) || !slices.Equal(frames[i].Payload.Parts()[0], packets[want]) {
					t.Fatalf("%d packets; number %d is not packet %d", len(frames), i, want)
				}
				lost += frames[i].Lost.Frames
			}
			if lost != c.lost || len(frames) != len(c.want)+2 {
				t.Errorf("%d packets, %d lost, want %d and %d", len(frames), lost, len(c.want)+2, c.lost)
			}
		})
	}
}

func TestRedRefusesWhatIsMalformed(t *testing.T) {
	var r redBlocks
	for _, bad := range [][]byte{
		nil, {0x80}, {0x80 | 111, 0, 0}, {0x80 | 111, 0, 0, 1}, {0x80 | 111, 0, 0, 9, 111, 1, 2}, {0x80 | 63, 0, 0, 2, 111, 0x80, 0x80, 1}, {111},
	} {
		if r.parse(bad, 63) {
			t.Errorf("%x is taken: %+v", bad, r.list[:r.n])
		}
	}
	if many := redPayload(block{111, 0, []byte{1}}, make([]block, 40)...); !r.parse(many, 63) || r.n != 1 {
		t.Errorf("empty blocks: %d", r.n)
	}
	var full []block
	for i := range maxRedBlocks {
		full = append(full, block{111, uint32(i + 1), []byte{1}})
	}
	if r.parse(redPayload(block{111, 0, []byte{1}}, full...), 63) {
		t.Error("too many blocks are taken")
	}
	deep := []byte{1}
	for range 4 {
		deep = redPayload(block{63, 0, deep})
	}
	if r.parse(deep, 63) {
		t.Error("RED in RED without end is taken")
	}
}

func FuzzRED(f *testing.F) {
	f.Add(redPayload(block{111, 0, []byte{0xf8, 1}}, block{111, 960, []byte{0xf8, 2}}))
	f.Add(redPayload(block{111, 0, []byte{1}}, block{63, 960, redPayload(block{111, 0, []byte{2}}, block{111, 960, []byte{3}})}))
	f.Add([]byte{0x80 | 111, 0xff, 0xff, 0xff, 111})
	f.Fuzz(func(t *testing.T, payload []byte) {
		var r redBlocks
		if !r.parse(payload, 63) {
			return
		}
		total := 0
		for _, b := range r.list[:r.n] {
			total += len(b.data)
			if len(b.data) == 0 || b.payloadType == 63 || b.before >= maxRedDepth<<14 {
				t.Fatalf("block %+v", b)
			}
		}
		if total > len(payload) {
			t.Fatalf("%d bytes out of %d", total, len(payload))
		}
	})
}
