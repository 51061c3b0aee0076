package service

import (
	"sync/atomic"
	"testing"

	"github.com/penstock-media/penstock/media"
	"google.golang.org/grpc/mem"
)

// A picture's bytes are handed to the transport where they lie; a chunk of audio is copied once, behind its header.
func TestX12_CopiesOfAPayload(t *testing.T) {
	var count atomic.Int64
	codec := newCodec()
	picture, _ := videoMessages(&count, pattern(300_000), 3)
	planes := picture.payload.Parts()
	out, err := codec.Marshal(picture)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Free()
	if len(out) != 1+len(planes) {
		t.Fatalf("%d buffers of %d planes", len(out), len(planes))
	}
	for i, plane := range planes {
		if b := out[1+i].ReadOnlyData(); len(b) != len(plane) || &b[0] != &plane[0] {
			t.Errorf("plane %d is copied", i)
		}
	}
	sound, _ := audioMessages(&count, pattern(640), 1)
	one, err := codec.Marshal(sound)
	if err != nil {
		t.Fatal(err)
	}
	defer one.Free()
	if len(one) != 1 {
		t.Errorf("a chunk of audio is %d buffers", len(one))
	}
}

// What a frame takes on Go's heap on its way into a message does not grow with its size.
func TestX12_AllocationsOfAFrame(t *testing.T) {
	s := &sender{}
	for name, f := range map[string]*media.Frame{
		"picture": {Kind: media.KindVideo, Width: 1280, Height: 720, Planes: make([]media.Plane, 3)},
		"sound":   {Kind: media.KindAudio, Samples: 320, HasLevel: true},
	} {
		size, most := 640, 8.0
		if f.Kind == media.KindVideo {
			size, most = 1_382_400, 12.0
		}
		var count atomic.Int64
		body := parts(pattern(size), 3)
		codec := newCodec()
		got := testing.AllocsPerRun(100, func() {
			fillInfo(&s.info, f, 1, 2, 3)
			s.out.payload = newPayload(&count, body...)
			if f.Kind == media.KindAudio {
				s.fillAudio(f)
				s.out.field, s.out.frame = streamAudioField, &s.audio
			} else {
				fillVideo(&s.video, f, &s.plane)
				s.out.field, s.out.frame = streamVideoField, &s.video
			}
			out, err := codec.Marshal(&s.out)
			if err != nil {
				t.Fatal(err)
			}
			for _, b := range []mem.BufferSlice{out} {
				b.Free()
			}
		})
		t.Logf("%s: %.1f allocations", name, got)
		if got > most {
			t.Errorf("%s: %.1f allocations, want at most %.0f", name, got, most)
		}
	}
}
