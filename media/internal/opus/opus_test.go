package opus

import (
	"errors"
	"os"
	"testing"

	"github.com/penstock-media/penstock/media/internal/cmem"
)

// packets returns the packets of an Ogg file after the two headers.
func packets(t testing.TB, name string) [][]byte {
	t.Helper()
	b, err := os.ReadFile("../../testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	var out [][]byte
	var packet []byte
	for len(b) > 27 {
		lacing, body := b[27:27+int(b[26])], b[27+int(b[26]):]
		for _, n := range lacing {
			packet, body = append(packet, body[:n]...), body[n:]
			if n < 255 {
				out, packet = append(out, packet), nil
			}
		}
		b = body
	}
	return out[2:]
}

func open(t testing.TB, rate, channels int) *Decoder {
	t.Helper()
	d, err := Open(rate, channels)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = d.Close()
		if live := cmem.Live(); len(live) > 0 {
			t.Errorf("C memory left: %+v", live)
		}
	})
	return d
}

func TestEveryRateAndChannels(t *testing.T) {
	p := packets(t, "opus-stereo.ogg")[0]
	for _, rate := range Rates() {
		for channels := 1; channels <= 2; channels++ {
			t.Run("", func(t *testing.T) {
				out, err := open(t, rate, channels).Decode([]int16{7}, p)
				if err != nil || len(out) != 1+rate/50*channels || out[0] != 7 {
					t.Errorf("%d Hz, %d channels: %d samples, %v", rate, channels, len(out), err)
				}
			})
		}
	}
}

func TestOpenRefuses(t *testing.T) {
	for _, c := range [][2]int{{0, 1}, {44100, 1}, {48000, 0}, {48000, 3}, {-8000, 1}} {
		if _, err := Open(c[0], c[1]); !errors.Is(err, ErrFormat) {
			t.Errorf("%v: %v", c, err)
		}
	}
}

func TestInspection(t *testing.T) {
	change := packets(t, "opus-change.ogg")
	for _, c := range []struct{ packet, samples, channels int }{{0, 480, 2}, {33, 2880, 1}, {40, 960, 1}} {
		samples, err := Samples(change[c.packet])
		if err != nil || samples != c.samples || Channels(change[c.packet]) != c.channels {
			t.Errorf("packet %d: %d samples, %d channels, %v", c.packet, samples, Channels(change[c.packet]), err)
		}
	}
	for _, bad := range [][]byte{nil, {0xff}, {0x1b, 0x3f}} { // empty; no frame count; 63 frames of 60 ms
		if n, err := Samples(bad); !errors.Is(err, ErrInvalidPacket) {
			t.Errorf("%x has %d samples, %v", bad, n, err)
		}
	}
	if Channels(nil) != 0 {
		t.Error("nothing has channels")
	}
}

func TestHasFEC(t *testing.T) {
	with := 0
	all := packets(t, "opus-fec.ogg")
	for _, p := range all {
		if HasFEC(p) {
			with++
		}
	}
	if with < len(all)/2 {
		t.Errorf("%d of %d packets have FEC", with, len(all))
	}
	for _, name := range []string{"opus-stereo.ogg", "opus-change.ogg"} {
		for i, p := range packets(t, name) {
			if HasFEC(p) {
				t.Errorf("%s: packet %d has none", name, i)
			}
		}
	}
	for _, p := range [][]byte{nil, {8}, {0x1b, 0x3f}} {
		if HasFEC(p) {
			t.Errorf("%x has none", p)
		}
	}
}

func TestFECAndConcealmentHaveTheLengthAskedFor(t *testing.T) {
	d := open(t, 16000, 2)
	ps := packets(t, "opus-fec.ogg")
	if _, err := d.Decode(nil, ps[0]); err != nil {
		t.Fatal(err)
	}
	for _, n := range []int{-1, 0, 1, 39, 40, 320, 321, 1920, 1921, 5000} {
		out, err := d.DecodeFEC(nil, ps[2], n)
		if err != nil || len(out) != max(n, 0)*2 {
			t.Errorf("FEC: %d of %d samples, %v", len(out)/2, n, err)
		}
		if out, err = d.Conceal(nil, n); err != nil || len(out) != max(n, 0)*2 {
			t.Errorf("concealed: %d of %d samples, %v", len(out)/2, n, err)
		}
	}
}

func TestFaults(t *testing.T) {
	d := open(t, 48000, 1)
	for _, p := range [][]byte{nil, {0xff}, {0x1b, 0x3f}} {
		if out, err := d.Decode(nil, p); !errors.Is(err, ErrInvalidPacket) || len(out) != 0 {
			t.Errorf("%x: %d samples, %v", p, len(out), err)
		}
		if out, err := d.DecodeFEC(nil, p, 960); !errors.Is(err, ErrInvalidPacket) || len(out) != 0 {
			t.Errorf("FEC of %x: %d samples, %v", p, len(out), err)
		}
	}
	for range 2 {
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := d.Decode(nil, []byte{8}); !errors.Is(err, ErrClosed) {
		t.Error(err)
	}
	if _, err := d.Conceal(nil, 960); !errors.Is(err, ErrClosed) {
		t.Error(err)
	}
}

func FuzzInspection(f *testing.F) {
	for _, p := range packets(f, "opus-change.ogg")[30:34] {
		f.Add(p)
	}
	f.Fuzz(func(t *testing.T, p []byte) {
		n, err := Samples(p)
		if err == nil && (n < 120 || n > 5760) || Channels(p) > 2 {
			t.Fatalf("%d samples, %d channels", n, Channels(p))
		}
		if HasFEC(p) && len(p) < 2 {
			t.Fatal("FEC in no data")
		}
	})
}

func BenchmarkDecode(b *testing.B) {
	for _, rate := range []int{16000, 48000} {
		b.Run("", func(b *testing.B) {
			d := open(b, rate, 1)
			ps := packets(b, "opus-mono.ogg")
			b.ReportAllocs()
			var out []int16
			for i := 0; b.Loop(); i++ {
				var err error
				if out, err = d.Decode(out[:0], ps[i%len(ps)]); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
