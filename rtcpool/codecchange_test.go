package rtcpool_test

import (
	"bytes"
	"testing"

	"github.com/penstock-media/penstock/internal/sfutest"
	"github.com/penstock-media/penstock/internal/sfutest/clips"
	"github.com/penstock-media/penstock/media"
)

// changes reads until n frames have come after the event that tells of a codec, and returns the frames before it and how many events of
// changed format came in all.
type changes struct {
	t        *testing.T
	consumer *media.Consumer
	told     []media.Codec
}

// until takes frames until the next change of format, then n more. judge gets each, and whether it came after the change.
func (c *changes) until(codec media.Codec, n int, judge func(f *media.Frame, after bool)) {
	c.t.Helper()
	after := false
	for n > 0 {
		item, err := c.consumer.Next(c.t.Context())
		must(c.t, err)
		if e := item.Event; e != nil && e.Kind == media.EventFormatChanged {
			if c.told = append(c.told, e.Codec); after || e.Codec != codec {
				c.t.Fatalf("told of %v, want %v once", c.told, codec)
			}
			after = true
		}
		if f := item.Frame; f != nil {
			judge(f, after)
			if f.Payload.Release(); after {
				n--
			}
		}
	}
}

// A source goes from VP8 to H.264 and back, and to a payload type that nobody negotiated, without a negotiation: each change is
// told once, at its place, and the media goes on.
func TestS19_VideoChangesItsPayloadTypeInMidStream(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	c := l.call("s")
	track := c.track("p", camera, clips.AliceCamera())
	m := c.add(track)[0]
	w := watch(track, nil)
	decoded := &changes{t: t, consumer: subscribe(t, m.Track, media.Request{Queue: patient})}
	encoded := &changes{t: t, consumer: subscribe(t, m.Track, media.Request{Encoded: true, Queue: patient})}
	mark := clips.AliceCamera().Watermark
	for _, clip := range []clips.Clip{clips.BobCamera(), clips.AliceCamera(), clips.BobCamera()} {
		codec := media.CodecH264
		if clip.Codec == clips.VP8 {
			codec = media.CodecVP8
		}
		w.more(t, 5)
		must(t, track.Switch(clip))
		decoded.until(codec, 10, func(f *media.Frame, after bool) {
			want := mark
			if after {
				want = clip.Watermark
			}
			id, ok := clips.ReadWatermark(bytes.Join(f.Payload.Parts(), nil), f.Width, f.Height, f.Planes[0].Stride)
			if !ok || id != want || f.Corrupt || f.Lost.Frames != 0 {
				t.Errorf("after the change %v: a picture of %d, want %d; corrupt %v, lost %+v", after, id, want, f.Corrupt, f.Lost)
			}
		})
		first := true
		encoded.until(codec, 10, func(f *media.Frame, after bool) {
			if after && first && !f.KeyFrame {
				t.Error("the first unit of the codec is no key frame")
			}
			first = first && !after
		})
		c.seen.until(t, "the codec is reported", func() bool { return c.seen.media[m.ID].Codec == codec })
		mark = clip.Watermark
	}
	testUnknownPayloadType(t, track, w, m.Track, decoded)
	if added, removed := c.seen.told(m.ID); added != 1 || removed != 0 || c.seen.now(m.ID).Track != m.Track {
		t.Errorf("the media was added %d times and removed %d times", added, removed)
	}
	if s := m.Track.Stats(); s.DecodeErrors != 0 || s.Lost > c.lab.overflows() {
		t.Errorf("%+v", s)
	}
}

// testUnknownPayloadType has the source send what nobody negotiated for a while: it is counted, and nothing that follows builds
// on what was in it.
func testUnknownPayloadType(t *testing.T, track *sfutest.Track, w *witness, m *media.Track, decoded *changes) {
	t.Helper()
	unusable, told := m.Stats().Unusable, len(decoded.told)
	if unusable != 0 {
		t.Errorf("%d packets were of no use before", unusable)
	}
	track.SetPackets(sfutest.Packets{PayloadType: 77})
	w.more(t, 5)
	track.SetPackets(sfutest.Packets{})
	var f *media.Frame
	for f == nil || f.Lost.Frames == 0 {
		item, err := decoded.consumer.Next(t.Context())
		must(t, err)
		if f = item.Frame; f != nil {
			f.Payload.Release()
		}
	}
	if s := m.Stats(); s.Unusable == 0 || !f.KeyFrame || len(decoded.told) != told {
		t.Errorf("%d packets of no use; key frame %v", s.Unusable, f.KeyFrame)
	}
}

func TestS19_AudioChangesItsPayloadTypeInMidStream(t *testing.T) {
	t.Parallel()
	l := newLab(t)
	c := l.call("s")
	track := c.track("p", microphone, clips.AliceMicrophone())
	m := c.add(track)[0]
	w := watch(track, nil)
	decoded := &changes{t: t, consumer: subscribe(t, m.Track, media.Request{Audio: &media.AudioFormat{Rate: 16000}, Queue: patient})}
	encoded := &changes{t: t, consumer: subscribe(t, m.Track, media.Request{Encoded: true, Queue: patient})}
	for _, clip := range []clips.Clip{clips.Telephone(), clips.AliceMicrophone()} {
		codec := media.CodecPCMU
		if clip.Codec == clips.Opus {
			codec = media.CodecOpus
		}
		w.more(t, 5)
		must(t, track.Switch(clip))
		var pcm []int16
		skip := 5 // what is heard while the one ends and the other begins
		decoded.until(codec, 60, func(f *media.Frame, after bool) {
			if f.Concealed {
				t.Error("something was made up")
			}
			if after {
				if skip--; skip < 0 {
					pcm = append(pcm, samples(f)...)
				}
			}
		})
		if hz, _ := clips.ToneAt(pcm, 16000); hz != clip.ToneHz {
			t.Errorf("%d Hz is heard, want %d", hz, clip.ToneHz)
		}
		encoded.until(codec, 5, func(*media.Frame, bool) {})
	}
	track.SetPackets(sfutest.Packets{PayloadType: 77})
	w.more(t, 5)
	track.SetPackets(sfutest.Packets{})
	units := m.Track.Stats().Units
	poll(t, "sound goes on", func() string {
		if s := m.Track.Stats(); s.Units < units+10 || s.Unusable == 0 {
			return "not yet"
		}
		return ""
	})
	if added, removed := c.seen.told(m.ID); added != 1 || removed != 0 {
		t.Errorf("the media was added %d times and removed %d times", added, removed)
	}
}

func subscribe(t *testing.T, track *media.Track, r media.Request) *media.Consumer {
	t.Helper()
	c, err := track.Subscribe(r)
	must(t, err)
	t.Cleanup(c.Close)
	return c
}

func samples(f *media.Frame) (pcm []int16) {
	for _, part := range f.Payload.Parts() {
		for i := 0; i+1 < len(part); i += 2 {
			pcm = append(pcm, int16(part[i])|int16(part[i+1])<<8)
		}
	}
	return pcm
}
