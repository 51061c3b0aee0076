package media

import (
	"log/slog"
	"testing"
	"time"

	"github.com/penstock-media/penstock/internal/sfutest/clips"
	"github.com/pion/rtp"
	"github.com/pion/rtp/codecs"
)

// rawUnits packetizes a clip: one slice of raw RTP packets a unit.
func rawUnits(b testing.TB, c clips.Clip, payloader rtp.Payloader) [][][]byte {
	b.Helper()
	units, err := c.Units()
	if err != nil {
		b.Fatal(err)
	}
	p := clipParams(c)
	packetizer := rtp.NewPacketizer(1200, p.PayloadType, 7, payloader, rtp.NewFixedSequencer(1), p.ClockRate)
	var out [][][]byte
	for _, u := range units {
		var packets [][]byte
		for _, pkt := range packetizer.Packetize(u.Data, uint32(u.Duration.Seconds()*float64(p.ClockRate)+0.5)) {
			raw, err := pkt.Marshal()
			if err != nil {
				b.Fatal(err)
			}
			packets = append(packets, raw)
		}
		out = append(out, packets)
	}
	return out
}

// benchmarkTrack measures one unit from its packets to the frame in the consumer's hands.
func benchmarkTrack(b *testing.B, c clips.Clip, payloader rtp.Payloader, r Request) {
	units := rawUnits(b, c, payloader)
	pool := NewDecodePool(1)
	defer pool.Close()
	p := clipParams(c)
	b.ReportAllocs()
	var track *Track
	var consumer *Consumer
	now := time.Now()
	for i := range b.N {
		if i%len(units) == 0 { // a new track each round: the clip's numbers begin again
			if track != nil {
				consumer.Close()
				track.End(EndClosed)
			}
			track = NewTrack(TrackConfig{Kind: p.Codec.Kind(), Pool: pool, Logger: slog.New(slog.DiscardHandler)})
			track.SetParameters(ReceiveParameters{Codecs: []CodecParameters{p}})
			var err error
			if consumer, err = track.Subscribe(r); err != nil {
				b.Fatal(err)
			}
		}
		for _, raw := range units[i%len(units)] {
			track.WriteRTP(raw, now)
		}
		item, err := consumer.Next(b.Context())
		if err != nil || item.Frame == nil {
			b.Fatal(item, err)
		}
		item.Frame.Payload.Release()
		now = now.Add(time.Second / time.Duration(c.UnitsPerSecond()))
	}
	consumer.Close()
	track.End(EndClosed)
}

func BenchmarkTrackVP8ToI420(b *testing.B) {
	benchmarkTrack(b, clips.AliceCamera(), &codecs.VP8Payloader{EnablePictureID: true}, Request{})
}

func BenchmarkTrackVP8ToRGB24(b *testing.B) {
	benchmarkTrack(b, clips.AliceCamera(), &codecs.VP8Payloader{EnablePictureID: true}, Request{Video: &VideoFormat{Pixel: RGB24}})
}

func BenchmarkTrackVP8AsReceived(b *testing.B) {
	benchmarkTrack(b, clips.AliceCamera(), &codecs.VP8Payloader{EnablePictureID: true}, Request{Encoded: true})
}

func BenchmarkTrackH264ToI420(b *testing.B) {
	benchmarkTrack(b, clips.BobScreen(), &codecs.H264Payloader{}, Request{})
}

func BenchmarkTrackOpusTo16kMono(b *testing.B) {
	benchmarkTrack(b, clips.BobMicrophone(), &codecs.OpusPayloader{}, Request{Audio: &AudioFormat{Rate: 16000}})
}

func BenchmarkTrackOpusAsReceived(b *testing.B) {
	benchmarkTrack(b, clips.BobMicrophone(), &codecs.OpusPayloader{}, Request{Encoded: true})
}
