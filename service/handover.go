package service

import (
	"context"
	"slices"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"

	podv1 "github.com/penstock-media/penstock/api/penstock/pod/v1"
	penstockv1 "github.com/penstock-media/penstock/api/penstock/v1"
	"github.com/penstock-media/penstock/resolverstore"
	"github.com/penstock-media/penstock/service/internal/relay"
)

const (
	// handoversAtOnce is how many sessions are handed over at one time.
	handoversAtOnce = 8
	// handoverTimeout bounds one.
	handoverTimeout = 5 * time.Second
	// hurryTimeout bounds the handing over of a drain that was cut short.
	hurryTimeout = 3 * time.Second
	// handoverPause is how long it takes to try again with those that nobody took: a pod that takes their place may still be starting.
	handoverPause = time.Second
)

// Drained tells how a drain went.
type Drained struct {
	HandedOver int // sessions that other pods took
	Cut        int // sessions that are to be ended: nobody took them in time
	Calls      int // streams, conversations and other calls that it had to end
}

// Clean tells whether nothing was cut.
func (d Drained) Clean() bool { return d.Cut == 0 && d.Calls == 0 }

// Drain is the way to stop: at once it takes no new sessions, turns health to NOT_SERVING and tells other pods. For Config.EndpointGrace calls are still
// taken as before, while load balancers hear of it. Then every stream and conversation is told that it ends in grace, and sessions are handed
// over to other pods; streams go on from there. It returns when nothing is left here, or after the grace, or when ctx ends: what is left then is
// ended with UNAVAILABLE. A second call returns when the first is over.
func (s *Service) Drain(ctx context.Context, grace time.Duration) Drained {
	s.draining.Lock()
	defer s.draining.Unlock()
	s.health.Shutdown()
	s.drain.start(s.cfg.EndpointGrace, grace)
	s.tellLoad()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(s.drain.over, cancel)()
	rest(ctx, s.drain.left()-grace)
	s.drain.tell()
	ctx, late := context.WithTimeout(ctx, s.drain.left())
	defer late()
	ctx, span := s.short(ctx, spanDrain)
	before := s.counts.handedOver.Load()
	s.leave(ctx, func() { span.drained(s.drained(before)) })
	s.hurry(ctx)
	out := s.drained(before)
	s.counts.drained.Add(uint64(out.Cut)) //nolint:gosec // not negative
	span.drained(out)
	s.drain.finish()
	return out
}

// drained tells how a drain goes that has begun when so many sessions had been handed over.
func (s *Service) drained(before uint64) Drained {
	return Drained{
		HandedOver: int(s.counts.handedOver.Load() - before), Cut: len(s.owned()), Calls: int(s.calls.Load()), //nolint:gosec // what a process can have
	}
}

// drained ends the span of a drain, the first time that it is called: when no session is left. Calls may go on until the grace is over.
func (s *shortSpan) drained(out Drained) {
	s.set(attribute.Int("penstock.handed_over", out.HandedOver), attribute.Int("penstock.cut", out.Cut), attribute.Int("penstock.calls", out.Calls))
	s.end(nil)
}

// hurry gives what is left one last chance to go on elsewhere, where the drain was cut short.
func (s *Service) hurry(ctx context.Context) {
	if s.drain.left() == 0 || len(s.owned()) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), hurryTimeout)
	defer cancel()
	s.handOverOnce(ctx)
}

// leave hands sessions over, also those that it began to take over before the drain, until neither a session nor a call is left here, or until ctx ends. left is called
// whenever no session is.
func (s *Service) leave(ctx context.Context, left func()) {
	for ctx.Err() == nil && s.busy() {
		if !s.handOverOnce(ctx) {
			rest(ctx, handoverPause)
			continue
		}
		left()
		pause, done := context.WithTimeout(ctx, handoverPause)
		select {
		case <-s.less:
		case <-pause.Done():
		}
		done()
	}
}

// lessened takes note that a session or a call has come to its end. It does not block.
func (s *Service) lessened() {
	select {
	case s.less <- struct{}{}:
	default:
	}
}

// handOverOnce tries it once with each session, and reports whether none is left.
func (s *Service) handOverOnce(ctx context.Context) bool {
	left := s.owned()
	if len(left) == 0 {
		return true
	}
	pods, err := s.cfg.Store.Pods(ctx)
	if err != nil {
		s.cfg.Logger.Warn("sessions cannot be handed over yet", "sessions", len(left), "error", err)
	}
	s.handOverTo(ctx, left, newHeirs(pods, s.cfg.Owner))
	return len(s.owned()) == 0
}

