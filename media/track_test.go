package media

import (
	"bytes"
	"encoding/binary"
	"errors"
	"log/slog"
	"runtime"
	"slices"
	"testing"
	"time"

	"github.com/penstock-media/penstock/internal/sfutest/clips"
	"github.com/penstock-media/penstock/media/internal/cmem"
	"github.com/pion/rtp"
	"github.com/pion/rtp/codecs"
)

const rotationExtension = 3

// feeder sends a clip's units into a track as RTP, on a clock of its own.
type feeder struct {
	t          *testing.T
	track      *Track
	layer      *Layer // gets the packets in place of the track
	params     CodecParameters
	units      []clips.Unit
	packetizer rtp.Packetizer
	next       int
	now        time.Time
	rotation   byte
	// drop tells which packets the network loses, counted from 0.
	drop    func(n int) bool
	packets int
}

func clipParams(c clips.Clip) CodecParameters {
	switch c.Codec {
	case clips.VP8:
		return vp8Params
	case clips.H264:
		return h264Params
	default:
		return opusParams
	}
}

func newFeeder(t *testing.T, track *Track, c clips.Clip, ssrc uint32) *feeder {
	t.Helper()
	units, err := c.Units()
	if err != nil {
		t.Fatal(err)
	}
	p := clipParams(c)
	var payloader rtp.Payloader
	switch p.Codec {
	case CodecVP8:
		payloader = &codecs.VP8Payloader{EnablePictureID: true}
	case CodecH264:
		payloader = &codecs.H264Payloader{}
	default:
		payloader = &codecs.OpusPayloader{}
	}
	f := &feeder{
		t: t, track: track, params: p, units: units, now: time.Now(),
		packetizer: rtp.NewPacketizer(1200, p.PayloadType, ssrc, payloader, rtp.NewFixedSequencer(65500), p.ClockRate),
	}
	track.SetParameters(ReceiveParameters{
		Codecs:     []CodecParameters{vp8Params, h264Params, opusParams},
		Extensions: HeaderExtensions{VideoOrientation: rotationExtension},
	})
	return f
}

// feed sends the next unit of the clip, which comes round.
func (f *feeder) feed() clips.Unit {
	f.t.Helper()
	u := f.units[f.next%len(f.units)]
	f.next++
	ticks := f.ticks(u)
	for _, p := range f.packetizer.Packetize(u.Data, ticks) {
		if f.rotation != 0 && p.Marker {
			if err := p.SetExtension(rotationExtension, []byte{f.rotation}); err != nil {
				f.t.Fatal(err)
			}
		}
		raw, err := p.Marshal()
		if err != nil {
			f.t.Fatal(err)
		}
		switch {
		case f.drop != nil && f.drop(f.packets):
		case f.layer != nil:
			f.layer.WriteRTP(raw, f.now)
		default:
			f.track.WriteRTP(raw, f.now)
		}
		f.packets++
	}
	f.now = f.now.Add(u.Duration)
	return u
}

func (f *feeder) ticks(u clips.Unit) uint32 {
	return uint32(u.Duration.Seconds()*float64(f.params.ClockRate) + 0.5)
}

// patient is a queue that keeps everything.
var patient = Queue{MaxBytes: 1 << 30, MaxDuration: time.Hour}

// frame returns the next frame; events on the way are an error.
func frame(t *testing.T, c *Consumer) *Frame {
	t.Helper()
	item, err := next(t, c)
	if err != nil {
		t.Fatal(err)
	}
	if item.Frame == nil {
		t.Fatalf("got event %+v, want a frame", *item.Event)
	}
	t.Cleanup(item.Frame.Payload.Release)
	return item.Frame
}

func event(t *testing.T, c *Consumer) *Event {
	t.Helper()
	item, err := next(t, c)
	if err != nil || item.Event == nil {
		t.Fatalf("got %+v, %v; want an event", item, err)
	}
	return item.Event
}

