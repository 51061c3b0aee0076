package rtcpool

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/penstock-media/penstock/rtcpool/internal/offer"
	"github.com/pion/webrtc/v4"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"
)

// Negotiate applies an offer when its turn comes. Errors: *SDPError, ErrNoMedia, ErrBusy, *NegotiationError, ctx's. A
// negotiation that has begun goes on when ctx ends.
func (s *Session) Negotiate(ctx context.Context, o Offer) (Result, error) {
	if s.ctx.Err() != nil {
		return s.droppedClosed(), nil
	}
	parsed, err := offer.Parse(o.SDP, s.pool.cfg.MaxSDPBytes)
	if err != nil {
		s.pool.stats.failed.Add(1)
		return Result{}, err
	}
	n := &negotiation{ctx: ctx, generation: o.Generation, offer: parsed, trickle: o.Trickle, feeds: o.Feeds}
	n.named, n.remotes = s.pool.judgeOffer(parsed)
	return s.submit(ctx, n)
}

// RestartICE answers a remote ICE restart that came without an offer (RFC 9725 section 4.3.3): new remote credentials
// and candidates replace those of the last offer. It returns the new answer. Errors: as Negotiate's, and ErrNoOffer.
func (s *Session) RestartICE(ctx context.Context, ufrag, pwd string, candidates []Candidate) (Result, error) {
	if !validCredentials(ufrag, pwd) {
		return Result{}, &SDPError{What: "ICE credentials need 4 to 256 and 22 to 256 ice-chars (RFC 8839 section 5.4)"}
	}
	var values []string
	for _, c := range candidates {
		value := strings.TrimPrefix(c.Candidate, "candidate:")
		if value != "" && offer.UsableCandidate(value) && len(values) < offer.MaxCandidates {
			values = append(values, value)
		}
	}
	n := &negotiation{ctx: ctx, restart: &restart{ufrag: ufrag, pwd: pwd}}
	n.restart.candidates, n.named, _ = s.pool.network.Judge(values)
	return s.submit(ctx, n)
}

// validCredentials checks ice-ufrag and ice-pwd (RFC 8839 section 5.4).
func validCredentials(ufrag, pwd string) bool {
	return len(ufrag) >= 4 && len(ufrag) <= 256 && len(pwd) >= 22 && len(pwd) <= 256 && iceChars(ufrag) && iceChars(pwd)
}

func iceChars(s string) bool {
	return strings.IndexFunc(s, func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '+' && r != '/'
	}) < 0
}

// droppedClosed is the result of an offer to a session that has ended.
func (s *Session) droppedClosed() Result {
	s.pool.stats.countDrop(DropClosed)
	s.log.Debug("offer dropped", "reason", DropClosed.String())
	return Result{Drop: &Drop{Reason: DropClosed}}
}

// submit gives a negotiation to the session's goroutine and waits for its outcome.
func (s *Session) submit(ctx context.Context, n *negotiation) (Result, error) {
	n.reply = make(chan outcome, 1)
	s.startSpan(ctx, n)
	taken, err := s.do(ctx, func() { s.enqueue(n) })
	switch {
	case err != nil:
		n.finished(outcome{err: err})
		return Result{}, err
	case !taken:
		r := s.droppedClosed()
		n.finished(outcome{result: r})
		return r, nil
	}
	select {
	case o := <-n.reply:
		return o.result, o.err
	case <-ctx.Done():
		return Result{}, ctx.Err()
	}
}

// startSpan opens the span of a negotiation, which is in its context from now on; the outcome closes it.
func (s *Session) startSpan(ctx context.Context, n *negotiation) {
	var span trace.Span
	n.ctx, span = s.pool.cfg.Tracer.Start(ctx, "rtcpool.negotiate", trace.WithLinks(n.feeds...), trace.WithAttributes(
		attribute.String("penstock.session", s.id),
		attribute.Int64("penstock.generation", int64(n.generation)), //nolint:gosec // a label
		attribute.Bool("penstock.ice_restart", n.restart != nil),
	))
	n.finished = func(o outcome) {
		switch {
		case o.err != nil:
			span.RecordError(o.err)
			span.SetStatus(codes.Error, o.err.Error())
		case o.result.Drop != nil:
			span.AddEvent("offer dropped", trace.WithAttributes(
				attribute.String("penstock.reason", o.result.Drop.Reason.String()),
				attribute.Int64("penstock.current_generation", int64(o.result.Drop.CurrentGeneration)), //nolint:gosec // a label
			))
		case o.result.Answer != nil:
			span.SetAttributes(attribute.Int("penstock.rejected_media", len(o.result.Answer.Rejected)))
		}
		span.End()
	}
}

