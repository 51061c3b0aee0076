package service

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	rtpcodecs "github.com/pion/rtp/codecs"
	"github.com/pion/webrtc/v4"

	penstockv1 "github.com/penstock-media/penstock/api/penstock/v1"
	"github.com/penstock-media/penstock/internal/sfutest/clips"
	"github.com/penstock-media/penstock/media"
)

// simulcastLayer is one encoding of a simulcaster.
type simulcastLayer struct {
	clip    clips.Clip
	rid     string
	local   *webrtc.TrackLocalStaticRTP
	loop    *clips.Loop
	payload rtpcodecs.VP8Payloader
	header  rtp.Header
	ids     map[string]uint8 // of header extensions, by URI

	silent, key    atomic.Bool
	pictures, asks atomic.Int64
}

// simulcaster is a WHIP publisher that sends carol's camera in three encodings, told apart by rids (RFC 8853).
type simulcaster struct {
	t         *testing.T
	pc        *webrtc.PeerConnection
	mid       string
	encodings []*simulcastLayer // the smallest first
	stop      chan struct{}
	work      sync.WaitGroup
	answer    string
}

const (
	uriOfMID = "urn:ietf:params:rtp-hdrext:sdes:mid"
	uriOfRID = "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id"
)

// publishSimulcast publishes until the test ends.
func (g *gateway) publishSimulcast(session string) *simulcaster {
	g.t.Helper()
	s := &simulcaster{t: g.t, stop: make(chan struct{})}
	s.connect()
	sender := s.addEncodings()
	request, err := http.NewRequestWithContext(g.ctx, http.MethodPost, g.whipEndpoint()+session+"?user=carol", strings.NewReader(gathered(g.t, s.pc)))
	must(g.t, err)
	request.Header.Set("Content-Type", "application/sdp")
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	reply, err := client.Do(request)
	must(g.t, err)
	body, err := io.ReadAll(reply.Body)
	must(g.t, err)
	must(g.t, reply.Body.Close())
	if s.answer = string(body); reply.StatusCode != http.StatusCreated {
		g.t.Fatalf("published: %d %s", reply.StatusCode, body)
	}
	connected := make(chan struct{})
	var once sync.Once
	s.pc.OnConnectionStateChange(func(state webrtc.PeerConnectionState) {
		if state == webrtc.PeerConnectionStateConnected {
			once.Do(func() { close(connected) })
		}
	})
	must(g.t, s.pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: s.answer}))
	s.start(sender, connected)
	return s
}

func (s *simulcaster) connect() {
	s.t.Helper()
	settings := webrtc.SettingEngine{}
	settings.SetIncludeLoopbackCandidate(true)
	settings.SetIPFilter(func(ip net.IP) bool { return ip.IsLoopback() })
	engine := &webrtc.MediaEngine{}
	must(s.t, engine.RegisterDefaultCodecs())
	must(s.t, webrtc.ConfigureSimulcastExtensionHeaders(engine))
	var err error
	s.pc, err = webrtc.NewAPI(webrtc.WithMediaEngine(engine), webrtc.WithSettingEngine(settings)).NewPeerConnection(webrtc.Configuration{})
	must(s.t, err)
}

// addEncodings offers the largest first, as browsers are often told to.
func (s *simulcaster) addEncodings() *webrtc.RTPSender {
	s.t.Helper()
	var transceiver *webrtc.RTPTransceiver
	all := clips.CarolLayers()
	for i := len(all) - 1; i >= 0; i-- {
		loop, err := all[i].Open()
		must(s.t, err)
		e := &simulcastLayer{clip: all[i], rid: string("qhf"[i]), loop: loop, payload: rtpcodecs.VP8Payloader{EnablePictureID: true}}
		e.header = rtp.Header{Version: 2, SequenceNumber: uint16(1000 * i), Timestamp: 1_000_003 * uint32(i)}
		e.local, err = webrtc.NewTrackLocalStaticRTP(webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeVP8, ClockRate: 90000}, "camera", "carol", webrtc.WithRTPStreamID(e.rid))
		must(s.t, err)
		s.encodings = append([]*simulcastLayer{e}, s.encodings...)
		if transceiver == nil {
			transceiver, err = s.pc.AddTransceiverFromTrack(e.local, webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionSendonly})
		} else {
			err = transceiver.Sender().AddEncoding(e.local)
		}
		must(s.t, err)
	}
	return transceiver.Sender()
}