func watermark(t *testing.T, f *Frame) int {
	t.Helper()
	data := bytes.Join(f.Payload.Parts(), nil)
	id, ok := clips.ReadWatermark(data, f.Width, f.Height, f.Planes[0].Stride)
	if !ok {
		t.Fatalf("no watermark in the picture at %v", f.Time)
	}
	return id
}

// noCMemory checks at the end of the test that all C memory was given back.
func noCMemory(t *testing.T) {
	t.Helper()
	before := cmem.Live()
	t.Cleanup(func() {
		if after := cmem.Live(); !slices.Equal(after, before) {
			t.Errorf("C memory is left: %+v, was %+v", after, before)
		}
	})
}

func TestTrackF1DecodesEveryPictureInOrder(t *testing.T) {
	for _, clip := range []clips.Clip{clips.AliceCamera(), clips.BobCamera(), clips.BobScreen()} {
		t.Run(clip.Name, func(t *testing.T) {
			noCMemory(t)
			track := newTestTrack(t, KindVideo)
			c := subscribe(t, track, Request{})
			f := newFeeder(t, track, clip, 7)
			for i := range len(f.units) + 5 { // over the clip's seam, and the sequence number's wrap
				f.feed()
				got := frame(t, c)
				want := time.Duration(i) * time.Second / time.Duration(clip.FPS)
				if d := got.Time - want; d < -time.Millisecond || d > time.Millisecond {
					t.Fatalf("picture %d lies at %v, want %v", i, got.Time, want)
				}
				if got.Sequence != uint64(i+1) || got.Lost.Frames != 0 || got.Dropped.Frames != 0 || got.Corrupt {
					t.Fatalf("picture %d: %+v", i, got)
				}
				if got.Width != clip.Width || got.Height != clip.Height || watermark(t, got) != clip.Watermark {
					t.Fatalf("picture %d is %d×%d of %d", i, got.Width, got.Height, watermark(t, got))
				}
			}
			if s := track.Stats(); s.Decoded != uint64(f.next) || s.DecodeErrors != 0 || s.UnitsDropped != 0 {
				t.Fatalf("stats %+v", s)
			}
		})
	}
}

func TestTrackF4DecodesNothingUnlessSomebodyConsumes(t *testing.T) {
	noCMemory(t)
	asked := 0
	pool := NewDecodePool(1)
	track := NewTrack(TrackConfig{Kind: KindVideo, Pool: pool, Logger: slog.New(slog.DiscardHandler), RequestKeyFrame: func() { asked++ }})
	defer pool.Close()
	defer track.End(EndClosed)
	f := newFeeder(t, track, clips.BobCamera(), 7)
	f.now = f.now.Add(-time.Second)
	for range 30 {
		f.feed()
	}
	if s := track.Stats(); s.Decoded != 0 || s.Units != 30 {
		t.Fatalf("stats %+v", s)
	}
	newest := f.track.lastTime
	// F10: there is a short run, so the newest picture comes at once, and nobody is asked for a key frame.
	c := subscribe(t, track, Request{})
	if got := frame(t, c); got.Time != newest || got.Sequence != 1 {
		t.Fatalf("the first picture lies at %v with sequence %d, want %v and 1", got.Time, got.Sequence, newest)
	}
	d := subscribe(t, track, Request{Video: &VideoFormat{Pixel: RGB24}})
	if got := frame(t, d); got.Time != newest {
		t.Fatalf("the further consumer's first picture lies at %v, want %v", got.Time, newest)
	}
	track.End(EndClosed)
	if asked != 0 {
		t.Fatalf("asked for %d key frames", asked)
	}
}