// beginNegotiation judges an offer whose turn has come, and applies it.
func (s *Session) beginNegotiation(n *negotiation) {
	if err := n.ctx.Err(); err != nil {
		n.answer(outcome{err: err})
		return
	}
	if n.restart != nil {
		if err := s.beginRestart(n); err != nil {
			s.fail(n, "restarting ICE", err)
			return
		}
	}
	if n.generation == 0 {
		n.generation = s.least()
	}
	if s.judged(n) {
		return
	}
	if err := s.contradicts(n); err != nil {
		s.fail(n, "comparing with the offer before", err)
		return
	}
	if len(n.offer.Desc.MediaDescriptions) == 0 {
		s.refuseAll(n)
		return
	}
	p, err := s.peerFor(n)
	if err != nil {
		s.fail(n, "making a peer connection", err)
		return
	}
	if p == s.current {
		if err := s.pool.rehearse(n.offer); err != nil {
			s.fail(n, "trying the offer", err)
			return
		}
	}
	if step, err := p.apply(n.offer); err != nil {
		s.fail(n, step, err)
		if p != s.current {
			p.cancel() // now: no reader starts while it is waited for
			s.closing.Go(p.close)
		}
		return
	}
	if p != s.current {
		s.replaceCurrent(p)
	}
	s.applied(n, p)
}

// beginRestart turns a restart into the last offer with new credentials.
func (s *Session) beginRestart(n *negotiation) error {
	p := s.current
	if p == nil || p.last == nil || len(p.last.Desc.MediaDescriptions) == 0 || p.state == StateClosed {
		return ErrNoOffer
	}
	next, err := p.last.WithCredentials(n.restart.ufrag, n.restart.pwd, n.restart.candidates)
	if err != nil {
		return err
	}
	n.offer = next
	return nil
}

// judged answers what needs no negotiation: stale generations, superseded offers, and the same offer again.
func (s *Session) judged(n *negotiation) bool {
	p := s.current
	switch {
	case n.generation < s.cfg.MinGeneration:
		s.drop(n, DropStaleGeneration)
		return true
	case p == nil || n.generation > p.generation || n.restart != nil:
		return false
	case n.generation < p.generation:
		s.drop(n, DropStaleGeneration)
		return true
	case p.last == nil || p.state == StateClosed:
		return false
	case p.answer != nil && n.offer.Hash == p.last.Hash:
		s.pool.stats.repeated.Add(1)
		s.repeat(n, p)
		return true
	case n.offer.SameOrigin(p.last) && n.offer.Origin.SessionVersion < p.last.Origin.SessionVersion:
		s.drop(n, DropSuperseded)
		return true
	}
	return false
}

// repeat answers the offer that was applied last once more: the same answer, with the candidates gathered since.
func (s *Session) repeat(n *negotiation, p *peer) {
	n.peer, n.generation, n.repeated = p, p.generation, true
	switch {
	case p.answer.CandidatesComplete:
		n.answer(outcome{result: Result{Answer: p.answer}})
	default:
		s.awaitGathering(n)
	}
}

// peerFor returns the peer connection that an offer is for: the current one, or a new one when the generation is higher
// or the current one is closed.
func (s *Session) peerFor(n *negotiation) (*peer, error) {
	if p := s.current; p != nil && n.generation == p.generation && p.pc.ConnectionState() != webrtc.PeerConnectionStateClosed {
		if err := s.unwedge(p); err != nil {
			return nil, err
		}
		if err := s.hasRoom(p, n.offer); err != nil {
			return nil, err
		}
		use, taken := p.net.Admit(n.offer.Candidates())
		n.offer.KeepCandidates(use)
		s.contest(taken...)
		return p, nil
	}
	return s.newPeer(n.generation, append(slices.Clone(s.contested), n.remotes...))
}

