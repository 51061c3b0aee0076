package media

import (
	"testing"

	"github.com/penstock-media/penstock/internal/sfutest/clips"
)

// The size as received changes in mid-stream, up and down again: each consumer is told, and gets the format and the size that it asked for of every
// picture, of the right source.
func TestF2_SizeChangesInMidStream(t *testing.T) {
	noCMemory(t)
	track := newTestTrack(t, KindVideo)
	cases := []struct {
		name   string
		format VideoFormat
		small  [2]int // of 640×360
		large  [2]int // of 1280×720
		bytes  func(w, h int) int
	}{
		{"as received", VideoFormat{}, [2]int{640, 360}, [2]int{1280, 720}, func(w, h int) int { return w * h * 3 / 2 }},
		{"NV12 contained, odd", VideoFormat{Pixel: NV12, Width: 801}, [2]int{640, 360}, [2]int{801, 451}, func(w, h int) int { return w*h + 2*((w+1)/2)*((h+1)/2) }},
		{"RGBA covered", VideoFormat{Pixel: RGBA, Width: 400, Height: 400, Fit: Cover}, [2]int{360, 360}, [2]int{400, 400}, func(w, h int) int { return w * h * 4 }},
		{"RGB24 stretched", VideoFormat{Pixel: RGB24, Width: 101, Height: 55, Fit: Stretch}, [2]int{101, 55}, [2]int{101, 55}, func(w, h int) int { return w * h * 3 }},
		{"I420 enlarged", VideoFormat{Width: 1280, Height: 1280, AllowUpscale: true}, [2]int{1280, 720}, [2]int{1280, 720}, func(w, h int) int { return w * h * 3 / 2 }},
	}
	all := make([]*Consumer, len(cases))
	for i := range cases {
		all[i] = subscribe(t, track, Request{Video: &cases[i].format, Queue: patient})
	}
	for round, clip := range []clips.Clip{clips.BobCamera(), clips.BobScreen(), clips.BobCamera()} {
		f := newFeeder(t, track, clip, uint32(7+round))
		for range 3 {
			f.feed()
		}
		for i, c := range cases {
			if round > 0 {
				if e := event(t, all[i]); e.Kind != EventFormatChanged || e.Width != clip.Width || e.Height != clip.Height {
					t.Fatalf("%s: told %+v", c.name, e)
				}
			}
			want := c.small
			if clip.Width == 1280 {
				want = c.large
			}
			for range 3 {
				got := frame(t, all[i])
				if [2]int{got.Width, got.Height} != want || got.Payload.Len() != c.bytes(got.Width, got.Height) {
					t.Fatalf("%s: %d×%d in %d bytes, want %v", c.name, got.Width, got.Height, got.Payload.Len(), want)
				}
				if c.format.Pixel == I420 && watermark(t, got) != clip.Watermark {
					t.Fatalf("%s: not the picture of %s", c.name, clip.Name)
				}
			}
		}
	}
}
