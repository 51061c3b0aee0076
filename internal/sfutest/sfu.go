// Package sfutest is a small SFU made of pion, for tests and the demo: it offers tracks to the gateway over a real
// peer connection on the loopback interface, as an SFU does to a subscriber, and sends clips of real media on them.
//
// An [SFU] has one subscriber, the gateway, and any number of participants that publish. [WHIPPublisher] is a publisher
// that comes by itself.
package sfutest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	penstockv1 "github.com/penstock-media/penstock/api/penstock/v1"
	"github.com/penstock-media/penstock/internal/sfutest/clips"
	"github.com/pion/webrtc/v4"
)

// Config is what an SFU needs.
type Config struct {
	// Signaller carries offers and events to the gateway. Required.
	Signaller Signaller
	// MSID is how tracks are named in the offers.
	MSID MSID
	// Generation is which of the SFU's peer connections this is; 0 is 1.
	Generation uint64
}

// SFU is the SFU's side of one subscriber. All methods are safe for concurrent use; they run one after another.
type SFU struct {
	cfg  Config
	peer *peer

	mu     sync.Mutex // held through whole operations: negotiations are one after another
	tracks map[*Track]struct{}
	// pending is an offer that is applied here and was not answered. pion cannot take it back, so it is offered again.
	pending string
	closed  bool
}

// New makes an SFU. Nothing is sent before the first Publish or Add. Close must be called.
func New(cfg Config) (*SFU, error) {
	if cfg.Signaller == nil {
		return nil, fmt.Errorf("%w: Signaller", ErrConfig)
	}
	if cfg.Generation == 0 {
		cfg.Generation = 1
	}
	p, err := newPeer()
	if err != nil {
		return nil, err
	}
	return &SFU{cfg: cfg, peer: p, tracks: map[*Track]struct{}{}}, nil
}

// NewTrack makes a track that is neither announced nor sent yet.
func (s *SFU) NewTrack(p Participant, source penstockv1.Source, clip clips.Clip) (*Track, error) {
	return newTrack(p, source, clip, s.cfg.MSID)
}

// Publish announces tracks and then offers them, in one negotiation.
func (s *SFU) Publish(ctx context.Context, tracks ...*Track) error {
	if err := s.Announce(ctx, tracks...); err != nil {
		return err
	}
	return s.Add(ctx, tracks...)
}

// Announce tells the gateway that tracks are published, whether or not they are offered.
func (s *SFU) Announce(ctx context.Context, tracks ...*Track) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	events := make([]*penstockv1.CallEvent, 0, len(tracks))
	for _, t := range tracks {
		published := &penstockv1.TrackPublished{Publication: t.Publication()}
		events = append(events, &penstockv1.CallEvent{Event: &penstockv1.CallEvent_TrackPublished{TrackPublished: published}})
	}
	return s.cfg.Signaller.ReportEvents(ctx, events...)
}

// Add offers tracks in one negotiation and starts to send them.
func (s *SFU) Add(ctx context.Context, tracks ...*Track) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return ErrClosed
	}
	for _, t := range tracks {
		if _, present := s.tracks[t]; present {
			return fmt.Errorf("%w: it is offered already", ErrUnknownTrack)
		}
		sender, err := s.peer.add(t.pacer.local)
		if err != nil {
			return fmt.Errorf("add the %v of %s: %w", t.Source, t.Participant.ParticipantID, err)
		}
		t.sender = sender
		s.tracks[t] = struct{}{}
	}
	return s.negotiate(ctx, nil)
}

// Remove takes tracks out of the offer, in one negotiation, without telling that they are unpublished.
func (s *SFU) Remove(ctx context.Context, tracks ...*Track) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return ErrClosed
	}
	for _, t := range tracks {
		if _, present := s.tracks[t]; !present {
			return ErrUnknownTrack
		}
		if err := s.peer.pc.RemoveTrack(t.sender); err != nil {
			return fmt.Errorf("remove the %v of %s: %w", t.Source, t.Participant.ParticipantID, err)
		}
		t.pacer.stop()
		t.sender = nil
		delete(s.tracks, t)
	}
	return s.negotiate(ctx, nil)
}

