package sfutest

import (
	"time"

	"context"
	"fmt"
	"slices"

	penstockv1 "github.com/penstock-media/penstock/api/penstock/v1"
	"github.com/penstock-media/penstock/internal/sfutest/clips"
	"github.com/pion/rtcp"
	"github.com/pion/webrtc/v4"
)

// Pause makes tracks inactive in one negotiation: they stop, and their media descriptions stay. strip leaves the msid and the
// sources out of them, as some SFUs do; others leave the lines in.
func (s *SFU) Pause(ctx context.Context, strip bool, tracks ...*Track) error {
	return s.change(ctx, func() error {
		for _, t := range tracks {
			if !slices.Contains(s.tracks, t) {
				return ErrUnknownTrack
			}
			t.pacer.setSilent(silentPaused, true)
			t.form.inactive, t.form.stripped = true, strip
		}
		return nil
	})
}

// Resume makes tracks sendonly again, with the sources that they had, and sends when that is answered: first a key frame.
func (s *SFU) Resume(ctx context.Context, tracks ...*Track) error {
	err := s.change(ctx, func() error {
		for _, t := range tracks {
			if !slices.Contains(s.tracks, t) {
				return ErrUnknownTrack
			}
			t.form.inactive, t.form.stripped = false, false
		}
		return nil
	})
	if err == nil {
		for _, t := range tracks {
			t.pacer.setSilent(silentPaused, false)
		}
	}
	return err
}

// Rename gives a track another msid in place: nothing else changes. Two empty ids leave it out (a phantom).
func (s *SFU) Rename(ctx context.Context, t *Track, streamID, trackID string) error {
	return s.change(ctx, func() error {
		t.form.renamed, t.form.streamID, t.form.trackID = true, streamID, trackID
		return nil
	})
}

// Sources is which source a replacing track sends on.
type Sources uint8

// The ways.
const (
	// NewSource is another SSRC.
	NewSource Sources = iota
	// SameSource is the SSRC of the track before, with timestamps of its own. Sequence numbers leap forward: SRTP (RFC 3711
	// section 3.3.1) takes no others on a source.
	SameSource
	// SameSourceContinued is the SSRC of the track before, whose sequence numbers and timestamps it continues.
	SameSourceContinued
)

// Replace gives the media description of one track to another of the same kind, in one negotiation. The old one falls silent
// before the offer; the new one speaks when it is answered.
func (s *SFU) Replace(ctx context.Context, old, next *Track, sources Sources) error {
	return s.change(ctx, func() error {
		i := slices.Index(s.tracks, old)
		if i < 0 || slices.Contains(s.tracks, next) || old.pacer.local.kind != next.pacer.local.kind {
			return fmt.Errorf("%w: %v cannot be replaced by %v", ErrUnknownTrack, old, next)
		}
		old.pacer.stop()
		sender := old.sender
		if sources == NewSource {
			var err error
			if sender, err = s.peer.swap(sender, next.pacer.local); err != nil {
				return fmt.Errorf("replace %v: %w", old, err)
			}
		} else if err := sender.ReplaceTrack(next.pacer.local); err != nil {
			return fmt.Errorf("replace %v: %w", old, err)
		}
		if sources != NewSource {
			next.pacer.continueFrom(old.pacer, sources == SameSource)
		}
		if sender != old.sender {
			delete(s.peer.hearers, old.sender)
		}
		next.sender, old.sender = sender, nil
		s.tracks[i] = next
		return nil
	})
}

// SwitchSource gives a track another SSRC on the same media description, in one negotiation. Only the sources change.
func (s *SFU) SwitchSource(ctx context.Context, t *Track) error {
	return s.change(ctx, func() error {
		if !slices.Contains(s.tracks, t) {
			return ErrUnknownTrack
		}
		sender, err := s.peer.swap(t.sender, t.pacer.local)
		if err != nil {
			return fmt.Errorf("switch the source of %v: %w", t, err)
		}
		delete(s.peer.hearers, t.sender)
		t.sender = sender
		t.pacer.keyFrame.Store(true)
		return nil
	})
}

// Reconnect begins a new generation: a new peer connection with every track that is offered, which are sent on the older
// ones too until CloseOlder.
func (s *SFU) Reconnect(ctx context.Context) error {
	return s.change(ctx, func() error {
		p, err := newPeer(&s.cfg, s.peer.generation+1)
		if err != nil {
			return err
		}
		s.peersMu.Lock()
		s.peers = append(s.peers, p)
		s.peersMu.Unlock()
		before := s.peer
		s.peer, s.pending = p, nil
		for _, t := range s.tracks {
			select {
			case <-before.connected:
			default:
				t.pacer.stop() // It waits for a connection that may never come.
			}
			if t.sender, err = p.add(t.pacer.local); err != nil {
				return fmt.Errorf("add %v: %w", t, err)
			}
			t.pacer.keyFrame.Store(true)
		}
		return nil
	})
}

// CloseOlder closes the peer connections of all generations but the current one.
func (s *SFU) CloseOlder() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.peersMu.Lock()
	older := slices.DeleteFunc(slices.Clone(s.peers), func(p *peer) bool { return p == s.peer })
	s.peers = []*peer{s.peer}
	s.peersMu.Unlock()
	return closePeers(older)
}

// Generation is the current one.
func (s *SFU) Generation() uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.peer.generation
}

