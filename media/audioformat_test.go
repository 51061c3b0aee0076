package media

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

// spoken is a stream for which every format is tried.
type spoken struct {
	codec   CodecParameters
	packets [][]byte
	length  time.Duration
}

// oneShot decodes all packets and converts them in one piece.
func (s spoken) oneShot(t *testing.T, rate, channels int) []int16 {
	t.Helper()
	d := openAudio(t, s.codec, rate, channels)
	var decoded []int16
	for _, p := range s.packets {
		var err error
		if decoded, err = d.Decode(decoded, p); err != nil {
			t.Fatal(err)
		}
	}
	return resampleIn(t, decoded, d.Rate(), d.Channels(), rate, channels, len(decoded)/d.Channels())
}

// TestF11_NoSeamsInAnyFormat asks a track for every rate, number of channels and sample format, in chunks of many lengths, and compares what
// comes with the conversion of the whole in one piece: the samples are the same.
func TestF11_NoSeamsInAnyFormat(t *testing.T) {
	noCMemory(t)
	stereo := clipUnits(t, "opus-stereo.ogg")
	for name, in := range map[string]spoken{
		"tone as PCMU":   {pcmuParams, muLawTone(25), 20 * time.Millisecond},
		"speech as G722": {g722Params, clipUnits(t, "g722.g722")[:25], 20 * time.Millisecond},
		"stereo Opus":    {opusParams, stereo[:25], 20 * time.Millisecond},
	} {
		for _, rate := range audioRates {
			for channels := 1; channels <= 2; channels++ {
				t.Run(fmt.Sprintf("%s to %d Hz, %d channels", name, rate, channels), func(t *testing.T) {
					want := in.oneShot(t, rate, channels)
					if in.codec.Codec == CodecPCMU {
						mono := make([]int16, len(want)/channels)
						for i := range mono {
							mono[i] = want[i*channels]
						}
						if snr := toneSNR(mono[len(mono)/10:len(mono)*9/10], rate); snr < 33 { // G.711's own noise
							t.Errorf("SNR %.1f dB in one piece", snr)
						}
					}
					compareChunks(t, in, want, rate, channels)
				})
			}
		}
	}
}

// compareChunks streams in chunks of each length and compares.
func compareChunks(t *testing.T, in spoken, want []int16, rate, channels int) {
	track := newTestTrack(t, KindAudio)
	var consumers []*Consumer
	for _, ms := range []int{10, 11, 20, 25, 33, 60, 100} {
		sample := SampleFormat(ms % 2)
		consumers = append(consumers, subscribe(t, track, Request{
			Audio: &AudioFormat{Sample: sample, Rate: rate, Channels: channels, Chunk: time.Duration(ms) * time.Millisecond}, Queue: patient,
		}))
	}
	s := newSpeaker(t, track, in.codec)
	for _, p := range in.packets {
		s.say(p, uint32(in.length.Seconds()*float64(in.codec.ClockRate)), in.length)
	}
	for _, c := range consumers {
		format, _ := c.Format()
		var got []int16
		frames, events := heard(t, c)
		for i, f := range frames {
			samples := samplesIn(t, f, format.Sample)
			if f.Samples*channels != len(samples) || f.Concealed {
				t.Fatalf("chunks of %v: frame %d is %+v", format.Chunk, i, f)
			}
			if d := f.Time - time.Duration(i)*format.Chunk; d.Abs() > time.Millisecond {
				t.Errorf("chunks of %v: frame %d lies at %v", format.Chunk, i, f.Time)
			}
			got = append(got, samples...)
		}
		if len(events) != 0 || len(got) < len(want)*8/10 || !slices.Equal(got, want[:len(got)]) {
			t.Errorf("chunks of %v as %d: %d samples of %d, %d events; not what one conversion gives", format.Chunk, format.Sample, len(got), len(want), len(events))
		}
	}
}

// TestF2_Floats compares both sample formats of one stream: full scale is -1 to 1, and the samples are the same.
func TestF2_Floats(t *testing.T) {
	track := newTestTrack(t, KindAudio)
	floats := subscribe(t, track, Request{Audio: &AudioFormat{Sample: F32LE, Rate: 8000}, Queue: patient})
	ints := subscribe(t, track, Request{Audio: &AudioFormat{Rate: 8000}, Queue: patient})
	s := newSpeaker(t, track, pcmuParams)
	extremes := []byte{0x80, 0x00, 0xff, 0x7f} // the loudest of either sign, and both zeros of G.711
	for range 40 {
		s.say(extremes, 4, 500*time.Microsecond)
	}
	f, i := frame(t, floats), frame(t, ints)
	a, b := samplesIn(t, f, F32LE), pcmOf(i)
	if f.Payload.Len() != 2*i.Payload.Len() || !slices.Equal(a, b) || a[0] < 32000 || a[1] > -32000 || a[2] != 0 {
		t.Errorf("%v as floats, %v as integers", a[:4], b[:4])
	}
}
