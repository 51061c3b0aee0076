package service

import (
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"

	penstockv1 "github.com/penstock-media/penstock/api/penstock/v1"
	"github.com/penstock-media/penstock/resolverstore"
	"github.com/penstock-media/penstock/rtcpool"
)

// protoState returns the state of a generation's peer connection. The contract counts states from 1.
func protoState(generation uint64, s rtcpool.State) *penstockv1.SignalResponse {
	return &penstockv1.SignalResponse{Message: &penstockv1.SignalResponse_ConnectionState{
		ConnectionState: &penstockv1.SignalConnectionState{Generation: generation, State: penstockv1.PeerConnectionState(s) + 1},
	}}
}

// protoRestart returns the request to start again.
func protoRestart(r rtcpool.Restart) *penstockv1.SignalResponse {
	return &penstockv1.SignalResponse{Message: &penstockv1.SignalResponse_Restart{
		Restart: &penstockv1.SignalRestart{IceRestart: r.ICE, MinGeneration: r.MinGeneration, Reason: r.Reason},
	}}
}

// protoCandidate returns a local candidate.
func protoCandidate(generation uint64, c rtcpool.Candidate) *penstockv1.SignalResponse {
	out := &penstockv1.IceCandidate{Candidate: c.Candidate, SdpMid: c.MID, UsernameFragment: c.UsernameFragment}
	if c.MLineIndex != nil {
		index := uint32(*c.MLineIndex)
		out.SdpMlineIndex = &index
	}
	return &penstockv1.SignalResponse{Message: &penstockv1.SignalResponse_Candidate{
		Candidate: &penstockv1.SignalCandidate{Generation: generation, Candidate: out},
	}}
}

// protoWanted returns what is wanted of a track.
func protoWanted(session string, t resolverstore.Track, a asked) *penstockv1.SignalResponse {
	return &penstockv1.SignalResponse{Message: &penstockv1.SignalResponse_WantedTrack{WantedTrack: &penstockv1.WantedTrack{
		Track: protoTrack(session, t), Wanted: a.wanted, Width: uint32(a.width), Height: uint32(a.height), Fps: a.fps,
	}}}
}

// protoGoingAway returns that this process is about to stop.
func protoGoingAway(left time.Duration) *penstockv1.SignalResponse {
	return &penstockv1.SignalResponse{Message: &penstockv1.SignalResponse_GoingAway{
		GoingAway: &penstockv1.SignalGoingAway{Grace: durationpb.New(left)},
	}}
}

// protoError returns what was wrong with one message.
func protoError(err error) *penstockv1.SignalResponse {
	f := classify(err)
	out := &penstockv1.SignalError{
		Code: int32(replyOf(f.reason).code), Message: f.message(), Reason: strings.TrimPrefix(f.reason.String(), reasonPrefix), Metadata: f.metadata,
	}
	if retry := f.retryAfter(); retry > 0 {
		out.RetryAfter = durationpb.New(retry)
	}
	return &penstockv1.SignalResponse{Message: &penstockv1.SignalResponse_Error{Error: out}}
}

// protoOffered returns the outcome of an offer.
func protoOffered(r rtcpool.Result) *penstockv1.SignalResponse {
	switch v := protoResult(r).GetResult().(type) {
	case *penstockv1.NegotiateResponse_Answer:
		return &penstockv1.SignalResponse{Message: &penstockv1.SignalResponse_Answer{Answer: v.Answer}}
	case *penstockv1.NegotiateResponse_Dropped:
		return &penstockv1.SignalResponse{Message: &penstockv1.SignalResponse_Dropped{Dropped: v.Dropped}}
	}
	return &penstockv1.SignalResponse{}
}
