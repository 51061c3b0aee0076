package rtcpool_test

import (
	"encoding/binary"
	"testing"
	"time"

	"github.com/penstock-media/penstock/internal/sfutest"
	"github.com/penstock-media/penstock/internal/sfutest/clips"
	"github.com/penstock-media/penstock/media"
)

// TestF21_RedundancyOverAPathThatLoses sends Opus with two packets before in each over a path that loses one in five, in pairs, and repairs nothing: what is
// heard is whole. Keys on both clocks are pressed meanwhile.
func TestF21_RedundancyOverAPathThatLoses(t *testing.T) {
	t.Parallel()
	network := sfutest.NewNetwork(21)
	l := newLab(t)
	c := l.call("s", func(cfg *sfutest.Config) { cfg.Network, cfg.WithoutNACK = network, true })
	track := c.track("alice", microphone, clips.AliceMicrophone())
	track.SetPackets(sfutest.Packets{Redundancy: 2})
	m := c.add(track)[0]
	w := watch(track, nil)
	w.more(t, 3)
	consumer := subscribe(t, m.Track, media.Request{Queue: patient})
	lost := make(map[uint16]bool)
	lossy := sfutest.Link{Drop: func(datagram []byte) bool {
		if !sfutest.IsRTP(datagram) || datagram[1]&0x7f != 63 {
			return false
		}
		seq := binary.BigEndian.Uint16(datagram[2:])
		if seq%10 == 3 || seq%10 == 4 {
			lost[seq] = true
		}
		return lost[seq]
	}}
	for _, key := range []struct {
		code, volume uint8
		length       time.Duration
		clock        uint32
	}{{5, 10, 100 * time.Millisecond, 48000}, {11, 20, 120 * time.Millisecond, 8000}} {
		network.SetOut(lossy)
		w.more(t, 45)
		network.SetOut(sfutest.Link{}) // what is missing before a key comes only after it, on a busy machine too late
		w.more(t, 5)
		track.Press(key.code, key.volume, key.length, key.clock)
		w.more(t, 5)
	}
	keys := ""
	for frames := 0; frames < 100 || len(keys) < 2; {
		item, err := consumer.Next(t.Context())
		must(t, err)
		if e := item.Event; e != nil && e.Kind == media.EventKey {
			keys += string(e.Key)
		}
		if f := item.Frame; f != nil {
			frames++
			if f.Concealed || f.Lost.Frames != 0 {
				t.Errorf("frame %d at %v: concealed %v, %d lost", frames, f.Time, f.Concealed, f.Lost.Frames)
			}
			f.Payload.Release()
		}
	}
	if keys != "5#" {
		t.Errorf("keys %q", keys)
	}
	s := m.Track.Stats()
	if len(lost) < 16 || s.Lost != 0 || s.Restored < uint64(len(lost)) || s.Codec.Codec != media.CodecOpus || s.Unusable != 0 {
		t.Errorf("%d lost on the way; %+v", len(lost), s)
	}
	if told := c.seen.now(m.ID).Codec; told != media.CodecOpus {
		t.Errorf("told is %v", told)
	}
}
