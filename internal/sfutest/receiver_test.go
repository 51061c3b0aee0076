package sfutest_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os/exec"
	"sync"
	"testing"
	"time"

	penstockv1 "github.com/penstock-media/penstock/api/penstock/v1"
	"github.com/penstock-media/penstock/internal/sfutest/clips"
	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/rtp/codecs"
	"github.com/pion/webrtc/v4"
	"github.com/pion/webrtc/v4/pkg/media/h264writer"
	"github.com/pion/webrtc/v4/pkg/media/ivfwriter"
	"github.com/pion/webrtc/v4/pkg/media/oggwriter"
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

// mark decodes packets of a track with the ffmpeg program and returns the watermark or tone found. It reads on until enough has come.
func mark(ctx context.Context, track *webrtc.TrackRemote) (int, error) {
	var file bytes.Buffer
	writer, err := newWriter(&file, track.Codec().MimeType)
	if err != nil {
		return 0, err
	}
	if err := track.SetReadDeadline(time.Now().Add(hangLimit)); err != nil {
		return 0, err
	}
	var first uint32
	for i := 0; ; i++ {
		p, _, err := track.ReadRTP()
		if err != nil {
			return 0, err
		}
		if i == 0 {
			first = p.Timestamp
		}
		if p.Timestamp-first > track.Codec().ClockRate*3/2 {
			break
		}
		if err := writer.WriteRTP(p); err != nil {
			return 0, err
		}
	}
	if err := writer.Close(); err != nil {
		return 0, err
	}
	if track.Kind() == webrtc.RTPCodecTypeAudio {
		pcm, err := ffmpeg(ctx, file.Bytes(), "-ac", "1", "-ar", "16000", "-f", "s16le", "-")
		if err != nil {
			return 0, err
		}
		samples := make([]int16, len(pcm)/2)
		for i := range samples {
			samples[i] = int16(binary.LittleEndian.Uint16(pcm[2*i:]))
		}
		hz, _ := clips.ToneAt(samples, 16000)
		return hz, nil
	}
	gray, err := ffmpeg(ctx, file.Bytes(), "-frames:v", "1", "-vf", "scale=320:180", "-pix_fmt", "gray", "-f", "rawvideo", "-")
	if err != nil {
		return 0, err
	}
	id, _ := clips.ReadWatermark(gray, 320, 180, 320)
	return id, nil
}

type rtpWriter interface {
	WriteRTP(*rtp.Packet) error
	Close() error
}

func newWriter(w io.Writer, mimeType string) (rtpWriter, error) {
	switch mimeType {
	case webrtc.MimeTypeVP8:
		return ivfwriter.NewWith(w)
	case webrtc.MimeTypeH264:
		return h264writer.NewWith(w), nil
	case webrtc.MimeTypeOpus:
		return oggwriter.NewWith(w, 48000, 2)
	}
	return nil, fmt.Errorf("no writer for %s", mimeType)
}

func ffmpeg(ctx context.Context, in []byte, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, "ffmpeg", append([]string{"-v", "error", "-i", "pipe:0"}, args...)...)
	cmd.Stdin = bytes.NewReader(in)
	var out, complaint bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &complaint
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("ffmpeg: %w: %s", err, complaint.Bytes())
	}
	return out.Bytes(), nil
}
