package media

import (
	"errors"
	"testing"

	"github.com/penstock-media/penstock/media/internal/picture"
	"github.com/penstock-media/penstock/media/internal/yuv"
)

func TestF2_Plan(t *testing.T) {
	for _, c := range []struct {
		w, h, rotation int
		f              VideoFormat
		width, height  int
	}{
		{1280, 720, 0, VideoFormat{}, 1280, 720},
		{1280, 720, 90, VideoFormat{}, 720, 1280},
		{321, 179, 180, VideoFormat{}, 321, 179},
		// Contain: a side of 0 does not limit, nothing grows.
		{1280, 720, 0, VideoFormat{Width: 640}, 640, 360},
		{1280, 720, 0, VideoFormat{Height: 90}, 160, 90},
		{1280, 720, 0, VideoFormat{Width: 300, Height: 300}, 300, 169},
		{1280, 720, 90, VideoFormat{Width: 300, Height: 300}, 169, 300},
		{321, 179, 0, VideoFormat{Width: 161}, 161, 90},
		{321, 179, 0, VideoFormat{Width: 640, Height: 640}, 321, 179},
		{321, 179, 0, VideoFormat{Width: 642, Height: 642, AllowUpscale: true}, 642, 358},
		{320, 180, 0, VideoFormat{Width: 640, Height: 90, AllowUpscale: true}, 160, 90},
		{4000, 2, 0, VideoFormat{Width: 100}, 100, 1},
		// Cover and stretch: the box, or its proportions as large as there are pixels.
		{1280, 720, 0, VideoFormat{Width: 224, Height: 224, Fit: Cover}, 224, 224},
		{1280, 720, 0, VideoFormat{Width: 224, Height: 224, Fit: Stretch}, 224, 224},
		{160, 90, 0, VideoFormat{Width: 224, Height: 224, Fit: Cover}, 90, 90},
		{160, 90, 0, VideoFormat{Width: 224, Height: 224, Fit: Cover, AllowUpscale: true}, 224, 224},
		{160, 90, 0, VideoFormat{Width: 200, Height: 50, Fit: Stretch}, 160, 40},
		{160, 90, 0, VideoFormat{Width: 200, Height: 50, Fit: Stretch, AllowUpscale: true}, 200, 50},
		{160, 90, 270, VideoFormat{Width: 90, Height: 160, Fit: Stretch}, 90, 160},
	} {
		pl, err := planVideo(c.w, c.h, c.rotation, c.f)
		if err != nil {
			t.Errorf("%+v: %v", c, err)
			continue
		}
		want, _, _ := yuv.I420Size(c.width, c.height)
		if pl.width != c.width || pl.height != c.height || pl.bytes != want {
			t.Errorf("%d×%d turned %d, %+v: %d×%d in %d bytes, want %d×%d", c.w, c.h, c.rotation, c.f, pl.width, pl.height, pl.bytes, c.width, c.height)
		}
	}
}

func TestF2_PlanBytes(t *testing.T) {
	for pixel, want := range map[PixelFormat]int{I420: 5*3 + 2*6, NV12: 5*3 + 2*6, RGB24: 45, RGBA: 60} {
		pl, err := planVideo(5, 3, 0, VideoFormat{Pixel: pixel})
		if err != nil || pl.bytes != want {
			t.Errorf("format %d: %d bytes, want %d, %v", pixel, pl.bytes, want, err)
		}
	}
}

func TestF2_PlanRefuses(t *testing.T) {
	for field, f := range map[string]VideoFormat{
		"pixel_format": {Pixel: JPEG + 1},
		"width":        {Width: -1},
		"height":       {Height: MaxBoxPixels + 1},
		"fit":          {Fit: Cover, Width: 10},
		"jpeg_quality": {Pixel: JPEG, JPEGQuality: 101},
	} {
		var format *FormatError
		if _, err := planVideo(640, 360, 0, f); !errors.As(err, &format) || format.Field != field {
			t.Errorf("%+v: %v, want a fault of %s", f, err, field)
		}
	}
	for _, c := range [][3]int{{0, 1, 0}, {1, -1, 0}, {yuv.MaxSide + 1, 1, 0}, {1, 1, 45}, {1, 1, -90}} {
		if _, err := planVideo(c[0], c[1], c[2], VideoFormat{}); err == nil {
			t.Errorf("%v was taken", c)
		}
	}
}

// FuzzConvert plans anything, and converts it where it is small.
func FuzzConvert(f *testing.F) {
	f.Add(uint16(17), uint16(9), uint16(90), uint8(RGB24), uint16(5), uint16(5), uint8(Cover), false, 80, uint8(picture.I420))
	f.Add(uint16(22), uint16(16), uint16(0), uint8(NV12), uint16(16), uint16(16), uint8(Cover), false, 80, uint8(picture.I420))
	f.Add(uint16(1), uint16(1), uint16(0), uint8(JPEG), uint16(200), uint16(1), uint8(Stretch), true, 100, uint8(picture.I422))
	f.Add(uint16(64), uint16(3), uint16(270), uint8(I420), uint16(0), uint16(2), uint8(Contain), false, 0, uint8(picture.I444))
	f.Add(uint16(8192), uint16(1), uint16(180), uint8(NV12), uint16(8192), uint16(8192), uint8(Contain), true, 1, uint8(picture.I010))
	f.Fuzz(func(t *testing.T, w, h, rotation uint16, pixel uint8, boxW, boxH uint16, fit uint8, up bool, quality int, layout uint8) {
		format := VideoFormat{
			Pixel: PixelFormat(pixel), Width: int(boxW), Height: int(boxH), Fit: Fit(fit), AllowUpscale: up, JPEGQuality: quality,
		}
		pl, err := planVideo(int(w), int(h), int(rotation), format)
		if err != nil {
			return
		}
		if pl.width < 1 || pl.height < 1 || (pl.cropX|pl.cropY)&1 != 0 || boxW > 0 && pl.width > max(int(boxW), int(w), int(h)) || pl.cropX < 0 || pl.cropY < 0 ||
			pl.cropX+pl.cropWidth > int(w) || pl.cropY+pl.cropHeight > int(h) {
			t.Fatalf("%+v", pl)
		}
		if !up && (pl.scaleWidth > int(w) || pl.scaleHeight > int(h)) {
			t.Fatalf("enlarged: %+v", pl)
		}
		if int(w)*int(h) > 1<<16 || pl.width*pl.height > 1<<16 || layout < uint8(picture.I420) || layout > uint8(picture.I010) {
			return
		}
		im := &picture.Image{Layout: picture.Layout(layout), Width: int(w), Height: int(h)}
		for i := range im.Planes {
			row, rows := im.PlaneSize(i)
			im.Strides[i] = row
			im.Planes[i] = make([]byte, row*rows)
		}
		convertTo(t, im, int(rotation), format)
	})
}
