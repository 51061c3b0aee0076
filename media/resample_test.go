package media

import (
	"math"
	"testing"
	"time"
)

// tone is a sine of 1 kHz at -6 dB, on every channel.
func tone(rate, channels, samples int) []int16 {
	out := make([]int16, 0, samples*channels)
	for i := range samples {
		v := int16(math.Round(16384 * math.Sin(2*math.Pi*1000*float64(i)/float64(rate))))
		for range channels {
			out = append(out, v)
		}
	}
	return out
}

// toneSNR returns the ratio in dB of the 1 kHz tone in s, mono, of whatever phase and level, to all else.
func toneSNR(s []int16, rate int) float64 {
	var sin, cos float64
	n := len(s) / (rate / 1000) * (rate / 1000) // whole periods, but for 44.1 kHz near enough
	if rate == 44100 {
		n = len(s) / 441 * 441
	}
	for i, v := range s[:n] {
		a := 2 * math.Pi * 1000 * float64(i) / float64(rate)
		sin += float64(v) * math.Sin(a)
		cos += float64(v) * math.Cos(a)
	}
	sin, cos = 2*sin/float64(n), 2*cos/float64(n)
	var signal, noise float64
	for i, v := range s[:n] {
		a := 2 * math.Pi * 1000 * float64(i) / float64(rate)
		w := sin*math.Sin(a) + cos*math.Cos(a)
		signal += w * w
		noise += (float64(v) - w) * (float64(v) - w)
	}
	return 10 * math.Log10(signal/noise)
}

// resampleIn converts src in pieces whose lengths (samples per channel) go round through sizes.
func resampleIn(t *testing.T, src []int16, from, fromChannels, to, toChannels int, sizes ...int) []int16 {
	t.Helper()
	r, err := newResampler(from, fromChannels, to, toChannels)
	if err != nil {
		t.Fatal(err)
	}
	defer r.close()
	var out []int16
	for i := 0; len(src) > 0; i++ {
		n := min(sizes[i%len(sizes)]*fromChannels, len(src))
		if out, err = r.process(out, src[:n]); err != nil {
			t.Fatal(err)
		}
		src = src[n:]
	}
	if out, err = r.flush(out); err != nil {
		t.Fatal(err)
	}
	return out
}

func TestF11_NoSeamsAtAnyRateAndChunking(t *testing.T) {
	checkMemory(t)
	rates := []int{8000, 16000, 24000, 32000, 44100, 48000}
	for _, from := range rates {
		for _, to := range rates {
			src := tone(from, 1, from/2)
			whole := resampleIn(t, src, from, 1, to, 1, len(src))
			if got, want := len(whole), to/2; got < want-to/200 || got > want+to/200 {
				t.Errorf("%d to %d Hz: %d samples, want about %d", from, to, got, want)
			}
			edge := to / 50 // the filter runs in and out
			one := toneSNR(whole[edge:len(whole)-edge], to)
			if one < 60 {
				t.Errorf("%d to %d Hz: SNR %.1f dB in one piece", from, to, one)
			}
			for _, sizes := range [][]int{{from / 50}, {from / 400}, {1, 7, 333, 64}} {
				pieces := resampleIn(t, src, from, 1, to, 1, sizes...)
				if len(pieces) != len(whole) {
					t.Errorf("%d to %d Hz in pieces of %v: %d samples, %d in one", from, to, sizes, len(pieces), len(whole))
					continue
				}
				if snr := toneSNR(pieces[edge:len(pieces)-edge], to); snr < one-0.5 {
					t.Errorf("%d to %d Hz in pieces of %v: SNR %.1f dB, %.1f in one", from, to, sizes, snr, one)
				}
			}
		}
	}
}

func TestF11_StereoIsAveragedMonoIsDoubled(t *testing.T) {
	checkMemory(t)
	for _, rate := range []int{48000, 16000} {
		stereo := make([]int16, 2*4800)
		for i := 0; i < len(stereo); i += 2 {
			stereo[i], stereo[i+1] = 12000, -4000
		}
		mono := resampleIn(t, stereo, 48000, 2, rate, 1, 480)
		if got := mono[len(mono)/2]; got < 3999 || got > 4001 {
			t.Errorf("to %d Hz: 12000 and -4000 became %d", rate, got)
		}
		twice := resampleIn(t, tone(48000, 1, 4800), 48000, 1, rate, 2, 480)
		peak := int16(0)
		for i := 0; i < len(twice); i += 2 {
			if twice[i] != twice[i+1] {
				t.Fatalf("to %d Hz: %d left, %d right", rate, twice[i], twice[i+1])
			}
			peak = max(peak, twice[i])
		}
		if peak < 16200 || peak > 16600 {
			t.Errorf("to %d Hz: a peak of 16384 became %d", rate, peak)
		}
	}
}

func TestF11_IdentityHandsThrough(t *testing.T) {
	checkMemory(t)
	r, err := newResampler(48000, 2, 48000, 2)
	if err != nil {
		t.Fatal(err)
	}
	defer r.close()
	out, err := r.process([]int16{9}, []int16{1, 2})
	if err != nil || len(out) != 3 || out[0] != 9 || out[2] != 2 || r.delay() != 0 {
		t.Errorf("%v, delay %v, %v", out, r.delay(), err)
	}
}

func TestF11_DelayIsWhatWaitsInside(t *testing.T) {
	checkMemory(t)
	r, err := newResampler(48000, 1, 16000, 1)
	if err != nil {
		t.Fatal(err)
	}
	defer r.close()
	out, err := r.process(nil, tone(48000, 1, 4800))
	if err != nil {
		t.Fatal(err)
	}
	got := time.Duration(len(out))*time.Second/16000 + r.delay()
	if d := got - 100*time.Millisecond; d < -time.Millisecond || d > time.Millisecond || r.delay() <= 0 {
		t.Errorf("out and delay are %v, of 100 ms in; delay %v", got, r.delay())
	}
}

func TestF11_RefusesWhatItCannot(t *testing.T) {
	checkMemory(t)
	for _, c := range [][4]int{{0, 1, 48000, 1}, {48000, 3, 48000, 1}, {48000, 1, 1 << 30, 1}, {48000, 1, 8000, 0}} {
		if r, err := newResampler(c[0], c[1], c[2], c[3]); err == nil {
			r.close()
			t.Errorf("%v was taken", c)
		}
	}
	r, err := newResampler(48000, 2, 8000, 1)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.process(nil, []int16{1}); err == nil {
		t.Error("half a sample was taken")
	}
	r.close()
	r.close()
	if _, err := r.process(nil, []int16{1, 2}); err == nil {
		t.Error("works after close")
	}
}
