package media

import (
	"testing"
	"time"
)

// drain takes all frames that wait, and checks that each joins on to the one before; it returns where the last ends and how much was heard in all.
type drain struct {
	t            *testing.T
	c            *Consumer
	at, heard    time.Duration
	frames, made int
	lost         Loss
}

func (d *drain) take() {
	d.t.Helper()
	settle(d.c.track)
	for {
		item, ok, err := d.c.take()
		if err != nil {
			d.t.Fatal(err)
		}
		if !ok {
			return
		}
		f := item.Frame
		if f == nil {
			d.t.Fatalf("got %+v, want frames alone", item.Event)
		}
		if (f.Time - d.at).Abs() > time.Millisecond {
			d.t.Fatalf("frame %d lies at %v, want %v", d.frames, f.Time, d.at)
		}
		d.frames++
		d.heard += f.Duration
		d.at = f.Time + f.Duration
		if f.Concealed {
			d.made++
		}
		d.lost.Add(f.Lost)
		f.Payload.Release()
	}
}

// TestF7_AnHourOfDTX simulates an hour of a speaker who is silent most of the time and sends nothing then but a refresh every 400 ms, and whose clock runs 200 ppm
// faster than ours: every frame joins on to the one before, and what is heard is an hour of his clock, to 20 ms.
func TestF7_AnHourOfDTX(t *testing.T) {
	noCMemory(t)
	packets := clipUnits(t, "opus-dtx.ogg")
	for rate, all := range map[int]time.Duration{8000: time.Hour, 44100: time.Minute} {
		chunk := 100 * time.Millisecond // of which an hour is whole
		if rate == 44100 {
			chunk = 20 * time.Millisecond
		}
		track := newTestTrack(t, KindAudio)
		d := drain{t: t, c: subscribe(t, track, Request{Audio: &AudioFormat{Rate: rate, Chunk: chunk}, Queue: patient})}
		s := newSpeaker(t, track, opusParams)
		s.now = s.now.Add(-2 * time.Hour)
		length, sent := time.Duration(0), 0
		for i := 0; length < all; i++ {
			arrives := 20*time.Millisecond - 4*time.Microsecond
			if p := packets[i%len(packets)]; len(p) > 2 { // shorter ones are not sent (RFC 7587 section 3.1.3)
				s.say(p, 960, arrives)
				if sent++; sent%(maxAudioQueue-10) == 0 { // as rarely as may be: much audio is decoded in ticks
					d.take()
				}
			} else {
				s.pause(960, arrives)
			}
			length += 20 * time.Millisecond
		}
		for _, p := range packets[:5] { // to end what may be silence
			s.say(p, 960, 0)
			length += 20 * time.Millisecond
		}
		d.take()
		t.Logf("%d Hz: %d packets; heard %v up to %v of %v", rate, sent, d.heard, d.at, length)
		if (length-d.heard).Abs() > 20*time.Millisecond || (length-d.at).Abs() > 20*time.Millisecond || d.made > 0 || d.lost != (Loss{}) {
			t.Errorf("%d Hz: heard %v up to %v, of %v; %d frames made up, %v lost", rate, d.heard, d.at, length, d.made, d.lost)
		}
		track.End(EndClosed)
	}
}

// TestF7_TwoHundredMillisecondsAreLost loses ten packets of Opus in a row: nine are made up, and say so; the last comes from the in-band FEC of the one
// after it, does not, and sounds like it. The time line has exactly 200 ms more, as it has with the codecs that have no FEC.
func TestF7_TwoHundredMillisecondsAreLost(t *testing.T) {
	noCMemory(t)
	for name, c := range map[string]struct {
		codec CodecParameters
		clip  string
		ticks uint32
		first int // that is lost
		made  int
	}{
		"Opus": {opusParams, "opus-fec.ogg", 960, 35, 9}, "PCMU": {pcmuParams, "pcmu.raw", 160, 20, 10}, "G722": {g722Params, "g722.g722", 160, 20, 10},
	} {
		t.Run(name, func(t *testing.T) {
			hear := func(lose bool) []*Frame {
				track := newTestTrack(t, KindAudio)
				consumer := subscribe(t, track, Request{Audio: &AudioFormat{Rate: 16000}, Queue: patient})
				s := newSpeaker(t, track, c.codec)
				s.now = s.now.Add(-time.Hour)
				for i, p := range clipUnits(t, c.clip)[:c.first+15] {
					if lose && i >= c.first && i < c.first+10 {
						s.packet(p, c.ticks, 20*time.Millisecond)
						continue
					}
					s.say(p, c.ticks, 20*time.Millisecond)
				}
				s.now = s.now.Add(time.Second)
				s.say(clipUnits(t, c.clip)[0], c.ticks, 0)
				frames, _ := heard(t, consumer)
				return frames
			}
			whole, frames := hear(false), hear(true)
			made, samples := 0, 0
			for i, f := range frames {
				samples += f.Samples
				if want := whole[i].Time; f.Time != want {
					t.Fatalf("frame %d lies at %v, want %v", i, f.Time, want)
				}
				if f.Concealed {
					made++
				}
				if lost := uint32(10); f.Lost.Frames != 0 && (f.Lost.Frames != lost || f.Lost.Duration != 200*time.Millisecond) {
					t.Errorf("frame %d: %+v lost", i, f.Lost)
				}
			}
			first, last := c.first, c.first+9
			if made < c.made || made > c.made+1 || len(frames) != len(whole) {
				t.Errorf("%d frames of %d, %d made up, want %d", len(frames), len(whole), made, c.made)
			}
			if c.codec.Codec != CodecOpus {
				return
			}
			by, without := snrOf(pcmOf(whole[last]), pcmOf(frames[last])), snrOf(pcmOf(whole[last-1]), pcmOf(frames[last-1]))
			if frames[last].Concealed || !frames[last-1].Concealed || !frames[first].Concealed || by < without+3 || samples != len(frames)*320 {
				t.Errorf("the last lost packet is concealed %v, SNR %.1f dB; the one before %.1f", frames[last].Concealed, by, without)
			}
		})
	}
}

