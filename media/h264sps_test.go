package media

import (
	"bytes"
	"testing"
)

// referenced returns the units of h264-layers.h264 that others refer to (nal_ref_idc is not 0).
func referenced(t *testing.T) [][]byte {
	t.Helper()
	var units [][]byte
	for _, u := range clipUnits(t, "h264-layers.h264") {
		for _, nal := range annexBNALs(u) {
			if kind := nal[0] & 31; kind >= 1 && kind <= nalIDR && nal[0]&0x60 != 0 {
				units = append(units, u)
				break
			}
		}
	}
	if len(units) < 4 {
		t.Fatalf("%d units", len(units))
	}
	return units
}

// withoutVUI cuts the VUI from a unit's parameter set.
func withoutVUI(t testing.TB, unit []byte) []byte {
	t.Helper()
	var out []byte
	for _, nal := range annexBNALs(unit) {
		if nal[0]&31 == nalSPS {
			r := &bitReader{data: unescape(nal[1:])}
			readSPS(r)
			if r.bad {
				t.Fatal("parameter set ends early")
			}
			w := &bitWriter{}
			for i := range r.pos {
				w.bits(uint32(r.data[i/8]>>(7-i%8))&1, 1)
			}
			w.bits(1, 2) // no VUI, stop bit
			nal = append([]byte{nal[0]}, escape(w.data)...)
		}
		out = append(append(out, 0, 0, 0, 1), nal...)
	}
	return out
}

// A set that promises nothing, and a picture order count that jumps: each unit must give its own picture at once.
func TestF1_NoPictureWaitsForReordering(t *testing.T) {
	checkMemory(t)
	units := referenced(t)
	d := openVideo(t, CodecH264)
	for i, u := range units {
		if i == 0 {
			u = withoutVUI(t, u)
		}
		p := decodeOne(t, d, u, int64(i))
		if p.Tag() != int64(i) {
			t.Errorf("unit %d gave the picture of %d", i, p.Tag())
		}
		p.Release()
	}
}

func TestPromiseIsAddedOnce(t *testing.T) {
	for _, name := range []string{"h264-baseline", "h264-high", "h264-422", "h264-444", "h264-10bit", "h264-resize", "h264-crop"} {
		unit := clipUnits(t, name+".h264")[0]
		if got := promiseNoReordering(unit); &got[0] != &unit[0] {
			t.Errorf("%s: has the promise, and was changed", name)
		}
		bare := withoutVUI(t, unit)
		before := bytes.Clone(bare)
		promised := promiseNoReordering(bare)
		if !bytes.Equal(bare, before) {
			t.Errorf("%s: the unit itself was changed", name)
		}
		if bytes.Equal(promised, bare) {
			t.Errorf("%s: no promise was added", name)
			continue
		}
		if again := promiseNoReordering(promised); &again[0] != &promised[0] {
			t.Errorf("%s: promised twice", name)
		}
		// All else in it is as it was: the picture is the same.
		d := openVideo(t, CodecH264)
		plain, other := decodeOne(t, d, bare, 0), decodeOne(t, d, promised, 1)
		a, errA := plain.Download()
		b, errB := other.Download()
		if errA != nil || errB != nil || imageSum(a) != imageSum(b) {
			t.Errorf("%s: another picture", name)
		}
		plain.Release()
		other.Release()
	}
}

// fullVUI is a set with a VUI of every part, up to where it says whether there is a restriction.
func fullVUI() *bitWriter {
	w := &bitWriter{}
	w.bits(66<<16|30, 24)
	for _, v := range []uint32{0, 0, 2, 1} { // set 0, frame numbers, order count type 2, references
		w.ue(v)
	}
	w.bits(0, 1)
	w.ue(9)
	w.ue(4)
	w.bits(0b110_1, 4)     // frames only, direct, no crop; VUI
	w.bits(1, 1)           // aspect ratio
	w.bits(255, 8)         //
	w.bits(0x00010001, 32) //
	w.bits(0b11, 2)        // overscan
	w.bits(0b1_101_1_1, 6) // signal type
	w.bits(0x010101, 24)   //
	w.bits(1, 1)           // chroma location
	w.ue(1)                //
	w.ue(2)                //
	w.bits(1, 1)           // timing
	w.bits(1, 32)          //
	w.bits(60, 32)         //
	w.bits(1, 1)           //
	for range 2 {          // HRD twice, of two schedules
		w.bits(1, 1)
		w.ue(1)
		w.bits(0x12, 8)
		for range 2 {
			w.ue(1000)
			w.ue(77)
			w.bits(0, 1)
		}
		w.bits(0x8421, 20)
	}
	w.bits(0b1_1, 2) // low delay, picture structure
	return w
}

