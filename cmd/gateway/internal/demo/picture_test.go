package demo

import (
	"errors"
	"image"
	"os"
	"path/filepath"
	"testing"

	penstockv1 "github.com/penstock-media/penstock/api/penstock/v1"
	"github.com/penstock-media/penstock/internal/sfutest/clips"
)

// Size of the pictures in testdata: odd, so that chroma is rounded up.
const testWidth, testHeight = 161, 91

func testdata(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("testdata", name))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// frames returns a picture of alice's camera in each format, as the ffmpeg program made it; I420 with padded rows.
func frames(t testing.TB) map[penstockv1.PixelFormat]*penstockv1.VideoFrame {
	t.Helper()
	const w, h = testWidth, testHeight
	raw := testdata(t, "alice.i420")
	var padded []byte
	var planes []*penstockv1.Plane
	for _, size := range [][2]int{{w, h}, {(w + 1) / 2, (h + 1) / 2}, {(w + 1) / 2, (h + 1) / 2}} {
		planes = append(planes, &penstockv1.Plane{Offset: uint32(len(padded)), Stride: uint32(size[0] + 5)})
		for range size[1] {
			padded = append(append(padded, raw[:size[0]]...), 9, 9, 9, 9, 9)
			raw = raw[size[0]:]
		}
	}
	frame := func(payload []byte, planes ...*penstockv1.Plane) *penstockv1.VideoFrame {
		return &penstockv1.VideoFrame{Width: w, Height: h, Planes: planes, Payload: payload}
	}
	return map[penstockv1.PixelFormat]*penstockv1.VideoFrame{
		penstockv1.PixelFormat_PIXEL_FORMAT_I420:  frame(padded, planes...),
		penstockv1.PixelFormat_PIXEL_FORMAT_RGB24: frame(testdata(t, "alice.rgb24"), &penstockv1.Plane{Stride: 3 * w}),
		penstockv1.PixelFormat_PIXEL_FORMAT_JPEG:  frame(testdata(t, "alice.jpg")),
	}
}

func TestPicturesOfEveryFormatShowTheSame(t *testing.T) {
	want := image.NewNRGBA(image.Rect(0, 0, testWidth, testHeight))
	for i, rgb := 0, testdata(t, "alice.rgb24"); len(rgb) > 0; i, rgb = i+4, rgb[3:] {
		want.Pix[i], want.Pix[i+1], want.Pix[i+2], want.Pix[i+3] = rgb[0], rgb[1], rgb[2], 255
	}
	for format, frame := range frames(t) {
		p, err := toPicture(frame, format)
		if err != nil {
			t.Fatalf("%v: %v", format, err)
		}
		if id, ok := p.watermark(); !ok || id != clips.AliceCamera().Watermark {
			t.Errorf("%v: watermark %d, %v", format, id, ok)
		}
		if d := meanDifference(p.render(), want); d > 4 {
			t.Errorf("%v: colours differ by %.1f from ffmpeg's", format, d)
		}
	}
}

// meanDifference is over all samples, of 255.
func meanDifference(a, b image.Image) float64 {
	sum, bounds := 0, b.Bounds()
	for y := range bounds.Dy() {
		for x := range bounds.Dx() {
			r1, g1, b1, _ := a.At(x, y).RGBA()
			r2, g2, b2, _ := b.At(x, y).RGBA()
			for _, d := range []int{int(r1) - int(r2), int(g1) - int(g2), int(b1) - int(b2)} {
				sum += max(d, -d) >> 8
			}
		}
	}
	return float64(sum) / float64(3*bounds.Dx()*bounds.Dy())
}

func TestFramesThatAreNotWhatTheySayAreRefused(t *testing.T) {
	good := frames(t)
	i420, rgb, jpg := penstockv1.PixelFormat_PIXEL_FORMAT_I420, penstockv1.PixelFormat_PIXEL_FORMAT_RGB24, penstockv1.PixelFormat_PIXEL_FORMAT_JPEG
	change := func(format penstockv1.PixelFormat, f func(*penstockv1.VideoFrame)) *penstockv1.VideoFrame {
		v := good[format]
		planes := make([]*penstockv1.Plane, 0, len(v.GetPlanes()))
		for _, p := range v.GetPlanes() {
			planes = append(planes, &penstockv1.Plane{Offset: p.GetOffset(), Stride: p.GetStride()})
		}
		bad := &penstockv1.VideoFrame{Width: v.GetWidth(), Height: v.GetHeight(), Planes: planes, Payload: v.GetPayload()}
		f(bad)
		return bad
	}
	for name, c := range map[string]struct {
		format penstockv1.PixelFormat
		frame  *penstockv1.VideoFrame
	}{
		"a plane too few":      {i420, change(i420, func(f *penstockv1.VideoFrame) { f.Planes = f.Planes[:2] })},
		"payload too short":    {i420, change(i420, func(f *penstockv1.VideoFrame) { f.Payload = f.Payload[:len(f.Payload)-10] })},
		"stride too small":     {rgb, change(rgb, func(f *penstockv1.VideoFrame) { f.Planes[0].Stride-- })},
		"offset beyond":        {rgb, change(rgb, func(f *penstockv1.VideoFrame) { f.Planes[0].Offset = 1 << 31 })},
		"no size":              {rgb, change(rgb, func(f *penstockv1.VideoFrame) { f.Width, f.Height = 0, 0 })},
		"a JPEG of other size": {jpg, change(jpg, func(f *penstockv1.VideoFrame) { f.Width++ })},
		"not a JPEG":           {jpg, change(jpg, func(f *penstockv1.VideoFrame) { f.Payload = []byte("no") })},
		"another format":       {penstockv1.PixelFormat_PIXEL_FORMAT_NV12, good[i420]},
	} {
		if _, err := toPicture(c.frame, c.format); !errors.Is(err, ErrPicture) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