// start sends, and listens for requests for key frames.
func (s *simulcaster) start(sender *webrtc.RTPSender, connected <-chan struct{}) {
	s.mid = s.pc.GetTransceivers()[0].Mid()
	parameters := sender.GetParameters()
	ssrcs := map[uint32]*simulcastLayer{}
	for _, e := range s.encodings {
		e.ids = map[string]uint8{}
		for _, x := range parameters.HeaderExtensions {
			e.ids[x.URI] = uint8(x.ID) //nolint:gosec // 1 to 255
		}
		for _, p := range parameters.Encodings {
			if p.RID == e.rid {
				ssrcs[uint32(p.SSRC)] = e
			}
		}
	}
	for _, e := range s.encodings {
		s.work.Go(func() { hearKeyFrames(sender, e.rid, ssrcs) })
	}
	s.work.Go(func() {
		select {
		case <-connected:
			s.send()
		case <-s.stop:
		}
	})
	s.t.Cleanup(func() {
		close(s.stop)
		must(s.t, s.pc.GracefulClose())
		s.work.Wait()
	})
}

func hearKeyFrames(sender *webrtc.RTPSender, rid string, encodings map[uint32]*simulcastLayer) {
	for {
		packets, _, err := sender.ReadSimulcastRTCP(rid)
		if err != nil {
			return
		}
		for _, p := range packets {
			if pli, ok := p.(*rtcp.PictureLossIndication); ok && encodings[pli.MediaSSRC] != nil {
				encodings[pli.MediaSSRC].asks.Add(1)
				encodings[pli.MediaSSRC].key.Store(true)
			}
		}
	}
}

// send writes fifteen pictures a second of each encoding.
func (s *simulcaster) send() {
	tick := time.NewTicker(time.Second / 15)
	defer tick.Stop()
	for {
		for _, e := range s.encodings {
			e.send(s.mid)
		}
		select {
		case <-s.stop:
			return
		case <-tick.C:
		}
	}
}

func (e *simulcastLayer) send(mid string) {
	e.header.Timestamp += 90000 / 15
	if e.key.Swap(false) {
		e.loop.SkipToKeyFrame()
	}
	unit := e.loop.Next()
	if e.silent.Load() {
		return
	}
	e.pictures.Add(1)
	payloads := e.payload.Payload(1100, unit.Data)
	for i, payload := range payloads {
		h := e.header
		h.SequenceNumber += uint16(i)
		h.Marker = i == len(payloads)-1
		for uri, value := range map[string]string{uriOfMID: mid, uriOfRID: e.rid} {
			if err := h.SetExtension(e.ids[uri], []byte(value)); err != nil {
				return // it shows in that nothing comes
			}
		}
		if err := e.local.WriteRTP(&rtp.Packet{Header: h, Payload: payload}); err != nil {
			return
		}
	}
	e.header.SequenceNumber += uint16(len(payloads)) //nolint:gosec // a few
}

// layerViewer follows a stream of pictures and checks that time goes on, and that each change of the encoding falls on a key frame.
type layerViewer struct {
	*reader
	last *penstockv1.VideoFrame
}

// see reads until a picture is of an encoding, and returns it.
func (v *layerViewer) see(clip clips.Clip) *penstockv1.VideoFrame {
	v.t.Helper()
	for {
		now := v.video()
		last, i := v.last, now.GetInfo()
		v.last = now
		if last != nil && i.GetPresentationTimeNs() <= last.GetInfo().GetPresentationTimeNs() {
			v.t.Fatalf("%v follows %v", i, last.GetInfo())
		}
		next := last == nil || i.GetSequence() == last.GetInfo().GetSequence()+1
		// The key frame of a smaller encoding is left out where the larger one has shown that picture.
		if last != nil && next && luma(last) < luma(now) && !now.GetKeyFrame() {
			v.t.Fatalf("from %d to %d without a key frame: %v", luma(last), luma(now), i)
		}
		if luma(now) == clip.Watermark {
			return now
		}
	}
}

