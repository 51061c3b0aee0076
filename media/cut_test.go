package media

import (
	"bytes"
	"context"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/penstock-media/penstock/internal/sfutest/clips"
	"github.com/pion/rtp"
	"github.com/pion/rtp/codecs"
)

// successor sends another clip of the same codec as the same source, as an SFU does that forwards another publisher there.
func (f *feeder) successor(c clips.Clip) *feeder {
	f.t.Helper()
	next := newFeeder(f.t, f.track, c, 7)
	payloader := rtp.Payloader(&codecs.H264Payloader{})
	if next.params.Codec == CodecOpus {
		payloader = &codecs.OpusPayloader{}
	}
	next.packetizer = rtp.NewPacketizer(1200, next.params.PayloadType, 7, payloader, rtp.NewFixedSequencer(uint16(65500+f.packets)), next.params.ClockRate)
	next.now = f.now
	return next
}

func TestTrackS10ACutLetsNoPictureOfTheOwnerBeforePass(t *testing.T) {
	noCMemory(t)
	track := newTestTrack(t, KindVideo)
	bob := newFeeder(t, track, clips.BobCamera(), 7)
	decoded := subscribe(t, track, Request{Queue: patient})
	encoded := subscribe(t, track, Request{Encoded: true, Queue: patient})
	for range 10 {
		bob.feed()
	}
	for deadline := time.Now().Add(hang); track.Stats().Decoded < 10; runtime.Gosched() {
		if time.Now().After(deadline) {
			t.Fatal("nothing is decoded")
		}
	}
	first := bob.packets
	bob.drop = func(n int) bool { return n == first }
	bob.feed()
	bob.next = 0
	for range 2 {
		bob.feed() // a key frame and what follows wait behind a hole
	}
	track.Cut()
	late := subscribe(t, track, Request{Queue: patient}) // must not be shown bob's last picture, nor his short run
	lateEncoded := subscribe(t, track, Request{Encoded: true, Queue: patient})
	screen := bob.successor(clips.BobScreen())
	screen.next = 1
	for range 3 {
		screen.feed() // not a key frame: nothing can be made of it
	}
	screen.next = 0
	for range 3 {
		screen.feed()
	}
	for name, c := range map[string]*Consumer{"decoded": decoded, "late": late} {
		for i := range 3 {
			got := nextFrame(t, c)
			if w := watermark(t, got); w != clips.BobScreen().Watermark || (got.KeyFrame != (i == 0)) {
				t.Fatalf("%s: picture %d is of %d, key %v", name, i, w, got.KeyFrame)
			}
			if i == 0 && name == "decoded" && got.Lost.Frames == 0 {
				t.Error("the gap is not told")
			}
		}
	}
	for _, c := range []*Consumer{encoded, lateEncoded} {
		for i := range 3 {
			if got := nextFrame(t, c); !bytes.Equal(got.Payload.Parts()[0], screen.units[i].Data) {
				t.Fatalf("encoded unit %d is not the new owner's", i)
			}
		}
	}
}

func TestTrackS10ACutLetsNoSoundOfTheOwnerBeforePass(t *testing.T) {
	noCMemory(t)
	track := newTestTrack(t, KindAudio)
	c := subscribe(t, track, Request{Audio: &AudioFormat{Rate: 16000, Chunk: 100 * time.Millisecond}, Queue: patient})
	alice := newFeeder(t, track, clips.AliceMicrophone(), 7)
	for range 53 {
		alice.feed()
	}
	release, started := make(chan struct{}), make(chan struct{})
	busy := task{kind: KindAudio, step: func() bool {
		close(started)
		<-release
		return false
	}}
	track.cfg.Pool.schedule(&busy) // so that some of alice's packets wait
	<-started
	for range 5 {
		alice.feed()
	}
	track.Cut()
	close(release)
	bob := alice.successor(clips.BobMicrophone())
	fresh := newTestTrack(t, KindAudio) // which never heard alice
	alone := subscribe(t, fresh, Request{Audio: &AudioFormat{Rate: 16000, Chunk: 100 * time.Millisecond}, Queue: patient})
	same := newFeeder(t, fresh, clips.BobMicrophone(), 7)
	for range 100 {
		bob.feed()
		same.feed()
	}
	var pcm []int16
	for len(pcm) < 16000 {
		f, want := nextFrame(t, c), nextFrame(t, alone)
		if f.Concealed || !slices.Equal(pcmOf(f), pcmOf(want)) {
			t.Fatal("what is heard after the cut is not what a decoder that starts there makes of it")
		}
		pcm = append(pcm, pcmOf(f)...)
	}
	if hz, _ := clips.ToneAt(pcm[:8000], 16000); hz != clips.BobMicrophone().ToneHz {
		t.Errorf("%d Hz is heard after the cut, want %d", hz, clips.BobMicrophone().ToneHz)
	}
}

