package service

import (
	"maps"

	"google.golang.org/protobuf/types/known/timestamppb"

	penstockv1 "github.com/penstock-media/penstock/api/penstock/v1"
	"github.com/penstock-media/penstock/resolverstore"
	"github.com/penstock-media/penstock/rtcpool"
)

// protoSession returns a session's record as callers see it. Its states, reasons and kinds have the contract's numbers.
func protoSession(s resolverstore.Session) *penstockv1.Session {
	out := &penstockv1.Session{
		SessionId:     s.Key.ID,
		State:         penstockv1.SessionState(s.State),
		Labels:        maps.Clone(s.Labels),
		SourceKind:    penstockv1.SourceKind(s.Source),
		Generation:    s.Generation,
		MinGeneration: s.MinGeneration,
		Epoch:         s.Fence.Epoch,
		Owner:         s.Fence.Owner,
		EndReason:     penstockv1.SessionEndReason(s.EndReason),
		CreateTime:    timestamppb.New(s.Created),
		Revision:      s.Revision,
	}
	if !s.Expires.IsZero() {
		out.ExpireTime = timestamppb.New(s.Expires)
	}
	return out
}

// protoResult returns the outcome of a negotiation.
func protoResult(r rtcpool.Result) *penstockv1.NegotiateResponse {
	if d := r.Drop; d != nil {
		out := dropped(d.Reason, d.CurrentGeneration)
		out.GetDropped().MinGeneration = d.MinGeneration
		return out
	}
	a := &penstockv1.Answer{
		Sdp: r.Answer.SDP, Generation: r.Answer.Generation, CandidatesComplete: r.Answer.CandidatesComplete,
	}
	for _, m := range r.Answer.Rejected {
		a.RejectedMedia = append(a.RejectedMedia, &penstockv1.RejectedMedia{
			Mid: m.MID, MlineIndex: uint32(m.Index), Reason: m.Reason,
		})
	}
	return &penstockv1.NegotiateResponse{Result: &penstockv1.NegotiateResponse_Answer{Answer: a}}
}

// dropped returns that an offer came too late to matter.
func dropped(reason rtcpool.DropReason, generation uint64) *penstockv1.NegotiateResponse {
	d := &penstockv1.Dropped{CurrentGeneration: generation}
	switch reason {
	case rtcpool.DropClosed:
		d.Reason, d.Message = penstockv1.DropReason_DROP_REASON_CLOSED, "the session was closed before the offer's turn came"
	case rtcpool.DropStaleGeneration:
		d.Reason, d.Message = penstockv1.DropReason_DROP_REASON_STALE_GENERATION, "a newer generation is current"
	case rtcpool.DropSuperseded:
		d.Reason, d.Message = penstockv1.DropReason_DROP_REASON_SUPERSEDED, "an offer with a later o= version was applied first"
	}
	return &penstockv1.NegotiateResponse{Result: &penstockv1.NegotiateResponse_Dropped{Dropped: d}}
}

// candidate returns a remote candidate for the pool.
func candidate(c *penstockv1.IceCandidate) rtcpool.Candidate {
	out := rtcpool.Candidate{Candidate: c.GetCandidate(), MID: c.SdpMid, UsernameFragment: c.UsernameFragment}
	if c.SdpMlineIndex != nil {
		index := uint16(c.GetSdpMlineIndex())
		out.MLineIndex = &index
	}
	return out
}

// iceServers returns a request's ICE servers for the pool. They go nowhere else.
func iceServers(in []*penstockv1.IceServer) []rtcpool.ICEServer {
	out := make([]rtcpool.ICEServer, 0, len(in))
	for _, s := range in {
		out = append(out, rtcpool.ICEServer{URLs: s.GetUrls(), Username: s.GetUsername(), Credential: s.GetCredential()})
	}
	return out
}
