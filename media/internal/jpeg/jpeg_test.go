package jpeg

import (
	"bytes"
	"errors"
	"image"
	"image/color"
	"image/jpeg"
	"sync"
	"testing"

	"github.com/penstock-media/penstock/media/internal/cmem"
)

func open(t testing.TB) *Encoder {
	t.Helper()
	e, err := Open()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = e.Close()
		if live := cmem.Live(); len(live) > 0 {
			t.Errorf("C memory left: %+v", live)
		}
	})
	return e
}

// halves is red on the left and blue on the right.
func halves(w, h int) []byte {
	out := make([]byte, 0, w*h*4)
	for range h {
		for x := range w {
			if x < w/2 {
				out = append(out, 255, 0, 0, 9)
			} else {
				out = append(out, 0, 0, 255, 9)
			}
		}
	}
	return out
}

func TestBaselineJFIF(t *testing.T) {
	e := open(t)
	for _, s := range [][2]int{{64, 32}, {33, 17}, {1, 1}, {16, 1}, {500, 3}} {
		dst := make([]byte, 1<<16)
		n, err := e.EncodeRGBA(dst, halves(s[0], s[1]), s[0], s[1], 90)
		if err != nil {
			t.Fatal(err)
		}
		out := dst[:n]
		if string(out[6:10]) != "JFIF" || !bytes.Contains(out, []byte{0xff, 0xc0}) || bytes.Contains(out, []byte{0xff, 0xc2}) {
			t.Errorf("%v: not baseline JFIF", s)
		}
		im, err := jpeg.Decode(bytes.NewReader(out))
		if err != nil {
			t.Fatal(err)
		}
		if got := im.Bounds().Size(); got != image.Pt(s[0], s[1]) {
			t.Errorf("%v: %v", s, got)
		}
		if y, ok := im.(*image.YCbCr); !ok || y.SubsampleRatio != image.YCbCrSubsampleRatio420 {
			t.Errorf("%v: chroma is not 4:2:0", s)
		}
		if s[0] >= 33 {
			isColour(t, im.At(2, s[1]/2), color.RGBA{255, 0, 0, 255})
			isColour(t, im.At(s[0]-3, s[1]/2), color.RGBA{0, 0, 255, 255})
		}
	}
}

func isColour(t *testing.T, got color.Color, want color.RGBA) {
	t.Helper()
	r, g, b, _ := got.RGBA()
	for _, d := range []int{int(r>>8) - int(want.R), int(g>>8) - int(want.G), int(b>>8) - int(want.B)} {
		if d < -6 || d > 6 {
			t.Errorf("%v, want %v", got, want)
		}
	}
}

// A buffer that is too small is an error that leaves the encoder usable.
func TestTooSmall(t *testing.T) {
	e := open(t)
	src := halves(200, 100)
	whole := make([]byte, 1<<16)
	n, err := e.EncodeRGBA(whole, src, 200, 100, 80)
	if err != nil {
		t.Fatal(err)
	}
	for _, size := range []int{1, 100, 623, n / 2, n - 1} {
		if _, err := e.EncodeRGBA(make([]byte, size), src, 200, 100, 80); !errors.Is(err, ErrTooSmall) {
			t.Errorf("%d of %d bytes: %v", size, n, err)
		}
	}
	exact := make([]byte, n+1)
	if m, err := e.EncodeRGBA(exact, src, 200, 100, 80); err != nil || !bytes.Equal(exact[:m], whole[:n]) {
		t.Errorf("afterwards: %d bytes, %v", m, err)
	}
}

func TestFaults(t *testing.T) {
	e := open(t)
	dst, src := make([]byte, 1000), halves(4, 4)
	for _, c := range [][3]int{{0, 4, 80}, {4, 0, 80}, {4, 5, 80}, {MaxSide + 1, 1, 80}, {4, 4, 0}, {4, 4, 101}, {-4, -4, 80}} {
		if _, err := e.EncodeRGBA(dst, src, c[0], c[1], c[2]); !errors.Is(err, ErrInput) {
			t.Errorf("%v: %v", c, err)
		}
	}
	if _, err := e.EncodeRGBA(nil, src, 4, 4, 80); !errors.Is(err, ErrInput) {
		t.Error(err)
	}
	for range 2 {
		if err := e.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := e.EncodeRGBA(dst, src, 4, 4, 80); !errors.Is(err, ErrClosed) {
		t.Error(err)
	}
}

func TestConcurrentUse(t *testing.T) {
	e := open(t)
	src := halves(64, 64)
	want := make([]byte, 1<<16)
	n, err := e.EncodeRGBA(want, src, 64, 64, 70)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			got := make([]byte, 1<<16)
			if m, err := e.EncodeRGBA(got, src, 64, 64, 70); err != nil || !bytes.Equal(got[:m], want[:n]) {
				t.Errorf("%d bytes, %v", m, err)
			}
		})
	}
	wg.Wait()
}
