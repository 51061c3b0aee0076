package service

import (
	"context"
	"errors"
	"runtime/debug"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/durationpb"

	penstockv1 "github.com/penstock-media/penstock/api/penstock/v1"
	"github.com/penstock-media/penstock/media"
	"github.com/penstock-media/penstock/resolverstore"
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
	st, err := s.newStream(r, stream)
	if err != nil {
		s.streams.release()
		return err
	}
	ctx, stop := s.drain.bound(stream.Context())
	defer stop()
	ctx, st.abort = context.WithCancelCause(ctx)
	defer st.abort(context.Canceled)
	ended := make(chan error, 1)
	if !s.talk(func() {
		defer s.streams.release()
		ended <- st.guarded(ctx, s.openSpan(ctx, "StreamTrack"))
	}) {
		st.attach.close()
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

// stream is one call of StreamTrack.
type stream struct {
	svc      *Service
	abort    context.CancelCauseFunc // ends it at once; safe for concurrent use
	attach   attacher
	sender   sender
	time     timeline
	pause    pause
	headers  int              // sent
	header   penstockv1.Codec // in the last header
	clock    uint32           // in the last header
	goingTo  bool             // GoingAway was sent
	received time.Time        // of the last frame
	untold   untold
}

// newStream checks what validation cannot, and finds the session.
func (s *trackServer) newStream(r *penstockv1.StreamTrackRequest, out grpc.ServerStream) (*stream, error) {
	if r.GetResumeToken() != "" {
		return nil, notImplemented("resume_token")
	}
	sel := trackSelector(r.GetSelector())
	if err := checkFormat(r.GetFormat(), sel.Source.Kind()); err != nil {
		return nil, err
	}
	live, err := s.lookup(out.Context(), r.GetSessionId())
	if err != nil {
		return nil, err
	}
	st := &stream{svc: s.Service, sender: sender{stream: out, epoch: live.fence.Epoch}}
	st.attach = attacher{
		svc: s.Service, session: live, selector: sel, prefix: formatPrefix(r.GetFormat()), room: headerRoom,
		limit: int(orDefault(r.GetMaxReceiveMessageBytes(), defaultMessage)), woken: st.tellDrain,
	}
	asked, err := formatRequest(r.GetFormat(), mediaKind(sel.Source.Kind()), media.I420)
	if err != nil {
		return nil, err
	}
	st.attach.want = live.hub.want(sel, shapeOf(asked))
	st.attach.request = func(t resolverstore.Track) (media.Request, error) {
		req, err := formatRequest(r.GetFormat(), mediaKind(t.Kind), media.I420)
		req.Queue = queue(r.GetPolicy(), s.cfg.Limits.QueueBytes)
		req.StallAfter = s.cfg.StallTimeout
		req.Stalled = func() { st.abort(media.ErrStalled) }
		req.Limited = func(q media.QualityLimit) { st.attach.want.limit(q.Width, q.Height) }
		req.MaxPayloadBytes = max(st.attach.limit-headerRoom, 1)
		if req.Replay = time.Duration(r.GetPolicy().GetReplayMs()) * time.Millisecond; req.Replay > 0 {
			req.NotBefore = st.received // nothing is heard twice
		}
		return req, err
	}
	return st, nil
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

// guarded runs, and turns a panic into an internal error: the interceptor sees the handler's goroutine only.
func (s *stream) guarded(ctx context.Context, open *openSpan) (err error) {
	defer func() {
		if p := recover(); p != nil {
			s.svc.cfg.Logger.ErrorContext(ctx, "stream panicked", "panic", p, "stack", string(debug.Stack()))
			err = fail(penstockv1.ErrorReason_ERROR_REASON_INTERNAL, nil)
		}
	}()
	defer context.AfterFunc(s.svc.drain.begin, s.attach.waker.wake)()
	return s.run(ctx, open)
}

// run serves the selector until its track has ended for good. open is the span of the opening.
func (s *stream) run(ctx context.Context, open *openSpan) (err error) {
	defer s.attach.close()
	defer func() { open.end(err) }()
	for {
		a, err := s.attach.attach(open.context(ctx))
		if err == nil {
			err = s.serve(ctx, a, open)
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
func (s *stream) serve(ctx context.Context, a *attachment, open *openSpan) error {
	first, ok := s.first(ctx, a)
	err := s.begin(a)
	open.end(err)
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
		if s.svc.drain.begun() || !s.attach.follow.carries(a.track.Media.ID) {
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

// begin sends the gap since the attachment before, and the header.
func (s *stream) begin(a *attachment) error {
	now := time.Now()
	s.time.next()
	if s.headers == 0 {
		s.time.start = now
		if r := a.consumer.Replays(); !r.Received.IsZero() {
			s.time.startAt(r.Received, r.Time)
		}
		return s.sendHeader(a)
	}
	gap := time.Duration(0)
	if !s.received.IsZero() {
		gap = now.Sub(s.received)
	}
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

// sendHeader says what follows. Without any packet the codec is unknown, and the clock rate is a guess of the usual one; a
// further header corrects both with the first frame.
func (s *stream) sendHeader(a *attachment) error {
	stats := a.media.Stats()
	track := a.describe(s.attach.session.key.ID)
	s.headers++
	s.header, s.clock = track.GetMedia().GetCodec(), clockRate(stats, a.track.Kind)
	return s.sender.header(&penstockv1.StreamHeader{
		Track: track, Format: protoFormat(a.consumer, mediaCodec(s.header)), Codec: s.header, ClockRateHz: s.clock,
		StartTimeUnixNs: s.time.start.UnixNano(),
	})
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

// look tells what the store and the drain have to say.
func (s *stream) look(a *attachment) error {
	if err := s.tellDrain(); err != nil {
		return err
	}
	if !s.attach.follow.carries(a.track.Media.ID) {
		return errReplaced
	}
	t, _, _ := s.attach.follow.state()
	muted := t.Publication != nil && t.Publication.Muted
	return s.tellPause(s.pause.store(t.State == resolverstore.TrackPaused, muted), s.time.wall(time.Now()))
}

// tellDrain tells once that the process is about to stop.
func (s *stream) tellDrain() error {
	if s.goingTo || s.headers == 0 || !s.svc.drain.begun() {
		return nil
	}
	s.goingTo = true
	return s.sender.event(&penstockv1.StreamEvent{
		PresentationTimeNs: int64(s.time.wall(time.Now())),
		Event: &penstockv1.StreamEvent_GoingAway{GoingAway: &penstockv1.GoingAway{
			Grace: durationpb.New(s.svc.drain.left()),
		}},
	})
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
	at, sequence := s.time.frame(f.Time, f.Sequence, f.Received)
	s.received = f.Received
	return s.sender.frame(f, at, sequence)
}

// correctHeader sends the header again when the first packets told another codec.
func (s *stream) correctHeader(a *attachment) error {
	stats := a.media.Stats()
	if c := protoCodec(stats.Codec.Codec); c == 0 || c == s.header && stats.Codec.ClockRate == s.clock {
		return nil
	}
	return s.sendHeader(a)
}
