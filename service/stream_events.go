package service

import (
	"context"
	"errors"
	"time"

	"go.opentelemetry.io/otel/attribute"

	penstockv1 "github.com/penstock-media/penstock/api/penstock/v1"
	"github.com/penstock-media/penstock/media"
	"github.com/penstock-media/penstock/resolverstore"
)

// pause merges what the store says of a track (muted, inactive) and what its media say into what a worker is told, once.
type pause struct {
	byStore, byMedia bool
	muted            bool
	told             bool
}

// store takes what the store says, and returns what to tell.
func (p *pause) store(paused, muted bool) *pause {
	p.byStore, p.muted = paused, muted
	return p
}

// media takes what the media say, and returns what to tell.
func (p *pause) media(paused, muted bool) *pause {
	p.byMedia = paused
	p.muted = p.muted || muted
	return p
}

// change returns whether something is to be told, and what.
func (p *pause) change() (paused, news bool) {
	paused = p.byStore || p.byMedia
	news = paused != p.told
	p.told = paused
	return paused, news
}

// tellPause tells that frames stop or go on, if that is news.
func (s *stream) tellPause(p *pause, at time.Duration) error {
	paused, news := p.change()
	if !news {
		return nil
	}
	e := &penstockv1.StreamEvent{PresentationTimeNs: int64(at)}
	if paused {
		e.Event = &penstockv1.StreamEvent_Paused{Paused: &penstockv1.TrackPaused{Muted: p.muted}}
	} else {
		e.Event = &penstockv1.StreamEvent_Resumed{Resumed: &penstockv1.TrackResumed{}}
	}
	return s.sender.event(e)
}

// untold is what frames that were left out had to say of what is missing before them; the next frame says it.
type untold struct {
	lost, dropped media.Loss
	silence       time.Duration
}

func (u *untold) add(f *media.Frame) {
	u.lost.Add(f.Lost)
	u.dropped.Add(f.Dropped)
	u.silence += f.Silence
}

func (u *untold) tell(f *media.Frame) {
	f.Lost.Add(u.lost)
	f.Dropped.Add(u.dropped)
	f.Silence += u.silence
	*u = untold{}
}

// mediaEvent tells what happened to the media.
func (s *stream) mediaEvent(a *attachment, e *media.Event) error {
	if e.Kind == media.EventKey {
		return s.key(e)
	}
	at := s.time.event(e.Time, time.Now())
	s.traceEvent(e)
	out := &penstockv1.StreamEvent{PresentationTimeNs: int64(at)}
	switch e.Kind {
	case media.EventPaused:
		return s.tellPause(s.pause.media(true, e.Muted), at)
	case media.EventResumed:
		return s.tellPause(s.pause.media(false, false), at)
	case media.EventFormatChanged:
		out.Event = &penstockv1.StreamEvent_FormatChanged{FormatChanged: &penstockv1.FormatChanged{
			Codec: protoCodec(e.Codec), Width: uint32(e.Width), Height: uint32(e.Height),
		}}
	case media.EventGap:
		out.Event = &penstockv1.StreamEvent_Gap{Gap: &penstockv1.Gap{
			Cause: penstockv1.GapCause_GAP_CAUSE_NETWORK_LOSS, Milliseconds: milliseconds(e.Gap),
		}}
	case media.EventTooLarge:
		out.Event = &penstockv1.StreamEvent_FrameTooLarge{FrameTooLarge: &penstockv1.FrameTooLarge{
			MessageBytes: uint64(e.PayloadBytes + headerRoom), MaxReceiveMessageBytes: uint64(s.attach.limit),
		}}
	case media.EventUndecodable:
		out.Event = &penstockv1.StreamEvent_Undecodable{Undecodable: &penstockv1.Undecodable{
			Codec: protoCodec(e.Codec), Reason: e.Reason,
		}}
	case media.EventQualityLimited:
		out.Event = &penstockv1.StreamEvent_QualityLimited{QualityLimited: protoLimit(e.Limit)}
	default:
		return nil
	}
	if err := s.sender.event(out); err != nil || e.Kind != media.EventFormatChanged {
		return err
	}
	return s.correctHeader(a)
}

