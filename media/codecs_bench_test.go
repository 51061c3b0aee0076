package media

import (
	"testing"

	"github.com/penstock-media/penstock/media/internal/picture"
	"github.com/penstock-media/penstock/media/internal/yuv"
)

func BenchmarkDecodeVideo(b *testing.B) {
	for _, clip := range []videoClip{{codec: CodecVP8, name: "vp8", ext: ".ivf"}, {codec: CodecH264, name: "h264-high", ext: ".h264"}} {
		b.Run(clip.name+"-640x360", func(b *testing.B) {
			units := clipUnits(b, clip.name+clip.ext)
			d := openVideo(b, clip.codec)
			b.ReportAllocs()
			var ps []picture.Picture
			for i := 0; b.Loop(); i++ {
				var err error
				if ps, err = d.Decode(ps[:0], units[i%len(units)], 0); err != nil {
					b.Fatal(err)
				}
				for _, p := range ps {
					p.Release()
				}
			}
		})
	}
}

func BenchmarkConvert720p(b *testing.B) {
	for _, c := range []struct {
		name     string
		rotation int
		format   VideoFormat
	}{
		{"I420", 0, VideoFormat{}},
		{"I420-640x360", 0, VideoFormat{Width: 640}},
		{"I420-turned", 90, VideoFormat{}},
		{"NV12", 0, VideoFormat{Pixel: NV12}},
		{"RGB24", 0, VideoFormat{Pixel: RGB24}},
		{"RGB24-224x224", 0, VideoFormat{Pixel: RGB24, Width: 224, Height: 224, Fit: Stretch}},
		{"RGBA", 0, VideoFormat{Pixel: RGBA}},
		{"JPEG-80", 0, VideoFormat{Pixel: JPEG}},
	} {
		b.Run(c.name, func(b *testing.B) {
			still := newStill(benchPicture(b))
			pl, err := planVideo(1280, 720, c.rotation, c.format)
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				payload, _, err := convertVideo(still, pl)
				if err != nil {
					b.Fatal(err)
				}
				payload.Release()
			}
		})
	}
}

// benchPicture is the photograph, enlarged.
func benchPicture(b *testing.B) *picture.Image {
	b.Helper()
	n, _, _ := yuv.I420Size(1280, 720)
	im := yuv.I420In(make([]byte, n), 1280, 720)
	if err := yuv.Scale(im, photo(b)); err != nil {
		b.Fatal(err)
	}
	return im
}