func TestTrackRunIsBounded(t *testing.T) {
	track := newTestTrack(t, KindVideo)
	f := newFeeder(t, track, clips.AliceCamera(), 7)
	f.units = append(f.units[:1:1], f.units[1:2]...) // one key frame, then without end
	f.feed()
	for range 200 {
		f.next = 1
		f.feed()
		track.mu.Lock()
		if d := track.video.run; len(d) > 0 && d[len(d)-1].time-d[0].time > maxRunDuration || track.video.runBytes > maxRunBytes {
			t.Fatalf("the run has %d bytes", track.video.runBytes)
		}
		track.mu.Unlock()
	}
	if len(track.video.run) != 0 {
		t.Fatal("a run that is too long must be dropped whole")
	}
}

func TestTrackS16DeliversNothingThatDependsOnWhatWasLost(t *testing.T) {
	noCMemory(t)
	asks := make(chan struct{}, 10)
	pool := NewDecodePool(1)
	track := NewTrack(TrackConfig{Kind: KindVideo, Pool: pool, Logger: slog.New(slog.DiscardHandler), RequestKeyFrame: func() { asks <- struct{}{} }})
	defer pool.Close()
	defer track.End(EndClosed)
	c := subscribe(t, track, Request{})
	<-asks // the first consumer's
	f := newFeeder(t, track, clips.AliceCamera(), 7)
	f.now = f.now.Add(-time.Minute) // no timer runs: each packet brings its own time
	for range 10 {
		f.feed()
		frame(t, c)
	}
	first := f.packets
	f.drop = func(n int) bool { return n == first }
	for range 9 {
		f.feed() // the first of these is broken, the others depend on it
	}
	f.drop = nil
	select {
	case <-asks:
	case <-time.After(hang):
		t.Fatal("no key frame was asked for")
	}
	f.next = 0 // which it answers with
	f.feed()
	got := frame(t, c)
	if !got.KeyFrame || got.Sequence != 11 || got.Lost.Frames != 9 {
		t.Fatalf("the next picture: key %v, sequence %d, lost %v; want a key frame, 11 and 9", got.KeyFrame, got.Sequence, got.Lost)
	}
	if d := got.Lost.Duration - 300*time.Millisecond; d < -2*time.Millisecond || d > 2*time.Millisecond {
		t.Fatalf("%v lost, want 300 ms", got.Lost.Duration)
	}
}

func TestTrackReordersWithoutLoss(t *testing.T) {
	track := newTestTrack(t, KindVideo)
	c := subscribe(t, track, Request{Encoded: true, Queue: patient})
	var held [][]byte
	f := newFeeder(t, track, clips.BobCamera(), 7)
	p := rtp.NewPacketizer(300, f.params.PayloadType, 9, &codecs.H264Payloader{}, rtp.NewFixedSequencer(1), 90000)
	for i := range 20 {
		for _, pkt := range p.Packetize(f.units[i].Data, 3000) {
			raw, _ := pkt.Marshal()
			held = append(held, raw)
		}
	}
	for i := 1; i+3 < len(held); i += 3 {
		held[i], held[i+2] = held[i+2], held[i]
	}
	for _, raw := range held {
		track.WriteRTP(raw, f.now)
	}
	for i := range 20 {
		if got := frame(t, c); !bytes.Equal(got.Payload.Parts()[0], f.units[i].Data) {
			t.Fatalf("unit %d differs", i)
		}
	}
}

func TestTrackEncodedStartsAtAKeyFrame(t *testing.T) {
	track := newTestTrack(t, KindVideo)
	f := newFeeder(t, track, clips.AliceCamera(), 7)
	f.now = f.now.Add(-time.Second)
	var fed []clips.Unit
	for range 20 {
		fed = append(fed, f.feed())
	}
	c := subscribe(t, track, Request{Encoded: true, AcceptCodecs: []Codec{CodecVP8}})
	for i, want := range fed {
		got := frame(t, c)
		if !bytes.Equal(got.Payload.Parts()[0], want.Data) || got.KeyFrame != want.KeyFrame || got.Dropped.Frames != 0 {
			t.Fatalf("unit %d differs", i)
		}
	}
	if _, err := track.Subscribe(Request{Encoded: true, AcceptCodecs: []Codec{CodecH264}}); !errors.Is(err, ErrCodecNotAccepted) {
		t.Fatalf("got %v, want ErrCodecNotAccepted", err)
	}
	if s := track.Stats(); s.Decoded != 0 {
		t.Fatalf("%d decodes for an encoded consumer", s.Decoded)
	}
}

