package rtcpool

import (
	"context"
	"encoding/binary"
	"io"
	"sync"
	"testing"
	"time"

	"github.com/penstock-media/penstock/internal/sfutest/clips"
	"github.com/penstock-media/penstock/media"
	"github.com/penstock-media/penstock/rtcpool/internal/offer/offertest"
	"github.com/penstock-media/penstock/rtcpool/internal/repair"
	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/rtp/codecs"
	"github.com/pion/webrtc/v4"
)

// fuzzMedia is what the offer of a fuzzed session has: everything that packets can be about.
const fuzzMedia = "audio 9 UDP/TLS/RTP/SAVPF 111 0\r\na=rtpmap:111 opus/48000/2\r\na=rtpmap:0 PCMU/8000\r\na=rtcp-fb:111 nack\r\na=rtcp-fb:111 transport-cc\r\n" +
	"a=extmap:1 urn:ietf:params:rtp-hdrext:ssrc-audio-level\r\na=extmap:2 http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01\r\n" +
	"a=extmap:3 http://www.webrtc.org/experiments/rtp-hdrext/abs-capture-time\r\na=ssrc:1 cname:c\r\na=msid:s a\r\na=sendonly\r\na=rtcp-mux\r\n"

const fuzzVideo = "video 9 UDP/TLS/RTP/SAVPF 96 97 102 103\r\na=rtpmap:96 VP8/90000\r\na=rtpmap:97 rtx/90000\r\na=fmtp:97 apt=96\r\n" +
	"a=rtpmap:102 H264/90000\r\na=fmtp:102 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f\r\na=rtpmap:103 rtx/90000\r\na=fmtp:103 apt=102\r\n" +
	"a=rtcp-fb:96 goog-remb\r\na=rtcp-fb:96 nack\r\na=rtcp-fb:96 nack pli\r\na=extmap:4 http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time\r\n" +
	"a=extmap:5 urn:3gpp:video-orientation\r\na=ssrc:2 cname:c\r\na=msid:s v\r\na=sendonly\r\na=rtcp-mux\r\n"

// quiet is a source that sends nothing by itself.
type quiet struct{ ssrc uint32 }

func (q *quiet) SSRC() webrtc.SSRC            { return webrtc.SSRC(q.ssrc) }
func (q *quiet) RtxSSRC() webrtc.SSRC         { return webrtc.SSRC(q.ssrc + 100) }
func (q *quiet) read([]byte) (int, error)     { return 0, io.EOF }
func (q *quiet) readRTCP([]byte) (int, error) { return 0, io.EOF }

// fuzzed is a live session into which packets are written where they come out of SRTP.
type fuzzed struct {
	session      *Session
	audio, video *reader
	fresh        uint32 // a source that was not used yet
}

// newFuzzed makes one whose media somebody looks at and listens to.
func newFuzzed(f testing.TB) *fuzzed {
	f.Helper()
	var work sync.WaitGroup
	f.Cleanup(work.Wait) // after the session has ended
	out := newIdle(f)
	for _, r := range []*reader{out.audio, out.video} {
		for _, encoded := range []bool{false, true} {
			c, err := r.sink.Load().track.Subscribe(media.Request{Encoded: encoded})
			if err != nil {
				f.Fatal(err)
			}
			work.Go(func() { consume(c) })
		}
	}
	return out
}

// newIdle makes one of which nobody consumes anything.
func newIdle(f testing.TB) *fuzzed {
	f.Helper()
	decoders := media.NewDecodePool(1)
	pool, err := New(Config{Decoders: decoders, Tracer: noopTracer(), Loopback: true, GatherTimeout: 10 * time.Millisecond})
	if err != nil {
		f.Fatal(err)
	}
	s, err := pool.Open(SessionConfig{ID: "s", Observer: newRecorder(), Grace: time.Hour})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), hang)
		defer cancel()
		if err := pool.Close(ctx); err != nil {
			f.Error(err)
		}
		decoders.Close()
	})
	ctx, cancel := context.WithTimeout(context.Background(), hang)
	defer cancel()
	if r, err := s.Negotiate(ctx, Offer{SDP: offertest.Of(fuzzMedia, fuzzVideo)}); err != nil || r.Answer == nil || len(r.Answer.Rejected) != 0 {
		f.Fatalf("%+v, %v", r, err)
	}
	out := &fuzzed{session: s, fresh: 1000}
	ready := make(chan struct{})
	if _, err := s.do(ctx, func() {
		p := s.current
		out.audio, out.video = newReader(p, &quiet{1}, media.KindAudio), newReader(p, &quiet{2}, media.KindVideo)
		for mid, r := range map[string]*reader{"0": out.audio, "1": out.video} {
			r.sink.Store(s.entryOf(p, mid))
			p.feedback.add(r)
		}
		close(ready)
	}); err != nil {
		f.Fatal(err)
	}
	<-ready
	return out
}

