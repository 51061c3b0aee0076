package media

import (
	"math"
	"slices"
	"testing"
	"time"
)

// TestF9_ReplayIsHeardFromItsFirstPacket speaks a marker first and then on for 1.5 s. Consumers that attach then hear the marker, in every kind of format, beside one who was there; what
// follows joins on without a gap, twice, or a seam, also for what is said while the replay is still being decoded.
func TestF9_ReplayIsHeardFromItsFirstPacket(t *testing.T) {
	noCMemory(t)
	for _, format := range []AudioFormat{{Rate: 16000}, {Rate: 44100}, {Rate: 48000, Channels: 2}, {Rate: 32000, Chunk: 100 * time.Millisecond, Sample: F32LE}} {
		track := newTestTrack(t, KindAudio)
		s := newSpeaker(t, track, pcmuParams)
		s.now = s.now.Add(-2 * time.Second)
		there := subscribe(t, track, Request{Audio: &format, Queue: patient})
		marker := muLawTone(10) // 200 ms of 1 kHz, then silence
		say := func(n int) {
			for i := range n {
				p := slices.Repeat([]byte{0xff}, 160)
				if len(marker) > 0 {
					p, marker = marker[0], marker[1:]
				}
				s.say(p, 160, 20*time.Millisecond)
				if i%50 == 49 {
					settle(track)
				}
			}
		}
		say(75)
		first := subscribe(t, track, Request{Audio: &format, Replay: 5 * time.Second}) // with the usual queue, which holds 500 ms
		second := subscribe(t, track, Request{Audio: &format, Replay: MaxReplay + time.Hour})
		say(20)
		want, _ := heard(t, there)
		for i, c := range []*Consumer{first, second} {
			settleReplay(track)
			got, events := heard(t, c)
			if len(events) > 0 || len(got) != len(want) {
				t.Fatalf("%+v: consumer %d got %d frames and %d events, who was there %d", format, i, len(got), len(events), len(want))
			}
			for n, f := range got {
				if w := want[n]; f.Time != w.Time || f.RTPTimestamp != w.RTPTimestamp || !f.Received.Equal(w.Received) || f.Sequence != uint64(n+1) || f.Dropped.Frames > 0 ||
					!slices.Equal(samplesIn(t, f, format.Sample), samplesIn(t, w, format.Sample)) {
					t.Fatalf("%+v: frame %d of consumer %d lies at %v, that of who was there at %v", format, n, i, f.Time, w.Time)
				}
			}
			if loud := loudness(samplesIn(t, got[0], format.Sample)); loud < 16384/math.Sqrt2*0.8 {
				t.Errorf("%+v: the marker is not heard: %.0f", format, loud)
			}
			if start := c.Replays(); start.Time != 0 || !start.Received.Equal(s.now.Add(-95*20*time.Millisecond)) {
				t.Errorf("the replay starts %+v", start)
			}
		}
		track.End(EndClosed)
	}
}

// settleReplay waits until no lane replays.
func settleReplay(track *Track) {
	for {
		settle(track)
		track.audio.mu.Lock()
		behind := 0
		for _, l := range track.audio.lanes {
			behind += len(l.backlog)
		}
		track.audio.mu.Unlock()
		if behind == 0 {
			return
		}
	}
}