func TestTrackEncodedOverflowGoesOnAtAKeyFrame(t *testing.T) {
	track := newTestTrack(t, KindVideo)
	f := newFeeder(t, track, clips.BobCamera(), 7)
	f.feed()
	c := subscribe(t, track, Request{Encoded: true, Queue: Queue{MaxDuration: 200 * time.Millisecond}})
	for range 20 {
		f.feed()
	}
	f.next = 0
	f.feed()
	f.feed()
	got := frame(t, c)
	if !got.KeyFrame || got.Dropped.Frames == 0 {
		t.Fatalf("key frame %v after %v dropped", got.KeyFrame, got.Dropped)
	}
	if second := frame(t, c); second.KeyFrame || !bytes.Equal(second.Payload.Parts()[0], f.units[1].Data) {
		t.Fatal("what follows the key frame is missing")
	}
}

func TestTrackS19PayloadTypeChangesInMidStream(t *testing.T) {
	noCMemory(t)
	track := newTestTrack(t, KindVideo)
	c := subscribe(t, track, Request{})
	a := newFeeder(t, track, clips.BobCamera(), 7)
	for range 3 {
		a.feed()
		frame(t, c)
	}
	b := newFeeder(t, track, clips.AliceCamera(), 7)
	b.packetizer = rtp.NewPacketizer(1200, vp8Params.PayloadType, 7, &codecs.VP8Payloader{}, rtp.NewFixedSequencer(uint16(65500+a.packets)), 90000)
	b.now = a.now
	track.WriteRTP([]byte{0x80, 77, 0, 0, 0, 0, 0, 0, 0, 0, 0, 8, 1, 2, 3}, a.now) // a payload type that nobody negotiated
	b.feed()
	if e := event(t, c); e.Kind != EventFormatChanged || e.Codec != CodecVP8 || e.Width != 1280 || e.Height != 720 {
		t.Fatalf("got %+v", e)
	}
	if got := frame(t, c); watermark(t, got) != clips.AliceCamera().Watermark {
		t.Fatal("not the other codec's picture")
	}
	if s := track.Stats(); s.Unusable != 1 || s.DecodeErrors != 0 {
		t.Fatalf("stats %+v", s)
	}
}

func TestTrackF13RefusesWhatDoesNotFit(t *testing.T) {
	noCMemory(t)
	track := newTestTrack(t, KindVideo)
	limit := 640*360*3/2 + 10
	first := subscribe(t, track, Request{MaxPayloadBytes: 1000})
	c := subscribe(t, track, Request{MaxPayloadBytes: limit})
	a := newFeeder(t, track, clips.BobCamera(), 7)
	a.feed()
	var size *SizeError
	if _, err := next(t, first); !errors.As(err, &size) || size.PayloadBytes != 640*360*3/2 || size.Limit != 1000 {
		t.Fatalf("the first picture does not fit: got %v", err)
	}
	frame(t, c)
	if _, err := track.Subscribe(Request{MaxPayloadBytes: 1000}); !errors.As(err, &size) {
		t.Fatalf("a known size does not fit: got %v", err)
	}
	b := newFeeder(t, track, clips.BobScreen(), 8) // the picture grows
	for range 3 {
		b.feed()
	}
	if e := event(t, c); e.Kind != EventFormatChanged {
		t.Fatalf("got %+v, want the change of size first", e)
	}
	if e := event(t, c); e.Kind != EventTooLarge || e.PayloadBytes != 1280*720*3/2 {
		t.Fatalf("got %+v", e)
	}
	d := newFeeder(t, track, clips.BobCamera(), 9) // and fits again
	d.feed()
	if e := event(t, c); e.Kind != EventFormatChanged {
		t.Fatalf("got %+v: a picture that is too large is told once", e)
	}
	frame(t, c)
}

