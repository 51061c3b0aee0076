package service

import (
	"context"
	"sync"

	"go.opentelemetry.io/otel/trace"
	"golang.org/x/time/rate"

	penstockv1 "github.com/penstock-media/penstock/api/penstock/v1"
	"github.com/penstock-media/penstock/rtcpool"
)

// request returns the lane of a request, and what is to be done in it.
func (c *conversation) request(r *penstockv1.SignalRequest) (*lane, func()) {
	err := validateSignal(r)
	if err == nil && !c.rate.Allow() {
		err = c.svc.limits.refusals.refuse(limitSignalRate, c.svc.cfg.Limits.SignalRate)
	}
	if err != nil {
		wrong := &penstockv1.SignalRequest{RequestId: r.GetRequestId()} // It may be large, and has to wait.
		return c.laneOf(r), func() { c.reply(wrong, protoError(err)) }
	}
	switch m := r.GetMessage().(type) {
	case *penstockv1.SignalRequest_Offer:
		c.generation = max(c.generation, m.Offer.GetGeneration())
		return &c.offers, func() { c.offer(r, m.Offer) }
	case *penstockv1.SignalRequest_IceServers:
		return &c.offers, func() { c.iceServers(r, m.IceServers) }
	case *penstockv1.SignalRequest_Candidate:
		generation := m.Candidate.GetGeneration()
		if generation == 0 {
			generation = c.generation
		}
		return &c.candidates, func() { c.remoteCandidate(r, generation, m.Candidate) }
	case *penstockv1.SignalRequest_Events:
		return &c.events, func() { c.report(r, m.Events) }
	}
	return &c.events, func() {
		c.reply(r, protoError(invalid("message", "is empty, or of a kind that this gateway does not know")))
	}
}

// signalRate returns the bucket of a conversation's requests. One that is empty has them refused one by one, in their turn, and the conversation goes on.
func signalRate(cfg Limits) *rate.Limiter {
	if cfg.SignalRate == 0 {
		return rate.NewLimiter(rate.Inf, 0)
	}
	return rate.NewLimiter(rate.Limit(cfg.SignalRate), max(cfg.SignalBurst, cfg.SignalRate))
}

// laneOf returns the lane of a request's kind.
func (c *conversation) laneOf(r *penstockv1.SignalRequest) *lane {
	switch r.GetMessage().(type) {
	case *penstockv1.SignalRequest_Offer, *penstockv1.SignalRequest_IceServers:
		return &c.offers
	case *penstockv1.SignalRequest_Candidate:
		return &c.candidates
	}
	return &c.events
}

// offer applies an offer and replies with the outcome. Its candidates follow the reply.
func (c *conversation) offer(r *penstockv1.SignalRequest, o *penstockv1.SignalOffer) {
	c.mu.Lock()
	c.offering++
	c.mu.Unlock()
	defer c.offerDone()
	ctx, span := c.traced("offer")
	result, err := c.live.negotiate(ctx, rtcpool.Offer{Generation: o.GetGeneration(), SDP: o.GetSdp(), Trickle: true})
	span.end(err)
	if err != nil {
		c.reply(r, protoError(err))
		return
	}
	c.reply(r, protoOffered(result))
}

// offerDone takes note that an offer has its reply, and lets candidates go that waited for it.
func (c *conversation) offerDone() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.offering--; c.offering > 0 {
		return
	}
	for i, m := range c.held {
		c.out.put(c.subjects[i], m)
	}
	c.held, c.subjects = nil, nil
}

// candidate sends a local candidate, though never before the answer that it belongs to. It does not block.
func (c *conversation) candidate(generation uint64, one rtcpool.Candidate) {
	s := subject{kind: aboutCandidate, generation: generation, id: one.Candidate}
	if one.MID != nil {
		s.id = *one.MID + " " + s.id
	}
	m := protoCandidate(generation, one)
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.offering == 0:
		c.out.put(s, m)
	case len(c.held) <= maxGathered: // and end-of-candidates
		c.held, c.subjects = append(c.held, m), append(c.subjects, s)
	}
}

// dropCandidates takes back the candidates that were not sent: another gathering has begun. It does not block.
func (c *conversation) dropCandidates() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.held, c.subjects = nil, nil
	c.out.drop(func(s subject) bool { return s.kind == aboutCandidate })
}

// iceServers replaces the session's STUN and TURN servers.
func (c *conversation) iceServers(r *penstockv1.SignalRequest, in *penstockv1.SignalIceServers) {
	ctx, span := c.traced("ice_servers")
	err := c.live.setServers(ctx, iceServers(in.GetIceServers()))
	if span.end(err); err != nil {
		c.reply(r, protoError(err))
		return
	}
	c.reply(r, &penstockv1.SignalResponse{Message: &penstockv1.SignalResponse_IceServersResult{
		IceServersResult: &penstockv1.UpdateIceServersResponse{},
	}})
}

// remoteCandidate gives a candidate to the session.
func (c *conversation) remoteCandidate(r *penstockv1.SignalRequest, generation uint64, in *penstockv1.SignalCandidate) {
	result, err := c.live.rtc.AddCandidate(c.ctx, generation, candidate(in.GetCandidate()))
	if err != nil {
		c.reply(r, protoError(err))
		return
	}
	c.reply(r, &penstockv1.SignalResponse{Message: &penstockv1.SignalResponse_CandidateResult{
		CandidateResult: &penstockv1.AddIceCandidateResponse{Result: penstockv1.CandidateResult(result)},
	}})
}

// report applies call events.
func (c *conversation) report(r *penstockv1.SignalRequest, in *penstockv1.SignalEvents) {
	ctx, span := c.traced("events")
	result, err := c.svc.report(ctx, c.live.key, in.GetEvents())
	span.end(err)
	if err != nil {
		c.reply(r, protoError(err))
		return
	}
	c.reply(r, &penstockv1.SignalResponse{Message: &penstockv1.SignalResponse_EventsResult{EventsResult: result}})
}

// traced starts the span of a request. Each is a trace of its own, or that of a conversation would grow for as long as it is held; candidates, which are many, have none.
func (c *conversation) traced(request string) (context.Context, *shortSpan) {
	return c.svc.short(withoutOpening(c.ctx), spanSignalDo, trace.WithNewRoot(), trace.WithSpanKind(trace.SpanKindServer), trace.WithLinks(trace.LinkFromContext(c.ctx)),
		trace.WithAttributes(attrSession.String(c.live.key.ID), attrRequest.String(request)))
}

// reply queues the reply to a request. A conversation that has ended gets none.
func (c *conversation) reply(r *penstockv1.SignalRequest, m *penstockv1.SignalResponse) {
	m.RequestId = r.GetRequestId()
	_ = c.out.reply(c.ctx, m) // The only error is the end.
}

// lane does work in turn, in a goroutine of its own from the first on. It is used by one goroutine.
type lane struct {
	work    chan func()
	started bool
}

// do queues work, and waits while there is too much. It returns false when ctx ends. Work that is queued then is not done.
func (l *lane) do(ctx context.Context, working *sync.WaitGroup, f func()) bool {
	if !l.started {
		l.started = true
		working.Go(func() {
			for f := range l.work {
				if ctx.Err() == nil {
					f()
				}
			}
		})
	}
	select {
	case l.work <- f:
		return true
	case <-ctx.Done():
		return false
	}
}
