package service

import (
	"context"
	"errors"
	"fmt"
	"time"

	penstockv1 "github.com/penstock-media/penstock/api/penstock/v1"
	"github.com/penstock-media/penstock/media"
	"github.com/penstock-media/penstock/resolverstore"
	"github.com/penstock-media/penstock/service/internal/relay"
)

const (
	// defaultMessage is gRPC's own limit of a client that says nothing, in bytes.
	defaultMessage = 4 << 20
	// headerRoom is how many bytes of a message a frame's header may take: with every field at its largest and three
	// planes it is below 200.
	headerRoom = 256
	// headerWait is how long the header of a live track waits for the first packet, which tells the codec.
	headerWait = time.Second
)

// StreamTrack implements penstockv1.TrackServiceServer. One goroutine sends; the handler's only waits, since nothing but its return ends
// a send to a worker that does not read.
func (s *trackServer) StreamTrack(r *penstockv1.StreamTrackRequest, stream penstockv1.TrackService_StreamTrackServer) error {
	if err := s.streams.acquire(); err != nil {
		return err
	}
	ctx, stop := s.drain.bound(stream.Context())
	defer stop()
	ctx, abort := context.WithCancelCause(ctx)
	defer abort(context.Canceled)
	_, forwarded := relay.Forwarded(ctx)
	f := &followed{svc: s.Service, req: r, out: stream, open: openingOf(ctx), abort: abort, forwarded: forwarded, legs: s.newLegs(), called: time.Now()}
	f.unopened.abort = abort
	defer f.untilHeader(ctx)()
	f.open.describe(attrSession.String(r.GetSessionId()))
	ended := make(chan error, 1)
	if !s.talk(func() {
		defer s.streams.release()
		ended <- f.guarded(ctx)
	}) {
		s.streams.release()
		return errDraining
	}
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// talk starts goroutines that end soon after a handler has returned; Close waits for them. It returns false when the service is closed.
func (s *Service) talk(each ...func()) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return false
	}
	for _, f := range each {
		s.talking.Go(f)
	}
	return true
}

// stream is one leg of a call of StreamTrack: what this process serves of it.
type stream struct {
	svc      *Service
	call     *followed
	attach   attacher
	sender   sender
	time     timeline
	pause    pause
	headers  int                      // sent
	header   *penstockv1.StreamHeader // the last one
	signed   time.Time                // when it was
	renewal  *time.Timer              // wakes the stream when it shall be sent again
	resumed  *mark                    // where the worker was; nil for a stream that begins
	gap      penstockv1.GapCause      // to be told before the next frame, for a stream that goes on
	received time.Time                // of the last frame
	untold   untold
	attached time.Time // when the first media were; zero when a frame of them was sent
}

// newStream checks what validation cannot, and makes a leg on an open session.
func (f *followed) newStream(live *session) (*stream, error) {
	r, s := f.req, f.svc
	from := f.at
	if from == nil {
		var err error
		if from, err = s.resumed(r, live.key); err != nil {
			return nil, err
		}
	}
	if from != nil && from.epoch > live.fence.Epoch { // The worker has had a later owner, of which this process does not know.
		return nil, fmt.Errorf("epoch %d after %d: %w", live.fence.Epoch, from.epoch, errMoving)
	}
	sel := trackSelector(r.GetSelector())
	if err := checkFormat(r.GetFormat(), sel.Source.Kind()); err != nil {
		return nil, err
	}
	st := &stream{svc: s, call: f, sender: sender{stream: f.out, epoch: live.fence.Epoch}}
	if from != nil {
		st.goOn(*from)
	}
	st.attach = attacher{
		svc: s, session: live, selector: sel, prefix: formatPrefix(r.GetFormat()), room: headerRoom,
		limit: int(orDefault(r.GetMaxReceiveMessageBytes(), defaultMessage)), woken: st.interject,
	}
	asked, err := formatRequest(r.GetFormat(), mediaKind(sel.Source.Kind()), media.I420)
	if err != nil {
		return nil, err
	}
	st.attach.want = live.hub.want(sel, shapeOf(asked))
	st.attach.request = st.request
	return st, nil
}

// request asks for what a track's media shall deliver.
func (s *stream) request(t resolverstore.Track) (media.Request, error) {
	r := s.call.req
	req, err := formatRequest(r.GetFormat(), mediaKind(t.Kind), media.I420)
	req.Queue = queue(r.GetPolicy(), s.svc.cfg.Limits.QueueBytes)
	req.StallAfter = s.svc.cfg.StallTimeout
	req.Stalled = func() { s.call.abort(media.ErrStalled) }
	req.Limited = func(q media.QualityLimit) { s.attach.want.limit(q.Width, q.Height) }
	req.MaxPayloadBytes = max(s.attach.limit-headerRoom, 1)
	if req.Replay = time.Duration(r.GetPolicy().GetReplayMs()) * time.Millisecond; req.Replay > 0 {
		req.NotBefore = s.received // nothing is heard twice
	}
	return req, err
}

// checkFormat finds what is wrong with a format before the track is known. kind is 0 when the selector does not tell.
func checkFormat(f *penstockv1.StreamFormat, kind resolverstore.Kind) error {
	req, err := formatRequest(f, mediaKind(kind), media.I420)
	switch {
	case err != nil:
		return err
	case kind == resolverstore.KindAudio && req.Video != nil, kind == resolverstore.KindVideo && req.Audio != nil:
		return media.ErrKindMismatch
	}
	return nil
}