func TestTrackF2RotationIsAppliedOrReported(t *testing.T) {
	track := newTestTrack(t, KindVideo)
	applied := subscribe(t, track, Request{})
	reported := subscribe(t, track, Request{Video: &VideoFormat{ReportRotation: true}})
	f := newFeeder(t, track, clips.BobCamera(), 7)
	f.rotation = 1
	f.feed()
	f.rotation = 0 // senders repeat it only when they must
	f.feed()
	for range 2 {
		if got := frame(t, applied); got.Width != 360 || got.Height != 640 || got.Rotation != 0 {
			t.Fatalf("applied: %d×%d, %d degrees", got.Width, got.Height, got.Rotation)
		}
		if got := frame(t, reported); got.Width != 640 || got.Height != 360 || got.Rotation != 90 {
			t.Fatalf("reported: %d×%d, %d degrees", got.Width, got.Height, got.Rotation)
		}
	}
}

func TestTrackF16PayloadsThatNobodyReleasesAreCollected(t *testing.T) {
	before := cmem.Live()
	track := newTestTrack(t, KindVideo)
	c := subscribe(t, track, Request{Queue: patient})
	f := newFeeder(t, track, clips.BobCamera(), 7)
	for range 5 {
		f.feed()
		if item, err := next(t, c); err != nil || item.Frame == nil {
			t.Fatal(err)
		}
	}
	track.End(EndClosed)
	deadline := time.Now().Add(hang)
	for !slices.Equal(cmem.Live(), before) {
		if time.Now().After(deadline) {
			t.Fatalf("C memory is left: %+v, was %+v", cmem.Live(), before)
		}
		runtime.GC()
		runtime.Gosched()
	}
}

func pcmOf(f *Frame) []int16 {
	data := bytes.Join(f.Payload.Parts(), nil)
	out := make([]int16, len(data)/2)
	for i := range out {
		out[i] = int16(binary.LittleEndian.Uint16(data[2*i:]))
	}
	return out
}

func TestTrackF1DecodesSpeechToEveryRate(t *testing.T) {
	noCMemory(t)
	clip := clips.AliceMicrophone()
	for _, format := range []AudioFormat{
		{Rate: 8000}, {Rate: 16000, Chunk: 60 * time.Millisecond}, {Rate: 24000}, {Rate: 32000, Chunk: 10 * time.Millisecond},
		{Rate: 44100, Chunk: 25 * time.Millisecond}, {Rate: 48000, Channels: 2, Chunk: 100 * time.Millisecond},
	} {
		track := newTestTrack(t, KindAudio)
		c := subscribe(t, track, Request{Audio: &format, Queue: patient})
		got, _ := c.Format()
		f := newFeeder(t, track, clip, 7)
		var pcm []int16
		for range 100 { // two seconds
			f.feed()
		}
		for n := 0; n < int(1900*time.Millisecond/got.Chunk); n++ {
			a := frame(t, c)
			if a.Duration != samplesTime(a.Samples, got.Rate) || a.Samples*2*got.Channels != a.Payload.Len() || a.Concealed {
				t.Fatalf("%+v: frame %d is %+v", format, n, a)
			}
			if d := a.Time - time.Duration(n)*got.Chunk; d < -time.Millisecond || d > time.Millisecond {
				t.Fatalf("%+v: frame %d lies at %v", format, n, a.Time)
			}
			if want := uint32(a.Time.Seconds()*48000+0.5) + (f.firstTimestamp()); a.RTPTimestamp-want+48 > 96 {
				t.Fatalf("%+v: frame %d has timestamp %d, want %d", format, n, a.RTPTimestamp, want)
			}
			s := pcmOf(a)
			for i := 0; i < len(s); i += got.Channels {
				pcm = append(pcm, s[i])
			}
		}
		if hz, _ := clips.ToneAt(pcm[len(pcm)/2:], got.Rate); hz != clip.ToneHz {
			t.Errorf("%+v: heard %d Hz, want %d", format, hz, clip.ToneHz)
		}
	}
}

