package media

import (
	"bytes"
	"image"
	_ "image/jpeg"
	"testing"

	"github.com/penstock-media/penstock/media/internal/yuv"
)

// decodeJPEG opens a JPEG with Go's decoder and returns it as bytes R, G, B.
func decodeJPEG(t testing.TB, b []byte, w, h int) []byte {
	t.Helper()
	if len(b) < 11 || string(b[6:10]) != "JFIF" {
		t.Fatal("not a JFIF file")
	}
	im, kind, err := image.Decode(bytes.NewReader(b))
	if err != nil || kind != "jpeg" || im.Bounds().Dx() != w || im.Bounds().Dy() != h {
		t.Fatalf("%s %v, %v", kind, im.Bounds(), err)
	}
	var out []byte
	for y := range h {
		for x := range w {
			r, g, b, _ := im.At(x, y).RGBA()
			out = append(out, byte(r>>8), byte(g>>8), byte(b>>8))
		}
	}
	return out
}

func TestF2_JPEG(t *testing.T) {
	checkMemory(t)
	want := fixture(t, "photo-601.rgb.gz")
	last := 0
	for _, c := range []struct {
		quality int
		min     float64
	}{{1, 15}, {50, 27}, {80, 29}, {100, 34}} {
		out, pl := convertTo(t, photo(t), 0, VideoFormat{Pixel: JPEG, JPEGQuality: c.quality})
		db := psnr(t, want, decodeJPEG(t, out, photoW, photoH))
		if db < c.min || len(out) <= last || len(out) > pl.bytes {
			t.Errorf("quality %d: %d bytes of %d, PSNR %.1f dB", c.quality, len(out), pl.bytes, db)
		}
		t.Logf("quality %d: %d bytes of %d, PSNR %.1f dB", c.quality, len(out), pl.bytes, db)
		last = len(out)
	}
}

// Noise is larger than the estimate; it must be delivered all the same.
func TestF2_JPEGOfNoiseExceedsTheEstimate(t *testing.T) {
	checkMemory(t)
	for _, size := range []size{{1, 1}, {16, 16}, {161, 91}} {
		n, _, _ := yuv.I420Size(size.w, size.h)
		noise := make([]byte, n)
		state := uint32(1)
		for i := range noise {
			state = state*1664525 + 1013904223
			noise[i] = byte(state >> 24)
		}
		for _, quality := range []int{80, 100} {
			out, pl := convertTo(t, yuv.I420In(noise, size.w, size.h), 0, VideoFormat{Pixel: JPEG, JPEGQuality: quality})
			decodeJPEG(t, out, size.w, size.h)
			if size.w > 100 && quality == 80 && len(out) <= pl.bytes {
				t.Errorf("%d bytes of %d: the case is not what it says", len(out), pl.bytes)
			}
			if len(out) > jpegBound(size.w, size.h) {
				t.Errorf("%v: %d bytes, bound %d", size, len(out), jpegBound(size.w, size.h))
			}
		}
	}
}
