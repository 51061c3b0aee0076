package media

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/pion/rtp/codecs"

	"github.com/penstock-media/penstock/internal/sfutest/clips"
)

// TestO2_TotalsKeepWhatHasEnded sums up a track of each kind and their consumers while they run, after the consumers have left, and after the tracks have ended: nothing that was counted
// is lost, and what is held now is none at last.
func TestO2_TotalsKeepWhatHasEnded(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), hang)
	defer cancel()
	pool := newPool(t, 1)
	const many, unread = 20, 3
	packets := map[Kind]uint64{}
	var tracks []*Track
	var consumers []*Consumer
	for _, c := range []struct {
		clip    clips.Clip
		units   [][][]byte
		request Request
	}{
		{clips.AliceCamera(), rawUnits(t, clips.AliceCamera(), &codecs.VP8Payloader{EnablePictureID: true}), Request{Video: &VideoFormat{Pixel: NV12}}},
		{clips.BobMicrophone(), rawUnits(t, clips.BobMicrophone(), &codecs.OpusPayloader{}), Request{Audio: &AudioFormat{Sample: F32LE, Rate: 16000, Channels: 1, Chunk: 20 * time.Millisecond}}},
	} {
		p := clipParams(c.clip)
		track := newPoolTrack(t, pool, p.Codec.Kind())
		track.SetParameters(ReceiveParameters{Codecs: []CodecParameters{p}})
		c.request.Queue = Queue{MaxBytes: 64 << 20, MaxDuration: time.Minute}
		consumer := subscribe(t, track, c.request)
		for i, unit := range c.units[:many+unread] {
			for _, raw := range unit {
				track.WriteRTP(raw, time.Now())
				packets[p.Codec.Kind()]++
			}
			if i < many {
				frame(t, consumer)
			}
		}
		for queued := 0; queued < unread; queued, _, _, _ = consumer.account() {
			if ctx.Err() != nil {
				t.Fatal("hangs")
			}
			time.Sleep(time.Millisecond) // the worker makes them
		}
		tracks, consumers = append(tracks, track), append(consumers, consumer)
	}
	running := pool.Totals()
	c := running.Consumers
	if c.Video[NV12] != 1 || c.Audio[F32LE] != 1 || c.Encoded != 0 || c.QueuedFrames != 2*unread || c.LongestBytes < 1000 || c.LongestBytes >= c.QueuedBytes {
		t.Errorf("while they run: %+v", c)
	}
	if running.Audio.Tracks != 1 || running.Video.Tracks != 1 {
		t.Errorf("%d and %d tracks", running.Audio.Tracks, running.Video.Tracks)
	}
	for _, codec := range []Codec{CodecVP8, CodecOpus} {
		if d := running.Decoded[codec]; d.Units < many || d.Time <= 0 {
			t.Errorf("%v: %+v", codec, d)
		}
	}
	for _, consumer := range consumers {
		consumer.Close()
	}
	for _, track := range tracks {
		track.End(EndClosed)
		track.End(EndClosed) // counts once
	}
	ended := pool.Totals()
	for kind, got := range map[Kind][2]TrackTotals{KindAudio: {running.Audio, ended.Audio}, KindVideo: {running.Video, ended.Video}} {
		was, is := got[0], got[1]
		if is.Tracks != 0 || is.Packets != packets[kind] || is.Packets != was.Packets || is.Bytes != was.Bytes || is.Units != was.Units || is.Decoded < many || is.Frames != was.Frames || is.Frames <= many {
			t.Errorf("%v: %+v became %+v", kind, was, is)
		}
	}
	if c := ended.Consumers; c.Video[NV12]+c.Audio[F32LE]+c.Encoded+c.QueuedFrames != 0 || c.QueuedBytes != 0 {
		t.Errorf("at last %+v is held", c)
	}
}

// TestO2_TotalsTellWhyFramesWereDropped: each reason is counted apart, and none is lost with its consumer.
func TestO2_TotalsTellWhyFramesWereDropped(t *testing.T) {
	pool := newPool(t, 1, WithQueueBytes(10_000))
	attach := func(r Request) *Consumer { return subscribe(t, newPoolTrack(t, pool, KindAudio), r) } // a worker looks at what others have left
	push := func(c *Consumer, n int) {
		for i := range n {
			c.push(&Frame{Time: time.Duration(i) * time.Millisecond, span: time.Millisecond, Received: time.Now(), Payload: plain(1000)})
		}
	}
	full := attach(Request{Queue: Queue{MaxBytes: 3000, MaxDuration: time.Minute}})
	push(full, 10) // 7 too many
	full.Close()
	all := attach(Request{Queue: patient})
	push(all, 15) // 5 too many for all queues
	all.Close()
	strict := attach(Request{Queue: Queue{MaxBytes: 3000, MaxDuration: time.Minute, Overflow: Disconnect}})
	push(strict, 10) // ended by the fourth, with all four
	strict.Close()
	c := pool.Totals().Consumers
	if c.DroppedQueueFull != 7 || c.DroppedAllQueuesFull != 5 || c.DroppedStalled != 4 {
		t.Errorf("%+v, want 7, 5 and 4", c)
	}
	if got := pool.Totals().Audio.Frames; got != 10+15+4 {
		t.Errorf("%d frames were made", got)
	}
}

// BenchmarkTotals looks at 50,000 tracks without packets: what a collection takes of 10,000 sessions.
func BenchmarkTotals(b *testing.B) {
	pool := NewDecodePool(1)
	defer pool.Close()
	for range 50_000 {
		track := NewTrack(TrackConfig{Kind: KindAudio, Pool: pool, Logger: slog.New(slog.DiscardHandler)})
		defer track.End(EndClosed)
	}
	b.ReportAllocs()
	for b.Loop() {
		if pool.Totals().Audio.Tracks != 50_000 {
			b.Fatal("not all")
		}
	}
}

// plain returns a payload of n bytes.
func plain(n int) *Payload {
	p, _ := counted(n)
	return p
}
