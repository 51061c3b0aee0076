package media

import (
	"encoding/binary"
	"testing"
	"time"
)

// keyPacket sends a report on a key with the timestamp that the speaker has reached.
func keyPacket(s *speaker, code byte, duration uint16, end bool, passes time.Duration) {
	s.t.Helper()
	payload := []byte{code, 10, 0, 0}
	if end {
		payload[1] |= 0x80
	}
	binary.BigEndian.PutUint16(payload[2:], duration)
	speech := s.head.PayloadType
	s.head.PayloadType = keysAt48k.PayloadType
	s.say(payload, 0, passes)
	s.head.PayloadType = speech
}

// keyTold waits for an event, with no further packet.
func keyTold(t *testing.T, c *Consumer) Event {
	t.Helper()
	for {
		item, err := next(t, c)
		if err != nil {
			t.Fatal(err)
		}
		if item.Event != nil {
			return *item.Event
		}
		item.Frame.Payload.Release()
	}
}

// TestF21_AKeyWithoutAnEndIsTold presses keys of which the end never comes: nothing comes any more, the track ends, another source takes over, or the
// reports go on for ever. Each is told once.
func TestF21_AKeyWithoutAnEndIsTold(t *testing.T) {
	begin := func(t *testing.T) (*Track, *Consumer, *speaker) {
		noCMemory(t)
		track := newTestTrack(t, KindAudio)
		c := subscribe(t, track, Request{Audio: &AudioFormat{Rate: 16000}, Queue: patient})
		s := newSpeaker(t, track, opusParams, keysAt48k)
		s.say(clipUnits(t, "opus-mono.ogg")[0], 960, 20*time.Millisecond)
		keyPacket(s, 3, 960, false, 20*time.Millisecond)
		keyPacket(s, 3, 1920, false, 20*time.Millisecond)
		return track, c, s
	}
	want := Event{Kind: EventKey, Time: 20 * time.Millisecond, Key: '3', Volume: 10, Length: 40 * time.Millisecond}
	t.Run("silence", func(t *testing.T) {
		_, c, _ := begin(t)
		if got := keyTold(t, c); got != want {
			t.Errorf("%+v, want %+v", got, want)
		}
	})
	t.Run("end of the track", func(t *testing.T) {
		track, c, _ := begin(t)
		track.End(EndMediaGone)
		if got := keyTold(t, c); got != want {
			t.Errorf("%+v, want %+v", got, want)
		}
	})
	t.Run("another source", func(t *testing.T) {
		_, c, s := begin(t)
		s.head.SSRC, s.head.Timestamp = 8, 1000
		keyPacket(s, 4, 960, true, 20*time.Millisecond)
		if got := keyTold(t, c); got != want {
			t.Errorf("%+v, want %+v", got, want)
		}
		if got := keyTold(t, c); got.Key != '4' {
			t.Errorf("%+v, want 4", got)
		}
	})
	t.Run("endless", func(t *testing.T) {
		_, c, s := begin(t)
		for i := range 2000 { // 40 s, in segments of 1.3 s
			duration := (i%60 + 1) * 1092
			if i%60 == 59 {
				duration = longestSegment
			}
			keyPacket(s, 3, uint16(duration), false, 20*time.Millisecond)
			if i%60 == 59 {
				s.head.Timestamp += longestSegment
			}
		}
		frames, events := heard(t, c)
		if len(events) != 1 || events[0].Key != '3' || events[0].Length < longestKey-2*time.Second || events[0].Length > 2*longestKey || len(frames) == 0 {
			t.Errorf("%d events, the first %+v", len(events), events)
		}
		s.head.Timestamp += longestSegment
		keyPacket(s, 5, 960, true, 20*time.Millisecond)
		if got := keyTold(t, c); got.Key != '5' {
			t.Errorf("%+v, want 5", got)
		}
	})
}

// TestF21_REDWithinAnotherREDEndsNobody sends redundant packets whose primary, and whose redundant, block is RED of another payload type: nothing of it is
// used, and speech that follows is heard.
func TestF21_REDWithinAnotherREDEndsNobody(t *testing.T) {
	noCMemory(t)
	other := redParams
	other.PayloadType, other.ClockRate = 64, 8000
	track := newTestTrack(t, KindAudio)
	c := subscribe(t, track, Request{Audio: &AudioFormat{Rate: 16000}, Queue: patient})
	s := newSpeaker(t, track, opusParams, redParams, other, keysAt48k)
	packets := clipUnits(t, "opus-mono.ogg")
	s.say(packets[0], 960, 20*time.Millisecond)
	s.head.PayloadType = redParams.PayloadType
	s.say(redPayload(block{other.PayloadType, 0, redPayload(block{opusParams.PayloadType, 0, packets[1]})}), 960, 20*time.Millisecond)
	s.head.SequenceNumber++
	s.say(redPayload(block{opusParams.PayloadType, 0, packets[3]}, block{other.PayloadType, 960, packets[2]}), 960, 20*time.Millisecond)
	s.head.PayloadType = opusParams.PayloadType
	s.now = s.now.Add(time.Second)
	s.say(packets[4], 960, 20*time.Millisecond)
	frames, events := heard(t, c)
	if len(frames) < 3 || len(events) > 0 {
		t.Errorf("%d frames, %d events", len(frames), len(events))
	}
}

