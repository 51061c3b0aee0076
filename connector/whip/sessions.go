// Package whip is the gateway's WHIP endpoint (RFC 9725): a browser, OBS or GStreamer publishes straight into a session.
//
// To the gateway a WHIP publisher and an SFU that offers are the same, so that [Handler] is a thin shim over [Sessions].
package whip

import (
	"context"

	"github.com/penstock-media/penstock/rtcpool"
)

// Sessions is what the handler needs of the gateway. Its methods are safe for concurrent use. Their errors are mapped
// to HTTP by errors.Is and errors.As: [ErrNotFound], [ErrConflict], [ErrUnauthorized], [ErrUnavailable],
// [*InvalidOfferError]; anything else is an internal error whose text stays in the log.
type Sessions interface {
	// Publish creates the session if allowed, applies the publisher's offer and registers its publications: the first
	// video is CAMERA, the second SCREEN_SHARE, the first audio MICROPHONE, the second SCREEN_SHARE_AUDIO.
	// One session has one publisher: a second one gets ErrConflict, an unknown session that may not be created ErrNotFound.
	Publish(ctx context.Context, sessionID string, p Publisher, offer string) (Publication, error)
	// Trickle adds remote candidates, perhaps none; end tells that there will be no more. ErrNotFound for another resource.
	Trickle(ctx context.Context, sessionID, resourceID string, c []rtcpool.Candidate, end bool) error
	// RestartICE gives the publisher's new credentials and candidates and returns the new answer (RFC 9725 section 4.3.3).
	RestartICE(ctx context.Context, sessionID, resourceID, ufrag, pwd string, c []rtcpool.Candidate) (answerSDP string, err error)
	// Unpublish ends the publication and its session. ErrNotFound when it has ended already.
	Unpublish(ctx context.Context, sessionID, resourceID string) error
}

// Publisher is who publishes.
type Publisher struct {
	UserID        string // from the query (?user=…); "whip" when it names none
	ParticipantID string // from the query (?participant=…); empty lets Sessions choose
}

// Publication is a publisher's offer, answered.
type Publication struct {
	ResourceID string // names the publication in its URL: unguessable, of [A-Za-z0-9._~-]
	AnswerSDP  string // with every candidate gathered
}