// mediaKind returns media's kind.
func mediaKind(k resolverstore.Kind) media.Kind {
	switch k {
	case resolverstore.KindAudio:
		return media.KindAudio
	case resolverstore.KindVideo:
		return media.KindVideo
	default:
		return media.KindUnknown
	}
}

// run serves the selector until its track has ended for good.
func (s *stream) run(ctx context.Context) error {
	defer s.attach.close()
	defer func() {
		if s.renewal != nil {
			s.renewal.Stop()
		}
	}()
	for {
		a, err := s.attach.attach(ctx)
		if err == nil {
			err = s.serve(ctx, a)
			a.consumer.Close()
		}
		if !errors.Is(err, errReplaced) {
			return s.finish(ctx, err)
		}
		if s.attach.selector.TrackID == "" {
			continue
		}
		if _, ended, _ := s.attach.follow.state(); ended {
			return s.finish(ctx, resolverstore.ErrTrackNotFound)
		}
	}
}

// serve sends one attachment's frames and events. It returns errReplaced when the track has ended or carries that media no
// longer.
func (s *stream) serve(ctx context.Context, a *attachment) error {
	a.ctx = ctx
	if s.headers == 0 {
		s.attached = time.Now()
	}
	first, ok := s.first(ctx, a)
	err := s.begin(a)
	if ok {
		err = s.firstItem(a, first, err)
	}
	if err != nil {
		return err
	}
	var looked <-chan struct{} // Another one says that something has changed; looking at each frame would cost locks.
	for {
		wait := s.attach.waker.context(ctx)
		if wait.Done() != looked {
			if ctx.Err() != nil { // the queue may never be empty
				return context.Cause(ctx)
			}
			if err := s.look(a); err != nil {
				return err
			}
			looked = wait.Done()
		}
		item, err := a.consumer.Next(wait)
		var ended *media.EndedError
		switch {
		case err == nil:
			err = s.item(a, item)
		case ctx.Err() != nil:
			return context.Cause(ctx)
		case wait.Err() != nil:
			continue
		case errors.As(err, &ended):
			if err := s.attach.replaced(ctx, a.track); err != nil {
				return err
			}
			return errReplaced
		default:
			err = s.attach.explain(err)
		}
		if err != nil {
			return err
		}
	}
}

// first waits a little for the first item where no packet has told the codec yet, so that the header can. What goes wrong
// meanwhile goes wrong again for serve.
func (s *stream) first(ctx context.Context, a *attachment) (media.Item, bool) {
	if a.track.State != resolverstore.TrackLive || a.media.Stats().Codec.Codec != media.CodecUnknown {
		return media.Item{}, false
	}
	limited, cancel := context.WithTimeout(ctx, headerWait)
	defer cancel()
	defer context.AfterFunc(limited, s.attach.waker.wake)() // the waker's context may be of before, and know no limit
	for {
		wait := s.attach.waker.context(limited)
		if s.svc.drain.told() || !s.attach.follow.carries(a.track.Media.ID) {
			return media.Item{}, false
		}
		item, err := a.consumer.Next(wait)
		if err == nil || limited.Err() != nil || wait.Err() == nil {
			return item, err == nil
		}
	}
}

// firstItem sends the first item after the header, unless that failed.
func (s *stream) firstItem(a *attachment, item media.Item, err error) error {
	if err == nil {
		err = s.look(a)
	}
	if err == nil {
		return s.item(a, item)
	}
	if item.Frame != nil {
		item.Frame.Payload.Release()
	}
	return err
}

// look tells what the store and the drain have to say.
func (s *stream) look(a *attachment) error {
	if err := s.interject(); err != nil {
		return err
	}
	if !s.attach.follow.carries(a.track.Media.ID) {
		return errReplaced
	}
	t, _, _ := s.attach.follow.state()
	muted := t.Publication != nil && t.Publication.Muted
	return s.tellPause(s.pause.store(t.State == resolverstore.TrackPaused, muted), s.time.wall(time.Now()))
}

// item sends a frame or an event of the media.
func (s *stream) item(a *attachment, item media.Item) error {
	f := item.Frame
	if f == nil {
		return s.mediaEvent(a, item.Event)
	}
	if !s.time.placed {
		if err := s.correctHeader(a); err != nil {
			f.Payload.Release()
			return err
		}
	}
	if s.pause.told && s.pause.muted && f.Silent { // what microphones that are switched off, and SFUs in their place, go on to send
		f.Payload.Release()
		s.time.skip()
		s.untold.add(f)
		return nil
	}
	s.untold.tell(f)
	if f.Dropped.Frames > 0 {
		s.call.open.event("frames dropped", attrFrames.Int64(int64(f.Dropped.Frames)), attrMS.Int64(f.Dropped.Duration.Milliseconds()))
	}
	at, sequence := s.time.frame(f.Time, f.Sequence, f.Received)
	s.received = f.Received
	if err := s.tellGap(at); err != nil {
		f.Payload.Release()
		return err
	}
	end := at + f.Duration
	if err := s.sender.frame(f, at, sequence); err != nil {
		return err
	}
	s.call.got(s.sender.epoch, sequence, end)
	if !s.attached.IsZero() {
		s.svc.meters.firstFrame.Record(s.call.exemplar(), time.Since(s.attached).Seconds(), f.Kind.String())
		s.attached = time.Time{}
	}
	if !a.begun {
		s.begun(a)
	}
	return nil
}

// begun tells what the attachment waited for until its first frame, which has been sent.
func (s *stream) begun(a *attachment) {
	a.begun = true
	s.svc.began(a.ctx, a.consumer, time.Now())
	s.call.open.opened()
}