// Vanish is the end of an SFU that dies: everything is closed, and no close_notify (RFC 8446 section 6.1) reaches the gateway.
// The network stays cut.
func (s *SFU) Vanish() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cfg.Network.Cut()
	return s.close()
}

// State is that of the current generation's peer connection.
func (s *SFU) State() webrtc.PeerConnectionState {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.peer.pc.ConnectionState()
}

// Leave tells that a participant has left, and takes its tracks out of the offer.
func (s *SFU) Leave(ctx context.Context, participantID string) error {
	left := &penstockv1.ParticipantLeft{ParticipantId: participantID}
	if err := s.Report(ctx, &penstockv1.CallEvent{Event: &penstockv1.CallEvent_ParticipantLeft{ParticipantLeft: left}}); err != nil {
		return err
	}
	var gone []*Track
	s.mu.Lock()
	for _, t := range s.tracks {
		if t.Participant.ParticipantID == participantID {
			gone = append(gone, t)
		}
	}
	s.mu.Unlock()
	return s.Remove(ctx, gone...)
}

// Switch goes on with another clip of the same kind on the same source: the payload type changes with the codec, in mid-stream, without
// a negotiation. Retransmissions in a stream of their own keep the payload type of the first codec.
func (t *Track) Switch(clip clips.Clip) error {
	if clip.IsAudio() != t.Clip.IsAudio() {
		return fmt.Errorf("%w: %s is of another kind", ErrUnknownTrack, clip.Name)
	}
	t.pacer.mu.Lock()
	defer t.pacer.mu.Unlock()
	return t.pacer.setClip(clip)
}

// Probe sends packets that hold only padding (RFC 3550 section 5.1), as SFUs do to measure the path. They take sequence numbers.
func (t *Track) Probe(packets int) {
	t.pacer.mu.Lock()
	defer t.pacer.mu.Unlock()
	for range packets {
		t.pacer.packet(nil, false, 200)
	}
}

// Silence is what a muted microphone sends instead of its clip.
type Silence uint8

// The kinds of silence.
const (
	// SilenceNone is the clip.
	SilenceNone Silence = iota
	// SilenceEncoded is what an encoder of Opus makes of digital silence, as browsers go on to send.
	SilenceEncoded
	// SilenceFilled is by what LiveKit fills a muted track: the same, and zeros.
	SilenceFilled
)

// Silence sends silence of Opus from now on, or the clip again.
func (t *Track) Silence(s Silence) {
	t.pacer.mu.Lock()
	defer t.pacer.mu.Unlock()
	switch encoded := []byte{0xf8, 0xff, 0xfe}; s {
	case SilenceEncoded:
		t.pacer.hush = encoded
	case SilenceFilled:
		t.pacer.hush = append(encoded, make([]byte, 77)...)
	default:
		t.pacer.hush = nil
	}
}

// Press sends a telephone key (RFC 4733) at once, on a clock of 8000 or 48000 Hz: where it begins, how long it is by half, and its end three
// times. code is the key's, volume in -dBm0.
func (t *Track) Press(code, volume uint8, length time.Duration, clock uint32) {
	t.pacer.mu.Lock()
	defer t.pacer.mu.Unlock()
	p := t.pacer
	before := p.settings
	defer func() { p.settings = before }()
	p.settings.PayloadType, p.settings.Redundancy = keysAt48k, 0
	if clock == 8000 {
		p.settings.PayloadType = keysAt8k
	}
	ticks := uint16(length.Seconds() * float64(clock))
	for i, duration := range []uint16{0, ticks / 2, ticks, ticks, ticks} {
		payload := []byte{code, volume, byte(duration >> 8), byte(duration)}
		if i >= 2 {
			payload[1] |= 0x80
		}
		p.packet(payload, i == 0, 0)
	}
}

// SetPackets sets how packets are written from now on.
func (t *Track) SetPackets(p Packets) {
	t.pacer.mu.Lock()
	defer t.pacer.mu.Unlock()
	t.pacer.settings = p
}

// Observe sets who is told of what the track sends and hears from now on.
func (t *Track) Observe(o Observer) {
	t.pacer.mu.Lock()
	defer t.pacer.mu.Unlock()
	t.pacer.observer = o
}

// WriteRTCP sends RTCP as it is, on the peer connection of the current generation.
func (s *SFU) WriteRTCP(packets ...rtcp.Packet) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.peer.pc.WriteRTCP(packets)
}

// SetSSRC sends on another source from now on, which no offer tells; 0 is the negotiated one again. RTCP about it
// is not heard; a key frame comes first.
func (t *Track) SetSSRC(ssrc uint32) {
	t.pacer.mu.Lock()
	defer t.pacer.mu.Unlock()
	t.pacer.ssrc = ssrc
	t.pacer.keyFrame.Store(true)
}

// Hold stops sending, without telling, or goes on with a key frame. A track that is held before it is added is never sent before.
func (t *Track) Hold(on bool) { t.pacer.setSilent(silentHeld, on) }

// SetMSID is Rename without a negotiation: the next offer has it.
func (t *Track) SetMSID(streamID, trackID string) {
	t.form.renamed, t.form.streamID, t.form.trackID = true, streamID, trackID
}

// continueFrom takes the numbering over, or leaps ahead of it. The pacer before must have been stopped.
func (p *pacer) continueFrom(before *pacer, leap bool) {
	const ahead = 5000
	n, _, _ := before.state()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.numbering.sequence = n.sequence + ahead
	if !leap {
		p.numbering = n
	}
}