func TestTrackCutOfNothing(t *testing.T) {
	for _, kind := range []Kind{KindAudio, KindVideo} {
		track := newTestTrack(t, kind)
		track.Cut()
		track.End(EndClosed)
		track.Cut()
		if s := track.Stats(); s.Packets != 0 {
			t.Errorf("%+v", s)
		}
	}
}

// nextFrame passes over events.
func nextFrame(t *testing.T, c *Consumer) *Frame {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), hang)
	defer cancel()
	for {
		item, err := c.Next(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if item.Frame != nil {
			t.Cleanup(item.Frame.Payload.Release)
			return item.Frame
		}
	}
}

// Who takes pictures as received cannot use one of another codec that builds on what that codec never had.
func TestTrackS19AnotherCodecBeginsWithAKeyFrameForEncodedConsumersToo(t *testing.T) {
	track := newTestTrack(t, KindVideo)
	bob := newFeeder(t, track, clips.BobCamera(), 7)
	c := subscribe(t, track, Request{Encoded: true, Queue: patient})
	bob.feed()
	bob.feed()
	alice := newFeeder(t, track, clips.AliceCamera(), 7)
	alice.packetizer = rtp.NewPacketizer(1200, vp8Params.PayloadType, 7, &codecs.VP8Payloader{}, rtp.NewFixedSequencer(uint16(65500+bob.packets)), 90000)
	alice.next = 1
	alice.feed()
	alice.next = 0
	alice.feed()
	alice.feed()
	for i := range 2 {
		if got := frame(t, c); !bytes.Equal(got.Payload.Parts()[0], bob.units[i].Data) {
			t.Fatalf("unit %d differs", i)
		}
	}
	if e := event(t, c); e.Kind != EventFormatChanged || e.Codec != CodecVP8 {
		t.Fatalf("%+v", e)
	}
	for i := range 2 {
		got := frame(t, c)
		if !bytes.Equal(got.Payload.Parts()[0], alice.units[i].Data) || got.Lost.Frames != 0 {
			t.Fatalf("unit %d of the other codec differs, or %+v is said to be lost", i, got.Lost)
		}
	}
}

func TestReorderDoesNotWaitForAJump(t *testing.T) {
	var got []int64
	var lost int
	b := newReorderBuffer(time.Hour, 512, func(p *packet) { got, lost = append(got, p.seq), lost+p.lost })
	now := time.Now()
	for _, seq := range []int64{1000, 1001, 1003, 1004 + maxHole, 1005 + maxHole, 1200 + 2*maxHole, 1201 + 2*maxHole} {
		b.push(&packet{seq: seq, received: now})
	}
	if want := 1 + maxHole + 322; len(got) != 7 || lost != want || b.lost != uint64(want) {
		t.Errorf("delivered %v, lost %d, told %d, want %d", got, b.lost, lost, want)
	}
}

func TestClockReckonsCaptureTimes(t *testing.T) {
	var c mediaClock
	now := time.Unix(1_700_000_000, 0)
	c.at(90000, 90000, now)
	if at := c.captured(90000); !at.IsZero() {
		t.Errorf("nothing tells it: %v", at)
	}
	c.report(uint64(1_700_000_000+ntpEpoch)<<32, 90000)
	if at := c.captured(2 * 90000); !at.Equal(now.Add(time.Second)) {
		t.Errorf("by the sender report: %v", at)
	}
	told := now.Add(-time.Minute) // by the clock of the one who captured it
	c.capture(told, 90000)
	for ticks, want := range map[uint32]time.Time{
		90000: told, 90000 + 45000: told.Add(500 * time.Millisecond), 45000: told.Add(-500 * time.Millisecond),
		90000 * 6: told.Add(5 * time.Second), 90000 * 7: now.Add(6 * time.Second), // too far: the report counts again
	} {
		if at := c.captured(ticks); !at.Equal(want) {
			t.Errorf("at %d: %v, want %v", ticks, at, want)
		}
	}
	c.sourceChanged()
	if at := c.captured(90000); !at.IsZero() {
		t.Errorf("of another source: %v", at)
	}
}
