package media

import (
	"encoding/binary"
	"math"
	"testing"
	"time"

	"github.com/pion/rtp"
)

// sender is a participant's media on clocks of their own: an RTP clock that runs fast or slow, an NTP clock that is off, and packets that take their time.
type sender struct {
	t     *testing.T
	track *Track
	head  rtp.Header
	rate  float64       // ticks a second, really
	off   time.Duration // of the sender's NTP clock
	start time.Time
	base  uint32
	delay func(n int) time.Duration
	told  bool // packets tell their capture time
	sent  int
}

// timestamp is that of a moment.
func (s *sender) timestamp(at time.Time) uint32 {
	return s.base + uint32(int64(math.Round(at.Sub(s.start).Seconds()*s.rate)))
}

// send sends what was captured at a moment.
func (s *sender) send(at time.Time, payload []byte) {
	s.t.Helper()
	p := rtp.Packet{Header: s.head, Payload: payload}
	p.Timestamp, p.Marker = s.timestamp(at), true
	if s.told {
		noErr(s.t, p.SetExtension(5, binary.BigEndian.AppendUint64(nil, ntpOf(at.Add(s.off)))))
	}
	raw, err := p.Marshal()
	noErr(s.t, err)
	s.head.SequenceNumber++
	s.sent++
	s.track.WriteRTP(raw, at.Add(s.delay(s.sent)))
}

// report sends a sender report of a moment.
func (s *sender) report(at time.Time) {
	s.track.WriteSenderReport(ntpOf(at.Add(s.off)), s.timestamp(at))
}

// begin goes on from another source, whose clock begins anywhere.
func (s *sender) begin(ssrc uint32, at time.Time, base uint32) {
	s.head.SSRC, s.head.SequenceNumber, s.start, s.base = ssrc, uint16(base), at, base
}

// ntpOf is a time as RTCP writes it.
func ntpOf(t time.Time) uint64 {
	return uint64(t.Unix()+ntpEpoch)<<32 | uint64(t.Nanosecond())<<32/1e9
}

func noErr(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestF8_CaptureTimesOfOneParticipantAgree sends two minutes of audio and video of one participant, whose RTP clocks run 150 ppm fast and 120 ppm slow and lie
// anywhere, the timestamps wrapping in between, and whose NTP clock is an hour off. Sender reports come every 5 s; the video goes on from another source half-way, and
// the audio is muted for 20 s. Whatever was captured at one moment says so in both, to 20 ms; and where packets tell it themselves, too.
func TestF8_CaptureTimesOfOneParticipantAgree(t *testing.T) {
	for _, told := range []bool{false, true} {
		track := func(kind Kind, codec CodecParameters, rate float64, base uint32) (*sender, *Consumer) {
			tr := newTestTrack(t, kind)
			tr.SetParameters(ReceiveParameters{Codecs: []CodecParameters{codec}, Extensions: HeaderExtensions{AbsCaptureTime: 5}})
			s := &sender{
				t: t, track: tr, rate: rate, base: base, off: time.Hour, start: time.Unix(1_700_000_000, 0), told: told,
				head:  rtp.Header{Version: 2, SSRC: 7, PayloadType: codec.PayloadType},
				delay: func(n int) time.Duration { return time.Duration(40+n*7919%30) * time.Millisecond },
			}
			return s, subscribe(t, tr, Request{Encoded: true, Queue: patient})
		}
		audio, sound := track(KindAudio, opusParams, 48000*(1+150e-6), math.MaxUint32-48000*30)
		video, picture := track(KindVideo, vp8Params, 90000*(1-120e-6), math.MaxUint32-90000*70)
		start := audio.start
		// check takes what was captured at a moment out of a track, and returns what it says of that.
		check := func(c *Consumer, at time.Time) time.Time {
			f := frame(t, c)
			if d := f.Captured.Sub(at.Add(time.Hour)); !f.Captured.IsZero() && d.Abs() > 10*time.Millisecond {
				t.Fatalf("told %v: the frame at %v says that it was captured %v late", told, f.Time, d)
			}
			return f.Captured
		}
		compared := 0
		for ms := 0; ms < 120_000; ms += 20 {
			at := start.Add(time.Duration(ms) * time.Millisecond)
			if ms == 62_480 { // no report on it comes for 2.5 s
				video.begin(8, at, 12345)
			}
			if ms%5000 == 0 {
				audio.report(at.Add(3 * time.Millisecond))
				video.report(at.Add(11 * time.Millisecond))
			}
			var heard, seen time.Time
			if muted := ms >= 80_000 && ms < 100_000; !muted {
				audio.send(at, []byte{0xf8, 1, 2})
				heard = check(sound, at)
			}
			if ms%40 == 0 {
				video.send(at, []byte{0x10, 0x10, 2, 0, 0x9d, 1, 0x2a, 0x80, 2, 0x68, 1})
				seen = check(picture, at)
			}
			if !heard.IsZero() && !seen.IsZero() {
				compared++
				if d := heard.Sub(seen); d.Abs() > 20*time.Millisecond {
					t.Fatalf("told %v: at %d ms sound and picture are %v apart", told, ms, d)
				}
			}
		}
		if compared < 2000 {
			t.Errorf("told %v: only %d moments were known in both", told, compared)
		}
	}
}

// TestF8_TimesFollowTheRTPClock sends an hour on a clock that runs 300 ppm fast, through its wrap, with packets that jitter; mutes, and goes on from another
// source. Frames follow the sender's clock to the tick, and never go back.
func TestF8_TimesFollowTheRTPClock(t *testing.T) {
	track := newTestTrack(t, KindAudio)
	track.SetParameters(ReceiveParameters{Codecs: []CodecParameters{opusParams}})
	encoded := subscribe(t, track, Request{Encoded: true, Queue: patient})
	s := &sender{
		t: t, track: track, rate: 48000 * (1 + 300e-6), start: time.Unix(1_700_000_000, 0), base: math.MaxUint32 - 48000*600,
		head:  rtp.Header{Version: 2, SSRC: 7, PayloadType: 111},
		delay: func(n int) time.Duration { return time.Duration(n*7919%60) * time.Millisecond },
	}
	base, offset, last := s.base, time.Duration(0), time.Duration(-1)
	at := s.start
	say := func() *Frame {
		s.send(at, []byte{0xf8, 1, 2})
		want := offset + ticks(int64(s.timestamp(at)-base), 48000)
		f := frame(t, encoded)
		if f.Time != want || f.Time <= last || f.RTPTimestamp != s.timestamp(at) {
			t.Fatalf("captured %v after the start: lies at %v, want %v, after %v", at.Sub(s.start), f.Time, want, last)
		}
		last, at = f.Time, at.Add(20*time.Millisecond)
		return f
	}
	for range 30 * 60 * 50 {
		say()
	}
	at = at.Add(7 * time.Minute) // muted; the clock goes on
	for range 60 * 50 {
		say()
	}
	before := last
	at = at.Add(2 * time.Second)
	s.begin(9, at, 77) // another source: by the arrival of its first packet
	s.send(at, []byte{0xf8, 1, 2})
	f := frame(t, encoded)
	if d := f.Time - before - 2020*time.Millisecond; d.Abs() > 60*time.Millisecond {
		t.Errorf("after the source has changed: %v on, want 2.02 s", f.Time-before)
	}
	base, offset, last = 77, f.Time, f.Time
	at = at.Add(20 * time.Millisecond)
	for range 29 * 60 * 50 {
		say()
	}
}
