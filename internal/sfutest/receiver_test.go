package sfutest_test

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	penstockv1 "github.com/penstock-media/penstock/api/penstock/v1"
	"github.com/penstock-media/penstock/internal/sfutest/clips"
	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/rtp/codecs"
	"github.com/pion/webrtc/v4"
)

// hangLimit ends a test that waits for what does not come.
const hangLimit = 40 * time.Second

// receiver is a plain pion peer that answers, and a Signaller that brings the offers to it.
type receiver struct {
	t      *testing.T
	pc     *webrtc.PeerConnection // of the first generation
	tracks chan *webrtc.TrackRemote
	told   func(generation uint64, c webrtc.ICECandidateInit) error // its candidates, if it trickles

	mu     sync.Mutex
	pcs    map[uint64]*webrtc.PeerConnection
	early  []webrtc.ICECandidateInit
	heard  []string // candidates and offers, in order
	offers []string
	events []*penstockv1.CallEvent
	refuse error // what the next Negotiate gives
}

func newReceiver(t *testing.T) *receiver {
	t.Helper()
	r := &receiver{t: t, tracks: make(chan *webrtc.TrackRemote, 16), pcs: map[uint64]*webrtc.PeerConnection{}}
	r.pc = r.connection()
	r.pcs[1] = r.pc
	return r
}

// connection makes a peer connection that ends with the test.
func (r *receiver) connection() *webrtc.PeerConnection {
	t := r.t
	t.Helper()
	settings := webrtc.SettingEngine{}
	settings.SetIncludeLoopbackCandidate(true)
	settings.SetIPFilter(func(ip net.IP) bool { return ip.IsLoopback() })
	engine := &webrtc.MediaEngine{}
	if err := engine.RegisterDefaultCodecs(); err != nil {
		t.Fatal(err)
	}
	for _, uri := range []string{mid, level, captured} {
		if err := engine.RegisterHeaderExtension(webrtc.RTPHeaderExtensionCapability{URI: uri}, webrtc.RTPCodecTypeAudio); err != nil {
			t.Fatal(err)
		}
	}
	api := webrtc.NewAPI(webrtc.WithSettingEngine(settings), webrtc.WithMediaEngine(engine))
	pc, err := api.NewPeerConnection(webrtc.Configuration{})
	if err != nil {
		t.Fatal(err)
	}
	pc.OnTrack(func(track *webrtc.TrackRemote, _ *webrtc.RTPReceiver) { r.tracks <- track })
	t.Cleanup(func() {
		if err := pc.GracefulClose(); err != nil {
			t.Error(err)
		}
	})
	return pc
}

// Header extensions that the receiver takes.
const (
	mid      = "urn:ietf:params:rtp-hdrext:sdes:mid"
	level    = "urn:ietf:params:rtp-hdrext:ssrc-audio-level"
	captured = "http://www.webrtc.org/experiments/rtp-hdrext/abs-capture-time"
)

func (r *receiver) Negotiate(_ context.Context, generation uint64, offer string) (string, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.offers, r.heard = append(r.offers, offer), append(r.heard, "offer")
	if r.pcs[generation] == nil {
		r.pcs[generation] = r.connection()
	}
	if err := r.refuse; err != nil {
		r.refuse = nil
		return "", err
	}
	return r.answer(generation, r.pcs[generation], offer)
}

func (r *receiver) answer(generation uint64, pc *webrtc.PeerConnection, offer string) (string, error) {
	if err := pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeOffer, SDP: offer}); err != nil {
		return "", err
	}
	for _, c := range r.early {
		if err := pc.AddICECandidate(c); err != nil {
			return "", err
		}
	}
	r.early = nil
	answer, err := pc.CreateAnswer(nil)
	if err != nil {
		return "", err
	}
	gathered := webrtc.GatheringCompletePromise(pc)
	if err := pc.SetLocalDescription(answer); err != nil {
		return "", err
	}
	<-gathered
	complete := pc.LocalDescription().SDP
	if r.told == nil {
		return complete, nil
	}
	for line := range strings.Lines(complete) { // each candidate before the answer that it belongs to
		if c, ok := strings.CutPrefix(strings.TrimSpace(line), "a=candidate:"); ok {
			if err := r.told(generation, webrtc.ICECandidateInit{Candidate: "candidate:" + c}); err != nil {
				return "", err
			}
		}
	}
	return answer.SDP, nil
}

// AddCandidate implements sfutest.Trickler.
func (r *receiver) AddCandidate(_ context.Context, generation uint64, c webrtc.ICECandidateInit) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.heard = append(r.heard, c.Candidate)
	pc := r.pcs[generation]
	if pc.RemoteDescription() == nil {
		r.early = append(r.early, c)
		return nil
	}
	return pc.AddICECandidate(c)
}

