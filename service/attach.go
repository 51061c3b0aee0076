package service

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.opentelemetry.io/otel/trace"

	penstockv1 "github.com/penstock-media/penstock/api/penstock/v1"
	"github.com/penstock-media/penstock/media"
	"github.com/penstock-media/penstock/resolverstore"
)

// attacher finds the media that serve a selector, one after another, and attaches consumers to them. It is used by one
// goroutine, but for its waker.
type attacher struct {
	svc      *Service
	session  *session
	selector resolverstore.Selector
	request  func(resolverstore.Track) (media.Request, error)
	prefix   string // path of the format's fields in the request
	limit    int    // of a message, in bytes
	room     int    // of a message that is not the payload, in bytes
	waker    waker
	follow   *following // the track attached to last; nil before the first
	served   string     // the media attached to last, by id
	want     *want      // what is wanted for it
	woken    func() error
	open     *opening // of the call that it has attached for
}

// attachment is a consumer and what it is attached to.
type attachment struct {
	track    resolverstore.Track // as resolved
	media    *media.Track
	consumer *media.Consumer
	ctx      context.Context // whoever serves it
	begun    bool            // a frame was sent
}

// close stops to follow and to want.
func (a *attacher) close() {
	a.unfollow()
	a.want.close()
	a.session.unfeed(a.open)
}

// unfollow stops to follow.
func (a *attacher) unfollow() {
	if a.follow != nil {
		a.follow.close()
	}
}

// resolve waits for the selected track. woken is called whenever the waker interrupts.
func (a *attacher) resolve(ctx context.Context) (t resolverstore.Track, err error) {
	spanCtx, span := a.svc.short(ctx, spanResolve, trace.WithAttributes(attrSession.String(a.session.key.ID)))
	over := a.svc.resolution(spanCtx)
	defer func() {
		over(err)
		span.set(attrTrack.String(t.ID))
		span.end(err)
	}()
	defer context.AfterFunc(a.session.unheard, a.waker.wake)()
	for {
		wait := a.waker.context(spanCtx)
		if a.session.unheard.Err() != nil { // Nothing would wake it.
			return t, resolverstore.ErrSessionEnded
		}
		if a.woken != nil {
			if err := a.woken(); err != nil {
				return t, err
			}
		}
		t, err := a.svc.cfg.Store.Resolve(wait, a.session.key, a.selector)
		switch {
		case err == nil:
			return t, nil
		case ctx.Err() != nil:
			return t, resolveCause(ctx)
		case wait.Err() == nil:
			return t, err
		}
	}
}

// resolveCause says why the wait for a track ended.
func resolveCause(ctx context.Context) error {
	if err := context.Cause(ctx); !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return errTrackNotLive
}

// attach waits until there is media for the selector, and subscribes. Media that ended before the store knew of it are
// waited out.
func (a *attacher) attach(ctx context.Context) (*attachment, error) {
	for {
		a.want.seek()
		t, err := a.resolve(ctx)
		if err != nil {
			return nil, err
		}
		a.want.found(t.ID)
		a.unfollow()
		a.follow = a.session.view.follow(t, a.waker.wake)
		out, err := a.subscribe(ctx, t)
		var ended *media.EndedError
		if !errors.As(err, &ended) {
			return out, err
		}
		if err := a.replaced(ctx, t); err != nil {
			return nil, err
		}
	}
}

// replaced waits until the store knows that a track's media is gone.
func (a *attacher) replaced(ctx context.Context, t resolverstore.Track) error {
	return a.waker.await(ctx, func() bool { return t.Media == nil || !a.follow.carries(t.Media.ID) })
}

// subscribe attaches a consumer to a track's media. *media.EndedError when that is gone.
func (a *attacher) subscribe(ctx context.Context, t resolverstore.Track) (out *attachment, err error) {
	_, span := a.svc.short(ctx, spanAttach, trace.WithAttributes(attrTrack.String(t.ID)), trace.WithLinks(a.session.negotiations(t)...))
	defer func() { span.end(err) }()
	m, ok := a.session.media(t)
	switch {
	case ok:
	case a.session.moved.Err() != nil:
		return nil, errMoved
	case a.session.view.finished(): // The store does not know the end yet.
		return nil, resolverstore.ErrSessionEnded
	default:
		return nil, &media.EndedError{Reason: media.EndMediaGone}
	}
	req, err := a.request(t)
	if err != nil {
		return nil, err
	}
	if since := a.session.held.since(t.Media.ID, t.ID, time.Now()); since.After(req.NotBefore) {
		req.NotBefore = since
	}
	if t.Media.ID == a.served { // Under another publication now: its last picture is not the one's before.
		req.NotBefore = time.Now()
	}
	a.want.limit(0, 0) // That was of the media before.
	c, err := a.consume(m, req)
	if err != nil {
		return nil, a.explain(fmt.Errorf("subscribing to track %q: %w", t.ID, err))
	}
	a.served = t.Media.ID
	a.open = openingOf(ctx)
	a.session.feed(a.open)
	return &attachment{track: t, media: m, consumer: c}, nil
}

// consume subscribes, unless the media have as many consumers as they may have.
func (a *attacher) consume(m *media.Track, req media.Request) (*media.Consumer, error) {
	a.session.consuming.Lock() // so that no two count the same
	defer a.session.consuming.Unlock()
	if most := a.svc.cfg.Limits.Consumers; m.Stats().Consumers >= most {
		return nil, a.svc.limits.refusals.refuse(limitConsumers, most)
	}
	return m.Subscribe(req)
}

// explain adds what only the request knows to an error of media.
func (a *attacher) explain(err error) error {
	var format *media.FormatError
	var size *media.SizeError
	switch {
	case errors.As(err, &format):
		return &failure{reason: penstockv1.ErrorReason_ERROR_REASON_INVALID_FIELD, cause: err,
			fields: []fieldFault{{a.prefix + format.Field, format.Text}}}
	case errors.As(err, &size):
		return tooLarge(size, a.limit, size.PayloadBytes+a.room)
	case errors.Is(err, media.ErrNotImplemented):
		return notImplemented("This format")
	}
	return err
}

// describe returns the attached track as callers see it.
func (a *attachment) describe(session string) *penstockv1.Track {
	t := protoTrack(session, a.track)
	describe(t, a.media.Stats())
	return t
}
