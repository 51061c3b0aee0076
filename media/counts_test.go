package media

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/penstock-media/penstock/internal/sfutest/clips"
	"github.com/pion/rtp"
	"github.com/pion/rtp/codecs"
)

// countedTrack is a track of its own pool, and the packets of each unit of its clip.
func countedTrack(t *testing.T, c clips.Clip, payloader rtp.Payloader) (*Track, [][][]byte) {
	t.Helper()
	pool := NewDecodePool(1)
	t.Cleanup(pool.Close)
	p := clipParams(c)
	track := NewTrack(TrackConfig{Kind: p.Codec.Kind(), Pool: pool, Logger: slog.New(slog.DiscardHandler)})
	t.Cleanup(func() { track.End(EndClosed) })
	track.SetParameters(ReceiveParameters{Codecs: []CodecParameters{p}})
	return track, rawUnits(t, c, payloader)
}

// However many consumers a picture has, it is decoded once, converted once for each distinct format, and consumers of one format get
// the same bytes of memory.
func TestX12_OneDecodeForAllConsumers(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), hang)
	defer cancel()
	track, units := countedTrack(t, clips.AliceCamera(), &codecs.VP8Payloader{EnablePictureID: true})
	small := VideoFormat{Width: 320, Height: 180}
	var consumers []*Consumer
	for _, r := range []Request{{}, {Video: &small}, {}, {Video: &small}, {}} {
		c, err := track.Subscribe(r)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		consumers = append(consumers, c)
	}
	const pictures, formats = 20, 2
	for i, unit := range units[:pictures] {
		for _, raw := range unit {
			track.WriteRTP(raw, time.Now())
		}
		var at []*byte
		for _, c := range consumers {
			item, err := c.Next(ctx)
			if err != nil || item.Frame == nil {
				t.Fatalf("picture %d: %+v %v", i, item, err)
			}
			defer item.Frame.Payload.Release()
			at = append(at, &item.Frame.Payload.Parts()[0][0])
		}
		if at[0] != at[2] || at[0] != at[4] || at[1] != at[3] || at[0] == at[1] {
			t.Fatalf("picture %d: the memory of five consumers is at %v", i, at)
		}
	}
	if s := track.Stats(); s.Decoded != pictures || s.Converted != pictures*formats {
		t.Errorf("%d decoded and %d converted of %d pictures in %d formats", s.Decoded, s.Converted, pictures, formats)
	}
}

// A packet that nobody consumes costs no more than the unit that it completes: some objects a unit, none a packet.
func TestX12_AllocationsOfAPacketThatNobodyConsumes(t *testing.T) {
	for name, test := range map[string]struct {
		clip      clips.Clip
		payloader rtp.Payloader
		perUnit   float64
	}{
		"picture": {clips.AliceCamera(), &codecs.VP8Payloader{EnablePictureID: true}, 4}, // the unit, its memory, what describes that; the race detector lets pools forget
		"sound":   {clips.BobMicrophone(), &codecs.OpusPayloader{}, 3},
	} {
		t.Run(name, func(t *testing.T) {
			track, units := countedTrack(t, test.clip, test.payloader)
			next, packets, now := 0, 0, time.Now()
			write := func() {
				for _, raw := range units[next] {
					track.WriteRTP(raw, now)
					packets++
				}
				next++
				now = now.Add(test.clip.Length / time.Duration(len(units)))
			}
			for range 20 { // the first ones make what is used again
				write()
			}
			got := testing.AllocsPerRun(50, write)
			t.Logf("%.1f allocations a unit, of %d packets in %d units", got, packets, next)
			if got > test.perUnit {
				t.Errorf("%.1f allocations a unit, want at most %.0f", got, test.perUnit)
			}
		})
	}
}
