package sfutest_test

import (
	"bytes"
	"context"
	"fmt"
	"net"
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
	pc     *webrtc.PeerConnection
	tracks chan *webrtc.TrackRemote

	mu     sync.Mutex
	offers []string
	events []*penstockv1.CallEvent
	refuse error // what the next Negotiate gives
}

func newReceiver(t *testing.T) *receiver {
	t.Helper()
	settings := webrtc.SettingEngine{}
	settings.SetIncludeLoopbackCandidate(true)
	settings.SetIPFilter(func(ip net.IP) bool { return ip.IsLoopback() })
	pc, err := webrtc.NewAPI(webrtc.WithSettingEngine(settings)).NewPeerConnection(webrtc.Configuration{})
	if err != nil {
		t.Fatal(err)
	}
	r := &receiver{pc: pc, tracks: make(chan *webrtc.TrackRemote, 16)}
	pc.OnTrack(func(track *webrtc.TrackRemote, _ *webrtc.RTPReceiver) { r.tracks <- track })
	t.Cleanup(func() {
		if err := pc.GracefulClose(); err != nil {
			t.Error(err)
		}
	})
	return r
}

func (r *receiver) Negotiate(_ context.Context, _ uint64, offer string) (string, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.offers = append(r.offers, offer)
	if err := r.refuse; err != nil {
		r.refuse = nil
		return "", err
	}
	return r.answer(offer)
}

func (r *receiver) answer(offer string) (string, error) {
	if err := r.pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeOffer, SDP: offer}); err != nil {
		return "", err
	}
	answer, err := r.pc.CreateAnswer(nil)
	if err != nil {
		return "", err
	}
	gathered := webrtc.GatheringCompletePromise(r.pc)
	if err := r.pc.SetLocalDescription(answer); err != nil {
		return "", err
	}
	<-gathered
	return r.pc.LocalDescription().SDP, nil
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
// at a key frame.
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
	for matched := 0; matched < unitsToMatch; {
		p, _, err := track.ReadRTP()
		if err != nil {
			return 0, err
		}
		part, err := depacketizer.Unmarshal(p.Payload)
		if err != nil {
			return 0, err
		}
		unit = append(unit, part...)
		if track.Kind() == webrtc.RTPCodecTypeVideo && !p.Marker {
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
