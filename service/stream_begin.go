package service

import (
	"time"

	penstockv1 "github.com/penstock-media/penstock/api/penstock/v1"
	"github.com/penstock-media/penstock/media"
	"github.com/penstock-media/penstock/resolverstore"
)

// begin sends the gap since the attachment before, and the header.
func (s *stream) begin(a *attachment) error {
	now := time.Now()
	s.time.next()
	if s.headers == 0 {
		s.beginTime(now, a.consumer.Replays())
		return s.sendHeader(a)
	}
	gap := time.Duration(0)
	if !s.received.IsZero() {
		gap = now.Sub(s.received)
	}
	s.call.open.event("media replaced", attrTrack.String(a.track.ID), attrMS.Int64(gap.Milliseconds()))
	err := s.sender.event(&penstockv1.StreamEvent{
		PresentationTimeNs: int64(s.time.wall(now)),
		Event: &penstockv1.StreamEvent_Gap{Gap: &penstockv1.Gap{
			Cause: penstockv1.GapCause_GAP_CAUSE_MEDIA_REPLACED, Milliseconds: milliseconds(gap),
		}},
	})
	if err != nil {
		return err
	}
	return s.sendHeader(a)
}

// beginTime places the stream on its time line.
func (s *stream) beginTime(now time.Time, r media.ReplayStart) {
	switch replays := !r.Received.IsZero(); {
	case s.resumed == nil && replays:
		s.time.startAt(r.Received, r.Time)
	case s.resumed == nil:
		s.time.start = now
	case replays:
		s.time.replayAt(r.Received, r.Time)
	}
}

// goOn makes the stream go on where the worker is.
func (s *stream) goOn(from mark) {
	s.resumed = &from
	s.time.goOn(from, s.sender.epoch)
	s.gap = penstockv1.GapCause_GAP_CAUSE_RECONNECTED
	if from.epoch != s.sender.epoch {
		s.gap = penstockv1.GapCause_GAP_CAUSE_OWNER_CHANGED
	}
	if s.received = from.start.Add(from.at); s.received.After(time.Now()) { // by another pod's clock
		s.received = time.Now()
	}
}

// tellGap tells, once and just before the first frame of a stream that goes on, what is missing before it.
func (s *stream) tellGap(at time.Duration) error {
	if s.gap == penstockv1.GapCause_GAP_CAUSE_UNSPECIFIED {
		return nil
	}
	cause := s.gap
	s.gap = penstockv1.GapCause_GAP_CAUSE_UNSPECIFIED
	s.call.open.event("gap", attrReason.String(cause.String()), attrMS.Int64((at - s.resumed.at).Milliseconds()))
	return s.sender.event(&penstockv1.StreamEvent{
		PresentationTimeNs: int64(at),
		Event: &penstockv1.StreamEvent_Gap{Gap: &penstockv1.Gap{
			Cause: cause, Milliseconds: milliseconds(at - s.resumed.at),
		}},
	})
}

// sendHeader says what follows. Without any packet the codec is unknown, and the clock rate is a guess of the usual one; a
// further header corrects both with the first frame.
func (s *stream) sendHeader(a *attachment) error {
	stats := a.media.Stats()
	track := a.describe(s.attach.session.key.ID)
	codec := track.GetMedia().GetCodec()
	s.headers++
	return s.announce(&penstockv1.StreamHeader{
		Track: track, Format: protoFormat(a.consumer, mediaCodec(codec)), Codec: codec, ClockRateHz: clockRate(stats, a.track.Kind),
		StartTimeUnixNs: s.time.start.UnixNano(),
	})
}

// announce sends a header with a fresh token.
func (s *stream) announce(h *penstockv1.StreamHeader) error {
	if err := s.call.unopened.header(); err != nil {
		return err
	}
	s.header, s.signed = h, time.Now()
	h.ResumeToken = s.svc.tokens.sign(s.attach.session.key, s.attach.selector, s.sender.epoch, s.time.start)
	if err := s.sender.header(h); err != nil {
		return err
	}
	s.call.began(s.time.start, s.sender.epoch)
	if s.renewal == nil {
		s.renewal = time.AfterFunc(s.svc.cfg.ResumeLife/2, s.attach.waker.wake)
	} else {
		s.renewal.Reset(s.svc.cfg.ResumeLife / 2)
	}
	return nil
}

// interject tells what has nothing to do with the media: that the process is about to stop, and a new token while the old one is still good.
func (s *stream) interject() error {
	if s.headers == 0 {
		return nil
	}
	if err := s.call.tellDrain(s.time.wall(time.Now())); err != nil {
		return err
	}
	if err := s.call.tellExpiry(s.time.wall(time.Now())); err != nil {
		return err
	}
	if time.Since(s.signed) < s.svc.cfg.ResumeLife/2 {
		return nil
	}
	return s.announce(s.header)
}

// clockRate returns the rate of RTP timestamps.
func clockRate(s media.TrackStats, kind resolverstore.Kind) uint32 {
	switch {
	case s.Codec.ClockRate != 0:
		return s.Codec.ClockRate
	case kind == resolverstore.KindAudio:
		return 48000
	default:
		return 90000
	}
}

// correctHeader sends the header again when the first packets told another codec.
func (s *stream) correctHeader(a *attachment) error {
	stats := a.media.Stats()
	if c := protoCodec(stats.Codec.Codec); c == 0 || c == s.header.GetCodec() && stats.Codec.ClockRate == s.header.GetClockRateHz() {
		return nil
	}
	return s.sendHeader(a)
}
