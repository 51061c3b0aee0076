package main

import (
	"context"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/penstock-media/penstock/internal/sfutest/clips"
	"github.com/pion/interceptor"
	"github.com/pion/rtp"
	"github.com/pion/webrtc/v4"
)

// mtu is the largest RTP packet, as other WebRTC senders have it.
const mtu = 1200

// exchange brings an offer to the receiver and returns its answer.
type exchange func(ctx context.Context, offer string, tracks []*sendTrack) (answer string, err error)

// sender is one peer connection that offers and paces tracks, as an SFU does to a subscriber.
type sender struct {
	load      load
	pc        *webrtc.PeerConnection
	tracks    []*sendTrack
	units     []clips.Unit
	connected chan struct{}
	work      sync.WaitGroup
}

// sendTrack is one track of a sender.
type sendTrack struct {
	index     int // among the sender's
	local     *webrtc.TrackLocalStaticRTP
	pion      *webrtc.RTPTransceiver
	payloader rtp.Payloader
	sequence  rtp.Sequencer
}

// newSender makes a sender that has offered nothing yet.
func newSender(l load) (*sender, error) {
	units, err := l.units()
	if err != nil {
		return nil, err
	}
	pc, err := newPeerConnection()
	if err != nil {
		return nil, err
	}
	s := &sender{load: l, pc: pc, units: units, connected: make(chan struct{})}
	var once sync.Once
	pc.OnConnectionStateChange(func(state webrtc.PeerConnectionState) {
		if state == webrtc.PeerConnectionStateConnected {
			once.Do(func() { close(s.connected) })
		}
	})
	for i := range l.tracks {
		if err := s.add(i); err != nil {
			_ = pc.GracefulClose()
			return nil, err
		}
	}
	return s, nil
}

// newPeerConnection returns one on the loopback interface, with the feedback that SFUs negotiate: NACK, PLI, reports, and
// transport-wide sequence numbers.
func newPeerConnection() (*webrtc.PeerConnection, error) {
	engine := &webrtc.MediaEngine{}
	if err := engine.RegisterDefaultCodecs(); err != nil {
		return nil, fmt.Errorf("register codecs: %w", err)
	}
	registry := &interceptor.Registry{}
	if err := webrtc.ConfigureTWCCHeaderExtensionSender(engine, registry); err != nil {
		return nil, fmt.Errorf("configure transport-wide sequence numbers: %w", err)
	}
	if err := webrtc.RegisterDefaultInterceptors(engine, registry); err != nil {
		return nil, fmt.Errorf("register interceptors: %w", err)
	}
	settings := webrtc.SettingEngine{}
	settings.SetIncludeLoopbackCandidate(true)
	settings.SetIPFilter(func(ip net.IP) bool { return ip.IsLoopback() })
	settings.SetNetworkTypes([]webrtc.NetworkType{webrtc.NetworkTypeUDP4})
	api := webrtc.NewAPI(webrtc.WithMediaEngine(engine), webrtc.WithInterceptorRegistry(registry), webrtc.WithSettingEngine(settings))
	return api.NewPeerConnection(webrtc.Configuration{})
}

func (s *sender) add(i int) error {
	clip := s.load.clip()
	payloader, fmtp := payloaderOf(clip.Codec)
	capability := webrtc.RTPCodecCapability{MimeType: clip.MimeType(), ClockRate: clip.ClockRate, SDPFmtpLine: fmtp}
	word := "VIDEO"
	if clip.IsAudio() {
		capability.Channels, word = 2, "AUDIO"
	}
	local, err := webrtc.NewTrackLocalStaticRTP(capability, fmt.Sprintf("track-%d", i), participantID(i)+":TRACK_TYPE_"+word)
	if err != nil {
		return fmt.Errorf("create a track: %w", err)
	}
	t, err := s.pc.AddTransceiverFromTrack(local, webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionSendonly})
	if err != nil {
		return fmt.Errorf("add a track: %w", err)
	}
	s.tracks = append(s.tracks, &sendTrack{index: i, local: local, pion: t, payloader: payloader, sequence: rtp.NewRandomSequencer()})
	return nil
}

// connect negotiates, and waits until media can flow.
func (s *sender) connect(ctx context.Context, swap exchange) error {
	description, err := s.pc.CreateOffer(nil)
	if err != nil {
		return fmt.Errorf("create an offer: %w", err)
	}
	gathered := webrtc.GatheringCompletePromise(s.pc)
	if err := s.pc.SetLocalDescription(description); err != nil {
		return fmt.Errorf("apply the offer: %w", err)
	}
	select {
	case <-gathered:
	case <-ctx.Done():
		return ctx.Err()
	}
	answer, err := swap(ctx, s.pc.LocalDescription().SDP, s.tracks)
	if err != nil {
		return err
	}
	if err := s.pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: answer}); err != nil {
		return fmt.Errorf("apply the answer: %w", err)
	}
	select {
	case <-s.connected:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("connect: %w", ctx.Err())
	}
}

// send paces all tracks until ctx ends. Their frames are spread evenly over the interval, as those of publishers who do not
// know each other are. Requests for key frames are read and not answered, so that everybody gets the same pictures.
func (s *sender) send(ctx context.Context) {
	for _, t := range s.tracks {
		s.work.Go(func() {
			buffer := make([]byte, 1500)
			for {
				if _, _, err := t.pion.Sender().Read(buffer); err != nil {
					return
				}
			}
		})
	}
	s.work.Go(func() { s.pace(ctx) })
}

func (s *sender) pace(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	begin := time.Now()
	for n := 0; ; n++ {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		track, unit := n%len(s.tracks), n/len(s.tracks)
		s.write(s.tracks[track], unit)
		timer.Reset(time.Until(begin.Add(dueAt(n+1, len(s.tracks), s.load.interval()))))
	}
}

// dueAt is when the n-th frame of all tracks together is due. It does not add up, and so does not drift.
func dueAt(n, tracks int, interval time.Duration) time.Duration {
	return time.Duration(n/tracks)*interval + time.Duration(n%tracks)*interval/time.Duration(tracks)
}

func (s *sender) write(t *sendTrack, n int) {
	clip := s.load.clip()
	payloads := t.payloader.Payload(mtu-24, s.units[n%len(s.units)].Data)
	for i, payload := range payloads {
		packet := rtp.Packet{
			Header: rtp.Header{
				Version: 2, SequenceNumber: t.sequence.NextSequenceNumber(),
				Timestamp: uint32(n) * (clip.ClockRate / uint32(clip.UnitsPerSecond())),
				Marker:    !clip.IsAudio() && i == len(payloads)-1,
			},
			Payload: payload,
		}
		// An error is that of a connection on its way down; the receiver's count tells.
		_ = t.local.WriteRTP(&packet)
	}
}

// close ends the peer connection and waits for every goroutine; ctx of send must have ended.
func (s *sender) close() error {
	err := s.pc.GracefulClose()
	s.work.Wait()
	return err
}