// A VUI of every part, then no restriction: what is read must be written again.
func TestPromiseKeepsTheVUI(t *testing.T) {
	w := fullVUI()
	length := 8*len(w.data) - w.free
	prefix := bytes.Clone(w.data)
	w.bits(0b0_1, 2) // no restriction, stop bit
	nal := append([]byte{0x67}, escape(w.data)...)
	got, err := spsWithoutReordering(nal)
	if err != nil || got == nil {
		t.Fatalf("%x, %v", got, err)
	}
	raw := unescape(got[1:])
	whole := length / 8
	if !bytes.Equal(raw[:whole], prefix[:whole]) {
		t.Errorf("%x, want it to begin with %x", raw, prefix[:whole])
	}
	r := &bitReader{data: raw, pos: length}
	want := []uint32{1, 1}
	for i, v := range want {
		if got := r.bit(); got != v {
			t.Errorf("flag %d is %d", i, got)
		}
	}
	for i, v := range []uint32{0, 0, 16, 16, 0, 1} {
		if got := r.ue(); got != v {
			t.Errorf("value %d is %d, want %d", i, got, v)
		}
	}
	if again, err := spsWithoutReordering(got); err != nil || again != nil {
		t.Errorf("promised twice: %x, %v", again, err)
	}
}

func TestBitsRoundTrip(t *testing.T) {
	w := &bitWriter{}
	values := []uint32{0, 1, 2, 3, 7, 8, 255, 65534, 1 << 30}
	for _, v := range values {
		w.ue(v)
	}
	r := &bitReader{data: w.data}
	for _, v := range values {
		if got := r.ue(); got != v {
			t.Errorf("%d became %d", v, got)
		}
	}
	r = &bitReader{data: []byte{0b00100_011, 0b1_0000000}} // 3, 2, 0: +2, -1, 0
	for _, v := range []int{2, -1, 0} {
		if got := r.se(); got != v {
			t.Errorf("%d, want %d", got, v)
		}
	}
	for _, raw := range [][]byte{{0, 0, 0}, {0, 0, 1, 0, 0, 3}, {0, 0, 0, 0, 0, 0, 2}, {5, 0, 0}} {
		if got := unescape(escape(raw)); !bytes.Equal(got, raw) {
			t.Errorf("%x became %x", raw, got)
		}
		if bytes.Contains(escape(raw), []byte{0, 0, 1}) {
			t.Errorf("%x holds a start code", escape(raw))
		}
	}
}

func FuzzPromiseNoReordering(f *testing.F) {
	for _, name := range []string{"h264-baseline", "h264-high", "h264-444"} {
		unit := clipUnits(f, name+".h264")[0]
		f.Add(unit[:min(len(unit), 200)])
		f.Add(withoutVUI(f, unit)[:100])
	}
	f.Add([]byte{0, 0, 1, 0x67})
	f.Add([]byte{0, 0, 1, 0x67, 0, 0, 1, 0x67, 0xff, 0xff, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, unit []byte) {
		before := bytes.Clone(unit)
		got := promiseNoReordering(unit)
		if !bytes.Equal(unit, before) {
			t.Fatal("changed in place")
		}
		if len(got) > 2*len(unit)+64*(1+bytes.Count(unit, []byte{0, 0, 1})) {
			t.Fatalf("%d bytes became %d", len(unit), len(got))
		}
	})
}