// consume takes what comes until the track ends.
func consume(c *media.Consumer) {
	defer c.Close()
	for {
		item, err := c.Next(context.Background())
		if err != nil {
			return
		}
		if item.Frame != nil {
			item.Frame.Payload.Release()
		}
	}
}

// alive checks that the media are there, and that a packet of a source that begins now is received.
func (f *fuzzed) alive(t *testing.T) {
	t.Helper()
	f.fresh++
	e := f.audio.sink.Load()
	before := e.track.Stats().Units
	p := rtp.Packet{Header: rtp.Header{Version: 2, PayloadType: 111, SSRC: f.fresh, SequenceNumber: uint16(f.fresh)}, Payload: []byte{0xf8, 0xff, 0xfe}}
	f.audio.packet(rtpBytes(t, &p), time.Now())
	if s := e.track.Stats(); s.Units != before+1 {
		t.Errorf("nothing is received any more: %+v", s)
	}
	for _, r := range []*reader{f.audio, f.video} {
		if _, there := f.session.Media(r.sink.Load().id); !there {
			t.Error("a media has gone")
		}
		r.mu.Lock()
		if n := r.repair.Missing(); n > repair.MaxHoles {
			t.Errorf("%d packets are waited for", n)
		}
		r.mu.Unlock()
	}
}

// each calls do with the parts of an input: a byte that tells what it is, one that tells how long it is, and that many.
func each(input []byte, do func(kind byte, part []byte)) {
	for len(input) >= 2 {
		kind, n := input[0], min(int(input[1]), len(input)-2)
		do(kind, input[2:2+n:2+n])
		input = input[2+n:]
	}
}

func part(kind byte, raw []byte) []byte { return append([]byte{kind, byte(len(raw))}, raw...) }

// fuzzSeeds are a few packets of each kind, whole and cut.
func fuzzSeeds(t testing.TB) (seeds [][]byte) {
	t.Helper()
	units, err := clips.BobCamera().Units()
	if err != nil {
		t.Fatal(err)
	}
	var all []byte
	packets := rtp.NewPacketizer(200, 102, 2, &codecs.H264Payloader{}, rtp.NewFixedSequencer(65533), 90000).Packetize(units[0].Data, 3000)
	for i, p := range packets[:6] {
		p.Extension, p.ExtensionProfile = true, []uint16{repair.OneByteProfile, repair.TwoByteProfile}[i%2]
		if err := p.SetExtension(4, []byte{1, 2, 3}); err != nil {
			t.Fatal(err)
		}
		raw := rtpBytes(t, p)
		seeds = append(seeds, part(0, raw))
		all = append(all, part(byte(i%2), append(raw[:12:12], raw...))...)
	}
	opus := rtpBytes(t, &rtp.Packet{Header: rtp.Header{Version: 2, PayloadType: 111, SequenceNumber: 9, Padding: true, PaddingSize: 3}, Payload: []byte{0xf8, 0xff, 0xfe}})
	return append(seeds, all, part(2, opus), append(part(2, opus), part(3, opus)...))
}

// FuzzRTP writes packets into a live session: nothing ends it, and what comes after is received.
func FuzzRTP(f *testing.F) {
	for _, seed := range fuzzSeeds(f) {
		f.Add(seed)
	}
	live := newFuzzed(f)
	f.Fuzz(func(t *testing.T, input []byte) {
		each(input, func(kind byte, raw []byte) {
			r := live.video
			if kind&2 != 0 {
				r = live.audio
			}
			if len(raw) < repair.HeaderBytes {
				return // no reader hands out such
			}
			if kind&1 != 0 {
				r.retransmission(raw, time.Now())
				return
			}
			binary.BigEndian.PutUint32(raw[8:], uint32(r.source.SSRC()))
			r.packet(raw, time.Now())
		})
		live.alive(t)
	})
}

// FuzzRTCP writes compound packets into a live session.
func FuzzRTCP(f *testing.F) {
	for _, packets := range [][]rtcp.Packet{
		{&rtcp.SenderReport{SSRC: 2, NTPTime: 1 << 63, RTPTime: 7}, &rtcp.Goodbye{Sources: []uint32{2}}},
		{&rtcp.ReceiverReport{SSRC: 2, Reports: []rtcp.ReceptionReport{{SSRC: 1}}}},
		{&rtcp.TransportLayerCC{MediaSSRC: 2}}, {&rtcp.ReceiverEstimatedMaximumBitrate{Bitrate: 1e9, SSRCs: []uint32{2}}},
		{&rtcp.SourceDescription{Chunks: []rtcp.SourceDescriptionChunk{{Source: 2, Items: []rtcp.SourceDescriptionItem{{Type: rtcp.SDESCNAME, Text: "x"}}}}}},
	} {
		raw, err := rtcp.Marshal(packets)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(raw)
	}
	live := newFuzzed(f)
	f.Fuzz(func(t *testing.T, raw []byte) {
		live.video.handleRTCP(raw, time.Now())
		live.audio.handleRTCP(raw, time.Now())
		live.alive(t)
	})
}