// TestF9_LanesComeTogether attaches many with a replay, one after another: once they have caught up they share a decoder with those who were there, where
// no resampler would make a seam.
func TestF9_LanesComeTogether(t *testing.T) {
	noCMemory(t)
	for rate, want := range map[int]int{16000: 1, 44100: 4} {
		track := newTestTrack(t, KindAudio)
		s := newSpeaker(t, track, opusParams)
		s.now = s.now.Add(-2 * time.Second)
		consumers := []*Consumer{subscribe(t, track, Request{Audio: &AudioFormat{Rate: rate}, Queue: patient})}
		packets := clipUnits(t, "opus-mono.ogg")
		for i := range 80 {
			s.say(packets[i%len(packets)], 960, 20*time.Millisecond)
			settle(track)
			if i == 20 || i == 40 || i == 60 {
				consumers = append(consumers, subscribe(t, track, Request{Audio: &AudioFormat{Rate: rate}, Replay: time.Minute, Queue: patient}))
				settleReplay(track)
			}
		}
		track.audio.mu.Lock()
		lanes := len(track.audio.lanes)
		track.audio.mu.Unlock()
		if lanes != want {
			t.Errorf("%d Hz: %d decoders for %d consumers, want %d", rate, lanes, len(consumers), want)
		}
		for i, c := range consumers {
			frames, _ := heard(t, c)
			at := time.Duration(0)
			for _, f := range frames {
				if (f.Time - at).Abs() > time.Millisecond {
					t.Fatalf("%d Hz: a frame of consumer %d lies at %v, want %v", rate, i, f.Time, at)
				}
				at = f.Time + f.Duration
			}
			if at < 1580*time.Millisecond {
				t.Errorf("%d Hz: consumer %d heard up to %v", rate, i, at)
			}
			c.Close()
		}
		track.End(EndClosed)
	}
}

// TestF9_ReplayHasBounds keeps what came in the last seconds, in so many bytes and packets, and hands out nothing from before a given time.
func TestF9_ReplayHasBounds(t *testing.T) {
	track := newTestTrack(t, KindAudio)
	s := newSpeaker(t, track, opusParams)
	s.now = s.now.Add(-100 * time.Second)
	for name, c := range map[string]struct {
		bytes int
		each  time.Duration
	}{"usual": {80, 20 * time.Millisecond}, "large": {1300, 2500 * time.Microsecond}, "small": {2, 2500 * time.Microsecond}} {
		for range 3000 {
			s.say(append([]byte{0xe0}, make([]byte, c.bytes)...), 120, c.each)
			track.mu.Lock()
			k := track.audio.kept
			n, span := len(k.units)-k.head, k.units[len(k.units)-1].received.Sub(k.units[k.head].received)
			track.mu.Unlock()
			if n > maxKeptUnits || k.bytes > maxKeptBytes || span > MaxReplay || cap(k.units) > 4*maxKeptUnits {
				t.Fatalf("%s: %d packets, %d bytes, %v; room for %d", name, n, k.bytes, span, cap(k.units))
			}
		}
	}
	s.now = time.Now().Add(-time.Second)
	for range 50 {
		s.say([]byte{0xe0, 1, 2}, 120, 20*time.Millisecond)
	}
	limit := s.now.Add(-310 * time.Millisecond)
	c := subscribe(t, track, Request{Encoded: true, Replay: MaxReplay, NotBefore: limit, Queue: patient})
	frames, _ := heard(t, c)
	if len(frames) != 15 || frames[0].Received.Before(limit) {
		t.Errorf("%d packets since %v", len(frames), limit)
	}
	if c := subscribe(t, track, Request{Encoded: true, Queue: patient}); !c.Replays().Received.IsZero() {
		t.Error("a replay that nobody asked for")
	}
}

// TestF9_ReplayNeedsNoMemoryOfItsOwn counts what a packet costs a track that keeps the last ones for nobody: nothing.
func TestF9_ReplayNeedsNoMemoryOfItsOwn(t *testing.T) {
	track := newTestTrack(t, KindAudio)
	s := newSpeaker(t, track, opusParams)
	packet := append([]byte{0xf8}, make([]byte, 80)...)
	raw := s.packet(packet, 960, 0)
	now := s.now
	send := func() {
		raw[2], raw[3] = byte(s.head.SequenceNumber>>8), byte(s.head.SequenceNumber)
		s.head.SequenceNumber++
		now = now.Add(20 * time.Millisecond)
		track.WriteRTP(raw, now)
	}
	for range 2000 {
		send()
	}
	if n := testing.AllocsPerRun(2000, send); n > 0 {
		t.Errorf("%.2f allocations a packet", n)
	}
}