// fail answers with an error. What runs goes on.
func (s *Session) fail(n *negotiation, step string, err error) {
	s.pool.stats.failed.Add(1)
	s.log.WarnContext(n.ctx, "negotiation failed", "generation", n.generation, "step", step, "error", err)
	if errors.Is(err, ErrNoOffer) {
		n.answer(outcome{err: fmt.Errorf("%s: %w", step, err)})
		return
	}
	n.answer(outcome{err: &NegotiationError{Generation: n.generation, Step: step, Err: err}})
}

// applied takes note of what an applied offer says, and lets the answer wait for the local candidates.
func (s *Session) applied(n *negotiation, p *peer) {
	n.peer = p
	if p.last != nil && p.last.Ufrag != n.offer.Ufrag && len(p.usedUfrags) < maxUsedUfrags {
		p.usedUfrags[p.last.Ufrag] = struct{}{}
	}
	p.last, p.answer = n.offer, nil
	p.negotiated = trace.SpanContextFromContext(n.ctx)
	s.readFacts(p)
	s.addKept(p)
	s.resolveNames(p.generation, n.offer.Ufrag, n.named)
	if s.current.state != StateConnected {
		s.graceRuns = false
		s.startGrace()
	}
	s.awaitGathering(n)
}

// awaitGathering lets an answer wait for the local candidates, unless they are to trickle.
func (s *Session) awaitGathering(n *negotiation) {
	s.busy = n
	if n.trickle {
		s.finishNegotiation()
		return
	}
	n.complete = webrtc.GatheringCompletePromise(n.peer.pc)
	s.gatherTimer.Reset(s.pool.cfg.GatherTimeout)
}

// finishNegotiation answers with what is gathered. What is gathered later is told to the observer, if the offer asked
// for that.
func (s *Session) finishNegotiation() {
	n := s.busy
	if n == nil {
		return
	}
	s.busy = nil
	s.gatherTimer.Stop()
	local := n.peer.pc.LocalDescription()
	if local == nil {
		s.fail(n, "reading the answer", webrtc.ErrConnectionClosed)
		return
	}
	text, rejected, err := offer.BuildAnswer(n.offer, local.SDP)
	if err != nil {
		s.fail(n, "writing the answer", err)
		return
	}
	a := &Answer{SDP: text, Generation: n.generation, CandidatesComplete: offer.GatheringComplete(text), Rejected: rejectedMedia(rejected)}
	n.peer.answer = a
	n.peer.trickle.on = n.trickle
	n.peer.trickle.answered(text)
	if !n.repeated {
		s.pool.stats.answered.Add(1)
	}
	n.peer.answered()
	n.answer(outcome{result: Result{Answer: a}})
	s.tellCandidates()
}

// refuseAll answers an offer of which nothing can be taken. pion has no part in it. Of the current generation it takes
// away all media; the connection stays for what is offered next.
func (s *Session) refuseAll(n *negotiation) {
	text, rejected, err := offer.BuildAnswer(n.offer, "")
	if err != nil {
		s.fail(n, "writing the answer", err)
		return
	}
	a := &Answer{SDP: text, Generation: n.generation, CandidatesComplete: true, Rejected: rejectedMedia(rejected)}
	if p := s.current; p != nil && n.generation == p.generation && p.state != StateClosed {
		n.offer.Ufrag = p.last.Ufrag // ICE goes on as it was
		p.last, p.answer = n.offer, a
		s.removeEntries(func(e *entry) bool { return e.peer == p })
		s.report()
	}
	s.pool.stats.answered.Add(1)
	n.answer(outcome{result: Result{Answer: a}})
}

func rejectedMedia(list []offer.Rejected) []RejectedMedia {
	var out []RejectedMedia
	for _, r := range list {
		out = append(out, RejectedMedia(r))
	}
	return out
}
