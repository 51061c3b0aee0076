package service

import (
	"context"
	"errors"
	"time"

	"google.golang.org/protobuf/proto"

	penstockv1 "github.com/penstock-media/penstock/api/penstock/v1"
	"github.com/penstock-media/penstock/media"
	"github.com/penstock-media/penstock/resolverstore"
)

// frameField is the number of GetFrameResponse.frame, its last field.
const frameField = 3

// GetFrame implements penstockv1.TrackServiceServer. A caller without a deadline gets the server's.
func (s *trackServer) GetFrame(ctx context.Context, r *penstockv1.GetFrameRequest) (*penstockv1.GetFrameResponse, error) {
	if err := s.streams.acquire(); err != nil {
		return nil, err
	}
	defer s.streams.release()
	ctx, cancel := s.drain.bound(ctx)
	defer cancel()
	if _, bounded := ctx.Deadline(); !bounded {
		var stop context.CancelFunc
		ctx, stop = context.WithTimeout(ctx, s.cfg.FrameTimeout)
		defer stop()
	}
	g, err := s.newGrab(ctx, r)
	if err != nil {
		return nil, err
	}
	defer g.attach.close()
	ctx, leave := g.attach.session.here(ctx)
	defer leave()
	m, err := g.run(ctx)
	if err != nil {
		return nil, err
	}
	slot, ok := ctx.Value(replySlotKey{}).(*replySlot)
	if !ok {
		m.release()
		return nil, errNoSlot
	}
	slot.message = m
	return nil, nil //nolint:nilnil // The reply is in the slot.
}

// grab is one call of GetFrame.
type grab struct {
	attach attacher
	format *media.VideoFormat
	limit  int // of the message, in bytes
	room   int // of it that is not the payload
}

// newGrab checks what validation cannot, and finds the session.
func (s *trackServer) newGrab(ctx context.Context, r *penstockv1.GetFrameRequest) (*grab, error) {
	format, err := videoFormat(r.GetFormat(), "format.", media.JPEG)
	if err != nil {
		return nil, err
	}
	sel := trackSelector(r.GetSelector())
	if sel.Source.Kind() == resolverstore.KindAudio {
		return nil, media.ErrKindMismatch
	}
	live, err := s.lookup(ctx, keyIn(ctx, r.GetSessionId()))
	if err != nil {
		return nil, err
	}
	g := &grab{format: format, limit: int(orDefault(r.GetMaxReceiveMessageBytes(), defaultMessage))}
	g.attach = attacher{svc: s.Service, session: live, selector: sel, prefix: "format.", limit: g.limit, request: g.request}
	// One picture has no rate of its own: it raises nobody's.
	g.attach.want = live.hub.want(sel, shape{width: format.Width, height: format.Height, fps: 1})
	return g, nil
}

// request asks for pictures that fit into a message beside the track.
func (g *grab) request(t resolverstore.Track) (media.Request, error) {
	if t.Kind != resolverstore.KindVideo {
		return media.Request{}, media.ErrKindMismatch
	}
	g.room = headerRoom + proto.Size(protoTrack(g.attach.session.key.ID, t)) + proto.Size(protoVideoFormat(g.format))
	g.attach.room = g.room
	return media.Request{Video: g.format, MaxPayloadBytes: max(g.limit-g.room, 1)}, nil
}

// run attaches, takes the first picture, and detaches.
func (g *grab) run(ctx context.Context) (*frameMessage, error) {
	for {
		a, err := g.attach.attach(ctx)
		if err != nil {
			return nil, err
		}
		m, err := g.first(ctx, a)
		a.consumer.Close()
		var ended *media.EndedError
		if !errors.As(err, &ended) {
			return m, err
		}
		if err := g.attach.replaced(ctx, a.track); err != nil {
			return nil, resolveCause(ctx)
		}
	}
}

// first waits for the first picture.
func (g *grab) first(ctx context.Context, a *attachment) (*frameMessage, error) {
	for {
		item, err := a.consumer.Next(ctx)
		switch {
		case err != nil && ctx.Err() != nil:
			return nil, resolveCause(ctx)
		case err != nil:
			return nil, g.attach.explain(err)
		case item.Frame != nil:
			g.attach.svc.began(ctx, a.consumer, time.Time{})
			return g.message(a, item.Frame), nil
		case item.Event.Kind == media.EventTooLarge:
			return nil, g.attach.explain(&media.SizeError{
				Width: item.Event.Width, Height: item.Event.Height, PayloadBytes: item.Event.PayloadBytes, Limit: g.limit - g.room,
			})
		case item.Event.Limit.Suspended:
			return nil, g.attach.svc.limits.refusals.refuse(limitDecoders, 0)
		case item.Event.Kind == media.EventUndecodable:
			return nil, media.ErrUnsupportedCodec
		}
	}
}

// message returns the reply, which takes over the picture's payload.
func (g *grab) message(a *attachment, f *media.Frame) *frameMessage {
	_, format := a.consumer.Format()
	v := &penstockv1.VideoFrame{Info: &penstockv1.FrameInfo{}}
	fillInfo(v.Info, f, g.attach.session.fence.Epoch, 0, f.Sequence)
	fillVideo(v, f, new([3]penstockv1.Plane))
	return &frameMessage{
		envelope: &penstockv1.GetFrameResponse{
			Track: a.describe(g.attach.session.key.ID), Format: protoVideoFormat(format),
		},
		field: frameField, frame: v, payload: f.Payload,
	}
}
