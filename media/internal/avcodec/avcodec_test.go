package avcodec

import (
	"encoding/binary"
	"errors"
	"os"
	"sync"
	"testing"
	"unsafe"

	"github.com/penstock-media/penstock/media/internal/cmem"
	"github.com/penstock-media/penstock/media/internal/picture"
)

// ivf returns the frames of an IVF file.
func ivf(t testing.TB, name string) [][]byte {
	t.Helper()
	b, err := os.ReadFile("../../testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	var frames [][]byte
	for b = b[32:]; len(b) > 12; {
		n := int(binary.LittleEndian.Uint32(b))
		frames, b = append(frames, b[12:12+n]), b[12+n:]
	}
	return frames
}

func checkMemory(t testing.TB) {
	t.Helper()
	t.Cleanup(func() {
		if live := cmem.Live(); len(live) > 0 {
			t.Errorf("C memory left: %+v", live)
		}
	})
}

func open(t testing.TB, maxPixels int) *VideoDecoder {
	t.Helper()
	d, err := OpenVideo("vp8", maxPixels)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	return d
}

func decode(t testing.TB, d *VideoDecoder, unit []byte) picture.Picture {
	t.Helper()
	ps, err := d.Decode(nil, unit, 5)
	if err != nil || len(ps) != 1 {
		t.Fatalf("%d pictures, %v", len(ps), err)
	}
	return ps[0]
}

func image(t testing.TB, p picture.Picture) *picture.Image {
	t.Helper()
	im, err := p.Download()
	if err != nil {
		t.Fatal(err)
	}
	return im
}

func TestPlanesLieInOneAlignedBlock(t *testing.T) {
	checkMemory(t)
	p := decode(t, open(t, 1<<20), ivf(t, "vp8.ivf")[0])
	defer p.Release()
	im := image(t, p)
	if w, h := p.Size(); w != 640 || h != 360 || p.Tag() != 5 {
		t.Errorf("%d×%d, tag %d", w, h, p.Tag())
	}
	if im.Strides != [3]int{640, 320, 320} {
		t.Errorf("strides %v: rows must not be padded where alignment allows", im.Strides)
	}
	var at [3]uintptr
	for i := range im.Planes {
		at[i] = uintptr(unsafe.Pointer(&im.Planes[i][0]))
		if at[i]%64 != 0 {
			t.Errorf("plane %d at %#x is not aligned", i, at[i])
		}
	}
	block := int64(0)
	for _, u := range cmem.Live() {
		if u.Kind == cmem.PictureBuffer {
			block = u.Bytes / u.Objects
		}
	}
	if at[1] <= at[0] || at[2] <= at[1] || int64(at[2]-at[0])+int64(len(im.Planes[2])) > block {
		t.Errorf("planes at %#x of a block of %d bytes", at, block)
	}
}

func TestPicturesOutliveTheDecoder(t *testing.T) {
	checkMemory(t)
	d := open(t, 1<<20)
	var held []picture.Picture
	var sums []int
	for _, u := range ivf(t, "vp8.ivf") {
		p := decode(t, d, u)
		held = append(held, p)
		sums = append(sums, sumOf(image(t, p)))
	}
	for range 3 {
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := d.Decode(nil, []byte{1}, 0); !errors.Is(err, ErrClosed) {
		t.Errorf("decode after close: %v", err)
	}
	for i, p := range held {
		if sumOf(image(t, p)) != sums[i] {
			t.Errorf("picture %d changed", i)
		}
		p.Retain()
		p.Release()
		p.Release()
	}
}

func sumOf(im *picture.Image) int {
	sum := 0
	for _, plane := range im.Planes {
		for _, b := range plane {
			sum = sum*31 + int(b)
		}
	}
	return sum
}

// The pool gives buffers out again: memory does not grow with the number of pictures.
func TestBuffersAreUsedAgain(t *testing.T) {
	checkMemory(t)
	d := open(t, 1<<20)
	most := int64(0)
	frames := ivf(t, "vp8.ivf")
	for range 5 {
		for _, u := range frames {
			decode(t, d, u).Release()
			for _, use := range cmem.Live() {
				if use.Kind == cmem.PictureBuffer {
					most = max(most, use.Objects)
				}
			}
		}
	}
	if most == 0 || most > 6 {
		t.Errorf("%d buffers for one picture at a time", most)
	}
}

func TestSizeLimitHoldsBeforeAllocation(t *testing.T) {
	checkMemory(t)
	d := open(t, 640*360-1)
	ps, err := d.Decode(nil, ivf(t, "vp8.ivf")[0], 0)
	if !errors.Is(err, ErrTooLarge) || len(ps) != 0 {
		t.Errorf("%d pictures, %v", len(ps), err)
	}
	// A key frame's header with the largest size that VP8 can say (RFC 6386 section 9.1).
	big := append([]byte(nil), ivf(t, "vp8.ivf")[0]...)
	copy(big[6:], []byte{0xff, 0x3f, 0xff, 0x3f})
	if ps, err = d.Decode(nil, big, 0); err == nil || len(ps) != 0 {
		t.Errorf("%d pictures, %v", len(ps), err)
	}
	for _, u := range cmem.Live() {
		if u.Kind == cmem.PictureBuffer {
			t.Errorf("allocated: %+v", u)
		}
	}
}

// dav1d allocates by itself; it is told the limit.
func TestSizeLimitHoldsForAV1(t *testing.T) {
	checkMemory(t)
	unit := ivf(t, "av1.ivf")[0]
	for limit, want := range map[int]error{320 * 180: nil, 320*180 - 1: ErrTooLarge} {
		d, err := OpenVideo("libdav1d", limit)
		if err != nil {
			t.Fatal(err)
		}
		ps, err := d.Decode(nil, unit, 0)
		if !errors.Is(err, want) || (len(ps) == 1) != (want == nil) {
			t.Errorf("%d pictures, %v, with a limit of %d pixels", len(ps), err, limit)
		}
		for _, p := range ps {
			p.Release()
		}
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	}
}

func TestBuffersShowNothingOfBefore(t *testing.T) {
	checkMemory(t)
	// Much of this key frame is cut off: what it lacks must not come from memory that was freed.
	frames := ivf(t, "vp8.ivf")
	d := open(t, 1<<20)
	ps, err := d.Decode(nil, frames[0][:100], 0)
	for _, p := range ps {
		if len(image(t, p).Planes[0]) == 0 {
			t.Error("no luma")
		}
		p.Release()
	}
	if err == nil && len(ps) == 0 {
		t.Error("neither a picture nor a fault")
	}
}

func TestReleaseTwicePanics(t *testing.T) {
	checkMemory(t)
	p := decode(t, open(t, 1<<20), ivf(t, "vp8.ivf")[0])
	p.Release()
	for _, f := range []func(){p.Release, p.Retain} {
		func() {
			defer func() {
				if recover() == nil {
					t.Error("use after the last release did not panic")
				}
			}()
			f()
		}()
	}
}

func TestReferencesFromManyGoroutines(t *testing.T) {
	checkMemory(t)
	d := open(t, 1<<20)
	p := decode(t, d, ivf(t, "vp8.ivf")[0])
	want := sumOf(image(t, p))
	var wg sync.WaitGroup
	for range 8 {
		p.Retain()
		wg.Go(func() {
			defer p.Release()
			im, err := p.Download()
			if err != nil || sumOf(im) != want {
				t.Errorf("read something else, %v", err)
			}
		})
	}
	p.Release()
	if err := d.Close(); err != nil {
		t.Error(err)
	}
	wg.Wait()
}

func TestCloseWhileDecoding(t *testing.T) {
	checkMemory(t)
	frames := ivf(t, "vp8.ivf")
	for range 20 {
		d := open(t, 1<<20)
		var wg sync.WaitGroup
		wg.Go(func() {
			for _, u := range frames {
				ps, err := d.Decode(nil, u, 0)
				if err != nil && !errors.Is(err, ErrClosed) {
					t.Error(err)
				}
				for _, p := range ps {
					p.Release()
				}
			}
		})
		if err := d.Close(); err != nil {
			t.Error(err)
		}
		wg.Wait()
	}
}

func TestOpenRefuses(t *testing.T) {
	checkMemory(t)
	if _, err := OpenVideo("nothing", 1); !errors.Is(err, ErrNoDecoder) {
		t.Error(err)
	}
	if _, err := OpenVideo("vp8", 0); !errors.Is(err, ErrTooLarge) {
		t.Error(err)
	}
	if _, err := OpenAudio("pcm_mulaw", 8000, 3); !errors.Is(err, ErrUnsupported) {
		t.Error(err)
	}
	if _, err := OpenAudio("nothing", 8000, 1); !errors.Is(err, ErrNoDecoder) {
		t.Error(err)
	}
}

// TestWhatIsNoDamage: what the library says of a unit that cannot be decoded is told apart from what is no fault of the unit.
func TestWhatIsNoDamage(t *testing.T) {
	const (
		perm, again, noMemory, invalid, outOfRange = -1, -11, -12, -22, -34 // errno(3); HEVC of FFmpeg 7 says -1 of some damage
		invalidData                                = -0x41444e49            // FFERRTAG('I', 'N', 'D', 'A')
		unknown                                    = -0x4e4b4e55            // FFERRTAG('U', 'N', 'K', 'N')
	)
	for _, c := range []struct {
		err  error
		is   error
		code bool // and the library's own code
	}{
		{codeError(perm, 0), ErrInvalidData, true}, {codeError(invalid, 0), ErrInvalidData, true}, {codeError(outOfRange, 0), ErrInvalidData, true},
		{codeError(invalidData, 0), ErrInvalidData, false}, {codeError(noMemory, 0), ErrNoMemory, false},
		{codeError(again, 0), CodeError(again), true}, {codeError(unknown, 0), CodeError(unknown), true},
	} {
		var code CodeError
		if !errors.Is(c.err, c.is) || errors.Is(c.err, ErrInvalidData) != errors.Is(c.is, ErrInvalidData) || errors.As(c.err, &code) != c.code {
			t.Errorf("%v, want %v", c.err, c.is)
		}
	}
}

func TestAudio(t *testing.T) {
	checkMemory(t)
	d, err := OpenAudio("pcm_mulaw", 8000, 1)
	if err != nil {
		t.Fatal(err)
	}
	out, err := d.Decode([]int16{7}, []byte{0xff, 0x80, 0x00}, 3) // ITU-T G.711 table 2: zero, the ends
	if err != nil || len(out) != 4 || out[0] != 7 || out[1] != 0 || out[2] != 32124 || out[3] != -32124 {
		t.Errorf("%v, %v", out, err)
	}
	if out, err = d.Decode(nil, make([]byte, 4), 3); !errors.Is(err, ErrUnsupported) || len(out) != 0 {
		t.Errorf("more than asked for: %d samples, %v", len(out), err)
	}
	if out, err = d.Decode(nil, nil, 3); !errors.Is(err, ErrInvalidData) || len(out) != 0 {
		t.Errorf("of nothing: %d samples, %v", len(out), err)
	}
	for range 2 {
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err = d.Decode(nil, []byte{1}, 3); !errors.Is(err, ErrClosed) {
		t.Error(err)
	}
}

func BenchmarkVP8(b *testing.B) {
	frames := ivf(b, "vp8.ivf")
	d := open(b, 1<<20)
	b.ReportAllocs()
	var ps []picture.Picture
	for i := 0; b.Loop(); i++ {
		var err error
		if ps, err = d.Decode(ps[:0], frames[i%len(frames)], 0); err != nil {
			b.Fatal(err)
		}
		for _, p := range ps {
			p.Release()
		}
	}
}