// traceEvent tells in the stream's trace what is wrong with the media.
func (s *stream) traceEvent(e *media.Event) {
	o := s.call.open
	switch e.Kind {
	case media.EventGap:
		o.event("gap", attrReason.String("NETWORK_LOSS"), attrMS.Int64(e.Gap.Milliseconds()))
	case media.EventTooLarge:
		o.event("frame too large", attribute.Int("penstock.payload_bytes", e.PayloadBytes), attribute.Int("penstock.limit", s.attach.limit))
	case media.EventUndecodable:
		o.event("undecodable", attribute.Stringer("penstock.codec", e.Codec), attrReason.String(e.Reason))
	case media.EventQualityLimited:
		if e.Limit == (media.QualityLimit{}) {
			o.event("quality limit over")
			return
		}
		o.event("quality limited", attribute.Bool("penstock.suspended", e.Limit.Suspended), attribute.Float64("penstock.max_fps", e.Limit.MaxFPS),
			attribute.Int("penstock.max_width", e.Limit.Width), attribute.Int("penstock.max_height", e.Limit.Height))
	}
}

// protoLimit returns a limit, or that there is none any longer.
func protoLimit(q media.QualityLimit) *penstockv1.QualityLimited {
	if q == (media.QualityLimit{}) {
		return &penstockv1.QualityLimited{}
	}
	return &penstockv1.QualityLimited{
		Limited: true, Suspended: q.Suspended, MaxFps: q.MaxFPS, MaxWidth: uint32(q.Width), MaxHeight: uint32(q.Height),
		Reason: penstockv1.QualityLimitReason_QUALITY_LIMIT_REASON_CPU,
	}
}

// key tells of a telephone key. It lies where it began, which may be before frames that were sent.
func (s *stream) key(e *media.Event) error {
	return s.sender.event(&penstockv1.StreamEvent{
		PresentationTimeNs: int64(s.time.at(e.Time, time.Now())),
		Event: &penstockv1.StreamEvent_Dtmf{Dtmf: &penstockv1.Dtmf{
			Key: string(e.Key), DurationMs: milliseconds(e.Length), VolumeDbm0: uint32(e.Volume),
		}},
	})
}

// finish turns the end of a track that was streamed into the ended event and OK. Anything else is an error, as is
// an end before the stream has begun.
func (s *stream) finish(ctx context.Context, err error) error {
	if s.headers == 0 {
		return err
	}
	var reason resolverstore.TrackEndReason
	switch {
	case errors.Is(err, resolverstore.ErrParticipantLeft):
		reason = resolverstore.TrackParticipantLeft
	case errors.Is(err, resolverstore.ErrTrackNotFound), errors.Is(err, resolverstore.ErrSessionEnded):
		ended := func() bool { _, ended, _ := s.attach.follow.state(); return ended }
		if err := s.attach.waker.await(ctx, ended); err != nil {
			return err
		}
		if s.attach.session.moved.Err() != nil { // What is over here goes on there.
			return errMoved
		}
		_, _, reason = s.attach.follow.state()
		if errors.Is(err, resolverstore.ErrSessionEnded) {
			reason = s.svc.sessionEnd(ctx, s.attach.session.key)
		}
	default:
		return err
	}
	return s.sender.event(&penstockv1.StreamEvent{
		PresentationTimeNs: int64(s.time.wall(time.Now())),
		Event:              &penstockv1.StreamEvent_Ended{Ended: &penstockv1.TrackEnded{Reason: penstockv1.TrackEndReason(reason)}},
	})
}

// sessionEnd returns why a track ended that ended with its session.
func (s *Service) sessionEnd(ctx context.Context, k resolverstore.SessionKey) resolverstore.TrackEndReason {
	rec, err := s.cfg.Store.GetSession(ctx, k)
	if err != nil {
		return resolverstore.TrackSessionExpired
	}
	return trackEnd(rec.EndReason)
}

// trackEnd returns why tracks of a session ended that ended for a reason.
func trackEnd(r resolverstore.SessionEndReason) resolverstore.TrackEndReason {
	if r == resolverstore.SessionDeleted {
		return resolverstore.TrackSessionDeleted
	}
	return resolverstore.TrackSessionExpired
}