// TestF7_AGapIsToldWhereNothingHelps loses a second and a half: that is not made up but told, with its length.
func TestF7_AGapIsToldWhereNothingHelps(t *testing.T) {
	track := newTestTrack(t, KindAudio)
	c := subscribe(t, track, Request{Audio: &AudioFormat{Rate: 16000}, Queue: patient})
	s := newSpeaker(t, track, opusParams)
	s.now = s.now.Add(-time.Hour)
	packets := clipUnits(t, "opus-mono.ogg")
	for i := range 100 {
		if i >= 10 && i < 85 {
			s.packet(packets[i%len(packets)], 960, 20*time.Millisecond)
			continue
		}
		s.say(packets[i%len(packets)], 960, 20*time.Millisecond)
	}
	frames, events := heard(t, c)
	if len(events) != 1 || *events[0] != (Event{Kind: EventGap, Time: 200 * time.Millisecond, Gap: 1500 * time.Millisecond}) {
		t.Errorf("events %+v", events)
	}
	if len(frames) != 25 || frames[10].Time != 1700*time.Millisecond || frames[10].Lost.Frames != 75 || frames[10].Lost.Duration != 1500*time.Millisecond {
		t.Errorf("%d frames; the eleventh at %v after %+v", len(frames), frames[10].Time, frames[10].Lost)
	}
}

// TestF17_FillerOfAudioIsNeitherLossNorSound sends padding alone and the silence that SFUs fill with between packets of speech: what is heard is the
// speech, and nothing is lost.
func TestF17_FillerOfAudioIsNeitherLossNorSound(t *testing.T) {
	track := newTestTrack(t, KindAudio)
	c := subscribe(t, track, Request{Encoded: true, Queue: patient})
	d := drain{t: t, c: subscribe(t, track, Request{Audio: &AudioFormat{Rate: 16000}, Queue: patient})}
	s := newSpeaker(t, track, opusParams, redParams)
	packets := clipUnits(t, "opus-mono.ogg")
	silence := append([]byte{0xf8, 0xff, 0xfe}, make([]byte, 77)...)
	for i, p := range packets[:30] {
		s.say(p, 960, 20*time.Millisecond)
		switch i % 3 {
		case 0:
			padded := append(s.packet(nil, 0, 0), 0, 0, 0, 4)
			padded[0] |= 0x20
			track.WriteRTP(padded, s.now)
		case 1:
			s.say(silence, 960, 20*time.Millisecond)
		default:
			s.head.PayloadType = redParams.PayloadType
			s.say(redPayload(block{opusParams.PayloadType, 0, silence}), 960, 20*time.Millisecond)
			s.head.PayloadType = opusParams.PayloadType
		}
	}
	d.take()
	frames, _ := heard(t, c)
	if len(frames) != 30 || d.frames != 49 || d.made > 0 || d.lost != (Loss{}) {
		t.Errorf("%d packets, %d frames, %d made up, %+v lost", len(frames), d.frames, d.made, d.lost)
	}
	if s := track.Stats(); s.Filler != 20 || s.Lost != 0 || s.Unusable != 0 || s.Units != 30 {
		t.Errorf("%+v", s)
	}
}

