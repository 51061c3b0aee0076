package sfutest

import (
	"context"
	"fmt"

	penstockv1 "github.com/penstock-media/penstock/api/penstock/v1"
)

// Signaller carries the SFU's offers and events to the gateway. Calls come one at a time.
type Signaller interface {
	// Negotiate gives an offer and returns the answer; ErrDropped when it came too late, ErrRejected when the answer
	// refuses a media description.
	Negotiate(ctx context.Context, generation uint64, offer string) (answer string, err error)
	// ReportEvents tells what happened, in order.
	ReportEvents(ctx context.Context, events ...*penstockv1.CallEvent) error
}

// GRPCSignaller is a Signaller over the unary calls of the gateway's SessionService.
type GRPCSignaller struct {
	Client    penstockv1.SessionServiceClient
	SessionID string
}

// Negotiate implements Signaller.
func (s GRPCSignaller) Negotiate(ctx context.Context, generation uint64, offer string) (string, error) {
	response, err := s.Client.Negotiate(ctx, &penstockv1.NegotiateRequest{SessionId: s.SessionID, Generation: generation, Sdp: offer})
	if err != nil {
		return "", fmt.Errorf("negotiate: %w", err)
	}
	if dropped := response.GetDropped(); dropped != nil {
		return "", fmt.Errorf("%w: %v: %s", ErrDropped, dropped.GetReason(), dropped.GetMessage())
	}
	answer := response.GetAnswer()
	for _, r := range answer.GetRejectedMedia() {
		return "", fmt.Errorf("%w: mid %q: %s", ErrRejected, r.GetMid(), r.GetReason())
	}
	return answer.GetSdp(), nil
}

// ReportEvents implements Signaller.
func (s GRPCSignaller) ReportEvents(ctx context.Context, events ...*penstockv1.CallEvent) error {
	_, err := s.Client.ReportEvents(ctx, &penstockv1.ReportEventsRequest{SessionId: s.SessionID, Events: events})
	if err != nil {
		return fmt.Errorf("report events: %w", err)
	}
	return nil
}