// TestF20_SimulcastOverWHIP publishes three encodings of a camera. They are one track. Consumers of several sizes come and go: the encoding
// fits the largest of them, no other is decoded, each takes over with a key frame; encodings that stop give way to the next smaller one.
func TestF20_SimulcastOverWHIP(t *testing.T) {
	g := startGateway(t, func(c *Config) { c.WHIPCreate = true })
	s := g.publishSimulcast("studio")
	for _, want := range []string{"a=simulcast:recv f;h;q\r\n", "a=rid:q recv\r\n", "a=rid:h recv\r\n", "a=rid:f recv\r\n", uriOfRID} {
		if !strings.Contains(s.answer, want) {
			t.Errorf("%q is not in the answer\n%s", want, s.answer)
		}
	}
	all := clips.CarolLayers()
	watch := func(width uint32) *layerViewer {
		return &layerViewer{reader: g.open(&penstockv1.StreamTrackRequest{SessionId: "studio", Selector: byParticipant("carol", camera),
			Format: videoOf(&penstockv1.VideoFormat{Width: width})})}
	}
	small := watch(160)
	if p := small.see(all[0]); p.GetWidth() != 160 || p.GetHeight() != 90 {
		t.Errorf("a picture of %d×%d", p.GetWidth(), p.GetHeight())
	}
	if l := g.listed("studio"); len(l) != 1 || l["carol SOURCE_CAMERA"].GetState() != penstockv1.TrackState_TRACK_STATE_LIVE {
		t.Errorf("listed are %v", l)
	}
	track := g.mediaTrack("studio", "carol")
	s.oneIsDecoded(track, small, all[0])

	whole := watch(0)
	if p := whole.see(all[2]); p.GetWidth() != 640 || p.GetHeight() != 360 {
		t.Errorf("a picture of %d×%d", p.GetWidth(), p.GetHeight())
	}
	if p := small.see(all[2]); p.GetWidth() != 160 || p.GetHeight() != 90 {
		t.Errorf("with another, a picture of %d×%d", p.GetWidth(), p.GetHeight())
	}
	s.oneIsDecoded(track, small, all[2])
	whole.cancel()
	small.see(all[0])
	middle := watch(320)
	middle.see(all[1])
	middle.cancel()
	small.see(all[0])
	small.cancel()

	whole = watch(0)
	whole.see(all[2])
	for _, stops := range []int{2, 1} {
		s.encodings[stops].silent.Store(true)
		whole.see(all[stops-1])
	}
	for _, back := range []int{1, 2} {
		s.encodings[back].silent.Store(false)
		whole.see(all[back])
	}
	for _, l := range track.Layers() {
		if l.KeyFrameAsks == 0 {
			t.Errorf("no key frame was asked for to take %+v", l)
		}
	}
	if l := g.listed("studio"); len(l) != 1 {
		t.Errorf("listed are %v", l)
	}
}

// mediaTrack returns the media of a participant's camera.
func (g *gateway) mediaTrack(session, participant string) *media.Track {
	g.t.Helper()
	m, ok := g.svc.session(key(session)).rtc.Media(g.mediaOf(session, g.listed(session)[fmt.Sprint(participant, " SOURCE_CAMERA")].GetTrackId()))
	if !ok {
		g.t.Fatal("no media")
	}
	return m.Track
}

// oneIsDecoded checks that while thirty pictures of an encoding are sent, and come, no more are decoded than it has.
func (s *simulcaster) oneIsDecoded(track *media.Track, v *layerViewer, clip clips.Clip) {
	s.t.Helper()
	sent := func() (total, most int64) {
		for _, e := range s.encodings {
			total, most = total+e.pictures.Load(), max(most, e.pictures.Load())
		}
		return total, most
	}
	totalBefore, mostBefore := sent()
	before := track.Stats().Decoded
	for range 30 {
		v.see(clip)
	}
	decoded := int64(track.Stats().Decoded - before) //nolint:gosec // a few
	total, most := sent()
	const underWay = 10 // at the beginning, before or behind the counters
	if decoded < 20 || decoded > most-mostBefore+underWay || total-totalBefore < 2*decoded {
		s.t.Errorf("%d pictures were decoded; sent were %d, of one encoding %d", decoded, total-totalBefore, most-mostBefore)
	}
	if st := track.Stats(); st.DecodeErrors != 0 {
		s.t.Errorf("%d decode errors", st.DecodeErrors)
	}
}