// owned returns the open sessions that this process owns.
func (s *Service) owned() []*session {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]*session, 0, len(s.sessions))
	for _, v := range s.sessions {
		if v.moved.Err() == nil {
			out = append(out, v)
		}
	}
	return out
}

// handOverTo hands sessions over to other pods, each to the one that has least to do.
func (s *Service) handOverTo(ctx context.Context, left []*session, to *heirs) {
	var handing sync.WaitGroup
	turns := make(chan struct{}, handoversAtOnce)
	for _, v := range left {
		if to.empty() || ctx.Err() != nil {
			break
		}
		turns <- struct{}{}
		handing.Go(func() {
			defer func() { <-turns }()
			s.handToAny(ctx, v, to)
		})
	}
	handing.Wait()
}

// handToAny hands one session over to the pod that has least to do and takes it. One that cannot be reached, though its lease is there, would have least to do in the next round again.
func (s *Service) handToAny(ctx context.Context, v *session, to *heirs) {
	for ctx.Err() == nil {
		pod, ok := to.next()
		if !ok {
			return
		}
		err := s.handOne(ctx, v, pod)
		if err == nil {
			return
		}
		s.cfg.Logger.Warn("session not handed over", "session", logName(v.key), "to", pod.Incarnation, "error", err)
		if sessionOver(err) { // It is no fault of the pod's.
			return
		}
		to.refused(pod)
	}
}

// sessionOver tells that a session has ended, or is another pod's by now.
func sessionOver(err error) bool {
	reason, _ := verdict(err)
	return reason == penstockv1.ErrorReason_ERROR_REASON_SESSION_ENDED || reason == penstockv1.ErrorReason_ERROR_REASON_SESSION_NOT_FOUND
}

// handOne hands one session over, and lets it go here.
func (s *Service) handOne(ctx context.Context, v *session, to resolverstore.Pod) (err error) {
	ctx, cancel := context.WithTimeout(ctx, handoverTimeout)
	defer cancel()
	ctx, span := s.short(ctx, spanHandOver, trace.WithSpanKind(trace.SpanKindClient), trace.WithAttributes(
		attrSession.String(v.key.ID), attrPod.String(to.Incarnation), attrEpoch.Int64(int64(v.fence.Epoch)))) //nolint:gosec // milliseconds
	defer func() { span.end(err) }()
	reply := &podv1.AdoptResponse{}
	err = s.pods.Call(ctx, relay.Pod{Incarnation: to.Incarnation, Address: to.Address}, podv1.PodService_Adopt_FullMethodName, relay.Caller{},
		&podv1.AdoptRequest{Tenant: v.key.Tenant, SessionId: v.key.ID, Owner: v.fence.Owner, Epoch: v.fence.Epoch}, reply)
	if err != nil {
		return err
	}
	v.depose(resolverstore.Fence{Owner: to.Incarnation, Epoch: reply.GetEpoch()}, s.cfg.Logger.With("session", logName(v.key)))
	return nil
}

// heirs are the pods that may take sessions. All methods are safe for concurrent use.
type heirs struct {
	mu   sync.Mutex
	pods []resolverstore.Pod
}

// newHeirs returns those of all pods that can take sessions, but one.
func newHeirs(all []resolverstore.Pod, self string) *heirs {
	h := &heirs{}
	for _, p := range all {
		if p.Incarnation != self && p.Address != "" && !p.Load.Draining {
			h.pods = append(h.pods, p)
		}
	}
	return h
}

// empty tells whether there is none.
func (h *heirs) empty() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.pods) == 0
}

// next returns the pod that has least to do, and notes that it gets one session more.
func (h *heirs) next() (resolverstore.Pod, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	best := -1
	for i, p := range h.pods {
		if full := fullness(p.Load); full < 1 && (best < 0 || full < fullness(h.pods[best].Load)) {
			best = i
		}
	}
	if best < 0 {
		return resolverstore.Pod{}, false
	}
	h.pods[best].Load.Sessions++
	return h.pods[best], true
}

// refused takes a pod out: it took a session not.
func (h *heirs) refused(pod resolverstore.Pod) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.pods = slices.DeleteFunc(h.pods, func(p resolverstore.Pod) bool { return p.Incarnation == pod.Incarnation })
}