// TestF1_OpusChangesAndDTXThroughTheTrack streams clips that change channels, bandwidth, packet length and mode, and that fall silent, with the packets of silence
// sent and left out: what is heard is what ffmpeg makes of the whole.
func TestF1_OpusChangesAndDTXThroughTheTrack(t *testing.T) {
	for name, c := range map[string]struct {
		clip     string
		channels int
		without  bool // packets of silence are not sent
	}{"changes": {"opus-change", 2, false}, "DTX": {"opus-dtx", 1, false}, "DTX, not sent": {"opus-dtx", 1, true}} {
		t.Run(name, func(t *testing.T) {
			noCMemory(t)
			track := newTestTrack(t, KindAudio)
			consumer := subscribe(t, track, Request{Audio: &AudioFormat{Channels: c.channels, Chunk: 10 * time.Millisecond}, Queue: patient})
			s := newSpeaker(t, track, opusParams)
			packets, skip := oggPackets(t, fixture(t, c.clip+".ogg"))
			for _, p := range packets {
				ticks := uint32(packetSamples(opusParams, p))
				length := time.Duration(ticks) * time.Second / 48000
				if c.without && len(p) <= 2 {
					s.pause(ticks, length)
					continue
				}
				s.say(p, ticks, length)
			}
			frames, events := heard(t, consumer)
			var got []int16
			for i, f := range frames {
				if f.Time != time.Duration(i)*10*time.Millisecond || f.Concealed || f.Lost.Frames > 0 {
					t.Fatalf("frame %d lies at %v: %+v", i, f.Time, f)
				}
				got = append(got, pcmOf(f)...)
			}
			want := soundByFFmpeg(t, c.clip+".ogg", c.channels)
			got = got[skip*c.channels:]
			if n := min(len(want), len(got)); n < len(want)*8/10 || len(events) > 0 {
				t.Fatalf("%d samples of %d, %d events", len(got), len(want), len(events))
			}
			if snr := snrOf(want[:min(len(want), len(got))], got); snr < 70 {
				t.Errorf("SNR %.1f dB", snr)
			}
		})
	}
}

// TestF7_SilenceIsFilledOrOmittedByChoice sends speech with pauses in which nothing is sent, as DTX has them, and one of two seconds, as of a microphone that is switched off.
// Who chose so gets frames for the short pauses; who did not gets none, but is told the length of each. Both are told of the long one, and for both frames and
// silence make up the whole time.
func TestF7_SilenceIsFilledOrOmittedByChoice(t *testing.T) {
	noCMemory(t)
	for _, rate := range []int{48000, 16000, 44100} {
		track := newTestTrack(t, KindAudio)
		fill := subscribe(t, track, Request{Audio: &AudioFormat{Rate: rate}, Queue: patient})
		omit := subscribe(t, track, Request{Audio: &AudioFormat{Rate: rate, OmitSilence: true}, Queue: patient})
		s := newSpeaker(t, track, opusParams)
		s.now = s.now.Add(-time.Hour)
		var pauses, short, length time.Duration
		for i, p := range speech(t, "opus-mono.ogg", 200) {
			s.say(p, 960, 20*time.Millisecond)
			length += 20 * time.Millisecond
			pause := time.Duration(0)
			switch {
			case i == 150:
				pause = 2 * time.Second
			case i%20 == 19 && i < 190:
				pause = 380 * time.Millisecond
				short += pause
			}
			pauses += pause
			length += pause
			s.pause(uint32(pause*48/time.Millisecond), pause)
			settle(track)
		}
		for c, want := range map[*Consumer]struct {
			silence time.Duration
			pauses  int
		}{fill: {pauses - short, 1}, omit: {pauses, 1 + 9}} {
			frames, events := heard(t, c)
			var at, silence, sound time.Duration
			told := 0
			for i, f := range frames {
				if (f.Time - at - f.Silence).Abs() > time.Millisecond {
					t.Fatalf("%d Hz: frame %d lies at %v after %v of silence; the one before ended at %v", rate, i, f.Time, f.Silence, at)
				}
				if f.Concealed || f.Lost != (Loss{}) {
					t.Errorf("%d Hz: frame %d: %+v", rate, i, f)
				}
				if f.Silence > 0 {
					told++
				}
				at = f.Time + f.Duration
				silence += f.Silence
				sound += f.Duration
			}
			if (silence-want.silence).Abs() > 20*time.Millisecond || told != want.pauses || len(events) > 0 || (sound+silence-length).Abs() > 25*time.Millisecond {
				t.Errorf("%d Hz: %v of silence in %d pauses, want %v in %d; with %v of sound it is to be %v; events %v",
					rate, silence, told, want.silence, want.pauses, sound, length, events)
			}
		}
		track.End(EndClosed)
	}
}

// TestF7_SilenceBeforeDroppedFramesIsTold lets the queue of a consumer overflow that omits silence: what it gets next tells the silence before what was dropped too.
func TestF7_SilenceBeforeDroppedFramesIsTold(t *testing.T) {
	track := newTestTrack(t, KindAudio)
	c := subscribe(t, track, Request{Audio: &AudioFormat{Rate: 16000, OmitSilence: true}, Queue: Queue{MaxDuration: 100 * time.Millisecond}})
	s := newSpeaker(t, track, opusParams)
	s.now = s.now.Add(-time.Hour)
	for i, p := range speech(t, "opus-mono.ogg", 30) {
		s.say(p, 960, 20*time.Millisecond)
		if i == 5 || i == 10 {
			s.pause(9600, 200*time.Millisecond)
		}
		settle(track)
	}
	frames, _ := heard(t, c)
	if len(frames) == 0 || frames[0].Silence != 400*time.Millisecond || frames[0].Dropped.Frames == 0 {
		t.Errorf("%d frames, the first %+v", len(frames), frames[0])
	}
}
