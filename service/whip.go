package service

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/penstock-media/penstock/connector/whip"
	"github.com/penstock-media/penstock/resolverstore"
	"github.com/penstock-media/penstock/rtcpool"
	"github.com/penstock-media/penstock/service/internal/relay"
)

// whipSessions implements whip.Sessions: to the gateway a WHIP publisher is a remote side that offers, as an SFU is.
type whipSessions struct{ *Service }

// Publish implements whip.Sessions. A session that waits for its first offer takes a publisher, however it was created.
func (s whipSessions) Publish(ctx context.Context, id string, p whip.Publisher, offer string) (whip.Publication, error) {
	if !utf8.ValidString(offer) { // what it names could not be told by any call
		return whip.Publication{}, &whip.InvalidOfferError{Malformed: true, Detail: "the offer is not UTF-8"}
	}
	if err := s.limitMedia(offer); err != nil {
		return whip.Publication{}, &whip.InvalidOfferError{Detail: classify(err).message(), Err: err}
	}
	k := keyIn(ctx, id)
	v, created, err := s.whipSession(ctx, k)
	if err != nil {
		return whip.Publication{}, whipError(err)
	}
	resource := strings.ToLower(rand.Text())
	of, again, ok := v.claim(resource, digestOf(p, offer))
	if !ok {
		return whip.Publication{}, whip.ErrConflict
	}
	if again {
		out, err := s.publishAgain(ctx, v, of, offer)
		return out, whipError(err)
	}
	defer close(of.settled)
	out, err := s.publish(ctx, v, of, p, offer)
	if err == nil {
		return out, nil
	}
	v.unclaim(resource)
	v.rtc.SetEndOnRemoteClose(context.WithoutCancel(ctx), false)
	if created {
		if err := s.delete(context.WithoutCancel(ctx), k); err != nil {
			s.cfg.Logger.Error("session of a failed publication not ended", "session", logName(k), "error", err)
		}
	}
	return whip.Publication{}, whipError(err)
}

// whipSession returns the session to publish into, created if that is allowed.
func (s whipSessions) whipSession(ctx context.Context, k resolverstore.SessionKey) (v *session, created bool, err error) {
	var f faults
	if f.session(k.ID); f.err() != nil {
		return nil, false, fmt.Errorf("%w: %w", resolverstore.ErrSessionNotFound, f.err())
	}
	if v := s.session(k); v != nil {
		return v, false, nil
	}
	if !s.cfg.WHIPCreate {
		return nil, false, resolverstore.ErrSessionNotFound
	}
	// The hash is unique: two publishers never ask for the same session, one of them is in conflict.
	_, err = s.create(ctx, resolverstore.Session{
		Key: k, Source: resolverstore.SourceWHIP, RequestHash: "whip " + rand.Text(),
	}, nil)
	if errors.Is(err, resolverstore.ErrSessionExists) {
		if v := s.session(k); v != nil { // It is here by now; whether it has a publisher it knows.
			return v, false, nil
		}
		return nil, false, errMoving // It is another pod's, or about to be this one's.
	}
	if err != nil {
		return nil, false, err
	}
	if v = s.session(k); v == nil {
		return nil, false, resolverstore.ErrSessionEnded
	}
	return v, true, nil
}

// publicationOf is a publication's resource and the generation of its only peer connection.
type publicationOf struct {
	resource   string
	generation uint64
	settled    chan struct{} // closed when it is known whether it is one
}

// publish answers the offer and tells the store what is published.
func (s whipSessions) publish(ctx context.Context, v *session, of publicationOf, p whip.Publisher, offer string) (whip.Publication, error) {
	who, err := publisherOf(p)
	if err != nil {
		return whip.Publication{}, err
	}
	v.rtc.SetEndOnRemoteClose(ctx, true) // Nobody else could offer again.
	answer, err := s.answerTo(ctx, v, of, offer)
	if err != nil {
		return whip.Publication{}, err
	}
	v.answered(answer)
	if err := s.announce(ctx, v, who, publishedMedia(offer)); err != nil {
		return whip.Publication{}, err
	}
	return whip.Publication{ResourceID: of.resource, AnswerSDP: answer.SDP}, nil
}