func (r *receiver) ReportEvents(_ context.Context, events ...*penstockv1.CallEvent) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, events...)
	return nil
}

// lastOffer returns the newest offer.
func (r *receiver) lastOffer() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.offers[len(r.offers)-1]
}

// next waits for the next new track.
func (r *receiver) next(t *testing.T) *webrtc.TrackRemote {
	t.Helper()
	select {
	case track := <-r.tracks:
		return track
	case <-time.After(hangLimit):
		t.Fatal("no track came")
		return nil
	}
}

func (r *receiver) askKeyFrame(t *testing.T, track *webrtc.TrackRemote) {
	t.Helper()
	if err := r.pc.WriteRTCP([]rtcp.Packet{&rtcp.PictureLossIndication{MediaSSRC: uint32(track.SSRC())}}); err != nil {
		t.Fatal(err)
	}
}

// read returns the next n packets of a track.
func read(t *testing.T, track *webrtc.TrackRemote, n int) []*rtp.Packet {
	t.Helper()
	if err := track.SetReadDeadline(time.Now().Add(hangLimit)); err != nil {
		t.Fatal(err)
	}
	packets := make([]*rtp.Packet, 0, n)
	for range n {
		p, _, err := track.ReadRTP()
		if err != nil {
			t.Fatalf("after %d packets: %v", len(packets), err)
		}
		packets = append(packets, p)
	}
	return packets
}

// nextKeyFrame reads until a VP8 key frame begins (RFC 7741 section 4.3) and returns its timestamp.
func nextKeyFrame(t *testing.T, track *webrtc.TrackRemote) uint32 {
	t.Helper()
	for {
		p := read(t, track, 1)[0]
		var vp8 codecs.VP8Packet
		payload, err := vp8.Unmarshal(p.Payload)
		if err != nil {
			t.Fatal(err)
		}
		if vp8.S == 1 && vp8.PID == 0 && payload[0]&1 == 0 {
			return p.Timestamp
		}
	}
}

// unitsToMatch is how many units in a row must be those of a clip, byte for byte.
const unitsToMatch = 20

// mark puts access units together from a track's packets, finds the clip that they are of, and returns its watermark or tone. It starts
// at a key frame, and again where packets are missing: a busy machine throws away what nobody reads in time.
func mark(track *webrtc.TrackRemote) (int, error) {
	if err := track.SetReadDeadline(time.Now().Add(hangLimit)); err != nil {
		return 0, err
	}
	depacketizer, err := newDepacketizer(track.Codec().MimeType)
	if err != nil {
		return 0, err
	}
	var unit []byte
	var clip clips.Clip
	var expected *clips.Loop
	var next uint16
	for matched, first, broken := 0, true, false; matched < unitsToMatch; first = false {
		p, _, err := track.ReadRTP()
		if err != nil {
			return 0, err
		}
		if !first && p.SequenceNumber != next {
			expected, matched, broken = nil, 0, track.Kind() == webrtc.RTPCodecTypeVideo
		}
		next = p.SequenceNumber + 1
		part, err := depacketizer.Unmarshal(p.Payload)
		if err != nil {
			return 0, err
		}
		unit = append(unit, part...)
		if track.Kind() == webrtc.RTPCodecTypeVideo && !p.Marker {
			continue
		}
		if broken { // what the unit began with is missing, perhaps
			unit, broken = nil, false
			continue
		}
		if expected == nil {
			clip, expected = find(unit)
		} else if want := expected.Next(); !bytes.Equal(unit, want.Data) {
			return 0, fmt.Errorf("unit %d after the start is not that of %s", matched, clip.Name)
		}
		if expected != nil {
			matched++
		}
		unit = nil
	}
	return clip.Watermark + clip.ToneHz, nil
}

// find returns the clip that has the unit, at a key frame, and a loop that goes on after it.
func find(unit []byte) (clips.Clip, *clips.Loop) {
	for _, c := range clips.All() {
		units, err := c.Units()
		if err != nil {
			continue
		}
		loop, err := c.Open()
		if err != nil {
			continue
		}
		for range units {
			if u := loop.Next(); u.KeyFrame && bytes.Equal(u.Data, unit) {
				return c, loop
			}
		}
	}
	return clips.Clip{}, nil
}

func newDepacketizer(mimeType string) (rtp.Depacketizer, error) {
	switch mimeType {
	case webrtc.MimeTypeVP8:
		return &codecs.VP8Packet{}, nil
	case webrtc.MimeTypeH264:
		return &codecs.H264Packet{}, nil
	case webrtc.MimeTypeOpus:
		return &codecs.OpusPacket{}, nil
	}
	return nil, fmt.Errorf("no depacketizer for %s", mimeType)
}
