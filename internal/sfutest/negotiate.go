package sfutest

import (
	"context"
	"sync/atomic"

	"github.com/pion/webrtc/v4"
)

// Offer makes the next offer without bringing it to the gateway, or returns the one that was not answered. It is for tests that
// bring it themselves; Accept takes the answer.
func (s *SFU) Offer(ctx context.Context) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return "", ErrClosed
	}
	if s.pending == nil {
		if err := s.prepare(ctx, nil); err != nil {
			return "", err
		}
	}
	return s.pending.sdp, nil
}

// Accept takes the answer to what Offer returned, and starts to send what it added.
func (s *SFU) Accept(answer string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return ErrClosed
	}
	return s.accept(answer)
}

// LoseAnswer loses the answer to the next offer on its way: that operation returns ErrAnswerLost, and the one after it
// offers the same once more.
func (s *SFU) LoseAnswer() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lose = true
}

// change changes what is sent and then negotiates.
func (s *SFU) change(ctx context.Context, change func() error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return ErrClosed
	}
	if err := change(); err != nil {
		return err
	}
	return s.negotiate(ctx, nil)
}

// negotiate makes one round of offer and answer, and starts what has not started yet. The caller holds mu.
func (s *SFU) negotiate(ctx context.Context, options *webrtc.OfferOptions) error {
	if s.pending != nil {
		if err := s.exchange(ctx); err != nil {
			return err
		}
	}
	if err := s.prepare(ctx, options); err != nil {
		return err
	}
	return s.exchange(ctx)
}

// prepare makes an offer that waits to be answered.
func (s *SFU) prepare(ctx context.Context, options *webrtc.OfferOptions) error {
	text, err := s.peer.offer(ctx, options)
	if err != nil {
		return err
	}
	s.peer.inbox.shut()
	d := parseDescription(text)
	for _, t := range s.tracks {
		if m := d.section(s.peer.mid(t.sender)); m != nil {
			t.edit(m)
		}
	}
	s.cfg.edit(d)
	s.pending = &pending{}
	if s.cfg.Trickle != TrickleOff {
		s.pending.trickle = s.trickle(d)
	}
	s.pending.sdp = d.String()
	if s.cfg.Mangle != nil {
		s.pending.sdp = s.cfg.Mangle(s.pending.sdp)
	}
	return nil
}

// exchange brings the pending offer to the gateway and applies the answer.
func (s *SFU) exchange(ctx context.Context) error {
	trickled := make(chan error, 1)
	switch trickle := s.pending.trickle; {
	case trickle == nil:
		trickled <- nil
	case s.cfg.Trickle == TrickleBefore:
		trickled <- trickle(ctx)
	default:
		go func() { trickled <- trickle(ctx) }()
	}
	answer, err := s.cfg.Signaller.Negotiate(ctx, s.peer.generation, s.pending.sdp)
	if trickleErr := <-trickled; err == nil {
		err = trickleErr
	}
	if err != nil {
		return err
	}
	if s.lose {
		s.lose = false
		return ErrAnswerLost
	}
	return s.accept(answer)
}

// accept applies an answer and starts what has not started yet.
func (s *SFU) accept(answer string) error {
	if err := s.peer.answer(answer); err != nil {
		return err
	}
	s.pending = nil
	for _, t := range s.tracks {
		s.listen(t)
		t.pacer.start(s.ctx, s.peer.connected)
	}
	return nil
}

// listen lets a track hear the RTCP of its sender, which is read until it is stopped: by one reader, whoever the sender belongs to.
func (s *SFU) listen(t *Track) {
	p, sender := s.peer, t.sender
	for _, e := range sender.GetParameters().Encodings {
		t.pacer.local.setMID(uint32(e.SSRC), p.mid(sender))
	}
	hearer, known := p.hearers[sender]
	if known {
		hearer.Store(t.pacer)
		return
	}
	hearer = &atomic.Pointer[pacer]{}
	hearer.Store(t.pacer) // Reports may be there already.
	p.hearers[sender] = hearer
	p.work.Go(func() { readRTCP(sender, hearer.Load) })
}
