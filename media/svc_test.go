package media

import (
	"bytes"
	"errors"
	"io"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4/pkg/media/rtpdump"
)

// captured reads the packets of an rtpdump file.
func captured(t testing.TB, name string) []*rtp.Packet {
	t.Helper()
	r, _, err := rtpdump.NewReader(bytes.NewReader(fixture(t, name)))
	if err != nil {
		t.Fatal(err)
	}
	var out []*rtp.Packet
	for {
		raw, err := r.Next()
		if errors.Is(err, io.EOF) {
			return out
		}
		p := &rtp.Packet{}
		if err == nil {
			err = p.Unmarshal(raw.Payload)
		}
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, p)
	}
}

// layeredClip is a capture of spatial layers. Its first picture depends on what is not in it.
type layeredClip struct {
	name   string
	params CodecParameters
	// spatial returns the layer of a packet, which may be that of the one before.
	spatial func(payload []byte, before int) int
	keys    []int       // pictures
	all     int         // the highest layer
	some    map[int]int // from which picture on there are fewer or more
}

func layeredClips() []layeredClip {
	return []layeredClip{
		{"vp9-l3t3", CodecParameters{Codec: CodecVP9, PayloadType: 98, ClockRate: 90000}, func(b []byte, _ int) int {
			d, _, _ := parseVP9Descriptor(b)
			return int(d.spatial)
		}, []int{1, 8}, 2, map[int]int{4: 0, 8: 2, 12: 1}},
		{"av1-l2t2", CodecParameters{Codec: CodecAV1, PayloadType: 45, ClockRate: 90000}, av1SpatialLayer,
			[]int{1, 10}, 1, map[int]int{5: 0, 10: 1, 15: 0}},
	}
}

// chromiumDependency is the id that Chromium gave the extension in the captures.
const chromiumDependency = 13

// av1SpatialLayer reads the last OBU that begins in a packet.
func av1SpatialLayer(b []byte, before int) int {
	if b[0]&0x80 != 0 {
		return before
	}
	count := int(b[0] >> 4 & 3)
	r := byteReader{data: b[1:]}
	layer := 0
	for i := 1; len(r.rest()) > 0; i++ {
		size := len(r.rest())
		if count == 0 || i < count {
			size = r.leb128()
		}
		if h, _ := parseOBU(r.take(size)); h.spatial > 0 {
			layer = int(h.spatial)
		}
	}
	return layer
}

// forward does as an SFU does that leaves layers out: the sequence numbers have no holes, and a picture's last packet has the
// marker. highest tells the layer that each picture may have.
func (c layeredClip) forward(t testing.TB, highest func(picture int) int) (out []*rtp.Packet) {
	picture, layer := -1, 0
	last := uint32(0)
	for _, p := range captured(t, c.name+".rtpdump") {
		if picture < 0 || p.Timestamp != last {
			picture, last = picture+1, p.Timestamp
		}
		layer = c.spatial(p.Payload, layer)
		if picture < c.keys[0] || layer > highest(picture) {
			continue
		}
		if n := len(out); n > 0 && out[n-1].Timestamp != p.Timestamp {
			out[n-1].Marker = true
		}
		p.Marker = false
		p.SequenceNumber = uint16(1000 + len(out))
		out = append(out, p)
	}
	out[len(out)-1].Marker = true
	return out
}

// play writes packets to a new track and returns what a consumer of decoded pictures gets.
func (c layeredClip) play(t *testing.T, packets []*rtp.Packet) (frames []*Frame, events []Event, stats TrackStats) {
	t.Helper()
	track := newTestTrack(t, KindVideo)
	track.SetParameters(ReceiveParameters{
		Codecs: []CodecParameters{c.params}, Extensions: HeaderExtensions{DependencyDescriptor: chromiumDependency},
	})
	consumer := subscribe(t, track, Request{Queue: Queue{MaxBytes: 1 << 30, MaxDuration: time.Hour}})
	timestamps := 0
	for i, p := range packets {
		raw, err := p.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		track.WriteRTP(raw, time.Now())
		if i+1 < len(packets) && packets[i+1].Timestamp == p.Timestamp {
			continue
		}
		timestamps++
		for len(frames) < timestamps { // one after the other: the queue of the decoder is not shown here
			item, err := next(t, consumer)
			if err != nil {
				t.Fatal(err)
			}
			if item.Event != nil {
				events = append(events, *item.Event)
				continue
			}
			t.Cleanup(item.Frame.Payload.Release)
			frames = append(frames, item.Frame)
		}
	}
	return frames, events, track.Stats()
}

func frameSum(f *Frame) string {
	return sumOf(f.Width, f.Height, slices.Concat(f.Payload.Parts()...))
}

// check compares with what another decoder made, and one picture a timestamp.
func (c layeredClip) check(t *testing.T, frames []*Frame, packets []*rtp.Packet, expected string) {
	t.Helper()
	want := strings.Fields(strings.ReplaceAll(string(fixture(t, expected)), " ", "/"))
	if len(frames) != len(want) {
		t.Fatalf("%d pictures, want %d", len(frames), len(want))
	}
	times := map[uint32]int{}
	for i, f := range frames {
		times[f.RTPTimestamp]++
		if got := frameSum(f); got != want[i] {
			t.Errorf("picture %d is %s, want %s", i, got, want[i])
		}
		if f.Lost != (Loss{}) || f.Dropped != (Loss{}) || f.Corrupt {
			t.Errorf("picture %d: lost %+v, dropped %+v, corrupt %v", i, f.Lost, f.Dropped, f.Corrupt)
		}
	}
	sent := map[uint32]int{}
	for _, p := range packets {
		sent[p.Timestamp] = 1
	}
	if !maps.Equal(times, sent) {
		t.Errorf("pictures of %v, want one of each of %v", times, sent)
	}
}

func TestF19_LayersOfAPictureAreAssembledAndTheHighestIsDelivered(t *testing.T) {
	for _, c := range layeredClips() {
		t.Run(c.name, func(t *testing.T) {
			packets := c.forward(t, func(int) int { return c.all })
			frames, events, stats := c.play(t, packets)
			c.check(t, frames, packets, c.name+".md5")
			if len(events) != 0 || stats.KeyFrameAsks > 1 || stats.DecodeErrors != 0 || stats.UnitsDropped != 0 || int(stats.KeyFrames) != len(c.keys) {
				t.Errorf("%+v, events %+v; want one key frame asked for, to begin with", stats, events)
			}
		})
	}
}

func TestF19_LayersDropAndReturnWithoutPLI(t *testing.T) {
	for _, c := range layeredClips() {
		t.Run(c.name, func(t *testing.T) {
			packets := c.forward(t, func(picture int) int {
				highest, from := c.all, 0
				for at, layer := range c.some {
					if at <= picture && at >= from {
						highest, from = layer, at
					}
				}
				return highest
			})
			frames, events, stats := c.play(t, packets)
			c.check(t, frames, packets, c.name+"-some.md5")
			for _, e := range events {
				if e.Kind != EventFormatChanged {
					t.Errorf("%+v", e)
				}
			}
			if len(events) != len(c.some) || stats.KeyFrameAsks > 1 || stats.DecodeErrors != 0 || stats.UnitsDropped != 0 {
				t.Errorf("%+v, events %+v; want %d changes of size and no key frame asked for", stats, events, len(c.some))
			}
		})
	}
}