// publishAgain answers an offer that comes again, as the answer to the first was lost, like the first. That one may be under way still, and fail since its caller has left.
func (s whipSessions) publishAgain(ctx context.Context, v *session, of publicationOf, offer string) (whip.Publication, error) {
	select {
	case <-of.settled:
	case <-ctx.Done():
		return whip.Publication{}, context.Cause(ctx)
	}
	if _, ok := v.publishes(of.resource); !ok {
		return whip.Publication{}, errMoving
	}
	answer, err := s.answerTo(ctx, v, of, offer)
	if err != nil {
		return whip.Publication{}, err
	}
	return whip.Publication{ResourceID: of.resource, AnswerSDP: answer.SDP}, nil
}

// answerTo returns the answer to a publication's offer.
func (s whipSessions) answerTo(ctx context.Context, v *session, of publicationOf, offer string) (*rtcpool.Answer, error) {
	v.mu.Lock()
	feeds := v.fed()
	v.mu.Unlock()
	r, err := v.rtc.Negotiate(ctx, rtcpool.Offer{Generation: of.generation, SDP: offer, Feeds: feeds})
	switch {
	case err != nil:
		return nil, fmt.Errorf("publishing into session %q: %w", v.key.ID, err)
	case r.Answer == nil && v.moved.Err() != nil:
		return nil, errMoved
	case r.Answer == nil:
		return nil, whip.ErrConflict
	}
	return r.Answer, nil
}

// publisherOf returns the participant that a publisher is. It is called before the offer is applied: a name that cannot be used leaves
// nothing behind.
func publisherOf(p whip.Publisher) (resolverstore.Participant, error) {
	who := resolverstore.Participant{ID: p.ParticipantID, UserID: p.UserID}
	if who.ID == "" {
		who.ID = who.UserID // The only publisher of its session: nothing else can have that id.
	}
	for _, named := range [][2]string{{"participant", who.ID}, {"user", who.UserID}} {
		if reason := badName(named[0], named[1]); reason != "" {
			return who, &whip.InvalidOfferError{Detail: reason}
		}
	}
	return who, nil
}

// announce reports the publisher and its publications.
func (s whipSessions) announce(ctx context.Context, v *session, who resolverstore.Participant, published []describedMedia) error {
	events := []resolverstore.Event{{Joined: &who}}
	for _, m := range published {
		events = append(events, resolverstore.Event{Published: &resolverstore.Publication{
			Participant: who, Source: m.source, MID: m.mid,
		}})
	}
	_, err := s.cfg.Store.ApplyEvents(ctx, v.key, events)
	return err
}

// Trickle implements whip.Sessions.
func (s whipSessions) Trickle(ctx context.Context, id, resource string, c []rtcpool.Candidate, end bool) error {
	v := s.session(keyIn(ctx, id))
	if v == nil {
		return whip.ErrNotFound
	}
	generation, ok := v.publishes(resource)
	if !ok {
		return whip.ErrNotFound
	}
	if end {
		c = append(c[:len(c):len(c)], rtcpool.Candidate{})
	}
	for _, one := range c {
		if _, err := v.rtc.AddCandidate(ctx, generation, one); err != nil {
			return whipError(err)
		}
	}
	return nil
}

// RestartICE implements whip.Sessions.
func (s whipSessions) RestartICE(ctx context.Context, id, resource, ufrag, pwd string, c []rtcpool.Candidate) (string, error) {
	v := s.published(keyIn(ctx, id), resource)
	if v == nil {
		return "", whip.ErrNotFound
	}
	v.forgetOffer() // What came first is no longer what stands.
	r, err := v.rtc.RestartICE(ctx, ufrag, pwd, c)
	switch {
	case err != nil:
		return "", whipError(err)
	case r.Answer == nil:
		return "", whip.ErrNotFound
	}
	return r.Answer.SDP, nil
}

