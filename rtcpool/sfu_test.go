package rtcpool

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"
)

// hang is how long a test waits for what must happen: far longer than it ever takes.
const hang = time.Minute

// testSFU is a pion peer that offers, as an SFU does.
type testSFU struct {
	t      *testing.T
	pc     *webrtc.PeerConnection
	ctx    context.Context
	cancel context.CancelFunc
	work   sync.WaitGroup

	mu   sync.Mutex
	plis int
}

// testSource is one media that the SFU sends.
type testSource struct {
	track  *webrtc.TrackLocalStaticRTP
	sender *webrtc.RTPSender
}

// write sends one packet.
func (s *testSource) write(n uint16) error {
	return s.track.WriteRTP(&rtp.Packet{
		Header:  rtp.Header{Version: 2, SequenceNumber: n, Timestamp: uint32(n) * 450},
		Payload: []byte{0x10, 1, 2, 3},
	})
}

func newTestSFU(t *testing.T, options ...func(*webrtc.API)) *testSFU {
	t.Helper()
	settings := webrtc.SettingEngine{}
	settings.SetIncludeLoopbackCandidate(true)
	options = append([]func(*webrtc.API){webrtc.WithSettingEngine(settings), withDefaultCodecs(t)}, options...)
	pc, err := webrtc.NewAPI(options...).NewPeerConnection(webrtc.Configuration{})
	if err != nil {
		t.Fatal(err)
	}
	f := &testSFU{t: t, pc: pc}
	f.ctx, f.cancel = context.WithCancel(context.Background())
	t.Cleanup(f.close)
	return f
}

func withDefaultCodecs(t *testing.T) func(*webrtc.API) {
	t.Helper()
	engine := &webrtc.MediaEngine{}
	if err := engine.RegisterDefaultCodecs(); err != nil {
		t.Fatal(err)
	}
	return webrtc.WithMediaEngine(engine)
}

func (f *testSFU) close() {
	f.cancel()
	if err := f.pc.GracefulClose(); err != nil {
		f.t.Error(err)
	}
	f.work.Wait()
}

var (
	vp8  = webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeVP8, ClockRate: 90000}
	opus = webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeOpus, ClockRate: 48000, Channels: 2}
)

// add sends packets of a codec, numbered from 1, until the test ends.
func (f *testSFU) add(codec webrtc.RTPCodecCapability, trackID, streamID string) *testSource {
	f.t.Helper()
	s := f.addQuiet(codec, trackID, streamID)
	f.pump(s)
	return s
}

// addQuiet sends nothing by itself.
func (f *testSFU) addQuiet(codec webrtc.RTPCodecCapability, trackID, streamID string) *testSource {
	f.t.Helper()
	track, err := webrtc.NewTrackLocalStaticRTP(codec, trackID, streamID)
	if err != nil {
		f.t.Fatal(err)
	}
	transceiver, err := f.pc.AddTransceiverFromTrack(track, webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionSendonly})
	if err != nil {
		f.t.Fatal(err)
	}
	s := &testSource{track: track, sender: transceiver.Sender()}
	f.work.Go(func() { f.readRTCP(s.sender) })
	return s
}

func (f *testSFU) pump(s *testSource) {
	f.work.Go(func() {
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for n := uint16(1); ; n++ {
			select {
			case <-f.ctx.Done():
				return
			case <-tick.C:
			}
			if s.write(n) != nil {
				return
			}
		}
	})
}

func (f *testSFU) readRTCP(sender *webrtc.RTPSender) {
	for {
		packets, _, err := sender.ReadRTCP()
		if err != nil {
			return
		}
		f.count(packets)
	}
}

func (f *testSFU) count(packets []rtcp.Packet) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, p := range packets {
		if _, ok := p.(*rtcp.PictureLossIndication); ok {
			f.plis++
		}
	}
}

func (f *testSFU) pliCount() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.plis
}

// offer makes an offer with every candidate in it.
func (f *testSFU) offer(options *webrtc.OfferOptions) string {
	f.t.Helper()
	o, err := f.pc.CreateOffer(options)
	if err != nil {
		f.t.Fatal(err)
	}
	gathered := webrtc.GatheringCompletePromise(f.pc)
	if err := f.pc.SetLocalDescription(o); err != nil {
		f.t.Fatal(err)
	}
	within(f.t, gathered, "the SFU's gathering")
	return f.pc.LocalDescription().SDP
}

// accept takes an answer.
func (f *testSFU) accept(sdp string) {
	f.t.Helper()
	if err := f.pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: sdp}); err != nil {
		f.t.Fatalf("the SFU refuses the answer: %v\n%s", err, sdp)
	}
}

// negotiate offers to the session and takes the answer.
func (f *testSFU) negotiate(s *Session, generation uint64) *Answer {
	f.t.Helper()
	return f.exchange(s, generation, f.offer(nil))
}

func (f *testSFU) exchange(s *Session, generation uint64, offer string) *Answer {
	f.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), hang)
	defer cancel()
	r, err := s.Negotiate(ctx, Offer{Generation: generation, SDP: offer})
	if err != nil {
		f.t.Fatal(err)
	}
	if r.Answer == nil {
		f.t.Fatalf("dropped: %+v", r.Drop)
	}
	f.accept(r.Answer.SDP)
	return r.Answer
}

func within(t *testing.T, done <-chan struct{}, what string) {
	t.Helper()
	select {
	case <-done:
	case <-time.After(hang):
		t.Fatalf("%s: nothing within %v", what, hang)
	}
}
