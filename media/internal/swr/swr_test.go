package swr

import (
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/penstock-media/penstock/media/internal/cmem"
)

func open(t testing.TB, in, out Format) *Resampler {
	t.Helper()
	r, err := Open(in, out)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = r.Close()
		if live := cmem.Live(); len(live) > 0 {
			t.Errorf("C memory left: %+v", live)
		}
	})
	return r
}

func ramp(samples, channels int) []int16 {
	out := make([]int16, samples*channels)
	for i := range out {
		out[i] = int16(i * 7 % 5000)
	}
	return out
}

func TestCutsMakeNoDifference(t *testing.T) {
	for _, c := range []struct{ in, out Format }{
		{Format{48000, 2}, Format{16000, 1}}, {Format{8000, 1}, Format{44100, 2}}, {Format{44100, 1}, Format{48000, 1}},
	} {
		t.Run("", func(t *testing.T) {
			r := open(t, c.in, c.out)
			src := ramp(9600, c.in.Channels)
			whole, err := r.Process(nil, src)
			if err != nil {
				t.Fatal(err)
			}
			if whole, err = r.Flush(whole); err != nil {
				t.Fatal(err)
			}
			var pieces []int16
			for rest := src; len(rest) > 0; {
				n := min(c.in.Channels*(1+len(rest)%331), len(rest))
				if pieces, err = r.Process(pieces, rest[:n]); err != nil {
					t.Fatal(err)
				}
				rest = rest[n:]
			}
			if pieces, err = r.Flush(pieces); err != nil { // a flush begins anew, so the same resampler serves
				t.Fatal(err)
			}
			if !slices.Equal(whole, pieces) {
				t.Errorf("%v to %v: %d samples in pieces, %d in one", c.in, c.out, len(pieces), len(whole))
			}
		})
	}
}

func TestDelay(t *testing.T) {
	r := open(t, Format{8000, 1}, Format{48000, 1})
	if _, err := r.Process(nil, ramp(800, 1)); err != nil {
		t.Fatal(err)
	}
	if d := r.Delay(); d <= 0 || d > 10*time.Millisecond {
		t.Errorf("delay %v", d)
	}
}

func TestFaults(t *testing.T) {
	for _, f := range []Format{{}, {48000, 3}, {999, 1}, {200000, 1}, {-1, 1}} {
		if _, err := Open(f, Format{48000, 1}); !errors.Is(err, ErrFormat) {
			t.Errorf("%v: %v", f, err)
		}
		if _, err := Open(Format{48000, 1}, f); !errors.Is(err, ErrFormat) {
			t.Errorf("to %v: %v", f, err)
		}
	}
	r := open(t, Format{48000, 2}, Format{8000, 1})
	if _, err := r.Process(nil, []int16{1}); !errors.Is(err, ErrInput) {
		t.Error(err)
	}
	if out, err := r.Process([]int16{4}, nil); err != nil || len(out) != 1 {
		t.Errorf("of nothing: %v, %v", out, err)
	}
	for range 2 {
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := r.Process(nil, []int16{1, 2}); !errors.Is(err, ErrClosed) {
		t.Error(err)
	}
	if _, err := r.Flush(nil); !errors.Is(err, ErrClosed) || r.Delay() != 0 {
		t.Error(err)
	}
}

func BenchmarkProcess48to16(b *testing.B) {
	r := open(b, Format{48000, 1}, Format{16000, 1})
	src := ramp(960, 1)
	b.ReportAllocs()
	var out []int16
	for b.Loop() {
		var err error
		if out, err = r.Process(out[:0], src); err != nil {
			b.Fatal(err)
		}
	}
}
