// Package sfutest is a small SFU made of pion, for tests and the demo: it offers tracks to the gateway over a real
// peer connection on the loopback interface, as an SFU does to a subscriber, and sends clips of real media on them.
//
// An [SFU] has one subscriber, the gateway, and any number of participants that publish. It can do to the gateway what real SFUs
// do: pause, rename and replace tracks ([SFU.Pause], [SFU.Rename], [SFU.Replace]), restart ICE, begin a new generation
// ([SFU.Reconnect]), trickle, lose answers, vanish. [Network] is what lies between. [WHIPPublisher] is a publisher that comes by itself.
package sfutest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	penstockv1 "github.com/penstock-media/penstock/api/penstock/v1"
	"github.com/penstock-media/penstock/internal/sfutest/clips"
	"github.com/pion/webrtc/v4"
)

// SFU is the SFU's side of one subscriber. All methods are safe for concurrent use; they run one after another.
type SFU struct {
	cfg    Config
	ctx    context.Context // ends when Close begins
	cancel context.CancelFunc

	mu     sync.Mutex // held through whole operations: negotiations are one after another
	peer   *peer      // the current generation
	tracks []*Track   // offered ones, in the order in which they came
	// pending is an offer that is applied here and was not answered. pion cannot take it back, so it is offered again.
	pending *pending
	lose    bool // the next answer
	closed  bool

	peersMu sync.Mutex
	peers   []*peer // of all generations, oldest first
}

// pending is an offer, and what sends its candidates, if they are not in it.
type pending struct {
	sdp     string
	trickle func(context.Context) error
}

// New makes an SFU. Nothing is sent before the first Publish or Add. Close must be called.
func New(cfg Config) (*SFU, error) {
	if err := cfg.complete(); err != nil {
		return nil, err
	}
	p, err := newPeer(&cfg, cfg.Generation)
	if err != nil {
		return nil, err
	}
	s := &SFU{cfg: cfg, peer: p, peers: []*peer{p}}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	return s, nil
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
	events := make([]*penstockv1.CallEvent, 0, len(tracks))
	for _, t := range tracks {
		published := &penstockv1.TrackPublished{Publication: t.Publication()}
		events = append(events, &penstockv1.CallEvent{Event: &penstockv1.CallEvent_TrackPublished{TrackPublished: published}})
	}
	return s.Report(ctx, events...)
}

// Add offers tracks in one negotiation and starts to send them.
func (s *SFU) Add(ctx context.Context, tracks ...*Track) error {
	return s.change(ctx, func() error {
		for _, t := range tracks {
			if slices.Contains(s.tracks, t) {
				return fmt.Errorf("%w: it is offered already", ErrUnknownTrack)
			}
			sender, err := s.peer.add(t.pacer.local)
			if err != nil {
				return fmt.Errorf("add %v: %w", t, err)
			}
			t.sender = sender
			s.tracks = append(s.tracks, t)
		}
		return nil
	})
}

// Remove takes tracks out of the offer, in one negotiation, without telling that they are unpublished.
func (s *SFU) Remove(ctx context.Context, tracks ...*Track) error {
	return s.change(ctx, func() error {
		for _, t := range tracks {
			if !slices.Contains(s.tracks, t) {
				return ErrUnknownTrack
			}
			t.pacer.stop()
			if err := s.peer.pc.RemoveTrack(t.sender); err != nil {
				return fmt.Errorf("remove %v: %w", t, err)
			}
			s.forget(t)
		}
		return nil
	})
}

func (s *SFU) forget(t *Track) {
	delete(s.peer.hearers, t.sender)
	t.sender = nil
	s.tracks = slices.DeleteFunc(s.tracks, func(other *Track) bool { return other == t })
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
	// A publisher falls silent before the call hears of it, and speaks after.
	if muted {
		event.Event = &penstockv1.CallEvent_TrackMuted{TrackMuted: &penstockv1.TrackMuted{ParticipantId: id, Source: t.Source}}
		t.pacer.setSilent(silentMuted, true)
	}
	err := s.Report(ctx, event)
	if !muted {
		t.pacer.setSilent(silentMuted, false)
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

// Connected is closed when media of the current generation can flow for the first time.
func (s *SFU) Connected() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.peer.connected
}

// Network is what lies between the SFU and the gateway.
func (s *SFU) Network() *Network { return s.cfg.Network }

// Close ends the peer connections and waits for every goroutine. It is idempotent.
func (s *SFU) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.close()
}

func (s *SFU) close() error {
	if s.closed {
		return nil
	}
	s.closed = true
	s.cancel()
	for _, t := range s.tracks {
		t.pacer.stop()
	}
	s.peersMu.Lock()
	peers := s.peers
	s.peersMu.Unlock()
	return closePeers(peers)
}

func closePeers(peers []*peer) error {
	var errs []error
	for _, p := range peers {
		if err := p.close(); err != nil && !errors.Is(err, webrtc.ErrConnectionClosed) {
			errs = append(errs, fmt.Errorf("close the peer connection of generation %d: %w", p.generation, err))
		}
	}
	return errors.Join(errs...)
}