// Unpublish implements whip.Sessions.
func (s whipSessions) Unpublish(ctx context.Context, id, resource string) error {
	v := s.published(keyIn(ctx, id), resource)
	if v == nil || !v.unclaim(resource) {
		return whip.ErrNotFound
	}
	return whipError(s.delete(ctx, v.key))
}

// published returns the session that has the publication, or nil.
func (s whipSessions) published(k resolverstore.SessionKey, resource string) *session {
	if v := s.session(k); v != nil {
		if _, ok := v.publishes(resource); ok {
			return v
		}
	}
	return nil
}

// digestOf tells one publisher's offer from all others. It names an ICE password, which nobody else knows.
func digestOf(p whip.Publisher, offer string) [sha256.Size]byte {
	return sha256.Sum256([]byte(p.UserID + "\x00" + p.ParticipantID + "\x00" + offer))
}

// claim makes a publication the only one of the session, unless there is one or signalling has offered. It has the generation
// of its peer connection: one that failed may have left its own half made. An offer that comes again is that of the publication which there is.
func (v *session) claim(resource string, digest [sha256.Size]byte) (of publicationOf, again, ok bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	switch {
	case v.publisher != "" && v.offer == digest:
		return publicationOf{v.publisher, v.published, v.settled}, true, true
	case v.publisher != "" || v.offered:
		return of, false, false
	}
	v.publisher, v.offer = resource, digest
	v.published++
	v.settled = make(chan struct{})
	return publicationOf{resource, v.published, v.settled}, false, true
}

// forgetOffer takes note that the offer of the publication is no longer what its peer connection stands on.
func (v *session) forgetOffer() {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.offer = [sha256.Size]byte{}
}

// unclaim takes a publication back, and tells whether it was the session's.
func (v *session) unclaim(resource string) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.publisher != resource {
		return false
	}
	v.publisher = ""
	return true
}

// publishes tells whether the publication is the session's, and the generation of its peer connection.
func (v *session) publishes(resource string) (generation uint64, ok bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.published, resource != "" && v.publisher == resource
}

// whipError returns what the endpoint turns into an HTTP status. Anything else stays as it is: an internal error.
func whipError(err error) error {
	var sdp *rtcpool.SDPError
	var negotiation *rtcpool.NegotiationError
	switch {
	case errors.As(err, &sdp):
		return &whip.InvalidOfferError{Malformed: true, Detail: sdpText(sdp), Err: err}
	case errors.Is(err, rtcpool.ErrNoMedia):
		return &whip.InvalidOfferError{Detail: "the offer describes no media; offer audio or video", Err: err}
	case errors.As(err, &negotiation):
		return &whip.InvalidOfferError{Detail: "the offer could not be applied", Err: err}
	case errors.Is(err, rtcpool.ErrNoOffer):
		return fmt.Errorf("%w: %w", whip.ErrConflict, err)
	case errors.Is(err, resolverstore.ErrSessionNotFound), errors.Is(err, resolverstore.ErrSessionEnded):
		return fmt.Errorf("%w: %w", whip.ErrNotFound, err)
	case errors.Is(err, errDraining), errors.Is(err, errLimit), outOfReach(err), errors.Is(err, errMoved), errors.Is(err, relay.ErrClosed), errors.Is(err, rtcpool.ErrBusy), errors.Is(err, rtcpool.ErrClosed),
		errors.Is(err, resolverstore.ErrLimitReached), errors.Is(err, resolverstore.ErrClosed),
		errors.Is(err, resolverstore.ErrUnavailable), errors.Is(err, resolverstore.ErrCorrupt):
		return fmt.Errorf("%w: %w", whip.ErrUnavailable, err)
	}
	return err
}
