package media

import (
	"math"
	"testing"
	"time"
)

var cnParams = CodecParameters{Codec: CodecComfortNoise, PayloadType: 13, ClockRate: 8000}

// TestF21_ComfortNoiseFillsSilence lets a telephone fall silent in comfort noise of -40 dBov, twice, and be lost once meanwhile: what is heard then is noise of
// that loudness, the speech lies where it belongs, and nothing but what was lost is concealed.
func TestF21_ComfortNoiseFillsSilence(t *testing.T) {
	for name, codec := range map[string]struct {
		params CodecParameters
		clip   string
	}{"PCMU": {pcmuParams, "pcmu.raw"}, "PCMA": {pcmaParams, "pcma.raw"}, "G722": {g722Params, "g722.g722"}} {
		t.Run(name, func(t *testing.T) {
			noCMemory(t)
			track := newTestTrack(t, KindAudio)
			c := subscribe(t, track, Request{Audio: &AudioFormat{Rate: 16000}, Queue: patient})
			encoded := subscribe(t, track, Request{Encoded: true, Queue: patient})
			s := newSpeaker(t, track, codec.params, cnParams)
			s.now = s.now.Add(-time.Hour)
			packets := clipUnits(t, codec.clip)
			talk := func(from, to int) {
				s.head.PayloadType = codec.params.PayloadType
				for _, p := range packets[from:to] {
					s.say(p, 160, 20*time.Millisecond)
				}
			}
			hush := func(level byte) { // 200 ms of which one packet tells
				s.head.PayloadType = cnParams.PayloadType
				s.say([]byte{level, 110, 120}, 1600, 200*time.Millisecond)
			}
			talk(0, 10)
			hush(40) // at 200 ms
			hush(40) // at 400 ms
			talk(10, 20)
			hush(30) // at 800 ms
			talk(20, 30)
			frames, events := heard(t, c)
			if len(events) != 0 || len(frames) < 59 {
				t.Fatalf("%d frames, %d events", len(frames), len(events))
			}
			for _, f := range frames {
				want := 0.0
				switch at := f.Time + 3*time.Millisecond; { // what the resampler holds back, and away from the edges
				case at >= 240*time.Millisecond && at < 560*time.Millisecond:
					want = 32768 * math.Pow(10, -40.0/20)
				case at >= 840*time.Millisecond && at < 960*time.Millisecond:
					want = 32768 * math.Pow(10, -30.0/20)
				}
				is := loudness(pcmOf(f))
				if f.Concealed || f.Lost.Frames > 0 || want > 0 && (is < want*0.75 || is > want*1.25) {
					t.Errorf("the frame at %v: loudness %.0f, want %.0f; %+v", f.Time, is, want, f)
				}
			}
			if got, _ := heard(t, encoded); len(got) != 30 {
				t.Errorf("%d packets as received, want 30: noise is none", len(got))
			}
			if s := track.Stats(); s.Codec.Codec != codec.params.Codec || s.Unusable != 0 {
				t.Errorf("stats %+v", s)
			}
		})
	}
}

// TestF21_StrayComfortNoise sends comfort noise first of all, with a codec of another clock, empty, and loses a packet before it.
func TestF21_StrayComfortNoise(t *testing.T) {
	track := newTestTrack(t, KindAudio)
	c := subscribe(t, track, Request{Audio: &AudioFormat{Rate: 16000}, Queue: patient})
	s := newSpeaker(t, track, opusParams, cnParams)
	s.now = s.now.Add(-time.Hour)
	packets := clipUnits(t, "opus-mono.ogg")
	noise := func() {
		s.head.PayloadType = cnParams.PayloadType
		s.say([]byte{20}, 0, 0)
		s.say(nil, 0, 0)
		s.head.PayloadType = opusParams.PayloadType
	}
	noise()
	for i, p := range packets[:10] {
		if i == 5 {
			s.packet(p, 960, 20*time.Millisecond) // lost
			noise()
			s.now = s.now.Add(time.Second) // given up
			continue
		}
		s.say(p, 960, 20*time.Millisecond)
		noise()
	}
	frames, _ := heard(t, c)
	var lost uint32
	for i, f := range frames {
		lost += f.Lost.Frames
		if f.Time != time.Duration(i)*20*time.Millisecond || f.Concealed != (i == 5) {
			t.Errorf("frame %d lies at %v, concealed %v", i, f.Time, f.Concealed)
		}
	}
	if len(frames) != 10 || lost != 1 || track.Stats().Codec.Codec != CodecOpus {
		t.Errorf("%d frames, %d lost, %+v", len(frames), lost, track.Stats())
	}
}

func FuzzComfortNoise(f *testing.F) {
	f.Add([]byte{40, 1, 2}, uint16(100))
	f.Add([]byte{}, uint16(1))
	f.Fuzz(func(t *testing.T, payload []byte, n uint16) {
		var c comfortNoise
		c.set(payload)
		if c.on != (len(payload) > 0) {
			t.Fatal("on without a level")
		}
		if got := c.append(nil, int(n), 2); len(got) != 2*int(n) {
			t.Fatalf("%d samples", len(got))
		}
	})
}