// firstTimestamp is the RTP timestamp of the first packet.
func (f *feeder) firstTimestamp() uint32 {
	sent := uint32(0)
	for i := range f.next {
		sent += f.ticks(f.units[i%len(f.units)])
	}
	return f.packetizer.Packetize([]byte{1}, 0)[0].Timestamp - sent
}

func TestTrackF7LostAudioIsFilledToTheSample(t *testing.T) {
	noCMemory(t)
	track := newTestTrack(t, KindAudio)
	c := subscribe(t, track, Request{Audio: &AudioFormat{Rate: 16000}, Queue: patient})
	f := newFeeder(t, track, clips.AliceMicrophone(), 7)
	f.drop = func(n int) bool { return n >= 20 && n < 30 } // 200 ms
	for range 60 {
		f.feed()
	}
	var concealed, lost uint32
	var total int
	for i := range 60 {
		a := frame(t, c)
		if want := time.Duration(i) * 20 * time.Millisecond; a.Time != want {
			t.Fatalf("frame %d lies at %v, want %v", i, a.Time, want)
		}
		if a.Concealed {
			concealed++
			if i < 20 || i >= 30 {
				t.Errorf("frame %d is marked as concealed", i)
			}
		}
		lost += a.Lost.Frames
		total += a.Samples
	}
	if total != 60*320 || lost != 10 || concealed < 9 {
		t.Fatalf("%d samples, %d lost, %d concealed; want %d, 10 and 9 or 10", total, lost, concealed, 60*320)
	}
}

func TestTrackF7AHoleShorterThanAPacketIsFilledExactly(t *testing.T) {
	track := newTestTrack(t, KindAudio)
	c := subscribe(t, track, Request{Audio: &AudioFormat{Rate: 16000}, Queue: patient})
	f := newFeeder(t, track, clips.AliceMicrophone(), 7)
	f.drop = func(n int) bool { return n == 10 }
	for range 11 {
		f.feed()
	}
	back := uint32(480)
	f.packetizer.SkipSamples(-back) // the lost packet had 10 ms
	for range 10 {
		f.feed()
	}
	for i := range 20 { // and the last 10 ms wait for the next packet
		if a := frame(t, c); a.Time != time.Duration(i)*20*time.Millisecond || a.Samples != 320 {
			t.Fatalf("frame %d lies at %v with %d samples", i, a.Time, a.Samples)
		}
	}
}

func TestTrackF7SilenceThatIsNotSentIsFilledButMuteIsNot(t *testing.T) {
	track := newTestTrack(t, KindAudio)
	c := subscribe(t, track, Request{Audio: &AudioFormat{Rate: 16000}, Queue: patient})
	f := newFeeder(t, track, clips.AliceMicrophone(), 7)
	pause := func(packets int) { // the clock goes on, the sequence numbers do not
		for range packets {
			f.packetizer.SkipSamples(960)
			f.now = f.now.Add(20 * time.Millisecond)
		}
	}
	for range 10 {
		f.feed()
	}
	pause(20) // 400 ms of DTX
	f.feed()
	pause(100) // two seconds of mute
	f.feed()
	for i := range 31 {
		if a := frame(t, c); a.Time != time.Duration(i)*20*time.Millisecond || a.Concealed || a.Lost.Frames != 0 {
			t.Fatalf("frame %d: %+v", i, a)
		}
	}
	if a := frame(t, c); a.Time != 131*20*time.Millisecond || a.Samples != 320 {
		t.Fatalf("the first frame after the mute lies at %v, want %v", a.Time, 131*20*time.Millisecond)
	}
}