// Unpublish tells that tracks are unpublished and takes them out of the offer.
func (s *SFU) Unpublish(ctx context.Context, tracks ...*Track) error {
	events := make([]*penstockv1.CallEvent, 0, len(tracks))
	for _, t := range tracks {
		gone := &penstockv1.TrackUnpublished{ParticipantId: t.Participant.ParticipantID, Source: t.Source}
		events = append(events, &penstockv1.CallEvent{Event: &penstockv1.CallEvent_TrackUnpublished{TrackUnpublished: gone}})
	}
	if err := s.Report(ctx, events...); err != nil {
		return err
	}
	return s.Remove(ctx, tracks...)
}

// Mute tells that a track is muted, or no longer, and stops sending it, or goes on. There is no negotiation.
func (s *SFU) Mute(ctx context.Context, t *Track, muted bool) error {
	id := t.Participant.ParticipantID
	event := &penstockv1.CallEvent{Event: &penstockv1.CallEvent_TrackUnmuted{TrackUnmuted: &penstockv1.TrackUnmuted{ParticipantId: id, Source: t.Source}}}
	if muted {
		event.Event = &penstockv1.CallEvent_TrackMuted{TrackMuted: &penstockv1.TrackMuted{ParticipantId: id, Source: t.Source}}
	}
	// A publisher falls silent before the call hears of it, and speaks after.
	if muted {
		t.pacer.muted.Store(true)
	}
	err := s.Report(ctx, event)
	if !muted {
		t.pacer.keyFrame.Store(true)
		t.pacer.muted.Store(false)
	}
	return err
}

// Report tells the gateway of other events.
func (s *SFU) Report(ctx context.Context, events ...*penstockv1.CallEvent) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cfg.Signaller.ReportEvents(ctx, events...)
}

// Renegotiate offers what there is once more, with new ICE credentials if restart is set (RFC 8445 section 2.4).
func (s *SFU) Renegotiate(ctx context.Context, restart bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return ErrClosed
	}
	return s.negotiate(ctx, &webrtc.OfferOptions{ICERestart: restart})
}

// Connected is closed when media can flow for the first time.
func (s *SFU) Connected() <-chan struct{} { return s.peer.connected }

// Close ends the peer connection and waits for every goroutine. It is idempotent.
func (s *SFU) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	if err := s.peer.close(); err != nil && !errors.Is(err, webrtc.ErrConnectionClosed) {
		return fmt.Errorf("close the peer connection: %w", err)
	}
	return nil
}

// negotiate makes one round of offer and answer, and starts what has not started yet. The caller holds mu.
func (s *SFU) negotiate(ctx context.Context, options *webrtc.OfferOptions) error {
	if s.pending != "" {
		if err := s.exchange(ctx); err != nil {
			return err
		}
	}
	offer, err := s.peer.offer(ctx, options)
	if err != nil {
		return err
	}
	if s.cfg.MSID == MSIDNone {
		offer = withoutMSID(offer)
	}
	s.pending = offer
	if err := s.exchange(ctx); err != nil {
		return err
	}
	for t := range s.tracks {
		t.pacer.start(s.peer, t.sender)
	}
	return nil
}

// exchange brings the pending offer to the gateway and applies the answer.
func (s *SFU) exchange(ctx context.Context) error {
	answer, err := s.cfg.Signaller.Negotiate(ctx, s.cfg.Generation, s.pending)
	if err != nil {
		return err
	}
	if err := s.peer.answer(answer); err != nil {
		return err
	}
	s.pending = ""
	return nil
}

// withoutMSID leaves out every line that tells stream and track ids.
func withoutMSID(sdp string) string {
	lines := strings.SplitAfter(sdp, "\n")
	kept := lines[:0]
	for _, line := range lines {
		isMSID := strings.HasPrefix(line, "a=msid:") ||
			strings.HasPrefix(line, "a=ssrc:") && (strings.Contains(line, " msid:") || strings.Contains(line, " mslabel:") || strings.Contains(line, " label:"))
		if !isMSID {
			kept = append(kept, line)
		}
	}
	return strings.Join(kept, "")
}
