package demo

import (
	"bytes"
	"errors"
	"fmt"
	"image"
	"image/png"
	"os/exec"
	"testing"

	penstockv1 "github.com/penstock-media/penstock/api/penstock/v1"
	"github.com/penstock-media/penstock/internal/sfutest/clips"
)

// ffmpeg runs the ffmpeg program.
func ffmpeg(t testing.TB, in []byte, args ...string) []byte {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "ffmpeg", append([]string{"-v", "error", "-i", "pipe:0"}, args...)...)
	cmd.Stdin = bytes.NewReader(in)
	var out, complaint bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaint
	if err := cmd.Run(); err != nil {
		t.Fatalf("ffmpeg: %v: %s", err, complaint.Bytes())
	}
	return out.Bytes()
}

// frames returns one picture of a clip in each format, made by the ffmpeg program at w×h, I420 with padded rows.
func frames(t testing.TB, c clips.Clip, w, h int) map[penstockv1.PixelFormat]*penstockv1.VideoFrame {
	t.Helper()
	file, err := c.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	scale := fmt.Sprintf("scale=%d:%d", w, h)
	raw := ffmpeg(t, file, "-frames:v", "1", "-vf", scale, "-pix_fmt", "yuv420p", "-f", "rawvideo", "-")
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
		return &penstockv1.VideoFrame{Width: uint32(w), Height: uint32(h), Planes: planes, Payload: payload}
	}
	return map[penstockv1.PixelFormat]*penstockv1.VideoFrame{
		penstockv1.PixelFormat_PIXEL_FORMAT_I420: frame(padded, planes...),
		penstockv1.PixelFormat_PIXEL_FORMAT_RGB24: frame(ffmpeg(t, file, "-frames:v", "1", "-vf", scale, "-pix_fmt", "rgb24", "-f", "rawvideo", "-"),
			&penstockv1.Plane{Stride: uint32(3 * w)}),
		penstockv1.PixelFormat_PIXEL_FORMAT_JPEG: frame(ffmpeg(t, file, "-frames:v", "1", "-vf", scale, "-pix_fmt", "yuvj420p", "-q:v", "2", "-f", "mjpeg", "-")),
	}
}

func TestPicturesOfEveryFormatShowTheSame(t *testing.T) {
	for _, c := range []clips.Clip{clips.AliceCamera(), clips.BobCamera(), clips.BobScreen()} {
		file, err := c.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		const w, h = 321, 181 // odd: chroma is rounded up
		want, err := png.Decode(bytes.NewReader(ffmpeg(t, file, "-frames:v", "1", "-vf", fmt.Sprintf("scale=%d:%d", w, h), "-pix_fmt", "rgb24", "-f", "image2", "-c:v", "png", "-")))
		if err != nil {
			t.Fatal(err)
		}
		for format, frame := range frames(t, c, w, h) {
			p, err := toPicture(frame, format)
			if err != nil {
				t.Fatalf("%s as %v: %v", c.Name, format, err)
			}
			if id, ok := p.watermark(); !ok || id != c.Watermark {
				t.Errorf("%s as %v: watermark %d, %v", c.Name, format, id, ok)
			}
			if d := meanDifference(p.render(), want); d > 4 {
				t.Errorf("%s as %v: colours differ by %.1f from ffmpeg's", c.Name, format, d)
			}
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
	good := frames(t, clips.BobCamera(), 64, 36)
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