func TestTrackOpusAsReceived(t *testing.T) {
	track := newTestTrack(t, KindAudio)
	c := subscribe(t, track, Request{Encoded: true})
	f := newFeeder(t, track, clips.BobMicrophone(), 7)
	for range 10 {
		u := f.feed()
		if got := frame(t, c); !bytes.Equal(got.Payload.Parts()[0], u.Data) || got.Samples != 960 {
			t.Fatalf("%d samples, %d bytes", got.Samples, got.Payload.Len())
		}
	}
}

func TestTrackF12SurvivesWhateverComes(t *testing.T) {
	noCMemory(t)
	video, audio := newTestTrack(t, KindVideo), newTestTrack(t, KindAudio)
	v, a := subscribe(t, video, Request{}), subscribe(t, audio, Request{})
	fv, fa := newFeeder(t, video, clips.BobCamera(), 7), newFeeder(t, audio, clips.AliceMicrophone(), 7)
	now := time.Now()
	for i := range 2000 {
		raw := randomBytes(i%1400, uint64(i))
		if len(raw) > 12 { // a valid header before noise
			raw[0], raw[1] = 0x80, []byte{96, 102, 111}[i%3]
			binary.BigEndian.PutUint32(raw[8:], 7)
		}
		video.WriteRTP(raw, now)
		audio.WriteRTP(raw, now)
	}
	fv.now, fa.now = now.Add(time.Second), now.Add(time.Second)
	fv.packetizer = rtp.NewPacketizer(1200, 102, 8, &codecs.H264Payloader{}, rtp.NewFixedSequencer(1), 90000)
	fa.packetizer = rtp.NewPacketizer(1200, 111, 8, &codecs.OpusPayloader{}, rtp.NewFixedSequencer(1), 48000)
	for range 30 {
		fv.feed()
		fa.feed()
	}
	for got := false; !got; {
		item, err := next(t, v)
		if err != nil {
			t.Fatal(err)
		}
		if item.Frame != nil {
			got = item.Frame.Width == 640
			item.Frame.Payload.Release()
		}
	}
	if item, err := next(t, a); err != nil {
		t.Fatal(err)
	} else if item.Frame != nil {
		item.Frame.Payload.Release()
	}
}

func FuzzTrackWriteRTP(f *testing.F) {
	f.Add([]byte{0x80, 102, 0, 1, 0, 0, 0, 1, 0, 0, 0, 7, 0x65, 0x88, 0x84})
	f.Add([]byte{0x90, 96, 0, 1, 0, 0, 0, 1, 0, 0, 0, 7, 0xbe, 0xde, 0, 1, 0x30, 1, 0, 0, 0x10, 0, 1})
	f.Add([]byte{0xb0, 0xef, 0xff})
	pool := NewDecodePool(1)
	f.Cleanup(pool.Close)
	f.Fuzz(func(t *testing.T, raw []byte) {
		for _, kind := range []Kind{KindVideo, KindAudio} {
			track := NewTrack(TrackConfig{Kind: kind, Pool: pool, Logger: slog.New(slog.DiscardHandler), MaxPicturePixels: 1 << 16})
			track.SetParameters(ReceiveParameters{
				Codecs: []CodecParameters{vp8Params, h264Params, opusParams}, Extensions: HeaderExtensions{AudioLevel: 1, VideoOrientation: 3, AbsCaptureTime: 5},
			})
			c, err := track.Subscribe(Request{})
			if err != nil {
				t.Fatal(err)
			}
			track.WriteRTP(raw, time.Now())
			track.WriteRTP(raw, time.Now())
			c.Close()
			track.End(EndClosed)
			if s := track.Stats(); s.Packets != 2 {
				t.Fatalf("%d packets counted", s.Packets)
			}
		}
	})
}