// TestF9_KeptAudioHoldsNoBuffersOfPictures lets buffers of large pictures become free while packets of audio come: what is kept of those for a replay is
// as small as they are.
func TestF9_KeptAudioHoldsNoBuffersOfPictures(t *testing.T) {
	noCMemory(t)
	track := newTestTrack(t, KindAudio)
	s := newSpeaker(t, track, pcmuParams)
	var pictures []*unit
	for range 300 {
		u := newUnit()
		u.hold(make([]byte, 100_000))
		pictures = append(pictures, u)
	}
	tone := muLawTone(1)[0]
	for _, u := range pictures {
		u.release()
		s.say(tone, 160, 20*time.Millisecond)
	}
	s.say(make([]byte, 60_000), 160, 20*time.Millisecond) // larger than any packet of audio
	for range 260 {
		s.say(tone, 160, 20*time.Millisecond)
	}
	track.mu.Lock()
	defer track.mu.Unlock()
	held := 0
	for _, u := range track.audio.kept.units[track.audio.kept.head:] {
		held += cap(u.data)
	}
	if n := len(track.audio.kept.units) - track.audio.kept.head; n < 200 || held > 2*maxKeptBytes {
		t.Errorf("%d packets of %d bytes hold %d", n, len(tone), held)
	}
}

// TestF8_TimeOfAudioNeverGoesBack sends packets whose timestamps stand still, go back a little and go on: no frame lies before the one ahead of it.
func TestF8_TimeOfAudioNeverGoesBack(t *testing.T) {
	for _, rate := range []int{8000, 44100} {
		noCMemory(t)
		track := newTestTrack(t, KindAudio)
		c := subscribe(t, track, Request{Audio: &AudioFormat{Rate: rate, Chunk: 10 * time.Millisecond}, Queue: patient})
		s := newSpeaker(t, track, pcmuParams)
		for i, p := range muLawTone(60) {
			ticks := uint32(160)
			switch i % 6 {
			case 2:
				ticks = 0
			case 3:
				ticks = 1<<32 - 800
			case 4:
				ticks = 960
			}
			s.say(p, ticks, 20*time.Millisecond)
		}
		frames, _ := heard(t, c)
		for i, f := range frames[1:] {
			if f.Time < frames[i].Time {
				t.Fatalf("%d Hz: frame %d lies at %v, after one at %v", rate, i+1, f.Time, frames[i].Time)
			}
		}
		if len(frames) < 100 {
			t.Errorf("%d Hz: %d frames", rate, len(frames))
		}
		track.End(EndClosed)
	}
}

// TestF8_AClockThatJumpsForgetsItsReports lets the RTP clock jump by an hour behind the same ssrc: the capture time is not known until the sender tells it
// again, rather than an hour wrong.
func TestF8_AClockThatJumpsForgetsItsReports(t *testing.T) {
	noCMemory(t)
	track := newTestTrack(t, KindAudio)
	c := subscribe(t, track, Request{Encoded: true, Queue: patient})
	s := newSpeaker(t, track, pcmuParams)
	p := muLawTone(1)[0]
	at := s.now
	track.WriteSenderReport(ntpOf(at), s.head.Timestamp)
	s.say(p, 160, 20*time.Millisecond)
	s.head.Timestamp += 8000 * 3600
	s.say(p, 160, 20*time.Millisecond)
	track.WriteSenderReport(ntpOf(s.now), s.head.Timestamp)
	s.say(p, 160, 20*time.Millisecond)
	frames, _ := heard(t, c)
	if len(frames) != 3 {
		t.Fatalf("%d frames", len(frames))
	}
	if got := frames[0].Captured; got.Sub(at).Abs() > time.Millisecond {
		t.Errorf("captured at %v, want %v", got, at)
	}
	if got := frames[1].Captured; !got.IsZero() {
		t.Errorf("after the jump captured at %v, which is %v too late", got, got.Sub(at.Add(20*time.Millisecond)))
	}
	if got := frames[2].Captured; got.Sub(at.Add(40*time.Millisecond)).Abs() > time.Millisecond {
		t.Errorf("captured at %v, want %v", got, at.Add(40*time.Millisecond))
	}
}

// TestF12_NotMoreIsMadeUpThanTimeGoesBy sends packets a millisecond apart whose numbers and timestamps jump, with loss and without: that would make a decoder make up hundreds of
// seconds of audio. What is made up is what time goes by, and a little more; the rest is told.
func TestF12_NotMoreIsMadeUpThanTimeGoesBy(t *testing.T) {
	noCMemory(t)
	for name, jump := range map[string]struct {
		packets uint16
		ticks   uint32
	}{"loss": {5, 43200}, "silence": {0, 19200}} {
		track := newTestTrack(t, KindAudio)
		c := subscribe(t, track, Request{Audio: &AudioFormat{Rate: 16000}, Queue: Queue{MaxDuration: time.Hour, MaxBytes: 64 << 20}})
		s := newSpeaker(t, track, opusParams)
		s.now = s.now.Add(-time.Hour)
		for _, p := range speech(t, "opus-mono.ogg", 400) {
			s.say(p, jump.ticks, time.Millisecond)
			s.head.SequenceNumber += jump.packets
			s.now = s.now.Add(time.Duration(jump.packets) * 100 * time.Millisecond / 5)
			settle(track)
		}
		frames, events := heard(t, c)
		var sound, silence time.Duration
		for _, f := range frames {
			sound += f.Duration
			silence += f.Silence
		}
		passed := 400 * (time.Millisecond + time.Duration(jump.packets)*20*time.Millisecond)
		if most := passed + 400*20*time.Millisecond + maxInvented; sound > most {
			t.Errorf("%s: %v of sound, want at most %v", name, sound, most)
		}
		if jump.packets > 0 && len(events) == 0 || jump.packets == 0 && silence < 100*time.Second {
			t.Errorf("%s: %d gaps and %v of silence told", name, len(events), silence)
		}
		track.End(EndClosed)
	}
}
